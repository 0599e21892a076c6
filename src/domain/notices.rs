//! What is said to everybody who is there, at whatever door: by admins and services, for the clients' programs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Reject;

/// Longest type, in characters.
pub const MAX_KIND: usize = 64;

/// A notification. Whom it is for is the envelope's business, but for the door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub kind: String,
    /// JSON, as it came.
    pub data: Arc<str>,
    /// Only for sockets at the door of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<String>,
}

impl Notice {
    pub fn checked(kind: String, data: Arc<str>, door: Option<String>) -> Result<Self, Reject> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if kind.is_empty() || kind.len() > MAX_KIND || !kind.chars().all(fits) {
            let shown: String = kind.chars().take(MAX_KIND).collect();
            let right = format!("right is 1 to {MAX_KIND} characters of a-z A-Z 0-9 _ . -");
            let sentence = format!("type is {shown:?}; {right}");
            return Err(Reject::field("type", sentence));
        }
        Ok(Self { kind, data, door })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_a_word() {
        let of = |kind: &str| Notice::checked(kind.to_owned(), "null".into(), None);
        for right in ["a", "deploy.soon", "A-b_9", &"x".repeat(64)] {
            assert!(of(right).is_ok(), "{right}");
        }
        for wrong in ["", "a b", "é", "a:b", "a\n", &"x".repeat(65)] {
            assert_eq!(of(wrong).unwrap_err().field, Some("type"), "{wrong}");
        }
    }
}
