//! Carries commands in and events out: the only place that sees domain, hub and backplane together.
//!
//! A socket comes in by [`Node::join`], asks by [`Node::handle`] and goes by [`Node::leave`]. What
//! happens comes back through the [`relay`], also to the node it came from: there is one order, and it is
//! the backplane's.

mod commands;
mod listening;
pub mod relay;
mod roster;
mod sessions;
mod snapshots;
mod totals;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::commands::Handled;
use self::listening::Listening;
use self::relay::Relay;
use self::roster::Roster;
use self::totals::Totals;
use crate::backplane::{Error, Exit, Link, SharedBackplane};
use crate::clock::Clock;
use crate::dialects::{Dialect, Reply};
use crate::domain::{Command, Cursor, Limits};
use crate::hub::{Hub, Lane, Socket, frame};
use crate::ids::{NodeId, Position, Room, SessionId};
use crate::telemetry::metrics::{DoorMetrics, metrics};

/// Close code of a session that has ended: nothing to come back to.
pub const ENDED: u16 = 4410;

/// Wait before leaving a room is tried again.
const LEAVE_AGAIN: Duration = Duration::from_millis(200);

#[derive(Debug, Clone)]
pub struct Config {
    pub name: String,
    pub limits: Limits,
    pub leave_grace: Duration,
    pub autocreate: bool,
    pub relay: relay::Config,
    pub beat_every: Duration,
}

pub struct Node {
    pub id: NodeId,
    config: Config,
    hub: Arc<Hub>,
    backplane: SharedBackplane,
    relay: Relay,
    roster: Arc<Roster>,
    listening: Listening,
    totals: Totals,
    /// Farewells: they outlive their sockets by the grace.
    farewells: TaskTracker,
    stopping: CancellationToken,
    pairing: DoorMetrics,
}

/// A socket in a session: what the node must know to carry out its commands.
pub struct Participant {
    pub socket: Arc<Socket>,
    dialect: Dialect,
    room: Room,
    cursor: Option<Cursor>,
}

/// How a socket went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// It said so: the others are told at once.
    Clean,
    /// It vanished: they are told after the grace, unless the user is back.
    Lost,
}

impl Node {
    /// `outlet` is the other end of the ear that was given to the backplane.
    pub fn new(
        id: NodeId,
        config: Config,
        clock: Clock,
        hub: Arc<Hub>,
        backplane: SharedBackplane,
        outlet: relay::Outlet,
    ) -> Arc<Self> {
        let started_at = clock.now();
        let roster = Arc::new(Roster { node: id, clock });
        Arc::new(Self {
            id,
            config,
            relay: Relay::start(outlet, &hub, &backplane, &roster),
            hub,
            listening: Listening::new(backplane.clone()),
            backplane,
            roster,
            totals: Totals::new(started_at),
            farewells: TaskTracker::new(),
            stopping: CancellationToken::new(),
            pairing: door_metrics(Dialect::Pairing),
        })
    }

    pub fn link(&self) -> Link {
        *self.backplane.link().borrow()
    }

    pub fn backplane_kind(&self) -> &'static str {
        self.backplane.kind()
    }

    pub fn clock(&self) -> &Clock {
        &self.roster.clock
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Brings a socket into a session: listen, enter, then the relay takes a snapshot, greets and goes
    /// live. When it returns the greeting is queued; on an error nothing of the socket is left.
    pub async fn join(
        self: &Arc<Self>,
        session: SessionId,
        dialect: Dialect,
        socket: Arc<Socket>,
    ) -> Result<Participant, Error> {
        let room = Room::Session(session);
        self.listening.begin(&room).await?;
        self.hub.register(socket.clone());
        let participant = Participant {
            socket: socket.clone(),
            dialect,
            room: room.clone(),
            cursor: None,
        };
        let greeted = async {
            // Registered first, looked second: whoever closes all sockets has seen this one, or we see that.
            if self.is_stopping() {
                return Err(Error::Unavailable("the node is stopping".to_owned()));
            }
            let entry = self.roster.entry(&room, &socket, self.config.autocreate);
            self.backplane.enter(&room, entry).await?;
            self.relay.open(&room, socket.clone()).await
        };
        if let Err(error) = greeted.await {
            self.leave(participant, Departure::Clean);
            return Err(error);
        }
        Ok(participant)
    }

    /// Takes a socket out of its session; the rest goes on in the background.
    pub fn leave(self: &Arc<Self>, participant: Participant, departure: Departure) {
        let Participant { room, socket, .. } = participant;
        self.hub.leave(&room, &socket);
        self.hub.unregister(&socket);
        let node = self.clone();
        // The farewell must not hold the socket: the connection ends with its last owner.
        let exit = self.roster.exit(&socket);
        drop(socket);
        self.farewells.spawn(async move {
            if departure == Departure::Lost {
                let grace = tokio::time::sleep(node.config.leave_grace);
                let _ = node.stopping.run_until_cancelled(grace).await;
            }
            node.retire(&room, exit).await;
            if node.listening.end(&room).await {
                node.relay.forget(&room).await;
            }
        });
    }

    /// Leaves in the backplane; while that is away, again and again: the member must not stay. A node that
    /// stops cannot wait for it.
    async fn retire(&self, room: &Room, exit: Exit) {
        let mut link = self.backplane.link();
        loop {
            let up = async { link.wait_for(|link| *link == Link::Up).await.is_ok() };
            let reached = tokio::select! {
                biased;
                up = up => up,
                () = self.stopping.cancelled() => false,
            };
            if !reached {
                return;
            }
            match self.backplane.leave(room, exit.clone()).await {
                Err(Error::Unavailable(detail)) => {
                    tracing::debug!(%room, detail, "leaving must wait");
                    tokio::time::sleep(LEAVE_AGAIN).await;
                }
                _ => return,
            }
        }
    }

    /// Says every few seconds that this node lives and what it has, until it stops.
    pub async fn beat(&self) {
        let mut every = tokio::time::interval(self.config.beat_every);
        while self
            .stopping
            .run_until_cancelled(every.tick())
            .await
            .is_some()
        {
            self.totals.beat(self).await;
        }
    }

    pub fn socket_count(&self) -> usize {
        self.hub.socket_count()
    }

    /// True from the moment the node begins to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Begins to stop: graces are cut short, nobody new should come.
    pub fn begin_stop(&self) {
        self.stopping.cancel();
    }

    /// Closes every socket; they may come back, here or elsewhere.
    pub fn close_all(&self, code: u16, reason: &str) {
        for socket in self.hub.sockets() {
            socket.close(code, reason);
        }
    }

    /// Ends what the node has running. Its sockets must be gone before.
    pub async fn stop(&self) {
        self.begin_stop();
        self.farewells.close();
        self.farewells.wait().await;
        self.backplane.close().await;
        self.relay.stop().await;
    }

    /// Says something to one socket.
    fn say(&self, participant: &Participant, reply: &Reply<'_>) {
        let frame = self.frame(participant, reply);
        participant.socket.send(Lane::Ordered, frame);
    }

    /// Says something that tells how far the socket has been told; nothing can come in between.
    fn say_at<'a>(
        &self,
        participant: &Participant,
        make: impl FnOnce(Option<Position>) -> Reply<'a>,
    ) {
        self.hub
            .reply(&participant.room, &participant.socket, |position| {
                self.frame(participant, &make(position))
            });
    }

    fn frame(&self, participant: &Participant, reply: &Reply<'_>) -> Bytes {
        let now = self.roster.clock.now();
        let frame = frame::text_with(256, |out| participant.dialect.reply(reply, now, out));
        self.pairing.sent(1);
        metrics().sent_bytes(frame.len());
        frame
    }
}

/// The counters of a dialect's door.
fn door_metrics(dialect: Dialect) -> DoorMetrics {
    let mut kinds = Command::KINDS.to_vec();
    kinds.push(commands::BAD);
    metrics().door(dialect.door(), &kinds)
}

fn pack(value: &impl serde::Serialize) -> Bytes {
    rmp_serde::to_vec_named(value)
        .expect("writing plain fields to memory cannot fail")
        .into()
}
