//! The pairing dialect's frames, as far as a person looks at them.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::Mark;

/// What a node says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Said {
    SessionState {
        code: String,
        version: u64,
        chat: Vec<Line>,
        users: Vec<Present>,
        position: Option<String>,
    },
    Resumed {
        position: String,
    },
    Pong {
        position: Option<String>,
        id: Option<String>,
    },
    Ack {
        seq: u64,
        position: Option<String>,
        id: String,
    },
    CodeAck {
        version: u64,
        position: Option<String>,
        id: Option<String>,
    },
    ChatMessage(Line),
    CodeUpdate {
        code: String,
        version: Option<u64>,
    },
    Error {
        code: String,
        message: String,
        retry_in_ms: Option<u64>,
        id: Option<String>,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
pub struct Line {
    pub text: String,
    pub seq: Option<u64>,
}

impl Line {
    pub fn mark(&self) -> Option<Mark> {
        self.text.parse().ok()
    }
}

#[derive(Debug, Deserialize)]
pub struct Present {
    pub user_id: String,
}

/// What a person says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Say<'a> {
    Ping {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
    },
    Chat {
        message: &'a str,
        id: &'a str,
    },
    CodeChange {
        code: &'a str,
        base_version: u64,
        id: &'a str,
    },
}

impl Say<'_> {
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("plain fields can be written")
    }
}

/// The same for the same text, in every process of one build.
pub fn hash(code: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    code.hash(&mut hasher);
    hasher.finish()
}
