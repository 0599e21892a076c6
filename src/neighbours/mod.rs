//! Other services that this one asks: who a user is, what an agent is.
//!
//! Each is asked by one [`Neighbour`], which bounds time, size and number of requests, and asks no more for a while when
//! it fails (`breaker.rs`). What is known of one thing by its id is kept by a [`Directory`]: thousands who come at once
//! for the same id cost one request. What follows from an answer, or from none, is not decided here.

mod agents_service;
mod breaker;
mod directory;
mod neighbour;
mod user_service;

use std::fmt;
use std::time::Duration;

pub use self::agents_service::{AgentCard, AgentsService};
use self::directory::Directory;
pub use self::neighbour::{Away, Neighbour};
pub use self::user_service::{User, UserService};
use crate::http::fetch;

/// Which neighbours there are, and how they are asked.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub users: Option<UserConfig>,
    pub agents: Option<Access>,
}

#[derive(Debug, Clone)]
pub struct UserConfig {
    pub access: Access,
    /// Whether only those come in whom the service knows.
    pub required: bool,
}

/// How one neighbour is asked, and what is kept of its answers.
#[derive(Clone)]
pub struct Access {
    pub url: String,
    /// For an answer, from the connection to the last byte; and before that for a turn.
    pub timeout: Duration,
    /// How long an answer is believed.
    pub ttl: Duration,
    /// Answers kept.
    pub answers: u64,
    /// Requests at once.
    pub requests: usize,
    /// Failures one after the other, until it is asked no more for the pause.
    pub failures: u32,
    pub pause: Duration,
}

/// The URL may hold a password.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("timeout", &self.timeout)
            .field("ttl", &self.ttl)
            .field("answers", &self.answers)
            .field("requests", &self.requests)
            .field("failures", &self.failures)
            .field("pause", &self.pause)
            .finish_non_exhaustive()
    }
}

/// Whether a neighbour can be asked there: `http` or `https`, a host, and nothing behind the path, which is continued.
pub fn is_url(text: &str) -> bool {
    fetch::url(text).is_some_and(|url| url.query().is_none() && url.fragment().is_none())
}

/// The neighbours that there are.
#[derive(Default)]
pub struct Neighbours {
    pub users: Option<UserService>,
    pub agents: Option<AgentsService>,
}

impl Neighbours {
    pub fn new(config: &Config) -> Result<Self, String> {
        let users = config.users.as_ref().map(UserService::new);
        let agents = config.agents.as_ref().map(AgentsService::new);
        Ok(Self {
            users: users.transpose()?,
            agents: agents.transpose()?,
        })
    }
}
