//! The backplane's promises, held against both implementations: `contract::memory::*`, and on real servers
//! `contract::redis::*`, `contract::cluster::*`, `contract::sentinel::*` and `contract::secured::*`.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use collabd::backplane::memory::Memory;
use collabd::backplane::redis::{Config as RedisConfig, Durability, Redis};
use collabd::backplane::{
    Access, Audience, Backplane, Change, Counters, Created, Draft, Entry, Error, Exit, Fields,
    History, InboxKeep, Keep, Link, NodeReport, Replay, TextEntry,
};
use collabd::clock::Clock;
use collabd::ids::{Epoch, EventId, NodeId, Position, Room, SessionId, SocketId, UserId};

use crate::support::cluster::Cluster;
use crate::support::ears::{Sounds, ear};
use crate::support::redis::RedisServer;
use crate::support::secured::{LOGIN, Secured};
use crate::support::sentinel::Watched;

mod couriers;
mod documents;
mod durability;
mod hearing;
mod nodes;
mod topologies;
mod workspaces;

/// A backplane as one node has it.
struct Subject {
    backplane: Arc<dyn Backplane>,
    sounds: Sounds,
    room: Room,
    node: NodeId,
    /// Lives as long as its backplane.
    server: Option<Arc<dyn Any + Send + Sync>>,
}

const GRACE: Duration = Duration::from_millis(300);

fn keep() -> Keep {
    Keep {
        log_length: 50,
        log_ttl: Duration::from_secs(60),
        chat_history: 3,
        idempotency: Duration::from_secs(60),
        session_grace: GRACE,
        session_ttl: Duration::from_secs(60),
        ended_ttl: Duration::from_secs(60),
        inbox: InboxKeep {
            absent: true,
            length: 5,
            bytes: 10_000,
            ttl: Duration::from_secs(60),
        },
        agent_ttl: Duration::from_secs(60),
        hooks_length: 50,
    }
}

fn redis_config(url: String) -> RedisConfig {
    RedisConfig {
        url,
        ca: None,
        key_prefix: "t-".to_owned(),
        command_timeout: Duration::from_secs(2),
        lease: Duration::from_secs(10),
        probe_silence: Duration::from_secs(10),
        durability: Durability::Master,
    }
}

impl Subject {
    fn memory() -> Self {
        let (ear, sounds) = ear();
        let backplane = Arc::new(Memory::new(keep(), Clock::system(), Arc::new(ear)));
        Self::of(backplane, sounds)
    }

    async fn redis() -> Self {
        let server = RedisServer::start();
        let mut subject = Self::on(&server).await;
        subject.server = Some(Arc::new(server));
        subject
    }

    async fn cluster() -> Self {
        let cluster = Cluster::shared();
        let mut subject = Self::at(redis_config(cluster.url())).await;
        subject.server = Some(cluster);
        subject
    }

    async fn sentinel() -> Self {
        let pair = Watched::shared();
        let mut subject = Self::at(redis_config(pair.url())).await;
        subject.server = Some(pair);
        subject
    }

    /// By TLS with a certificate of our own, as a user who may do no more than a node needs.
    async fn secured() -> Self {
        let secured = Secured::shared();
        let config = RedisConfig {
            ca: Some(secured.ca.clone()),
            ..redis_config(secured.url(LOGIN))
        };
        let mut subject = Self::at(config).await;
        subject.server = Some(secured);
        subject
    }

    async fn on(server: &RedisServer) -> Self {
        Self::at(redis_config(server.url())).await
    }

    async fn at(config: RedisConfig) -> Self {
        let (ear, sounds) = ear();
        let backplane = Redis::connect(&config, keep(), Arc::new(ear)).expect("the URL is right");
        let mut link = backplane.link();
        let up = link.wait_for(|link| *link == Link::Up);
        tokio::time::timeout(Duration::from_secs(10), up)
            .await
            .expect("redis is reached")
            .expect("the backplane lives");
        Self::of(Arc::new(backplane), sounds)
    }

    fn of(backplane: Arc<dyn Backplane>, sounds: Sounds) -> Self {
        Self {
            backplane,
            sounds,
            room: Self::new_room(),
            node: NodeId::random(),
            server: None,
        }
    }

    fn new_room() -> Room {
        let id = format!("s-{}", EventId::new());
        Room::Session(SessionId::parse(&id).expect("a uuid is an id"))
    }

    fn socket(&self) -> SocketId {
        SocketId::next(self.node)
    }

    async fn enter(&self, socket: SocketId, user: &str) -> Result<(), Error> {
        let entry = entry(socket, user, Some(fields()));
        self.backplane.enter(&self.room, entry).await
    }

    async fn leave(&self, socket: SocketId, user: &str) {
        let exit = Exit {
            socket,
            user: user_id(user),
            left: Some(draft("left")),
        };
        let left = self.backplane.leave(&self.room, vec![exit]).await;
        left.expect("leaving works");
    }

    /// A room with one member that is listened to; what came of that is heard.
    async fn begun(&self) -> SocketId {
        self.backplane
            .listen(&self.room)
            .await
            .expect("listening works");
        let socket = self.socket();
        self.enter(socket, "ann").await.expect("entering works");
        assert_eq!(self.heard().await, "joined");
        socket
    }

    async fn epoch(&self) -> Epoch {
        let position = self.backplane.position(&self.room).await;
        let position = position.expect("a position is read");
        position.expect("there is a room").epoch
    }

    async fn commit(&self, event: &str) -> Position {
        let committed = self.backplane.commit(&self.room, change(event)).await;
        committed.expect("a commit works").position
    }

    async fn heard(&self) -> String {
        String::from_utf8(self.sounds.envelope().await.event.to_vec()).expect("tests speak text")
    }

    async fn field(&self, name: &str) -> Option<String> {
        let snapshot = self.backplane.snapshot(&self.room).await;
        snapshot.expect("a snapshot works").fields.remove(name)
    }
}

fn user_id(user: &str) -> UserId {
    UserId::parse(user).expect("tests use good ids")
}

fn draft(event: &str) -> Draft {
    Draft {
        id: EventId::new(),
        at: Clock::system().now(),
        origin: None,
        audience: Audience::All,
        event: Bytes::copy_from_slice(event.as_bytes()),
    }
}

fn change(event: &str) -> Change {
    Change {
        draft: draft(event),
        logged: None,
        fields: Vec::new(),
        text: None,
        history: None,
        once: None,
        role: None,
        by: None,
        when: None,
        hook: false,
    }
}

fn text(code: &str, epoch: Epoch) -> Change {
    Change {
        logged: Some(Bytes::from_static(b"a text")),
        text: Some(TextEntry {
            entry: Bytes::copy_from_slice(code.as_bytes()),
            epoch,
        }),
        ..change(code)
    }
}

fn entry(socket: SocketId, user: &str, create: Option<Fields>) -> Entry {
    Entry {
        socket,
        user: user_id(user),
        member: Bytes::copy_from_slice(user.as_bytes()),
        joined: Some(draft("joined")),
        create,
    }
}

fn fields() -> Fields {
    vec![
        ("language", "python".to_owned()),
        ("users", "[]".to_owned()),
        ("code", String::new()),
    ]
}

macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Subject::memory()).await;
            })*
        }

        mod redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Subject::redis().await).await;
            })*
        }

        mod cluster {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Subject::cluster().await).await;
            })*
        }

        mod sentinel {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Subject::sentinel().await).await;
            })*
        }

        mod secured {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Subject::secured().await).await;
            })*
        }
    };
}

contract!(
    changes_of_a_text_are_in_its_log,
    a_snapshot_takes_the_place_of_a_log,
    a_text_is_shown_unless_a_newer_one_is,
    a_text_goes_with_its_session,
    a_text_is_kept_with_what_it_came_of,
    a_commit_is_heard_once_in_order,
    what_nodes_counted_is_added_once,
    nothing_is_heard_before_listening_or_after,
    state_and_position_move_in_one_step,
    a_text_of_another_life_is_refused,
    a_repeated_command_changes_nothing,
    a_command_id_counts_for_its_user_and_its_session_alone,
    chat_history_keeps_the_last_lines,
    a_user_joins_with_the_first_socket_and_leaves_with_the_last,
    entering_again_changes_nothing,
    a_missing_room_stays_missing_unless_made,
    whoever_comes_first_is_admitted_unless_a_match_said_who,
    a_thousand_are_admitted_by_having_come_and_no_more,
    an_announcement_is_heard_kept_with_the_member_and_not_logged,
    the_log_is_replayed_whole_or_not_at_all,
    what_is_left_of_the_log_has_no_hole,
    the_log_leaves_out_what_the_change_says,
    concurrent_commits_get_every_seq_once,
    a_room_expires_after_its_last_socket_and_begins_a_new_epoch,
    whoever_is_back_in_time_keeps_the_room,
    a_role_is_what_the_room_says_at_that_moment,
    an_ended_room_stays_ended,
    a_created_room_waits_for_its_people,
    a_line_of_the_history_is_replaced_or_goes,
    a_user_of_several_sockets_has_companions,
    an_audience_and_an_origin_arrive_unharmed,
    a_node_knows_the_nodes_that_report,
    a_rotated_room_has_another_order,
    a_node_finds_its_own_members,
    everybody_in_a_room_is_counted_once,
    a_user_has_so_many_places,
    a_revocation_ends_with_the_token,
    a_crowd_leaves_in_one_step_each_user_once,
    letters_wait_in_order_until_they_were_told,
    a_letter_routed_again_reaches_nobody_twice,
    a_full_inbox_takes_no_more_and_drops_nothing,
    letters_outlive_their_order,
    couriers_are_listed_while_they_are_there,
    nodes_share_a_secret,
    who_wrote_to_each_other_is_known_and_what_was_registered,
    a_change_is_made_in_the_state_that_it_is_for_alone,
    a_repeat_counts_before_its_condition,
    a_report_is_heard_and_kept_and_not_logged,
    a_list_is_in_order_and_has_everything_once,
    what_is_due_stays_so_until_it_is_settled,
    a_user_follows_so_many_agents,
    hooks_have_what_was_committed_for_them_in_order,
    hooks_keep_the_newest,
    hooks_are_claimed_by_one,
    a_room_that_is_kept_outlives_its_people,
    who_stands_in_a_room_joins_once_and_leaves_once,
);

use couriers::{
    a_full_inbox_takes_no_more_and_drops_nothing, a_letter_routed_again_reaches_nobody_twice,
    couriers_are_listed_while_they_are_there, letters_outlive_their_order,
    letters_wait_in_order_until_they_were_told,
    who_wrote_to_each_other_is_known_and_what_was_registered,
};

use nodes::{
    a_crowd_leaves_in_one_step_each_user_once, a_node_finds_its_own_members,
    a_revocation_ends_with_the_token, a_user_has_so_many_places,
    everybody_in_a_room_is_counted_once, nodes_share_a_secret, what_nodes_counted_is_added_once,
};

use documents::{
    a_snapshot_takes_the_place_of_a_log, a_text_goes_with_its_session,
    a_text_is_kept_with_what_it_came_of, a_text_is_shown_unless_a_newer_one_is,
    changes_of_a_text_are_in_its_log,
};
use workspaces::{
    a_change_is_made_in_the_state_that_it_is_for_alone, a_list_is_in_order_and_has_everything_once,
    a_repeat_counts_before_its_condition, a_report_is_heard_and_kept_and_not_logged,
    a_room_that_is_kept_outlives_its_people, a_user_follows_so_many_agents,
    hooks_are_claimed_by_one, hooks_have_what_was_committed_for_them_in_order,
    hooks_keep_the_newest, what_is_due_stays_so_until_it_is_settled,
    who_stands_in_a_room_joins_once_and_leaves_once,
};

async fn a_commit_is_heard_once_in_order(subject: Subject) {
    subject.begun().await;
    for event in ["one", "two", "three"] {
        subject.commit(event).await;
    }
    let mut last = 1;
    for event in ["one", "two", "three"] {
        let envelope = subject.sounds.envelope().await;
        assert_eq!(&envelope.event[..], event.as_bytes());
        assert_eq!(envelope.room, subject.room);
        let seq = envelope.position.expect("a commit has a position").seq;
        assert_eq!(seq, last + 1);
        last = seq;
    }
}

async fn nothing_is_heard_before_listening_or_after(subject: Subject) {
    let socket = subject.socket();
    subject.enter(socket, "ann").await.expect("entering works");
    subject.commit("before").await;
    subject
        .backplane
        .listen(&subject.room)
        .await
        .expect("listening works");
    subject.commit("during").await;
    assert_eq!(subject.heard().await, "during");
    // Nobody confirms that listening has stopped: what is said right behind it may still be heard.
    for _ in 0..20 {
        subject.backplane.unlisten(&subject.room).await;
        subject.commit("after").await;
        subject
            .backplane
            .listen(&subject.room)
            .await
            .expect("listening works");
        subject.commit("again").await;
        if subject.heard().await == "again" {
            return;
        }
        assert_eq!(subject.heard().await, "again");
    }
    panic!("the room is still heard");
}

async fn state_and_position_move_in_one_step(subject: Subject) {
    subject.begun().await;
    let change = Change {
        fields: vec![("language", "go".to_owned())],
        ..change("language")
    };
    let committed = subject.backplane.commit(&subject.room, change).await;
    let committed = committed.expect("a commit works");
    let snapshot = subject
        .backplane
        .snapshot(&subject.room)
        .await
        .expect("works");
    assert_eq!(snapshot.position(), Some(committed.position));
    assert_eq!(snapshot.fields["language"], "go");
    assert_eq!(committed.version, 0);
}

async fn a_text_of_another_life_is_refused(subject: Subject) {
    subject.begun().await;
    let epoch = subject.epoch().await;
    let commit = |change| subject.backplane.commit(&subject.room, change);
    assert_eq!(commit(text("a", epoch)).await.expect("works").version, 1);
    assert_eq!(commit(text("b", epoch)).await.expect("works").version, 2);
    let refused = commit(text("c", Epoch(epoch.0 ^ 1))).await;
    assert_eq!(refused, Err(Error::Stale));
    let document = subject.backplane.document(&subject.room, None).await;
    assert_eq!(document.expect("works").log.len(), 2);
    assert_eq!(subject.field("version").await.as_deref(), Some("2"));
    assert_eq!(subject.sounds.envelope().await.version, Some(1));
    assert_eq!(subject.sounds.envelope().await.version, Some(2));
    // The refused one took no seq: the next is heard as the next.
    subject.commit("next").await;
    let next = subject.sounds.envelope().await;
    assert_eq!(next.position.expect("durable").seq, 4);
    assert_eq!(next.version, None);
}

async fn a_repeated_command_changes_nothing(subject: Subject) {
    subject.begun().await;
    let epoch = subject.epoch().await;
    let once = |code: &str, id: &str| Change {
        once: Some((user_id("ann"), id.to_owned())),
        ..text(code, epoch)
    };
    let commit = |change| subject.backplane.commit(&subject.room, change);
    let first = commit(once("a", "k1")).await.expect("works");
    assert!(!first.repeated);
    let repeat = commit(once("a", "k1")).await.expect("works");
    assert!(repeat.repeated);
    assert_eq!(
        (repeat.position, repeat.version),
        (first.position, first.version)
    );
    let other = commit(once("b", "k2")).await.expect("works");
    assert_eq!(other.position.seq, first.position.seq + 1);
    let (ann, room) = (user_id("ann"), &subject.room);
    for (user, id, right) in [
        (&ann, "k1", Some(first.position.seq)),
        (&ann, "k3", None),
        (&user_id("bob"), "k1", None),
    ] {
        let known = subject.backplane.known(room, user, id).await;
        assert_eq!(known, Ok(right), "{user} {id}");
    }
    assert_eq!(subject.heard().await, "a");
    assert_eq!(subject.heard().await, "b");
    assert_eq!(subject.field("version").await.as_deref(), Some("2"));
}

async fn a_command_id_counts_for_its_user_and_its_session_alone(subject: Subject) {
    let socket = subject.begun().await;
    let commit = |user: &str, id: &str| {
        let once = Some((user_id(user), id.to_owned()));
        subject.backplane.commit(
            &subject.room,
            Change {
                once,
                ..change("x")
            },
        )
    };
    assert!(!commit("ann", "x:1").await.expect("works").repeated);
    assert!(!commit("ann:x", "1").await.expect("works").repeated);
    subject.leave(socket, "ann").await;
    tokio::time::sleep(GRACE + Duration::from_millis(200)).await;
    subject.enter(subject.socket(), "ann").await.expect("works");
    assert!(!commit("ann", "x:1").await.expect("works").repeated);
}

async fn chat_history_keeps_the_last_lines(subject: Subject) {
    subject.begun().await;
    for line in ["1", "2", "3", "4", "5"] {
        let change = Change {
            history: Some(History::Push(Bytes::copy_from_slice(line.as_bytes()))),
            ..change(line)
        };
        let committed = subject.backplane.commit(&subject.room, change).await;
        committed.expect("a commit works");
    }
    let snapshot = subject
        .backplane
        .snapshot(&subject.room)
        .await
        .expect("works");
    let lines: Vec<_> = snapshot
        .chat
        .iter()
        .map(|(seq, line)| (*seq, &line[..]))
        .collect();
    assert_eq!(lines, [(4, &b"3"[..]), (5, b"4"), (6, b"5")]);
}

/// A line that was edited is shown as it was, or the wrong one is.
async fn a_line_of_the_history_is_replaced_or_goes(subject: Subject) {
    let (backplane, room) = (&subject.backplane, &subject.room);
    let old = ["old one", "old two"].map(|line| Bytes::from_static(line.as_bytes()));
    let created = backplane.create(room, fields(), Vec::new(), old.to_vec());
    assert_eq!(created.await, Ok(Created::New));
    let history = |history| {
        let change = Change {
            history: Some(history),
            ..change("about a line")
        };
        async move { backplane.commit(room, change).await.expect("works") }
    };
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let replace = |known: &'static str, line: Option<&'static str>| History::Replace {
        known_by: bytes(known),
        line: line.map(bytes),
    };
    history(History::Push(bytes("new (%d+) three"))).await;
    history(replace("two", Some("two, edited"))).await;
    history(replace("(%d+)", Some("(%d+) edited"))).await;
    history(replace("old one", None)).await;
    history(replace("nobody", Some("knows"))).await;
    let snapshot = backplane.snapshot(room).await.expect("works");
    let lines = snapshot.chat.iter();
    let lines: Vec<_> = lines.map(|(seq, line)| (*seq, &line[..])).collect();
    assert_eq!(lines, [(0, &b"two, edited"[..]), (1, b"(%d+) edited")]);
    assert_eq!(snapshot.seq, 5);
}

/// Who has one socket is looked for in a large room, or the other socket is not found.
async fn a_user_of_several_sockets_has_companions(subject: Subject) {
    let first = subject.begun().await;
    let (backplane, room) = (&subject.backplane, &subject.room);
    let ann = user_id("ann");
    assert_eq!(backplane.members(room, Some(&ann)).await, Ok(Vec::new()));
    let second = subject.socket();
    subject.enter(second, "ann").await.expect("works");
    let bobs = subject.socket();
    subject.enter(bobs, "bob").await.expect("works");
    let mut found = backplane.members(room, Some(&ann)).await.expect("works");
    found.sort_by_key(|(socket, _)| *socket);
    let record = |socket, name: &'static str| (socket, Bytes::from_static(name.as_bytes()));
    let mut right = vec![
        record(first, "ann"),
        record(second, "ann"),
        record(bobs, "bob"),
    ];
    right.sort_by_key(|(socket, _)| *socket);
    assert_eq!(found, right);
    let mut all = backplane.members(room, None).await.expect("works");
    all.sort_by_key(|(socket, _)| *socket);
    assert_eq!(all, right);
    assert_eq!(
        backplane.members(room, Some(&user_id("bob"))).await,
        Ok(Vec::new())
    );
    subject.leave(second, "ann").await;
    assert_eq!(backplane.members(room, Some(&ann)).await, Ok(Vec::new()));
}

async fn a_user_joins_with_the_first_socket_and_leaves_with_the_last(subject: Subject) {
    let first = subject.begun().await;
    let second = subject.socket();
    subject.enter(second, "ann").await.expect("entering works");
    let bob = subject.socket();
    subject.enter(bob, "bob").await.expect("entering works");
    let snapshot = subject
        .backplane
        .snapshot(&subject.room)
        .await
        .expect("works");
    assert_eq!((snapshot.members.len(), snapshot.users), (3, 2));
    subject.leave(first, "ann").await;
    subject.leave(first, "ann").await;
    subject.commit("marker").await;
    subject.leave(second, "ann").await;
    for event in ["joined", "marker", "left"] {
        assert_eq!(subject.heard().await, event);
    }
    let snapshot = subject
        .backplane
        .snapshot(&subject.room)
        .await
        .expect("works");
    assert_eq!((snapshot.members.len(), snapshot.users), (1, 1));
}

async fn entering_again_changes_nothing(subject: Subject) {
    let socket = subject.begun().await;
    let mut again = entry(socket, "ann", Some(fields()));
    again.member = Bytes::from_static(b"another record");
    let entered = subject.backplane.enter(&subject.room, again).await;
    entered.expect("entering works");
    let snapshot = subject
        .backplane
        .snapshot(&subject.room)
        .await
        .expect("works");
    assert_eq!(snapshot.members, ["ann"]);
    assert_eq!((snapshot.seq, snapshot.users), (1, 1));
}

async fn a_missing_room_stays_missing_unless_made(subject: Subject) {
    let backplane = &subject.backplane;
    let uninvited = entry(subject.socket(), "ann", None);
    let entered = backplane.enter(&subject.room, uninvited).await;
    assert_eq!(entered, Err(Error::Missing));
    assert_eq!(
        backplane.standing(&subject.room, &user_id("ann")).await,
        Err(Error::Missing)
    );
    let committed = backplane.commit(&subject.room, change("x")).await;
    assert_eq!(committed, Err(Error::Missing));
    let ended = backplane.end(&subject.room, draft("ended")).await;
    assert_eq!(ended.err(), Some(Error::Missing));
    let snapshot = backplane.snapshot(&subject.room).await.expect("works");
    assert_eq!(snapshot.position(), None);
}

async fn whoever_comes_first_is_admitted_unless_a_match_said_who(subject: Subject) {
    subject.begun().await;
    for user in ["bob", "bob", "c.d"] {
        let entered = subject.enter(subject.socket(), user).await;
        entered.expect("entering works");
    }
    let admitted = subject.field("users").await;
    assert_eq!(admitted.as_deref(), Some(r#"["ann","bob","c.d"]"#));

    let matched = Subject {
        server: subject.server,
        ..Subject::of(subject.backplane, subject.sounds)
    };
    let mut fields = fields();
    fields.push(("matched", "1".to_owned()));
    fields[1].1 = r#"["x","y"]"#.to_owned();
    let created = matched
        .backplane
        .create(&matched.room, fields, Vec::new(), Vec::new())
        .await;
    assert_eq!(created, Ok(Created::New));
    matched.enter(matched.socket(), "ann").await.expect("works");
    assert_eq!(
        matched.field("users").await.as_deref(),
        Some(r#"["x","y"]"#)
    );
}

async fn a_thousand_are_admitted_by_having_come_and_no_more(subject: Subject) {
    subject.begun().await;
    for number in 1..1_003 {
        let user = format!("user-{number}");
        let entered = subject.enter(subject.socket(), &user).await;
        entered.expect("entering works");
    }
    let again = subject.enter(subject.socket(), "user-1").await;
    again.expect("entering works");
    let users = subject.field("users").await.expect("there is a list");
    let admitted: Vec<String> = serde_json::from_str(&users).expect("it is JSON");
    let others = (1..1_000).map(|number| format!("user-{number}"));
    assert!(std::iter::once("ann".to_owned()).chain(others).eq(admitted));
}

async fn an_announcement_is_heard_kept_with_the_member_and_not_logged(subject: Subject) {
    let socket = subject.begun().await;
    let announce = |event: &'static str, socket| {
        let member = Some((socket, Bytes::from_static(event.as_bytes())));
        subject
            .backplane
            .announce(&subject.room, Some(draft(event)), member)
    };
    announce("moved", socket).await.expect("works");
    announce("by a stranger", subject.socket())
        .await
        .expect("works");
    let envelope = subject.sounds.envelope().await;
    assert_eq!(envelope.position, None);
    assert_eq!(&envelope.event[..], b"moved");
    assert_eq!(subject.heard().await, "by a stranger");
    let snapshot = subject
        .backplane
        .snapshot(&subject.room)
        .await
        .expect("works");
    assert_eq!(snapshot.members, ["moved"]);
    assert_eq!(snapshot.seq, 1);
}

async fn the_log_is_replayed_whole_or_not_at_all(subject: Subject) {
    subject.begun().await;
    let start = subject.commit("first").await;
    for n in 0..5 {
        subject.commit(&n.to_string()).await;
    }
    let replay = subject
        .backplane
        .replay(&subject.room, start)
        .await
        .expect("works");
    let Replay::Events(events) = replay else {
        panic!("the log reaches back");
    };
    let said: Vec<_> = events
        .iter()
        .map(|e| (e.position.map(|p| p.seq), &e.event[..]))
        .collect();
    let seq = |n: u64| Some(start.seq + n);
    assert_eq!(
        said,
        [
            (seq(1), &b"0"[..]),
            (seq(2), b"1"),
            (seq(3), b"2"),
            (seq(4), b"3"),
            (seq(5), b"4")
        ]
    );
    // The log's length is 50; a server may keep up to two hundred more.
    for n in 0..350 {
        subject.commit(&n.to_string()).await;
    }
    let unreachable = [
        start,
        Position {
            seq: 100_000,
            ..start
        },
        Position {
            epoch: Epoch(1),
            ..start
        },
    ];
    for since in unreachable {
        let replay = subject
            .backplane
            .replay(&subject.room, since)
            .await
            .expect("works");
        assert!(matches!(replay, Replay::Gone), "{since}");
    }
}

async fn what_is_left_of_the_log_has_no_hole(subject: Subject) {
    subject.begun().await;
    let start = subject.commit("first").await;
    for n in 0..350 {
        subject.commit(&n.to_string()).await;
    }
    let recent = async |since| {
        let recent = subject.backplane.recent(&subject.room, since).await;
        match recent.expect("works") {
            Replay::Events(events) => {
                let seqs = events.iter().map(|e| e.position.expect("durable").seq);
                Some(seqs.collect::<Vec<_>>())
            }
            Replay::Gone => None,
        }
    };
    let last = start.seq + 350;
    let at = |seq| Position { seq, ..start };
    // As much as the log's length, from however far back it is asked for.
    assert_eq!(recent(start).await, Some((last - 49..=last).collect()));
    assert_eq!(
        recent(at(last - 3)).await,
        Some((last - 2..=last).collect())
    );
    assert_eq!(recent(at(last)).await, Some(Vec::new()));
    assert_eq!(recent(at(last + 1)).await, None);
    let other = Epoch(1);
    let other = Position {
        epoch: other,
        seq: last,
    };
    assert_eq!(recent(other).await, None);
}

async fn the_log_leaves_out_what_the_change_says(subject: Subject) {
    subject.begun().await;
    let start = subject.commit("first").await;
    let committed = subject
        .backplane
        .commit(&subject.room, text("long", subject.epoch().await))
        .await;
    committed.expect("a commit works");
    subject.heard().await;
    assert_eq!(subject.heard().await, "long");
    match subject.backplane.replay(&subject.room, start).await {
        Ok(Replay::Events(events)) => {
            assert_eq!(&events[0].event[..], b"a text");
            assert_eq!(events[0].version, Some(1));
        }
        other => panic!("the log reaches back: {other:?}"),
    }
}

async fn concurrent_commits_get_every_seq_once(subject: Subject) {
    subject.begun().await;
    let commits = (0..200).map(|n| {
        let (backplane, room) = (subject.backplane.clone(), subject.room.clone());
        tokio::spawn(async move { backplane.commit(&room, change(&n.to_string())).await })
    });
    let mut seqs = Vec::new();
    for commit in commits.collect::<Vec<_>>() {
        let committed = commit.await.expect("no panic").expect("works");
        seqs.push(committed.position.seq);
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (2..202).collect::<Vec<u64>>());
    for expected in 2..202 {
        let position = subject.sounds.envelope().await.position;
        assert_eq!(position.expect("durable").seq, expected);
    }
}

async fn a_room_expires_after_its_last_socket_and_begins_a_new_epoch(subject: Subject) {
    let socket = subject.begun().await;
    let before = subject.commit("x").await;
    subject.leave(socket, "ann").await;
    // Time itself is what is tested here.
    tokio::time::sleep(GRACE + Duration::from_millis(200)).await;
    assert_eq!(
        subject
            .backplane
            .standing(&subject.room, &user_id("ann"))
            .await,
        Err(Error::Missing)
    );
    subject.enter(subject.socket(), "bob").await.expect("works");
    let snapshot = subject
        .backplane
        .snapshot(&subject.room)
        .await
        .expect("works");
    let after = snapshot.position().expect("the room is there");
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(after.seq, 1);
    assert_eq!(snapshot.members, ["bob"]);
}

async fn whoever_is_back_in_time_keeps_the_room(subject: Subject) {
    let socket = subject.begun().await;
    let before = subject.commit("x").await;
    subject.leave(socket, "ann").await;
    subject.enter(subject.socket(), "ann").await.expect("works");
    tokio::time::sleep(GRACE + Duration::from_millis(200)).await;
    let after = subject.commit("y").await;
    assert_eq!(after.epoch, before.epoch);
    match subject.backplane.replay(&subject.room, before).await {
        Ok(Replay::Events(events)) => assert_eq!(events.len(), 3),
        other => panic!("the log is kept with the room: {other:?}"),
    }
}

async fn an_ended_room_stays_ended(subject: Subject) {
    let socket = subject.begun().await;
    let ended = subject.backplane.end(&subject.room, draft("ended")).await;
    let log = ended.expect("ending works");
    let last = subject.sounds.envelope().await;
    assert_eq!(&last.event[..], b"ended");
    let events: Vec<_> = log.iter().map(|envelope| &envelope.event[..]).collect();
    assert_eq!(events, [&b"joined"[..], b"ended"]);
    assert_eq!(log.last(), Some(&last));
    assert_eq!(last.position.expect("durable").seq, 2);
    let backplane = &subject.backplane;
    assert_eq!(
        subject.enter(subject.socket(), "bob").await,
        Err(Error::Ended)
    );
    assert_eq!(
        backplane.standing(&subject.room, &user_id("ann")).await,
        Err(Error::Ended)
    );
    let committed = backplane.commit(&subject.room, change("x")).await;
    assert_eq!(committed, Err(Error::Ended));
    assert_eq!(
        backplane
            .create(&subject.room, fields(), Vec::new(), Vec::new())
            .await,
        Ok(Created::Ended)
    );
    subject.leave(socket, "ann").await;
    assert!(
        backplane
            .snapshot(&subject.room)
            .await
            .expect("works")
            .ended()
    );
}

async fn a_created_room_waits_for_its_people(subject: Subject) {
    let create = || {
        subject
            .backplane
            .create(&subject.room, fields(), Vec::new(), Vec::new())
    };
    assert_eq!(create().await, Ok(Created::New));
    assert_eq!(create().await, Ok(Created::Existing));
    let entered = entry(subject.socket(), "ann", None);
    let entered = subject.backplane.enter(&subject.room, entered).await;
    entered.expect("a created room lets people in");
    assert_eq!(subject.field("language").await.as_deref(), Some("python"));
}

async fn an_audience_and_an_origin_arrive_unharmed(subject: Subject) {
    let socket = subject.begun().await;
    for audience in [
        Audience::All,
        Audience::Except(socket),
        Audience::Users(vec![user_id("ann"), user_id("bob")]),
    ] {
        let draft = Draft {
            audience: audience.clone(),
            origin: Some(socket),
            ..draft("x")
        };
        let sent = Change {
            draft: draft.clone(),
            ..change("x")
        };
        let committed = subject
            .backplane
            .commit(&subject.room, sent)
            .await
            .expect("works");
        let heard = subject.sounds.envelope().await;
        let expected = draft.into_envelope(subject.room.clone(), Some(committed.position), None);
        assert_eq!(heard, expected);
    }
}

async fn a_rotated_room_has_another_order(subject: Subject) {
    subject.begun().await;
    let old = subject.commit("one").await;
    assert_eq!(subject.heard().await, "one");
    let once = || Change {
        once: Some((user_id("ann"), "k".to_owned())),
        ..change("once")
    };
    let committed = subject.backplane.commit(&subject.room, once()).await;
    let old = Position {
        seq: committed.expect("works").position.seq,
        ..old
    };
    assert_eq!(subject.heard().await, "once");
    let backplane = &subject.backplane;
    let position = || backplane.position(&subject.room);
    assert_eq!(position().await, Ok(Some(old)));
    backplane
        .rotate(&subject.room, old.epoch)
        .await
        .expect("works");
    let new = position().await.expect("works").expect("it is there");
    assert!(new.epoch != old.epoch && new.seq == old.seq);
    // Whoever is late with the same finding changes nothing.
    backplane
        .rotate(&subject.room, old.epoch)
        .await
        .expect("works");
    assert_eq!(position().await, Ok(Some(new)));
    let replay = backplane.replay(&subject.room, old).await;
    assert!(matches!(replay, Ok(Replay::Gone)), "{replay:?}");
    let repeat = backplane.commit(&subject.room, once()).await;
    assert!(repeat.expect("works").repeated, "done once all the same");
    let next = subject.commit("two").await;
    assert_eq!((next.epoch, next.seq), (new.epoch, new.seq + 1));
    assert_eq!(subject.sounds.envelope().await.position, Some(next));
    let missing = Room::Session(SessionId::parse("nowhere").expect("an id"));
    assert_eq!(backplane.position(&missing).await, Ok(None));
}

async fn a_node_knows_the_nodes_that_report(subject: Subject) {
    let report = NodeReport {
        node: subject.node.to_string(),
        name: "one".to_owned(),
        version: "1".to_owned(),
        sockets: 3,
        doors: [("pairing".to_owned(), 3)].into(),
        users: 2,
        rooms: 1,
        routed: 9,
        started_at: 5,
        draining: true,
        reads: 1,
        address: Some("10.0.0.7:8004".to_owned()),
    };
    let seen = subject
        .backplane
        .beat(subject.node, &report)
        .await
        .expect("works");
    assert!(seen.reports.contains(&report), "{seen:?}");
    assert!(!seen.lost && seen.dead.is_empty(), "{seen:?}");
}

/// Guards the recovery from a Redis that goes away: the link says so, commands fail at once instead of
/// waiting, and afterwards the rooms are heard again without anybody asking.
#[tokio::test]
async fn redis_that_comes_back_is_listened_to_again() {
    let mut server = RedisServer::start();
    let subject = Subject::on(&server).await;
    subject.begun().await;
    let mut link = subject.backplane.link();
    server.kill();
    link.wait_for(|link| *link == Link::Away)
        .await
        .expect("lives");
    let failed = subject.backplane.commit(&subject.room, change("x")).await;
    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
    server.run();
    link.wait_for(|link| *link == Link::Up)
        .await
        .expect("lives");
    loop {
        if matches!(
            subject.sounds.next().await,
            crate::support::ears::Sound::Resumed
        ) {
            break;
        }
    }
    subject.enter(subject.socket(), "ann").await.expect("works");
    assert_eq!(subject.heard().await, "joined");
}

/// Guards the sessions of the service this replaces: its hash has neither epoch nor seq.
#[tokio::test]
async fn redis_a_session_of_the_old_service_is_taken_over() {
    let server = RedisServer::start();
    let subject = Subject::on(&server).await;
    let name = format!("t-{}", subject.room);
    server.cli(&[
        "HSET",
        &name,
        "session_id",
        "s",
        "code",
        "old",
        "users",
        r#"["ann"]"#,
    ]);
    assert_eq!(
        subject
            .backplane
            .standing(&subject.room, &user_id("ann"))
            .await,
        Ok(Access::default())
    );
    let created = subject
        .backplane
        .create(&subject.room, fields(), Vec::new(), Vec::new())
        .await;
    assert_eq!(created, Ok(Created::Existing));
    let stranger = entry(subject.socket(), "ann", None);
    let entered = subject.backplane.enter(&subject.room, stranger).await;
    entered.expect("an old session lets people in");
    assert_eq!(subject.field("code").await.as_deref(), Some("old"));
    assert_eq!(subject.field("users").await.as_deref(), Some(r#"["ann"]"#));
    assert_eq!(subject.commit("x").await.seq, 2);
}

/// Guards neighbours: commits share calls of the script, and a broken room must not break the others.
#[tokio::test]
async fn redis_a_room_that_fails_harms_no_other() {
    let server = RedisServer::start();
    let subject = Subject::on(&server).await;
    subject.begun().await;
    let broken = Room::Session(SessionId::parse("broken").expect("an id"));
    let stranger = entry(subject.socket(), "bob", Some(fields()));
    let entered = subject.backplane.enter(&broken, stranger).await;
    entered.expect("entering works");
    let log = "{t-session:broken}:log";
    server.cli(&["DEL", log]);
    server.cli(&["SET", log, "not a stream"]);
    let commit = |room: &Room| {
        let (backplane, room) = (subject.backplane.clone(), room.clone());
        tokio::spawn(async move { backplane.commit(&room, change("x")).await })
    };
    let commits: Vec<_> = (0..50)
        .map(|_| (commit(&subject.room), commit(&broken)))
        .collect();
    for (good, bad) in commits {
        assert!(good.await.expect("no panic").is_ok());
        let bad = bad.await.expect("no panic");
        assert!(matches!(bad, Err(Error::Unavailable(_))), "{bad:?}");
    }
}

/// Guards the documented layout: other programs read these keys.
#[tokio::test]
async fn redis_keys_are_the_documented_ones() {
    let server = RedisServer::start();
    let subject = Subject::on(&server).await;
    subject.begun().await;
    let change = Change {
        history: Some(History::Push(Bytes::from_static(b"line"))),
        once: Some((user_id("ann"), "k".to_owned())),
        ..text("x = 1", subject.epoch().await)
    };
    let committed = subject.backplane.commit(&subject.room, change).await;
    committed.expect("a commit works");
    let name = format!("t-{}", subject.room);
    let mut keys: Vec<String> = server
        .cli(&["KEYS", "*"])
        .lines()
        .map(str::to_owned)
        .collect();
    keys.sort();
    let part = |part: &str| format!("{{{name}}}:{part}");
    let mut expected = vec![name.clone()];
    let parts = ["chat", "doc:log", "idem:ann/k", "log", "members", "users"];
    expected.extend(parts.map(part));
    expected.sort();
    assert_eq!(keys, expected);
    assert_eq!(server.cli(&["HGET", &name, "users"]), r#"["ann"]"#);
    let first = server.cli(&["XRANGE", &part("doc:log"), "-", "+", "COUNT", "1"]);
    assert!(first.starts_with("1-0"), "{first}");
    let first = server.cli(&["XRANGE", &part("log"), "-", "+", "COUNT", "1"]);
    assert!(first.starts_with("1-0"), "{first}");
}

/// A role that was taken away still lets somebody write, or one that was given does not.
async fn a_role_is_what_the_room_says_at_that_moment(subject: Subject) {
    const MAY: &[&str] = &["host", "editor"];
    let (backplane, room) = (&subject.backplane, &subject.room);
    let mut fields = fields();
    fields.extend([
        ("recorded", "1".to_owned()),
        ("host", "ann".to_owned()),
        ("default_role", "viewer".to_owned()),
        ("version", "7".to_owned()),
    ]);
    let roles = vec![
        (user_id("bob"), "editor".to_owned()),
        (user_id("dan"), "banned".to_owned()),
    ];
    let created = backplane.create(room, fields, roles, Vec::new()).await;
    assert_eq!(created, Ok(Created::New));
    for (user, role) in [
        ("ann", "host"),
        ("bob", "editor"),
        ("cat", "viewer"),
        ("dan", "banned"),
    ] {
        let right = Access {
            matched: false,
            role: Some(role.to_owned()),
        };
        assert_eq!(backplane.standing(room, &user_id(user)).await, Ok(right));
    }
    let epoch = subject.epoch().await;
    let write = |user: &str| {
        let change = Change {
            by: Some((user_id(user), MAY)),
            ..text("by somebody", epoch)
        };
        backplane.commit(room, change)
    };
    let give = |user: &str, role: &str| {
        let change = Change {
            role: Some((user_id(user), role.to_owned())),
            ..change("a role")
        };
        backplane.commit(room, change)
    };
    let version = write("ann").await.expect("the host writes").version;
    assert_eq!(version, 8, "it goes on where the fields said");
    write("bob").await.expect("an editor writes");
    assert_eq!(write("cat").await, Err(Error::Forbidden));
    give("cat", "editor").await.expect("works");
    write("cat").await.expect("she may now");
    give("bob", "").await.expect("works");
    assert_eq!(write("bob").await, Err(Error::Forbidden));
    let snapshot = backplane.snapshot(room).await.expect("works");
    assert_eq!(
        snapshot.fields["version"], "10",
        "what is refused changes nothing"
    );
    let refused = subject.enter(subject.socket(), "dan").await;
    assert_eq!(refused, Err(Error::Forbidden));
    subject.enter(subject.socket(), "bob").await.expect("works");
    give("dan", "").await.expect("works");
    subject.enter(subject.socket(), "dan").await.expect("works");
}
