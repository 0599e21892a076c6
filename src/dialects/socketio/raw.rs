//! Plain frames for clients without the library: `{"event":…,"data":…}`, the same events.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Said;
use super::events;
use crate::domain::{Code, Reject};

#[derive(Deserialize)]
struct Frame<'a> {
    event: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// What a frame says.
pub fn read(text: &str) -> Said {
    // A list would be taken for the fields in order.
    let is_object = text.trim_ascii_start().starts_with('{');
    let frame: Option<Frame<'_>> = is_object.then(|| serde_json::from_str(text).ok()).flatten();
    match frame {
        Some(frame) => Said::of(events::read(&frame.event, frame.data), None),
        None => {
            let message = "a frame is one JSON object with an event, a string, and its data";
            Said::Refused {
                reject: Reject::new(Code::BadFrame, message),
                id: None,
                ack: None,
            }
        }
    }
}
