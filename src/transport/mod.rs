//! Sockets: accepting them, the WebSocket handshake, reading frames, keeping them alive, closing them.
//!
//! Nothing of the HTTP connection outlives the handshake: the TCP stream is taken back and belongs to one
//! small task that reads. Writing is the hub's business.

mod address;
mod asking;
mod boundary;
pub mod close;
mod connection;
mod dial;
mod door;
mod engine;
mod handshake;
mod heartbeat;
mod intake;
mod knock;
mod listener;
mod origin;
mod passing;
mod polling;
mod protocol;
mod refusal;
pub mod tls;
mod upgrade;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use ipnet::IpNet;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub use self::address::PROXY_LOCAL;
pub use self::door::Door;
pub use self::handshake::is_upgrade;
use self::heartbeat::Heartbeat;
pub use self::listener::{Bound, bind};
pub use self::origin::Origins;
use self::passing::Passing;
use crate::hub::Bounds;
use crate::limits::{self, Limits};
use crate::node::Node;

#[derive(Debug, Clone)]
pub struct Config {
    pub max_connections: usize,
    pub max_handshakes: usize,
    pub handshakes_per_address: usize,
    /// Longest life of a connection that does not become a socket.
    pub http_age: Duration,
    pub handshake_timeout: Duration,
    pub heartbeat: Duration,
    pub close_timeout: Duration,
    pub max_frame_bytes: usize,
    pub bad_frames: usize,
    pub outbox: Bounds,
    pub origins: Origins,
    /// Whose word on a client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections from trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
    pub limits: limits::Config,
    pub tls: Option<tls::Config>,
    /// Requests that are passed to other nodes at once, and the time in which one of those is reached.
    pub max_passed: usize,
    pub pass_timeout: Duration,
}

/// How often what the limits remember is looked through.
const TIDY: Duration = Duration::from_secs(60);

/// What all sockets of a node share.
pub struct Transport {
    node: Arc<Node>,
    config: Config,
    heartbeat: Heartbeat,
    limits: Limits,
    /// One permit an open socket.
    room: Arc<Semaphore>,
    /// One permit a connection that is told by a close frame why it may not come in.
    farewells: Arc<Semaphore>,
    /// Clients that come by requests, by their sids.
    polled: DashMap<String, engine::Known>,
    passing: Passing,
    /// What this node and so the others speak TLS with.
    peers: Option<Arc<tls::Tls>>,
    tasks: TaskTracker,
}

impl Transport {
    pub fn new(node: Arc<Node>, config: Config, peers: Option<Arc<tls::Tls>>) -> Arc<Self> {
        Arc::new(Self {
            node,
            heartbeat: Heartbeat::new(config.heartbeat),
            limits: Limits::new(config.limits),
            room: Arc::new(Semaphore::new(config.max_connections)),
            farewells: Arc::new(Semaphore::new(config.max_handshakes)),
            polled: DashMap::new(),
            passing: Passing::new(config.max_passed),
            peers,
            tasks: TaskTracker::new(),
            config,
        })
    }

    /// Turns the heartbeat's wheel and tidies the limits, for as long as it is awaited.
    pub async fn keep_alive(&self) {
        let tidy = async {
            loop {
                tokio::time::sleep(TIDY).await;
                self.limits.tidy();
            }
        };
        tokio::join!(self.heartbeat.turn(), tidy);
    }

    /// Waits until every socket is gone. They have been asked to; each takes at most the close timeout.
    /// Whoever comes and is refused meanwhile is not waited for.
    pub async fn emptied(&self) {
        self.passing.stop();
        self.tasks.close();
        let most = self.config.close_timeout + Duration::from_secs(1);
        if tokio::time::timeout(most, self.tasks.wait()).await.is_err() {
            tracing::info!(tasks = self.tasks.len(), "not everybody is gone");
        }
    }
}
