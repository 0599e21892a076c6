//! What a process has used: CPU time and memory, read from outside it.
//!
//! The total comes from the process's CPU clock (nanoseconds). /proc/PID/stat only tells how that total divides
//! into user and system, because its unit is a tick of 10 ms.

use std::fs;

use serde::Serialize;

use crate::Result;
use crate::host::{field, now, read_clock};

/// CPU time used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    total_ns: u64,
    user_ticks: u64,
    system_ticks: u64,
}

/// CPU time between two readings, in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct CpuSpent {
    pub user_us: f64,
    pub system_us: f64,
}

impl Cpu {
    pub fn of(pid: u32) -> Result<Self> {
        let mut clock = 0;
        // SAFETY: `clock` is a valid place for the id.
        if unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) } != 0 {
            return Err(format!("process {pid} is gone: its CPU time cannot be read").into());
        }
        let (user_ticks, system_ticks) =
            ticks(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
                .ok_or_else(|| format!("/proc/{pid}/stat has no CPU times"))?;
        Ok(Self {
            total_ns: read_clock(clock),
            user_ticks,
            system_ticks,
        })
    }

    pub fn own() -> Result<Self> {
        Self::of(std::process::id())
    }

    /// Of a process with its children: those that live, and those that it has waited for, whose time is in ticks.
    pub fn of_family(pid: u32) -> Result<Self> {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let children = children.split_ascii_whitespace();
        let gone = gone_ticks(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
            .ok_or_else(|| format!("/proc/{pid}/stat has no CPU times of children"))?;
        // A child that ended just now is among those that the next reading finds waited for.
        let alive = children.filter_map(|child| Self::of(child.parse().ok()?).ok());
        Ok(alive.fold(Self::of(pid)?.plus(gone), Self::plus))
    }

    fn plus(self, other: Self) -> Self {
        Self {
            total_ns: self.total_ns + other.total_ns,
            user_ticks: self.user_ticks + other.user_ticks,
            system_ticks: self.system_ticks + other.system_ticks,
        }
    }

    /// Spent by the process since this reading, shared out over `count` events.
    pub fn spent_per(self, pid: u32, count: u64) -> Result<CpuSpent> {
        Ok(Self::of(pid)?.since(self).per(count))
    }

    pub fn since(self, earlier: Self) -> CpuSpent {
        let total = self.total_ns.saturating_sub(earlier.total_ns) as f64 / 1_000.0;
        let user = self.user_ticks.saturating_sub(earlier.user_ticks) as f64;
        let system = self.system_ticks.saturating_sub(earlier.system_ticks) as f64;
        let share = if user + system > 0.0 {
            user / (user + system)
        } else {
            0.0
        };
        CpuSpent {
            user_us: total * share,
            system_us: total * (1.0 - share),
        }
    }
}

impl CpuSpent {
    pub fn total_us(self) -> f64 {
        self.user_us + self.system_us
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            user_us: self.user_us + other.user_us,
            system_us: self.system_us + other.system_us,
        }
    }

    /// Shared out over `count` events.
    pub fn per(self, count: u64) -> Self {
        Self {
            user_us: self.user_us / count as f64,
            system_us: self.system_us / count as f64,
        }
    }
}

/// CPU time of the whole machine, to tell what others used beside a measurement.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    busy_us: f64,
    at_ns: u64,
}

impl Machine {
    pub fn read() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let ticks = busy_ticks(&stat).ok_or("/proc/stat has no CPU times")?;
        Ok(Self {
            busy_us: ticks as f64 * 1e6 / ticks_per_second(),
            at_ns: now(),
        })
    }

    /// Cores that something else kept busy since this reading, while the measured processes used `own_us`.
    pub fn others_since(self, own_us: f64) -> Result<f64> {
        let now = Self::read()?;
        let busy = now.busy_us - self.busy_us - own_us;
        Ok((busy / ((now.at_ns - self.at_ns) as f64 / 1e3)).max(0.0))
    }
}

/// Resident memory of a process in KiB.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Resident {
    pub rss: f64,
    pub pss: f64,
    pub anonymous: f64,
}

impl Resident {
    pub fn of(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        Ok(Self {
            rss: kib(&text, "Rss")?,
            pss: kib(&text, "Pss")?,
            anonymous: kib(&text, "Anonymous")?,
        })
    }

    pub fn grown_per(self, earlier: Self, sockets: usize) -> Self {
        let each = |now: f64, before: f64| (now - before) / sockets as f64;
        Self {
            rss: each(self.rss, earlier.rss),
            pss: each(self.pss, earlier.pss),
            anonymous: each(self.anonymous, earlier.anonymous),
        }
    }
}

/// Memory the whole machine's kernel holds, in KiB. Meaningful only as a difference on a quiet machine.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Kernel {
    /// Slab objects: sockets, files, dentries, epoll entries and small buffers.
    pub slab: f64,
    /// Pages in TCP buffers as the kernel accounts them.
    pub tcp_buffers: f64,
}

impl Kernel {
    pub fn read() -> Result<Self> {
        let pages = fs::read_to_string("/proc/net/sockstat")?
            .lines()
            .find_map(|line| {
                line.strip_prefix("TCP:")?
                    .split(' ')
                    .next_back()?
                    .parse::<f64>()
                    .ok()
            })
            .ok_or("/proc/net/sockstat has no TCP memory")?;
        // SAFETY: asks for a constant.
        let page_kib = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as f64 / 1024.0;
        Ok(Self {
            slab: kib(&fs::read_to_string("/proc/meminfo")?, "Slab")?,
            tcp_buffers: pages * page_kib,
        })
    }

    /// Per end of a connection: both ends are on this machine, so a connection is two.
    pub fn grown_per_end(self, earlier: Self, connections: usize) -> Self {
        let ends = 2.0 * connections as f64;
        Self {
            slab: (self.slab - earlier.slab) / ends,
            tcp_buffers: (self.tcp_buffers - earlier.tcp_buffers) / ends,
        }
    }
}

fn kib(text: &str, name: &str) -> Result<f64> {
    field(text, name)
        .and_then(|value| value.split(' ').next()?.parse().ok())
        .ok_or_else(|| format!("no field {name} in KiB").into())
}

/// Ticks of all cores in user, nice, system, interrupts and stolen by the host; idle and waiting left out.
fn busy_ticks(stat: &str) -> Option<u64> {
    let all: Vec<u64> = stat
        .lines()
        .next()?
        .split_ascii_whitespace()
        .skip(1)
        .map_while(|t| t.parse().ok())
        .collect();
    let busy = [0, 1, 2, 5, 6, 7];
    busy.iter().map(|&place| all.get(place)).sum()
}

/// User and system ticks of a stat line; the command name before them may hold spaces and brackets.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// What the children that a process has waited for have used.
fn gone_ticks(stat: &str) -> Option<Cpu> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(13);
    let (user_ticks, system_ticks) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Cpu {
        total_ns: ((user_ticks + system_ticks) as f64 * 1e9 / ticks_per_second()) as u64,
        user_ticks,
        system_ticks,
    })
}

fn ticks_per_second() -> f64 {
    // SAFETY: asks for a constant.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) as f64 }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// Guards against counting fields from the front, which a name with a space breaks.
    #[test]
    fn ticks_survive_a_name_with_brackets() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 111 222 3 4 20";
        assert_eq!(ticks(stat), Some((111, 222)));
        let gone = gone_ticks(stat).expect("it has them, too");
        assert_eq!((gone.user_ticks, gone.system_ticks), (3, 4));
    }

    /// Guards against taking idle time for work.
    #[test]
    fn idle_and_waiting_are_not_busy() {
        assert_eq!(
            busy_ticks("cpu  1 2 4 1000 2000 8 16 32 0 0\ncpu0 9 9\n"),
            Some(63)
        );
        assert_eq!(busy_ticks("cpu  1 2\n"), None);
    }

    /// Guards the work of servers that have a process for everything: what a child did is counted while it lives and
    /// when it is gone.
    #[test]
    fn children_are_counted_alive_and_gone() {
        let busy = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; echo; read line; exit 0";
        let mut parent = std::process::Command::new("sh")
            .args(["-c", &format!("sh -c '{busy}'; echo; read line; exit 0")])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("sh is there");
        let piped = "it was asked for";
        let mut input = parent.stdin.take().expect(piped);
        let mut told = parent.stdout.take().expect(piped);
        let family = || Cpu::of_family(parent.id()).expect("it lives").total_ns;
        told.read_exact(&mut [0]).expect("the child has worked");
        let (alive, own) = (family(), Cpu::of(parent.id()).expect("it lives").total_ns);
        assert!(alive > 2 * own, "{alive}, {own}");
        input.write_all(b"\n").expect("the child reads");
        told.read_exact(&mut [0]).expect("the child is gone");
        let gone = family();
        assert!(gone > alive / 2, "{alive}, {gone}, {own}");
        input.write_all(b"\n").expect("the parent reads");
        assert!(parent.wait().expect("our own child").success());
    }

    /// Guards the clock: a process that works has used time, and the parts make up the total.
    #[test]
    fn work_shows_as_cpu_time() {
        let before = Cpu::own().expect("own process exists");
        let mut sum = 0u64;
        while Cpu::own().expect("own process exists").total_ns < before.total_ns + 5_000_000 {
            sum = sum.wrapping_add(1);
        }
        let spent = Cpu::own().expect("own process exists").since(before);
        assert!(sum > 0 && spent.total_us() >= 5_000.0, "{spent:?}");
    }
}
