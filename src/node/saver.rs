//! Writes the texts of recorded sessions into the records, a moment after they changed, and what happened there.
//!
//! Until then a text is in the backplane alone, which keeps it while somebody is there and for a while longer. A node
//! that dies leaves what it had not saved to whoever takes its members out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Config, Node};
use crate::backplane::RECORDED;
use crate::clock::Millis;
use crate::domain::Event;
use crate::ids::{Position, Room, SessionId, UserId};
use crate::records::Saved;

/// Sessions saved at once.
const SAVED_AT_ONCE: usize = 8;
/// Texts of a session that wait to be kept for replays; of more, the oldest is left out.
const TEXTS: usize = 8;
/// Changes of messages that wait to be told.
const UNTOLD: usize = 100;
/// What part of the room's log may be unrecorded before nobody waits any longer.
const HURRY: u64 = 4;

/// Recorded sessions that have something which the records do not have.
pub(super) struct Unsaved {
    sessions: Mutex<HashMap<SessionId, Pending>>,
    turn: tokio::sync::Mutex<()>,
    hurry: Notify,
    /// Events after which nobody waits any longer.
    most: u64,
    step: Duration,
}

/// What is known of it here.
#[derive(Default)]
pub(super) struct Pending {
    /// Whether its text may have changed: if the room is gone, that is lost.
    text: bool,
    /// The first event that was noted.
    first: Option<u64>,
    pub texts: Vec<Kept>,
    /// When the last of them began.
    since: Option<Millis>,
    /// What was written down of messages, and not told.
    untold: Vec<Event>,
}

/// A text as it was at some time.
pub(super) struct Kept {
    pub position: Position,
    pub version: u64,
    pub at: Millis,
    pub user: UserId,
    pub code: Arc<str>,
}

impl Unsaved {
    pub fn new(config: &Config) -> Self {
        Self {
            sessions: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            hurry: Notify::new(),
            most: config.relay.log_length / HURRY,
            step: config.replay_step,
        }
    }

    /// It may have a text that the records do not have.
    pub fn note(&self, room: &Room) {
        self.look_at(room, true);
    }

    /// Something happened there.
    pub fn note_event(&self, room: &Room) {
        self.look_at(room, false);
    }

    fn look_at(&self, room: &Room, text: bool) {
        if let Some(session) = room.session().filter(|session| session.is_recorded()) {
            let mut unsaved = self.sessions.lock();
            if let Some(pending) = unsaved.get_mut(session) {
                pending.text |= text;
                return;
            }
            let pending = Pending {
                text,
                ..Pending::default()
            };
            unsaved.insert(session.clone(), pending);
        }
    }

    /// The same after a commit, with the text that it made.
    pub fn note_commit(&self, session: &SessionId, seq: u64, text: Option<Kept>) {
        let mut unsaved = self.sessions.lock();
        if !unsaved.contains_key(session) {
            unsaved.insert(session.clone(), Pending::default());
        }
        let Some(pending) = unsaved.get_mut(session) else {
            return;
        };
        pending.text = true;
        if let Some(text) = text {
            pending.keep(text, self.step);
        }
        // The room's log does not reach back for ever.
        if seq.saturating_sub(*pending.first.get_or_insert(seq)) >= self.most {
            pending.first = Some(seq);
            self.hurry.notify_one();
        }
    }

    /// Texts of a session that are to be kept now.
    pub fn take_texts(&self, session: &SessionId) -> Vec<Kept> {
        let mut unsaved = self.sessions.lock();
        let pending = unsaved.get_mut(session);
        pending.map_or_else(Vec::new, |pending| std::mem::take(&mut pending.texts))
    }

    /// What was written down of a message was not told.
    pub fn note_untold(&self, session: &SessionId, event: Event) {
        let mut unsaved = self.sessions.lock();
        let untold = &mut unsaved.entry(session.clone()).or_default().untold;
        if untold.len() < UNTOLD {
            untold.push(event);
        }
    }

    /// What could not be written waits for the next time.
    pub fn give_back(&self, session: SessionId, text: bool, texts: Vec<Kept>) {
        let mut unsaved = self.sessions.lock();
        let pending = unsaved.entry(session).or_default();
        pending.text |= text;
        let newer = std::mem::replace(&mut pending.texts, texts);
        for text in newer {
            pending.keep(text, Duration::ZERO);
        }
    }
}

impl Pending {
    /// The newest text of each step is kept.
    fn keep(&mut self, text: Kept, step: Duration) {
        let step = step.as_millis() as Millis;
        match self.texts.last_mut() {
            Some(last) if self.since.is_some_and(|since| text.at - since < step) => *last = text,
            _ => {
                self.since = Some(text.at);
                if self.texts.len() == TEXTS {
                    self.texts.remove(0);
                }
                self.texts.push(text);
            }
        }
    }
}

impl Node {
    /// Saves again and again, until the node stops.
    pub async fn keep_texts(self: Arc<Self>) {
        let mut every = tokio::time::interval(self.config.save_every);
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                _ = every.tick() => {}
                () = self.unsaved.hurry.notified() => {}
            }
            self.save_texts().await;
        }
    }

    pub(super) async fn save_texts(&self) {
        // One after the other: who comes last saves what an earlier one gave back.
        let _turn = self.unsaved.turn.lock().await;
        let unsaved = std::mem::take(&mut *self.unsaved.sessions.lock());
        let save = |(session, pending): (SessionId, Pending)| async move {
            let (text, mut texts) = (pending.text, pending.texts);
            for event in pending.untold {
                if let Err(error) = self.tell_again(&session, &event).await {
                    tracing::debug!(%session, %error, "a message is told again later");
                    self.unsaved.note_untold(&session, event);
                }
            }
            let recorded = self.record(&session, &texts).await;
            if recorded.is_ok() {
                texts.clear();
            }
            let saved = match text {
                true => self.save_text(&session).await,
                false => Ok(true),
            };
            match recorded.and(saved) {
                Ok(false) if text => {
                    tracing::error!(%session, "what was written since the last saving is lost: the room is gone");
                }
                Ok(_) => {}
                Err(why) => {
                    tracing::debug!(%session, why, "a session was not saved; that is tried again");
                    self.unsaved.give_back(session, text, texts);
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
        self.texts.save(session).await?;
        let whole = self
            .texts
            .whole(session)
            .await
            .map_err(|error| error.to_string())?;
        let saved = Saved {
            version: whole.version,
            code: whole.text.to_string(),
            language: snapshot.fields.remove("language").unwrap_or_default(),
        };
        let done = records.save_text(session, &saved).await;
        done.map(|()| true).map_err(|error| error.to_string())
    }
}
