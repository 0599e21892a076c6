//! What the store did, as nobody but the store can know: where each command was put, also those whose answer was lost.

use std::collections::HashMap;

use collabd::backplane::Committed;
use collabd::ids::{Position, Room, UserId};
use parking_lot::Mutex;

/// Where the store put each command that had an id, as nobody but the store can know.
#[derive(Default)]
pub struct Ledger(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    last: HashMap<(UserId, String), Position>,
    all: Vec<Line>,
}

/// A command that was done: its room, its id, and where it was put.
#[derive(Debug, Clone)]
pub struct Line {
    pub room: Room,
    pub id: String,
    pub at: Position,
}

impl Ledger {
    pub fn find(&self, user: &UserId, id: &str) -> Option<Position> {
        let key = (user.clone(), id.to_owned());
        self.0.lock().last.get(&key).copied()
    }

    /// How many commands were done.
    pub fn count(&self) -> usize {
        self.0.lock().all.len()
    }

    /// Those done since there were that many.
    pub fn since(&self, count: usize) -> Vec<Line> {
        self.0.lock().all[count..].to_vec()
    }

    pub fn note(&self, room: &Room, once: (UserId, String), committed: &Committed) {
        let at = committed.position;
        let mut entries = self.0.lock();
        if !committed.repeated {
            let (room, id) = (room.clone(), once.1.clone());
            entries.all.push(Line { room, id, at });
        }
        entries.last.insert(once, at);
    }
}
