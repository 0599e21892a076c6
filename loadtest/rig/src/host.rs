//! The machine: its description for the report, its monotonic clock, its limits and its signals.

use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io, mem};

use serde::Serialize;

use crate::Result;

/// What a reader needs to know about the machine before believing a figure.
#[derive(Debug, Clone, Serialize)]
pub struct Host {
    pub cpu: String,
    pub cores: usize,
    pub kernel: String,
    pub memory_mib: u64,
    /// One-minute load when the run began: a busy neighbour shows here.
    pub load_before: f64,
    /// RFC 3339, UTC.
    pub date: String,
    pub versions: Vec<String>,
}

impl Host {
    /// The machine as it is before a run, and what will be measured on it.
    pub fn describe(mut versions: Vec<String>) -> Self {
        versions.push(concat!("rig ", env!("CARGO_PKG_VERSION")).to_owned());
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let load = text("/proc/loadavg");
        Self {
            cpu: field(&text("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_mib: field(&text("/proc/meminfo"), "MemTotal")
                .and_then(|value| value.split(' ').next()?.parse::<u64>().ok())
                .map_or(0, |kib| kib / 1024),
            load_before: load
                .split(' ')
                .next()
                .and_then(|l| l.parse().ok())
                .unwrap_or(0.0),
            date: date(),
            versions,
        }
    }
}

/// The value of a `name : value` line, as the files under /proc write them.
pub fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

/// Nanoseconds of CLOCK_MONOTONIC: generator and server share the machine, so one clock serves both.
pub fn now() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of any clock, zero for one that does not exist.
pub fn read_clock(clock: libc::clockid_t) -> u64 {
    // SAFETY: `time` is a valid timespec for the call to fill.
    let time = unsafe {
        let mut time: libc::timespec = mem::zeroed();
        libc::clock_gettime(clock, &mut time);
        time
    };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Raises the soft limit of open files to the hard one, for this process and the children to come.
pub fn raise_file_limit() -> Result<u64> {
    // SAFETY: `limit` is a valid rlimit for both calls.
    unsafe {
        let mut limit: libc::rlimit = mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return Err(io::Error::last_os_error().into());
        }
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) != 0 {
            return Err(io::Error::last_os_error().into());
        }
        Ok(limit.rlim_cur)
    }
}

static STOPPED: AtomicBool = AtomicBool::new(false);

/// Turns SIGINT and SIGTERM into an ordinary error, so that children and folders go away on that path too.
pub fn catch_signals() {
    extern "C" fn note(_: libc::c_int) {
        STOPPED.store(true, Ordering::Relaxed);
    }
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores to an atomic; no SA_RESTART, so that waits end early.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = note as *const () as usize;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// Errs once a signal asked for the end; every wait of the rig passes through here.
pub fn check_signals() -> Result<()> {
    match STOPPED.load(Ordering::Relaxed) {
        true => Err("stopped by a signal".into()),
        false => Ok(()),
    }
}

fn date() -> String {
    // SAFETY: all three values are valid for the calls; gmtime_r fills `parts`.
    let parts = unsafe {
        let seconds = libc::time(std::ptr::null_mut());
        let mut parts: libc::tm = mem::zeroed();
        libc::gmtime_r(&seconds, &mut parts);
        parts
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        parts.tm_year + 1900,
        parts.tm_mon + 1,
        parts.tm_mday,
        parts.tm_hour,
        parts.tm_min,
        parts.tm_sec
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a padded key hiding its value (cpuinfo pads with a tab).
    #[test]
    fn a_padded_key_is_found() {
        assert_eq!(
            field("a: 1\nmodel name\t: Some CPU\n", "model name").as_deref(),
            Some("Some CPU")
        );
        assert_eq!(field("MemTotalX: 1 kB\n", "MemTotal"), None);
    }
}
