//! What the backplane promises of inboxes, and of the list of couriers.

use collabd::backplane::{CONTACTS, Card, Letter, Receipt};
use collabd::ids::Epoch;

use super::*;

/// Letters that an inbox takes, see [`keep`].
const FULL: usize = 5;

/// A user that no other test writes to.
fn somebody() -> UserId {
    user_id(&format!("user-{}", EventId::new()))
}

fn letter(from: &UserId, to: &[&UserId], event: &str) -> Letter {
    Letter {
        draft: draft(event),
        from: from.clone(),
        to: to.iter().map(|user| (*user).clone()).collect(),
        once: None,
    }
}

impl Subject {
    async fn route(&self, letter: &Letter) -> Vec<Receipt> {
        self.backplane.route(letter).await.expect("routing works")
    }

    /// A courier socket of the user comes.
    async fn comes(&self, user: &UserId) -> SocketId {
        let socket = self.socket();
        let entry = Entry {
            joined: None,
            ..entry(socket, user.as_str(), Some(Fields::new()))
        };
        let room = Room::User(user.clone());
        self.backplane.enter(&room, entry).await.expect("it enters");
        socket
    }

    async fn goes(&self, user: &UserId, socket: SocketId) {
        let exit = Exit {
            socket,
            user: user.clone(),
            left: None,
        };
        let room = Room::User(user.clone());
        let left = self.backplane.leave(&room, vec![exit]).await;
        left.expect("it leaves");
    }

    /// The letters a user has not been told, with their seqs, and where the room is.
    async fn waiting(&self, user: &UserId) -> (Vec<(u64, String)>, Position) {
        let inbox = self.backplane.inbox(&Room::User(user.clone())).await;
        let inbox = inbox.expect("there is an inbox");
        let letters = inbox.events.iter().map(|letter| {
            let seq = letter.position.expect("a letter has a place").seq;
            (seq, String::from_utf8_lossy(&letter.event).into_owned())
        });
        (letters.collect(), inbox.position)
    }
}

/// Guards what is sent to who is away: it is lost, comes in another order, or comes for ever.
pub async fn letters_wait_in_order_until_they_were_told(subject: Subject) {
    let (ann, bob, cid) = (somebody(), somebody(), somebody());
    let socket = subject.comes(&cid).await;
    let room = Room::User(cid.clone());
    subject.backplane.listen(&room).await.expect("it listens");
    for event in ["one", "two", "three"] {
        let receipts = subject.route(&letter(&ann, &[&bob, &cid], event)).await;
        assert_eq!(receipts, [Receipt::Kept, Receipt::Present]);
        let heard = subject.sounds.envelope().await;
        assert_eq!((&heard.room, &heard.event[..]), (&room, event.as_bytes()));
    }
    let (letters, at) = subject.waiting(&bob).await;
    let told = [(1, "one"), (2, "two"), (3, "three")].map(|(seq, text)| (seq, text.to_owned()));
    assert_eq!((&letters[..], at.seq), (&told[..], 3));
    let two = Position { seq: 2, ..at };
    for _ in 0..2 {
        subject.backplane.mark(&bob, two).await.expect("it marks");
        assert_eq!(subject.waiting(&bob).await.0, told[2..]);
    }
    // Neither back, nor beyond what there is.
    for seq in [1, 9] {
        let other = Position { seq, ..at };
        subject.backplane.mark(&bob, other).await.expect("it marks");
        assert_eq!(subject.waiting(&bob).await.0, told[2..]);
    }
    subject.goes(&cid, socket).await;
    let receipts = subject.route(&letter(&ann, &[&cid], "four")).await;
    assert_eq!(receipts, [Receipt::Kept]);
    assert_eq!(subject.waiting(&cid).await.0.len(), 4);
    let nobody = subject.backplane.inbox(&Room::User(somebody())).await;
    assert_eq!(nobody.map(|_| ()), Err(Error::Missing));
}

/// Guards a sender that was not answered and repeats itself.
pub async fn a_letter_routed_again_reaches_nobody_twice(subject: Subject) {
    let (ann, eve, bob, cid) = (somebody(), somebody(), somebody(), somebody());
    let with_id = |from, to: &[&UserId], event| Letter {
        once: Some("7".to_owned()),
        ..letter(from, to, event)
    };
    subject.route(&with_id(&ann, &[&bob], "first")).await;
    subject.comes(&bob).await;
    // Bob is there by now, and that is not what became of it.
    let receipts = subject.route(&with_id(&ann, &[&bob, &cid], "again")).await;
    assert_eq!(receipts, [Receipt::Kept, Receipt::Kept]);
    assert_eq!(subject.waiting(&bob).await.0, [(1, "first".to_owned())]);
    assert_eq!(subject.waiting(&cid).await.0, [(1, "again".to_owned())]);
    // The id is its sender's.
    subject.route(&with_id(&eve, &[&bob], "another")).await;
    assert_eq!(subject.waiting(&bob).await.0.len(), 2);
}

/// Guards what was promised to be kept: it is dropped for what comes later.
pub async fn a_full_inbox_takes_no_more_and_drops_nothing(subject: Subject) {
    let (ann, bob) = (somebody(), somebody());
    for number in 0..FULL {
        let receipts = subject
            .route(&letter(&ann, &[&bob], &number.to_string()))
            .await;
        assert_eq!(receipts, [Receipt::Kept]);
    }
    let more = letter(&ann, &[&bob], "more");
    assert_eq!(subject.route(&more).await, [Receipt::Full]);
    let (letters, at) = subject.waiting(&bob).await;
    assert_eq!(
        (letters.len(), letters[0].0, at.seq),
        (FULL, 1, FULL as u64)
    );
    let two = Position { seq: 2, ..at };
    subject.backplane.mark(&bob, two).await.expect("it marks");
    for _ in 0..2 {
        assert_eq!(subject.route(&more).await, [Receipt::Kept]);
    }
    assert_eq!(subject.route(&more).await, [Receipt::Full]);
    let (letters, at) = subject.waiting(&bob).await;
    assert_eq!((letters.len(), letters[0].0), (FULL, 3));
    subject.backplane.mark(&bob, at).await.expect("it marks");
    assert_eq!(subject.waiting(&bob).await.0, []);
    // By bytes: one is taken whatever its size.
    let large = letter(&ann, &[&bob], &"x".repeat(20_000));
    assert_eq!(subject.route(&large).await, [Receipt::Kept]);
    assert_eq!(subject.route(&more).await, [Receipt::Full]);
    let (_, at) = subject.waiting(&bob).await;
    subject.backplane.mark(&bob, at).await.expect("it marks");
    assert_eq!(subject.route(&more).await, [Receipt::Kept]);
}

/// Guards letters that a store kept when it lost others: they go with the order they were in.
pub async fn letters_outlive_their_order(subject: Subject) {
    let (ann, bob) = (somebody(), somebody());
    let room = Room::User(bob.clone());
    subject.route(&letter(&ann, &[&bob], "one")).await;
    let (_, before) = subject.waiting(&bob).await;
    let rotated = subject.backplane.rotate(&room, before.epoch).await;
    rotated.expect("it rotates");
    subject.route(&letter(&ann, &[&bob], "two")).await;
    let (letters, at) = subject.waiting(&bob).await;
    assert_eq!((letters.len(), at.seq), (2, 2));
    assert_ne!(at.epoch, before.epoch);
    // What was told of the former order says nothing of this one.
    let former = Position { seq: 2, ..before };
    subject
        .backplane
        .mark(&bob, former)
        .await
        .expect("it marks");
    let unknown = Position {
        epoch: Epoch::random(),
        seq: 2,
    };
    subject
        .backplane
        .mark(&bob, unknown)
        .await
        .expect("it marks");
    assert_eq!(subject.waiting(&bob).await.0.len(), 2);
}

/// Guards the list of who is there.
pub async fn couriers_are_listed_while_they_are_there(subject: Subject) {
    let room = Room::Couriers;
    let come = async |user: &str| {
        let socket = subject.socket();
        let entry = entry(socket, user, Some(Fields::new()));
        let entered = subject.backplane.enter(&room, entry).await;
        entered.expect("it enters");
        socket
    };
    let go = async |user: &str, socket: SocketId| {
        let exit = Exit {
            socket,
            user: user_id(user),
            left: Some(draft("left")),
        };
        let left = subject.backplane.leave(&room, vec![exit]).await;
        left.expect("it leaves");
    };
    let list = async |after: Option<&str>, most| {
        let after = after.map(user_id);
        let page = subject.backplane.couriers(after.as_ref(), most).await;
        let page = page.expect("they are listed");
        let names = page.records.into_iter().map(|(user, record)| {
            assert_eq!(record, user.as_str().as_bytes());
            user.to_string()
        });
        (names.collect::<Vec<_>>(), page.count)
    };
    let bob = come("bob").await;
    let (ann, again, cid) = (come("ann").await, come("ann").await, come("cid").await);
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(None, 10).await, (names(&["ann", "bob", "cid"]), 3));
    assert_eq!(list(None, 2).await, (names(&["ann", "bob"]), 3));
    assert_eq!(list(Some("bob"), 2).await, (names(&["cid"]), 3));
    assert_eq!(list(None, 0).await, (names(&[]), 3));
    go("ann", ann).await;
    assert_eq!(list(None, 1).await, (names(&["ann"]), 3));
    go("ann", again).await;
    go("cid", cid).await;
    assert_eq!(list(None, 10).await, (names(&["bob"]), 1));
    let snapshot = subject.backplane.snapshot(&room).await;
    assert_eq!(snapshot.expect("a snapshot works").users, 1);
    go("bob", bob).await;
    assert_eq!(list(None, 10).await, (names(&[]), 0));
}

/// Guards who is told of whose coming among very many, and what was registered of somebody.
pub async fn who_wrote_to_each_other_is_known_and_what_was_registered(subject: Subject) {
    let (ann, bob) = (somebody(), somebody());
    subject.comes(&ann).await;
    subject.route(&letter(&ann, &[&bob], "hello")).await;
    let contacts = |user| subject.backplane.contacts(user);
    assert_eq!(contacts(&bob).await, Ok(vec![ann.clone()]));
    assert_eq!(contacts(&ann).await, Ok(vec![]));
    let acquainted = subject.backplane.acquaint(&ann, std::slice::from_ref(&bob));
    acquainted.await.expect("it is noted");
    assert_eq!(contacts(&ann).await, Ok(vec![bob.clone()]));
    let crowd: Vec<UserId> = (0..CONTACTS)
        .map(|n| user_id(&format!("z-{n:04}")))
        .collect();
    let acquainted = subject.backplane.acquaint(&ann, &crowd).await;
    acquainted.expect("it is noted");
    let known = contacts(&ann).await.expect("they are known");
    assert_eq!(known.len(), CONTACTS as usize);

    let card = |name: Option<&str>, url: Option<&str>| Card {
        display_name: name.map(str::to_owned),
        backend_url: url.map(str::to_owned),
    };
    let cid = somebody();
    assert_eq!(subject.backplane.card(&cid).await, Ok(card(None, None)));
    for (noted, known) in [
        (card(Some("Cid"), None), card(Some("Cid"), None)),
        (
            card(None, Some("http://c")),
            card(Some("Cid"), Some("http://c")),
        ),
        (card(None, None), card(Some("Cid"), Some("http://c"))),
    ] {
        let registered = subject.backplane.register(&cid, &noted).await;
        registered.expect("it is registered");
        assert_eq!(subject.backplane.card(&cid).await, Ok(known));
    }
    // That makes nobody present.
    let receipts = subject.route(&letter(&ann, &[&cid], "hello")).await;
    assert_eq!(receipts, [Receipt::Kept]);
}
