//! How far this node has told the notifications of the lobby's order, and what one that comes next means.
//!
//! Pure: it decides, the node acts. Nobody is shown a snapshot of the lobby: where its order cannot be followed any
//! more, what happened in between is given up, and the node goes on from where the order is.

use std::collections::VecDeque;

use crate::ids::{EventId, Position};

/// Events told that are known again.
const REMEMBERED: usize = 1_024;

pub(super) struct Track {
    /// The last one told, or passed over; `None`: there was no lobby, all that comes is new.
    known: Option<Position>,
    /// Up to here the log was read: what of it is still on its way was told, though nobody remembers it.
    floor: u64,
    told: VecDeque<EventId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Tell,
    /// The same; but the order is another than the one known, and what came before is not known.
    TellAnew,
    Known,
    /// Something is missing: the log after this.
    Behind(Position),
}

/// What is to be done about where the order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Same,
    /// The log after this.
    Behind(Position),
    /// The order is another, or lost its end.
    Anew,
}

impl Track {
    /// Follows the order from here on.
    pub fn from(at: Option<Position>) -> Self {
        Self {
            known: at,
            floor: 0,
            told: VecDeque::new(),
        }
    }

    /// Goes on from another place. What is still on its way to here is new all the same.
    pub fn restart(&mut self, at: Option<Position>) {
        self.known = at;
        self.floor = 0;
    }

    /// The log was read, and told.
    pub fn caught_up(&mut self) {
        self.floor = self.known.map_or(0, |known| known.seq);
    }

    /// One that was heard.
    pub fn take(&mut self, id: EventId, at: Position) -> Next {
        if self.told.contains(&id) {
            return Next::Known;
        }
        let next = match self.known {
            None if at.seq > 1 => return Next::Behind(begin(at)),
            None => Next::Tell,
            Some(known) if known.epoch != at.epoch => Next::TellAnew,
            Some(known) if at.seq > known.seq + 1 => return Next::Behind(known),
            Some(known) if at.seq == known.seq + 1 => Next::Tell,
            Some(_) if at.seq <= self.floor => return Next::Known,
            // A seq given twice: the store lost writes.
            Some(_) => Next::TellAnew,
        };
        self.go_to(id, at);
        next
    }

    /// One of the log; false when it was told.
    pub fn take_logged(&mut self, id: EventId, at: Position) -> bool {
        let is_new = !self.told.contains(&id);
        if is_new {
            self.go_to(id, at);
        }
        is_new
    }

    pub fn look(&mut self, found: Option<Position>) -> Look {
        match (self.known, found) {
            (None, None) => Look::Same,
            (None, Some(at)) if at.seq == 0 => Look::Same,
            (None, Some(at)) => Look::Behind(begin(at)),
            (Some(known), Some(at)) if known == at => Look::Same,
            (Some(known), Some(at)) if known.epoch == at.epoch && known.seq < at.seq => {
                Look::Behind(known)
            }
            (Some(_), _) => Look::Anew,
        }
    }

    fn go_to(&mut self, id: EventId, at: Position) {
        if self.known.is_none_or(|known| known.epoch != at.epoch) {
            self.floor = 0;
        }
        self.known = Some(at);
        if self.told.len() == REMEMBERED {
            self.told.pop_front();
        }
        self.told.push_back(id);
    }
}

/// Before the first of its order.
fn begin(at: Position) -> Position {
    Position { seq: 0, ..at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;

    fn at(epoch: u64, seq: u64) -> Position {
        Position {
            epoch: Epoch(epoch),
            seq,
        }
    }

    fn take(track: &mut Track, place: Position) -> Next {
        track.take(EventId::new(), place)
    }

    /// Guards notifications that nobody heard because another came first, and those that come twice.
    #[test]
    fn what_follows_is_told_once_and_a_hole_is_seen() {
        let mut track = Track::from(Some(at(1, 7)));
        let id = EventId::new();
        assert_eq!(track.take(id, at(1, 8)), Next::Tell);
        assert_eq!(track.take(id, at(1, 8)), Next::Known);
        assert_eq!(take(&mut track, at(1, 11)), Next::Behind(at(1, 8)));
        let ids = [9, 10, 11].map(|seq| (EventId::new(), at(1, seq)));
        for (id, place) in ids {
            assert!(track.take_logged(id, place));
        }
        for (id, place) in ids {
            assert_eq!(track.take(id, place), Next::Known);
            assert!(!track.take_logged(id, place));
        }
        track.caught_up();
        assert_eq!(take(&mut track, at(1, 9)), Next::Known, "it was in the log");
        assert_eq!(track.look(Some(at(1, 11))), Look::Same);
        assert_eq!(track.look(Some(at(1, 12))), Look::Behind(at(1, 11)));
    }

    /// Guards the first notification of all.
    #[test]
    fn where_there_was_no_lobby_everything_is_new() {
        let mut track = Track::from(None);
        assert_eq!(track.look(None), Look::Same);
        assert_eq!(track.look(Some(at(1, 0))), Look::Same);
        assert_eq!(track.look(Some(at(1, 2))), Look::Behind(at(1, 0)));
        assert_eq!(take(&mut track, at(1, 3)), Next::Behind(at(1, 0)));
        assert_eq!(take(&mut track, at(1, 1)), Next::Tell);
        assert_eq!(take(&mut track, at(1, 2)), Next::Tell);
    }

    /// Guards against silence after a store lost its data, or the end of it.
    #[test]
    fn an_order_that_was_lost_is_followed_anew() {
        let mut track = Track::from(Some(at(1, 7)));
        assert_eq!(take(&mut track, at(2, 3)), Next::TellAnew);
        assert_eq!(take(&mut track, at(2, 4)), Next::Tell);
        assert_eq!(take(&mut track, at(2, 4)), Next::TellAnew, "given twice");
        assert_eq!(take(&mut track, at(2, 5)), Next::Tell);
        for found in [None, Some(at(3, 9)), Some(at(2, 4))] {
            assert_eq!(track.look(found), Look::Anew);
        }
        track.restart(Some(at(3, 9)));
        assert_eq!(track.look(Some(at(3, 9))), Look::Same);
        assert_eq!(take(&mut track, at(3, 8)), Next::TellAnew, "on its way");
        assert_eq!(take(&mut track, at(3, 9)), Next::Tell);
        assert_eq!(take(&mut track, at(3, 10)), Next::Tell);
        track.restart(None);
        assert_eq!(take(&mut track, at(4, 1)), Next::Tell);
    }
}
