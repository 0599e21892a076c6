//! How many may come to a node a second, and when those should come who are too many.
//!
//! After a node died or a link was cut everyone comes at once. A node that takes up more than it can greet in time
//! loses them all to their timeouts; so it takes what it can, and deals the others out over the time it needs.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use governor::clock::MonotonicClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

/// About the shortest and the longest that anybody is asked to wait.
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);

pub struct Rush {
    bucket: RateLimiter<NotKeyed, InMemoryState, MonotonicClock>,
    rate: NonZeroU32,
    /// When the last of those who were asked to wait has its turn.
    last_turn: Mutex<Option<Instant>>,
}

impl Rush {
    pub fn new(rate: NonZeroU32) -> Self {
        Self {
            bucket: RateLimiter::direct_with_clock(Quota::per_second(rate), MonotonicClock),
            rate,
            last_turn: Mutex::new(None),
        }
    }

    /// Lets one in, or says when to come again: the later the more are waiting, and not all at the same time.
    pub fn come(&self) -> Result<(), Duration> {
        let Err(_) = self.bucket.check() else {
            return Ok(());
        };
        let ahead = self.take_turn(Instant::now());
        Err((LEAST + ahead).mul_f64(rand::random_range(0.75..1.25)))
    }

    fn take_turn(&self, now: Instant) -> Duration {
        let mut last = self.last_turn.lock();
        let turn =
            last.map_or(now, |last| last.max(now)) + Duration::from_secs(1) / self.rate.get();
        // Who does not wait takes turn after turn: that must not lock the others out.
        let turn = turn.min(now + MOST);
        *last = Some(turn);
        turn - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rush() -> Rush {
        Rush::new(NonZeroU32::new(100).unwrap())
    }

    #[test]
    fn as_many_as_may_come_and_the_others_are_asked_to_wait() {
        let rush = rush();
        let waits: Vec<Duration> = (0..200).filter_map(|_| rush.come().err()).collect();
        // The rate lets some more in while it is tried.
        assert!((1..=100).contains(&waits.len()), "{}", waits.len());
        assert!(waits.iter().all(|wait| *wait >= LEAST.mul_f64(0.75)));
        assert!(waits.iter().max() > waits.iter().min());
    }

    #[test]
    fn turns_come_at_the_rate_and_are_bounded() {
        let (rush, now) = (rush(), Instant::now());
        let turns: Vec<Duration> = (0..10_000).map(|_| rush.take_turn(now)).collect();
        assert_eq!(turns[0], Duration::from_millis(10));
        assert_eq!(turns[499], Duration::from_secs(5));
        assert_eq!(turns.last(), Some(&MOST));
        let later = now + Duration::from_secs(60);
        assert_eq!(rush.take_turn(later), Duration::from_millis(10));
    }
}
