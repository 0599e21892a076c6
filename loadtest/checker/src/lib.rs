//! Judges what clients saw of their rooms: one order, nothing lost, nothing twice, nobody haunting.
//!
//! Whoever runs clients (the simulation, the outage tests, the benchmark) tells it what each of them sent,
//! was told and heard; at the end it gives a [`Verdict`]. It knows no socket, no clock and no node, so that
//! the same judgement holds for a simulated network and for a real one. Only [`person`] does: clients that behave,
//! for those who have real nodes.
//!
//! Events are known by their [`Mark`], which every sender makes unique. A viewer is somebody in a room, across
//! all the sockets they had there; what a viewer was told between two greetings is a stage.

pub mod person;
mod room;
mod verdict;
mod viewer;

use std::collections::HashMap;

pub use self::verdict::{Fault, Verdict};

use self::room::Room;

/// What tells one event from all others of its room.
pub type Mark = u64;

/// Where in a room's order something is: `<epoch>-<seq>` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    pub epoch: u64,
    pub seq: u64,
}

impl Position {
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.split_once('-')?;
        Some(Self {
            // Clients need not read an epoch, only tell it from others.
            epoch: u64::from_str_radix(epoch, 16).ok()?,
            seq: seq.parse().ok()?,
        })
    }
}

/// What the store is known to keep.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// Chat lines in a greeting; with fewer, none may be missing.
    pub history: usize,
    /// The store may have lost what it had acknowledged (a failover without waiting for a replica, a restart
    /// without its data): then an order may end, and all must go on from the same snapshot.
    pub may_forget: bool,
}

/// Everything that was seen, by room and viewer.
#[derive(Debug)]
pub struct Checker {
    promise: Promise,
    orders_may_end: bool,
    rooms: HashMap<String, Room>,
}

/// What a greeting with a snapshot told.
#[derive(Debug, Clone)]
pub struct Greeting {
    pub at: Position,
    /// The chat lines it held.
    pub history: Vec<Mark>,
}

impl Checker {
    pub fn new(promise: Promise) -> Self {
        Self {
            promise,
            orders_may_end: promise.may_forget,
            rooms: HashMap::new(),
        }
    }

    /// The store may have lost what was heard and not yet acknowledged: then an order may end too, but nothing
    /// that was acknowledged may be missing.
    pub fn orders_may_end(&mut self) {
        self.orders_may_end = true;
    }

    fn room(&mut self, room: &str) -> &mut Room {
        if !self.rooms.contains_key(room) {
            self.rooms.insert(room.to_owned(), Room::default());
        }
        self.rooms.get_mut(room).expect("it was put there")
    }

    /// The node said that the event is saved, at that place.
    pub fn acknowledged(&mut self, room: &str, mark: Mark, at: Position) {
        self.room(room).acknowledged(mark, at);
    }

    /// The store is known to have lost the event that it had at that place, which nobody may have noticed.
    pub fn forgot(&mut self, room: &str, mark: Mark, at: Position) {
        self.room(room).forgot(mark, at);
    }

    /// The viewer was greeted with a whole snapshot: a new stage begins.
    pub fn greeted(&mut self, room: &str, viewer: u64, greeting: Greeting) {
        self.room(room).viewer(viewer).greeted(greeting);
    }

    /// The viewer heard an event, live or replayed.
    pub fn heard(&mut self, room: &str, viewer: u64, seq: u64, mark: Mark) {
        self.room(room).viewer(viewer).heard(seq, mark);
    }

    /// The viewer comes back and says it was at `since`: what it heard after that is told again, and counts
    /// from there.
    pub fn returns(&mut self, room: &str, viewer: u64, since: Position) {
        self.room(room).viewer(viewer).returns(since);
    }

    /// The viewer was told where it is, by a pong, an ack or at the end of a replay.
    pub fn told(&mut self, room: &str, viewer: u64, at: Position) {
        self.room(room).viewer(viewer).told(at);
    }

    /// The viewer is gone for good: what happened after what it was last told is no business of its.
    pub fn gone(&mut self, room: &str, viewer: u64) {
        self.room(room).viewer(viewer).gone();
    }

    /// What the viewer has when everything is quiet: where it is, the text's version and a hash of it. All
    /// who say this of a room must say the same.
    pub fn settled(&mut self, room: &str, viewer: u64, at: Position, text: Option<(u64, u64)>) {
        self.room(room).viewer(viewer).settled(at, text);
    }

    /// Whom a node shows in the room, beside who has a socket there.
    pub fn presence(&mut self, room: &str, shown: &[String], there: &[String]) {
        self.room(room).presence(shown, there);
    }

    pub fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for (name, room) in &self.rooms {
            room.judge(name, self.promise, self.orders_may_end, &mut verdict);
        }
        verdict
    }
}

#[cfg(test)]
mod tests;
