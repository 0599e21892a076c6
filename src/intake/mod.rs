//! Match events out of a RabbitMQ queue: each makes one session, however often it is delivered.
//!
//! Every node with RABBITMQ_URL consumes the same queue, and an event is acknowledged only when its session has been
//! committed to the backplane: a node, the broker or Redis may die at any moment, and the event comes again. What can
//! never become a session goes to the queue's `.dead`. Knows no JSON, no room and no Redis: `dialects` reads an event and
//! `node` makes the session, as for REST.

mod broker;
mod consumer;
mod dead;
mod delivery;
mod pause;
mod place;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::broker::Broker;
use self::consumer::End;
use self::dead::Dead;
use self::delivery::Work;
use self::pause::Pause;
use self::place::Place;
pub use self::place::{Wrong, check};
use crate::backplane::Link;
use crate::node::Node;
use crate::telemetry::metrics::metrics;

#[derive(Debug, Clone)]
pub struct Config {
    pub url: String,
    /// Certificates that TLS trusts instead of the system's.
    pub ca: Option<PathBuf>,
    pub queue: String,
    /// Events in flight on this node.
    pub prefetch: u16,
    /// A larger event is none.
    pub event_bytes: usize,
    /// Longest pause between two tries to reach the broker.
    pub reconnect_max: Duration,
    /// What the broker calls our connections.
    pub name: String,
}

/// The first pause between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A connection that held this long was a good one: trying again begins with the first pause.
const STEADY: Duration = Duration::from_secs(30);
/// How long the backplane may be away until events are left to other nodes.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Amqp(#[from] lapin::Error),
    #[error("the broker took longer than {0:?}")]
    Late(Duration),
    #[error("the broker cancelled the consumer, as it does when a queue is deleted or moved")]
    Cancelled,
    #[error("the queue for dead events does not take this one")]
    Refused,
    #[error("the queue for dead events is not there any more")]
    Unroutable,
}

/// Takes events until it is told to leave.
pub struct Intake {
    taker: Arc<Taker>,
    leaving: CancellationToken,
    tasks: TaskTracker,
}

impl Intake {
    pub fn new(config: Config, node: Arc<Node>) -> Result<Self, Wrong> {
        let broker = Arc::new(Broker::new(Place::read(&config)?, &config.name));
        Ok(Self {
            taker: Arc::new(Taker {
                link: node.follow_link(),
                work: Work {
                    node,
                    dead: Dead::new(broker.clone(), &config.queue),
                    event_bytes: config.event_bytes,
                },
                broker,
                config,
            }),
            leaving: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    pub fn start(&self) {
        metrics().intake_begins();
        let (taker, leaving) = (self.taker.clone(), self.leaving.clone());
        self.tasks.spawn(async move { taker.take(&leaving).await });
    }

    /// From here on it takes no more events; those in flight are brought to their end.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Ends when that is done; it takes some seconds at most.
    pub async fn left(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

struct Taker {
    config: Config,
    broker: Arc<Broker>,
    work: Work,
    link: watch::Receiver<Link>,
}

impl Taker {
    /// Consumes, and begins again whenever that ended without being asked for.
    async fn take(&self, leaving: &CancellationToken) {
        let mut pause = Pause::new(FIRST_PAUSE, self.config.reconnect_max);
        let mut told = false;
        // Who can make no sessions leaves the events to others.
        while leaving.run_until_cancelled(self.linked()).await.is_some() {
            let began = Instant::now();
            let end = self.consume(leaving).await;
            metrics().intake_connected(false);
            if began.elapsed() > STEADY {
                (pause, told) = (Pause::new(FIRST_PAUSE, self.config.reconnect_max), false);
            }
            match end {
                Ok(End::Left) => break,
                Ok(End::Unlinked) => {
                    tracing::warn!("the backplane is away: match events are left to other nodes");
                    continue;
                }
                // Told once: it goes on until somebody does something about it.
                Err(error) if !told => {
                    tracing::warn!(%error, "no match events: RabbitMQ is tried again and again");
                    told = true;
                }
                Err(error) => tracing::debug!(%error, "RabbitMQ is still away"),
            }
            let pause = tokio::time::sleep(pause.next());
            if leaving.run_until_cancelled(pause).await.is_none() {
                break;
            }
        }
        self.work.dead.close().await;
    }

    async fn linked(&self) {
        let mut link = self.link.clone();
        if link.wait_for(|link| *link == Link::Up).await.is_err() {
            // Nobody will say so any more: the node is on its way out.
            std::future::pending().await
        }
    }

    /// Ends when the backplane has been away for too long.
    async fn unlinked(&self) {
        let mut link = self.link.clone();
        while link.wait_for(|link| *link != Link::Up).await.is_ok() {
            if tokio::time::timeout(PATIENCE, self.linked()).await.is_err() {
                return;
            }
        }
        std::future::pending().await
    }
}
