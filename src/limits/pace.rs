//! How fast one socket is.

use std::time::{Duration, Instant};

use governor::RateLimiter;
use governor::clock::MonotonicClock;
use governor::state::{InMemoryState, NotKeyed};

use super::{Config, quota, wait};
use std::num::NonZeroU32;

/// This many times the rate, for a while, is a flood.
const FLOOD: f64 = 3.0;
/// How long is counted before it is judged.
const WINDOW: Duration = Duration::from_secs(1);

type Bucket = RateLimiter<NotKeyed, InMemoryState, MonotonicClock>;

/// What somebody is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Messages,
    Bytes,
    User,
}

/// What becomes of a frame.
#[derive(Debug)]
pub enum Verdict {
    Fine,
    /// Not to be executed.
    Haste {
        over: Over,
        retry_in: Duration,
    },
    /// The socket is to be closed.
    Flood,
}

pub struct Pace {
    messages: Bucket,
    bytes: Bucket,
    /// What was offered, executed or not, since `since`.
    offered: (u32, u64),
    since: Instant,
    /// Since when too much is offered.
    flooding: Option<Instant>,
}

impl Pace {
    pub(super) fn new(config: &Config) -> Self {
        let bucket = |quota| Bucket::direct_with_clock(quota, MonotonicClock);
        Self {
            messages: bucket(quota(config.messages, config.message_burst)),
            bytes: bucket(quota(config.bytes, config.byte_burst)),
            offered: (0, 0),
            since: Instant::now(),
            flooding: None,
        }
    }

    pub(super) fn frame(&mut self, config: &Config, bytes: usize) -> Verdict {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.offered.0 = self.offered.0.saturating_add(1);
        self.offered.1 += u64::from(bytes);
        if let Err(early) = self.messages.check() {
            return self.judge(config, Over::Messages, wait(&early));
        }
        let Some(bytes) = NonZeroU32::new(bytes) else {
            return Verdict::Fine;
        };
        let retry_in = match self.bytes.check_n(bytes) {
            Ok(Ok(())) => return Verdict::Fine,
            Ok(Err(early)) => wait(&early),
            // A frame is never larger than the burst: its size is bounded before it comes here.
            Err(_) => WINDOW,
        };
        self.judge(config, Over::Bytes, retry_in)
    }

    /// Whether haste has become a flood. Only who is too fast is judged: below the rate there is none.
    fn judge(&mut self, config: &Config, over: Over, retry_in: Duration) -> Verdict {
        let took = self.since.elapsed();
        if took >= WINDOW {
            let (messages, bytes) = self.offered;
            let floods = |offered: f64, rate: NonZeroU32| {
                offered / took.as_secs_f64() > FLOOD * f64::from(rate.get())
            };
            let flood =
                floods(f64::from(messages), config.messages) || floods(bytes as f64, config.bytes);
            self.flooding = flood.then(|| self.flooding.unwrap_or(self.since));
            self.offered = (0, 0);
            self.since = Instant::now();
        }
        if self
            .flooding
            .is_some_and(|since| since.elapsed() >= config.flood)
        {
            return Verdict::Flood;
        }
        Verdict::Haste { over, retry_in }
    }
}
