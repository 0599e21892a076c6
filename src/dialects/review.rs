//! The review dialect: JSON objects with a `type`, most of what they say in `data`, for sessions with roles, chat and
//! comments.
//!
//! Unknown fields are ignored, a `null` is a missing field. Field names in errors are those of the frame: `content`,
//! `data.file`.

mod frames;
mod welcome;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fields::{self, command_id, missing, object, optional, required, wrong_type};
use super::{Incoming, Refused};
use crate::domain::sessions::Wish;
use crate::domain::{Code, Command, Cursor, Reject, Viewport, chat, comments, presence};
use crate::ids::{EventId, UserId};

pub use self::frames::{encode, kind, reply};
pub use self::welcome::{ParticipantOut, Welcome};

/// Fields stay raw until it is known which of them the command needs; so an error can name its field.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    base_version: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    reply_to: Option<&'a RawValue>,
    #[serde(borrow)]
    to_user: Option<&'a RawValue>,
    #[serde(borrow)]
    file: Option<&'a RawValue>,
    #[serde(borrow)]
    line: Option<&'a RawValue>,
    #[serde(borrow)]
    column: Option<&'a RawValue>,
    #[serde(borrow)]
    start_line: Option<&'a RawValue>,
    #[serde(borrow)]
    end_line: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    code_snippet: Option<&'a RawValue>,
    #[serde(borrow)]
    message_id: Option<&'a RawValue>,
    #[serde(borrow)]
    comment_id: Option<&'a RawValue>,
    #[serde(borrow)]
    emoji: Option<&'a RawValue>,
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    #[serde(borrow)]
    resolved: Option<&'a RawValue>,
    #[serde(borrow)]
    title: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow)]
    language: Option<&'a RawValue>,
    #[serde(borrow)]
    default_role: Option<&'a RawValue>,
}

const COMMANDS: &str = "chat_message, cursor_update, viewport_update, presence_update, code_comment, reaction, \
                        session_update, message_edit, message_delete, comment_resolve, code_change, ping or auth";
const TEXT: &str = "a string";
const NUMBER: &str = "a whole number from 1";
const MESSAGE: &str = "the id of a message of this session";

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
    let kind: Option<Cow<'_, str>> = optional("type", frame.kind, TEXT)?;
    let data = || fields::data::<Data<'_>>(frame.data);
    match kind.as_deref() {
        Some("chat_message") => {
            let data = data()?;
            Ok(Command::Say(chat::Saying {
                text: required("content", frame.content, TEXT)?,
                reply_to: data.reply_to()?,
                to: data.to_user()?,
            }))
        }
        Some("cursor_update") => {
            let data = data()?;
            Ok(Command::MoveCursor {
                file: Some(data.file()?),
                cursor: Cursor {
                    line: line("line", required("data.line", data.line, NUMBER)?)?,
                    column: line("column", required("data.column", data.column, NUMBER)?)?,
                },
                code: None,
            })
        }
        Some("viewport_update") => {
            let data = data()?;
            Ok(Command::ShowViewport(Viewport {
                file: data.file()?.into(),
                start_line: line(
                    "start_line",
                    required("data.start_line", data.start_line, NUMBER)?,
                )?,
                end_line: line(
                    "end_line",
                    required("data.end_line", data.end_line, NUMBER)?,
                )?,
            }))
        }
        Some("presence_update") => Ok(Command::SetStatus {
            status: required("data.status", data()?.status, "active, idle or away")?,
        }),
        Some("code_comment") => comment(&data()?),
        Some("reaction") => reaction(&data()?),
        Some("session_update") => wish(&data()?),
        Some("message_edit") => {
            let data = data()?;
            Ok(Command::Edit {
                message: data.message_id()?,
                text: required("data.content", data.content, TEXT)?,
            })
        }
        Some("message_delete") => Ok(Command::Delete {
            message: data()?.message_id()?,
        }),
        Some("comment_resolve") => {
            let data = data()?;
            let comment = event_id("data.comment_id", data.comment_id)?;
            Ok(Command::Resolve {
                comment: comment.ok_or_else(|| missing("data.comment_id", MESSAGE))?,
                resolved: required("data.resolved", data.resolved, "true or false")?,
            })
        }
        Some("code_change" | "code_update") => Ok(Command::ChangeText {
            code: required("code", frame.code, TEXT)?,
            base: optional("base_version", frame.base_version, "a whole number")?,
        }),
        Some("ping") => Ok(Command::Ping),
        Some("auth") => Ok(Command::Authenticate {
            token: required("token", frame.token, TEXT)?,
        }),
        Some(other) => {
            let shown: String = other.chars().take(40).collect();
            let sentence = format!("the type {shown:?} is unknown; right is {COMMANDS}");
            Err(Reject::new(Code::UnknownType, sentence))
        }
        None => {
            let sentence = format!("the frame has no type; right is {COMMANDS}");
            Err(Reject::new(Code::BadFrame, sentence))
        }
    }
}

fn comment(data: &Data<'_>) -> Result<Command, Reject> {
    Ok(Command::Comment(comments::Saying {
        file: data.file()?,
        row: line("line", required("data.line", data.line, NUMBER)?)?,
        text: required("data.content", data.content, TEXT)?,
        snippet: optional("data.code_snippet", data.code_snippet, TEXT)?,
        reply_to: data.reply_to()?,
    }))
}

fn reaction(data: &Data<'_>) -> Result<Command, Reject> {
    let right = "add or remove";
    let action: Cow<'_, str> = required("data.action", data.action, right)?;
    let add = match &*action {
        "add" => true,
        "remove" => false,
        other => {
            let shown: String = other.chars().take(40).collect();
            let sentence = format!("data.action is {shown:?}; right is {right}");
            return Err(Reject::field("data.action", sentence));
        }
    };
    Ok(Command::React {
        message: data.message_id()?,
        emoji: required("data.emoji", data.emoji, TEXT)?,
        add,
    })
}

fn wish(data: &Data<'_>) -> Result<Command, Reject> {
    let wish = Wish {
        title: optional("data.title", data.title, TEXT)?,
        description: optional("data.description", data.description, TEXT)?,
        language: optional("data.language", data.language, TEXT)?,
        default_role: optional("data.default_role", data.default_role, TEXT)?,
    };
    if wish == Wish::default() {
        let right = "an object with title, description, language or default_role";
        return Err(missing("data", right));
    }
    Ok(Command::ChangeSession(wish))
}

impl Data<'_> {
    fn file(&self) -> Result<String, Reject> {
        required("data.file", self.file, TEXT)
    }

    fn reply_to(&self) -> Result<Option<EventId>, Reject> {
        event_id("data.reply_to", self.reply_to)
    }

    fn message_id(&self) -> Result<EventId, Reject> {
        let id = event_id("data.message_id", self.message_id)?;
        id.ok_or_else(|| missing("data.message_id", MESSAGE))
    }

    fn to_user(&self) -> Result<Option<UserId>, Reject> {
        let field = "data.to_user";
        let user: Option<Cow<'_, str>> = optional(field, self.to_user, "a user's id")?;
        let parsed = user.map(|user| UserId::parse(&user)).transpose();
        parsed.map_err(|bad| Reject::field(field, bad.named(field).to_string()))
    }
}

fn event_id(field: &'static str, raw: Option<&RawValue>) -> Result<Option<EventId>, Reject> {
    let text: Option<Cow<'_, str>> = optional(field, raw, MESSAGE)?;
    let id = text.map(|text| EventId::parse(&text).ok_or_else(|| wrong_type(field, MESSAGE)));
    id.transpose()
}

fn line(field: &'static str, number: u64) -> Result<u32, Reject> {
    presence::line(field, number)
}

/// As the frame calls what the domain complains of.
fn field_name(field: &'static str) -> &'static str {
    match field {
        "message" => "content",
        "to_user" => "data.to_user",
        "reply_to" => "data.reply_to",
        "file" => "data.file",
        "line" => "data.line",
        "column" => "data.column",
        "start_line" => "data.start_line",
        "end_line" => "data.end_line",
        "status" => "data.status",
        "code_snippet" => "data.code_snippet",
        "message_id" => "data.message_id",
        "comment_id" => "data.comment_id",
        "emoji" => "data.emoji",
        "title" => "data.title",
        "description" => "data.description",
        "language" => "data.language",
        "default_role" => "data.default_role",
        other => other,
    }
}

#[cfg(test)]
mod tests;
