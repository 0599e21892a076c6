//! Accepts TCP connections and serves HTTP/1 on them until they become sockets or end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Config;

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

impl Bound {
    /// Serves until `stop`, then ends what is not a socket by then.
    pub async fn serve<S, B>(self, service: S, config: Config, stop: CancellationToken)
    where
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
        loop {
            // No more connections than there is room for: the others wait in the kernel's backlog.
            let next = async {
                let permit = room.clone().acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let Some((permit, accepted)) = stop.run_until_cancelled(next).await else {
                break;
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accepting failed");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection was gone at once");
                continue;
            }
            let connection = http
                .serve_connection(TokioIo::new(stream), service.clone())
                .with_upgrades();
            let stop = stop.clone();
            tasks.spawn(async move {
                let _permit = permit;
                // A request that was cut short is the peer's loss, and not ours to report.
                let _ = stop.run_until_cancelled(connection).await;
            });
        }
        tasks.close();
        tasks.wait().await;
    }
}
