//! Changes of who sends whole texts: a small edit, made where the sender was.
//!
//! A text made from an older version is compared with that version, and the edit is made in the document as it was then:
//! what others did since stays, as it would if the sender spoke Yjs.

use std::sync::Arc;

use super::desk::{Desk, Paper};
use super::{By, Flight, Texts};
use crate::backplane::documents::Base;
use crate::backplane::{Audience, Committed, Error};
use crate::domain::documents::{Broken, Document, EMPTY, Entry, TextChange, edits, plain};
use crate::ids::{EventId, SessionId, SocketId, UserId};
use crate::telemetry::metrics::metrics;

/// Clients kept for changes of older versions.
const OTHERS: usize = 16;
/// Times that others may be quicker while a text is compared.
const RACES: usize = 3;

/// Who sends it.
pub struct Sender<'a> {
    pub socket: SocketId,
    pub user: &'a UserId,
    pub roles: Option<&'static [&'static str]>,
    pub once: Option<String>,
}

/// What became of it.
pub struct Written {
    pub committed: Committed,
    /// The text as it is now, when it is not the sender's.
    pub merged: Option<(Arc<str>, u64)>,
}

pub enum Unwritten {
    /// The version that it was made from cannot be made again; the newest one.
    Gone {
        base: u64,
        version: u64,
    },
    /// With others' changes it would have more than so many UTF-16 units.
    TooLong(u64),
    Backplane(Error),
}

impl From<Error> for Unwritten {
    fn from(error: Error) -> Self {
        Unwritten::Backplane(error)
    }
}

impl From<Broken> for Unwritten {
    fn from(broken: Broken) -> Self {
        Unwritten::Backplane(Error::Unavailable(broken.to_string()))
    }
}

impl Texts {
    pub async fn write(
        &self,
        session: &SessionId,
        change: &TextChange,
        sender: Sender<'_>,
    ) -> Result<Written, Unwritten> {
        let desk = self.open(session).await?;
        let _turn = desk.turn.lock().await;
        self.settle(&desk).await?;
        // Before anything is done with the text; and again with the commit.
        if let Some(roles) = sender.roles {
            self.check_role(&desk, sender.user, roles).await?;
        }
        let code = plain(&change.code);
        let id = EventId::new();
        let applied = self.apply(&desk, &code, change.base, id).await;
        let (flight, update, before) = match applied {
            // What it was made from is gone, but it may have been taken then.
            Err(gone @ Unwritten::Gone { .. }) => match self.was_taken(&desk, &sender).await? {
                true => (Flight::new(self, &desk, id), EMPTY.to_vec(), u64::MAX - 1),
                false => return Err(gone),
            },
            applied => applied?,
        };
        if self.length(session) > Some(self.config.length) {
            return Err(Unwritten::TooLong(self.config.length));
        }
        let by = By {
            user: sender.user,
            origin: Some(sender.socket),
            audience: Audience::Except(sender.socket),
            roles: sender.roles,
            once: sender.once,
        };
        let committed = self.store(&desk, flight, update, by).await?;
        let is_behind = change.base.is_some_and(|base| base < before);
        let mut merged = None;
        if !committed.repeated && (is_behind || committed.version > before + 1) {
            metrics().text_merged();
        }
        // Who says what it was made from is told what came of it before its change is acknowledged: it would take its own
        // text for that version. The others are told with the change that theirs met.
        let is_merged = is_behind || committed.version > before + 1;
        if !committed.repeated && is_merged && change.base.is_some() {
            self.settle(&desk).await?;
            merged = desk.current().filter(|(text, _)| **text != *code);
        }
        Ok(Written { committed, merged })
    }

    async fn was_taken(&self, desk: &Desk, sender: &Sender<'_>) -> Result<bool, Error> {
        let Some(id) = &sender.once else {
            return Ok(false);
        };
        let known = self.backplane.known(&desk.room, sender.user, id).await?;
        Ok(known.is_some())
    }

    /// Makes the change in the document here; the update that it is, and the version before it.
    async fn apply<'a>(
        &'a self,
        desk: &'a Desk,
        code: &str,
        base: Option<u64>,
        id: EventId,
    ) -> Result<(Flight<'a>, Vec<u8>, u64), Unwritten> {
        let mut base = base;
        for race in 0.. {
            let (text, version) = desk.current().ok_or_else(unsettled)?;
            match base {
                Some(base) if base > version => {
                    self.catch_up(desk).await?;
                    let known = desk.with(|paper| paper.version).unwrap_or(version);
                    if base > known {
                        return Err(Unwritten::Gone { base, version });
                    }
                }
                Some(base) if base < version => return self.apply_at(desk, code, base, id).await,
                _ => {
                    // Outside of the lock, because others' changes come meanwhile.
                    let edits = edits(&text, code);
                    let flight = Flight::new(self, desk, id);
                    let made = desk.with(|paper| {
                        if paper.version != version || !paper.is_settled() {
                            return None;
                        }
                        paper.begin(id);
                        Some(paper.document.edit(&edits))
                    });
                    match made {
                        Some(Some(update)) => return Ok((flight, update, version)),
                        Some(None) => flight.landed(),
                        None => return Err(unsettled()),
                    }
                    if race >= RACES {
                        // Whoever replaces everything replaces what was there when it was compared.
                        base = Some(version);
                    }
                    self.settle(desk).await?;
                }
            }
        }
        Err(unsettled())
    }

    /// The same in the document as it was at an older version.
    async fn apply_at<'a>(
        &'a self,
        desk: &'a Desk,
        code: &str,
        base: u64,
        id: EventId,
    ) -> Result<(Flight<'a>, Vec<u8>, u64), Unwritten> {
        let version = desk.with(|paper| paper.version).unwrap_or(0);
        let Some((then, _)) = self.at(desk, base).await? else {
            return Err(Unwritten::Gone { base, version });
        };
        let then = desk
            .with(|paper| paper.hand(then))
            .ok_or_else(unsettled)??;
        let update = then.edit(&edits(&then.text(), code));
        let flight = Flight::new(self, desk, id);
        let version = desk.attempt(|paper| {
            let before = paper.version;
            paper.begin(id);
            paper.document.apply(&update).map(|()| before)
        });
        let version = version.ok_or_else(unsettled)??;
        Ok((flight, update, version))
    }

    /// The document as it was at a version, and the change that made it; `None`: the store does not reach back to it.
    pub(super) async fn at(
        &self,
        desk: &Desk,
        version: u64,
    ) -> Result<Option<(Document, Option<Entry>)>, Error> {
        let stored = self.backplane.document(&desk.room, None).await?;
        let same = desk.with(|paper| paper.epoch) == Some(stored.epoch);
        let snapshot = match &stored.base {
            Base::Snapshot(base, snapshot) if *base <= version => Some(&snapshot[..]),
            Base::None => None,
            _ => return Ok(None),
        };
        if !same || !stored.is_whole(0) {
            return Ok(None);
        }
        let log = stored.log.iter().filter(|(made, _)| *made <= version);
        let entries: Result<Vec<_>, Broken> =
            log.map(|(_, entry)| super::load::read(entry)).collect();
        let entries = entries.map_err(|broken| Error::Unavailable(broken.to_string()))?;
        let updates = entries.iter().map(|entry| &entry.update[..]);
        let (document, unread) = Document::of(snapshot.into_iter().chain(updates));
        let last = entries.last().cloned();
        Ok((unread == 0).then_some((document, last)))
    }
}

impl Paper {
    /// An older document, for a client whose clocks it knows to their end: the others are others' by now.
    fn hand(&mut self, then: Document) -> Result<Document, Broken> {
        let (old, new) = (then.clocks(), self.document.clocks());
        let is_known = |client: &u64| old.of(*client) == new.of(*client);
        if let Some(client) = self.others.iter().copied().find(is_known) {
            return then.twin(client);
        }
        if self.others.len() == OTHERS {
            self.others.pop_front();
        }
        self.others.push_back(then.client());
        Ok(then)
    }
}

fn unsettled() -> Unwritten {
    Unwritten::Backplane(Error::Unavailable(
        "the document was thrown away".to_owned(),
    ))
}
