//! What the sockets of a measurement heard: deliveries, acknowledgements and errors, and how long the first two took.

use hdrhistogram::Histogram;

use crate::generator::Listener;
use crate::{host, report, stamp};

/// Every so-many-th socket has its latencies taken; prime to ten, so that all places in a room are met.
const SAMPLED: usize = 7;

/// Counts deliveries and takes latencies on sampled sockets.
#[derive(Debug)]
pub struct Tally {
    pub delivered: u64,
    pub bytes: u64,
    pub errors: u64,
    pub first_error: Option<String>,
    pub latency: Histogram<u64>,
    /// Of every message that has an id, from its sender's write to its sender's read.
    pub acknowledgement: Histogram<u64>,
    /// When the last sampled delivery was heard, or the last acknowledgement.
    pub last: u64,
    finder: stamp::Finder,
    id_finder: stamp::Finder,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            delivered: 0,
            bytes: 0,
            errors: 0,
            first_error: None,
            latency: report::histogram(),
            acknowledgement: report::histogram(),
            last: 0,
            finder: stamp::Finder::default(),
            id_finder: stamp::Finder::of_ids(),
        }
    }
}

impl Listener for Tally {
    fn heard(&mut self, socket: usize, payload: &[u8]) {
        match self.finder.find(payload) {
            Some(at) => {
                self.delivered += 1;
                self.bytes += payload.len() as u64;
                if socket.is_multiple_of(SAMPLED)
                    && let Some(sent) = stamp::read(payload, at)
                {
                    self.last = host::now();
                    self.latency
                        .saturating_record(self.last.saturating_sub(sent));
                }
            }
            None => self.answered(payload),
        }
    }
}

impl Tally {
    fn answered(&mut self, payload: &[u8]) {
        if payload.windows(7).any(|window| window == b"\"error\"") {
            self.errors += 1;
            self.first_error
                .get_or_insert_with(|| String::from_utf8_lossy(payload).into_owned());
        } else if let Some(at) = self.id_finder.find(payload)
            && let Some(sent) = stamp::read(payload, at)
        {
            self.last = host::now();
            let took = self.last.saturating_sub(sent);
            self.acknowledgement.saturating_record(took);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the counts: an error that names its message's id is no acknowledgement, and neither is a delivery.
    #[test]
    fn what_is_heard_is_told_apart() {
        let mut tally = Tally::default();
        let id = stamp::id();
        let ack = format!(r#"{{"type":"ack","seq":7,"id":"{id}"}}"#);
        let error = format!(r#"{{"type":"error","code":"records_unavailable","id":"{id}"}}"#);
        let chat = format!(
            r#"{{"type":"chat_message","content":"{}"}}"#,
            stamp::text(30)
        );
        for frame in [&ack, &ack, &error, &chat, r#"{"type":"user_joined"}"#] {
            tally.heard(0, frame.as_bytes());
        }
        let acknowledged = tally.acknowledgement.len();
        assert_eq!((tally.delivered, acknowledged, tally.errors), (1, 2, 1));
        assert_eq!(tally.first_error, Some(error));
    }
}
