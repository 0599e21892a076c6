//! The pairing dialect: flat JSON objects with a `type`, for sessions of people who program together.
//!
//! Two spellings of each command are taken (`chat` and `chat_message`, `cursor` and `cursor_move`, …),
//! because clients of the service this replaces use both. Unknown fields are ignored, a `null` is a missing
//! field.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fields::{command_id, missing, object, optional, required, wrong_type};
use super::{Delivery, Incoming, Refused, Reply};
use crate::clock::{Millis, rfc3339};
use crate::domain::sessions::View;
use crate::domain::{Code, Command, Cursor, Event, Reject, chat};

/// Fields stay raw until it is known which of them the command needs; so an error can name its field.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    base_version: Option<&'a RawValue>,
    #[serde(borrow)]
    cursor: Option<&'a RawValue>,
    #[serde(borrow)]
    language: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCursor {
    line_number: u64,
    column: u64,
}

const COMMANDS: &str = "code_change, code_update, cursor_move, cursor, language_change, language, chat, \
                        chat_message, ping or auth";

pub fn decode(text: &str) -> Result<Incoming, Refused> {
    let frame = parse(text).map_err(|reject| Refused { reject, id: None })?;
    let id = command_id(frame.id).map_err(|reject| Refused { reject, id: None })?;
    match command(&frame) {
        Ok(command) => Ok(Incoming { command, id }),
        Err(reject) => Err(Refused { reject, id }),
    }
}

pub fn id_of(text: &str) -> Option<String> {
    command_id(parse(text).ok()?.id).ok()?
}

fn parse(text: &str) -> Result<Frame<'_>, Reject> {
    object(text, "a frame is one JSON object with a type")
}

fn command(frame: &Frame<'_>) -> Result<Command, Reject> {
    let kind: Option<Cow<'_, str>> = optional("type", frame.kind, "a string")?;
    match kind.as_deref() {
        Some("code_change" | "code_update") => Ok(Command::ChangeText {
            code: required("code", frame.code, "a string")?,
            base: optional("base_version", frame.base_version, "a whole number")?,
        }),
        Some("cursor_move" | "cursor") => {
            let place = "an object with lineNumber and column";
            // A list would be taken for the fields in order.
            if frame.cursor.is_some_and(|raw| raw.get().starts_with('[')) {
                return Err(wrong_type("cursor", place));
            }
            let cursor: WireCursor = required("cursor", frame.cursor, place)?;
            Ok(Command::MoveCursor {
                cursor: Cursor::checked(cursor.line_number, cursor.column)?,
                file: None,
                code: optional("code", frame.code, "a string")?,
            })
        }
        Some("language_change" | "language") => Ok(Command::ChangeLanguage {
            language: required("language", frame.language, "a string")?,
        }),
        Some("chat" | "chat_message") => {
            let here: Option<String> = optional("message", frame.message, "a string")?;
            let said = match here {
                None => optional("text", frame.text, "a string")?,
                here => here,
            };
            let said = said.ok_or_else(|| missing("message", "a string, here or in text"))?;
            Ok(Command::Say(chat::Saying::from(said)))
        }
        Some("ping") => Ok(Command::Ping),
        Some("auth") => Ok(Command::Authenticate {
            token: required("token", frame.token, "a string")?,
        }),
        Some(other) => {
            let shown: String = other.chars().take(40).collect();
            Err(Reject::new(
                Code::UnknownType,
                format!("the type {shown:?} is unknown; right is {COMMANDS}"),
            ))
        }
        None => Err(Reject::new(
            Code::BadFrame,
            format!("the frame has no type; right is {COMMANDS}"),
        )),
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Out<'a> {
    SessionState {
        session_id: &'a str,
        question_id: &'a str,
        code: &'a str,
        chat: Vec<ChatOut<'a>>,
        language: &'a str,
        users: Vec<UserOut<'a>>,
        user_count: u64,
        created_at: &'a str,
        version: u64,
        position: Option<String>,
        resumed: bool,
        timestamp: String,
    },
    UserJoined {
        user_id: &'a str,
        username: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        timestamp: String,
    },
    UserLeft {
        user_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        timestamp: String,
    },
    CodeUpdate {
        code: &'a str,
        user_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        timestamp: String,
    },
    CursorMove {
        user_id: &'a str,
        cursor: CursorOut,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'a str>,
        timestamp: String,
    },
    LanguageChange {
        language: &'a str,
        user_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        timestamp: String,
    },
    SessionEnded {
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        timestamp: String,
    },
    Pong {
        timestamp: Millis,
        position: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
    },
    Resumed {
        position: String,
        timestamp: String,
    },
    CodeAck {
        version: u64,
        seq: u64,
        position: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        timestamp: String,
    },
    Ack {
        seq: u64,
        position: Option<String>,
        id: &'a str,
        timestamp: String,
    },
    AuthOk {
        expires_at: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        timestamp: String,
    },
    Error {
        code: &'static str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_in_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        timestamp: String,
    },
    /// Brings its own type.
    #[serde(untagged)]
    Chat(ChatOut<'a>),
}

/// A chat line, live and in the greeting's history alike.
#[derive(Serialize)]
struct ChatOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    user_id: &'a str,
    username: &'a str,
    text: &'a str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    timestamp: String,
}

#[derive(Serialize)]
struct UserOut<'a> {
    user_id: &'a str,
    username: &'a str,
    cursor: Option<CursorOut>,
    status: &'a str,
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

pub fn encode(delivery: &Delivery<'_>, out: &mut Vec<u8>) -> bool {
    let timestamp = rfc3339(delivery.at);
    let seq = delivery.seq;
    let frame = match delivery.event {
        Event::Joined { user, name, .. } => Out::UserJoined {
            user_id: user.as_str(),
            username: name,
            seq,
            timestamp,
        },
        Event::Left { user, .. } => Out::UserLeft {
            user_id: user.as_str(),
            seq,
            timestamp,
        },
        // Only the log leaves the text out, and what comes from there is completed first.
        Event::TextChanged { code: None, .. } => return false,
        Event::TextChanged {
            user,
            code: Some(code),
            ..
        } => Out::CodeUpdate {
            code,
            user_id: user.as_str(),
            version: delivery.version,
            seq,
            timestamp,
        },
        // The others' cursors are in files that this door does not have.
        Event::CursorMoved { file: Some(_), .. } => return false,
        Event::CursorMoved {
            user, cursor, code, ..
        } => Out::CursorMove {
            user_id: user.as_str(),
            cursor: (*cursor).into(),
            code: code.as_deref(),
            timestamp,
        },
        Event::LanguageChanged { user, language } => Out::LanguageChange {
            language,
            user_id: user.as_str(),
            seq,
            timestamp,
        },
        Event::ChatPosted(line) => Out::Chat(chat_out(line, seq)),
        Event::Ended => Out::SessionEnded { seq, timestamp },
        Event::AwarenessChanged { .. }
        | Event::AwarenessAsked
        | Event::CameOnline { .. }
        | Event::WentOffline { .. }
        | Event::Directed(_)
        | Event::ViewportChanged { .. }
        | Event::StatusChanged { .. }
        | Event::CommentPosted(_)
        | Event::MessageEdited { .. }
        | Event::MessageDeleted { .. }
        | Event::Reacted { .. }
        | Event::CommentResolved { .. }
        | Event::SessionChanged { .. }
        | Event::ParticipantChanged { .. }
        | Event::WorkspaceChanged(_)
        | Event::AgentStarted(_)
        | Event::AgentProgressed(_)
        | Event::AgentCompleted(_)
        | Event::Followed { .. }
        | Event::Notified(_)
        | Event::TokenRevoked { .. } => return false,
    };
    write(&frame, out);
    true
}

pub fn reply(reply: &Reply<'_>, now: Millis, out: &mut Vec<u8>) {
    let text = |position: &Option<crate::ids::Position>| position.map(|p| p.to_string());
    let timestamp = rfc3339(now);
    let frame = match reply {
        Reply::Greeting(view) => greeting(view, timestamp),
        Reply::Pong { position, id } => Out::Pong {
            timestamp: now,
            position: text(position),
            id: *id,
        },
        Reply::Resumed { position } => Out::Resumed {
            position: position.to_string(),
            timestamp,
        },
        Reply::TextAck {
            version,
            seq,
            position,
            id,
        } => Out::CodeAck {
            version: *version,
            seq: *seq,
            position: text(position),
            id: *id,
            timestamp,
        },
        Reply::Ack { seq, position, id } => Out::Ack {
            seq: *seq,
            position: text(position),
            id,
            timestamp,
        },
        Reply::AuthOk { expires_at, id } => Out::AuthOk {
            expires_at: rfc3339(*expires_at),
            id: *id,
            timestamp,
        },
        // Answers to packets and couriers, of which there are none here.
        Reply::Done { .. }
        | Reply::Gone { .. }
        | Reply::NoNamespace { .. }
        | Reply::Connected { .. }
        | Reply::Routed { .. } => return,
        Reply::Rejected { reject, id } => Out::Error {
            code: reject.code.as_str(),
            message: &reject.message,
            field: reject.field,
            retry_in_ms: reject.retry_in_ms,
            id: *id,
            timestamp,
        },
    };
    write(&frame, out);
}

fn greeting(view: &View, timestamp: String) -> Out<'_> {
    Out::SessionState {
        session_id: view.session.as_str(),
        question_id: &view.question_id,
        code: &view.code,
        chat: view
            .chat
            .iter()
            .map(|(seq, line)| chat_out(line, Some(*seq)))
            .collect(),
        language: &view.language,
        users: view
            .users
            .iter()
            .map(|present| UserOut {
                user_id: present.user.as_str(),
                username: &present.name,
                cursor: present
                    .cursor
                    .filter(|_| present.file.is_none())
                    .map(CursorOut::from),
                status: &present.status,
            })
            .collect(),
        user_count: view.user_count,
        created_at: &view.created_at,
        version: view.version,
        position: view.position.map(|position| position.to_string()),
        resumed: false,
        timestamp,
    }
}

fn chat_out(line: &chat::Line, seq: Option<u64>) -> ChatOut<'_> {
    ChatOut {
        kind: "chat_message",
        user_id: line.user.as_str(),
        username: &line.name,
        text: &line.text,
        id: line.id.to_string(),
        to_user: line.to.as_ref().map(crate::ids::UserId::as_str),
        seq,
        timestamp: rfc3339(line.at),
    }
}

fn write(frame: &Out<'_>, out: &mut Vec<u8>) {
    serde_json::to_writer(out, frame).expect("writing plain fields to memory cannot fail");
}

#[cfg(test)]
mod tests;
