//! Sockets: accepting them, the WebSocket handshake, reading frames, keeping them alive, closing them.
//!
//! Nothing of the HTTP connection outlives the handshake: the TCP stream is taken back and belongs to one
//! small task that reads. Writing is the hub's business.

mod boundary;
pub mod close;
mod connection;
mod heartbeat;
mod listener;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use self::heartbeat::Heartbeat;
pub use self::listener::{Bound, bind};
pub use self::upgrade::Door;
use crate::hub::Bounds;
use crate::node::Node;

#[derive(Debug, Clone)]
pub struct Config {
    pub max_connections: usize,
    pub max_handshakes: usize,
    pub handshake_timeout: Duration,
    pub heartbeat: Duration,
    pub close_timeout: Duration,
    pub max_frame_bytes: usize,
    pub bad_frames: usize,
    pub outbox: Bounds,
    /// Origins a browser may come from; `None` is any.
    pub allowed_origins: Option<Vec<String>>,
}

/// What all sockets of a node share.
pub struct Transport {
    node: Arc<Node>,
    config: Config,
    heartbeat: Heartbeat,
    /// One permit an open socket.
    room: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Transport {
    pub fn new(node: Arc<Node>, config: Config) -> Arc<Self> {
        Arc::new(Self {
            node,
            heartbeat: Heartbeat::new(config.heartbeat),
            room: Arc::new(Semaphore::new(config.max_connections)),
            tasks: TaskTracker::new(),
            config,
        })
    }

    /// Turns the heartbeat's wheel for as long as it is awaited.
    pub async fn keep_alive(&self) {
        self.heartbeat.turn().await;
    }

    /// Closes every socket and waits until they are gone, which takes at most the close timeout.
    pub async fn close_all(&self, code: u16, reason: &str) {
        self.node.close_all(code, reason);
        self.tasks.close();
        self.tasks.wait().await;
    }
}
