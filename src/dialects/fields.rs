//! Fields of JSON frames, read one by one, so that an error can name the one that is wrong.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::domain::{Code, Reject};
use crate::ids::MAX_COMMAND_ID;

/// The id a client gave its command.
pub fn command_id(raw: Option<&RawValue>) -> Result<Option<String>, Reject> {
    let id: Option<String> = optional("id", raw, "a string")?;
    match id {
        Some(id) if id.is_empty() || id.chars().count() > MAX_COMMAND_ID => Err(Reject::field(
            "id",
            format!("id is a string of 1 to {MAX_COMMAND_ID} characters"),
        )),
        id => Ok(id),
    }
}

/// A frame that is one JSON object.
pub fn object<'a, T: Deserialize<'a>>(text: &'a str, right: &'static str) -> Result<T, Reject> {
    // A list would be taken for a struct's fields in order.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Reject::new(Code::BadFrame, right));
    }
    serde_json::from_str(text).map_err(|error| {
        let sentence = format!("{right}; this is not: {error}");
        Reject::new(Code::BadFrame, sentence)
    })
}

/// What stands below `data`, with each of its fields to be read in turn; nothing of it where there is none.
pub fn data<'a, T: Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> Result<T, Reject> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
        return Ok(T::default());
    };
    // A list would be taken for a struct's fields in order.
    if !raw.get().starts_with('{') {
        return Err(wrong_type("data", "an object"));
    }
    let each_once = || wrong_type("data", "an object with each field once");
    serde_json::from_str(raw.get()).map_err(|_| each_once())
}

/// A `null` is a missing field.
pub fn optional<T: DeserializeOwned>(
    field: &'static str,
    raw: Option<&RawValue>,
    right: &str,
) -> Result<Option<T>, Reject> {
    match raw {
        None => Ok(None),
        Some(raw) => serde_json::from_str(raw.get()).map_err(|_| wrong_type(field, right)),
    }
}

pub fn required<T: DeserializeOwned>(
    field: &'static str,
    raw: Option<&RawValue>,
    right: &str,
) -> Result<T, Reject> {
    optional(field, raw, right)?.ok_or_else(|| missing(field, right))
}

pub fn wrong_type(field: &'static str, right: &str) -> Reject {
    Reject::field(
        field,
        format!("{field} has the wrong type; right is {right}"),
    )
}

pub fn missing(field: &'static str, right: &str) -> Reject {
    Reject::field(field, format!("{field} is missing; right is {right}"))
}
