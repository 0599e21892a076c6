//! State, order and delivery of rooms, shared by every node.
//!
//! One trait, two implementations, one contract: `memory` serves a single node with nothing else
//! installed, `redis` makes many nodes one. State, log and publication are united because they must
//! happen in one step: an event that was committed is in the state, in the log and on its way.
//! The backplane knows no dialect and no meaning: fields and events are bytes to it.
//!
//! Promises, which the contract tests hold against both:
//! - a commit is atomic; its `seq` is the room's next; listeners hear seqs of a room in order;
//! - what is heard may be lost (a broken link) or doubled (a reconnect), never altered; the log
//!   has it, up to its length and age;
//! - after `listen` returns, everything published from then on is heard or reported as a gap;
//! - nothing here blocks the one who hears: [`Ear`]s take what is given and return at once.

mod cluster;
mod courier;
pub mod documents;
mod envelope;
mod index;
pub mod memory;
mod mirror;
pub mod redis;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use cluster::{Beat, Cluster, Counters, Held, NodeReport};
pub use courier::{CONTACTS, Card, Courier, Inbox, Letter, Receipt, Registry};
pub use documents::{Documents, TextEntry};
pub use envelope::{BadEnvelope, Draft, Envelope, NEWEST as ENVELOPE_VERSION};
pub use index::{Index, Queue, Shelf};
pub use mirror::Mirror;

use crate::ids::{Epoch, Position, Room, SocketId, UserId};

/// Members listed in a snapshot; their number is exact beyond it.
pub const MEMBERS_LISTED: usize = 1_000;

/// Events of a room that ends.
pub const LAST: usize = 256;

/// Sockets that leave a room in one step.
pub const EXITS: usize = 500;

/// Who of a room hears an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audience {
    All,
    /// All but one socket, as a rule the one it came from.
    Except(SocketId),
    /// Only these users' sockets.
    Users(Vec<UserId>),
}

/// Fields of a room's state hash, by their documented names.
pub type Fields = Vec<(&'static str, String)>;

/// A durable event and what it does to its room.
#[derive(Debug, Clone)]
pub struct Change {
    pub draft: Draft,
    /// What the log keeps when that is not the event itself: large texts are in the state.
    pub logged: Option<Bytes>,
    pub fields: Fields,
    /// What changes the text.
    pub text: Option<TextEntry>,
    pub history: Option<History>,
    /// The sender's own id for the command: a repeat changes nothing and gets the first answer.
    pub once: Option<(UserId, String)>,
    /// A user's new role in the room; empty: the default.
    pub role: Option<(UserId, String)>,
    /// Who does it, and the roles of which the room must give that user one. [`Error::Forbidden`] otherwise.
    pub by: Option<(UserId, &'static [&'static str])>,
    /// A field that must have this value, a missing one none at all. [`Error::Unmet`] otherwise.
    pub when: Option<(&'static str, String)>,
    /// Whether the envelope also goes to the room's [hooks](Index).
    pub hook: bool,
}

impl Change {
    /// An event that does nothing to its room but to happen.
    pub fn of(draft: Draft) -> Self {
        Self {
            draft,
            logged: None,
            fields: Fields::new(),
            text: None,
            history: None,
            once: None,
            role: None,
            by: None,
            when: None,
            hook: false,
        }
    }
}

/// What becomes of the room's chat history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum History {
    /// One more line.
    Push(Bytes),
    /// The line that has these bytes is that one now, or none; if it is still there.
    Replace {
        known_by: Bytes,
        line: Option<Bytes>,
    },
}

/// What a room says of a user before anybody enters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// A match named its users.
    pub matched: bool,
    /// Of a recorded room.
    pub role: Option<String>,
}

/// Fields of a room's state by which it gives roles: a recorded one's host is a user with the role of that name, who has
/// a field behind [`ROLE`] has what stands there, and all others have the default.
pub const RECORDED: &str = "recorded";
pub const HOST: &str = "host";
pub const DEFAULT_ROLE: &str = "default_role";
/// In front of a user's id.
pub const ROLE: &str = "role:";
/// The field that says until when a room is kept that nobody is in, in milliseconds since 1970.
pub const KEPT_UNTIL: &str = "kept_until";
/// With this role nobody enters.
pub const BANNED: &str = "banned";

/// The role that such fields give a user.
fn role_of(user: &UserId, host: Option<&str>, own: Option<&str>, default: Option<&str>) -> String {
    if host == Some(user.as_str()) {
        return HOST.to_owned();
    }
    let own = own.filter(|role| !role.is_empty());
    own.or(default).unwrap_or_default().to_owned()
}

/// What a commit got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    pub position: Position,
    /// The text's version after the commit.
    pub version: u64,
    /// True when the command had been committed before and nothing was done now.
    pub repeated: bool,
}

/// A socket that comes into a room, or that is there and says so again.
#[derive(Debug, Clone)]
pub struct Entry {
    pub socket: SocketId,
    pub user: UserId,
    /// The member record, opaque here.
    pub member: Bytes,
    /// Published if this is the user's first socket in the room.
    pub joined: Option<Draft>,
    /// Initial fields if the room is made now; `None`: a missing room stays missing.
    pub create: Option<Fields>,
}

/// A socket that goes.
#[derive(Debug, Clone)]
pub struct Exit {
    pub socket: SocketId,
    pub user: UserId,
    /// Published if this was the user's last socket in the room.
    pub left: Option<Draft>,
}

/// What a room was at one instant.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub epoch: Option<Epoch>,
    pub seq: u64,
    /// Every field of the state hash, `version` among them.
    pub fields: HashMap<String, String>,
    /// Member records, at most [`MEMBERS_LISTED`].
    pub members: Vec<Bytes>,
    /// Distinct users in the room.
    pub users: u64,
    /// Chat history, oldest first: seq and line.
    pub chat: Vec<(u64, Bytes)>,
}

impl Snapshot {
    /// Where the room was; `None` when there is no such room.
    pub fn position(&self) -> Option<Position> {
        self.epoch.map(|epoch| Position {
            epoch,
            seq: self.seq,
        })
    }

    pub fn ended(&self) -> bool {
        self.fields.contains_key("ended")
    }
}

/// The log after a position.
#[derive(Debug, Clone)]
pub enum Replay {
    /// Every event since, in order, without a hole.
    Events(Vec<Envelope>),
    /// The log does not reach back, or belongs to another epoch: take a snapshot.
    Gone,
}

/// What `create` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    New,
    Existing,
    Ended,
}

/// Why the backplane did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the backplane is away: {0}")]
    Unavailable(String),
    #[error("the room does not exist")]
    Missing,
    #[error("the room has ended")]
    Ended,
    #[error("your role in this session does not allow this, or you are banned from it")]
    Forbidden,
    #[error("all places of the user are taken")]
    Full,
    #[error("the room is not in the state that this was for")]
    Unmet,
    #[error("the text is not the one any more that this was for")]
    Stale,
}

/// The link to the other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Not connected since the start.
    Never,
    Up,
    Away,
}

/// Takes what a backplane hears. Calls come from the backplane's own tasks, must not block, and for
/// one room come one after the other.
pub trait Ear: Send + Sync + 'static {
    fn heard(&self, envelope: Envelope);
    /// Something of this room may have been missed: compare with the log.
    fn gap(&self, room: Room);
    /// The link came back after a loss, and listens again. Every room may have missed something.
    fn resumed(&self);
}

/// How much a backplane keeps, and how long.
#[derive(Debug, Clone)]
pub struct Keep {
    pub log_length: u64,
    pub log_ttl: Duration,
    pub chat_history: u64,
    pub idempotency: Duration,
    pub session_grace: Duration,
    pub session_ttl: Duration,
    pub ended_ttl: Duration,
    pub inbox: InboxKeep,
    /// How long an agent outlives its last run.
    pub agent_ttl: Duration,
    /// Envelopes that wait in the hooks of a room.
    pub hooks_length: u64,
}

impl Keep {
    /// How long a room lives that nobody comes to; `None`: for ever.
    fn unvisited(&self, room: &Room) -> Option<Duration> {
        match room {
            Room::Lobby => None,
            _ => Some(self.session_ttl),
        }
    }
}

/// How much is kept for users who are away.
#[derive(Debug, Clone, Copy)]
pub struct InboxKeep {
    /// Whether anything is.
    pub absent: bool,
    /// Letters, and bytes of them, that somebody has not been told.
    pub length: u64,
    pub bytes: u64,
    /// From the last one on.
    pub ttl: Duration,
}

#[async_trait]
pub trait Backplane: Cluster + Courier + Documents + Index + Mirror {
    /// State, log and publication in one step. [`Error::Unavailable`] leaves open whether it was
    /// done: repeat with `once` set.
    async fn commit(&self, room: &Room, change: Change) -> Result<Committed, Error>;

    /// Publishes without a seq and without a log, if there is something to publish, and replaces the socket's member
    /// record if the socket is (still) a member. May be lost.
    async fn announce(
        &self,
        room: &Room,
        draft: Option<Draft>,
        member: Option<(SocketId, Bytes)>,
    ) -> Result<(), Error>;

    /// Publishes without a seq and without a log, and puts these fields into the state, if the field `when` has that
    /// value: [`Error::Unmet`] otherwise, [`Error::Missing`] or [`Error::Ended`] without such a room. May be lost.
    async fn report(
        &self,
        room: &Room,
        draft: Draft,
        fields: Fields,
        when: (&'static str, String),
    ) -> Result<(), Error>;

    /// Makes the socket a member; a repeat changes nothing. Commits `joined` with a user's first one. Who is
    /// [`BANNED`] there gets [`Error::Forbidden`].
    async fn enter(&self, room: &Room, entry: Entry) -> Result<(), Error>;

    /// Undoes `enter` for each of these sockets; idempotent. Commits `left` with a user's last socket.
    /// When nobody is left the room begins to expire, not before the time in its field [`KEPT_UNTIL`]. At most [`EXITS`] at once.
    async fn leave(&self, room: &Room, exits: Vec<Exit>) -> Result<(), Error>;

    /// Makes a room nobody is in yet, with these roles of users and this chat history, the oldest line first; it expires
    /// when nobody comes, not before the time in its field [`KEPT_UNTIL`]; the lobby never does.
    async fn create(
        &self,
        room: &Room,
        fields: Fields,
        roles: Vec<(UserId, String)>,
        chat: Vec<Bytes>,
    ) -> Result<Created, Error>;

    /// Ends the room for good: commits `draft`, drops everything but a marker that expires. The answer is the end of the
    /// log that goes with it, at most [`LAST`] events, the end itself the last of them.
    async fn end(&self, room: &Room, draft: Draft) -> Result<Vec<Envelope>, Error>;

    /// Whether the room is there: `Missing` or `Ended` say why not. And what it is to the user.
    async fn standing(&self, room: &Room, user: &UserId) -> Result<Access, Error>;

    /// The users a room admits, by match or by having come first; at most [`MEMBERS_LISTED`].
    async fn admitted(&self, room: &Room) -> Result<Vec<UserId>, Error>;

    /// Everything at one instant; an empty snapshot when there is no such room.
    async fn snapshot(&self, room: &Room) -> Result<Snapshot, Error>;

    /// The room's sockets and their records, at most [`MEMBERS_LISTED`]. None at all if a user is named who has not more
    /// than one there.
    async fn members(
        &self,
        room: &Room,
        with: Option<&UserId>,
    ) -> Result<Vec<(SocketId, Bytes)>, Error>;

    /// At which seq a command of the user was committed, if a repeat of it would change nothing.
    async fn known(&self, room: &Room, user: &UserId, command: &str) -> Result<Option<u64>, Error>;

    /// The log after `since`, complete or not at all.
    async fn replay(&self, room: &Room, since: Position) -> Result<Replay, Error>;

    /// The end of the log after `since`: every event from the first of these up to now, without a hole. Nothing when
    /// nothing happened since.
    async fn recent(&self, room: &Room, since: Position) -> Result<Replay, Error>;

    /// Where the room is now; `None` when there is no such room.
    async fn position(&self, room: &Room) -> Result<Option<Position>, Error>;

    /// Ends the room's order and begins another, if it is still this one: for a store that lost writes and would
    /// give their seqs a second time. Its log goes, too, except an inbox, which stays; nothing else of the room changes.
    async fn rotate(&self, room: &Room, from: Epoch) -> Result<(), Error>;

    /// Hears the room from now on; returns when that is confirmed. Idempotent.
    async fn listen(&self, room: &Room) -> Result<(), Error>;

    /// Something of the room was not heard: subscribes to it once more, if it is listened to. Best effort.
    async fn listen_again(&self, room: &Room);

    /// Stops hearing the room. Idempotent; best effort.
    async fn unlisten(&self, room: &Room);

    /// Whether commands and listening work, as it changes. Up while any part of the backplane is; up said again: a
    /// part was away, is back, and may have lost what this node wrote there.
    fn link(&self) -> watch::Receiver<Link>;

    /// False when commands work and yet nothing that is published is heard.
    fn hears(&self) -> bool;

    /// `memory` or `redis`, for people and tests.
    fn kind(&self) -> &'static str;

    /// Leaves in order: nothing is heard after it returns.
    async fn close(&self);
}

/// The list of admitted users, as the state has it: a JSON array. What is no id is nobody.
fn users(list: Option<&str>) -> Vec<UserId> {
    let names: Vec<String> = list
        .and_then(|list| serde_json::from_str(list).ok())
        .unwrap_or_default();
    let ids = names.iter().filter_map(|name| UserId::parse(name).ok());
    ids.take(MEMBERS_LISTED).collect()
}

pub type SharedBackplane = Arc<dyn Backplane>;
