//! The keys an issuer publishes at a URL: fetched, kept, and fetched again when a token names another.
//!
//! One loop fetches, at start, every so often, and when it is asked to; whoever meets an unknown key asks
//! and waits for that one fetch, so a thousand handshakes cost the host one request, and a caller that gives
//! up cancels nothing. Keys once fetched stay in use for as long as the host is away. This part knows no
//! token and no claim.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use parking_lot::Mutex;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::BadToken;
use super::keys::{Key, Keys};
use crate::http::fetch;

/// Between two fetches asked for by unknown keys: a flood of them must not become one at the host.
const ASKED_EVERY: Duration = Duration::from_secs(10);
/// Until the next try when the host was away.
const RETRY: Duration = Duration::from_secs(10);
/// Longer than a fetch may take, so that its outcome is heard.
const MARGIN: Duration = Duration::from_millis(500);
const MAX_BODY: usize = 1024 * 1024;
const MAX_REDIRECTS: usize = 3;

#[derive(Clone)]
pub struct Config {
    pub url: String,
    /// Between two fetches when nobody asks.
    pub refresh: Duration,
    /// Of one fetch, from the connection to the last byte.
    pub timeout: Duration,
}

/// The URL may hold a password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("refresh", &self.refresh)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Whether keys can be fetched from there: `http` or `https`, with a host.
pub fn is_url(text: &str) -> bool {
    fetch::url(text).is_some()
}

pub(super) struct Jwks {
    config: Config,
    url: Url,
    client: Client,
    state: Mutex<State>,
    asked: Notify,
    /// Counts fetches that ended, well or not.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<Keys>>,
    /// The last fetch failed.
    away: bool,
    wanted: bool,
    fetching: bool,
    asked_at: Option<Instant>,
}

impl Jwks {
    pub(super) fn new(config: Config) -> Result<Self, String> {
        let url = fetch::url(&config.url).ok_or("the URL of JWKS is not http:// or https://")?;
        let client = Client::builder()
            // A proxy from the environment would be a setting that no table shows.
            .no_proxy()
            .timeout(config.timeout)
            .redirect(Policy::custom(same_scheme))
            .build()
            .map_err(|error| format!("JWKS cannot be fetched: {}", fetch::reasons(error)))?;
        Ok(Self {
            config,
            url,
            client,
            state: Mutex::default(),
            asked: Notify::new(),
            ended: watch::Sender::new(0),
        })
    }

    /// The key for a token, after a fetch when it is unknown and one may be asked for.
    pub(super) async fn key(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<Key>, BadToken> {
        if let Some(key) = self.known(id, algorithm)? {
            return Ok(key);
        }
        if let Some(mut ended) = self.ask(id) {
            let patience = self.config.timeout + MARGIN;
            let _outcome_or_not = timeout(patience, ended.changed()).await;
        }
        if let Some(key) = self.known(id, algorithm)? {
            return Ok(key);
        }
        let state = self.state.lock();
        if state.away || state.keys.is_none() {
            return Err(BadToken::Unavailable);
        }
        Err(BadToken::UnknownKey)
    }

    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Option<Arc<Key>>, BadToken> {
        let keys = self.state.lock().keys.clone();
        keys.map_or(Ok(None), |keys| keys.find(id, algorithm))
    }

    /// Asks for a fetch, or joins one; `None` when there was one a moment ago, or it would tell nothing.
    fn ask(&self, id: Option<&str>) -> Option<watch::Receiver<u64>> {
        let mut state = self.state.lock();
        if id.is_none() && state.keys.is_some() {
            return None;
        }
        let ended = self.ended.subscribe();
        if state.wanted || state.fetching {
            return Some(ended);
        }
        let now = Instant::now();
        if state.asked_at.is_some_and(|at| now - at < ASKED_EVERY) {
            return None;
        }
        state.asked_at = Some(now);
        state.wanted = true;
        self.asked.notify_one();
        Some(ended)
    }

    pub(super) async fn keep_fresh(&self) {
        loop {
            let next = Instant::now() + self.refresh().await;
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.until_wanted() => {}
            }
        }
    }

    async fn until_wanted(&self) {
        while !self.state.lock().wanted {
            self.asked.notified().await;
        }
    }

    /// One fetch, and how long to wait for the next.
    async fn refresh(&self) -> Duration {
        {
            let mut state = self.state.lock();
            state.wanted = false;
            state.fetching = true;
        }
        let fetched = self.fetch().await;
        let failed = fetched.is_err();
        let was_away = self.end(fetched.as_ref().ok().cloned());
        match fetched {
            Ok(keys) if was_away => tracing::info!(keys = keys.len(), "JWKS is back"),
            Ok(keys) => tracing::debug!(keys = keys.len(), "JWKS was fetched"),
            Err(error) if was_away => tracing::debug!(error, "JWKS is still away"),
            Err(error) => tracing::warn!(error, "JWKS cannot be fetched: keys stay as they are"),
        }
        match failed {
            false => self.config.refresh,
            true => RETRY.min(self.config.refresh),
        }
    }

    /// Takes an outcome in and tells who waits for it, in one step: who asks later waits for the next.
    fn end(&self, keys: Option<Arc<Keys>>) -> bool {
        let mut state = self.state.lock();
        let was_away = std::mem::replace(&mut state.away, keys.is_none());
        state.fetching = false;
        state.keys = keys.or(state.keys.take());
        self.ended.send_modify(|count| *count += 1);
        was_away
    }

    async fn fetch(&self) -> Result<Arc<Keys>, String> {
        let request = self.client.get(self.url.clone()).send();
        let answer = request.await.map_err(fetch::reasons)?;
        if !answer.status().is_success() {
            return Err(format!("the host answers {}", answer.status().as_u16()));
        }
        let body = fetch::body(answer, MAX_BODY).await?;
        Keys::read(&body).map(Arc::new)
    }
}

/// What a host on https vouches for must not come from where anybody can write it.
fn same_scheme(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let first = attempt.previous().first().map(Url::scheme);
    if first != Some(attempt.url().scheme()) {
        return attempt.error("it redirects to another scheme");
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("it redirects too often");
    }
    attempt.follow()
}

#[cfg(test)]
mod tests;
