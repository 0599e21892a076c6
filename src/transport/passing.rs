//! Requests of a client whose socket another node has: a balancer need not keep a client on its node.
//!
//! A sid names its node. What comes here for another living one goes there over the nodes' own addresses, with a pass
//! that says who passes on what; the answer comes back the same way. A WebSocket that a client changes over to becomes
//! a tunnel. What was passed on once is not passed on again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Transport;
use super::dial::{Way, dial};
use super::refusal::Refusal;
use super::upgrade::taken_back;
use crate::auth::pass::{self, Errand};
use crate::http::{self, Answer};
use crate::ids::NodeId;
use crate::telemetry::metrics::metrics;

/// The header that a pass stands in.
pub(super) const PASS: HeaderName = HeaderName::from_static(pass::HEADER);
/// A node's id at the beginning of a sid, in hexadecimal digits.
const NODE_DIGITS: usize = 16;
/// What a tunnel holds of each direction, in bytes.
const TUNNEL_BUFFER: usize = 2 * 1024;
/// Headers of a handshake that the owner must see as the client wrote them.
const HANDSHAKE: [&str; 4] = [
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "origin",
];

/// What is under way to other nodes.
pub struct Passing {
    /// One permit a request or tunnel.
    room: Arc<Semaphore>,
    /// Tunnels end when the node does: their clients come again.
    stopping: CancellationToken,
}

impl Passing {
    pub fn new(most: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(most)),
            stopping: CancellationToken::new(),
        }
    }

    /// A place among what is under way, as soon as there is one.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, String> {
        let permit = self.room.clone().acquire_owned().await;
        permit.map_err(|error| error.to_string())
    }

    pub fn stop(&self) {
        self.stopping.cancel();
    }
}

/// Another node, as it is asked.
pub(super) struct Owner {
    address: String,
    pass: String,
    _permit: OwnedSemaphorePermit,
}

/// Why a request is not passed on.
pub(super) enum NotPassed {
    /// There is no such node, or it does not answer.
    Nobody,
    Busy(Refusal),
}

impl Drop for Owner {
    fn drop(&mut self) {
        metrics().passing(-1.0);
    }
}

impl Transport {
    /// Whether a request comes from another node that passes it on; an error when it only says so.
    pub(super) fn is_passed<B>(&self, sid: &str, request: &Request<B>) -> Result<bool, String> {
        let Some(pass) = request.headers().get(PASS) else {
            return Ok(false);
        };
        let pass = pass.to_str().map_err(|error| error.to_string())?;
        let secret = self.node.secret().ok_or("this node knows no others")?;
        let what = (self.node.id(), sid, request.method().as_str());
        pass::verify(pass, what, &secret, self.node.clock().now()).map(|_| true)
    }

    /// The node that has the sid's socket, if it is another one that lives.
    pub(super) async fn owner(&self, sid: &str, method: &Method) -> Result<Owner, NotPassed> {
        let to = sid.get(..NODE_DIGITS).and_then(NodeId::parse);
        let to = to.ok_or(NotPassed::Nobody)?;
        self.node.meet(to).await;
        let found = self.way_to(to, sid, method);
        let (address, pass) = found.ok_or(NotPassed::Nobody)?;
        let Ok(permit) = self.passing.room.clone().try_acquire_owned() else {
            metrics().passed("busy");
            let wait = Duration::from_secs(1);
            return Err(NotPassed::Busy(Refusal::busy(wait)));
        };
        Ok(Owner::new(address, pass, permit))
    }

    /// Where a node is, and the pass for going there; `None`: it does not say, or nodes do not know each other yet.
    pub(super) fn way_to(
        &self,
        to: NodeId,
        sid: &str,
        method: &Method,
    ) -> Option<(String, String)> {
        let (address, secret) = (self.node.address_of(to)?, self.node.secret()?);
        let errand = Errand {
            from: self.node.id(),
            to,
            sid,
            method: method.as_str(),
        };
        let pass = pass::sign(&errand, &secret, self.node.clock().now()).ok()?;
        Some((address, pass))
    }

    /// Has another node answer a request; `None` when it does not.
    pub(super) async fn pass_on(
        &self,
        owner: Owner,
        head: hyper::http::request::Parts,
        body: Bytes,
    ) -> Option<Answer> {
        // A socket that has nothing to tell is pinged, by which a request that waits is answered.
        let patience = match head.method {
            Method::GET => self.config.heartbeat + self.config.close_timeout,
            _ => self.config.handshake_timeout,
        };
        let request = owner.request(&head, body)?;
        let asked = async {
            let response = self.ask(&owner, request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?;
            Ok::<_, String>((head, body.to_bytes()))
        };
        let answered = tokio::time::timeout(patience, asked).await;
        match answered.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok((head, body)) => {
                metrics().passed("answered");
                let mut answer = http::text(body);
                *answer.status_mut() = head.status;
                if let Some(kind) = head.headers.get(CONTENT_TYPE) {
                    answer.headers_mut().insert(CONTENT_TYPE, kind.clone());
                }
                Some(answer)
            }
            Err(error) => {
                owner.failed(&error);
                None
            }
        }
    }

    /// Lets a client change over to a WebSocket that ends at another node; `None` when that does not answer.
    pub(super) async fn tunnel<B>(
        self: &Arc<Self>,
        owner: Owner,
        mut request: Request<B>,
        switch: Answer,
    ) -> Option<Answer> {
        let client = hyper::upgrade::on(&mut request);
        let (head, _) = request.into_parts();
        let mut onward = owner.request(&head, Bytes::new())?;
        let headers = onward.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        for name in HANDSHAKE {
            if let Some(value) = head.headers.get(name) {
                headers.insert(name, value.clone());
            }
        }
        let asked = tokio::time::timeout(self.config.handshake_timeout, self.ask(&owner, onward));
        let response = match asked.await {
            Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => response,
            Ok(Ok(response)) => {
                owner.failed(&format!("it answered {}", response.status()));
                return None;
            }
            Ok(Err(error)) => {
                owner.failed(&error);
                return None;
            }
            Err(_) => {
                owner.failed("no answer in time");
                return None;
            }
        };
        metrics().passed("answered");
        let stop = self.passing.stopping.clone();
        self.tasks.spawn(async move {
            let joined = async {
                let (mut near, early) = taken_back(client).await?;
                let far = hyper::upgrade::on(response).await;
                let mut far = TokioIo::new(far.map_err(|error| error.to_string())?);
                let copied = async {
                    far.write_all(&early).await?;
                    let size = TUNNEL_BUFFER;
                    copy_bidirectional_with_sizes(&mut near, &mut far, size, size).await
                };
                copied.await.map_err(|error| error.to_string())
            };
            if let Some(Err(error)) = stop.run_until_cancelled(joined).await {
                tracing::debug!(error, to = owner.address, "a tunnel was cut");
            }
            drop(owner);
        });
        Some(switch)
    }

    pub(super) async fn ask(
        &self,
        owner: &Owner,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<hyper::body::Incoming>, String> {
        let way = Way {
            tls: self.peers.as_deref(),
            proxies: &self.config,
        };
        let dialled = dial(&owner.address, &way);
        let stream = tokio::time::timeout(self.config.pass_timeout, dialled).await;
        let stream = stream.map_err(|_| "it was not reached in time".to_owned())??;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
        // It ends with the answer, or with the tunnel.
        self.tasks.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a passed request was cut short");
            }
        });
        let answered = sender.send_request(request).await;
        answered.map_err(|error| error.to_string())
    }
}

impl Owner {
    pub(super) fn new(address: String, pass: String, permit: OwnedSemaphorePermit) -> Self {
        metrics().passing(1.0);
        Self {
            address,
            pass,
            _permit: permit,
        }
    }

    /// What this node asks for itself.
    pub(super) fn question(&self, target: &str) -> Result<Request<Full<Bytes>>, String> {
        let request = Request::get(target)
            .header(HOST, &self.address)
            .header(PASS, &self.pass);
        let request = request.body(Full::default());
        request.map_err(|error| error.to_string())
    }

    fn request(
        &self,
        head: &hyper::http::request::Parts,
        body: Bytes,
    ) -> Option<Request<Full<Bytes>>> {
        let target = head.uri.path_and_query()?.as_str();
        let request = Request::builder()
            .method(head.method.clone())
            .uri(target)
            .header(HOST, &self.address)
            .header(PASS, &self.pass);
        request.body(Full::new(body)).ok()
    }

    fn failed(&self, why: &str) {
        metrics().passed("unanswered");
        tracing::info!(to = self.address, why, "a request was not passed on");
    }
}
