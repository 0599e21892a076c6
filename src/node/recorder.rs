//! Writes what happened in recorded sessions into the records, from the rooms' logs.
//!
//! Any node may do it, and several may do it at once: a place in the order has one row. How far a log is written down
//! stands in the records, so that whoever comes next goes on from there, after a restart, too. The log leaves texts out;
//! each node adds those that its own users made.

use super::Node;
use super::saver::Kept;
use crate::backplane::{Envelope, Replay};
use crate::clock::Millis;
use crate::dialects::review;
use crate::domain::Event;
use crate::ids::{Epoch, EventId, Position, Room, SessionId, UserId};
use crate::records::{Error, Happened, Order, Records};
use crate::telemetry::metrics::metrics;

/// How the end of a session is called.
const ENDED: &str = "session_ended";
/// What tells of a message for the first time.
const POSTS: [&str; 2] = ["chat_message", "code_comment"];
/// Messages looked for at once.
const TOGETHER: usize = 100;
/// For so long an event that this node cannot read is left to others.
const UNREAD: Millis = 60_000;
/// Times that another node may begin an order while this one is about to.
const RACES: usize = 5;

impl Node {
    /// Brings the records up to where the room is.
    pub(super) async fn record(&self, session: &SessionId, texts: &[Kept]) -> Result<(), String> {
        let Some(records) = self.records() else {
            return Ok(());
        };
        let room = Room::Session(session.clone());
        let Some((order, at)) = self.order(records, session, &room).await? else {
            // The room is gone: what it made is written down where it belongs.
            let order = records.log_order(session).await;
            return match order.map_err(|error| error.to_string())? {
                Some(order) => self.add_texts(records, session, &order, texts).await,
                None => Ok(()),
            };
        };
        let since = Position {
            seq: order.seq,
            ..at
        };
        if at.seq > since.seq {
            let read = self.backplane.recent(&room, since).await;
            let events = match read.map_err(|error| error.to_string())? {
                Replay::Events(events) => events,
                Replay::Gone => Vec::new(),
            };
            self.write(records, session, &order, at, events).await?;
        }
        self.add_texts(records, session, &order, texts).await
    }

    async fn add_texts(
        &self,
        records: &Records,
        session: &SessionId,
        order: &Order,
        texts: &[Kept],
    ) -> Result<(), String> {
        let of_it = |text: &&Kept| name(text.position.epoch) == order.epoch;
        let rows: Vec<Happened> = texts.iter().filter(of_it).map(with_text).collect();
        let added = records.record(session, order.part, &rows).await;
        added.map_err(|error| error.to_string())
    }

    /// The order that the room is in, as the records know it, and where in it the room is.
    async fn order(
        &self,
        records: &Records,
        session: &SessionId,
        room: &Room,
    ) -> Result<Option<(Order, Position)>, String> {
        for _ in 0..RACES {
            let order = records.log_order(session).await;
            let Some(order) = order.map_err(|error| error.to_string())? else {
                return Ok(None);
            };
            // Asked in this order: what the records know is never newer than the room.
            let at = self.backplane.position(room).await;
            let Some(at) = at.map_err(|error| error.to_string())? else {
                return Ok(None);
            };
            let epoch = name(at.epoch);
            if order.epoch == epoch {
                return Ok(Some((order, at)));
            }
            let begun = records.begin_order(session, &order, &epoch).await;
            begun.map_err(|error| error.to_string())?;
        }
        Err("its order changes all the time".to_owned())
    }

    async fn write(
        &self,
        records: &Records,
        session: &SessionId,
        order: &Order,
        at: Position,
        events: Vec<Envelope>,
    ) -> Result<(), String> {
        let seq = |event: &Envelope| event.position.map_or(0, |at| at.seq);
        let first = events.first().map_or(at.seq + 1, seq);
        if first > order.seq + 1 {
            let lost = first - order.seq - 1;
            tracing::error!(%session, lost, "events are not recorded: the room's log does not reach back to them");
            metrics().dropped("unrecorded", lost);
        }
        // What cannot be read was written by a newer node, which records it, too: it is given the time.
        let lately = self.clock().now() - UNREAD;
        let unread = events
            .iter()
            .position(|event| event.at > lately && happened(event).is_none());
        let events = &events[..unread.unwrap_or(events.len())];
        let last = match (unread, events.last()) {
            (_, Some(last)) => seq(last),
            (None, None) => at.seq,
            (Some(_), None) => return Ok(()),
        };
        let rows: Vec<Happened> = events.iter().filter_map(happened).collect();
        let written = put_down(records, session, order.part, &rows, last).await;
        written.map_err(|error| error.to_string())
    }

    /// What happened last in a session that `user` ended. Nothing: nobody was there.
    pub(super) async fn record_last(
        &self,
        session: &SessionId,
        user: &UserId,
        last: &[Envelope],
    ) -> Result<(), String> {
        let Some(records) = self.records() else {
            return Ok(());
        };
        let order = records.log_order(session).await;
        let Some(order) = order.map_err(|error| error.to_string())? else {
            return Ok(());
        };
        let is_new = |envelope: &&Envelope| {
            let at = envelope.position;
            at.is_some_and(|at| name(at.epoch) == order.epoch && at.seq > order.seq)
        };
        let rows = last.iter().filter(is_new).filter_map(happened);
        let mut rows: Vec<Happened> = rows.collect();
        let is_told = rows.last().is_some_and(|row| row.kind == ENDED);
        if !is_told {
            let seq = rows.last().map_or(order.seq, |row| row.seq) + 1;
            rows.extend(row(&Event::Ended, seq, self.clock().now()));
        }
        let Some(end) = rows.last_mut() else {
            return Ok(());
        };
        end.user = Some(user.clone());
        let seq = end.seq;
        let written = put_down(records, session, order.part, &rows, seq).await;
        written.map_err(|error| error.to_string())
    }
}

/// Writes rows of an order down, all up to `last` among them.
async fn put_down(
    records: &Records,
    session: &SessionId,
    part: i64,
    rows: &[Happened],
    last: u64,
) -> Result<(), Error> {
    records.record(session, part, rows).await?;
    // Whoever told of a message may have died before it was marked.
    let is_post = |row: &&Happened| POSTS.contains(&row.kind.as_str());
    let posts: Vec<&Happened> = rows.iter().filter(is_post).collect();
    for posts in posts.chunks(TOGETHER) {
        let ids: Vec<EventId> = posts.iter().filter_map(|row| row.message).collect();
        let untold = records.untold(&ids).await?;
        for row in posts {
            if let Some(message) = row.message.filter(|id| untold.contains(id)) {
                records.told(message, row.seq).await?;
            }
        }
    }
    records.recorded_to(session, part, last).await
}

fn name(epoch: Epoch) -> String {
    format!("{:x}", epoch.0)
}

fn happened(envelope: &Envelope) -> Option<Happened> {
    let event: Event = rmp_serde::from_slice(&envelope.event).ok()?;
    let mut row = row(&event, envelope.position?.seq, envelope.at)?;
    row.version = envelope.version;
    Some(row)
}

fn with_text(text: &Kept) -> Happened {
    let event = Event::TextChanged {
        user: text.user.clone(),
        code: None,
        update: None,
    };
    let row = row(&event, text.position.seq, text.at);
    let mut row = row.expect("a text has a word at the review door");
    row.code = Some(text.code.to_string());
    row.version = Some(text.version);
    row
}

/// The event without the words of messages, which are in their own rows.
fn row(event: &Event, seq: u64, at: Millis) -> Option<Happened> {
    let mut blank = event.clone();
    blank.blank();
    if let Event::TextChanged { code, update, .. } = &mut blank {
        (*code, *update) = (None, None);
    }
    Some(Happened {
        seq,
        at,
        kind: review::kind(event)?.to_owned(),
        user: event.user().cloned(),
        message: event.message(),
        body: serde_json::to_string(&blank).ok()?,
        code: None,
        version: None,
    })
}
