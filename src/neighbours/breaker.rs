//! The circuit to a neighbour: who failed so many times in a row is asked no more for a while, then by one at a time,
//! until an answer comes.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

pub(super) struct Breaker {
    /// Failures one after the other that open the circuit.
    failures: u32,
    pause: Duration,
    state: Mutex<State>,
}

enum State {
    Closed { failures: u32 },
    Open { until: Instant, probing: bool },
}

/// Leave to ask once. Whoever gives up before an outcome is known leaves the circuit as it was.
pub(super) struct Turn<'a> {
    breaker: &'a Breaker,
    probes: bool,
}

/// What an outcome did to the circuit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Opened,
    Closed,
}

impl Breaker {
    pub fn new(failures: u32, pause: Duration) -> Self {
        Self {
            failures,
            pause,
            state: Mutex::new(State::Closed { failures: 0 }),
        }
    }

    /// `None`: the circuit is open.
    pub fn turn(&self) -> Option<Turn<'_>> {
        let probes = match &mut *self.state.lock() {
            State::Closed { .. } => false,
            State::Open { until, probing } if !*probing && Instant::now() >= *until => {
                *probing = true;
                true
            }
            State::Open { .. } => return None,
        };
        Some(Turn {
            breaker: self,
            probes,
        })
    }

    fn open(&self) -> State {
        State::Open {
            until: Instant::now() + self.pause,
            probing: false,
        }
    }
}

impl Turn<'_> {
    /// There was an answer.
    pub fn answered(mut self) -> Change {
        let probes = std::mem::take(&mut self.probes);
        let mut state = self.breaker.state.lock();
        match &mut *state {
            State::Closed { failures } => *failures = 0,
            State::Open { .. } if probes => {
                *state = State::Closed { failures: 0 };
                return Change::Closed;
            }
            // Asked before the circuit opened: old news.
            State::Open { .. } => {}
        }
        Change::None
    }

    /// There was none, or none that could be read.
    pub fn failed(mut self) -> Change {
        let probes = std::mem::take(&mut self.probes);
        let mut state = self.breaker.state.lock();
        match &mut *state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures >= self.breaker.failures {
                    *state = self.breaker.open();
                    return Change::Opened;
                }
            }
            State::Open { .. } if probes => *state = self.breaker.open(),
            State::Open { .. } => {}
        }
        Change::None
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.probes
            && let State::Open { probing, .. } = &mut *self.breaker.state.lock()
        {
            *probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    fn fail(breaker: &Breaker) -> Change {
        breaker.turn().expect("it may be asked").failed()
    }

    fn answer(breaker: &Breaker) -> Change {
        breaker.turn().expect("it may be asked").answered()
    }

    fn opened() -> Breaker {
        let breaker = Breaker::new(1, PAUSE);
        assert_eq!(fail(&breaker), Change::Opened);
        breaker
    }

    /// Guards a neighbour that fails now and then from being given up.
    #[tokio::test(start_paused = true)]
    async fn only_failures_in_a_row_count() {
        let breaker = Breaker::new(3, PAUSE);
        for _ in 0..5 {
            assert_eq!(fail(&breaker), Change::None);
            assert_eq!(fail(&breaker), Change::None);
            assert_eq!(answer(&breaker), Change::None);
        }
        assert_eq!(fail(&breaker), Change::None);
        assert_eq!(fail(&breaker), Change::None);
        assert_eq!(fail(&breaker), Change::Opened);
        assert!(breaker.turn().is_none());
    }

    /// A neighbour that comes up slowly must not be asked by everybody at once.
    #[tokio::test(start_paused = true)]
    async fn after_the_pause_one_asks_at_a_time() {
        let breaker = opened();
        advance(PAUSE - Duration::from_millis(1)).await;
        assert!(breaker.turn().is_none());
        advance(Duration::from_millis(1)).await;
        let probe = breaker.turn().expect("one may ask");
        assert!(breaker.turn().is_none());
        assert_eq!(probe.failed(), Change::None);
        assert!(breaker.turn().is_none());
        advance(PAUSE).await;
        assert_eq!(answer(&breaker), Change::Closed);
        assert!(breaker.turn().is_some());
    }

    /// A probe that nobody waits for any more must not keep the circuit open for ever.
    #[tokio::test(start_paused = true)]
    async fn who_gives_up_lets_the_next_one_ask() {
        let breaker = opened();
        advance(PAUSE).await;
        drop(breaker.turn().expect("one may ask"));
        assert_eq!(answer(&breaker), Change::Closed);
    }

    /// What was asked before the circuit opened says nothing of now.
    #[tokio::test(start_paused = true)]
    async fn late_outcomes_change_nothing() {
        let breaker = Breaker::new(1, PAUSE);
        let (well, badly) = (breaker.turn().unwrap(), breaker.turn().unwrap());
        assert_eq!(fail(&breaker), Change::Opened);
        assert_eq!(well.answered(), Change::None);
        assert!(breaker.turn().is_none());
        advance(PAUSE).await;
        let probe = breaker.turn().expect("one may ask");
        assert_eq!(badly.failed(), Change::None);
        assert!(breaker.turn().is_none(), "the probe is still under way");
        assert_eq!(probe.answered(), Change::Closed);
    }
}
