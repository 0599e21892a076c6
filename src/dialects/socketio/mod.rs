//! Socket.IO: the same meaning in the events of two services whose clients use that library.
//!
//! A socket begins with the packets of [`talk`], and says events after that: those of a code room ([`codepad`]), and
//! those of a [`courier`]. What a socket is told is one text frame each, the same for all of them. Clients without the
//! library say the same events in plain frames ([`raw`]).

mod codepad;
mod courier;
mod events;
pub mod packet;
pub mod raw;
mod talk;
mod words;

pub use self::talk::{Said, Talk, labels};
pub use self::words::Words;

use serde::Serialize;
use serde_json::json;

use super::{Delivery, Reply};
use crate::clock::{Millis, rfc3339};
use crate::domain::{Event, Reject};

/// What `error` says.
#[derive(Serialize)]
struct Wrong<'a> {
    message: &'a str,
    error: &'static str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl<'a> Wrong<'a> {
    fn of(reject: &'a Reject, id: Option<&'a str>) -> Self {
        let code = reject.code.as_str();
        Self {
            message: &reject.message,
            error: code,
            code,
            field: reject.field,
            retry_in_ms: reject.retry_in_ms,
            id,
        }
    }
}

/// Writes the event; false when there is no word for it.
pub fn encode(delivery: &Delivery<'_>, mut words: Words<'_>) -> bool {
    match delivery.event {
        Event::TextChanged {
            code: Some(code), ..
        } => codepad::receive(code, &mut words),
        Event::Ended => {
            let message = "the session has ended";
            words.event("error", &json!({ "message": message }));
        }
        Event::CameOnline { user, name } => courier::came_online(user, name, &mut words),
        Event::WentOffline { user } => courier::went_offline(user, &mut words),
        Event::Directed(directed) => courier::directed(directed, delivery.seq, &mut words),
        _ => return false,
    }
    true
}

pub fn reply(reply: &Reply<'_>, now: Millis, mut words: Words<'_>) {
    match reply {
        Reply::Rejected { reject, id } => words.event("error", &Wrong::of(reject, *id)),
        Reply::Pong { .. } => words.event("pong", &json!({ "timestamp": now })),
        // Who comes into a room without a text is told nothing.
        Reply::Greeting(view) if view.code.is_empty() => {}
        Reply::Greeting(view) => codepad::receive(&view.code, &mut words),
        Reply::Done { number } => words.ack(*number),
        Reply::NoNamespace { namespace } => words.no_namespace(namespace),
        Reply::Connected { user, active } => courier::connected(user, *active, &mut words),
        Reply::Routed { event, tally } => courier::routed(event, *tally, &mut words),
        Reply::AuthOk { expires_at, id } => {
            let mut body = json!({ "expires_at": rfc3339(*expires_at) });
            if let Some(id) = id {
                body["id"] = (*id).into();
            }
            words.event("auth_ok", &body);
        }
        // Its clients have no word for these: an acknowledgement answers the packet that asked for it.
        Reply::Resumed { .. } | Reply::TextAck { .. } | Reply::Ack { .. } | Reply::Gone { .. } => {}
    }
}

#[cfg(test)]
mod tests;
