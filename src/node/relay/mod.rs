//! From the backplane to the sockets: in order, without holes, encoded once, written at once.
//!
//! A room belongs to one worker, by its hash, so what a worker knows of a room needs no lock. Workers never
//! wait for a socket; what takes time (a snapshot, the log) runs beside them and comes back as a note.

mod aware;
mod deliver;
mod greeting;
mod inside;
mod letters;
mod local;
mod look;
mod progress;
mod repair;
mod resume;
mod text;
mod track;
mod worker;

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;

use self::greeting::Taken;
pub(super) use self::inside::make_agent_room;
use self::worker::Worker;
use super::lobby;
use super::roster::Roster;
use super::text::Texts;
use crate::backplane::{Ear, Envelope, Error, Replay, SharedBackplane};
use crate::domain::Awareness;
use crate::hub::{Hub, Socket};
use crate::ids::{AgentId, Position, Room};
use crate::telemetry::metrics::metrics;

#[derive(Debug, Clone)]
pub struct Config {
    pub workers: usize,
    /// Notes waiting for one worker; an event beyond that is a gap, filled from the log.
    pub queue: usize,
    /// Events that a room's log keeps: who comes back from further away is not looked for in it.
    pub log_length: u64,
    /// A room that was quiet for this long is compared with the backplane.
    pub compare_idle: Duration,
}

/// What a worker is told.
enum Note {
    Heard(Envelope),
    /// An event that could not go through the backplane, for this node's own sockets.
    Local(Envelope),
    /// A socket that waits for its snapshot.
    Open(Room, Waiter),
    /// Compare the room with the log, and see that its members are in the backplane.
    Compare(Room),
    /// The room is not listened to any more.
    Forget(Room),
    Snapshot(Room, Result<Box<Taken>, Error>),
    Filled(Room, Result<Fill, Error>),
    /// Where a quiet room is; asked for when it was known to be at that position.
    Looked(Room, Position, Result<Option<Position>, Error>),
    /// A large text was held back long enough.
    Release(Room),
    /// The same of an agent's progress.
    ReleaseProgress(Room, AgentId),
    /// What Yjs clients show of themselves waited long enough.
    ReleaseAwareness(Room),
    /// Some of them are gone.
    Unaware(Room, Vec<Awareness>),
    /// The text is to be copied for readers of code rooms.
    Mirror(Room),
    /// A document was thrown away: it is to be read again, and what is owed of it told.
    Retell(Room),
    /// It is read, or could not be.
    Told(Room),
    Unread(Room),
    /// Nothing is left to do.
    Done,
}

struct Waiter {
    socket: Arc<Socket>,
    /// Where it was, when it comes back.
    since: Option<Position>,
    /// The id of the command by which it came.
    ask: Option<String>,
    done: oneshot::Sender<Result<(), Error>>,
}

/// The log after what a worker knows, and how the text changed since if the log speaks of that.
struct Fill {
    /// The store is behind what was told here: it lost writes.
    behind: bool,
    replay: Replay,
    text: Option<(Bytes, u64)>,
}

/// One worker's way in.
struct Line {
    notes: mpsc::Sender<Note>,
    missed: Mutex<Missed>,
    wake: Notify,
}

/// What did not fit into the queue.
#[derive(Default)]
struct Missed {
    all: bool,
    rooms: HashSet<Room>,
}

/// The ear of a node.
#[derive(Clone)]
pub struct Inlet {
    lines: Arc<[Line]>,
    lobby: Arc<lobby::Line>,
}

/// The other ends of an inlet.
pub struct Outlet {
    inlet: Inlet,
    queues: Vec<mpsc::Receiver<Note>>,
    log_length: u64,
}

pub fn channel(config: &Config) -> (Inlet, lobby::Attendance, Outlet) {
    let (lines, queues): (Vec<_>, Vec<_>) = (0..config.workers)
        .map(|_| {
            let (notes, queue) = mpsc::channel(config.queue);
            let line = Line {
                notes,
                missed: Mutex::default(),
                wake: Notify::new(),
            };
            (line, queue)
        })
        .unzip();
    let (lobby, attendance) = lobby::channel();
    let inlet = Inlet {
        lines: lines.into(),
        lobby,
    };
    let outlet = Outlet {
        inlet: inlet.clone(),
        queues,
        log_length: config.log_length,
    };
    (inlet, attendance, outlet)
}

impl Outlet {
    pub fn inlet(&self) -> Inlet {
        self.inlet.clone()
    }
}

impl Inlet {
    fn line(&self, room: &Room) -> &Line {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(room);
        &self.lines[hash as usize % self.lines.len()]
    }

    /// An event for this node's own sockets.
    pub fn local(&self, envelope: Envelope) {
        let room = envelope.room.clone();
        self.tell(&room, Note::Local(envelope));
    }

    /// The room's document is what is stored again: what is owed of it is told.
    pub fn text_is_known(&self, room: &Room) {
        self.tell(room, Note::Told(room.clone()));
    }

    /// The room's text is told again, once it is known.
    pub fn tell_text(&self, room: &Room) {
        self.tell(room, Note::Retell(room.clone()));
    }

    fn tell(&self, room: &Room, note: Note) {
        let line = self.line(room);
        if line.notes.try_send(note).is_err() {
            metrics().dropped("relay_full", 1);
            line.missed.lock().rooms.insert(room.clone());
            line.wake.notify_one();
        }
    }
}

impl Ear for Inlet {
    fn heard(&self, envelope: Envelope) {
        if envelope.room == Room::Lobby {
            return self.lobby.tell(envelope);
        }
        let line = self.line(&envelope.room);
        if let Err(full) = line.notes.try_send(Note::Heard(envelope)) {
            if let Note::Heard(envelope) = full.into_inner() {
                self.gap(envelope.room);
            }
            metrics().dropped("relay_full", 1);
        }
    }

    fn gap(&self, room: Room) {
        if room == Room::Lobby {
            return self.lobby.compare();
        }
        let line = self.line(&room);
        line.missed.lock().rooms.insert(room);
        line.wake.notify_one();
    }

    fn resumed(&self) {
        self.lobby.compare();
        for line in self.lines.iter() {
            line.missed.lock().all = true;
            line.wake.notify_one();
        }
    }
}

pub struct Relay {
    inlet: Inlet,
    workers: Mutex<JoinSet<()>>,
}

impl Relay {
    pub fn start(
        outlet: Outlet,
        hub: &Arc<Hub>,
        backplane: &SharedBackplane,
        roster: &Arc<Roster>,
        texts: &Arc<Texts>,
        compare_idle: Duration,
    ) -> Self {
        let mut workers = JoinSet::new();
        for (at, queue) in outlet.queues.into_iter().enumerate() {
            let (hub, backplane, roster) = (hub.clone(), backplane.clone(), roster.clone());
            let texts = texts.clone();
            let worker = Worker::new(
                hub,
                backplane,
                roster,
                texts,
                compare_idle,
                outlet.log_length,
            );
            workers.spawn(worker.run(outlet.inlet.clone(), at, queue));
        }
        Self {
            inlet: outlet.inlet,
            workers: Mutex::new(workers),
        }
    }

    /// Seats the socket and greets it with a snapshot, or with what it missed since it was there; returns when
    /// it hears the room.
    pub async fn open(
        &self,
        room: &Room,
        socket: Arc<Socket>,
        since: Option<Position>,
        ask: Option<String>,
    ) -> Result<(), Error> {
        let (done, opened) = oneshot::channel();
        let note = Note::Open(
            room.clone(),
            Waiter {
                socket,
                since,
                ask,
                done,
            },
        );
        let stopping = || Error::Unavailable("the node is stopping".to_owned());
        let line = self.inlet.line(room);
        line.notes.send(note).await.map_err(|_| stopping())?;
        opened.await.map_err(|_| stopping())?
    }

    /// An event for this node's own sockets, while the backplane is away.
    pub fn local(&self, envelope: Envelope) {
        self.inlet.local(envelope);
    }

    pub fn compare(&self, room: &Room) {
        self.inlet.gap(room.clone());
    }

    /// Compares every room, and enters its members again.
    pub fn compare_all(&self) {
        self.inlet.resumed();
    }

    /// Yjs clients in a room are gone.
    pub fn unaware(&self, room: Room, gone: Vec<Awareness>) {
        let note = Note::Unaware(room.clone(), gone);
        self.inlet.tell(&room, note);
    }

    pub async fn forget(&self, room: &Room) {
        // A stopped worker has forgotten everything.
        let _ = self
            .inlet
            .line(room)
            .notes
            .send(Note::Forget(room.clone()))
            .await;
    }

    pub async fn stop(&self) {
        let mut workers = std::mem::take(&mut *self.workers.lock());
        workers.shutdown().await;
    }
}
