//! What happened in a room. It travels between nodes as MessagePack, with names, so that fields may be added.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::roles::Role;
use super::{Cursor, Viewport, agents, chat, comments, courier, notices, workspaces};
use crate::ids::{AgentId, EventId, SocketId, UserId};

/// What one Yjs client shows of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Awareness {
    pub client: u64,
    pub clock: u64,
    /// JSON; `null` when it is gone.
    pub state: Arc<str>,
    /// Whose it is.
    pub socket: SocketId,
    pub user: UserId,
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
        /// The whole text, on its way to sockets that take nothing else. It does not travel between nodes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<Arc<str>>,
        /// What changed, as Yjs says it. Missing in the log: the document has one of its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        update: Option<serde_bytes::ByteBuf>,
    },
    /// Cursors and the like of sockets that speak Yjs, as they say it; for certain nodes' documents.
    AwarenessChanged {
        entries: Vec<Awareness>,
    },
    /// A node has this document from now on, and wants to be told who is aware of it.
    AwarenessAsked,
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
    WorkspaceChanged(workspaces::Changed),
    AgentStarted(agents::Started),
    AgentProgressed(agents::Progressed),
    AgentCompleted(agents::Completed),
    /// For the nodes themselves: a user follows an agent from now on, or no more, on all sockets.
    Followed {
        user: UserId,
        agent: AgentId,
        on: bool,
    },
    /// To sockets wherever they are.
    Notified(notices::Notice),
    /// For the nodes themselves: nobody believes this token any more.
    TokenRevoked {
        token: String,
    },
}

impl Event {
    /// A latest-wins event is superseded by the next one of the same key; `None`: durable.
    pub fn latest_key(&self) -> Option<(&'static str, &str)> {
        match self {
            Event::CursorMoved { user, .. } => Some(("cursor", user.as_str())),
            Event::ViewportChanged { user, .. } => Some(("viewport", user.as_str())),
            Event::StatusChanged { user, .. } => Some(("status", user.as_str())),
            Event::AgentProgressed(progress) => Some(("progress", progress.agent.as_str())),
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
            Event::WorkspaceChanged(changed) => changed.user.as_ref(),
            Event::AgentStarted(started) => Some(&started.user),
            Event::Ended
            | Event::AwarenessChanged { .. }
            | Event::AwarenessAsked
            | Event::Directed(_)
            | Event::Notified(_)
            | Event::AgentProgressed(_)
            | Event::AgentCompleted(_)
            | Event::Followed { .. }
            | Event::TokenRevoked { .. } => None,
        }
    }

    /// The agent whose work it is.
    pub fn agent(&self) -> Option<&AgentId> {
        match self {
            Event::AgentStarted(started) => Some(&started.agent),
            Event::AgentProgressed(progress) => Some(&progress.agent),
            Event::AgentCompleted(completed) => Some(&completed.agent),
            _ => None,
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
