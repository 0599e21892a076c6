//! Chat: a line is said to everyone, its sender too, and the last hundred greet whoever comes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Actor, Event, Limits, Reject, Write};
use crate::clock::Millis;
use crate::ids::{EventId, UserId};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub id: EventId,
    pub user: UserId,
    pub name: Arc<str>,
    pub text: Arc<str>,
    pub at: Millis,
}

pub fn say(text: String, actor: &Actor, limits: &Limits, now: Millis) -> Result<Write, Reject> {
    if text.is_empty() || text.len() > limits.chat_bytes {
        return Err(Reject::field(
            "message",
            format!(
                "a chat message has {} bytes; right is 1 to {}",
                text.len(),
                limits.chat_bytes
            ),
        ));
    }
    let line = Line {
        id: EventId::new(),
        user: actor.user.clone(),
        name: actor.name.clone(),
        text: text.into(),
        at: now,
    };
    Ok(Write {
        chat_line: Some(line.clone()),
        ..Write::of(Event::ChatPosted(line), true)
    })
}
