//! Texts as others take them: the newest one with its version, for greetings and REST.

use std::sync::Arc;

use bytes::Bytes;

use super::Texts;
use super::load::read;
use crate::backplane::Error;
use crate::backplane::documents::Base;
use crate::clock::Millis;
use crate::dialects::Dialect;
use crate::domain::documents::merge;
use crate::domain::sessions::View;
use crate::ids::{Epoch, Room, SessionId, UserId};

/// A text of a version, and the whole document.
pub struct Whole {
    pub version: u64,
    pub text: Arc<str>,
    pub state: Vec<u8>,
}

impl Texts {
    /// Puts the text into a view that was taken of the session: at its version at least, and never one of this node's
    /// that may not be stored.
    pub async fn complete(&self, view: &mut View) -> Result<(), Error> {
        let room = Room::Session(view.session.clone());
        let is_shown = view.code_version == view.version;
        if is_shown
            && !self.is_warm(&view.session)
            && !self.hub.speaks(&room, Dialect::Yjs.tongue())
        {
            return Ok(());
        }
        let desk = self.desk(&view.session);
        // The session may have gone and come again, while the document stayed.
        let epoch = view.position.map(|at| at.epoch);
        if desk.with(|paper| Some(paper.epoch) != epoch) == Some(true) {
            desk.clear();
        }
        self.reach(&desk, view.version).await?;
        if let Some((text, version)) = desk.current() {
            (view.code, view.version) = (text.to_string(), version);
            return Ok(());
        }
        if is_shown {
            return Ok(());
        }
        let _turn = desk.turn.lock().await;
        self.settle(&desk).await?;
        let (text, version) = desk.current().ok_or_else(thrown_away)?;
        (view.code, view.version) = (text.to_string(), version);
        Ok(())
    }

    /// The same for who keeps it.
    pub async fn whole(&self, session: &SessionId) -> Result<Whole, Error> {
        let desk = self.open(session).await?;
        let _turn = desk.turn.lock().await;
        self.settle(&desk).await?;
        self.reach(&desk, 0).await?;
        let whole = desk.with(|paper| {
            let (text, version) = paper.current()?;
            let state = paper.document.state();
            Some(Whole {
                version,
                text,
                state,
            })
        });
        whole.flatten().ok_or_else(thrown_away)
    }

    /// What came after a version, as one update, and the version that it makes; all there is when the store does not reach
    /// back to it.
    pub async fn since(
        &self,
        session: &SessionId,
        known: (Epoch, u64),
    ) -> Result<(Bytes, u64), Error> {
        let desk = self.open(session).await?;
        let stored = self.backplane.document(&desk.room, Some(known)).await?;
        self.reach(&desk, stored.version).await?;
        if stored.base == Base::Known && stored.is_whole(known.1) {
            let entries = stored.log.iter().filter_map(|(_, entry)| read(entry).ok());
            let updates: Vec<Vec<u8>> = entries.map(|entry| entry.update).collect();
            if let Ok(merged) = merge(&updates) {
                return Ok((merged.into(), stored.version));
            }
        }
        let _turn = desk.turn.lock().await;
        self.settle(&desk).await?;
        let all = desk.with(|paper| (paper.document.state().into(), paper.version));
        all.ok_or_else(thrown_away)
    }

    /// The text of an older version, as long as the store reaches back to it.
    pub async fn text_at(
        &self,
        session: &SessionId,
        version: u64,
    ) -> Result<Option<(String, Option<(UserId, Millis)>)>, Error> {
        let desk = self.open(session).await?;
        let then = self.at(&desk, version).await?;
        Ok(then.map(|(then, last)| (then.text(), last.map(|entry| (entry.user, entry.at)))))
    }
}

fn thrown_away() -> Error {
    Error::Unavailable("the document was thrown away meanwhile".to_owned())
}
