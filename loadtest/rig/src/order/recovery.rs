//! How long a fault was felt, and how soon people are answered when there is none: read from their journal.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use checker::person::{Entry, Kind};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::faults::{Felt, What};
use crate::report::{Table, histogram, number, quantile_us};

/// After a fault is over, answers are counted again when this has passed.
const AFTERMATH: Duration = Duration::from_secs(5);

/// Seconds, from a fault's begin to what they are called after.
#[derive(Debug, Serialize)]
pub struct Recovery {
    fault: &'static str,
    second: u64,
    /// What had ended was there again.
    over_s: f64,
    /// Who had to come back, or rooms that had to be written in again; and those that did.
    of: u64,
    back: u64,
    first_s: f64,
    median_s: f64,
    last_s: f64,
}

/// People who lost their node until they are with another; rooms until a commit is acknowledged after Redis was
/// gone.
pub fn of(felt: &Felt, journal: &[Entry], room_of: impl Fn(u64) -> u64, rooms: u64) -> Recovery {
    let after = journal.iter().filter(|entry| entry.at > felt.began);
    let (of, times) = match felt.what {
        What::Kill | What::Stop => {
            let people: HashSet<u64> = felt.people.iter().copied().collect();
            let back = after.filter(|entry| {
                matches!(entry.kind, Kind::Here { .. }) && people.contains(&entry.viewer)
            });
            (felt.people.len() as u64, firsts(back, felt.began, |it| it))
        }
        What::Redis => {
            let answered = after.filter(|entry| {
                // What was acknowledged when Redis was already ending is no sign of its return.
                entry.at > felt.over - RETURN && matches!(entry.kind, Kind::Acknowledged { .. })
            });
            (rooms, firsts(answered, felt.began, room_of))
        }
    };
    let at = |share: f64| {
        let place = (times.len().saturating_sub(1)) as f64 * share;
        times.get(place as usize).copied().unwrap_or(f64::NAN)
    };
    Recovery {
        fault: felt.what.words(),
        second: felt.second,
        over_s: (felt.over - felt.began).as_secs_f64(),
        of,
        back: times.len() as u64,
        first_s: at(0.0),
        median_s: at(0.5),
        last_s: at(1.0),
    }
}

/// Redis may answer nodes sooner than the rig notices that it is there.
const RETURN: Duration = Duration::from_secs(1);

/// Seconds from the begin to the first entry of each, sorted.
fn firsts<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    began: Instant,
    whose: impl Fn(u64) -> u64,
) -> Vec<f64> {
    let mut first = HashMap::new();
    for entry in entries {
        let took = (entry.at - began).as_secs_f64();
        let known = first.entry(whose(entry.viewer)).or_insert(took);
        *known = known.min(took);
    }
    let mut times: Vec<f64> = first.into_values().collect();
    times.sort_by(f64::total_cmp);
    times
}

pub fn table(recovery: &[Recovery]) -> Option<Table> {
    let mut table = Table::new(&[
        "recovery", "at s", "over s", "of", "back", "first s", "median s", "last s",
    ]);
    for fault in recovery {
        table.row([
            fault.fault.into(),
            fault.second.to_string(),
            number(fault.over_s, 2),
            fault.of.to_string(),
            fault.back.to_string(),
            number(fault.first_s, 2),
            number(fault.median_s, 2),
            number(fault.last_s, 2),
        ]);
    }
    (!recovery.is_empty()).then_some(table)
}

/// From a write to its answer.
#[derive(Debug, Serialize)]
pub struct Answers {
    count: u64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    /// Commands that had to be said more than once, faults included.
    repeated: u64,
}

impl Answers {
    pub fn outside(felt: &[Felt], journal: &[Entry]) -> Self {
        let mut times: Histogram<u64> = histogram();
        let mut again = 0;
        for entry in journal {
            let Kind::Acknowledged { took, repeated } = entry.kind else {
                continue;
            };
            again += u64::from(repeated);
            let within = |felt: &&Felt| felt.began < entry.at && entry.at < felt.over + AFTERMATH;
            if felt.iter().find(within).is_none() {
                times.saturating_record(took.as_nanos() as u64);
            }
        }
        Self {
            count: times.len(),
            p50_us: quantile_us(&times, 0.5),
            p99_us: quantile_us(&times, 0.99),
            p999_us: quantile_us(&times, 0.999),
            max_us: quantile_us(&times, 1.0),
            repeated: again,
        }
    }

    pub fn table(&self) -> Table {
        let mut table = Table::new(&[
            "written to acknowledged",
            "count",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "most ms",
            "said again",
        ]);
        table.row([
            "outside faults".into(),
            self.count.to_string(),
            number(self.p50_us / 1e3, 2),
            number(self.p99_us / 1e3, 2),
            number(self.p999_us / 1e3, 2),
            number(self.max_us / 1e3, 2),
            self.repeated.to_string(),
        ]);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the figure of a fault: the first return of each who was hit, of nobody else, and not an earlier one.
    #[test]
    fn recovery_is_the_first_return_of_each_who_was_hit() {
        let begin = Instant::now();
        let here = |second: u64, viewer: u64| Entry {
            at: begin + Duration::from_secs(second),
            viewer,
            kind: Kind::Here { resumed: true },
        };
        let journal = [
            here(1, 1),
            here(12, 1),
            here(15, 2),
            here(20, 1),
            here(30, 3),
        ];
        let felt = Felt {
            what: What::Kill,
            second: 10,
            began: begin + Duration::from_secs(10),
            over: begin + Duration::from_secs(16),
            people: vec![1, 2, 4],
        };
        let recovery = of(&felt, &journal, |viewer| viewer, 9);
        assert_eq!((recovery.of, recovery.back), (3, 2));
        assert_eq!((recovery.first_s, recovery.last_s), (2.0, 5.0));
    }
}
