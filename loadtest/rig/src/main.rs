//! The benchmark: what a node costs, as a ratio to the physical floor of the same run.
//!
//! Start reading at `fanout`. `generator` is the load, `floor` the least any server could do, `children` the
//! processes of a run; `idle` and `commit` are the other two questions, `order` and
//! `storm` whether it is right while things go wrong. Nothing here knows the node's code: it is
//! measured from outside, as a process behind a socket.

mod agents;
mod children;
mod commit;
mod disk;
mod door;
mod epoll;
mod fanout;
mod floor;
mod generator;
mod handshake;
mod host;
mod idle;
mod measure;
mod meter;
mod node;
mod order;
mod pace;
mod postgres;
mod redis;
mod report;
mod sessions;
mod shape;
mod stamp;
mod stored;
mod storm;
mod tally;
mod target;
mod text;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Errors are read by a person: a sentence with the value that was wrong.
pub type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The floor alone: what a delivery costs a bare epoll server here, and how steady that is.
    Floor(fanout::FloorOptions),
    /// CPU per delivery and latency, against the floor.
    Fanout(fanout::Options),
    /// KiB per idle socket, before and after each has sent 8 KB.
    Idle(idle::Options),
    /// Durable commits per second through one Redis, and commit to heard on another node.
    Commit(commit::Options),
    /// CPU of letting somebody in, with and without a token.
    Handshake(handshake::Options),
    /// One order, nothing lost, nothing twice: while nodes and Redis go and come back.
    Order(order::Options),
    /// A full node dies, and all its people come to the others at once.
    Storm(storm::Options),
    /// Agents at work, all watched by everybody: what is told once, and how old what is known.
    Agents(agents::Options),
    /// An edit of a shared text: how long to the others, what a document weighs, how long a large one takes to come.
    Text(text::Options),
    /// The floor's own process.
    #[command(hide = true)]
    FloorServer(floor::ServerOptions),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::FloorServer(options) => floor::serve(&options).map(|()| ExitCode::SUCCESS),
        command => measure(&command),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rig: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(command: &Command) -> Result<ExitCode> {
    host::raise_file_limit()?;
    host::catch_signals();
    let measured = match command {
        Command::Floor(options) => fanout::run_floor(options),
        Command::Fanout(options) => fanout::run(options),
        Command::Idle(options) => idle::run(options),
        Command::Commit(options) => commit::run(options),
        Command::Handshake(options) => handshake::run(options),
        Command::Order(options) => return order::run(options),
        Command::Storm(options) => return storm::run(options),
        Command::Agents(options) => return agents::run(options),
        Command::Text(options) => text::run(options),
        Command::FloorServer(_) => Ok(()),
    };
    measured.map(|()| ExitCode::SUCCESS)
}
