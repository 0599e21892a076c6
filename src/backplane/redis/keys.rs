//! The names of a room's keys. All of a room's keys share its state key as hash tag and so one slot.

use fred::bytes_utils::Str;
use fred::types::Key;

use crate::backplane::{Queue, Shelf};
use crate::ids::{Room, SessionId, UserId};

/// Keys of one room: `session:abc`, `{session:abc}:log`, … with the prefix inside the tag.
pub struct Keys {
    state: String,
    log: &'static str,
}

impl Keys {
    pub fn of(prefix: &str, room: &Room) -> Self {
        Self {
            state: format!("{prefix}{room}"),
            log: match room {
                Room::User(_) => "inbox",
                _ => "log",
            },
        }
    }

    fn part(&self, name: &str) -> Key {
        Key::from(Str::from(format!("{{{}}}:{name}", self.state)))
    }

    pub fn state(&self) -> Key {
        Key::from(self.state.as_str())
    }

    pub fn log(&self) -> Key {
        self.part(self.log)
    }

    pub fn chat(&self) -> Key {
        self.part("chat")
    }

    pub fn members(&self) -> Key {
        self.part("members")
    }

    pub fn users(&self) -> Key {
        self.part("users")
    }

    /// The users of the room, in the order of their ids, and a record of each.
    pub fn listed(&self) -> [Key; 2] {
        [self.part("names"), self.part("records")]
    }

    /// With whom a user exchanged letters.
    pub fn contacts(&self) -> Key {
        self.part("contacts")
    }

    /// What the services behind us have not been told.
    pub fn hooks(&self) -> Key {
        self.part("hooks")
    }

    /// How often each of them was tried in vain, and those that were given up.
    pub fn hooks_beside(&self) -> [Key; 2] {
        [self.part("hooks:tries"), self.part("hooks:dead")]
    }

    /// Held by the one node that tells them.
    pub fn hooks_claim(&self) -> Key {
        self.part("hooks:claim")
    }

    /// The agents that a user follows.
    pub fn subs(&self) -> Key {
        self.part("subs")
    }

    /// The snapshot of the session's document.
    pub fn document(&self) -> Key {
        self.part("doc")
    }

    /// What came since.
    pub fn document_log(&self) -> Key {
        self.part("doc:log")
    }

    pub fn channel(&self) -> Key {
        self.part("events")
    }

    /// User ids hold no slash, so no two commands share a key.
    pub fn once(&self, user: &UserId, command: &str) -> Key {
        self.part(&format!("idem:{user}/{command}"))
    }
}

pub fn shelf(prefix: &str, shelf: Shelf) -> Key {
    let name = match shelf {
        Shelf::Workspaces => "workspaces",
        Shelf::Agents => "agents",
    };
    Key::from(format!("{prefix}{name}"))
}

pub fn queue(prefix: &str, queue: Queue) -> Key {
    let name = match queue {
        Queue::Runs => "agents:deadlines",
        Queue::Hooks => "hooks",
    };
    Key::from(format!("{prefix}{name}"))
}

pub fn node(prefix: &str, node: &str) -> String {
    format!("{prefix}node:{node}")
}

pub fn nodes(prefix: &str) -> String {
    format!("{prefix}nodes")
}

/// The rooms a node has members in.
pub fn holdings(prefix: &str, node: &str) -> String {
    format!("{{{prefix}node:{node}}}:rooms")
}

/// What all nodes ever counted, and how much of it is each living node's.
pub fn counters(prefix: &str) -> String {
    format!("{prefix}cluster:counters")
}

/// Held by the one who reaps a dead node.
pub fn claim(prefix: &str, node: &str) -> String {
    format!("{prefix}reap:{node}")
}

/// The sockets of a user, on all nodes.
pub fn places(prefix: &str, user: &UserId) -> String {
    format!("{{{prefix}user:{user}}}:sockets")
}

/// As the service named it that this replaces: without braces, so in a slot of its own.
pub fn mirror(prefix: &str, session: &SessionId) -> String {
    format!("{prefix}code_{session}")
}

/// What the nodes know each other by.
pub fn secret(prefix: &str) -> String {
    format!("{prefix}cluster:secret")
}

pub fn revoked(prefix: &str, token: &str) -> String {
    format!("{prefix}revoked:{token}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;

    #[test]
    fn a_rooms_keys_share_one_tag() {
        let room = Room::Session(SessionId::parse("abc").unwrap());
        let keys = Keys::of("eu-", &room);
        assert_eq!(keys.state().as_str(), Some("eu-session:abc"));
        assert_eq!(keys.log().as_str(), Some("{eu-session:abc}:log"));
        assert_eq!(keys.channel().as_str(), Some("{eu-session:abc}:events"));
        let user = UserId::parse("ann").unwrap();
        assert_eq!(
            keys.once(&user, "7").as_str(),
            Some("{eu-session:abc}:idem:ann/7")
        );
    }
}
