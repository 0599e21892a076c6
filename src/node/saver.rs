//! Writes the texts of recorded sessions into the records, a moment after they changed.
//!
//! Until then a text is in the backplane alone, which keeps it while somebody is there and for a while longer. A node
//! that dies leaves what it had not saved to whoever takes its members out.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Node;
use crate::ids::{Room, SessionId};
use crate::records::Saved;

#[derive(Default)]
pub(super) struct Unsaved(Mutex<HashSet<SessionId>>);

impl Unsaved {
    /// It may have a text that the records do not have.
    pub fn note(&self, room: &Room) {
        if let Some(session) = room.session().filter(|session| session.is_recorded()) {
            let mut unsaved = self.0.lock();
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
        let unsaved = std::mem::take(&mut *self.unsaved.0.lock());
        for session in unsaved {
            if let Err(why) = self.save_text(&session).await {
                tracing::debug!(%session, why, "a text was not saved; that is tried again");
                self.unsaved.0.lock().insert(session);
            }
        }
    }

    /// One whose room is gone has nothing to be saved any more.
    pub(super) async fn save_text(&self, session: &SessionId) -> Result<(), String> {
        let Some(records) = self.records() else {
            return Ok(());
        };
        let room = Room::Session(session.clone());
        let snapshot = self.backplane.snapshot(&room).await;
        let mut snapshot = snapshot.map_err(|error| error.to_string())?;
        if snapshot.ended() || snapshot.fields.is_empty() {
            return Ok(());
        }
        let mut field = |name: &str| snapshot.fields.remove(name).unwrap_or_default();
        let saved = Saved {
            version: field("version").parse().unwrap_or(0),
            code: field("code"),
            language: field("language"),
        };
        let done = records.save_text(session, &saved).await;
        done.map_err(|error| error.to_string())
    }
}
