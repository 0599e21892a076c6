//! AsyncAPI of the doors: written by hand, a file for each, and put together with the binary's version.
//!
//! Tests at the front door check that the document is one, that every example fits, and that what nodes really say is
//! what stands here.

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::Value;

/// What all doors have in common, then the doors.
const FILES: [&str; 7] = [
    include_str!("asyncapi/common.json"),
    include_str!("asyncapi/pairing.json"),
    include_str!("asyncapi/codepad.json"),
    include_str!("asyncapi/courier.json"),
    include_str!("asyncapi/review.json"),
    include_str!("asyncapi/workspace.json"),
    include_str!("asyncapi/yjs.json"),
];

/// The document of all doors, as JSON.
pub fn asyncapi() -> Bytes {
    static MADE: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(made().to_string()));
    MADE.clone()
}

fn made() -> Value {
    let mut document = Value::Null;
    for file in FILES {
        let file = serde_json::from_str(file).expect("the files are JSON, by a test");
        merge(&mut document, file);
    }
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    document
}

/// Objects become one, whatever else is there twice is the later one.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
