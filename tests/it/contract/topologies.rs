//! Redis as more than one server, and as one that not everybody may use: what only happens there.

use std::time::Instant;

use collabd::backplane::Committed;
use collabd::backplane::redis::check;
use fred::util::redis_keyslot;

use super::*;
use crate::support::cluster::SLOTS;
use crate::support::ears::Sound;

/// Longest that Redis may take to choose a new master, and we to follow.
const FAILOVER: Duration = Duration::from_secs(30);

/// A room whose slot is in that third of them.
fn room_of(third: u16) -> Room {
    loop {
        let room = Subject::new_room();
        if slot(&room) / (SLOTS / 3 + 1) == third {
            return room;
        }
    }
}

fn slot(room: &Room) -> u16 {
    redis_keyslot(format!("t-{room}").as_bytes())
}

impl Subject {
    /// A node on the cluster, in that room.
    async fn on_cluster(cluster: &Cluster, room: Room) -> Self {
        let subject = Self::at(redis_config(cluster.url())).await;
        Self { room, ..subject }
    }

    /// Waits for the event, whatever else is heard before.
    async fn hears(&self, event: &str) {
        loop {
            if matches!(self.sounds.next().await, Sound::Heard(envelope) if envelope.event == event)
            {
                return;
            }
        }
    }

    async fn resumes(&self) {
        while !matches!(self.sounds.next().await, Sound::Resumed) {}
    }

    async fn link_is(&self, wanted: Link) {
        let mut link = self.backplane.link();
        let came = tokio::time::timeout(FAILOVER, link.wait_for(|link| *link == wanted));
        let came = came
            .await
            .unwrap_or_else(|_| panic!("the link is never {wanted:?}"));
        came.expect("the backplane lives");
    }

    /// Commits as a client does that repeats itself until it is answered.
    async fn insist(&self, event: &str) -> Committed {
        let started = Instant::now();
        let change = Change {
            once: Some((user_id("ann"), event.to_owned())),
            ..change(event)
        };
        loop {
            match self.backplane.commit(&self.room, change.clone()).await {
                Ok(committed) => return committed,
                Err(error) => assert!(started.elapsed() < FAILOVER, "{event}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything that was ever committed in the room, in order.
    async fn log(&self) -> Vec<String> {
        let snapshot = self.backplane.snapshot(&self.room).await;
        let now = snapshot.expect("a snapshot works").position();
        let begin = Position {
            seq: 0,
            ..now.expect("the room is there")
        };
        match self.backplane.replay(&self.room, begin).await {
            Ok(Replay::Events(events)) => events
                .iter()
                .map(|envelope| String::from_utf8_lossy(&envelope.event).into_owned())
                .collect(),
            other => panic!("the log is whole: {other:?}"),
        }
    }
}

/// Guards calls that join rooms: on a cluster those of one call must share a slot. And a server that does not
/// know the scripts, as after a restart: loading them must reach the one that needs them.
#[tokio::test]
async fn cluster_rooms_of_all_slots_commit_at_once() {
    let cluster = Cluster::shared();
    let subject = Subject::at(redis_config(cluster.url())).await;
    let rooms: Vec<Room> = (0..40).map(|_| Subject::new_room()).collect();
    for room in &rooms {
        let entry = entry(subject.socket(), "ann", Some(fields()));
        let entered = subject.backplane.enter(room, entry).await;
        entered.expect("entering works");
    }
    for server in &cluster.servers {
        assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
    }
    let commits = (0..10).flat_map(|_| &rooms).map(|room| {
        let (backplane, room) = (subject.backplane.clone(), room.clone());
        tokio::spawn(async move { backplane.commit(&room, change("x")).await })
    });
    for commit in commits.collect::<Vec<_>>() {
        commit.await.expect("no panic").expect("a commit works");
    }
    for room in &rooms {
        let snapshot = subject.backplane.snapshot(room).await;
        assert_eq!(snapshot.expect("a snapshot works").seq, 11);
    }
}

/// Guards rooms whose slot moves: Redis unsubscribes their nodes and none is told, least of all one that only
/// listens. Meanwhile no other room may suffer.
#[tokio::test]
async fn cluster_a_room_whose_slot_moves_is_heard_again() {
    let cluster = Cluster::start(3, 0);
    let (writer, reader) = a_room_of_the_second(&cluster).await;
    let (backplane, other) = (&writer.backplane, room_of(0));
    let stranger = entry(writer.socket(), "bob", Some(fields()));
    backplane.enter(&other, stranger).await.expect("works");

    cluster.begin_to_move(slot(&writer.room), 1, 2);
    let refused = backplane.commit(&writer.room, change("early")).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    let refused = backplane.standing(&writer.room).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    // Beginning the connection again would take a second.
    let undisturbed = backplane.commit(&other, change("undisturbed"));
    let undisturbed = tokio::time::timeout(Duration::from_millis(800), undisturbed).await;
    undisturbed.expect("at once").expect("a commit works");
    cluster.end_of_move(slot(&writer.room), 1, 2);
    both_are_heard_again(&writer, &reader).await;
    assert_eq!(*reader.backplane.link().borrow(), Link::Up);
}

/// Guards growth: the client library gives up when it is sent to a server that it has not met.
#[tokio::test]
async fn cluster_a_new_master_is_met() {
    let mut cluster = Cluster::start(3, 0);
    let (writer, reader) = a_room_of_the_second(&cluster).await;
    cluster.grow();
    cluster.begin_to_move(slot(&writer.room), 1, 3);
    let lost = writer.backplane.standing(&writer.room).await;
    assert!(matches!(lost, Err(Error::Unavailable(_))), "{lost:?}");
    cluster.end_of_move(slot(&writer.room), 1, 3);
    both_are_heard_again(&writer, &reader).await;
}

async fn a_room_of_the_second(cluster: &Cluster) -> (Subject, Subject) {
    let writer = Subject::on_cluster(cluster, room_of(1)).await;
    writer.begun().await;
    let reader = Subject::on_cluster(cluster, writer.room.clone()).await;
    let listening = reader.backplane.listen(&reader.room).await;
    listening.expect("listening works");
    (writer, reader)
}

async fn both_are_heard_again(writer: &Subject, reader: &Subject) {
    let moved = Instant::now();
    writer.insist("moved").await;
    writer.resumes().await;
    eprintln!("who writes listens again after {:?}", moved.elapsed());
    reader.resumes().await;
    eprintln!("who only listens, after {:?}", moved.elapsed());
    writer.insist("heard").await;
    writer.hears("heard").await;
    reader.hears("heard").await;
    assert_eq!(writer.log().await, ["joined", "moved", "heard"]);
}

/// Guards the failover of one master: its rooms go on with what was acknowledged and replicated, the others do
/// without a loss, and nobody restarts anything.
#[tokio::test]
async fn cluster_a_master_that_dies_is_replaced() {
    let mut cluster = Cluster::start(3, 1);
    let stricken = Subject::on_cluster(&cluster, room_of(0)).await;
    stricken.begun().await;
    let spared = Subject::on_cluster(&cluster, room_of(2)).await;
    spared.begun().await;
    let first = stricken.insist("before").await;
    spared.insist("before").await;
    cluster.replicated(0, 3);

    cluster.servers[0].kill();
    let killed = Instant::now();
    let (mut said, mut longest) = (0, Duration::ZERO);
    tokio::select! {
        _ = stricken.insist("after") => {}
        () = async {
            loop {
                let asked = Instant::now();
                spared.insist(&format!("meanwhile {said}")).await;
                said += 1;
                longest = longest.max(asked.elapsed());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        } => {}
    }
    eprintln!(
        "a room of the dead master commits after {:?}",
        killed.elapsed()
    );
    for subject in [&stricken, &spared] {
        subject.link_is(Link::Up).await;
        subject.insist("heard").await;
        subject.hears("heard").await;
    }
    eprintln!("all is heard after {:?}", killed.elapsed());
    eprintln!("{said} commits meanwhile in a room of another, the longest within {longest:?}");
    assert_eq!(stricken.log().await, ["joined", "before", "after", "heard"]);
    let mut expected = vec!["joined".to_owned(), "before".to_owned()];
    expected.extend((0..said).map(|number| format!("meanwhile {number}")));
    let mut log = spared.log().await;
    // The last one may have been done although we stopped asking.
    log.retain(|event| event != "heard" && *event != format!("meanwhile {said}"));
    assert_eq!(log, expected);
    let again = stricken.insist("before").await;
    assert!(again.repeated);
    assert_eq!(again.position, first.position);
}

/// Guards against a master that hangs without closing anything, as one whose host is gone: the link must not go on
/// as if it were up, and its successor must be found.
#[tokio::test]
async fn cluster_a_master_that_hangs_is_replaced() {
    let cluster = Cluster::start(3, 1);
    let subject = Subject::on_cluster(&cluster, room_of(0)).await;
    subject.begun().await;
    cluster.replicated(0, 3);
    cluster.servers[0].signal("STOP");
    is_left_behind(&subject).await;
}

/// Guards the same behind Sentinel.
#[tokio::test]
async fn sentinel_a_master_that_hangs_is_replaced() {
    let pair = Watched::start();
    let subject = Subject::at(redis_config(pair.url())).await;
    subject.begun().await;
    pair.replicated();
    pair.master.signal("STOP");
    is_left_behind(&subject).await;
}

async fn is_left_behind(subject: &Subject) {
    let stopped = Instant::now();
    subject.link_is(Link::Away).await;
    eprintln!(
        "a master that hangs is noticed after {:?}",
        stopped.elapsed()
    );
    subject.link_is(Link::Up).await;
    eprintln!("its successor is followed after {:?}", stopped.elapsed());
    subject.resumes().await;
    subject.insist("after").await;
    subject.hears("after").await;
    assert_eq!(subject.log().await, ["joined", "after"]);
}

/// Guards the failover of a pair: the node must find the new master by itself, and repeat nothing.
#[tokio::test]
async fn sentinel_the_new_master_is_followed() {
    let mut pair = Watched::start();
    let subject = Subject::at(redis_config(pair.url())).await;
    subject.begun().await;
    let first = subject.insist("before").await;
    pair.replicated();

    pair.master.kill();
    let killed = Instant::now();
    subject.link_is(Link::Away).await;
    subject.link_is(Link::Up).await;
    eprintln!("the new master is followed after {:?}", killed.elapsed());
    subject.resumes().await;
    let again = subject.insist("before").await;
    assert!(again.repeated);
    assert_eq!(again.position, first.position);
    subject.insist("after").await;
    subject.hears("after").await;
    assert_eq!(subject.log().await, ["joined", "before", "after"]);
}

/// Guards the trust: a server that anybody could be is believed, or a password that is wrong is taken.
#[tokio::test]
async fn secured_only_the_known_meet() {
    let secured = Secured::shared();
    Subject::secured().await;
    let config = |login: &str, ca: Option<&std::path::Path>| RedisConfig {
        ca: ca.map(Into::into),
        ..redis_config(secured.url(login))
    };
    let strangers = crate::support::secured::Authority::new();
    let file = std::env::temp_dir().join(format!("collabd-strangers-{}.pem", std::process::id()));
    std::fs::write(&file, &strangers.pem).expect("a temporary file can be written");
    let ca = secured.ca.as_path();
    for (config, why) in [
        (config(LOGIN, Some(&file)), "a server of strangers"),
        (config(LOGIN, None), "a server the system does not know"),
        (config("collabd:guess", Some(ca)), "a wrong password"),
        (config(":guess", Some(ca)), "nobody in particular"),
    ] {
        check(&config).expect("it is well said");
        let (ear, _sounds) = ear();
        let backplane = Redis::connect(&config, keep(), Arc::new(ear)).expect("it is well said");
        let mut link = backplane.link();
        let up = link.wait_for(|link| *link == Link::Up);
        let met = tokio::time::timeout(Duration::from_millis(500), up).await;
        assert!(met.is_err(), "{why}");
    }
    std::fs::remove_file(&file).expect("it is ours");
}
