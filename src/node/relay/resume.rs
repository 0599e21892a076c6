//! Sockets that come back and say where they were: what they missed, instead of everything.
//!
//! A snapshot and the log behind it are one instant: the log is read up to the snapshot's seq, and its text stands
//! for all texts that were missed. What the log no longer has is answered with the whole greeting.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::Waiter;
use crate::backplane::{Audience, Envelope, Error, Replay, SharedBackplane, Snapshot};
use crate::clock::Millis;
use crate::dialects::{Delivery, Dialect, Reply};
use crate::domain::Event;
use crate::domain::sessions::View;
use crate::hub::{Socket, frame};
use crate::ids::{Position, Room};
use crate::node::snapshots;

/// Positions of one room tried, oldest first, until the log reaches back to one.
const TRIES: usize = 4;

/// A snapshot, and what of the log those who come back may need.
pub(super) struct Taken {
    pub(super) snapshot: Snapshot,
    pub(super) missed: Missed,
}

/// The log from some position on, up to the snapshot; `since` is `None` when nothing was read.
#[derive(Default)]
pub(super) struct Missed {
    since: Option<Position>,
    events: Vec<Envelope>,
}

/// Where those who wait say they were; every position once.
pub(super) fn positions(waiting: &[Waiter]) -> BTreeSet<(u64, u64)> {
    let since = waiting.iter().filter_map(|waiter| waiter.since);
    since.map(|at| (at.epoch.0, at.seq)).collect()
}

impl Missed {
    /// Reads the log once for all who come back: from the oldest position that it reaches back to.
    pub(super) async fn read(
        backplane: &SharedBackplane,
        room: &Room,
        snapshot: &Snapshot,
        positions: BTreeSet<(u64, u64)>,
    ) -> Result<Self, Error> {
        let Some(now) = snapshot.position() else {
            return Ok(Self::default());
        };
        let of_this_epoch = positions
            .into_iter()
            .filter(|(epoch, seq)| *epoch == now.epoch.0 && *seq <= now.seq);
        for (_, seq) in of_this_epoch.take(TRIES) {
            let since = Position {
                epoch: now.epoch,
                seq,
            };
            if let Replay::Events(mut events) = backplane.replay(room, since).await? {
                // What lies behind the snapshot is heard like any other event.
                events.retain(|event| event.position.is_some_and(|at| at.seq <= now.seq));
                return Ok(Self {
                    since: Some(since),
                    events,
                });
            }
        }
        Ok(Self::default())
    }

    /// Whole frames for a socket that was at `since`: the events it missed, in order, then the newest text if it
    /// changed, then where it is now. `None`: the log does not reach back that far, or it is too much.
    pub(super) fn frames(
        &self,
        dialect: Dialect,
        socket: &Socket,
        since: Position,
        view: &View,
        now: Millis,
    ) -> Option<Bytes> {
        let (from, at) = (self.since?, view.position?);
        if since.epoch != at.epoch || since.seq < from.seq || since.seq > at.seq {
            return None;
        }
        let mut frames = Vec::new();
        let mut text_changed = false;
        for envelope in &self.events {
            let Some(position) = envelope.position.filter(|at| at.seq > since.seq) else {
                continue;
            };
            if envelope.version.is_some() {
                text_changed = true;
            } else if is_for(&envelope.audience, socket) {
                // An event that this node cannot read is one that its clients have no word for.
                if let Ok(event) = rmp_serde::from_slice::<Event>(&envelope.event) {
                    let delivery = Delivery {
                        event: &event,
                        at: envelope.at,
                        seq: Some(position.seq),
                        version: None,
                    };
                    let mut known = true;
                    let frame = frame::text_with(256, |out| known = dialect.encode(&delivery, out));
                    if known {
                        frames.extend_from_slice(&frame);
                    }
                    // Nobody gets more at once than may wait for a slow socket.
                    if frames.len() > socket.outbox_bytes() {
                        return None;
                    }
                }
            }
        }
        if text_changed {
            frames.extend_from_slice(&snapshots::text(dialect, view, &socket.user, now));
        }
        let resumed = Reply::Resumed { position: at };
        frames.extend_from_slice(&frame::text_with(128, |out| {
            dialect.reply(&resumed, now, out);
        }));
        Some(frames.into())
    }
}

/// Never filtered by who sent it: also the own return is told to who was told to have left. But by whom it is for.
fn is_for(audience: &Audience, socket: &Socket) -> bool {
    match audience {
        Audience::All | Audience::Except(_) => true,
        Audience::Users(users) => users.contains(&socket.user),
    }
}
