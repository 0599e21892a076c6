//! What an update deletes: for each client, runs of clocks.

use super::outline::Run;
use super::reader::Reader;
use super::{Limits, Malformed};

/// A clock and a length.
const LEAST_RUN: usize = 2;
/// A client, a count and a run.
const LEAST_CLIENT: usize = 2 + LEAST_RUN;

pub(super) fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Vec<Run>, Malformed> {
    let clients = reader.count(LEAST_CLIENT, limits.clients, "clients with deletions")?;
    let mut deletes = Vec::new();
    let mut seen = Vec::with_capacity(clients);
    for _ in 0..clients {
        let at = reader.at();
        let client = reader.number("a client with deletions")?;
        seen.push((client, at));
        let most = limits.deletes - deletes.len();
        let count = reader.count(LEAST_RUN, most, "deletions of a client")?;
        if count == 0 {
            return Err(reader.wrong("a client without deletions: it is left out when it has none"));
        }
        runs(reader, client, count, &mut deletes)?;
    }
    seen.sort_unstable();
    match seen.array_windows().find(|[one, next]| one.0 == next.0) {
        None => Ok(deletes),
        Some(&[_, (client, at)]) => Err(Malformed {
            at,
            what: format!("the client {client} deletes twice in the update: once is right"),
        }),
    }
}

/// The library takes it for granted that a client's runs ascend and do not overlap.
fn runs(
    reader: &mut Reader<'_>,
    client: u64,
    count: usize,
    deletes: &mut Vec<Run>,
) -> Result<(), Malformed> {
    let mut last = 0;
    for _ in 0..count {
        let at = reader.at();
        let from = reader.clock("a deletion")?;
        let to = reader.until(from, "a deletion")?;
        if from < last {
            return Err(Malformed {
                at,
                what: format!(
                    "a deletion from the clock {from} after one until {last}: they ascend"
                ),
            });
        }
        deletes.push(Run { client, from, to });
        last = to;
    }
    Ok(())
}
