//! What was found, in numbers, with the first few of each kind in words.

use std::collections::BTreeMap;
use std::fmt;

/// Findings of a kind told in words; the others are counted.
const TOLD: usize = 5;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// An acknowledged event that a viewer was neither told nor greeted with.
    Lost,
    /// An event that a viewer heard twice, or that has two places in an order.
    Doubled,
    /// A viewer heard events in another order than their seqs, or two viewers heard different ones at a seq.
    Disordered,
    /// Viewers of a room ended with different snapshots.
    Apart,
    /// Shown as present, with no socket.
    Ghost,
    /// Not shown as present, with a socket.
    Absent,
}

#[derive(Debug, Default)]
pub struct Verdict {
    pub rooms: u64,
    pub viewers: u64,
    pub acknowledged: u64,
    pub heard: u64,
    /// Greetings with a whole snapshot after the first, and returns that went on where they were.
    pub restarts: u64,
    pub resumes: u64,
    /// Acknowledged events that a store lost which may forget.
    pub forgotten: u64,
    faults: BTreeMap<Fault, (u64, Vec<String>)>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    pub fn count(&self, fault: Fault) -> u64 {
        self.faults.get(&fault).map_or(0, |(count, _)| *count)
    }

    pub(crate) fn find(&mut self, fault: Fault, words: impl FnOnce() -> String) {
        let (count, told) = self.faults.entry(fault).or_default();
        *count += 1;
        if told.len() < TOLD {
            told.push(words());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rooms, {} viewers, {} acknowledged, {} heard, {} resumed, {} restarted, {} forgotten by the store",
            self.rooms,
            self.viewers,
            self.acknowledged,
            self.heard,
            self.resumes,
            self.restarts,
            self.forgotten,
        )?;
        for (fault, (count, told)) in &self.faults {
            write!(f, "\n{fault:?}: {count}")?;
            for words in told {
                write!(f, "\n  {words}")?;
            }
        }
        Ok(())
    }
}
