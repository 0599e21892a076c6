//! The settings of match events out of RabbitMQ.

use std::path::PathBuf;

use super::Reader;
use crate::intake::{Config, Wrong, check};

/// With `.dead` behind it, it must fit into AMQP's short strings.
const MAX_QUEUE: usize = 250;

impl Reader<'_> {
    pub(super) fn intake(&mut self, event_bytes: usize) -> Option<Option<Config>> {
        let (url, ca) = (self.text("RABBITMQ_URL"), self.text("RABBITMQ_CA"));
        // Seen to also when nothing comes of them: a wrong word is a wrong word.
        let prefetch = self.whole("QUEUE_PREFETCH");
        let reconnect_max = self.seconds("QUEUE_RECONNECT_MAX");
        let queue = self.text("QUEUE_NAME");
        if queue.len() > MAX_QUEUE || queue.starts_with("amq.") || queue.contains(char::is_control)
        {
            self.refuse_by_rule("QUEUE_NAME");
            return None;
        }
        if url.is_empty() {
            return Some(None);
        }
        let config = Config {
            url,
            ca: (!ca.is_empty()).then(|| PathBuf::from(ca)),
            queue,
            prefetch: u16::try_from(prefetch).unwrap_or(u16::MAX),
            event_bytes,
            reconnect_max,
            name: self.node_name(),
        };
        let (name, why) = match check(&config) {
            Ok(()) => return Some(Some(config)),
            Err(Wrong::Url(why)) => ("RABBITMQ_URL", why),
            Err(Wrong::Ca(why)) => ("RABBITMQ_CA", why),
        };
        let right = &self.given.setting(name).right;
        self.refuse(name, format!("{right} ({why})"));
        None
    }
}
