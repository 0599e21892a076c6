//! What nodes promise each other: leases, holdings, claims, places, revocations, and rooms emptied by the hundred.

use std::collections::BTreeSet;

use collabd::backplane::{Beat, EXITS};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};

use super::*;

/// Short enough to run out during a test.
const LEASE: Duration = Duration::from_millis(1_000);
/// Longest wait for something that is about to happen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Commands on their way at once.
const AT_ONCE: usize = 64;

/// A Redis that several nodes share.
struct Place {
    config: RedisConfig,
    /// Lives as long as its nodes.
    _server: Arc<dyn Any + Send + Sync>,
}

impl Place {
    fn redis() -> Self {
        let server = RedisServer::start();
        Self::of(redis_config(server.url()), Arc::new(server))
    }

    fn cluster() -> Self {
        let cluster = Cluster::shared();
        Self::of(redis_config(cluster.url()), cluster)
    }

    fn of(config: RedisConfig, server: Arc<dyn Any + Send + Sync>) -> Self {
        Self {
            // Other tests may be on the same servers: their nodes are not ours.
            config: RedisConfig {
                key_prefix: format!("t-{}-", EventId::new()),
                lease: LEASE,
                ..config
            },
            _server: server,
        }
    }

    async fn node(&self) -> Subject {
        Subject::at(self.config.clone()).await
    }
}

impl Subject {
    async fn beat(&self) -> Beat {
        let report = NodeReport {
            node: self.node.to_string(),
            ..NodeReport::default()
        };
        let beat = self.backplane.beat(self.node, &report).await;
        beat.expect("a beat works")
    }

    /// Beats until the other is dead for this one.
    async fn outlives(&self, other: NodeId) -> Beat {
        let dead = async {
            loop {
                let beat = self.beat().await;
                if beat.dead.contains(&other) {
                    return beat;
                }
                tokio::time::sleep(LEASE / 20).await;
            }
        };
        let dead = tokio::time::timeout(PATIENCE, dead).await;
        dead.expect("a node that does not beat is dead in the end")
    }

    async fn admits(&self, user: &str, socket: SocketId, most: u64) -> Result<(), Error> {
        let user = user_id(user);
        self.backplane.admit(&user, socket, most).await
    }

    async fn claims(&self, dead: NodeId, by: NodeId, time: Duration) -> bool {
        let claimed = self.backplane.claim(dead, by, time).await;
        claimed.expect("claiming works")
    }

    async fn holdings(&self, node: NodeId) -> BTreeSet<String> {
        let rooms = self.backplane.holdings(node).await.expect("works");
        rooms.iter().map(Room::to_string).collect()
    }

    /// Every member of a node in the room, page by page.
    async fn held(&self, node: NodeId) -> Vec<(SocketId, Bytes)> {
        let (mut from, mut members) = (None, Vec::new());
        loop {
            let page = self.backplane.held(node, &self.room, from).await;
            let page = page.expect("a page can be read");
            members.extend(page.members);
            from = page.next;
            if from.is_none() {
                return members;
            }
        }
    }

    /// Brings that many users in, each with one socket.
    async fn crowd(&self, name: &str, size: usize) -> BTreeSet<SocketId> {
        let sockets: Vec<_> = (0..size).map(|number| (number, self.socket())).collect();
        stream::iter(sockets.clone())
            .for_each_concurrent(AT_ONCE, |(number, socket)| async move {
                let entered = self.enter(socket, &format!("{name}-{number}")).await;
                entered.expect("entering works");
            })
            .await;
        sockets.into_iter().map(|(_, socket)| socket).collect()
    }
}

fn exit(socket: SocketId, user: &str) -> Exit {
    Exit {
        socket,
        user: user_id(user),
        left: Some(draft(user)),
    }
}

fn ids(members: &[(SocketId, Bytes)]) -> BTreeSet<SocketId> {
    members.iter().map(|(socket, _)| *socket).collect()
}

macro_rules! nodes {
    ($($name:ident),* $(,)?) => {
        mod redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::redis()).await;
            })*
        }

        mod cluster {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::cluster()).await;
            })*
        }
    };
}

nodes!(
    a_node_that_does_not_beat_is_dead_until_it_is_forgotten,
    a_node_that_departs_is_dead_when_its_time_has_passed,
    holdings_are_neither_lost_nor_invented,
    one_of_many_claims_and_nobody_else_until_it_runs_out,
    a_claim_can_be_kept_and_given_up,
    places_are_counted_over_all_nodes,
    places_of_the_dead_are_free,
    a_revocation_is_known_to_every_node,
    members_of_one_node_are_told_from_those_of_others,
);

/// Guards the totals of all times: an answer that was lost, a command that came late, a node that was forgotten and
/// lives must neither add anything twice nor take it away.
pub async fn what_nodes_counted_is_added_once(subject: Subject) {
    let (ann, bob) = (subject.node, NodeId::random());
    let count = async |node, added: (u64, u64), now: (u64, u64)| {
        let [added, now] = [added, now].map(|(opened, routed)| Counters { opened, routed });
        let all = subject.backplane.count(node, added, now).await;
        let all = all.expect("counting works");
        (all.opened, all.routed)
    };
    // Others may have been here before.
    let (opened, routed) = count(ann, (0, 0), (0, 0)).await;
    let more = |by: u64, of: u64| (opened + by, routed + of);
    assert_eq!(count(ann, (0, 0), (3, 10)).await, more(3, 10));
    assert_eq!(count(ann, (0, 0), (4, 12)).await, more(4, 12));
    assert_eq!(count(ann, (0, 0), (3, 10)).await, more(4, 12));
    assert_eq!(count(bob, (0, 0), (5, 1)).await, more(9, 13));
    assert_eq!(count(bob, (5, 1), (5, 2)).await, more(9, 14));
    subject.backplane.forget(ann).await.expect("works");
    assert_eq!(count(ann, (4, 12), (6, 12)).await, more(11, 14));
    subject.backplane.forget(bob).await.expect("works");
    assert_eq!(count(ann, (6, 12), (6, 12)).await, more(11, 14));
}

/// Guards presence itself: who does not beat is dead for the others, and hears of it when it beats again.
async fn a_node_that_does_not_beat_is_dead_until_it_is_forgotten(place: Place) {
    let (ann, bob) = (place.node().await, place.node().await);
    let first = bob.beat().await;
    assert!(!first.lost, "who never beat had no lease to lose");
    assert_eq!(first.next_death, None, "nobody else is there");
    let both = ann.beat().await;
    assert_eq!((both.reports.len(), both.dead.len()), (2, 0), "{both:?}");
    let next = both.next_death.expect("bob's");
    assert!(LEASE / 2 < next && next <= LEASE, "{next:?}");
    assert!(!bob.beat().await.lost);

    let alone = ann.outlives(bob.node).await;
    assert_eq!(alone.dead, [bob.node]);
    assert_eq!(alone.next_death, None, "the dead die no more");
    let names: Vec<_> = alone.reports.iter().map(|report| &report.node).collect();
    assert_eq!(names, [&ann.node.to_string()]);
    assert!(!alone.lost);
    assert!(bob.beat().await.lost, "its lease had run out");
    assert!(!bob.beat().await.lost, "it has a new one");
    let again = ann.beat().await;
    assert_eq!((again.reports.len(), again.dead.len()), (2, 0), "{again:?}");

    ann.outlives(bob.node).await;
    ann.backplane.forget(bob.node).await.expect("works");
    let forgotten = ann.beat().await;
    assert_eq!(forgotten.dead, []);
    assert!(bob.beat().await.lost, "it was forgotten, and lives");
}

/// Guards drains: the others wait for the grace and no longer, and count the node no more at once.
async fn a_node_that_departs_is_dead_when_its_time_has_passed(place: Place) {
    let (ann, bob) = (place.node().await, place.node().await);
    bob.beat().await;
    let grace = LEASE * 2;
    let departed_at = std::time::Instant::now();
    bob.backplane.depart(bob.node, grace).await.expect("works");
    let beat = ann.beat().await;
    assert_eq!((beat.reports.len(), beat.dead.len()), (1, 0), "{beat:?}");
    ann.outlives(bob.node).await;
    assert!(departed_at.elapsed() >= grace - Duration::from_millis(5));
    ann.backplane.forget(bob.node).await.expect("works");
    // A late word of a node that is forgotten does not bring it back.
    let late = bob.backplane.depart(bob.node, Duration::ZERO).await;
    late.expect("works");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(ann.beat().await.dead, []);
}

/// Guards those in rooms beyond the first page: a room that is not found is never cleared.
async fn holdings_are_neither_lost_nor_invented(place: Place) {
    let node = place.node().await;
    let mut rooms: Vec<Room> = (0..1_300).map(|_| Subject::new_room()).collect();
    rooms.extend((0..50).map(|number| Room::User(user_id(&format!("user-{number}")))));
    stream::iter(rooms.iter().chain(&rooms[..20]))
        .for_each_concurrent(AT_ONCE, |room| async {
            node.backplane
                .hold(node.node, std::slice::from_ref(room))
                .await
                .expect("works");
        })
        .await;
    let names = |rooms: &[Room]| rooms.iter().map(Room::to_string).collect::<BTreeSet<_>>();
    assert_eq!(node.holdings(node.node).await, names(&rooms));
    for room in &rooms[..30] {
        node.backplane.release(node.node, room).await;
        node.backplane.release(node.node, room).await;
    }
    assert_eq!(node.holdings(node.node).await, names(&rooms[30..]));
    assert_eq!(node.holdings(NodeId::random()).await, BTreeSet::new());
    node.backplane.forget(node.node).await.expect("works");
    assert_eq!(node.holdings(node.node).await, BTreeSet::new());
}

/// Guards against two reapers at once, and against none when the first one dies.
async fn one_of_many_claims_and_nobody_else_until_it_runs_out(place: Place) {
    let subjects = [place.node().await, place.node().await, place.node().await];
    let (dead, time) = (NodeId::random(), Duration::from_millis(400));
    let crowd: Vec<NodeId> = (0..30).map(|_| NodeId::random()).collect();
    let claims = crowd.iter().enumerate();
    let claims = claims.map(|(at, by)| subjects[at % 3].claims(dead, *by, time));
    let won = join_all(claims).await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
    let another = subjects[0].claims(NodeId::random(), crowd[0], time).await;
    assert!(another, "another dead node is another matter");
    let since = std::time::Instant::now();
    // The holder may claim again and again; here it has died.
    let holder = won.iter().position(|won| *won).expect("one of them");
    let others: Vec<NodeId> = crowd
        .iter()
        .copied()
        .filter(|by| *by != crowd[holder])
        .collect();
    let next = async {
        loop {
            let claims = others
                .iter()
                .map(|by| subjects[1].claims(dead, *by, PATIENCE));
            let won = join_all(claims).await;
            if won.contains(&true) {
                return won;
            }
        }
    };
    let won = tokio::time::timeout(PATIENCE, next).await;
    let won = won.expect("a claim runs out");
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    assert!(since.elapsed() >= time / 2, "not before its time");
}

/// Guards a walk that takes longer than a claim, and a node that lives again.
async fn a_claim_can_be_kept_and_given_up(place: Place) {
    let subject = place.node().await;
    let (dead, ann, bob) = (NodeId::random(), NodeId::random(), NodeId::random());
    let short = Duration::from_millis(400);
    assert!(subject.claims(dead, ann, short).await);
    assert!(
        subject.claims(dead, ann, PATIENCE).await,
        "kept, for longer"
    );
    tokio::time::sleep(short + short / 4).await;
    assert!(!subject.claims(dead, bob, PATIENCE).await);
    assert!(!subject.claims(dead, bob, Duration::ZERO).await);
    assert!(
        !subject.claims(dead, bob, PATIENCE).await,
        "it was not Bob's to give up"
    );
    assert!(subject.claims(dead, ann, Duration::ZERO).await);
    assert!(subject.claims(dead, bob, PATIENCE).await);
    subject.backplane.forget(dead).await.expect("works");
    assert!(
        subject.claims(dead, ann, PATIENCE).await,
        "forgotten with its claim"
    );
}

/// Guards the bound of sockets per user when they come to all nodes in the same instant.
async fn places_are_counted_over_all_nodes(place: Place) {
    let nodes = [place.node().await, place.node().await, place.node().await];
    let most = 5;
    let comers: Vec<_> = (0..30).map(|at| (at % 3, nodes[at % 3].socket())).collect();
    let come = |(at, socket): (usize, SocketId)| nodes[at].admits("ann", socket, most);
    let admitted = join_all(comers.iter().copied().map(come)).await;
    let (inside, outside): (Vec<_>, Vec<_>) = comers
        .iter()
        .copied()
        .zip(admitted)
        .partition(|(_, admitted)| admitted.is_ok());
    assert_eq!(inside.len(), most as usize);
    assert!(
        outside
            .iter()
            .all(|(_, refused)| *refused == Err(Error::Full))
    );
    // Whoever is in may say so again, and another user is another matter.
    for (comer, _) in &inside {
        assert_eq!(come(*comer).await, Ok(()));
    }
    let other = nodes[0].admits("bob", nodes[0].socket(), most).await;
    assert_eq!(other, Ok(()));

    // A place is given back once, however often that is said, and by whatever node.
    let ann = user_id("ann");
    for _ in 0..3 {
        let gone = nodes[1].backplane.dismiss(&ann, inside[0].0.1).await;
        gone.expect("works");
    }
    assert_eq!(come(outside[0].0).await, Ok(()));
    assert_eq!(come(outside[1].0).await, Err(Error::Full));

    // All places of one node, and of no other.
    let taken = inside[1..].iter().chain(&outside[..1]);
    let of_last = taken.filter(|((at, _), _)| *at == 2).count();
    let last = nodes[2].node;
    nodes[0].backplane.vacate(&ann, last).await.expect("works");
    nodes[0].backplane.vacate(&ann, last).await.expect("works");
    for _ in 0..of_last {
        assert_eq!(
            nodes[0].admits("ann", nodes[0].socket(), most).await,
            Ok(())
        );
    }
    let one_more = nodes[0].admits("ann", nodes[0].socket(), most).await;
    assert_eq!(one_more, Err(Error::Full));
}

/// Guards users of a node that died: its sockets must not lock them out until it is reaped.
async fn places_of_the_dead_are_free(place: Place) {
    let (ann, bob) = (place.node().await, place.node().await);
    bob.beat().await;
    for _ in 0..2 {
        assert_eq!(bob.admits("ann", bob.socket(), 3).await, Ok(()));
    }
    assert_eq!(ann.admits("ann", ann.socket(), 3).await, Ok(()));
    ann.beat().await;
    assert_eq!(ann.admits("ann", ann.socket(), 3).await, Err(Error::Full));
    ann.outlives(bob.node).await;
    for _ in 0..2 {
        assert_eq!(ann.admits("ann", ann.socket(), 3).await, Ok(()));
    }
    assert_eq!(ann.admits("ann", ann.socket(), 3).await, Err(Error::Full));
}

/// Guards log-outs: a token that is good on another node has not been revoked.
async fn a_revocation_is_known_to_every_node(place: Place) {
    let (ann, bob) = (place.node().await, place.node().await);
    let time = Duration::from_secs(60);
    ann.backplane.revoke("one", time).await.expect("works");
    assert_eq!(bob.backplane.is_revoked("one").await, Ok(true));
    assert_eq!(bob.backplane.is_revoked("two").await, Ok(false));
}

/// Guards large rooms: the reaper finds all of the dead node's members, also while it takes them out, and
/// none of the living.
async fn members_of_one_node_are_told_from_those_of_others(place: Place) {
    let gone = place.node().await;
    let stays = Subject {
        room: gone.room.clone(),
        ..place.node().await
    };
    let (theirs, ours) = (
        gone.crowd("gone", 1_200).await,
        stays.crowd("stays", 700).await,
    );
    assert_eq!(ids(&stays.held(gone.node).await), theirs);
    assert_eq!(ids(&stays.held(stays.node).await), ours);
    let records = stays.held(gone.node).await;
    assert!(
        records
            .iter()
            .all(|(_, record)| record.starts_with(b"gone-"))
    );

    let (mut from, mut pages) = (None, 0);
    loop {
        let page = stays.backplane.held(gone.node, &stays.room, from).await;
        let page = page.expect("a page can be read");
        let exits: Vec<Exit> = page
            .members
            .iter()
            .map(|(socket, user)| exit(*socket, std::str::from_utf8(user).expect("a name")))
            .collect();
        for some in exits.chunks(EXITS) {
            let left = stays.backplane.leave(&stays.room, some.to_vec()).await;
            left.expect("leaving works");
        }
        pages += 1;
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert!(pages > 1, "a room of that size has several pages");
    assert_eq!(stays.held(gone.node).await, []);
    assert_eq!(ids(&stays.held(stays.node).await), ours);
    let snapshot = stays.backplane.snapshot(&stays.room).await.expect("works");
    // 1,900 joined, 1,200 left, each once.
    assert_eq!((snapshot.users, snapshot.seq), (700, 1_900 + 1_200));
}

// What holds for a node alone as well: in every implementation, wherever it runs.

pub(super) async fn a_node_finds_its_own_members(subject: Subject) {
    let socket = subject.begun().await;
    let phone = subject.socket();
    subject.enter(phone, "ann").await.expect("entering works");
    let held = subject.held(subject.node).await;
    assert_eq!(ids(&held), BTreeSet::from([socket, phone]));
    assert!(held.iter().all(|(_, record)| record == "ann"));
    assert_eq!(subject.held(NodeId::random()).await, []);
    subject.leave(socket, "ann").await;
    assert_eq!(
        ids(&subject.held(subject.node).await),
        BTreeSet::from([phone])
    );
}

pub(super) async fn everybody_in_a_room_is_counted_once(subject: Subject) {
    let count = || async { subject.backplane.headcount(&subject.room).await };
    assert_eq!(count().await, Ok(0));
    let socket = subject.begun().await;
    let (phone, other) = (subject.socket(), SocketId::next(NodeId::random()));
    subject.enter(phone, "ann").await.expect("entering works");
    subject.enter(other, "bob").await.expect("entering works");
    assert_eq!(count().await, Ok(2));
    subject.leave(socket, "ann").await;
    subject.leave(other, "bob").await;
    assert_eq!(count().await, Ok(1));
}

pub(super) async fn a_user_has_so_many_places(subject: Subject) {
    // On shared servers somebody else may be called Ann.
    let ann = format!("ann-{}", EventId::new());
    let sockets: Vec<_> = (0..30).map(|_| subject.socket()).collect();
    let come = |socket: &SocketId| subject.admits(&ann, *socket, 3);
    let admitted = join_all(sockets.iter().map(come)).await;
    let inside: Vec<_> = sockets
        .iter()
        .zip(&admitted)
        .filter_map(|(socket, admitted)| admitted.is_ok().then_some(socket))
        .collect();
    assert_eq!(inside.len(), 3);
    assert_eq!(
        admitted.iter().filter(|a| **a == Err(Error::Full)).count(),
        27
    );
    assert_eq!(come(inside[0]).await, Ok(()));
    let user = user_id(&ann);
    for _ in 0..2 {
        subject
            .backplane
            .dismiss(&user, *inside[0])
            .await
            .expect("works");
    }
    assert_eq!(come(&subject.socket()).await, Ok(()));
    assert_eq!(come(&subject.socket()).await, Err(Error::Full));
    let vacated = subject.backplane.vacate(&user, NodeId::random()).await;
    vacated.expect("works");
    assert_eq!(come(&subject.socket()).await, Err(Error::Full));
    subject
        .backplane
        .vacate(&user, subject.node)
        .await
        .expect("works");
    for _ in 0..3 {
        assert_eq!(come(&subject.socket()).await, Ok(()));
    }
    assert_eq!(come(&subject.socket()).await, Err(Error::Full));
}

pub(super) async fn a_revocation_ends_with_the_token(subject: Subject) {
    let token = EventId::new().to_string();
    let time = Duration::from_millis(400);
    assert_eq!(subject.backplane.is_revoked(&token).await, Ok(false));
    subject.backplane.revoke(&token, time).await.expect("works");
    assert_eq!(subject.backplane.is_revoked(&token).await, Ok(true));
    // Time itself is what is tested here.
    tokio::time::sleep(time + time / 2).await;
    assert_eq!(subject.backplane.is_revoked(&token).await, Ok(false));
}

/// As many as may go in one step, some of them named twice: each user leaves once.
pub(super) async fn a_crowd_leaves_in_one_step_each_user_once(subject: Subject) {
    let stays = subject.begun().await;
    // Two sockets each.
    let users: Vec<String> = (0..200).map(|number| format!("user-{number}")).collect();
    let mut exits = Vec::new();
    for user in users.iter().chain(&users) {
        let socket = subject.socket();
        subject.enter(socket, user).await.expect("entering works");
        exits.push(exit(socket, user));
    }
    for _ in &users {
        assert_eq!(subject.heard().await, "joined");
    }
    exits.extend_from_within(..EXITS - exits.len());
    assert_eq!(exits.len(), EXITS);
    for _ in 0..2 {
        let left = subject.backplane.leave(&subject.room, exits.clone()).await;
        left.expect("leaving works");
    }
    let marker = subject.commit("marker").await;
    let mut told = BTreeSet::new();
    for _ in &users {
        assert!(told.insert(subject.heard().await), "told twice");
    }
    assert_eq!(told, users.into_iter().collect());
    assert_eq!(subject.heard().await, "marker");
    assert_eq!(marker.seq, 1 + 200 + 200 + 1);
    let snapshot = subject.backplane.snapshot(&subject.room).await;
    let snapshot = snapshot.expect("works");
    assert_eq!((snapshot.users, snapshot.members.len()), (1, 1));
    subject.leave(stays, "ann").await;
}

/// Guards a Redis that fills up with the remains of nodes.
#[tokio::test]
async fn redis_nothing_of_a_forgotten_node_is_kept() {
    let server = RedisServer::start();
    let node = Subject::on(&server).await;
    node.beat().await;
    let room = Subject::new_room();
    node.backplane
        .hold(node.node, std::slice::from_ref(&room))
        .await
        .expect("works");
    assert!(node.claims(node.node, NodeId::random(), PATIENCE).await);
    let id = node.node.to_string();
    let prefix = "t-";
    let expected = [
        format!("{prefix}node:{id}"),
        format!("{prefix}nodes"),
        format!("{prefix}reap:{id}"),
        format!("{{{prefix}node:{id}}}:rooms"),
    ];
    let keys = || -> BTreeSet<String> {
        let keys = server.cli(&["KEYS", "*"]);
        keys.lines()
            .map(str::to_owned)
            .filter(|key| !key.is_empty())
            .collect()
    };
    assert_eq!(keys(), expected.into());
    let lease: i64 = server
        .cli(&["PTTL", &format!("{prefix}node:{id}")])
        .parse()
        .expect("a number");
    assert!((9_000..=10_000).contains(&lease), "{lease}");
    node.backplane.forget(node.node).await.expect("works");
    assert_eq!(keys(), BTreeSet::new());
}

/// Guards requests between nodes: each makes a secret of its own, or a store that forgot it gets another.
pub async fn nodes_share_a_secret(subject: Subject) {
    let first = subject.backplane.secret(None).await.expect("it is made");
    assert!(first.len() >= 32);
    for known in [None, Some("another")] {
        assert_eq!(subject.backplane.secret(known).await, Ok(first.clone()));
    }
}
