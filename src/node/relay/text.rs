//! Changes of the text on their way to the hub: at once to who speaks Yjs, as whole texts to the others, large ones at a
//! pace.
//!
//! A whole text is told when the document is what is stored and nothing else. While a change of this node's is on its way
//! it is not, and the text is owed: whoever is told next is told all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Note;
use super::deliver::{encode, lane};
use super::local::{Local, Owed};
use super::repair::RETRY;
use super::worker::Worker;
use crate::backplane::{Audience, Envelope, Link};
use crate::dialects::{self, Dialect, yjs};
use crate::domain::{Event, documents};
use crate::hub::{Delivery, Lane, frame};
use crate::ids::{Position, Room, SocketId, UserId};
use crate::node::text::Heard;
use crate::telemetry::metrics::metrics;

/// Changes that are told with another at most: of one more only who made the oldest might not hear.
const OWED: usize = 8;
/// Between copies of a text for readers of code rooms.
const MIRROR_PACE: Duration = Duration::from_millis(100);
const PACE: Duration = Duration::from_millis(documents::LARGE_TEXT_PACE_MS);

impl Worker {
    /// Whether the room's document is to be read before this change is told of.
    pub(super) fn wants_document(&self, room: &Room) -> bool {
        let cold = room
            .session()
            .is_some_and(|session| !self.texts.is_warm(session));
        cold && self.has_readers(room)
    }

    /// Whether somebody here is told of texts.
    fn has_readers(&self, room: &Room) -> bool {
        let mut all = Dialect::WHOLE.into_iter().chain([Dialect::Yjs]);
        all.any(|dialect| self.hub.speaks(room, dialect.tongue()))
    }

    pub(super) fn hear_text(&mut self, envelope: &Envelope, event: &Event, at: Option<Position>) {
        let room = &envelope.room;
        let (Event::TextChanged { user, update, .. }, Some(session)) = (event, room.session())
        else {
            return;
        };
        let update = update.as_deref().map(|update| &update[..]);
        if let (Some(at), Some(version)) = (at, envelope.version) {
            let known = (at.epoch, version);
            if let Some(local) = self.rooms.get_mut(room) {
                local.text = Some(known);
            }
            let heard = self.texts.heard(session, known, envelope.id, user, update);
            if heard == Some(Heard::Gap) || heard.is_none() && self.has_readers(room) {
                self.read_text(room);
            }
        }
        if let Some(update) = update {
            let frame =
                frame::binary_with(update.len() + 16, |out| yjs::frames::update(update, out));
            self.tell_yjs(room, &frame);
        }
        self.mirror_soon(room);
        if !self.hold_back(envelope) {
            self.tell_text(envelope, user, at);
        }
    }

    /// Hands a frame to every socket that speaks Yjs; to how many.
    pub(super) fn tell_yjs(&mut self, room: &Room, frame: &Bytes) -> usize {
        let delivery = Delivery {
            position: None,
            lane: Lane::Ordered,
            except: None,
            only: None,
            elsewhere: &[],
        };
        let tongue = Dialect::Yjs.tongue();
        let encode = |wanted| (wanted == tongue).then(|| frame.clone());
        let told = self.hub.deliver(room, &delivery, encode, &mut self.touched);
        let told = told[usize::from(tongue)];
        self.sent(tongue, told);
        metrics().sent_bytes(frame.len() * told);
        told
    }

    /// Tells the newest text to whoever is to hear of this change. If it is not known, or that of a later change which is
    /// told of next, it is told then.
    fn tell_text(&mut self, envelope: &Envelope, user: &UserId, at: Option<Position>) {
        let Some(session) = envelope.room.session() else {
            return;
        };
        let mut whole = Dialect::WHOLE.iter();
        if !whole.any(|dialect| self.hub.speaks(&envelope.room, dialect.tongue())) {
            let event = documents::changed(user.clone(), None);
            return self.hand_over(envelope, &event, at);
        }
        let current = self.texts.current(session);
        let Some(local) = self.rooms.get_mut(&envelope.room) else {
            return;
        };
        let newest = current.filter(|(_, version)| envelope.version == Some(*version));
        let Some((text, version)) = newest else {
            local.owe(envelope, user);
            return;
        };
        let owed = std::mem::take(&mut local.owed);
        let mut told = envelope.clone();
        told.version = Some(version);
        let event = whole_text(user, &text);
        self.hand_over(&told, &event, at);
        // Who made the last change has not been told of another's in it.
        if let Audience::Except(socket) = told.audience {
            let others = |owed: &&Owed| owed.except != Some(socket);
            if let Some(owed) = owed.iter().rev().find(others) {
                self.tell_one(socket, &told, &whole_text(&owed.user, &text));
            }
        }
    }

    fn tell_one(&self, socket: SocketId, envelope: &Envelope, event: &Event) {
        let Some(socket) = self.hub.find(socket) else {
            return;
        };
        let Some(dialect) = Dialect::of_tongue(socket.tongue) else {
            return;
        };
        let said = dialects::Delivery {
            room: &envelope.room,
            event,
            at: envelope.at,
            seq: envelope.position.map(|at| at.seq),
            epoch: envelope.position.map(|at| at.epoch),
            version: envelope.version,
        };
        if let Some(frame) = encode(dialect, &said) {
            socket.send(lane(&envelope.room, event, envelope.position), frame);
        }
    }

    /// Has the document read, and then the text told that is owed.
    pub(super) fn read_text(&mut self, room: &Room) {
        let (Some(session), Some(local)) = (room.session().cloned(), self.rooms.get_mut(room))
        else {
            return;
        };
        if std::mem::replace(&mut local.reading, true) {
            return;
        }
        let (texts, room, mut link) = (self.texts.clone(), room.clone(), self.backplane.link());
        self.jobs.spawn(async move {
            match texts.read_again(&session).await {
                Ok(()) => Note::Told(room),
                Err(error) => {
                    tracing::debug!(%session, %error, "a text is read again later");
                    tokio::time::sleep(RETRY).await;
                    // An ended channel means that the node stops.
                    let _ = link.wait_for(|link| *link == Link::Up).await;
                    Note::Unread(room)
                }
            }
        });
    }

    /// The document is there: what is owed of it is told.
    pub(super) fn text_is_read(&mut self, room: &Room) {
        if let Some(local) = self.rooms.get_mut(room) {
            local.reading = false;
        }
        let Some(session) = room.session() else {
            return;
        };
        if let Some(ask) = self.texts.ask_again(session) {
            self.tell_yjs(room, &ask);
        }
        let is_owed = |local: &Local| !local.owed.is_empty();
        if !self.rooms.get(room).is_some_and(is_owed) {
            return;
        }
        let Some((text, version)) = self.texts.current(session) else {
            if !self.texts.is_warm(session) {
                // Thrown away while it was read.
                self.read_text(room);
            }
            return;
        };
        let local = self.rooms.get_mut(room);
        let owed = local
            .map(|local| std::mem::take(&mut local.owed))
            .unwrap_or_default();
        let Some(last) = owed.last() else {
            return;
        };
        let event = whole_text(&last.user, &text);
        let same = owed.iter().all(|owed| owed.except == last.except);
        let audience = last
            .except
            .filter(|_| same)
            .map_or(Audience::All, Audience::Except);
        let draft = self.roster.draft(&event, None, audience);
        let envelope = draft.into_envelope(room.clone(), None, Some(version));
        self.hand_over(&envelope, &event, None);
    }

    /// Where code rooms are, their text is copied for readers, a moment after it changed.
    fn mirror_soon(&mut self, room: &Room) {
        let pads = [Dialect::SocketIo, Dialect::Raw];
        if !pads.iter().any(|pad| self.hub.speaks(room, pad.tongue())) {
            return;
        }
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        if !std::mem::replace(&mut local.mirror, true) {
            let room = room.clone();
            self.jobs.spawn(async move {
                tokio::time::sleep(MIRROR_PACE).await;
                Note::Mirror(room)
            });
        }
    }

    pub(super) fn mirror(&mut self, room: &Room) {
        if let Some(local) = self.rooms.get_mut(room) {
            local.mirror = false;
        }
        let Some(session) = room.session().cloned() else {
            return;
        };
        let Some((code, _)) = self.texts.current(&session) else {
            // On its way: a moment later.
            return self.mirror_soon(room);
        };
        let backplane = self.backplane.clone();
        self.jobs.spawn(async move {
            if let Err(error) = backplane.mirror(&session, &code).await {
                tracing::debug!(%session, %error, "a text was not copied");
            }
            Note::Done
        });
    }

    /// True when the text waits: large ones go out at a pace, and any newer text replaces one that waits.
    fn hold_back(&mut self, envelope: &Envelope) -> bool {
        let session = envelope.room.session();
        let length = session.and_then(|session| self.texts.length(session));
        let Some(local) = self.rooms.get_mut(&envelope.room) else {
            return false;
        };
        let large = length.is_some_and(|length| length > documents::LARGE_TEXT_BYTES as u64);
        let now = Instant::now();
        match local.large.next {
            Some(next) if next > now && (large || local.large.pending.is_some()) => {
                match local.large.pending.replace(Box::new(envelope.clone())) {
                    Some(waiting) => {
                        metrics().conflated(1);
                        local.owe_waiting(&waiting);
                    }
                    None => {
                        let room = envelope.room.clone();
                        self.jobs.spawn(async move {
                            tokio::time::sleep_until(next).await;
                            Note::Release(room)
                        });
                    }
                }
                true
            }
            _ => {
                if let Some(waiting) = local.large.pending.take() {
                    metrics().conflated(1);
                    local.owe_waiting(&waiting);
                }
                local.large.next = large.then(|| now + PACE);
                false
            }
        }
    }

    /// A text that waits for its pace goes before any later event: who was told of that one, and comes back with
    /// its position, would never hear of the text.
    pub(super) fn tell_text_before(&mut self, room: &Room) {
        self.release_text(room);
    }

    pub(super) fn release_text(&mut self, room: &Room) {
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        let Some(pending) = local.large.pending.take() else {
            return;
        };
        local.large.next = Some(Instant::now() + PACE);
        if let Ok(Event::TextChanged { user, .. }) = rmp_serde::from_slice(&pending.event) {
            self.tell_text(&pending, &user, pending.position);
        }
    }
}

impl Local {
    /// The same of one that waited for its pace.
    fn owe_waiting(&mut self, envelope: &Envelope) {
        if let Ok(Event::TextChanged { user, .. }) = rmp_serde::from_slice(&envelope.event) {
            self.owe(envelope, &user);
        }
    }

    /// The change is told with the next one.
    fn owe(&mut self, envelope: &Envelope, user: &UserId) {
        let owed = Owed {
            user: user.clone(),
            except: match envelope.audience {
                Audience::Except(socket) => Some(socket),
                _ => None,
            },
        };
        self.owed.retain(|known| *known != owed);
        if self.owed.len() == OWED {
            self.owed.remove(0);
        }
        self.owed.push(owed);
    }
}

fn whole_text(user: &UserId, text: &Arc<str>) -> Event {
    Event::TextChanged {
        user: user.clone(),
        code: Some(text.clone()),
        update: None,
    }
}
