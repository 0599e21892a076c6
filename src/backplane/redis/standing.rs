//! Whether the backplane as a whole is there, of how its shards are.
//!
//! It is up while any shard is: rooms of the others fail at once, one by one, and nobody else waits. Coming back
//! it waits a moment for all, so that a start, or the end of an outage, is one event and not one for each shard.

use std::time::{Duration, Instant};

use crate::backplane::Link;

/// How long those that are up wait for the rest.
const SETTLE: Duration = Duration::from_secs(2);

/// What became of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Same,
    /// Nothing is left of it.
    Away,
    /// It is there, after it had been this.
    Up(Link),
    /// A part of it was away, and is back.
    Whole,
}

/// How the shards stood.
#[derive(Default)]
pub struct Standing {
    /// Since when some are up, while the link is not.
    some: Option<Instant>,
    wounded: bool,
}

impl Standing {
    pub fn is_wounded(&self) -> bool {
        self.wounded
    }

    /// Of `all` shards these are up.
    pub fn turn(&mut self, link: Link, up: usize, all: usize, now: Instant) -> Turn {
        if up == 0 {
            self.some = None;
            // Nothing is left to be wounded: its return is one of everything.
            self.wounded = false;
            return match link {
                Link::Up => Turn::Away,
                Link::Never | Link::Away => Turn::Same,
            };
        }
        let wounded = up < all;
        if link != Link::Up {
            let some = *self.some.get_or_insert(now);
            if wounded && now - some < SETTLE {
                return Turn::Same;
            }
            self.some = None;
            self.wounded = wounded;
            return Turn::Up(link);
        }
        let healed = self.wounded && !wounded;
        self.wounded = wounded;
        if healed { Turn::Whole } else { Turn::Same }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shard_is_up_or_away() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        assert_eq!(standing.turn(Link::Never, 0, 1, now), Turn::Same);
        assert_eq!(standing.turn(Link::Never, 1, 1, now), Turn::Up(Link::Never));
        assert_eq!(standing.turn(Link::Up, 1, 1, now), Turn::Same);
        assert_eq!(standing.turn(Link::Up, 0, 1, now), Turn::Away);
        assert_eq!(standing.turn(Link::Away, 1, 1, now), Turn::Up(Link::Away));
    }

    #[test]
    fn the_others_go_on_without_one_and_its_return_is_told() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        assert_eq!(standing.turn(Link::Never, 2, 3, now), Turn::Same);
        let settled = now + SETTLE;
        assert_eq!(
            standing.turn(Link::Never, 2, 3, settled),
            Turn::Up(Link::Never)
        );
        assert!(standing.is_wounded());
        assert_eq!(standing.turn(Link::Up, 3, 3, settled), Turn::Whole);
        assert_eq!(standing.turn(Link::Up, 2, 3, settled), Turn::Same);
        assert_eq!(standing.turn(Link::Up, 0, 3, settled), Turn::Away);
        assert_eq!(standing.turn(Link::Away, 1, 3, settled), Turn::Same);
        assert_eq!(
            standing.turn(Link::Away, 3, 3, settled),
            Turn::Up(Link::Away)
        );
    }
}
