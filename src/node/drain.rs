//! How a node leaves: nobody new is sent to it, then its sockets are asked to come back elsewhere, a few at a
//! time, and their users have not left unless they stay away.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use rand::seq::SliceRandom;
use tokio::time::Instant;

use super::Node;
use crate::backplane::Link;
use crate::telemetry::metrics::metrics;

/// Close code of a socket that should come back, here or elsewhere.
pub const RESTARTING: u16 = 1012;

/// Shortest time over which sockets are closed: a close of all at once would lose close frames.
const LEAST_WINDOW: Duration = Duration::from_secs(1);
/// Time for what inboxes were told to be written down.
const MARKS: Duration = Duration::from_secs(1);
/// Time for texts of recorded sessions to be saved.
const TEXTS: Duration = Duration::from_secs(4);
/// How often some of the sockets are closed.
const STEP: Duration = Duration::from_millis(10);

#[derive(Debug, Clone)]
pub struct Config {
    /// From the moment readiness is off until sockets are closed.
    pub delay: Duration,
    /// Sockets closed in a second.
    pub rate: u64,
    /// Longest time over which they are closed.
    pub window: Duration,
}

impl Config {
    /// Over which time so many sockets are closed, or asked to come back.
    pub(super) fn window_for(&self, sockets: usize) -> Duration {
        let needed = Duration::from_secs_f64(sockets as f64 / self.rate as f64);
        needed.max(LEAST_WINDOW).min(self.window)
    }
}

/// How far a node is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Stage {
    Serving,
    /// Not ready for more, but whoever comes is served.
    Draining,
    /// Nobody new, and those who are here go.
    Closing,
}

/// The reason of a close with [`RESTARTING`]: when to come back, some time within `window`, so that not all
/// come at once.
pub fn come_back_in(window: Duration) -> String {
    let wait = rand::rng().random_range(0..=window.as_millis() as u64);
    come_back_after(Duration::from_millis(wait))
}

/// The same with a time that was chosen.
pub fn come_back_after(wait: Duration) -> String {
    format!(r#"{{"retry_in_ms":{}}}"#, wait.as_millis())
}

impl Node {
    /// True from the moment the node begins to leave.
    pub fn is_draining(&self) -> bool {
        self.is_at(Stage::Draining)
    }

    /// True when nobody new is let in.
    pub fn is_closing(&self) -> bool {
        self.is_at(Stage::Closing)
    }

    /// Readiness goes off; balancers get the delay to see that. In a hurry there is none.
    pub async fn begin_drain(&self, hurry: bool) {
        self.enter(Stage::Draining);
        metrics().draining(true);
        if hurry {
            return;
        }
        let until = Instant::now() + self.config.drain.delay;
        while Instant::now() < until {
            metrics().drain_remaining(self.hub.socket_count());
            let step = LEAST_WINDOW.min(until - Instant::now());
            tokio::time::sleep(step).await;
        }
    }

    /// Closes every socket with 1012, in no order, at the pace of the settings; in a hurry at once.
    pub async fn close_paced(&self, hurry: bool) {
        self.enter(Stage::Closing);
        let mut sockets = self.hub.sockets();
        sockets.shuffle(&mut rand::rng());
        let window = self.config.drain.window_for(sockets.len());
        tracing::info!(
            sockets = sockets.len(),
            window_s = window.as_secs_f64(),
            "closing"
        );
        let (began, count) = (Instant::now(), sockets.len());
        for (at, socket) in sockets.into_iter().enumerate() {
            let due = began + window.mul_f64(at as f64 / count as f64);
            if !hurry && due > Instant::now() + STEP {
                metrics().drain_remaining(self.hub.socket_count());
                tokio::time::sleep_until(due).await;
            }
            socket.close(RESTARTING, &come_back_in(window));
        }
    }

    /// Ends what the node has running. Its sockets must be gone before. Members stay where they are, for
    /// whoever reaps this node when the grace is over; with nobody who stays to do that it is done at once.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.farewells.close();
        self.farewells.wait().await;
        self.chores.close();
        self.chores.wait().await;
        self.texts.stop().await;
        metrics().drain_remaining(0);
        let _no_beat = self.beating.lock().await;
        if self.link() == Link::Up {
            // What could not be written down in time is told again.
            let _ = tokio::time::timeout(MARKS, self.write_marks()).await;
            let saved = tokio::time::timeout(TEXTS, self.save_texts()).await;
            if saved.is_err() {
                tracing::warn!(
                    "the database does not take all texts: they are in Redis for a while"
                );
            }
            let last = !self.totals.others_stay(self.id());
            self.totals.count(self).await;
            let gone = async {
                if last {
                    self.take_out(self.id()).await?;
                    return self.backplane.forget(self.id()).await;
                }
                self.backplane
                    .depart(self.id(), self.config.leave_grace)
                    .await
            };
            if let Err(error) = gone.await {
                tracing::warn!(%error, "the lease could not be given up: it runs out by itself");
            }
        }
        self.backplane.close().await;
        self.relay.stop().await;
    }

    fn enter(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::SeqCst);
    }

    fn is_at(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::SeqCst) >= stage as u8
    }
}
