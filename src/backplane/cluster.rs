//! What nodes know of each other: who lives, what the dead leave behind, and what holds on all of them.
//!
//! Presence rests on a node's lease, not on anybody's farewell. A node writes down which rooms it is about
//! to have members in; when its lease has run out, one survivor claims it and takes its members out.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::clock::Millis;
use crate::ids::{NodeId, Room, SocketId, UserId};

/// One node of the cluster, as it last reported itself. Fields that a node of another version lacks have
/// defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    pub node: String,
    pub name: String,
    pub version: String,
    pub sockets: u64,
    /// The same by the name of their door.
    #[serde(default)]
    pub doors: BTreeMap<String, u64>,
    pub users: u64,
    pub rooms: u64,
    pub routed: u64,
    pub started_at: Millis,
    #[serde(default)]
    pub draining: bool,
    /// The newest version of an envelope that the node reads.
    #[serde(default = "first_version")]
    pub reads: u8,
    /// Where other nodes reach it.
    #[serde(default)]
    pub address: Option<String>,
}

/// What a node reads that does not say so.
fn first_version() -> u8 {
    1
}

/// Something nobody guesses.
pub(super) fn new_secret() -> String {
    format!(
        "{:032x}{:032x}",
        rand::random::<u128>(),
        rand::random::<u128>()
    )
}

/// What is counted for all time, over all nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sockets opened.
    pub opened: u64,
    /// Events routed, each once, on whatever number of nodes it was heard.
    pub routed: u64,
}

/// What a node learns when it says that it lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// Every living node's last report, this one's among them.
    pub reports: Vec<NodeReport>,
    /// Nodes whose lease ran out and who have not been forgotten yet.
    pub dead: Vec<NodeId>,
    /// When the next of the others is dead, unless it says before that it lives.
    pub next_death: Option<Duration>,
    /// The node's own lease had run out: others may have taken its members out.
    pub lost: bool,
}

/// A page of a node's members of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Sockets and their member records.
    pub members: Vec<(SocketId, Bytes)>,
    /// Where the next page begins; `None`: there is none. Pages may repeat a member.
    pub next: Option<String>,
}

#[async_trait]
pub trait Cluster: Send + Sync {
    /// Whether there may be other nodes, who take a silent one for dead.
    fn is_shared(&self) -> bool;

    /// Renews the node's lease and reads who else lives.
    async fn beat(&self, node: NodeId, report: &NodeReport) -> Result<Beat, Error>;

    /// Gives the lease up: the node is dead when `within` has passed, its members stay until then. Its report
    /// is gone at once.
    async fn depart(&self, node: NodeId, within: Duration) -> Result<(), Error>;

    /// Writes down that the node is about to have members in these rooms. Idempotent.
    async fn hold(&self, node: NodeId, rooms: &[Room]) -> Result<(), Error>;

    /// The node has no members there any more. Best effort.
    async fn release(&self, node: NodeId, room: &Room);

    /// The rooms a node held: too many after a crash, never too few.
    async fn holdings(&self, node: NodeId) -> Result<Vec<Room>, Error>;

    /// The node's members of a room, a page at a time from `from` on.
    async fn held(&self, node: NodeId, room: &Room, from: Option<String>) -> Result<Held, Error>;

    /// How many users are in the room, on whatever node, each once.
    async fn headcount(&self, room: &Room) -> Result<u64, Error>;

    /// Claims a dead node, or keeps claiming it, for a while: true when nobody else has. With no time at all
    /// it gives up what it had claimed.
    async fn claim(&self, dead: NodeId, by: NodeId, time: Duration) -> Result<bool, Error>;

    /// Nothing of the dead node is left.
    async fn forget(&self, dead: NodeId) -> Result<(), Error>;

    /// Adds what this node counted since its start, up to `now`, to what all nodes ever did, and returns that.
    /// `added` is how much of it the last answer held. Idempotent: what was added without an answer is not added
    /// again.
    async fn count(&self, node: NodeId, added: Counters, now: Counters) -> Result<Counters, Error>;

    /// Takes one of the user's places for a socket, on whatever node; [`Error::Full`] when `most` are
    /// taken. Places of dead nodes count as free. Idempotent.
    async fn admit(&self, user: &UserId, socket: SocketId, most: u64) -> Result<(), Error>;

    /// Undoes `admit`; idempotent.
    async fn dismiss(&self, user: &UserId, socket: SocketId) -> Result<(), Error>;

    /// Frees all places of the user that a node's sockets took.
    async fn vacate(&self, user: &UserId, node: NodeId) -> Result<(), Error>;

    /// No node believes the token of this id any more. Kept for `time`, the token's rest of life.
    async fn revoke(&self, token: &str, time: Duration) -> Result<(), Error>;

    async fn is_revoked(&self, token: &str) -> Result<bool, Error>;

    /// What the nodes know each other by. Whoever is first makes it; `known` is what the asker knew, and is taken when
    /// the store has none.
    async fn secret(&self, known: Option<&str>) -> Result<String, Error>;
}
