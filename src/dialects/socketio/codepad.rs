//! Code rooms: `join`, `change` and `leave` of a room; `receive` with its text.

use serde::Serialize;
use serde_json::value::RawValue;

use super::Words;
use crate::dialects::fields::required;
use crate::domain::{Code, Command, Reject};
use crate::ids::SessionId;

#[derive(Serialize)]
struct Receive<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'a str,
}

/// The fields any of the events may have.
#[derive(serde::Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
}

/// An event's command, and the room it is for.
pub fn command(event: &str, body: Option<&RawValue>) -> Result<(Command, SessionId), Reject> {
    let object = body.map(RawValue::get).filter(|json| json.starts_with('{'));
    let body: Body<'_> = object
        .and_then(|json| serde_json::from_str(json).ok())
        .ok_or_else(|| {
            let message = format!("{event} takes one object with a room");
            Reject::new(Code::BadFrame, message)
        })?;
    let room: String = required("room", body.room, "a string")?;
    let room = SessionId::parse(&room)
        .map_err(|error| Reject::field("room", error.named("room").to_string()))?;
    let command = match event {
        "join" => Command::Enter { since: None },
        "leave" => Command::Exit,
        _ => Command::ChangeText {
            code: required("code", body.code, "a string")?,
            base: None,
        },
    };
    Ok((command, room))
}

pub fn receive(code: &str, words: &mut Words<'_>) {
    let kind = "receive";
    words.event(kind, &Receive { kind, code });
}
