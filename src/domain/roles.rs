//! Who may do what in a recorded session: one table, for the commands of sockets, REST and the documentation.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What somebody is in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Host,
    Editor,
    Viewer,
    Banned,
}

/// What somebody does there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Come in, see who is there, show where one looks.
    Attend,
    /// Write, chat, comment, react, change what the session is called.
    Contribute,
    /// Roles, the default role, sending away, ending.
    Manage,
}

/// The table. Whom it does not name may not.
pub const MATRIX: [(Action, &[&str]); 3] = [
    (Action::Attend, &["host", "editor", "viewer"]),
    (Action::Contribute, &["host", "editor"]),
    (Action::Manage, &["host"]),
];

impl Role {
    pub const ALL: [Role; 4] = [Role::Host, Role::Editor, Role::Viewer, Role::Banned];

    pub fn word(self) -> &'static str {
        match self {
            Role::Host => "host",
            Role::Editor => "editor",
            Role::Viewer => "viewer",
            Role::Banned => "banned",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    pub fn may(self, action: Action) -> bool {
        action.roles().contains(&self.word())
    }
}

impl Action {
    /// Who may do it.
    pub fn roles(self) -> &'static [&'static str] {
        let row = MATRIX.iter().find(|(action, _)| *action == self);
        row.map_or(&[], |(_, roles)| roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix() {
        use Action::{Attend, Contribute, Manage};
        let may = |role: Role| [Attend, Contribute, Manage].map(|action| role.may(action));
        assert_eq!(may(Role::Host), [true, true, true]);
        assert_eq!(may(Role::Editor), [true, true, false]);
        assert_eq!(may(Role::Viewer), [true, false, false]);
        assert_eq!(may(Role::Banned), [false, false, false]);
    }
}
