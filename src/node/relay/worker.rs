//! One relay worker: takes what is there, delivers it, writes it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use super::local::{Local, Sampled, millis};
use super::look::Look;
use super::track::{Need, Next};
use super::{Inlet, Note};
use crate::backplane::{Envelope, SharedBackplane};
use crate::bunching::Bunching;
use crate::dialects::Dialect;
use crate::hub::{Hub, Socket};
use crate::ids::Room;
use crate::node::doors;
use crate::node::roster::Roster;
use crate::node::text::Texts;
use crate::telemetry::metrics::{DoorMetrics, metrics};

/// Notes taken at once.
const BATCH: usize = 256;
/// Notes taken when they bunch.
const BUNCH: usize = 4_096;
/// Sockets written before others get a turn.
const WRITES_A_TURN: usize = 128;
/// Rooms compared with the backplane at once, after it was away.
const COMPARED_AT_ONCE: usize = 64;

pub struct Worker {
    pub(super) hub: Arc<Hub>,
    pub(super) backplane: SharedBackplane,
    pub(super) roster: Arc<Roster>,
    pub(super) texts: Arc<Texts>,
    pub(super) rooms: HashMap<Room, Local>,
    pub(super) jobs: JoinSet<Note>,
    pub(super) comparing: Arc<Semaphore>,
    pub(super) touched: Vec<Arc<Socket>>,
    /// Events delivered, those of them that were counted, those of this node's own sockets that are to be counted, and
    /// those whose latency is taken.
    pub(super) routed: u64,
    pub(super) counted: u64,
    pub(super) ours: u64,
    pub(super) sampled: Vec<Sampled>,
    pub(super) doors: [DoorMetrics; Dialect::COUNT],
    pub(super) look: Look,
    pub(super) tick: u64,
    pub(super) log_length: u64,
}

impl Worker {
    pub fn new(
        hub: Arc<Hub>,
        backplane: SharedBackplane,
        roster: Arc<Roster>,
        texts: Arc<Texts>,
        compare_idle: Duration,
        log_length: u64,
    ) -> Self {
        Self {
            look: Look::new(compare_idle),
            tick: 0,
            log_length,
            hub,
            backplane,
            roster,
            texts,
            rooms: HashMap::new(),
            jobs: JoinSet::new(),
            comparing: Arc::new(Semaphore::new(COMPARED_AT_ONCE)),
            touched: Vec::new(),
            routed: 0,
            counted: 0,
            ours: 0,
            sampled: Vec::new(),
            doors: doors(),
        }
    }

    pub async fn run(mut self, inlet: Inlet, at: usize, mut queue: mpsc::Receiver<Note>) {
        let line = &inlet.lines[at];
        let mut batch = Vec::with_capacity(BATCH);
        let mut bunching = Bunching::default();
        let mut look = tokio::time::interval(self.look.every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // First, because a queue that is never empty would leave it no turn; it is rare.
                _ = look.tick() => self.look_around(),
                taken = queue.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                }
                Some(done) = self.jobs.join_next() => batch.extend(done.inspect_err(log_failed).ok()),
                () = line.wake.notified() => {}
            }
            // Also when the queue is never empty, what was fetched is taken.
            while let Some(done) = self.jobs.try_join_next() {
                batch.extend(done.inspect_err(log_failed).ok());
            }
            bunching.gather(&mut queue, &mut batch, BUNCH).await;
            for note in batch.drain(..) {
                self.take(note);
            }
            self.take_missed(line);
            self.write().await;
        }
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Heard(envelope) => self.heard(envelope),
            Note::Local(envelope) => self.deliver(&envelope, None),
            Note::Open(room, waiter) => self.open(room, waiter),
            Note::Compare(room) => self.compare(&room),
            Note::Forget(room) => {
                // Whoever came meanwhile is seated by this worker alone.
                if !self.hub.has(&room) {
                    self.rooms.remove(&room);
                    match &room {
                        Room::User(user) => self.hub.marks.end(user),
                        Room::Couriers => self.roster.couriers.are_unknown(),
                        Room::Session(_) | Room::Workspace(_) | Room::Agent(_) | Room::Lobby => {}
                    }
                }
            }
            Note::Snapshot(room, result) => self.snapshotted(&room, result),
            Note::Filled(room, result) => self.filled(&room, result),
            Note::Release(room) => self.release_text(&room),
            Note::ReleaseAwareness(room) => self.release_awareness(&room),
            Note::Unaware(room, gone) => self.tell_awareness(&room, gone),
            Note::ReleaseProgress(room, agent) => self.release_progress(&room, &agent),
            Note::Mirror(room) => self.mirror(&room),
            Note::Retell(room) => self.read_text(&room),
            Note::Unread(room) => {
                if let Some(local) = self.rooms.get_mut(&room) {
                    local.reading = false;
                }
                self.read_text(&room);
            }
            Note::Told(room) => self.text_is_read(&room),
            Note::Done => {}
            Note::Looked(room, asked, found) => self.looked(&room, asked, found),
        }
    }

    fn take_missed(&mut self, line: &super::Line) {
        let missed = std::mem::take(&mut *line.missed.lock());
        let rooms: Vec<Room> = if missed.all {
            self.rooms.keys().cloned().collect()
        } else {
            missed.rooms.into_iter().collect()
        };
        for room in rooms {
            self.compare(&room);
        }
    }

    pub(super) fn heard(&mut self, envelope: Envelope) {
        if !self.rooms.contains_key(&envelope.room) {
            return;
        }
        let Some(at) = envelope.position else {
            return self.deliver(&envelope, None);
        };
        let room = envelope.room.clone();
        if envelope.version.is_some() && self.wants_document(&room) {
            // It is held until the log is read, and the document with it.
            self.compare_log(&room);
        }
        let Some(local) = self.rooms.get_mut(&room) else {
            return;
        };
        let next = local.track.take(envelope, at);
        // What was known says nothing of where the room is: it is quiet all the same, and looked at.
        if !matches!(next, Next::Duplicate) {
            local.heard = self.tick;
        }
        match next {
            Next::Deliver(envelope) => self.deliver(&envelope, Some(at)),
            Next::Duplicate => metrics().duplicate(),
            Next::Hold(None) => {}
            Next::Hold(Some(Need::Log(since))) => self.fetch_log(room, since, false),
            Next::Hold(Some(Need::Restart)) => self.restart(&room),
            Next::Hold(Some(Need::Rotate(epoch))) => self.rotate(&room, epoch),
        }
    }

    pub(super) fn sent(&self, tongue: u8, frames: usize) {
        if let Some(door) = self.doors.get(usize::from(tongue)) {
            door.sent(frames);
        }
    }

    /// One write for each socket that was handed something.
    async fn write(&mut self) {
        for (written, socket) in self.touched.iter().enumerate() {
            if written > 0 && written % WRITES_A_TURN == 0 {
                tokio::task::yield_now().await;
            }
            socket.flush();
        }
        self.touched.clear();
        metrics().routed(self.routed - self.counted);
        self.counted = self.routed;
        self.roster.tally.routed(std::mem::take(&mut self.ours));
        if self.sampled.is_empty() {
            return;
        }
        let now = self.roster.clock.now();
        for sampled in self.sampled.drain(..) {
            let took = millis(now - sampled.at);
            metrics().fanned_out(sampled.local, took, sampled.recipients);
        }
    }
}

fn log_failed(error: &JoinError) {
    tracing::error!(%error, "a relay job failed");
}
