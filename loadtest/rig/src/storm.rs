//! A full node dies, and all its people come to the others at once, each with the place where it was.
//!
//! One member of each room is on a survivor from the start and writes on, so that there is something to be missed.
//! The dead node's address is taken off the list, as a balancer does; nobody waits longer than its own jitter.

use std::collections::{BTreeMap, HashSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use checker::person::{Crowd, Entry, Kind, Manner, Seat};
use serde::Serialize;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::Result;
use crate::children::{self, Process};
use crate::host::Host;
use crate::meter::{Cpu, Machine};
use crate::node::NodeOptions;
use crate::order::{self, HISTORY, Judged, PATIENCE, wait_until};
use crate::report::{self, BUSY, Output, Table, number};

/// People who come in at a time, before anything is measured.
const USHERED: usize = 250;
const CALM: Duration = Duration::from_secs(5);
/// Between two looks at the survivors' CPU time.
const LOOK: Duration = Duration::from_secs(1);

/// `rig storm`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Sockets of the node that dies.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    sockets: u32,
    /// How many of them share a room, with one more on a survivor.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    members: u32,
    /// Chat lines per second and room.
    #[arg(long, default_value_t = 0.2)]
    rate: f64,
    /// Seconds from the death to the judgement.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    node: NodeOptions,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Results {
    judged: Judged,
    returns: Returns,
    survivors: Survivors,
}

/// Those who lost their node.
#[derive(Debug, Serialize)]
struct Returns {
    sockets: usize,
    back: usize,
    resumed: usize,
    restarted: usize,
    /// Seconds from the death to the first word of another node.
    median_s: f64,
    p99_s: f64,
    last_s: f64,
    /// Handshakes that were answered with an HTTP status, by status.
    refused: BTreeMap<u16, usize>,
    unreachable: usize,
    /// Sockets on survivors that were closed or lost meanwhile, by close code.
    closed: BTreeMap<u16, usize>,
}

/// Cores that the other nodes used, second by second from the death on, and the rest of this machine.
#[derive(Debug, Default, Serialize)]
struct Survivors {
    before: f64,
    cores: Vec<Vec<f64>>,
    peak_each: f64,
    peak_all: f64,
    peak_redis: f64,
    /// The people themselves.
    peak_rig: f64,
    /// Processes outside the measurement in the second in which they used most.
    peak_others: f64,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let redis_version = children::version_of("redis-server".as_ref())?;
    let host = Host::describe(vec![options.node.version()?, redis_version]);
    let redis = children::start_redis()?;
    // How many may come at once is the question here.
    let node = options.node.clone().keeping("MAX_HANDSHAKES_PER_SECOND");
    let node = node.with("CHAT_HISTORY", HISTORY);
    let start = || node.start(Some(&redis));
    let (doomed, survivors) = (start()?, [start()?, start()?]);
    let results = Runtime::new()?.block_on(measure(options, doomed, &survivors, &redis))?;
    let settings = json!({
        "env": options.node.settings(), "sockets": options.sockets, "members": options.members,
        "rate_per_room": options.rate, "survivors": survivors.len(),
    });
    let tables = [
        results.judged.table("storm"),
        results.returns.table(),
        results.survivors.table(),
    ];
    report::publish("storm", &options.output, host, settings, &tables, &results)?;
    Ok(results.judged.exit())
}

async fn measure(
    options: &Options,
    mut doomed: Process,
    survivors: &[Process; 2],
    redis: &Process,
) -> Result<Results> {
    let others: Vec<_> = survivors.iter().map(|node| node.address).collect();
    let mut crowd = Crowd::new(order::promise(), others.clone());
    let rooms = options.sockets.div_ceil(options.members);
    let seats = options.seats(&doomed).chain((0..rooms).map(|room| {
        let node = others[room as usize % others.len()];
        options.seat(room, options.sockets + room, node)
    }));
    for (number, seat) in seats.enumerate() {
        crowd.seat(seat);
        if number.is_multiple_of(USHERED) {
            crowd.are_here(PATIENCE).await?;
        }
    }
    crowd.are_here(PATIENCE).await?;
    eprintln!("{} people are in", crowd.people.len());
    let before = busy(survivors, redis, Instant::now() + CALM).await?;

    let orphans: HashSet<u64> = order::people_on(&crowd, &doomed).into_iter().collect();
    // Its end takes a while, and its sockets go before it.
    let died = Instant::now();
    doomed.kill()?;
    eprintln!("the node of {} of them is dead", orphans.len());
    let end = died + Duration::from_secs(options.seconds);
    let mut seen = busy(survivors, redis, end).await?;
    seen.before = mean(&before.cores);
    let judged = order::judge(&crowd).await?;
    let journal = crowd.world.journal.entries();
    Ok(Results {
        judged,
        returns: Returns::read(&orphans, died, &journal),
        survivors: seen,
    })
}

impl Options {
    fn seats(&self, node: &Process) -> impl Iterator<Item = Seat> {
        let address = node.address;
        (0..self.sockets).map(move |number| self.seat(number / self.members, number, address))
    }

    fn seat(&self, room: u32, number: u32, node: std::net::SocketAddr) -> Seat {
        let writers = f64::from(self.members + 1);
        Seat {
            room: format!("storm-{room}"),
            user: format!("user-{number}"),
            viewer: u64::from(number),
            first: Some(node),
            manner: Manner {
                chat_every: Some(Duration::from_secs_f64(writers / self.rate)),
                text_every: None,
                ping_every: Duration::from_secs(10),
                // A storm is slow here because clients and servers share the cores.
                patience: Duration::from_secs(15),
            },
        }
    }
}

/// Looks at everybody's CPU time until then.
async fn busy(survivors: &[Process; 2], redis: &Process, until: Instant) -> Result<Survivors> {
    let pids = [
        survivors[0].pid(),
        survivors[1].pid(),
        redis.pid(),
        std::process::id(),
    ];
    let read = || -> Result<Vec<Cpu>> { pids.iter().map(|pid| Cpu::of(*pid)).collect() };
    let mut seen = Survivors::default();
    let (mut earlier, mut machine, mut at) = (read()?, Machine::read()?, Instant::now());
    while Instant::now() < until {
        wait_until(at + LOOK).await?;
        let now = read()?;
        let took_us = at.elapsed().as_micros() as f64;
        let spent = now.iter().zip(&earlier);
        let spent = spent.map(|(now, earlier)| now.since(*earlier).total_us());
        let spent: Vec<f64> = spent.collect();
        seen.peak_others = seen
            .peak_others
            .max(machine.others_since(spent.iter().sum())?);
        let cores: Vec<f64> = spent.iter().map(|us| us / took_us).collect();
        let [north, east, redis, rig] = cores[..] else {
            return Err("four processes were looked at".into());
        };
        seen.peak_each = seen.peak_each.max(north).max(east);
        seen.peak_all = seen.peak_all.max(north + east);
        seen.peak_redis = seen.peak_redis.max(redis);
        seen.peak_rig = seen.peak_rig.max(rig);
        seen.cores.push(vec![north, east]);
        (earlier, machine, at) = (now, Machine::read()?, Instant::now());
    }
    Ok(seen)
}

fn mean(seconds: &[Vec<f64>]) -> f64 {
    let all = seconds.iter().map(|cores| cores.iter().sum::<f64>());
    all.sum::<f64>() / seconds.len() as f64
}

impl Returns {
    fn read(orphans: &HashSet<u64>, died: Instant, journal: &[Entry]) -> Self {
        let mut returns = BTreeMap::new();
        let (mut refused, mut closed) = (BTreeMap::new(), BTreeMap::new());
        let mut unreachable = 0;
        let mut lost = HashSet::new();
        for entry in journal.iter().filter(|entry| entry.at >= died) {
            match &entry.kind {
                Kind::Here { resumed } if orphans.contains(&entry.viewer) => {
                    let took = (entry.at - died).as_secs_f64();
                    returns.entry(entry.viewer).or_insert((took, *resumed));
                }
                Kind::Refused(status) => *refused.entry(*status).or_default() += 1,
                Kind::Unreachable => unreachable += 1,
                // Each orphan's first loss is the death itself.
                Kind::Gone(code)
                    if !orphans.contains(&entry.viewer) || !lost.insert(entry.viewer) =>
                {
                    *closed.entry(*code).or_default() += 1;
                }
                _ => {}
            }
        }
        let mut times: Vec<f64> = returns.values().map(|(took, _)| *took).collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = times.len().saturating_sub(1) as f64 * share;
            times.get(place as usize).copied().unwrap_or(f64::NAN)
        };
        let resumed = returns.values().filter(|(_, resumed)| *resumed).count();
        Self {
            sockets: orphans.len(),
            back: returns.len(),
            resumed,
            restarted: returns.len() - resumed,
            median_s: at(0.5),
            p99_s: at(0.99),
            last_s: at(1.0),
            refused,
            unreachable,
            closed,
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            "returns",
            "back",
            "resumed",
            "restarted",
            "median s",
            "p99 s",
            "last s",
            "refused",
            "unanswered",
            "lost again",
        ]);
        table.row([
            format!("{} at once", self.sockets),
            self.back.to_string(),
            self.resumed.to_string(),
            self.restarted.to_string(),
            number(self.median_s, 2),
            number(self.p99_s, 2),
            number(self.last_s, 2),
            self.refused.values().sum::<usize>().to_string(),
            self.unreachable.to_string(),
            self.closed.values().sum::<usize>().to_string(),
        ]);
        for (what, counts) in [
            ("refused with", &self.refused),
            ("lost again with", &self.closed),
        ] {
            for (code, count) in counts {
                table.note(format!("{count} {what} {code}"));
            }
        }
        table
    }
}

impl Survivors {
    fn table(&self) -> Table {
        let mut table = Table::new(&[
            "cores used",
            "both before",
            "peak of one",
            "peak of both",
            "Redis",
            "the people",
            "others",
        ]);
        table.row([
            "survivors".into(),
            number(self.before, 2),
            number(self.peak_each, 2),
            number(self.peak_all, 2),
            number(self.peak_redis, 2),
            number(self.peak_rig, 2),
            number(self.peak_others, 2),
        ]);
        if self.peak_others > BUSY {
            table.note(report::busy("storm", self.peak_others));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the figures: who had not lost its node does not count as back, nor does the death as a second loss.
    #[test]
    fn returns_are_those_of_the_dead_nodes_people() {
        let died = Instant::now();
        let entry = |second: u64, viewer: u64, kind: Kind| Entry {
            at: died + Duration::from_secs(second),
            viewer,
            kind,
        };
        let journal = [
            entry(0, 1, Kind::Gone(1006)),
            entry(0, 2, Kind::Gone(1006)),
            entry(1, 1, Kind::Refused(503)),
            entry(2, 1, Kind::Here { resumed: true }),
            entry(3, 1, Kind::Gone(4503)),
            entry(4, 1, Kind::Here { resumed: false }),
            entry(5, 9, Kind::Here { resumed: true }),
        ];
        let returns = Returns::read(&HashSet::from([1, 2]), died, &journal);
        assert_eq!((returns.back, returns.resumed, returns.last_s), (1, 1, 2.0));
        assert_eq!(returns.refused, BTreeMap::from([(503, 1)]));
        assert_eq!(returns.closed, BTreeMap::from([(4503, 1)]));
    }
}
