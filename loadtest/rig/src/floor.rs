//! The floor: the least a server can do to deliver a message here.
//!
//! One thread, one epoll, no runtime, no parsing beyond frame headers: for each text frame a socket sent, one
//! prebuilt frame is written with one write(2) to every socket of its room. It runs as a child process of its
//! own, so that its CPU time is measured like a node's. It answers any GET with 101 and takes the last segment
//! of the path for the room; only the rig's own client is served so.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::children::{Process, free_address};
use crate::epoll::Epoll;
use crate::{Result, stamp, wire};

const ACCEPTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

/// The floor's hidden subcommand.
#[derive(Debug, clap::Args)]
pub struct ServerOptions {
    #[arg(long)]
    address: SocketAddr,
    /// Payload of the frame it writes, in bytes.
    #[arg(long)]
    frame: usize,
    /// A sender does not hear itself.
    #[arg(long)]
    others: bool,
}

/// Starts the floor as a child of this very executable. It writes messages of `frame` bytes, also to who sent it.
pub fn start(frame: usize, echoes: bool) -> Result<Process> {
    let address = free_address()?;
    // Not by its path: a build may have replaced the file meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("rig");
    command.args([
        "floor-server",
        "--address",
        &address.to_string(),
        "--frame",
        &frame.to_string(),
    ]);
    if !echoes {
        command.arg("--others");
    }
    Process::start("floor", command, address, |address| {
        TcpStream::connect(address).is_ok()
    })
}

/// Serves until killed.
pub fn serve(options: &ServerOptions) -> Result<()> {
    let listener = TcpListener::bind(options.address)?;
    listener.set_nonblocking(true)?;
    let mut epoll = Epoll::new()?;
    epoll.add(listener.as_raw_fd(), usize::MAX)?;
    let mut server = Server::new(options.frame, !options.others);
    loop {
        for index in 0..epoll.wait(None)? {
            match epoll.ready(index).token {
                usize::MAX => {
                    while let Ok((stream, _)) = listener.accept() {
                        epoll.add(stream.as_raw_fd(), server.admit(stream)?)?;
                    }
                }
                socket => server.read(socket)?,
            }
        }
    }
}

struct Server {
    sockets: Vec<Option<Socket>>,
    rooms: Vec<Vec<usize>>,
    room_numbers: HashMap<String, usize>,
    greeting: Vec<u8>,
    echoes: bool,
    frame: Vec<u8>,
    /// Where the stamp lies in `frame`.
    frame_stamp: usize,
    finder: stamp::Finder,
    buffer: Box<[u8]>,
}

struct Socket {
    stream: TcpStream,
    room: Option<usize>,
    carry: Vec<u8>,
}

impl Server {
    fn new(frame: usize, echoes: bool) -> Self {
        let text = stamp::text(frame);
        let frame = wire::server_frame(wire::TEXT, text.as_bytes());
        Self {
            sockets: Vec::new(),
            rooms: Vec::new(),
            room_numbers: HashMap::new(),
            greeting: wire::server_frame(wire::TEXT, b"{\"type\":\"floor\"}"),
            frame_stamp: frame.len() - text.len(),
            echoes,
            frame,
            finder: stamp::Finder::default(),
            buffer: vec![0; 64 * 1024].into_boxed_slice(),
        }
    }

    fn admit(&mut self, stream: TcpStream) -> Result<usize> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        self.sockets.push(Some(Socket {
            stream,
            room: None,
            carry: Vec::new(),
        }));
        Ok(self.sockets.len() - 1)
    }

    fn read(&mut self, number: usize) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.sockets[number]
            .as_mut()
            .map(|socket| socket.stream.read(&mut buffer));
        match outcome {
            Some(Ok(count)) if count > 0 => self.arrived(number, &buffer[..count])?,
            Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => {}
            _ => self.forget(number),
        }
        self.buffer = buffer;
        Ok(())
    }

    fn arrived(&mut self, number: usize, bytes: &[u8]) -> Result<()> {
        let Some(socket) = &mut self.sockets[number] else {
            return Ok(());
        };
        let mut carry = std::mem::take(&mut socket.carry);
        let bytes = if carry.is_empty() {
            bytes
        } else {
            carry.extend_from_slice(bytes);
            &carry
        };
        let used = match socket.room {
            Some(room) => self.frames(number, room, bytes)?,
            None => self.shake(number, bytes)?,
        };
        if used < bytes.len()
            && let Some(socket) = &mut self.sockets[number]
        {
            socket.carry = bytes[used..].to_vec();
        }
        Ok(())
    }

    fn shake(&mut self, number: usize, bytes: &[u8]) -> Result<usize> {
        if !bytes.ends_with(b"\r\n\r\n") {
            return Ok(0);
        }
        let request = String::from_utf8_lossy(bytes);
        let path = request.split(' ').nth(1).unwrap_or_default();
        let name = path
            .split('?')
            .next()
            .and_then(|path| path.rsplit('/').next())
            .unwrap_or_default();
        let next = self.room_numbers.len();
        let room = *self.room_numbers.entry(name.to_owned()).or_insert(next);
        if room == self.rooms.len() {
            self.rooms.push(Vec::new());
        }
        self.rooms[room].push(number);
        if let Some(socket) = &mut self.sockets[number] {
            socket.room = Some(room);
            socket.stream.write_all(ACCEPTED)?;
            socket.stream.write_all(&self.greeting)?;
        }
        Ok(bytes.len())
    }

    fn frames(&mut self, sender: usize, room: usize, bytes: &[u8]) -> Result<usize> {
        let mut used = 0;
        while let Some(frame) = wire::first_frame(&bytes[used..])? {
            used += frame.size;
            if frame.opcode != wire::TEXT {
                continue;
            }
            if let Some(at) = self.finder.find(frame.payload) {
                self.frame[self.frame_stamp..][..stamp::LENGTH]
                    .copy_from_slice(&frame.payload[at..][..stamp::LENGTH]);
            }
            self.deliver(sender, room);
        }
        Ok(used)
    }

    /// A socket that would block loses the frame, and the run shows it as not delivered. One that took half a
    /// frame has lost its framing and is given up.
    fn deliver(&mut self, sender: usize, room: usize) {
        let mut broken = Vec::new();
        for &number in &self.rooms[room] {
            if number == sender && !self.echoes {
                continue;
            }
            let Some(socket) = &mut self.sockets[number] else {
                continue;
            };
            match socket.stream.write(&self.frame) {
                Ok(count) if count == self.frame.len() => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => broken.push(number),
            }
        }
        for number in broken {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: usize) {
        let Some(socket) = self.sockets[number].take() else {
            return;
        };
        if let Some(room) = socket.room {
            self.rooms[room].retain(|&member| member != number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the floor's rooms: both members hear a message with its stamp, even when its frame arrives in two.
    #[test]
    fn a_message_reaches_its_room() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let mut server = Server::new(100, true);
        let mut clients: Vec<TcpStream> = ["/a/one", "/b/one?x=/y", "/a/two"]
            .iter()
            .map(|path| {
                let client =
                    TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
                let number = server
                    .admit(listener.accept().expect("one waits").0)
                    .expect("a fresh socket");
                server
                    .arrived(number, format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())
                    .expect("a fine request");
                client
            })
            .collect();
        let mut text = stamp::text(40).into_bytes();
        stamp::write(&mut text, 0, 77);
        let message = wire::client_frame(wire::TEXT, &text);
        server.arrived(0, &message[..9]).expect("half a frame");
        server.arrived(0, &message[9..]).expect("the other half");

        let greeted = ACCEPTED.len() + server.greeting.len();
        for client in &mut clients[..2] {
            let mut bytes = vec![0; greeted + server.frame.len()];
            client.read_exact(&mut bytes).expect("both heard it");
            let frame = wire::first_frame(&bytes[greeted..])
                .expect("well formed")
                .expect("complete");
            assert_eq!(stamp::read(frame.payload, 0), Some(77));
        }
        clients[2].set_nonblocking(true).expect("a fresh socket");
        let mut bytes = vec![0; greeted + 1];
        assert_eq!(clients[2].read(&mut bytes).expect("greeted"), greeted);
    }
}
