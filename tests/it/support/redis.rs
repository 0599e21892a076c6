//! Real `redis-server` children, ended with the values that hold them.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Ports of servers. Below the ephemeral ones: a client that keeps dialling a server that is away must not be
/// given the very port it dials.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    folder: PathBuf,
    options: Vec<String>,
}

/// Something that takes long to start, for all tests that want it at the same time.
pub struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    pub fn get(&self, start: impl FnOnce() -> T) -> Arc<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.upgrade().unwrap_or_else(|| {
            let started = Arc::new(start());
            *kept = Arc::downgrade(&started);
            started
        })
    }
}

/// Waits for what is about to become true.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl RedisServer {
    /// Starts one that forgets everything when it ends.
    pub fn start() -> Self {
        Self::start_with(|_, port| forgetful(&["--port", &port.to_string()]))
    }

    /// Starts one with options made for its folder and its port.
    pub fn start_with(options: impl FnOnce(&Path, u16) -> Vec<String>) -> Self {
        let port = free_port();
        let folder =
            std::env::temp_dir().join(format!("collabd-redis-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
        let mut server = Self {
            child: None,
            port,
            options: options(&folder, port),
            folder,
        };
        server.run();
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server as a crash would; [`RedisServer::run`] starts it again on the same port.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be ended");
            child.wait().expect("our own child can be waited for");
        }
    }

    /// Sends the process a signal, by its name.
    pub fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("the server runs");
        let sent = Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status();
        assert!(sent.expect("kill is there").success());
    }

    /// How far this server is in what a master tells its replicas.
    pub fn replication_offset(&self) -> Option<u64> {
        let info = self.cli(&["INFO", "replication"]);
        let mut lines = info.lines();
        lines.find_map(|line| {
            line.strip_prefix("master_repl_offset:")?
                .trim()
                .parse()
                .ok()
        })
    }

    pub fn run(&mut self) {
        let child = Command::new("redis-server")
            .args(&self.options)
            .args(["--bind", "127.0.0.1", "--loglevel", "warning", "--dir"])
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed (`make test` does that)");
        self.child = Some(child);
        eventually("redis-server listens", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// One command by `redis-cli`, its answer as text.
    pub fn cli(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(words)
            .output()
            .expect("redis-cli is installed with redis-server");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        // A folder left behind in a temporary place harms nobody.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Waits until the replica has everything that the master has.
pub fn replicated(master: &RedisServer, replica: &RedisServer) {
    eventually("the replica has it all", || {
        let offset = master.replication_offset();
        offset.is_some() && offset == replica.replication_offset()
    });
}

/// Options of a server that keeps nothing on disk.
pub fn forgetful(options: &[&str]) -> Vec<String> {
    let all = options.iter().chain(&["--save", "", "--appendonly", "no"]);
    all.map(|option| (*option).to_owned()).collect()
}

pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
