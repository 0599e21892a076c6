//! The structs of an update, each held against what Yjs writes for one plain text.

use super::order::{self, Order, Section, Wait};
use super::outline::{Id, Outline, Run};
use super::reader::{self, Reader};
use super::{Limits, Malformed, ROOT};

/// A struct takes a byte of flags and one of length at least.
const LEAST_STRUCT: usize = 2;
/// A count, a client, a clock and a struct.
const LEAST_CLIENT: usize = 3 + LEAST_STRUCT;

/// The kinds of struct: the low five bits of its first byte.
const KIND: u8 = 0b0001_1111;
const DELETED: u8 = 1;
const STRING: u8 = 4;
const SKIP: u8 = 10;
/// What else the first byte says.
const HAS_ORIGIN: u8 = 0b1000_0000;
const HAS_RIGHT_ORIGIN: u8 = 0b0100_0000;
const HAS_KEY: u8 = 0b0010_0000;

const ALONE: &str = "only edits of getText(\"code\") are taken";

/// The structs of all clients: what they add, and in which order.
pub(super) fn read(
    reader: &mut Reader<'_>,
    limits: &Limits,
) -> Result<(Outline, Order), Malformed> {
    let mut outline = Outline::default();
    let mut structs = 0;
    let clients = reader.count(LEAST_CLIENT, limits.clients, "clients in an update")?;
    let mut sections = Vec::with_capacity(clients);
    for _ in 0..clients {
        let most = limits.structs - structs;
        let count = reader.count(LEAST_STRUCT, most, "structs of a client")?;
        if count == 0 {
            return Err(reader.wrong("a client without structs: it is left out when it has none"));
        }
        structs += count;
        sections.push(section(reader, count, &mut outline)?);
    }
    let order = order::order(sections, &outline.adds)?;
    Ok((outline, order))
}

/// The structs of one client, of which each begins where the one before ends.
fn section(
    reader: &mut Reader<'_>,
    count: usize,
    outline: &mut Outline,
) -> Result<Section, Malformed> {
    let at = reader.at();
    let client = reader.number("a client in an update")?;
    let mut clock = reader.clock("a client's first clock")?;
    let first = outline.adds.len();
    let mut waits = Vec::new();
    let mut starts = Vec::with_capacity(count + 1);
    for _ in 0..count {
        let from = clock;
        let at = reader.at();
        starts.push((from, at));
        let info = reader.byte("a struct")?;
        if info == SKIP {
            clock = reader.until(from, "a gap")?;
            continue;
        }
        plain(info, at)?;
        clock = item(reader, info, Id { client, clock }, outline, &mut waits)?;
        match outline.adds[first..].last_mut() {
            Some(run) if run.to == from => run.to = clock,
            _ => outline.adds.push(Run {
                client,
                from,
                to: clock,
            }),
        }
    }
    starts.push((clock, reader.at()));
    Ok(Section {
        client,
        at,
        runs: first..outline.adds.len(),
        starts,
        waits,
    })
}

/// Whether a struct of those flags is a part of a plain text.
fn plain(info: u8, at: usize) -> Result<(), Malformed> {
    let what = match info & KIND {
        DELETED | STRING if info & HAS_KEY == 0 => return Ok(()),
        _ if info & HAS_KEY != 0 => "a map's entry".to_owned(),
        0 => "collected content".to_owned(),
        2 => "a JSON value".to_owned(),
        3 => "binary content".to_owned(),
        5 => "an embedded object".to_owned(),
        6 => "formatting".to_owned(),
        7 => "a nested type".to_owned(),
        8 => "a value".to_owned(),
        9 => "a document".to_owned(),
        SKIP => "a gap with origins".to_owned(),
        kind => format!("a struct of the unknown kind {kind}"),
    };
    Err(Malformed {
        at,
        what: format!("{what} in a plain text: {ALONE}"),
    })
}

/// One struct that is no gap. Gives the clock after it.
fn item(
    reader: &mut Reader<'_>,
    info: u8,
    id: Id,
    outline: &mut Outline,
    waits: &mut Vec<Wait>,
) -> Result<u64, Malformed> {
    let at = reader.at();
    let left = (info & HAS_ORIGIN != 0)
        .then(|| origin(reader, id))
        .transpose()?;
    let right = (info & HAS_RIGHT_ORIGIN != 0)
        .then(|| origin(reader, id))
        .transpose()?;
    match (left, right) {
        (None, None) => parent(reader)?,
        // Clients and the library would each put it on another side.
        (Some(one), Some(other)) if one == other => {
            let what = "a struct between an origin and itself: it stands between two".to_owned();
            return Err(Malformed { at, what });
        }
        _ => {}
    }
    waits.extend(
        [left, right]
            .into_iter()
            .flatten()
            .map(|on| Wait { of: id.clock, on }),
    );
    if info & KIND == DELETED {
        return reader.until(id.clock, "deleted text");
    }
    let before = reader.at();
    let text = reader.string("text")?;
    let units = text.encode_utf16().count() as u64;
    outline.text_units += units;
    outline.content_bytes += text.len() as u64;
    reader::after(before, id.clock, units, "text")
}

/// What stood at one side of a struct when it was written: older than the struct, whoever wrote it.
fn origin(reader: &mut Reader<'_>, of: Id) -> Result<Id, Malformed> {
    let at = reader.at();
    let client = reader.number("the client of an origin")?;
    let clock = reader.clock("the clock of an origin")?;
    if client == of.client && clock >= of.clock {
        let Id { client, clock: own } = of;
        return Err(Malformed {
            at,
            what: format!(
                "the struct {own} of the client {client} has the origin {clock}: an origin is older"
            ),
        });
    }
    Ok(Id { client, clock })
}

fn parent(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let at = reader.at();
    let what = match reader.byte("a struct's parent")? {
        1 if reader.string("the name of a root")? == ROOT => return Ok(()),
        1 => format!("a root of another name: {ALONE}"),
        0 => format!("the content of a nested type: {ALONE}"),
        kind => format!("a struct's parent is of the kind {kind}: 1 is a root, 0 a nested type"),
    };
    Err(Malformed { at, what })
}
