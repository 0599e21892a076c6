//! How documents come to this node, and how the store gets back what it lost of them.

use std::sync::Arc;
use std::time::Duration;

use super::desk::{Desk, Paper, Upkeep};
use super::{By, Flight, Texts};
use crate::backplane::documents::{Base, Stored};
use crate::backplane::{Audience, Error};
use crate::domain::documents::{Broken, Document, Entry, edits};
use crate::ids::{EventId, SessionId, UserId};
use crate::telemetry::metrics::metrics;

/// Times that another node may be quicker.
const RACES: usize = 5;
/// A document larger than this is not read beside others' work.
const LARGE: usize = 256 * 1024;
/// How long missing versions are on their way before they are asked for.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// What became of a document whose session began a new order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// It goes on, with all that was known here.
    Same,
    /// It was made anew of a plain text: who kept the former one would have everything twice.
    Another,
}

impl Texts {
    pub(super) async fn warm(&self, desk: &Desk) -> Result<(), Error> {
        if desk.is_warm() {
            return Ok(());
        }
        let _turn = desk.loading.lock().await;
        if desk.is_warm() {
            return Ok(());
        }
        desk.lay(self.load(desk).await?);
        Ok(())
    }

    /// Sees to it that the document is at that version at least, as far as the store is.
    pub(super) async fn reach(&self, desk: &Desk, version: u64) -> Result<(), Error> {
        self.warm(desk).await?;
        match desk.with(|paper| paper.version < version || paper.misses_some()) {
            Some(false) => Ok(()),
            _ => self.catch_up(desk).await,
        }
    }

    /// Reads what came since.
    pub(super) async fn catch_up(&self, desk: &Desk) -> Result<(), Error> {
        let turn = desk.loading.lock().await;
        let Some(known) = desk.with(|paper| (paper.epoch, paper.version)) else {
            drop(turn);
            return self.warm(desk).await;
        };
        let stored = self.backplane.document(&desk.room, Some(known)).await?;
        if stored.base == Base::Known && stored.is_whole(known.1) {
            let taken = desk.attempt(|paper| {
                for (version, entry) in &stored.log {
                    let entry = read(entry)?;
                    if *version == paper.version + 1 {
                        paper.take(*version, &entry.update)?;
                        paper.by = Some(entry.user);
                    }
                }
                paper.catch_up();
                Ok(())
            });
            if let Some(Ok(())) = taken {
                if stored.view.1 < stored.version {
                    desk.upkeep(Upkeep::changed_elsewhere);
                }
                desk.moved.notify_waiters();
                return Ok(());
            }
        }
        desk.lay(self.load(desk).await?);
        Ok(())
    }

    /// Waits until the document is what is stored, and nothing else. Whoever calls has the desk's turn.
    pub(super) async fn settle(&self, desk: &Desk) -> Result<(), Error> {
        self.warm(desk).await?;
        let deadline = tokio::time::sleep(ON_ITS_WAY);
        tokio::pin!(deadline);
        loop {
            let moved = desk.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if desk.with(|paper| paper.is_settled()).unwrap_or(false) {
                return Ok(());
            }
            tokio::select! {
                () = moved => {}
                () = &mut deadline => return self.catch_up(desk).await,
            }
        }
    }

    async fn load(&self, desk: &Desk) -> Result<Paper, Error> {
        for _ in 0..RACES {
            let stored = self.backplane.document(&desk.room, None).await?;
            let is_begun = stored.version > 0 || !stored.view.0.is_empty();
            if stored.base == Base::None && stored.log.is_empty() && is_begun {
                self.seed(desk, &stored).await?;
                continue;
            }
            let whole = stored.is_whole(0);
            let (epoch, version) = (stored.epoch, stored.version);
            let view = stored.view.clone();
            let from = match stored.base {
                Base::Snapshot(version, _) => Some(version),
                Base::None | Base::Known => None,
            };
            let (paper, unread) = read_all(stored).await;
            if whole && unread == 0 {
                if view.1 < version {
                    desk.upkeep(Upkeep::changed_elsewhere);
                }
                return Ok(paper);
            }
            // What is left is a document, and the text that was last shown may say more.
            tracing::error!(session = %desk.session, version, unread, "updates of a text are lost");
            let document = &paper.document;
            let text = document.text();
            if view.1 > paper.version && view.0 != text {
                document.edit(&edits(&text, &view.0));
            }
            metrics().document_healed();
            let state = document.beyond(|_| 0).into();
            self.backplane
                .compact(&desk.room, epoch, from, version, state)
                .await?;
        }
        Err(Error::Unavailable(
            "the document changes all the time".to_owned(),
        ))
    }

    /// Makes a document of a plain text. Everybody makes the same one, and the first is taken.
    async fn seed(&self, desk: &Desk, stored: &Stored) -> Result<(), Error> {
        let kept = self.kept(&desk.session, stored.version).await?;
        let state = kept.unwrap_or_else(|| Document::seed(&stored.view.0, stored.epoch.0));
        let (epoch, version) = (stored.epoch, stored.version);
        let room = &desk.room;
        self.backplane
            .compact(room, epoch, None, version, state.into())
            .await?;
        Ok(())
    }

    /// The document as the records have it, of a session that was made again of them.
    async fn kept(&self, session: &SessionId, version: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(records) = self
            .roster
            .records
            .as_ref()
            .filter(|_| session.is_recorded())
        else {
            return Ok(None);
        };
        let kept = records.document(session).await;
        let kept = kept.map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(kept.filter(|kept| kept.0 == version).map(|kept| kept.1))
    }

    /// The session began a new order, because the store lost something: the document is read again, and what it lacks
    /// is put back.
    pub async fn renew(&self, session: &SessionId) -> Result<Renewed, Error> {
        let Some(desk) = self.find(session) else {
            return Ok(Renewed::Same);
        };
        let former = {
            let _turn = desk.loading.lock().await;
            // What was thrown away says more than what was read of a store that had lost it already.
            desk.set_aside();
            let read = self.load(&desk).await?;
            let former = desk.former();
            desk.lay(read);
            former
        };
        desk.queue.lock().lost = true;
        let Some(former) = former else {
            return Ok(Renewed::Same);
        };
        let turn = desk.turn.lock().await;
        self.settle(&desk).await?;
        let lacking = desk.with(|paper| {
            if paper.epoch == former.epoch && paper.version >= former.version {
                return Ok(Some(None));
            }
            let known = former.document.seeds();
            if !paper
                .document
                .seeds()
                .iter()
                .all(|seed| known.contains(seed))
            {
                return Ok(None);
            }
            paper.document.lacks(&former.document).map(Some)
        });
        let lacking = match lacking {
            Some(Ok(Some(lacking))) => lacking,
            Some(Ok(None)) => return Ok(Renewed::Another),
            // It was thrown away meanwhile: whoever did that sees to the rest.
            Some(Err(_)) | None => return Ok(Renewed::Same),
        };
        let healer = former.by.or_else(|| self.anybody(&desk));
        if let (Some(lacking), Some(user)) = (lacking, healer) {
            let id = EventId::new();
            let flight = Flight::new(self, &desk, id);
            let applied = desk.attempt(|paper| {
                paper.begin(id);
                paper.document.apply(&lacking)
            });
            if let Some(Ok(())) = applied {
                let by = By {
                    user: &user,
                    origin: None,
                    audience: Audience::All,
                    roles: None,
                    once: None,
                };
                self.store(&desk, flight, lacking, by).await?;
                metrics().document_healed();
                tracing::warn!(%session, "the store got back what it had lost of a text");
            }
        }
        drop(turn);
        Ok(Renewed::Same)
    }

    fn anybody(&self, desk: &Arc<Desk>) -> Option<UserId> {
        let sockets = self.hub.sockets_in(&desk.room);
        sockets.first().map(|socket| socket.user.clone())
    }
}

pub(super) fn read(entry: &[u8]) -> Result<Entry, Broken> {
    rmp_serde::from_slice(entry).map_err(|error| Broken::new(error.to_string()))
}

async fn read_all(stored: Stored) -> (Paper, usize) {
    let snapshot = match &stored.base {
        Base::Snapshot(_, snapshot) => snapshot.len(),
        _ => 0,
    };
    let log: usize = stored.log.iter().map(|(_, entry)| entry.len()).sum();
    if snapshot + log < LARGE {
        return paper(&stored);
    }
    let read = tokio::task::spawn_blocking(move || paper(&stored));
    read.await.expect("reading a document does not panic")
}

/// The document up to where it is whole, and how much of it cannot be read and is left out.
fn paper(stored: &Stored) -> (Paper, usize) {
    let (base, snapshot) = match &stored.base {
        Base::Snapshot(version, snapshot) => (*version, &snapshot[..]),
        _ => (0, &[][..]),
    };
    let entries = stored
        .log
        .iter()
        .map(|(version, entry)| (*version, read(entry)));
    let entries: Vec<(u64, Result<Entry, Broken>)> = entries.collect();
    let updates = entries
        .iter()
        .filter_map(|(_, entry)| Some(&entry.as_ref().ok()?.update[..]));
    let first = Some(snapshot).filter(|snapshot| !snapshot.is_empty());
    let (document, unread) = Document::of(first.into_iter().chain(updates));
    let unread = unread + entries.iter().filter(|(_, entry)| entry.is_err()).count();
    let mut version = base;
    for (next, _) in &entries {
        if *next == version + 1 {
            version = *next;
        }
    }
    let mut paper = Paper::new(document, stored.epoch, version);
    let last = entries.into_iter().rev().find_map(|(_, entry)| entry.ok());
    paper.by = last.map(|entry| entry.user);
    paper.base = base;
    paper.bytes = stored.log.iter().map(|(_, entry)| entry.len()).sum();
    (paper, unread)
}
