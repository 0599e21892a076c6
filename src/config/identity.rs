//! The settings of identity: who is believed, and with which keys.

use super::{Bad, Config, Given, Reader};
use crate::auth;
use crate::auth::jwks;
use crate::node::accounts;

/// Shortest secret, in characters: what is shorter can be guessed from one token, offline.
const SHORTEST_SECRET: usize = 16;

impl Config {
    /// The keys alone, also those that AUTH=open leaves aside: for making a token.
    pub fn keys(given: &Given) -> Result<auth::Config, Vec<Bad>> {
        let mut bad = Vec::new();
        let keys = Reader {
            given,
            bad: &mut bad,
        }
        .keys();
        if bad.is_empty() { Ok(keys) } else { Err(bad) }
    }
}

impl Reader<'_> {
    /// Whether identity is what the query says.
    pub(super) fn is_open(&self) -> bool {
        self.given.value("AUTH").eq_ignore_ascii_case("open")
    }

    /// What tokens are verified with, and whether everybody needs one.
    pub(super) fn auth(&mut self) -> Option<auth::Config> {
        let mode = self.choice("AUTH");
        let keys = self.keys();
        let keys = auth::Config {
            required: mode? != "open",
            ..keys
        };
        if !keys.required {
            return Some(keys);
        }
        if keys.secrets.is_empty() && keys.jwks.is_none() {
            let right = "token together with JWT_SECRET or JWKS_URL, or open";
            self.refuse("AUTH", right.to_owned());
            return None;
        }
        Some(keys)
    }

    pub(super) fn accounts(&mut self) -> accounts::Config {
        accounts::Config {
            token_ttl: self.seconds("TOKEN_TTL"),
            tokens: self.size("MAX_TOKENS_PER_ACCOUNT"),
            hashes: self.size("PASSWORD_HASHES"),
        }
    }

    fn keys(&mut self) -> auth::Config {
        auth::Config {
            required: true,
            secrets: self.secrets(),
            jwks: self.jwks(),
            issuer: self.unless_empty("JWT_ISSUER"),
            audience: self.unless_empty("JWT_AUDIENCE"),
        }
    }

    /// When they are wrong they are told of, and still count as given.
    fn secrets(&mut self) -> Vec<String> {
        let Some(list) = self.unless_empty("JWT_SECRET") else {
            return Vec::new();
        };
        let secrets: Vec<String> = list.split(',').map(|one| one.trim().to_owned()).collect();
        let short = |secret: &String| secret.chars().count() < SHORTEST_SECRET;
        if secrets.iter().any(short) {
            self.refuse_by_rule("JWT_SECRET");
        }
        secrets
    }

    fn jwks(&mut self) -> Option<jwks::Config> {
        let (refresh, timeout) = (self.seconds("JWKS_REFRESH"), self.seconds("JWKS_TIMEOUT"));
        let url = self.unless_empty("JWKS_URL")?;
        if !jwks::is_url(&url) {
            self.refuse_by_rule("JWKS_URL");
        }
        Some(jwks::Config {
            url,
            refresh,
            timeout,
        })
    }

    fn unless_empty(&mut self, name: &'static str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    pub(super) fn refuse_by_rule(&mut self, name: &'static str) {
        let right = self.given.setting(name).right.to_string();
        self.refuse(name, right);
    }
}
