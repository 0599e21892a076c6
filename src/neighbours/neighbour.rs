//! Asks one neighbour for JSON over HTTP. Nothing it does keeps anybody longer than the timeout, or costs more than a
//! bounded answer; while it fails it is left alone. Bodies and tokens stand in no log.

use std::time::Duration;

use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, StatusCode, Url};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::Access;
use super::breaker::{Breaker, Change};
use crate::http::fetch;
use crate::telemetry::metrics::{NeighbourMetrics, metrics};

/// Longest answer, in bytes.
const MAX_BODY: usize = 64 * 1024;
const MAX_REDIRECTS: usize = 3;
/// Shorter than the 5 s after which common servers hang up: a connection must not be used as it ends.
const IDLE: Duration = Duration::from_secs(4);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Away {
    #[error("{0}")]
    Failed(String),
    #[error("it did not answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    #[error("it failed too often, and is asked again in a while")]
    Open,
    #[error("too many ask it at once")]
    Busy,
}

impl Away {
    fn result(&self) -> &'static str {
        match self {
            Away::Failed(_) => "failed",
            Away::Timeout(_) => "timeout",
            Away::Open => "open",
            Away::Busy => "busy",
        }
    }
}

pub struct Neighbour {
    name: &'static str,
    url: Url,
    client: Client,
    timeout: Duration,
    /// One permit a request.
    turns: Semaphore,
    breaker: Breaker,
    metrics: NeighbourMetrics,
}

impl Neighbour {
    pub fn new(name: &'static str, access: &Access) -> Result<Self, String> {
        let url = fetch::url(&access.url).ok_or("its URL is not http:// or https:// and a host")?;
        let client = Client::builder()
            // A proxy from the environment would be a setting that no table shows.
            .no_proxy()
            .referer(false)
            .redirect(Policy::custom(same_origin))
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(fetch::reasons)?;
        Ok(Self {
            name,
            url,
            client,
            timeout: access.timeout,
            turns: Semaphore::new(access.requests),
            breaker: Breaker::new(access.failures, access.pause),
            metrics: metrics().neighbour(name),
        })
    }

    /// What is at a path below the URL; `None` when there is no such thing.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Away> {
        let found = self.in_turn(path).await;
        let result = match &found {
            Ok(Some(_)) => "ok",
            Ok(None) => "not_found",
            Err(away) => away.result(),
        };
        self.metrics.asked(result, 1);
        found
    }

    async fn in_turn<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Away> {
        let Ok(Ok(_turn)) = timeout(self.timeout, self.turns.acquire()).await else {
            return Err(Away::Busy);
        };
        // Behind the wait: what was true before it may not be any more.
        let turn = self.breaker.turn().ok_or(Away::Open)?;
        let asked = Instant::now();
        let found = match timeout(self.timeout, self.fetch(path)).await {
            Ok(found) => found.map_err(Away::Failed),
            Err(_) => Err(Away::Timeout(self.timeout)),
        };
        self.metrics.took(asked.elapsed());
        let change = match &found {
            Ok(_) => turn.answered(),
            Err(_) => turn.failed(),
        };
        self.note(change, found.as_ref().err());
        found
    }

    /// A failure is told when the circuit opens, and not again until it closes.
    fn note(&self, change: Change, why: Option<&Away>) {
        let neighbour = self.name;
        let error = why.map(tracing::field::display);
        match change {
            Change::None if why.is_none() => {}
            Change::None => tracing::debug!(neighbour, error, "a neighbour failed"),
            Change::Opened => {
                self.metrics.open(true);
                tracing::warn!(
                    neighbour,
                    error,
                    "a neighbour keeps failing: it is left alone"
                );
            }
            Change::Closed => {
                self.metrics.open(false);
                tracing::info!(neighbour, "a neighbour answers again");
            }
        }
    }

    async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, String> {
        let mut url = self.url.clone();
        let below = self.url.path().trim_end_matches('/');
        url.set_path(&format!("{below}{path}"));
        let answer = self.client.get(url).send().await;
        let answer = answer.map_err(fetch::reasons)?;
        match answer.status() {
            // Also what it calls a bad request: nothing but the id differs between requests, and who comes with an odd
            // one must not open the circuit for everybody.
            StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::BAD_REQUEST
            | StatusCode::UNPROCESSABLE_ENTITY => return Ok(None),
            status if !status.is_success() => {
                return Err(format!("it answers {}", status.as_u16()));
            }
            _ => {}
        }
        let body = fetch::body(answer, MAX_BODY).await?;
        let read = serde_json::from_slice(&body);
        // Where, not what: the error would quote the body.
        let wrong = |error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            format!("its answer cannot be read at line {line}, column {column}")
        };
        read.map(Some).map_err(wrong)
    }
}

/// Whoever is named in the URL answers, nobody else.
fn same_origin(attempt: Attempt<'_>) -> Action {
    let first = attempt.previous().first().map(Url::origin);
    if first != Some(attempt.url().origin()) {
        return attempt.error("it redirects elsewhere");
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("it redirects too often");
    }
    attempt.follow()
}
