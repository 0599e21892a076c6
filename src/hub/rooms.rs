//! Who of this node's sockets sits in a room, and from where on each of them hears.

use std::sync::Arc;

use bytes::Bytes;

use super::Delivery;
use super::outbox::Lane;
use super::socket::Socket;
use crate::ids::Position;

/// A room on this node.
#[derive(Default)]
pub struct Hall {
    seats: Vec<Seat>,
    /// The last durable event that was handed to the seats.
    position: Option<Position>,
}

struct Seat {
    socket: Arc<Socket>,
    /// Events up to this seq are in the snapshot the socket got.
    after: u64,
    /// While it waits for its snapshot: what it will hear then.
    gate: Option<Vec<Held>>,
}

struct Held {
    seq: Option<u64>,
    lane: Lane,
    frame: Bytes,
}

/// Encodings a node can speak at once.
const TONGUES: usize = 8;
/// Frames held for a socket that waits for its snapshot; beyond it the socket is too slow.
const MAX_HELD: usize = 1_024;

impl Hall {
    /// Takes a seat; what is delivered is held until [`Hall::open`].
    pub fn seat(&mut self, socket: Arc<Socket>) {
        self.seats.push(Seat {
            socket,
            after: 0,
            gate: Some(Vec::new()),
        });
    }

    pub fn leave(&mut self, socket: &Socket) {
        if let Some(at) = self.find(socket) {
            self.seats.swap_remove(at);
        }
        if self.seats.len() * 4 < self.seats.capacity() {
            self.seats.shrink_to(self.seats.len() * 2);
        }
    }

    pub fn has(&self, socket: &Socket) -> bool {
        self.find(socket).is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    pub fn sockets(&self) -> impl Iterator<Item = &Arc<Socket>> {
        self.seats.iter().map(|seat| &seat.socket)
    }

    /// The snapshot goes first (or what was missed up to it), then what was held and is newer, then live.
    pub fn open(
        &mut self,
        socket: &Socket,
        at: Position,
        first: &[Bytes],
        touched: &mut Vec<Arc<Socket>>,
    ) {
        let Some(seat) = self.find(socket).and_then(|i| self.seats.get_mut(i)) else {
            return;
        };
        seat.after = at.seq;
        let held = seat.gate.take().unwrap_or_default();
        for frames in first {
            seat.push(Lane::Ordered, frames.clone(), touched);
        }
        for held in held.into_iter() {
            if held.seq.is_none_or(|seq| seq > at.seq) {
                seat.push(held.lane, held.frame, touched);
            }
        }
    }

    /// Everyone starts afresh from a snapshot: the order they knew is no more.
    pub fn restart(&mut self, at: Position, greeting: &Bytes, touched: &mut Vec<Arc<Socket>>) {
        self.position = Some(at);
        for seat in &mut self.seats {
            seat.after = at.seq;
            match &mut seat.gate {
                Some(held) => held.clear(),
                None => seat.push(Lane::Ordered, greeting.clone(), touched),
            }
        }
    }

    /// Hands an event to every seat that should hear it; returns how many did.
    pub fn deliver(
        &mut self,
        delivery: &Delivery<'_>,
        encode: &mut dyn FnMut(u8) -> Option<Bytes>,
        touched: &mut Vec<Arc<Socket>>,
    ) -> usize {
        if let Some(position) = delivery.position {
            self.advance(position);
        }
        let seq = delivery.position.map(|position| position.seq);
        let mut encoded: [Option<Option<Bytes>>; TONGUES] = Default::default();
        let mut recipients = 0;
        for seat in &mut self.seats {
            if !delivery.is_for(&seat.socket) || seq.is_some_and(|seq| seq <= seat.after) {
                continue;
            }
            let tongue = seat.socket.tongue;
            let once = encoded[usize::from(tongue) % TONGUES].get_or_insert_with(|| encode(tongue));
            let Some(frame) = once else {
                continue;
            };
            recipients += 1;
            match &mut seat.gate {
                None => seat.push(delivery.lane, frame.clone(), touched),
                Some(held) if held.len() < MAX_HELD => held.push(Held {
                    seq,
                    lane: delivery.lane,
                    frame: frame.clone(),
                }),
                Some(_) => seat
                    .socket
                    .close(super::TOO_SLOW, "too much happened before the snapshot"),
            }
        }
        recipients
    }

    /// How far this socket has been told.
    pub fn position(&self, socket: &Socket) -> Option<Position> {
        let after = self.find(socket).map_or(0, |at| self.seats[at].after);
        self.position.map(|position| Position {
            seq: position.seq.max(after),
            ..position
        })
    }

    /// Sets where the room is when nothing has been delivered yet.
    pub fn begin(&mut self, at: Position) {
        self.position.get_or_insert(at);
    }

    /// A text that was held back for its pace comes late; the position stays where it is.
    fn advance(&mut self, to: Position) {
        let known = self.position.filter(|known| known.epoch == to.epoch);
        if known.is_none_or(|known| known.seq < to.seq) {
            self.position = Some(to);
        }
    }

    fn find(&self, socket: &Socket) -> Option<usize> {
        self.seats
            .iter()
            .position(|seat| std::ptr::eq(&*seat.socket, socket))
    }
}

impl Seat {
    fn push(&self, lane: Lane, frame: Bytes, touched: &mut Vec<Arc<Socket>>) {
        if self.socket.push(lane, frame) {
            touched.push(self.socket.clone());
        }
    }
}
