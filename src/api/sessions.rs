//! Sessions over REST: made from a match, looked at, ended.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{Caller, forbidden, trusted};
use super::body::unread;
use super::denied::denied;
use super::docs::shapes;
use super::{Api, no_content, problem};
use crate::backplane::Created;
use crate::dialects::matches::match_found;
use crate::domain::Cursor;
use crate::http::{Answer, Problem, json as answer};
use crate::ids::SessionId;
use crate::node::is_trusted;

/// A match event; what else it may carry is ignored.
#[derive(Deserialize, ToSchema)]
#[schema(as = Match)]
#[expect(dead_code, reason = "read by `dialects`, which knows no schemas")]
pub(super) struct MatchBody {
    /// `match.found`, or none.
    #[serde(default)]
    #[schema(pattern = "^match\\.found$")]
    event_type: Option<String>,
    /// Not of the form of a recorded session's.
    #[schema(schema_with = shapes::unrecorded)]
    session_id: String,
    /// Who may come.
    #[schema(schema_with = shapes::users)]
    users: Vec<String>,
    #[serde(default)]
    #[schema(schema_with = shapes::question_id)]
    question_id: String,
    #[serde(default)]
    #[schema(schema_with = shapes::word)]
    difficulty: String,
    #[serde(default)]
    #[schema(schema_with = shapes::word)]
    topic: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Opened)]
pub(super) struct OpenedOut<'a> {
    session_id: &'a str,
    /// `created` or `exists`.
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = State)]
pub(super) struct StateOut<'a> {
    session_id: &'a str,
    question_id: &'a str,
    code: &'a str,
    language: &'a str,
    /// Who is there, at most 1,000.
    users: Vec<UserOut<'a>>,
    #[schema(format = DateTime)]
    created_at: &'a str,
    /// Of the code; one more with every change.
    version: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Present)]
pub(super) struct UserOut<'a> {
    user_id: &'a str,
    username: &'a str,
    cursor: Option<CursorOut>,
}

/// Both from 1 on, the column in UTF-16 units.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Cursor)]
pub(super) struct CursorOut {
    line_number: u32,
    column: u32,
}

impl From<Cursor> for CursorOut {
    fn from(cursor: Cursor) -> Self {
        Self {
            line_number: cursor.line,
            column: cursor.column,
        }
    }
}

impl Api {
    pub(super) async fn session_state(
        &self,
        caller: &Caller,
        session: &str,
    ) -> Result<Answer, Problem> {
        let session = parse(session)?;
        self.may_see(caller, &session).await?;
        let view = self.node.view(&session).await.map_err(|e| problem(&e))?;
        let state = StateOut {
            session_id: view.session.as_str(),
            question_id: &view.question_id,
            code: &view.code,
            language: &view.language,
            users: view
                .users
                .iter()
                .map(|present| UserOut {
                    user_id: present.user.as_str(),
                    username: &present.name,
                    cursor: present.cursor.map(CursorOut::from),
                })
                .collect(),
            created_at: &view.created_at,
            version: view.version,
        };
        Ok(answer(StatusCode::OK, &state))
    }

    /// For the users it was matched for, services and admins.
    pub(super) async fn end_session(
        &self,
        caller: &Caller,
        session: &str,
    ) -> Result<Answer, Problem> {
        let session = parse(session)?;
        if let Some(identity) = caller.as_ref().filter(|_| session.is_recorded()) {
            let ended = self.node.end_recorded(&session, identity).await;
            ended.map_err(denied)?;
            return Ok(no_content());
        }
        if let Some(identity) = caller
            && !is_trusted(identity)
        {
            self.may_see(caller, &session).await?;
            let may = self.node.may_end(&session, &identity.user).await;
            if !may.map_err(|error| problem(&error))? {
                return Err(forbidden(
                    "only its host, a user it was matched for, a service or an admin ends a session",
                ));
            }
        }
        self.node.end(&session).await.map_err(|e| problem(&e))?;
        Ok(no_content())
    }

    pub(super) async fn create_session(
        &self,
        caller: &Caller,
        body: &[u8],
    ) -> Result<Answer, Problem> {
        trusted(
            caller,
            "only a service or an admin makes a session of a match",
        )?;
        let found = match_found(body).map_err(unread)?;
        let (status, said) = match self.node.open(&found).await.map_err(|e| problem(&e))? {
            Created::New => (StatusCode::CREATED, "created"),
            Created::Existing => (StatusCode::OK, "exists"),
            Created::Ended => return Err(problem(&crate::backplane::Error::Ended)),
        };
        let opened = OpenedOut {
            session_id: found.session.as_str(),
            status: said,
        };
        Ok(answer(status, &opened))
    }
}

fn parse(session: &str) -> Result<SessionId, Problem> {
    SessionId::parse(session).map_err(|error| Problem {
        field: Some("session_id".into()),
        ..Problem::new(StatusCode::BAD_REQUEST, "bad_field", error.to_string())
    })
}
