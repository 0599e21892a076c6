//! The sessions' texts, as documents: a snapshot, and the log of what came since.
//!
//! A commit that changes a text appends to that log in the same step, see [`Change`](super::Change). Snapshots and
//! updates are bytes here. A log without its beginning is no document: snapshot and log are read at one instant, and
//! shortened in one.

use async_trait::async_trait;
use bytes::Bytes;

use super::Error;
use crate::ids::{Epoch, Room};

/// A change of the text, on its way into the log of its document.
#[derive(Debug, Clone)]
pub struct TextEntry {
    /// What the log keeps.
    pub entry: Bytes,
    /// In which life of the room it builds on what is there: [`Error::Stale`] in another.
    pub epoch: Epoch,
}

/// A document at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub epoch: Epoch,
    /// Of the text.
    pub version: u64,
    pub base: Base,
    /// What came since, each under the version that it made.
    pub log: Vec<(u64, Bytes)>,
    /// The text as it was last written where people look for it, and which version that was.
    pub view: (String, u64),
}

/// What the log goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// No snapshot was ever made: from nothing.
    None,
    /// What it was at a version.
    Snapshot(u64, Bytes),
    /// What was asked for.
    Known,
}

impl Stored {
    /// Whether the log reaches from its base, or from what was `known`, to the text's version.
    pub fn is_whole(&self, known: u64) -> bool {
        let base = match self.base {
            Base::None => 0,
            Base::Snapshot(version, _) => version,
            Base::Known => known,
        };
        let versions = self.log.iter().map(|(version, _)| *version);
        versions.eq(base + 1..=self.version)
    }
}

#[async_trait]
pub trait Documents: Send + Sync {
    /// The room's document; or what came since a version of that epoch, if the log reaches back to it. [`Error::Missing`]
    /// and [`Error::Ended`] without such a room.
    async fn document(&self, room: &Room, since: Option<(Epoch, u64)>) -> Result<Stored, Error>;

    /// Another snapshot, of that version, in place of the one of version `from` and of the log up to it; `None`: in place
    /// of none. False, and nothing done, when the snapshot or the epoch is another by now.
    async fn compact(
        &self,
        room: &Room,
        epoch: Epoch,
        from: Option<u64>,
        to: u64,
        snapshot: Bytes,
    ) -> Result<bool, Error>;

    /// Writes the text where people look for it, unless a newer one is there. False when it is, or the epoch is another.
    async fn show(
        &self,
        room: &Room,
        epoch: Epoch,
        version: u64,
        text: &str,
    ) -> Result<bool, Error>;
}
