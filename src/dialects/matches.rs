//! Match events: what matchmakers say of a session to come, in JSON. The same words come by REST and out of a queue, so
//! they are read here, below both; who brought them does not matter.

use serde::Deserialize;

use super::object::{Unread, object};
use crate::domain::sessions::Match;

const MATCH_FOUND: &str = "match.found";
/// Most of a wrong event type that is told back, in characters.
const SHOWN: usize = 64;

/// The event, but for its type; what else it may carry is ignored.
#[derive(Deserialize)]
struct Found {
    session_id: String,
    users: Vec<String>,
    #[serde(default)]
    question_id: String,
    #[serde(default)]
    difficulty: String,
    #[serde(default)]
    topic: String,
}

/// The one field that events of other types have, too.
#[derive(Deserialize)]
struct Typed {
    #[serde(default)]
    event_type: Option<String>,
}

/// Reads a `match.found`; an event that does not say its type is taken for one.
pub fn match_found(body: &[u8]) -> Result<Match, Unread> {
    const WHAT: &str = "match event";
    // First of all: another event lacks more than the right type, and its fields are nobody's business.
    let typed: Typed = object(body, WHAT)?;
    if let Some(other) = typed.event_type.filter(|kind| kind != MATCH_FOUND) {
        let shown: String = other.chars().take(SHOWN).collect();
        return Err(Unread {
            field: Some("event_type".into()),
            sentence: format!("event_type is {shown:?}; right is {MATCH_FOUND:?}, or none"),
        });
    }
    let found: Found = object(body, WHAT)?;
    let (session, users) = (&found.session_id, &found.users);
    let checked = Match::checked(
        session,
        users,
        found.question_id,
        found.difficulty,
        found.topic,
    );
    Ok(checked?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards what is taken, and that of what is not the first wrong field is named.
    #[test]
    fn events_are_read_and_what_is_wrong_is_named() {
        let whole = r#"{"event_type":"match.found","session_id":"s","users":["ann","bob"],"question_id":"q",
            "difficulty":"easy","topic":"graphs","more":[1]}"#;
        let found = match_found(whole.as_bytes()).unwrap();
        assert_eq!((found.session.as_str(), found.users.len()), ("s", 2));
        assert_eq!((&*found.question_id, &*found.topic), ("q", "graphs"));
        assert!(match_found(br#"{"session_id":"s","users":["ann"],"event_type":null}"#).is_ok());
        for (body, field) in [
            (r#"{"event_type":"match.lost"}"#, Some("event_type")),
            (r#"{"event_type":7}"#, Some("event_type")),
            (
                r#"{"event_type":"match.found","users":["ann"]}"#,
                Some("session_id"),
            ),
            (r#"{"session_id":"s","users":["ann",7]}"#, Some("users[1]")),
            (r#"{"session_id":"s","users":[]}"#, Some("users")),
            (
                r#"{"session_id":"s p","users":["ann"]}"#,
                Some("session_id"),
            ),
            (
                r#"{"session_id":"s","users":["ann"],"topic":"\u0000"}"#,
                Some("topic"),
            ),
            (r#"[{"session_id":"s","users":["ann"]}]"#, None),
            ("\u{feff}{}", None),
            ("", None),
        ] {
            let unread = match_found(body.as_bytes()).unwrap_err();
            assert_eq!(unread.field.as_deref(), field, "{body}");
        }
    }
}
