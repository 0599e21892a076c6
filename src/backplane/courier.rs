//! What users are sent, and which of them are there: inboxes, and the registry of couriers.
//!
//! A user's room has the user's courier sockets as members, and its log is the inbox: what is sent to the user gets
//! the room's next seq, present or not. A mark says up to which seq it has reached one of the user's sockets; what
//! lies behind it is sent first to the next one that comes. The room [`Room::Couriers`] has all courier sockets as
//! members, and names the users among them in order.
//!
//! Promises: what is routed to somebody is in the inbox and on its way in one step; what lies behind the mark is never
//! dropped: rather nothing more is taken in; a letter routed again with the same `once` reaches nobody twice.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Draft, Envelope, Error};
use crate::ids::{Position, Room, UserId};

/// What is sent to users.
#[derive(Debug, Clone)]
pub struct Letter {
    pub draft: Draft,
    pub from: UserId,
    /// Nobody twice.
    pub to: Vec<UserId>,
    /// The sender's own id for it: a repeat changes nothing and gets the first answer.
    pub once: Option<String>,
}

/// What became of a letter at one of those it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// The user has a courier socket.
    Present,
    /// It is kept until the user comes.
    Kept,
    /// The user is away, and nothing is kept for those.
    Absent,
    /// As much is kept for the user as may be: this is not.
    Full,
}

/// What a user has not been told yet.
#[derive(Debug, Clone)]
pub struct Inbox {
    /// Where the room is.
    pub position: Position,
    /// What lies behind the mark, in order.
    pub events: Vec<Envelope>,
}

/// A page of the users who have a courier socket, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    /// The record of each one's first socket.
    pub records: Vec<(UserId, Bytes)>,
    /// How many there are in all.
    pub count: u64,
}

/// What was registered for a user who need not be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Card {
    pub display_name: Option<String>,
    pub backend_url: Option<String>,
}

/// Users of whom one is remembered to have exchanged letters with them, the latest.
pub const CONTACTS: u64 = 1_000;

#[async_trait]
pub trait Courier: Send + Sync {
    /// Puts the letter into every inbox and sends it on its way; a receipt for each of `to`. Where all rooms are in
    /// one place that is one step; on a cluster one for each part of it. [`Error::Unavailable`] leaves open
    /// whether and for whom it was done: repeat with `once` set.
    async fn route(&self, letter: &Letter) -> Result<Vec<Receipt>, Error>;

    /// What the user of a room has not been told; [`Error::Missing`] when there is no such room.
    async fn inbox(&self, room: &Room) -> Result<Inbox, Error>;

    /// All up to this place was told. Never goes back; ignored when the room's order is another by now.
    async fn mark(&self, user: &UserId, at: Position) -> Result<(), Error>;

    /// Remembers that the user sent letters to those.
    async fn acquaint(&self, user: &UserId, with: &[UserId]) -> Result<(), Error>;

    /// With whom the user exchanged letters, at most [`CONTACTS`].
    async fn contacts(&self, user: &UserId) -> Result<Vec<UserId>, Error>;

    /// Users with courier sockets, from behind `after` on, at most so many.
    async fn couriers(&self, after: Option<&UserId>, most: u64) -> Result<Registry, Error>;

    /// Notes a card for the user; fields that are `None` stay as they are.
    async fn register(&self, user: &UserId, card: &Card) -> Result<(), Error>;

    async fn card(&self, user: &UserId) -> Result<Card, Error>;
}
