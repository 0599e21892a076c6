//! One socket, from its handshake to its end.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Order;
use super::dial::Socket;
use super::mind::Mind;

/// What a socket that was lost without a word is said to have been closed with.
pub const LOST: u16 = 1006;
/// Time for a node to take a frame, and to answer a close.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a socket ended.
#[derive(Debug)]
pub struct Ended {
    pub code: u16,
    /// When the node wants one back.
    pub retry_in: Option<Duration>,
}

impl Ended {
    fn lost() -> Self {
        Self {
            code: LOST,
            retry_in: None,
        }
    }

    fn by(close: Option<CloseFrame>) -> Self {
        #[derive(Deserialize)]
        struct Reason {
            retry_in_ms: u64,
        }
        let Some(close) = close else {
            return Self::lost();
        };
        let reason: Option<Reason> = serde_json::from_str(&close.reason).ok();
        Self {
            code: close.code.into(),
            retry_in: reason.map(|reason| Duration::from_millis(reason.retry_in_ms)),
        }
    }
}

/// Talks until the socket ends, or the person wants no more; then `None`.
pub async fn talk(
    mind: &mut Mind,
    orders: &mut mpsc::Receiver<Order>,
    mut socket: Socket,
    node: SocketAddr,
) -> Option<Ended> {
    mind.connected();
    loop {
        let mut frames = Vec::new();
        tokio::select! {
            heard = socket.next() => match heard {
                Some(Ok(Message::Text(text))) => mind.hear(&text, node),
                Some(Ok(Message::Close(close))) => return Some(Ended::by(close)),
                // Pings are answered by the library; reading is what counts.
                Some(Ok(_)) => {}
                Some(Err(Error::ConnectionClosed | Error::Io(_) | Error::Protocol(_))) | None => {
                    return Some(Ended::lost());
                }
                Some(Err(error)) => {
                    mind.complain(format!("a frame that cannot be read: {error}"));
                    return Some(Ended::lost());
                }
            },
            order = orders.recv() => {
                let order = order.unwrap_or(Order::Vanish);
                if let Order::Leave = order {
                    farewell(&mut socket).await;
                }
                frames.extend(mind.obey(order));
            }
            () = sleep_until(mind.next_due()) => {
                let now = Instant::now();
                if mind.is_dead(now) {
                    return Some(Ended::lost());
                }
                frames = mind.act(now);
            }
        }
        if mind.is_over {
            return None;
        }
        if !frames.is_empty() && !send(&mut socket, frames).await {
            return Some(Ended::lost());
        }
    }
}

async fn send(socket: &mut Socket, frames: Vec<String>) -> bool {
    let sending = async {
        for frame in frames {
            socket.feed(Message::text(frame)).await?;
        }
        socket.flush().await
    };
    matches!(timeout(PATIENCE, sending).await, Ok(Ok(())))
}

/// A clean close, so that the others are told at once.
pub async fn farewell(socket: &mut Socket) {
    let close = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    let closing = async {
        socket.close(Some(close)).await?;
        while let Some(Ok(_)) = socket.next().await {}
        Ok::<(), Error>(())
    };
    // Who does not answer a close is left alone.
    let _ = timeout(PATIENCE, closing).await;
}
