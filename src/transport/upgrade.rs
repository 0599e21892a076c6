//! From a request at a door to a socket in a session, or to a refusal the client can read.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::connection::Connection;
use super::{Transport, close};
use crate::backplane::{Error, Link};
use crate::dialects::Dialect;
use crate::http::{Answer, Problem, empty};
use crate::hub::{Socket, frame};
use crate::ids::{self, SessionId, SocketId, UserId};
use crate::telemetry::metrics::metrics;

const ENDED: &str = "the session has ended";
const NO_SESSION: &str = "there is no such session, and sessions are not made by coming";
const AWAY: &str = "the node cannot reach its cluster now; come again";

/// A way in: a path and the dialect spoken behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Pairing,
}

/// Who wants in, and where.
struct Visitor {
    session: SessionId,
    user: UserId,
    name: Arc<str>,
    dialect: Dialect,
}

/// Why somebody is not let in: as an HTTP answer, or for browsers, which cannot read that, as a close code.
struct Refusal {
    problem: Problem,
    close: u16,
    reason: &'static str,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, close: u16, detail: impl Into<String>) -> Self {
        Self {
            problem: Problem::new(status, code, detail),
            close,
            reason: code,
        }
    }
}

impl Door {
    pub const ALL: [Door; 1] = [Door::Pairing];

    /// Its path, in the route table's terms.
    pub fn path(self) -> &'static str {
        match self {
            Door::Pairing => "/api/v1/ws/session/{session_id}",
        }
    }

    /// Reads identity and session from the request.
    fn visitor(self, session: &str, query: &str) -> Result<Visitor, Refusal> {
        let bad = |field: &'static str, detail: String| Refusal {
            problem: Problem {
                field: Some(field.into()),
                ..Problem::new(StatusCode::BAD_REQUEST, "bad_field", detail)
            },
            close: close::BAD_FRAMES,
            reason: "bad_field",
        };
        let session =
            SessionId::parse(session).map_err(|error| bad("session_id", error.to_string()))?;
        let mut user = None;
        let mut name = None;
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "user_id" => user = Some(value),
                "username" => name = Some(value),
                _ => {}
            }
        }
        let user = UserId::parse(user.as_deref().unwrap_or_default())
            .map_err(|error| bad("user_id", error.to_string()))?;
        let name = match name.as_deref() {
            None | Some("") => user.as_str().into(),
            Some(name) => ids::name(name).map_err(|error| bad("username", error.to_string()))?,
        };
        Ok(Visitor {
            session,
            user,
            name,
            dialect: Dialect::Pairing,
        })
    }
}

impl Transport {
    /// Answers a request at a door. What becomes a socket goes on in a task of its own.
    pub async fn enter<B>(
        self: &Arc<Self>,
        door: Door,
        session: &str,
        mut request: Request<B>,
    ) -> Answer {
        let started = Instant::now();
        let key = match handshake_key(request.method(), request.headers()) {
            Ok(key) => key,
            Err(answer) => return *answer,
        };
        let admitted = self.admit(door, session, &request).await;
        let browser = request.headers().contains_key(ORIGIN);
        if let Err(refusal) = &admitted {
            metrics().rejected(refusal.reason);
            let detail = &refusal.problem.detail;
            tracing::info!(target: "audit", door = ?door, reason = refusal.reason, detail, "refused");
            if !browser {
                return refusal.problem.answer();
            }
        }
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
                Ok((visitor, permit)) => {
                    transport
                        .seat(visitor, permit, stream, early, started)
                        .await;
                }
                Err(refusal) => {
                    let detail = &refusal.problem.detail;
                    let timeout = transport.config.close_timeout;
                    turn_away(stream, refusal.close, detail, timeout).await;
                }
            }
        });
        switching(&key)
    }

    async fn admit<B>(
        &self,
        door: Door,
        session: &str,
        request: &Request<B>,
    ) -> Result<(Visitor, OwnedSemaphorePermit), Refusal> {
        self.check_origin(request.headers())?;
        let visitor = door.visitor(session, request.uri().query().unwrap_or_default())?;
        let unavailable = |code, detail: &str| {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Refusal::new(status, code, close::AT_CAPACITY, detail)
        };
        let away = || unavailable("backplane_unavailable", AWAY);
        if self.node.link() != Link::Up {
            return Err(away());
        }
        let permit =
            self.room.clone().try_acquire_owned().map_err(|_| {
                unavailable("too_many", "this node has as many sockets as it takes")
            })?;
        match self.node.admits(&visitor.session).await {
            Ok(()) => Ok((visitor, permit)),
            Err(Error::Ended) => Err(Refusal::new(StatusCode::GONE, "ended", close::ENDED, ENDED)),
            Err(Error::Missing) => Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "not_found",
                close::NOT_FOUND,
                NO_SESSION,
            )),
            Err(_) => Err(away()),
        }
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let (Some(allowed), Some(origin)) = (&self.config.allowed_origins, headers.get(ORIGIN))
        else {
            return Ok(());
        };
        if allowed
            .iter()
            .any(|known| known.as_bytes() == origin.as_bytes())
        {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "origin",
            close::ORIGIN,
            "pages of this origin may not connect; ALLOWED_ORIGINS lists those that may",
        ))
    }

    /// Joins the session and goes on as a socket's task.
    async fn seat(
        self: Arc<Self>,
        visitor: Visitor,
        permit: OwnedSemaphorePermit,
        stream: TcpStream,
        early: Bytes,
        started: Instant,
    ) {
        let Visitor {
            session,
            user,
            name,
            dialect,
        } = visitor;
        let id = SocketId::next(self.node.id);
        let (read, write) = stream.into_split();
        let socket = Arc::new(Socket::new(
            id,
            user,
            name,
            dialect.tongue(),
            write,
            self.config.outbox,
        ));
        match self.node.join(session, dialect, socket.clone()).await {
            Ok(participant) => {
                metrics().opened(dialect.door());
                metrics().handshake(started.elapsed());
                tracing::info!(target: "audit", parent: &participant.span(), "joined");
                let transport = self.clone();
                let connection = Connection::new(transport, participant, read, &early, permit);
                self.tasks.spawn(connection);
            }
            Err(error) => {
                metrics().rejected("join_failed");
                tracing::warn!(socket = %id, user = %socket.user, %error, "joining failed");
                let (code, reason) = match error {
                    Error::Ended => (close::ENDED, ENDED),
                    Error::Missing => (close::NOT_FOUND, NO_SESSION),
                    _ => (close::AT_CAPACITY, AWAY),
                };
                socket.close(code, reason);
                let farewell = async {
                    poll_fn(|cx| socket.poll_flush(cx)).await;
                    socket.shutdown()?;
                    read_to_end(read).await
                };
                // Whoever does not wait for the reason does not get it.
                let _ = tokio::time::timeout(self.config.close_timeout, farewell).await;
            }
        }
    }
}

/// The stream, and what the client sent behind its handshake. Nothing else of the HTTP connection stays:
/// its read buffer would be held for the socket's life.
async fn taken_back(upgrade: OnUpgrade) -> Result<(TcpStream, Bytes), String> {
    let upgraded: Upgraded = upgrade.await.map_err(|error| error.to_string())?;
    let parts = upgraded
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| "the connection is not a plain TCP stream".to_owned())?;
    let early = Bytes::copy_from_slice(&parts.read_buf);
    Ok((parts.io.into_inner(), early))
}

/// Says why by a close frame, and waits a moment for the client to have read it.
async fn turn_away(mut stream: TcpStream, code: u16, reason: &str, timeout: Duration) {
    let farewell = async {
        stream.write_all(&frame::close(code, reason)).await?;
        stream.shutdown().await?;
        read_to_end(stream).await
    };
    // Whoever does not wait for the reason does not get it.
    let _ = tokio::time::timeout(timeout, farewell).await;
}

/// Throws away what still comes, so that the connection ends without a reset.
async fn read_to_end(mut stream: impl AsyncRead + Unpin) -> std::io::Result<()> {
    let mut scratch = [0; 1024];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}

/// The key of a well-formed handshake by RFC 6455, or what is wrong with it.
fn handshake_key(method: &Method, headers: &HeaderMap) -> Result<HeaderValue, Box<Answer>> {
    let has = |name, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value: &HeaderValue| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    let upgrade_required = |detail: &str| {
        let problem = Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", detail);
        let mut answer = problem.answer();
        let headers = answer.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        Box::new(answer)
    };
    if method != Method::GET || !has(UPGRADE, "websocket") || !has(CONNECTION, "upgrade") {
        return Err(upgrade_required("this is a WebSocket; connect with one"));
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(upgrade_required("Sec-WebSocket-Version is 13 here"));
    }
    match headers.get(SEC_WEBSOCKET_KEY) {
        Some(key) if is_key(key.as_bytes()) => Ok(key.clone()),
        _ => {
            let detail = "Sec-WebSocket-Key is missing or not 16 bytes in base64";
            let problem = Problem::new(StatusCode::BAD_REQUEST, "bad_field", detail);
            Err(Box::new(problem.answer()))
        }
    }
}

/// Sixteen bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(base64)
}

fn switching(key: &HeaderValue) -> Answer {
    let mut answer = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let accept = derive_accept_key(key.as_bytes());
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    answer
}
