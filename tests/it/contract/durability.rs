//! DURABILITY=replica: what is acknowledged survives its master, and what is not may be said again.

use std::time::Instant;

use super::*;

/// How long a command may wait, and a slow machine.
const ANSWERED: Duration = Duration::from_secs(3);
const FAILOVER: Duration = Duration::from_secs(30);
const WRITERS: usize = 8;

async fn durable(url: String) -> Subject {
    let config = RedisConfig {
        durability: Durability::Replica,
        ..redis_config(url)
    };
    let subject = Subject::at(config).await;
    subject.begun().await;
    subject
}

fn once(event: &str) -> Change {
    Change {
        once: Some((user_id("ann"), event.to_owned())),
        ..change(event)
    }
}

/// Says it until it is acknowledged.
async fn insist(backplane: &dyn Backplane, room: &Room, event: &str) {
    let began = Instant::now();
    while let Err(error) = backplane.commit(room, once(event)).await {
        assert!(began.elapsed() < FAILOVER, "{event}: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Everything that was committed in the room, as soon as somebody tells.
async fn log(backplane: &dyn Backplane, room: &Room) -> Vec<String> {
    let began = Instant::now();
    loop {
        match whole_log(backplane, room).await {
            Ok(events) => return events,
            Err(error) => assert!(began.elapsed() < FAILOVER, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn whole_log(backplane: &dyn Backplane, room: &Room) -> Result<Vec<String>, Error> {
    let position = backplane.position(room).await?;
    let begin = Position {
        seq: 0,
        ..position.expect("the room is there")
    };
    match backplane.replay(room, begin).await? {
        Replay::Events(events) => Ok(events
            .iter()
            .map(|envelope| String::from_utf8_lossy(&envelope.event).into_owned())
            .collect()),
        Replay::Gone => panic!("the log is whole"),
    }
}

/// Guards the promise, and everybody else's patience: what no replica has is not acknowledged, is answered in time,
/// holds up nothing that promises nothing, and said again with its id happens once.
#[tokio::test]
async fn sentinel_nothing_is_acknowledged_without_a_replica() {
    let pair = Watched::start();
    let subject = durable(pair.url()).await;
    let (backplane, room) = (&subject.backplane, &subject.room);
    insist(backplane.as_ref(), room, "before").await;

    pair.replica.signal("STOP");
    let said: Vec<String> = (0..40)
        .map(|number| format!("meanwhile {number}"))
        .collect();
    let commits = said.iter().enumerate().map(|(number, event)| async move {
        // Some come while others wait.
        tokio::time::sleep(Duration::from_millis(number as u64 * 50)).await;
        let asked = Instant::now();
        let answer = backplane.commit(room, once(event)).await;
        (answer, asked.elapsed())
    });
    let reads = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let asked = Instant::now();
        backplane.snapshot(room).await.expect("works");
        let announced = backplane.announce(room, Some(draft("cursor")), None);
        announced.await.expect("works");
        asked.elapsed()
    };
    let (answers, read) = tokio::join!(futures_util::future::join_all(commits), reads);
    let longest = answers.iter().map(|(_, took)| *took).max();
    eprintln!("answered within {longest:?}; read within {read:?} meanwhile");
    for (answer, took) in answers {
        assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
        assert!(took < ANSWERED, "{took:?}");
    }
    assert!(read < Duration::from_secs(1), "{read:?}");
    // Done for somebody who asked for less, and repeated for one who asks for more.
    let careless = Subject::at(redis_config(pair.url())).await;
    let done = careless.backplane.commit(room, once("done")).await;
    done.expect("the master has it");
    let repeated = backplane.commit(room, once("done")).await;
    assert!(
        matches!(repeated, Err(Error::Unavailable(_))),
        "{repeated:?}"
    );
    let other = Subject::new_room();
    let created = backplane
        .create(&other, fields(), Vec::new(), Vec::new())
        .await;
    assert!(matches!(created, Err(Error::Unavailable(_))), "{created:?}");

    pair.replica.signal("CONT");
    let mut expected = vec!["joined".to_owned(), "before".to_owned()];
    for event in said.into_iter().chain(["done".to_owned()]) {
        insist(backplane.as_ref(), room, &event).await;
        expected.push(event);
    }
    let mut log = log(backplane.as_ref(), room).await;
    // Those that were never done before their turn came are later than others.
    log.sort();
    expected.sort();
    assert_eq!(log, expected);
}

/// Guards the promise at its worst moment: a replica that has fallen behind, and a master that dies.
#[tokio::test]
async fn sentinel_what_was_acknowledged_survives_the_master() {
    let mut pair = Watched::start();
    let subject = durable(pair.url()).await;
    let backplane = subject.backplane.clone();
    let rooms: Vec<Room> = (0..WRITERS).map(|_| Subject::new_room()).collect();
    for room in &rooms {
        let stranger = entry(subject.socket(), "bob", Some(fields()));
        backplane.enter(room, stranger).await.expect("works");
    }
    // A room that only the dead master knew would be gone altogether.
    pair.replicated();
    let writers: Vec<_> = rooms
        .iter()
        .map(|room| {
            let (backplane, room) = (backplane.clone(), room.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0..40 {
                    let event = format!("event {number}");
                    match backplane.commit(&room, once(&event)).await {
                        Ok(_) => acknowledged.push(event),
                        Err(_) => return (room, acknowledged),
                    }
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
                (room, acknowledged)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    pair.cut_off();
    tokio::time::sleep(Duration::from_millis(300)).await;
    pair.master.kill();
    let mut count = 0;
    for writer in writers {
        let (room, acknowledged) = writer.await.expect("no panic");
        count += acknowledged.len();
        let kept = log(backplane.as_ref(), &room).await;
        for event in &acknowledged {
            let times = kept.iter().filter(|known| *known == event).count();
            assert_eq!(times, 1, "{event} of {acknowledged:?} in {kept:?}");
        }
    }
    eprintln!("{count} acknowledged commits survived their master");
    assert!(count > WRITERS, "{count}");
}

/// Guards clusters: the wait goes to the servers that did the work, and none is for nothing.
#[tokio::test]
async fn cluster_each_master_waits_for_its_own_replica() {
    let cluster = Cluster::start(3, 3);
    let subject = durable(cluster.url()).await;
    let rooms: Vec<Room> = (0..20).map(|_| Subject::new_room()).collect();
    let backplane = &subject.backplane;
    for room in &rooms {
        let stranger = entry(subject.socket(), "bob", Some(fields()));
        backplane.enter(room, stranger).await.expect("works");
    }
    for server in &cluster.servers {
        assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
    }
    let commits = (0..5)
        .flat_map(|_| &rooms)
        .map(|room| backplane.commit(room, change("x")));
    for answer in futures_util::future::join_all(commits).await {
        answer.expect("a replica has it");
    }
    cluster.servers[3].signal("STOP");
    let (mut refused, mut taken) = (0, 0);
    let commits = rooms.iter().map(|room| backplane.commit(room, change("y")));
    for answer in futures_util::future::join_all(commits).await {
        match answer {
            Ok(_) => taken += 1,
            Err(Error::Unavailable(_)) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    eprintln!("{taken} taken and {refused} refused while one of three replicas hangs");
    assert!(refused > 0 && taken > 0, "{refused}, {taken}");
    cluster.servers[3].signal("CONT");
}
