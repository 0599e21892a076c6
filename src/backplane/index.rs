//! What is found otherwise than by the name of its room: lists of rooms, things that are due at a time, what users follow,
//! and what the services behind us have not been told.
//!
//! Each lies apart from the rooms, so nothing here is one step with a commit: who writes here first and commits then has
//! an entry too many after a crash, never one too few.

use std::time::Duration;

use async_trait::async_trait;

use super::{Envelope, Error};
use crate::ids::{AgentId, Room, UserId};

/// A list of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shelf {
    Workspaces,
    Agents,
}

/// Things that are due at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Runs of agents, `AGENT RUN`: due when nobody has heard of them for too long.
    Runs,
    /// Rooms whose hooks have something.
    Hooks,
}

/// How long it is remembered what a user follows, from the last look on.
pub const FOLLOWED: Duration = Duration::from_secs(30 * 24 * 3_600);

#[async_trait]
pub trait Index: Send + Sync {
    /// Puts an id on the list; a repeat changes nothing.
    async fn list(&self, shelf: Shelf, id: &str) -> Result<(), Error>;

    async fn unlist(&self, shelf: Shelf, id: &str) -> Result<(), Error>;

    /// A page of the list in the order of ids, from behind `after` on.
    async fn listed(
        &self,
        shelf: Shelf,
        after: Option<&str>,
        most: u64,
    ) -> Result<Vec<String>, Error>;

    /// These are due when the time has passed, whenever they were due before.
    async fn expect(&self, queue: Queue, what: Vec<String>, within: Duration) -> Result<(), Error>;

    /// The same of those that are still waited for; the answer is those that are not.
    async fn put_off(
        &self,
        queue: Queue,
        what: Vec<String>,
        within: Duration,
    ) -> Result<Vec<String>, Error>;

    /// What is due, the longest overdue first. It stays so until it is [settled](Index::settle) or expected later.
    async fn due(&self, queue: Queue, most: u64) -> Result<Vec<String>, Error>;

    /// It is waited for no more, if it has been due for that long.
    async fn settle(&self, queue: Queue, what: &str, overdue: Duration) -> Result<(), Error>;

    /// The user follows the agent from now on, and [`Error::Full`] when it follows `most` others.
    async fn follow(&self, user: &UserId, agent: &AgentId, most: u64) -> Result<(), Error>;

    async fn unfollow(&self, user: &UserId, agent: &AgentId) -> Result<(), Error>;

    async fn follows(&self, user: &UserId) -> Result<Vec<AgentId>, Error>;

    /// Claims a room's hooks for a while, or keeps claiming them: true when nobody else has them. With no time they are
    /// given back.
    async fn claim_hooks(&self, room: &Room, by: &str, time: Duration) -> Result<bool, Error>;

    /// The oldest of what waits there: each one's place, and the envelope, if this node can read it.
    async fn hooks(&self, room: &Room, most: u64)
    -> Result<Vec<(String, Option<Envelope>)>, Error>;

    /// One more try at that one failed; how many have by now.
    async fn tried(&self, room: &Room, place: &str) -> Result<u64, Error>;

    /// That one is done with. One that is given up is laid aside, where people find it.
    async fn unhook(&self, room: &Room, place: &str, given_up: bool) -> Result<(), Error>;
}
