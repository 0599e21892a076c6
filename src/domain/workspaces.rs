//! A workspace: what it is made with, who belongs to it, and what of it is shown.
//!
//! One that was made stays until it is deleted. One that somebody just enters is there as long as somebody is in it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Actor, Event, Member, Reject, Write};
use crate::clock::{Millis, rfc3339};
use crate::ids::{Position, UserId, WorkspaceId};

/// Longest name, and description, in characters.
pub const MAX_NAME: usize = 256;
pub const MAX_DESCRIPTION: usize = 4_096;
/// Longest kind of an update, in characters.
const MAX_KIND: usize = 64;
/// Largest update, in bytes of JSON.
pub const MAX_UPDATE: usize = 64 * 1024;
/// A time that does not come: the year 9999, in milliseconds since 1970.
const FOR_GOOD: Millis = 253_402_300_799_000;

/// Fields of a workspace's state.
const NAME: &str = "name";
const DESCRIPTION: &str = "description";
const CREATED_BY: &str = "created_by";
const CREATED_AT: &str = "created_at";
const MADE: &str = "made";

/// Something in a workspace is another now; what, is between its members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// `None`: the node says so itself.
    pub user: Option<UserId>,
    pub kind: Arc<str>,
    /// The rest of what its sender said: a JSON object, `{}` when there is none.
    pub body: Arc<str>,
}

/// What a workspace is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    pub id: WorkspaceId,
    pub name: String,
    pub description: String,
    /// `None`: it was entered before anybody had made it.
    pub created_by: Option<UserId>,
    pub created_at: Millis,
    /// Somebody made it: it stays until it is deleted.
    pub made: bool,
}

/// The same, with those who are in it.
#[derive(Debug)]
pub struct View {
    pub workspace: Workspace,
    pub people: Vec<Person>,
    /// All of them, beyond the list, too.
    pub user_count: u64,
    pub position: Option<Position>,
}

/// Somebody who belongs to a workspace, or is just there.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    pub user: UserId,
    pub name: Arc<str>,
    /// Has a socket in it.
    pub online: bool,
    /// Belongs to it, also without one.
    pub belongs: bool,
}

/// What a workspace is to be called; `None`: as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    pub name: Option<String>,
    pub description: Option<String>,
}

impl View {
    /// What it is made of again, should the backplane lose it; `None`: nothing that its next visitor does not bring.
    pub fn kept(&self) -> Option<Vec<(&'static str, String)>> {
        self.workspace.made.then(|| self.workspace.fields())
    }
}

impl Wish {
    pub fn check(&self) -> Result<(), Reject> {
        if let Some(name) = &self.name {
            text("name", name, 1, MAX_NAME)?;
        }
        if let Some(description) = &self.description {
            text("description", description, 0, MAX_DESCRIPTION)?;
        }
        Ok(())
    }

    /// The same for clients: a JSON object.
    pub fn body(&self) -> String {
        let fields = [("name", &self.name), ("description", &self.description)];
        let said: BTreeMap<_, _> = fields
            .into_iter()
            .filter_map(|(field, text)| Some((field, text.as_ref()?)))
            .collect();
        serde_json::to_string(&said).expect("a map of texts is JSON")
    }

    /// The fields that change.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let name = self.name.clone().map(|name| (NAME, name));
        let description = self.description.clone().map(|text| (DESCRIPTION, text));
        name.into_iter().chain(description).collect()
    }
}

impl Workspace {
    /// One that stays until it is deleted.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let by = self.created_by.as_ref().map(UserId::to_string);
        vec![
            (NAME, self.name.clone()),
            (DESCRIPTION, self.description.clone()),
            (CREATED_BY, by.unwrap_or_default()),
            (CREATED_AT, self.created_at.to_string()),
            (MADE, "1".to_owned()),
            ("kept_until", FOR_GOOD.to_string()),
        ]
    }
}

/// What one is made of that somebody enters.
pub fn first_fields(id: &WorkspaceId, now: Millis) -> Vec<(&'static str, String)> {
    vec![(NAME, id.to_string()), (CREATED_AT, now.to_string())]
}

pub fn workspace(id: &WorkspaceId, fields: &HashMap<String, String>) -> Workspace {
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    Workspace {
        id: id.clone(),
        name: field(NAME),
        description: field(DESCRIPTION),
        created_by: UserId::parse(&field(CREATED_BY)).ok(),
        created_at: field(CREATED_AT).parse().unwrap_or_default(),
        made: fields.contains_key(MADE),
    }
}

/// Members by user, in the order of their ids. A member of no node is one without a socket.
pub fn people(members: impl Iterator<Item = Member>) -> Vec<Person> {
    let mut people: BTreeMap<UserId, Person> = BTreeMap::new();
    for member in members {
        let online = !member.node.is_empty();
        let person = people.entry(member.user.clone()).or_insert_with(|| Person {
            user: member.user,
            name: member.name.clone(),
            online,
            belongs: !online,
        });
        person.belongs |= !online;
        if online && !person.online {
            person.online = true;
            person.name = member.name;
        }
    }
    people.into_values().collect()
}

/// Something its members tell each other.
pub(super) fn change(kind: String, body: String, actor: &Actor) -> Result<Write, Reject> {
    text("update_type", &kind, 1, MAX_KIND)?;
    let event = Event::WorkspaceChanged(Changed {
        user: Some(actor.user.clone()),
        kind: kind.into(),
        body: body.into(),
    });
    Ok(Write::of(event, true))
}

/// What is said when it has another name, or is no more.
pub fn told(kind: &str, user: Option<&UserId>, body: String) -> Event {
    Event::WorkspaceChanged(Changed {
        user: user.cloned(),
        kind: kind.into(),
        body: body.into(),
    })
}

/// A text that is shown, and kept where no NUL can be.
pub(super) fn text(
    field: &'static str,
    text: &str,
    least: usize,
    most: usize,
) -> Result<(), Reject> {
    let count = text.chars().count();
    if !(least..=most).contains(&count) {
        let sentence = format!("{field} has {count} characters; right is {least} to {most}");
        return Err(Reject::field(field, sentence));
    }
    let is_bad = |c: char| c.is_control() && c != '\n' && c != '\t' && c != '\r';
    match text.chars().find(|c| is_bad(*c)) {
        None => Ok(()),
        Some(bad) => {
            let sentence = format!("{field} has the control character {bad:?}; right is none");
            Err(Reject::field(field, sentence))
        }
    }
}

impl Workspace {
    pub fn made_at(&self) -> String {
        rfc3339(self.created_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::presence::ACTIVE;

    fn member(user: &str, node: &str) -> Member {
        Member {
            user: UserId::parse(user).unwrap(),
            name: format!("{user} on {node}").into(),
            role: None,
            node: node.to_owned(),
            cursor: None,
            file: None,
            viewport: None,
            status: ACTIVE.to_owned(),
            at: 0,
            backend_url: None,
            yjs: false,
        }
    }

    #[test]
    fn who_belongs_is_online_with_a_socket_alone() {
        let members = [member("bob", ""), member("ann", ""), member("ann", "n1")];
        let people = people(members.into_iter());
        let seen: Vec<_> = people.iter().map(|p| (p.user.as_str(), p.online)).collect();
        assert_eq!(seen, [("ann", true), ("bob", false)]);
        assert_eq!(&*people[0].name, "ann on n1");
    }

    #[test]
    fn a_made_one_survives_its_fields() {
        let made = Workspace {
            id: WorkspaceId::new(),
            name: "Search".to_owned(),
            description: String::new(),
            created_by: UserId::parse("ann").ok(),
            created_at: 1_700_000_000_123,
            made: true,
        };
        let fields: HashMap<String, String> = made
            .fields()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        assert_eq!(workspace(&made.id, &fields), made);
        let entered = first_fields(&made.id, 5)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        assert!(!workspace(&made.id, &entered).made);
    }
}
