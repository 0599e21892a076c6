//! What a document weighs in a node: of sockets alone in their sessions, before and after they have typed.

use std::time::Duration;

use serde::Serialize;

use super::{Options, seat, yjs};
use crate::Result;
use crate::children::start_redis;
use crate::generator::Generator;
use crate::meter::Resident;
use crate::report::{Table, number};

const STILL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(300);
/// Edits of a document, and characters of each: 10 KB.
const EDITS: u64 = 200;
const LENGTH: u64 = 50;
/// Edits under way at a time, over all documents.
const AT_ONCE: usize = 50;

#[derive(Debug, Serialize)]
pub struct Figures {
    documents: u32,
    /// KiB resident: a socket with an empty document, and its text of 10 KB.
    empty_kib: f64,
    text_kib: f64,
}

pub fn measure(options: &Options) -> Result<Figures> {
    let redis = start_redis()?;
    let node = options.node.start(Some(&redis))?;
    eprintln!("{} documents", options.documents);
    let mut silent = |_: usize, _: &[u8]| {};
    let mut generator = Generator::new()?;
    generator.serve(STILL, &mut silent)?;
    let (pid, documents) = (node.pid(), options.documents as usize);
    let before = Resident::of(pid)?;
    let seats: Vec<_> = (0..documents)
        .map(|number| seat(&node, &format!("d{number}"), "ann"))
        .collect();
    generator.seat(&seats, &mut silent)?;
    generator.settle(STILL, PATIENCE, &mut silent)?;
    let empty = Resident::of(pid)?;
    let text = "x".repeat(LENGTH as usize);
    for edit in 0..EDITS {
        for number in 0..documents {
            let frame = yjs::append(7, edit * LENGTH, &text);
            generator.send(number, &frame)?;
            if number % AT_ONCE == 0 {
                generator.serve(Duration::from_millis(1), &mut silent)?;
            }
        }
        generator.serve(Duration::from_millis(15), &mut silent)?;
    }
    generator.settle(STILL, PATIENCE, &mut silent)?;
    let full = Resident::of(pid)?;
    Ok(Figures {
        documents: options.documents,
        empty_kib: empty.grown_per(before, documents).rss,
        text_kib: full.grown_per(empty, documents).rss,
    })
}

impl Figures {
    pub fn table(&self) -> Table {
        let mut table = Table::new(&["KiB resident", "each"]);
        table.row([
            "socket and empty document".to_owned(),
            number(self.empty_kib, 1),
        ]);
        table.row([
            "its text of 10 KB, in 200 edits".to_owned(),
            number(self.text_kib, 1),
        ]);
        table
    }
}
