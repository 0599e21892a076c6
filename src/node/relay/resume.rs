//! Sockets that come back and say where they were: what they missed, instead of everything.
//!
//! A snapshot and the log behind it are one instant: the log is read up to the snapshot's seq, and its text stands
//! for all texts that were missed. What the log no longer has is answered with the whole greeting.
//!
//! After a tunnel or a node's death thousands come back to a room at once. The log is read once and encoded once for
//! all who wait together; the frames lie in one buffer, and each socket is handed the end of it that it missed.

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;

use super::Waiter;
use crate::backplane::{Audience, Envelope, Error, Replay, SharedBackplane};
use crate::clock::Millis;
use crate::dialects::{Delivery, Dialect, Reply};
use crate::domain::Event;
use crate::domain::sessions::View;
use crate::hub::frame;
use crate::ids::{EventId, Position, Room, UserId};
use crate::node::snapshots;

/// Pieces handed to a socket one by one; more are put together first, because an outbox counts its frames.
const PIECES: usize = 8;

/// Those who come back together.
pub(super) struct Returning {
    since: Vec<Position>,
    /// Nobody gets more at once than may wait for a slow socket.
    most_bytes: usize,
    dialects: Vec<Dialect>,
}

/// Dialects in which somebody says where it was.
const RESUMING: [Dialect; 3] = [Dialect::Pairing, Dialect::Review, Dialect::Workspace];

impl Returning {
    pub(super) fn of(waiting: &[Waiter]) -> Self {
        let returning = || waiting.iter().filter(|waiter| waiter.since.is_some());
        let bytes = returning().map(|waiter| waiter.socket.outbox_bytes());
        Self {
            since: returning().filter_map(|waiter| waiter.since).collect(),
            most_bytes: bytes.min().unwrap_or(0),
            dialects: RESUMING
                .into_iter()
                .filter(|dialect| {
                    returning().any(|waiter| waiter.socket.tongue == dialect.tongue())
                })
                .collect(),
        }
    }

    pub(super) fn nobody() -> Self {
        Self {
            since: Vec::new(),
            most_bytes: 0,
            dialects: Vec::new(),
        }
    }

    /// The oldest place that a log of this length may reach back to. One who was away for days must not make the
    /// others wait.
    fn oldest(&self, now: Position, log_length: u64) -> Option<Position> {
        let reached = now.seq.saturating_sub(log_length)..=now.seq;
        let here = self
            .since
            .iter()
            .copied()
            .filter(|at| at.epoch == now.epoch);
        here.filter(|at| reached.contains(&at.seq))
            .min_by_key(|at| at.seq)
    }
}

/// What was missed, up to a snapshot, as whole frames.
pub(super) struct Missed {
    dialect: Dialect,
    /// Whoever was here, or at any place up to `at`, is told all since.
    from: u64,
    at: Position,
    /// Frames for everyone, one behind the other; then the newest text; then where the socket is now.
    told: Bytes,
    /// Where in `told` the events begin, by their seqs; those that nobody is told are left out.
    starts: Vec<(u64, usize)>,
    text: Range<usize>,
    /// The last event that changed the text, 0 when none did.
    text_seq: u64,
    /// Frames for certain users, by their seqs.
    private: Vec<(u64, Vec<UserId>, Bytes)>,
}

impl Missed {
    /// `view` is the session, whose text is told behind the events, and then that this is all. Other rooms say that in
    /// their own way.
    ///
    /// Reads once, and encodes once in each dialect, for all who come back. Nothing when none of them was where this order
    /// was.
    pub(super) async fn read(
        backplane: &SharedBackplane,
        room: &Room,
        at: Option<Position>,
        view: Option<&View>,
        returning: &Returning,
        log_length: u64,
        now: Millis,
    ) -> Result<Vec<Self>, Error> {
        let Some(at) = at else {
            return Ok(Vec::new());
        };
        let Some(since) = returning.oldest(at, log_length) else {
            return Ok(Vec::new());
        };
        let nothing_missed = since.seq == at.seq;
        let mut log = Log {
            from: since.seq,
            events: Vec::new(),
        };
        if !nothing_missed {
            match backplane.recent(room, since).await? {
                Replay::Events(events) => log.take(events, at),
                // Those who missed nothing need no log.
                Replay::Gone => log.from = at.seq,
            }
        }
        let dialects = returning.dialects.iter();
        let missed = dialects.map(|dialect| {
            let log = log.clone();
            log.encoded(*dialect, view, at, now, returning.most_bytes)
        });
        Ok(missed.collect())
    }

    /// What a socket of `user` is told that was at `since`: the events it missed, in order, then the newest text if
    /// it changed, then where it is now. `None`: the log does not reach back that far, or it is too much.
    pub(super) fn since(&self, since: Position, user: &UserId) -> Option<Vec<Bytes>> {
        if since.epoch != self.at.epoch || since.seq < self.from || since.seq > self.at.seq {
            return None;
        }
        let mut pieces = Vec::with_capacity(1);
        let mut begin = self.start_of(since.seq + 1);
        for (seq, users, frame) in &self.private {
            if *seq > since.seq && users.contains(user) {
                let cut = self.start_of(*seq);
                pieces.push(self.told.slice(begin..cut));
                pieces.push(frame.clone());
                begin = cut;
            }
        }
        if self.text_seq > since.seq || self.text.is_empty() {
            pieces.push(self.told.slice(begin..));
        } else {
            pieces.push(self.told.slice(begin..self.text.start));
            pieces.push(self.told.slice(self.text.end..));
        }
        pieces.retain(|piece| !piece.is_empty());
        if pieces.len() > PIECES {
            pieces = vec![pieces.concat().into()];
        }
        Some(pieces)
    }

    pub(super) fn is_for(&self, tongue: u8) -> bool {
        self.dialect.tongue() == tongue
    }

    /// Where the events from this seq on begin.
    fn start_of(&self, seq: u64) -> usize {
        let next = self.starts.partition_point(|(known, _)| *known < seq);
        self.starts
            .get(next)
            .map_or(self.text.start, |(_, start)| *start)
    }
}

/// What was read of a log: every event after `from`.
#[derive(Clone)]
struct Log {
    from: u64,
    events: Vec<Envelope>,
}

/// An event as frame, and for whom if not for everyone.
struct Told {
    seq: u64,
    only: Option<Vec<UserId>>,
    frame: Bytes,
}

impl Log {
    fn take(&mut self, events: Vec<Envelope>, now: Position) {
        self.events = events;
        let first = self.events.first().and_then(|event| event.position);
        self.from = first.map_or(self.from, |first| first.seq - 1);
        // What lies behind the snapshot is heard like any other event.
        self.events
            .retain(|event| event.position.is_some_and(|at| at.seq <= now.seq));
    }

    fn encoded(
        mut self,
        dialect: Dialect,
        view: Option<&View>,
        at: Position,
        now: Millis,
        most: usize,
    ) -> Missed {
        let frames = self.frames(dialect, most);
        let last_text = self.events.iter().rfind(|event| event.version.is_some());
        let length: usize = frames.iter().map(|told| told.frame.len()).sum();
        let mut told = Vec::with_capacity(length + view.map_or(0, |view| view.code.len() + 512));
        let (mut starts, mut private) = (Vec::new(), Vec::new());
        for Told { seq, only, frame } in frames.into_iter().rev() {
            if let Some(users) = only {
                private.push((seq, users, frame));
            } else {
                starts.push((seq, told.len()));
                told.extend_from_slice(&frame);
            }
        }
        let text_seq = last_text
            .and_then(|event| event.position)
            .map_or(0, |at| at.seq);
        let begin = told.len();
        if let (Some(event), Some(view)) = (last_text, view) {
            match writer(event, view) {
                Some(writer) => {
                    told.extend_from_slice(&snapshots::text(dialect, view, &writer, now))
                }
                // A text of nobody's cannot be told.
                None => self.from = self.from.max(text_seq),
            }
        }
        let text = begin..told.len();
        if view.is_some() {
            told.extend_from_slice(&frame::text_with(128, |out| {
                dialect.reply(&Reply::Resumed { position: at }, now, out);
            }));
        }
        Missed {
            dialect,
            from: self.from,
            at,
            told: told.into(),
            starts,
            text,
            text_seq,
            private,
        }
    }

    /// Messages that were deleted, whatever was told of them afterwards.
    fn deleted(&self) -> HashSet<EventId> {
        let events = self.events.iter().filter(|event| event.version.is_none());
        let events = events.filter_map(|event| rmp_serde::from_slice(&event.event).ok());
        let deleted = events.filter_map(|event| match event {
            Event::MessageDeleted { message, .. } => Some(message),
            _ => None,
        });
        deleted.collect()
    }

    /// The newest first, as long as they are no more than `most` bytes; who missed more than these is told nothing
    /// of them.
    fn frames(&mut self, dialect: Dialect, most: usize) -> Vec<Told> {
        let (mut frames, mut bytes) = (Vec::new(), 0);
        let deleted = self.deleted();
        for envelope in self.events.iter().rev() {
            // The newest text stands for all.
            let Some(at) = envelope.position.filter(|_| envelope.version.is_none()) else {
                continue;
            };
            let Some(frame) = frame_of(dialect, envelope, at, &deleted) else {
                continue;
            };
            bytes += frame.len();
            if bytes > most {
                self.from = at.seq;
                break;
            }
            frames.push(Told {
                seq: at.seq,
                only: only(&envelope.audience),
                frame,
            });
        }
        frames
    }
}

/// `deleted` are messages of which the log says that they were: what they said is told to nobody any more.
fn frame_of(
    dialect: Dialect,
    envelope: &Envelope,
    at: Position,
    deleted: &HashSet<EventId>,
) -> Option<Bytes> {
    // An event that this node cannot read is one that its clients have no word for.
    let mut event: Event = rmp_serde::from_slice(&envelope.event).ok()?;
    let is_deleted = |message| deleted.contains(&message);
    if event.message().is_some_and(is_deleted) && !matches!(event, Event::MessageDeleted { .. }) {
        event.blank();
        // Where nobody hears that something was deleted, it was not said.
        if dialect == Dialect::Pairing {
            return None;
        }
    }
    let delivery = Delivery {
        room: &envelope.room,
        event: &event,
        at: envelope.at,
        seq: Some(at.seq),
        epoch: Some(at.epoch),
        version: None,
    };
    let mut known = true;
    let frame = frame::text_with(256, |out| known = dialect.encode(&delivery, out));
    known.then_some(frame)
}

/// Who changed the text last, as the log knows it, or else the state.
fn writer(envelope: &Envelope, view: &View) -> Option<UserId> {
    match rmp_serde::from_slice(&envelope.event) {
        Ok(Event::TextChanged { user, .. }) => Some(user),
        _ => UserId::parse(&view.code_by).ok(),
    }
}

/// Never filtered by who sent it: also the own return is told to who was told to have left. But by whom it is for.
fn only(audience: &Audience) -> Option<Vec<UserId>> {
    match audience {
        Audience::All | Audience::Except(_) => None,
        Audience::Users(users) => Some(users.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sessions;
    use crate::ids::{Epoch, SessionId};
    use crate::node::pack;

    const NOW: Position = Position {
        epoch: Epoch(1),
        seq: 10,
    };

    fn at(seq: u64) -> Position {
        Position { seq, ..NOW }
    }

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn envelope(seq: u64, audience: Audience, event: &Event) -> Envelope {
        let is_text = event.is_text();
        Envelope {
            room: Room::Session(SessionId::parse("s").unwrap()),
            position: Some(at(seq)),
            version: is_text.then_some(seq),
            id: EventId::new(),
            at: 0,
            origin: None,
            audience,
            event: pack(event),
        }
    }

    fn language(seq: u64) -> Envelope {
        let event = Event::LanguageChanged {
            user: user("bob"),
            language: format!("word-{seq}"),
        };
        envelope(seq, Audience::All, &event)
    }

    fn to_ann(seq: u64) -> Envelope {
        let only = Audience::Users(vec![user("ann")]);
        Envelope {
            audience: only,
            ..language(seq)
        }
    }

    fn text(seq: u64) -> Envelope {
        let event = Event::TextChanged {
            user: user("bob"),
            code: None,
            update: None,
        };
        envelope(seq, Audience::All, &event)
    }

    fn missed(events: Vec<Envelope>, most: usize) -> Missed {
        let session = SessionId::parse("s").unwrap();
        let fields = [("code".to_owned(), "x = 1".to_owned())].into();
        let view = sessions::view(session, fields, Some(NOW), Vec::new(), 0, Vec::new());
        let mut log = Log {
            from: 0,
            events: Vec::new(),
        };
        log.take(events, NOW);
        log.encoded(Dialect::Pairing, Some(&view), NOW, 0, most)
    }

    /// What somebody is told, in short: seqs, `text`, `resumed`.
    fn told(missed: &Missed, since: u64, user: &UserId) -> Option<Vec<String>> {
        let bytes = missed.since(at(since), user)?.concat();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let frames = text.split("{\"type\":\"").skip(1).map(|frame| {
            if frame.starts_with("code_update") {
                return "text".to_owned();
            }
            let seq = frame.split("\"seq\":").nth(1);
            let seq = seq.map(|rest| rest.split(',').next().unwrap().to_owned());
            seq.unwrap_or_else(|| "resumed".to_owned())
        });
        Some(frames.collect())
    }

    const MUCH: usize = 1024 * 1024;

    #[test]
    fn everyone_is_told_the_end_that_was_missed() {
        let missed = missed((6..=10).map(language).collect(), MUCH);
        let ann = user("ann");
        let all = ["6", "7", "8", "9", "10", "resumed"].map(str::to_owned);
        for since in 5..=10 {
            let from = since as usize - 5;
            assert_eq!(told(&missed, since, &ann).unwrap(), all[from..]);
        }
        assert_eq!(told(&missed, 4, &ann), None);
        assert_eq!(told(&missed, 11, &ann), None);
        let other = Position {
            epoch: Epoch(2),
            seq: 8,
        };
        assert_eq!(missed.since(other, &ann), None);
    }

    #[test]
    fn what_everyone_is_told_is_there_once() {
        let missed = missed((6..=10).map(language).collect(), MUCH);
        let end = |since| {
            let pieces = missed.since(at(since), &user("ann")).unwrap();
            assert_eq!(pieces.len(), 1);
            pieces[0].as_ptr_range().end
        };
        assert_eq!(end(5), end(9));
    }

    #[test]
    fn the_newest_text_stands_for_all_and_only_for_who_missed_it() {
        let events = vec![text(6), language(7), text(8), language(9), language(10)];
        let (missed, ann) = (missed(events, MUCH), user("ann"));
        let told = |since| told(&missed, since, &ann).unwrap();
        assert_eq!(told(5), ["7", "9", "10", "text", "resumed"]);
        assert_eq!(told(7), ["9", "10", "text", "resumed"]);
        assert_eq!(told(8), ["9", "10", "resumed"]);
        assert_eq!(told(10), ["resumed"]);
    }

    #[test]
    fn what_is_for_one_is_told_to_nobody_else() {
        let events = vec![to_ann(6), language(7), to_ann(8), language(9), to_ann(10)];
        let missed = missed(events, MUCH);
        let told = |name, since| told(&missed, since, &user(name)).unwrap();
        assert_eq!(told("ann", 5), ["6", "7", "8", "9", "10", "resumed"]);
        assert_eq!(told("ann", 8), ["9", "10", "resumed"]);
        assert_eq!(told("bob", 5), ["7", "9", "resumed"]);
    }

    #[test]
    fn what_is_too_much_for_one_is_told_to_those_who_missed_less() {
        let frame = frame_of(Dialect::Pairing, &language(9), at(9), &HashSet::new()).unwrap();
        let missed = missed((1..=9).map(language).collect(), 3 * frame.len());
        let ann = user("ann");
        assert_eq!(told(&missed, 5, &ann), None);
        assert_eq!(told(&missed, 6, &ann).unwrap(), ["7", "8", "9", "resumed"]);
    }

    #[test]
    fn what_lies_behind_the_snapshot_is_left_to_be_heard() {
        let missed = missed((9..=12).map(language).collect(), MUCH);
        let told = told(&missed, 8, &user("ann")).unwrap();
        assert_eq!(told, ["9", "10", "resumed"]);
    }

    #[test]
    fn the_log_is_asked_for_the_oldest_place_it_may_reach() {
        let returning = |seqs: &[u64]| Returning {
            since: seqs.iter().map(|seq| at(*seq)).collect(),
            most_bytes: MUCH,
            dialects: vec![Dialect::Pairing],
        };
        assert_eq!(returning(&[1, 5, 8, 11]).oldest(NOW, 5), Some(at(5)));
        assert_eq!(returning(&[1, 2]).oldest(NOW, 5), None);
        assert_eq!(returning(&[1, 2]).oldest(NOW, 100), Some(at(1)));
        assert_eq!(Returning::nobody().oldest(NOW, 5), None);
    }
}
