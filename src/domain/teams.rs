//! Teams: who may do what in one, and what teams and their insights may be called and tagged.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Reject;

/// Longest name of a team, in characters.
const MAX_NAME: usize = 128;
const MAX_DESCRIPTION: usize = 4_000;
/// Longest title and text of an insight, in characters.
const MAX_TITLE: usize = 200;
const MAX_BODY: usize = 20_000;
/// Tags of an insight, and the longest of them, in characters.
const MAX_TAGS: usize = 20;
const MAX_TAG: usize = 40;
/// Longest text that is searched for, in characters.
const MAX_SOUGHT: usize = 200;

/// What somebody is in a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TeamRole)]
pub enum Role {
    Owner,
    Admin,
    Member,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Owner, Role::Admin, Role::Member];

    pub fn word(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Admin => "admin",
            Role::Member => "member",
        }
    }

    /// What is no role is a member's, who may least.
    pub fn of(word: &str) -> Self {
        let known = Self::ALL.into_iter().find(|role| role.word() == word);
        known.unwrap_or(Role::Member)
    }

    /// The role that somebody is to be given.
    pub fn parse(word: &str) -> Result<Self, Reject> {
        let known = Self::ALL.into_iter().find(|role| role.word() == word);
        known.ok_or_else(|| {
            let shown: String = word.chars().take(MAX_TAG).collect();
            let sentence = format!("role is {shown:?}; right is owner, admin or member");
            Reject::field("role", sentence)
        })
    }

    /// Whether it changes what the team is called, and what others wrote there.
    pub fn may_manage(self) -> bool {
        self != Role::Member
    }
}

/// Why somebody's role stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Forbidden(&'static str),
    LastOwner,
}

/// A change of somebody's role in a team. `None`: not there, before or after.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// What the asker is.
    pub by: Role,
    /// Whether it is the asker's own role.
    pub own: bool,
    pub from: Option<Role>,
    pub to: Option<Role>,
    /// Whether the team has another owner.
    pub other_owners: bool,
}

impl Change {
    pub fn judge(self) -> Result<(), Refusal> {
        let leaves = self.own && self.to.is_none();
        let touches_owner = [self.from, self.to].contains(&Some(Role::Owner));
        match self.by {
            Role::Member if !leaves => {
                return Err(Refusal::Forbidden(
                    "your role in this team does not allow this; right is owner or admin",
                ));
            }
            Role::Admin if touches_owner => {
                return Err(Refusal::Forbidden(
                    "your role in this team does not allow this; only owners make and remove owners",
                ));
            }
            _ => {}
        }
        let stops_owning = self.from == Some(Role::Owner) && self.to != Some(Role::Owner);
        if stops_owning && !self.other_owners {
            return Err(Refusal::LastOwner);
        }
        Ok(())
    }
}

pub fn name(text: &str) -> Result<(), Reject> {
    line("name", text, MAX_NAME)
}

pub fn description(text: &str) -> Result<(), Reject> {
    passage("description", text, MAX_DESCRIPTION)
}

/// Of an insight.
pub fn title(text: &str) -> Result<(), Reject> {
    line("title", text, MAX_TITLE)
}

/// Of an insight.
pub fn body(text: &str) -> Result<(), Reject> {
    if text.trim().is_empty() {
        let sentence = format!("body is empty; right is 1 to {MAX_BODY} characters");
        return Err(Reject::field("body", sentence));
    }
    passage("body", text, MAX_BODY)
}

/// The tags of an insight, each once, in their order.
pub fn tags(given: Vec<String>) -> Result<Vec<String>, Reject> {
    if given.len() > MAX_TAGS {
        let sentence = format!(
            "tags has {} of them; right is at most {MAX_TAGS}",
            given.len()
        );
        return Err(Reject::field("tags", sentence));
    }
    let mut tags: Vec<String> = Vec::with_capacity(given.len());
    for one in given {
        line("tags", &one, MAX_TAG)?;
        if !tags.contains(&one) {
            tags.push(one);
        }
    }
    Ok(tags)
}

/// A tag that is looked for.
pub fn tag(text: &str) -> Result<(), Reject> {
    line("tag", text, MAX_TAG)
}

/// A text that is looked for.
pub fn sought(text: &str) -> Result<(), Reject> {
    passage("q", text, MAX_SOUGHT)
}

fn line(field: &'static str, text: &str, most: usize) -> Result<(), Reject> {
    let length = text.chars().count();
    if text.trim().is_empty() || length > most || text.chars().any(char::is_control) {
        let right = format!("right is 1 to {most}, not blanks alone, none of them control");
        let sentence = format!("{field} has {length} characters; {right}");
        return Err(Reject::field(field, sentence));
    }
    Ok(())
}

fn passage(field: &'static str, text: &str, most: usize) -> Result<(), Reject> {
    let length = text.chars().count();
    if length > most || text.contains('\0') {
        let sentence =
            format!("{field} has {length} characters; right is at most {most}, none of them NUL");
        return Err(Reject::field(field, sentence));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards every combination: who may make whom what.
    #[test]
    fn who_may_change_whose_role() {
        use Role::{Admin, Member, Owner};
        let judge = |by, own, from, to| {
            let other_owners = true;
            Change {
                by,
                own,
                from,
                to,
                other_owners,
            }
            .judge()
            .is_ok()
        };
        let roles = [None, Some(Member), Some(Admin), Some(Owner)];
        for from in roles {
            for to in roles {
                let of_owners = from == Some(Owner) || to == Some(Owner);
                assert!(judge(Owner, false, from, to), "{from:?} {to:?}");
                assert_eq!(judge(Admin, false, from, to), !of_owners, "{from:?} {to:?}");
                assert!(!judge(Member, false, from, to), "{from:?} {to:?}");
            }
        }
        for by in Role::ALL {
            assert!(judge(by, true, Some(by), None), "{by:?} leaves");
        }
        assert!(!judge(Member, true, Some(Member), Some(Admin)));
        assert!(judge(Admin, true, Some(Admin), Some(Member)));
        assert!(!judge(Admin, true, Some(Admin), Some(Owner)));
    }

    #[test]
    fn the_last_owner_stays() {
        for to in [None, Some(Role::Admin), Some(Role::Member)] {
            let last = Change {
                by: Role::Owner,
                own: true,
                from: Some(Role::Owner),
                to,
                other_owners: false,
            };
            assert_eq!(last.judge(), Err(Refusal::LastOwner));
            let other_owners = true;
            assert_eq!(
                Change {
                    other_owners,
                    ..last
                }
                .judge(),
                Ok(())
            );
        }
    }

    #[test]
    fn names_texts_and_tags() {
        for (text, right) in [
            ("Team", true),
            ("日本 🦀 '; --", true),
            (&"😀".repeat(128), true),
            (&"x".repeat(129), false),
            ("", false),
            (" ", false),
            ("a\nb", false),
            ("a\0b", false),
        ] {
            assert_eq!(name(text).is_ok(), right, "{text:?}");
        }
        assert!(description("").is_ok() && description("a\0").is_err());
        assert!(body("a\nb").is_ok() && body(" \n").is_err() && body("a\0").is_err());
        let tags_of = |words: &[&str]| tags(words.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(tags_of(&["b", "a", "b"]).unwrap(), ["b", "a"]);
        assert!(tags_of(&["a", ""]).is_err());
        assert!(tags_of(&[&"x".repeat(41)]).is_err());
        assert!(tags(vec!["x".to_owned(); 21]).is_err());
    }
}
