//! What is measured: the floor, a node, or any WebSocket server given by its address.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};

use serde::Serialize;

use crate::children::{self, Process};
use crate::door::{PAIRING_CHAT, Speech};
use crate::generator::Seat;
use crate::node::{NodeOptions, SECRET};
use crate::postgres::Postgres;
use crate::{Result, floor, sessions, stamp, wire};

/// The kinds of server a run compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Floor,
    /// A node with its embedded backplane.
    Node,
    /// A node with a Redis of its own.
    NodeWithRedis,
    /// A server that already runs elsewhere.
    Given,
}

impl Kind {
    pub fn label(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Node => "node, memory",
            Self::NodeWithRedis => "node, Redis",
            Self::Given => "given server",
        }
    }
}

/// A server that is already running.
#[derive(Debug, Clone, clap::Args)]
pub struct GivenOptions {
    /// Measure this server instead of a node, e.g. ws://127.0.0.1:8004/path/{room}?user_id={user}.
    #[arg(long)]
    pub url: Option<String>,
    /// Its process, for CPU time.
    #[arg(long, requires = "url")]
    pub pid: Option<u32>,
    /// What a sender sends; {text} is the measured text, {room} and {user} are filled in.
    #[arg(long, requires = "url")]
    message: Option<String>,
    /// What each socket sends first, e.g. to join {room} as {user}.
    #[arg(long, requires = "url")]
    hello: Option<String>,
    /// The server does not speak first.
    #[arg(long, requires = "url")]
    silent: bool,
    /// A sender does not hear its own messages.
    #[arg(long, requires = "url")]
    others: bool,
    /// The server speaks Engine.IO: its pings are answered.
    #[arg(long, requires = "url")]
    engine: bool,
}

/// What a node has beside it.
#[derive(Debug, Clone, Copy)]
pub struct Backing {
    pub redis: bool,
    /// Of the database, where the door wants one.
    pub fsync: bool,
}

/// A running server and how to talk to it.
#[derive(Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub pid: Option<u32>,
    pub redis_pid: Option<u32>,
    speech: Speech,
    /// The sessions that were made for rooms, by the rooms' names.
    sessions: HashMap<String, String>,
    /// Ended when the target goes, and the database after them: fields drop in order.
    children: Vec<Process>,
    database: Option<Postgres>,
}

impl Target {
    /// Starts the floor for texts of `text` bytes.
    pub fn floor(speech: &Speech, text: usize) -> Result<Self> {
        let floor = floor::start(text + speech.around, speech.echoes)?;
        Ok(Self::child(vec![floor], speech.to_floor()))
    }

    /// Starts a node, and before it what it is to have; makes the rooms that are not made by coming.
    pub fn node(
        speech: &Speech,
        options: &NodeOptions,
        backing: Backing,
        rooms: &[String],
    ) -> Result<Self> {
        let redis = backing.redis.then(children::start_redis).transpose()?;
        let database = speech.recorded.then(|| Postgres::start(backing.fsync));
        let database = database.transpose()?;
        let mut options = options.clone();
        if let Some(database) = &database {
            options = options
                .with("AUTH", "token")
                .with("JWT_SECRET", SECRET)
                .with("DATABASE_URL", &database.url());
        }
        let node = options.start(redis.as_ref())?;
        // The node goes first: it need not mourn its Redis.
        let children = [Some(node), redis].into_iter().flatten().collect();
        let mut target = Self::child(children, speech.clone());
        if speech.recorded {
            let made = sessions::make(target.address, rooms);
            target.sessions = made.map_err(|error| format!("{error}\n{}", target.last_words()))?;
        }
        target.database = database;
        Ok(target)
    }

    pub fn given(options: &GivenOptions) -> Result<Self> {
        let url = options.url.as_deref().unwrap_or_default();
        let (host, path) = url
            .strip_prefix("ws://")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(|| format!("{url:?} is not ws://HOST:PORT/PATH"))?;
        let address = host
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| format!("{host} has no address"))?;
        let message = options
            .message
            .clone()
            .unwrap_or_else(|| PAIRING_CHAT.into());
        if !message.contains("{text}") {
            return Err(
                format!("--message needs a {{text}} to measure, {message:?} has none").into(),
            );
        }
        Ok(Self {
            address,
            pid: options.pid,
            redis_pid: None,
            speech: Speech {
                path: format!("/{path}"),
                message,
                hello: options.hello.iter().cloned().collect(),
                greeted: !options.silent,
                joined: None,
                echoes: !options.others,
                recorded: false,
                stored: false,
                acknowledged: false,
                engine: options.engine,
                around: 0,
            },
            sessions: HashMap::new(),
            children: Vec::new(),
            database: None,
        })
    }

    /// The seat of `user` in `room`.
    pub fn seat(&self, room: &str, user: &str) -> Result<Seat> {
        let hello = self.speech.hello.iter();
        let frame =
            |text: &String| wire::client_frame(wire::TEXT, self.fill(text, room, user).as_bytes());
        let mut path = self.fill(&self.speech.path, room, user);
        if path.contains("{token}") {
            path = path.replace("{token}", &sessions::token(user)?);
        }
        Ok(Seat {
            address: self.address,
            path,
            greeted: self.speech.greeted,
            hello: hello.flat_map(frame).collect(),
            joined: self.speech.joined,
            engine: self.speech.engine,
        })
    }

    /// Whether a sender hears itself.
    pub fn echoes(&self) -> bool {
        self.speech.echoes
    }

    /// Whether a sender is told of each message that it was taken.
    pub fn acknowledges(&self) -> bool {
        self.speech.acknowledged
    }

    /// Where a row is kept of each message.
    pub fn store(&self) -> Option<&Postgres> {
        self.database.as_ref().filter(|_| self.speech.stored)
    }

    /// What `user` sends in `room`, its text `length` bytes long and beginning with a stamp.
    pub fn message(&self, room: &str, user: &str, length: usize) -> String {
        self.fill(&self.speech.message, room, user)
            .replace("{id}", &stamp::id())
            .replace("{text}", &stamp::text(length))
    }

    /// The last lines the server wrote.
    pub fn last_words(&self) -> String {
        self.children
            .first()
            .map(Process::last_words)
            .unwrap_or_default()
    }

    fn child(children: Vec<Process>, speech: Speech) -> Self {
        Self {
            address: children[0].address,
            pid: Some(children[0].pid()),
            redis_pid: children.get(1).map(Process::pid),
            speech,
            sessions: HashMap::new(),
            children,
            database: None,
        }
    }

    fn fill(&self, template: &str, room: &str, user: &str) -> String {
        let room = self.sessions.get(room).map_or(room, String::as_str);
        template.replace("{room}", room).replace("{user}", user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the templates that other servers are reached by.
    #[test]
    fn a_given_server_is_reached_by_its_templates() {
        let options = GivenOptions {
            url: Some("ws://127.0.0.1:9/x/{room}?u={user}".into()),
            pid: None,
            message: Some(r#"42["say",{"room":"{room}","text":"{text}"}]"#.into()),
            hello: Some("40{user}".into()),
            silent: true,
            others: true,
            engine: false,
        };
        let target = Target::given(&options).expect("a fine address");
        let seat = target.seat("r1", "u2").expect("no token is asked for");
        assert_eq!(
            (seat.path.as_str(), seat.greeted, target.echoes()),
            ("/x/r1?u=u2", false, false)
        );
        assert!(
            target
                .message("r1", "u2", 30)
                .starts_with(r#"42["say",{"room":"r1","text":"rig:0000"#)
        );
        assert_eq!(seat.hello, wire::client_frame(wire::TEXT, b"40u2"));
        assert!(
            Target::given(&GivenOptions {
                url: Some("http://x/".into()),
                ..options
            })
            .is_err()
        );
    }
}
