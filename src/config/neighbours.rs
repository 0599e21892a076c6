//! The settings of the services that this one asks.

use std::time::Duration;

use super::Reader;
use crate::neighbours::{self, Access, Config, UserConfig};

impl Reader<'_> {
    pub(super) fn neighbours(&mut self) -> Config {
        let common = Access {
            url: String::new(),
            timeout: Duration::ZERO,
            ttl: Duration::ZERO,
            answers: self.whole("NEIGHBOUR_CACHE"),
            requests: self.size("NEIGHBOUR_REQUESTS"),
            failures: u32::try_from(self.whole("NEIGHBOUR_FAILURES")).unwrap_or(u32::MAX),
            pause: self.seconds("NEIGHBOUR_PAUSE"),
        };
        let required = self.choice("USER_SERVICE_MODE") == Some("require");
        let users = self.access(
            &common,
            "USER_SERVICE_URL",
            "USER_SERVICE_TIMEOUT",
            "USER_SERVICE_CACHE_TTL",
        );
        if required && users.is_none() {
            let right = "require together with USER_SERVICE_URL, or prefer";
            self.refuse("USER_SERVICE_MODE", right.to_owned());
        }
        let agents = self.access(
            &common,
            "AI_AGENTS_URL",
            "AI_AGENTS_TIMEOUT",
            "AI_AGENTS_CACHE_TTL",
        );
        Config {
            users: users.map(|access| UserConfig { access, required }),
            agents,
        }
    }

    /// Seen to also when there is no such service: a wrong word is a wrong word.
    fn access(
        &mut self,
        common: &Access,
        url: &'static str,
        timeout: &'static str,
        ttl: &'static str,
    ) -> Option<Access> {
        let access = Access {
            url: self.text(url),
            timeout: self.seconds(timeout),
            ttl: self.seconds(ttl),
            ..common.clone()
        };
        if access.url.is_empty() {
            return None;
        }
        if !neighbours::is_url(&access.url) {
            self.refuse_by_rule(url);
        }
        Some(access)
    }
}
