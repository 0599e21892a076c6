//! Faults of a Redis Cluster: slots that move under traffic, masters that die.

use std::time::Duration;

use checker::{Promise, Verdict};
use fred::util::redis_keyslot;
use tokio::time::sleep;

use super::stage::{FORGETS, KEEPS, blocking, on};
use crate::support::cluster::{Cluster, SLOTS};

/// The prefix whose keys the cluster's user may touch.
const PREFIX: &str = "t-";

fn slot(room: &str) -> u16 {
    redis_keyslot(format!("{PREFIX}session:{room}").as_bytes())
}

/// Rooms with two of them on each of three masters.
fn rooms() -> Vec<String> {
    let mut rooms = Vec::new();
    for third in 0..3 {
        let names = (0..).map(|number| format!("room-{third}-{number}"));
        let here = names.filter(|room| slot(room) / (SLOTS / 3 + 1) == third);
        rooms.extend(here.take(2));
    }
    rooms
}

/// Guards rooms whose slot moves while people write: refused for a moment, lost never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move_under_traffic() {
    let cluster = blocking(|| Cluster::start(3, 0));
    let (url, rooms) = (cluster.url(), rooms());
    let moving = slot(&rooms[0]);
    let mut stage = on(KEEPS, cluster, &url, rooms, &[("KEY_PREFIX", PREFIX)]).await;
    blocking(|| stage.store.begin_to_move(moving, 0, 2));
    stage.lose_some().await;
    sleep(Duration::from_millis(500)).await;
    blocking(|| stage.store.end_of_move(moving, 0, 2));
    sleep(Duration::from_secs(2)).await;
    blocking(|| stage.store.begin_to_move(moving, 2, 1));
    stage.hush().await;
    blocking(|| stage.store.end_of_move(moving, 2, 1));
    stage.judge().await;
}

/// Guards the failover as it is by default: what the successor never had is forgotten by all alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_dies() {
    a_master_dies_with(FORGETS, &[], false).await;
}

/// Guards against a successor that lacks what was acknowledged a second ago: people who know of it, and people who
/// were given other events at the same places, must not go on apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_dies_whose_replica_was_behind() {
    let verdict = a_master_dies_with(FORGETS, &[], true).await;
    assert!(verdict.forgotten > 0, "nothing was lost: {verdict}");
}

async fn a_master_dies_with(promise: Promise, settings: &[(&str, &str)], behind: bool) -> Verdict {
    let cluster = blocking(|| Cluster::start(3, 3));
    let (url, rooms) = (cluster.url(), rooms());
    let mut all = vec![("KEY_PREFIX", PREFIX)];
    all.extend(settings);
    let mut stage = on(promise, cluster, &url, rooms, &all).await;
    // What was heard and not acknowledged may be gone in any case.
    stage.crowd.world.checker.lock().orders_may_end();
    if behind {
        // The replica is no more let in; the nodes' user is another one.
        let master = &stage.store.servers[0];
        blocking(|| master.cli(&["CONFIG", "SET", "requirepass", "changed"]));
        blocking(|| master.cli(&["-a", "changed", "CLIENT", "KILL", "TYPE", "replica"]));
        sleep(Duration::from_secs(2)).await;
    }
    blocking(|| stage.store.servers[0].kill());
    stage.lose_some().await;
    sleep(Duration::from_secs(3)).await;
    stage.hush().await;
    // As its successor's replica.
    blocking(|| stage.store.servers[0].run());
    stage.judge().await
}

/// Guards DURABILITY=replica: what was acknowledged, the successor has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_dies_and_nothing_is_forgotten() {
    let settings = [("DURABILITY", "replica")];
    a_master_dies_with(KEEPS, &settings, false).await;
}

/// Guards the same while the replica is away: then nothing may be acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_dies_whose_replica_was_behind_and_nothing_is_forgotten() {
    let settings = [("DURABILITY", "replica")];
    a_master_dies_with(KEEPS, &settings, true).await;
}
