//! Durable commits: how many per second two nodes get through one Redis, and how soon another node's socket
//! hears one.
//!
//! `throughput` measures the first, `latency` the second; the floor of both is the same Redis, driven raw in the
//! same run.

mod latency;
mod pongs;
mod throughput;

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::children::{self, Process};
use crate::generator::Seat;
use crate::host::Host;
use crate::node::NodeOptions;
use crate::redis::Raw;
use crate::report::{self, Output};
use crate::{Result, door};
use latency::{Latency, Paths};
use throughput::Throughput;

const STILL: Duration = Duration::from_millis(300);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What an envelope puts around the text of a change, roughly.
const AROUND: usize = 136;

/// `rig commit`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Sockets that commit, each in a room of its own, half of them on each node.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..))]
    sockets: u32,
    /// Commands of a socket on their way at a time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..))]
    window: u32,
    /// Bytes of a change's text.
    #[arg(long, default_value_t = 64)]
    payload: usize,
    /// Length of each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Measurements of each; the figures are medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Rooms with a socket on each node, for the latency.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Chat messages per second over all these rooms.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    #[command(flatten)]
    node: NodeOptions,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Results {
    throughput: Vec<Throughput>,
    latency: Vec<Latency>,
}

pub fn run(options: &Options) -> Result<()> {
    let redis_version = children::version_of("redis-server".as_ref())?;
    let host = Host::describe(vec![options.node.version()?, redis_version]);
    let redis = children::start_redis()?;
    let nodes = [
        options.node.start(Some(&redis))?,
        options.node.start(Some(&redis))?,
    ];
    let results = measure(options, &redis, &nodes).map_err(|error| {
        let words: Vec<String> = nodes.iter().map(Process::last_words).collect();
        format!("{error}\n{}", words.join("\n"))
    })?;
    let settings = json!({
        "env": options.node.settings(), "sockets": options.sockets, "window": options.window,
        "payload": options.payload, "pairs": options.pairs, "chat_per_s": options.rate,
    });
    let tables = [
        throughput::table(&results.throughput),
        latency::table(&results.latency),
    ];
    report::publish("commit", &options.output, host, settings, &tables, &results)
}

fn measure(options: &Options, redis: &Process, nodes: &[Process; 2]) -> Result<Results> {
    let mut raw = Raw::connect(redis.address, options.payload + AROUND)?;
    let mut throughput = Vec::new();
    let mut paths = Paths::new();
    for round in 1..=options.repeat {
        eprintln!("commits ({round} of {})", options.repeat);
        throughput.push(throughput::measure(options, redis, nodes, &mut raw, round)?);
        eprintln!("heard on another node ({round} of {})", options.repeat);
        paths.measure(options, nodes, &mut raw, round)?;
    }
    Ok(Results {
        throughput,
        latency: paths.quantiles(),
    })
}

impl Options {
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds.max(1))
    }
}

/// The seat of the pairing user with this number.
fn seat(node: &Process, room: &str, number: usize) -> Seat {
    let path = door::PAIRING_PATH
        .replace("{room}", room)
        .replace("{user}", &format!("u{number:05}"));
    Seat {
        address: node.address,
        path,
        greeted: true,
        hello: Vec::new(),
        joined: None,
        engine: false,
    }
}
