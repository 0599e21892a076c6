//! A document in this process, and how it stands to the stored one: what was heard of it, and the one change of this node
//! that is on its way.
//!
//! A change is applied here first, so that what the library cannot take is never stored. Until the store has answered the
//! document is ahead of every version: its text is told to nobody, and should the store refuse, the document is thrown
//! away and read again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::aware::Aware;
use super::queue::Queue;
use crate::domain::documents::{Broken, Document};
use crate::ids::{Epoch, EventId, Room, SessionId, UserId};

/// A session's document on this node. It stays while what is on it comes and goes.
pub struct Desk {
    pub session: SessionId,
    pub room: Room,
    paper: Mutex<Option<Paper>>,
    /// What was thrown away, as long as it may say more than is stored.
    former: Mutex<Option<Paper>>,
    /// One reading of the store at a time.
    pub loading: tokio::sync::Mutex<()>,
    /// One change of this node's on its way at a time.
    pub turn: tokio::sync::Mutex<()>,
    /// Updates that wait to be changes.
    pub queue: Mutex<Queue>,
    /// Who is aware of it.
    pub aware: Mutex<Aware>,
    /// Something of the above is another now.
    pub moved: Notify,
    upkeep: Mutex<Upkeep>,
}

/// What is to be done about a document that nobody waits for.
#[derive(Debug, Clone, Copy)]
pub struct Upkeep {
    /// When it last changed or was asked for, and when somebody was last there.
    pub used: Instant,
    pub present: Instant,
    /// Nothing is tried again before: neither what could not be stored, nor what could not be tidied up.
    pub not_before: Option<Instant>,
    pub pause: Duration,
    /// When the text is to be written where people look for it.
    pub show: Option<Instant>,
    /// The last change was this node's.
    pub ours: bool,
    pub compacting: bool,
    /// Up to where the records know what it came of.
    pub saved: Option<(Epoch, u64)>,
}

pub struct Paper {
    pub document: Document,
    pub epoch: Epoch,
    /// All up to this version is applied.
    pub version: u64,
    /// The version that this node's last change made, while some before it are missing.
    ahead: Option<u64>,
    /// The change that is applied and was not answered.
    ours: Option<EventId>,
    /// The text at that version, once somebody asked.
    text: Option<Arc<str>>,
    /// Who changed it last.
    pub by: Option<UserId>,
    /// Version of the stored snapshot, and bytes of the log since.
    pub base: u64,
    pub bytes: usize,
    /// Clients by which changes of older versions were made.
    pub others: VecDeque<u64>,
}

/// What came of a change that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Taken,
    Known,
    /// Something before it is missing.
    Gap,
}

impl Desk {
    pub fn new(session: SessionId) -> Self {
        Self {
            room: Room::Session(session.clone()),
            session,
            paper: Mutex::default(),
            former: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            queue: Mutex::default(),
            aware: Mutex::default(),
            moved: Notify::new(),
            upkeep: Mutex::new(Upkeep {
                used: Instant::now(),
                present: Instant::now(),
                not_before: None,
                pause: Duration::ZERO,
                show: None,
                ours: false,
                compacting: false,
                saved: None,
            }),
        }
    }

    pub fn is_warm(&self) -> bool {
        self.paper.lock().is_some()
    }

    /// Does something with the document, if it is there.
    pub fn with<T>(&self, act: impl FnOnce(&mut Paper) -> T) -> Option<T> {
        self.paper.lock().as_mut().map(act)
    }

    pub fn upkeep<T>(&self, act: impl FnOnce(&mut Upkeep) -> T) -> T {
        act(&mut self.upkeep.lock())
    }

    /// The same with what may break it: a broken document is gone before anybody else sees it.
    pub fn attempt<T>(
        &self,
        act: impl FnOnce(&mut Paper) -> Result<T, Broken>,
    ) -> Option<Result<T, Broken>> {
        let mut paper = self.paper.lock();
        let done = act(paper.as_mut()?);
        if done.is_err() {
            *paper = None;
        }
        Some(done)
    }

    /// A document that was read, unless what is there is newer.
    pub fn lay(&self, read: Paper) {
        {
            let mut former = self.former.lock();
            let is_told =
                |former: &Paper| former.epoch == read.epoch && former.version <= read.version;
            former.take_if(|former| is_told(former));
        }
        let mut paper = self.paper.lock();
        let is_newer = |known: &Paper| known.epoch == read.epoch && known.version > read.version;
        if !paper.as_ref().is_some_and(is_newer) {
            *paper = Some(read);
        }
        drop(paper);
        self.moved.notify_waiters();
    }

    /// Throws the document away, but for what the store may turn out to have lost of it.
    pub fn set_aside(&self) {
        let paper = self.paper.lock().take();
        if let Some(paper) = paper {
            self.former.lock().get_or_insert(paper);
        }
        self.moved.notify_waiters();
    }

    pub fn former(&self) -> Option<Paper> {
        self.former.lock().take()
    }

    /// Throws the document away; what it was.
    pub fn clear(&self) -> Option<Paper> {
        let paper = self.paper.lock().take();
        self.moved.notify_waiters();
        paper
    }

    /// A change was heard, by its version.
    pub fn heard(
        &self,
        at: (Epoch, u64),
        id: EventId,
        user: &UserId,
        update: Option<&[u8]>,
    ) -> Option<Heard> {
        let heard = {
            let mut paper = self.paper.lock();
            let known = paper.as_mut()?;
            match known.heard(at, id, user, update) {
                Ok(heard) => heard,
                Err(broken) => {
                    tracing::error!(session = %self.session, %broken, "a stored change of the text cannot be read");
                    *paper = None;
                    return None;
                }
            }
        };
        self.moved.notify_waiters();
        Some(heard)
    }

    /// The text and its version; `None` when it is not there, or is ahead of all versions.
    pub fn current(&self) -> Option<(Arc<str>, u64)> {
        self.with(Paper::current).flatten()
    }
}

impl Paper {
    pub fn new(document: Document, epoch: Epoch, version: u64) -> Self {
        Self {
            document,
            epoch,
            version,
            ahead: None,
            ours: None,
            text: None,
            by: None,
            base: 0,
            bytes: 0,
            others: VecDeque::new(),
        }
    }

    /// It is what the store has at its version, and nothing else.
    pub fn is_settled(&self) -> bool {
        self.ours.is_none() && self.ahead.is_none()
    }

    /// The change is this node's, and on its way.
    pub fn is_ours(&self, change: EventId) -> bool {
        self.ours == Some(change)
    }

    pub fn misses_some(&self) -> bool {
        self.ahead.is_some()
    }

    pub fn current(&mut self) -> Option<(Arc<str>, u64)> {
        if !self.is_settled() {
            return None;
        }
        let document = &self.document;
        let text = self.text.get_or_insert_with(|| document.text().into());
        Some((text.clone(), self.version))
    }

    /// This node's change is applied, and on its way.
    pub fn begin(&mut self, change: EventId) {
        self.ours = Some(change);
        self.text = None;
    }

    /// It changed nothing, and is not stored.
    pub fn nothing(&mut self) {
        self.ours = None;
    }

    /// It made that version.
    pub fn answered(&mut self, change: EventId, version: u64, user: &UserId, bytes: usize) {
        // Heard before; or the document was read again meanwhile, and the change is heard like any other.
        if self.ours != Some(change) {
            return;
        }
        self.ours = None;
        if version <= self.version {
            return;
        }
        self.by = Some(user.clone());
        self.bytes += bytes;
        if version == self.version + 1 {
            self.version = version;
        } else {
            self.ahead = Some(version);
        }
        self.text = None;
    }

    fn heard(
        &mut self,
        (epoch, version): (Epoch, u64),
        id: EventId,
        user: &UserId,
        update: Option<&[u8]>,
    ) -> Result<Heard, Broken> {
        if self.ours == Some(id) {
            // The store's answer is still on its way.
            self.ours = None;
            self.ahead = Some(version).filter(|version| *version > self.version);
            self.bytes += update.map_or(0, <[u8]>::len);
            self.by = Some(user.clone());
            return Ok(self.catch_up());
        }
        if epoch != self.epoch || version <= self.version || self.ahead == Some(version) {
            return Ok(Heard::Known);
        }
        let Some(update) = update.filter(|_| version == self.version + 1) else {
            return Ok(Heard::Gap);
        };
        self.take(version, update)?;
        self.by = Some(user.clone());
        Ok(self.catch_up())
    }

    /// The next version.
    pub fn take(&mut self, version: u64, update: &[u8]) -> Result<(), Broken> {
        self.text = None;
        self.version = version;
        self.bytes += update.len();
        self.document.apply(update)
    }

    /// Whether what was missing before this node's own change is there now.
    pub fn catch_up(&mut self) -> Heard {
        match self.ahead {
            Some(version) if version <= self.version + 1 => {
                self.version = version.max(self.version);
                self.ahead = None;
                self.text = None;
                Heard::Taken
            }
            Some(_) => Heard::Gap,
            None => Heard::Taken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::documents::edits;

    const EPOCH: Epoch = Epoch(1);

    fn paper() -> Paper {
        Paper::new(Document::new(), EPOCH, 0)
    }

    fn user() -> UserId {
        UserId::parse("ann").unwrap()
    }

    fn update(text: &str) -> Vec<u8> {
        Document::new().edit(&edits("", text))
    }

    fn hear(paper: &mut Paper, version: u64, text: &str) -> Heard {
        let update = update(text);
        paper
            .heard((EPOCH, version), EventId::new(), &user(), Some(&update))
            .unwrap()
    }

    fn text(paper: &mut Paper) -> Option<String> {
        paper.current().map(|(text, _)| text.to_string())
    }

    #[test]
    fn changes_are_taken_one_after_the_other() {
        let mut paper = paper();
        assert_eq!(hear(&mut paper, 2, "b"), Heard::Gap);
        assert_eq!(hear(&mut paper, 1, "a"), Heard::Taken);
        assert_eq!(hear(&mut paper, 1, "a"), Heard::Known);
        assert_eq!(text(&mut paper).unwrap(), "a");
    }

    #[test]
    fn nobody_is_told_what_was_not_stored() {
        let mut paper = paper();
        let (id, ours) = (EventId::new(), update("ours"));
        paper.document.apply(&ours).unwrap();
        paper.begin(id);
        assert_eq!(text(&mut paper), None);
        // Another's was stored before it.
        assert_eq!(hear(&mut paper, 1, "x"), Heard::Taken);
        assert_eq!(text(&mut paper), None);
        paper.answered(id, 2, &user(), ours.len());
        assert_eq!((paper.version, text(&mut paper).unwrap().len()), (2, 5));
        let again = paper.heard((EPOCH, 2), id, &user(), Some(&ours)).unwrap();
        assert_eq!(again, Heard::Known);
    }

    #[test]
    fn an_own_change_may_be_heard_before_it_is_answered() {
        let mut paper = paper();
        let (id, ours) = (EventId::new(), update("ours"));
        paper.document.apply(&ours).unwrap();
        paper.begin(id);
        let heard = paper.heard((EPOCH, 1), id, &user(), Some(&ours)).unwrap();
        assert_eq!(
            (heard, text(&mut paper).as_deref()),
            (Heard::Taken, Some("ours"))
        );
        paper.answered(id, 1, &user(), ours.len());
        assert_eq!(text(&mut paper).as_deref(), Some("ours"));
    }

    /// Guards a version that says more than there is: the document was read again while a change was on its way.
    #[test]
    fn an_answer_for_another_document_says_nothing() {
        let mut paper = paper();
        let (id, ours) = (EventId::new(), update("ours"));
        paper.answered(id, 1, &user(), ours.len());
        assert_eq!(paper.version, 0);
        let heard = paper.heard((EPOCH, 1), id, &user(), Some(&ours)).unwrap();
        assert_eq!(
            (heard, text(&mut paper).as_deref()),
            (Heard::Taken, Some("ours"))
        );
    }

    #[test]
    fn an_own_change_waits_for_those_before_it() {
        let mut paper = paper();
        let id = EventId::new();
        paper.begin(id);
        paper.answered(id, 3, &user(), 1);
        assert!(paper.misses_some());
        assert_eq!(hear(&mut paper, 1, "a"), Heard::Gap);
        assert_eq!(text(&mut paper), None);
        assert_eq!(hear(&mut paper, 2, "b"), Heard::Taken);
        assert_eq!((paper.version, paper.is_settled()), (3, true));
    }
}
