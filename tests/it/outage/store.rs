//! Faults of the store: it ends, comes back with or without its data, forgets who listens, hangs.

use std::time::Duration;

use tokio::time::sleep;

use super::stage::{FORGETS, KEEPS, blocking, on_redis};

/// Guards the promise itself: a crash of a store that keeps its data costs nothing that was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_crashes_and_comes_back_with_its_data() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut stage = on_redis(KEEPS, &durable).await;
    blocking(|| stage.store.kill());
    stage.lose_some().await;
    sleep(Duration::from_secs(2)).await;
    stage.hush().await;
    blocking(|| stage.store.run());
    stage.judge().await;
}

/// Guards against people who go on apart: what the store forgot is gone for all, and all begin anew from the same,
/// also those who were away and come with a place in the order that is no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_comes_back_without_its_data() {
    let mut stage = on_redis(FORGETS, &[]).await;
    blocking(|| stage.nodes[0].kill());
    blocking(|| stage.store.kill());
    stage.lose_some().await;
    sleep(Duration::from_secs(2)).await;
    stage.hush().await;
    blocking(|| stage.store.run());
    blocking(|| stage.nodes[0].run());
    stage.judge().await;
}

/// Guards the listening: subscriptions that are gone while commands go on, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_cuts_those_who_listen() {
    let mut stage = on_redis(KEEPS, &[]).await;
    stage.lose_some().await;
    for turn in 0..30 {
        blocking(|| stage.store.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]));
        sleep(Duration::from_millis(100)).await;
        if turn == 25 {
            stage.hush().await;
        }
    }
    stage.judge().await;
}

/// Guards deadlines: a store that does nothing for three seconds does all of it afterwards, also what was given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_does_nothing_for_a_while() {
    let mut stage = on_redis(KEEPS, &["--enable-debug-command", "yes"]).await;
    stage.lose_some().await;
    let said = blocking(|| stage.store.cli(&["DEBUG", "SLEEP", "3"]));
    stage.hush().await;
    assert_eq!(said, "OK");
    stage.judge().await;
}
