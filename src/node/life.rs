//! Under which id this node lives. A process that stood still until its lease was over was dead to the others:
//! its members were taken out, and its places are free. It does not take them back; it closes its sockets and goes
//! on as another node, whose members nobody reaps.
//!
//! A node that merely could not reach the backplane ran all the time, and keeps its sockets and its id.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::Node;
use super::drain::{RESTARTING, come_back_in};
use crate::backplane::Link;
use crate::ids::{NodeId, SocketId};
use crate::telemetry::metrics::metrics;

/// Looks at the clock within a lease. A pause may look shorter than it was by one of these.
const LOOKS: u32 = 10;
/// Looks that were missed by a process that stood still.
const LATE: u32 = 3;
/// Between two looks for nodes that have just come, whatever ids clients make up.
const MEETING: Duration = Duration::from_millis(250);
/// How long a request waits for such a look.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Life {
    id: Mutex<NodeId>,
    /// When the process last ran, as far as anybody looked.
    ran: Mutex<Instant>,
    /// When it last said that it lives, and was heard.
    beat: watch::Sender<Option<Instant>>,
    /// When others were last looked for between two beats.
    looked: tokio::sync::Mutex<Option<Instant>>,
}

impl Life {
    pub fn new(id: NodeId) -> Arc<Self> {
        Arc::new(Self {
            id: Mutex::new(id),
            ran: Mutex::new(Instant::now()),
            beat: watch::Sender::new(None),
            looked: tokio::sync::Mutex::new(None),
        })
    }

    pub fn id(&self) -> NodeId {
        *self.id.lock()
    }

    /// Whether the socket is one of this life's.
    pub fn has(&self, socket: SocketId) -> bool {
        socket.is_of(self.id())
    }

    /// It said so at `at`, and was heard.
    pub fn has_beaten(&self, at: Instant) {
        self.beat.send_replace(Some(at));
    }

    /// Whether the lease is over, as far as this process knows.
    fn is_over(&self, lease: Duration) -> bool {
        self.beat.borrow().is_some_and(|at| at.elapsed() > lease)
    }

    /// Waits until it has said so after `at`.
    async fn beats_after(&self, at: Instant) {
        let mut beat = self.beat.subscribe();
        // An ended channel would mean that there is no life.
        let _ = beat
            .wait_for(|beat| beat.is_some_and(|beat| beat > at))
            .await;
    }

    /// For how long the process stood still, at most.
    fn stood_still(&self) -> Duration {
        let now = Instant::now();
        let ran = std::mem::replace(&mut *self.ran.lock(), now);
        now - ran
    }
}

impl Node {
    /// Notices that the process stood still. Asks nobody, so that waiting for the backplane is not taken for a
    /// pause.
    pub async fn attend_pauses(self: Arc<Self>) {
        let mut look = tokio::time::interval(self.config.lease / LOOKS);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self
            .stopping
            .run_until_cancelled(look.tick())
            .await
            .is_some()
        {
            self.notice_pause();
        }
    }

    /// Looks at the clocks; whoever is first after a pause does what is to be done.
    pub(super) fn notice_pause(&self) {
        let paused = self.life.stood_still();
        let lease = self.config.lease;
        // A look that comes late by less is a busy machine.
        if paused > lease / LOOKS * LATE
            && self.life.is_over(lease)
            && self.is_leased()
            && self.backplane.is_shared()
        {
            self.begin_anew(paused);
        }
    }

    /// By what nodes know each other; `None`: it was not read yet.
    pub fn secret(&self) -> Option<Arc<str>> {
        self.secret.lock().clone()
    }

    /// Where another node is reached, if it lives and says so.
    pub fn address_of(&self, node: NodeId) -> Option<String> {
        if node == self.id() {
            return None;
        }
        self.totals.address_of(node)
    }

    /// Makes sure that a node is known if there is one of that id: it may have come since the last beat. Many who wait
    /// for whatever node share one look.
    pub async fn meet(&self, node: NodeId) {
        if node == self.id() || self.totals.knows(node) || self.link() != Link::Up {
            return;
        }
        let came = Instant::now();
        let mut looked = self.life.looked.lock().await;
        if looked.is_some_and(|at| at > came) {
            return;
        }
        if let Some(at) = *looked {
            tokio::time::sleep_until(at + MEETING).await;
        }
        let now = Instant::now();
        *looked = Some(now);
        self.beat_now.notify_one();
        // A backplane that goes away meanwhile is not waited for.
        let _ = tokio::time::timeout(PATIENCE, self.life.beats_after(now)).await;
    }

    /// Reads the nodes' secret with every beat: a store that lost it gets it back, and who has another one learns.
    pub(super) async fn learn_secret(&self) {
        let known = self.secret();
        match self.backplane.secret(known.as_deref()).await {
            Ok(secret) => *self.secret.lock() = Some(secret.into()),
            Err(error) => tracing::debug!(%error, "the nodes' secret was not read"),
        }
    }

    fn begin_anew(&self, paused: Duration) {
        // Nobody is let in until the new id is known to the others.
        self.leased.store(false, Ordering::Relaxed);
        let former = self.id();
        *self.life.id.lock() = NodeId::random();
        let sockets = self.hub.sockets();
        tracing::warn!(
            %former,
            node = %self.id(),
            paused_s = paused.as_secs_f64(),
            sockets = sockets.len(),
            "this process stood still until its lease was over: its sockets come again, to another node"
        );
        metrics().paused();
        let window = self.config.drain.window_for(sockets.len());
        for socket in sockets {
            socket.close(RESTARTING, &come_back_in(window));
        }
        self.beat_now.notify_one();
    }
}
