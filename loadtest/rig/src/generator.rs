//! The load generator: many client sockets in one epoll loop on one thread.
//!
//! It shares the machine with the server it measures, so it does as little as it can: one large read buffer for
//! all sockets, frames recognised by their headers, payloads handed on where they lie. Only what a read cut in
//! two is copied. It answers WebSocket pings and remembers why sockets were closed; what a payload means is the
//! listener's affair.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::epoll::{Epoll, Interest};
use crate::{Result, host, wire};

/// Handshakes under way at a time: enough to keep the server busy, few enough for any listen queue.
const HANDSHAKES: usize = 64;
const READ_BUFFER: usize = 256 * 1024;
/// How long a socket may take from connecting to its greeting.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hears every text or binary message: the socket's number and the payload.
pub trait Listener {
    fn heard(&mut self, socket: usize, payload: &[u8]);
}

impl<F: FnMut(usize, &[u8])> Listener for F {
    fn heard(&mut self, socket: usize, payload: &[u8]) {
        self(socket, payload);
    }
}

/// A socket to open.
#[derive(Debug, Clone)]
pub struct Seat {
    pub address: SocketAddr,
    /// Path and query of the upgrade.
    pub path: String,
    /// Whether the server speaks first; the seat is taken once it has.
    pub greeted: bool,
    /// Frames sent then, to join a room.
    pub hello: Vec<u8>,
    /// How the message begins by which the seat is taken after the hello; without it nothing is waited for.
    pub joined: Option<&'static str>,
    /// Pings are Engine.IO's, of text.
    pub engine: bool,
}

/// Engine.IO's ping, and what answers it.
const ENGINE_PING: &[u8] = b"2";
const ENGINE_PONG: &[u8] = b"3";

pub struct Generator {
    epoll: Epoll,
    sockets: Vec<Socket>,
    buffer: Box<[u8]>,
    /// Messages heard so far, of any kind.
    heard: u64,
    taken: usize,
    refused: Option<String>,
    closed: usize,
    first_closed: Option<String>,
}

struct Socket {
    stream: TcpStream,
    stage: Stage,
    /// The server speaks first, and has not yet.
    awaits_greeting: bool,
    hello: Vec<u8>,
    joined: Option<&'static str>,
    engine: bool,
    /// The beginning of a frame whose end has not arrived.
    carry: Vec<u8>,
    /// What the kernel would not take yet.
    backlog: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Shaking,
    Open,
    Gone,
}

impl Generator {
    pub fn new() -> Result<Self> {
        Ok(Self {
            epoll: Epoll::new()?,
            sockets: Vec::new(),
            buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            heard: 0,
            taken: 0,
            refused: None,
            closed: 0,
            first_closed: None,
        })
    }

    /// Takes every seat: connected, upgraded and, where the server speaks first, greeted. Sockets are numbered
    /// in the order of their seats.
    pub fn seat(&mut self, seats: &[Seat], listener: &mut impl Listener) -> Result<()> {
        let goal = self.sockets.len() + seats.len();
        let mut waiting = seats.iter();
        let mut deadline = host::now() + PATIENCE.as_nanos() as u64;
        let mut taken = self.taken;
        while self.taken < goal {
            while self.sockets.len() - self.taken < HANDSHAKES {
                let Some(seat) = waiting.next() else { break };
                self.open(seat)?;
            }
            self.turn(host::now() + 50_000_000, listener)?;
            if let Some(reason) = &self.refused {
                return Err(format!("a socket was refused: {reason}").into());
            }
            if self.taken > taken {
                taken = self.taken;
                deadline = host::now() + PATIENCE.as_nanos() as u64;
            }
            if host::now() > deadline || self.closed > 0 {
                let why = self.first_closed.as_deref().unwrap_or("no greeting");
                return Err(
                    format!("only {} of {goal} sockets were seated: {why}", self.taken).into(),
                );
            }
        }
        Ok(())
    }

    /// One pass of the loop: waits for readiness until `until` (CLOCK_MONOTONIC) and serves what is ready.
    pub fn turn(&mut self, until: u64, listener: &mut impl Listener) -> Result<()> {
        host::check_signals()?;
        let ready = self.epoll.wait(Some(until.saturating_sub(host::now())))?;
        for index in 0..ready {
            let event = self.epoll.ready(index);
            if event.writable {
                self.write(event.token, &[])?;
            }
            if event.readable {
                self.read(event.token, listener)?;
            }
        }
        Ok(())
    }

    /// Serves the sockets for a while.
    pub fn serve(&mut self, time: Duration, listener: &mut impl Listener) -> Result<()> {
        let end = host::now() + time.as_nanos() as u64;
        while host::now() < end {
            self.turn(end, listener)?;
        }
        Ok(())
    }

    /// Serves until nothing was heard for `still`; errs when that takes longer than `at_most`.
    pub fn settle(
        &mut self,
        still: Duration,
        at_most: Duration,
        listener: &mut impl Listener,
    ) -> Result<()> {
        let give_up = host::now() + at_most.as_nanos() as u64;
        loop {
            let before = self.heard;
            self.serve(still, listener)?;
            if self.heard == before {
                return Ok(());
            }
            if host::now() > give_up {
                return Err(
                    format!("the server was not quiet after {} s", at_most.as_secs()).into(),
                );
            }
        }
    }

    /// Writes a complete frame, or several; what the kernel does not take goes out when it can.
    pub fn send(&mut self, socket: usize, frames: &[u8]) -> Result<()> {
        self.write(socket, frames)
    }

    /// How many sockets were closed by the server, and why the first.
    pub fn closed(&self) -> (usize, Option<&str>) {
        (self.closed, self.first_closed.as_deref())
    }

    fn open(&mut self, seat: &Seat) -> Result<()> {
        let stream = TcpStream::connect(seat.address).map_err(|error| {
            format!(
                "cannot connect to {} as socket {}: {error}",
                seat.address,
                self.sockets.len()
            )
        })?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let number = self.sockets.len();
        self.epoll.add(stream.as_raw_fd(), number)?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            seat.path, seat.address
        );
        self.sockets.push(Socket {
            stream,
            stage: Stage::Shaking,
            awaits_greeting: seat.greeted,
            hello: seat.hello.clone(),
            joined: seat.joined,
            engine: seat.engine,
            carry: Vec::new(),
            backlog: Vec::new(),
        });
        self.write(number, request.as_bytes())
    }

    fn write(&mut self, number: usize, bytes: &[u8]) -> Result<()> {
        let socket = &mut self.sockets[number];
        if socket.stage == Stage::Gone {
            return Ok(());
        }
        let waited = !socket.backlog.is_empty();
        let outcome = match waited {
            true => {
                socket.backlog.extend_from_slice(bytes);
                let mut backlog = std::mem::take(&mut socket.backlog);
                let outcome = write_some(&mut socket.stream, &backlog);
                backlog.drain(..*outcome.as_ref().unwrap_or(&0));
                socket.backlog = backlog;
                outcome
            }
            false => write_some(&mut socket.stream, bytes).inspect(|&count| {
                socket.backlog.extend_from_slice(&bytes[count..]);
            }),
        };
        match outcome {
            Ok(_) if waited == socket.backlog.is_empty() => {
                let interest = if waited {
                    Interest::Read
                } else {
                    Interest::ReadAndWrite
                };
                Ok(self
                    .epoll
                    .change(socket.stream.as_raw_fd(), number, interest)?)
            }
            Ok(_) => Ok(()),
            Err(error) => {
                self.lose(number, format!("write: {error}"));
                Ok(())
            }
        }
    }

    fn read(&mut self, number: usize, listener: &mut impl Listener) -> Result<()> {
        if self.sockets[number].stage == Stage::Gone {
            return Ok(());
        }
        // Taken out so that `self` can be used while its bytes are looked at.
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = match self.sockets[number].stream.read(&mut buffer) {
            Ok(0) => {
                self.lose(number, "end of stream without a close frame".into());
                Ok(())
            }
            Ok(count) => self.arrived(number, &buffer[..count], listener),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(())
            }
            Err(error) => {
                self.lose(number, format!("read: {error}"));
                Ok(())
            }
        };
        self.buffer = buffer;
        outcome
    }

    fn arrived(&mut self, number: usize, bytes: &[u8], listener: &mut impl Listener) -> Result<()> {
        if self.sockets[number].carry.is_empty() {
            let used = self.take(number, bytes, listener)?;
            self.sockets[number].carry.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut carry = std::mem::take(&mut self.sockets[number].carry);
        carry.extend_from_slice(bytes);
        let used = self.take(number, &carry, listener)?;
        // An emptied carry gives its memory back: large messages are rare.
        if used < carry.len() {
            carry.drain(..used);
            self.sockets[number].carry = carry;
        }
        Ok(())
    }

    /// Takes whatever is complete at the start of `bytes` and returns how much that was.
    fn take(&mut self, number: usize, bytes: &[u8], listener: &mut impl Listener) -> Result<usize> {
        let mut used = 0;
        if self.sockets[number].stage == Stage::Shaking {
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
                return Ok(0);
            };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                let status = bytes
                    .split(|&byte| byte == b'\r')
                    .next()
                    .unwrap_or_default();
                self.refused = Some(String::from_utf8_lossy(status).into_owned());
                self.sockets[number].stage = Stage::Gone;
                return Ok(bytes.len());
            }
            used = end + 4;
            self.sockets[number].stage = Stage::Open;
            if !self.sockets[number].awaits_greeting {
                self.say_hello(number)?;
            }
        }
        while let Some(frame) = wire::first_frame(&bytes[used..])? {
            used += frame.size;
            self.frame(number, &frame, listener)?;
        }
        Ok(used)
    }

    fn frame(
        &mut self,
        number: usize,
        frame: &wire::Frame<'_>,
        listener: &mut impl Listener,
    ) -> Result<()> {
        match frame.opcode {
            wire::TEXT if self.sockets[number].engine && frame.payload == ENGINE_PING => {
                self.write(number, &wire::client_frame(wire::TEXT, ENGINE_PONG))?;
            }
            wire::TEXT | wire::BINARY => {
                self.heard += 1;
                let socket = &mut self.sockets[number];
                if std::mem::take(&mut socket.awaits_greeting) {
                    self.say_hello(number)?;
                } else if let Some(joined) = socket.joined
                    && frame.payload.starts_with(joined.as_bytes())
                {
                    socket.joined = None;
                    self.taken += 1;
                }
                listener.heard(number, frame.payload);
            }
            wire::PING => self.write(number, &wire::client_frame(wire::PONG, frame.payload))?,
            wire::CLOSE => {
                let code = frame
                    .payload
                    .first_chunk::<2>()
                    .map_or(1005, |code| u16::from_be_bytes(*code));
                let reason = String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default());
                self.lose(number, format!("close frame {code} {reason}"));
            }
            // The rest of a fragmented message: its first frame stood for it.
            _ => {}
        }
        Ok(())
    }

    fn say_hello(&mut self, number: usize) -> Result<()> {
        let socket = &mut self.sockets[number];
        self.taken += usize::from(socket.joined.is_none());
        let hello = std::mem::take(&mut socket.hello);
        self.write(number, &hello)
    }

    fn lose(&mut self, number: usize, why: String) {
        let socket = &mut self.sockets[number];
        if socket.stage == Stage::Gone {
            return;
        }
        socket.stage = Stage::Gone;
        // A socket at its end would be reported ready for ever.
        let _ = socket.stream.shutdown(std::net::Shutdown::Both);
        let _ = self.epoll.remove(socket.stream.as_raw_fd());
        self.closed += 1;
        self.first_closed.get_or_insert(why);
    }
}

/// Writes as much as the kernel takes now, possibly nothing.
fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(0)
        }
        outcome => outcome,
    }
}
