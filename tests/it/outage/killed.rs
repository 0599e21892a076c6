//! Faults of a node: it is killed, told to stop, or stands still.

use std::time::Duration;

use tokio::time::sleep;

use super::stage::{KEEPS, blocking, on_redis};

/// Guards a crash: its people go on elsewhere, from where they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_killed() {
    let mut stage = on_redis(KEEPS, &[]).await;
    let orphans = stage.people_of(0);
    assert!(!orphans.is_empty());
    blocking(|| stage.nodes[0].kill());
    stage.lose_some().await;
    sleep(Duration::from_secs(5)).await;
    // Nobody is left behind where nobody answers.
    assert_eq!(stage.people_of(0), Vec::<u64>::new());
    stage.hush().await;
    blocking(|| stage.nodes[0].run());
    stage.judge().await;
}

/// Guards a deploy: everybody is told when to come back, and nothing that was said meanwhile is missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_told_to_stop() {
    let mut stage = on_redis(KEEPS, &[]).await;
    stage.lose_some().await;
    blocking(|| stage.nodes[1].stop());
    stage.hush().await;
    sleep(Duration::from_secs(1)).await;
    blocking(|| stage.nodes[1].run());
    stage.judge().await;
}

/// Guards against a node that wakes up after it was given up, and tells its people of a world that is no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stands_still() {
    let mut stage = on_redis(KEEPS, &[]).await;
    stage.nodes[2].signal("STOP");
    stage.lose_some().await;
    sleep(Duration::from_secs(15)).await;
    stage.hush().await;
    stage.nodes[2].signal("CONT");
    stage.judge().await;
}

/// Guards those who noticed nothing: a node that stood still for longer than its lease sends them away when it wakes
/// up, because their rooms took them for gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waited_for_a_node_that_stood_still_is_sent_away() {
    let mut stage = on_redis(KEEPS, &[]).await;
    let viewer = stage.seat_patient(2).await;
    stage.nodes[2].signal("STOP");
    sleep(Duration::from_secs(8)).await;
    stage.nodes[2].signal("CONT");
    let gone = stage.gone(viewer).await;
    stage.judge().await;
    assert_eq!(gone, Some(1012));
}
