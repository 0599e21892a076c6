//! Writes the texts of recorded sessions into the records, a moment after they changed.
//!
//! Until then a text is in the backplane alone, which keeps it while somebody is there and for a while longer. A node
//! that dies leaves what it had not saved to whoever takes its members out.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;

use super::Node;
use crate::backplane::RECORDED;
use crate::ids::{Room, SessionId};
use crate::records::Saved;

/// Texts saved at once.
const SAVED_AT_ONCE: usize = 8;

#[derive(Default)]
pub(super) struct Unsaved {
    sessions: Mutex<HashSet<SessionId>>,
    turn: tokio::sync::Mutex<()>,
}

impl Unsaved {
    /// It may have a text that the records do not have.
    pub fn note(&self, room: &Room) {
        if let Some(session) = room.session().filter(|session| session.is_recorded()) {
            let mut unsaved = self.sessions.lock();
            if !unsaved.contains(session) {
                unsaved.insert(session.clone());
            }
        }
    }
}

impl Node {
    /// Saves again and again, until the node stops.
    pub async fn keep_texts(self: Arc<Self>) {
        let mut every = tokio::time::interval(self.config.save_every);
        while self
            .stopping
            .run_until_cancelled(every.tick())
            .await
            .is_some()
        {
            self.save_texts().await;
        }
    }

    pub(super) async fn save_texts(&self) {
        // One after the other: who comes last saves what an earlier one gave back.
        let _turn = self.unsaved.turn.lock().await;
        let unsaved = std::mem::take(&mut *self.unsaved.sessions.lock());
        let save = |session| async move {
            match self.save_text(&session).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::error!(%session, "what was written since the last saving is lost: the room is gone");
                }
                Err(why) => {
                    tracing::debug!(%session, why, "a text was not saved; that is tried again");
                    self.unsaved.sessions.lock().insert(session);
                }
            }
        };
        let unsaved = stream::iter(unsaved);
        unsaved.for_each_concurrent(SAVED_AT_ONCE, save).await;
    }

    /// False when there is no room to save a text of.
    pub(super) async fn save_text(&self, session: &SessionId) -> Result<bool, String> {
        let Some(records) = self.records() else {
            return Ok(true);
        };
        let room = Room::Session(session.clone());
        let snapshot = self.backplane.snapshot(&room).await;
        let mut snapshot = snapshot.map_err(|error| error.to_string())?;
        if snapshot.fields.is_empty() {
            return Ok(false);
        }
        // A room of some other making says nothing of this session.
        if snapshot.ended() || !snapshot.fields.contains_key(RECORDED) {
            return Ok(true);
        }
        let mut field = |name: &str| snapshot.fields.remove(name).unwrap_or_default();
        let saved = Saved {
            version: field("version").parse().unwrap_or(0),
            code: field("code"),
            language: field("language"),
        };
        let done = records.save_text(session, &saved).await;
        done.map(|()| true).map_err(|error| error.to_string())
    }
}
