//! Coming into a room, and coming back to it, while others write there: no event falls between the snapshot or the
//! log and what is heard live, and none is told by both.
//!
//! Every room is a seed of its own: who comes when, stays for how long, goes how. It is printed when it fails; the
//! writers' pace and the machine's are their own, so a seed run again is much alike, not the same.

use std::net::SocketAddr;
use std::time::Duration;

use checker::Promise;
use checker::person::{Crowd, Manner, Person, Seat, World};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{Instant, sleep};

use crate::support::chaos::Chaos;
use crate::support::nodes::NodeProcess;
use crate::support::redis::RedisServer;

const ROOMS: u64 = 16;
const WRITERS: u64 = 2;
/// Who come, one after the other, at each of so many chairs of a room.
const CHAIRS: u64 = 3;
const BUSY: Duration = Duration::from_secs(6);
const QUIET: Duration = Duration::from_secs(15);
/// Every line of a room is in its greeting: none may be missing there.
const KEPT: Promise = Promise {
    history: 1_000,
    may_forget: false,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_comes_into_a_hole_in_memory() {
    let node = block_in_place(|| NodeProcess::start("alone", &[("CHAT_HISTORY", "1000")]));
    race(&[node]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_comes_into_a_hole_on_redis() {
    let (redis, nodes) = block_in_place(|| {
        let redis = RedisServer::start();
        let url = redis.url();
        let start = |name| {
            let settings = [("CHAT_HISTORY", "1000"), ("REDIS_URL", &url)];
            NodeProcess::start(name, &settings)
        };
        (redis, [start("north"), start("south")])
    });
    race(&nodes).await;
    drop(redis);
}

async fn race(nodes: &[NodeProcess]) {
    let first: u64 = rand::random_range(0..1_000_000);
    let addresses: Vec<SocketAddr> = nodes.iter().map(NodeProcess::address).collect();
    let mut ways = Vec::new();
    for address in &addresses {
        ways.push(Chaos::to(address.port()).await);
    }
    let mut crowd = Crowd::new(KEPT, addresses.clone());
    for room in 0..ROOMS {
        for writer in 0..WRITERS {
            let place = addresses[writer as usize % addresses.len()];
            let mut seat = seat(first + room, writer, place);
            seat.manner.chat_every = Some(Duration::from_millis(60));
            seat.manner.text_every = (writer == 0).then_some(Duration::from_millis(150));
            crowd.seat(seat);
        }
    }
    crowd.are_here(QUIET).await.expect("the writers are here");
    // Who comes on this way is cut off now and then, and comes back by itself.
    let by_way = World {
        addresses: std::sync::Arc::new(ways.iter().map(Chaos::address).collect::<Vec<_>>().into()),
        ..crowd.world.clone()
    };
    let until = Instant::now() + BUSY;
    let mut chairs = JoinSet::new();
    for room in 0..ROOMS {
        for chair in 0..CHAIRS {
            let (by_way, seed) = (by_way.clone(), first + room);
            chairs.spawn(come_and_go(by_way, seed, chair, until));
        }
    }
    while Instant::now() < until {
        sleep(Duration::from_millis(700)).await;
        ways.iter().for_each(Chaos::cut);
        sleep(Duration::from_millis(50)).await;
        ways.iter().for_each(Chaos::restore);
    }
    let mut came = 0;
    while let Some(chair) = chairs.join_next().await {
        let (count, last) = chair.expect("nobody panics");
        came += count;
        crowd.people.push(last);
    }
    crowd
        .settle(QUIET)
        .await
        .unwrap_or_else(|why| fail(first, nodes, &why));
    let verdict = crowd.verdict();
    println!("seeds from {first}: {came} came; {verdict}");
    if !verdict.is_clean() {
        fail(first, nodes, &verdict.to_string());
    }
    assert!(came > ROOMS * CHAIRS * 2, "hardly anybody came: {came}");
    let back = verdict.resumes;
    assert!(back > ROOMS, "hardly anybody came back: {back}");
}

/// One after the other, each for a moment; the last one stays.
async fn come_and_go(world: World, seed: u64, chair: u64, until: Instant) -> (u64, Person) {
    let mut rng = StdRng::seed_from_u64(seed << 8 | chair);
    let mut count = 0;
    loop {
        count += 1;
        let first = {
            let addresses = world.addresses.read();
            addresses[rng.random_range(0..addresses.len())]
        };
        let viewer = WRITERS + chair + CHAIRS * count;
        let person = Person::start(seat(seed, viewer, first), world.clone());
        sleep(Duration::from_millis(rng.random_range(0..600))).await;
        // However slow the machine: these have come back before they go.
        if rng.random_bool(0.25) {
            come_back(&person, until).await;
        }
        if Instant::now() >= until {
            return (count, person);
        }
        // Some never get as far as their greeting.
        if rng.random_bool(0.5) {
            person.leave().await;
        } else {
            person.vanish().await;
        }
    }
}

/// Waits until the person is here, was cut off and is here again; or until it is late.
async fn come_back(person: &Person, until: Instant) {
    for here in [true, false, true] {
        while person.node().is_some() != here && Instant::now() < until {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

fn seat(seed: u64, viewer: u64, first: SocketAddr) -> Seat {
    Seat {
        room: format!("room-{seed}"),
        user: format!("user-{viewer}"),
        viewer,
        first: Some(first),
        manner: Manner {
            ping_every: Duration::from_millis(100),
            ..Manner::default()
        },
    }
}

fn fail(first: u64, nodes: &[NodeProcess], why: &str) -> ! {
    for node in nodes {
        eprintln!("{}", node.log());
    }
    panic!("seeds from {first}: {why}");
}
