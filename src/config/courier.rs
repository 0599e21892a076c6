//! The settings of the courier: inboxes, and which events are known. And of what is said to everybody.

use std::sync::Arc;

use super::{Reader, parse};
use crate::backplane::InboxKeep;
use crate::limits::Postage;
use crate::node::lobby;

impl Reader<'_> {
    pub(super) fn inbox(&mut self) -> InboxKeep {
        InboxKeep {
            absent: self.choice("INBOX") == Some("on"),
            length: self.whole("INBOX_LENGTH"),
            bytes: self.whole("INBOX_BYTES"),
            ttl: self.seconds("INBOX_TTL"),
        }
    }

    pub(super) fn postage(&mut self) -> Postage {
        Postage {
            bytes: self.rate("COURIER_BYTE_RATE"),
            burst: self.rate("COURIER_BYTE_BURST"),
        }
    }

    pub(super) fn notices(&mut self) -> lobby::Config {
        lobby::Config {
            data_bytes: self.size("MAX_NOTIFICATION_BYTES"),
            users: self.size("MAX_NOTIFICATION_USERS"),
        }
    }

    pub(super) fn event_types(&mut self) -> Arc<[String]> {
        let list = self.text("COURIER_EVENT_TYPES");
        let words = list
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        let words: Vec<String> = words.map(str::to_owned).collect();
        if !words.iter().all(|word| parse::is_word(word)) {
            self.refuse_by_rule("COURIER_EVENT_TYPES");
        }
        words.into()
    }

    /// As clients of the courier connect to it.
    pub(super) fn public_url(&mut self) -> Option<String> {
        let given = self.text("PUBLIC_URL");
        if given.is_empty() {
            return None;
        }
        let url = parse::socket_url(&given);
        if url.is_none() {
            self.refuse_by_rule("PUBLIC_URL");
        }
        url
    }
}
