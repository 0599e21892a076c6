//! Plain frames for clients without the library: `{"event":…,"data":…}`, the same events.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Said;
use super::events;
use crate::dialects::Labels;
use crate::domain::{Code, Reject};

#[derive(Deserialize)]
struct Frame<'a> {
    event: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl<'a> Frame<'a> {
    fn read(text: &'a str) -> Option<Self> {
        // A list would be taken for the fields in order.
        let is_object = text.trim_ascii_start().starts_with('{');
        is_object.then(|| serde_json::from_str(text).ok()).flatten()
    }
}

/// What its sender wrote on a frame.
pub fn labels(text: &str) -> Labels {
    Labels {
        id: Frame::read(text).and_then(|frame| events::id(frame.data)),
        ack: None,
    }
}

/// What a frame says.
pub fn read(text: &str) -> Said {
    match Frame::read(text) {
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
