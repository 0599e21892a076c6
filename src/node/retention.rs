//! Forgets what is older than it is to be kept, a batch at a time, by one node.

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use crate::backplane::Link;
use crate::clock::Millis;
use crate::records;

/// Between times that old rows are looked for, and the wait for the first, or when the database was away.
const EVERY: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(2);
/// Rows of one statement, and the pause behind it, so that others have their turn.
const BATCH: u32 = 500;
const PAUSE: Duration = Duration::from_millis(200);
const DAY: Duration = Duration::from_secs(86_400);

/// How long rows are kept; `None`: for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub events: Option<Duration>,
    pub messages: Option<Duration>,
    pub runs: Option<Duration>,
}

impl Config {
    /// Reads `events=90,messages=365`, in days; `None` when it is not of that form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut config = Self::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (table, days) = part.split_once('=')?;
            let days: u32 = days.trim().parse().ok().filter(|days| *days > 0)?;
            let kept = Some(DAY * days);
            match table.trim() {
                "events" => config.events = kept,
                "messages" => config.messages = kept,
                "runs" => config.runs = kept,
                _ => return None,
            }
        }
        Some(config)
    }
}

impl Node {
    /// Looks for old rows again and again, until the node stops.
    pub async fn forget_old(self: Arc<Self>) {
        let Some(records) = self.records().cloned() else {
            return;
        };
        let mut wait = SOON;
        loop {
            let pause = tokio::time::sleep(wait);
            if self.stopping.run_until_cancelled(pause).await.is_none() {
                return;
            }
            wait = EVERY;
            if self.is_first()
                && let Err(error) = self.forget(&records).await
            {
                tracing::debug!(%error, "old rows are deleted another time");
                wait = SOON;
            }
        }
    }

    /// Of the nodes that live, the one that does this.
    fn is_first(&self) -> bool {
        self.link() == Link::Up && self.totals.is_first(self.id())
    }

    async fn forget(&self, records: &records::Records) -> Result<(), records::Error> {
        let now = self.clock().now();
        let before = |kept: Duration| now - kept.as_millis() as Millis;
        let (mut events, mut messages, mut runs) = (0, 0, 0);
        if let Some(kept) = self.config.retention.events {
            loop {
                let gone = records.prune_events(before(kept), BATCH).await?;
                events += gone;
                if gone < u64::from(BATCH) || self.pause().await {
                    break;
                }
            }
        }
        if let Some(kept) = self.config.retention.messages {
            loop {
                let gone = records.prune_messages(before(kept), BATCH).await?;
                messages += gone;
                if gone < u64::from(BATCH) || self.pause().await {
                    break;
                }
            }
        }
        if let Some(kept) = self.config.retention.runs {
            loop {
                let gone = records.prune_runs(before(kept), BATCH).await?;
                runs += gone;
                if gone < u64::from(BATCH) || self.pause().await {
                    break;
                }
            }
        }
        if events + messages + runs > 0 {
            tracing::info!(events, messages, runs, "old rows are deleted");
        }
        Ok(())
    }

    /// True when the node stops.
    async fn pause(&self) -> bool {
        let pause = tokio::time::sleep(PAUSE);
        self.stopping.run_until_cancelled(pause).await.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_by_table() {
        let both = Config::parse("events=90, messages=365,runs=7").unwrap();
        assert_eq!(both.events, Some(DAY * 90));
        assert_eq!(both.messages, Some(DAY * 365));
        assert_eq!(both.runs, Some(DAY * 7));
        assert_eq!(Config::parse(""), Some(Config::default()));
        for wrong in ["events", "events=0", "events=x", "sessions=3", "events=-1"] {
            assert_eq!(Config::parse(wrong), None, "{wrong}");
        }
    }
}
