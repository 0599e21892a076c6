//! What becomes of one event: a session, or a place among the dead; and only then it is acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio_util::sync::CancellationToken;

use super::{Dead, Pause};
use crate::backplane::{Created, Link};
use crate::dialects::matches::match_found;
use crate::domain::sessions::Match;
use crate::node::Node;
use crate::telemetry::metrics::metrics;

/// Between two tries for the same event.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub struct Work {
    pub node: Arc<Node>,
    pub dead: Dead,
    /// A larger event is none.
    pub event_bytes: usize,
}

impl Work {
    /// Takes as long as it takes, unless events are to be given back.
    pub async fn take(&self, delivery: Delivery, giving_back: &CancellationToken) {
        let began = Instant::now();
        let taken = match self.read(&delivery.data) {
            Ok(found) => self.open(&found, giving_back).await,
            Err(reason) => self.bury(&delivery, &reason, giving_back).await,
        };
        let answered = match taken {
            Some(result) => {
                metrics().match_event(result, began.elapsed());
                delivery.ack(BasicAckOptions::default()).await
            }
            None => {
                let again = BasicNackOptions {
                    requeue: true,
                    ..BasicNackOptions::default()
                };
                delivery.nack(again).await
            }
        };
        // The channel is gone, and whoever reads from it is told why. The event comes again, and finds its session.
        if !matches!(answered, Ok(true)) {
            tracing::debug!(tag = delivery.delivery_tag, "an event comes again");
        }
    }

    fn read(&self, body: &[u8]) -> Result<Match, String> {
        let (bytes, most) = (body.len(), self.event_bytes);
        if bytes > most {
            return Err(format!(
                "the event has {bytes} bytes; right is at most {most}"
            ));
        }
        match_found(body).map_err(|unread| match unread.field {
            Some(field) if !unread.sentence.contains(&*field) => {
                format!("{field}: {}", unread.sentence)
            }
            _ => unread.sentence,
        })
    }

    /// Makes the session, or finds that there is or was one.
    async fn open(&self, found: &Match, giving_back: &CancellationToken) -> Option<&'static str> {
        let mut pause = Pause::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let error = match self.node.open(found).await {
                Ok(Created::New) => return Some("created"),
                Ok(Created::Existing) => return Some("existing"),
                Ok(Created::Ended) => return Some("ended"),
                Err(error) => error,
            };
            metrics().match_event_retried();
            // That a link is away is told by the backplane, once.
            if self.node.link() == Link::Up {
                tracing::warn!(session = %found.session, %error, "a match made no session yet");
            }
            giving_back
                .run_until_cancelled(tokio::time::sleep(pause.next()))
                .await?;
        }
    }

    async fn bury(
        &self,
        delivery: &Delivery,
        reason: &str,
        giving_back: &CancellationToken,
    ) -> Option<&'static str> {
        let mut pause = Pause::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let Err(error) = self.dead.publish(delivery, reason).await else {
                tracing::info!(
                    reason,
                    queue = self.dead.queue(),
                    "an event makes no session"
                );
                return Some("dead");
            };
            metrics().match_event_retried();
            tracing::warn!(%error, "an event could not be put among the dead yet");
            giving_back
                .run_until_cancelled(tokio::time::sleep(pause.next()))
                .await?;
        }
    }
}
