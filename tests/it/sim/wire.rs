//! From the one store to the ears of several nodes: what is lost, late or doubled on the way.
//!
//! The store speaks to the wire, the wire to every node's cable. A cable keeps the order within a room, as a connection
//! does, and none between rooms; only a second copy may come behind later events.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use collabd::backplane::{Ear, Envelope};
use collabd::ids::Room;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How late a second copy may be. A node remembers the last few events of a room: copies of older ones would look
/// like an order that was lost, which is a fault of its own.
const COPY_LATE: Duration = Duration::from_millis(400);

/// What happens to events on their way to a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// Share of the events that are lost, and of these that are reported as a gap.
    pub lose: f64,
    pub report: f64,
    pub double: f64,
    /// An event is late by up to this.
    pub late: Duration,
}

impl Weather {
    pub const CALM: Self = Self {
        lose: 0.0,
        report: 0.0,
        double: 0.0,
        late: Duration::from_millis(3),
    };
}

/// The ear of the store.
#[derive(Default)]
pub struct Wire(Mutex<Vec<Arc<Cable>>>);

impl Wire {
    pub fn plug(&self, cable: Arc<Cable>) {
        self.0.lock().push(cable);
    }

    pub fn unplug(&self, cable: &Arc<Cable>) {
        self.0.lock().retain(|known| !Arc::ptr_eq(known, cable));
    }
}

/// Called while the store's room is locked: it only queues.
impl Ear for Wire {
    fn heard(&self, envelope: Envelope) {
        for cable in self.0.lock().iter() {
            cable.carry(&envelope);
        }
    }

    fn gap(&self, _: Room) {}
    fn resumed(&self) {}
}

/// One node's end of the wire.
pub struct Cable {
    ear: Arc<dyn Ear>,
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    rng: StdRng,
    weather: Weather,
    listens: HashSet<Room>,
    /// Nothing gets through.
    deaf: bool,
    missed: HashSet<Room>,
    queue: BTreeMap<(Instant, u64), Sound>,
    /// When the last event of a room is due: the next is not before.
    last: HashMap<Room, Instant>,
    count: u64,
}

enum Sound {
    Heard(Envelope),
    Gap(Room),
}

impl Cable {
    pub fn new(ear: Arc<dyn Ear>, seed: u64, weather: Weather) -> Arc<Self> {
        Arc::new(Self {
            ear,
            state: Mutex::new(State {
                rng: StdRng::seed_from_u64(seed),
                weather,
                listens: HashSet::new(),
                deaf: false,
                missed: HashSet::new(),
                queue: BTreeMap::new(),
                last: HashMap::new(),
                count: 0,
            }),
            wake: Notify::new(),
        })
    }

    pub fn listen(&self, room: &Room) {
        self.state.lock().listens.insert(room.clone());
    }

    pub fn unlisten(&self, room: &Room) {
        self.state.lock().listens.remove(room);
    }

    pub fn set_weather(&self, weather: Weather) {
        self.state.lock().weather = weather;
    }

    pub fn deafen(&self) {
        self.state.lock().deaf = true;
    }

    /// Hears again; returns the rooms of which something was missed.
    pub fn mend(&self) -> HashSet<Room> {
        let mut state = self.state.lock();
        state.deaf = false;
        std::mem::take(&mut state.missed)
    }

    /// Reports a loss of the room, or, without one, of all.
    pub fn report(&self, room: Option<Room>) {
        match room {
            Some(room) => self.ear.gap(room),
            None => self.ear.resumed(),
        }
    }

    fn carry(&self, envelope: &Envelope) {
        let mut state = self.state.lock();
        if !state.listens.contains(&envelope.room) {
            return;
        }
        if state.deaf {
            state.missed.insert(envelope.room.clone());
            return;
        }
        let weather = state.weather;
        let late = state.rng.random_range(Duration::ZERO..=weather.late);
        let mut due = Instant::now() + late;
        if state.rng.random_bool(weather.lose) {
            if state.rng.random_bool(weather.report) {
                state.put(due, Sound::Gap(envelope.room.clone()));
                self.wake.notify_one();
            }
            return;
        }
        due = due.max(state.last.get(&envelope.room).copied().unwrap_or(due));
        state.last.insert(envelope.room.clone(), due);
        state.put(due, Sound::Heard(envelope.clone()));
        if state.rng.random_bool(weather.double) {
            let copy = due + state.rng.random_range(Duration::ZERO..=COPY_LATE);
            state.put(copy, Sound::Heard(envelope.clone()));
        }
        self.wake.notify_one();
    }

    /// Hands over what is due, until it is ended.
    pub async fn pump(self: Arc<Self>) {
        loop {
            let next = self.state.lock().queue.keys().next().map(|(due, _)| *due);
            let Some(due) = next else {
                self.wake.notified().await;
                continue;
            };
            if due > Instant::now() {
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = self.wake.notified() => {}
                }
                continue;
            }
            let sound = self.state.lock().queue.pop_first();
            match sound {
                Some((_, Sound::Heard(envelope))) => self.ear.heard(envelope),
                Some((_, Sound::Gap(room))) => self.ear.gap(room),
                None => {}
            }
        }
    }
}

impl State {
    fn put(&mut self, due: Instant, sound: Sound) {
        self.count += 1;
        self.queue.insert((due, self.count), sound);
    }
}
