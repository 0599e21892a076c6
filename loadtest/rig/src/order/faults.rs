//! The timetable of faults: what ends when, and when it is started again.

use std::time::{Duration, Instant};

use checker::person::Crowd;

use super::people_on;
use crate::children::Process;
use crate::{Result, host};

/// A node that was killed or stopped is started again after this.
const BACK_AFTER: Duration = Duration::from_secs(5);
/// Redis is away for this long, and the time it takes to end and to start.
const REDIS_AWAY: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, clap::Args)]
pub struct Timetable {
    /// Second in which a node is killed; it is started again 5 s later.
    #[arg(long, value_name = "S")]
    kill_node_at: Option<u64>,
    /// Second in which another node is told to stop; it is started again 5 s after its end.
    #[arg(long, value_name = "S")]
    term_node_at: Option<u64>,
    /// Second in which Redis is ended with SIGTERM; it is started again, with its data, 2 s later.
    #[arg(long, value_name = "S")]
    redis_restart_at: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Kill,
    Stop,
    Redis,
}

/// A fault that was.
#[derive(Debug)]
pub struct Felt {
    pub what: What,
    pub second: u64,
    /// When it began, and when what had ended was there again.
    pub began: Instant,
    pub over: Instant,
    /// Who was on the node.
    pub people: Vec<u64>,
}

impl Timetable {
    /// In the order of their time.
    fn faults(&self) -> Vec<(u64, What)> {
        let mut faults: Vec<_> = [
            (self.kill_node_at, What::Kill),
            (self.term_node_at, What::Stop),
            (self.redis_restart_at, What::Redis),
        ]
        .into_iter()
        .filter_map(|(at, what)| Some((at?, what)))
        .collect();
        faults.sort_by_key(|(at, _)| *at);
        faults
    }

    pub async fn run(
        &self,
        time: Duration,
        nodes: &mut [Process],
        redis: &mut Process,
        crowd: &Crowd,
    ) -> Result<Vec<Felt>> {
        let start = Instant::now();
        let mut felt = Vec::new();
        for (second, what) in self.faults() {
            wait_until(start + Duration::from_secs(second)).await?;
            eprintln!("second {second}: {}", what.words());
            felt.push(what.happen(second, nodes, redis, crowd).await?);
        }
        wait_until(start + time).await?;
        Ok(felt)
    }
}

impl What {
    pub fn words(self) -> &'static str {
        match self {
            Self::Kill => "a node is killed",
            Self::Stop => "a node is told to stop",
            Self::Redis => "Redis restarts",
        }
    }

    async fn happen(
        self,
        second: u64,
        nodes: &mut [Process],
        redis: &mut Process,
        crowd: &Crowd,
    ) -> Result<Felt> {
        let (process, away) = match self {
            Self::Kill => (&mut nodes[0], BACK_AFTER),
            Self::Stop => (&mut nodes[1], BACK_AFTER),
            Self::Redis => (redis, REDIS_AWAY),
        };
        let people = people_on(crowd, process);
        let began = Instant::now();
        match self {
            Self::Kill => process.kill()?,
            Self::Stop | Self::Redis => process.terminate()?,
        }
        wait_until(Instant::now() + away).await?;
        process.start_again()?;
        Ok(Felt {
            what: self,
            second,
            began,
            over: Instant::now(),
            people,
        })
    }
}

/// Sleeps, unless a signal asks for the end.
pub async fn wait_until(at: Instant) -> Result<()> {
    loop {
        host::check_signals()?;
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        tokio::time::sleep(left.min(Duration::from_millis(100))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against faults that wait for one that comes later.
    #[test]
    fn faults_come_in_the_order_of_their_time() {
        let timetable = Timetable {
            kill_node_at: Some(30),
            term_node_at: None,
            redis_restart_at: Some(10),
        };
        assert_eq!(timetable.faults(), [(10, What::Redis), (30, What::Kill)]);
    }
}
