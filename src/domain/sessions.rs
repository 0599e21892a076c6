//! A session: what it is made with, and what of it is shown.

use std::collections::HashMap;

use super::chat::Line;
use super::presence::Present;
use super::roles::Role;
use super::{Actor, Event, Reject, Write};
use crate::clock::{Millis, rfc3339};
use crate::ids::{Position, SessionId, UserId};

pub const DEFAULT_LANGUAGE: &str = "python";
pub const DEFAULT_ROLE: &str = "viewer";
const DEFAULT_MAIN_FILE: &str = "main";
/// Longest language name and match field, in characters.
const MAX_WORD: usize = 64;
const MAX_QUESTION_ID: usize = 256;

/// A session as a newcomer or a REST client sees it.
#[derive(Debug, Clone)]
pub struct View {
    pub session: SessionId,
    pub question_id: String,
    pub code: String,
    /// Who wrote the code; empty while nobody has.
    pub code_by: String,
    pub language: String,
    pub title: String,
    pub default_role: String,
    /// Whose session it is; empty: nobody's.
    pub host: String,
    /// Roles of users in a recorded session, beside the host's; `None`: in this one there are none.
    pub roles: Option<HashMap<String, String>>,
    pub created_at: String,
    pub version: u64,
    /// Of the text that is shown, which may be older.
    pub code_version: u64,
    pub position: Option<Position>,
    pub users: Vec<Present>,
    /// Distinct users, also those beyond the list.
    pub user_count: u64,
    /// Seq and line, oldest first.
    pub chat: Vec<(u64, Line)>,
}

impl View {
    /// What the user is in it. Where nobody is given roles everybody may write.
    pub fn role_of(&self, user: &UserId) -> &str {
        match &self.roles {
            None => Role::Editor.word(),
            Some(_) if self.host == user.as_str() => Role::Host.word(),
            Some(roles) => roles.get(user.as_str()).unwrap_or(&self.default_role),
        }
    }
}

/// What a session is to be called, and so on; `None`: as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    pub title: Option<String>,
    pub description: Option<String>,
    pub language: Option<String>,
    pub default_role: Option<String>,
}

impl Wish {
    pub fn check(&self) -> Result<(), Reject> {
        let check = |text: &Option<String>, rule: fn(&str) -> Result<(), Reject>| {
            text.as_deref().map_or(Ok(()), rule)
        };
        check(&self.title, title)?;
        check(&self.description, description)?;
        check(&self.language, language)?;
        check(&self.default_role, default_role)
    }
}

/// What a match says of a session to come.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    pub session: SessionId,
    pub users: Vec<UserId>,
    pub question_id: String,
    pub difficulty: String,
    pub topic: String,
}

impl Match {
    pub fn checked(
        session: &str,
        users: &[String],
        question_id: String,
        difficulty: String,
        topic: String,
    ) -> Result<Self, Reject> {
        let session =
            SessionId::parse(session).map_err(|e| Reject::field("session_id", e.to_string()))?;
        if session.is_recorded() {
            let sentence =
                format!("{session} is a recorded session's id; right is one of another form");
            return Err(Reject::field("session_id", sentence));
        }
        if users.is_empty() || users.len() > 1_000 {
            let count = users.len();
            return Err(Reject::field(
                "users",
                format!("users has {count} entries; right is 1 to 1000"),
            ));
        }
        let users: Result<Vec<_>, _> = users.iter().map(|user| UserId::parse(user)).collect();
        let users = users.map_err(|e| Reject::field("users", e.to_string()))?;
        word("question_id", &question_id, MAX_QUESTION_ID)?;
        word("difficulty", &difficulty, MAX_WORD)?;
        word("topic", &topic, MAX_WORD)?;
        Ok(Self {
            session,
            users,
            question_id,
            difficulty,
            topic,
        })
    }

    /// The fields of the session that comes of it.
    pub fn fields(&self, now: Millis) -> Vec<(&'static str, String)> {
        let users: Vec<&str> = self.users.iter().map(UserId::as_str).collect();
        let users = serde_json::to_string(&users).expect("a list of strings is JSON");
        let mut fields = first_fields(&self.session, now);
        for (name, value) in &mut fields {
            match *name {
                "question_id" => value.clone_from(&self.question_id),
                "users" => value.clone_from(&users),
                "difficulty" => value.clone_from(&self.difficulty),
                "topic" => value.clone_from(&self.topic),
                _ => {}
            }
        }
        // Whoever comes later is not added to the users a match named.
        fields.push(("matched", "1".to_owned()));
        fields
    }
}

/// What a session is made with when somebody comes before any match.
pub fn first_fields(session: &SessionId, now: Millis) -> Vec<(&'static str, String)> {
    vec![
        ("session_id", session.to_string()),
        ("question_id", String::new()),
        ("code", String::new()),
        ("language", DEFAULT_LANGUAGE.to_owned()),
        ("users", "[]".to_owned()),
        ("created_at", rfc3339(now)),
        ("difficulty", String::new()),
        ("topic", String::new()),
        ("main_file", DEFAULT_MAIN_FILE.to_owned()),
        ("host", String::new()),
        ("title", String::new()),
        ("default_role", DEFAULT_ROLE.to_owned()),
    ]
}

/// The same with a text.
pub fn begin_with(text: String, fields: &mut [(&'static str, String)]) {
    if let Some((_, code)) = fields.iter_mut().find(|(name, _)| *name == "code") {
        *code = text;
    }
}

/// What a matched session is made of again when the store lost it: whom it is for must not be forgotten with
/// it. The text is lost.
pub fn kept(
    session: &SessionId,
    fields: &HashMap<String, String>,
    now: Millis,
) -> Option<Vec<(&'static str, String)>> {
    let matched = fields.get("matched")?;
    let mut kept = first_fields(session, now);
    for (name, value) in &mut kept {
        if let Some(known) = fields.get(*name).filter(|_| *name != "code") {
            value.clone_from(known);
        }
    }
    kept.push(("matched", matched.clone()));
    Some(kept)
}

/// Reads a session's fields; what is missing is empty.
pub fn view(
    session: SessionId,
    mut fields: HashMap<String, String>,
    position: Option<Position>,
    users: Vec<Present>,
    user_count: u64,
    chat: Vec<(u64, Line)>,
) -> View {
    let mut field = |name: &str| fields.remove(name).unwrap_or_default();
    View {
        session,
        question_id: field("question_id"),
        code: field("code"),
        code_by: field("code_by"),
        language: field("language"),
        title: field("title"),
        default_role: field("default_role"),
        host: field("host"),
        roles: None,
        created_at: field("created_at"),
        version: field("version").parse().unwrap_or(0),
        code_version: field("code_version").parse().unwrap_or(0),
        position,
        users,
        user_count,
        chat,
    }
}

pub fn change_language(language: String, actor: &Actor) -> Result<Write, Reject> {
    self::language(&language)?;
    let event = Event::LanguageChanged {
        user: actor.user.clone(),
        language: language.clone(),
    };
    Ok(Write {
        field: Some(("language", language)),
        ..Write::of(event, true)
    })
}

/// Longest title and description, in characters.
const MAX_TITLE: usize = 200;
const MAX_DESCRIPTION: usize = 4_000;

pub fn title(text: &str) -> Result<(), Reject> {
    if text.trim().is_empty() {
        let sentence = format!("title is empty; right is 1 to {MAX_TITLE} characters");
        return Err(Reject::field("title", sentence));
    }
    word("title", text, MAX_TITLE)
}

pub fn description(text: &str) -> Result<(), Reject> {
    let length = text.chars().count();
    if length > MAX_DESCRIPTION || text.contains('\0') {
        let right = format!("right is at most {MAX_DESCRIPTION}, none of them NUL");
        let sentence = format!("description has {length} characters; {right}");
        return Err(Reject::field("description", sentence));
    }
    Ok(())
}

pub fn language(text: &str) -> Result<(), Reject> {
    if text.is_empty() {
        return Err(Reject::field(
            "language",
            format!("language is empty; right is 1 to {MAX_WORD} characters"),
        ));
    }
    word("language", text, MAX_WORD)
}

/// A role that is everybody's who has none.
pub fn default_role(word: &str) -> Result<(), Reject> {
    match Role::parse(word) {
        Some(Role::Editor | Role::Viewer) => Ok(()),
        _ => {
            let shown: String = word.chars().take(40).collect();
            let sentence = format!("default_role is {shown:?}; right is editor or viewer");
            Err(Reject::field("default_role", sentence))
        }
    }
}

fn word(field: &'static str, text: &str, most: usize) -> Result<(), Reject> {
    let length = text.chars().count();
    if length > most || text.chars().any(char::is_control) {
        return Err(Reject::field(
            field,
            format!(
                "{field} has {length} characters; right is at most {most}, none of them control"
            ),
        ));
    }
    Ok(())
}
