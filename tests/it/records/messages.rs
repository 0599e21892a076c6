//! Messages, what people made of them, and what happened: the promises of `records` about what is said.

use std::sync::Arc;
use std::time::Duration;

use collabd::ids::{EventId, SessionId};
use collabd::records::{Cursor, Happened, Message, Order, Reacted, Records, Span, Spot, Wanted};
use tokio::task::{JoinHandle, JoinSet};

use super::{Subject, open, session, user};

/// Records that write in groups, as a node's do.
struct Kept {
    records: Arc<Records>,
    session: SessionId,
    keeping: JoinHandle<()>,
    _subject: Subject,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

async fn kept(subject: Subject) -> Kept {
    let session = session("ann");
    subject.records.add_session(&session).await.expect("works");
    let records = Arc::new(open(&subject.config).await);
    let keeper = records.clone();
    Kept {
        records,
        session: session.id,
        keeping: tokio::spawn(async move { keeper.keep().await }),
        _subject: subject,
    }
}

impl Kept {
    fn message(&self, by: &str, content: &str, at: i64) -> Message {
        Message {
            id: EventId::new(),
            session: self.session.clone(),
            user: user(by),
            username: by.to_owned(),
            content: content.to_owned(),
            to: None,
            reply_to: None,
            thread: None,
            mentions: vec![user("bob")],
            spot: None,
            created_at: at,
            edited_at: None,
            deleted_at: None,
            seq: None,
        }
    }

    async fn say(&self, message: Message, seq: u64) -> Message {
        let stored = self
            .records
            .post(message, None, 0)
            .await
            .expect("is stored");
        self.records.told(stored.id, seq).await.expect("is marked");
        stored
    }

    async fn chat(&self, reader: &str) -> Vec<String> {
        let found = self
            .records
            .chat(&self.session, &user(reader), None, 100)
            .await;
        let found = found.expect("works");
        found.into_iter().map(|message| message.content).collect()
    }
}

/// Somebody is shown what nobody was told, or never what was.
pub(super) async fn what_nobody_was_told_is_nobodys_to_see(subject: Subject) {
    let kept = kept(subject).await;
    let message = kept.message("ann", "'; DROP TABLE messages; -- 🦀", 5);
    let stored = kept.records.post(message.clone(), Some("k"), 0).await;
    assert_eq!(stored.expect("is stored"), message);
    assert_eq!(kept.chat("ann").await, Vec::<String>::new());
    let found = kept.records.message(&kept.session, message.id).await;
    assert_eq!(found.expect("works"), None);
    assert_eq!(
        kept.records.untold(&[message.id]).await.expect("works"),
        [message.id]
    );
    let soon = kept
        .records
        .message_soon(&kept.session, message.id, i64::MAX);
    assert_eq!(soon.await.expect("works"), None);
    assert!(kept.records.told(message.id, 7).await.expect("is marked"));
    assert!(!kept.records.told(message.id, 8).await.expect("is marked"));
    assert!(!kept.records.told(EventId::new(), 8).await.expect("works"));
    assert_eq!(kept.chat("ann").await, [message.content.as_str()]);
    let found = kept.records.message(&kept.session, message.id).await;
    let right = Message {
        seq: Some(7),
        ..message
    };
    assert_eq!(found.expect("works"), Some(right));
}

/// A repeated command makes a second message, or two nodes make one each.
pub(super) async fn a_command_is_one_message_whoever_stores_it(subject: Subject) {
    let kept = kept(subject).await;
    let other = Arc::new(open(&kept._subject.config).await);
    let keeper = other.clone();
    let keeping = tokio::spawn(async move { keeper.keep().await });
    let mut all = JoinSet::new();
    for count in 0..20 {
        let message = kept.message("ann", "once", count);
        let records = if count % 2 == 0 {
            &kept.records
        } else {
            &other
        };
        let records = records.clone();
        all.spawn(async move { records.post(message, Some("same"), -1).await });
    }
    let mut ids: Vec<EventId> = Vec::new();
    for stored in all.join_all().await {
        ids.push(stored.expect("is stored").id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    // Later on the id is another's, and so is another user's.
    let later = kept.message("ann", "later", 100);
    let later = kept.records.post(later.clone(), Some("same"), 50).await;
    assert_ne!(later.expect("is stored").id, ids[0]);
    // Another's command of that name is another.
    let bobs = kept
        .records
        .post(kept.message("bob", "mine", 9), Some("same"), -1);
    assert_ne!(bobs.await.expect("is stored").id, ids[0]);
    keeping.abort();
}

/// One bad row makes the others of its group fail, or many at once lose one.
pub(super) async fn many_at_once_are_all_stored(subject: Subject) {
    let kept = Arc::new(kept(subject).await);
    let mut all = JoinSet::new();
    for count in 0..200 {
        let kept = kept.clone();
        all.spawn(async move {
            let mut message = kept.message("ann", &format!("{count}"), count);
            if count % 50 == 7 {
                // Of no session: the database does not take it.
                message.session = SessionId::recorded();
                return kept.records.post(message, None, 0).await.is_err();
            }
            kept.say(message, count as u64 + 1).await;
            true
        });
    }
    assert!(all.join_all().await.into_iter().all(|right| right));
    let mut said = Vec::new();
    let mut before = None;
    loop {
        let page = kept
            .records
            .chat(&kept.session, &user("bob"), before.as_ref(), 30)
            .await
            .expect("works");
        let Some(last) = page.last() else { break };
        before = Some(last.clone());
        said.extend(page.into_iter().map(|message| message.content));
    }
    let right = (0..200).rev().filter(|count| count % 50 != 7);
    assert_eq!(
        said,
        right.map(|count| count.to_string()).collect::<Vec<_>>()
    );
}

/// A third person reads what two said to each other.
pub(super) async fn letters_are_for_two(subject: Subject) {
    let kept = kept(subject).await;
    let letter = Message {
        to: Some(user("bob")),
        ..kept.message("ann", "psst", 1)
    };
    let letter = kept.say(letter, 1).await;
    kept.say(kept.message("cat", "hi", 2), 2).await;
    assert_eq!(kept.chat("ann").await, ["hi", "psst"]);
    assert_eq!(kept.chat("bob").await, ["hi", "psst"]);
    assert_eq!(kept.chat("cat").await, ["hi"]);
    let letters = |reader: &'static str| {
        let records = &kept.records;
        let session = &kept.session;
        async move {
            let found = records.letters(session, &user(reader), 10).await;
            found.expect("works").len()
        }
    };
    assert_eq!((letters("bob").await, letters("cat").await), (1, 0));
    let event = Happened {
        seq: 1,
        at: 1,
        kind: "chat_message".to_owned(),
        user: Some(user("ann")),
        message: Some(letter.id),
        body: "{}".to_owned(),
        code: None,
        version: None,
    };
    let records = &kept.records;
    records
        .record(&kept.session, 1, &[event])
        .await
        .expect("works");
    for (reader, right) in [("ann", 1), ("bob", 1), ("cat", 0)] {
        let (reader, span) = (user(reader), Span::default());
        let seen = records.events(&kept.session, &reader, &span, Cursor::default(), 10);
        assert_eq!(seen.await.expect("works").len(), right, "{reader}");
    }
    let sums = records.chat_sums(&kept.session).await.expect("works");
    assert_eq!(sums.total, 1);
}

/// Words outlive their deletion, or an edit brings them back.
pub(super) async fn what_is_deleted_has_no_words(subject: Subject) {
    let kept = kept(subject).await;
    let records = &kept.records;
    let comment = Message {
        spot: Some(Spot {
            file: "a.py".to_owned(),
            line: 3,
            snippet: Some("secret()".to_owned()),
            resolved: false,
        }),
        ..kept.message("ann", "secret", 1)
    };
    let comment = kept.say(comment, 1).await;
    let reacted = records.react(comment.id, "👍", &user("bob"), 1, 5).await;
    assert_eq!(reacted.expect("works"), Reacted::New);
    assert!(records.resolve(comment.id, true).await.expect("works"));
    assert!(!records.resolve(comment.id, true).await.expect("works"));
    let wanted = |file: &str, resolved| Wanted {
        file: Some(file.to_owned()),
        resolved: Some(resolved),
    };
    for (wanted, right) in [
        (Wanted::default(), 1),
        (wanted("a.py", true), 1),
        (wanted("a.py", false), 0),
        (wanted("a%", true), 0),
    ] {
        let cat = user("cat");
        let found = records.comments(&kept.session, &cat, &wanted, None, 10);
        assert_eq!(found.await.expect("works").len(), right, "{wanted:?}");
    }
    records.delete(comment.id, 9).await.expect("works");
    let edited = records.edit(comment.id, "back", &[], 10).await;
    assert!(!edited.expect("works"));
    let found = records.message(&kept.session, comment.id).await;
    let found = found.expect("works").expect("its place stays");
    assert_eq!((found.content.as_str(), found.deleted_at), ("", Some(9)));
    assert_eq!(found.spot.expect("is a comment").snippet, None);
    assert_eq!(found.mentions, []);
    let again = records.react(comment.id, "👍", &user("bob"), 11, 5).await;
    assert_eq!(again.expect("works"), Reacted::Known);
    let reacted = records.reacted(comment.id, "👍").await;
    assert_eq!(reacted.expect("works"), []);
}

/// Reactions are counted twice, or there are more than there may be.
pub(super) async fn a_reaction_is_one_for_each_user(subject: Subject) {
    let kept = kept(subject).await;
    let records = &kept.records;
    let message = kept.say(kept.message("ann", "hi", 1), 1).await;
    let react = |name: &'static str, emoji: &'static str, at| async move {
        let taken = records.react(message.id, emoji, &user(name), at, 3).await;
        taken.expect("works")
    };
    for (name, emoji, at, right) in [
        ("ann", "👍", 1, Reacted::New),
        ("bob", "👍", 2, Reacted::New),
        ("bob", "👍", 3, Reacted::Known),
        ("ann", "🎉", 4, Reacted::New),
        ("cat", "👍", 5, Reacted::Full),
        ("bob", "👍", 6, Reacted::Known),
    ] {
        assert_eq!(react(name, emoji, at).await, right, "{name} {emoji}");
    }
    let users = records.reacted(message.id, "👍").await.expect("works");
    assert_eq!(users, [user("ann"), user("bob")]);
    for right in [true, false] {
        let gone = records.unreact(message.id, "👍", &user("ann")).await;
        assert_eq!(gone.expect("works"), right);
    }
    let all = records
        .reactions(std::slice::from_ref(&message))
        .await
        .expect("works");
    let right = vec![
        ("👍".to_owned(), vec![user("bob")]),
        ("🎉".to_owned(), vec![user("ann")]),
    ];
    assert_eq!(all.get(&message.id), Some(&right));
}

fn happened(seq: u64) -> Happened {
    Happened {
        seq,
        at: 1_000 + seq as i64,
        kind: if seq.is_multiple_of(2) {
            "code_update"
        } else {
            "user_joined"
        }
        .to_owned(),
        user: Some(user("ann")),
        message: None,
        body: format!("{{\"n\":{seq}}}"),
        code: None,
        version: seq.is_multiple_of(2).then_some(seq / 2),
    }
}

/// Two nodes that record one log give an event twice, an order begins twice, or a text is lost.
pub(super) async fn a_place_in_the_order_has_one_row(subject: Subject) {
    let kept = kept(subject).await;
    let (records, session) = (&kept.records, &kept.session);
    let begun = records.log_order(session).await.expect("works");
    let begun = begun.expect("the session is there");
    let mut all = JoinSet::new();
    for _ in 0..4 {
        let (records, session, begun) = (records.clone(), session.clone(), begun.clone());
        all.spawn(async move { records.begin_order(&session, &begun, "e1").await });
    }
    let began = all.join_all().await.into_iter();
    assert_eq!(began.filter(|it| matches!(it, Ok(true))).count(), 1);
    let order = records.log_order(session).await.expect("works");
    let right = Order {
        epoch: "e1".to_owned(),
        part: 1,
        seq: 0,
    };
    assert_eq!(order, Some(right.clone()));
    let mut all = JoinSet::new();
    for from in [1, 20, 40, 60] {
        let (records, session) = (records.clone(), session.clone());
        all.spawn(async move {
            let events: Vec<Happened> = (from..=from + 50).map(happened).collect();
            let with_text = Happened {
                code: Some("x = 1".to_owned()),
                ..happened(50)
            };
            records.record(&session, 1, &events).await?;
            records.record(&session, 1, &[with_text]).await?;
            records.recorded_to(&session, 1, from + 50).await
        });
    }
    for recorded in all.join_all().await {
        recorded.expect("works");
    }
    let order = records.log_order(session).await.expect("works");
    assert_eq!(order, Some(Order { seq: 110, ..right }));
    let span = Span {
        code: true,
        ..Span::default()
    };
    let mut seen = Vec::new();
    loop {
        let after = seen
            .last()
            .map_or(Cursor::default(), |(at, _): &(Cursor, _)| *at);
        let page = records
            .events(session, &user("bob"), &span, after, 30)
            .await
            .expect("works");
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|told| (told.cursor, told.event)));
    }
    assert_eq!(seen.len(), 110);
    for (at, (_, event)) in seen.iter().enumerate() {
        let seq = at as u64 + 1;
        let right = Happened {
            code: (seq == 50).then(|| "x = 1".to_owned()),
            ..happened(seq)
        };
        assert_eq!(*event, right);
    }
    let texts = Span {
        kind: Some("code_update".to_owned()),
        from: Some(1_010),
        to: Some(1_020),
        code: false,
    };
    let found = records
        .events(session, &user("bob"), &texts, Cursor::default(), 30)
        .await
        .expect("works");
    let seqs: Vec<u64> = found.iter().map(|told| told.event.seq).collect();
    assert_eq!(seqs, [10, 12, 14, 16, 18]);
    let gone = records.prune_events(1_101, 60).await.expect("works");
    let rest = records.prune_events(1_101, 60).await.expect("works");
    assert_eq!((gone, rest), (60, 40));
}

/// Who was just told of a message does not find it, or a reader waits for ever for one that was left behind.
pub(super) async fn a_reader_waits_for_what_is_being_told(subject: Subject) {
    let kept = kept(subject).await;
    let records = kept.records.clone();
    let message = kept.message("ann", "soon", 1_000_000);
    let stored = records.post(message, None, 0).await.expect("is stored");
    let settled = {
        let (records, session) = (records.clone(), kept.session.clone());
        tokio::spawn(async move { records.settle(&session, 1_000_001).await })
    };
    tokio::time::sleep(Duration::from_millis(30)).await;
    records.told(stored.id, 3).await.expect("is marked");
    settled.await.expect("ends").expect("works");
    assert_eq!(kept.chat("bob").await, ["soon"]);
    let left = kept.message("ann", "never", 2_000_000);
    let left = records.post(left, None, 0).await.expect("is stored");
    let began = std::time::Instant::now();
    let waited = records.settle(&kept.session, 2_000_001).await;
    waited.expect("works");
    assert!(began.elapsed() < Duration::from_secs(5));
    records.unsay(left.id).await.expect("works");
    assert_eq!(records.untold(&[left.id]).await.expect("works"), []);
    let pruned = records.prune_messages(1_500_000, 10).await;
    assert_eq!(pruned.expect("works"), 1);
}
