//! What the backplane promises of texts: changes and their log in one step, snapshots in place of logs, views.

use collabd::backplane::documents::{Base, Stored};

use super::*;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

impl Subject {
    async fn document(&self, since: Option<(Epoch, u64)>) -> Stored {
        let stored = self.backplane.document(&self.room, since).await;
        stored.expect("a document is read")
    }

    async fn write(&self, changes: &[&'static str]) {
        let epoch = self.epoch().await;
        for change in changes {
            let committed = self.backplane.commit(&self.room, text(change, epoch)).await;
            committed.expect("a commit works");
        }
    }

    async fn compact(&self, from: Option<u64>, to: u64, snapshot: &'static str) -> bool {
        let epoch = self.document(None).await.epoch;
        let (backplane, room) = (&self.backplane, &self.room);
        let done = backplane
            .compact(room, epoch, from, to, bytes(snapshot))
            .await;
        done.expect("compacting works")
    }
}

/// The versions and changes of a log.
fn log(changes: &[(u64, &'static str)]) -> Vec<(u64, Bytes)> {
    let changes = changes.iter();
    changes
        .map(|(version, change)| (*version, bytes(change)))
        .collect()
}

/// A change that has a version and is in no log, or a hole before it.
pub(super) async fn changes_of_a_text_are_in_its_log(subject: Subject) {
    subject.begun().await;
    let empty = subject.document(None).await;
    assert_eq!(
        (empty.version, empty.base, empty.log),
        (0, Base::None, Vec::new())
    );
    subject.write(&["a", "b", "c"]).await;
    let whole = subject.document(None).await;
    assert_eq!((whole.version, &whole.base), (3, &Base::None));
    assert_eq!(whole.log, log(&[(1, "a"), (2, "b"), (3, "c")]));
    assert!(whole.is_whole(0));
    let since = subject.document(Some((whole.epoch, 1))).await;
    assert_eq!(
        (since.base, since.log),
        (Base::Known, log(&[(2, "b"), (3, "c")]))
    );
    let nothing = subject.document(Some((whole.epoch, 3))).await;
    assert_eq!((nothing.base, nothing.log), (Base::Known, Vec::new()));
    // Of another life, and of a time to come.
    for known in [(Epoch(whole.epoch.0 ^ 1), 1), (whole.epoch, 4)] {
        assert_eq!(subject.document(Some(known)).await, whole);
    }
}

/// A reader that finds neither the log nor the snapshot that took its place.
pub(super) async fn a_snapshot_takes_the_place_of_a_log(subject: Subject) {
    subject.begun().await;
    subject.write(&["a", "b", "c"]).await;
    assert!(!subject.compact(None, 4, "later than the newest").await);
    assert!(subject.compact(None, 2, "ab").await);
    let (first, late) = (Some(1), Some(2));
    assert!(!subject.compact(None, 3, "who came too late").await);
    assert!(!subject.compact(first, 3, "who came too late").await);
    let short = subject.document(None).await;
    assert_eq!(short.base, Base::Snapshot(2, bytes("ab")));
    assert_eq!((&short.log, short.is_whole(0)), (&log(&[(3, "c")]), true));
    // What is known from before the snapshot is known no more.
    assert_eq!(subject.document(Some((short.epoch, 1))).await, short);
    let since = subject.document(Some((short.epoch, 2))).await;
    assert_eq!((since.base, since.log), (Base::Known, log(&[(3, "c")])));
    subject.write(&["d"]).await;
    assert!(subject.compact(late, 4, "abcd").await);
    let all = subject.document(None).await;
    assert_eq!(
        (all.base, all.log),
        (Base::Snapshot(4, bytes("abcd")), Vec::new())
    );
    let other = Epoch(all.epoch.0 ^ 1);
    let (backplane, room) = (&subject.backplane, &subject.room);
    let done = backplane
        .compact(room, other, Some(4), 4, bytes("of another life"))
        .await;
    assert_eq!(done, Ok(false));
}

/// Readers of the text who see it go back.
pub(super) async fn a_text_is_shown_unless_a_newer_one_is(subject: Subject) {
    subject.begun().await;
    subject.write(&["a", "b"]).await;
    let epoch = subject.document(None).await.epoch;
    let show = |epoch, version, text| subject.backplane.show(&subject.room, epoch, version, text);
    assert_eq!(show(epoch, 2, "two").await, Ok(true));
    for (epoch, version) in [(epoch, 1), (epoch, 2), (Epoch(epoch.0 ^ 1), 3)] {
        assert_eq!(show(epoch, version, "older").await, Ok(false));
    }
    assert_eq!(subject.field("code").await.as_deref(), Some("two"));
    assert_eq!(subject.field("code_version").await.as_deref(), Some("2"));
    assert_eq!(subject.document(None).await.view, ("two".to_owned(), 2));
}

/// A session that is made again with what is left of the former one's text, or whose text outlives it.
pub(super) async fn a_text_goes_with_its_session(subject: Subject) {
    let socket = subject.begun().await;
    subject.write(&["a"]).await;
    assert!(subject.compact(None, 1, "a").await);
    subject.leave(socket, "ann").await;
    let gone = async {
        while subject.backplane.document(&subject.room, None).await != Err(Error::Missing) {
            tokio::time::sleep(GRACE / 10).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .expect("it expires");
    let socket = subject.socket();
    subject.enter(socket, "ann").await.expect("entering works");
    let anew = subject.document(None).await;
    assert_eq!(
        (anew.version, anew.base, anew.log),
        (0, Base::None, Vec::new())
    );
    subject.write(&["b"]).await;
    let ended = subject.backplane.end(&subject.room, draft("ended")).await;
    ended.expect("ending works");
    assert_eq!(
        subject.backplane.document(&subject.room, None).await,
        Err(Error::Ended)
    );
    let snapshot = subject
        .backplane
        .compact(&subject.room, anew.epoch, None, 0, bytes("x"))
        .await;
    assert_eq!(snapshot, Err(Error::Ended));
}

/// A code room's text that outlives its people, but not what it came of.
pub(super) async fn a_text_is_kept_with_what_it_came_of(subject: Subject) {
    let socket = subject.begun().await;
    subject.write(&["a"]).await;
    assert!(subject.compact(None, 1, "a").await);
    subject.write(&["b"]).await;
    subject.leave(socket, "ann").await;
    let session = subject.room.session().expect("a session");
    let kept = subject.backplane.mirror(session, "ab").await;
    kept.expect("mirroring works");
    tokio::time::sleep(GRACE * 2).await;
    let whole = subject.document(None).await;
    assert_eq!((whole.version, whole.is_whole(0)), (2, true));
    assert_eq!(whole.base, Base::Snapshot(1, bytes("a")));
}
