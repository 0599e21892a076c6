//! Tells the IDE bridge what happened in workspaces, and to agents: in order of each room, at least once.
//!
//! What is to be told was written down by the commit itself, in the room's hooks. Whichever node finds the room due claims
//! it and tells one after the other; one that fails keeps the others waiting, for that is what order means, until it
//! is given up. While it waits the claim is kept, so that no other node is sooner.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use super::Node;
use crate::backplane::{Envelope, Error, Link, Queue};
use crate::dialects::{Delivery, Dialect};
use crate::domain::Event;
use crate::ids::Room;
use crate::neighbours::{Away, Hook, IdeBridge};
use crate::telemetry::metrics::metrics;

/// How often it is seen which rooms are due; this node's own are looked at once.
const LOOK: Duration = Duration::from_secs(1);
/// How long a room is this task's own, and how much is told before it claims it again.
const CLAIM: Duration = Duration::from_secs(60);
const BATCH: u64 = 16;
/// Rooms due that are looked at together, and told of at once.
const DUE: u64 = 100;
const AT_ONCE: usize = 32;
/// A room that has nothing is struck off only when it has been due for this long: who wrote it down may not have
/// committed yet. Meanwhile it is looked at now and then.
const OVERDUE: Duration = Duration::from_secs(10);
const NOW_AND_THEN: Duration = Duration::from_secs(3);
/// Wait after the first failure, and at most.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Config {
    /// After so many failures an event is given up.
    pub attempts: u64,
}

/// Which rooms this node tells of at this moment.
#[derive(Default)]
pub(super) struct Telling {
    rooms: Mutex<Vec<Room>>,
    /// Rooms that had nothing, and when that was.
    quiet: Mutex<HashMap<Room, Instant>>,
    wake: Notify,
}

impl Telling {
    /// A room has something.
    pub fn wake(&self, room: &Room) {
        self.quiet.lock().remove(room);
        self.wake.notify_one();
    }

    fn is_quiet(&self, room: &Room) -> bool {
        let mut quiet = self.quiet.lock();
        quiet.retain(|_, since| since.elapsed() < NOW_AND_THEN);
        quiet.contains_key(room)
    }

    fn had_nothing(&self, room: &Room) {
        self.quiet.lock().insert(room.clone(), Instant::now());
    }

    fn begin(&self, room: &Room) -> bool {
        let mut rooms = self.rooms.lock();
        let free = rooms.len() < AT_ONCE && !rooms.contains(room);
        if free {
            rooms.push(room.clone());
        }
        free
    }

    fn end(&self, room: &Room) {
        self.rooms.lock().retain(|known| known != room);
    }
}

impl Node {
    /// Looks for rooms that have something to be told, until the node stops.
    pub async fn attend_hooks(self: Arc<Self>) {
        if self.neighbours.bridge.is_none() {
            return;
        }
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = async {
                tokio::select! {
                    _ = every.tick() => {}
                    () = self.telling.wake.notified() => {}
                }
            };
            if self.stopping.run_until_cancelled(due).await.is_none() {
                return;
            }
            if self.link() != Link::Up {
                continue;
            }
            match self.backplane.due(Queue::Hooks, DUE).await {
                Ok(rooms) => self.tell_of(rooms),
                Err(error) => tracing::debug!(%error, "hooks are looked for again"),
            }
        }
    }

    fn tell_of(self: &Arc<Self>, due: Vec<String>) {
        for room in due.iter().filter_map(|room| Room::parse(room)) {
            if self.telling.is_quiet(&room) || !self.telling.begin(&room) {
                continue;
            }
            let node = self.clone();
            self.chores.spawn(async move {
                // Of this task alone: what it leaves behind keeps this node waiting, too.
                let claim = format!("{:032x}", rand::random::<u128>());
                let telling = node.tell_hooks(&room, &claim);
                let told = node.stopping.run_until_cancelled(telling).await;
                if let Some(Err(error)) = &told {
                    tracing::debug!(%room, %error, "hooks are told another time");
                }
                if !matches!(told, Some(Ok(true))) {
                    node.give_back(&room, &claim).await;
                }
                node.telling.end(&room);
                // Something may have come that was due meanwhile.
                node.telling.wake.notify_one();
            });
        }
    }

    /// True when the claim is to be kept for a while.
    async fn tell_hooks(&self, room: &Room, claim: &str) -> Result<bool, Error> {
        let Some(bridge) = &self.neighbours.bridge else {
            return Ok(false);
        };
        loop {
            if !self.backplane.claim_hooks(room, claim, CLAIM).await? {
                // Another's: nothing to give back.
                return Ok(true);
            }
            let claimed = Instant::now();
            let waiting = self.backplane.hooks(room, BATCH).await?;
            if waiting.is_empty() {
                self.telling.had_nothing(room);
                self.backplane
                    .settle(Queue::Hooks, &room.to_string(), OVERDUE)
                    .await?;
                return Ok(false);
            }
            for (place, envelope) in waiting {
                if claimed.elapsed() > CLAIM / 3 {
                    // Claimed anew before it runs out.
                    break;
                }
                let Some(envelope) = envelope else {
                    // A newer node's, which will tell it.
                    self.put_off(room, claim, AGAIN_MOST).await?;
                    return Ok(true);
                };
                let Err(away) = self.tell_bridge(bridge, &envelope).await else {
                    self.backplane.unhook(room, &place, false).await?;
                    continue;
                };
                if let Some(wait) = self.note_failed(room, &place, &envelope, &away).await? {
                    self.put_off(room, claim, wait).await?;
                    return Ok(true);
                }
            }
        }
    }

    async fn give_back(&self, room: &Room, claim: &str) {
        let given_back = self.backplane.claim_hooks(room, claim, Duration::ZERO);
        if let Err(error) = given_back.await {
            tracing::debug!(%room, %error, "a claim of hooks runs out by itself");
        }
    }

    async fn tell_bridge(&self, bridge: &IdeBridge, envelope: &Envelope) -> Result<(), Away> {
        let Some((kind, body)) = said(envelope) else {
            return Ok(());
        };
        let hook = Hook {
            id: envelope.id,
            kind,
            body,
        };
        bridge.tell(&hook).await?;
        metrics().hook("told");
        let late = u64::try_from(self.clock().now() - envelope.at).unwrap_or(0);
        metrics().hook_told(Duration::from_millis(late));
        Ok(())
    }

    /// How long to wait before it is tried again; `None`: it is given up.
    async fn note_failed(
        &self,
        room: &Room,
        place: &str,
        envelope: &Envelope,
        away: &Away,
    ) -> Result<Option<Duration>, Error> {
        if matches!(away, Away::Open | Away::Busy) {
            // Nobody was asked: that is no try.
            return Ok(Some(AGAIN));
        }
        let tries = self.backplane.tried(room, place).await?;
        if tries < self.config.bridge.attempts {
            metrics().hook("failed");
            let doubled =
                AGAIN * 2_u32.saturating_pow(u32::try_from(tries - 1).unwrap_or(31).min(16));
            return Ok(Some(doubled.min(AGAIN_MOST)));
        }
        tracing::error!(%room, event = %envelope.id, tries, %away, "the IDE bridge does not take an event: it is given up");
        metrics().hook("dead");
        self.backplane.unhook(room, place, true).await?;
        Ok(None)
    }

    /// The room is due later, and nobody's until then.
    async fn put_off(&self, room: &Room, claim: &str, wait: Duration) -> Result<(), Error> {
        // Claimed for a little less, so that who finds it due finds it free.
        let held = wait.saturating_sub(Duration::from_millis(100));
        let rooms = vec![room.to_string()];
        self.backplane.claim_hooks(room, claim, held).await?;
        self.backplane.expect(Queue::Hooks, rooms, wait).await
    }
}

/// An event as the workspace door tells it; `None`: it has no word for it.
fn said(envelope: &Envelope) -> Option<(&'static str, Vec<u8>)> {
    let event: Event = match rmp_serde::from_slice(&envelope.event) {
        Ok(event) => event,
        Err(error) => {
            metrics().dropped("unreadable", 1);
            tracing::warn!(room = %envelope.room, %error, "an event cannot be read");
            return None;
        }
    };
    let kind = match event {
        Event::AgentStarted(_) => "agent_execution_start",
        Event::AgentCompleted(_) => "agent_execution_complete",
        _ => "workspace_update",
    };
    let delivery = Delivery {
        room: &envelope.room,
        event: &event,
        at: envelope.at,
        seq: envelope.position.map(|at| at.seq),
        epoch: envelope.position.map(|at| at.epoch),
        version: None,
    };
    let mut body = Vec::with_capacity(256);
    Dialect::Workspace
        .encode(&delivery, &mut body)
        .then_some((kind, body))
}
