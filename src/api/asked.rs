//! What the query of a request asks for: a page, ids, times. What is empty is not said, but for the limit.

use std::borrow::Cow;

use crate::clock::{self, Millis};
use crate::http::Problem;
use crate::ids::{BadId, EventId};
use hyper::StatusCode;

/// How many a page has, unless it is asked for fewer or more; and at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    pub usual: u32,
    pub most: u32,
}

/// Longest text that is looked for, in characters.
const MAX_WORDS: usize = 1_024;

/// The query's names and values.
pub(super) struct Asked<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Asked<'a> {
    pub(super) fn of(query: Option<&'a str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.collect())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.said(name).filter(|text| !text.is_empty())
    }

    /// Whether it is said, be it with nothing.
    pub(super) fn says(&self, name: &str) -> bool {
        self.said(name).is_some()
    }

    /// The last one counts.
    fn said(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rfind(|(known, _)| known == name);
        found.map(|(_, value)| &**value)
    }

    pub(super) fn id<T>(
        &self,
        name: &'static str,
        parse: fn(&str) -> Result<T, BadId>,
    ) -> Result<Option<T>, Problem> {
        let parsed = self.text(name).map(|text| id(name, text, parse));
        parsed.transpose()
    }

    /// The same of what must be there.
    pub(super) fn needed<T>(
        &self,
        name: &'static str,
        parse: fn(&str) -> Result<T, BadId>,
    ) -> Result<T, Problem> {
        id(name, self.text(name).unwrap_or_default(), parse)
    }

    pub(super) fn limit(&self, page: Page) -> Result<u32, Problem> {
        let Some(text) = self.said("limit") else {
            return Ok(page.usual);
        };
        let most = page.most;
        let number = text.parse().ok().filter(|limit| (1..=most).contains(limit));
        number.ok_or_else(|| wrong("limit", text, &format!("1 to {most}")))
    }

    /// A whole number.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let wrong = |_| bad_field(name, format!("{name} is no number; right is 0 or more"));
        text.parse().map(Some).map_err(wrong)
    }

    /// A text as it is looked for.
    pub(super) fn words(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let length = text.chars().count();
        if length > MAX_WORDS || text.contains('\0') {
            let right = format!("right is at most {MAX_WORDS}, none of them NUL");
            let detail = format!("{name} has {length} characters; {right}");
            return Err(bad_field(name, detail));
        }
        Ok(Some(text))
    }

    pub(super) fn message(&self, name: &'static str) -> Result<Option<EventId>, Problem> {
        let read = |text| {
            let parsed = EventId::parse(text);
            parsed.ok_or_else(|| wrong(name, text, "the id of a message"))
        };
        self.text(name).map(read).transpose()
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, Problem> {
        let read = |text: &str| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(wrong(name, other, "true or false")),
        };
        self.text(name).map(read).transpose()
    }

    pub(super) fn time(&self, name: &'static str) -> Result<Option<Millis>, Problem> {
        let read = |text| {
            let right = "a time such as 2025-11-12T10:30:00Z (RFC 3339, `+` as %2B)";
            clock::parse(text).ok_or_else(|| wrong(name, text, right))
        };
        self.text(name).map(read).transpose()
    }
}

fn wrong(name: &'static str, text: &str, right: &str) -> Problem {
    let shown: String = text.chars().take(40).collect();
    bad_field(name, format!("{name} is {shown:?}; right is {right}"))
}

/// An id that the client called `name`.
pub(super) fn id<T>(
    name: &'static str,
    text: &str,
    parse: fn(&str) -> Result<T, BadId>,
) -> Result<T, Problem> {
    parse(text).map_err(|bad| bad_field(name, bad.named(name).to_string()))
}

pub(super) fn bad_field(field: &'static str, detail: String) -> Problem {
    Problem {
        field: Some(field.into()),
        ..Problem::new(StatusCode::BAD_REQUEST, "bad_field", detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    #[test]
    fn what_is_asked_and_what_is_wrong_with_it() {
        let page = Page {
            usual: 50,
            most: 200,
        };
        let limit = |query| Asked::of(Some(query)).limit(page).map_err(|no| no.field);
        assert_eq!(limit("q=x"), Ok(50));
        assert_eq!(limit("limit=1&limit=200"), Ok(200));
        for wrong in [
            "limit=",
            "limit=0",
            "limit=201",
            "limit=x",
            "limit=-1",
            "limit=1%00",
        ] {
            assert_eq!(limit(wrong), Err(Some("limit".into())), "{wrong}");
        }
        let time = |query| Asked::of(Some(query)).time("from").map_err(|no| no.field);
        assert_eq!(time("to=x"), Ok(None));
        assert_eq!(time("from=1970-01-01T01:00:00%2B01:00"), Ok(Some(0)));
        assert_eq!(time("from=1970-01-01T00:00:01.5Z"), Ok(Some(1_500)));
        for wrong in ["from=1970-01-01", "from=0", "from=1970-01-01T00:00:00"] {
            assert_eq!(time(wrong), Err(Some("from".into())), "{wrong}");
        }
        let asked = Asked::of(Some("user_id=a%00b"));
        assert!(asked.id("user_id", UserId::parse).is_err());
        assert_eq!(asked.id("cursor", UserId::parse).ok(), Some(None));
        assert!(asked.needed("team_id", UserId::parse).is_err());
    }
}
