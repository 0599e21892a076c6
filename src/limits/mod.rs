//! How fast somebody may be: frames and bytes of a socket, frames of a user, what they weigh for all who get them,
//! handshakes of an address and of all.
//!
//! Each is a bucket that fills at its rate and holds a burst. Whoever is over it is told so and not served;
//! whoever goes on at three times the rate is to be closed. Bounds on numbers (sockets, places) are not
//! here but where the counting is. Users and addresses are known to this node alone.

mod failures;
mod pace;
mod postage;
mod rush;

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::state::keyed::DashMapStateStore;
use governor::{NotUntil, Quota, RateLimiter};

pub use self::failures::Failures;
pub use self::pace::{Over, Pace, Verdict};
pub use self::postage::{Postage, Purses, Unpaid};
use self::rush::Rush;
use crate::ids::UserId;

#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Frames of a socket a second, and at once.
    pub messages: NonZeroU32,
    pub message_burst: NonZeroU32,
    /// Bytes of a socket a second, and at once: no less than a whole frame.
    pub bytes: NonZeroU32,
    pub byte_burst: NonZeroU32,
    /// Frames of all of a user's sockets on this node a second, and at once.
    pub user_messages: NonZeroU32,
    /// Three times the rate for this long is a flood.
    pub flood: Duration,
    /// Handshakes of an address a second, and at once.
    pub handshakes: NonZeroU32,
    pub handshake_burst: NonZeroU32,
    /// Handshakes of everybody together a second, and at once.
    pub node_handshakes: NonZeroU32,
}

type Keyed<K> = RateLimiter<K, DashMapStateStore<K>, MonotonicClock>;

/// What all sockets of a node share.
pub struct Limits {
    config: Config,
    users: Keyed<UserId>,
    addresses: Keyed<IpAddr>,
    rush: Rush,
}

impl Limits {
    pub fn new(config: Config) -> Self {
        let users = Quota::per_second(config.user_messages);
        let addresses = quota(config.handshakes, config.handshake_burst);
        Self {
            rush: Rush::new(config.node_handshakes),
            config,
            users: RateLimiter::new(users, DashMapStateStore::default(), MonotonicClock),
            addresses: RateLimiter::new(addresses, DashMapStateStore::default(), MonotonicClock),
        }
    }

    pub fn pace(&self) -> Pace {
        Pace::new(&self.config)
    }

    /// Takes a frame of this many bytes into account.
    pub fn frame(&self, pace: &mut Pace, user: &UserId, bytes: usize) -> Verdict {
        match pace.frame(&self.config, bytes) {
            Verdict::Fine => match self.users.check_key(user) {
                Ok(()) => Verdict::Fine,
                Err(early) => Verdict::Haste {
                    over: Over::User,
                    retry_in: wait(&early),
                },
            },
            other => other,
        }
    }

    /// The same for a ping or a pong, which counts for its socket alone.
    pub fn control(&self, pace: &mut Pace, bytes: usize) -> Verdict {
        pace.frame(&self.config, bytes)
    }

    /// A sentence for who is too fast.
    pub fn sentence(&self, over: Over) -> String {
        let Config {
            messages,
            message_burst,
            bytes,
            byte_burst,
            user_messages,
            ..
        } = self.config;
        match over {
            Over::Messages => {
                format!(
                    "a socket sends at most {messages} frames a second, {message_burst} at once"
                )
            }
            Over::Bytes => {
                format!("a socket sends at most {bytes} bytes a second, {byte_burst} at once")
            }
            Over::User => {
                format!("all your sockets together send at most {user_messages} frames a second")
            }
        }
    }

    /// Takes a handshake into account, or says how long this address should wait. This machine's own is
    /// never counted.
    pub fn handshake(&self, from: IpAddr) -> Result<(), Duration> {
        let from = from.to_canonical();
        if from.is_loopback() {
            return Ok(());
        }
        self.addresses
            .check_key(&network(from))
            .map_err(|early| wait(&early))
    }

    /// Takes a handshake of anybody into account, or says when to come again.
    pub fn rush(&self) -> Result<(), Duration> {
        self.rush.come()
    }

    /// Forgets whom nothing is held against.
    pub fn tidy(&self) {
        self.users.retain_recent();
        self.users.shrink_to_fit();
        self.addresses.retain_recent();
        self.addresses.shrink_to_fit();
    }
}

fn quota(rate: NonZeroU32, burst: NonZeroU32) -> Quota {
    Quota::per_second(rate).allow_burst(burst)
}

fn wait(early: &NotUntil<std::time::Instant>) -> Duration {
    early.wait_time_from(MonotonicClock.now())
}

/// One customer has a whole network of 64 bits in IPv6.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => {
            let bits = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let number = |n| NonZeroU32::new(n).unwrap();
        Limits::new(Config {
            messages: number(1),
            message_burst: number(3),
            bytes: number(10),
            byte_burst: number(100),
            user_messages: number(4),
            flood: Duration::from_secs(10),
            handshakes: number(1),
            handshake_burst: number(2),
            node_handshakes: number(1),
        })
    }

    fn is_fine(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Fine)
    }

    #[test]
    fn a_socket_has_its_burst_and_no_more() {
        let (limits, ann) = (limits(), UserId::parse("ann").unwrap());
        let mut pace = limits.pace();
        let fine = (0..10)
            .filter(|_| is_fine(&limits.frame(&mut pace, &ann, 1)))
            .count();
        assert_eq!(fine, 3);
    }

    #[test]
    fn bytes_count_as_well_as_frames() {
        let (limits, ann) = (limits(), UserId::parse("ann").unwrap());
        let mut pace = limits.pace();
        assert!(is_fine(&limits.frame(&mut pace, &ann, 100)));
        let verdict = limits.frame(&mut pace, &ann, 50);
        let Verdict::Haste { over, retry_in } = verdict else {
            panic!("over the burst");
        };
        assert!(limits.sentence(over).contains("bytes"), "{over:?}");
        assert!(retry_in > Duration::from_secs(3) && retry_in <= Duration::from_secs(5));
    }

    #[test]
    fn a_users_sockets_count_together_and_users_apart() {
        let limits = limits();
        let fine = |user: &str| {
            let user = UserId::parse(user).unwrap();
            let frames = (0..3).map(|_| limits.frame(&mut limits.pace(), &user, 1));
            frames.filter(is_fine).count()
        };
        assert_eq!((fine("ann"), fine("ann"), fine("bob")), (3, 1, 3));
    }

    #[test]
    fn handshakes_are_counted_by_network_and_never_at_home() {
        let limits = limits();
        let fine = |address: &str| limits.handshake(address.parse().unwrap()).is_ok();
        assert!(fine("2001:db8::1") && fine("2001:db8::2") && !fine("2001:db8::3"));
        assert!(fine("2001:db8:1::1"));
        assert!(fine("192.0.2.1") && fine("::ffff:192.0.2.1") && !fine("192.0.2.1"));
        assert!((0..100).all(|_| fine("127.0.0.1") && fine("::1")));
    }
}
