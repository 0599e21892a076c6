//! A client's connection without TCP: a bounded pipe down, a queue of frames up.
//!
//! The node's end does what `transport/connection.rs` does, one frame after the other; the client's end reads whole
//! frames. A client that does not read fills the pipe, and its socket blocks.

use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use collabd::hub::{Phase, Socket};
use collabd::node::{Departure, Handled, Node, Participant};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::mpsc;

use super::host::departure;

/// What stands for a connection that ended without a close frame.
const LOST: u16 = 1006;
/// Longest wait for a client to take what is left.
const GOODBYE: Duration = Duration::from_secs(2);

/// From the client.
pub enum Up {
    Text(String),
    Close,
}

/// To the client.
#[derive(Debug)]
pub enum Down {
    Text(String),
    Close(u16, String),
}

/// The node's end.
pub struct Line {
    node: Arc<Node>,
    socket: Arc<Socket>,
    stream: DuplexStream,
    frames: mpsc::Receiver<Up>,
    /// A command that is being carried out; nothing is read meanwhile.
    busy: Option<BoxFuture<'static, ()>>,
}

impl Line {
    pub fn new(
        node: Arc<Node>,
        socket: Arc<Socket>,
        stream: DuplexStream,
        frames: mpsc::Receiver<Up>,
    ) -> Self {
        Self {
            node,
            socket,
            stream,
            frames,
            busy: None,
        }
    }

    /// Carries out what the client asks and writes what it is to be sent, until one of them is done.
    pub async fn drive(&mut self, participant: &mut Participant) -> Departure {
        let code = std::future::poll_fn(|cx| {
            loop {
                // Pending or not, there is more to do.
                let _ = self.socket.poll_flush_through(cx, &mut self.stream);
                if let Some(busy) = &mut self.busy {
                    ready!(busy.as_mut().poll(cx));
                    self.busy = None;
                }
                match self.socket.phase() {
                    Phase::Lost => return Poll::Ready(LOST),
                    Phase::Closing(code) => return Poll::Ready(code),
                    Phase::Open => {}
                }
                match ready!(self.frames.poll_recv(cx)) {
                    Some(Up::Text(text)) => match self.node.handle(participant, &text) {
                        Handled::Later(busy) => self.busy = Some(busy),
                        Handled::Done => {}
                        Handled::Bad => panic!("the client sent a frame that is none: {text}"),
                    },
                    Some(Up::Close) => return Poll::Ready(1000),
                    None => {
                        self.socket.lost();
                        return Poll::Ready(LOST);
                    }
                }
            }
        })
        .await;
        departure(&self.node, code)
    }

    /// The close frame out, if the client takes it.
    pub async fn say_goodbye(&mut self) {
        let Self { socket, stream, .. } = self;
        let flushed = std::future::poll_fn(|cx| socket.poll_flush_through(cx, stream));
        // Who does not read does not learn why.
        let _ = tokio::time::timeout(GOODBYE, flushed).await;
    }
}

/// The client's end.
pub struct End {
    stream: DuplexStream,
    up: mpsc::Sender<Up>,
    read: BytesMut,
}

impl End {
    pub fn new(stream: DuplexStream, up: mpsc::Sender<Up>) -> Self {
        Self {
            stream,
            up,
            read: BytesMut::new(),
        }
    }

    /// The next frame; `None`: the connection is gone. Can be given up and begun anew.
    pub async fn next(&mut self) -> Option<Down> {
        loop {
            if let Some(frame) = self.parse() {
                return Some(frame);
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// False when the node takes no more for now, or at all.
    pub fn send(&self, text: String) -> bool {
        self.up.try_send(Up::Text(text)).is_ok()
    }

    pub fn close(self) {
        // Who is gone already needs no goodbye.
        let _ = self.up.try_send(Up::Close);
    }

    /// A whole server frame out of what was read: unmasked, unfragmented.
    fn parse(&mut self) -> Option<Down> {
        let (head, length) = match *self.read.get(1)? {
            126 => (4, usize::from(u16::from_be_bytes(self.slice(2)?))),
            127 => (10, u64::from_be_bytes(self.slice(2)?) as usize),
            short => (2, usize::from(short)),
        };
        if self.read.len() < head + length {
            return None;
        }
        let opcode = self.read[0] & 0x0f;
        self.read.advance(head);
        let payload = self.read.split_to(length);
        let text = |bytes: &[u8]| {
            std::str::from_utf8(bytes)
                .expect("a node speaks UTF-8")
                .to_owned()
        };
        match opcode {
            1 => Some(Down::Text(text(&payload))),
            8 => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                Some(Down::Close(code, text(&payload[2..])))
            }
            other => panic!("nobody sends frames of kind {other} here"),
        }
    }

    fn slice<const N: usize>(&self, from: usize) -> Option<[u8; N]> {
        self.read.get(from..from + N)?.try_into().ok()
    }
}
