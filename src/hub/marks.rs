//! How far users have been told, across their sockets: noted as frames are written, taken by whoever writes it down.
//!
//! Knows no store: a place in an order that has ended is forgotten by [`Marks::begin`].

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::ids::{Epoch, Position, UserId};

#[derive(Default)]
pub struct Marks {
    users: Mutex<HashMap<UserId, Mark>>,
    moved: Notify,
}

struct Mark {
    epoch: Epoch,
    told: u64,
    /// Moved since it was last taken.
    moved: bool,
}

impl Marks {
    /// The user is told of this order from now on. What was noted of another means nothing in it.
    pub fn begin(&self, user: &UserId, epoch: Epoch) {
        let mut users = self.users.lock();
        if users.get(user).is_none_or(|mark| mark.epoch != epoch) {
            let mark = Mark {
                epoch,
                told: 0,
                moved: false,
            };
            users.insert(user.clone(), mark);
        }
    }

    /// The user has no socket here any more that is told anything.
    pub fn end(&self, user: &UserId) {
        let mut users = self.users.lock();
        // What was told last is still to be written down.
        if users.get(user).is_some_and(|mark| !mark.moved) {
            users.remove(user);
        }
    }

    /// Everything up to this seq has been written to one of the user's sockets.
    pub fn note(&self, user: &UserId, seq: u64) {
        if seq == 0 {
            return;
        }
        let mut users = self.users.lock();
        let Some(mark) = users.get_mut(user).filter(|mark| mark.told < seq) else {
            return;
        };
        mark.told = seq;
        let first = !std::mem::replace(&mut mark.moved, true);
        drop(users);
        if first {
            self.moved.notify_one();
        }
    }

    /// Returns when a mark has moved, or had.
    pub async fn moved(&self) {
        self.moved.notified().await;
    }

    /// The marks that moved since they were last taken.
    pub fn take(&self) -> Vec<(UserId, Position)> {
        let mut users = self.users.lock();
        let moved = users.iter_mut().filter(|(_, mark)| mark.moved);
        let taken = moved.map(|(user, mark)| {
            mark.moved = false;
            let at = Position {
                epoch: mark.epoch,
                seq: mark.told,
            };
            (user.clone(), at)
        });
        taken.collect()
    }

    /// A mark that could not be written down: it counts as moved again, unless it is of a former order.
    pub fn give_back(&self, user: &UserId, at: Position) {
        let mut users = self.users.lock();
        let mark = users.entry(user.clone()).or_insert(Mark {
            epoch: at.epoch,
            told: at.seq,
            moved: true,
        });
        if mark.epoch == at.epoch {
            mark.moved = true;
            drop(users);
            self.moved.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserId {
        UserId::parse("ann").unwrap()
    }

    fn at(epoch: u64, seq: u64) -> Position {
        Position {
            epoch: Epoch(epoch),
            seq,
        }
    }

    /// Guards letters that nobody was told: a mark of an order that ended would cover them.
    #[test]
    fn marks_go_forward_within_one_order() {
        let marks = Marks::default();
        marks.note(&user(), 3);
        assert_eq!(marks.take(), []);
        marks.begin(&user(), Epoch(1));
        marks.note(&user(), 5);
        marks.note(&user(), 4);
        marks.begin(&user(), Epoch(1));
        assert_eq!(marks.take(), [(user(), at(1, 5))]);
        assert_eq!(marks.take(), []);
        marks.note(&user(), 6);
        marks.begin(&user(), Epoch(2));
        assert_eq!(marks.take(), []);
        marks.give_back(&user(), at(1, 6));
        assert_eq!(marks.take(), []);
        marks.note(&user(), 2);
        assert_eq!(marks.take(), [(user(), at(2, 2))]);
    }

    #[test]
    fn what_was_not_written_down_is_taken_again() {
        let marks = Marks::default();
        marks.begin(&user(), Epoch(1));
        marks.note(&user(), 5);
        let taken = marks.take();
        marks.end(&user());
        marks.give_back(&user(), taken[0].1);
        marks.end(&user());
        assert_eq!(marks.take(), taken);
    }
}
