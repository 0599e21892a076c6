//! What a node does about those that died: one survivor takes the dead node's members out.
//!
//! Whoever claims the dead node walks the rooms it held, twice, because what it sent last may arrive after
//! the first walk. A reaper that dies is replaced when its claim runs out: all it does can be repeated. A node
//! that was taken for dead may live again: then its reaper stops, and it enters its members once more.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::Node;
use crate::backplane::{EXITS, Error, Exit, Link};
use crate::domain::Member;
use crate::ids::{NodeId, Room, SocketId, UserId};
use crate::telemetry::metrics::metrics;

/// How long a claim holds while rooms are walked; renewed with every few.
const CLAIM: Duration = Duration::from_secs(15);
/// Wait between the two walks, and how often the claim is renewed in it.
const SECOND_LOOK: Duration = Duration::from_secs(30);
const RENEWALS: u32 = 6;
/// Rooms walked at once.
const AT_ONCE: usize = 16;
/// A backplane that is reached later than this after the start was away.
const AT_ONCE_UP: Duration = Duration::from_secs(5);

/// What a node owes its members after its lease had run out.
#[derive(Default)]
pub(super) struct Rising {
    /// They are to be entered again, the first time without waiting for a reaper to be done.
    owed: bool,
    at_once: bool,
    under_way: bool,
}

impl Node {
    /// Begins to reap those of the dead that nobody else does, unless it is too early to say who is dead.
    pub(super) fn reap(self: &Arc<Self>, dead: &[NodeId]) {
        for (node, lives) in self.reaping.lock().iter() {
            if !dead.contains(node) {
                lives.cancel();
            }
        }
        if !self.may_bury() {
            return;
        }
        for dead in dead.iter().copied() {
            let lives = self.stopping.child_token();
            {
                let mut reaping = self.reaping.lock();
                if dead == self.id() || reaping.contains_key(&dead) {
                    continue;
                }
                reaping.insert(dead, lives.clone());
            }
            let node = self.clone();
            self.chores.spawn(async move {
                match lives.run_until_cancelled(node.bury(dead)).await {
                    Some(Ok(())) => {}
                    Some(Err(error)) => tracing::warn!(%dead, %error, "reaping was cut short"),
                    None => node.let_go(dead).await,
                }
                node.reaping.lock().remove(&dead);
            });
        }
    }

    /// Gives a claim up: the node lives again, or this one stops and another may reap it.
    async fn let_go(&self, claimed: NodeId) {
        let released = self
            .backplane
            .claim(claimed, self.id(), Duration::ZERO)
            .await;
        if let Err(error) = released {
            tracing::debug!(%claimed, %error, "a claim runs out by itself");
        }
    }

    /// Enters this node's members again after its lease had run out: at once, and once more when nobody
    /// reaps it any more. It takes its time, and the node must go on beating meanwhile.
    pub(super) fn rise(self: &Arc<Self>, lost: bool) {
        {
            let mut rising = self.rising.lock();
            rising.at_once |= lost;
            rising.owed |= lost;
            if !rising.owed || rising.under_way {
                return;
            }
            rising.under_way = true;
        }
        let node = self.clone();
        self.chores.spawn(async move {
            let at_once = std::mem::take(&mut node.rising.lock().at_once);
            let risen = node.stopping.run_until_cancelled(node.enter_again(at_once));
            let done = risen.await == Some(true);
            let mut rising = node.rising.lock();
            rising.under_way = false;
            rising.owed = rising.at_once || !done;
        });
    }

    /// True when all is entered and nobody reaps this node.
    async fn enter_again(&self, at_once: bool) -> bool {
        let claimed = self.backplane.claim(self.id(), self.id(), CLAIM).await;
        let free = claimed == Ok(true);
        let mut done = free;
        if free || at_once {
            done &= self.reclaim().await;
            self.relay.compare_all();
        }
        if free {
            self.let_go(self.id()).await;
        }
        if free || at_once {
            done &= self.take_out_forgotten().await.is_ok();
        }
        done
    }

    /// Takes out members of this node whose sockets are gone: a store that lost writes may have them again, and
    /// nobody else would ever take them out.
    async fn take_out_forgotten(&self) -> Result<(), Error> {
        let mut forgotten = Vec::new();
        let mut rooms = self.backplane.holdings(self.id()).await?;
        // A member that is back, in a room that was put down after the store had lost that it left.
        rooms.extend(self.listening.put_down_lately());
        rooms.sort_unstable_by_key(Room::to_string);
        rooms.dedup();
        for room in rooms {
            if room != Room::Lobby {
                let exits = self.left_behind(&room).await?;
                forgotten.push((room, exits));
            }
        }
        forgotten.retain(|(_, exits)| !exits.is_empty());
        if forgotten.is_empty() {
            return Ok(());
        }
        // Who vanished a moment ago is still a member for the grace.
        tokio::time::sleep(self.config.leave_grace).await;
        for (room, exits) in forgotten {
            tracing::info!(%room, sockets = exits.len(), "the backplane had lost that they left");
            for some in exits.chunks(EXITS) {
                self.backplane.leave(&room, some.to_vec()).await?;
            }
        }
        Ok(())
    }

    /// The room's members of this node that have no socket.
    async fn left_behind(&self, room: &Room) -> Result<Vec<Exit>, Error> {
        let (mut from, mut exits) = (None, Vec::new());
        loop {
            let held = self.backplane.held(self.id(), room, from).await?;
            let mut gone = held.members;
            gone.retain(|(socket, _)| !self.hub.has_socket(*socket));
            exits.extend(self.exits_of(room, &gone).await?);
            from = held.next;
            if from.is_none() {
                return Ok(exits);
            }
        }
    }

    async fn exits_of(
        &self,
        room: &Room,
        members: &[(SocketId, Bytes)],
    ) -> Result<Vec<Exit>, Error> {
        // Fields may be added to a record, never taken away: what cannot be read is no record.
        let member = |record| rmp_serde::from_slice::<Member>(record).ok();
        let exits = members.iter().filter_map(|(socket, record)| {
            let Member { user, name, .. } = member(record)?;
            Some(self.roster.exit(room, *socket, &user, &name))
        });
        let exits: Vec<Exit> = exits.collect();
        if *room != Room::Couriers {
            return Ok(exits);
        }
        let told = stream::iter(exits).map(|mut exit| async move {
            if let Some(went) = &mut exit.left {
                let few = self.roster.few(&self.backplane, &exit.user);
                few.await?.limit(went);
            }
            Ok(exit)
        });
        told.buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn bury(&self, dead: NodeId) -> Result<(), Error> {
        if !self.backplane.claim(dead, self.id(), CLAIM).await? {
            return Ok(());
        }
        tracing::warn!(%dead, "a node is gone: its users leave");
        let sockets = self.take_out(dead).await?;
        tracing::info!(target: "audit", %dead, sockets, "a dead node was reaped");
        // Claimed a little at a time: who dies meanwhile must not keep the others from a node that came back and died
        // again.
        for _ in 0..RENEWALS {
            if !self.backplane.claim(dead, self.id(), CLAIM).await? {
                return Ok(());
            }
            tokio::time::sleep(SECOND_LOOK / RENEWALS).await;
        }
        if !self.backplane.claim(dead, self.id(), CLAIM).await? {
            return Ok(());
        }
        self.take_out(dead).await?;
        self.backplane.forget(dead).await
    }

    /// Takes all of a node's members out of their rooms; returns how many there were. A room that fails
    /// keeps nobody in the others.
    pub(super) async fn take_out(&self, gone: NodeId) -> Result<usize, Error> {
        let rooms = self.backplane.holdings(gone).await?;
        let mut walk = stream::iter(rooms.into_iter().enumerate())
            .map(|(at, room)| async move {
                let walked = match &room {
                    Room::Session(_) | Room::Workspace(_) | Room::Couriers => {
                        self.take_out_of(gone, &room).await
                    }
                    Room::User(user) => self.take_out_of_user(gone, &room, user).await,
                    // Who listens to an agent is no member.
                    Room::Agent(_) | Room::Lobby => Ok(0),
                };
                (at, room, walked)
            })
            .buffer_unordered(AT_ONCE);
        let (mut count, mut failed) = (0, None);
        while let Some((at, room, walked)) = walk.next().await {
            match walked {
                Ok(sockets) => count += sockets,
                Err(error) => {
                    tracing::debug!(%room, %error, "a room was not cleared");
                    failed = Some(error);
                }
            }
            let renews = gone != self.id() && at % AT_ONCE == AT_ONCE - 1;
            if renews && !self.backplane.claim(gone, self.id(), CLAIM).await? {
                return Err(Error::Unavailable("another node has claimed it".to_owned()));
            }
        }
        failed.map_or(Ok(count), Err)
    }

    /// A user's room is held for the user's places, and for the inbox of couriers.
    async fn take_out_of_user(
        &self,
        gone: NodeId,
        room: &Room,
        user: &UserId,
    ) -> Result<usize, Error> {
        self.backplane.vacate(user, gone).await?;
        // Who goes on being told is counted where the couriers are.
        self.take_out_of(gone, room).await.map(|_| 0)
    }

    async fn take_out_of(&self, gone: NodeId, room: &Room) -> Result<usize, Error> {
        // It may not have saved what was written last.
        self.unsaved.note(room);
        let (mut from, mut count) = (None, 0);
        loop {
            let held = self.backplane.held(gone, room, from).await?;
            let exits = self.exits_of(room, &held.members).await?;
            count += exits.len();
            for some in exits.chunks(EXITS) {
                self.backplane.leave(room, some.to_vec()).await?;
                if gone != self.id() {
                    metrics().reaped(some.len());
                }
            }
            from = held.next;
            if from.is_none() {
                return Ok(count);
            }
        }
    }

    /// Whether it can be said by now who is gone.
    pub(super) fn may_bury(&self) -> bool {
        let from = *self.reap_from.lock();
        from.is_some_and(|from| Instant::now() >= from) && !self.is_draining()
    }

    /// A beat failed, so those of others may have, too: nobody is dead for having been silent meanwhile. Leases
    /// may lie where the backplane is away, although the rest of it is up.
    pub(super) fn put_off_reaping(&self) {
        let pause = self.config.reap_pause.max(self.config.lease);
        if let Some(from) = &mut *self.reap_from.lock() {
            *from = (*from).max(Instant::now() + pause);
        }
    }

    /// Follows the link: nodes that were cut off from the backplane are not dead, and what it may have lost
    /// of this one is written down again.
    pub async fn attend_link(self: Arc<Self>) {
        let mut link = self.backplane.link();
        let (started, mut been_up) = (Instant::now(), false);
        loop {
            let now = *link.borrow_and_update();
            match now {
                Link::Up => {
                    // A backplane that was there at once has been there for the others, too.
                    let pause = if been_up || started.elapsed() > AT_ONCE_UP {
                        self.config.reap_pause.max(self.config.lease)
                    } else {
                        self.config.lease
                    };
                    *self.reap_from.lock() = Some(Instant::now() + pause);
                    if been_up {
                        self.rise(true);
                    }
                    if self.backplane.is_shared() {
                        let node = self.clone();
                        self.chores
                            .spawn(async move { node.remember_revoked().await });
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

    /// Writes down again what this node has, for a backplane or a reaper that may have taken it away; false
    /// when some of it could not be. The members themselves are entered again room by room, by the relay.
    async fn reclaim(&self) -> bool {
        let mut done = true;
        if let Err(error) = self.listening.hold_all().await {
            tracing::warn!(%error, "this node's rooms could not all be held again");
            done = false;
        }
        if let Err(error) = self.vacate_all().await {
            tracing::debug!(%error, "places may be taken by nobody");
            done = false;
        }
        // Listed last: whoever took a place before it was vacated is among them.
        let mut places = stream::iter(self.places.all())
            .map(|(socket, user)| async move { self.place_again(&user, socket).await })
            .buffer_unordered(AT_ONCE);
        while let Some(placed) = places.next().await {
            if let Err(error) = placed {
                tracing::debug!(%error, "a place could not be taken again");
                done = false;
            }
        }
        done
    }

    /// Gives all places of this node back, also those that the backplane lost the end of.
    async fn vacate_all(&self) -> Result<(), Error> {
        for room in self.backplane.holdings(self.id()).await? {
            if let Room::User(user) = &room {
                self.backplane.vacate(user, self.id()).await?;
            }
        }
        Ok(())
    }

    async fn place_again(&self, user: &UserId, socket: SocketId) -> Result<(), Error> {
        // They are here already: the bound is for those who come.
        let most = u64::from(u32::MAX);
        self.backplane.admit(user, socket, most).await?;
        if !self.places.has(socket) {
            self.backplane.dismiss(user, socket).await?;
        }
        Ok(())
    }
}
