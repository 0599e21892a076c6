//! The session's text: how a change becomes the next version.
//!
//! Today a change replaces the whole text, and one made from an older version is refused with
//! `conflict`. Everything about that stands here and in the commit of a text, so that merging can take
//! its place.

use std::sync::Arc;

use super::{Actor, Event, Limits, Reject, Write};

/// A text to commit.
#[derive(Debug, Clone, PartialEq)]
pub struct TextChange {
    pub code: Arc<str>,
    /// The version it was made from, when the sender said so.
    pub base: Option<u64>,
}

/// A text update larger than this is passed on at most once in [`LARGE_TEXT_PACE_MS`].
pub const LARGE_TEXT_BYTES: usize = 32 * 1024;
pub const LARGE_TEXT_PACE_MS: u64 = 100;

pub fn change(
    code: String,
    base: Option<u64>,
    actor: &Actor,
    limits: &Limits,
) -> Result<Write, Reject> {
    check_size(code.len(), limits)?;
    if actor.recorded && code.contains('\0') {
        let sentence = "code has a NUL character; right in a recorded session is a text without";
        return Err(Reject::field("code", sentence));
    }
    let code: Arc<str> = code.into();
    let event = Event::TextChanged {
        user: actor.user.clone(),
        code: Some(code.clone()),
    };
    Ok(Write {
        field: Some(("code_by", actor.user.to_string())),
        text: Some(TextChange { code, base }),
        ..Write::of(event, false)
    })
}

pub fn check_size(bytes: usize, limits: &Limits) -> Result<(), Reject> {
    if bytes > limits.code_bytes {
        return Err(Reject::field(
            "code",
            format!(
                "the code has {bytes} bytes; right is at most {}",
                limits.code_bytes
            ),
        ));
    }
    Ok(())
}

/// What the log keeps of a text change: who, not what. The state holds the newest text.
pub fn logged(event: &Event) -> Option<Event> {
    match event {
        Event::TextChanged {
            user,
            code: Some(_),
        } => Some(Event::TextChanged {
            user: user.clone(),
            code: None,
        }),
        _ => None,
    }
}

/// Why a change from an older version was not taken.
pub fn stale(base: Option<u64>, version: u64) -> Reject {
    let base = base.map_or_else(|| "an older version".to_owned(), |v| format!("version {v}"));
    Reject {
        field: Some("base_version"),
        ..Reject::new(
            super::Code::Conflict,
            format!("the change was made from {base}; the text is at version {version}"),
        )
    }
}
