//! Sessions over REST: made from a match, looked at, ended.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::access::{Caller, forbidden, trusted};
use super::body::{object, refused};
use super::{Api, no_content, problem};
use crate::backplane::Created;
use crate::domain::Cursor;
use crate::domain::sessions::Match;
use crate::http::{Answer, Problem, json as answer};
use crate::ids::SessionId;
use crate::node::is_trusted;

const MATCH_FOUND: &str = "match.found";

/// A match event; what else it may carry is ignored.
#[derive(Deserialize)]
struct MatchBody {
    #[serde(default)]
    event_type: Option<String>,
    session_id: String,
    users: Vec<String>,
    #[serde(default)]
    question_id: String,
    #[serde(default)]
    difficulty: String,
    #[serde(default)]
    topic: String,
}

#[derive(Serialize)]
struct StateOut<'a> {
    session_id: &'a str,
    question_id: &'a str,
    code: &'a str,
    language: &'a str,
    users: Vec<UserOut<'a>>,
    created_at: &'a str,
    version: u64,
}

#[derive(Serialize)]
struct UserOut<'a> {
    user_id: &'a str,
    username: &'a str,
    cursor: Option<CursorOut>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CursorOut {
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
        let body = match_body(body)?;
        let found = Match::checked(
            &body.session_id,
            &body.users,
            body.question_id,
            body.difficulty,
            body.topic,
        )
        .map_err(refused)?;
        let (status, said) = match self.node.open(&found).await.map_err(|e| problem(&e))? {
            Created::New => (StatusCode::CREATED, "created"),
            Created::Existing => (StatusCode::OK, "exists"),
            Created::Ended => return Err(problem(&crate::backplane::Error::Ended)),
        };
        let session = found.session.as_str();
        Ok(answer(
            status,
            &json!({"session_id": session, "status": said}),
        ))
    }
}

fn match_body(body: &[u8]) -> Result<MatchBody, Problem> {
    let found: MatchBody = object(body, "match event")?;
    match found.event_type.as_deref() {
        None | Some(MATCH_FOUND) => Ok(found),
        Some(other) => Err(Problem {
            field: Some("event_type".into()),
            ..Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_field",
                format!("event_type is {other:?}; right is {MATCH_FOUND:?}, or none"),
            )
        }),
    }
}

fn parse(session: &str) -> Result<SessionId, Problem> {
    SessionId::parse(session).map_err(|error| Problem {
        field: Some("session_id".into()),
        ..Problem::new(StatusCode::BAD_REQUEST, "bad_field", error.to_string())
    })
}
