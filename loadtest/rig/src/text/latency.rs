//! From a key to everybody else's screen, with all cursors moving.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use super::{Options, seat, yjs};
use crate::children::start_redis;
use crate::generator::Generator;
use crate::meter::Cpu;
use crate::report::{self, Table, number, quantile_us};
use crate::{Result, host};

const SECOND: u64 = 1_000_000_000;
const KEY_EVERY: u64 = SECOND / 10;
const STILL: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);
/// Clients of writers, and of cursors.
const WRITERS: u64 = 1_000;
const CURSORS: u64 = 100_000;

#[derive(Debug, Serialize)]
pub struct Figures {
    members: u32,
    edits: u64,
    /// Edits that somebody else never heard, counted for each.
    missing: u64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Cores that the node used.
    cores: f64,
    closed: usize,
}

pub fn measure(options: &Options, members: u32) -> Result<Figures> {
    let redis = start_redis()?;
    let node = options.node.start(Some(&redis))?;
    eprintln!("{members} members of one document");
    let seats: Vec<_> = (0..members)
        .map(|member| seat(&node, "one", &format!("u{member}")))
        .collect();
    let mut generator = Generator::new()?;
    generator.seat(&seats, &mut |_: usize, _: &[u8]| {})?;
    generator.settle(STILL, PATIENCE, &mut |_: usize, _: &[u8]| {})?;

    let writers = options.writers.min(members);
    let mut sent: HashMap<(u64, u64), u64> = HashMap::new();
    let mut taken = report::histogram();
    let mut heard = 0_u64;
    let before = Cpu::of(node.pid())?;
    let begin = host::now();
    let end = begin + options.seconds * SECOND;
    let (mut keys, mut moves) = (0_u64, 0_u64);
    loop {
        let now = host::now();
        while now < end && begin + keys * KEY_EVERY / u64::from(writers) <= now {
            let (writer, clock) = (keys % u64::from(writers), keys / u64::from(writers));
            sent.insert((WRITERS + writer, clock), host::now());
            let frame = yjs::append(WRITERS + writer, clock, "x");
            generator.send(writer as usize, &frame)?;
            keys += 1;
        }
        while now < end && begin + moves * SECOND / u64::from(members) <= now {
            let (member, clock) = (moves % u64::from(members), moves / u64::from(members));
            let frame = yjs::cursor(CURSORS + member, clock + 1);
            generator.send(member as usize, &frame)?;
            moves += 1;
        }
        let mut listener = |socket: usize, payload: &[u8]| {
            let now = host::now();
            for (client, clock, length) in yjs::brought(payload) {
                // Its own comes back to who wrote it, too.
                if client.wrapping_sub(WRITERS) == socket as u64 {
                    continue;
                }
                for clock in clock..clock + length {
                    if let Some(at) = sent.get(&(client, clock)) {
                        heard += 1;
                        taken.saturating_record(now - at);
                    }
                }
            }
        };
        let next = begin + keys * KEY_EVERY / u64::from(writers);
        let next = next.min(begin + moves * SECOND / u64::from(members));
        generator.turn(next.max(now + 100_000), &mut listener)?;
        if now >= end {
            generator.settle(STILL, PATIENCE, &mut listener)?;
            break;
        }
    }
    let spent = Cpu::of(node.pid())?.since(before);
    let (closed, _) = generator.closed();
    let wanted = keys * u64::from(members - 1);
    let ms = |quantile| quantile_us(&taken, quantile) / 1e3;
    Ok(Figures {
        members,
        edits: keys,
        missing: wanted.saturating_sub(heard),
        p50_ms: ms(0.5),
        p95_ms: ms(0.95),
        p99_ms: ms(0.99),
        max_ms: ms(1.0),
        cores: spent.total_us() / 1e6 / options.seconds as f64,
        closed,
    })
}

pub fn table(all: &[Figures]) -> Table {
    let mut table = Table::new(&[
        "edit to the others, ms",
        "edits",
        "missing",
        "p50",
        "p95",
        "p99",
        "max",
        "node cores",
        "closed",
    ]);
    for one in all {
        table.row([
            format!("{} members", one.members),
            one.edits.to_string(),
            one.missing.to_string(),
            number(one.p50_ms, 2),
            number(one.p95_ms, 2),
            number(one.p99_ms, 2),
            number(one.max_ms, 2),
            number(one.cores, 2),
            one.closed.to_string(),
        ]);
    }
    table
}
