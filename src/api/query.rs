//! What a request's query asks for, read field by field, so that an error can name the one that is wrong.

use std::borrow::Cow;

use hyper::Request;

use super::bad_field;
use crate::clock::{self, Millis};
use crate::http::Problem;
use crate::ids::EventId;

/// Items of a page, unless it is asked for fewer; and at most.
pub(super) const PAGE: u32 = 50;
pub(super) const PAGE_MOST: u32 = 200;
/// Longest value, in characters.
const MAX_VALUE: usize = 1_024;

/// The last of several values counts; an empty one is none, but for the limit.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub fn of<B>(request: &Request<B>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        let owned = |text: Cow<'_, str>| text.into_owned();
        Self(
            pairs
                .map(|(name, value)| (owned(name), owned(value)))
                .collect(),
        )
    }

    fn raw(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|value| !value.is_empty())
    }

    fn given(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let Some(value) = self.raw(name) else {
            return Ok(None);
        };
        let length = value.chars().count();
        if length > MAX_VALUE || value.contains('\0') {
            let right = format!("right is at most {MAX_VALUE}, none of them NUL");
            return Err(bad_field(
                name,
                format!("{name} has {length} characters; {right}"),
            ));
        }
        Ok(Some(value))
    }

    /// How many items the page has.
    pub fn limit(&self) -> Result<u32, Problem> {
        let Some(limit) = self.given("limit") else {
            return Ok(PAGE);
        };
        let number = limit.parse().ok();
        let number = number.filter(|limit| (1..=PAGE_MOST).contains(limit));
        number.ok_or_else(|| wrong("limit", limit, &format!("1 to {PAGE_MOST}")))
    }

    pub fn message(&self, name: &'static str) -> Result<Option<EventId>, Problem> {
        let read =
            |value| EventId::parse(value).ok_or_else(|| wrong(name, value, "the id of a message"));
        self.raw(name).map(read).transpose()
    }

    pub fn flag(&self, name: &'static str) -> Result<Option<bool>, Problem> {
        let read = |value: &str| match value {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(wrong(name, other, "true or false")),
        };
        self.raw(name).map(read).transpose()
    }

    pub fn time(&self, name: &'static str) -> Result<Option<Millis>, Problem> {
        let read = |value| {
            let right = "a time by RFC 3339, such as 2026-01-31T12:00:00Z";
            clock::parse(value).ok_or_else(|| wrong(name, value, right))
        };
        self.raw(name).map(read).transpose()
    }
}

fn wrong(name: &'static str, value: &str, right: &str) -> Problem {
    let shown: String = value.chars().take(40).collect();
    bad_field(name, format!("{name} is {shown:?}; right is {right}"))
}
