//! What the backplane promises of agents' runs and of workspaces: conditions, reports, lists, what is due, what users
//! follow, hooks, and members without a socket.

use collabd::backplane::{KEPT_UNTIL, Queue, Shelf};
use collabd::ids::AgentId;
use futures_util::future::join_all;

use super::*;

/// What is due after this is not due in any test.
const LATER: Duration = Duration::from_secs(3_600);
/// Longest wait for something that is about to happen.
const PATIENCE: Duration = Duration::from_secs(10);

fn with_fields(event: &str, fields: &[(&'static str, &str)]) -> Change {
    let fields = fields.iter().map(|(name, value)| (*name, (*value).into()));
    Change {
        fields: fields.collect(),
        ..change(event)
    }
}

fn when(field: &'static str, value: &str, change: Change) -> Change {
    Change {
        when: Some((field, value.to_owned())),
        ..change
    }
}

fn once(id: &str, change: Change) -> Change {
    Change {
        once: Some((user_id("ann"), id.to_owned())),
        ..change
    }
}

fn hooked(change: Change) -> Change {
    Change {
        hook: true,
        ..change
    }
}

fn agent_id(agent: &str) -> AgentId {
    AgentId::parse(agent).expect("tests use good ids")
}

/// A name that no other test uses.
fn unique(word: &str) -> String {
    format!("{word}-{}", EventId::new())
}

impl Subject {
    async fn tries(&self, change: Change) -> Result<u64, Error> {
        let committed = self.backplane.commit(&self.room, change).await;
        committed.map(|committed| committed.position.seq)
    }

    async fn reports(&self, event: &str, run: &str, fields: Fields) -> Result<(), Error> {
        let when = ("run", run.to_owned());
        let reported = self
            .backplane
            .report(&self.room, draft(event), fields, when);
        reported.await
    }

    /// Place, seq and event of the oldest that wait.
    async fn waiting_hooks(&self, most: u64) -> Vec<(String, u64, String)> {
        let hooks = self.backplane.hooks(&self.room, most).await;
        let hooks = hooks.expect("hooks can be read").into_iter();
        let read = hooks.map(|(place, envelope)| {
            let envelope = envelope.expect("this node can read what it wrote");
            assert_eq!(envelope.room, self.room);
            let seq = envelope.position.expect("what is committed has a seq").seq;
            (place, seq, String::from_utf8_lossy(&envelope.event).into())
        });
        read.collect()
    }

    async fn unhook(&self, place: &str, given_up: bool) {
        let done = self.backplane.unhook(&self.room, place, given_up).await;
        done.expect("it is done with");
    }

    async fn hooked_events(&self, most: u64) -> Vec<String> {
        let hooks = self.waiting_hooks(most).await.into_iter();
        hooks.map(|(_, _, event)| event).collect()
    }

    async fn due(&self, most: u64) -> Vec<String> {
        let due = self.backplane.due(Queue::Runs, most).await;
        due.expect("what is due can be read")
    }

    async fn expects(&self, what: &str, within: Duration) {
        let what = vec![what.to_owned()];
        let expected = self.backplane.expect(Queue::Runs, what, within);
        expected.await.expect("expecting works");
        // The next one's time is another.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    /// Those of them that are not waited for.
    async fn puts_off(&self, what: &[&str], within: Duration) -> Vec<String> {
        let what = what.iter().map(|thing| (*thing).to_owned()).collect();
        let put_off = self.backplane.put_off(Queue::Runs, what, within);
        put_off.await.expect("putting off works")
    }

    async fn settles(&self, what: &str, overdue: Duration) {
        let settled = self.backplane.settle(Queue::Runs, what, overdue);
        settled.await.expect("it is settled");
    }

    async fn is_there(&self) -> bool {
        let position = self.backplane.position(&self.room).await;
        position.expect("a position can be read").is_some()
    }
}

/// Guards the one run at a time: two who start at one moment both do.
pub async fn a_change_is_made_in_the_state_that_it_is_for_alone(subject: Subject) {
    subject.begun().await;
    let start = |run: &str| when("run", "", with_fields(run, &[("run", run)]));
    // A field that never was is an empty one.
    assert_eq!(subject.tries(start("r 1")).await, Ok(2));
    assert_eq!(subject.tries(start("r 2")).await, Err(Error::Unmet));
    let other = when("run", "r", with_fields("end", &[("run", "")]));
    assert_eq!(subject.tries(other).await, Err(Error::Unmet));
    // Nothing of them was done: no field, no seq, no event.
    assert_eq!(subject.field("run").await.as_deref(), Some("r 1"));
    let end = when("run", "r 1", with_fields("end", &[("run", "")]));
    assert_eq!(subject.tries(end.clone()).await, Ok(3));
    assert_eq!(subject.tries(end).await, Err(Error::Unmet));
    assert_eq!(subject.heard().await, "r 1");
    assert_eq!(subject.heard().await, "end");
    // Whatever stands in the field.
    let odd = "a b\n c  ";
    let noted = with_fields("noted", &[("task", odd)]);
    assert_eq!(subject.tries(noted).await, Ok(4));
    assert_eq!(subject.tries(when("task", odd, change("x"))).await, Ok(5));
    for near in ["a b", "a b\n c ", "", "a b\n c   "] {
        let refused = subject.tries(when("task", near, change("x"))).await;
        assert_eq!(refused, Err(Error::Unmet), "{near:?}");
    }
    let all = (0..20).map(|n| subject.tries(start(&format!("r-{n}"))));
    let all = join_all(all).await;
    assert_eq!(all.iter().filter(|done| **done == Ok(6)).count(), 1);
    let refused = all.iter().filter(|done| **done == Err(Error::Unmet));
    assert_eq!(refused.count(), 19);
}

/// Guards who repeats a command that was done, and made its own condition untrue.
pub async fn a_repeat_counts_before_its_condition(subject: Subject) {
    subject.begun().await;
    let start = |run: &str| when("run", "", with_fields(run, &[("run", run)]));
    let commit = |change| subject.backplane.commit(&subject.room, change);
    let refused = when("run", "r", with_fields("early", &[]));
    assert_eq!(commit(once("1", refused)).await, Err(Error::Unmet));
    let first = commit(once("1", start("r"))).await.expect("it is free");
    assert!(!first.repeated, "what was refused used no id up");
    for run in ["r", "another"] {
        let again = commit(once("1", start(run))).await.expect("as before");
        assert_eq!((again.position, again.repeated), (first.position, true));
    }
    assert_eq!(commit(once("2", start("s"))).await, Err(Error::Unmet));
    assert_eq!(subject.field("run").await.as_deref(), Some("r"));
    assert_eq!(subject.heard().await, "r");
    subject.commit("next").await;
    assert_eq!(subject.heard().await, "next");
}

/// Guards progress of a run that is over, or another's.
pub async fn a_report_is_heard_and_kept_and_not_logged(subject: Subject) {
    let progress = |value: &str| vec![("progress", value.to_owned()), ("step", "s".to_owned())];
    let missing = subject.reports("5", "r", progress("5")).await;
    assert_eq!(missing, Err(Error::Missing));
    assert!(!subject.is_there().await, "a report makes no room");
    subject.begun().await;
    let start = with_fields("start", &[("run", "r")]);
    subject.tries(start).await.expect("it starts");
    assert_eq!(subject.heard().await, "start");
    let before = subject.backplane.position(&subject.room).await;
    for value in ["5", "60"] {
        let reported = subject.reports(value, "r", progress(value)).await;
        assert_eq!(reported, Ok(()));
        let heard = subject.sounds.envelope().await;
        assert_eq!(&heard.event[..], value.as_bytes());
        assert_eq!((heard.position, &heard.room), (None, &subject.room));
    }
    for run in ["", "r ", "s"] {
        let refused = subject.reports("99", run, progress("99")).await;
        assert_eq!(refused, Err(Error::Unmet), "{run:?}");
    }
    let fields = subject.backplane.snapshot(&subject.room).await;
    let fields = fields.expect("works").fields;
    assert_eq!((&*fields["progress"], &*fields["step"]), ("60", "s"));
    assert_eq!(subject.backplane.position(&subject.room).await, before);
    let since = before.expect("works").expect("it is there");
    let log = subject.backplane.replay(&subject.room, since).await;
    assert!(matches!(log, Ok(Replay::Events(events)) if events.is_empty()));
    subject.commit("next").await;
    assert_eq!(subject.heard().await, "next");
    let ended = subject.backplane.end(&subject.room, draft("ended")).await;
    ended.expect("it ends");
    let refused = subject.reports("99", "", progress("99")).await;
    assert_eq!(refused, Err(Error::Ended));
    assert_eq!(subject.field("progress").await, None);
}

/// Guards pages of workspaces and agents: one is twice on them, or on none.
pub async fn a_list_is_in_order_and_has_everything_once(subject: Subject) {
    let shelf = Shelf::Workspaces;
    let (backplane, front) = (&subject.backplane, unique("w"));
    let id = |n: usize| format!("{front}-{n:02}");
    let page = async |after: &str, most| {
        let page = backplane.listed(shelf, Some(after), most).await;
        page.expect("a list can be read")
    };
    for n in [4, 0, 3, 1, 2, 3, 0] {
        backplane.list(shelf, &id(n)).await.expect("it is listed");
    }
    assert_eq!(page(&front, 10).await, [0, 1, 2, 3, 4].map(id));
    assert_eq!(page(&front, 2).await, [0, 1].map(id));
    assert_eq!(page(&id(1), 2).await, [2, 3].map(id));
    assert_eq!(page(&id(3), 2).await, [4].map(id));
    assert_eq!(page(&id(4), 2).await, [""; 0]);
    for _ in 0..2 {
        let unlisted = backplane.unlist(shelf, &id(2)).await;
        unlisted.expect("it goes");
    }
    // Behind one that went meanwhile, too.
    assert_eq!(page(&id(2), 10).await, [3, 4].map(id));
    assert_eq!(page(&front, 10).await, [0, 1, 3, 4].map(id));
    let first = backplane.listed(shelf, None, 1).await;
    assert_eq!(first.expect("works").len(), 1);
    let agents = backplane.listed(Shelf::Agents, Some(&front), 1).await;
    assert!(!agents.expect("works").contains(&id(0)));
}

/// Guards runs that are given up too early, or never.
pub async fn what_is_due_stays_so_until_it_is_settled(subject: Subject) {
    let now = Duration::ZERO;
    assert_eq!(subject.due(10).await, [""; 0]);
    subject.expects("a 1", now).await;
    subject.expects("b 1", now).await;
    subject.expects("c 1", LATER).await;
    for _ in 0..2 {
        assert_eq!(subject.due(10).await, ["a 1", "b 1"]);
    }
    assert_eq!(subject.due(1).await, ["a 1"]);
    // Later than it was; what nobody waits for is not begun by that.
    subject.expects("a 1", LATER).await;
    assert_eq!(subject.due(10).await, ["b 1"]);
    subject.expects("c 1", now).await;
    assert_eq!(
        subject.puts_off(&["d 1", "a 1", "e 1"], LATER).await,
        ["d 1", "e 1"]
    );
    assert_eq!(subject.due(10).await, ["b 1", "c 1"]);
    // Not before it has been due for so long.
    subject.settles("b 1", LATER).await;
    assert_eq!(subject.due(10).await, ["b 1", "c 1"]);
    for _ in 0..2 {
        subject.settles("b 1", Duration::from_millis(1)).await;
    }
    assert_eq!(subject.due(10).await, ["c 1"]);
    assert_eq!(subject.puts_off(&["b 1"], now).await, ["b 1"]);
    subject.expects("a 1", Duration::from_millis(200)).await;
    let hooks = subject.backplane.due(Queue::Hooks, 10).await;
    assert_eq!(hooks.expect("works"), [""; 0], "the queues are apart");
    let both = async {
        while subject.due(10).await != ["c 1", "a 1"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let both = tokio::time::timeout(PATIENCE, both).await;
    both.expect("what was expected is due in its time");
    for what in ["a 1", "c 1", "d 1"] {
        subject.settles(what, now).await;
    }
    assert_eq!(subject.due(10).await, [""; 0]);
}

/// Guards the bound of what a user follows, and whom it is told of.
pub async fn a_user_follows_so_many_agents(subject: Subject) {
    let backplane = &subject.backplane;
    let [ann, bob] = ["ann", "bob"].map(|user| user_id(&unique(user)));
    let follows = async |user: &UserId| {
        let follows = backplane.follows(user).await;
        let mut follows = follows.expect("it can be read");
        follows.sort_by_key(AgentId::to_string);
        follows
    };
    let [a, b, c] = ["a", "b", "c"].map(agent_id);
    assert_eq!(follows(&ann).await, []);
    for agent in [&b, &a, &b] {
        assert_eq!(backplane.follow(&ann, agent, 2).await, Ok(()));
    }
    assert_eq!(backplane.follow(&ann, &c, 2).await, Err(Error::Full));
    assert_eq!(follows(&ann).await, [a.clone(), b.clone()]);
    assert_eq!(backplane.follow(&bob, &c, 2).await, Ok(()));
    for _ in 0..2 {
        assert_eq!(backplane.unfollow(&ann, &b).await, Ok(()));
    }
    assert_eq!(backplane.follow(&ann, &c, 2).await, Ok(()));
    assert_eq!(follows(&ann).await, [a.clone(), c.clone()]);
    for agent in [&a, &c] {
        assert_eq!(backplane.unfollow(&ann, agent).await, Ok(()));
    }
    assert_eq!(follows(&ann).await, []);
    assert_eq!(follows(&bob).await, [c]);
}

/// Guards what the services behind us are told: something is left out, comes twice or in another order.
pub async fn hooks_have_what_was_committed_for_them_in_order(subject: Subject) {
    assert_eq!(subject.hooked_events(10).await, [""; 0]);
    subject.begun().await;
    let committed = [
        subject.tries(hooked(change("one"))).await,
        subject.tries(change("not for them")).await,
        subject.tries(once("1", hooked(change("two")))).await,
        subject.tries(once("2", change("nor this"))).await,
        subject
            .tries(hooked(text("three", subject.epoch().await)))
            .await,
    ];
    assert_eq!(committed, [2, 3, 4, 5, 6].map(Ok));
    // What was not done is not told, what is repeated is told once.
    let refused = when("run", "r", hooked(change("refused")));
    assert_eq!(subject.tries(refused).await, Err(Error::Unmet));
    assert_eq!(subject.tries(once("1", hooked(change("two")))).await, Ok(4));
    let many = join_all((0..10).map(|_| subject.tries(hooked(change("many")))));
    assert!(many.await.iter().all(Result::is_ok));
    let hooks = subject.waiting_hooks(100).await;
    let seqs: Vec<u64> = hooks.iter().map(|(_, seq, _)| *seq).collect();
    assert_eq!(seqs, [2, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    assert_eq!(subject.hooked_events(3).await, ["one", "two", "three"]);
    for _ in 0..2 {
        let place = &hooks[0].0;
        subject.unhook(place, false).await;
    }
    assert_eq!(subject.hooked_events(2).await, ["two", "three"]);
    // Tries are each one's own.
    let tried = async |at: usize| {
        let tried = subject.backplane.tried(&subject.room, &hooks[at].0).await;
        tried.expect("it is counted")
    };
    assert_eq!([tried(1).await, tried(1).await, tried(1).await], [1, 2, 3]);
    subject.unhook(&hooks[1].0, true).await;
    assert_eq!(tried(2).await, 1);
    assert_eq!(subject.hooked_events(1).await, ["three"]);
    // What happened before the end is told after it.
    let ended = subject.backplane.end(&subject.room, draft("ended")).await;
    ended.expect("it ends");
    assert_eq!(subject.hooked_events(1).await, ["three"]);
    for (place, ..) in &hooks {
        subject.unhook(place, false).await;
    }
    assert_eq!(subject.hooked_events(100).await, [""; 0]);
}

/// Guards services behind us that are away for long: what waits for them has a bound, and the newest is kept.
pub async fn hooks_keep_the_newest(subject: Subject) {
    let most = keep().hooks_length as usize;
    subject.begun().await;
    let count = most * 6;
    for number in 0..count {
        let told = subject.tries(hooked(change(&number.to_string()))).await;
        told.expect("a commit works");
    }
    let hooks = subject.hooked_events(1_000).await;
    // Redis drops whole nodes of its stream, of a hundred entries.
    assert!(
        (most..=most + 100).contains(&hooks.len()),
        "{}",
        hooks.len()
    );
    let right: Vec<String> = (count - hooks.len()..count)
        .map(|number| number.to_string())
        .collect();
    assert_eq!(hooks, right);
}

/// Guards two nodes that tell the same at once, and one that dies while it does.
pub async fn hooks_are_claimed_by_one(subject: Subject) {
    let [ann, bob] = ["ann", "bob"].map(unique);
    let claims = async |by: &str, time| {
        let claimed = subject.backplane.claim_hooks(&subject.room, by, time).await;
        claimed.expect("claiming works")
    };
    let (long, short) = (Duration::from_secs(60), Duration::from_millis(200));
    assert!(claims(&ann, long).await);
    assert!(claims(&ann, long).await);
    if subject.backplane.kind() == "memory" {
        // Nobody else is there.
        return;
    }
    assert!(!claims(&bob, long).await);
    assert!(!claims(&bob, Duration::ZERO).await, "it is not bob's");
    assert!(claims(&ann, Duration::ZERO).await);
    assert!(claims(&bob, short).await);
    assert!(!claims(&ann, short).await);
    let inherited = async {
        while !claims(&ann, long).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let inherited = tokio::time::timeout(PATIENCE, inherited).await;
    inherited.expect("a claim runs out");
    assert!(!claims(&bob, long).await);
    let another = Subject::new_room();
    let other = subject.backplane.claim_hooks(&another, &bob, long);
    assert_eq!(other.await, Ok(true), "another room's are apart");
}

/// Guards workspaces that somebody made: they go when everybody has left.
pub async fn a_room_that_is_kept_outlives_its_people(subject: Subject) {
    let enter = async |user: &str| {
        let socket = subject.socket();
        let entered = subject.enter(socket, user).await;
        entered.expect("it enters");
        socket
    };
    let now = Clock::system().now();
    let until = |millis: i64| vec![("name", "w".to_owned()), (KEPT_UNTIL, millis.to_string())];
    let for_good = until(253_402_300_799_000);
    let create = |fields| {
        let created = subject
            .backplane
            .create(&subject.room, fields, Vec::new(), Vec::new());
        async { assert_eq!(created.await, Ok(Created::New)) }
    };
    create(for_good).await;
    for _ in 0..2 {
        let socket = enter("ann").await;
        subject.leave(socket, "ann").await;
        tokio::time::sleep(GRACE * 2).await;
        assert!(subject.is_there().await);
        assert_eq!(subject.field("name").await.as_deref(), Some("w"));
    }
    let ended = subject.backplane.end(&subject.room, draft("ended")).await;
    ended.expect("it ends");

    let mut subject = subject;
    subject.room = Subject::new_room();
    // For less than the grace, and for a time that is over.
    for millis in [now, now + 1] {
        let created =
            subject
                .backplane
                .create(&subject.room, until(millis), Vec::new(), Vec::new());
        assert_eq!(created.await, Ok(Created::New));
        let socket = subject.socket();
        subject.enter(socket, "ann").await.expect("it enters");
        subject.leave(socket, "ann").await;
        let gone = async {
            while subject.is_there().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let gone = tokio::time::timeout(PATIENCE, gone).await;
        gone.expect("it is kept for no longer than the grace");
    }
}

/// Guards who belongs to a workspace: its coming or going is told twice, or with a socket's, and a node that dies takes
/// it along.
pub async fn who_stands_in_a_room_joins_once_and_leaves_once(subject: Subject) {
    let listening = subject.backplane.listen(&subject.room).await;
    listening.expect("listening works");
    let ann = user_id("ann");
    let standing = SocketId::standing_for(&ann);
    assert_eq!(standing, SocketId::standing_for(&user_id("ann")));
    assert_ne!(standing, SocketId::standing_for(&user_id("bob")));
    let enter = async |socket| {
        let entered = subject.enter(socket, "ann").await;
        entered.expect("it enters");
    };
    let held = async || {
        let held = subject
            .backplane
            .held(subject.node, &subject.room, None)
            .await;
        let held = held.expect("works").members.into_iter();
        held.map(|(socket, _)| socket).collect::<Vec<_>>()
    };
    let (first, second) = (subject.socket(), subject.socket());
    // It stands there first, and goes last.
    enter(standing).await;
    enter(standing).await;
    enter(first).await;
    assert_eq!(held().await, [first]);
    subject.leave(first, "ann").await;
    subject.commit("one").await;
    subject.leave(standing, "ann").await;
    subject.leave(standing, "ann").await;
    // The other way round.
    enter(first).await;
    enter(standing).await;
    enter(second).await;
    subject.leave(first, "ann").await;
    subject.leave(standing, "ann").await;
    assert_eq!(held().await, [second]);
    subject.commit("two").await;
    subject.leave(second, "ann").await;
    for right in ["joined", "one", "left", "joined", "two", "left"] {
        assert_eq!(subject.heard().await, right);
    }
    // Beside the sockets of a node that is gone.
    enter(standing).await;
    enter(first).await;
    let exits = held().await.into_iter().map(|socket| Exit {
        socket,
        user: ann.clone(),
        left: Some(draft("left")),
    });
    let exits = exits.collect();
    let left = subject.backplane.leave(&subject.room, exits).await;
    left.expect("they leave");
    subject.commit("three").await;
    for right in ["joined", "three"] {
        assert_eq!(subject.heard().await, right);
    }
    let members = subject.backplane.members(&subject.room, None).await;
    let members = members.expect("works").into_iter();
    let members: Vec<_> = members.map(|(socket, _)| socket).collect();
    assert_eq!(members, [standing]);
    let snapshot = subject.backplane.snapshot(&subject.room).await;
    assert_eq!(snapshot.expect("works").users, 1);
}
