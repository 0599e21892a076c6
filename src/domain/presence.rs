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

/// A socket in a room, as the other nodes know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub user: UserId,
    pub name: Arc<str>,
    pub role: Option<String>,
    pub node: String,
    pub cursor: Option<Cursor>,
    pub status: String,
    /// When the cursor last moved, or the socket came.
    pub at: Millis,
    /// Of a courier: where its user's backend is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_url: Option<Arc<str>>,
}

/// A user as the others see them: all their sockets taken together.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    pub user: UserId,
    pub name: Arc<str>,
    pub cursor: Option<Cursor>,
    pub status: String,
}

pub const ACTIVE: &str = "active";

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

pub fn move_cursor(
    cursor: Cursor,
    code: Option<String>,
    actor: &Actor,
    limits: &Limits,
) -> Result<Effect, Reject> {
    documents::check_size(code.as_ref().map_or(0, String::len), limits)?;
    let event = Event::CursorMoved {
        user: actor.user.clone(),
        cursor,
        code,
    };
    Ok(Effect::Announce(event, cursor))
}

/// Members by user, in the order of their ids. Of several sockets the latest cursor counts.
pub fn present(members: impl Iterator<Item = Member>) -> Vec<Present> {
    let mut latest: HashMap<UserId, Member> = HashMap::new();
    for member in members {
        match latest.get_mut(&member.user) {
            None => {
                latest.insert(member.user.clone(), member);
            }
            Some(known)
                if (member.cursor.is_some(), member.at) > (known.cursor.is_some(), known.at) =>
            {
                *known = member;
            }
            Some(_) => {}
        }
    }
    let mut users: Vec<Present> = latest
        .into_values()
        .map(|member| Present {
            user: member.user,
            name: member.name,
            cursor: member.cursor,
            status: member.status,
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
            status: ACTIVE.to_owned(),
            at,
            backend_url: None,
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
