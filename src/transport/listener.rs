//! Accepts TCP connections, plain or encrypted, and serves HTTP/1 on them until they become sockets or end.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Config;
use super::address::{self, Peer};
use super::tls::Tls;
use crate::limits;

/// Connections the kernel completes while we are busy.
const BACKLOG: i32 = 4_096;
/// A request's head: lines, and bytes of head that are not read yet.
const MAX_HEADERS: usize = 64;
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Wait after the kernel had no descriptor for a new connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A listening address.
pub struct Bound {
    listener: TcpListener,
    pub address: SocketAddr,
}

pub fn bind(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    Ok(Bound {
        address: listener.local_addr()?,
        listener,
    })
}

/// What the connections of one listener share.
struct Reception {
    http: http1::Builder,
    config: Config,
    tls: Option<Arc<Tls>>,
    /// Connections of each address that are not sockets yet.
    addresses: DashMap<IpAddr, usize>,
    /// Other nodes speak for many, too.
    is_node: IsNode,
    stop: CancellationToken,
}

/// Whether another node has the address.
pub type IsNode = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

impl Bound {
    /// Serves until `stop`; requests that are under way then get a moment to be answered.
    pub async fn serve<S, B>(
        self,
        service: S,
        config: Config,
        tls: Option<Arc<Tls>>,
        is_node: IsNode,
        stop: CancellationToken,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let room = Arc::new(Semaphore::new(config.max_handshakes));
        let tasks = TaskTracker::new();
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(config.handshake_timeout)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES);
        let reception = Arc::new(Reception {
            http,
            config,
            tls,
            addresses: DashMap::new(),
            is_node,
            stop,
        });
        loop {
            // No more connections than there is room for: the others wait in the kernel's backlog.
            let next = async {
                let permit = room.clone().acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let Some((permit, accepted)) = reception.stop.run_until_cancelled(next).await else {
                break;
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accepting failed");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let from = from.ip();
            let Some(turn) = Turn::take(&reception, from) else {
                tracing::debug!(%from, "too many connections of this address");
                continue;
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection was gone at once");
                continue;
            }
            let reception = reception.clone();
            let service = service.clone();
            tasks.spawn(async move {
                let _held = (permit, turn);
                reception.receive(stream, from, service).await;
            });
        }
        tasks.close();
        tasks.wait().await;
    }
}

impl Reception {
    /// One connection, until it is a socket or ends.
    async fn receive<S, B>(&self, mut stream: TcpStream, from: IpAddr, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let timeout = self.config.handshake_timeout;
        let mut peer = from;
        if self.config.begins_with_proxy(from) {
            let header = tokio::time::timeout(timeout, address::read_proxy(&mut stream));
            let Some(header) = self.stop.run_until_cancelled(header).await else {
                return;
            };
            match header.unwrap_or_else(|_| Err("no PROXY header came in time".to_owned())) {
                Ok(Some(client)) => peer = client,
                Ok(None) => {}
                Err(error) => {
                    tracing::info!(target: "audit", %from, error, "refused");
                    return;
                }
            }
        }
        let Some(tls) = &self.tls else {
            return self.serve(stream, peer, service).await;
        };
        let accepted = tokio::time::timeout(timeout, tls.acceptor().accept(stream));
        match self.stop.run_until_cancelled(accepted).await {
            Some(Ok(Ok(stream))) => self.serve(stream, peer, service).await,
            Some(Ok(Err(error))) => tracing::debug!(%peer, %error, "no TLS handshake"),
            Some(Err(_)) => tracing::debug!(%peer, "no TLS handshake in time"),
            None => {}
        }
    }

    async fn serve<I, S, B>(&self, stream: I, peer: IpAddr, service: S)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            service.call(request)
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection.with_upgrades());
        // A request that was cut short is the peer's loss, and not ours to report.
        let served = tokio::time::timeout(self.config.http_age, connection.as_mut());
        let rest = match self.stop.run_until_cancelled(served).await {
            Some(Ok(_)) => return,
            // A request that waits for what its socket is told waits no longer than to the next ping.
            Some(Err(_)) => self.config.heartbeat + self.config.close_timeout,
            None => self.config.close_timeout,
        };
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(rest, connection).await;
    }
}

/// One of the connections an address may have that are not sockets.
struct Turn(Option<(Arc<Reception>, IpAddr)>);

impl Turn {
    /// Proxies, other nodes and this machine's own speak for many, and are not counted.
    fn take(reception: &Arc<Reception>, from: IpAddr) -> Option<Self> {
        let config = &reception.config;
        let from = from.to_canonical();
        if from.is_loopback() || config.is_proxy(from) || (reception.is_node)(from) {
            return Some(Self(None));
        }
        let network = limits::network(from);
        let mut count = reception.addresses.entry(network).or_default();
        if *count >= config.handshakes_per_address {
            return None;
        }
        *count += 1;
        Some(Self(Some((reception.clone(), network))))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((reception, network)) = &self.0
            && let Entry::Occupied(mut count) = reception.addresses.entry(*network)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
