//! Carries commands in and events out: the only place that sees domain, hub and backplane together.
//!
//! A socket comes in by [`Node::join`], asks by [`Node::handle`] and goes by [`Node::leave`]. What
//! happens comes back through the [`relay`], also to the node it came from: there is one order, and it is
//! the backplane's.

pub mod accounts;
mod admission;
pub mod agents;
mod beat;
pub mod bridge;
mod chat;
mod commands;
mod connections;
mod courier;
mod denied;
pub mod drain;
mod follows;
pub mod history;
mod identity;
pub mod insights;
mod life;
mod listening;
pub mod lobby;
mod neighbours;
mod passes;
pub mod peers;
mod presence;
mod reaper;
pub mod recorded;
mod recorder;
pub mod relay;
pub mod retention;
mod rooms;
mod roster;
mod runs;
mod saver;
mod sessions;
mod snapshots;
pub mod stats;
mod tally;
pub mod teams;
pub mod text;
mod totals;
mod visit;
pub mod workspaces;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::accounts::Accounts;
use self::admission::Places;
pub use self::admission::{Admission, NotAdmitted, is_trusted};
use self::bridge::Telling;
pub use self::commands::Handled;
pub use self::connections::Connection;
use self::courier::Couriers;
pub use self::courier::{Online, OnlinePage, Profile};
pub use self::denied::Denied;
use self::drain::Stage;
use self::follows::Followers;
pub use self::identity::Identities;
use self::life::Life;
use self::listening::Listening;
use self::passes::Passes;
use self::presence::{Presence, Seat};
use self::reaper::Rising;
use self::relay::Relay;
use self::roster::Roster;
use self::runs::Runs;
use self::saver::Unsaved;
use self::tally::Tally;
use self::text::Texts;
use self::totals::Totals;
pub use self::visit::FOR_SESSIONS;
use self::visit::Visit;
use crate::backplane::{Link, SharedBackplane};
use crate::clock::Clock;
use crate::dialects::{Dialect, Reply};
use crate::domain::{Command, Limits};
use crate::hub::{Hub, Lane, Socket, frame};
use crate::ids::{NodeId, Position, Room};
use crate::limits::Postage;
use crate::neighbours::Neighbours;
use crate::records::Records;
use crate::telemetry::metrics::{DoorMetrics, metrics};

/// Close code of a session that has ended: nothing to come back to.
pub const ENDED: u16 = 4410;
/// Close code of who was sent away.
pub const NOT_ADMITTED: u16 = 4403;
const SENT_AWAY: &str = "you were sent away from this session";

#[derive(Debug, Clone)]
pub struct Config {
    pub name: String,
    /// Where other nodes reach this one, if they can.
    pub address: Option<String>,
    pub limits: Limits,
    pub leave_grace: Duration,
    pub autocreate: bool,
    pub relay: relay::Config,
    pub text: text::Config,
    pub beat_every: Duration,
    /// A node not heard of for this long is dead.
    pub lease: Duration,
    /// Nobody is called dead for this long after the backplane was away.
    pub reap_pause: Duration,
    /// Sockets of one user, on all nodes.
    pub places_per_user: u64,
    pub rooms_per_socket: usize,
    pub agents: agents::Config,
    pub workspaces: workspaces::Config,
    /// Whether services behind this one are told of what happens in workspaces.
    pub hooks: bool,
    pub bridge: bridge::Config,
    /// With more couriers than this only those are told of one who know each other.
    pub presence_limit: u64,
    /// What a user may send to others.
    pub postage: Postage,
    pub accounts: accounts::Config,
    /// Between savings of the texts of recorded sessions.
    pub save_every: Duration,
    /// For how long the id of a command is known.
    pub idempotency: Duration,
    /// Between texts that are kept for replays.
    pub replay_step: Duration,
    /// Users with a role of their own in a recorded session.
    pub participants: u32,
    /// Reactions to a message.
    pub reactions: u32,
    /// Who did nothing for this long is idle, and then away.
    pub idle_after: Duration,
    pub away_after: Duration,
    pub retention: retention::Config,
    pub teams: teams::Config,
    pub notices: lobby::Config,
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
    pub neighbours: Neighbours,
}

pub struct Node {
    life: Arc<Life>,
    config: Config,
    hub: Arc<Hub>,
    backplane: SharedBackplane,
    relay: Relay,
    texts: Arc<Texts>,
    roster: Arc<Roster>,
    listening: Listening,
    totals: Totals,
    looked: stats::Looked,
    identities: Identities,
    neighbours: Neighbours,
    accounts: Accounts,
    /// Recorded sessions whose text is not in the records yet.
    unsaved: Arc<Unsaved>,
    passes: Passes,
    runs: Runs,
    followers: Followers,
    telling: Telling,
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
    /// For who came through a session's.
    seat: Option<Arc<Seat>>,
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
            neighbours,
        } = parts;
        let started_at = clock.now();
        let life = Life::new(id);
        let roster = Arc::new(Roster {
            life: life.clone(),
            tally: Tally::default(),
            clock,
            couriers: Couriers::new(config.presence_limit, config.postage),
            presence: Presence::default(),
            records,
        });
        let inlet = outlet.inlet();
        let unsaved = Arc::new(Unsaved::new(&config));
        let shared = (unsaved.clone(), inlet);
        let texts = Texts::new(config.text.clone(), &backplane, &roster, &hub, shared);
        let idle = config.relay.compare_idle;
        Arc::new(Self {
            relay: Relay::start(outlet, &hub, &backplane, &roster, &texts, idle),
            texts,
            hub,
            listening: Listening::new(life.clone(), backplane.clone()),
            life,
            backplane,
            roster,
            totals: Totals::new(started_at),
            looked: stats::Looked::default(),
            identities,
            neighbours,
            unsaved,
            accounts: Accounts::new(config.accounts),
            config,
            passes: Passes::default(),
            runs: Runs::default(),
            followers: Followers::default(),
            telling: Telling::default(),
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

    /// The same as it changes.
    pub fn follow_link(&self) -> watch::Receiver<Link> {
        self.backplane.link()
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
        let dialect = participant.dialect;
        let mut said = false;
        let frame = framed(dialect, 256, |out| {
            let before = out.len();
            dialect.reply(reply, now, out);
            said = out.len() > before;
        });
        // Not everything has a word in every dialect.
        if !said {
            return Bytes::new();
        }
        self.door(participant).sent(1);
        metrics().sent_bytes(frame.len());
        frame
    }

    fn door(&self, participant: &Participant) -> &DoorMetrics {
        &self.doors[usize::from(participant.dialect.tongue())]
    }
}

/// A frame of that dialect around what `fill` writes.
fn framed(dialect: Dialect, capacity: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    match dialect.is_binary() {
        true => frame::binary_with(capacity, fill),
        false => frame::text_with(capacity, fill),
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
