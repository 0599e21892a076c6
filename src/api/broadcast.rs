//! Notifications over REST: said once, told by every node to those it is for.

use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::access::{Caller, trusted};
use super::asked::{self, bad_field};
use super::body::{object, refused};
use super::docs::shapes;
use super::{Api, problem};
use crate::backplane::Audience;
use crate::dialects::Dialect;
use crate::domain::notices::Notice;
use crate::http::{Answer, Problem, json as answer};
use crate::ids::{EventId, MAX_COMMAND_ID, UserId};

/// The header under which a repeat is known.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Whose ids they are on a node that asks nobody.
const ANYONE: &str = "anyone";

#[derive(Deserialize, ToSchema)]
#[schema(as = Broadcast)]
pub(super) struct BroadcastBody {
    /// For the clients' programs.
    #[serde(rename = "type")]
    #[schema(schema_with = shapes::kind)]
    kind: String,
    /// At most MAX_NOTIFICATION_BYTES.
    #[schema(schema_with = shapes::anything)]
    data: Box<RawValue>,
    #[schema(schema_with = shapes::addressees)]
    to: To,
    /// Under which a repeat is known.
    #[serde(default)]
    #[schema(schema_with = shapes::command_id)]
    id: Option<String>,
}

/// Whom it is for.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum To {
    All(bool),
    Door(String),
    Users(Vec<String>),
}

#[derive(Serialize, ToSchema)]
#[schema(as = Notified)]
pub(super) struct NotifiedOut<'a> {
    /// As it was given, or made.
    id: &'a str,
    /// Its place among all notifications.
    seq: u64,
}

impl Api {
    pub(super) async fn broadcast(
        &self,
        caller: &Caller,
        key: Option<String>,
        body: &[u8],
    ) -> Result<Answer, Problem> {
        trusted(caller, "only a service or an admin notifies others")?;
        let BroadcastBody { kind, data, to, id } = object(body, "notification")?;
        if let Some(id) = &id {
            is_id("id", id)?;
        }
        let id = key.or(id).unwrap_or_else(|| EventId::new().to_string());
        let most = self.node.notices();
        let bytes = data.get().len();
        if bytes > most.data_bytes {
            let right = most.data_bytes;
            let detail = format!("data has {bytes} bytes; right is at most {right}");
            return Err(Problem {
                field: Some("data".into()),
                ..Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
            });
        }
        let (audience, door) = addressed(to, most.users)?;
        let notice = Notice::checked(kind, data.get().into(), door).map_err(refused)?;
        let by = match caller {
            Some(identity) => identity.user.clone(),
            None => asked::id("user_id", ANYONE, UserId::parse)?,
        };
        let committed = self.node.notify(notice, audience, &by, &id).await;
        let committed = committed.map_err(|error| problem(&error))?;
        let notified = NotifiedOut {
            id: &id,
            seq: committed.position.seq,
        };
        Ok(answer(StatusCode::ACCEPTED, &notified))
    }
}

/// The key a request brings, if it brings one.
pub(super) fn key<B>(request: &Request<B>) -> Result<Option<&str>, Problem> {
    let Some(key) = request.headers().get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let name = "Idempotency-Key";
    let key = key.to_str().unwrap_or_default();
    is_id(name, key)?;
    if key.bytes().any(|byte| !byte.is_ascii_graphic()) {
        let detail = format!("{name} has a space or a tab; right is none");
        return Err(bad_field(name, detail));
    }
    Ok(Some(key))
}

fn is_id(name: &'static str, id: &str) -> Result<(), Problem> {
    let length = id.chars().count();
    if (1..=MAX_COMMAND_ID).contains(&length) {
        return Ok(());
    }
    let right = format!("right is 1 to {MAX_COMMAND_ID}");
    let detail = format!("{name} has {length} characters that can be read; {right}");
    Err(bad_field(name, detail))
}

/// For whom it is, and at which door alone.
fn addressed(to: To, most: usize) -> Result<(Audience, Option<String>), Problem> {
    match to {
        To::All(true) => Ok((Audience::All, None)),
        To::All(false) => {
            let detail = "to.all is false; right is true, or a door, or users";
            Err(bad_field("to.all", detail.to_owned()))
        }
        To::Door(door) => {
            let doors = Dialect::ALL.map(Dialect::door);
            if !doors.contains(&door.as_str()) {
                let shown: String = door.chars().take(40).collect();
                let detail = format!("to.door is {shown:?}; right is {}", doors.join(", "));
                return Err(bad_field("to.door", detail));
            }
            Ok((Audience::All, Some(door)))
        }
        To::Users(users) => {
            if users.is_empty() || users.len() > most {
                let named = users.len();
                let detail = format!("to.users has {named} ids; right is 1 to {most}");
                return Err(bad_field("to.users", detail));
            }
            let users = users
                .iter()
                .map(|user| asked::id("to.users", user, UserId::parse));
            let users = users.collect::<Result<_, _>>()?;
            Ok((Audience::Users(users), None))
        }
    }
}
