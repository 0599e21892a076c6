//! A Socket.IO client comes in: its connection is opened, then it asks for the namespace and says who it is. Only
//! then it is a socket like any other.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::Request;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::tungstenite::{self, Message};

use super::connection::{Connection, Leases};
use super::protocol::Protocol;
use super::refusal::Refusal;
use super::upgrade::turn_away;
use super::wire::{Stream, Wire};
use super::{Transport, close};
use crate::auth::Identity;
use crate::backplane::Card;
use crate::dialects::Dialect;
use crate::dialects::socketio::packet::{MAIN, write};
use crate::dialects::socketio::{Said, Talk};
use crate::http;
use crate::hub::{Lane, Socket, Writer, frame};
use crate::ids::{self, UserId};
use crate::node::{Admission, NotAdmitted, Participant};
use crate::telemetry::metrics::metrics;

/// How long a client waits for our answer to its packet, or for a ping that is late: the protocol's own default.
const PING_TIMEOUT_MS: u64 = 20_000;
/// Packets that may come until the namespace is asked for, that one among them.
const KNOCKS: usize = 16;
/// Hexadecimal digits of a guest's name.
const GUEST_DIGITS: usize = 8;

/// What a request says of who sends it.
pub(super) struct Caller {
    pub user: Option<String>,
    name: Option<String>,
    backend_url: Option<String>,
    token: Option<String>,
    /// It says how others are to be shown it, or where it is reached.
    presents_itself: bool,
}

/// Who came in.
pub(super) struct Guest {
    dialect: Dialect,
    user: UserId,
    name: Arc<str>,
    identity: Option<Identity>,
    admission: Admission,
    courier: Option<Courier>,
}

/// What a courier has beside the others.
struct Courier {
    backend_url: Option<Arc<str>>,
}

impl Caller {
    pub fn of<B>(request: &Request<B>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let said = |wanted: &[&str]| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            let found = pairs.find(|(name, value)| wanted.contains(&&**name) && !value.is_empty());
            found.map(|(_, value)| value.into_owned())
        };
        Self {
            user: said(&["user_id"]),
            name: said(&["display_name", "username"]),
            backend_url: said(&["backend_url"]),
            token: http::bearer(request),
            presents_itself: said(&["display_name", "backend_url"]).is_some(),
        }
    }
}

impl Transport {
    /// Opens the connection and waits for who it is; then it goes on as a socket's task.
    pub(super) async fn receive(
        self: Arc<Self>,
        caller: Caller,
        mut line: Line,
        permit: OwnedSemaphorePermit,
        started: Instant,
    ) {
        let opening = frame::text_with(256, |out| self.opening(&self.new_sid(), &[], out));
        let said = tokio::time::timeout(self.config.handshake_timeout, line.say(&opening));
        if let Ok(Ok(())) = said.await {
            self.await_guest(caller, line, permit, started).await;
        }
    }

    /// Waits for who it is on a connection that is open; then it goes on as a socket's task.
    pub(super) async fn await_guest(
        self: Arc<Self>,
        caller: Caller,
        mut line: Line,
        permit: OwnedSemaphorePermit,
        started: Instant,
    ) {
        let knocked = tokio::time::timeout(self.config.handshake_timeout, line.namespace()).await;
        let token = match knocked {
            Ok(Ok(token)) => token,
            Ok(Err(error)) => return tracing::debug!(%error, "a client went before it came in"),
            Err(_) => return tracing::debug!("a client asked for no namespace in time"),
        };
        match self.let_in(Dialect::SocketIo, caller, token).await {
            Ok(guest) => self.seat_guest(guest, line, permit, started).await,
            Err(refusal) => self.refuse_guest(line, &refusal).await,
        }
    }

    /// It names its node, and cannot be guessed.
    pub(super) fn new_sid(&self) -> String {
        format!("{}{:032x}", self.node.id(), rand::random::<u128>())
    }

    /// The first packet: how the connection is kept alive.
    pub(super) fn opening(&self, sid: &str, upgrades: &[&'static str], out: &mut Vec<u8>) {
        let open = write::Open {
            sid,
            upgrades,
            ping_interval: self.config.heartbeat.as_millis() as u64,
            ping_timeout: PING_TIMEOUT_MS,
            max_payload: self.config.max_frame_bytes,
        };
        write::open(&open, out);
    }

    pub(super) async fn let_in(
        &self,
        dialect: Dialect,
        caller: Caller,
        token: Option<String>,
    ) -> Result<Guest, Refusal> {
        let named = caller.user.is_some();
        let identity = match token.or(caller.token) {
            Some(token) if self.node.wants_tokens() => Some(self.node.identify(&token).await?),
            // For sessions that ask for one; which these are is not known yet.
            Some(token) => {
                let identity = self.node.identify(&token).await.ok();
                let says = |said: &str| {
                    identity
                        .as_ref()
                        .is_some_and(|known| known.user.as_str() == said)
                };
                let is_other = caller.user.as_deref().is_some_and(|said| !says(said));
                identity.filter(|_| !is_other)
            }
            None if !self.node.wants_tokens() => None,
            None => {
                return Err(Refusal::token(
                    "a token is needed: in auth.token, or in the query",
                ));
            }
        };
        let user = match (&identity, caller.user) {
            (Some(identity), Some(said)) if said != identity.user.as_str() => {
                return Err(Refusal::forbidden(
                    "user_id is not the token's sub; right is the same, or none",
                ));
            }
            (Some(identity), _) => identity.user.clone(),
            (None, said) => {
                let guest = (dialect != Dialect::Raw).then(guest);
                let said = said.or(guest).unwrap_or_default();
                UserId::parse(&said)
                    .map_err(|error| Refusal::field("user_id", error.to_string()))?
            }
        };
        let named = named || identity.is_some();
        let is_courier = dialect == Dialect::Raw || caller.presents_itself && named;
        // Who is a guest here is nobody elsewhere.
        let shown = match named {
            true => self.node.shown_name(&user, identity.as_ref()).await?,
            false => None,
        };
        let card = match (is_courier, &caller.name, &caller.backend_url) {
            (true, None, _) | (true, _, None) => self.card(&user).await?,
            _ => Card::default(),
        };
        let known = || identity.as_ref().and_then(|known| known.name.clone());
        let name = match (shown.or_else(known), caller.name.or(card.display_name)) {
            (Some(name), _) => name,
            (None, Some(name)) => ids::name(&name)
                .map_err(|error| Refusal::field("display_name", error.to_string()))?,
            (None, None) if user.as_str().starts_with(GUEST) => "Guest".into(),
            (None, None) => user.as_str().into(),
        };
        let backend_url = caller.backend_url.or(card.backend_url);
        let backend_url = backend_url.as_deref().map(ids::url).transpose();
        let backend_url =
            backend_url.map_err(|error| Refusal::field("backend_url", error.to_string()))?;
        let admission = self.node.admit_user(&user, identity.as_ref()).await?;
        Ok(Guest {
            dialect,
            user,
            name,
            identity,
            admission,
            courier: is_courier.then_some(Courier { backend_url }),
        })
    }

    /// What was registered for the user.
    async fn card(&self, user: &UserId) -> Result<Card, Refusal> {
        let card = self.node.card(user).await;
        card.map_err(|error| NotAdmitted::from(error).into())
    }

    pub(super) async fn seat_guest(
        self: Arc<Self>,
        guest: Guest,
        line: Line,
        permit: OwnedSemaphorePermit,
        started: Instant,
    ) {
        let (wire, writer, protocol) = line.split();
        if let Some((participant, admission)) = self.take_in(guest, writer, started).await {
            self.heartbeat.add(&participant.socket);
            let leases = Leases { admission, permit };
            let connection = Connection::new(self.clone(), participant, wire, protocol, leases);
            self.tasks.spawn(connection);
        }
    }

    /// Makes a socket of who came in. `None`: the node leaves; the client comes again, to another one.
    pub(super) async fn take_in(
        &self,
        guest: Guest,
        writer: Writer,
        started: Instant,
    ) -> Option<(Participant, Admission)> {
        let Guest {
            dialect,
            user,
            name,
            identity,
            admission,
            courier,
        } = guest;
        let (id, bounds) = (admission.socket, self.config.outbox);
        let speech = close::speech(dialect);
        let mut socket = Socket::new(id, user, name, speech, writer, bounds);
        if courier.is_some() {
            socket = socket.marking(self.node.marks());
        }
        let socket = Arc::new(socket);
        if dialect == Dialect::SocketIo {
            let sid = id.to_string();
            let connected = frame::text_with(64, |out| write::connected(&sid, out));
            socket.send(Lane::Ordered, connected);
        }
        let participant = self.node.welcome(dialect, socket, identity).ok()?;
        metrics().opened(dialect.door());
        tracing::info!(target: "audit", parent: &participant.span(), "came in");
        if let Some(Courier { backend_url }) = courier
            && let Err(error) = self.node.open_courier(&participant, backend_url).await
        {
            // It is a socket by now, and goes as one.
            let refusal = Refusal::from(error);
            let reason = refusal.reason();
            tracing::info!(target: "audit", parent: &participant.span(), reason, "refused");
            participant.socket.close(refusal.close, reason);
        }
        metrics().handshake(started.elapsed());
        Some((participant, admission))
    }

    pub(super) fn note_refused(&self, refusal: &Refusal) {
        let (reason, detail) = (refusal.problem.code, &refusal.problem.detail);
        metrics().rejected(reason);
        tracing::info!(target: "audit", door = "socketio", reason, detail, "refused");
    }

    /// Who may come again soon is just cut off, which makes the client library try again; others are told why.
    async fn refuse_guest(&self, mut line: Line, refusal: &Refusal) {
        self.note_refused(refusal);
        if let Some(packet) = refused(refusal) {
            let frame = frame::text_with(packet.len(), |out| out.extend_from_slice(&packet));
            // Whoever does not wait for the reason does not get it.
            let _ = tokio::time::timeout(self.config.close_timeout, line.say(&frame)).await;
        }
        turn_away(line.stream, refusal, self.config.close_timeout).await;
    }
}

const GUEST: &str = "guest-";

fn guest() -> String {
    format!("{GUEST}{:0GUEST_DIGITS$x}", rand::random::<u32>())
}

/// Why somebody is not let in, for who would come in vain again; the others are just cut off, and come again.
pub(super) fn refused(refusal: &Refusal) -> Option<Vec<u8>> {
    if refusal.retry_in.is_some() {
        return None;
    }
    let (code, message) = (refusal.problem.code, &refusal.problem.detail);
    let why = json!({ "message": message, "data": { "code": code, "message": message } });
    let mut packet = Vec::new();
    write::refused(MAIN, &why, &mut packet);
    Some(packet)
}

/// What is said before the namespace is asked for.
#[derive(Default)]
pub(super) struct Threshold {
    talk: Talk,
    heard: usize,
}

pub(super) enum Heard {
    Nothing,
    /// To be answered with this packet.
    Answer(Vec<u8>),
    /// It asks to be let in, with this token.
    Knock(Option<String>),
    /// It breaks the rules.
    Broken(String),
}

impl Threshold {
    pub fn take(&mut self, packet: &str) -> Heard {
        let said = self.talk.take(packet);
        self.read(said)
    }

    fn take_binary(&mut self) -> Heard {
        let said = self.talk.binary();
        self.read(said)
    }

    fn read(&mut self, said: Said) -> Heard {
        self.heard += 1;
        match said {
            _ if self.heard > KNOCKS => Heard::Broken("too much was said first".to_owned()),
            Said::Connect { token } => Heard::Knock(token),
            Said::Nothing => Heard::Nothing,
            Said::Elsewhere { namespace } => {
                let why = json!({ "message": "Invalid namespace" });
                let mut packet = Vec::new();
                write::refused(&namespace, &why, &mut packet);
                Heard::Answer(packet)
            }
            other => Heard::Broken(format!("{other:?} before the namespace was asked for")),
        }
    }
}

/// A connection that is no socket yet.
pub(super) struct Line {
    stream: Stream,
    protocol: Protocol,
}

impl Line {
    /// `early` is what came behind the handshake, `most` how many bytes a message may have.
    pub fn new(stream: Stream, early: &[u8], most: usize) -> Self {
        Self {
            stream,
            protocol: Protocol::new(most, early),
        }
    }

    pub async fn say(&mut self, frame: &[u8]) -> io::Result<()> {
        self.stream.write_all(frame).await?;
        self.stream.flush().await
    }

    /// Waits until the client asks for the namespace; the token it brings.
    async fn namespace(&mut self) -> io::Result<Option<String>> {
        let mut threshold = Threshold::default();
        loop {
            let heard = match self.next().await? {
                Message::Text(text) => threshold.take(&text),
                Message::Binary(_) => threshold.take_binary(),
                Message::Close(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
                _ => Heard::Nothing,
            };
            match heard {
                Heard::Knock(token) => return Ok(token),
                Heard::Nothing => {}
                Heard::Answer(packet) => {
                    let frame = frame::text_with(64, |out| out.extend_from_slice(&packet));
                    self.say(&frame).await?;
                }
                Heard::Broken(sentence) => {
                    let reason = "ask for the namespace first";
                    self.say(&frame::close(close::BAD_FRAMES, reason)).await?;
                    return Err(io::Error::new(io::ErrorKind::InvalidData, sentence));
                }
            }
        }
    }

    pub fn split(self) -> (Wire, Writer, Protocol) {
        let (wire, writer) = self.stream.split();
        (wire, writer, self.protocol)
    }

    pub async fn next(&mut self) -> io::Result<Message> {
        poll_fn(|cx| {
            let mut bytes = Bytewise {
                cx,
                stream: &mut self.stream,
            };
            match self.protocol.read(&mut bytes) {
                Ok(message) => Poll::Ready(Ok(message)),
                Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    Poll::Pending
                }
                Err(tungstenite::Error::Io(error)) => Poll::Ready(Err(error)),
                Err(error) => Poll::Ready(Err(io::Error::other(error))),
            }
        })
        .await
    }
}

/// The stream as the protocol library wants it.
struct Bytewise<'a, 'c> {
    cx: &'a mut Context<'c>,
    stream: &'a mut Stream,
}

fn at_once<T>(done: Poll<io::Result<T>>) -> io::Result<T> {
    match done {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl io::Read for Bytewise<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(into);
        let read = Pin::new(&mut *self.stream).poll_read(self.cx, &mut buffer);
        at_once(read)?;
        Ok(buffer.filled().len())
    }
}

impl io::Write for Bytewise<'_, '_> {
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        at_once(Pin::new(&mut *self.stream).poll_write(self.cx, frames))
    }

    fn flush(&mut self) -> io::Result<()> {
        at_once(Pin::new(&mut *self.stream).poll_flush(self.cx))
    }
}
