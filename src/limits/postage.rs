//! How much a user may have others be sent: what an event weighs, once for each of its recipients.
//!
//! One frame may be for a thousand, and each of them is given a copy that is kept while they are away. Counted by frames
//! it would cost its sender as much as a ping.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::MonotonicClock;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::{Keyed, wait};
use crate::ids::UserId;

#[derive(Debug, Clone, Copy)]
pub struct Postage {
    /// Bytes of a user on this node a second, and at once.
    pub bytes: NonZeroU32,
    pub burst: NonZeroU32,
}

/// Why something is not sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Unpaid {
    /// It is more than may be sent at once.
    Ever,
    For(Duration),
}

pub struct Purses {
    postage: Postage,
    users: Keyed<UserId>,
}

impl Purses {
    pub fn new(postage: Postage) -> Self {
        let quota = Quota::per_second(postage.bytes).allow_burst(postage.burst);
        Self {
            postage,
            users: RateLimiter::new(quota, DashMapStateStore::default(), MonotonicClock),
        }
    }

    /// Takes that many bytes into account.
    pub fn pay(&self, user: &UserId, bytes: u64) -> Result<(), Unpaid> {
        let bytes = u32::try_from(bytes).map_err(|_| Unpaid::Ever)?;
        let Some(bytes) = NonZeroU32::new(bytes) else {
            return Ok(());
        };
        match self.users.check_key_n(user, bytes) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(early)) => Err(Unpaid::For(wait(&early))),
            Err(_) => Err(Unpaid::Ever),
        }
    }

    pub fn postage(&self) -> Postage {
        self.postage
    }

    /// Forgets whom nothing is held against.
    pub fn tidy(&self) {
        self.users.retain_recent();
        self.users.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_much_waits_and_who_sends_too_much_is_told_that_it_never_goes() {
        let number = |n| NonZeroU32::new(n).unwrap();
        let purses = Purses::new(Postage {
            bytes: number(10),
            burst: number(100),
        });
        let [ann, bob] = ["ann", "bob"].map(|name| UserId::parse(name).unwrap());
        assert_eq!(purses.pay(&ann, 101), Err(Unpaid::Ever));
        assert_eq!(purses.pay(&ann, u64::MAX), Err(Unpaid::Ever));
        assert_eq!(purses.pay(&ann, 100), Ok(()));
        let Err(Unpaid::For(wait)) = purses.pay(&ann, 50) else {
            panic!("over the burst");
        };
        assert!(wait > Duration::from_secs(3) && wait <= Duration::from_secs(5));
        assert_eq!(purses.pay(&bob, 100), Ok(()));
    }
}
