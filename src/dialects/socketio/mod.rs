//! Socket.IO: the same meaning in the events of two services whose clients use that library.
//!
//! A socket begins with the packets of [`talk`], and says events after that: those of a code room ([`codepad`]).
//! What a socket is told is one text frame each, the same for all of them.

mod codepad;
pub mod packet;
mod talk;

pub use self::codepad::{encode, greeting};
pub use self::talk::{Said, Talk};

use serde::Serialize;
use serde_json::json;

use self::packet::write;
use super::Reply;
use crate::clock::Millis;
use crate::domain::Reject;

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
}

impl<'a> From<&'a Reject> for Wrong<'a> {
    fn from(reject: &'a Reject) -> Self {
        let code = reject.code.as_str();
        Self {
            message: &reject.message,
            error: code,
            code,
            field: reject.field,
            retry_in_ms: reject.retry_in_ms,
        }
    }
}

pub fn reply(reply: &Reply<'_>, now: Millis, out: &mut Vec<u8>) {
    match reply {
        Reply::Rejected { reject, .. } => write::event("error", &Wrong::from(*reject), out),
        Reply::Pong { .. } => write::event("pong", &json!({ "timestamp": now }), out),
        Reply::Greeting(view) => greeting(view, out),
        Reply::Done { number } => write::ack(*number, out),
        Reply::NoNamespace { namespace } => {
            let why = json!({ "message": "Invalid namespace" });
            write::refused(namespace, &why, out);
        }
        // Its clients have no word for these: an acknowledgement answers the packet that asked for it.
        Reply::Resumed { .. }
        | Reply::TextAck { .. }
        | Reply::Ack { .. }
        | Reply::AuthOk { .. } => {}
    }
}
