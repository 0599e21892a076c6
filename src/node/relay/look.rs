//! A look at quiet rooms now and then: an event that was lost, in a room where nothing follows it, shows no hole.

use std::time::Duration;

use super::Note;
use super::worker::Worker;
use crate::backplane::{Error, Link};
use crate::ids::{Position, Room};

/// Ticks for which a room must be quiet; a look comes within a third of that more, so that not all come at once.
const QUIET: u64 = 30;
/// Rooms looked at in a tick; the others have their turn in the next.
const AT_ONCE: usize = 2_000;

/// When rooms are looked at.
pub(super) struct Look {
    /// A tick.
    pub(super) every: Duration,
}

impl Look {
    pub(super) fn new(compare_idle: Duration) -> Self {
        Self {
            every: compare_idle / QUIET as u32,
        }
    }
}

impl Worker {
    /// Asks where the rooms are that have been quiet for long enough.
    pub(super) fn look_around(&mut self) {
        self.tick += 1;
        if *self.backplane.link().borrow() != Link::Up {
            // Its return compares every room.
            return;
        }
        let (tick, mut quiet) = (self.tick, Vec::new());
        for (room, local) in &mut self.rooms {
            if local.look_at > tick || quiet.len() == AT_ONCE {
                continue;
            }
            let due = local.look_at > 0 && tick - local.heard >= QUIET;
            if due && let Some(known) = local.track.known() {
                quiet.push((room.clone(), known));
            }
            // The first time it is seen it may have been heard at any time.
            let from = if due || local.look_at == 0 {
                tick
            } else {
                local.heard
            };
            local.look_at = from + QUIET + rand::random_range(0..=QUIET / 3);
        }
        for (room, known) in quiet {
            let backplane = self.backplane.clone();
            self.jobs.spawn(async move {
                let found = backplane.position(&room).await;
                Note::Looked(room, known, found)
            });
        }
    }

    /// `asked` is what was known of the room before it was asked where it is.
    pub(super) fn looked(
        &mut self,
        room: &Room,
        asked: Position,
        found: Result<Option<Position>, Error>,
    ) {
        let known = self.rooms.get(room).and_then(|local| local.track.known());
        match (known, found) {
            (Some(known), Ok(Some(at))) if at.epoch == known.epoch => {
                if at.seq < asked.seq {
                    self.rotate(room, at.epoch);
                } else if at.seq > known.seq {
                    self.hear_again(room);
                    self.compare(room);
                }
            }
            (Some(_), Ok(_)) => self.compare(room),
            // Nobody is here any more, or the next look tells.
            (None, _) | (_, Err(_)) => {}
        }
    }

    /// What was not heard in a room where nothing was on its way may be lost for good.
    fn hear_again(&mut self, room: &Room) {
        let (backplane, room) = (self.backplane.clone(), room.clone());
        self.jobs.spawn(async move {
            backplane.listen_again(&room).await;
            // What was said until now was not heard either.
            Note::Compare(room)
        });
    }
}
