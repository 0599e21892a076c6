//! State vectors: how much of each client's writing somebody has.

use super::reader::Reader;
use super::{Limits, Malformed};

/// A client and a clock take a byte each at least.
const LEAST: usize = 2;

/// For each client, the clock up to which its structs are there. Sorted, so that no choice of clients makes it slow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vector(Vec<(u64, u64)>);

impl Vector {
    /// The client's clock; 0 when nothing of it is there.
    pub fn get(&self, client: u64) -> u64 {
        let place = self.0.binary_search_by_key(&client, |&(client, _)| client);
        place.map_or(0, |place| self.0[place].1)
    }

    /// Nothing at all is there: a new document.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Clients and clocks, sorted by client.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }

    pub(super) fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, Malformed> {
        let at = reader.at();
        let count = reader.count(LEAST, limits.clients, "clients in a state vector")?;
        let mut clocks = Vec::with_capacity(count);
        for _ in 0..count {
            let client = reader.number("a client in a state vector")?;
            clocks.push((client, reader.clock("a clock in a state vector")?));
        }
        clocks.sort_unstable();
        match clocks.array_windows().find(|[one, next]| one.0 == next.0) {
            Some(&[(client, _), _]) => Err(Malformed {
                at,
                what: format!("the client {client} is in the state vector twice: once is right"),
            }),
            None => Ok(Self(clocks)),
        }
    }
}
