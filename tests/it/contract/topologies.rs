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

    /// Waits until it is told that something of its room may have been missed.
    async fn compares(&self) {
        let deadline = Instant::now() + FAILOVER;
        while Instant::now() < deadline {
            let next = tokio::time::timeout(FAILOVER, self.sounds.next());
            match next.await.expect("something is heard in time") {
                Sound::Gap(room) if room == self.room => return,
                Sound::Resumed => panic!("not all was away"),
                Sound::Gap(_) | Sound::Heard(_) => {}
            }
        }
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
    let refused = backplane.standing(&writer.room, &user_id("ann")).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    // Beginning the connection again would take a second.
    let undisturbed = backplane.commit(&other, change("undisturbed"));
    let undisturbed = tokio::time::timeout(Duration::from_millis(800), undisturbed).await;
    undisturbed.expect("at once").expect("a commit works");
    cluster.end_of_move(slot(&writer.room), 1, 2);
    both_are_heard_again(&writer, &reader).await;
    assert_eq!(*reader.backplane.link().borrow(), Link::Up);
}

/// Guards a slot that goes and comes back between two looks: the room is deaf, and nothing shows it.
#[tokio::test]
async fn cluster_a_room_that_was_away_for_a_moment_can_be_listened_to_again() {
    let cluster = Cluster::start(3, 0);
    let (writer, reader) = a_room_of_the_second(&cluster).await;
    let slot = slot(&writer.room);
    for (from, to) in [(1, 2), (2, 1)] {
        cluster.begin_to_move(slot, from, to);
        cluster.end_of_move(slot, from, to);
    }
    let again = reader.backplane.listen_again(&reader.room);
    again.await;
    writer.insist("heard").await;
    reader.hears("heard").await;
}

/// Guards growth: the client library gives up when it is sent to a server that it has not met.
#[tokio::test]
async fn cluster_a_new_master_is_met() {
    let mut cluster = Cluster::start(3, 0);
    let (writer, reader) = a_room_of_the_second(&cluster).await;
    cluster.grow();
    cluster.begin_to_move(slot(&writer.room), 1, 3);
    let lost = writer
        .backplane
        .standing(&writer.room, &user_id("ann"))
        .await;
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
    writer.compares().await;
    eprintln!("who writes listens again after {:?}", moved.elapsed());
    reader.compares().await;
    eprintln!("who only listens, after {:?}", moved.elapsed());
    writer.insist("heard").await;
    writer.hears("heard").await;
    reader.hears("heard").await;
    assert_eq!(writer.log().await, ["joined", "moved", "heard"]);
}

/// Guards the failover of one master: its rooms go on with what was acknowledged and replicated, those of the
/// others do as if nothing had happened, and nobody restarts anything.
#[tokio::test]
async fn cluster_a_master_that_dies_stalls_only_its_own_rooms() {
    let mut cluster = Cluster::start(3, 1);
    let outage = Outage::prepare(&cluster).await;
    cluster.servers[0].kill();
    outage.survive().await;
}

/// Guards against a master that hangs without closing anything, as one whose host is gone.
#[tokio::test]
async fn cluster_a_master_that_hangs_stalls_only_its_own_rooms() {
    let cluster = Cluster::start(3, 1);
    let outage = Outage::prepare(&cluster).await;
    cluster.servers[0].signal("STOP");
    outage.survive().await;
}

/// One node, with a room of a master that is about to go, and rooms of the others.
struct Outage {
    node: Subject,
    stricken: Room,
    spared: [Room; 2],
    first: Committed,
}

/// Longest that anybody may wait for what the outage does not concern.
const PAUSE: Duration = Duration::from_secs(1);

impl Outage {
    async fn prepare(cluster: &Cluster) -> Self {
        let node = Subject::on_cluster(cluster, room_of(0)).await;
        node.begun().await;
        let spared = [room_of(1), room_of(2)];
        for room in &spared {
            let backplane = &node.backplane;
            backplane.listen(room).await.expect("listening works");
            let stranger = entry(node.socket(), "bob", Some(fields()));
            backplane.enter(room, stranger).await.expect("works");
        }
        let first = node.insist("before").await;
        cluster.replicated(0, 3);
        Self {
            stricken: node.room.clone(),
            node,
            spared,
            first,
        }
    }

    async fn survive(self) {
        let began = Instant::now();
        let (mut said, mut longest, mut compared) = (0, Duration::ZERO, false);
        tokio::select! {
            _ = self.node.insist("after") => {}
            () = async {
                loop {
                    for room in &self.spared {
                        let asked = Instant::now();
                        compared |= self.says_and_hears(room, &format!("meanwhile {said}")).await;
                        longest = longest.max(asked.elapsed());
                        assert_eq!(*self.node.backplane.link().borrow(), Link::Up);
                    }
                    said += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            } => {}
        }
        eprintln!(
            "a room of the lost master commits after {:?}",
            began.elapsed()
        );
        eprintln!(
            "{said} commits were heard meanwhile in each of two rooms, the longest within {longest:?}"
        );
        assert!(said > 5 && longest < PAUSE, "{said} in {longest:?}");
        if !compared {
            self.node.compares().await;
        }
        self.node.insist("heard").await;
        self.node.hears("heard").await;
        eprintln!("it is heard after {:?}", began.elapsed());
        let again = self.node.insist("before").await;
        assert!(again.repeated);
        assert_eq!(again.position, self.first.position);
        let log = self.node.log().await;
        assert_eq!(log, ["joined", "before", "after", "heard"]);
    }

    /// Says it once in the room, and hears it; true when the stricken room was to be compared meanwhile.
    async fn says_and_hears(&self, room: &Room, event: &str) -> bool {
        let said = self.node.backplane.commit(room, change(event)).await;
        let position = said.expect("no other room is concerned").position;
        let mut compared = false;
        loop {
            match self.node.sounds.next().await {
                Sound::Heard(heard) if heard.room == *room && heard.event == event => {
                    assert_eq!(heard.position, Some(position));
                    return compared;
                }
                Sound::Gap(room) => compared |= room == self.stricken,
                Sound::Resumed => panic!("not all was away"),
                Sound::Heard(_) => {}
            }
        }
    }
}

/// Guards the return of everything at once: that is one return, not one for each master.
#[tokio::test]
async fn cluster_that_was_away_is_back() {
    let mut cluster = Cluster::start(3, 0);
    let subject = Subject::on_cluster(&cluster, room_of(2)).await;
    subject.begun().await;
    for server in &mut cluster.servers {
        server.kill();
    }
    subject.link_is(Link::Away).await;
    let asked = Instant::now();
    let refused = subject.backplane.commit(&subject.room, change("x")).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert!(asked.elapsed() < PAUSE, "{:?}", asked.elapsed());
    for server in &mut cluster.servers {
        server.run();
    }
    subject.link_is(Link::Up).await;
    subject.resumes().await;
    let deadline = Instant::now() + FAILOVER;
    while let Err(error) = subject.enter(subject.socket(), "ann").await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    subject.hears("joined").await;
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
