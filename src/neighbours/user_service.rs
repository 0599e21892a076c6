//! The user service: whether there is such a user, and how it is shown.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::directory::Entry;
use super::{Away, Directory, UserConfig};
use crate::ids::{self, UserId};

const NAME: &str = "user_service";
/// The fields that may have the name; the first that has one wins.
const NAMES: [&str; 3] = ["username", "name", "display_name"];

/// A user whom the service knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `None`: it says no name that can be shown.
    pub name: Option<Arc<str>>,
}

impl Entry for User {
    fn read(id: &str, said: &Map<String, Value>) -> Self {
        let mut names = NAMES
            .into_iter()
            .filter_map(|field| name(id, field, said.get(field)?));
        Self { name: names.next() }
    }
}

fn name(user: &str, field: &'static str, value: &Value) -> Option<Arc<str>> {
    let problem = match value {
        Value::Null => return None,
        Value::String(text) => match ids::name(text) {
            Ok(name) => return Some(name),
            Err(error) => error.to_string(),
        },
        _ => "it is no text".to_owned(),
    };
    tracing::debug!(
        user,
        field,
        problem,
        "a name of the user service is ignored"
    );
    None
}

pub struct UserService {
    users: Directory<User>,
    required: bool,
}

impl UserService {
    pub fn new(config: &UserConfig) -> Result<Self, String> {
        Ok(Self {
            users: Directory::new(NAME, "users", &config.access)?,
            required: config.required,
        })
    }

    /// Whether only those come in whom it knows.
    pub fn is_required(&self) -> bool {
        self.required
    }

    pub async fn lookup(&self, user: &UserId) -> Result<Option<User>, Away> {
        self.users.lookup(user.as_str()).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Guards everybody's screen against what another service calls a name.
    #[test]
    fn the_first_name_that_can_be_shown_is_taken() {
        let long = "n".repeat(ids::MAX_NAME + 1);
        for (answer, right) in [
            (json!({}), None),
            (json!({"id": 7, "email": "ann@x"}), None),
            (json!({"display_name": "D"}), Some("D")),
            (json!({"name": "N", "display_name": "D"}), Some("N")),
            (json!({"username": "U", "name": "N"}), Some("U")),
            (json!({"username": "", "name": "N"}), Some("N")),
            (json!({"username": 7, "name": ["N"]}), None),
            (json!({"username": null, "name": "N"}), Some("N")),
            (json!({"username": "a\u{7}b", "name": "N"}), Some("N")),
            (json!({"username": long, "display_name": "D"}), Some("D")),
        ] {
            let shown = answer.to_string();
            let user = User::read("ann", answer.as_object().unwrap());
            assert_eq!(user.name.as_deref(), right, "{shown}");
        }
    }
}
