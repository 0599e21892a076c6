//! How far a room has been delivered on this node, and what an event that comes next means.
//!
//! Pure: it decides, the worker acts.

use std::collections::VecDeque;

use crate::backplane::Envelope;
use crate::ids::{Epoch, EventId, Position};

/// Event ids remembered to tell a duplicate from a room whose order was lost.
const REMEMBERED: usize = 16;
/// Events held while a hole is filled; beyond it a snapshot is cheaper.
const MAX_HELD: usize = 1_024;
const MAX_HELD_BYTES: usize = 8 * 1024 * 1024;
/// Orders remembered that are no more.
const ENDED: usize = 2;

#[derive(Default)]
pub struct Track {
    /// The last durable event delivered; `None` until the first snapshot.
    known: Option<Position>,
    /// Seqs up to here were in a snapshot: that they are unknown means nothing.
    floor: u64,
    recent: VecDeque<EventId>,
    /// The orders before this one, and how far each went as far as is known: what of them is still on its way when
    /// a snapshot of the new one has come is in that snapshot.
    ended: VecDeque<Position>,
    held: Vec<Envelope>,
    held_bytes: usize,
    repair: Repair,
    /// A gap was reported that the repair under way may not see.
    again: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Repair {
    #[default]
    None,
    Filling,
    /// Everyone needs a snapshot.
    Restarting,
}

/// What to do about an event.
#[derive(Debug, PartialEq)]
pub enum Next {
    Deliver(Envelope),
    Duplicate,
    /// It waits here; something must be fetched, unless that is under way.
    Hold(Option<Need>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The log after this position.
    Log(Position),
    /// A snapshot for everyone in the room.
    Restart,
    /// The same, of a new order: this one gave a seq twice.
    Rotate(Epoch),
}

impl Track {
    /// The last durable event delivered.
    pub fn known(&self) -> Option<Position> {
        self.known
    }

    /// Which event that was, if it was delivered and not in a snapshot.
    pub fn last(&self) -> Option<EventId> {
        self.recent.back().copied()
    }

    pub fn restarting(&self) -> bool {
        self.repair == Repair::Restarting
    }

    /// Takes a durable event at `at`.
    pub fn take(&mut self, envelope: Envelope, at: Position) -> Next {
        let Some(known) = self.known else {
            return self.hold(envelope, None);
        };
        if at.epoch != known.epoch && self.has_ended(at) {
            return Next::Duplicate;
        }
        // What is known does not move while the log is read: a seq given twice shows then, too.
        let filling = self.repair == Repair::Filling;
        if self.repair == Repair::Restarting
            || filling && (at.epoch != known.epoch || at.seq > known.seq)
        {
            return self.hold(envelope, None);
        }
        if at.epoch != known.epoch {
            return self.hold(envelope, Some(Need::Restart));
        }
        if at.seq <= known.seq {
            if at.seq <= self.floor || self.recent.contains(&envelope.id) {
                return Next::Duplicate;
            }
            // A seq given twice: the backplane lost writes, and with them the order we know.
            return self.hold(envelope, Some(Need::Rotate(known.epoch)));
        }
        if at.seq > known.seq + 1 {
            return self.hold(envelope, Some(Need::Log(known)));
        }
        self.delivered(&envelope, at);
        Next::Deliver(envelope)
    }

    /// An event of the log: what is known already is passed over.
    pub fn take_logged(&mut self, envelope: Envelope) -> Option<Envelope> {
        let (known, at) = (self.known?, envelope.position?);
        if at.epoch != known.epoch || at.seq != known.seq + 1 {
            return None;
        }
        self.delivered(&envelope, at);
        Some(envelope)
    }

    /// Something was reported that the repair under way may not see.
    pub fn compare_again(&mut self) {
        self.again = true;
    }

    /// Begins to compare with the log; `None` when something is under way, to be followed by another
    /// comparison, see [`Track::again`].
    pub fn compare(&mut self) -> Option<Position> {
        match self.known {
            Some(known) if self.repair == Repair::None => {
                self.repair = Repair::Filling;
                Some(known)
            }
            _ => {
                self.again = true;
                None
            }
        }
    }

    /// Everyone needs a snapshot, taken from now on: it covers what is held, and what comes meanwhile is
    /// held anew.
    pub fn restart(&mut self) {
        self.repair = Repair::Restarting;
        self.take_held();
    }

    /// The log was read: go on with what was held, which it may have covered. `None` when what is held
    /// lies beyond a hole that the log does not know of.
    pub fn filled(&mut self) -> Option<Vec<Envelope>> {
        self.repair = Repair::None;
        let known = self.known?;
        self.floor = known.seq;
        let beyond = self
            .held
            .iter()
            .filter_map(|envelope| envelope.position)
            .filter(|at| at.epoch == known.epoch && at.seq > known.seq)
            .min_by_key(|at| at.seq);
        if beyond.is_some_and(|at| at.seq > known.seq + 1) {
            return None;
        }
        Some(self.take_held())
    }

    /// The log could not be read now: what was held is in it, and is read later.
    pub fn give_up(&mut self) {
        self.repair = Repair::None;
        self.take_held();
    }

    /// Whether to compare once more, because a gap was reported during the last repair.
    pub fn again(&mut self) -> bool {
        self.repair == Repair::None && self.known.is_some() && std::mem::take(&mut self.again)
    }

    /// A snapshot was taken at `at`. True when everyone must start from it, because the order they know
    /// is not the snapshot's.
    pub fn snapshot(&mut self, at: Position) -> bool {
        let former = self.known.filter(|known| known.epoch != at.epoch);
        if let Some(former) = former {
            self.ended(former, at);
        }
        let restart = former.is_some() || self.restarting();
        if self.known.is_none() || restart {
            self.known = Some(at);
            self.floor = at.seq;
            self.recent.clear();
        }
        if restart {
            self.repair = Repair::None;
        }
        restart
    }

    /// What was held, if nothing stands in its way any more.
    pub fn release(&mut self) -> Vec<Envelope> {
        if self.repair == Repair::None && self.known.is_some() {
            self.take_held()
        } else {
            Vec::new()
        }
    }

    /// The order of `former` gave way to that of `at`.
    fn ended(&mut self, former: Position, at: Position) {
        // A store that forgot its change of orders may have gone back to one.
        self.ended.retain(|order| order.epoch != at.epoch);
        if self.ended.len() == ENDED {
            self.ended.pop_front();
        }
        // Seqs go on from order to order.
        let seq = former.seq.max(at.seq);
        self.ended.push_back(Position { seq, ..former });
    }

    /// Whether everyone here went on from that order to another.
    pub fn has_left(&self, epoch: Epoch) -> bool {
        self.ended.iter().any(|order| order.epoch == epoch)
    }

    /// Further than it went the order lives again.
    fn has_ended(&self, at: Position) -> bool {
        let of_it = |order: &Position| order.epoch == at.epoch && at.seq <= order.seq;
        self.ended.iter().any(of_it)
    }

    fn hold(&mut self, envelope: Envelope, need: Option<Need>) -> Next {
        let mut need = need;
        self.held_bytes += envelope.event.len();
        if self.held.len() >= MAX_HELD || self.held_bytes > MAX_HELD_BYTES {
            self.take_held();
            self.held_bytes = envelope.event.len();
            // Before the first snapshot nobody has been told anything: the snapshot covers it.
            if self.known.is_some() && self.repair != Repair::Restarting {
                need = Some(Need::Restart);
            }
        }
        self.held.push(envelope);
        match need {
            Some(Need::Log(_)) => self.repair = Repair::Filling,
            Some(Need::Restart | Need::Rotate(_)) => self.repair = Repair::Restarting,
            None => {}
        }
        Next::Hold(need)
    }

    fn take_held(&mut self) -> Vec<Envelope> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }

    fn delivered(&mut self, envelope: &Envelope, at: Position) {
        self.known = Some(at);
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(envelope.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Audience;
    use crate::ids::{Epoch, Room, SessionId};
    use bytes::Bytes;

    fn at(epoch: u64, seq: u64) -> Position {
        Position {
            epoch: Epoch(epoch),
            seq,
        }
    }

    fn envelope(position: Position) -> Envelope {
        Envelope {
            room: Room::Session(SessionId::parse("s").unwrap()),
            position: Some(position),
            version: None,
            id: EventId::new(),
            at: 0,
            origin: None,
            audience: Audience::All,
            event: Bytes::new(),
        }
    }

    fn take(track: &mut Track, position: Position) -> Next {
        track.take(envelope(position), position)
    }

    fn begun() -> Track {
        let mut track = Track::default();
        assert!(!track.snapshot(at(1, 5)));
        track
    }

    #[test]
    fn the_next_is_delivered_and_what_the_snapshot_held_is_not() {
        let mut track = begun();
        assert_eq!(take(&mut track, at(1, 4)), Next::Duplicate);
        assert_eq!(take(&mut track, at(1, 5)), Next::Duplicate);
        assert!(matches!(take(&mut track, at(1, 6)), Next::Deliver(_)));
    }

    #[test]
    fn before_the_first_snapshot_everything_waits() {
        let mut track = Track::default();
        assert_eq!(take(&mut track, at(1, 6)), Next::Hold(None));
        assert!(track.release().is_empty());
        track.snapshot(at(1, 5));
        assert_eq!(track.release().len(), 1);
    }

    #[test]
    fn a_hole_is_asked_for_once_and_later_events_wait() {
        let mut track = begun();
        let need = Next::Hold(Some(Need::Log(at(1, 5))));
        assert_eq!(take(&mut track, at(1, 7)), need);
        assert_eq!(take(&mut track, at(1, 8)), Next::Hold(None));
        assert!(track.take_logged(envelope(at(1, 6))).is_some());
        assert!(track.take_logged(envelope(at(1, 6))).is_none());
        assert_eq!(track.filled().map(|held| held.len()), Some(2));
        assert!(matches!(take(&mut track, at(1, 7)), Next::Deliver(_)));
    }

    #[test]
    fn what_the_log_covered_is_a_duplicate_however_much_was_held() {
        let mut track = begun();
        for seq in 7..40 {
            take(&mut track, at(1, seq));
        }
        for seq in 6..40 {
            assert!(track.take_logged(envelope(at(1, seq))).is_some());
        }
        let held = track.filled().expect("the log reached what was held");
        assert_eq!(held.len(), 33);
        for envelope in held {
            let position = envelope.position.unwrap();
            assert_eq!(track.take(envelope, position), Next::Duplicate);
        }
    }

    #[test]
    fn a_hole_the_log_does_not_know_of_cannot_be_filled() {
        let mut track = begun();
        take(&mut track, at(1, 7));
        assert_eq!(track.filled(), None);
        track.restart();
        assert!(track.snapshot(at(1, 5)));
        assert_eq!(track.release(), []);
    }

    #[test]
    fn a_gap_reported_during_a_repair_is_looked_at_after_it() {
        let mut track = begun();
        take(&mut track, at(1, 7));
        assert_eq!(track.compare(), None);
        assert!(!track.again());
        track.give_up();
        assert!(track.again());
        assert!(!track.again());
        assert_eq!(track.compare(), Some(at(1, 5)));
    }

    #[test]
    fn a_known_event_is_a_duplicate_and_a_seq_given_twice_restarts_everyone() {
        let mut track = begun();
        let six = envelope(at(1, 6));
        assert!(matches!(
            track.take(six.clone(), at(1, 6)),
            Next::Deliver(_)
        ));
        assert_eq!(track.take(six, at(1, 6)), Next::Duplicate);
        assert_eq!(
            take(&mut track, at(1, 6)),
            Next::Hold(Some(Need::Rotate(Epoch(1))))
        );
        assert!(track.snapshot(at(1, 6)));
    }

    #[test]
    fn another_epoch_restarts_everyone() {
        let mut track = begun();
        assert_eq!(take(&mut track, at(2, 1)), Next::Hold(Some(Need::Restart)));
        assert!(track.snapshot(at(2, 1)));
        assert_eq!(track.known, Some(at(2, 1)));
        assert!(begun().snapshot(at(9, 1)));
    }

    #[test]
    fn what_is_still_on_its_way_of_an_ended_order_is_passed_over() {
        let mut track = begun();
        track.restart();
        assert_eq!(take(&mut track, at(1, 6)), Next::Hold(None));
        assert!(track.snapshot(at(2, 8)));
        assert_eq!(track.release().len(), 1);
        for seq in [6, 7, 8] {
            assert_eq!(take(&mut track, at(1, seq)), Next::Duplicate);
        }
        assert!(matches!(take(&mut track, at(2, 9)), Next::Deliver(_)));
        // Also while a hole is filled, and the order before the last.
        take(&mut track, at(2, 12));
        assert_eq!(take(&mut track, at(1, 7)), Next::Duplicate);
        assert!(track.snapshot(at(3, 12)));
        assert_eq!(take(&mut track, at(1, 7)), Next::Duplicate);
        assert_eq!(take(&mut track, at(2, 12)), Next::Duplicate);
    }

    #[test]
    fn an_ended_order_that_goes_on_restarts_everyone() {
        let mut track = begun();
        assert!(track.snapshot(at(2, 8)));
        assert_eq!(take(&mut track, at(1, 9)), Next::Hold(Some(Need::Restart)));
        assert!(track.snapshot(at(1, 9)));
        assert!(matches!(take(&mut track, at(1, 10)), Next::Deliver(_)));
        assert_eq!(take(&mut track, at(2, 8)), Next::Duplicate);
    }

    #[test]
    fn orders_remembered_are_bounded() {
        let mut track = begun();
        for epoch in 2..10 {
            assert!(track.snapshot(at(epoch, 5)));
        }
        assert_eq!(track.ended.len(), ENDED);
        assert_eq!(take(&mut track, at(8, 5)), Next::Duplicate);
        assert_eq!(take(&mut track, at(1, 5)), Next::Hold(Some(Need::Restart)));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut track = begun();
        let mut restarts = 0;
        for seq in 7..7 + MAX_HELD as u64 + 1 {
            let next = take(&mut track, at(1, seq));
            restarts += usize::from(next == Next::Hold(Some(Need::Restart)));
        }
        assert_eq!(restarts, 1);
        assert!(track.held.len() <= MAX_HELD);
    }
}
