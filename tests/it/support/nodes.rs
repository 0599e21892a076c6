//! Real `collabd` nodes as child processes, ended with the values that hold them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::redis::{eventually, free_port};

pub struct NodeProcess {
    name: String,
    port: u16,
    settings: Vec<(String, String)>,
    folder: PathBuf,
    child: Option<Child>,
}

impl NodeProcess {
    /// A node on a free port, ready for people. Anybody may be whoever they say, and a stop is quick.
    pub fn start(name: &str, settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let folder = format!("collabd-node-{}-{port}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).expect("a temporary folder can be made");
        let basics = [
            ("HOST", "127.0.0.1"),
            ("AUTH", "open"),
            ("METRICS_PORT", "0"),
            ("DRAIN_DELAY", "0"),
            ("LOG_LEVEL", "INFO"),
            ("LOG_FORMAT", "line"),
            ("NODE_NAME", name),
        ];
        let settings = basics.iter().chain(settings);
        let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut node = Self {
            name: name.to_owned(),
            port,
            settings: settings.collect(),
            folder,
            child: None,
        };
        node.run();
        node
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Starts it, or starts it again on the same port.
    pub fn run(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"));
        let log = log.expect("the node's folder can be written");
        let errors = log.try_clone().expect("a file can be held twice");
        // A setting of whoever runs the tests would make it a different node.
        let child = Command::new(env!("CARGO_BIN_EXE_collabd"))
            .env_clear()
            .env("PORT", self.port.to_string())
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("the binary was built with the tests");
        self.child = Some(child);
        eventually("a node is ready", || self.is_ready());
    }

    fn is_ready(&self) -> bool {
        let ask = || {
            let mut stream = TcpStream::connect_timeout(&self.address(), Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(
                b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            )?;
            let mut status = [0; 12];
            stream.read_exact(&mut status)?;
            Ok::<_, std::io::Error>(status.ends_with(b"200"))
        };
        ask().unwrap_or(false)
    }

    /// Sends the process a signal, by its name.
    pub fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("the node runs");
        let sent = Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status();
        assert!(sent.expect("kill is there").success());
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be ended");
            child.wait().expect("our own child can be waited for");
        }
    }

    /// Ends it the polite way, and waits until it is gone.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let mut child = self.child.take().expect("the node runs");
        let status = child.wait().expect("our own child can be waited for");
        assert!(status.success(), "{} ended with {status}", self.name);
    }

    /// What it wrote, for a test that fails.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log"));
        let lines = log.unwrap_or_default();
        format!("--- {}\n{lines}", self.name)
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.kill();
        // A folder left behind in a temporary place harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
