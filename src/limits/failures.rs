//! Who guesses: how often somebody failed to show who they are, by whom they claim to be and from where.
//!
//! A try counts when it begins, so that many at once are not all let through before the first has failed; one that
//! succeeds is forgotten, and those before it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::network;

/// Tries in [`WINDOW`].
const MOST: u32 = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// Accounts and addresses remembered; more wait until some are forgotten.
const MOST_KNOWN: usize = 100_000;

#[derive(Default)]
pub struct Failures(Mutex<HashMap<(String, IpAddr), Tries>>);

struct Tries {
    count: u32,
    since: Instant,
}

impl Failures {
    /// Counts a try; or says how long none is taken.
    pub fn begin(&self, who: &str, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut known = self.0.lock();
        let key = (who.to_owned(), network(from.to_canonical()));
        if known.len() >= MOST_KNOWN && !known.contains_key(&key) {
            known.retain(|_, tries| now < tries.since + WINDOW);
            if known.len() >= MOST_KNOWN {
                return Err(Duration::from_secs(1));
            }
        }
        let tries = known.entry(key).or_insert(Tries {
            count: 0,
            since: now,
        });
        let ends = tries.since + WINDOW;
        if now >= ends {
            *tries = Tries {
                count: 0,
                since: now,
            };
        } else if tries.count >= MOST {
            return Err(ends - now);
        }
        tries.count += 1;
        Ok(())
    }

    /// It was no guess.
    pub fn forget(&self, who: &str, from: IpAddr) {
        let key = (who.to_owned(), network(from.to_canonical()));
        self.0.lock().remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_try_in_a_minute_waits_for_its_end() {
        let (failures, now) = (Failures::default(), Instant::now());
        let [here, there]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let at = |seconds| now + Duration::from_secs(seconds);
        for n in 0..5 {
            assert_eq!(failures.begin("ann", here, at(n)), Ok(()));
        }
        let wait = Err(Duration::from_secs(50));
        assert_eq!(failures.begin("ann", here, at(10)), wait);
        assert_eq!(failures.begin("ann", there, at(10)), Ok(()));
        assert_eq!(failures.begin("bob", here, at(10)), Ok(()));
        assert_eq!(failures.begin("ann", here, at(60)), Ok(()));
        failures.forget("ann", here);
        assert!((0..5).all(|_| failures.begin("ann", here, at(61)).is_ok()));
    }
}
