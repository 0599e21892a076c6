//! A notification, in every dialect: an event of Socket.IO and its plain variant, a frame with a type at all other
//! doors.

use serde::Serialize;
use serde_json::value::RawValue;

use super::Dialect;
use super::socketio::Words;
use crate::clock::{Millis, rfc3339};
use crate::domain::notices::Notice;

const NAME: &str = "notification";

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    data: &'a RawValue,
    timestamp: String,
}

#[derive(Serialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    data: &'a Body<'a>,
}

pub fn write(dialect: Dialect, notice: &Notice, at: Millis, out: &mut Vec<u8>) {
    let body = Body {
        kind: &notice.kind,
        // It was JSON when it came in.
        data: serde_json::from_str(&notice.data).unwrap_or(RawValue::NULL),
        timestamp: rfc3339(at),
    };
    match dialect {
        Dialect::SocketIo => Words::packets(out).event(NAME, &body),
        Dialect::Raw => Words::raw(out).event(NAME, &body),
        _ => {
            let frame = Frame {
                kind: NAME,
                data: &body,
            };
            serde_json::to_writer(out, &frame).expect("writing plain fields to memory cannot fail");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards clients against a change of what they are told, and data against being written anew.
    #[test]
    fn data_passes_through_as_it_came() {
        let data = r#"{ "b":1.50, "a":[ "é" ] }"#;
        let notice = Notice::checked("deploy".to_owned(), data.into(), None).unwrap();
        let body =
            format!(r#"{{"type":"deploy","data":{data},"timestamp":"1970-01-01T00:00:00.007Z"}}"#);
        for dialect in Dialect::ALL {
            let mut out = Vec::new();
            write(dialect, &notice, 7, &mut out);
            let right = match dialect {
                Dialect::SocketIo => format!(r#"42["notification",{body}]"#),
                Dialect::Raw => format!(r#"{{"event":"notification","data":{body}}}"#),
                _ => format!(r#"{{"type":"notification","data":{body}}}"#),
            };
            assert_eq!(String::from_utf8(out).unwrap(), right, "{dialect:?}");
        }
    }
}
