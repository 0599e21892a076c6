//! Who is in a session, and where they look.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Actor, Effect, Event, Limits, Reject, documents};
use crate::clock::Millis;
use crate::ids::UserId;

/// A place in the text: lines from 1, UTF-16 columns from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub line: u32,
    pub column: u32,
}

/// Lines of a file that somebody sees, both ends among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewport {
    pub file: Arc<str>,
    pub start_line: u32,
    pub end_line: u32,
}

/// A socket in a room, as the other nodes know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub user: UserId,
    pub name: Arc<str>,
    pub role: Option<String>,
    pub node: String,
    pub cursor: Option<Cursor>,
    /// Where the cursor is; `None`: in the main file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub viewport: Option<Viewport>,
    pub status: String,
    /// When the cursor last moved, or the socket came.
    pub at: Millis,
    /// Of a courier: where its user's backend is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_url: Option<Arc<str>>,
    /// It speaks Yjs, and tells those who do where its cursor is by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yjs: bool,
}

/// A user as the others see them: all their sockets taken together.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    pub user: UserId,
    pub name: Arc<str>,
    pub cursor: Option<Cursor>,
    /// Of the cursor; `None`: the main file.
    pub file: Option<String>,
    pub viewport: Option<Viewport>,
    pub status: String,
    /// The cursor is that of a socket that speaks Yjs, and since when it is there.
    pub yjs: bool,
    pub at: Millis,
}

impl Present {
    /// Whether the cursor or the viewport is in that file.
    pub fn looks_at(&self, file: &str) -> bool {
        let cursor_in = self.file.as_deref().unwrap_or(MAIN_FILE);
        let viewport = self.viewport.as_ref();
        (self.cursor.is_some() && cursor_in == file)
            || viewport.is_some_and(|viewport| &*viewport.file == file)
    }
}

pub const ACTIVE: &str = "active";
pub const IDLE: &str = "idle";
pub const AWAY: &str = "away";
/// The most active first.
pub const STATUSES: [&str; 3] = [ACTIVE, IDLE, AWAY];

/// How cursors in a session's main file call it.
pub const MAIN_FILE: &str = "main";
/// Longest name of a file, in characters.
const MAX_FILE: usize = 1_024;

/// Largest line or column taken.
const MAX_PLACE: u32 = 100_000_000;

impl Cursor {
    pub fn checked(line: u64, column: u64) -> Result<Self, Reject> {
        let place = |field, value: u64| {
            u32::try_from(value)
                .ok()
                .filter(|place| (1..=MAX_PLACE).contains(place))
                .ok_or_else(|| {
                    Reject::field(
                        "cursor",
                        format!("cursor.{field} is {value}; right is 1 to {MAX_PLACE}"),
                    )
                })
        };
        Ok(Self {
            line: place("lineNumber", line)?,
            column: place("column", column)?,
        })
    }
}

pub fn check_file(name: &str) -> Result<(), Reject> {
    let length = name.chars().count();
    if length == 0 || length > MAX_FILE || name.chars().any(char::is_control) {
        let right = format!("right is 1 to {MAX_FILE}, none of them control");
        return Err(Reject::field(
            "file",
            format!("file has {length} characters; {right}"),
        ));
    }
    Ok(())
}

/// A line of a file.
pub fn line(field: &'static str, number: u64) -> Result<u32, Reject> {
    let place = u32::try_from(number).ok();
    let place = place.filter(|place| (1..=MAX_PLACE).contains(place));
    place.ok_or_else(|| {
        let sentence = format!("{field} is {number}; right is 1 to {MAX_PLACE}");
        Reject::field(field, sentence)
    })
}

pub fn move_cursor(
    cursor: Cursor,
    file: Option<String>,
    code: Option<String>,
    actor: &Actor,
    limits: &Limits,
) -> Result<Effect, Reject> {
    documents::check_size(code.as_ref().map_or(0, String::len), limits)?;
    file.as_deref().map_or(Ok(()), check_file)?;
    Ok(Effect::Announce(Event::CursorMoved {
        user: actor.user.clone(),
        cursor,
        file: file.filter(|file| file != MAIN_FILE),
        code,
    }))
}

pub fn show_viewport(viewport: Viewport, actor: &Actor) -> Result<Effect, Reject> {
    check_file(&viewport.file)?;
    let Viewport {
        start_line,
        end_line,
        ..
    } = viewport;
    if start_line > end_line {
        let sentence = format!("end_line is {end_line}; right is {start_line}, the start, or more");
        return Err(Reject::field("end_line", sentence));
    }
    Ok(Effect::Announce(Event::ViewportChanged {
        user: actor.user.clone(),
        viewport,
    }))
}

pub fn set_status(status: String, actor: &Actor) -> Result<Effect, Reject> {
    if !STATUSES.contains(&status.as_str()) {
        let shown: String = status.chars().take(40).collect();
        let right = STATUSES.join(", ");
        return Err(Reject::field(
            "status",
            format!("status is {shown:?}; right is one of {right}"),
        ));
    }
    Ok(Effect::Announce(Event::StatusChanged {
        user: actor.user.clone(),
        status,
    }))
}

/// How far down a status is; one that nobody knows is the last.
fn rank(status: &str) -> usize {
    let known = STATUSES.iter().position(|known| *known == status);
    known.unwrap_or(STATUSES.len())
}

/// The most active of these.
pub fn most_active<'a>(statuses: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    statuses.min_by_key(|status| rank(status))
}

/// Two sockets of one user.
fn together(one: Member, other: Member) -> Member {
    let later = |member: &Member| (member.cursor.is_some(), member.at);
    let (mut front, back) = if later(&other) > later(&one) {
        (other, one)
    } else {
        (one, other)
    };
    if front.viewport.is_none() || (back.viewport.is_some() && back.at > front.at) {
        front.viewport = back.viewport;
    }
    if rank(&back.status) < rank(&front.status) {
        front.status = back.status;
    }
    front
}

/// Members by user, in the order of their ids. Of several sockets the latest cursor and viewport count, and the most
/// active status.
pub fn present(members: impl Iterator<Item = Member>) -> Vec<Present> {
    let mut latest: HashMap<UserId, Member> = HashMap::new();
    for member in members {
        match latest.remove(&member.user) {
            None => latest.insert(member.user.clone(), member),
            Some(known) => latest.insert(member.user.clone(), together(known, member)),
        };
    }
    let mut users: Vec<Present> = latest
        .into_values()
        .map(|member| Present {
            user: member.user,
            name: member.name,
            cursor: member.cursor,
            file: member.file,
            viewport: member.viewport,
            status: member.status,
            yjs: member.yjs,
            at: member.at,
        })
        .collect();
    users.sort_by(|a, b| a.user.cmp(&b.user));
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(user: &str, line: Option<u32>, at: Millis) -> Member {
        Member {
            user: UserId::parse(user).unwrap(),
            name: user.into(),
            role: None,
            node: String::new(),
            cursor: line.map(|line| Cursor { line, column: 1 }),
            file: None,
            viewport: None,
            status: ACTIVE.to_owned(),
            at,
            backend_url: None,
            yjs: false,
        }
    }

    #[test]
    fn a_user_with_two_sockets_is_one_with_the_latest_cursor() {
        let members = [
            member("bob", None, 9),
            member("ann", Some(3), 5),
            member("ann", Some(4), 6),
            member("ann", None, 7),
        ];
        let users = present(members.into_iter());
        let seen: Vec<_> = users
            .iter()
            .map(|u| (u.user.as_str(), u.cursor.map(|c| c.line)))
            .collect();
        assert_eq!(seen, [("ann", Some(4)), ("bob", None)]);
    }

    #[test]
    fn cursors_count_from_one() {
        assert!(Cursor::checked(1, 1).is_ok());
        for (line, column) in [(0, 1), (1, 0), (u64::MAX, 1)] {
            let reject = Cursor::checked(line, column).unwrap_err();
            assert_eq!(reject.field, Some("cursor"));
        }
    }
}
