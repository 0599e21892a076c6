//! A way to Redis on which what is published gets lost, and everything else arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Lives as long as the test's runtime.
pub struct DeafProxy {
    port: u16,
    way: Arc<Way>,
    _serving: JoinSet<()>,
}

#[derive(Default)]
struct Way {
    connections: AtomicUsize,
    /// Connections with a lower number hear nothing.
    deaf_below: AtomicUsize,
}

impl DeafProxy {
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it listens").port();
        let way = Arc::<Way>::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, server, way.clone()));
        Self {
            port,
            way,
            _serving: serving,
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Connections made until now hear nothing any more.
    pub fn deafen_these(&self) {
        let made = self.way.connections.load(Ordering::SeqCst);
        self.way.deaf_below.store(made, Ordering::SeqCst);
    }

    pub fn deafen_all(&self) {
        self.way.deaf_below.store(usize::MAX, Ordering::SeqCst);
    }

    pub fn heal(&self) {
        self.way.deaf_below.store(0, Ordering::SeqCst);
    }
}

async fn serve(listener: TcpListener, server: u16, way: Arc<Way>) {
    let mut carrying = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("a listener listens");
        let number = way.connections.fetch_add(1, Ordering::SeqCst);
        let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
            continue;
        };
        let way = way.clone();
        carrying.spawn(async move {
            let (from_client, to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let mut from_client = from_client;
            let there = tokio::io::copy(&mut from_client, &mut to_server);
            let back = filter(&mut from_server, to_client, &way, number);
            // When one side ends the other does.
            tokio::select! { _ = there => {}, () = back => {} }
        });
    }
}

async fn filter(from: &mut OwnedReadHalf, mut to: OwnedWriteHalf, way: &Way, number: usize) {
    let mut bytes = Vec::new();
    while matches!(from.read_buf(&mut bytes).await, Ok(read) if read > 0) {
        let mut passed = Vec::new();
        while let Some(length) = frame(&bytes) {
            let frame: Vec<u8> = bytes.drain(..length).collect();
            let deaf = number < way.deaf_below.load(Ordering::SeqCst);
            if !(deaf && frame.starts_with(b">3\r\n$8\r\nsmessage\r\n")) {
                passed.extend(frame);
            }
        }
        if to.write_all(&passed).await.is_err() {
            return;
        }
    }
}

/// The length of the RESP3 value that these bytes begin with, when all of it is there.
fn frame(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|two| two == b"\r\n")? + 2;
    let number = || {
        let digits = std::str::from_utf8(&bytes[1..line - 2]).ok()?;
        digits.parse::<i64>().ok()
    };
    let parts = match bytes[0] {
        b'$' | b'!' | b'=' => {
            // Null has no bytes, and not even an end.
            let rest = usize::try_from(number()?).map_or(0, |length| length + 2);
            return (bytes.len() >= line + rest).then_some(line + rest);
        }
        b'*' | b'~' | b'>' => number()?,
        b'%' => number()? * 2,
        _ => 0,
    };
    (0..parts).try_fold(line, |at, _| Some(at + frame(&bytes[at..])?))
}
