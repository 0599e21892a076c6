//! Handshakes: what it costs to let somebody in, with and without a token.
//!
//! Each comes over a connection of its own, joins a session, hears the greeting and closes. What a token costs is
//! the difference of two nodes that differ in nothing else. Clients are threads that wait: the node's own CPU is
//! counted, so they may be slow.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use crate::Result;
use crate::children::{Process, start_redis};
use crate::host::Host;
use crate::meter::Cpu;
use crate::node::{NodeOptions, SECRET};
use crate::report::{self, Output, Table, number, spread};
use crate::wire;

/// Users who come, one after the other; each is in a session of its own.
const USERS: usize = 64;

/// `rig handshake`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Handshakes of each round.
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u64).range(1..))]
    handshakes: u64,
    /// Rounds; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Threads that come in at once.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[command(flatten)]
    node: NodeOptions,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Figures {
    identity: &'static str,
    redis: bool,
    /// CPU of the node, for each round.
    cpu_us: Vec<f64>,
    /// On this machine, clients and all.
    per_second: Vec<f64>,
}

pub fn run(options: &Options) -> Result<()> {
    let host = Host::describe(vec![options.node.version()?]);
    let mut results = Vec::new();
    for redis in [false, true] {
        for identity in ["open", "token HS256"] {
            results.push(Figures {
                identity,
                redis,
                cpu_us: Vec::new(),
                per_second: Vec::new(),
            });
        }
    }
    for round in 1..=options.rounds {
        // All of them in each round, so that a busy minute is everybody's.
        for figures in &mut results {
            eprintln!(
                "round {round}: {}, redis {}",
                figures.identity, figures.redis
            );
            let (cpu, rate) = measure(options, figures.identity != "open", figures.redis)?;
            figures.cpu_us.push(cpu);
            figures.per_second.push(rate);
        }
    }
    let settings = json!({
        "env": options.node.settings(),
        "handshakes": options.handshakes,
        "threads": options.threads,
    });
    let tables = [table(&results)];
    report::publish(
        "handshake",
        &options.output,
        host,
        settings,
        &tables,
        &results,
    )
}

/// CPU of the node in µs for a handshake, and handshakes per second.
fn measure(options: &Options, with_tokens: bool, with_redis: bool) -> Result<(f64, f64)> {
    let redis = with_redis.then(start_redis).transpose()?;
    let mut node = options.node.clone();
    if with_tokens {
        node = node.with("AUTH", "token").with("JWT_SECRET", SECRET);
    }
    let paths = (0..USERS)
        .map(|user| {
            let (room, user) = (format!("rig-{user}"), format!("u{user}"));
            let mut path = format!("/api/v1/ws/session/{room}?user_id={user}");
            if with_tokens {
                path.push_str(&format!("&token={}", node.token(&user)?));
            }
            Ok(path)
        })
        .collect::<Result<Vec<String>>>()?;
    let node = node.start(redis.as_ref())?;
    // Once for all of them first: keys, scripts and pages are then warm.
    come(&node, &paths, USERS as u64, options.threads)?;
    let (before, began) = (Cpu::of(node.pid())?, Instant::now());
    come(&node, &paths, options.handshakes, options.threads)?;
    let took = began.elapsed();
    let cpu = before.spent_per(node.pid(), options.handshakes)?;
    Ok((
        cpu.total_us(),
        options.handshakes as f64 / took.as_secs_f64(),
    ))
}

fn come(node: &Process, paths: &[String], handshakes: u64, threads: usize) -> Result<()> {
    let left = AtomicU64::new(handshakes);
    let address = node.address;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..threads)
            .map(|thread| {
                let left = &left;
                scope.spawn(move || {
                    let mut at = thread;
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                        .is_ok()
                    {
                        // Threads keep to users of their own.
                        one(address, &paths[at % paths.len()])?;
                        at += threads;
                    }
                    Ok::<(), String>(())
                })
            })
            .collect();
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        Ok(())
    })
}

/// In and out again.
fn one(address: SocketAddr, path: &str) -> std::result::Result<(), String> {
    let told = |error: std::io::Error| format!("{path}: {error}");
    let mut stream = TcpStream::connect(address).map_err(told)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .map_err(told)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: rig\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(told)?;
    let (mut got, mut head) = (Vec::new(), None);
    loop {
        let mut some = [0; 4_096];
        let read = stream.read(&mut some).map_err(told)?;
        if read == 0 {
            return Err(format!("{path}: {}", String::from_utf8_lossy(&got)));
        }
        got.extend_from_slice(&some[..read]);
        if head.is_none() {
            head = got.windows(4).position(|four| four == b"\r\n\r\n");
        }
        let Some(head) = head else {
            continue;
        };
        if !got.starts_with(b"HTTP/1.1 101") {
            return Err(format!("{path}: {}", String::from_utf8_lossy(&got)));
        }
        if wire::first_frame(&got[head + 4..])?.is_some() {
            break;
        }
    }
    let goodbye = wire::client_frame(wire::CLOSE, &1000_u16.to_be_bytes());
    stream.write_all(&goodbye).map_err(told)?;
    stream.shutdown(Shutdown::Write).map_err(told)?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).map_err(told)?;
    Ok(())
}

fn table(results: &[Figures]) -> Table {
    let mut table = Table::new(&[
        "identity",
        "backplane",
        "CPU µs per handshake",
        "per second and core",
        "per second here",
    ]);
    for figures in results {
        let cpu = report::median(figures.cpu_us.iter().copied());
        table.row([
            figures.identity.into(),
            if figures.redis { "Redis" } else { "memory" }.into(),
            spread(figures.cpu_us.iter().copied()),
            number(1e6 / cpu, 0),
            number(report::median(figures.per_second.iter().copied()), 0),
        ]);
    }
    table.note("from connecting to the greeting and a clean close; the node's CPU alone".into());
    table
}
