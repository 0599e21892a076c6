//! What people do in a session and what comes of it. Knows no socket, no JSON shape and no Redis command.
//!
//! A [`Command`] is what a socket asks; [`decide`] turns it into an [`Effect`], or into a [`Reject`] that
//! says why not. An [`Event`] is what happened.

pub mod accounts;
pub mod agents;
pub mod chat;
pub mod comments;
pub mod courier;
pub mod documents;
mod event;
pub mod notices;
pub mod presence;
mod reject;
pub mod roles;
pub mod sessions;
pub mod teams;
pub mod workspaces;

use std::sync::Arc;

pub use self::event::{Awareness, Event};
pub use self::presence::{Cursor, Member, Viewport};
pub use self::reject::{Code, Reject};
use crate::ids::{AgentId, EventId, Position, SocketId, UserId};

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
    /// Into a room of its choice, for who did not come through a session's door; back into it, from where it was.
    Enter {
        since: Option<Position>,
    },
    Exit,
    /// A new token for the socket it comes on.
    Authenticate {
        token: String,
    },
    /// To certain users, wherever they are.
    Direct(courier::Parcel),
    /// Something in a workspace is another now.
    ChangeWorkspace {
        kind: String,
        /// A JSON object, without the kind.
        body: String,
    },
    /// An agent tells of its run.
    Report(agents::Word),
}

impl Command {
    /// Every [`Command::kind`].
    pub const KINDS: [&'static str; 21] = [
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
        "workspace_update",
        "agent_execution_start",
        "agent_execution_update",
        "agent_execution_complete",
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
            Command::Enter { .. } => "join",
            Command::Exit => "leave",
            Command::Authenticate { .. } => "auth",
            Command::Direct(_) => "collab_event",
            Command::ChangeWorkspace { .. } => "workspace_update",
            Command::Report(agents::Word::Start(_)) => "agent_execution_start",
            Command::Report(agents::Word::Update(_)) => "agent_execution_update",
            Command::Report(agents::Word::Complete(_)) => "agent_execution_complete",
        }
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
    /// For which agents it may speak.
    pub voice: Voice,
}

/// For which agents somebody may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    All,
    /// The one that has its own id.
    Own,
    None,
}

impl Actor {
    pub fn speaks_for(&self, agent: &AgentId) -> bool {
        match self.voice {
            Voice::All => true,
            Voice::Own => self.user.as_str() == agent.as_str(),
            Voice::None => false,
        }
    }
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
    Enter {
        since: Option<Position>,
    },
    Exit,
    Route(courier::Directed),
    /// Of an agent's run, whose state says what comes of it.
    Report(agents::Word),
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
        Command::Enter { since } => Ok(Effect::Enter { since }),
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
        Command::ChangeWorkspace { kind, body } => {
            workspaces::change(kind, body, actor).map(Effect::Commit)
        }
        Command::Report(word) => {
            word.check(actor)?;
            Ok(Effect::Report(word))
        }
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
