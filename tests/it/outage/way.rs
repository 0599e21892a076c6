//! Faults between a node and its store: the store itself is well.

use std::time::Duration;

use tokio::time::sleep;

use super::stage::{KEEPS, on_redis};

/// Guards the island: what is refused meanwhile is repeated, and nothing is there twice because of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_to_redis_is_cut() {
    let mut stage = on_redis(KEEPS, &[]).await;
    stage.ways.iter().for_each(|way| way.cut());
    stage.lose_some().await;
    sleep(Duration::from_secs(3)).await;
    stage.hush().await;
    stage.ways.iter().for_each(|way| way.restore());
    stage.judge().await;
}

/// Guards against waiting for ever for what no reset announces, and against a commit that arrives when its author
/// has repeated it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_to_redis_stalls() {
    let mut stage = on_redis(KEEPS, &[]).await;
    stage.ways.iter().for_each(|way| way.stall(true, true));
    stage.lose_some().await;
    sleep(Duration::from_secs(8)).await;
    stage.hush().await;
    stage.ways.iter().for_each(|way| way.restore());
    stage.judge().await;
}

/// Guards the answers: what was committed and never answered is repeated, by who may be on another node by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_stall_and_questions_do_not() {
    let mut stage = on_redis(KEEPS, &[]).await;
    stage.ways.iter().for_each(|way| way.stall(false, true));
    stage.lose_some().await;
    sleep(Duration::from_secs(5)).await;
    stage.ways.iter().for_each(|way| way.cut());
    sleep(Duration::from_millis(500)).await;
    stage.hush().await;
    stage.ways.iter().for_each(|way| way.restore());
    stage.judge().await;
}

/// Guards a node that is alone on its island while the others go on: it must not live on in what it knew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_nodes_way_stalls() {
    let mut stage = on_redis(KEEPS, &[]).await;
    stage.ways[0].stall(true, true);
    stage.lose_some().await;
    sleep(Duration::from_secs(8)).await;
    stage.hush().await;
    stage.ways[0].restore();
    stage.judge().await;
}

/// Guards order and deadlines where Redis is far away, and then farther.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_is_slow_and_breaks() {
    let mut stage = on_redis(KEEPS, &[]).await;
    for (way, delay) in stage.ways.iter().zip([5, 40, 120]) {
        way.delay(Duration::from_millis(delay));
    }
    stage.lose_some().await;
    sleep(Duration::from_secs(3)).await;
    stage.ways[2].cut();
    sleep(Duration::from_secs(1)).await;
    stage.hush().await;
    stage.ways.iter().for_each(|way| way.restore());
    stage.judge().await;
}
