//! What an update brings, what it deletes, and what has to be there before it.

/// One clock of a client: a character that was written once, by one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub client: u64,
    pub clock: u64,
}

/// Clocks of a client in a row, the last excluded; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    pub client: u64,
    pub from: u64,
    pub to: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// What it brings, gaps excluded: each client's runs in a row, ascending, with clocks between them.
    pub adds: Vec<Run>,
    /// What must be there before it can be integrated, and is not in it: for each client the highest clock, which is
    /// enough as nobody has a client's later clocks without the earlier ones. Sorted.
    pub needs: Vec<Id>,
    /// What it deletes: each client's runs in a row, ascending.
    pub deletes: Vec<Run>,
    /// Text that it brings, in UTF-16 code units.
    pub text_units: u64,
    /// The same in bytes.
    pub content_bytes: u64,
}

impl Outline {
    /// The first id that is neither known nor in the update, but has to be before it is integrated as a whole, its
    /// deletions included. `known` tells up to which clock a client's structs are there; it is asked twice at most for
    /// each client.
    ///
    /// None means that the update leaves nothing pending: the scanner has seen that its structs can be integrated one
    /// after another.
    pub fn missing(&self, known: impl Fn(u64) -> u64) -> Option<Id> {
        let need = self
            .needs
            .iter()
            .find(|need| known(need.client) <= need.clock);
        need.copied().or_else(|| self.missing_of_deletes(known))
    }

    /// Whether it brings anything that is not known.
    pub fn adds_beyond(&self, known: impl Fn(u64) -> u64) -> bool {
        self.adds.iter().any(|run| run.to > known(run.client))
    }

    /// Neither adds nor deletes: the answer of a client that has nothing new. (But one that has deleted before always
    /// tells all its deletions.)
    pub fn is_empty(&self) -> bool {
        self.adds.is_empty() && self.deletes.is_empty()
    }

    fn missing_of_deletes(&self, known: impl Fn(u64) -> u64) -> Option<Id> {
        let mut ends: Vec<_> = self.adds.iter().map(|run| (run.client, run.to)).collect();
        ends.sort_unstable();
        let clients = self.deletes.chunk_by(|one, next| one.client == next.client);
        clients.filter_map(<[Run]>::last).find_map(|last| {
            let client = last.client;
            let after = ends.partition_point(|&(other, _)| other <= client);
            let brought = ends[..after].last().filter(|end| end.0 == client);
            let there = known(client).max(brought.map_or(0, |end| end.1));
            (there < last.to).then_some(Id {
                client,
                clock: there,
            })
        })
    }
}
