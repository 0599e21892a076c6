//! What a node does about those that died: one survivor takes the dead node's members out.
//!
//! Whoever claims the dead node walks the rooms it held, twice, because what it sent last may arrive after
//! the first walk. A reaper that dies is replaced when its claim runs out: all it does can be repeated.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::Node;
use crate::backplane::{EXITS, Error, Exit, Link};
use crate::domain::Member;
use crate::ids::{NodeId, Room};
use crate::telemetry::metrics::metrics;

/// How long a claim holds while rooms are walked; renewed with every few.
const CLAIM: Duration = Duration::from_secs(15);
/// Wait between the two walks.
const SECOND_LOOK: Duration = Duration::from_secs(30);
/// Rooms walked at once.
const AT_ONCE: usize = 16;

impl Node {
    /// Begins to reap those of the dead that nobody else does, unless it is too early to say who is dead.
    pub(super) fn reap(self: &Arc<Self>, dead: Vec<NodeId>) {
        *self.dead.lock() = dead.iter().copied().collect();
        let may = self
            .reap_from
            .lock()
            .is_some_and(|from| Instant::now() >= from);
        if !may || self.is_draining() {
            return;
        }
        for dead in dead {
            if dead == self.id || !self.reaping.lock().insert(dead) {
                continue;
            }
            let node = self.clone();
            self.chores.spawn(async move {
                let reaped = node.stopping.run_until_cancelled(node.bury(dead)).await;
                if let Some(Err(error)) = reaped {
                    tracing::warn!(%dead, %error, "reaping was cut short");
                }
                node.reaping.lock().remove(&dead);
            });
        }
    }

    async fn bury(&self, dead: NodeId) -> Result<(), Error> {
        if !self.backplane.claim(dead, self.id, CLAIM).await? {
            return Ok(());
        }
        tracing::warn!(%dead, "a node is gone: its users leave");
        let sockets = self.take_out(dead).await?;
        metrics().reaped(sockets);
        tracing::info!(target: "audit", %dead, sockets, "a dead node was reaped");
        if !self
            .backplane
            .claim(dead, self.id, SECOND_LOOK + CLAIM)
            .await?
        {
            return Ok(());
        }
        tokio::time::sleep(SECOND_LOOK).await;
        // It may have been cut off only, and be back.
        let still_dead = self.dead.lock().contains(&dead);
        if !still_dead || !self.backplane.claim(dead, self.id, CLAIM).await? {
            return Ok(());
        }
        self.take_out(dead).await?;
        self.backplane.forget(dead).await
    }

    /// Takes all of a node's members out of their rooms; returns how many there were.
    pub(super) async fn take_out(&self, gone: NodeId) -> Result<usize, Error> {
        let rooms = self.backplane.holdings(gone).await?;
        stream::iter(rooms)
            .enumerate()
            .map(|(at, room)| async move {
                if gone != self.id && at % AT_ONCE == AT_ONCE - 1 {
                    self.backplane.claim(gone, self.id, CLAIM).await?;
                }
                match &room {
                    Room::Session(_) => self.take_out_of(gone, &room).await,
                    Room::User(user) => self.backplane.vacate(user, gone).await.map(|()| 0),
                    Room::Lobby => Ok(0),
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_fold(0, |all, some| async move { Ok(all + some) })
            .await
    }

    async fn take_out_of(&self, gone: NodeId, room: &Room) -> Result<usize, Error> {
        let (mut from, mut count) = (None, 0);
        loop {
            let held = self.backplane.held(gone, room, from).await?;
            let exits: Vec<Exit> = held
                .members
                .iter()
                .filter_map(|(socket, record)| {
                    // Fields may be added to a record, never taken away: what cannot be read is no record.
                    let member: Member = rmp_serde::from_slice(record).ok()?;
                    Some(self.roster.exit(*socket, &member.user))
                })
                .collect();
            count += exits.len();
            for some in exits.chunks(EXITS) {
                self.backplane.leave(room, some.to_vec()).await?;
            }
            from = held.next;
            if from.is_none() {
                return Ok(count);
            }
        }
    }

    /// Follows the link: nodes that were cut off from the backplane are not dead, and what it may have lost
    /// of this one is written down again.
    pub async fn attend_link(self: Arc<Self>) {
        let mut link = self.backplane.link();
        let mut been_up = false;
        loop {
            let now = *link.borrow_and_update();
            match now {
                Link::Up => {
                    let wait = if been_up {
                        self.config.reap_pause
                    } else {
                        self.config.lease
                    };
                    *self.reap_from.lock() = Some(Instant::now() + wait);
                    if been_up {
                        self.reclaim().await;
                    }
                    been_up = true;
                }
                Link::Away | Link::Never => *self.reap_from.lock() = None,
            }
            if let None | Some(Err(_)) = self.stopping.run_until_cancelled(link.changed()).await {
                return;
            }
        }
    }

    /// Writes down again what this node has, for a backplane or a reaper that may have taken it away. The
    /// members themselves are entered again room by room, by the relay.
    pub(super) async fn reclaim(&self) {
        if let Err(error) = self.hold_again().await {
            tracing::warn!(%error, "this node's rooms could not all be held again");
        }
    }

    async fn hold_again(&self) -> Result<(), Error> {
        self.listening.hold_all().await?;
        for socket in self.hub.sockets() {
            // They are here already: the bound is for those who come.
            let most = u64::from(u32::MAX);
            self.backplane.admit(&socket.user, socket.id, most).await?;
            if !self.hub.has_socket(socket.id) {
                self.backplane.dismiss(&socket.user, socket.id).await?;
            }
        }
        Ok(())
    }
}
