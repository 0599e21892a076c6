//! Links on which everything works but hearing: pings are answered, commits are acknowledged, and nobody is told.

use std::time::Instant;

use super::*;
use crate::support::deaf::DeafProxy;
use crate::support::ears::Sound;

const SILENCE: Duration = Duration::from_secs(1);
/// Silence, half of it more, a look each second, and a slow machine.
const NOTICED: Duration = Duration::from_secs(10);

async fn behind(proxy: &DeafProxy) -> Subject {
    let config = RedisConfig {
        probe_silence: SILENCE,
        ..redis_config(proxy.url())
    };
    let subject = Subject::at(config).await;
    subject.begun().await;
    subject
}

impl Subject {
    async fn hearing_is(&self, wanted: bool) {
        let asked = Instant::now();
        while self.backplane.hears() != wanted {
            assert!(asked.elapsed() < NOTICED, "hearing is never {wanted}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        eprintln!("hearing is {wanted} after {:?}", asked.elapsed());
    }

    /// What is heard until all is to be compared.
    async fn heard_until_resumed(&self) -> Vec<Bytes> {
        let mut heard = Vec::new();
        loop {
            match self.sounds.next().await {
                Sound::Resumed => return heard,
                Sound::Heard(envelope) => heard.push(envelope.event),
                Sound::Gap(_) => {}
            }
        }
    }
}

/// Guards against a connection that answers and hears nothing: its node would be deaf for ever.
#[tokio::test]
async fn redis_a_link_that_hears_nothing_begins_anew() {
    let server = RedisServer::start();
    let proxy = DeafProxy::before(server.port()).await;
    let subject = behind(&proxy).await;
    proxy.deafen_these();
    subject.commit("missed").await;
    let deafened = Instant::now();
    let heard = subject.heard_until_resumed().await;
    assert!(heard.is_empty(), "{heard:?}");
    eprintln!("a deaf link begins anew after {:?}", deafened.elapsed());
    subject.commit("heard").await;
    assert_eq!(subject.heard().await, "heard");
    subject.hearing_is(true).await;
}

/// Guards the word that balancers get: a node that beginning anew does not help says so, and takes it back.
#[tokio::test]
async fn redis_a_node_that_stays_deaf_says_so() {
    let mut server = RedisServer::start();
    let proxy = DeafProxy::before(server.port()).await;
    let subject = behind(&proxy).await;
    proxy.deafen_all();
    subject.hearing_is(false).await;
    let mut link = subject.backplane.link();
    let up = tokio::time::timeout(NOTICED, link.wait_for(|link| *link == Link::Up));
    up.await.expect("commands work").expect("lives");
    subject.commit("missed").await;
    assert!(!subject.backplane.hears(), "a commit is not heard either");

    // A Redis that is away altogether is another matter.
    server.kill();
    subject.hearing_is(true).await;
    server.run();
    proxy.heal();
    subject.heard_until_resumed().await;
    subject.hearing_is(true).await;
    subject.enter(subject.socket(), "ann").await.expect("works");
    assert_eq!(subject.heard().await, "joined");
}

/// Guards quiet nodes: silence alone is no reason to begin anew.
#[tokio::test]
async fn redis_a_quiet_link_is_left_alone() {
    let server = RedisServer::start();
    let proxy = DeafProxy::before(server.port()).await;
    let subject = behind(&proxy).await;
    tokio::time::sleep(SILENCE * 4).await;
    assert!(subject.backplane.hears());
    subject.commit("heard").await;
    assert_eq!(subject.heard().await, "heard");
}

/// Guards the return of a listening connection that is cut while the other one stays.
#[tokio::test]
async fn redis_a_listening_connection_that_is_cut_is_made_again() {
    let server = RedisServer::start();
    let subject = Subject::on(&server).await;
    subject.begun().await;
    server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    subject.heard_until_resumed().await;
    subject.commit("heard").await;
    assert_eq!(subject.heard().await, "heard");
}

/// Guards clusters: each master's link is silent for itself.
#[tokio::test]
async fn cluster_every_master_is_listened_to_for_probes() {
    let cluster = Cluster::start(3, 0);
    let subject = Subject::at(redis_config(cluster.url())).await;
    subject.begun().await;
    for server in &cluster.servers {
        let channels = server.cli(&["PUBSUB", "SHARDCHANNELS", "{t-probe:*"]);
        assert_eq!(channels.lines().count(), 1, "{channels}");
    }
}
