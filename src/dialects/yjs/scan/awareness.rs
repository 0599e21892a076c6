//! Awareness: who is present and where, a JSON text for each client.

use std::collections::HashSet;

use serde::de::IgnoredAny;

use super::reader::Reader;
use super::{Limits, Malformed};

/// A client, a clock, a length and one character of JSON.
const LEAST: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    pub client: u64,
    pub clock: u64,
    /// JSON as JavaScript reads it; "null" when gone. It may escape half a surrogate pair, which no Rust string holds.
    pub state: &'a str,
}

pub(super) fn entries<'a>(
    reader: &mut Reader<'a>,
    limits: &Limits,
) -> Result<Vec<Entry<'a>>, Malformed> {
    let count = reader.count(LEAST, limits.entries, "entries of awareness")?;
    let mut entries = Vec::with_capacity(count);
    let mut clients = HashSet::with_capacity(count);
    for _ in 0..count {
        let at = reader.at();
        let entry = entry(reader, limits)?;
        if !clients.insert(entry.client) {
            let client = entry.client;
            return Err(Malformed {
                at,
                what: format!(
                    "the client {client} is in the awareness update twice: once is right"
                ),
            });
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry<'a>(reader: &mut Reader<'a>, limits: &Limits) -> Result<Entry<'a>, Malformed> {
    let client = reader.number("a client in awareness")?;
    // Counted by whoever speaks for it: the library does not see it.
    let clock = reader.number("a clock in awareness")?;
    let at = reader.at();
    let state = reader.string("a state in awareness")?;
    match fault(state, limits) {
        Some(what) => Err(Malformed { at, what }),
        None => Ok(Entry {
            client,
            clock,
            state,
        }),
    }
}

fn fault(state: &str, limits: &Limits) -> Option<String> {
    let (length, most) = (state.len(), limits.state_bytes);
    if length > most {
        return Some(format!(
            "a state of awareness has {length} bytes: at most {most}"
        ));
    }
    // The reader below takes as much memory as the text is deep, but whoever reads it next may take stack.
    if depth(state) > limits.depth {
        let most = limits.depth;
        return Some(format!(
            "a state of awareness nests too deep: at most {most} levels"
        ));
    }
    let error = serde_json::from_str::<IgnoredAny>(state).err()?;
    Some(format!("a state of awareness is no JSON: {error}"))
}

/// How deep brackets nest; what stands in strings does not count.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
