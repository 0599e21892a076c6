//! Names of things: sessions, users, sockets, nodes, rooms, events and positions.
//!
//! Everything from outside is checked here, once, when it becomes one of these types; the rest of
//! the code never sees an unchecked id. Ids are cheap to clone.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest id of a session or user, in characters.
pub const MAX_ID: usize = 128;
/// Longest display name, in characters.
pub const MAX_NAME: usize = 128;
/// Longest address of a user's backend, in bytes.
const MAX_URL: usize = 2_048;
/// Longest id a client may give a command, in characters.
pub const MAX_COMMAND_ID: usize = 64;

/// Why a text is not an id or a name; the sentence is fit for a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}; right is {right}")]
pub struct BadId {
    what: &'static str,
    problem: String,
    right: &'static str,
}

impl BadId {
    /// The same of what the client called it.
    pub fn named(self, what: &'static str) -> Self {
        Self { what, ..self }
    }
}

const ID_RULE: &str = "1 to 128 characters of A-Z a-z 0-9 . _ : @ | -, not dots only";

fn checked(what: &'static str, text: &str) -> Result<Arc<str>, BadId> {
    let problem = if text.is_empty() {
        "is missing or empty".to_owned()
    } else if text.len() > MAX_ID {
        format!("has {} bytes", text.len())
    } else if let Some(bad) = text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "._:@|-".contains(*c)))
    {
        format!("has the character {bad:?}")
    } else if text.bytes().all(|b| b == b'.') {
        "is dots only".to_owned()
    } else {
        return Ok(text.into());
    };
    Err(BadId {
        what,
        problem,
        right: ID_RULE,
    })
}

macro_rules! checked_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn parse(text: &str) -> Result<Self, BadId> {
                checked($what, text).map(Self)
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

checked_id!(
    /// One collaboration session, the same behind every door.
    SessionId,
    "session_id"
);
checked_id!(
    /// A person; may have several sockets.
    UserId,
    "user_id"
);

checked_id!(
    /// People and agents who work on one thing.
    WorkspaceId,
    "workspace_id"
);
checked_id!(
    /// A program that does work for people, and says how far it is.
    AgentId,
    "agent_id"
);
checked_id!(
    /// People who keep notes together.
    TeamId,
    "team_id"
);
checked_id!(
    /// One of a team's notes.
    InsightId,
    "insight_id"
);

impl TeamId {
    /// Ordered by their making, as those of recorded sessions.
    pub fn new() -> Self {
        Self(format!("t-{}", Uuid::now_v7()).into())
    }
}

impl Default for TeamId {
    fn default() -> Self {
        Self::new()
    }
}

impl InsightId {
    /// The same.
    pub fn new() -> Self {
        Self(format!("i-{}", Uuid::now_v7()).into())
    }
}

impl Default for InsightId {
    fn default() -> Self {
        Self::new()
    }
}

impl AgentId {
    /// As who it is a member of its room while it runs.
    pub fn as_user(&self) -> UserId {
        UserId(self.0.clone())
    }
}

impl WorkspaceId {
    /// Ordered by their making, too.
    pub fn new() -> Self {
        Self(format!("{MADE}{}", Uuid::now_v7()).into())
    }

    /// Whether somebody made it, if it ever was: nobody else comes to such an id.
    pub fn is_made(&self) -> bool {
        let rest = self.0.strip_prefix(MADE);
        rest.is_some_and(|rest| rest.len() == 36 && Uuid::try_parse(rest).is_ok())
    }
}

/// How ids of workspaces that somebody makes begin; a UUID follows.
const MADE: &str = "w-";

impl Default for WorkspaceId {
    fn default() -> Self {
        Self::new()
    }
}

/// How ids of recorded sessions begin; a UUID follows. Others may take such an id in vain: it is looked up.
const RECORDED: &str = "r-";

impl SessionId {
    /// An id for a session that is recorded.
    pub fn recorded() -> Self {
        Self(format!("{RECORDED}{}", Uuid::now_v7()).into())
    }

    /// Whether only records can say if there is such a session.
    pub fn is_recorded(&self) -> bool {
        let rest = self.0.strip_prefix(RECORDED);
        rest.is_some_and(|rest| rest.len() == 36 && Uuid::try_parse(rest).is_ok())
    }
}

/// A display name: 1 to 128 characters, no control characters.
pub fn name(text: &str) -> Result<Arc<str>, BadId> {
    let problem = if text.is_empty() {
        "is empty".to_owned()
    } else if text.chars().count() > MAX_NAME {
        format!("has {} characters", text.chars().count())
    } else if text.chars().any(char::is_control) {
        "has a control character".to_owned()
    } else {
        return Ok(text.into());
    };
    Err(BadId {
        what: "username",
        problem,
        right: "1 to 128 characters without control characters",
    })
}

/// Where a user's backend is reached: 1 to 2,048 characters, no spaces or control characters. Passed on as it is.
pub fn url(text: &str) -> Result<Arc<str>, BadId> {
    let problem = if text.is_empty() {
        "is empty".to_owned()
    } else if text.len() > MAX_URL {
        format!("has {} bytes", text.len())
    } else if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        "has a space or a control character".to_owned()
    } else {
        return Ok(text.into());
    };
    Err(BadId {
        what: "backend_url",
        problem,
        right: "1 to 2048 bytes without spaces and control characters",
    })
}

/// This process's life; a restarted node is another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u64);

impl NodeId {
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Reads a node's id as it is displayed.
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }

    /// How the ids of its sockets begin.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The server's end of one client connection, unique in the cluster: node in the high half, a
/// counter in the low one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId {
    // Two numbers and not one of twice the length, which would be aligned to its own size wherever it is kept.
    node: u64,
    counter: u64,
}

impl SocketId {
    pub fn next(node: NodeId) -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(1);
        Self {
            node: node.0,
            counter: COUNTER.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Stands for a user who belongs to a room without a socket: always the same, in whatever build, and of no node, so that nobody
    /// takes it out who buries one.
    pub fn standing_for(user: &UserId) -> Self {
        let digest = digest(&SHA256, user.as_str().as_bytes());
        let first = digest.as_ref().first_chunk().copied().unwrap_or_default();
        Self {
            node: 0,
            counter: u64::from_be_bytes(first),
        }
    }

    /// Whether it stands for a user without a socket.
    pub fn is_nobodys(self) -> bool {
        self.node == 0
    }

    pub fn to_bytes(self) -> [u8; 16] {
        self.bits().to_be_bytes()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes
            .try_into()
            .ok()
            .map(|bytes| Self::of(u128::from_be_bytes(bytes)))
    }

    /// Reads a socket's id as it is displayed.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = is_hex.then(|| u128::from_str_radix(text, 16).ok())?;
        bits.map(Self::of)
    }

    /// Whose it is.
    pub fn node(self) -> NodeId {
        NodeId(self.node)
    }

    pub fn is_of(self, node: NodeId) -> bool {
        self.node == node.0
    }

    /// The counter alone: spreads evenly, for slots and shards.
    pub fn counter(self) -> u64 {
        self.counter
    }

    fn bits(self) -> u128 {
        (u128::from(self.node) << 64) | u128::from(self.counter)
    }

    fn of(bits: u128) -> Self {
        Self {
            node: (bits >> 64) as u64,
            counter: bits as u64,
        }
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.bits())
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketId({self})")
    }
}

impl Serialize for SocketId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for SocketId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes: serde_bytes::ByteArray<16> = Deserialize::deserialize(from)?;
        Ok(Self::of(u128::from_be_bytes(*bytes)))
    }
}

/// Where an event is heard. Displayed as `session:abc`: its key in a store, its name in an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Room {
    Session(SessionId),
    Workspace(WorkspaceId),
    Agent(AgentId),
    /// A user's courier sockets, and what is kept for the user meanwhile.
    User(UserId),
    /// Everybody's courier sockets.
    Couriers,
    /// Every node.
    Lobby,
}

impl Room {
    /// Reads a room's name as it is displayed: `session:abc`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            LOBBY => return Some(Room::Lobby),
            COURIERS => return Some(Room::Couriers),
            _ => {}
        }
        let (kind, id) = name.split_once(':')?;
        match kind {
            "session" => SessionId::parse(id).ok().map(Room::Session),
            "workspace" => WorkspaceId::parse(id).ok().map(Room::Workspace),
            "agent" => AgentId::parse(id).ok().map(Room::Agent),
            "user" => UserId::parse(id).ok().map(Room::User),
            _ => None,
        }
    }

    pub fn session(&self) -> Option<&SessionId> {
        match self {
            Room::Session(id) => Some(id),
            _ => None,
        }
    }
}

const LOBBY: &str = "lobby";
const COURIERS: &str = "couriers";

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Room::Session(id) => write!(f, "session:{id}"),
            Room::Workspace(id) => write!(f, "workspace:{id}"),
            Room::Agent(id) => write!(f, "agent:{id}"),
            Room::User(id) => write!(f, "user:{id}"),
            Room::Couriers => f.write_str(COURIERS),
            Room::Lobby => f.write_str(LOBBY),
        }
    }
}

/// One event, for telling a duplicate from a divergence. UUID v7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(Uuid);

impl EventId {
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// When it was made, in milliseconds since 1970, if it says so.
    pub fn at(self) -> Option<i64> {
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        i64::try_from(seconds * 1_000 + u64::from(nanos) / 1_000_000).ok()
    }
}

impl Default for EventId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One life of a room's order: a room created anew, or one that lost writes, counts in a new epoch.
/// Below 2^53, so that Lua and JavaScript can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    pub fn random() -> Self {
        Self((rand::random::<u64>() >> 16).max(1))
    }
}

/// A place in a room's order. Clients see it as the opaque text `epoch-seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub epoch: Epoch,
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch.0, self.seq)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, seq) = text.split_once('-').ok_or(())?;
        let epoch = u64::from_str_radix(epoch, 16).map_err(|_| ())?;
        let seq = seq.parse().map_err(|_| ())?;
        Ok(Self {
            epoch: Epoch(epoch),
            seq,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_what_is_wrong() {
        for (text, part) in [
            ("", "missing"),
            ("a{b}", "'{'"),
            ("a\nb", "'\\n'"),
            ("..", "dots only"),
            (&"x".repeat(300), "300 bytes"),
            ("naïve", "'ï'"),
        ] {
            let sentence = SessionId::parse(text).unwrap_err().to_string();
            assert!(sentence.contains(part), "{sentence}");
        }
        assert!(SessionId::parse("a.b_c:d@e|f-9").is_ok());
        assert!(SessionId::parse(&"x".repeat(128)).is_ok());
    }

    #[test]
    fn a_position_survives_its_text() {
        let position = Position {
            epoch: Epoch::random(),
            seq: 77,
        };
        assert_eq!(position.to_string().parse(), Ok(position));
        assert_eq!("".parse::<Position>(), Err(()));
        assert_eq!("zz-1".parse::<Position>(), Err(()));
    }

    #[test]
    fn a_room_survives_its_name() {
        for room in [
            Room::Session(SessionId::parse("a:b").unwrap()),
            Room::User(UserId::parse("lobby").unwrap()),
            Room::Workspace(WorkspaceId::parse("w").unwrap()),
            Room::Agent(AgentId::parse("session:a").unwrap()),
            Room::Couriers,
            Room::Lobby,
        ] {
            assert_eq!(Room::parse(&room.to_string()), Some(room));
        }
        assert_eq!(Room::parse("nothing"), None);
    }
}
