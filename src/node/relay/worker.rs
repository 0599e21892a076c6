//! One relay worker: takes what is there, delivers it, writes it.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::track::{Need, Next, Track};
use super::{Fill, Inlet, Note, Waiter};
use crate::backplane::{Audience, Envelope, Error, Link, Replay, SharedBackplane, Snapshot};
use crate::bunching::Bunching;
use crate::clock::Millis;
use crate::dialects::{self, Dialect};
use crate::domain::{Event, documents};
use crate::hub::{self, Hub, Lane, Socket, frame};
use crate::ids::{Position, Room};
use crate::node::roster::Roster;
use crate::node::{ENDED, door_metrics, pack, snapshots};
use crate::telemetry::metrics::{DoorMetrics, SAMPLED, metrics};

/// Notes taken at once.
const BATCH: usize = 256;
/// Notes taken when they bunch.
const BUNCH: usize = 4_096;
/// Sockets written before others get a turn.
const WRITES_A_TURN: usize = 128;
/// Rooms compared with the backplane at once, after it was away.
const COMPARED_AT_ONCE: usize = 64;
/// Wait before a failed comparison is tried again.
const RETRY: Duration = Duration::from_millis(250);

pub struct Worker {
    hub: Arc<Hub>,
    backplane: SharedBackplane,
    roster: Arc<Roster>,
    rooms: HashMap<Room, Local>,
    jobs: JoinSet<Note>,
    comparing: Arc<Semaphore>,
    touched: Vec<Arc<Socket>>,
    /// Events delivered, those of them that were counted, and those whose latency is taken.
    routed: u64,
    counted: u64,
    sampled: Vec<Sampled>,
    pairing: DoorMetrics,
}

/// A room on this worker.
#[derive(Default)]
struct Local {
    track: Track,
    /// Sockets for the snapshot that is under way, and for the one after it.
    aboard: Vec<Waiter>,
    waiting: Vec<Waiter>,
    snapshotting: bool,
    large: LargeText,
}

/// Large texts are passed on at a pace; of those in between only the newest.
#[derive(Default)]
struct LargeText {
    next: Option<Instant>,
    pending: Option<Box<Envelope>>,
}

/// For the latency metric, once the writes are done.
struct Sampled {
    at: Millis,
    local: bool,
    recipients: usize,
}

impl Worker {
    pub fn new(hub: Arc<Hub>, backplane: SharedBackplane, roster: Arc<Roster>) -> Self {
        Self {
            hub,
            backplane,
            roster,
            rooms: HashMap::new(),
            jobs: JoinSet::new(),
            comparing: Arc::new(Semaphore::new(COMPARED_AT_ONCE)),
            touched: Vec::new(),
            routed: 0,
            counted: 0,
            sampled: Vec::new(),
            pairing: door_metrics(Dialect::Pairing),
        }
    }

    pub async fn run(mut self, inlet: Inlet, at: usize, mut queue: mpsc::Receiver<Note>) {
        let line = &inlet.lines[at];
        let mut batch = Vec::with_capacity(BATCH);
        let mut bunching = Bunching::default();
        loop {
            tokio::select! {
                biased;
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
                if !self.hub.has(&room) {
                    self.rooms.remove(&room);
                }
            }
            Note::Snapshot(room, result) => self.snapshotted(&room, result),
            Note::Filled(room, result) => self.filled(&room, result),
            Note::Release(room) => self.release_text(&room),
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

    fn heard(&mut self, envelope: Envelope) {
        let Some(local) = self.rooms.get_mut(&envelope.room) else {
            return;
        };
        let Some(at) = envelope.position else {
            return self.deliver(&envelope, None);
        };
        let room = envelope.room.clone();
        match local.track.take(envelope, at) {
            Next::Deliver(envelope) => self.deliver(&envelope, Some(at)),
            Next::Duplicate => metrics().duplicate(),
            Next::Hold(None) => {}
            Next::Hold(Some(Need::Log(since))) => self.fetch_log(room, since, false),
            Next::Hold(Some(Need::Restart)) => self.restart(&room),
        }
    }

    /// Hands an event to the hub, or keeps a large text back for its pace.
    fn deliver(&mut self, envelope: &Envelope, at: Option<Position>) {
        let event: Event = match rmp_serde::from_slice(&envelope.event) {
            Ok(event) => event,
            Err(error) => {
                metrics().dropped("unreadable", 1);
                tracing::warn!(room = %envelope.room, %error, "an event cannot be read");
                return;
            }
        };
        if event.is_text() && self.hold_back(envelope, &event) {
            return;
        }
        self.hand_over(envelope, &event, at);
        if event == Event::Ended {
            self.hub
                .close_room(&envelope.room, ENDED, "the session has ended");
        }
    }

    fn hand_over(&mut self, envelope: &Envelope, event: &Event, at: Option<Position>) {
        let only = match &envelope.audience {
            Audience::Users(users) => Some(users.as_slice()),
            _ => None,
        };
        let except = match envelope.audience {
            Audience::Except(socket) => Some(socket),
            _ => None,
        };
        let delivery = hub::Delivery {
            position: at,
            lane: lane(event),
            except,
            only,
        };
        let said = dialects::Delivery {
            event,
            at: envelope.at,
            seq: at.map(|at| at.seq),
            version: envelope.version,
        };
        let mut bytes = 0;
        let encode = |tongue| {
            let frame = encode(Dialect::of_tongue(tongue)?, &said)?;
            bytes = frame.len();
            Some(frame)
        };
        let recipients = self
            .hub
            .deliver(&envelope.room, &delivery, encode, &mut self.touched);
        self.pairing.sent(recipients);
        metrics().sent_bytes(bytes * recipients);
        self.routed += 1;
        if self.routed.is_multiple_of(SAMPLED) {
            metrics().heard(millis(self.roster.clock.now() - envelope.at));
            self.sampled.push(Sampled {
                at: envelope.at,
                local: envelope
                    .origin
                    .is_some_and(|socket| socket.is_of(self.roster.node)),
                recipients,
            });
        }
    }

    /// True when the text waits: large ones go out at a pace, and any newer text replaces one that waits.
    fn hold_back(&mut self, envelope: &Envelope, event: &Event) -> bool {
        let Some(local) = self.rooms.get_mut(&envelope.room) else {
            return false;
        };
        let Event::TextChanged { code, .. } = event else {
            return false;
        };
        let was_waiting = local.large.pending.take().is_some();
        if was_waiting {
            metrics().conflated(1);
        }
        if code.as_ref().map_or(0, |code| code.len()) <= documents::LARGE_TEXT_BYTES {
            return false;
        }
        let now = Instant::now();
        let pace = Duration::from_millis(documents::LARGE_TEXT_PACE_MS);
        match local.large.next {
            Some(next) if next > now => {
                local.large.pending = Some(Box::new(envelope.clone()));
                if !was_waiting {
                    let room = envelope.room.clone();
                    self.jobs.spawn(async move {
                        tokio::time::sleep_until(next).await;
                        Note::Release(room)
                    });
                }
                true
            }
            _ => {
                local.large.next = Some(now + pace);
                false
            }
        }
    }

    fn release_text(&mut self, room: &Room) {
        let pending = self
            .rooms
            .get_mut(room)
            .and_then(|local| local.large.pending.take());
        if let Some(envelope) = pending {
            let at = envelope.position;
            self.deliver(&envelope, at);
        }
    }

    fn open(&mut self, room: Room, waiter: Waiter) {
        self.hub.join(&room, waiter.socket.clone());
        let local = self.rooms.entry(room.clone()).or_default();
        local.waiting.push(waiter);
        self.fetch_snapshot(&room);
    }

    /// One snapshot at a time; whoever comes while it is taken waits for the next, so that it is never
    /// older than their coming.
    fn fetch_snapshot(&mut self, room: &Room) {
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        if local.snapshotting {
            return;
        }
        local.snapshotting = true;
        local.aboard = std::mem::take(&mut local.waiting);
        let restarting = local.track.restarting();
        let (remote, room) = (self.remote(), room.clone());
        self.jobs.spawn(async move {
            let result = async {
                // The order was lost, and with it perhaps the members.
                if restarting {
                    remote.enter_all(&room).await?;
                }
                remote.backplane.snapshot(&room).await
            };
            let result = result.await;
            Note::Snapshot(room, result)
        });
    }

    fn snapshotted(&mut self, room: &Room, result: Result<Snapshot, Error>) {
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        local.snapshotting = false;
        let aboard = std::mem::take(&mut local.aboard);
        let again = !local.waiting.is_empty();
        let taken = result.and_then(|snapshot| {
            if snapshot.ended() {
                return Err(Error::Ended);
            }
            let at = snapshot.position().ok_or(Error::Missing)?;
            Ok((at, snapshot))
        });
        match taken {
            Ok((at, snapshot)) => self.start_from(room, at, snapshot, aboard),
            Err(error) => self.snapshot_failed(room, &error, aboard),
        }
        if again {
            self.fetch_snapshot(room);
        }
    }

    fn start_from(&mut self, room: &Room, at: Position, snapshot: Snapshot, aboard: Vec<Waiter>) {
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        let view = snapshots::view(room, snapshot);
        let greeting = snapshots::greeting(Dialect::Pairing, &view, self.roster.clock.now());
        if local.track.snapshot(at) {
            metrics().gap("snapshot");
            local.large.pending = None;
            self.hub.restart(room, at, &greeting, &mut self.touched);
        }
        for Waiter { socket, done } in aboard {
            self.hub
                .open(room, &socket, at, &greeting, &mut self.touched);
            self.pairing.sent(1);
            metrics().sent_bytes(greeting.len());
            // Whoever waited may have gone; its leaving cleans up.
            let _ = done.send(Ok(()));
        }
        let held = local.track.release();
        self.go_on(room, held);
    }

    fn snapshot_failed(&mut self, room: &Room, error: &Error, aboard: Vec<Waiter>) {
        for waiter in aboard {
            let _ = waiter.done.send(Err(error.clone()));
        }
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        if !local.track.restarting() {
            return;
        }
        match error {
            Error::Ended => self.hub.close_room(room, ENDED, "the session has ended"),
            _ => self.try_again(room),
        }
    }

    /// Brings the room's members into the backplane, if it lost them, and reads what was missed.
    fn compare(&mut self, room: &Room) {
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        if local.track.restarting() {
            self.restart(room);
        } else if let Some(since) = local.track.compare() {
            self.fetch_log(room.clone(), since, true);
        }
    }

    fn fetch_log(&mut self, room: Room, since: Position, entering: bool) {
        let remote = self.remote();
        self.jobs.spawn(async move {
            let result = async {
                if entering {
                    remote.enter_all(&room).await?;
                }
                fill(&remote.backplane, &room, since).await
            };
            let result = result.await;
            Note::Filled(room, result)
        });
    }

    fn filled(&mut self, room: &Room, result: Result<Fill, Error>) {
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        match result {
            Ok(Fill {
                replay: Replay::Events(events),
                text,
            }) => {
                if !events.is_empty() {
                    metrics().gap("filled");
                }
                let mut missed: Vec<Envelope> = events
                    .into_iter()
                    .filter_map(|envelope| local.track.take_logged(envelope))
                    .collect();
                complete_texts(&mut missed, text);
                let held = local.track.filled();
                for envelope in missed {
                    let at = envelope.position;
                    self.deliver(&envelope, at);
                }
                match held {
                    Some(held) => self.go_on(room, held),
                    None => self.restart(room),
                }
            }
            Ok(Fill {
                replay: Replay::Gone,
                ..
            }) => self.restart(room),
            Err(Error::Ended) => self.hub.close_room(room, ENDED, "the session has ended"),
            Err(error) => {
                metrics().gap("failed");
                tracing::debug!(%room, %error, "a hole could not be filled yet");
                local.track.give_up();
                self.try_again(room);
            }
        }
    }

    fn restart(&mut self, room: &Room) {
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        local.track.restart();
        self.fetch_snapshot(room);
    }

    fn try_again(&mut self, room: &Room) {
        let (mut link, room) = (self.backplane.link(), room.clone());
        self.jobs.spawn(async move {
            tokio::time::sleep(RETRY).await;
            // An ended channel means that the node stops.
            let _ = link.wait_for(|link| *link == Link::Up).await;
            Note::Compare(room)
        });
    }

    fn go_on(&mut self, room: &Room, held: Vec<Envelope>) {
        for envelope in held {
            self.heard(envelope);
        }
        if self
            .rooms
            .get_mut(room)
            .is_some_and(|local| local.track.again())
        {
            self.compare(room);
        }
    }

    fn remote(&self) -> Remote {
        Remote {
            backplane: self.backplane.clone(),
            roster: self.roster.clone(),
            hub: self.hub.clone(),
            comparing: self.comparing.clone(),
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

/// What a job beside the worker needs.
struct Remote {
    backplane: SharedBackplane,
    roster: Arc<Roster>,
    hub: Arc<Hub>,
    comparing: Arc<Semaphore>,
}

impl Remote {
    /// Sees to it that the backplane knows this node's members of the room; a few rooms at a time.
    async fn enter_all(&self, room: &Room) -> Result<(), Error> {
        let _turn = self.comparing.acquire().await;
        self.roster
            .enter_all(&self.backplane, &self.hub, room)
            .await
    }
}

fn log_failed(error: &JoinError) {
    tracing::error!(%error, "a relay job failed");
}

/// Reads the log; when it speaks of a text, the newest one with it.
async fn fill(backplane: &SharedBackplane, room: &Room, since: Position) -> Result<Fill, Error> {
    let replay = backplane.replay(room, since).await?;
    let speaks_of_text = match &replay {
        Replay::Events(events) => events.iter().any(|envelope| envelope.version.is_some()),
        Replay::Gone => false,
    };
    let text = if speaks_of_text {
        let mut snapshot = backplane.snapshot(room).await?;
        let version = snapshot.fields.get("version").and_then(|v| v.parse().ok());
        snapshot.fields.remove("code").zip(version)
    } else {
        None
    };
    Ok(Fill { replay, text })
}

/// The log leaves texts out: the last of them gets the newest text, the others say nothing.
fn complete_texts(missed: &mut Vec<Envelope>, newest: Option<(String, u64)>) {
    let Some((code, version)) = newest else {
        // The room went away in between: there is no text to tell.
        missed.retain(|envelope| envelope.version.is_none());
        return;
    };
    let Some(last) = missed
        .iter()
        .rposition(|envelope| envelope.version.is_some())
    else {
        return;
    };
    let mut at = 0;
    missed.retain(|envelope| {
        at += 1;
        envelope.version.is_none() || at - 1 == last
    });
    let Some(envelope) = missed
        .iter_mut()
        .find(|envelope| envelope.version.is_some())
    else {
        return;
    };
    if let Ok(Event::TextChanged { user, .. }) = rmp_serde::from_slice(&envelope.event) {
        let whole = Event::TextChanged {
            user,
            code: Some(code.into()),
        };
        envelope.event = pack(&whole);
        envelope.version = Some(version);
        // Its writer may have written since; whoever wrote last is not in the log's entry.
        envelope.audience = Audience::All;
    }
}

fn encode(dialect: Dialect, delivery: &dialects::Delivery<'_>) -> Option<Bytes> {
    let mut known = true;
    let frame = frame::text_with(256, |out| known = dialect.encode(delivery, out));
    known.then_some(frame)
}

/// Texts and cursors give way to newer ones when a socket is slow; nothing else does.
fn lane(event: &Event) -> Lane {
    let hash = |key: (&str, &str)| {
        Lane::Latest(BuildHasherDefault::<DefaultHasher>::default().hash_one(key))
    };
    if event.is_text() {
        return hash(("text", ""));
    }
    match event.latest_key() {
        Some((kind, user)) => hash((kind, user.as_str())),
        None => Lane::Ordered,
    }
}

fn millis(millis: Millis) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
