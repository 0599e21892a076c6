//! Comments on lines of files: said to everyone, answered, and resolved once they are dealt with.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::chat::{self, Line};
use super::presence;
use super::{Actor, Deed, Effect, Limits, Reject, recorded};
use crate::clock::Millis;
use crate::ids::EventId;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comment {
    pub line: Line,
    pub file: Arc<str>,
    pub row: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snippet: Option<Arc<str>>,
}

/// What somebody wants to remark.
#[derive(Debug, Clone, PartialEq)]
pub struct Saying {
    pub text: String,
    pub file: String,
    pub row: u32,
    pub snippet: Option<String>,
    pub reply_to: Option<EventId>,
}

pub(super) fn comment(
    saying: Saying,
    actor: &Actor,
    limits: &Limits,
    now: Millis,
) -> Result<Effect, Reject> {
    chat::check("data.content", &saying.text, actor, limits)?;
    presence::check_file(&saying.file)?;
    let snippet = saying.snippet;
    let most = limits.chat_bytes;
    if let Some(bad) = snippet
        .as_ref()
        .filter(|it| it.len() > most || it.contains('\0'))
    {
        let bytes = bad.len();
        let sentence =
            format!("code_snippet has {bytes} bytes; right is at most {most}, none of them NUL");
        return Err(Reject::field("code_snippet", sentence));
    }
    let comment = Comment {
        line: Line::of(saying.text, saying.reply_to, actor, now),
        file: saying.file.into(),
        row: saying.row,
        snippet: snippet.map(Arc::from),
    };
    recorded(actor, Deed::Comment(comment))
}
