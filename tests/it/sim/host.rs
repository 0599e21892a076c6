//! A node of the simulation: the real one, with a simulated store behind it and simulated sockets before it.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use collabd::clock::Clock;
use collabd::dialects::Dialect;
use collabd::domain::Limits;
use collabd::hub::{Bounds, Hub, Socket, Speech, Writer};
use collabd::ids::{NodeId, Position, Room, SessionId, SocketId, UserId};
use collabd::limits::Postage;
use collabd::neighbours::Neighbours;
use collabd::node::{
    Config, Departure, Identities, Node, Parts, accounts, drain, lobby, relay, teams,
};
use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

use super::line::{self, Up};
use super::plan::Plan;
use super::station::{Place, Station, Trip};
use super::wire::{Cable, Weather, Wire};

pub const LEASE: Duration = Duration::from_secs(4);
/// How long those who vanished are still members.
const GRACE: Duration = Duration::from_secs(2);
/// Sockets of one user: somewhat more than anyone has, because old ones go later than new ones come.
const PLACES: u64 = 4;
/// What may wait for a slow socket.
const OUTBOX: Bounds = Bounds {
    messages: 6,
    bytes: 16 * 1024,
};
/// Bytes on their way to a client, before its socket blocks.
const IN_FLIGHT: usize = 2 * 1024;
/// Frames on their way from a client.
const FRAMES: usize = 64;
/// Longest wait for the sockets of a node that leaves.
const EMPTIED_WITHIN: Duration = Duration::from_secs(3);

pub struct Host {
    pub slot: usize,
    pub node: Arc<Node>,
    pub station: Arc<Station>,
    pub cable: Arc<Cable>,
    /// Whoever knocks is heard.
    open: AtomicBool,
    tasks: Mutex<Vec<AbortHandle>>,
    seated: Mutex<HashMap<SocketId, Seated>>,
}

/// Who has a live socket, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seated {
    pub user: UserId,
    pub session: SessionId,
}

/// Who knocks.
pub struct Visitor {
    pub user: UserId,
    pub session: SessionId,
    pub since: Option<Position>,
}

impl Host {
    pub fn start(
        slot: usize,
        seed: u64,
        plan: &Plan,
        place: Arc<Place>,
        wire: &Wire,
        clock: Clock,
    ) -> Arc<Self> {
        let id = NodeId::random();
        let config = config(slot, plan);
        let (inlet, attendance, outlet) = relay::channel(&config.relay);
        let cable = Cable::new(Arc::new(inlet), seed, plan.weather());
        wire.plug(cable.clone());
        let station = Station::new(place, cable.clone(), seed ^ 1, plan.trip());
        let hub = Arc::new(Hub::default());
        let parts = Parts {
            hub,
            backplane: station.clone(),
            outlet,
            records: None,
            identities: Identities::default(),
            neighbours: Neighbours::default(),
        };
        let node = Node::new(id, config, clock, parts);
        let host = Arc::new(Self {
            slot,
            node: node.clone(),
            station,
            cable: cable.clone(),
            open: AtomicBool::new(true),
            tasks: Mutex::default(),
            seated: Mutex::default(),
        });
        host.keep(tokio::spawn(cable.pump()));
        host.keep(tokio::spawn(node.clone().beat()));
        host.keep(tokio::spawn(node.clone().attend_pauses()));
        host.keep(tokio::spawn(node.clone().attend_link()));
        host.keep(tokio::spawn(node.clone().attend_lobby(attendance)));
        host.keep(tokio::spawn(node.attend_tokens()));
        host
    }

    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    pub fn seated(&self) -> HashMap<SocketId, Seated> {
        self.seated.lock().clone()
    }

    /// From here on nothing goes wrong on the way to the store.
    pub fn calm(&self) {
        self.cable.set_weather(Weather::CALM);
        self.station.set_trip(Trip::CALM);
    }

    /// A client connects. Who is refused finds its line ended before any frame.
    pub fn connect(self: &Arc<Self>, visitor: Visitor) -> line::End {
        let (theirs, ours) = tokio::io::duplex(IN_FLIGHT);
        let (up, frames) = mpsc::channel(FRAMES);
        self.keep(tokio::spawn(self.clone().serve(visitor, ours, frames)));
        line::End::new(theirs, up)
    }

    /// What `transport` does for a client, from the handshake to the goodbye.
    async fn serve(
        self: Arc<Self>,
        visitor: Visitor,
        stream: DuplexStream,
        frames: mpsc::Receiver<Up>,
    ) {
        let Visitor {
            user,
            session,
            since,
        } = visitor;
        if !self.is_open() || self.node.link() != collabd::backplane::Link::Up {
            return;
        }
        let admission = match self.node.admit(&session, &user, None).await {
            Ok(admission) => admission,
            Err(error) => return tracing::debug!(%user, %error, "is not admitted"),
        };
        let socket = Arc::new(Socket::new(
            admission.socket,
            user.clone(),
            user.as_str().into(),
            Speech {
                tongue: Dialect::Pairing.tongue(),
                parting: |_| None,
            },
            Writer::ByTask,
            OUTBOX,
        ));
        let joined = self
            .node
            .join(session.clone(), Dialect::Pairing, socket.clone(), since);
        let mut participant = match joined.await {
            Ok(participant) => participant,
            Err(error) => return tracing::debug!(%user, %error, "cannot join"),
        };
        let seated = Seated { user, session };
        self.seated.lock().insert(socket.id, seated);
        let mut line = line::Line::new(self.node.clone(), socket.clone(), stream, frames);
        let departure = line.drive(&mut participant).await;
        self.seated.lock().remove(&socket.id);
        drop(admission);
        self.node.leave(participant, departure);
        line.say_goodbye().await;
    }

    /// The node is gone without a word.
    pub fn die(&self, wire: &Wire) {
        self.open.store(false, Ordering::Relaxed);
        self.station.die();
        self.end(wire);
    }

    /// The node leaves in order.
    pub async fn drain(&self, wire: &Wire) {
        self.node.begin_drain(false).await;
        self.node.close_paced(false).await;
        self.open.store(false, Ordering::Relaxed);
        let emptied = async {
            while !self.seated.lock().is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        // Who is not gone by then is cut.
        let _ = tokio::time::timeout(EMPTIED_WITHIN, emptied).await;
        self.node.stop().await;
        self.end(wire);
    }

    fn end(&self, wire: &Wire) {
        wire.unplug(&self.cable);
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        self.seated.lock().clear();
    }

    fn keep(&self, task: JoinHandle<()>) {
        let mut tasks = self.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.push(task.abort_handle());
    }
}

fn config(slot: usize, plan: &Plan) -> Config {
    Config {
        name: format!("node-{slot}"),
        address: None,
        limits: Limits {
            code_bytes: 64 * 1024,
            chat_bytes: 8 * 1024,
            data_bytes: 64 * 1024,
            recipients: 1_000,
            event_types: Arc::default(),
        },
        leave_grace: GRACE,
        autocreate: true,
        relay: relay::Config {
            workers: 2,
            queue: plan.queue,
            log_length: plan.log,
            compare_idle: Duration::from_secs(6),
        },
        text: collabd::node::text::Config {
            linger: Duration::from_secs(2),
            batch: Duration::from_millis(10),
            log_length: 20,
            log_bytes: 1024 * 1024,
            length: 1024 * 1024,
        },
        beat_every: Duration::from_secs(1),
        lease: LEASE,
        reap_pause: LEASE,
        places_per_user: PLACES,
        rooms_per_socket: 1,
        agents: collabd::node::agents::Config {
            followed: 100,
            lost_after: Duration::from_secs(30),
            silence: Duration::from_secs(3_600),
        },
        workspaces: collabd::node::workspaces::Config { members: 100 },
        hooks: false,
        bridge: collabd::node::bridge::Config { attempts: 12 },
        presence_limit: 1_000,
        postage: Postage {
            bytes: NonZeroU32::MAX,
            burst: NonZeroU32::MAX,
        },
        accounts: accounts::Config {
            token_ttl: Duration::from_secs(60),
            tokens: 1,
            hashes: 1,
        },
        save_every: Duration::from_secs(1),
        idempotency: Duration::from_secs(300),
        replay_step: Duration::from_secs(1),
        participants: 10,
        reactions: 10,
        idle_after: Duration::from_secs(60),
        away_after: Duration::from_secs(300),
        retention: Default::default(),
        teams: teams::Config {
            per_user: 1,
            members: 1,
            insights: 1,
        },
        notices: lobby::Config {
            data_bytes: 1_024,
            users: 10,
        },
        drain: drain::Config {
            delay: Duration::from_secs(1),
            rate: 10,
            window: Duration::from_secs(2),
        },
    }
}

/// The departure that `transport` makes of a close code.
pub fn departure(node: &Node, code: u16) -> Departure {
    match code {
        1000 => Departure::Clean,
        drain::RESTARTING if node.is_closing() => Departure::HandedOver,
        _ => Departure::Lost,
    }
}

pub fn room(session: &SessionId) -> Room {
    Room::Session(session.clone())
}
