//! Child processes: started on loopback in temporary folders, ended by id on every way out.
//!
//! A child is killed when its value is dropped, which covers errors, panics and the signals `host` catches; the
//! kernel kills it when the rig itself is killed.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::{Result, host};

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running child with the folder it lives in.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    command: Command,
    ready: fn(SocketAddr) -> bool,
    child: Child,
    /// Removed after the child's end: fields drop in order, and `Process::drop` comes before them.
    folder: Folder,
    pub address: SocketAddr,
}

impl Process {
    /// Starts `command` in a folder of its own, its output going to a log there, and waits until `ready`.
    pub fn start(
        name: &'static str,
        mut command: Command,
        address: SocketAddr,
        ready: fn(SocketAddr) -> bool,
    ) -> Result<Self> {
        let folder = Folder::new(name)?;
        let log = File::create(folder.log())?;
        let errors = log.try_clone()?;
        let parent = std::process::id();
        command
            .current_dir(&folder.path)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        // The kernel means the thread that starts a child, not the process: the rig's first thread does.
        // SAFETY: prctl and getppid are async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                match libc::getppid() as u32 == parent {
                    true => Ok(()),
                    false => Err(std::io::ErrorKind::BrokenPipe.into()),
                }
            });
        }
        let child = spawn(name, &mut command)?;
        let mut process = Self {
            name,
            command,
            ready,
            child,
            folder,
            address,
        };
        process.wait_until_ready()?;
        Ok(process)
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it the polite way, and waits until it is gone.
    pub fn terminate(&mut self) -> Result<()> {
        self.end_by(libc::SIGTERM)
    }

    /// Ends it by the signal that its kind wants for that, and waits until it is gone.
    pub fn end_by(&mut self, signal: libc::c_int) -> Result<()> {
        // SAFETY: the child was not waited for, so its id is still its own.
        if unsafe { libc::kill(self.pid() as libc::pid_t, signal) } != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again after its end: the same command, address and folder.
    pub fn start_again(&mut self) -> Result<()> {
        self.child = spawn(self.name, &mut self.command)?;
        self.wait_until_ready()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines the child wrote, for an error or a note.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(self.folder.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while !(self.ready)(self.address) {
            host::check_signals()?;
            if let Some(status) = self.child.try_wait()? {
                return Err(format!(
                    "{} ended at its start ({status}):\n{}",
                    self.name,
                    self.last_words()
                )
                .into());
            }
            if start.elapsed() > START_TIMEOUT {
                let seconds = START_TIMEOUT.as_secs();
                let words = self.last_words();
                return Err(
                    format!("{} was not ready within {seconds} s:\n{words}", self.name).into(),
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(name: &str, command: &mut Command) -> Result<Child> {
    let child = command.spawn();
    Ok(child.map_err(|error| format!("cannot start {name}: {error}"))?)
}

/// A Redis of our own: nothing is saved, the folder goes with it.
pub fn start_redis() -> Result<Process> {
    redis(&["--appendonly", "no"])
}

/// The same, but what it acknowledged outlives a polite end: it writes a log, to the disk every second and at
/// its end.
pub fn start_durable_redis() -> Result<Process> {
    redis(&["--appendonly", "yes", "--appendfsync", "everysec"])
}

fn redis(options: &[&str]) -> Result<Process> {
    let address = free_address()?;
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
    command.args(["--save", "", "--loglevel", "warning"]);
    command.args(options);
    Process::start("redis-server", command, address, |address| {
        exchange(address, b"PING\r\n").is_ok_and(|answer| answer.starts_with("+PONG"))
    })
}

/// What `PROGRAM --version` prints first.
pub fn version_of(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output()?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .unwrap_or("unknown version")
        .trim()
        .to_owned())
}

/// Ports of servers. Below the ephemeral ones, of which thousands are in use: one that is started again must find
/// its own free, and who keeps dialling it meanwhile must not be given the very port it dials.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// A loopback address whose port was free a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let ports = u32::from(PORTS.end - PORTS.start);
    for _ in PORTS {
        let place = std::process::id()
            .wrapping_mul(31)
            .wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + (place % ports) as u16;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener.local_addr()?);
        }
    }
    Err(format!("no port of {PORTS:?} is free").into())
}

/// Sends `request` and returns the first bytes of the answer.
pub fn exchange(address: SocketAddr, request: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(request)?;
    let mut answer = [0; 64];
    let count = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
}

/// A temporary folder that goes with its value.
#[derive(Debug)]
pub struct Folder {
    pub path: PathBuf,
}

impl Folder {
    pub fn new(name: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rig-{}-{count}-{name}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    fn log(&self) -> PathBuf {
        self.path.join("output.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the promise that a dropped child is ended and its folder removed, and that a failed start says why.
    #[test]
    fn a_child_goes_with_its_value() {
        let address = free_address().expect("loopback has free ports");
        let mut command = Command::new("sleep");
        command.arg("60");
        let mut process =
            Process::start("sleep", command, address, |_| true).expect("sleep starts");
        process.terminate().expect("it ends");
        process.start_again().expect("it starts again");
        let (pid, path) = (process.pid(), process.folder.path.clone());
        assert!(path.is_dir() && Path::new(&format!("/proc/{pid}")).exists());
        drop(process);
        assert!(!path.exists() && !Path::new(&format!("/proc/{pid}")).exists());

        let mut command = Command::new("sh");
        command.args(["-c", "echo no such port; exit 3"]);
        let error = Process::start("sh", command, address, |_| false)
            .expect_err("it ended")
            .to_string();
        assert!(error.contains("no such port"), "{error}");
    }
}
