//! Throughput: every socket is alone in its room, so nothing is delivered, and keeps a window of text changes on
//! their way.
//!
//! Each half window ends in a ping; commands of a socket are answered in order, so its pong says that the half
//! window is done. What was committed is counted by the rooms' own numbers, in the pongs' positions, before and after.

use serde::Serialize;

use super::pongs::Pongs;
use super::{Options, PATIENCE, STILL, seat};
use crate::children::Process;
use crate::generator::{Generator, Seat};
use crate::meter::{Cpu, CpuSpent, Machine};
use crate::redis::Raw;
use crate::report::{self, BUSY, Table, median, number, spread};
use crate::{Result, host, stamp, wire};

/// One measurement of throughput.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Throughput {
    raw_per_s: f64,
    raw_redis_cpu_us: CpuSpent,
    per_s: f64,
    sent: u64,
    committed: u64,
    nodes_cpu_us: CpuSpent,
    redis_cpu_us: CpuSpent,
    generator_cpu_us: CpuSpent,
    /// Cores that processes outside the measurement kept busy during it.
    others_cores: f64,
    errors: u64,
    first_error: Option<String>,
}

/// The raw floor first, then both nodes.
pub fn measure(
    options: &Options,
    redis: &Process,
    nodes: &[Process; 2],
    raw: &mut Raw,
    round: u32,
) -> Result<Throughput> {
    let cpu = Cpu::of(redis.pid())?;
    let (count, seconds) = raw.commit_for(options.time(), options.sockets as usize)?;
    let raw_redis_cpu_us = cpu.spent_per(redis.pid(), count)?;
    let raw_per_s = count as f64 / seconds;
    Ok(Throughput {
        raw_per_s,
        raw_redis_cpu_us,
        ..commits(options, redis, nodes, round)?
    })
}

/// Commits through both nodes for a while.
fn commits(
    options: &Options,
    redis: &Process,
    nodes: &[Process; 2],
    round: u32,
) -> Result<Throughput> {
    let sockets = options.sockets as usize;
    let mut generator = Generator::new()?;
    let mut pongs = Pongs::new(sockets);
    let seats: Vec<Seat> = (0..sockets)
        .map(|n| seat(&nodes[n % 2], &format!("c{round}-{n:05}"), n))
        .collect();
    generator.seat(&seats, &mut pongs)?;
    generator.settle(STILL, PATIENCE, &mut pongs)?;
    let ping = wire::client_frame(wire::TEXT, br#"{"type":"ping"}"#);
    let before = pongs.ask_all(&mut generator, &ping)?;

    let mut batch = Batch::new(options.payload, (options.window / 2) as usize, &ping);
    let cpu = |process: &Process| Cpu::of(process.pid());
    let earlier = (cpu(&nodes[0])?, cpu(&nodes[1])?, cpu(redis)?, Cpu::own()?);
    let machine = Machine::read()?;
    let start = host::now();
    let end = start + options.time().as_nanos() as u64;
    for socket in (0..sockets).chain(0..sockets) {
        batch.send(&mut generator, socket)?;
    }
    let mut awaited = 2 * sockets;
    let mut answered = start;
    while awaited > 0 {
        generator.turn(host::now() + 50_000_000, &mut pongs)?;
        let now = host::now();
        for socket in std::mem::take(&mut pongs.answered) {
            answered = now;
            awaited -= 1;
            if now < end {
                batch.send(&mut generator, socket)?;
                awaited += 1;
            }
        }
        pongs.check(&generator, answered)?;
    }
    let after = pongs.ask_until_still(&mut generator, &ping)?;
    let committed = after
        .checked_sub(before)
        .ok_or("the rooms' numbers went backwards")?;
    // Pongs that overtake their commits must not shorten the time these took.
    let seconds = (answered.max(pongs.last_growth) - start) as f64 / 1e9;
    let nodes_cpu_us = earlier
        .0
        .spent_per(nodes[0].pid(), committed)?
        .plus(earlier.1.spent_per(nodes[1].pid(), committed)?);
    let redis_cpu_us = earlier.2.spent_per(redis.pid(), committed)?;
    let generator_cpu_us = earlier.3.spent_per(std::process::id(), committed)?;
    let known = nodes_cpu_us
        .plus(redis_cpu_us)
        .plus(generator_cpu_us)
        .total_us()
        * committed as f64;
    Ok(Throughput {
        per_s: committed as f64 / seconds,
        sent: batch.sent,
        committed,
        nodes_cpu_us,
        redis_cpu_us,
        generator_cpu_us,
        others_cores: machine.others_since(known)?,
        errors: pongs.errors,
        first_error: pongs.first_error,
        ..Throughput::default()
    })
}

pub fn table(rounds: &[Throughput]) -> Table {
    let mut table = Table::new(&[
        "durable commits",
        "per s",
        "× floor",
        "spread",
        "nodes µs",
        "of it user",
        "Redis µs",
        "generator µs",
        "committed/sent",
    ]);
    let of = |figure: &dyn Fn(&Throughput) -> f64| median(rounds.iter().map(figure));
    let raw = of(&|round| round.raw_per_s);
    table.row([
        "raw Redis, 256 in flight".into(),
        number(raw, 0),
        number(1.0, 2),
        spread(rounds.iter().map(|round| round.raw_per_s / raw)),
        number(f64::NAN, 2),
        number(f64::NAN, 2),
        number(of(&|round| round.raw_redis_cpu_us.total_us()), 2),
        number(f64::NAN, 2),
        number(1.0, 4),
    ]);
    let ratio = |round: &Throughput| round.per_s / round.raw_per_s;
    table.row([
        "two nodes".into(),
        number(of(&|round| round.per_s), 0),
        number(of(&ratio), 2),
        spread(rounds.iter().map(ratio)),
        number(of(&|round| round.nodes_cpu_us.total_us()), 2),
        number(of(&|round| round.nodes_cpu_us.user_us), 2),
        number(of(&|round| round.redis_cpu_us.total_us()), 2),
        number(of(&|round| round.generator_cpu_us.total_us()), 2),
        number(of(&|round| round.committed as f64 / round.sent as f64), 4),
    ]);
    let busiest = rounds
        .iter()
        .map(|round| round.others_cores)
        .fold(0.0, f64::max);
    if busiest > BUSY {
        table.note(report::busy("commits", busiest));
    }
    for round in rounds {
        if let Some(error) = &round.first_error {
            table.note(format!(
                "{} error frames were heard, the first {error}",
                round.errors
            ));
        }
    }
    table
}

/// Half a window of changes and the ping that tells their end, as the bytes of one write.
struct Batch {
    bytes: Vec<u8>,
    stamps: Vec<usize>,
    sent: u64,
}

impl Batch {
    fn new(payload: usize, changes: usize, ping: &[u8]) -> Self {
        let change = format!(
            r#"{{"type":"code_change","code":"{}"}}"#,
            stamp::text(payload)
        );
        let frame = wire::client_frame(wire::TEXT, change.as_bytes());
        let at = stamp::Finder::default().find(&frame).unwrap_or_default();
        let stamps = (0..changes).map(|index| index * frame.len() + at).collect();
        let mut bytes = frame.repeat(changes);
        bytes.extend_from_slice(ping);
        Self {
            bytes,
            stamps,
            sent: 0,
        }
    }

    fn send(&mut self, generator: &mut Generator, socket: usize) -> Result<()> {
        for &at in &self.stamps {
            // Every text differs from the last: a node may skip a change that changes nothing.
            self.sent += 1;
            stamp::write(&mut self.bytes, at, self.sent);
        }
        generator.send(socket, &self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against texts that are all the same, and against stamps outside their frames.
    #[test]
    fn a_batch_is_whole_frames_with_different_texts() {
        let ping = wire::client_frame(wire::TEXT, b"ping");
        let mut batch = Batch::new(40, 3, &ping);
        batch
            .stamps
            .clone()
            .iter()
            .enumerate()
            .for_each(|(n, &at)| stamp::write(&mut batch.bytes, at, n as u64));
        let (mut rest, mut texts) = (&batch.bytes[..], Vec::new());
        while let Some(frame) = wire::first_frame(rest).expect("well formed") {
            texts.push(frame.payload);
            rest = &rest[frame.size..];
        }
        assert_eq!((texts.len(), rest.len(), texts[3]), (4, 0, &b"ping"[..]));
        assert!(texts[0] != texts[1] && texts[1] != texts[2]);
    }
}
