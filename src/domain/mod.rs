//! What people do in a session and what comes of it. Knows no socket, no JSON shape and no Redis command.
//!
//! A [`Command`] is what a socket asks; [`decide`] turns it into an [`Effect`], or into a [`Reject`] that
//! says why not. An [`Event`] is what happened; it travels between nodes as MessagePack, named.

pub mod accounts;
pub mod chat;
pub mod comments;
pub mod courier;
pub mod documents;
pub mod presence;
pub mod roles;
pub mod sessions;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{EventId, SocketId, UserId};

pub use self::presence::{Cursor, Member, Viewport};
use self::roles::Role;

/// What a socket asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    ChangeText {
        code: String,
        /// The version the sender changed; `None` replaces whatever is there.
        base: Option<u64>,
    },
    MoveCursor {
        cursor: Cursor,
        /// `None`: the session's main file.
        file: Option<String>,
        /// Passed on to the others as it came; not the session's text.
        code: Option<String>,
    },
    ShowViewport(Viewport),
    SetStatus {
        status: String,
    },
    ChangeLanguage {
        language: String,
    },
    Say(chat::Saying),
    Comment(comments::Saying),
    React {
        message: EventId,
        emoji: String,
        add: bool,
    },
    Edit {
        message: EventId,
        text: String,
    },
    Delete {
        message: EventId,
    },
    Resolve {
        comment: EventId,
        resolved: bool,
    },
    ChangeSession(sessions::Wish),
    Ping,
    /// Into a room of its choice, for who did not come through a session's door.
    Enter,
    Exit,
    /// A new token for the socket it comes on.
    Authenticate {
        token: String,
    },
    /// To certain users, wherever they are.
    Direct(courier::Parcel),
}

impl Command {
    /// Every [`Command::kind`].
    pub const KINDS: [&'static str; 17] = [
        "code_change",
        "cursor_move",
        "viewport",
        "status",
        "language_change",
        "chat",
        "comment",
        "reaction",
        "edit",
        "delete",
        "resolve",
        "session_update",
        "ping",
        "join",
        "leave",
        "auth",
        "collab_event",
    ];

    /// For counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Command::ChangeText { .. } => "code_change",
            Command::MoveCursor { .. } => "cursor_move",
            Command::ChangeLanguage { .. } => "language_change",
            Command::ShowViewport(_) => "viewport",
            Command::SetStatus { .. } => "status",
            Command::Say(_) => "chat",
            Command::Comment(_) => "comment",
            Command::React { .. } => "reaction",
            Command::Edit { .. } => "edit",
            Command::Delete { .. } => "delete",
            Command::Resolve { .. } => "resolve",
            Command::ChangeSession(_) => "session_update",
            Command::Ping => "ping",
            Command::Enter => "join",
            Command::Exit => "leave",
            Command::Authenticate { .. } => "auth",
            Command::Direct(_) => "collab_event",
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Joined {
        user: UserId,
        name: Arc<str>,
        /// Where roles are given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
    },
    Left {
        user: UserId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Arc<str>>,
    },
    TextChanged {
        user: UserId,
        /// Missing in the log, which leaves large texts to the state.
        code: Option<Arc<str>>,
    },
    CursorMoved {
        user: UserId,
        cursor: Cursor,
        /// `None`: the main file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        code: Option<String>,
    },
    ViewportChanged {
        user: UserId,
        viewport: Viewport,
    },
    StatusChanged {
        user: UserId,
        status: String,
    },
    LanguageChanged {
        user: UserId,
        language: String,
    },
    ChatPosted(chat::Line),
    CommentPosted(comments::Comment),
    MessageEdited {
        user: UserId,
        message: EventId,
        text: Arc<str>,
        mentions: Vec<UserId>,
        at: crate::clock::Millis,
    },
    MessageDeleted {
        user: UserId,
        message: EventId,
    },
    Reacted {
        user: UserId,
        message: EventId,
        emoji: String,
        added: bool,
        /// All who reacted so, after it.
        users: Vec<UserId>,
    },
    CommentResolved {
        user: UserId,
        comment: EventId,
        resolved: bool,
    },
    /// What the session is called, and so on; `None`: as it was.
    SessionChanged {
        user: UserId,
        title: Option<String>,
        description: Option<String>,
        default_role: Option<String>,
    },
    /// Somebody has another role; `None`: was sent away.
    ParticipantChanged {
        user: UserId,
        role: Option<String>,
    },
    Ended,
    /// With a user's first courier socket, and with the last.
    CameOnline {
        user: UserId,
        name: Arc<str>,
    },
    WentOffline {
        user: UserId,
    },
    Directed(courier::Directed),
    /// For the nodes themselves: nobody believes this token any more.
    TokenRevoked {
        token: String,
    },
}

impl Event {
    /// A latest-wins event is superseded by the next one of the same key; `None`: durable.
    pub fn latest_key(&self) -> Option<(&'static str, &UserId)> {
        match self {
            Event::CursorMoved { user, .. } => Some(("cursor", user)),
            Event::ViewportChanged { user, .. } => Some(("viewport", user)),
            Event::StatusChanged { user, .. } => Some(("status", user)),
            _ => None,
        }
    }

    /// The message it is about.
    pub fn message(&self) -> Option<EventId> {
        match self {
            Event::ChatPosted(line) => Some(line.id),
            Event::CommentPosted(comment) => Some(comment.line.id),
            Event::MessageEdited { message, .. }
            | Event::MessageDeleted { message, .. }
            | Event::Reacted { message, .. } => Some(*message),
            Event::CommentResolved { comment, .. } => Some(*comment),
            _ => None,
        }
    }

    /// Takes the words of messages out of it.
    pub fn blank(&mut self) {
        match self {
            Event::ChatPosted(line) => line.blank(),
            Event::CommentPosted(comment) => {
                comment.line.blank();
                comment.snippet = None;
            }
            Event::MessageEdited { text, mentions, .. } => {
                *text = "".into();
                mentions.clear();
            }
            _ => {}
        }
    }

    /// Who did it, if anybody in particular.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Event::ChatPosted(line) => Some(&line.user),
            Event::CommentPosted(comment) => Some(&comment.line.user),
            Event::Joined { user, .. }
            | Event::Left { user, .. }
            | Event::TextChanged { user, .. }
            | Event::CursorMoved { user, .. }
            | Event::ViewportChanged { user, .. }
            | Event::StatusChanged { user, .. }
            | Event::LanguageChanged { user, .. }
            | Event::MessageEdited { user, .. }
            | Event::MessageDeleted { user, .. }
            | Event::Reacted { user, .. }
            | Event::CommentResolved { user, .. }
            | Event::SessionChanged { user, .. }
            | Event::ParticipantChanged { user, .. }
            | Event::CameOnline { user, .. }
            | Event::WentOffline { user } => Some(user),
            Event::Ended | Event::Directed(_) | Event::TokenRevoked { .. } => None,
        }
    }

    /// Who is to be shown out.
    pub fn shows_out(&self) -> Option<&UserId> {
        match self {
            Event::ParticipantChanged { user, role } => match role.as_deref() {
                None => Some(user),
                Some(role) => (role == Role::Banned.word()).then_some(user),
            },
            _ => None,
        }
    }

    /// A text supersedes every older text, whoever wrote it.
    pub fn is_text(&self) -> bool {
        matches!(self, Event::TextChanged { .. })
    }
}

/// Why a command was not carried out. `code` is one of the documented error codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub code: Code,
    pub message: String,
    pub field: Option<&'static str>,
    pub retry_in_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    BadFrame,
    UnknownType,
    BadField,
    Forbidden,
    NotFound,
    Conflict,
    RateLimited,
    BackplaneUnavailable,
    RecordsUnavailable,
    TooMany,
}

impl Code {
    pub fn as_str(self) -> &'static str {
        match self {
            Code::BadFrame => "bad_frame",
            Code::UnknownType => "unknown_type",
            Code::BadField => "bad_field",
            Code::Forbidden => "forbidden",
            Code::NotFound => "not_found",
            Code::Conflict => "conflict",
            Code::RateLimited => "rate_limited",
            Code::BackplaneUnavailable => "backplane_unavailable",
            Code::RecordsUnavailable => "records_unavailable",
            Code::TooMany => "too_many",
        }
    }
}

impl Reject {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            retry_in_ms: None,
        }
    }

    pub fn field(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field: Some(field),
            ..Self::new(Code::BadField, message)
        }
    }

    pub fn unavailable() -> Self {
        Self {
            retry_in_ms: Some(1_000),
            ..Self::new(
                Code::BackplaneUnavailable,
                "the node cannot reach its cluster now; this may not have been saved; try again with the same id",
            )
        }
    }

    /// Nothing is written down at this moment.
    pub fn no_records() -> Self {
        Self {
            retry_in_ms: Some(1_000),
            ..Self::new(
                Code::RecordsUnavailable,
                "the database cannot be reached now; this was not done; try again with the same id",
            )
        }
    }

    /// Too fast: the frame was not executed.
    pub fn too_fast(what: &str, retry_in_ms: u64) -> Self {
        let message = format!("{what}; this was not done; send it again in a while");
        Self {
            retry_in_ms: Some(retry_in_ms),
            ..Self::new(Code::RateLimited, message)
        }
    }

    /// Whether the sender made a mistake, rather than having come at a bad time.
    pub fn is_bad_frame(&self) -> bool {
        matches!(
            self.code,
            Code::BadFrame | Code::UnknownType | Code::BadField
        )
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Actor {
    pub socket: SocketId,
    pub user: UserId,
    pub name: Arc<str>,
    /// Whether what is said there goes into the records, which take no NUL.
    pub recorded: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Durable: state, log and everyone who hears it.
    Commit(Write),
    /// Latest wins: told to the others, the last value kept with the member.
    Announce(Event),
    /// Goes into the records first, and is told then.
    Record(Deed),
    Pong,
    Enter,
    Exit,
    Route(courier::Directed),
    /// The socket's token is to be checked, and to take the old one's place.
    Renew(String),
}

/// What is written down before anybody is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    Post(chat::Line),
    Comment(comments::Comment),
    React {
        message: EventId,
        emoji: String,
        add: bool,
    },
    Edit {
        message: EventId,
        text: String,
    },
    Delete {
        message: EventId,
    },
    Resolve {
        comment: EventId,
        resolved: bool,
    },
    ChangeSession(sessions::Wish),
}

/// A durable effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    pub event: Event,
    pub to_sender: bool,
    pub field: Option<(&'static str, String)>,
    pub text: Option<documents::TextChange>,
}

impl Write {
    fn of(event: Event, to_sender: bool) -> Self {
        Self {
            event,
            to_sender,
            field: None,
            text: None,
        }
    }
}

/// Bounds of what a command may carry, in bytes.
#[derive(Debug, Clone)]
pub struct Limits {
    pub code_bytes: usize,
    pub chat_bytes: usize,
    /// Of a directed event: its data, and those it is for.
    pub data_bytes: usize,
    pub recipients: usize,
    /// Types of directed events beyond the four known ones.
    pub event_types: Arc<[String]>,
}

/// What comes of a command.
pub fn decide(
    command: Command,
    actor: &Actor,
    limits: &Limits,
    now: crate::clock::Millis,
) -> Result<Effect, Reject> {
    match command {
        Command::Ping => Ok(Effect::Pong),
        Command::Enter => Ok(Effect::Enter),
        Command::Exit => Ok(Effect::Exit),
        Command::Authenticate { token } => Ok(Effect::Renew(token)),
        Command::ChangeText { code, base } => {
            documents::change(code, base, actor, limits).map(Effect::Commit)
        }
        Command::MoveCursor { cursor, file, code } => {
            presence::move_cursor(cursor, file, code, actor, limits)
        }
        Command::ShowViewport(viewport) => presence::show_viewport(viewport, actor),
        Command::SetStatus { status } => presence::set_status(status, actor),
        Command::ChangeLanguage { language } => {
            sessions::change_language(language, actor).map(Effect::Commit)
        }
        Command::Direct(parcel) => courier::direct(parcel, actor, limits).map(Effect::Route),
        Command::Say(saying) => chat::say(saying, actor, limits, now),
        Command::Comment(saying) => comments::comment(saying, actor, limits, now),
        Command::React {
            message,
            emoji,
            add,
        } => chat::react(message, emoji, add, actor),
        Command::Edit { message, text } => chat::edit(message, text, actor, limits),
        Command::Delete { message } => recorded(actor, Deed::Delete { message }),
        Command::Resolve { comment, resolved } => {
            recorded(actor, Deed::Resolve { comment, resolved })
        }
        Command::ChangeSession(wish) => {
            wish.check()?;
            recorded(actor, Deed::ChangeSession(wish))
        }
    }
}

/// What only a recorded session can keep.
fn recorded(actor: &Actor, deed: Deed) -> Result<Effect, Reject> {
    if actor.recorded {
        return Ok(Effect::Record(deed));
    }
    Err(Reject::new(
        Code::Forbidden,
        "this session is not recorded, and cannot keep that; right is one made by POST /api/sessions",
    ))
}
