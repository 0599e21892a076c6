//! From a request at a door to a socket in a session, or to a refusal the client can read.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Request;
use hyper::body::Body;
use hyper::header::ORIGIN;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;

use super::Transport;
use super::address::{self, Peer};
use super::close;
use super::connection::{Connection, Leases};
use super::door::{Door, Visitor};
use super::handshake::Handshake;
use super::knock::{Caller, Guest, Line};
use super::protocol::Protocol;
use super::refusal::{self, Refusal};
use super::wire::{Stream, Wire};
use crate::backplane::Link;
use crate::dialects::Dialect;
use crate::dialects::workspace::Scope;
use crate::http::Answer;
use crate::hub::{Socket, frame};
use crate::node::{Admission, NotAdmitted};
use crate::telemetry::metrics::metrics;

/// Somebody who may come in: through a session's door, or through another.
enum Arrival {
    Session(Box<Admitted>),
    Guest(Box<Guest>, OwnedSemaphorePermit),
}

struct Admitted {
    door: Door,
    visitor: Visitor,
    admission: Admission,
    permit: OwnedSemaphorePermit,
}

impl Transport {
    /// Answers a request at a door. What becomes a socket goes on in a task of its own.
    pub async fn enter<B>(
        self: &Arc<Self>,
        door: Door,
        session: &str,
        mut request: Request<B>,
    ) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if door == Door::SocketIo {
            return self.engine(request).await;
        }
        let started = Instant::now();
        let handshake = match Handshake::read(request.method(), request.headers()) {
            Ok(handshake) => handshake,
            Err(answer) => return *answer,
        };
        let client = self.client(&request);
        let admitted = match door {
            Door::Raw => self.admit_guest(Dialect::Raw, Scope::All, &request).await,
            Door::Workspace(scope) => self.admit_guest(Dialect::Workspace, scope, &request).await,
            _ => self.admit(door, session, &request).await,
        };
        if let Err(refusal) = &admitted {
            let (reason, detail) = (refusal.problem.code, &refusal.problem.detail);
            metrics().rejected(reason);
            tracing::info!(target: "audit", door = ?door, %client, reason, detail, "refused");
        }
        // Browsers cannot read an answer, and get a close code; as many of them as may wait for it at once.
        let farewell = match &admitted {
            Ok(_) => None,
            Err(refusal) => {
                let turn = self.farewells.clone().try_acquire_owned().ok();
                if turn.is_none() || !request.headers().contains_key(ORIGIN) {
                    return refusal.answer();
                }
                turn
            }
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let transport = self.clone();
        self.tasks.spawn(async move {
            let (stream, early) = match taken_back(upgrade).await {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::debug!(error, "an upgrade was cut short");
                    return;
                }
            };
            match admitted {
                Ok(Arrival::Session(admitted)) => {
                    transport.seat(*admitted, stream, early, started).await;
                }
                Ok(Arrival::Guest(guest, permit)) => {
                    let line = Line::new(stream, &early, transport.config.max_frame_bytes);
                    transport.seat_guest(*guest, line, permit, started).await;
                }
                Err(refusal) => {
                    let _turn = farewell;
                    let timeout = transport.config.close_timeout;
                    turn_away(stream, &refusal, timeout).await;
                }
            }
        });
        handshake.answer()
    }

    /// Where the request comes from, as far as it can be believed.
    pub fn client<B>(&self, request: &Request<B>) -> IpAddr {
        let peer = request.extensions().get::<Peer>();
        let Peer(peer) = *peer.expect("the listener notes the peer of every request");
        address::client(peer, request.headers(), &self.config.trusted_proxies)
    }

    /// The same pace for what costs as much as a handshake; or when to come again.
    pub fn pace(&self, client: IpAddr) -> Result<(), Duration> {
        self.limits.handshake(client)
    }

    /// Whether somebody else may come in now, whoever it is; and their place.
    pub(super) fn may_knock<B>(
        &self,
        request: &Request<B>,
    ) -> Result<OwnedSemaphorePermit, Refusal> {
        let client = self.client(request);
        self.limits.handshake(client).map_err(|retry_in| {
            let detail = "too many handshakes from this address; come again in a while";
            Refusal::too_many("rate_limited", detail, retry_in)
        })?;
        self.config.origins.check(request.headers())?;
        if self.node.is_closing() {
            return Err(NotAdmitted::Leaving.into());
        }
        let away = || Refusal::unavailable("backplane_unavailable", refusal::AWAY);
        if self.node.link() != Link::Up {
            return Err(away());
        }
        let permit = self.room.clone().try_acquire_owned().map_err(|_| {
            Refusal::unavailable("capacity", "this node has as many sockets as it takes")
        })?;
        // Before the token is looked at, which costs more than all before it.
        self.limits.rush().map_err(Refusal::busy)?;
        Ok(permit)
    }

    async fn admit<B>(
        &self,
        door: Door,
        session: &str,
        request: &Request<B>,
    ) -> Result<Arrival, Refusal> {
        let permit = self.may_knock(request)?;
        let visitor = door.visitor(session, request, &self.node).await?;
        let identity = visitor.identity.as_ref();
        // Nothing is made by coming to look at it.
        if door == Door::Review && !visitor.session.is_recorded() {
            self.node.has_session(&visitor.session).await?;
        }
        let admission = self
            .node
            .admit(&visitor.session, &visitor.user, identity)
            .await?;
        Ok(Arrival::Session(Box::new(Admitted {
            door,
            visitor,
            admission,
            permit,
        })))
    }

    /// Who comes through no session's door.
    async fn admit_guest<B>(
        &self,
        dialect: Dialect,
        scope: Scope,
        request: &Request<B>,
    ) -> Result<Arrival, Refusal> {
        let permit = self.may_knock(request)?;
        let guest = self.let_in(dialect, Caller::of(request), None).await?;
        Ok(Arrival::Guest(Box::new(guest.speaking(scope)), permit))
    }

    /// Joins the session and goes on as a socket's task.
    async fn seat(
        self: Arc<Self>,
        admitted: Admitted,
        stream: Stream,
        early: Bytes,
        started: Instant,
    ) {
        let Admitted {
            door,
            visitor,
            admission,
            permit,
        } = admitted;
        let Visitor {
            session,
            user,
            name,
            since,
            ..
        } = visitor;
        let dialect = door.dialect();
        let id = admission.socket;
        let (wire, writer) = stream.split();
        let socket = Arc::new(Socket::new(
            id,
            user,
            name,
            close::speech(dialect),
            writer,
            self.config.outbox,
        ));
        match self
            .node
            .join(session, dialect, socket.clone(), since)
            .await
        {
            Ok(participant) => {
                metrics().opened(dialect.door());
                metrics().handshake(started.elapsed());
                tracing::info!(target: "audit", parent: &participant.span(), "joined");
                self.heartbeat.add(&socket);
                let leases = Leases { admission, permit };
                let transport = self.clone();
                let protocol = Protocol::new(self.config.max_frame_bytes, &early);
                let connection = Connection::new(transport, participant, wire, protocol, leases);
                self.tasks.spawn(connection);
            }
            Err(error) => {
                let refusal = Refusal::from(error);
                let (reason, detail) = (refusal.problem.code, &refusal.problem.detail);
                metrics().rejected(reason);
                tracing::info!(target: "audit", socket = %id, user = %socket.user, reason, detail, "refused");
                socket.close(refusal.close, refusal.reason());
                // Whoever does not wait for the reason does not get it.
                let farewell = farewell(&socket, wire);
                let _ = tokio::time::timeout(self.config.close_timeout, farewell).await;
            }
        }
    }
}

/// The stream, and what the client sent behind its handshake. Nothing else of the HTTP connection stays:
/// its read buffer would be held for the socket's life.
pub(super) async fn taken_back(upgrade: OnUpgrade) -> Result<(Stream, Bytes), String> {
    let upgraded: Upgraded = upgrade.await.map_err(|error| error.to_string())?;
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let early = Bytes::copy_from_slice(&parts.read_buf);
            return Ok((Stream::Plain(parts.io.into_inner()), early));
        }
        Err(upgraded) => upgraded,
    };
    let parts = upgraded
        .downcast::<TokioIo<TlsStream<TcpStream>>>()
        .map_err(|_| "the connection is neither a plain TCP stream nor one of TLS".to_owned())?;
    let early = Bytes::copy_from_slice(&parts.read_buf);
    Ok((Stream::Tls(Box::new(parts.io.into_inner())), early))
}

/// Says why by a close frame, and waits a moment for the client to have read it.
pub(super) async fn turn_away(mut stream: Stream, refusal: &Refusal, timeout: Duration) {
    let frame = frame::close(refusal.close, refusal.reason());
    let farewell = async {
        stream.write_all(&frame).await?;
        stream.shutdown().await?;
        read_to_end(stream).await
    };
    // Whoever does not wait for the reason does not get it.
    let _ = tokio::time::timeout(timeout, farewell).await;
}

/// Writes what the socket has left to say, then waits for the peer to be done.
async fn farewell(socket: &Socket, mut wire: Wire) -> std::io::Result<()> {
    poll_fn(|cx| wire.poll_flush(socket, cx)).await;
    poll_fn(|cx| wire.poll_shutdown(cx)).await?;
    let mut scratch = [0; 1024];
    loop {
        let mut buffer = ReadBuf::new(&mut scratch);
        poll_fn(|cx| wire.poll_read(cx, &mut buffer)).await?;
        if buffer.filled().is_empty() {
            return Ok(());
        }
    }
}

/// Throws away what still comes, so that the connection ends without a reset.
async fn read_to_end(mut stream: impl AsyncRead + Unpin) -> std::io::Result<()> {
    let mut scratch = [0; 1024];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}
