//! A PostgreSQL of our own: made, started and ended with its value, and asked how many messages it has.
//!
//! It waits for the disk as it does by default, unless told not to: what a commit costs is that wait before anything
//! else. It does not run as root, so its files are in a folder of the user `postgres` then. Its login is good for as
//! long as it lives, and in nobody's list of processes.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::children::{Folder, Process, free_address, version_of};
use crate::{Result, host};

const USER: &str = "collabd";
/// Debian keeps the programs of every version beside each other, off PATH.
const VERSIONS: &str = "/usr/lib/postgresql";
const MESSAGES: &str = "SELECT count(*) FROM messages WHERE seq IS NOT NULL";
/// A message is told before it is marked as told; one that was told is marked within this.
const MARKED: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub struct Postgres {
    server: Process,
    password: String,
    /// Removed after the server's end: fields drop in order.
    _folder: Folder,
}

impl Postgres {
    /// With `fsync` off it does not wait for the disk, and what it has is lost with the machine.
    pub fn start(fsync: bool) -> Result<Self> {
        let folder = Folder::new("postgres-data")?;
        let password = make(&folder.path)?;
        let address = free_address()?;
        let mut command = as_its_user("postgres");
        command.arg("-D").arg(folder.path.join("data"));
        for option in [
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            format!("port={}", address.port()),
            format!("fsync={}", if fsync { "on" } else { "off" }),
        ] {
            command.arg("-c").arg(option);
        }
        Ok(Self {
            server: Process::start("postgres", command, address, answers)?,
            password,
            _folder: folder,
        })
    }

    /// Where a node finds it.
    pub fn url(&self) -> String {
        let (password, address) = (&self.password, self.server.address);
        format!("postgres://{USER}:{password}@{address}/postgres")
    }

    /// Of the process whose children all others are.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Messages that are stored and that everybody was told of.
    pub fn messages(&self) -> Result<u64> {
        let address = self.server.address;
        let output = Command::new(program("psql"))
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--username", USER, "--dbname", "postgres"])
            .args(["--command", MESSAGES])
            .env("PGPASSWORD", &self.password)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().map_err(|_| {
            let errors = String::from_utf8_lossy(&output.stderr);
            format!("psql did not count the messages: {}", errors.trim()).into()
        })
    }

    /// The same once there are as many as were `sent`, or when no more are to be expected.
    pub fn messages_of(&self, sent: u64) -> Result<u64> {
        let end = host::now() + MARKED.as_nanos() as u64;
        loop {
            let rows = self.messages()?;
            if rows >= sent || host::now() > end {
                return Ok(rows);
            }
            host::check_signals()?;
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its own children end with it by this one alone; killed, it would leave them, and memory of the kernel's.
        let _ = self.server.end_by(libc::SIGQUIT);
    }
}

/// What `postgres --version` prints.
pub fn version() -> Result<String> {
    version_of(&program("postgres"))
}

/// Makes an empty server in the folder; returns its password.
fn make(folder: &Path) -> Result<String> {
    let password = secret()?;
    let file = folder.join("password");
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    std::io::Write::write_all(&mut options.open(&file)?, password.as_bytes())?;
    if we_are_root()? {
        let mut chown = Command::new("chown");
        done(chown.arg("postgres:").args([folder, &file]))?;
    }
    let mut initdb = as_its_user("initdb");
    initdb
        .current_dir(folder)
        .args(["-D", "data", "--username", USER, "--pwfile", "password"])
        .args(["--auth", "scram-sha-256", "--encoding", "UTF8"])
        .args(["--no-locale", "--no-sync"]);
    done(&mut initdb)?;
    Ok(password)
}

fn done(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot start {name}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(format!("{name} failed: {}", errors.trim()).into())
        }
    }
}

/// 32 hexadecimal digits that nobody guesses.
fn secret() -> Result<String> {
    let mut bytes = [0; 16];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn answers(address: SocketAddr) -> bool {
    let asked = Command::new(program("pg_isready"))
        .args(["--quiet", "--host", "127.0.0.1", "--port"])
        .arg(address.port().to_string())
        .status();
    asked.is_ok_and(|status| status.success())
}

/// A program of the server's as a user who may run it: root may not. Who changes users has to say anew that it goes
/// with its parent.
fn as_its_user(name: &str) -> Command {
    if !we_are_root().unwrap_or(false) {
        return Command::new(program(name));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    command.args(["--pdeathsig=QUIT"]).arg(program(name));
    command
}

fn we_are_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

/// Where a program of the newest version is; elsewhere than on Debian, on PATH.
fn program(name: &str) -> PathBuf {
    newest(Path::new(VERSIONS)).map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
}

fn newest(versions: &Path) -> Option<PathBuf> {
    let found = versions.read_dir().ok()?.flatten().filter_map(|version| {
        let number: f32 = version.file_name().to_str()?.parse().ok()?;
        let bin = version.path().join("bin");
        // A client's package has the folder, too.
        bin.join("postgres").exists().then_some((number, bin))
    });
    found
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, bin)| bin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Cpu;

    /// Guards the choice: 9.6 is older than 15, and a client's folder is no server.
    #[test]
    fn the_newest_server_is_taken() {
        let folder = Folder::new("versions").expect("a temporary folder can be made");
        for (version, program) in [("9.6", "postgres"), ("15", "postgres"), ("16", "psql")] {
            let bin = folder.path.join(version).join("bin");
            fs::create_dir_all(&bin).expect("it can be written");
            fs::write(bin.join(program), "").expect("it can be written");
        }
        assert_eq!(newest(&folder.path), Some(folder.path.join("15/bin")));
        assert_eq!(newest(&folder.path.join("none")), None);
    }

    /// Guards the run's own database: it is there for who has the login, is told from one without tables, its work is
    /// counted although others do it, and nothing of it is left.
    #[test]
    fn a_database_goes_with_its_value() {
        let postgres = Postgres::start(false).expect("postgresql is installed");
        let before = Cpu::of_family(postgres.pid()).expect("it lives");
        let spent = || {
            let now = Cpu::of_family(postgres.pid()).expect("it lives");
            now.since(before).total_us()
        };
        // The kernel counts in ticks of 10 ms, and one question may take less.
        let asked = (0..1_000).take_while(|_| {
            let error = postgres.messages().expect_err("no node made the tables");
            assert!(error.to_string().contains("messages"), "{error}");
            spent() == 0.0
        });
        assert!(asked.count() < 1_000, "its work is not counted");
        let (pid, folder) = (postgres.pid(), postgres._folder.path.clone());
        drop(postgres);
        assert!(!folder.exists() && !Path::new(&format!("/proc/{pid}")).exists());
    }
}
