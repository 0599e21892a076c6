//! A real `postgres`, ended with the values that hold it, and as many empty databases as tests want.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::redis::{Shared, eventually, free_port};

const USER: &str = "collabd";
/// As it stands before the `@` of a URL: every character that means something there is in the password.
const LOGIN: &str = "collabd:p%3Aa%2Fs%3Fs%40w%23ord";
const PASSWORD: &str = "p:a/s?s@w#ord";
/// Debian keeps the programs of every version beside each other, off PATH.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Room for the pools of many tests at once.
const MAX_CONNECTIONS: u32 = 400;

pub struct PostgresServer {
    child: Option<Child>,
    port: u16,
    folder: PathBuf,
    databases: AtomicU32,
}

static SHARED: Shared<PostgresServer> = Shared::new();

impl PostgresServer {
    /// The one of all tests that do not end it. A server takes a second to make, a database a tenth of that.
    pub fn shared() -> Arc<Self> {
        SHARED.get(Self::start)
    }

    pub fn start() -> Self {
        let port = free_port();
        let folder = format!("collabd-postgres-{}-{port}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
        let mut server = Self {
            child: None,
            port,
            folder,
            databases: AtomicU32::new(0),
        };
        server.make();
        server.run();
        server
    }

    /// A new, empty database; returns its URL.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql(
            &self.url("postgres"),
            &format!("CREATE DATABASE {name} TEMPLATE template0"),
        );
        self.url(&name)
    }

    /// One statement by `psql`, its rows as text.
    pub fn psql(&self, url: &str, statement: &str) -> String {
        let output = Command::new(program("psql"))
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--dbname", url, "--command", statement])
            .output()
            .expect("psql is installed with postgresql");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statement}: {errors}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Starts it, or starts it again on the same port with what it had.
    pub fn run(&mut self) {
        // Slow disks are not what is tested: what it acknowledged outlives its own crash all the same.
        let options = [
            "fsync=off".to_owned(),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("max_connections={MAX_CONNECTIONS}"),
        ];
        let child = self
            .command("postgres")
            // The socket is below its folder, too, with the data.
            .args(["-D", "data", "-k", "."])
            .args(options.iter().flat_map(|option| ["-c", option]))
            .spawn()
            .expect("postgresql is installed (`make test` does that)");
        self.child = Some(child);
        eventually("postgres answers", || self.answers());
    }

    /// Ends it as a crash would, all its processes: SIGKILL would leave them to find out that they are alone.
    /// [`PostgresServer::run`] starts it again.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let sent = Command::new("kill")
                .args(["-s", "QUIT", &child.id().to_string()])
                .status();
            assert!(sent.expect("kill is there").success());
            child.wait().expect("our own child can be waited for");
        }
    }

    fn make(&self) {
        let secret = self.folder.join("password");
        std::fs::write(&secret, PASSWORD).expect("the server's folder can be written");
        if we_are_root() {
            let given = Command::new("chown")
                .arg("postgres:")
                .args([&self.folder, &secret])
                .status();
            assert!(given.expect("chown is there").success());
        }
        let output = self
            .command("initdb")
            .args(["-D", "data", "--username", USER, "--pwfile", "password"])
            .args(["--auth", "scram-sha-256", "--encoding", "UTF8"])
            .args(["--no-locale", "--no-sync"])
            .stderr(Stdio::piped())
            .output()
            .expect("postgresql is installed (`make test` does that)");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb: {errors}");
    }

    fn answers(&self) -> bool {
        let asked = Command::new(program("pg_isready"))
            .args(["--quiet", "--host", "127.0.0.1", "--port"])
            .arg(self.port.to_string())
            .status();
        asked.is_ok_and(|status| status.success())
    }

    /// A program of the server's, in its folder, as a user who may run it: root may not.
    fn command(&self, name: &str) -> Command {
        let mut command = if we_are_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
            command.arg(program(name));
            command
        } else {
            Command::new(program(name))
        };
        command
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://{LOGIN}@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.kill();
        // A folder left behind in a temporary place harms nobody.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn we_are_root() -> bool {
    let own = std::fs::metadata("/proc/self").expect("this is Linux");
    own.uid() == 0
}

/// Where a program of the newest version is; elsewhere than on Debian, on PATH.
fn program(name: &str) -> PathBuf {
    let versions = Path::new(VERSIONS).read_dir();
    let versions = versions.into_iter().flatten().flatten();
    let found = versions.filter_map(|version| {
        let number: f32 = version.file_name().to_str()?.parse().ok()?;
        let bin = version.path().join("bin");
        // A client's package has the folder, too.
        bin.join("postgres").exists().then_some((number, bin))
    });
    match found.max_by(|one, other| one.0.total_cmp(&other.0)) {
        Some((_, bin)) => bin.join(name),
        None => PathBuf::from(name),
    }
}

/// Guards the tests of what is kept in SQL: databases that are not empty, or lose what they had with a crash.
#[test]
fn databases_are_apart_and_outlive_a_crash() {
    let mut server = PostgresServer::start();
    let (one, other) = (server.database(), server.database());
    server.psql(&one, "CREATE TABLE words (word TEXT)");
    server.psql(&one, "INSERT INTO words VALUES ('kept')");
    server.psql(&other, "CREATE TABLE words (word TEXT)");
    server.kill();
    server.run();
    assert_eq!(server.psql(&one, "SELECT word FROM words"), "kept");
    assert_eq!(server.psql(&other, "SELECT word FROM words"), "");
}

/// Guards them against a server that only the first test can use.
#[test]
fn the_shared_server_is_one() {
    let (one, other) = (PostgresServer::shared(), PostgresServer::shared());
    assert_eq!(one.port, other.port);
    assert_ne!(one.database(), other.database());
}
