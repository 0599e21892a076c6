//! The ways in: a path, the dialect spoken behind it, and how a request there says who is coming.

use std::sync::Arc;

use hyper::Request;

use super::refusal::Refusal;
use crate::auth::Identity;
use crate::dialects::Dialect;
use crate::dialects::workspace::Scope;
use crate::http;
use crate::ids::{self, Position, SessionId, UserId};
use crate::node::Node;

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Pairing,
    SocketIo,
    /// The courier without Socket.IO, at a path that also has a page.
    Raw,
    Review,
    Yjs,
    /// Workspaces and agents, or one of the two.
    Workspace(Scope),
}

/// Who wants in, and where.
pub struct Visitor {
    pub session: SessionId,
    pub user: UserId,
    pub name: Arc<str>,
    pub identity: Option<Identity>,
    /// Where it was, when it comes back.
    pub since: Option<Position>,
}

/// What the query of a request at a door may say.
#[derive(Default)]
struct Said {
    user: Option<String>,
    name: Option<String>,
    since: Option<String>,
}

impl Door {
    pub const ALL: [Door; 8] = [
        Door::Pairing,
        Door::SocketIo,
        Door::Raw,
        Door::Review,
        Door::Yjs,
        Door::Workspace(Scope::All),
        Door::Workspace(Scope::Agents),
        Door::Workspace(Scope::Workspaces),
    ];

    /// Its path, in the route table's terms.
    pub fn path(self) -> &'static str {
        match self {
            Door::Pairing => "/api/v1/ws/session/{session_id}",
            Door::SocketIo => "/socket.io/",
            Door::Raw => "/",
            Door::Review => "/ws/session/{session_id}",
            Door::Yjs => "/yjs/{session_id}",
            Door::Workspace(Scope::All) => "/ws",
            Door::Workspace(Scope::Agents) => "/ws/agents",
            Door::Workspace(Scope::Workspaces) => "/ws/workspaces",
        }
    }

    pub fn dialect(self) -> Dialect {
        match self {
            Door::Pairing => Dialect::Pairing,
            Door::SocketIo => Dialect::SocketIo,
            Door::Raw => Dialect::Raw,
            Door::Review => Dialect::Review,
            Door::Yjs => Dialect::Yjs,
            Door::Workspace(_) => Dialect::Workspace,
        }
    }

    /// Reads identity and session from the request: by its token when the node wants one, else by what it
    /// says.
    pub async fn visitor<B>(
        self,
        session: &str,
        request: &Request<B>,
        node: &Node,
    ) -> Result<Visitor, Refusal> {
        let session = SessionId::parse(session)
            .map_err(|error| Refusal::field("session_id", error.to_string()))?;
        let said = said(request.uri().query().unwrap_or_default());
        let is_review = self == Door::Review;
        let wants_token = node.wants_tokens() || is_review;
        let identity = match http::bearer(request) {
            Some(token) if wants_token || session.is_recorded() => {
                Some(node.identify(&token).await?)
            }
            Some(_) => None,
            None if wants_token => return Err(Refusal::token(NO_TOKEN)),
            None => None,
        };
        if is_review && node.records().is_none() {
            let sentence = "sessions are not recorded here: this node has no DATABASE_URL";
            return Err(Refusal::unavailable("records_unavailable", sentence));
        }
        // Where none is needed it may still say who comes, as the query does.
        let hint = match (&identity, http::bearer(request)) {
            (None, Some(token)) if said.user.is_none() => node.identify(&token).await.ok(),
            _ => None,
        };
        let by_hint = hint.as_ref().map(|hint| hint.user.to_string());
        let user = match (&identity, said.user.or(by_hint).as_deref()) {
            (None, said) => user(said.unwrap_or_default())?,
            (Some(identity), None | Some("")) => identity.user.clone(),
            (Some(identity), Some(said)) if said == identity.user.as_str() => identity.user.clone(),
            (Some(_), Some(_)) => {
                return Err(Refusal::forbidden(
                    "user_id is not the token's sub; right is the same, or none",
                ));
            }
        };
        let since = match said.since.as_deref() {
            None | Some("") => None,
            Some(text) => Some(text.parse().map_err(|()| {
                let right = "right is a position that this session's frames told";
                Refusal::field("since", format!("since is no position; {right}"))
            })?),
        };
        let shown = identity.as_ref().or(hint.as_ref());
        // Behind all that needs nobody else.
        let name = match node.shown_name(&user, shown).await? {
            Some(name) => name,
            None => own_name(&user, shown, said.name.as_deref())?,
        };
        Ok(Visitor {
            since,
            session,
            user,
            name,
            identity,
        })
    }
}

const NO_TOKEN: &str = "a token is needed: in Authorization: Bearer, in Sec-WebSocket-Protocol: bearer, or as \
                        token in the query";

fn user(text: &str) -> Result<UserId, Refusal> {
    UserId::parse(text).map_err(|error| Refusal::field("user_id", error.to_string()))
}

/// The name by which somebody is shown whom nobody else names.
fn own_name(
    user: &UserId,
    identity: Option<&Identity>,
    said: Option<&str>,
) -> Result<Arc<str>, Refusal> {
    let known = identity.and_then(|identity| identity.name.clone());
    match (known, said) {
        (Some(name), _) => Ok(name),
        (None, None | Some("")) => Ok(user.as_str().into()),
        (None, Some(name)) => {
            ids::name(name).map_err(|error| Refusal::field("username", error.to_string()))
        }
    }
}

fn said(query: &str) -> Said {
    let mut said = Said::default();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "user_id" => said.user = Some(value.into_owned()),
            "username" => said.name = Some(value.into_owned()),
            "since" => said.since = Some(value.into_owned()),
            _ => {}
        }
    }
    said
}
