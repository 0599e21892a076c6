//! Who calls, and what that lets them do. In open mode anybody may do anything.

use hyper::{Request, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Api, Path, no_content, problem};
use crate::auth::{self, BadToken, Identity};
use crate::clock::Millis;
use crate::http::{self, Answer, Problem};
use crate::ids::SessionId;
use crate::node::{NotAdmitted, is_trusted};

/// `None`: the node is open and asks nobody.
pub(super) type Caller = Option<Identity>;

/// What to revoke, when that is not the caller's own token.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = Logout)]
pub(super) struct LogoutBody {
    /// Of another's token; for admins and services.
    #[schema(min_length = 1, max_length = 128)]
    jti: Option<String>,
}

/// Longest id of a token, in characters.
const MAX_TOKEN_ID: usize = 128;
/// How long a token that is not known but by its id stays revoked: longer than tokens live.
const UNKNOWN_LIFE: Millis = auth::LONGEST_LIFE.as_millis() as Millis;

impl Api {
    pub(super) async fn caller<B>(&self, request: &Request<B>) -> Result<Caller, Problem> {
        if !self.node.wants_tokens() {
            return Ok(None);
        }
        self.bearer(request).await.map(Some)
    }

    /// Whose token the request has, which it needs on an open node, too.
    pub(super) async fn bearer<B>(&self, request: &Request<B>) -> Result<Identity, Problem> {
        let Some(token) = http::bearer(request) else {
            let detail = "a token is needed, in Authorization: Bearer";
            return Err(unauthorized(detail));
        };
        let identity = self.node.identify_once(&token).await;
        identity.map_err(|why| refused(&why))
    }

    /// Whether the caller may look into the session.
    pub(super) async fn may_see(
        &self,
        caller: &Caller,
        session: &SessionId,
    ) -> Result<(), Problem> {
        let Some(identity) = caller else {
            return Ok(());
        };
        let checked = self
            .node
            .check_session(session, &identity.user, Some(identity));
        checked.await.map_err(|why| refused(&why))
    }

    /// The token is believed by no node any more, and its sockets are closed. Admins and services may name
    /// another token by its `jti`.
    pub(super) async fn logout(&self, identity: &Identity, body: &[u8]) -> Result<Answer, Problem> {
        let body: LogoutBody = if body.is_empty() {
            LogoutBody::default()
        } else {
            serde_json::from_slice(body).map_err(|error| {
                let detail = format!("the body is {{\"jti\": …}} or none: {error}");
                bad_jti(detail)
            })?
        };
        let (token, ends_at) = match &body.jti {
            None => {
                let Some(own) = identity.id.as_deref() else {
                    return Err(bad_jti(
                        "the token has no jti, so it cannot be revoked; it ends by itself"
                            .to_owned(),
                    ));
                };
                (own, identity.ends_at())
            }
            Some(other) if Some(other.as_str()) == identity.id.as_deref() => {
                (other.as_str(), identity.ends_at())
            }
            Some(_) if !is_trusted(identity) => {
                return Err(forbidden("only an admin or a service logs others out"));
            }
            Some(other) if other.is_empty() || other.chars().count() > MAX_TOKEN_ID => {
                let detail = format!("jti is a text of 1 to {MAX_TOKEN_ID} characters");
                return Err(bad_jti(detail));
            }
            Some(other) => (other.as_str(), self.node.clock().now() + UNKNOWN_LIFE),
        };
        let revoked = self.node.revoke(token, ends_at).await;
        revoked.map_err(|error| problem(&error))?;
        self.node.forget_token(token).await;
        Ok(no_content())
    }
}

/// Admins and services; anyone in open mode.
pub(super) fn trusted(caller: &Caller, detail: &'static str) -> Result<(), Problem> {
    match caller {
        Some(identity) if !is_trusted(identity) => Err(forbidden(detail)),
        _ => Ok(()),
    }
}

pub(super) fn forbidden(detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

/// Who is refused for who they are stands in the audit log.
pub(super) fn noted(path: &Path, caller: &Caller, problem: Problem) -> Problem {
    if matches!(
        problem.status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    ) {
        let user = caller.as_ref().map(|identity| identity.user.as_str());
        let (reason, detail) = (problem.code, &problem.detail);
        tracing::info!(target: "audit", path = path.path, user, reason, detail, "refused");
    }
    problem
}

fn unauthorized(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

fn bad_jti(detail: String) -> Problem {
    Problem {
        field: Some("jti".into()),
        ..Problem::new(StatusCode::BAD_REQUEST, "bad_field", detail)
    }
}

pub(super) fn refused(why: &NotAdmitted) -> Problem {
    match why {
        NotAdmitted::Token(BadToken::Unavailable) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "identity_unavailable",
            why.to_string(),
        ),
        NotAdmitted::Token(_) | NotAdmitted::Void => unauthorized(why.to_string()),
        NotAdmitted::Forbidden(detail) => forbidden(detail),
        NotAdmitted::Records => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "records_unavailable",
            why.to_string(),
        ),
        // Nobody is asked about who comes by REST.
        NotAdmitted::UserService => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "user_service_unavailable",
            why.to_string(),
        ),
        NotAdmitted::Backplane(error) => problem(error),
        NotAdmitted::Leaving => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", why.to_string())
        }
    }
}
