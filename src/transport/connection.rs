//! One socket's task: reads frames, has them carried out one after the other, finishes blocked writes, says
//! goodbye.
//!
//! A hand-written future, because there is one for every socket: it is small, and it waits for the peer,
//! the kernel and a running command at once without allocating. The protocol itself is tungstenite's,
//! driven over the bare stream; what it wants to write (pongs, close replies) goes through the outbox, in
//! order with everything else.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::ReadBuf;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_tungstenite::tungstenite::{self, Message};

use super::intake::Intake;
use super::protocol::Protocol;
use super::wire::Wire;
use super::{Transport, close};
use crate::hub::{Lane, Phase, Socket};
use crate::node::{Admission, Departure, Handled, Participant};
use crate::telemetry::metrics::metrics;

/// Close codes for what the protocol library refused: nothing behind that can be told apart.
const UNREADABLE: [u16; 3] = [close::PROTOCOL, close::NOT_UTF8, close::TOO_LARGE];
/// Bytes thrown away at once after a close.
const SCRATCH: usize = 4 * 1024;

/// What a socket takes up as long as it is in its session.
pub struct Leases {
    pub admission: Admission,
    pub permit: OwnedSemaphorePermit,
}

pub struct Connection {
    transport: Arc<Transport>,
    socket: Arc<Socket>,
    /// Until the goodbye begins.
    participant: Option<Participant>,
    /// The user's place, given back when the goodbye begins.
    admission: Option<Admission>,
    wire: Wire,
    protocol: Protocol,
    /// A command that is being carried out; nothing is read meanwhile.
    busy: Option<BoxFuture<'static, ()>>,
    intake: Intake,
    goodbye: Option<Box<Goodbye>>,
    _permit: OwnedSemaphorePermit,
}

/// How a socket ends.
struct Goodbye {
    /// When it is over, whatever the peer does.
    timeout: Pin<Box<Sleep>>,
    /// We close: the peer gets time to read what we sent, and its rest is thrown away.
    ours: bool,
    /// The peer has answered our close, or speaks in a way that no answer could be found in.
    heard_out: bool,
    shut: bool,
    /// The node leaves, and counts how its sockets took it.
    draining: bool,
}

enum Read {
    Command(Handled),
    Nothing,
    Wait,
}

impl Connection {
    pub fn new(
        transport: Arc<Transport>,
        participant: Participant,
        wire: Wire,
        protocol: Protocol,
        leases: Leases,
    ) -> Self {
        let Leases { admission, permit } = leases;
        let socket = participant.socket.clone();
        Self {
            protocol,
            intake: Intake::new(&transport),
            transport,
            socket,
            participant: Some(participant),
            admission: Some(admission),
            wire,
            busy: None,
            goodbye: None,
            _permit: permit,
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let flushed = self.wire.poll_flush(&self.socket, cx);
            if let Some(busy) = &mut self.busy {
                ready!(busy.as_mut().poll(cx));
                self.busy = None;
            }
            match self.socket.phase() {
                Phase::Lost => self.begin_goodbye(close::LOST, false),
                Phase::Closing(code) => self.begin_goodbye(code, true),
                Phase::Open => {}
            }
            if self.goodbye.is_some() {
                return self.say_goodbye(flushed, cx);
            }
            match self.read(cx) {
                Read::Wait => return Poll::Pending,
                Read::Nothing | Read::Command(Handled::Done) => {}
                Read::Command(Handled::Later(busy)) => self.busy = Some(busy),
                Read::Command(Handled::Bad) => self.intake.count_bad(&self.transport, &self.socket),
            }
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Read {
        let mut stream = Stream {
            cx,
            wire: &mut self.wire,
            socket: &self.socket,
            got: 0,
        };
        let message = self.protocol.read(&mut stream);
        if stream.got > 0 {
            self.socket.heard_at(self.transport.heartbeat.now());
        }
        match message {
            Ok(Message::Text(text)) => self.take(&text),
            Ok(Message::Binary(frame)) => self.take_binary(&frame),
            Ok(Message::Close(frame)) => {
                let code = frame.map_or(close::NO_CODE, |frame| frame.code.into());
                self.leave(code);
                Read::Nothing
            }
            Ok(Message::Ping(payload) | Message::Pong(payload)) => {
                self.count_control(payload.len())
            }
            Ok(_) => Read::Nothing,
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                self.protocol.give_back();
                Read::Wait
            }
            Err(error) => {
                self.fail(&error);
                Read::Nothing
            }
        }
    }

    /// Has a frame carried out, unless it comes too fast.
    fn take(&mut self, text: &str) -> Read {
        match &mut self.participant {
            Some(participant) => {
                Read::Command(self.intake.take(&self.transport, participant, text))
            }
            None => Read::Nothing,
        }
    }

    fn take_binary(&mut self, frame: &[u8]) -> Read {
        let Some(participant) = &mut self.participant else {
            return Read::Nothing;
        };
        Read::Command(self.intake.take_binary(&self.transport, participant, frame))
    }

    fn count_control(&mut self, bytes: usize) -> Read {
        let counted = self
            .intake
            .count_control(&self.transport, &self.socket, bytes);
        counted.map_or(Read::Nothing, Read::Command)
    }

    /// Answers what the protocol library refused.
    fn fail(&mut self, error: &tungstenite::Error) {
        use tungstenite::Error;
        use tungstenite::error::ProtocolError;
        match error {
            Error::Capacity(_) => {
                let most = self.transport.config.max_frame_bytes;
                let reason = format!("a message has at most {most} bytes");
                self.socket.close(close::TOO_LARGE, &reason);
            }
            Error::Utf8(_) => self.socket.close(close::NOT_UTF8, "a text frame is UTF-8"),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => self.socket.lost(),
            Error::Protocol(problem) => {
                self.socket.close(close::PROTOCOL, &problem.to_string());
            }
            // The peer's close was answered, or the stream is gone.
            _ => self.begin_goodbye(close::LOST, false),
        }
    }

    fn begin_goodbye(&mut self, code: u16, ours: bool) {
        if self.goodbye.is_some() {
            return;
        }
        self.leave(code);
        self.goodbye = Some(Box::new(Goodbye {
            timeout: Box::pin(tokio::time::sleep(self.transport.config.close_timeout)),
            ours,
            heard_out: !ours || UNREADABLE.contains(&code),
            shut: false,
            draining: ours && code == close::RESTARTING,
        }));
    }

    /// Takes the socket out of its session, once, and counts why.
    fn leave(&mut self, code: u16) {
        let Some(participant) = self.participant.take() else {
            return;
        };
        self.admission = None;
        self.transport.see_off(participant, code);
    }

    /// The close frame out, the peer's answer in, our side shut, then the peer's rest thrown away until it is done
    /// too. A connection that was closed at once could lose the close frame to a reset; and behind a proxy also one
    /// whose side was shut at once: proxies end both directions then, and reset the client that still says something.
    fn say_goodbye(&mut self, flushed: Poll<()>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(goodbye) = &mut self.goodbye else {
            return Poll::Ready(());
        };
        let lost = self.socket.phase() == Phase::Lost;
        let ended = lost || goodbye.timeout.as_mut().poll(cx).is_ready();
        if !ended {
            ready!(flushed);
            if !goodbye.heard_out {
                let mut stream = Stream {
                    cx,
                    wire: &mut self.wire,
                    socket: &self.socket,
                    got: 0,
                };
                ready!(hear_out(&mut self.protocol, &mut stream));
                goodbye.heard_out = true;
            }
            if ready!(goodbye.shut(&mut self.wire, cx)).is_ok() && goodbye.ours {
                ready!(goodbye.part(&mut self.wire, cx));
            }
        }
        if goodbye.draining {
            metrics().drain_closed(if ended { "forced" } else { "closed" });
        }
        Poll::Ready(())
    }
}

impl Transport {
    /// Takes a socket out of its rooms, and counts why.
    pub(super) fn see_off(&self, participant: Participant, code: u16) {
        let departure = match code {
            close::NORMAL | close::GOING_AWAY | close::NO_CODE => Departure::Clean,
            // Who was sent away is not waited for.
            close::FORBIDDEN | close::ENDED => Departure::Clean,
            close::RESTARTING if self.node.is_closing() => Departure::HandedOver,
            _ => Departure::Lost,
        };
        metrics().closed(participant.door(), code);
        tracing::info!(target: "audit", parent: &participant.span(), code, "left");
        self.node.leave(participant, departure);
    }
}

/// Ready when the peer has answered our close, or is gone, or says what cannot be read. Whatever else it says is thrown
/// away.
fn hear_out(protocol: &mut Protocol, stream: &mut Stream<'_, '_>) -> Poll<()> {
    loop {
        match protocol.read(stream) {
            Ok(Message::Close(_)) => return Poll::Ready(()),
            Ok(_) => {}
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return Poll::Pending;
            }
            Err(_) => return Poll::Ready(()),
        }
    }
}

impl Goodbye {
    /// Says that no more comes. Over TLS a connection that just ends looks like one that was cut.
    fn shut(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(wire.poll_shutdown(cx))?;
            self.shut = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the peer is done.
    fn part(&self, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; SCRATCH];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(wire.poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().drive(cx)
    }
}

impl Drop for Connection {
    /// Also when the task is ended from outside, nobody stays behind as a ghost.
    fn drop(&mut self) {
        self.leave(close::LOST);
    }
}

/// The TCP stream as the protocol library sees it.
struct Stream<'a, 'c> {
    cx: &'a mut Context<'c>,
    wire: &'a mut Wire,
    socket: &'a Socket,
    got: usize,
}

impl io::Read for Stream<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(into);
        // Unlike try_read this notes a short read, and spares the call that would find nothing.
        match self.wire.poll_read(self.cx, &mut buffer) {
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) => {
                self.got += buffer.filled().len();
                Ok(buffer.filled().len())
            }
        }
    }
}

impl io::Write for Stream<'_, '_> {
    /// Whole frames, as the library hands them over; the outbox never refuses a little more.
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        self.socket
            .send(Lane::Ordered, Bytes::copy_from_slice(frames));
        Ok(frames.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the runtime puts around a future: a task's header, its stage, its place among the others.
    const AROUND: usize = 112;
    /// The allocator's next class is a quarter larger, and there is a task for every idle socket.
    const CLASS: usize = 512;

    /// Guards the memory of idle sockets. What few of them need goes into a box.
    #[test]
    fn a_sockets_task_keeps_its_size_class() {
        assert!(size_of::<Connection>() + AROUND <= CLASS);
    }
}
