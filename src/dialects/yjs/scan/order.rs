//! Whether an update's structs can be integrated one after another, and what that takes beside them.
//!
//! A struct waits for its client's struct before it and for its origins. Yjs and the library follow that from client to
//! client; structs that wait for each other would stay pending for ever, in every copy of the document.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Malformed;
use super::outline::{Id, Run};

/// One client's part of an update.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) client: u64,
    /// Where it begins in the frame.
    pub(super) at: usize,
    /// Which of the update's runs are its own.
    pub(super) runs: Range<usize>,
    /// The first clock of each struct, and the byte at which it begins; at last those after the section.
    pub(super) starts: Vec<(u64, usize)>,
    /// In the order of its structs.
    pub(super) waits: Vec<Wait>,
}

/// A struct, by its first clock, and an origin of it.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) of: u64,
    pub(super) on: Id,
}

/// How an update's structs can be integrated.
#[derive(Debug)]
pub(super) struct Order {
    /// Sorted by client.
    pub(super) sections: Vec<Section>,
    /// Sections, by their number, and the clock until which each can be integrated once those before are.
    pub(super) steps: Vec<(usize, u64)>,
    /// What has to be there before: for each client the highest clock, sorted.
    pub(super) needs: Vec<Id>,
}

/// A wait for something that the update itself brings, in the section of that number.
struct Edge {
    of: u64,
    section: usize,
    clock: u64,
}

/// Refuses clients that come twice, and structs that wait for each other.
pub(super) fn order(mut sections: Vec<Section>, adds: &[Run]) -> Result<Order, Malformed> {
    sections.sort_unstable_by_key(|section| (section.client, section.at));
    once(&sections)?;
    let mut needs = BTreeMap::new();
    let mut need = |id: Id| {
        let clock = needs.entry(id.client).or_insert(id.clock);
        *clock = id.clock.max(*clock);
    };
    let mut edges = Vec::with_capacity(sections.len());
    for (number, section) in sections.iter().enumerate() {
        // Its last run begins after all its gaps.
        if let Some(before) = adds[section.runs.clone()]
            .last()
            .and_then(|run| run.from.checked_sub(1))
        {
            need(Id {
                client: section.client,
                clock: before,
            });
        }
        let mut inside = Vec::new();
        for wait in &section.waits {
            match home(&sections, adds, wait.on) {
                // Older than the struct, so before it in the same section.
                Some(home) if home == number => {}
                Some(home) => inside.push(Edge {
                    of: wait.of,
                    section: home,
                    clock: wait.on.clock,
                }),
                None => need(wait.on),
            }
        }
        edges.push(inside);
    }
    let needs = needs
        .into_iter()
        .map(|(client, clock)| Id { client, clock })
        .collect();
    match steps(&edges) {
        Ok(steps) => Ok(Order {
            sections,
            steps,
            needs,
        }),
        Err(number) => {
            let Section { client, at, .. } = sections[number];
            Err(Malformed {
                at,
                what: format!(
                    "structs of the client {client} wait for structs that wait for them: an origin is older"
                ),
            })
        }
    }
}

fn once(sorted: &[Section]) -> Result<(), Malformed> {
    match sorted
        .array_windows()
        .find(|[one, next]| one.client == next.client)
    {
        None => Ok(()),
        Some([_, Section { client, at, .. }]) => Err(Malformed {
            at: *at,
            what: format!("the client {client} is in the update twice: once is right"),
        }),
    }
}

/// The section that brings that id.
fn home(sections: &[Section], adds: &[Run], id: Id) -> Option<usize> {
    let number = sections
        .binary_search_by_key(&id.client, |section| section.client)
        .ok()?;
    let runs = &adds[sections[number].runs.clone()];
    let after = runs.partition_point(|run| run.from <= id.clock);
    runs[..after]
        .last()
        .filter(|run| id.clock < run.to)
        .map(|_| number)
}

/// Goes from a section to the one that it waits for, until what it waits for is integrated, and back, as the library
/// does; each wait is gone for once. Or a section that waits for itself, by way of others.
fn steps(edges: &[Vec<Edge>]) -> Result<Vec<(usize, u64)>, usize> {
    let mut next = vec![0; edges.len()];
    let mut entered = vec![false; edges.len()];
    // Up to which clock a section is integrated: the struct that waits.
    let reached = |next: &[usize], section: usize| {
        edges[section]
            .get(next[section])
            .map_or(u64::MAX, |edge| edge.of)
    };
    // What waits for nothing, first.
    let mut steps: Vec<_> = (0..edges.len())
        .map(|number| (number, reached(&next, number)))
        .collect();
    for start in 0..edges.len() {
        let mut path = vec![start];
        entered[start] = true;
        while let Some((&section, before)) = path.split_last() {
            let goal = before
                .last()
                .and_then(|&waiting| edges[waiting].get(next[waiting]));
            let there = goal.is_some_and(|goal| reached(&next, section) > goal.clock);
            let edge = edges[section].get(next[section]).filter(|_| !there);
            if let Some(edge) = edge
                && reached(&next, edge.section) > edge.clock
            {
                next[section] += 1;
                continue;
            }
            steps.push((section, reached(&next, section)));
            match edge {
                Some(edge) if entered[edge.section] => return Err(section),
                Some(edge) => {
                    entered[edge.section] = true;
                    path.push(edge.section);
                }
                None => {
                    entered[section] = false;
                    path.pop();
                }
            }
        }
    }
    Ok(steps)
}
