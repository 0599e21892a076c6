//! A large document: how long it takes to somebody who comes, on a node that has it and on one that has not.

use std::time::Duration;

use serde::Serialize;

use super::{Options, seat, yjs};
use crate::children::{Process, start_redis};
use crate::generator::Generator;
use crate::report::{Table, number};
use crate::{Result, host};

const STILL: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);
/// Characters of one update.
const PIECE: u64 = 900_000;

#[derive(Debug, Serialize)]
pub struct Figures {
    bytes: u64,
    /// Seconds from the connection to the whole text.
    warm_s: f64,
    cold_s: f64,
}

pub fn measure(options: &Options) -> Result<Figures> {
    let redis = start_redis()?;
    let options_of_node = options
        .node
        .clone()
        .with("MAX_DOCUMENT_LENGTH", &(options.large * 2).to_string());
    let start = || options_of_node.start(Some(&redis));
    let (warm, cold) = (start()?, start()?);
    eprintln!("a document of {} bytes", options.large);
    let mut writer = Generator::new()?;
    writer.seat(&[seat(&warm, "large", "ann")], &mut |_: usize, _: &[u8]| {})?;
    let mut clock = 0;
    while clock < options.large {
        let length = PIECE.min(options.large - clock);
        let frame = yjs::append(7, clock, &"x".repeat(length as usize));
        clock += length;
        let mut back = false;
        writer.send(0, &frame)?;
        let give_up = host::now() + PATIENCE.as_nanos() as u64;
        while !back {
            writer.turn(host::now() + 50_000_000, &mut |_: usize, payload: &[u8]| {
                back |= yjs::brought(payload)
                    .iter()
                    .any(|run| run.1 + run.2 == clock);
            })?;
            if host::now() > give_up || writer.closed().0 > 0 {
                let why = writer.closed().1.unwrap_or("no answer").to_owned();
                return Err(format!("the large document was not taken: {why}").into());
            }
        }
    }
    writer.settle(STILL, PATIENCE, &mut |_: usize, _: &[u8]| {})?;
    Ok(Figures {
        bytes: options.large,
        warm_s: join(&warm, options.large)?,
        cold_s: join(&cold, options.large)?,
    })
}

/// Seconds until somebody who comes to the node has all of it.
fn join(node: &Process, bytes: u64) -> Result<f64> {
    let mut generator = Generator::new()?;
    let begin = host::now();
    let mut whole = None;
    let mut listener = |_: usize, payload: &[u8]| {
        let length: u64 = yjs::brought(payload).iter().map(|run| run.2).sum();
        if length >= bytes {
            whole.get_or_insert_with(host::now);
        }
    };
    generator.seat(&[seat(node, "large", "bob")], &mut listener)?;
    generator.settle(STILL, PATIENCE, &mut listener)?;
    let whole = whole.ok_or("the large document never came")?;
    Ok((whole - begin) as f64 / 1e9)
}

impl Figures {
    pub fn table(&self) -> Table {
        let mut table = Table::new(&["a large document comes, s", "seconds"]);
        let megabytes = number(self.bytes as f64 / 1e6, 1);
        table.row([
            format!("{megabytes} MB, on a node that has it"),
            number(self.warm_s, 2),
        ]);
        table.row([
            format!("{megabytes} MB, read from Redis"),
            number(self.cold_s, 2),
        ]);
        table
    }
}
