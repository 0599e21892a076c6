//! A world of a seed: one store, a few nodes, some clients, a script of faults; and the judgement in the end.

mod end;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use checker::{Checker, Promise, Verdict};
use collabd::backplane::memory::Memory;
use collabd::backplane::{InboxKeep, Keep};
use collabd::clock::Clock;
use collabd::ids::SessionId;
use parking_lot::Mutex;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::Client;
use super::host::{Host, LEASE};
use super::ledger::{Ledger, Line};
use super::plan::{Fault, NODES, Plan, Theme, Told};
use super::registry::Registry;
use super::station::{Flaw, Place};
use super::wire::Wire;

/// From the last fault until all must be well. A reaper that dies is replaced when its claim has run out, which
/// takes 15 seconds, and the next one needs a moment.
const QUIET: Duration = Duration::from_secs(20);
/// For the answers to the last questions.
const ANSWERS: Duration = Duration::from_secs(2);
/// The wall clock moves in steps of this.
const TICK: Duration = Duration::from_millis(100);
/// Viewers from this number on only look, at the end.
const PROBES: u64 = 1_000;
const HOUR: Duration = Duration::from_secs(3_600);

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Busy,
    /// They see to it that all they said is saved, and are there.
    Calm,
    /// They ask where they are.
    Settle,
    Over,
}

pub struct World {
    pub plan: Plan,
    pub place: Arc<Place>,
    pub checker: Mutex<Checker>,
    wire: Arc<Wire>,
    clock: Clock,
    hosts: Mutex<Vec<Option<Arc<Host>>>>,
    stage: watch::Sender<Stage>,
    counts: Mutex<BTreeMap<String, u64>>,
    problems: Mutex<Vec<String>>,
}

/// What came of a run.
pub struct Outcome {
    pub plan: Plan,
    pub verdict: Verdict,
    /// What was wrong beside the checker's faults.
    pub problems: Vec<String>,
    pub counts: BTreeMap<String, u64>,
}

impl Outcome {
    pub fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.problems.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.plan, self.verdict)?;
        for problem in &self.problems {
            write!(f, "\n{problem}")?;
        }
        Ok(())
    }
}

thread_local! {
    /// When this thread's world began, for the log.
    pub static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Runs a world to its end.
pub fn run(plan: Plan, flaw: Flaw) -> Outcome {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs nothing special");
    runtime.block_on(async {
        BEGAN.set(Some(Instant::now()));
        let world = World::new(plan, flaw);
        world.live().await;
        Outcome {
            plan: world.plan.clone(),
            verdict: world.checker.lock().verdict(),
            problems: world.problems.lock().clone(),
            counts: world.counts.lock().clone(),
        }
    })
}

impl World {
    fn new(plan: Plan, flaw: Flaw) -> Arc<Self> {
        let clock = Clock::manual(1_800_000_000_000);
        let wire = Arc::new(Wire::default());
        let keep = Keep {
            log_length: plan.log,
            log_ttl: HOUR,
            chat_history: plan.history as u64,
            idempotency: HOUR,
            session_grace: HOUR,
            session_ttl: HOUR,
            ended_ttl: HOUR,
            inbox: InboxKeep {
                absent: true,
                length: 1_000,
                bytes: 1 << 22,
                ttl: HOUR,
            },
            agent_ttl: Duration::from_secs(60),
            hooks_length: 50,
        };
        let place = Arc::new(Place {
            store: Memory::new(keep, clock.clone(), wire.clone()),
            registry: Registry::new(LEASE),
            ledger: Ledger::default(),
            flaw,
        });
        let promise = Promise {
            history: plan.history,
            may_forget: plan.theme == Theme::Failovers,
        };
        let world = Arc::new(Self {
            place,
            checker: Mutex::new(Checker::new(promise)),
            wire,
            clock,
            hosts: Mutex::new(vec![None; NODES]),
            stage: watch::Sender::new(Stage::Busy),
            counts: Mutex::default(),
            problems: Mutex::default(),
            plan,
        });
        for slot in 0..NODES {
            world.start(slot);
        }
        world
    }

    async fn live(self: &Arc<Self>) {
        let clock = self.clock.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(TICK);
            loop {
                tick.tick().await;
                clock.advance(TICK.as_millis() as i64);
            }
        });
        let mut clients = JoinSet::new();
        for viewer in 0..self.plan.clients as u64 {
            let seed = self.plan.seed.wrapping_mul(1_000).wrapping_add(viewer);
            clients.spawn(Client::new(self.clone(), viewer, seed).run());
        }
        self.play().await;
        for host in self.open_hosts() {
            host.calm();
        }
        self.stage.send_replace(Stage::Calm);
        tokio::time::sleep(QUIET).await;
        let there = self.there();
        self.look(&there).await;
        self.stage.send_replace(Stage::Settle);
        tokio::time::sleep(ANSWERS).await;
        self.stage.send_replace(Stage::Over);
        let last = clients.join_all().await;
        self.judge(&there, &last);
    }

    /// Has the script's faults happen, until all that they brought is over.
    async fn play(self: &Arc<Self>) {
        let began = Instant::now();
        let mut faults = JoinSet::new();
        for (at, fault) in self.plan.faults.clone() {
            let world = self.clone();
            faults.spawn(async move {
                tokio::time::sleep_until(began + at).await;
                tracing::info!(?fault, "a fault");
                world.inflict(fault).await;
            });
        }
        tokio::time::sleep_until(began + self.plan.busy).await;
        faults.join_all().await;
    }

    async fn inflict(self: &Arc<Self>, fault: Fault) {
        match fault {
            Fault::Storm {
                slot,
                time,
                weather,
            } => {
                if let Some(host) = self.host(slot) {
                    host.cable.set_weather(weather);
                    tokio::time::sleep(time).await;
                    host.cable.set_weather(self.plan.weather());
                }
            }
            Fault::Trouble { slot, time, trip } => {
                if let Some(host) = self.host(slot) {
                    host.station.set_trip(trip);
                    tokio::time::sleep(time).await;
                    host.station.set_trip(self.plan.trip());
                }
            }
            Fault::Deaf { slot, time, told } => {
                if let Some(host) = self.host(slot) {
                    host.cable.deafen();
                    tokio::time::sleep(time).await;
                    let missed = host.cable.mend();
                    match told {
                        Told::Never => {}
                        Told::RoomByRoom => {
                            missed
                                .into_iter()
                                .for_each(|room| host.cable.report(Some(room)));
                        }
                        Told::AtOnce => host.cable.report(None),
                    }
                }
            }
            Fault::Cut {
                slots,
                time,
                notice,
            } => {
                let mut cuts = JoinSet::new();
                for host in slots.into_iter().filter_map(|slot| self.host(slot)) {
                    self.count("cuts");
                    cuts.spawn(async move { host.station.cut(time, notice).await });
                }
                cuts.join_all().await;
            }
            Fault::Failover { late, time, notice } => {
                self.count("failovers");
                let place = &self.place;
                let (rooms, nodes) = (place.store.image(), place.registry.image());
                let done = place.ledger.count();
                tokio::time::sleep(late).await;
                let mut cuts = JoinSet::new();
                for host in self.open_hosts() {
                    cuts.spawn(async move { host.station.cut(time, notice).await });
                }
                // When every node is cut off, nobody sees it happen.
                tokio::task::yield_now().await;
                place.store.restore(&rooms);
                place.registry.restore(nodes);
                self.forget(place.ledger.since(done));
                cuts.join_all().await;
            }
            Fault::Death { slot, back } => {
                if let Some(host) = self.take(slot) {
                    self.count("deaths");
                    host.die(&self.wire);
                    tokio::time::sleep(back).await;
                    self.start(slot);
                }
            }
            Fault::Drain { slot, back } => {
                if let Some(host) = self.take(slot) {
                    self.count("drains");
                    host.drain(&self.wire).await;
                    tokio::time::sleep(back).await;
                    self.start(slot);
                }
            }
        }
    }

    /// The store has lost these.
    fn forget(&self, lines: Vec<Line>) {
        let mut checker = self.checker.lock();
        for Line { room, id, at } in lines {
            let mark = id.strip_prefix("chat-").and_then(|mark| mark.parse().ok());
            if let (Some(mark), Some(session)) = (mark, room.session()) {
                let at = checker::Position {
                    epoch: at.epoch.0,
                    seq: at.seq,
                };
                checker.forgot(session.as_str(), mark, at);
            }
        }
    }

    fn start(&self, slot: usize) {
        let count = self.count("nodes");
        let seed = self.plan.seed.wrapping_mul(1_000) + 500 + 2 * count;
        let (place, clock) = (self.place.clone(), self.clock.clone());
        let host = Host::start(slot, seed, &self.plan, place, &self.wire, clock);
        self.hosts.lock()[slot] = Some(host);
    }

    fn host(&self, slot: usize) -> Option<Arc<Host>> {
        self.hosts.lock()[slot].clone()
    }

    /// Takes a node out, if another stays.
    fn take(&self, slot: usize) -> Option<Arc<Host>> {
        let mut hosts = self.hosts.lock();
        let others = hosts.iter().flatten().filter(|host| host.slot != slot);
        if others.count() == 0 {
            return None;
        }
        hosts[slot].take()
    }

    pub fn open_hosts(&self) -> Vec<Arc<Host>> {
        self.hosts.lock().iter().flatten().cloned().collect()
    }

    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Counts what happened; returns how often it had before.
    pub fn count(&self, what: &str) -> u64 {
        let mut counts = self.counts.lock();
        let count = counts.entry(what.to_owned()).or_default();
        *count += 1;
        *count - 1
    }

    pub fn problem(&self, words: String) {
        tracing::error!(words, "a problem");
        self.problems.lock().push(words);
    }

    pub fn session(number: usize) -> SessionId {
        SessionId::parse(&format!("room-{number}")).expect("it is an id")
    }

    fn sessions(&self) -> impl Iterator<Item = SessionId> {
        (0..self.plan.rooms).map(Self::session)
    }
}
