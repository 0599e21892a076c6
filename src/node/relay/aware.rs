//! What Yjs clients show of themselves, and cursors on their way between them and those who take whole texts.

use tokio::time::Instant;

use super::Note;
use super::worker::Worker;
use crate::backplane::{Audience, Envelope};
use crate::dialects::{Dialect, yjs};
use crate::domain::{Awareness, Event};
use crate::hub::frame;
use crate::ids::Room;
use crate::node::text::TICK;

/// Bytes a second that the sockets of one document are told of awareness, by one node: beyond it is told of less often.
const BYTES_A_SECOND: u32 = 48 * 1024 * 1024;
/// The longest that may take.
const MOST_TICKS: u32 = 30;

impl Worker {
    pub(super) fn hear_awareness(&mut self, room: &Room, entries: Vec<Awareness>) {
        let Some(session) = room.session() else {
            return;
        };
        let new = self.texts.hear_awareness(session, entries);
        self.show_to_others(room, &new);
        self.tell_awareness(room, new);
    }

    /// A node has just come to the document.
    pub(super) fn say_awareness(&self, room: &Room) {
        if let Some(session) = room.session() {
            self.texts.say_all(session);
        }
    }

    /// Tells this node's sockets that speak Yjs.
    pub(super) fn tell_awareness(&mut self, room: &Room, entries: Vec<Awareness>) {
        let Some(local) = self.rooms.get_mut(room).filter(|_| !entries.is_empty()) else {
            return;
        };
        let was_waiting = !local.awake.pending.is_empty();
        let pending = entries.into_iter().map(|entry| (entry.client, entry));
        local.awake.pending.extend(pending);
        match local.awake.next {
            Some(next) if next > Instant::now() => {
                if !was_waiting {
                    let room = room.clone();
                    self.jobs.spawn(async move {
                        tokio::time::sleep_until(next).await;
                        Note::ReleaseAwareness(room)
                    });
                }
            }
            _ => self.release_awareness(room),
        }
    }

    pub(super) fn release_awareness(&mut self, room: &Room) {
        let Some(local) = self.rooms.get_mut(room) else {
            return;
        };
        let pending = std::mem::take(&mut local.awake.pending);
        if pending.is_empty() {
            return;
        }
        let fill = |out: &mut Vec<u8>| yjs::frames::awareness(pending.values(), out);
        let frame = frame::binary_with(1_024, fill);
        let told = self.tell_yjs(room, &frame);
        let bytes = u32::try_from(frame.len() * told).unwrap_or(u32::MAX);
        let ticks = bytes / (BYTES_A_SECOND / 30) + 1;
        if let Some(local) = self.rooms.get_mut(room) {
            local.awake.next = Some(Instant::now() + TICK * ticks.min(MOST_TICKS));
        }
    }

    /// Cursors of Yjs clients, for those who take whole texts.
    fn show_to_others(&mut self, room: &Room, entries: &[Awareness]) {
        let Some(session) = room.session() else {
            return;
        };
        let others = [Dialect::Pairing, Dialect::Review];
        if !others
            .iter()
            .any(|other| self.hub.speaks(room, other.tongue()))
        {
            return;
        }
        for entry in entries {
            let Some(cursor) = self.texts.cursor_of(session, entry) else {
                continue;
            };
            let event = Event::CursorMoved {
                user: entry.user.clone(),
                cursor,
                file: None,
                code: None,
            };
            let audience = Audience::Except(entry.socket);
            let draft = self.roster.draft(&event, Some(entry.socket), audience);
            self.hand_over(&draft.into_envelope(room.clone(), None, None), &event, None);
        }
    }

    /// Cursors of those who take whole texts, for Yjs clients; and who comes and goes.
    pub(super) fn show_to_yjs(&mut self, envelope: &Envelope, event: &Event) {
        let room = &envelope.room;
        let Some(session) = room.session() else {
            return;
        };
        if !self.hub.speaks(room, Dialect::Yjs.tongue()) {
            return;
        }
        let at = envelope.at;
        let entry = match event {
            Event::Joined { user, name, .. } => {
                self.texts.name(session, user, name);
                None
            }
            Event::Left { user, .. } => self.texts.leaves(session, user, at),
            Event::CursorMoved {
                user,
                cursor,
                file: None,
                ..
            } => self
                .texts
                .speak_for(session, user, envelope.origin, at, *cursor),
            // In another file, which is no place in this text.
            Event::CursorMoved { user, .. } => self.texts.leaves(session, user, at),
            _ => None,
        };
        if let Some(entry) = entry {
            self.tell_awareness(room, vec![entry]);
        }
    }
}
