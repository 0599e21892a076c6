//! What a person said and was not answered: repeated under the same id until it is.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::frames::{Say, hash};
use crate::{Mark, Position};

/// Chat lines without an answer, beyond which a person says nothing new.
const WAITING: usize = 16;

#[derive(Debug, Default)]
pub struct Commands {
    waiting: HashMap<String, Command>,
    said: u64,
    texts: u64,
    /// Own lines that were heard before their answer came.
    heard: HashMap<Mark, Position>,
    /// Own lines that were acknowledged and not heard yet. A node names the epoch that the socket is in, not the
    /// commit's; when they differ, the order that the line is heard in is the right one.
    unheard: HashMap<Mark, Position>,
}

#[derive(Debug)]
pub struct Command {
    pub what: What,
    frame: String,
    first: Option<Instant>,
    /// Sends so far.
    pub times: u32,
    /// When to send it; `None` while its answer is awaited.
    due: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
pub enum What {
    Chat(Mark),
    /// A text, by its hash.
    Text(u64),
}

impl Command {
    pub fn took(&self) -> Duration {
        self.first.map_or(Duration::ZERO, |first| first.elapsed())
    }
}

impl Commands {
    /// A new chat line; marks are this viewer's in the upper half. Nothing when too many are unanswered.
    pub fn say(&mut self, viewer: u64) {
        if self.waiting.len() >= WAITING {
            return;
        }
        self.said += 1;
        let mark = viewer << 32 | self.said;
        let id = format!("{viewer}-chat-{}", self.said);
        let message = mark.to_string();
        let frame = Say::Chat {
            message: &message,
            id: &id,
        };
        let frame = frame.text();
        self.put(id, What::Chat(mark), frame);
    }

    /// A new text, unless one is on its way.
    pub fn change(&mut self, viewer: u64, version: u64) {
        let is_text = |command: &Command| matches!(command.what, What::Text(_));
        if self.waiting.values().any(is_text) {
            return;
        }
        self.texts += 1;
        let id = format!("{viewer}-text-{}", self.texts);
        let code = format!("written by {viewer}, text {}\n", self.texts);
        let frame = Say::CodeChange {
            code: &code,
            base_version: version,
            id: &id,
        };
        let frame = frame.text();
        self.put(id, What::Text(hash(&code)), frame);
    }

    fn put(&mut self, id: String, what: What, frame: String) {
        let command = Command {
            what,
            frame,
            first: None,
            times: 0,
            due: Some(Instant::now()),
        };
        self.waiting.insert(id, command);
    }

    pub fn unanswered(&self) -> usize {
        self.waiting.len()
    }

    /// On a new socket everything is said again.
    pub fn again(&mut self) {
        let now = Instant::now();
        self.waiting
            .values_mut()
            .for_each(|command| command.due = Some(now));
    }

    pub fn later(&mut self, id: &str, wait: Duration) {
        if let Some(command) = self.waiting.get_mut(id) {
            command.due = Some(Instant::now() + wait);
        }
    }

    pub fn answered(&mut self, id: &str) -> Option<Command> {
        self.waiting.remove(id)
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.waiting
            .values()
            .filter_map(|command| command.due)
            .min()
    }

    /// Frames whose time has come.
    pub fn take_due(&mut self, now: Instant) -> Vec<String> {
        let due = self
            .waiting
            .values_mut()
            .filter(|command| command.due.is_some_and(|due| due <= now));
        due.map(|command| {
            command.due = None;
            command.first.get_or_insert(now);
            command.times += 1;
            command.frame.clone()
        })
        .collect()
    }

    /// An own line was acknowledged; returns the places to tell the checker, if they are known now.
    pub fn acknowledged(&mut self, mark: Mark, at: Position) -> Vec<Position> {
        match self.heard.remove(&mark) {
            Some(heard) => places(at, heard),
            None => {
                self.unheard.insert(mark, at);
                Vec::new()
            }
        }
    }

    /// A line was heard, live or in a greeting's history; the same for the own ones.
    pub fn heard(&mut self, viewer: u64, mark: Mark, at: Position) -> Vec<Position> {
        if mark >> 32 != viewer {
            return Vec::new();
        }
        if let Some(told) = self.unheard.remove(&mark) {
            return places(told, at);
        }
        let of_mark = |command: &Command| matches!(command.what, What::Chat(own) if own == mark);
        if self.waiting.values().any(of_mark) {
            self.heard.insert(mark, at);
        }
        Vec::new()
    }

    /// Acknowledged and never heard: the answers' word stands.
    pub fn never_heard(&mut self) -> Vec<(Mark, Position)> {
        self.unheard.drain().collect()
    }
}

/// One place where answer and order agree on the number; both, for the checker to find, where they do not.
fn places(told: Position, heard: Position) -> Vec<Position> {
    if told.seq == heard.seq {
        vec![heard]
    } else {
        vec![told, heard]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEWER: u64 = 7;

    fn at(epoch: u64, seq: u64) -> Position {
        Position { epoch, seq }
    }

    /// Guards against acknowledged lines that the checker never hears of, or under another order's name.
    #[test]
    fn the_order_a_line_is_heard_in_is_its_own() {
        let mut commands = Commands::default();
        commands.say(VIEWER);
        let mark = VIEWER << 32 | 1;
        assert_eq!(commands.take_due(Instant::now()).len(), 1);
        // Heard first, then answered by a socket of the new order.
        assert!(commands.heard(VIEWER, mark, at(1, 5)).is_empty());
        assert!(commands.answered("7-chat-1").is_some());
        assert_eq!(commands.acknowledged(mark, at(2, 5)), [at(1, 5)]);
        // The other way round, and numbers that contradict each other are both told.
        assert!(commands.acknowledged(mark, at(1, 6)).is_empty());
        assert_eq!(commands.heard(VIEWER, mark, at(1, 7)), [at(1, 6), at(1, 7)]);
        assert!(commands.acknowledged(mark, at(1, 8)).is_empty());
        assert_eq!(commands.never_heard(), [(mark, at(1, 8))]);
    }

    /// Guards the repeat: the same frame, once for each time that it is due.
    #[tokio::test]
    async fn what_is_not_answered_is_said_again() {
        let mut commands = Commands::default();
        commands.say(VIEWER);
        let first = commands.take_due(Instant::now());
        assert!(commands.take_due(Instant::now()).is_empty());
        commands.again();
        assert_eq!(commands.take_due(Instant::now()), first);
        commands.later("7-chat-1", Duration::from_secs(60));
        assert!(commands.take_due(Instant::now()).is_empty());
        (0..100).for_each(|_| commands.say(VIEWER));
        assert_eq!(commands.unanswered(), WAITING);
    }
}
