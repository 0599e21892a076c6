//! An update in pieces, so that whoever applies it can stop when that takes too long.
//!
//! A struct is put to its place past everything that others put to the same place. An update can name origins so far
//! apart, and so many, that the library is busy for minutes with a few hundred kilobytes, and it cannot be interrupted.

use std::collections::BTreeMap;
use std::ops::Range;

use super::order::Section;
use super::reader::Reader;
use super::{Limits, Malformed, deletes, structs};

/// Updates of at most `most` structs each, which together are the one that is given. Each is whole once those before it
/// are applied and what was missing of the one is there. Deletions come last.
pub fn pieces(update: &[u8], most: usize, limits: &Limits) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut reader = Reader::new(update, limits)?;
    let (_, order) = structs::read(&mut reader, limits)?;
    let deletions = reader.rest();
    let deleting = !deletes::read(&mut reader, limits)?.is_empty();
    reader.end("an update")?;

    let mut pieces = Vec::new();
    let mut piece = Piece::new(update, &order.sections);
    let mut done = vec![0; order.sections.len()];
    for (number, clock) in order.steps {
        let starts = &order.sections[number].starts;
        let end = starts[..starts.len() - 1].partition_point(|start| start.0 < clock);
        while done[number] < end {
            let room = most.max(1) - piece.structs;
            let until = end.min(done[number] + room);
            piece.add(number, done[number]..until);
            done[number] = until;
            if piece.structs >= most {
                pieces.push(piece.take());
            }
        }
    }
    if piece.structs > 0 {
        pieces.push(piece.take());
    }
    if deleting {
        pieces.push([&[0], deletions].concat());
    }
    Ok(pieces)
}

struct Piece<'a> {
    update: &'a [u8],
    sections: &'a [Section],
    /// Which structs of which section, by their numbers.
    parts: BTreeMap<usize, Range<usize>>,
    structs: usize,
}

impl<'a> Piece<'a> {
    fn new(update: &'a [u8], sections: &'a [Section]) -> Self {
        Self {
            update,
            sections,
            parts: BTreeMap::new(),
            structs: 0,
        }
    }

    /// A section's next structs.
    fn add(&mut self, section: usize, structs: Range<usize>) {
        self.structs += structs.len();
        let part = self
            .parts
            .entry(section)
            .or_insert(structs.start..structs.start);
        part.end = structs.end;
    }

    /// Writes it, and begins anew.
    fn take(&mut self) -> Vec<u8> {
        let parts = std::mem::take(&mut self.parts);
        self.structs = 0;
        let mut out = Vec::new();
        number(&mut out, parts.len() as u64);
        for (section, structs) in parts {
            let Section { client, starts, .. } = &self.sections[section];
            let (clock, from) = starts[structs.start];
            let (_, to) = starts[structs.end];
            number(&mut out, structs.len() as u64);
            number(&mut out, *client);
            number(&mut out, clock);
            out.extend_from_slice(&self.update[from..to]);
        }
        number(&mut out, 0);
        out
    }
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
