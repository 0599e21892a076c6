//! One room: its order as everybody saw it, and the judgement.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::viewer::{Stage, Viewer};
use crate::{Fault, Mark, Position, Promise, Verdict};

#[derive(Debug, Default)]
pub struct Room {
    acknowledged: HashMap<Mark, Vec<Position>>,
    forgotten: HashSet<(Mark, Position)>,
    viewers: BTreeMap<u64, Viewer>,
    /// Shown and not there; there and not shown.
    ghosts: BTreeSet<String>,
    absent: BTreeSet<String>,
}

impl Room {
    pub fn viewer(&mut self, viewer: u64) -> &mut Viewer {
        self.viewers.entry(viewer).or_default()
    }

    pub fn acknowledged(&mut self, mark: Mark, at: Position) {
        let places = self.acknowledged.entry(mark).or_default();
        if !places.contains(&at) {
            places.push(at);
        }
    }

    pub fn forgot(&mut self, mark: Mark, at: Position) {
        self.forgotten.insert((mark, at));
    }

    pub fn presence(&mut self, shown: &[String], there: &[String]) {
        let only = |these: &[String], others: &[String]| -> BTreeSet<String> {
            let missing = these.iter().filter(|name| !others.contains(name));
            missing.cloned().collect()
        };
        self.ghosts.extend(only(shown, there));
        self.absent.extend(only(there, shown));
    }

    pub fn judge(&self, name: &str, promise: Promise, orders_may_end: bool, verdict: &mut Verdict) {
        verdict.rooms += 1;
        verdict.acknowledged += self.acknowledged.len() as u64;
        for ghost in &self.ghosts {
            verdict.find(Fault::Ghost, || format!("{name}: {ghost}"));
        }
        for absent in &self.absent {
            verdict.find(Fault::Absent, || format!("{name}: {absent}"));
        }
        // What was never acknowledged may be forgotten by a store that keeps the rest.
        let of_orders = Promise {
            may_forget: orders_may_end,
            ..promise
        };
        self.judge_order(name, of_orders, verdict);
        for (id, viewer) in &self.viewers {
            verdict.viewers += 1;
            verdict.resumes += viewer.resumes;
            verdict.restarts += viewer.stages.len().saturating_sub(1) as u64;
            for (seq, mark) in &viewer.misheard {
                let words = || format!("{name}, viewer {id}: {mark} at {seq} before any greeting");
                verdict.find(Fault::Disordered, words);
            }
            self.judge_stages(name, *id, viewer, of_orders, verdict);
            self.judge_losses(name, *id, viewer, promise, verdict);
        }
        self.judge_end(name, verdict);
    }

    /// Every place has one event, every event one place.
    fn judge_order(&self, name: &str, promise: Promise, verdict: &mut Verdict) {
        let mut events = HashMap::<Position, Mark>::new();
        let mut places = HashMap::<Mark, Position>::new();
        let heard = self.viewers.values().flat_map(|viewer| {
            viewer.stages.iter().flat_map(|stage| {
                let epoch = stage.from.epoch;
                let at = move |(seq, mark): &(u64, Mark)| (Position { epoch, seq: *seq }, *mark);
                stage.heard.iter().map(at)
            })
        });
        let acknowledged = self
            .acknowledged
            .iter()
            .flat_map(|(mark, places)| places.iter().map(|at| (*at, *mark)))
            // Its place was free again.
            .filter(|(at, mark)| !promise.may_forget || !self.forgotten.contains(&(*mark, *at)));
        for (at, mark) in acknowledged.chain(heard) {
            match events.entry(at) {
                Entry::Vacant(free) => {
                    free.insert(mark);
                }
                Entry::Occupied(known)
                    if *known.get() != mark && !self.is_over(at.epoch, promise) =>
                {
                    let known = known.get();
                    let words = || format!("{name}: at {at:?} both {known} and {mark}");
                    verdict.find(Fault::Disordered, words);
                }
                Entry::Occupied(_) => {}
            }
            let first = *places.entry(mark).or_insert(at);
            // Who repeats a command that the store forgot gets another place in another order.
            let again =
                promise.may_forget && first.epoch != at.epoch || self.is_over(at.epoch, promise);
            if first != at && !again {
                let words = || format!("{name}: {mark} is both at {first:?} and at {at:?}");
                verdict.find(Fault::Doubled, words);
            }
        }
    }

    fn judge_losses(
        &self,
        name: &str,
        id: u64,
        viewer: &Viewer,
        promise: Promise,
        verdict: &mut Verdict,
    ) {
        let known: HashSet<Mark> = viewer
            .stages
            .iter()
            .flat_map(|stage| stage.history.iter().copied())
            .chain(
                viewer
                    .stages
                    .iter()
                    .flat_map(|stage| stage.heard.iter().map(|(_, mark)| *mark)),
            )
            .collect();
        for (mark, places) in &self.acknowledged {
            let owed = places.iter().filter(|at| viewer.is_owed(**at));
            for at in owed {
                if known.contains(mark) || is_before_history(viewer, *at, promise) {
                    continue;
                }
                // Who went before the end of an order was seen may have been told of another life of it.
                let forgotten = self.forgotten.contains(&(*mark, *at))
                    || viewer.is_gone && self.is_over(at.epoch, promise);
                if promise.may_forget && (forgotten || is_forgotten(viewer, *at)) {
                    verdict.forgotten += 1;
                    continue;
                }
                let words = || format!("{name}, viewer {id}: {mark} at {at:?}");
                verdict.find(Fault::Lost, words);
            }
        }
    }

    /// Within a stage the order only goes up, and nothing comes twice; nor does it in a later stage.
    fn judge_stages(
        &self,
        name: &str,
        id: u64,
        viewer: &Viewer,
        promise: Promise,
        verdict: &mut Verdict,
    ) {
        let mut seen = HashMap::new();
        for stage in &viewer.stages {
            let epoch = stage.from.epoch;
            let mut last = stage.from.seq;
            for (seq, mark) in &stage.heard {
                verdict.heard += 1;
                // What the store forgot is said again.
                let again = seen.insert(*mark, epoch).is_some_and(|before| {
                    before == epoch && !self.is_over(epoch, promise)
                        || before != epoch && !promise.may_forget
                });
                if again {
                    let words = || format!("{name}, viewer {id}: {mark} again, at {seq}");
                    verdict.find(Fault::Doubled, words);
                } else if *seq <= last {
                    let words = || format!("{name}, viewer {id}: {mark} at {seq} after {last}");
                    verdict.find(Fault::Disordered, words);
                }
                last = last.max(*seq);
            }
        }
    }

    /// The store gave up this order, and everyone who is there goes on from a snapshot of another. What it forgot
    /// at the end of it may have been said again, and its places given again, before anybody noticed.
    fn is_over(&self, epoch: u64, promise: Promise) -> bool {
        let there = self.viewers.values().filter(|viewer| !viewer.is_gone);
        let mut last = there.filter_map(|viewer| viewer.stages.last());
        promise.may_forget && last.all(|stage| stage.from.epoch != epoch)
    }

    /// All who are there end with the same.
    fn judge_end(&self, name: &str, verdict: &mut Verdict) {
        let mut ends = self.viewers.iter().filter_map(|(id, viewer)| {
            let settled = viewer.settled.as_ref()?;
            Some((id, settled))
        });
        let Some((first, end)) = ends.next() else {
            return;
        };
        for (id, other) in ends {
            if other.0 != end.0 || other.1.is_some() && end.1.is_some() && other.1 != end.1 {
                let words = || format!("{name}: viewer {first} ends at {end:?}, {id} at {other:?}");
                verdict.find(Fault::Apart, words);
            }
        }
    }
}

/// A snapshot covers it, and its history was too full to show it.
fn is_before_history(viewer: &Viewer, at: Position, promise: Promise) -> bool {
    viewer.stages.iter().any(|stage| {
        let covered = stage.from.epoch != at.epoch || stage.from.seq >= at.seq;
        covered && stage.history.len() >= promise.history
    })
}

/// It was in an order that ended, and no later one knows of it.
fn is_forgotten(viewer: &Viewer, at: Position) -> bool {
    let last: Option<&Stage> = viewer.stages.last();
    last.is_some_and(|stage| stage.from.epoch != at.epoch)
}
