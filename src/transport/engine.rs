//! The Socket.IO door: which of the protocol's requests this is.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use tokio::sync::oneshot;

use super::Transport;
use super::handshake::Handshake;
use super::knock::{Caller, Line};
use super::passing::NotPassed;
use super::polling::{Ask, Polled};
use super::refusal::Refusal;
use super::upgrade::taken_back;
use crate::http::{self, Answer};
use crate::telemetry::metrics::metrics;

/// What is wrong with a request, in the protocol's own numbers (engine.io-protocol, revision 4).
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Transport,
    Sid,
    Method,
    Request,
    Version,
    TooLarge,
    Foreign,
}

impl Wrong {
    fn answer(self) -> Answer {
        let bad = StatusCode::BAD_REQUEST;
        let (status, code, message) = match self {
            Wrong::Transport => (bad, 0, "Transport unknown"),
            Wrong::Sid => (bad, 1, "Session ID unknown"),
            Wrong::Method => (bad, 2, "Bad handshake method"),
            Wrong::Request => (bad, 3, "Bad request"),
            Wrong::Version => (bad, 5, "Unsupported protocol version"),
            Wrong::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, 3, "Larger than maxPayload"),
            Wrong::Foreign => (StatusCode::FORBIDDEN, 4, "Forbidden"),
        };
        http::json(status, &json!({ "code": code, "message": message }))
    }
}

/// The query of a request.
#[derive(Default)]
struct Asked {
    version: Option<String>,
    transport: Option<String>,
    sid: Option<String>,
}

impl Asked {
    fn read(query: &str) -> Self {
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "EIO" => asked.version = Some(value.into_owned()),
                "transport" => asked.transport = Some(value.into_owned()),
                "sid" => asked.sid = Some(value.into_owned()),
                _ => {}
            }
        }
        asked
    }
}

type Posting = Arc<tokio::sync::Mutex<()>>;

/// A client that comes by requests.
pub(super) struct Known {
    polled: Polled,
    /// Held by the request that says something.
    posting: Posting,
    /// Who it said it is.
    user: Option<String>,
}

impl Transport {
    pub(super) async fn engine<B>(self: &Arc<Self>, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let asked = Asked::read(request.uri().query().unwrap_or_default());
        if asked.version.as_deref() != Some("4") {
            return Wrong::Version.answer();
        }
        let by_socket = match asked.transport.as_deref() {
            Some("websocket") => true,
            Some("polling") => false,
            _ => return Wrong::Transport.answer(),
        };
        match asked.sid {
            None if by_socket => self.engine_socket(request),
            None if request.method() == Method::GET => self.engine_open(&request),
            None => Wrong::Method.answer(),
            Some(sid) => self.engine_known(&sid, by_socket, request).await,
        }
    }

    /// A request of a client that has been opened, here or at another node.
    async fn engine_known<B>(
        self: &Arc<Self>,
        sid: &str,
        by_socket: bool,
        request: Request<B>,
    ) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let passed = match self.is_passed(sid, &request) {
            Ok(passed) => passed,
            Err(why) => {
                let client = self.client(&request);
                tracing::info!(target: "audit", door = "socketio", %client, why, "a pass was refused");
                return Wrong::Foreign.answer();
            }
        };
        let method = request.method().clone();
        match self.known(sid, &request) {
            Err(Wrong::Sid) if !passed => self.engine_elsewhere(sid, by_socket, request).await,
            Err(wrong) => wrong.answer(),
            Ok((polled, _)) if by_socket => self.engine_upgrade(polled, request),
            Ok((polled, _)) if method == Method::GET => told(polled).await,
            Ok((polled, posting)) if method == Method::POST => {
                self.engine_said(polled, posting, request).await
            }
            Ok(_) => Wrong::Method.answer(),
        }
    }

    /// Has the node that the sid names answer. If that is gone the client is told that nobody knows it, and begins
    /// anew.
    async fn engine_elsewhere<B>(
        self: &Arc<Self>,
        sid: &str,
        by_socket: bool,
        request: Request<B>,
    ) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let owner = match self.owner(sid, request.method()).await {
            Ok(owner) => owner,
            Err(NotPassed::Nobody) => return Wrong::Sid.answer(),
            Err(NotPassed::Busy(refusal)) => return turned_down(&refusal),
        };
        let answered = if by_socket {
            match Handshake::read(request.method(), request.headers()) {
                Ok(handshake) => self.tunnel(owner, request, handshake.answer()).await,
                Err(answer) => return *answer,
            }
        } else {
            let (head, body) = request.into_parts();
            match self.body(body).await {
                Ok(body) => self.pass_on(owner, head, body).await,
                Err(wrong) => return wrong.answer(),
            }
        };
        answered.unwrap_or_else(|| Wrong::Sid.answer())
    }

    /// The client of a request, if it is this one's.
    fn known<B>(&self, sid: &str, request: &Request<B>) -> Result<(Polled, Posting), Wrong> {
        let known = self.polled.get(sid).ok_or(Wrong::Sid)?;
        let said = Caller::of(request).user;
        match (&known.user, said) {
            (Some(user), Some(said)) if *user != said => Err(Wrong::Foreign),
            _ => Ok((known.polled.clone(), known.posting.clone())),
        }
    }

    fn engine_socket<B>(self: &Arc<Self>, request: Request<B>) -> Answer {
        let started = Instant::now();
        let permit = match self.may_knock(&request) {
            Ok(permit) => permit,
            Err(refusal) => return turned_down(&refusal),
        };
        let caller = Caller::of(&request);
        let transport = self.clone();
        self.with_line(request, async move |line| {
            transport.receive(caller, line, permit, started).await;
        })
    }

    fn engine_upgrade<B>(self: &Arc<Self>, polled: Polled, request: Request<B>) -> Answer {
        self.with_line(request, async move |line| {
            // Whoever it is for may be gone, or has too much to do: the requests go on.
            let _ = polled.try_send(Ask::Upgrade(Box::new(line)));
        })
    }

    /// Shakes hands; what is to be done with the connection goes on in a task of its own.
    fn with_line<B, F>(
        self: &Arc<Self>,
        mut request: Request<B>,
        go_on: impl FnOnce(Line) -> F + Send + 'static,
    ) -> Answer
    where
        F: Future<Output = ()> + Send,
    {
        let handshake = match Handshake::read(request.method(), request.headers()) {
            Ok(handshake) => handshake,
            Err(answer) => return *answer,
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let most = self.config.max_frame_bytes;
        self.tasks.spawn(async move {
            match taken_back(upgrade).await {
                Ok((stream, early)) => go_on(Line::new(stream, &early, most)).await,
                Err(error) => tracing::debug!(error, "an upgrade was cut short"),
            }
        });
        handshake.answer()
    }

    fn engine_open<B>(self: &Arc<Self>, request: &Request<B>) -> Answer {
        let started = Instant::now();
        let permit = match self.may_knock(request) {
            Ok(permit) => permit,
            Err(refusal) => return turned_down(&refusal),
        };
        let caller = Caller::of(request);
        let (sid, user) = (self.new_sid(), caller.user.clone());
        let (polled, task) = self.begin_polled(caller, permit, started);
        let posting = Arc::default();
        let known = Known {
            polled,
            posting,
            user,
        };
        self.polled.insert(sid.clone(), known);
        let mut body = Vec::with_capacity(192);
        self.opening(&sid, &["websocket"], &mut body);
        let transport = self.clone();
        self.tasks.spawn(async move {
            task.await;
            transport.polled.remove(&sid);
        });
        http::text(body)
    }

    /// The whole body of a request, if it comes in time and is no larger than a frame.
    async fn body<B>(&self, body: B) -> Result<Bytes, Wrong>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let body = Limited::new(body, self.config.max_frame_bytes);
        match tokio::time::timeout(self.config.handshake_timeout, body.collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Wrong::TooLarge),
            Ok(Err(_)) | Err(_) => Err(Wrong::Request),
        }
    }

    async fn engine_said<B>(&self, polled: Polled, posting: Posting, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // A client says one thing after the other.
        let Ok(_turn) = posting.try_lock_owned() else {
            return Wrong::Request.answer();
        };
        let body = match self.body(request.into_body()).await {
            Ok(body) => String::from_utf8(body.into()),
            Err(wrong) => return wrong.answer(),
        };
        let Ok(body) = body else {
            return Wrong::Request.answer();
        };
        let (done, carried_out) = oneshot::channel();
        if polled.send(Ask::Say(body, done)).await.is_err() || carried_out.await.is_err() {
            return Wrong::Sid.answer();
        }
        http::text("ok")
    }
}

/// What the client is told, as soon as there is something.
async fn told(polled: Polled) -> Answer {
    let (taker, told) = oneshot::channel();
    if polled.send(Ask::Take(taker)).await.is_err() {
        return Wrong::Sid.answer();
    }
    match told.await {
        Ok(packets) => http::text(packets),
        Err(_) => Wrong::Request.answer(),
    }
}

fn turned_down(refusal: &Refusal) -> Answer {
    metrics().rejected(refusal.problem.code);
    refusal.answer()
}
