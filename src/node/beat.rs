//! The node's word that it lives, again and again, and what it learns with the answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Node;

/// A node is looked for so much after its time was up: at the moment itself it might just live.
const AFTER_DEATH: Duration = Duration::from_millis(20);

impl Node {
    /// Says every few seconds that this node lives and what it has, until it stops.
    pub async fn beat(self: Arc<Self>) {
        let mut every = tokio::time::interval(self.config.beat_every);
        let mut link = self.backplane.link();
        // Whoever is silent is noticed when its time is up, not at the next tick.
        let mut next_death = None;
        loop {
            let death = async {
                match next_death {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let next = async {
                // Nobody is let in without a lease: a link that comes up does not wait for the next tick.
                tokio::select! {
                    _ = every.tick() => {}
                    Ok(()) = link.changed() => {}
                    () = self.beat_now.notified() => {}
                    () = death => {}
                }
            };
            if self.stopping.run_until_cancelled(next).await.is_none() {
                return;
            }
            let _turn = self.beating.lock().await;
            if self.stopping.is_cancelled() {
                return;
            }
            self.notice_pause();
            self.roster.couriers.tidy();
            next_death = None;
            let asked = Instant::now();
            let Some(beat) = self.totals.beat(&self).await else {
                self.put_off_reaping();
                continue;
            };
            self.life.has_beaten(asked);
            next_death = beat
                .next_death
                .map(|left| Instant::now() + left + AFTER_DEATH);
            self.learn_secret().await;
            self.leased.store(true, Ordering::Relaxed);
            if beat.lost {
                tracing::warn!("this node's lease had run out: its members are entered again");
            }
            self.rise(beat.lost);
            self.reap(&beat.dead);
            if !self.totals.is_counting() {
                let node = self.clone();
                // Beside the beat, which must not wait: on a cluster another server may have the totals.
                self.chores
                    .spawn(async move { node.totals.count(&node).await });
            }
        }
    }
}
