//! Whether a link that is silent can be heard at all: something is published, and then it is to be heard.
//!
//! Pings go the way of commands, so a server that answers them may still have forgotten who listens.

use std::time::{Duration, Instant};

/// What probing channels end with; those of rooms end differently.
pub const ENDING: &str = "}:probe";

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Nothing,
    /// Publish something.
    Ask,
    /// Nothing was heard of it: the connection is dead, whatever it says.
    Dead,
}

pub struct Probe {
    /// Silence after which something is published; half of it more, and the link is dead.
    silence: Duration,
    /// When something was last heard, or the link was begun.
    since: Instant,
    asked: Option<Instant>,
    /// The link was dead when last seen, and nothing has been heard since.
    deaf: bool,
}

impl Probe {
    pub fn new(silence: Duration, now: Instant) -> Self {
        Self {
            silence,
            since: now,
            asked: None,
            deaf: false,
        }
    }

    pub fn is_deaf(&self) -> bool {
        self.deaf
    }

    pub fn heard(&mut self, now: Instant) {
        *self = Self::new(self.silence, now);
    }

    pub fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// Nobody could be asked: silence means nothing.
    pub fn away(&mut self, now: Instant) {
        self.since = now;
        self.asked = None;
    }

    pub fn next(&mut self, now: Instant) -> Step {
        let half = self.silence / 2;
        let silent = now - self.since;
        match self.asked {
            // Who was deaf is asked at once, but not connected to anew more often than others.
            Some(asked) if now - asked >= half && (!self.deaf || silent >= self.silence + half) => {
                self.deaf = true;
                self.since = now;
                self.asked = None;
                Step::Dead
            }
            None if self.deaf || silent >= self.silence => Step::Ask,
            _ => Step::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_stays_silent_is_dead_and_then_asked_at_once() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut probe = Probe::new(Duration::from_secs(10), begin);
        assert_eq!(probe.next(at(9)), Step::Nothing);
        assert_eq!(probe.next(at(10)), Step::Ask);
        // The question could not be put.
        assert_eq!(probe.next(at(11)), Step::Ask);
        probe.asked(at(11));
        assert_eq!(probe.next(at(15)), Step::Nothing);
        assert_eq!(probe.next(at(16)), Step::Dead);
        assert!(probe.is_deaf());
        assert_eq!(probe.next(at(17)), Step::Ask);
        probe.asked(at(17));
        assert_eq!(probe.next(at(30)), Step::Nothing);
        assert_eq!(probe.next(at(31)), Step::Dead);
        probe.heard(at(32));
        assert!(!probe.is_deaf());
        assert_eq!(probe.next(at(41)), Step::Nothing);
    }

    #[test]
    fn what_is_heard_answers() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut probe = Probe::new(Duration::from_secs(10), begin);
        assert_eq!(probe.next(at(10)), Step::Ask);
        probe.asked(at(10));
        probe.heard(at(11));
        assert_eq!(probe.next(at(20)), Step::Nothing);
        assert_eq!(probe.next(at(21)), Step::Ask);
    }
}
