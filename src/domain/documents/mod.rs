//! The session's text: one Yjs document, edited by who speaks Yjs and by who sends whole texts.
//!
//! [`Document`] wraps the library, [`diff`] makes a small edit of a whole text, [`places`] converts cursors between
//! lines and positions that move with the text. No I/O: where updates are kept and how they travel is the node's.

mod diff;
mod document;
mod places;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::diff::{Edit, edits, plain};
pub use self::document::{Broken, Clocks, Document, EMPTY, merge};
pub use self::places::{cursor_at, index_of};
use super::{Actor, Code, Event, Limits, Reject, Write};
use crate::clock::Millis;
use crate::ids::UserId;

/// A whole text to commit.
#[derive(Debug, Clone, PartialEq)]
pub struct TextChange {
    pub code: Arc<str>,
    /// The version it was made from, when the sender said so.
    pub base: Option<u64>,
}

/// An update as the document's log keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub user: UserId,
    pub at: Millis,
    #[serde(with = "serde_bytes")]
    pub update: Vec<u8>,
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
    let event = changed(actor.user.clone(), None);
    Ok(Write {
        field: Some(("code_by", actor.user.to_string())),
        text: Some(TextChange {
            code: code.into(),
            base,
        }),
        ..Write::of(event, false)
    })
}

/// Somebody changed the text by this update; none: in the log, which leaves updates to the document's own.
pub fn changed(user: UserId, update: Option<Vec<u8>>) -> Event {
    Event::TextChanged {
        user,
        code: None,
        update: update.map(serde_bytes::ByteBuf::from),
    }
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

/// What the log keeps of a text change: who, not what. The document's log has the update.
pub fn logged(event: &Event) -> Option<Event> {
    match event {
        Event::TextChanged { user, .. } => Some(changed(user.clone(), None)),
        _ => None,
    }
}

/// Why a change was not taken that fits, but not into what others wrote meanwhile.
pub fn too_long(most: u64) -> Reject {
    let right = format!("right is at most {most} UTF-16 units");
    Reject::field(
        "code",
        format!("the text would be too long with what others wrote; {right}"),
    )
}

/// Why a change from a version that cannot be rebuilt was not taken.
pub fn gone(base: u64, version: u64) -> Reject {
    let right = format!("right is one made from version {version}, which follows");
    let sentence = format!("the change was made from version {base}, which is no more; {right}");
    Reject {
        field: Some("base_version"),
        ..Reject::new(Code::VersionGone, sentence)
    }
}
