//! Latency: rooms with one socket on each node, a modest rate of chat, and how soon the other node's socket hears it.
//!
//! The time begins before the sender's write and ends after the hearer's read, so it holds both sockets' ways too,
//! not only the commit and its publication. The floor is a raw commit heard by a raw subscriber.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Options, PATIENCE, STILL, seat};
use crate::children::Process;
use crate::generator::{Generator, Seat};
use crate::pace::{Pace, Phase};
use crate::redis::Raw;
use crate::report::{Table, histogram, number, quantile_us};
use crate::{Result, host, stamp, wire};

/// Quantiles of one path, in microseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    path: &'static str,
    heard: u64,
    expected: u64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

/// Latencies of all rounds, by path.
pub struct Paths {
    raw: Histogram<u64>,
    other_node: Histogram<u64>,
    own_node: Histogram<u64>,
    sent: u64,
}

impl Paths {
    pub fn new() -> Self {
        Self {
            raw: histogram(),
            other_node: histogram(),
            own_node: histogram(),
            sent: 0,
        }
    }

    /// The raw floor first, then chat in rooms that have a socket on each node.
    pub fn measure(
        &mut self,
        options: &Options,
        nodes: &[Process; 2],
        raw: &mut Raw,
        round: u32,
    ) -> Result<()> {
        self.raw += raw.heard_after(options.time(), f64::from(options.rate))?;
        let pairs = options.pairs as usize;
        let mut generator = Generator::new()?;
        let mut finder = stamp::Finder::default();
        let mut listener = |socket: usize, payload: &[u8]| {
            let Some(sent) = finder.find(payload).and_then(|at| stamp::read(payload, at)) else {
                return;
            };
            let path = if socket.is_multiple_of(2) {
                &mut self.own_node
            } else {
                &mut self.other_node
            };
            path.saturating_record(host::now().saturating_sub(sent));
        };
        // Even sockets send; which node they are on alternates.
        let room = |pair: usize| format!("h{round}-{pair:05}");
        let seats: Vec<Seat> = (0..2 * pairs)
            .map(|n| seat(&nodes[(n / 2 + n) % 2], &room(n / 2), n))
            .collect();
        generator.seat(&seats, &mut listener)?;
        generator.settle(STILL, PATIENCE, &mut listener)?;

        let chat = format!(
            r#"{{"type":"chat","message":"{}"}}"#,
            stamp::text(options.payload)
        );
        let mut frame = wire::client_frame(wire::TEXT, chat.as_bytes());
        let at = stamp::Finder::default()
            .find(&frame)
            .ok_or("a chat without a stamp")?;
        let pace = pace(options);
        pace.run(&mut generator, &mut listener, |generator, socket| {
            stamp::write(&mut frame, at, host::now());
            generator.send(socket, &frame)
        })?;
        generator.settle(STILL, PATIENCE, &mut listener)?;
        self.sent += pace.messages();
        Ok(())
    }

    pub fn quantiles(&self) -> Vec<Latency> {
        vec![
            quantiles("raw Redis, commit to subscriber", &self.raw, self.raw.len()),
            quantiles("socket to socket, other node", &self.other_node, self.sent),
            quantiles("socket to itself, own node", &self.own_node, self.sent),
        ]
    }
}

/// The senders one after another, evenly, all together at the rate asked for.
fn pace(options: &Options) -> Pace {
    let period = Duration::from_secs_f64(f64::from(options.pairs) / f64::from(options.rate));
    let rounds = (options.time().as_secs_f64() / period.as_secs_f64()).ceil() as u64;
    let senders: Vec<Vec<usize>> = (0..options.pairs as usize)
        .map(|pair| vec![2 * pair])
        .collect();
    Pace::new(&senders, Phase::Even, period, rounds)
}

fn quantiles(path: &'static str, histogram: &Histogram<u64>, expected: u64) -> Latency {
    let quantile = |q: f64| quantile_us(histogram, q);
    Latency {
        path,
        heard: histogram.len(),
        expected,
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        p999_us: quantile(0.999),
    }
}

pub fn table(paths: &[Latency]) -> Table {
    let mut table = Table::new(&[
        "commit to heard",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "p50 × floor",
        "p99 × floor",
        "heard/expected",
    ]);
    for path in paths {
        table.row([
            path.path.into(),
            number(path.p50_us / 1e3, 3),
            number(path.p99_us / 1e3, 3),
            number(path.p999_us / 1e3, 3),
            number(path.p50_us / paths[0].p50_us, 2),
            number(path.p99_us / paths[0].p99_us, 2),
            number(path.heard as f64 / path.expected as f64, 4),
        ]);
    }
    table
}
