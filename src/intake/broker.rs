//! Connections to the broker, made within a time or not at all; and queues, which are there before anybody asks.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::tcp::AsyncTcpStream;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ErrorKind, runtime};
use parking_lot::Mutex;
use socket2::{SockRef, Socket};

use super::{Error, Place};

/// Time for a connection to be made, TLS included.
const REACHING: Duration = Duration::from_secs(5);
/// Time for the broker to introduce itself on top of that, and to let us in.
const GREETING: Duration = Duration::from_secs(10);
/// "not found", for which the broker closes the channel.
const NOT_FOUND: u16 = 404;

pub struct Broker {
    place: Place,
    name: String,
}

impl Broker {
    pub fn new(place: Place, node: &str) -> Self {
        let name = format!("collabd {node}");
        Self { place, name }
    }

    pub async fn connect(&self) -> Result<Connection, Error> {
        let (uri, tls) = (self.place.uri.clone(), self.place.tls.clone());
        let wire = Wire::default();
        let kept = wire.0.clone();
        let properties =
            ConnectionProperties::default().with_connection_name(self.name.as_str().into());
        let opening = Connection::connector(
            uri,
            runtime::default_runtime()?,
            async move |uri, runtime| {
                let (host, port) = (uri.authority.host, uri.authority.port);
                let reaching = async {
                    let addresses = runtime.to_socket_addrs((host.clone(), port));
                    let plain = AsyncTcpStream::connect(&runtime, addresses).await?;
                    if let AsyncTcpStream::Plain(stream) = &plain {
                        let socket = SockRef::from(stream.get_ref());
                        socket.set_tcp_nodelay(true)?;
                        *kept.lock() = Some(socket.try_clone()?);
                    }
                    match &tls {
                        Some(tls) => plain.into_rustls(tls, &host).await,
                        None => Ok(plain),
                    }
                };
                let late = |_| io::Error::from(io::ErrorKind::TimedOut);
                let reached = tokio::time::timeout(REACHING, reaching).await;
                Ok(reached.map_err(late)??)
            },
            properties,
        );
        let limit = REACHING + GREETING;
        let opened = tokio::time::timeout(limit, opening).await;
        let connection = opened.map_err(|_| Error::Late(limit))??;
        wire.keep();
        Ok(connection)
    }
}

/// The socket of a connection that is being made. The library's thread waits on it for a word of the broker, however
/// long that takes and whether or not anybody still wants it; when the socket is shut down the thread ends.
#[derive(Default)]
struct Wire(Arc<Mutex<Option<Socket>>>);

impl Wire {
    /// It is the library's alone from now on.
    fn keep(self) {
        self.0.lock().take();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(socket) = self.0.lock().take() {
            // It may be gone already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Sees to it that there is such a queue. One that is there is taken as it is: the broker refuses whoever declares it with
/// other arguments than it has, and only its owner knows those.
pub async fn ensure(connection: &Connection, queue: &str) -> Result<(), Error> {
    let looking = connection.create_channel().await?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = looking.queue_declare(queue.into(), passive, FieldTable::default());
    let channel = match declared.await {
        Ok(_) => looking,
        // That channel is closed now.
        Err(error) if is_missing(&error) => {
            let making = connection.create_channel().await?;
            let durable = QueueDeclareOptions::durable();
            making
                .queue_declare(queue.into(), durable, FieldTable::default())
                .await?;
            tracing::info!(queue, "declared: it was not there");
            making
        }
        Err(error) => return Err(error.into()),
    };
    channel.close(200, "OK".into()).await?;
    Ok(())
}

fn is_missing(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == NOT_FOUND)
}
