//! Documents in this process.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;

use super::Memory;
use crate::backplane::Error;
use crate::backplane::documents::{Base, Documents, Stored};
use crate::ids::{Epoch, Room};

/// A document of a room.
#[derive(Default, Clone)]
pub(super) struct Paper {
    snapshot: Option<(u64, Bytes)>,
    log: VecDeque<(u64, Bytes)>,
}

impl Paper {
    pub fn push(&mut self, version: u64, entry: Bytes) {
        self.log.push_back((version, entry));
    }
}

#[async_trait]
impl Documents for Memory {
    async fn document(&self, room: &Room, since: Option<(Epoch, u64)>) -> Result<Stored, Error> {
        self.with(room, |stored| {
            stored.open()?;
            let epoch = stored.epoch.ok_or(Error::Missing)?;
            let paper = &stored.paper;
            let begin = paper.snapshot.as_ref().map_or(0, |(version, _)| *version);
            let reached = begin..=stored.version;
            let known = since.filter(|(of, version)| *of == epoch && reached.contains(version));
            let base = match (known, &paper.snapshot) {
                (Some(_), _) => Base::Known,
                (None, Some((version, bytes))) => Base::Snapshot(*version, bytes.clone()),
                (None, None) => Base::None,
            };
            let from = known.map_or(begin, |(_, version)| version);
            let log = paper.log.iter().filter(|(version, _)| *version > from);
            let shown = stored.field("code_version").and_then(|v| v.parse().ok());
            Ok(Stored {
                epoch,
                version: stored.version,
                base,
                log: log.cloned().collect(),
                view: (
                    stored.field("code").unwrap_or_default().to_owned(),
                    shown.unwrap_or(0),
                ),
            })
        })
    }

    async fn compact(
        &self,
        room: &Room,
        epoch: Epoch,
        from: Option<u64>,
        to: u64,
        snapshot: Bytes,
    ) -> Result<bool, Error> {
        self.with(room, |stored| {
            stored.open()?;
            let known = stored.paper.snapshot.as_ref().map(|(version, _)| *version);
            if stored.epoch != Some(epoch) || known != from || to > stored.version {
                return Ok(false);
            }
            stored.paper.snapshot = Some((to, snapshot));
            stored.paper.log.retain(|(version, _)| *version > to);
            Ok(true)
        })
    }

    async fn show(
        &self,
        room: &Room,
        epoch: Epoch,
        version: u64,
        text: &str,
    ) -> Result<bool, Error> {
        self.with(room, |stored| {
            stored.open()?;
            let shown = stored.field("code_version").and_then(|v| v.parse().ok());
            if stored.epoch != Some(epoch) || shown.unwrap_or(0) >= version {
                return Ok(false);
            }
            stored.set("code", text.to_owned());
            stored.set("code_version", version.to_string());
            Ok(true)
        })
    }
}
