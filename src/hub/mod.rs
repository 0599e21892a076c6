//! Moves bytes to this node's sockets. Knows no event, no dialect and no Redis. A slow socket is closed,
//! never waited for.
//!
//! Sockets and rooms sit in two DashMaps; nothing here awaits, so no guard ever crosses one.

pub mod frame;
mod marks;
mod outbox;
mod rooms;
mod socket;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

pub use self::marks::Marks;
pub use self::outbox::{Bounds, Lane};
use self::rooms::Hall;
pub use self::rooms::{Recipients, TONGUES};
pub use self::socket::{Phase, Socket, Speech, TOO_SLOW, Writer};
use crate::ids::{Position, Room, SessionId, SocketId, UserId};

/// What the hub needs to know of an event to deliver it.
pub struct Delivery<'a> {
    /// Durable events only.
    pub position: Option<Position>,
    pub lane: Lane,
    /// This socket does not hear it.
    pub except: Option<SocketId>,
    /// Only these users hear it.
    pub only: Option<&'a [UserId]>,
    /// These hear it in another room; sorted.
    pub elsewhere: &'a [SocketId],
}

impl Delivery<'_> {
    fn is_for(&self, socket: &Socket) -> bool {
        self.except != Some(socket.id)
            && self.only.is_none_or(|users| users.contains(&socket.user))
            && self.elsewhere.binary_search(&socket.id).is_err()
    }
}

#[derive(Default)]
pub struct Hub {
    sockets: DashMap<SocketId, Arc<Socket>>,
    rooms: DashMap<Room, Hall>,
    /// How many sockets there are, by tongue.
    census: [AtomicU64; TONGUES],
    /// How far users have been told who have an inbox.
    pub marks: Arc<Marks>,
}

impl Hub {
    pub fn register(&self, socket: Arc<Socket>) {
        let tongue = usize::from(socket.tongue) % TONGUES;
        if self.sockets.insert(socket.id, socket).is_none() {
            self.census[tongue].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn unregister(&self, socket: &Socket) {
        if self.sockets.remove(&socket.id).is_some() {
            let tongue = usize::from(socket.tongue) % TONGUES;
            self.census[tongue].fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many sockets there are, by tongue.
    pub fn census(&self) -> [u64; TONGUES] {
        std::array::from_fn(|tongue| self.census[tongue].load(Ordering::Relaxed))
    }

    /// In which rooms each of these sockets sits; looked for in all of them.
    pub fn rooms_of(&self, sockets: &[SocketId]) -> HashMap<SocketId, Vec<Room>> {
        let mut found: HashMap<_, _> = sockets.iter().map(|id| (*id, Vec::new())).collect();
        for entry in &self.rooms {
            for socket in entry.value().sockets() {
                if let Some(rooms) = found.get_mut(&socket.id) {
                    rooms.push(entry.key().clone());
                }
            }
        }
        found
    }

    pub fn find(&self, socket: SocketId) -> Option<Arc<Socket>> {
        self.sockets.get(&socket).map(|known| known.clone())
    }

    pub fn has_socket(&self, socket: SocketId) -> bool {
        self.sockets.contains_key(&socket)
    }

    /// Seats the socket; until [`Hub::open`] it hears nothing and misses nothing.
    pub fn join(&self, room: &Room, socket: Arc<Socket>) {
        self.rooms.entry(room.clone()).or_default().seat(socket);
    }

    pub fn leave(&self, room: &Room, socket: &Socket) {
        if let Entry::Occupied(mut hall) = self.rooms.entry(room.clone()) {
            hall.get_mut().leave(socket);
            if hall.get().is_empty() {
                hall.remove();
            }
        }
    }

    pub fn is_seated(&self, room: &Room, socket: &Socket) -> bool {
        let hall = self.rooms.get(room);
        hall.is_some_and(|hall| hall.has(socket))
    }

    pub fn has(&self, room: &Room) -> bool {
        self.rooms.contains_key(room)
    }

    /// Lets a seated socket hear the room from `at` on; `first` goes before all else. Returns how many frames it
    /// was handed, and of how many bytes.
    pub fn open(
        &self,
        room: &Room,
        socket: &Socket,
        at: Position,
        first: &[(Lane, Bytes)],
        touched: &mut Vec<Arc<Socket>>,
    ) -> (usize, usize) {
        let Some(mut hall) = self.rooms.get_mut(room) else {
            return (0, 0);
        };
        hall.begin(at);
        hall.open(socket, at, first, touched)
    }

    /// Whether somebody in the room wants this encoding.
    pub fn speaks(&self, room: &Room, tongue: u8) -> bool {
        let hall = self.rooms.get(room);
        hall.is_some_and(|hall| hall.sockets().any(|socket| socket.tongue == tongue))
    }

    /// What waits to be written to the room's sockets says no more how far they are told: its order has ended.
    pub fn unmark(&self, room: &Room) {
        for socket in self.sockets_in(room) {
            socket.unmark();
        }
    }

    /// Sends everyone in the room a new greeting to start from.
    pub fn restart(
        &self,
        room: &Room,
        at: Position,
        greeting: &dyn Fn(&Socket) -> Option<(Lane, Bytes)>,
        touched: &mut Vec<Arc<Socket>>,
    ) {
        if let Some(mut hall) = self.rooms.get_mut(room) {
            hall.restart(at, greeting, touched);
        }
    }

    /// Queues an event for the room's sockets, encoded once per tongue. The caller flushes `touched`.
    pub fn deliver(
        &self,
        room: &Room,
        delivery: &Delivery<'_>,
        mut encode: impl FnMut(u8) -> Option<Bytes>,
        touched: &mut Vec<Arc<Socket>>,
    ) -> Recipients {
        match self.rooms.get_mut(room) {
            Some(mut hall) => hall.deliver(delivery, &mut encode, touched),
            None => Recipients::default(),
        }
    }

    /// Sends one socket a reply that says how far it has been told; nothing can come in between.
    pub fn reply(
        &self,
        room: &Room,
        socket: &Socket,
        make: impl FnOnce(Option<Position>) -> Bytes,
    ) {
        match self.rooms.get(room) {
            Some(hall) => socket.send(Lane::Ordered, make(hall.position(socket))),
            None => socket.send(Lane::Ordered, make(None)),
        }
    }

    pub fn close_room(&self, room: &Room, code: u16, reason: &str) {
        for socket in self.sockets_in(room) {
            socket.close(code, reason);
        }
    }

    pub fn sockets_in(&self, room: &Room) -> Vec<Arc<Socket>> {
        match self.rooms.get(room) {
            Some(hall) => hall.sockets().cloned().collect(),
            None => Vec::new(),
        }
    }

    /// Who sits in the room, sorted.
    pub fn ids_in(&self, room: &Room) -> Vec<SocketId> {
        let hall = self.rooms.get(room);
        let mut ids: Vec<SocketId> = hall
            .iter()
            .flat_map(|hall| hall.sockets().map(|socket| socket.id))
            .collect();
        ids.sort_unstable();
        ids
    }

    pub fn sockets(&self) -> Vec<Arc<Socket>> {
        self.sockets
            .iter()
            .map(|entry| entry.value().clone())
            .collect()
    }

    pub fn socket_count(&self) -> usize {
        self.sockets.len()
    }

    /// The sessions that sockets of this node are in.
    pub fn open_sessions(&self) -> Vec<SessionId> {
        let rooms = self.rooms.iter();
        rooms
            .filter_map(|entry| entry.key().session().cloned())
            .collect()
    }

    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }
}
