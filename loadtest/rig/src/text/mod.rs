//! Shared text: how long an edit takes to the others, what a document weighs, and how long a large one takes to come.
//!
//! Members are Yjs clients in one document. Writers type a character at a time, everybody's cursor moves, and each edit is
//! looked for at each of the others: what is not heard in the end is missing.

mod join;
mod latency;
mod weight;
mod yjs;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

use crate::Result;
use crate::children;
use crate::generator::Seat;
use crate::host::Host;
use crate::node::NodeOptions;
use crate::report::{self, Output, Table};

/// `rig text`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What is measured; everything where it is not said.
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// Members of the document; one row each.
    #[arg(long, value_delimiter = ',', default_values_t = [2, 50, 500])]
    members: Vec<u32>,
    /// How many of them type.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    writers: u32,
    /// Seconds of typing.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Documents that are weighed.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    documents: u32,
    /// Bytes of the large document.
    #[arg(long, default_value_t = 20_000_000)]
    large: u64,
    #[command(flatten)]
    node: NodeOptions,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Latency,
    Weight,
    Join,
}

#[derive(Debug, Default, Serialize)]
struct Results {
    latency: Vec<latency::Figures>,
    weight: Option<weight::Figures>,
    join: Option<join::Figures>,
}

pub fn run(options: &Options) -> Result<()> {
    let redis = children::version_of("redis-server".as_ref())?;
    let host = Host::describe(vec![options.node.version()?, redis]);
    let wants = |part| options.part.is_empty() || options.part.contains(&part);
    let mut results = Results::default();
    let mut tables: Vec<Table> = Vec::new();
    if wants(Part::Latency) {
        for members in &options.members {
            results.latency.push(latency::measure(options, *members)?);
        }
        tables.push(latency::table(&results.latency));
    }
    if wants(Part::Weight) {
        let figures = weight::measure(options)?;
        tables.push(figures.table());
        results.weight = Some(figures);
    }
    if wants(Part::Join) {
        let figures = join::measure(options)?;
        tables.push(figures.table());
        results.join = Some(figures);
    }
    let settings = json!({
        "env": options.node.settings(), "writers": options.writers, "seconds": options.seconds,
        "documents": options.documents, "large_bytes": options.large,
    });
    report::publish("text", &options.output, host, settings, &tables, &results)
}

/// A member of a session's document.
fn seat(node: &children::Process, session: &str, user: &str) -> Seat {
    Seat {
        address: node.address,
        path: format!("/yjs/{session}?user_id={user}"),
        greeted: true,
        hello: yjs::first_step(),
        joined: None,
        engine: false,
    }
}
