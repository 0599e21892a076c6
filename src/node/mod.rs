//! Carries commands in and events out: the only place that sees domain, hub and backplane together.
//!
//! A socket comes in by [`Node::join`], asks by [`Node::handle`] and goes by [`Node::leave`]. What
//! happens comes back through the [`relay`], also to the node it came from: there is one order, and it is
//! the backplane's.

pub mod accounts;
mod admission;
mod commands;
mod courier;
mod denied;
pub mod drain;
mod identity;
mod life;
mod listening;
pub mod lobby;
mod passes;
mod reaper;
pub mod recorded;
pub mod relay;
mod roster;
mod saver;
mod sessions;
mod snapshots;
mod tally;
mod totals;
mod visit;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::accounts::Accounts;
use self::admission::Places;
pub use self::admission::{Admission, NotAdmitted, is_trusted};
pub use self::commands::Handled;
use self::courier::Couriers;
pub use self::courier::{Online, OnlinePage, Profile};
pub use self::denied::Denied;
use self::drain::Stage;
pub use self::identity::Identities;
use self::life::Life;
use self::listening::Listening;
use self::passes::Passes;
use self::reaper::Rising;
use self::relay::Relay;
use self::roster::Roster;
use self::saver::Unsaved;
use self::tally::Tally;
use self::totals::Totals;
use self::visit::Visit;
use crate::backplane::{BANNED, Error, Exit, Link, SharedBackplane};
use crate::clock::Clock;
use crate::dialects::{Dialect, Reply};
use crate::domain::sessions::begin_with;
use crate::domain::{Command, Cursor, Limits};
use crate::hub::{Hub, Lane, Socket, frame};
use crate::ids::{NodeId, Position, Room, SessionId};
use crate::limits::Postage;
use crate::records::Records;
use crate::telemetry::metrics::{DoorMetrics, metrics};

/// Close code of a session that has ended: nothing to come back to.
pub const ENDED: u16 = 4410;
/// Close code of who was sent away.
pub const NOT_ADMITTED: u16 = 4403;
const SENT_AWAY: &str = "you were sent away from this session";

/// Wait before leaving a room is tried again.
const LEAVE_AGAIN: Duration = Duration::from_millis(200);
const LEAVE_AGAIN_MOST: Duration = Duration::from_secs(10);

/// A node is looked for so much after its time was up: at the moment itself it might just live.
const AFTER_DEATH: Duration = Duration::from_millis(20);

#[derive(Debug, Clone)]
pub struct Config {
    pub name: String,
    /// Where other nodes reach this one, if they can.
    pub address: Option<String>,
    pub limits: Limits,
    pub leave_grace: Duration,
    pub autocreate: bool,
    pub relay: relay::Config,
    pub beat_every: Duration,
    /// A node not heard of for this long is dead.
    pub lease: Duration,
    /// Nobody is called dead for this long after the backplane was away.
    pub reap_pause: Duration,
    /// Sockets of one user, on all nodes.
    pub places_per_user: u64,
    pub rooms_per_socket: usize,
    /// With more couriers than this only those are told of one who know each other.
    pub presence_limit: u64,
    /// What a user may send to others.
    pub postage: Postage,
    pub accounts: accounts::Config,
    /// Between savings of the texts of recorded sessions.
    pub save_every: Duration,
    /// Users with a role of their own in a recorded session.
    pub participants: u32,
    pub drain: drain::Config,
}

/// What a node is made of.
pub struct Parts {
    pub hub: Arc<Hub>,
    pub backplane: SharedBackplane,
    /// The other end of the ear that was given to the backplane.
    pub outlet: relay::Outlet,
    /// `None`: nothing is kept beyond its session.
    pub records: Option<Arc<Records>>,
    pub identities: Identities,
}

pub struct Node {
    life: Arc<Life>,
    config: Config,
    hub: Arc<Hub>,
    backplane: SharedBackplane,
    relay: Relay,
    roster: Arc<Roster>,
    listening: Listening,
    totals: Totals,
    identities: Identities,
    accounts: Accounts,
    /// Recorded sessions whose text is not in the records yet.
    unsaved: Unsaved,
    passes: Passes,
    /// By which nodes know each other, once it was read.
    secret: Mutex<Option<Arc<str>>>,
    places: Places,
    /// Farewells: they outlive their sockets by the grace.
    farewells: TaskTracker,
    /// What is done for other nodes.
    chores: TaskTracker,
    /// Dead nodes being reaped here; cancelled when one lives again.
    reaping: Mutex<HashMap<NodeId, CancellationToken>>,
    /// Has said that it lives, so that somebody notices when it does no more.
    leased: AtomicBool,
    rising: Mutex<Rising>,
    /// From when on others may be called dead; `None` while the backplane is away.
    reap_from: Mutex<Option<Instant>>,
    stage: AtomicU8,
    /// Held while the node beats: it must not say that it lives after it has given its lease up.
    beating: tokio::sync::Mutex<()>,
    /// The next beat does not wait for its time.
    beat_now: Notify,
    stopping: CancellationToken,
    doors: [DoorMetrics; Dialect::COUNT],
}

/// A socket in a session: what the node must know to carry out its commands.
pub struct Participant {
    pub socket: Arc<Socket>,
    dialect: Dialect,
    /// The session through whose door it came.
    room: Option<Room>,
    /// For who came through none.
    visit: Option<Arc<Visit>>,
    cursor: Option<Cursor>,
}

/// How a socket went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// It said so: the others are told at once.
    Clean,
    /// It vanished: they are told after the grace, unless the user is back.
    Lost,
    /// It was asked to come back elsewhere: it stays a member until this node is reaped.
    HandedOver,
}

impl Node {
    pub fn new(id: NodeId, config: Config, clock: Clock, parts: Parts) -> Arc<Self> {
        let Parts {
            hub,
            backplane,
            outlet,
            records,
            identities,
        } = parts;
        let started_at = clock.now();
        let life = Life::new(id);
        let roster = Arc::new(Roster {
            life: life.clone(),
            tally: Tally::default(),
            clock,
            couriers: Couriers::new(config.presence_limit, config.postage),
            records,
        });
        Arc::new(Self {
            relay: Relay::start(outlet, &hub, &backplane, &roster, config.relay.compare_idle),
            hub,
            listening: Listening::new(life.clone(), backplane.clone()),
            life,
            backplane,
            roster,
            totals: Totals::new(started_at),
            identities,
            unsaved: Unsaved::default(),
            accounts: Accounts::new(config.accounts),
            config,
            passes: Passes::default(),
            secret: Mutex::default(),
            places: Places::default(),
            farewells: TaskTracker::new(),
            chores: TaskTracker::new(),
            reaping: Mutex::default(),
            leased: AtomicBool::new(false),
            rising: Mutex::default(),
            reap_from: Mutex::default(),
            stage: AtomicU8::new(Stage::Serving as u8),
            beating: tokio::sync::Mutex::default(),
            beat_now: Notify::new(),
            stopping: CancellationToken::new(),
            doors: doors(),
        })
    }

    /// Under which id this node lives now.
    pub fn id(&self) -> NodeId {
        self.life.id()
    }

    pub fn link(&self) -> Link {
        *self.backplane.link().borrow()
    }

    pub fn backplane_kind(&self) -> &'static str {
        self.backplane.kind()
    }

    pub fn clock(&self) -> &Clock {
        &self.roster.clock
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Brings a socket into a session: listen, enter, then the relay takes a snapshot, greets and goes
    /// live; `since` is where it was, when it comes back. When it returns the greeting is queued; on an error nothing of the socket is left.
    pub async fn join(
        self: &Arc<Self>,
        session: SessionId,
        dialect: Dialect,
        socket: Arc<Socket>,
        since: Option<Position>,
    ) -> Result<Participant, NotAdmitted> {
        let room = Room::Session(session);
        self.hub.register(socket.clone());
        let participant = Participant {
            socket,
            dialect,
            room: Some(room.clone()),
            visit: None,
            cursor: None,
        };
        match self.bring_in(&participant, &room, since, None).await {
            Ok(()) => {
                self.roster.tally.opened();
                Ok(participant)
            }
            Err(error) => {
                self.hub.unregister(&participant.socket);
                Err(error)
            }
        }
    }

    /// Brings a registered socket into a room; on an error nothing of it is left there. A room that is made now
    /// begins with that text.
    async fn bring_in(
        self: &Arc<Self>,
        participant: &Participant,
        room: &Room,
        since: Option<Position>,
        text: Option<String>,
    ) -> Result<(), NotAdmitted> {
        self.step_in(participant, room, text).await?;
        self.greet(participant, room, since).await
    }

    /// Makes it a member, who hears nothing yet.
    async fn step_in(
        self: &Arc<Self>,
        participant: &Participant,
        room: &Room,
        text: Option<String>,
    ) -> Result<(), NotAdmitted> {
        let socket = &participant.socket;
        self.listening.begin(room).await?;
        let entered = async {
            // Registered first, looked second: whoever closes all sockets has seen this one, or we see that.
            self.may_stay(socket)?;
            // Sessions alone may be for those only whom a match named.
            // And recorded ones are made of their records alone.
            let create = match room.session() {
                Some(session) => self.config.autocreate && !session.is_recorded(),
                None => true,
            };
            let mut create = create.then(|| self.roster.first_fields(room)).flatten();
            if let (Some(text), Some(fields)) = (text, &mut create) {
                begin_with(text, fields);
            }
            let mut entry = self.roster.entry(room, socket, create);
            if let (Room::Couriers, Some(came)) = (room, &mut entry.joined) {
                let few = self.roster.few(&self.backplane, &socket.user);
                few.await?.limit(came);
            }
            self.backplane.enter(room, entry).await?;
            Ok(())
        };
        let entered = entered.await;
        if entered.is_err() {
            self.depart(socket, room, Departure::Clean);
        }
        entered
    }

    /// Has a member told where the room is, and all that happens there from then on.
    async fn greet(
        self: &Arc<Self>,
        participant: &Participant,
        room: &Room,
        since: Option<Position>,
    ) -> Result<(), NotAdmitted> {
        let socket = &participant.socket;
        let greeted = async {
            self.relay.open(room, socket.clone(), since).await?;
            // Seated first, looked second: whoever was banned in between is shown out, or seen here. What cannot be
            // asked now is asked when it does something.
            if room.session().is_some_and(SessionId::is_recorded)
                && let Ok(access) = self.backplane.standing(room, &socket.user).await
                && access.role.as_deref() == Some(BANNED)
            {
                return Err(Error::Forbidden);
            }
            Ok(())
        };
        let greeted = greeted.await;
        if greeted.is_err() {
            self.depart(socket, room, Departure::Clean);
        }
        Ok(greeted?)
    }

    /// Whether the node still takes the socket, and its token holds.
    fn may_stay(&self, socket: &Socket) -> Result<(), NotAdmitted> {
        if self.is_closing() || !self.life.has(socket.id) {
            return Err(NotAdmitted::Leaving);
        }
        if self.passes.is_void(socket.id) {
            return Err(NotAdmitted::Void);
        }
        Ok(())
    }

    /// Takes a socket out of all its rooms; the rest goes on in the background.
    pub fn leave(self: &Arc<Self>, participant: Participant, departure: Departure) {
        let Participant {
            room,
            socket,
            visit,
            ..
        } = participant;
        let others = visit.map(|visit| visit.take_rooms()).unwrap_or_default();
        for room in room.into_iter().chain(others) {
            self.depart(&socket, &room, departure);
        }
        self.roster.couriers.forget(socket.id);
        self.hub.unregister(&socket);
    }

    /// Takes a socket out of a room.
    fn depart(self: &Arc<Self>, socket: &Socket, room: &Room, departure: Departure) {
        self.hub.leave(room, socket);
        // Whoever has no socket has an inbox, from that moment on.
        let inbox = matches!(room, Room::User(_));
        if departure == Departure::HandedOver && !inbox {
            return;
        }
        let (node, room) = (self.clone(), room.clone());
        // The farewell must not hold the socket: the connection ends with its last owner.
        let mut exit = self.roster.exit(&room, socket.id, &socket.user);
        self.farewells.spawn(async move {
            if departure == Departure::Lost && !inbox {
                let grace = tokio::time::sleep(node.config.leave_grace);
                if node.stopping.run_until_cancelled(grace).await.is_none() {
                    // Whoever reaps this node tells the others.
                    return;
                }
            }
            if room == Room::Couriers && !node.address_farewell(&mut exit).await {
                return;
            }
            // Who could not be taken out is for whoever reaps this node, who must find the room.
            if node.retire(&room, exit).await {
                node.stop_hearing(&room).await;
            }
        });
    }

    /// One socket less hears the room.
    async fn stop_hearing(&self, room: &Room) {
        if self.listening.end(room).await {
            self.relay.forget(room).await;
        }
    }

    /// A place less is this node's.
    async fn stop_holding(&self, room: &Room) {
        if self.listening.release(room).await {
            self.relay.forget(room).await;
        }
    }

    /// Leaves in the backplane; while that is away, again and again: the member must not stay.
    async fn retire(&self, room: &Room, exit: Exit) -> bool {
        self.insist(room, || self.backplane.leave(room, vec![exit.clone()]))
            .await
    }

    /// Does it until it is done; false when the node stops before, which cannot wait for it.
    async fn insist<F>(&self, room: &Room, act: impl Fn() -> F) -> bool
    where
        F: Future<Output = Result<(), Error>>,
    {
        let mut link = self.backplane.link();
        let mut wait = LEAVE_AGAIN;
        loop {
            let up = async { link.wait_for(|link| *link == Link::Up).await.is_ok() };
            let reached = tokio::select! {
                biased;
                up = up => up,
                () = self.stopping.cancelled() => false,
            };
            if !reached {
                return false;
            }
            match act().await {
                Err(Error::Unavailable(detail)) => {
                    tracing::debug!(%room, detail, "leaving must wait");
                    let pause = tokio::time::sleep(wait);
                    if self.stopping.run_until_cancelled(pause).await.is_none() {
                        return false;
                    }
                    // A store that answers and refuses is not to be stormed.
                    wait = (wait * 2).min(LEAVE_AGAIN_MOST);
                }
                _ => return true,
            }
        }
    }

    /// Says every few seconds that this node lives and what it has, until it stops.
    pub async fn beat(self: Arc<Self>) {
        let mut every = tokio::time::interval(self.config.beat_every);
        let mut link = self.backplane.link();
        // Whoever is silent is noticed when its time is up, not at the next tick.
        let mut next_death = None;
        loop {
            let death = async {
                match next_death {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let next = async {
                // Nobody is let in without a lease: a link that comes up does not wait for the next tick.
                tokio::select! {
                    _ = every.tick() => {}
                    Ok(()) = link.changed() => {}
                    () = self.beat_now.notified() => {}
                    () = death => {}
                }
            };
            if self.stopping.run_until_cancelled(next).await.is_none() {
                return;
            }
            let _turn = self.beating.lock().await;
            if self.stopping.is_cancelled() {
                return;
            }
            self.notice_pause();
            self.roster.couriers.tidy();
            next_death = None;
            let asked = Instant::now();
            let Some(beat) = self.totals.beat(&self).await else {
                self.put_off_reaping();
                continue;
            };
            self.life.has_beaten(asked);
            next_death = beat
                .next_death
                .map(|left| Instant::now() + left + AFTER_DEATH);
            self.learn_secret().await;
            self.leased.store(true, Ordering::Relaxed);
            if beat.lost {
                tracing::warn!("this node's lease had run out: its members are entered again");
            }
            self.rise(beat.lost);
            self.reap(&beat.dead);
            if !self.totals.is_counting() {
                let node = self.clone();
                // Beside the beat, which must not wait: on a cluster another server may have the totals.
                self.chores
                    .spawn(async move { node.totals.count(&node).await });
            }
        }
    }

    /// False when the backplane takes commands, but what it publishes is not heard here.
    pub fn hears(&self) -> bool {
        self.backplane.hears()
    }

    /// True once others know that this node lives: before that nobody would miss its members.
    pub fn is_leased(&self) -> bool {
        self.leased.load(Ordering::Relaxed)
    }

    pub fn socket_count(&self) -> usize {
        self.hub.socket_count()
    }

    /// Says something to one socket.
    fn say(&self, participant: &Participant, reply: &Reply<'_>) {
        let frame = self.frame(participant, reply);
        participant.socket.send(Lane::Ordered, frame);
    }

    /// Says something that tells how far the socket has been told; nothing can come in between.
    fn say_at<'a>(
        &self,
        participant: &Participant,
        make: impl FnOnce(Option<Position>) -> Reply<'a>,
    ) {
        match &participant.room {
            Some(room) => self.hub.reply(room, &participant.socket, |position| {
                self.frame(participant, &make(position))
            }),
            None => self.say(participant, &make(None)),
        }
    }

    fn frame(&self, participant: &Participant, reply: &Reply<'_>) -> Bytes {
        let now = self.roster.clock.now();
        let frame = frame::text_with(256, |out| participant.dialect.reply(reply, now, out));
        self.door(participant).sent(1);
        metrics().sent_bytes(frame.len());
        frame
    }

    fn door(&self, participant: &Participant) -> &DoorMetrics {
        &self.doors[usize::from(participant.dialect.tongue())]
    }
}

/// The counters of all doors, by tongue.
fn doors() -> [DoorMetrics; Dialect::COUNT] {
    let mut kinds = Command::KINDS.to_vec();
    kinds.extend([commands::BAD, commands::HASTE]);
    Dialect::ALL.map(|dialect| metrics().door(dialect.door(), &kinds))
}

fn pack(value: &impl serde::Serialize) -> Bytes {
    rmp_serde::to_vec_named(value)
        .expect("writing plain fields to memory cannot fail")
        .into()
}
