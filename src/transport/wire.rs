//! The two kinds of byte stream under a socket.
//!
//! A plain stream is written by whoever has a frame; an encrypted one by its own task alone, because the
//! encryption has one state for both directions.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio_rustls::server::TlsStream;

use crate::hub::{Socket, Writer};

/// A whole connection.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What of a connection the socket's task keeps.
pub enum Wire {
    Plain(OwnedReadHalf),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub fn split(self) -> (Wire, Writer) {
        match self {
            Stream::Plain(stream) => {
                let (read, write) = stream.into_split();
                (Wire::Plain(read), Writer::Direct(write))
            }
            Stream::Tls(stream) => (Wire::Tls(stream), Writer::ByTask),
        }
    }
}

impl Wire {
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Wire::Plain(read) => Pin::new(read).poll_read(cx, into),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }

    /// Finishes what the socket has to write. Ready when nothing waits.
    pub fn poll_flush(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Wire::Plain(_) => socket.poll_flush(cx),
            Wire::Tls(stream) => {
                std::task::ready!(socket.poll_flush_through(cx, stream));
                socket.note_told();
                Poll::Ready(())
            }
        }
    }

    /// No more from us: the peer reads to the end and sees the connection finished.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Wire::Plain(read) => {
                let stream: &TcpStream = read.as_ref();
                let write = std::net::Shutdown::Write;
                Poll::Ready(socket2::SockRef::from(stream).shutdown(write))
            }
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
