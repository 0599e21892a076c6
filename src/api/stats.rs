//! How much goes on in the cluster now.

use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::{Caller, trusted};
use super::asked::{Asked, Page};
use super::{Api, problem};
use crate::http::{Answer, Problem, json as answer};
use crate::ids::SessionId;

const PAGE: Page = Page {
    usual: 100,
    most: 500,
};

/// Of the whole cluster.
#[derive(Serialize, ToSchema)]
#[schema(as = Stats)]
pub(super) struct StatsOut {
    /// Sockets open now.
    total_connections: u64,
    /// Sessions with somebody in them.
    total_sessions: u64,
    /// Users at all doors, each once.
    users: u64,
    /// Messages and comments in recorded sessions since 00:00 UTC;
    /// null: the records do not say.
    messages_today: Option<u64>,
    /// For admins and services, in the order of ids; left out for others, and while it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    by_session: Option<Vec<SessionOut>>,
    /// Where the next page of `by_session` begins; left out: there are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
    /// True: nodes' own numbers are added up, so that who is on two counts twice; left out otherwise.
    #[serde(skip_serializing_if = "is_false")]
    approximate: bool,
    /// True: other nodes are as they were last known, because Redis is away; left out otherwise.
    #[serde(skip_serializing_if = "is_false")]
    stale: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SessionStats)]
pub(super) struct SessionOut {
    session_id: String,
    users: u64,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Api {
    pub(super) async fn stats(
        &self,
        caller: &Caller,
        query: Option<&str>,
    ) -> Result<Answer, Problem> {
        let asked = Asked::of(query);
        let (limit, cursor) = (asked.limit(PAGE)?, asked.id("cursor", SessionId::parse)?);
        let stats = self.node.stats().await;
        let mut out = StatsOut {
            total_connections: stats.sockets,
            total_sessions: stats.sessions,
            users: stats.users,
            messages_today: stats.messages_today,
            by_session: None,
            next_cursor: None,
            approximate: stats.rough,
            stale: stats.stale,
        };
        if trusted(caller, "").is_ok() {
            let page = self
                .node
                .open_sessions(&stats, cursor.as_ref(), limit as usize);
            match page.await {
                Ok((page, more)) => {
                    let next = page.last().filter(|_| more);
                    out.next_cursor = next.map(|(session, _)| session.to_string());
                    out.by_session = Some(sessions(page));
                }
                // The rest is known all the same.
                Err(_) if out.stale => {}
                Err(error) => return Err(problem(&error)),
            }
        }
        Ok(answer(StatusCode::OK, &out))
    }
}

/// Those that are not empty by now.
fn sessions(page: Vec<(SessionId, u64)>) -> Vec<SessionOut> {
    let with_users = page.into_iter().filter(|(_, users)| *users > 0);
    let shown = with_users.map(|(session, users)| SessionOut {
        session_id: session.to_string(),
        users,
    });
    shown.collect()
}
