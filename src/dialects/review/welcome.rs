//! The first frame of a review socket. Most of it is the same for all who come at one moment, and is written once.

use serde::Serialize;

use super::frames::{
    ChatOut, CursorOut, UserOut, ViewportOut, chat_out, cursor_out, user_out, viewport_out,
};
use crate::clock::{Millis, rfc3339};
use crate::domain::chat::Line;
use crate::domain::presence::Present;
use crate::domain::roles::Role;
use crate::domain::sessions::View;
use crate::ids::UserId;

/// Chat lines that greet whoever comes.
const LINES: usize = 50;

/// What all are told who come now, as JSON.
pub struct Welcome {
    /// An object's fields and its end, without its beginning.
    rest: String,
    chat: Vec<(u64, Line)>,
    /// The same as a list.
    messages: String,
}

#[derive(Serialize)]
struct Head<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    session_id: &'a str,
    user: UserOut<'a>,
    role: &'a str,
    resumed: bool,
    timestamp: String,
}

#[derive(Serialize)]
struct Rest<'a> {
    position: Option<String>,
    participants: Vec<ParticipantOut<'a>>,
    user_count: u64,
    session: SessionOut<'a>,
    code: &'a str,
    version: u64,
}

#[derive(Serialize)]
struct SessionOut<'a> {
    title: &'a str,
    language: &'a str,
    default_role: &'a str,
}

/// Somebody who is there.
#[derive(Serialize)]
pub struct ParticipantOut<'a> {
    user_id: &'a str,
    username: &'a str,
    role: &'a str,
    status: &'a str,
    cursor: Option<CursorOut<'a>>,
    viewport: Option<ViewportOut<'a>>,
}

impl<'a> ParticipantOut<'a> {
    /// Nothing of somebody who is about to be shown out.
    pub fn of(present: &'a Present, view: &'a View) -> Option<Self> {
        let role = view.role_of(&present.user);
        if role == Role::Banned.word() {
            return None;
        }
        Some(Self {
            user_id: present.user.as_str(),
            username: &present.name,
            role,
            status: &present.status,
            cursor: present
                .cursor
                .map(|cursor| cursor_out(cursor, present.file.as_deref())),
            viewport: present.viewport.as_ref().map(viewport_out),
        })
    }
}

impl Welcome {
    pub fn of(view: &View) -> Self {
        let rest = Rest {
            position: view.position.map(|position| position.to_string()),
            participants: view
                .users
                .iter()
                .filter_map(|one| ParticipantOut::of(one, view))
                .collect(),
            user_count: view.user_count,
            session: SessionOut {
                title: &view.title,
                language: &view.language,
                default_role: &view.default_role,
            },
            code: &view.code,
            version: view.version,
        };
        let oldest = view.chat.len().saturating_sub(LINES);
        let chat = view.chat[oldest..].to_vec();
        Self {
            rest: json(&rest).split_off(1),
            messages: messages(chat.iter()),
            chat,
        }
    }

    /// The frame for one of them. `letters` are lines for them alone, with their seqs.
    pub fn write(
        &self,
        view: &View,
        (user, name): (&UserId, &str),
        letters: &[(u64, Line)],
        now: Millis,
        out: &mut Vec<u8>,
    ) {
        let head = Head {
            kind: "connected",
            session_id: view.session.as_str(),
            user: user_out(user, name),
            role: view.role_of(user),
            resumed: false,
            timestamp: rfc3339(now),
        };
        let mut head = json(&head);
        head.pop();
        let own;
        let messages = if letters.is_empty() {
            &self.messages
        } else {
            own = self.with(letters);
            &own
        };
        out.reserve(head.len() + messages.len() + self.rest.len() + 16);
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(b",\"messages\":");
        out.extend_from_slice(messages.as_bytes());
        out.push(b',');
        out.extend_from_slice(self.rest.as_bytes());
    }

    fn with(&self, letters: &[(u64, Line)]) -> String {
        let mut all: Vec<&(u64, Line)> = self.chat.iter().chain(letters).collect();
        all.sort_by_key(|(_, line)| line.at);
        let oldest = all.len().saturating_sub(LINES);
        messages(all[oldest..].iter().copied())
    }
}

fn messages<'a>(lines: impl Iterator<Item = &'a (u64, Line)>) -> String {
    let lines: Vec<ChatOut<'_>> = lines
        .map(|(seq, line)| chat_out(line, Some(*seq)))
        .collect();
    json(&lines)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("writing plain fields to memory cannot fail")
}
