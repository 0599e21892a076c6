//! Redis driven raw, in its own protocol over a plain socket: the floor of everything that commits through it.
//!
//! The script does what any durable commit must: number it, log it, publish it, keep the state.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::{Result, host, report};

const SCRIPT: &str = "\
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, seq .. '-0', 'event', ARGV[1])
redis.call('SPUBLISH', KEYS[3], ARGV[1])
redis.call('HSET', KEYS[1], 'code', ARGV[1])
return seq";

/// Commands on their way at a time.
const IN_FLIGHT: usize = 256;
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that has loaded the script.
pub struct Raw {
    stream: TcpStream,
    address: SocketAddr,
    script: String,
    payload: String,
}

impl Raw {
    /// Commits will carry `payload` bytes.
    pub fn connect(address: SocketAddr, payload: usize) -> Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&command(&["SCRIPT", "LOAD", SCRIPT]))?;
        let mut answer = [0; 256];
        let count = stream.read(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer[..count]);
        let script = answer
            .lines()
            .nth(1)
            .ok_or_else(|| format!("Redis did not load the script: {answer}"))?;
        Ok(Self {
            stream,
            address,
            script: script.to_owned(),
            payload: "x".repeat(payload),
        })
    }

    /// Commits to `rooms` in turn for `time`, pipelined; returns how many, and in how many seconds.
    pub fn commit_for(&mut self, time: Duration, rooms: usize) -> Result<(u64, f64)> {
        let commands: Vec<Vec<u8>> = (0..rooms)
            .map(|room| self.commit(&format!("raw:{room}")))
            .collect();
        let mut next = commands.iter().cycle();
        let mut buffer = vec![0; 64 * 1024];
        let mut out = Vec::new();
        let (mut in_flight, mut committed) = (0, 0);
        let start = host::now();
        let end = start + time.as_nanos() as u64;
        loop {
            host::check_signals()?;
            if host::now() < end {
                out.clear();
                next.by_ref()
                    .take(IN_FLIGHT - in_flight)
                    .for_each(|command| out.extend_from_slice(command));
                in_flight = IN_FLIGHT;
                self.stream.write_all(&out)?;
            }
            if in_flight == 0 {
                return Ok((committed, (host::now() - start) as f64 / 1e9));
            }
            let count = self.stream.read(&mut buffer)?;
            let answers = answers(&buffer[..count])?;
            in_flight -= answers;
            committed += answers as u64;
        }
    }

    /// Commits `rate` times a second and returns how long each took to be heard by a subscriber.
    pub fn heard_after(&mut self, time: Duration, rate: f64) -> Result<Histogram<u64>> {
        let room = "raw:heard";
        let mut subscriber = TcpStream::connect(self.address)?;
        subscriber.set_read_timeout(Some(PATIENCE))?;
        subscriber.write_all(&command(&["SSUBSCRIBE", &channel(room)]))?;
        let mut buffer = vec![0; 16 * 1024];
        let _confirmed = subscriber.read(&mut buffer)?;
        let commit = self.commit(room);
        let mut latency = report::histogram();
        let start = host::now();
        for turn in 0..(rate * time.as_secs_f64()) as u64 {
            let due = start + (turn as f64 * 1e9 / rate) as u64;
            host::check_signals()?;
            std::thread::sleep(Duration::from_nanos(due.saturating_sub(host::now())));
            let sent = host::now();
            self.stream.write_all(&commit)?;
            // A message this small arrives in one piece.
            if subscriber.read(&mut buffer)? == 0 {
                return Err("Redis closed the subscriber".into());
            }
            latency.saturating_record(host::now() - sent);
            let count = self.stream.read(&mut buffer)?;
            answers(&buffer[..count])?;
        }
        Ok(latency)
    }

    fn commit(&self, room: &str) -> Vec<u8> {
        let (state, log) = (format!("{{{room}}}"), format!("{{{room}}}:log"));
        command(&[
            "EVALSHA",
            &self.script,
            "3",
            &state,
            &log,
            &channel(room),
            &self.payload,
        ])
    }
}

fn channel(room: &str) -> String {
    format!("{{{room}}}:events")
}

/// A command as Redis reads it.
fn command(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    out
}

/// Answers that end in `bytes`. Every answer is an integer on a line; a minus sign begins an error.
fn answers(bytes: &[u8]) -> Result<usize> {
    match bytes.contains(&b'-') || bytes.is_empty() {
        true => Err(format!("Redis refused a commit: {}", String::from_utf8_lossy(bytes)).into()),
        false => Ok(bytes.iter().filter(|&&byte| byte == b'\n').count()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the wire form and the count of answers that a read cut in two.
    #[test]
    fn commands_and_answers() {
        assert_eq!(
            command(&["GET", "ké"]),
            "*2\r\n$3\r\nGET\r\n$3\r\nké\r\n".as_bytes()
        );
        assert_eq!(answers(b":1\r\n:2\r\n:3").ok(), Some(2));
        assert!(answers(b":1\r\n-ERR no\r\n").is_err());
        assert!(answers(b"").is_err());
    }
}
