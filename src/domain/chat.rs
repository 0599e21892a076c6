//! Chat: a line is said to everyone, its sender too, or to one user alone; the last hundred greet whoever comes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Actor, Deed, Effect, Event, Limits, Reject, Write, recorded};
use crate::clock::Millis;
use crate::ids::{EventId, UserId};

/// Longest emoji, in bytes: families of many have joined ones.
const MAX_EMOJI: usize = 64;
/// Users that a line may mention.
const MAX_MENTIONS: usize = 50;
/// Places in a line that are looked at for names.
const MAX_MARKS: usize = 200;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub id: EventId,
    pub user: UserId,
    pub name: Arc<str>,
    pub text: Arc<str>,
    pub at: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<EventId>,
    /// For this user and the sender alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<UserId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
}

/// What somebody wants said.
#[derive(Debug, Clone, PartialEq)]
pub struct Saying {
    pub text: String,
    pub reply_to: Option<EventId>,
    pub to: Option<UserId>,
}

impl From<String> for Saying {
    fn from(text: String) -> Self {
        Self {
            text,
            reply_to: None,
            to: None,
        }
    }
}

impl Line {
    pub(super) fn blank(&mut self) {
        self.text = "".into();
        self.mentions.clear();
    }

    pub(super) fn of(text: String, reply_to: Option<EventId>, actor: &Actor, now: Millis) -> Self {
        Self {
            id: EventId::new(),
            user: actor.user.clone(),
            name: actor.name.clone(),
            text: text.into(),
            at: now,
            reply_to,
            to: None,
            mentions: Vec::new(),
        }
    }
}

pub(super) fn say(
    saying: Saying,
    actor: &Actor,
    limits: &Limits,
    now: Millis,
) -> Result<Effect, Reject> {
    let Saying { text, reply_to, to } = saying;
    check("message", &text, actor, limits)?;
    let needs_records = reply_to.is_some() || to.is_some();
    if to.as_ref() == Some(&actor.user) {
        let sentence = "a direct message is for somebody else; right is another user, or none";
        return Err(Reject::field("to_user", sentence));
    }
    let mut line = Line::of(text, reply_to, actor, now);
    line.to = to;
    if actor.recorded || needs_records {
        return recorded(actor, Deed::Post(line));
    }
    Ok(Effect::Commit(Write::of(Event::ChatPosted(line), true)))
}

pub(super) fn edit(
    message: EventId,
    text: String,
    actor: &Actor,
    limits: &Limits,
) -> Result<Effect, Reject> {
    check("data.content", &text, actor, limits)?;
    recorded(actor, Deed::Edit { message, text })
}

pub(super) fn react(
    message: EventId,
    emoji: String,
    add: bool,
    actor: &Actor,
) -> Result<Effect, Reject> {
    let odd = emoji.chars().any(|c| c.is_whitespace() || c.is_control());
    if emoji.is_empty() || emoji.len() > MAX_EMOJI || odd {
        let sentence =
            format!("emoji is 1 to {MAX_EMOJI} bytes without blanks and control characters");
        return Err(Reject::field("emoji", sentence));
    }
    let deed = Deed::React {
        message,
        emoji,
        add,
    };
    recorded(actor, deed)
}

/// Whether a text may be said.
pub(super) fn check(
    field: &'static str,
    text: &str,
    actor: &Actor,
    limits: &Limits,
) -> Result<(), Reject> {
    if text.is_empty() || text.len() > limits.chat_bytes {
        let (bytes, most) = (text.len(), limits.chat_bytes);
        let sentence = format!("a chat message has {bytes} bytes; right is 1 to {most}");
        return Err(Reject::field(field, sentence));
    }
    if actor.recorded && text.contains('\0') {
        let sentence = "a message of a recorded session has a NUL; right is any other character";
        return Err(Reject::field(field, sentence));
    }
    Ok(())
}

/// Users of these names or ids behind an `@`: the longest that fits, whatever its case, and not within a word.
pub fn mentioned<'a>(
    text: &str,
    people: impl Iterator<Item = (&'a UserId, &'a str)>,
) -> Vec<UserId> {
    let marks: Vec<usize> = marks(text).take(MAX_MARKS).collect();
    // How far the best name at each place reaches, and whose it is.
    let mut best: Vec<Option<(usize, &UserId)>> = vec![None; marks.len()];
    for (user, name) in people {
        for (mark, best) in marks.iter().zip(&mut best) {
            let behind = &text[*mark..];
            let lengths = [name, user.as_str()].map(|word| begins(behind, word));
            let longest = lengths.into_iter().flatten().max().unwrap_or(0);
            if longest > best.map_or(0, |(length, _)| length) {
                *best = Some((longest, user));
            }
        }
    }
    let mut found: Vec<UserId> = Vec::new();
    for (_, user) in best.into_iter().flatten() {
        if found.len() < MAX_MENTIONS && !found.contains(user) {
            found.push(user.clone());
        }
    }
    found
}

/// Places behind each `@` that begins a word.
fn marks(text: &str) -> impl Iterator<Item = usize> {
    text.match_indices('@').filter_map(|(at, mark)| {
        let before = text[..at].chars().next_back();
        let within = before.is_some_and(|c| c.is_alphanumeric() || "._-+@".contains(c));
        (!within).then_some(at + mark.len())
    })
}

/// How many bytes of the text are this word, if it begins with it and the word ends there.
fn begins(text: &str, word: &str) -> Option<usize> {
    let mut rest = text.chars();
    for wanted in word.chars() {
        let got = rest.next()?;
        if got != wanted && !got.to_lowercase().eq(wanted.to_lowercase()) {
            return None;
        }
    }
    let ends = rest
        .clone()
        .next()
        .is_none_or(|c| !c.is_alphanumeric() && c != '_');
    (ends && !word.is_empty()).then(|| text.len() - rest.as_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_they_stand_alone() {
        let people = [("u1", "ann"), ("u2", "Ann Lee"), ("u3", "b"), ("u4", "İlk")];
        let people = people.map(|(id, name)| (UserId::parse(id).unwrap(), name));
        for (text, right) in [
            ("@ann hello", vec!["u1"]),
            ("@ANN, @b!", vec!["u1", "u3"]),
            ("@ann lee and @ann", vec!["u2", "u1"]),
            ("@anna @ann_ mail@ann.com x@b", vec![]),
            ("(@u3) @u3 @b", vec!["u3"]),
            ("@", vec![]),
            ("@İlk", vec!["u4"]),
            ("nobody", vec![]),
        ] {
            let found = mentioned(text, people.iter().map(|(id, name)| (id, *name)));
            let found: Vec<_> = found.iter().map(UserId::as_str).collect();
            assert_eq!(found, right, "{text}");
        }
    }
}
