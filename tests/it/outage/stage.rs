//! Three nodes, their store, six rooms of people, and the judgement.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use checker::person::{Crowd, Kind, Manner, Seat};
use checker::{Promise, Verdict};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use crate::support::chaos::Chaos;
use crate::support::nodes::NodeProcess;
use crate::support::redis::{RedisServer, forgetful};

pub const NODES: usize = 3;
const ROOMS: usize = 6;
/// One of them leaves without a word while the fault lasts.
const MEMBERS: usize = 5;

/// All of this while nothing is wrong, at both ends of a case.
const CALM: Duration = Duration::from_secs(2);
/// Longest until everybody is back where everybody else is.
pub const RECOVERY: Duration = Duration::from_secs(15);

/// Nodes that are given up soon, so that a case is short. What is left at its default is the rest.
const QUICK: [(&str, &str); 5] = [
    ("LEASE", "4"),
    ("BEAT_INTERVAL", "1"),
    ("LEAVE_GRACE", "2"),
    ("REAP_PAUSE", "2"),
    // Whoever comes at the end must find all that was said.
    ("CHAT_HISTORY", "1000"),
];

/// A case is mostly waiting, but its beginning is not.
static AT_ONCE: Semaphore = Semaphore::const_new(6);

/// What the store promises in this case.
pub const KEEPS: Promise = Promise {
    history: 1_000,
    may_forget: false,
};
pub const FORGETS: Promise = Promise {
    may_forget: true,
    ..KEEPS
};

pub struct Stage<S> {
    pub nodes: Vec<NodeProcess>,
    /// Each node's own, when the store is one server.
    pub ways: Vec<Chaos>,
    pub store: S,
    pub crowd: Crowd,
    _turn: SemaphorePermit<'static>,
}

/// One server with these options besides, every node on a way of its own.
pub async fn on_redis(promise: Promise, options: &[&str]) -> Stage<RedisServer> {
    let turn = AT_ONCE.acquire().await.expect("it is never closed");
    let store = block_in_place(|| {
        RedisServer::start_with(|_, port| {
            let port = port.to_string();
            let own: Vec<&str> = ["--port", &port].iter().chain(options).copied().collect();
            if options.contains(&"--appendonly") {
                own.into_iter().map(str::to_owned).collect()
            } else {
                forgetful(&own)
            }
        })
    });
    let mut ways = Vec::new();
    for _ in 0..NODES {
        ways.push(Chaos::to(store.port()).await);
    }
    let urls: Vec<String> = ways.iter().map(Chaos::url).collect();
    let rooms = (0..ROOMS).map(|room| format!("room-{room}")).collect();
    Stage::begin(promise, store, ways, &urls, rooms, &[], turn).await
}

/// The same on any other store that all nodes reach by this URL.
pub async fn on<S>(
    promise: Promise,
    store: S,
    url: &str,
    rooms: Vec<String>,
    settings: &[(&str, &str)],
) -> Stage<S> {
    let turn = AT_ONCE.acquire().await.expect("it is never closed");
    let urls = vec![url.to_owned(); NODES];
    Stage::begin(promise, store, Vec::new(), &urls, rooms, settings, turn).await
}

impl<S> Stage<S> {
    async fn begin(
        promise: Promise,
        store: S,
        ways: Vec<Chaos>,
        urls: &[String],
        rooms: Vec<String>,
        settings: &[(&str, &str)],
        turn: SemaphorePermit<'static>,
    ) -> Self {
        let nodes = block_in_place(|| start_nodes(urls, settings));
        let addresses: Vec<SocketAddr> = nodes.iter().map(NodeProcess::address).collect();
        let mut crowd = Crowd::new(promise, addresses.clone());
        for (number, room) in rooms.into_iter().enumerate() {
            for member in 0..MEMBERS {
                crowd.seat(seat(number, &room, member, addresses[member % NODES]));
            }
        }
        let stage = Self {
            nodes,
            ways,
            store,
            crowd,
            _turn: turn,
        };
        let here = stage.crowd.are_here(RECOVERY).await;
        here.unwrap_or_else(|why| stage.fail(&why));
        sleep(CALM).await;
        stage
    }

    /// One of each room goes for good, without a word.
    pub async fn lose_some(&mut self) {
        let people = std::mem::take(&mut self.crowd.people);
        for person in people {
            if person.seat.viewer as usize % MEMBERS == MEMBERS - 1 {
                person.vanish().await;
            } else {
                self.crowd.people.push(person);
            }
        }
    }

    /// Somebody on this node who waits long for an answer.
    pub async fn seat_patient(&mut self, node: usize) -> u64 {
        let mut seat = seat(
            0,
            &self.crowd.people[0].seat.room,
            0,
            self.nodes[node].address(),
        );
        seat.viewer = (ROOMS * MEMBERS) as u64;
        seat.user = "patient".to_owned();
        seat.manner = Manner {
            patience: Duration::from_secs(60),
            ..Manner::default()
        };
        let viewer = seat.viewer;
        self.crowd.seat(seat);
        let here = self.crowd.are_here(RECOVERY).await;
        here.unwrap_or_else(|why| self.fail(&why));
        viewer
    }

    /// The close code with which this viewer's socket ends, within [`RECOVERY`].
    pub async fn gone(&self, viewer: u64) -> Option<u16> {
        let deadline = Instant::now() + RECOVERY;
        while Instant::now() < deadline {
            let entries = self.crowd.world.journal.entries();
            let code = entries.iter().find_map(|entry| match entry.kind {
                Kind::Gone(code) if entry.viewer == viewer => Some(code),
                _ => None,
            });
            if code.is_some() {
                return code;
            }
            sleep(Duration::from_millis(100)).await;
        }
        None
    }

    /// Half of the rooms fall silent: nothing that follows shows there what was missed.
    pub async fn hush(&self) {
        for person in &self.crowd.people {
            if (person.seat.viewer as usize / MEMBERS).is_multiple_of(2) {
                person.write(false).await;
            }
        }
    }

    /// Who is on this node now.
    pub fn people_of(&self, node: usize) -> Vec<u64> {
        let address = Some(self.nodes[node].address());
        let people = self.crowd.people.iter();
        let people = people.filter(|person| person.node() == address);
        people.map(|person| person.seat.viewer).collect()
    }

    /// The faults are over: within [`RECOVERY`] everybody is where the others are, and what they saw is judged.
    pub async fn judge(self) -> Verdict {
        sleep(CALM).await;
        let here = self.crowd.are_here(RECOVERY).await;
        let quiet = self.crowd.settle(RECOVERY).await;
        self.crowd.presence(RECOVERY).await;
        let verdict = self.crowd.verdict();
        eprintln!("{verdict}");
        let complaints = self.crowd.world.journal.complaints();
        let said = verdict.acknowledged;
        if !verdict.is_clean() || here.is_err() || quiet.is_err() || !complaints.is_empty() {
            let words = format!("{here:?}\n{quiet:?}\n{complaints:#?}\n{verdict}");
            self.fail(&words);
        }
        // Two calm times of six rooms, five lines a second each, are 120; a machine may be slow.
        assert!(said > 60, "hardly anything was said: {said}");
        verdict
    }

    fn fail(&self, why: &str) -> ! {
        for node in &self.nodes {
            eprintln!("{}", node.log());
        }
        panic!("{why}");
    }
}

fn start_nodes(urls: &[String], settings: &[(&str, &str)]) -> Vec<NodeProcess> {
    let start = |(number, url): (usize, &String)| {
        let mut all = QUICK.to_vec();
        all.push(("REDIS_URL", url));
        all.extend(settings);
        NodeProcess::start(["north", "east", "south"][number], &all)
    };
    thread::scope(|scope| {
        let starting: Vec<_> = urls
            .iter()
            .enumerate()
            .map(|node| scope.spawn(move || start(node)))
            .collect();
        let started = starting.into_iter().map(|node| node.join());
        started.map(|node| node.expect("a node starts")).collect()
    })
}

fn seat(number: usize, room: &str, member: usize, node: SocketAddr) -> Seat {
    Seat {
        room: room.to_owned(),
        user: format!("user-{number}-{member}"),
        viewer: (number * MEMBERS + member) as u64,
        first: Some(node),
        manner: Manner {
            chat_every: Some(Duration::from_millis(1_000)),
            text_every: (member == 0).then_some(Duration::from_millis(700)),
            ..Manner::default()
        },
    }
}

/// While a server or a node is started or stopped, other threads carry on.
pub fn blocking<T>(act: impl FnOnce() -> T) -> T {
    block_in_place(act)
}
