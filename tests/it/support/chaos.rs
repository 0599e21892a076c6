//! A way to a server that can be cut, stalled, refused and slowed down, while both ends live on.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const BUFFER: usize = 64 * 1024;

/// What is wrong with the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fault {
    /// Connections are ended at once.
    pub refuses: bool,
    /// Nothing arrives at the server, and nothing says so.
    pub stalls_up: bool,
    /// Nothing arrives from the server.
    pub stalls_down: bool,
    pub delay: Duration,
    /// Connections older than this were cut.
    cut: u64,
}

/// The way itself; it ends with this value.
pub struct Chaos {
    port: u16,
    fault: watch::Sender<Fault>,
    _roads: JoinSet<()>,
}

impl Chaos {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", super::redis::free_port())).await;
        let listener = listener.expect("the port was free a moment ago");
        let own = listener.local_addr().expect("it is bound").port();
        let fault = watch::Sender::new(Fault::default());
        let mut roads = JoinSet::new();
        roads.spawn(accept(listener, port, fault.subscribe()));
        Self {
            port: own,
            fault,
            _roads: roads,
        }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Ends every connection, and every new one, without a word of farewell.
    pub fn cut(&self) {
        self.fault.send_modify(|fault| {
            fault.cut += 1;
            fault.refuses = true;
        });
    }

    /// Nothing moves any more, in one direction or both; nobody is told.
    pub fn stall(&self, up: bool, down: bool) {
        self.fault.send_modify(|fault| {
            fault.stalls_up = up;
            fault.stalls_down = down;
        });
    }

    pub fn delay(&self, delay: Duration) {
        self.fault.send_modify(|fault| fault.delay = delay);
    }

    /// Everything is as it should be; what was stalled arrives.
    pub fn restore(&self) {
        self.fault.send_modify(|fault| {
            *fault = Fault {
                cut: fault.cut,
                ..Fault::default()
            };
        });
    }
}

async fn accept(listener: TcpListener, to: u16, fault: watch::Receiver<Fault>) {
    let mut roads = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                roads.spawn(road(client, to, fault.clone()));
            }
            Some(_) = roads.join_next() => {}
        }
    }
}

async fn road(client: TcpStream, to: u16, mut fault: watch::Receiver<Fault>) {
    let begun = fault.borrow().cut;
    // Both ends see a reset, as from a firewall that forgot them.
    let _ = client.set_zero_linger();
    if fault.borrow().refuses {
        return;
    }
    let address = SocketAddr::from(([127, 0, 0, 1], to));
    let Ok(server) = TcpStream::connect(address).await else {
        return;
    };
    let _ = server.set_zero_linger();
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = carry(from_client, to_server, fault.clone(), |fault| {
        fault.stalls_up
    });
    let down = carry(from_server, to_client, fault.clone(), |fault| {
        fault.stalls_down
    });
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = fault.wait_for(|fault| fault.cut != begun) => {}
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut fault: watch::Receiver<Fault>,
    stalls: impl Fn(&Fault) -> bool,
) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let delay = fault.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        // The owner of the fault may be gone: then the test is over.
        if fault.wait_for(|fault| !stalls(fault)).await.is_err()
            || to.write_all(&buffer[..count]).await.is_err()
        {
            return;
        }
    }
}
