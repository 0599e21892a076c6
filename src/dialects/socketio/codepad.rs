//! Code rooms: `join`, `change` and `leave` of a room; `receive` with its text.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::packet::write;
use crate::dialects::Delivery;
use crate::domain::sessions::View;
use crate::domain::{Code, Command, Event, Reject};
use crate::ids::SessionId;

const EVENTS: &str = "join, change, leave or ping";

#[derive(Serialize)]
struct Receive<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'a str,
}

/// The fields any of the events may have.
#[derive(serde::Deserialize)]
struct Argument<'a> {
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
}

/// An event's command, and the room it is for.
pub fn command(
    event: &str,
    argument: Option<&RawValue>,
) -> Result<(Command, Option<SessionId>), Reject> {
    if event == "ping" {
        return Ok((Command::Ping, None));
    }
    if !matches!(event, "join" | "change" | "leave") {
        let shown: String = event.chars().take(40).collect();
        let message = format!("the event {shown:?} is unknown; right is {EVENTS}");
        return Err(Reject::new(Code::UnknownType, message));
    }
    let object = argument
        .map(RawValue::get)
        .filter(|json| json.starts_with('{'));
    let argument: Argument<'_> = object
        .and_then(|json| serde_json::from_str(json).ok())
        .ok_or_else(|| {
            let message = format!("{event} takes one object with a room");
            Reject::new(Code::BadFrame, message)
        })?;
    let room: String = required("room", argument.room)?;
    let room = SessionId::parse(&room).map_err(|error| Reject::field("room", error.to_string()))?;
    let command = match event {
        "join" => Command::Enter,
        "leave" => Command::Exit,
        _ => Command::ChangeText {
            code: required("code", argument.code)?,
            base: None,
        },
    };
    Ok((command, Some(room)))
}

fn required<T: DeserializeOwned>(field: &'static str, raw: Option<&RawValue>) -> Result<T, Reject> {
    let value = raw.and_then(|raw| serde_json::from_str(raw.get()).ok());
    value.ok_or_else(|| Reject::field(field, format!("{field} is to be a string")))
}

/// Writes the event; false when code rooms have no word for it.
pub fn encode(delivery: &Delivery<'_>, out: &mut Vec<u8>) -> bool {
    match delivery.event {
        Event::TextChanged {
            code: Some(code), ..
        } => receive(code, out),
        Event::Ended => {
            let message = "the session has ended";
            write::event("error", &serde_json::json!({ "message": message }), out);
        }
        _ => return false,
    }
    true
}

/// Who comes into a room without a text is told nothing.
pub fn greeting(view: &View, out: &mut Vec<u8>) {
    if !view.code.is_empty() {
        receive(&view.code, out);
    }
}

fn receive(code: &str, out: &mut Vec<u8>) {
    let kind = "receive";
    write::event(kind, &Receive { kind, code }, out);
}
