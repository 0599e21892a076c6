//! What happens in a run: a seed makes the size of the world, its weather and a script of faults.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::station::Trip;
use super::wire::Weather;

pub const NODES: usize = 3;

/// Which faults a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Events are lost, late and doubled; commands get no answer.
    Losses,
    /// Nodes are cut off from the store.
    Partitions,
    /// Nodes die, or leave in order.
    Deaths,
    /// The store fails over to a replica that is late.
    Failovers,
    /// All of it, but failovers: these excuse losses.
    Everything,
}

#[derive(Debug, Clone)]
pub enum Fault {
    /// Events to a node fare badly for a while.
    Storm {
        slot: usize,
        time: Duration,
        weather: Weather,
    },
    /// Commands of a node fare badly for a while.
    Trouble {
        slot: usize,
        time: Duration,
        trip: Trip,
    },
    /// A node hears nothing for a while, with its commands working.
    Deaf {
        slot: usize,
        time: Duration,
        told: Told,
    },
    /// Nodes are cut off from the store; they see it after `notice`.
    Cut {
        slots: Vec<usize>,
        time: Duration,
        notice: Duration,
    },
    /// The store is away for a while, and has then lost what was written in the time `late` before.
    Failover {
        late: Duration,
        time: Duration,
        notice: Duration,
    },
    /// A node is gone at once; another takes its place.
    Death { slot: usize, back: Duration },
    /// A node leaves in order; another takes its place.
    Drain { slot: usize, back: Duration },
}

/// How a node learns that it heard nothing for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Not at all.
    Never,
    RoomByRoom,
    AtOnce,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub theme: Theme,
    pub rooms: usize,
    pub clients: usize,
    /// How long clients are busy and faults happen; then all is calm.
    pub busy: Duration,
    /// Events a room's log keeps, and chat lines a greeting holds.
    pub log: u64,
    pub history: usize,
    /// Events that wait for a relay worker.
    pub queue: usize,
    pub faults: Vec<(Duration, Fault)>,
}

impl Plan {
    pub fn new(seed: u64, theme: Theme) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let busy = seconds(&mut rng, 40.0, 60.0);
        let logs: &[u64] = match theme {
            // Where the log does not reach back, nobody can see that a place was given twice.
            Theme::Failovers => &[1_000],
            _ => &[8, 60, 1_000],
        };
        let mut plan = Self {
            seed,
            theme,
            rooms: rng.random_range(4..=6),
            clients: rng.random_range(10..=13),
            busy,
            log: *logs.choose(&mut rng).expect("there are some"),
            history: *[5, 20, 100].choose(&mut rng).expect("there are some"),
            queue: *[4, 1_024].choose(&mut rng).expect("there are some"),
            faults: Vec::new(),
        };
        for _ in 0..rng.random_range(3..=6) {
            let at = rng.random_range(Duration::from_secs(3)..busy - Duration::from_secs(2));
            // Whatever lasts is over when all is to be calm.
            let fault = fault(&mut rng, theme, busy - at);
            plan.faults.push((at, fault));
        }
        plan.faults.sort_by_key(|(at, _)| *at);
        plan
    }

    /// What it is like while nothing in particular happens.
    pub fn weather(&self) -> Weather {
        Weather {
            lose: 0.003,
            report: 0.5,
            double: 0.02,
            late: Duration::from_millis(20),
        }
    }

    pub fn trip(&self) -> Trip {
        Trip {
            latency: Duration::from_millis(5),
            lose: 0.002,
        }
    }
}

fn fault(rng: &mut StdRng, theme: Theme, left: Duration) -> Fault {
    let kinds: &[u8] = match theme {
        Theme::Losses => &[0, 0, 1, 1, 2, 2],
        Theme::Partitions => &[3, 3, 3, 3, 2, 0],
        Theme::Deaths => &[4, 4, 4, 5, 5, 1],
        // No deaths: what the store lost and a dead node alone had heard of, nobody can miss.
        Theme::Failovers => &[6, 6, 6, 0, 2, 3],
        Theme::Everything => &[0, 1, 2, 3, 3, 4, 4, 5],
    };
    let slot = rng.random_range(0..NODES);
    let time = seconds(rng, 0.2, 12.0).min(left);
    match *kinds.choose(rng).expect("there are some") {
        0 => Fault::Storm {
            slot,
            time,
            weather: Weather {
                lose: rng.random_range(0.05..0.4),
                report: *[0.0, 0.5, 1.0].choose(rng).expect("there are some"),
                double: rng.random_range(0.0..0.3),
                late: seconds(rng, 0.01, 1.5),
            },
        },
        1 => Fault::Trouble {
            slot,
            time,
            trip: Trip {
                latency: seconds(rng, 0.005, 0.8),
                lose: rng.random_range(0.0..0.4),
            },
        },
        2 => Fault::Deaf {
            slot,
            time,
            told: *[Told::Never, Told::RoomByRoom, Told::AtOnce]
                .choose(rng)
                .expect("there are some"),
        },
        3 => {
            let all = rng.random_bool(0.2);
            Fault::Cut {
                slots: if all {
                    (0..NODES).collect()
                } else {
                    vec![slot]
                },
                time,
                notice: seconds(rng, 0.0, 3.0),
            }
        }
        4 => Fault::Death {
            slot,
            back: seconds(rng, 1.0, 10.0),
        },
        5 => Fault::Drain {
            slot,
            back: seconds(rng, 0.0, 3.0),
        },
        _ => Fault::Failover {
            late: seconds(rng, 0.01, 1.5),
            time,
            // A store that goes breaks its connections: that is never missed.
            notice: time.mul_f64(rng.random_range(0.0..0.9)),
        },
    }
}

pub fn seconds(rng: &mut StdRng, least: f64, most: f64) -> Duration {
    Duration::from_millis((rng.random_range(least..=most) * 1_000.0) as u64)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}, {:?}: {} rooms, {} clients, {:?} busy, log {}, history {}, queue {}",
            self.seed,
            self.theme,
            self.rooms,
            self.clients,
            self.busy,
            self.log,
            self.history,
            self.queue
        )?;
        for (at, fault) in &self.faults {
            writeln!(f, "  {at:>8.1?}  {fault:?}")?;
        }
        Ok(())
    }
}
