//! Who of this node's sockets sits in a room, and from where on each of them hears.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Delivery;
use super::outbox::Lane;
use super::socket::{Socket, TOO_SLOW};
use crate::ids::{Position, SocketId, UserId};

/// A room on this node.
#[derive(Default)]
pub struct Hall {
    seats: Vec<Seat>,
    /// The last durable event that was handed to the seats.
    position: Option<Position>,
    /// While somebody waits for a snapshot.
    backlog: Option<Box<Backlog>>,
}

struct Seat {
    socket: Arc<Socket>,
    /// Events up to this seq are in the snapshot the socket got.
    after: u64,
    /// While it waits for its snapshot: from which of the backlog's events on it will hear.
    gate: Option<u64>,
}

/// What is delivered while sockets wait, kept once for all of them: when thousands come at once, each waits while
/// most of the others are told of.
#[derive(Default)]
struct Backlog {
    waiting: usize,
    held: VecDeque<Held>,
    bytes: usize,
    /// Events that made room, and the last seq of those.
    dropped: u64,
    dropped_seq: u64,
}

struct Held {
    seq: Option<u64>,
    lane: Lane,
    except: Option<SocketId>,
    only: Option<Vec<UserId>>,
    elsewhere: Vec<SocketId>,
    frames: [Option<Bytes>; TONGUES],
    bytes: usize,
}

/// Encodings a node can speak at once.
pub const TONGUES: usize = 8;
/// How many sockets were handed something, by tongue.
pub type Recipients = [usize; TONGUES];
/// Held for those who wait for a snapshot. Beyond it the oldest go, which as a rule the snapshot has.
const MAX_HELD: usize = 4_096;
const MAX_HELD_BYTES: usize = 8 * 1024 * 1024;

impl Hall {
    /// Takes a seat, in place of one that it has; what is delivered is held until [`Hall::open`].
    pub fn seat(&mut self, socket: Arc<Socket>) {
        self.leave(&socket);
        let backlog = self.backlog.get_or_insert_default();
        backlog.waiting += 1;
        self.seats.push(Seat {
            socket,
            after: 0,
            gate: Some(backlog.end()),
        });
    }

    pub fn leave(&mut self, socket: &Socket) {
        if let Some(at) = self.find(socket) {
            let seat = self.seats.swap_remove(at);
            if seat.gate.is_some() {
                self.waits_no_more();
            }
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

    /// The snapshot goes first (or what was missed up to it), then what was held and is newer, then live. Returns
    /// how many frames that were, and of how many bytes.
    pub fn open(
        &mut self,
        socket: &Socket,
        at: Position,
        first: &[(Lane, Bytes)],
        touched: &mut Vec<Arc<Socket>>,
    ) -> (usize, usize) {
        let Some(seat) = self.find(socket).and_then(|i| self.seats.get_mut(i)) else {
            return (0, 0);
        };
        seat.after = at.seq;
        let mut told: Vec<(Lane, &Bytes)> = first.iter().map(|(lane, one)| (*lane, one)).collect();
        let waited = seat.gate.take();
        if let (Some(gate), Some(backlog)) = (waited, &self.backlog) {
            if backlog.lacks(gate, at) {
                let socket = &seat.socket;
                socket.close(TOO_SLOW, "too much happened before the snapshot");
            }
            let newer = backlog
                .from(gate)
                .filter_map(|held| held.told(&seat.socket, at));
            told.extend(newer);
        }
        for (lane, frame) in &told {
            seat.push(*lane, Bytes::clone(frame), touched);
        }
        let bytes = told.iter().map(|(_, frame)| frame.len());
        let sums = (told.len(), bytes.sum());
        if waited.is_some() {
            self.waits_no_more();
        }
        sums
    }

    /// Everyone starts afresh from a snapshot: the order they knew is no more.
    pub fn restart(
        &mut self,
        at: Position,
        greeting: &dyn Fn(&Socket) -> Option<(Lane, Bytes)>,
        touched: &mut Vec<Arc<Socket>>,
    ) {
        self.position = Some(at);
        if let Some(backlog) = &mut self.backlog {
            backlog.clear();
        }
        for seat in &mut self.seats {
            seat.after = at.seq;
            if seat.gate.is_none()
                && let Some((lane, greeting)) = greeting(&seat.socket)
            {
                seat.push(lane, greeting, touched);
            }
        }
    }

    /// Hands an event to every seat that should hear it; returns how many did, by tongue.
    pub fn deliver(
        &mut self,
        delivery: &Delivery<'_>,
        encode: &mut dyn FnMut(u8) -> Option<Bytes>,
        touched: &mut Vec<Arc<Socket>>,
    ) -> Recipients {
        if let Some(position) = delivery.position {
            self.advance(position);
        }
        let seq = delivery.position.map(|position| position.seq);
        let mut encoded: [Option<Option<Bytes>>; TONGUES] = Default::default();
        let mut recipients = Recipients::default();
        for seat in &self.seats {
            if !delivery.is_for(&seat.socket) || seq.is_some_and(|seq| seq <= seat.after) {
                continue;
            }
            let tongue = seat.socket.tongue;
            let once = encoded[usize::from(tongue) % TONGUES].get_or_insert_with(|| encode(tongue));
            let Some(frame) = once else {
                continue;
            };
            if seat.gate.is_none() {
                recipients[usize::from(tongue) % TONGUES] += 1;
                seat.push(delivery.lane, frame.clone(), touched);
            }
        }
        if let Some(backlog) = &mut self.backlog {
            backlog.hold(delivery, encoded.map(Option::flatten));
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

    fn waits_no_more(&mut self) {
        if let Some(backlog) = &mut self.backlog {
            backlog.waiting -= 1;
            if backlog.waiting == 0 {
                self.backlog = None;
            }
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

impl Backlog {
    /// Events held so far, those that made room among them.
    fn end(&self) -> u64 {
        self.dropped + self.held.len() as u64
    }

    fn from(&self, gate: u64) -> impl Iterator<Item = &Held> {
        let skip = gate.saturating_sub(self.dropped);
        self.held.iter().skip(skip as usize)
    }

    /// Whether somebody who waited from `gate` on and starts from `at` would miss something.
    fn lacks(&self, gate: u64, at: Position) -> bool {
        gate < self.dropped && self.dropped_seq > at.seq
    }

    fn hold(&mut self, delivery: &Delivery<'_>, frames: [Option<Bytes>; TONGUES]) {
        let bytes: usize = frames.iter().flatten().map(Bytes::len).sum();
        if bytes == 0 {
            // Nobody who waits understands it.
            return;
        }
        self.bytes += bytes;
        self.held.push_back(Held {
            seq: delivery.position.map(|position| position.seq),
            lane: delivery.lane,
            except: delivery.except,
            only: delivery.only.map(<[UserId]>::to_vec),
            elsewhere: delivery.elsewhere.to_vec(),
            frames,
            bytes,
        });
        while self.held.len() > MAX_HELD || self.bytes > MAX_HELD_BYTES {
            self.drop_oldest();
        }
    }

    fn clear(&mut self) {
        self.dropped = self.end();
        self.dropped_seq = 0;
        self.held.clear();
        self.bytes = 0;
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.held.pop_front() {
            self.bytes -= oldest.bytes;
            self.dropped += 1;
            self.dropped_seq = self.dropped_seq.max(oldest.seq.unwrap_or(0));
        }
    }
}

impl Held {
    /// What a socket is told that starts from `at`.
    fn told(&self, socket: &Socket, at: Position) -> Option<(Lane, &Bytes)> {
        let delivery = Delivery {
            position: None,
            lane: self.lane,
            except: self.except,
            only: self.only.as_deref(),
            elsewhere: &self.elsewhere,
        };
        let newer = self.seq.is_none_or(|seq| seq > at.seq);
        let frame = self.frames[usize::from(socket.tongue) % TONGUES].as_ref()?;
        (newer && delivery.is_for(socket)).then_some((self.lane, frame))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::hub::{Bounds, Phase, Speech, Writer};
    use crate::ids::{Epoch, NodeId};

    fn socket(user: &str) -> Arc<Socket> {
        let bounds = Bounds {
            messages: 10_000,
            bytes: 1024 * 1024,
        };
        let (id, user) = (
            SocketId::next(NodeId::random()),
            UserId::parse(user).unwrap(),
        );
        let speech = Speech {
            tongue: 0,
            parting: |_| None,
        };
        Arc::new(Socket::new(
            id,
            user,
            "".into(),
            speech,
            Writer::ByTask,
            bounds,
        ))
    }

    fn at(seq: u64) -> Position {
        Position {
            epoch: Epoch(1),
            seq,
        }
    }

    /// What the socket was handed since it was asked last.
    fn heard(socket: &Socket) -> String {
        let (mut cx, mut out) = (Context::from_waker(Waker::noop()), Vec::new());
        socket.flush();
        assert!(
            socket
                .poll_flush_through(&mut cx, &mut pin!(&mut out))
                .is_ready()
        );
        String::from_utf8_lossy(&out).into_owned()
    }

    fn say(hall: &mut Hall, seq: Option<u64>, word: &'static str, only: Option<&[UserId]>) {
        let delivery = Delivery {
            position: seq.map(at),
            lane: Lane::Ordered,
            except: None,
            only,
            elsewhere: &[],
        };
        let mut encode = |_| Some(Bytes::from_static(word.as_bytes()));
        hall.deliver(&delivery, &mut encode, &mut Vec::new());
    }

    fn open(hall: &mut Hall, socket: &Socket, seq: u64) -> (usize, usize) {
        let first = Bytes::from_static(b"hello ");
        hall.open(socket, at(seq), &[(Lane::Ordered, first)], &mut Vec::new())
    }

    #[test]
    fn who_waits_hears_what_came_since_and_is_newer_than_the_snapshot() {
        let (mut hall, ann, bob) = (Hall::default(), socket("ann"), socket("bob"));
        hall.seat(ann.clone());
        say(&mut hall, None, "cursor ", None);
        hall.seat(bob.clone());
        say(&mut hall, Some(1), "one ", None);
        say(
            &mut hall,
            Some(2),
            "two ",
            Some(std::slice::from_ref(&bob.user)),
        );
        say(&mut hall, Some(3), "three ", None);
        assert_eq!(open(&mut hall, &ann, 0), (4, 23));
        assert_eq!(heard(&ann), "hello cursor one three ");
        assert_eq!(open(&mut hall, &bob, 1).0, 3);
        assert_eq!(heard(&bob), "hello two three ");
        say(&mut hall, Some(4), "four", None);
        assert_eq!((heard(&ann), heard(&bob)), ("four".into(), "four".into()));
    }

    #[test]
    fn the_backlog_goes_with_the_last_who_waits() {
        let (mut hall, ann, bob) = (Hall::default(), socket("ann"), socket("bob"));
        hall.seat(ann.clone());
        hall.seat(bob.clone());
        say(&mut hall, Some(1), "one", None);
        open(&mut hall, &ann, 1);
        assert!(hall.backlog.is_some());
        hall.leave(&bob);
        assert!(hall.backlog.is_none());
    }

    #[test]
    fn a_crowd_that_comes_while_one_waits_is_in_the_snapshot() {
        let (mut hall, ann, bob) = (Hall::default(), socket("ann"), socket("bob"));
        hall.seat(ann.clone());
        hall.seat(bob.clone());
        let last = MAX_HELD as u64 + 100;
        for seq in 1..=last {
            say(&mut hall, Some(seq), "x", None);
        }
        assert_eq!(hall.backlog.as_ref().unwrap().held.len(), MAX_HELD);
        open(&mut hall, &ann, last - 2);
        assert_eq!((heard(&ann), ann.phase()), ("hello xx".into(), Phase::Open));
        // Nobody goes on from a snapshot with a hole behind it.
        open(&mut hall, &bob, 50);
        assert_eq!(bob.phase(), Phase::Closing(TOO_SLOW));
        assert!(!heard(&bob).contains("hello"));
    }

    #[test]
    fn a_new_order_takes_the_backlog_of_the_old_one_away() {
        let (mut hall, ann) = (Hall::default(), socket("ann"));
        hall.seat(ann.clone());
        say(&mut hall, Some(9), "nine", None);
        hall.restart(
            at(5),
            &|_| Some((Lane::Ordered, Bytes::from_static(b"anew"))),
            &mut Vec::new(),
        );
        say(&mut hall, Some(6), "six", None);
        open(&mut hall, &ann, 5);
        assert_eq!(heard(&ann), "hello six");
    }
}
