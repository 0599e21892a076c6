//! Couriers: `collab_event` from one user to others, `event_ack` for its sender, and who is there.

use std::collections::HashMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::Words;
use crate::dialects::fields::required;
use crate::domain::courier::{Directed, Parcel, Tally};
use crate::domain::{Code, Reject};
use crate::ids::UserId;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    from_user: Option<&'a RawValue>,
    #[serde(borrow)]
    to_users: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// What is known of an event's data; the rest passes through unread.
#[derive(Deserialize)]
struct Known<'a> {
    #[serde(rename = "position_id")]
    _position_id: String,
    #[serde(default, rename = "share_url")]
    _share_url: Option<String>,
    #[serde(default, rename = "shared_at")]
    _shared_at: Option<String>,
    #[serde(borrow)]
    comment: Option<&'a RawValue>,
    #[serde(default, rename = "updates")]
    _updates: Option<HashMap<String, IgnoredAny>>,
}

#[derive(Deserialize)]
struct Comment {
    #[serde(default, rename = "id")]
    _id: Option<String>,
    #[serde(default, rename = "text")]
    _text: Option<String>,
    #[serde(default, rename = "user")]
    _user: Option<HashMap<String, IgnoredAny>>,
    #[serde(default, rename = "created_at")]
    _created_at: Option<String>,
}

/// Fields of the data, as an error names them.
const FIELDS: [&str; 9] = [
    "data.position_id",
    "data.share_url",
    "data.shared_at",
    "data.updates",
    "data.comment",
    "data.comment.id",
    "data.comment.text",
    "data.comment.user",
    "data.comment.created_at",
];

/// Reads the body of a `collab_event`.
pub fn parcel(body: Option<&RawValue>, id: Option<String>) -> Result<Parcel, Reject> {
    let object = body.map(RawValue::get).filter(|json| json.starts_with('{'));
    let body: Body<'_> = object
        .and_then(|json| serde_json::from_str(json).ok())
        .ok_or_else(|| {
            let message = "collab_event takes one object with type, from_user, to_users and data";
            Reject::new(Code::BadFrame, message)
        })?;
    let kind: String = required("type", body.kind, "a string")?;
    let from: String = required("from_user", body.from_user, "a string")?;
    let to: Vec<String> = required("to_users", body.to_users, "a list of user ids")?;
    let data = body.data.filter(|data| data.get().starts_with('{'));
    let data: &RawValue = data.ok_or_else(no_data)?;
    known(data)?;
    Ok(Parcel {
        kind,
        from: user("from_user", &from)?,
        to: to
            .iter()
            .map(|id| user("to_users", id))
            .collect::<Result<_, _>>()?,
        data: data.get().to_owned(),
        id,
    })
}

fn user(field: &'static str, id: &str) -> Result<UserId, Reject> {
    UserId::parse(id).map_err(|error| Reject::field(field, error.named(field).to_string()))
}

fn no_data() -> Reject {
    Reject::field(
        "data",
        "data is missing or no object; right is an object with position_id",
    )
}

/// Checks the types of the fields that are known.
fn known(data: &RawValue) -> Result<(), Reject> {
    let known: Known<'_> = object("data", data)?;
    if let Some(comment) = known.comment {
        let _: Comment = object("data.comment", comment)?;
    }
    Ok(())
}

fn object<'a, T: Deserialize<'a>>(name: &'static str, raw: &'a RawValue) -> Result<T, Reject> {
    // A list would be taken for the fields in order.
    if !raw.get().starts_with('{') {
        let sentence = format!("{name} has the wrong type; right is an object");
        return Err(Reject::field(name, sentence));
    }
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, why) = (error.path().to_string(), error.inner().to_string());
        // Where in the text it was is of no use to who made it with a library.
        let why = why.split(" at line ").next().unwrap_or_default();
        let place = match (path.as_str(), why.split('`').nth(1)) {
            // A field that is missing has no path.
            (".", Some(missing)) => format!("{name}.{missing}"),
            (".", None) => name.to_owned(),
            (path, _) => format!("{name}.{path}"),
        };
        let field = FIELDS.into_iter().find(|field| *field == place);
        Reject::field(field.unwrap_or(name), format!("{place}: {why}"))
    })
}

pub fn connected(user: &UserId, active: u64, words: &mut Words<'_>) {
    let body = json!({
        "user_id": user.as_str(),
        "message": "Connected to collaboration service",
        "active_users": active,
    });
    words.event("connected", &body);
}

pub fn came_online(user: &UserId, name: &str, words: &mut Words<'_>) {
    let body = json!({ "user_id": user.as_str(), "display_name": name });
    words.event("user_online", &body);
}

pub fn went_offline(user: &UserId, words: &mut Words<'_>) {
    words.event("user_offline", &json!({ "user_id": user.as_str() }));
}

pub fn directed(event: &Directed, seq: Option<u64>, words: &mut Words<'_>) {
    #[derive(Serialize)]
    struct Out<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        from_user: &'a UserId,
        to_users: &'a [UserId],
        data: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        id: &'a str,
    }
    let Directed {
        kind,
        from,
        to,
        data,
        id,
        ..
    } = event;
    // It was JSON when it came in.
    let data = serde_json::from_str(data).unwrap_or(RawValue::NULL);
    let body = Out {
        kind,
        from_user: from,
        to_users: to,
        data,
        seq,
        id,
    };
    words.event("collab_event", &body);
}

pub fn routed(event: &Directed, tally: Tally, words: &mut Words<'_>) {
    #[derive(Serialize)]
    struct Out<'a> {
        event_type: &'a str,
        delivered_to: usize,
        total_recipients: usize,
        queued: usize,
        #[serde(skip_serializing_if = "is_zero")]
        full: usize,
        id: &'a str,
    }
    let body = Out {
        event_type: &event.kind,
        delivered_to: tally.present,
        total_recipients: tally.all,
        queued: tally.kept,
        full: tally.full,
        id: &event.id,
    };
    words.event("event_ack", &body);
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
