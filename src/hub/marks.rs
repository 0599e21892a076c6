//! How far users have been told, across their sockets: noted as frames are written, taken by whoever writes it down.
//!
//! Knows no store: a place in an order that has ended is forgotten by [`Marks::begin`].

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::ids::{Epoch, Position, UserId};

#[derive(Default)]
pub struct Marks {
    known: Mutex<Known>,
    moved: Notify,
}

#[derive(Default)]
struct Known {
    users: HashMap<UserId, Mark>,
    /// Whose mark moved since it was last taken.
    moved: Vec<UserId>,
}

struct Mark {
    epoch: Epoch,
    told: u64,
    /// Among those that moved.
    moved: bool,
    /// The user has no socket here any more: the mark goes when it was taken.
    over: bool,
}

impl Marks {
    /// The user is told of this order from now on. What was noted of another means nothing in it.
    pub fn begin(&self, user: &UserId, epoch: Epoch) {
        let users = &mut self.known.lock().users;
        match users.get_mut(user) {
            Some(mark) if mark.epoch == epoch => mark.over = false,
            Some(mark) => {
                mark.epoch = epoch;
                mark.told = 0;
                mark.over = false;
            }
            None => {
                let mark = Mark {
                    epoch,
                    told: 0,
                    moved: false,
                    over: false,
                };
                users.insert(user.clone(), mark);
            }
        }
    }

    /// The user has no socket here any more that is told anything.
    pub fn end(&self, user: &UserId) {
        let users = &mut self.known.lock().users;
        if let Some(mark) = users.get_mut(user) {
            mark.over = true;
            // What was told last is still to be written down.
            if !mark.moved {
                users.remove(user);
            }
        }
    }

    /// Everything up to this seq has been written to one of the user's sockets. Noted under the socket's lock, so that
    /// what it said of a former order cannot come later.
    pub fn note(&self, user: &UserId, seq: u64) {
        if seq == 0 {
            return;
        }
        let known = &mut *self.known.lock();
        let Some(mark) = known.users.get_mut(user).filter(|mark| mark.told < seq) else {
            return;
        };
        mark.told = seq;
        if !std::mem::replace(&mut mark.moved, true) {
            known.moved.push(user.clone());
            self.moved.notify_one();
        }
    }

    /// Returns when a mark has moved, or had.
    pub async fn moved(&self) {
        self.moved.notified().await;
    }

    /// The marks that moved since they were last taken.
    pub fn take(&self) -> Vec<(UserId, Position)> {
        let known = &mut *self.known.lock();
        let mut taken = Vec::with_capacity(known.moved.len());
        for user in std::mem::take(&mut known.moved) {
            let Some(mark) = known.users.get_mut(&user) else {
                continue;
            };
            mark.moved = false;
            let at = Position {
                epoch: mark.epoch,
                seq: mark.told,
            };
            if mark.over {
                known.users.remove(&user);
            }
            // Nothing was told yet of an order that began meanwhile.
            if at.seq > 0 {
                taken.push((user, at));
            }
        }
        taken
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
        marks.note(&user(), 2);
        assert_eq!(marks.take(), [(user(), at(2, 2))]);
    }

    /// Guards what was told last, and a user who is back before that was written down.
    #[test]
    fn a_mark_is_taken_after_its_user_has_gone() {
        let marks = Marks::default();
        marks.begin(&user(), Epoch(1));
        marks.note(&user(), 5);
        marks.end(&user());
        marks.begin(&user(), Epoch(1));
        marks.note(&user(), 6);
        marks.end(&user());
        assert_eq!(marks.take(), [(user(), at(1, 6))]);
        marks.note(&user(), 7);
        assert_eq!(marks.take(), []);
    }
}
