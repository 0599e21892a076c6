//! Couriers: sockets that stand for a user's backend. They are listed for everybody, and what is sent to their user
//! reaches them on whatever node they are, or waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;

use super::commands::Asker;
use super::roster::Roster;
use super::visit::Visit;
use super::{Node, NotAdmitted, Participant};
use crate::backplane::{
    Audience, Card, Draft, Error, Exit, Letter, Link, Receipt, SharedBackplane,
};
use crate::clock::Millis;
use crate::dialects::Reply;
use crate::domain::courier::{Directed, Tally};
use crate::domain::{Code, Event, Member, Reject};
use crate::hub::Marks;
use crate::ids::{Position, Room, SocketId, UserId};
use crate::limits::{Postage, Purses, Unpaid};
use crate::telemetry::metrics::metrics;

/// Marks that move meanwhile are written down together.
const MARK_PACE: Duration = Duration::from_millis(10);
/// Marks written down at once.
const MARKS_AT_ONCE: usize = 64;

/// What is known of a courier socket beside its user.
#[derive(Debug, Clone)]
pub struct Profile {
    pub backend_url: Option<Arc<str>>,
    pub since: Millis,
}

/// A courier as it is listed.
#[derive(Debug)]
pub struct Online {
    pub user: UserId,
    pub member: Member,
}

/// Some of them, how many they are in all, and behind whom the next page begins.
#[derive(Debug)]
pub struct OnlinePage {
    pub users: Vec<Online>,
    pub count: u64,
    pub next: Option<UserId>,
}

/// The couriers of the cluster, as far as this node has heard, and its own.
pub struct Couriers {
    /// Users who have one; heard of while this node has one itself, and unknown else.
    count: AtomicU64,
    /// With more only those are told of one who know each other.
    limit: u64,
    purses: Purses,
    own: Mutex<HashMap<SocketId, Profile>>,
}

const UNKNOWN: u64 = u64::MAX;

/// Who is told of a courier.
pub enum Few {
    Everybody,
    Contacts(Vec<UserId>),
}

impl Few {
    pub fn limit(self, draft: &mut Draft) {
        if let Few::Contacts(contacts) = self {
            draft.audience = Audience::Users(contacts);
        }
    }
}

impl Couriers {
    pub fn new(limit: u64, postage: Postage) -> Self {
        Self {
            count: AtomicU64::new(UNKNOWN),
            limit,
            purses: Purses::new(postage),
            own: Mutex::default(),
        }
    }

    pub fn are(&self, users: u64) {
        self.count.store(users, Ordering::Relaxed);
    }

    pub fn are_unknown(&self) {
        self.are(UNKNOWN);
    }

    pub fn came(&self) {
        self.count_anew(|count| count + 1);
    }

    pub fn went(&self) {
        self.count_anew(|count| count.saturating_sub(1));
    }

    fn count_anew(&self, anew: impl Fn(u64) -> u64) {
        let known = |count| (count != UNKNOWN).then(|| anew(count));
        // An unknown number stays so.
        let _ = self
            .count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, known);
    }

    fn are_known(&self) -> Option<u64> {
        Some(self.count.load(Ordering::Relaxed)).filter(|count| *count != UNKNOWN)
    }

    pub fn profile(&self, socket: SocketId) -> Option<Profile> {
        self.own.lock().get(&socket).cloned()
    }

    fn put(&self, socket: SocketId, profile: Profile) {
        self.own.lock().insert(socket, profile);
    }

    /// Forgets what need not be remembered of who sent what.
    pub fn tidy(&self) {
        self.purses.tidy();
    }

    pub fn forget(&self, socket: SocketId) {
        self.own.lock().remove(&socket);
    }
}

impl Node {
    /// Lists a socket that was welcomed among the couriers, tells it so, and hands it what waits for its user.
    pub async fn open_courier(
        self: &Arc<Self>,
        participant: &Participant,
        backend_url: Option<Arc<str>>,
    ) -> Result<(), NotAdmitted> {
        let Some(visit) = &participant.visit else {
            return Ok(());
        };
        let socket = &participant.socket;
        let since = self.clock().now();
        self.roster
            .couriers
            .put(socket.id, Profile { backend_url, since });
        // The inbox first: whoever is told that the user is there finds it so.
        let rooms = [Room::User(socket.user.clone()), Room::Couriers];
        for room in &rooms {
            visit.keep(room.clone());
            if let Err(error) = self.step_in(participant, room, None).await {
                visit.take_room(room);
                return Err(error);
            }
        }
        for room in rooms.iter().rev() {
            if let Err(error) = self.greet(participant, room, None, None).await {
                visit.take_room(room);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether somebody may send this event now.
    pub(super) fn may_route(
        &self,
        participant: &Participant,
        event: &Directed,
    ) -> Result<(), Reject> {
        let visit = participant.visit.as_ref();
        if !visit.is_some_and(|visit| visit.is_courier()) {
            let sentence =
                "only couriers send these: connect with user_id and backend_url or display_name";
            return Err(Reject::new(Code::Forbidden, sentence));
        }
        let (purses, weight) = (&self.roster.couriers.purses, event.weight());
        let Postage { bytes, burst } = purses.postage();
        purses
            .pay(&event.from, weight)
            .map_err(|unpaid| match unpaid {
                Unpaid::Ever => {
                    let users = event.to.len();
                    let sentence = format!(
                        "this event comes to {weight} bytes for {users} users; right is at most {burst}: send it to fewer at a time"
                    );
                    Reject {
                        field: Some("to_users"),
                        ..Reject::new(Code::TooMany, sentence)
                    }
                }
                Unpaid::For(wait) => {
                    let what = format!(
                        "all your events together, counted once for each recipient, have at most {bytes} bytes a second, {burst} at once"
                    );
                    Reject::too_fast(&what, wait.as_millis() as u64)
                }
            })
    }

    /// Where it is noted what inboxes were told.
    pub fn marks(&self) -> &Arc<Marks> {
        &self.hub.marks
    }

    /// Says for whom it is that a courier went; waits until that can be asked, and false when the node stops before.
    pub(super) async fn address_farewell(&self, exit: &mut Exit) -> bool {
        let found = Mutex::new(None);
        let find = || async {
            let few = self.roster.few(&self.backplane, &exit.user).await?;
            *found.lock() = Some(few);
            Ok(())
        };
        if !self.insist(&Room::Couriers, find).await {
            return false;
        }
        if let (Some(few), Some(went)) = (found.into_inner(), &mut exit.left) {
            few.limit(went);
        }
        true
    }

    /// Those who have a courier, from behind `after` on; and how many they are in all.
    pub async fn online(&self, after: Option<&UserId>, most: u64) -> Result<OnlinePage, Error> {
        let registry = self.backplane.couriers(after, most).await?;
        let is_full = registry.records.len() as u64 == most;
        let last = registry.records.last().filter(|_| is_full);
        let next = last.map(|(user, _)| user.clone());
        // A record this node cannot read was written by a newer one: that user is not shown.
        let listed = registry.records.into_iter().filter_map(|(user, record)| {
            let member = rmp_serde::from_slice(&record).ok()?;
            Some(Online { user, member })
        });
        Ok(OnlinePage {
            users: listed.collect(),
            count: registry.count,
            next,
        })
    }

    pub async fn register(&self, user: &UserId, card: &Card) -> Result<(), Error> {
        self.backplane.register(user, card).await
    }

    pub async fn card(&self, user: &UserId) -> Result<Card, Error> {
        self.backplane.card(user).await
    }

    /// Writes down what was told to the users of this node's couriers, until the node stops.
    pub async fn keep_marks(self: Arc<Self>) {
        let marks = &self.hub.marks;
        while self
            .stopping
            .run_until_cancelled(marks.moved())
            .await
            .is_some()
        {
            tokio::time::sleep(MARK_PACE).await;
            self.write_marks().await;
        }
    }

    /// A mark that cannot be written down now is given up: what it covers is told once more to who comes. Later it might
    /// cover what nobody was told, in a store that meanwhile lost writes and gave their places anew.
    pub(super) async fn write_marks(&self) {
        let mark = |(user, at): (UserId, Position)| async move {
            if let Err(error) = self.backplane.mark(&user, at).await {
                tracing::debug!(%user, %error, "what was told was not written down");
            }
        };
        let marks = stream::iter(self.hub.marks.take());
        marks.for_each_concurrent(MARKS_AT_ONCE, mark).await;
    }
}

impl Roster {
    /// Above the limit only those are told of a user's coming and going who exchanged letters with that user.
    pub(super) async fn few(
        &self,
        backplane: &SharedBackplane,
        user: &UserId,
    ) -> Result<Few, Error> {
        let count = match self.couriers.are_known() {
            Some(count) => count,
            None => backplane.couriers(None, 0).await?.count,
        };
        if count <= self.couriers.limit {
            return Ok(Few::Everybody);
        }
        backplane.contacts(user).await.map(Few::Contacts)
    }
}

impl Visit {
    /// Whether the socket is a courier.
    pub fn is_courier(&self) -> bool {
        self.is_in(&Room::Couriers)
    }
}

impl Asker {
    /// Sends an event to those it is for, and tells the sender whom it reached.
    pub(super) async fn route(self, event: Directed) {
        let node = &self.node;
        let origin = Some(self.participant.socket.id);
        let letter = Letter {
            draft: node
                .roster
                .draft(&Event::Directed(event.clone()), origin, Audience::All),
            from: event.from.clone(),
            to: event.to.to_vec(),
            once: event.given.then(|| event.id.to_string()),
        };
        let routed = if node.link() == Link::Up {
            // Together, because the sender's next event waits for both.
            let (routed, ()) = tokio::join!(node.backplane.route(&letter), self.acquaint(&event));
            routed
        } else {
            Err(Error::Unavailable("not connected".to_owned()))
        };
        match routed {
            Ok(receipts) => {
                node.roster.tally.routed(1);
                self.note_routed(&event, &receipts);
                let tally = tally(&receipts);
                node.say(
                    &self.participant,
                    &Reply::Routed {
                        event: &event,
                        tally,
                    },
                );
            }
            Err(error) => {
                tracing::debug!(parent: &self.participant.span(), %error, "an event was not routed");
                self.reject(Reject::unavailable());
            }
        }
    }

    /// So that each is told later when the other comes and goes.
    async fn acquaint(&self, event: &Directed) {
        let known = self.node.backplane.acquaint(&event.from, &event.to).await;
        if let Err(error) = known {
            tracing::debug!(parent: &self.participant.span(), %error, "contacts were not noted");
        }
    }

    fn note_routed(&self, event: &Directed, receipts: &[Receipt]) {
        let Directed { kind, to, id, .. } = event;
        let tally = tally(receipts);
        tracing::info!(
            target: "audit",
            parent: &self.participant.span(),
            kind = &**kind,
            event = &**id,
            to = ?Names(to),
            delivered = tally.present,
            queued = tally.kept,
            full = tally.full,
            "routed"
        );
        metrics().directed(tally.present, tally.kept, tally.full, receipts.len());
    }
}

/// User ids as they are read in a log.
struct Names<'a>(&'a [UserId]);

impl std::fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(UserId::as_str))
            .finish()
    }
}

fn tally(receipts: &[Receipt]) -> Tally {
    let count = |receipt| receipts.iter().filter(|known| **known == receipt).count();
    Tally {
        all: receipts.len(),
        present: count(Receipt::Present),
        kept: count(Receipt::Kept),
        full: count(Receipt::Full),
    }
}
