//! What happened to people, and when: for times to recover, and for faults that are nobody's place in an order.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Something that happened to one viewer.
#[derive(Debug, Clone)]
pub struct Entry {
    pub at: Instant,
    pub viewer: u64,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Greeted, and with what it missed instead of everything.
    Here { resumed: bool },
    /// The socket ended: with the node's close code, or 1006 when it was lost.
    Gone(u16),
    /// A handshake was answered with this status.
    Refused(u16),
    /// Nobody was there, or nobody answered.
    Unreachable,
    /// A command was acknowledged, so long after it was first sent.
    Acknowledged { took: Duration, repeated: bool },
    /// Something no node should do to who behaves.
    Complaint(String),
}

#[derive(Debug, Default)]
pub struct Journal(Mutex<Vec<Entry>>);

impl Journal {
    pub(super) fn write(&self, viewer: u64, kind: Kind) {
        let at = Instant::now();
        self.0.lock().push(Entry { at, viewer, kind });
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.0.lock().clone()
    }

    pub fn complaints(&self) -> Vec<String> {
        let entries = self.0.lock();
        let complaints = entries.iter().filter_map(|entry| match &entry.kind {
            Kind::Complaint(words) => Some(format!("viewer {}: {words}", entry.viewer)),
            _ => None,
        });
        complaints.collect()
    }
}
