//! Faults that come before the last one is mended.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use super::stage::{KEEPS, NODES, Stage, blocking, on_redis};
use crate::support::redis::RedisServer;

const FAULTS: usize = 10;

/// Guards what each case alone cannot show: a repair that is interrupted by the next fault. The seed decides which
/// faults come, and when; `OUTAGE_SEED` chooses another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_fault_after_another() {
    let seed = std::env::var("OUTAGE_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    eprintln!("OUTAGE_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut stage = on_redis(KEEPS, &["--appendonly", "yes", "--appendfsync", "always"]).await;
    for turn in 0..FAULTS {
        let (node, what) = (dice.random_range(0..NODES), dice.random_range(0..7));
        eprintln!("{turn}: {what} at {node}");
        stage.suffer(what, node).await;
        sleep(Duration::from_millis(dice.random_range(0..1_500))).await;
        if turn == FAULTS / 2 {
            stage.lose_some().await;
        }
    }
    stage.hush().await;
    for node in 0..NODES {
        stage.ways[node].restore();
        stage.nodes[node].signal("CONT");
    }
    stage.judge().await;
}

impl Stage<RedisServer> {
    /// What was wrong with this node's way is mended by the next fault there.
    async fn suffer(&mut self, what: u32, node: usize) {
        self.ways[node].restore();
        self.nodes[node].signal("CONT");
        match what {
            0 => self.ways[node].cut(),
            1 => self.ways[node].stall(true, true),
            2 => self.ways[node].stall(false, true),
            3 => self.nodes[node].signal("STOP"),
            4 => {
                blocking(|| self.nodes[node].kill());
                self.ways[node].restore();
                blocking(|| self.nodes[node].run());
            }
            5 => {
                blocking(|| self.store.kill());
                blocking(|| self.store.run());
            }
            _ => {
                blocking(|| self.store.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]));
            }
        }
    }
}
