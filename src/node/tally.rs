//! What this node counted since its start, for the totals of all nodes and all times.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::backplane::Counters;

#[derive(Default)]
pub struct Tally {
    opened: AtomicU64,
    routed: AtomicU64,
}

impl Tally {
    /// A socket came in.
    pub fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// So many events of this node's own sockets were on their way, which no other node counts.
    pub fn routed(&self, events: u64) {
        self.routed.fetch_add(events, Ordering::Relaxed);
    }

    pub fn by_now(&self) -> Counters {
        Counters {
            opened: self.opened.load(Ordering::Relaxed),
            routed: self.routed.load(Ordering::Relaxed),
        }
    }
}
