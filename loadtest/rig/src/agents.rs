//! Agents at work on two nodes, all watched by everybody: is every start and completion told once, and how old is what
//! a watcher knows of an agent's progress?
//!
//! Agents say more than is passed on: of what comes within the node's pace only the newest reaches a watcher. So two
//! times are taken of every update that is heard: how long it was on its way, and for how long the watcher had lacked
//! the first word that came after the one it knew, which holds the pace as well.

use std::process::ExitCode;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;

use crate::children::{self, Process};
use crate::generator::{Generator, Listener, Seat};
use crate::host::Host;
use crate::meter::{Cpu, Machine};
use crate::node::NodeOptions;
use crate::pace::{Pace, Phase};
use crate::report::{self, BUSY, Output, Table, histogram, number, quantile_us};
use crate::{Result, host, stamp, wire};

const STILL: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);
/// What an update must not be older than, at the 99th percentile, in microseconds.
const FRESH_US: f64 = 250_000.0;
/// Digits of an agent's number in its id.
const DIGITS: usize = 5;

/// `rig agents`
#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..10_000))]
    agents: u32,
    /// Updates of an agent per second.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Sockets that watch all agents, half of them on each node.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    watchers: u32,
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    node: NodeOptions,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Results {
    updates_sent: u64,
    updates_heard: u64,
    heard_per_s: f64,
    /// Starts and completions that watchers were to hear, heard once, and heard again or out of order.
    ends_due: u64,
    ends_heard: u64,
    ends_wrong: u64,
    /// Watchers that knew an agent's last word when it was complete.
    last_known: u64,
    errors: u64,
    first_error: Option<String>,
    way_p50_us: f64,
    way_p99_us: f64,
    lacked_p50_us: f64,
    lacked_p99_us: f64,
    /// Between two updates of one agent to one watcher.
    apart_p1_us: f64,
    late_p99_us: f64,
    /// Cores kept busy, and those of others.
    nodes: [f64; 2],
    redis: f64,
    rig: f64,
    others: f64,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let redis_version = children::version_of("redis-server".as_ref())?;
    let host = Host::describe(vec![options.node.version()?, redis_version]);
    let redis = children::start_redis()?;
    let node = options
        .node
        .clone()
        .with("MAX_AGENT_SUBSCRIPTIONS", "10000");
    let nodes = [node.start(Some(&redis))?, node.start(Some(&redis))?];
    let results = measure(options, &redis, &nodes).map_err(|error| {
        let words: Vec<String> = nodes.iter().map(Process::last_words).collect();
        format!("{error}\n{}", words.join("\n"))
    })?;
    let settings = json!({
        "env": options.node.settings(), "agents": options.agents, "rate": options.rate,
        "watchers": options.watchers, "seconds": options.seconds, "nodes": 2,
    });
    let table = results.table();
    report::publish(
        "agents",
        &options.output,
        host,
        settings,
        &[table],
        &results,
    )?;
    Ok(results.exit())
}

fn measure(options: &Options, redis: &Process, nodes: &[Process; 2]) -> Result<Results> {
    let (agents, watchers) = (options.agents as usize, options.watchers as usize);
    let period = Duration::from_secs(1) / options.rate;
    let mut generator = Generator::new()?;
    let mut watch = Watch::new(watchers, agents, period);
    let seat = |name: String, node: usize| Seat {
        address: nodes[node % 2].address,
        path: format!("/ws/agents?user_id={name}"),
        greeted: true,
        hello: Vec::new(),
        joined: None,
        engine: false,
    };
    let seats: Vec<Seat> = (0..watchers)
        .map(|n| seat(format!("watcher-{n}"), n))
        .chain((0..agents).map(|n| seat(name(n), n)))
        .collect();
    generator.seat(&seats, &mut watch)?;
    eprintln!("{watchers} watchers subscribe to {agents} agents");
    for watcher in 0..watchers {
        for agent in 0..agents {
            let text = format!(
                r#"{{"type":"subscribe_agent","data":{{"agent_id":"{}"}}}}"#,
                name(agent)
            );
            generator.send(watcher, &wire::client_frame(wire::TEXT, text.as_bytes()))?;
        }
        generator.serve(Duration::from_millis(1), &mut watch)?;
    }
    generator.settle(STILL, PATIENCE, &mut watch)?;
    if watch.subscribed != (watchers * agents) as u64 {
        let of = watchers * agents;
        return Err(format!("{} of {of} subscriptions were taken", watch.subscribed).into());
    }

    eprintln!("they start, and tell of {} s of work", options.seconds);
    for agent in 0..agents {
        let text = format!(
            r#"{{"type":"agent_execution_start","data":{{"agent_id":"{}","task":"measured","user_id":"watcher-0"}}}}"#,
            name(agent)
        );
        generator.send(
            watchers + agent,
            &wire::client_frame(wire::TEXT, text.as_bytes()),
        )?;
    }
    generator.settle(STILL, PATIENCE, &mut watch)?;
    let before = Spent::read(redis, nodes)?;
    let mut frames: Vec<(Vec<u8>, usize)> = (0..agents).map(update).collect::<Result<_>>()?;
    let rounds = options.seconds.max(1) * u64::from(options.rate);
    let senders: Vec<Vec<usize>> = (0..agents).map(|agent| vec![watchers + agent]).collect();
    let pace = Pace::new(&senders, Phase::Even, period, rounds);
    let mut sent = vec![0; agents];
    let lateness = pace.run(&mut generator, &mut watch, |generator, socket| {
        let agent = socket - watchers;
        let (frame, at) = &mut frames[agent];
        sent[agent] = host::now();
        stamp::write(frame, *at, sent[agent]);
        generator.send(socket, frame)
    })?;
    let spent = before.since(redis, nodes)?;
    let heard = watch.heard;
    // No pause: the last word is still held back when the run is over.
    for agent in 0..agents {
        let text = format!(
            r#"{{"type":"agent_execution_complete","data":{{"agent_id":"{}","status":"completed","result":"done"}}}}"#,
            name(agent)
        );
        generator.send(
            watchers + agent,
            &wire::client_frame(wire::TEXT, text.as_bytes()),
        )?;
    }
    generator.settle(STILL, PATIENCE, &mut watch)?;
    if let (closed @ 1.., why) = generator.closed() {
        return Err(format!("{closed} sockets were closed: {}", why.unwrap_or("")).into());
    }
    let last_known = watch.last_known(&sent);
    let quantile = |histogram: &Histogram<u64>, q: f64| quantile_us(histogram, q);
    Ok(Results {
        updates_sent: pace.messages(),
        updates_heard: watch.heard,
        heard_per_s: heard as f64 / options.seconds.max(1) as f64,
        ends_due: 2 * (watchers * agents) as u64,
        ends_heard: watch.ends,
        ends_wrong: watch.wrong,
        last_known,
        errors: watch.errors,
        first_error: watch.first_error.clone(),
        way_p50_us: quantile(&watch.way, 0.5),
        way_p99_us: quantile(&watch.way, 0.99),
        lacked_p50_us: quantile(&watch.lacked, 0.5),
        lacked_p99_us: quantile(&watch.lacked, 0.99),
        apart_p1_us: quantile(&watch.apart, 0.01),
        late_p99_us: quantile(&lateness, 0.99),
        nodes: spent.nodes,
        redis: spent.redis,
        rig: spent.rig,
        others: spent.others,
    })
}

fn name(agent: usize) -> String {
    format!("agent-{agent:0DIGITS$}")
}

/// A frame of the agent, and where its stamp begins.
fn update(agent: usize) -> Result<(Vec<u8>, usize)> {
    let text = format!(
        r#"{{"type":"agent_execution_update","data":{{"agent_id":"{}","status":"running","progress":50,"current_step":"{}"}}}}"#,
        name(agent),
        stamp::text(60)
    );
    let frame = wire::client_frame(wire::TEXT, text.as_bytes());
    let at = stamp::Finder::default().find(&frame);
    Ok((frame, at.ok_or("an update without a stamp")?))
}

/// What the watchers hear.
struct Watch {
    watchers: usize,
    period: u64,
    /// By watcher and agent.
    known: Vec<Known>,
    agents: usize,
    finder: stamp::Finder,
    subscribed: u64,
    heard: u64,
    ends: u64,
    wrong: u64,
    errors: u64,
    first_error: Option<String>,
    way: Histogram<u64>,
    lacked: Histogram<u64>,
    apart: Histogram<u64>,
}

#[derive(Clone, Copy, Default)]
struct Known {
    stage: Stage,
    /// When the newest word that is known was sent, and heard.
    sent: u64,
    at: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    Running,
    Over,
}

impl Watch {
    fn new(watchers: usize, agents: usize, period: Duration) -> Self {
        Self {
            watchers,
            period: period.as_nanos() as u64,
            known: vec![Known::default(); watchers * agents],
            agents,
            finder: stamp::Finder::default(),
            subscribed: 0,
            heard: 0,
            ends: 0,
            wrong: 0,
            errors: 0,
            first_error: None,
            way: histogram(),
            lacked: histogram(),
            apart: histogram(),
        }
    }

    fn of(&mut self, watcher: usize, payload: &[u8]) -> Option<&mut Known> {
        const BEFORE: &[u8] = b"\"agent_id\":\"agent-";
        let at = payload
            .windows(BEFORE.len())
            .position(|part| part == BEFORE)?
            + BEFORE.len();
        let digits = std::str::from_utf8(payload.get(at..at + DIGITS)?).ok()?;
        let agent: usize = digits.parse().ok()?;
        self.known.get_mut(watcher * self.agents + agent)
    }

    fn step(&mut self, watcher: usize, payload: &[u8], from: Stage, to: Stage) {
        let Some(known) = self.of(watcher, payload) else {
            return;
        };
        if known.stage == from {
            known.stage = to;
            self.ends += 1;
        } else {
            self.wrong += 1;
        }
    }

    fn update(&mut self, watcher: usize, payload: &[u8]) {
        let Some(sent) = self
            .finder
            .find(payload)
            .and_then(|at| stamp::read(payload, at))
        else {
            return;
        };
        let (now, period) = (host::now(), self.period);
        let Some(known) = self.of(watcher, payload) else {
            return;
        };
        let before = std::mem::replace(
            known,
            Known {
                sent,
                at: now,
                ..*known
            },
        );
        self.heard += 1;
        self.way.saturating_record(now.saturating_sub(sent));
        if before.stage != Stage::Running || sent <= before.sent {
            self.wrong += 1;
        } else if before.sent > 0 {
            self.lacked
                .saturating_record(now.saturating_sub(before.sent + period));
            self.apart.saturating_record(now - before.at);
        }
    }

    /// How many watchers of how many agents know the last word.
    fn last_known(&self, last: &[u64]) -> u64 {
        let all = self.known.iter().enumerate();
        all.filter(|(at, known)| known.sent == last[at % self.agents])
            .count() as u64
    }
}

impl Listener for Watch {
    fn heard(&mut self, socket: usize, payload: &[u8]) {
        let says = |kind: &str| payload[1..].starts_with(format!("\"type\":\"{kind}\"").as_bytes());
        // The frequent one first, without making a text.
        if payload.starts_with(b"{\"type\":\"agent_execution_update\"") {
            if socket < self.watchers {
                self.update(socket, payload);
            }
        } else if says("error") {
            self.errors += 1;
            let text = String::from_utf8_lossy(payload).into_owned();
            self.first_error.get_or_insert(text);
        } else if says("subscribed") {
            self.subscribed += 1;
        } else if says("agent_execution_start") {
            self.step(socket, payload, Stage::Idle, Stage::Running);
        } else if says("agent_execution_complete") {
            self.step(socket, payload, Stage::Running, Stage::Over);
        }
    }
}

/// CPU times before the work.
struct Spent {
    nodes: [Cpu; 2],
    redis: Cpu,
    rig: Cpu,
    machine: Machine,
    at: u64,
}

/// Cores.
struct Cores {
    nodes: [f64; 2],
    redis: f64,
    rig: f64,
    others: f64,
}

impl Spent {
    fn read(redis: &Process, nodes: &[Process; 2]) -> Result<Self> {
        Ok(Self {
            nodes: [Cpu::of(nodes[0].pid())?, Cpu::of(nodes[1].pid())?],
            redis: Cpu::of(redis.pid())?,
            rig: Cpu::own()?,
            machine: Machine::read()?,
            at: host::now(),
        })
    }

    fn since(&self, redis: &Process, nodes: &[Process; 2]) -> Result<Cores> {
        let now = Self::read(redis, nodes)?;
        let time = (now.at - self.at) as f64 / 1e3;
        let used = |now: Cpu, then: Cpu| now.since(then).total_us();
        let nodes = [
            used(now.nodes[0], self.nodes[0]),
            used(now.nodes[1], self.nodes[1]),
        ];
        let (redis, rig) = (used(now.redis, self.redis), used(now.rig, self.rig));
        let all = nodes[0] + nodes[1] + redis + rig;
        Ok(Cores {
            nodes: nodes.map(|us| us / time),
            redis: redis / time,
            rig: rig / time,
            others: self.machine.others_since(all)?,
        })
    }
}

impl Results {
    fn table(&self) -> Table {
        let mut table = Table::new(&["agents", "", "", ""]);
        let ms = |us: f64| number(us / 1e3, 1);
        let mut row = |what: &str, a: String, b: String, c: String| {
            table.row([what.to_owned(), a, b, c]);
        };
        row(
            "starts and completions",
            format!("{} of {}", self.ends_heard, self.ends_due),
            format!("{} wrong", self.ends_wrong),
            format!("{} errors", self.errors),
        );
        row(
            "updates",
            format!("{} sent", self.updates_sent),
            format!("{} heard", self.updates_heard),
            format!("{} heard/s", number(self.heard_per_s, 0)),
        );
        row(
            "on its way, ms",
            format!("p50 {}", ms(self.way_p50_us)),
            format!("p99 {}", ms(self.way_p99_us)),
            String::new(),
        );
        row(
            "newer word lacked, ms",
            format!("p50 {}", ms(self.lacked_p50_us)),
            format!("p99 {}", ms(self.lacked_p99_us)),
            format!("{} know the last", self.last_known),
        );
        row(
            "apart, ms",
            format!("p1 {}", ms(self.apart_p1_us)),
            String::new(),
            format!("rig late p99 {}", ms(self.late_p99_us)),
        );
        row(
            "cores",
            format!(
                "nodes {} + {}",
                number(self.nodes[0], 2),
                number(self.nodes[1], 2)
            ),
            format!("Redis {}", number(self.redis, 2)),
            format!("rig {}", number(self.rig, 2)),
        );
        if self.others > BUSY {
            table.note(report::busy("agents", self.others));
        }
        if let Some(error) = &self.first_error {
            table.note(format!("the first error: {error}"));
        }
        table
    }

    fn exit(&self) -> ExitCode {
        let due = self.ends_due / 2;
        let right = self.ends_heard == self.ends_due
            && self.ends_wrong == 0
            && self.errors == 0
            && self.last_known == due
            && self.lacked_p99_us <= FRESH_US;
        match right {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the counts: what comes twice or at the wrong time is wrong, and of updates only newer ones are right.
    #[test]
    fn what_watchers_hear_is_judged() {
        let mut watch = Watch::new(2, 3, Duration::from_millis(50));
        let say = |kind: &str, agent: usize| {
            format!(
                r#"{{"type":"agent_execution_{kind}","seq":1,"data":{{"agent_id":"{}"}}}}"#,
                name(agent)
            )
        };
        let (_, at) = update(1).expect("it has a stamp");
        assert!(at > 0);
        let word = |time: u64| {
            let mut text = format!(
                r#"{{"type":"agent_execution_update","data":{{"agent_id":"{}","current_step":"{}"}}}}"#,
                name(1),
                stamp::text(20)
            )
            .into_bytes();
            let at = stamp::Finder::default().find(&text).expect("it has one");
            stamp::write(&mut text, at, time);
            text
        };
        watch.heard(1, say("start", 1).as_bytes());
        watch.heard(1, &word(5));
        watch.heard(1, &word(9));
        assert_eq!((watch.heard, watch.ends, watch.wrong), (2, 1, 0));
        watch.heard(1, &word(9));
        watch.heard(1, say("start", 1).as_bytes());
        watch.heard(1, say("complete", 1).as_bytes());
        watch.heard(0, say("complete", 2).as_bytes());
        assert_eq!((watch.ends, watch.wrong), (2, 3));
        assert_eq!(watch.last_known(&[1, 9, 1]), 1);
    }
}
