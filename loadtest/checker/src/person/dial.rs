//! One handshake at the pairing door, and why it failed.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

pub type Socket = WebSocketStream<TcpStream>;

/// A node that was stopped takes connections and never answers.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
/// Thousands of these live in one process.
const READ_BUFFER: usize = 4 * 1024;

#[derive(Debug)]
pub enum Failure {
    /// Nobody there, or nobody who speaks.
    Unreachable,
    /// Answered with another status than 101.
    Refused {
        status: u16,
        retry_after: Option<Duration>,
    },
}

/// The door of a room. Rooms and users here need no percent-encoding, nor do positions.
pub fn path(room: &str, user: &str, since: Option<&str>) -> String {
    let since = since.map(|at| format!("&since={at}")).unwrap_or_default();
    format!("/api/v1/ws/session/{room}?user_id={user}&username={user}{since}")
}

pub async fn dial(address: SocketAddr, path: String) -> Result<Socket, Failure> {
    let shaken = tokio::time::timeout(HANDSHAKE_PATIENCE, shake_hands(address, &path));
    shaken.await.unwrap_or(Err(Failure::Unreachable))
}

async fn shake_hands(address: SocketAddr, path: &str) -> Result<Socket, Failure> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|_| Failure::Unreachable)?;
    stream.set_nodelay(true).map_err(|_| Failure::Unreachable)?;
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    let url = format!("ws://{address}{path}");
    match client_async_with_config(url, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => {
            let header = answer.headers().get("retry-after");
            let seconds = header.and_then(|value| value.to_str().ok()?.parse().ok());
            Err(Failure::Refused {
                status: answer.status().as_u16(),
                retry_after: seconds.map(Duration::from_secs),
            })
        }
        Err(_) => Err(Failure::Unreachable),
    }
}
