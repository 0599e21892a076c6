//! What a client makes of the frames it is sent, and what it tells the checker of them.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use checker::{Greeting, Mark, Position};
use serde_json::Value;
use tokio::time::Instant;

use super::{Client, SETTLE};
use crate::sim::plan::seconds;

impl Client {
    /// Takes a frame in; true when it is an answer to having come.
    pub(super) fn take(&mut self, text: &str) -> bool {
        tracing::debug!(viewer = self.viewer, text, "hears");
        let frame: Value = serde_json::from_str(text).expect("a node speaks JSON");
        let kind = frame["type"].as_str().expect("a frame has a type");
        if self.returning {
            self.returning = false;
            if kind != "session_state"
                && let Some(since) = self.position.as_deref().and_then(Position::parse)
            {
                let mut checker = self.world.checker.lock();
                checker.returns(self.session.as_str(), self.viewer, since);
            }
        }
        match kind {
            "session_state" => {
                self.greeted(&frame);
                return true;
            }
            "resumed" => {
                self.world.count("resumed");
                self.told(&frame);
                return true;
            }
            "chat_message" => {
                let seq = frame["seq"].as_u64().expect("a chat line has a place");
                let mark = mark(&frame);
                let mut checker = self.world.checker.lock();
                checker.heard(self.session.as_str(), self.viewer, seq, mark);
            }
            "code_update" => {
                let version = frame["version"].as_u64().expect("a text has a version");
                let code = frame["code"].as_str().expect("a text is one");
                // An older one may be on its way when the own change is acknowledged.
                if version >= self.text.0 {
                    self.text = (version, hash(code));
                }
            }
            "user_joined" => {
                self.shown.insert(name(&frame));
            }
            "user_left" => {
                self.shown.remove(&name(&frame));
            }
            "ack" | "code_ack" => self.acknowledged(&frame),
            "pong" => {
                self.told(&frame);
                if frame["id"] == SETTLE {
                    self.settle();
                }
            }
            "error" => self.refused(&frame),
            "cursor_move" | "language_change" => {}
            other => self.problem(format!("heard {other}")),
        }
        false
    }

    fn greeted(&mut self, frame: &Value) {
        self.world.count("greeted");
        let position = frame["position"].as_str().expect("a greeting has a place");
        let lines = frame["chat"].as_array().expect("a greeting has a history");
        let greeting = Greeting {
            at: Position::parse(position).expect("a place can be read"),
            history: lines.iter().map(mark).collect(),
        };
        self.position = Some(position.to_owned());
        let version = frame["version"].as_u64().expect("a greeting has a version");
        let code = frame["code"].as_str().expect("a greeting has a text");
        self.text = (version, hash(code));
        self.shown = shown(frame);
        let mut checker = self.world.checker.lock();
        checker.greeted(self.session.as_str(), self.viewer, greeting);
    }

    /// Where the node says it is; a node that has lost the room says nothing.
    fn told(&mut self, frame: &Value) {
        let Some(position) = frame["position"].as_str() else {
            return;
        };
        self.position = Some(position.to_owned());
        let at = Position::parse(position).expect("a place can be read");
        let mut checker = self.world.checker.lock();
        checker.told(self.session.as_str(), self.viewer, at);
    }

    fn acknowledged(&mut self, frame: &Value) {
        self.told(frame);
        let Some(id) = frame["id"].as_str() else {
            return self.problem("an ack without an id".to_owned());
        };
        let Some(at) = self.pending.iter().position(|pending| pending.id == id) else {
            return self.problem(format!("an ack of {id}, which was none"));
        };
        let pending = self.pending.remove(at);
        let Some(at) = self.world.place.ledger.find(&self.user, id) else {
            return self.problem(format!("an ack of {id}, which the store does not know"));
        };
        if frame["seq"].as_u64() != Some(at.seq) {
            self.problem(format!("{id} is at {at}, and was acknowledged: {frame}"));
        }
        match pending.mark {
            Some(mark) => {
                let at = Position {
                    epoch: at.epoch.0,
                    seq: at.seq,
                };
                let mut checker = self.world.checker.lock();
                checker.acknowledged(self.session.as_str(), mark, at);
            }
            None => {
                let version = frame["version"].as_u64().expect("it was made from one");
                if version > self.text.0 {
                    self.text = (version, pending.text);
                }
            }
        }
    }

    fn refused(&mut self, frame: &Value) {
        let code = frame["code"].as_str().expect("a refusal has a code");
        let id = frame["id"].as_str().unwrap_or_default();
        self.world.count(code);
        match code {
            "backplane_unavailable" => {
                let due = Instant::now() + seconds(&mut self.rng, 0.2, 1.2);
                for pending in &mut self.pending {
                    if pending.id == id {
                        pending.due = Some(due);
                    }
                }
            }
            // The text follows, and the next change is made from that.
            "conflict" | "version_gone" => self.pending.retain(|pending| pending.id != id),
            _ => self.problem(format!("refused: {frame}")),
        }
    }

    fn settle(&mut self) {
        self.last.settled = true;
        let Some(at) = self.position.as_deref().and_then(Position::parse) else {
            return;
        };
        let mut checker = self.world.checker.lock();
        checker.settled(self.session.as_str(), self.viewer, at, Some(self.text));
    }
}

fn mark(line: &Value) -> Mark {
    let text = line["text"].as_str().expect("a chat line has a text");
    text.parse().expect("clients say marks")
}

fn name(frame: &Value) -> String {
    frame["user_id"].as_str().expect("it has a user").to_owned()
}

/// Whom a greeting shows.
pub fn shown(frame: &Value) -> BTreeSet<String> {
    let users = frame["users"].as_array().expect("a greeting has users");
    users.iter().map(name).collect()
}

/// What a first frame says, for those who only look.
pub fn greeting(text: &str) -> (Greeting, BTreeSet<String>) {
    let frame: Value = serde_json::from_str(text).expect("a node speaks JSON");
    let position = frame["position"].as_str().expect("a greeting comes first");
    let lines = frame["chat"].as_array().expect("a greeting has a history");
    let greeting = Greeting {
        at: Position::parse(position).expect("a place can be read"),
        history: lines.iter().map(mark).collect(),
    };
    (greeting, shown(&frame))
}

pub fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
