//! What the review door's sockets are sent: one frame an event, one a reply.

use serde::Serialize;

use super::super::{Delivery, Reply};
use super::field_name;
use crate::clock::{Millis, rfc3339};
use crate::domain::chat::Line;
use crate::domain::comments::Comment;
use crate::domain::presence::MAIN_FILE;
use crate::domain::{Cursor, Event, Viewport};
use crate::ids::{Position, UserId};

#[derive(Serialize)]
pub(super) struct UserOut<'a> {
    pub user_id: &'a str,
    pub username: &'a str,
}

#[derive(Serialize)]
pub(super) struct CursorOut<'a> {
    pub file: &'a str,
    pub line: u32,
    pub column: u32,
}

#[derive(Serialize)]
pub(super) struct ViewportOut<'a> {
    pub file: &'a str,
    pub start_line: u32,
    pub end_line: u32,
}

/// A chat line, live and in histories alike.
#[derive(Serialize)]
pub(super) struct ChatOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    user: UserOut<'a>,
    content: &'a str,
    reply_to: Option<String>,
    mentions: &'a [UserId],
    #[serde(skip_serializing_if = "Option::is_none")]
    to_user: Option<&'a str>,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

#[derive(Serialize)]
struct CommentOut<'a> {
    file: &'a str,
    line: u32,
    content: &'a str,
    code_snippet: Option<&'a str>,
    reply_to: Option<String>,
    resolved: bool,
}

#[derive(Serialize)]
struct ReactionOut<'a> {
    message_id: String,
    emoji: &'a str,
    action: &'static str,
    users: &'a [UserId],
}

#[derive(Serialize)]
struct EditOut<'a> {
    message_id: String,
    content: &'a str,
    mentions: &'a [UserId],
    edited_at: String,
}

#[derive(Serialize)]
struct MessageOut {
    message_id: String,
}

#[derive(Serialize)]
struct ResolveOut {
    comment_id: String,
    resolved: bool,
}

#[derive(Serialize)]
struct StatusOut<'a> {
    status: &'a str,
}

#[derive(Default, Serialize)]
struct SessionOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_role: Option<&'a str>,
}

#[derive(Serialize)]
struct ParticipantOut<'a> {
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
}

/// What comes with every event.
#[derive(Serialize)]
struct Told<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    what: T,
    timestamp: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

/// Somebody's data.
#[derive(Serialize)]
struct Of<'a, T> {
    user_id: &'a str,
    data: T,
}

#[derive(Serialize)]
struct Data<T> {
    data: T,
}

#[derive(Serialize)]
struct Joined<'a> {
    user: UserOut<'a>,
    role: Option<&'a str>,
}

#[derive(Serialize)]
struct Left<'a> {
    user: UserOut<'a>,
}

#[derive(Serialize)]
struct Text<'a> {
    code: &'a str,
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

#[derive(Serialize)]
struct Remark<'a> {
    id: String,
    user: UserOut<'a>,
    data: CommentOut<'a>,
    mentions: &'a [UserId],
}

#[derive(Serialize)]
struct Nothing {}

/// What the frames of an event are called; `None`: there is no word for it.
pub fn kind(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::Joined { .. } => "user_joined",
        Event::Left { .. } => "user_left",
        Event::TextChanged { .. } => "code_update",
        Event::CursorMoved { .. } => "cursor_update",
        Event::ViewportChanged { .. } => "viewport_update",
        Event::StatusChanged { .. } => "presence_update",
        Event::LanguageChanged { .. } | Event::SessionChanged { .. } => "session_update",
        Event::ChatPosted(_) => "chat_message",
        Event::CommentPosted(_) => "code_comment",
        Event::MessageEdited { .. } => "message_edited",
        Event::MessageDeleted { .. } => "message_deleted",
        Event::Reacted { .. } => "reaction_update",
        Event::CommentResolved { .. } => "comment_resolved",
        Event::ParticipantChanged { .. } => "participant_update",
        Event::Ended => "session_ended",
        Event::AwarenessChanged { .. }
        | Event::AwarenessAsked
        | Event::CameOnline { .. }
        | Event::WentOffline { .. }
        | Event::Directed(_)
        | Event::WorkspaceChanged(_)
        | Event::AgentStarted(_)
        | Event::AgentProgressed(_)
        | Event::AgentCompleted(_)
        | Event::Followed { .. }
        | Event::Notified(_)
        | Event::TokenRevoked { .. } => return None,
    })
}

pub fn encode(delivery: &Delivery<'_>, out: &mut Vec<u8>) -> bool {
    let Some(kind) = kind(delivery.event) else {
        return false;
    };
    // A message was said when it was stored: so histories have it.
    let at = match delivery.event {
        Event::CommentPosted(comment) => comment.line.at,
        _ => delivery.at,
    };
    let timestamp = rfc3339(at);
    let mut frame = Pen {
        kind,
        timestamp: &timestamp,
        seq: delivery.seq,
        out,
    };
    match delivery.event {
        Event::Joined { user, name, role } => frame.write(Joined {
            user: user_out(user, name),
            role: role.as_deref(),
        }),
        Event::Left { user, name } => frame.write(Left {
            user: user_out(user, name.as_deref().unwrap_or(user.as_str())),
        }),
        // Only the log leaves the text out, and what comes from there is completed first.
        Event::TextChanged { code: None, .. } => return false,
        Event::TextChanged {
            user,
            code: Some(code),
            ..
        } => frame.write(Text {
            code,
            user_id: user.as_str(),
            version: delivery.version,
        }),
        Event::CursorMoved {
            user, cursor, file, ..
        } => frame.of(user, cursor_out(*cursor, file.as_deref())),
        Event::ViewportChanged { user, viewport } => frame.of(user, viewport_out(viewport)),
        Event::StatusChanged { user, status } => frame.of(user, StatusOut { status }),
        Event::ChatPosted(line) => write(&chat_out(line, delivery.seq), frame.out),
        Event::CommentPosted(comment) => frame.write(remark(comment)),
        Event::ParticipantChanged { user, role } => frame.write(Data {
            data: ParticipantOut {
                user_id: user.as_str(),
                role: role.as_deref(),
                removed: role.is_none(),
            },
        }),
        Event::Ended => frame.write(Nothing {}),
        Event::LanguageChanged { .. } | Event::SessionChanged { .. } => {
            changed(delivery.event, frame);
        }
        _ => about_message(delivery.event, frame),
    }
    true
}

/// What the session is called now, and so on.
fn changed(event: &Event, mut frame: Pen<'_>) {
    match event {
        Event::LanguageChanged { user, language } => frame.of(
            user,
            SessionOut {
                language: Some(language),
                ..SessionOut::default()
            },
        ),
        Event::SessionChanged {
            user,
            title,
            description,
            default_role,
        } => frame.of(
            user,
            SessionOut {
                title: title.as_deref(),
                description: description.as_deref(),
                default_role: default_role.as_deref(),
                language: None,
            },
        ),
        _ => {}
    }
}

/// What became of a message.
fn about_message(event: &Event, mut frame: Pen<'_>) {
    match event {
        Event::MessageEdited {
            user,
            message,
            text,
            mentions,
            at,
        } => frame.of(
            user,
            EditOut {
                message_id: message.to_string(),
                content: text,
                mentions,
                edited_at: rfc3339(*at),
            },
        ),
        Event::MessageDeleted { user, message } => frame.of(
            user,
            MessageOut {
                message_id: message.to_string(),
            },
        ),
        Event::Reacted {
            user,
            message,
            emoji,
            added,
            users,
        } => frame.of(
            user,
            ReactionOut {
                message_id: message.to_string(),
                emoji,
                action: if *added { "add" } else { "remove" },
                users,
            },
        ),
        Event::CommentResolved {
            user,
            comment,
            resolved,
        } => frame.of(
            user,
            ResolveOut {
                comment_id: comment.to_string(),
                resolved: *resolved,
            },
        ),
        _ => {}
    }
}

/// Writes one event.
struct Pen<'a> {
    kind: &'static str,
    timestamp: &'a str,
    seq: Option<u64>,
    out: &'a mut Vec<u8>,
}

impl Pen<'_> {
    fn write(&mut self, what: impl Serialize) {
        let told = Told {
            kind: self.kind,
            what,
            timestamp: self.timestamp,
            seq: self.seq,
        };
        write(&told, self.out);
    }

    fn of(&mut self, user: &UserId, data: impl Serialize) {
        let user_id = user.as_str();
        self.write(Of { user_id, data });
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ReplyOut<'a> {
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
}

pub fn reply(reply: &Reply<'_>, now: Millis, out: &mut Vec<u8>) {
    let text = |position: &Option<Position>| position.map(|p| p.to_string());
    let timestamp = rfc3339(now);
    let frame = match reply {
        Reply::Pong { position, id } => ReplyOut::Pong {
            timestamp: now,
            position: text(position),
            id: *id,
        },
        Reply::Resumed { position } => ReplyOut::Resumed {
            position: position.to_string(),
            timestamp,
        },
        Reply::TextAck {
            version,
            seq,
            position,
            id,
        } => ReplyOut::CodeAck {
            version: *version,
            seq: *seq,
            position: text(position),
            id: *id,
            timestamp,
        },
        Reply::Ack { seq, position, id } => ReplyOut::Ack {
            seq: *seq,
            position: text(position),
            id,
            timestamp,
        },
        Reply::AuthOk { expires_at, id } => ReplyOut::AuthOk {
            expires_at: rfc3339(*expires_at),
            id: *id,
            timestamp,
        },
        Reply::Rejected { reject, id } => ReplyOut::Error {
            code: reject.code.as_str(),
            message: &reject.message,
            field: reject.field.map(field_name),
            retry_in_ms: reject.retry_in_ms,
            id: *id,
            timestamp,
        },
        // Everyone is greeted alone here: see [`super::Welcome`]. The others answer packets and couriers.
        Reply::Greeting(_)
        | Reply::Done { .. }
        | Reply::Gone { .. }
        | Reply::NoNamespace { .. }
        | Reply::Connected { .. }
        | Reply::Routed { .. } => return,
    };
    write(&frame, out);
}

pub(super) fn user_out<'a>(user: &'a UserId, name: &'a str) -> UserOut<'a> {
    UserOut {
        user_id: user.as_str(),
        username: name,
    }
}

pub(super) fn cursor_out(cursor: Cursor, file: Option<&str>) -> CursorOut<'_> {
    CursorOut {
        file: file.unwrap_or(MAIN_FILE),
        line: cursor.line,
        column: cursor.column,
    }
}

pub(super) fn viewport_out(viewport: &Viewport) -> ViewportOut<'_> {
    ViewportOut {
        file: &viewport.file,
        start_line: viewport.start_line,
        end_line: viewport.end_line,
    }
}

pub(super) fn chat_out(line: &Line, seq: Option<u64>) -> ChatOut<'_> {
    ChatOut {
        kind: "chat_message",
        id: line.id.to_string(),
        user: user_out(&line.user, &line.name),
        content: &line.text,
        reply_to: line.reply_to.map(|id| id.to_string()),
        mentions: &line.mentions,
        to_user: line.to.as_ref().map(UserId::as_str),
        timestamp: rfc3339(line.at),
        seq,
    }
}

fn remark(comment: &Comment) -> Remark<'_> {
    let line = &comment.line;
    Remark {
        id: line.id.to_string(),
        user: user_out(&line.user, &line.name),
        data: CommentOut {
            file: &comment.file,
            line: comment.row,
            content: &line.text,
            code_snippet: comment.snippet.as_deref(),
            reply_to: line.reply_to.map(|id| id.to_string()),
            resolved: false,
        },
        mentions: &line.mentions,
    }
}

fn write(frame: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, frame).expect("writing plain fields to memory cannot fail");
}
