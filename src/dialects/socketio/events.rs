//! What a client says: an event by its name, and its body.

use serde_json::value::RawValue;

use super::{codepad, courier};
use crate::dialects::fields::{command_id, required};
use crate::domain::{Code, Command, Reject};
use crate::ids::SessionId;

const EVENTS: &str = "join, change, leave, collab_event, auth or ping";

/// An event that makes sense.
#[derive(Debug)]
pub struct Asked {
    pub command: Command,
    /// The room it is for, when its body names one.
    pub room: Option<SessionId>,
    /// The sender's own id for it.
    pub id: Option<String>,
}

/// An event that does not, with its id if that could be read.
#[derive(Debug)]
pub struct Senseless {
    pub reject: Reject,
    pub id: Option<String>,
}

#[derive(Default, serde::Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

impl<'a> Body<'a> {
    fn read(body: Option<&'a RawValue>) -> Self {
        let object = body.filter(|body| body.get().starts_with('{'));
        let fields = object.and_then(|body| serde_json::from_str(body.get()).ok());
        fields.unwrap_or_default()
    }
}

/// The sender's own id of an event with this body.
pub fn id(body: Option<&RawValue>) -> Option<String> {
    command_id(Body::read(body).id).ok().flatten()
}

pub fn read(event: &str, body: Option<&RawValue>) -> Result<Asked, Senseless> {
    let fields = Body::read(body);
    let id = command_id(fields.id).map_err(|reject| Senseless { reject, id: None })?;
    let command = match event {
        "join" | "change" | "leave" => {
            codepad::command(event, body).map(|(command, room)| (command, Some(room)))
        }
        "collab_event" => {
            courier::parcel(body, id.clone()).map(|parcel| (Command::Direct(parcel), None))
        }
        "auth" => required("token", fields.token, "a string")
            .map(|token| (Command::Authenticate { token }, None)),
        "ping" => Ok((Command::Ping, None)),
        _ => {
            let shown: String = event.chars().take(40).collect();
            let message = format!("the event {shown:?} is unknown; right is {EVENTS}");
            Err(Reject::new(Code::UnknownType, message))
        }
    };
    match command {
        Ok((command, room)) => Ok(Asked { command, room, id }),
        Err(reject) => Err(Senseless { reject, id }),
    }
}
