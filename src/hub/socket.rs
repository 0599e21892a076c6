//! One socket as the node sees it: where its frames go.
//!
//! Whoever has a frame writes it: the relay for a whole room, the socket's own task for its replies.
//! Only a write that would block is left to the task, which waits for the kernel and goes on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;

use super::frame;
use super::marks::Marks;
use super::outbox::{Bounds, Flush, Lane, Outbox};
use crate::clock::{Clock, Millis};
use crate::ids::{SocketId, UserId};
use crate::telemetry::metrics::metrics;

/// Close code of a socket that could not keep up: it may come back and resume.
pub const TOO_SLOW: u16 = 4503;

/// What may wait for a socket's task, as a multiple of the bounds, until the kernel takes no more: a burst comes
/// before the task does, and tells nothing of a slow reader.
const BURST: usize = 16;

/// Who writes.
pub enum Writer {
    /// Whoever has a frame.
    Direct(OwnedWriteHalf),
    /// The socket's own task, which has the stream.
    ByTask,
}

/// How a socket is spoken to.
#[derive(Debug, Clone, Copy)]
pub struct Speech {
    /// Which encoding it wants.
    pub tongue: u8,
    /// What goes before a close frame of this code.
    pub parting: fn(u16) -> Option<Bytes>,
}

pub struct Socket {
    pub id: SocketId,
    pub user: UserId,
    /// The user's display name; opaque here, kept for those who tell others of the socket.
    pub name: Arc<str>,
    /// Which encoding it wants; opaque here.
    pub tongue: u8,
    /// When it came.
    pub since: Millis,
    /// What goes before a close frame of this code.
    parting: fn(u16) -> Option<Bytes>,
    /// Its bounds, in few bytes.
    messages: u32,
    bytes: u32,
    /// Where it is noted what an inbox was told, for who has one.
    marks: Option<Arc<Marks>>,
    state: Mutex<State>,
    task: AtomicWaker,
    /// Tick of the heartbeat at which the peer was last heard.
    heard: AtomicU32,
}

struct State {
    writer: Writer,
    outbox: Outbox,
    phase: Phase,
    /// The task flushes.
    blocked: bool,
    /// The kernel took no more.
    congested: bool,
    /// Pushed to since the last flush.
    dirty: bool,
    /// Its door's greeting was pushed.
    greeted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    #[default]
    Open,
    /// A close frame is queued or written; nothing follows it.
    Closing(u16),
    /// The connection is lost.
    Lost,
}

impl Socket {
    pub fn new(
        id: SocketId,
        user: UserId,
        name: Arc<str>,
        speech: Speech,
        writer: Writer,
        bounds: Bounds,
    ) -> Self {
        let state = State {
            writer,
            outbox: Outbox::default(),
            phase: Phase::Open,
            blocked: false,
            congested: false,
            dirty: false,
            greeted: false,
        };
        Self {
            id,
            user,
            name,
            tongue: speech.tongue,
            since: Clock::system().now(),
            parting: speech.parting,
            messages: small(bounds.messages),
            bytes: small(bounds.bytes),
            marks: None,
            state: Mutex::new(state),
            task: AtomicWaker::new(),
            heard: AtomicU32::new(0),
        }
    }

    /// The same, for a user with an inbox.
    pub fn marking(self, marks: &Arc<Marks>) -> Self {
        Self {
            marks: Some(marks.clone()),
            ..self
        }
    }

    /// Queues and writes at once.
    pub fn send(&self, lane: Lane, frame: Bytes) {
        let mut state = self.state.lock();
        self.push_locked(&mut state, lane, frame);
        self.flush_locked(&mut state);
    }

    /// The same of what is said to everybody, wherever they are: not before a door's greeting, which comes first. True
    /// when it was queued.
    pub fn tell(&self, frame: Bytes) -> bool {
        let mut state = self.state.lock();
        if !state.greeted || state.phase != Phase::Open {
            return false;
        }
        self.push_locked(&mut state, Lane::Ordered, frame);
        self.flush_locked(&mut state);
        true
    }

    /// What it was sent so far was no greeting: that comes next.
    pub fn expect_greeting(&self) {
        self.state.lock().greeted = false;
    }

    /// Queues; true when the caller now owes the socket a [`Socket::flush`].
    pub fn push(&self, lane: Lane, frame: Bytes) -> bool {
        let mut state = self.state.lock();
        self.push_locked(&mut state, lane, frame);
        !std::mem::replace(&mut state.dirty, true)
    }

    pub fn flush(&self) {
        self.flush_locked(&mut self.state.lock());
    }

    /// Notes what an inbox was told by what its task has written, see [`Socket::poll_flush_through`].
    pub fn note_told(&self) {
        if let Some(marks) = &self.marks {
            let mut state = self.state.lock();
            marks.note(&self.user, state.outbox.take_told());
        }
    }

    /// See [`Outbox::unmark`].
    pub fn unmark(&self) {
        self.state.lock().outbox.unmark();
    }

    /// Says goodbye after what is queued. The first close wins.
    pub fn close(&self, code: u16, reason: &str) {
        let mut state = self.state.lock();
        self.close_locked(&mut state, code, reason);
        self.flush_locked(&mut state);
    }

    /// The peer is gone; nothing more can be written.
    pub fn lost(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Lost;
        }
        state.outbox = Outbox::default();
    }

    pub fn phase(&self) -> Phase {
        self.state.lock().phase
    }

    /// Bytes that may wait.
    pub fn outbox_bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Bytes waiting to be written.
    pub fn waiting(&self) -> usize {
        self.state.lock().outbox.waiting()
    }

    /// For the socket's own task: finishes blocked writes. Ready when nothing waits.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.task.register(cx.waker());
        let mut state = self.state.lock();
        loop {
            let Writer::Direct(writer) = &state.writer else {
                return Poll::Ready(());
            };
            if !state.blocked {
                return Poll::Ready(());
            }
            match writer.as_ref().poll_write_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {
                    state.blocked = false;
                    self.flush_locked(&mut state);
                }
                Poll::Ready(Err(_)) => self.lose_locked(&mut state),
            }
        }
    }

    /// The same for a socket that is written by its task: `stream` is what the task has. When that has what it was
    /// given, [`Socket::note_told`].
    pub fn poll_flush_through(
        &self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<()> {
        self.task.register(cx.waker());
        let flush = {
            let mut state = self.state.lock();
            let flush = state.outbox.flush(|slices| {
                match Pin::new(&mut *stream).poll_write_vectored(cx, slices) {
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                    Poll::Ready(taken) => taken,
                }
            });
            state.blocked = flush == Flush::Blocked;
            state.congested = state.blocked;
            flush
        };
        let flushed = match flush {
            Flush::Blocked => return Poll::Pending,
            // Encrypted, it waits in the stream.
            Flush::Done => std::task::ready!(Pin::new(stream).poll_flush(cx)).is_ok(),
            Flush::Failed => false,
        };
        if !flushed {
            self.lose_locked(&mut self.state.lock());
        }
        Poll::Ready(())
    }

    /// From here on frames go this way: `first`, then those that wait. Its task has written nothing by halves.
    pub fn rewire(&self, writer: Writer, first: impl DoubleEndedIterator<Item = Bytes>) {
        let mut state = self.state.lock();
        state.outbox.put_back(first);
        state.writer = writer;
        state.blocked = false;
        state.congested = false;
        self.flush_locked(&mut state);
    }

    /// The kernel, or whoever stands for it, takes nothing for now: the bounds hold as they are.
    pub fn stall(&self) {
        self.state.lock().congested = true;
    }

    pub fn heard_at(&self, tick: u32) {
        self.heard.store(tick, Ordering::Relaxed);
    }

    pub fn last_heard(&self) -> u32 {
        self.heard.load(Ordering::Relaxed)
    }

    fn push_locked(&self, state: &mut State, lane: Lane, frame: Bytes) {
        if state.phase != Phase::Open || frame.is_empty() {
            return;
        }
        state.greeted = true;
        let mut conflated = 0;
        let mut bounds = Bounds {
            messages: self.messages as usize,
            bytes: self.bytes as usize,
        };
        if matches!(state.writer, Writer::ByTask) && !state.congested {
            bounds.messages *= BURST;
            bounds.bytes *= BURST;
        }
        let bounds = &bounds;
        let mut refused = state.outbox.push(lane, frame, bounds, &mut conflated).err();
        if !state.blocked
            && let Some(frame) = refused.take()
        {
            // A burst, not a slow reader: make room and try again.
            self.flush_locked(state);
            refused = state.outbox.push(lane, frame, bounds, &mut conflated).err();
        }
        if conflated > 0 {
            metrics().conflated(conflated);
        }
        if refused.is_some() && state.phase == Phase::Open {
            state.outbox.clear();
            self.close_locked(state, TOO_SLOW, "too slow: come back and resume");
        }
    }

    fn close_locked(&self, state: &mut State, code: u16, reason: &str) {
        if state.phase == Phase::Open {
            if let Some(parting) = (self.parting)(code) {
                state.outbox.queue_up(Lane::Ordered, parting);
            }
            state
                .outbox
                .queue_up(Lane::Ordered, frame::close(code, reason));
            state.phase = Phase::Closing(code);
            self.task.wake();
        }
    }

    fn flush_locked(&self, state: &mut State) {
        state.dirty = false;
        if state.blocked {
            return;
        }
        let Writer::Direct(writer) = &state.writer else {
            state.blocked = state.outbox.waiting() > 0;
            if state.blocked {
                self.task.wake();
            }
            return;
        };
        let flush = state.outbox.flush(|slices| match slices {
            [one] => writer.try_write(one),
            many => writer.try_write_vectored(many),
        });
        if let Some(marks) = &self.marks {
            marks.note(&self.user, state.outbox.take_told());
        }
        match flush {
            Flush::Done => {}
            Flush::Blocked => {
                state.blocked = true;
                self.task.wake();
            }
            Flush::Failed => self.lose_locked(state),
        }
    }

    fn lose_locked(&self, state: &mut State) {
        state.phase = Phase::Lost;
        state.blocked = false;
        state.outbox = Outbox::default();
        self.task.wake();
    }
}

fn small(bound: usize) -> u32 {
    u32::try_from(bound).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counts of an [`Arc`].
    const COUNTS: usize = 16;
    /// The allocator's next class is a seventh larger.
    const CLASS: usize = 224;

    /// Guards the memory of idle sockets.
    #[test]
    fn a_socket_keeps_its_size_class() {
        assert!(size_of::<Socket>() + COUNTS <= CLASS);
    }

    /// Guards the greeting, which is what a client waits for first.
    #[test]
    fn what_is_said_to_everybody_does_not_come_before_the_greeting() {
        let speech = Speech {
            tongue: 0,
            parting: |_| None,
        };
        let bounds = Bounds {
            messages: 10,
            bytes: 1_000,
        };
        let user = UserId::parse("ann").unwrap();
        let id = SocketId::next(crate::ids::NodeId::random());
        let socket = Socket::new(id, user, "".into(), speech, Writer::ByTask, bounds);
        let frame = || Bytes::from_static(b"frame");
        assert!(!socket.tell(frame()));
        socket.send(Lane::Ordered, frame());
        assert!(socket.tell(frame()));
        socket.expect_greeting();
        assert!(!socket.tell(frame()));
        socket.push(Lane::Ordered, frame());
        assert!(socket.tell(frame()));
        assert_eq!(socket.waiting(), 4 * frame().len());
        socket.close(1000, "");
        assert!(!socket.tell(frame()));
    }
}
