//! Notifications: committed to the lobby, and told by every node to the sockets it has.
//!
//! A node follows the lobby's order as relay workers follow those of rooms: what it did not hear it reads in the log, and
//! tells once. Each socket that is there when its node tells is told once; who comes meanwhile may have come too late, and
//! who moves from one node to another at that moment may be told by both, or by none. Nothing is kept for who is away.

use std::collections::HashSet;

use bytes::Bytes;

use super::track::{Look, Next, Track};
use super::{AGAIN, unreadable};
use crate::backplane::{Audience, Change, Committed, Envelope, Error, Fields, Link, Replay};
use crate::dialects::{Delivery, Dialect};
use crate::domain::Event;
use crate::domain::notices::Notice;
use crate::hub::frame;
use crate::ids::{Position, Room, UserId};
use crate::node::Node;
use crate::telemetry::metrics::metrics;

/// Sockets looked at before others get a turn.
const SOCKETS_A_TURN: usize = 128;

/// What a notification may be.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Bytes of its data.
    pub data_bytes: usize,
    /// Users it is for, when they are named.
    pub users: usize,
}

impl Node {
    pub fn notices(&self) -> Config {
        self.config.notices
    }

    /// Has every node tell it to those it is for. Under an id that its sender has used before nothing is told, and the
    /// answer is the first one.
    pub async fn notify(
        &self,
        notice: Notice,
        audience: Audience,
        by: &UserId,
        id: &str,
    ) -> Result<Committed, Error> {
        if self.link() != Link::Up {
            return Err(Error::Unavailable("not connected".to_owned()));
        }
        let (bytes, kind) = (notice.data.len(), notice.kind.clone());
        let to = match (&audience, &notice.door) {
            (Audience::Users(users), _) => format!("{} users", users.len()),
            (_, Some(door)) => door.clone(),
            _ => "all".to_owned(),
        };
        let change = Change {
            once: Some((by.clone(), id.to_owned())),
            ..Change::of(self.roster.draft(&Event::Notified(notice), None, audience))
        };
        let committed = self.commit_to_lobby(change).await?;
        let Committed {
            position, repeated, ..
        } = committed;
        tracing::info!(target: "audit", user = %by, id, kind, to, bytes, seq = position.seq, repeated, "notified");
        if repeated {
            metrics().notification("repeated");
        } else {
            metrics().notification("committed");
            self.roster.tally.routed(1);
        }
        Ok(committed)
    }

    /// Nobody made the lobby before the first one to say something in it.
    async fn commit_to_lobby(&self, change: Change) -> Result<Committed, Error> {
        match self.backplane.commit(&Room::Lobby, change.clone()).await {
            Err(Error::Missing) => {}
            done => return done,
        }
        let (fields, roles, chat) = (Fields::new(), Vec::new(), Vec::new());
        self.backplane
            .create(&Room::Lobby, fields, roles, chat)
            .await?;
        self.backplane.commit(&Room::Lobby, change).await
    }

    /// Where the lobby is, once that can be asked.
    pub(super) async fn find_lobby(&self) -> Option<Position> {
        let mut link = self.backplane.link();
        loop {
            // An ended channel means that the node stops.
            let _ = link.wait_for(|link| *link == Link::Up).await;
            match self.backplane.position(&Room::Lobby).await {
                Ok(found) => return found,
                Err(error) => tracing::debug!(%error, "where the lobby is cannot be asked yet"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Takes what has a place in the lobby's order; false when what lies before it could not be read now.
    pub(super) async fn follow_lobby(
        &self,
        track: &mut Track,
        envelope: &Envelope,
        at: Position,
    ) -> bool {
        match track.take(envelope.id, at) {
            Next::Known => metrics().duplicate(),
            Next::Tell => self.tell(envelope).await,
            Next::TellAnew => {
                lost("the order of notifications is another");
                self.tell(envelope).await;
            }
            Next::Behind(since) => match self.read_on(track, since).await {
                Ok(true) => {}
                // It is here all the same.
                Ok(false) if track.take_logged(envelope.id, at) => self.tell(envelope).await,
                Ok(false) => {}
                Err(error) => return postponed(&error),
            },
        }
        true
    }

    /// Tells what was not heard; false when it could not be read now.
    pub(super) async fn catch_up(&self, track: &mut Track) -> bool {
        let caught_up = async {
            let found = self.backplane.position(&Room::Lobby).await?;
            match track.look(found) {
                Look::Same => {}
                Look::Behind(since) => {
                    if !self.read_on(track, since).await? {
                        track.restart(found);
                    }
                }
                Look::Anew => {
                    lost("the order of notifications is another");
                    track.restart(found);
                }
            }
            Ok(())
        };
        let caught_up: Result<(), Error> = caught_up.await;
        caught_up.map_or_else(|error| postponed(&error), |()| true)
    }

    /// Whether something was said in the lobby that this node does not know of, though nothing is on its way.
    pub(super) async fn is_deaf_to_lobby(&self, track: &mut Track) -> bool {
        if self.link() != Link::Up {
            // Its return compares.
            return false;
        }
        let found = self.backplane.position(&Room::Lobby).await;
        found.is_ok_and(|found| track.look(found) != Look::Same)
    }

    /// Tells what the log has behind `since`; false when it does not reach back so far.
    async fn read_on(&self, track: &mut Track, since: Position) -> Result<bool, Error> {
        let Replay::Events(missed) = self.backplane.replay(&Room::Lobby, since).await? else {
            lost("the log of notifications does not reach back to where this node was");
            return Ok(false);
        };
        if !missed.is_empty() {
            metrics().gap("filled");
        }
        for envelope in &missed {
            if let Some(at) = envelope.position
                && track.take_logged(envelope.id, at)
            {
                self.tell(envelope).await;
            }
        }
        track.caught_up();
        Ok(true)
    }

    /// Tells this node's sockets for whom it is.
    async fn tell(&self, envelope: &Envelope) {
        let event = match rmp_serde::from_slice(&envelope.event) {
            Ok(event) => event,
            Err(error) => return unreadable(&error),
        };
        let Event::Notified(notice) = &event else {
            return tracing::warn!(?event, "not a thing to be said in the lobby's order");
        };
        let only: Option<HashSet<&UserId>> = match &envelope.audience {
            Audience::Users(users) => Some(users.iter().collect()),
            Audience::All | Audience::Except(_) => None,
        };
        let delivery = Delivery {
            room: &Room::Lobby,
            event: &event,
            at: envelope.at,
            seq: None,
            epoch: None,
            version: None,
        };
        let mut frames: [Option<Bytes>; Dialect::COUNT] = Default::default();
        let mut told = [0; Dialect::COUNT];
        for (looked_at, socket) in self.hub.sockets().iter().enumerate() {
            if looked_at > 0 && looked_at % SOCKETS_A_TURN == 0 {
                tokio::task::yield_now().await;
            }
            let Some(dialect) = Dialect::of_tongue(socket.tongue) else {
                continue;
            };
            let elsewhere = notice
                .door
                .as_deref()
                .is_some_and(|door| door != dialect.door());
            if elsewhere
                || only
                    .as_ref()
                    .is_some_and(|only| !only.contains(&socket.user))
            {
                continue;
            }
            let tongue = usize::from(socket.tongue);
            let frame = frames[tongue].get_or_insert_with(|| {
                frame::text_with(notice.data.len() + 256, |out| {
                    dialect.encode(&delivery, out);
                })
            });
            told[tongue] += usize::from(socket.tell(frame.clone()));
        }
        self.count_told(&frames, &told);
    }

    fn count_told(&self, frames: &[Option<Bytes>; Dialect::COUNT], told: &[usize; Dialect::COUNT]) {
        let mut bytes = 0;
        for ((frame, told), door) in frames.iter().zip(told).zip(&self.doors) {
            door.sent(*told);
            bytes += frame.as_ref().map_or(0, Bytes::len) * told;
        }
        metrics().sent_bytes(bytes);
        metrics().notification("told");
    }
}

/// Notifications may be missed by those who are here.
fn lost(why: &str) {
    metrics().notification("lost");
    tracing::warn!(why, "notifications may have been missed");
}

fn postponed(error: &Error) -> bool {
    metrics().gap("failed");
    tracing::debug!(%error, "notifications could not be read yet");
    false
}
