//! The WebSocket protocol of one connection, between the bytes and whole messages: the library's state, and what is
//! needed to throw that away when its buffer has grown.

use std::io;

use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{self, Message};

use super::boundary::Boundary;

/// The read buffer of an idle socket, in bytes. Larger frames get a buffer of their own.
const READ_BUFFER: usize = 512;

pub struct Protocol {
    context: WebSocketContext,
    boundary: Boundary,
    /// A buffer grew; the context is made afresh at the next boundary.
    grown: bool,
    /// Most bytes of a message.
    most: usize,
}

impl Protocol {
    /// `early` is what came behind the handshake.
    pub fn new(most: usize, early: &[u8]) -> Self {
        let mut boundary = Boundary::default();
        boundary.feed(early);
        Self {
            context: context(most, early),
            boundary,
            grown: !early.is_empty(),
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
        let message = self.context.read(&mut counted);
        match &message {
            Ok(Message::Text(text)) => self.grown |= text.len() > READ_BUFFER,
            Ok(Message::Binary(bytes)) => self.grown |= bytes.len() > READ_BUFFER,
            _ => {}
        }
        message
    }

    /// A context whose buffer grew is replaced once everything it read was consumed.
    pub fn give_back(&mut self) {
        if self.grown && self.boundary.is_clean() {
            self.context = context(self.most, &[]);
            self.grown = false;
        }
    }
}

fn context(most: usize, early: &[u8]) -> WebSocketContext {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(most))
        .max_frame_size(Some(most));
    if early.is_empty() {
        WebSocketContext::new(Role::Server, Some(config))
    } else {
        WebSocketContext::from_partially_read(early.to_vec(), Role::Server, Some(config))
    }
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
