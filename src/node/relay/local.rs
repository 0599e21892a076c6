//! What a worker knows of a room, and notes of what it delivered.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Waiter;
use super::track::Track;
use crate::backplane::{Envelope, Fields};
use crate::clock::Millis;
use crate::domain::Awareness;
use crate::ids::{AgentId, Epoch, Position, SocketId, UserId};

/// A room on this worker.
#[derive(Default)]
pub(super) struct Local {
    pub(super) track: Track,
    /// Sockets for the snapshot that is under way, and for the one after it.
    pub(super) aboard: Vec<Waiter>,
    pub(super) waiting: Vec<Waiter>,
    pub(super) snapshotting: bool,
    /// The members were entered again before the snapshot that is under way.
    pub(super) entered: bool,
    /// Large texts.
    pub(super) large: Paced,
    /// The order that gave a seq twice, and is to be ended before the next snapshot.
    pub(super) ending: Option<Epoch>,
    /// What was known when the snapshot that is under way was asked for.
    pub(super) asked: Option<Position>,
    /// The worker's tick at which the room was last heard, and at which it is compared if it stays quiet.
    pub(super) heard: u64,
    pub(super) look_at: u64,
    /// The text is about to be copied for readers of code rooms.
    pub(super) mirror: bool,
    /// The last change of the text that was heard.
    pub(super) text: Option<(Epoch, u64)>,
    /// The document is being read again.
    pub(super) reading: bool,
    /// Changes of the text that are told with the next one, the newest last.
    pub(super) owed: Vec<Owed>,
    /// What a session for certain users is made of again, should the backplane lose it.
    pub(super) kept: Option<Fields>,
    pub(super) awake: Awake,
    /// How far agents at work here were told of.
    pub(super) progress: HashMap<AgentId, Paced>,
}

/// What Yjs clients show of themselves, at a pace; of each client the newest.
#[derive(Default)]
pub(super) struct Awake {
    pub(super) next: Option<Instant>,
    pub(super) pending: HashMap<u64, Awareness>,
}

/// A change of the text that was not told yet.
#[derive(Clone, PartialEq)]
pub(super) struct Owed {
    /// Who made it, and by which socket, which knows it.
    pub(super) user: UserId,
    pub(super) except: Option<SocketId>,
}

/// What is passed on at a pace; of those in between only the newest.
#[derive(Default)]
pub(super) struct Paced {
    pub(super) next: Option<Instant>,
    pub(super) pending: Option<Box<Envelope>>,
}

/// For the latency metric, once the writes are done.
pub(super) struct Sampled {
    pub(super) at: Millis,
    pub(super) local: bool,
    pub(super) recipients: usize,
}

pub(super) fn millis(millis: Millis) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
