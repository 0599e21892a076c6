//! Writes what happened in recorded sessions into the records, from the rooms' logs.
//!
//! Any node may do it, and several may do it at once: a place in the order has one row. How far a log is written down
//! stands in the records, so that whoever comes next goes on from there, after a restart, too. The log leaves texts out;
//! each node adds those that its own users made.

use super::Node;
use super::saver::Kept;
use crate::backplane::{Envelope, Replay};
use crate::dialects::review;
use crate::domain::Event;
use crate::ids::{Epoch, Position, Room, SessionId, UserId};
use crate::records::{Happened, Order, Records};
use crate::telemetry::metrics::metrics;

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
            return Ok(());
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
        let texts = texts.iter().filter(|text| text.position.epoch == at.epoch);
        let rows: Vec<Happened> = texts.map(with_text).collect();
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
        let rows: Vec<Happened> = events.iter().filter_map(happened).collect();
        let pending = records.pending(session).await;
        let pending = pending.map_err(|error| error.to_string())?;
        let written = async {
            records.record(session, order.part, &rows).await?;
            // Whoever told of a message may have died before it was marked.
            for row in &rows {
                let message = row.message.filter(|id| pending.contains(id));
                if let Some(message) = message {
                    records.told(message, row.seq).await?;
                }
            }
            let last = events.last().map_or(at.seq, seq);
            records.recorded_to(session, order.part, last).await
        };
        written
            .await
            .map_err(|error: crate::records::Error| error.to_string())
    }

    /// The last thing that happened in a session.
    pub(super) async fn record_end(
        &self,
        session: &SessionId,
        user: &UserId,
    ) -> Result<(), crate::records::Error> {
        let Some(records) = self.records() else {
            return Ok(());
        };
        let Some(order) = records.log_order(session).await? else {
            return Ok(());
        };
        let seq = order.seq + 1;
        let now = self.clock().now();
        let Some(mut end) = row(&Event::Ended, seq, now) else {
            return Ok(());
        };
        end.user = Some(user.clone());
        records.record(session, order.part, &[end]).await?;
        records.recorded_to(session, order.part, seq).await
    }
}

fn name(epoch: Epoch) -> String {
    format!("{:x}", epoch.0)
}

/// What cannot be read was written by a newer node, which records it, too.
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
    };
    let row = row(&event, text.position.seq, text.at);
    let mut row = row.expect("a text has a word at the review door");
    row.code = Some(text.code.to_string());
    row.version = Some(text.version);
    row
}

/// The event without the words of messages, which are in their own rows.
fn row(event: &Event, seq: u64, at: crate::clock::Millis) -> Option<Happened> {
    let mut blank = event.clone();
    blank.blank();
    if let Event::TextChanged { code, .. } = &mut blank {
        *code = None;
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
