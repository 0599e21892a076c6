//! Sockets that come by HTTP requests: one waits for what the socket is told, others bring what it says. A task of its
//! own has the socket; requests hand it their part and wait for the answer. When the client comes with a WebSocket, too,
//! and that was tried out, the socket goes on over it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::io::AsyncWrite;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use super::connection::{Connection, Leases};
use super::intake::Intake;
use super::knock::{Caller, Heard, Line, Threshold};
use super::{Transport, close};
use crate::dialects::Dialect;
use crate::dialects::socketio::packet::{Engine, SEPARATOR, write};
use crate::hub::{Phase, Socket, Writer, frame};
use crate::node::{Handled, Participant};

/// Time for the few bytes by which a WebSocket is tried out.
const PROBING: Duration = Duration::from_secs(1);
/// Packets carried out before others have a turn.
const PACKETS_A_TURN: usize = 64;
/// Packets handed out at once: Python's client takes no more (`max_decode_packets` in python-engineio's payload.py), and
/// ends the connection when there are.
const PACKETS_A_BODY: usize = 16;
/// The end, behind another packet.
const FAREWELL: &[u8] = b"\x1e1";
/// Requests that wait for a socket's task. A client has one of each kind under way.
const WAITING: usize = 4;

/// What a request wants of a socket.
pub enum Ask {
    /// What it is told, as soon as there is something.
    Take(oneshot::Sender<Bytes>),
    /// It says these packets.
    Say(String, oneshot::Sender<()>),
    /// It has come by WebSocket, too.
    Upgrade(Box<Line>),
}

/// The way to a socket that comes by requests.
pub type Polled = mpsc::Sender<Ask>;

/// Where the requests of one client are answered.
struct Desk {
    asks: mpsc::Receiver<Ask>,
    tray: Tray,
    /// The WebSocket that is tried out, and until when.
    probed: Option<(Box<Line>, Instant)>,
    /// It works: the client changes over as soon as no request of its waits.
    changing: bool,
}

/// What is handed out at it.
#[derive(Default)]
struct Tray {
    /// The request that waits.
    taker: Option<oneshot::Sender<Bytes>>,
    /// Packets that no request has taken.
    left: BytesMut,
}

/// What comes next of a socket that is open.
enum Next {
    Ask(Option<Ask>),
    /// There was something to tell, or the socket closes.
    Told,
    /// Of the WebSocket that is tried out.
    Probe(io::Result<Message>),
}

impl Tray {
    fn push(&mut self, packet: &[u8]) {
        if !self.left.is_empty() {
            self.left.extend_from_slice(&[SEPARATOR as u8]);
        }
        self.left.extend_from_slice(packet);
    }

    /// The packets of one body; the others stay.
    fn share(&mut self) -> Bytes {
        let separators = self.left.iter().enumerate();
        let mut separators = separators.filter(|(_, byte)| **byte == SEPARATOR as u8);
        // JavaScript's client takes the end at once, and what stands before it in the same body not at all.
        let last = self.left.len().checked_sub(FAREWELL.len());
        let last = last.filter(|_| self.left.ends_with(FAREWELL));
        let end = separators.nth(PACKETS_A_BODY - 1).map(|(end, _)| end);
        let Some(end) = end.or(last) else {
            return self.left.split().freeze();
        };
        let share = self.left.split_to(end).freeze();
        self.left.advance(1);
        share
    }

    /// Whether somebody waits to be told something.
    fn is_awaited(&self) -> bool {
        self.taker.as_ref().is_some_and(|taker| !taker.is_closed())
    }

    /// Hands out what is left, or as much as goes at once, if somebody waits for it.
    fn give(&mut self) {
        if self.left.is_empty() || !self.is_awaited() {
            return;
        }
        if let Some(taker) = self.taker.take()
            && let Err(back) = taker.send(self.share())
        {
            let rest = std::mem::replace(&mut self.left, BytesMut::from(back));
            if !rest.is_empty() {
                self.push(&rest);
            }
        }
    }

    /// A client that is about to change over waits for the request that waits.
    fn clear_the_way(&mut self) {
        if self.is_awaited() && self.left.is_empty() {
            self.push(write::NOOP.as_bytes());
        }
        self.give();
    }

    /// False when another request waits already: the client breaks the rules.
    fn wait(&mut self, taker: oneshot::Sender<Bytes>) -> bool {
        let free = !self.is_awaited();
        self.taker = Some(taker);
        self.give();
        free
    }
}

impl Desk {
    /// The client has come by WebSocket, too; it has this long to change over.
    fn try_out(&mut self, line: Box<Line>, within: Duration) {
        self.probed = Some((line, Instant::now() + within));
        self.changing = false;
    }

    /// Goes on with trying the WebSocket out; gives it when the client changes over.
    async fn probe(&mut self, message: io::Result<Message>) -> Option<Box<Line>> {
        let (mut line, until) = self.probed.take()?;
        let tried = std::mem::take(&mut self.changing);
        // If it was no use the requests go on.
        let Ok(Message::Text(text)) = message else {
            return None;
        };
        match Engine::read(&text) {
            // Once: who does not read would keep us writing.
            Ok(Engine::Ping("probe")) if !tried => {
                let pong = frame::text(write::PROBED);
                let said = timeout(PROBING, line.say(&pong)).await;
                if matches!(said, Ok(Ok(()))) {
                    self.probed = Some((line, until));
                    self.changing = true;
                    self.tray.clear_the_way();
                }
                None
            }
            Ok(Engine::Upgrade) => {
                self.tray.clear_the_way();
                Some(line)
            }
            _ => None,
        }
    }
}

/// How somebody asked to be let in.
enum Knocked {
    /// With this token; and the packets behind.
    Here(Option<String>, String),
    /// Not yet, but over the WebSocket from now on.
    Over(Box<Line>),
}

impl Transport {
    /// Opens a connection that lives of requests; the task ends with it.
    pub(super) fn begin_polled(
        self: &Arc<Self>,
        caller: Caller,
        permit: OwnedSemaphorePermit,
        started: Instant,
    ) -> (Polled, impl Future<Output = ()> + Send + 'static + use<>) {
        let (polled, asks) = mpsc::channel(WAITING);
        let desk = Desk {
            asks,
            tray: Tray::default(),
            probed: None,
            changing: false,
        };
        (polled, self.clone().attend(caller, desk, permit, started))
    }

    async fn attend(
        self: Arc<Self>,
        caller: Caller,
        mut desk: Desk,
        permit: OwnedSemaphorePermit,
        started: Instant,
    ) {
        let knocked = self.knock_by_requests(&mut desk);
        let knocked = timeout(self.config.handshake_timeout, knocked).await;
        let (token, rest) = match knocked {
            Ok(Some(Knocked::Here(token, rest))) => (token, rest),
            Ok(Some(Knocked::Over(line))) => {
                return self.await_guest(caller, *line, permit, started).await;
            }
            Ok(None) | Err(_) => return,
        };
        let guest = match self.let_in(Dialect::SocketIo, caller, token).await {
            Ok(guest) => guest,
            Err(refusal) => {
                self.note_refused(&refusal);
                if let Some(packet) = super::knock::refused(&refusal) {
                    desk.tray.push(&packet);
                }
                desk.tray.push(write::CLOSE.as_bytes());
                return self.part(desk).await;
            }
        };
        let taken_in = self.take_in(guest, Writer::ByTask, started).await;
        let Some((participant, admission)) = taken_in else {
            desk.tray.push(write::CLOSE.as_bytes());
            return self.part(desk).await;
        };
        let leases = Leases { admission, permit };
        let visit = Visit {
            intake: Intake::new(&self),
            socket: participant.socket.clone(),
            participant: Some(participant),
            transport: self,
        };
        visit.run(desk, leases, rest).await;
    }

    /// Waits until the client asks for the namespace. `None`: it broke the rules.
    async fn knock_by_requests(&self, desk: &mut Desk) -> Option<Knocked> {
        let mut threshold = Threshold::default();
        loop {
            let ask = tokio::select! {
                ask = desk.asks.recv() => ask?,
                message = next_of(&mut desk.probed) => {
                    match desk.probe(message).await {
                        Some(line) => return Some(Knocked::Over(line)),
                        None => continue,
                    }
                }
            };
            match ask {
                Ask::Take(taker) => {
                    if !desk.tray.wait(taker) {
                        return None;
                    }
                    if desk.changing {
                        desk.tray.clear_the_way();
                    }
                }
                Ask::Upgrade(line) => desk.try_out(line, self.config.handshake_timeout),
                Ask::Say(body, done) => {
                    // Whoever asked may be gone.
                    let _ = done.send(());
                    let mut behind = 0;
                    for packet in body.split(SEPARATOR) {
                        behind += packet.len() + SEPARATOR.len_utf8();
                        match threshold.take(packet) {
                            Heard::Nothing => {}
                            Heard::Answer(packet) => {
                                desk.tray.push(&packet);
                                desk.tray.give();
                            }
                            Heard::Knock(token) => {
                                let rest = body.get(behind..).unwrap_or_default();
                                return Some(Knocked::Here(token, rest.to_owned()));
                            }
                            Heard::Broken(_) => return None,
                        }
                    }
                }
            }
        }
    }

    /// Hands out the last words, if somebody comes for them in time.
    async fn part(&self, mut desk: Desk) {
        desk.tray.give();
        let collected = async {
            while !desk.tray.left.is_empty() {
                match desk.asks.recv().await {
                    Some(Ask::Take(taker)) => {
                        desk.tray.wait(taker);
                    }
                    Some(Ask::Say(..) | Ask::Upgrade(_)) => {}
                    None => return,
                }
            }
        };
        // Whoever does not come for them does not get them.
        let _ = timeout(self.config.close_timeout, collected).await;
    }
}

/// A socket that lives of requests.
struct Visit {
    transport: Arc<Transport>,
    socket: Arc<Socket>,
    /// Until it leaves.
    participant: Option<Participant>,
    intake: Intake,
}

impl Visit {
    async fn run(mut self, mut desk: Desk, leases: Leases, rest: String) {
        self.transport.heartbeat.add(&self.socket);
        if !rest.is_empty() {
            self.take_all(&rest).await;
        }
        loop {
            let next = tokio::select! {
                biased;
                ask = desk.asks.recv() => Next::Ask(ask),
                () = poll_fn(|cx| poll_told(&self.socket, &mut desk.tray, cx)) => Next::Told,
                message = next_of(&mut desk.probed) => Next::Probe(message),
            };
            match next {
                Next::Ask(None) => return self.leave(close::LOST),
                Next::Ask(Some(ask)) => {
                    self.socket.heard_at(self.transport.heartbeat.now());
                    match ask {
                        Ask::Take(taker) => {
                            // Who asks for more has got what it was given; when that was all, it has been told all.
                            if desk.tray.left.is_empty() {
                                self.socket.note_told();
                            }
                            if !desk.tray.wait(taker) {
                                return self.leave(close::PROTOCOL);
                            }
                            if desk.changing {
                                // What there is to tell goes first; the request must not wait for more.
                                let told =
                                    poll_fn(|cx| poll_told(&self.socket, &mut desk.tray, cx));
                                let _ = told.now_or_never();
                                desk.tray.clear_the_way();
                            }
                        }
                        Ask::Say(body, done) => {
                            self.take_all(&body).await;
                            // Whoever asked may be gone.
                            let _ = done.send(());
                        }
                        // A client that tries anew has given up on the last one.
                        Ask::Upgrade(line) => {
                            desk.try_out(line, self.transport.config.handshake_timeout);
                        }
                    }
                }
                Next::Told => {
                    desk.tray.give();
                    match self.socket.phase() {
                        Phase::Open => {}
                        Phase::Closing(code) => {
                            self.leave(code);
                            // The user's place is free, whether or not the last words are taken.
                            drop(leases.admission);
                            return self.transport.part(desk).await;
                        }
                        Phase::Lost => return self.leave(close::LOST),
                    }
                }
                Next::Probe(message) => {
                    if let Some(line) = desk.probe(message).await {
                        return self.go_on_over(*line, &desk.tray.left, leases);
                    }
                }
            }
        }
    }

    /// Has the packets of a body carried out, until the socket closes.
    async fn take_all(&mut self, body: &str) {
        for (number, packet) in body.split(SEPARATOR).enumerate() {
            if self.socket.phase() != Phase::Open {
                return;
            }
            self.take(packet).await;
            if number % PACKETS_A_TURN == PACKETS_A_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Has one packet carried out.
    async fn take(&mut self, packet: &str) {
        let Some(participant) = &mut self.participant else {
            return;
        };
        match self.intake.take(&self.transport, participant, packet) {
            Handled::Done => {}
            Handled::Later(doing) => doing.await,
            Handled::Bad => self.intake.count_bad(&self.transport, &self.socket),
        }
    }

    fn leave(&mut self, code: u16) {
        if let Some(participant) = self.participant.take() {
            self.transport.see_off(participant, code);
        }
    }

    /// What no request has taken goes first.
    fn go_on_over(mut self, line: Line, left: &[u8], leases: Leases) {
        let Some(participant) = self.participant.take() else {
            return;
        };
        let left = left.split(|byte| *byte == SEPARATOR as u8);
        let left = left.filter(|packet| !packet.is_empty());
        let left =
            left.map(|packet| frame::text_with(packet.len(), |out| out.extend_from_slice(packet)));
        let (wire, writer, protocol) = line.split();
        self.socket.rewire(writer, left);
        let transport = self.transport.clone();
        let connection = Connection::new(transport.clone(), participant, wire, protocol, leases);
        transport.tasks.spawn(connection);
    }
}

impl Drop for Visit {
    /// Also when the task is ended from outside, nobody stays behind as a ghost.
    fn drop(&mut self) {
        self.leave(close::LOST);
    }
}

async fn next_of(probed: &mut Option<(Box<Line>, Instant)>) -> io::Result<Message> {
    match probed {
        Some((line, until)) => timeout_at((*until).into(), line.next())
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        None => std::future::pending().await,
    }
}

/// Ready when there is something to tell to somebody who waits, or the socket closes.
fn poll_told(socket: &Socket, tray: &mut Tray, cx: &mut Context<'_>) -> Poll<()> {
    let closing = socket.phase() != Phase::Open;
    if tray.is_awaited() || closing {
        let mut told = Told(Vec::new());
        // It takes all there is at once.
        let _ = socket.poll_flush_through(cx, &mut told);
        for packet in packets(&told.0) {
            tray.push(packet);
        }
    } else {
        // Nobody takes anything now. Just to be woken.
        socket.stall();
        let _ = socket.poll_flush(cx);
    }
    if tray.is_awaited() && !tray.left.is_empty() || socket.phase() != Phase::Open {
        Poll::Ready(())
    } else {
        Poll::Pending
    }
}

/// Takes whole frames, as the hub writes them.
struct Told(Vec<u8>);

impl AsyncWrite for Told {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().0.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The packets of a row of frames; a close frame is the packet that says so.
fn packets(frames: &[u8]) -> impl Iterator<Item = &[u8]> {
    frame::split(frames).filter_map(|(kind, payload)| match kind {
        // Only sockets that speak Yjs are sent any, and none of them polls.
        frame::Kind::Binary => None,
        frame::Kind::Text => Some(payload),
        frame::Kind::Close => Some(write::CLOSE.as_bytes()),
        frame::Kind::Ping => None,
    })
}
