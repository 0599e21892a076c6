//! The promises under load: people who behave, in many rooms over several nodes, while nodes and Redis go and come
//! back.
//!
//! What they saw is judged by the checker, as in the tests of outages; `faults` is the timetable, `recovery` reads
//! from the people's journal how long each fault was felt.

mod faults;
mod recovery;

use std::process::ExitCode;
use std::time::Duration;

use checker::person::{Crowd, Manner, Seat};
use checker::{Fault, Promise, Verdict};
use serde::Serialize;
use serde_json::json;
use tokio::runtime::Runtime;

use self::faults::Timetable;
pub use self::faults::wait_until;
use self::recovery::{Answers, Recovery};
use crate::children::{self, Process};
use crate::host::Host;
use crate::node::NodeOptions;
use crate::report::{self, Output, Table};
use crate::{Result, host};

/// Longest until everybody is connected, and until everything is quiet.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Chat lines in a greeting: whoever comes at the end must find all that was said.
pub const HISTORY: &str = "1000";

/// `rig order`
#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=16))]
    nodes: u32,
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    rooms: u32,
    /// Members of a room, spread over the nodes; all of them write.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    members: u32,
    /// Chat lines per second and room.
    #[arg(long, default_value_t = 2.0)]
    rate: f64,
    /// Length of the run, faults included.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    #[command(flatten)]
    timetable: Timetable,
    #[command(flatten)]
    node: NodeOptions,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Results {
    judged: Judged,
    recovery: Vec<Recovery>,
    /// Outside the faults.
    answers: Answers,
}

/// A verdict in numbers.
#[derive(Debug, Serialize)]
pub struct Judged {
    pub acknowledged: u64,
    pub heard: u64,
    pub lost: u64,
    pub doubled: u64,
    pub out_of_order: u64,
    pub apart: u64,
    pub ghosts: u64,
    pub absent: u64,
    pub resumed: u64,
    pub restarted: u64,
    pub complaints: u64,
    /// In words: the first few of each kind.
    pub words: Option<String>,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let redis_version = children::version_of("redis-server".as_ref())?;
    let host = Host::describe(vec![options.node.version()?, redis_version]);
    let redis = children::start_durable_redis()?;
    let node = options.node.clone().with("CHAT_HISTORY", HISTORY);
    let nodes = (0..options.nodes).map(|_| node.start(Some(&redis)));
    let nodes = nodes.collect::<Result<Vec<_>>>()?;
    let runtime = Runtime::new()?;
    // On this thread, which starts children again.
    let results = runtime.block_on(measure(options, redis, nodes))?;
    let settings = json!({
        "env": options.node.settings(), "nodes": options.nodes, "rooms": options.rooms,
        "members": options.members, "rate_per_room": options.rate, "seconds": options.seconds,
        "redis": "appendonly, fsync every second, ended by SIGTERM",
    });
    let mut tables = vec![results.judged.table("order"), results.answers.table()];
    tables.extend(recovery::table(&results.recovery));
    report::publish("order", &options.output, host, settings, &tables, &results)?;
    Ok(results.judged.exit())
}

async fn measure(
    options: &Options,
    mut redis: Process,
    mut nodes: Vec<Process>,
) -> Result<Results> {
    let addresses: Vec<_> = nodes.iter().map(|node| node.address).collect();
    let mut crowd = Crowd::new(promise(), addresses.clone());
    let every = Duration::from_secs_f64(f64::from(options.members) / options.rate);
    for room in 0..options.rooms {
        for member in 0..options.members {
            let node = addresses[(room + member) as usize % addresses.len()];
            crowd.seat(Seat {
                room: format!("order-{room}"),
                user: format!("user-{room}-{member}"),
                viewer: u64::from(room * options.members + member),
                first: Some(node),
                manner: Manner {
                    chat_every: Some(every),
                    text_every: (member == 0).then_some(every),
                    ..Manner::default()
                },
            });
        }
    }
    crowd.are_here(PATIENCE).await?;
    eprintln!("{} people are in", crowd.people.len());
    let time = Duration::from_secs(options.seconds);
    let felt = options
        .timetable
        .run(time, &mut nodes, &mut redis, &crowd)
        .await?;
    let judged = judge(&crowd).await?;
    let journal = crowd.world.journal.entries();
    let recovery = felt.iter().map(|felt| {
        let room_of = |viewer: u64| viewer / u64::from(options.members);
        recovery::of(felt, &journal, room_of, u64::from(options.rooms))
    });
    Ok(Results {
        judged,
        recovery: recovery.collect(),
        answers: Answers::outside(&felt, &journal),
    })
}

/// Nothing may be lost of what was acknowledged.
pub fn promise() -> Promise {
    Promise {
        history: HISTORY.parse().expect("it is a number"),
        may_forget: false,
    }
}

/// Everything becomes quiet, and what was seen is judged.
pub async fn judge(crowd: &Crowd) -> Result<Judged> {
    host::check_signals()?;
    let mut complaints = crowd.world.journal.complaints();
    complaints.extend(crowd.are_here(PATIENCE).await.err());
    complaints.extend(crowd.settle(PATIENCE).await.err());
    crowd.presence(PATIENCE).await;
    Ok(Judged::of(&crowd.verdict(), &complaints))
}

impl Judged {
    fn of(verdict: &Verdict, complaints: &[String]) -> Self {
        let clean = verdict.is_clean() && complaints.is_empty();
        let first: Vec<_> = complaints.iter().take(5).cloned().collect();
        Self {
            acknowledged: verdict.acknowledged,
            heard: verdict.heard,
            lost: verdict.count(Fault::Lost),
            doubled: verdict.count(Fault::Doubled),
            out_of_order: verdict.count(Fault::Disordered),
            apart: verdict.count(Fault::Apart),
            ghosts: verdict.count(Fault::Ghost),
            absent: verdict.count(Fault::Absent),
            resumed: verdict.resumes,
            restarted: verdict.restarts,
            complaints: complaints.len() as u64,
            words: (!clean).then(|| format!("{verdict}\n{}", first.join("\n"))),
        }
    }

    pub fn table(&self, name: &str) -> Table {
        let columns = [
            ("acknowledged", self.acknowledged),
            ("heard", self.heard),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("out of order", self.out_of_order),
            ("apart", self.apart),
            ("ghosts", self.ghosts),
            ("absent", self.absent),
            ("resumed", self.resumed),
            ("restarted", self.restarted),
            ("complaints", self.complaints),
        ];
        let mut headings = vec![name];
        headings.extend(columns.map(|(heading, _)| heading));
        let mut table = Table::new(&headings);
        let verdict = if self.words.is_none() {
            "clean"
        } else {
            "NOT CLEAN"
        };
        let figures = columns.map(|(_, count)| count.to_string());
        table.row([verdict.to_owned()].into_iter().chain(figures));
        if let Some(words) = &self.words {
            table.note(words.clone());
        }
        table
    }

    /// A script that runs this is told.
    pub fn exit(&self) -> ExitCode {
        match self.words {
            None => ExitCode::SUCCESS,
            Some(_) => ExitCode::FAILURE,
        }
    }
}

/// Whom a fault hit, for the recovery of each.
pub fn people_on(crowd: &Crowd, node: &Process) -> Vec<u64> {
    let people = crowd.people.iter();
    let people = people.filter(|person| person.node() == Some(node.address));
    people.map(|person| person.seat.viewer).collect()
}
