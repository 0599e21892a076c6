//! When senders send: all with the same period, each with a phase of its own.
//!
//! The schedule is fixed before it runs and does not wait for answers, so a slow server gets no relief. How late
//! the generator itself was is measured, because a late generator measures itself.

use std::time::Duration;

use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::generator::{Generator, Listener};
use crate::{Result, host, report};

/// Sends in a row before the sockets are read: a burst must not keep the generator from reading.
const UNREAD: u32 = 64;

/// How the senders' phases lie in the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Every sender has an instant of its own: messages come singly.
    Even,
    /// The senders of a room send in the same instant, the rooms one after another: messages bunch by room.
    Room,
    /// Everybody sends in the same instant.
    All,
}

/// Senders in the order of their instants, each at an offset into the period.
#[derive(Debug)]
pub struct Pace {
    period: u64,
    senders: Vec<(u64, usize)>,
    rounds: u64,
}

impl Pace {
    /// `rooms` lists each room's senders by socket number; each sends `rounds` times.
    pub fn new(rooms: &[Vec<usize>], phase: Phase, period: Duration, rounds: u64) -> Self {
        let period = period.as_nanos() as u64;
        let total: usize = rooms.iter().map(Vec::len).sum();
        let share = |index: usize, of: usize| period * index as u64 / of.max(1) as u64;
        let mut senders: Vec<(u64, usize)> = Vec::with_capacity(total);
        // Neighbours in time belong to different rooms when every sender has an instant of its own.
        for place in 0..rooms.iter().map(Vec::len).max().unwrap_or(0) {
            for (room, members) in rooms.iter().enumerate() {
                let Some(&socket) = members.get(place) else {
                    continue;
                };
                let offset = match phase {
                    Phase::Even => share(senders.len(), total),
                    Phase::Room => share(room, rooms.len()),
                    Phase::All => 0,
                };
                senders.push((offset, socket));
            }
        }
        senders.sort_by_key(|&(offset, _)| offset);
        Self {
            period,
            senders,
            rounds,
        }
    }

    /// Messages of the whole schedule.
    pub fn messages(&self) -> u64 {
        self.senders.len() as u64 * self.rounds
    }

    /// Runs the schedule: `fire` sends one message from the given socket. Returns how late each one was, in
    /// nanoseconds.
    pub fn run(
        &self,
        generator: &mut Generator,
        listener: &mut impl Listener,
        mut fire: impl FnMut(&mut Generator, usize) -> Result<()>,
    ) -> Result<Histogram<u64>> {
        let mut lateness = report::histogram();
        let start = host::now();
        let mut unread = 0;
        for round in 0..self.rounds {
            for &(offset, socket) in &self.senders {
                let due = start + round * self.period + offset;
                while host::now() < due || unread == UNREAD {
                    generator.turn(due, listener)?;
                    unread = 0;
                }
                unread += 1;
                lateness.saturating_record(host::now().saturating_sub(due));
                fire(generator, socket)?;
            }
        }
        let end = start + self.rounds * self.period;
        while host::now() < end {
            generator.turn(end, listener)?;
        }
        Ok(lateness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(phase: Phase) -> Vec<(u64, usize)> {
        let rooms = [vec![0, 1], vec![10, 11]];
        Pace::new(&rooms, phase, Duration::from_nanos(400), 3).senders
    }

    /// Guards what each phase promises.
    #[test]
    fn phases_spread_senders_as_they_say() {
        assert_eq!(
            offsets(Phase::Even),
            [(0, 0), (100, 10), (200, 1), (300, 11)]
        );
        assert_eq!(offsets(Phase::Room), [(0, 0), (0, 1), (200, 10), (200, 11)]);
        assert_eq!(offsets(Phase::All), [(0, 0), (0, 10), (0, 1), (0, 11)]);
    }

    /// Guards the expected count that deliveries are compared with.
    #[test]
    fn every_sender_sends_in_every_round() {
        let rooms = [vec![0, 1], vec![2]];
        assert_eq!(
            Pace::new(&rooms, Phase::Even, Duration::from_millis(50), 7).messages(),
            21
        );
    }
}
