//! The WebSocket protocol of one connection, between the bytes and whole messages: the library's state while a message
//! is on its way, and what is needed to know when none is. Most sockets are idle most of the time, and then have neither
//! state nor buffer.

use std::io;

use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{self, Message};

use super::boundary::Boundary;

/// Bytes read at once. Larger frames get a buffer of their own.
const READ_BUFFER: usize = 2_048;

pub struct Protocol {
    /// Made when there is something to read, and given back between two messages: the allocator has the last one's
    /// memory at hand, so that is cheaper than to keep a buffer for every socket.
    context: Option<Box<WebSocketContext>>,
    boundary: Boundary,
    /// Most bytes of a message.
    most: usize,
}

impl Protocol {
    /// `early` is what came behind the handshake.
    pub fn new(most: usize, early: &[u8]) -> Self {
        let mut boundary = Boundary::default();
        boundary.feed(early);
        Self {
            context: (!early.is_empty()).then(|| context(most, early)),
            boundary,
            most,
        }
    }

    /// Reads a message from what `bytes` has. An error that is [`io::ErrorKind::WouldBlock`] means that none is
    /// there yet.
    pub fn read(
        &mut self,
        bytes: &mut (impl io::Read + io::Write),
    ) -> Result<Message, tungstenite::Error> {
        let mut counted = Counted {
            bytes,
            boundary: &mut self.boundary,
        };
        let context = self.context.get_or_insert_with(|| context(self.most, &[]));
        context.read(&mut counted)
    }

    /// Keeps nothing, if everything read was whole messages. To be called when no more is there, and only where writing
    /// never blocks: a pong that is written by halves would be lost.
    pub fn give_back(&mut self) {
        if self.boundary.is_clean() {
            self.context = None;
        }
    }
}

fn context(most: usize, early: &[u8]) -> Box<WebSocketContext> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(most))
        .max_frame_size(Some(most));
    Box::new(if early.is_empty() {
        WebSocketContext::new(Role::Server, Some(config))
    } else {
        WebSocketContext::from_partially_read(early.to_vec(), Role::Server, Some(config))
    })
}

struct Counted<'a, S> {
    bytes: &'a mut S,
    boundary: &'a mut Boundary,
}

impl<S: io::Read> io::Read for Counted<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.bytes.read(into)?;
        self.boundary.feed(&into[..got]);
        Ok(got)
    }
}

impl<S: io::Write> io::Write for Counted<'_, S> {
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        self.bytes.write(frames)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.bytes.flush()
    }
}
