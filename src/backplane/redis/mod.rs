//! The backplane on Redis: many nodes behave as one.
//!
//! Every operation is one Lua script on the keys of one room, so that it is atomic and works on a
//! cluster. Each master of a cluster is a [`shard`] with connections of its own for commands and for listening,
//! and a [`warden`] that keeps them honest; a server that is alone is one shard. [`shards`] finds the right one by
//! the table of [`slots`], which the [`survey`] keeps true. A command never waits for a Redis that is away: it
//! fails at once, or after the command timeout.

mod advice;
mod bunch;
mod cluster;
mod connect;
mod courier;
mod documents;
mod durable;
mod index;
mod keys;
mod lease;
mod listener;
mod mirror;
mod probe;
mod scripts;
mod shard;
mod shards;
mod slots;
mod standing;
mod survey;
mod warden;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::error::Error as RedisError;
use fred::interfaces::{HashesInterface, KeysInterface};
use fred::types::{Key, Value};
use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::connect::{Config, Wrong, check};
pub use self::durable::Durability;
use self::keys::Keys;
use self::lease::Lease;
use self::scripts::{Script, Scripts};
use self::shards::Shards;
use super::{
    Access, Backplane, Change, Committed, Created, DEFAULT_ROLE, Draft, Ear, Entry, Envelope,
    Error, Exit, Fields, HOST, History, Keep, LAST, Link, MEMBERS_LISTED, RECORDED, ROLE, Replay,
    Snapshot, TextEntry, envelope, role_of,
};
use crate::ids::{Epoch, NodeId, Position, Room, SocketId, UserId};

pub struct Redis {
    shards: Arc<Shards>,
    scripts: Arc<Scripts>,
    config: Config,
    keep: Keep,
    lease: Lease,
    /// Nodes whose lease ran out, as last heard: places they took are free.
    dead: Mutex<Vec<NodeId>>,
    /// The newest version of an envelope that every living node reads, as last heard.
    version: AtomicU8,
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Tasks and shards hold each other.
        self.shards.abandon();
    }
}

impl Redis {
    /// Begins to connect, and goes on trying; [`Backplane::link`] tells when it works.
    pub fn connect(config: &Config, keep: Keep, ear: Arc<dyn Ear>) -> Result<Self, Error> {
        let scripts = Arc::new(Scripts::new(&keep));
        Ok(Self {
            shards: Shards::start(config, scripts.clone(), ear)?,
            scripts,
            keep,
            config: config.clone(),
            lease: Lease::default(),
            dead: Mutex::default(),
            version: AtomicU8::new(envelope::OLDEST),
        })
    }

    /// In which version envelopes are written.
    fn version(&self) -> u8 {
        self.version.load(Ordering::Relaxed)
    }

    fn keys(&self, room: &Room) -> Keys {
        Keys::of(&self.config.key_prefix, room)
    }

    /// Every key of the room that its members concern.
    fn all(&self, room: &Room) -> Vec<Key> {
        let keys = self.keys(room);
        let mut all = vec![
            keys.state(),
            keys.log(),
            keys.channel(),
            keys.chat(),
            keys.members(),
            keys.users(),
        ];
        match room {
            Room::Couriers => all.extend(keys.listed()),
            Room::Session(_) => all.extend([keys.document(), keys.document_log()]),
            _ => {}
        }
        all
    }

    /// Events that the room's log keeps, and how long.
    fn log_length(&self, room: &Room) -> u64 {
        match room {
            Room::User(_) => self.keep.inbox.length,
            _ => self.keep.log_length,
        }
    }

    fn log_ttl(&self, room: &Room) -> Duration {
        match room {
            Room::User(_) => self.keep.inbox.ttl,
            _ => self.keep.log_ttl,
        }
    }

    /// How long the room outlives its last socket.
    fn grace(&self, room: &Room) -> Duration {
        match room {
            Room::User(_) => self.keep.inbox.ttl,
            Room::Agent(_) => self.keep.agent_ttl,
            _ => self.keep.session_grace,
        }
    }

    async fn run(
        &self,
        script: &Script,
        keys: Vec<Key>,
        args: Vec<Value>,
    ) -> Result<Vec<Value>, Error> {
        parts(script, self.shards.run(script, &keys, &args).await?)
    }

    /// The log after `since`; with `part` what of it is left.
    async fn read_log(&self, room: &Room, since: Position, part: bool) -> Result<Replay, Error> {
        let keys = self.keys(room);
        let named = vec![keys.state(), keys.log()];
        let args = vec![
            int(since.epoch.0),
            int(since.seq),
            int(self.log_length(room)),
            int(u64::from(part)),
        ];
        let parts = self.run(&self.scripts.replay, named, args).await?;
        let mut parts = parts.into_iter().map(bytes);
        if parts.next().as_deref() != Some(b"ok") {
            return Ok(Replay::Gone);
        }
        let events: Result<Vec<_>, _> = parts.map(|entry| Envelope::decode(&entry)).collect();
        // A log this node cannot read is no use to it; the state is.
        Ok(events.map_or(Replay::Gone, Replay::Events))
    }

    /// Runs a script whose answer begins with a word.
    async fn ask(
        &self,
        script: &Script,
        keys: Vec<Key>,
        args: Vec<Value>,
    ) -> Result<Vec<Value>, Error> {
        told(self.run(script, keys, args).await?)
    }

    /// The same for what is to be kept as commits are.
    async fn write(
        &self,
        script: &Script,
        keys: Vec<Key>,
        args: Vec<Value>,
    ) -> Result<Vec<Value>, Error> {
        let answer = self.shards.write(script, &keys, &args).await?;
        told(parts(script, answer)?)
    }
}

fn parts(script: &Script, answer: Value) -> Result<Vec<Value>, Error> {
    match answer {
        Value::Array(parts) => Ok(parts),
        other => Err(Error::Unavailable(format!(
            "{} answered {:?}, not a list",
            script.op,
            other.kind()
        ))),
    }
}

fn told(parts: Vec<Value>) -> Result<Vec<Value>, Error> {
    match parts.first().and_then(Value::as_str).as_deref() {
        Some("missing") => Err(Error::Missing),
        Some("ended") => Err(Error::Ended),
        Some("forbidden") => Err(Error::Forbidden),
        Some("unmet") => Err(Error::Unmet),
        _ => Ok(parts),
    }
}

/// Reads what `commit.lua` says.
fn committed(answer: &str) -> Result<Committed, Error> {
    let mut words = answer.split(' ');
    let word = words.next();
    let mut number = || {
        words
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| Error::Unavailable(format!("commit answered {answer:?}")))
    };
    match word {
        Some("missing") => Err(Error::Missing),
        Some("ended") => Err(Error::Ended),
        Some("forbidden") => Err(Error::Forbidden),
        Some("unmet") => Err(Error::Unmet),
        Some("stale") => Err(Error::Stale),
        Some("failed") => Err(Error::Unavailable(answer.to_owned())),
        _ => Ok(Committed {
            position: Position {
                seq: number()?,
                epoch: Epoch(number()?),
            },
            version: number()?,
            repeated: number()? == 1,
        }),
    }
}

fn flat_roles(args: &mut Vec<Value>, roles: impl IntoIterator<Item = (UserId, String)>) {
    for (user, role) in roles {
        args.extend([text(format!("{ROLE}{user}")), text(role)]);
    }
}

fn unavailable(error: RedisError) -> Error {
    Error::Unavailable(error.to_string())
}

fn int(number: u64) -> Value {
    Value::Integer(number as i64)
}

fn millis(duration: Duration) -> Value {
    int(duration.as_millis() as u64)
}

fn bin(bytes: impl Into<Bytes>) -> Value {
    Value::Bytes(bytes.into())
}

fn text(text: impl Into<String>) -> Value {
    Value::String(text.into().into())
}

fn none() -> Value {
    Value::from_static_str("")
}

fn number(parts: &[Value], at: usize) -> Result<u64, Error> {
    parts
        .get(at)
        .and_then(|value| match value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            other => other.as_str()?.parse().ok(),
        })
        .ok_or_else(|| Error::Unavailable(format!("a script's answer lacks a number at {at}")))
}

fn bytes(value: Value) -> Bytes {
    match value {
        Value::Bytes(bytes) => bytes,
        Value::String(text) => text.into_inner(),
        _ => Bytes::new(),
    }
}

/// A line of the chat history: `<seq> <line>`.
fn chat_line(entry: &Bytes) -> Option<(u64, Bytes)> {
    let space = entry.iter().position(|byte| *byte == b' ')?;
    let seq = std::str::from_utf8(&entry[..space]).ok()?.parse().ok()?;
    Some((seq, entry.slice(space + 1..)))
}

fn list(value: Value) -> Vec<Bytes> {
    match value {
        Value::Array(values) => values.into_iter().map(bytes).collect(),
        _ => Vec::new(),
    }
}

/// A field and the value it must have.
fn condition((field, value): (&str, String)) -> Value {
    text(format!("{field} {value}"))
}

fn flat(args: &mut Vec<Value>, fields: Fields) {
    for (name, value) in fields {
        args.push(Value::from_static_str(name));
        args.push(text(value));
    }
}

#[async_trait]
impl Backplane for Redis {
    async fn commit(&self, room: &Room, change: Change) -> Result<Committed, Error> {
        self.lease.check()?;
        let keys = self.keys(room);
        let name = room.to_string();
        let rest = change.draft.front(self.version(), &name, None);
        let logged = change.logged.map_or_else(none, |event| {
            bin(change.draft.front(self.version(), &name, Some(&event)))
        });
        let mut named = vec![keys.state(), keys.log(), keys.channel()];
        if change.history.is_some() || change.once.is_some() {
            named.push(keys.chat());
        }
        if let Some((user, command)) = &change.once {
            named.push(keys.once(user, command));
        }
        if change.hook {
            named.push(keys.hooks());
        }
        if change.text.is_some() {
            named.push(keys.document_log());
        }
        let (epoch, entry) = match change.text {
            None => (Value::from_static_str("-"), none()),
            Some(TextEntry { entry, epoch }) => (text(epoch.0.to_string()), bin(entry)),
        };
        let (line, replaced) = match change.history {
            None => (none(), none()),
            Some(History::Push(line)) => (bin(line), none()),
            Some(History::Replace { known_by, line }) => {
                (line.map_or_else(none, bin), bin(known_by))
            }
        };
        let by = change.by.map_or_else(none, |(user, roles)| {
            text(format!("{user} ,{},", roles.join(",")))
        });
        let (taken, given) = match change.role {
            Some((user, role)) if role.is_empty() => (text(format!("{ROLE}{user}")), None),
            given => (none(), given),
        };
        let when = change.when.map_or_else(none, condition);
        let hook = if change.hook { int(1) } else { none() };
        let mut args = vec![
            bin(rest),
            logged,
            line,
            epoch,
            entry,
            by,
            taken,
            replaced,
            when,
            hook,
        ];
        flat(&mut args, change.fields);
        flat_roles(&mut args, given);
        committed(&self.shards.commit(named, args).await?)
    }

    async fn announce(
        &self,
        room: &Room,
        draft: Option<Draft>,
        member: Option<(SocketId, Bytes)>,
    ) -> Result<(), Error> {
        self.lease.check()?;
        let keys = self.keys(room);
        let (socket, record) = match member {
            Some((socket, record)) => (bin(socket.to_bytes().to_vec()), bin(record)),
            None => (none(), none()),
        };
        let envelope = draft.map_or_else(none, |draft| {
            bin(draft.unsequenced(self.version(), &room.to_string()))
        });
        let args = vec![envelope, socket, record];
        let named = vec![keys.members(), keys.channel()];
        self.ask(&self.scripts.announce, named, args).await?;
        Ok(())
    }

    async fn report(
        &self,
        room: &Room,
        draft: Draft,
        fields: Fields,
        when: (&'static str, String),
    ) -> Result<(), Error> {
        self.lease.check()?;
        let keys = self.keys(room);
        let envelope = draft.unsequenced(self.version(), &room.to_string());
        let mut args = vec![bin(envelope), condition(when)];
        flat(&mut args, fields);
        let named = vec![keys.state(), keys.channel()];
        self.ask(&self.scripts.report, named, args).await?;
        Ok(())
    }

    async fn enter(&self, room: &Room, entry: Entry) -> Result<(), Error> {
        self.lease.check()?;
        let joined = entry.joined.map_or_else(none, |joined| {
            bin(joined.front(self.version(), &room.to_string(), None))
        });
        let mut args = vec![
            bin(entry.socket.to_bytes().to_vec()),
            bin(entry.member),
            text(entry.user.as_str()),
            joined,
            int(Epoch::random().0),
            Value::from_static_str(if entry.create.is_some() { "1" } else { "0" }),
            int(if room.session().is_some() {
                MEMBERS_LISTED as u64
            } else {
                0
            }),
            millis(self.log_ttl(room)),
        ];
        flat(&mut args, entry.create.unwrap_or_default());
        self.ask(&self.scripts.enter, self.all(room), args).await?;
        Ok(())
    }

    async fn leave(&self, room: &Room, exits: Vec<Exit>) -> Result<(), Error> {
        let name = room.to_string();
        let mut args = Vec::with_capacity(1 + exits.len() * 3);
        args.push(millis(self.grace(room)));
        for exit in exits {
            args.push(bin(exit.socket.to_bytes().to_vec()));
            args.push(text(exit.user.as_str()));
            args.push(
                exit.left
                    .map_or_else(none, |left| bin(left.front(self.version(), &name, None))),
            );
        }
        self.ask(&self.scripts.leave, self.all(room), args).await?;
        Ok(())
    }

    async fn create(
        &self,
        room: &Room,
        fields: Fields,
        roles: Vec<(UserId, String)>,
        chat: Vec<Bytes>,
    ) -> Result<Created, Error> {
        self.lease.check()?;
        let keys = self.keys(room);
        let expires = int(u64::from(self.keep.unvisited(room).is_some()));
        let mut args = vec![int(Epoch::random().0), int(chat.len() as u64), expires];
        args.extend(chat.into_iter().map(bin));
        flat(&mut args, fields);
        flat_roles(&mut args, roles);
        let mut named = vec![
            keys.state(),
            keys.log(),
            keys.chat(),
            keys.members(),
            keys.users(),
        ];
        if room.session().is_some() {
            named.extend([keys.document(), keys.document_log()]);
        }
        match self.write(&self.scripts.create, named, args).await {
            Ok(parts) if parts.first().and_then(Value::as_str).as_deref() == Some("new") => {
                Ok(Created::New)
            }
            Ok(_) => Ok(Created::Existing),
            Err(Error::Ended) => Ok(Created::Ended),
            Err(error) => Err(error),
        }
    }

    async fn end(&self, room: &Room, draft: Draft) -> Result<Vec<Envelope>, Error> {
        self.lease.check()?;
        let args = vec![
            bin(draft.front(self.version(), &room.to_string(), None)),
            Value::Integer(draft.at),
            int(LAST as u64),
        ];
        let parts = self.write(&self.scripts.end, self.all(room), args).await?;
        let events = parts.into_iter().skip(1).map(bytes);
        // One that this node cannot read was written by a newer one.
        Ok(events
            .filter_map(|entry| Envelope::decode(&entry).ok())
            .collect())
    }

    async fn standing(&self, room: &Room, user: &UserId) -> Result<Access, Error> {
        let state = self.keys(room).state();
        let fields = self.shards.ask(&state, |shard| {
            let state = state.clone();
            let names = ["ended", "epoch", "session_id", "matched"];
            let names = names.into_iter().chain([RECORDED, HOST, DEFAULT_ROLE]);
            let mut names: Vec<String> = names.map(str::to_owned).collect();
            names.push(format!("{ROLE}{user}"));
            async move { shard.commands.hmget(state, names).await }
        });
        let fields: Vec<Option<String>> = fields.await?;
        match fields.as_slice() {
            [Some(_), ..] => Err(Error::Ended),
            [_, None, None, ..] => Err(Error::Missing),
            [_, _, _, matched, recorded, host, default, own] => Ok(Access {
                matched: matched.is_some(),
                role: recorded
                    .as_ref()
                    .map(|_| role_of(user, host.as_deref(), own.as_deref(), default.as_deref())),
            }),
            _ => Err(Error::Unavailable("HMGET answered too little".to_owned())),
        }
    }

    async fn admitted(&self, room: &Room) -> Result<Vec<UserId>, Error> {
        let state = self.keys(room).state();
        let users = self.shards.ask(&state, |shard| {
            let state = state.clone();
            async move { shard.commands.hget(state, "users").await }
        });
        let users: Option<String> = users.await?;
        Ok(super::users(users.as_deref()))
    }

    async fn snapshot(&self, room: &Room) -> Result<Snapshot, Error> {
        let keys = self.keys(room);
        let named = vec![keys.state(), keys.members(), keys.users(), keys.chat()];
        // Of couriers there may be very many, and nobody is shown them all.
        let listed = if *room == Room::Couriers {
            0
        } else {
            MEMBERS_LISTED
        };
        let args = vec![int(listed as u64)];
        let parts = self.run(&self.scripts.snapshot, named, args).await?;
        let users = number(&parts, 2)?;
        let mut parts = parts.into_iter();
        let mut next = || parts.next().map(list).unwrap_or_default();
        let mut state = next().into_iter();
        let members = next();
        let _users = next();
        let chat = next().iter().filter_map(chat_line).collect();
        let mut fields = HashMap::new();
        while let (Some(name), Some(value)) = (state.next(), state.next()) {
            let utf8 = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            fields.insert(utf8(&name), utf8(&value));
        }
        let counter = |name: &str| fields.get(name).and_then(|text| text.parse().ok());
        Ok(Snapshot {
            epoch: counter("epoch").map(Epoch),
            seq: counter("seq").unwrap_or(0),
            fields,
            members,
            users,
            chat,
        })
    }

    async fn known(&self, room: &Room, user: &UserId, command: &str) -> Result<Option<u64>, Error> {
        let keys = self.keys(room);
        let (once, state) = (keys.once(user, command), keys.state());
        let known = self.shards.ask(&once, |shard| {
            let once = once.clone();
            async move { shard.commands.get(once).await }
        });
        let known: Option<String> = known.await?;
        let Some(known) = known else {
            return Ok(None);
        };
        let orders = self.shards.ask(&state, |shard| {
            let state = state.clone();
            async move { shard.commands.hmget(state, vec!["epoch", "former"]).await }
        });
        let orders: Vec<Option<String>> = orders.await?;
        let mut parts = known.split(' ');
        let seq = parts.next().and_then(|seq| seq.parse().ok());
        // A former session of that name may have left it.
        let epoch = parts.next().map(str::to_owned);
        Ok(seq.filter(|_| epoch.is_some() && orders.contains(&epoch)))
    }

    async fn members(
        &self,
        room: &Room,
        with: Option<&UserId>,
    ) -> Result<Vec<(SocketId, Bytes)>, Error> {
        let keys = self.keys(room);
        let named = vec![keys.members(), keys.users()];
        let user = with.map_or_else(none, |user| text(user.as_str()));
        let args = vec![user, int(MEMBERS_LISTED as u64)];
        let parts = self.run(&self.scripts.members, named, args).await?;
        let listed = parts.into_iter().next().map(list).unwrap_or_default();
        let members = listed.chunks_exact(2).filter_map(|pair| {
            let socket = SocketId::from_bytes(&pair[0])?;
            Some((socket, pair[1].clone()))
        });
        Ok(members.collect())
    }

    async fn replay(&self, room: &Room, since: Position) -> Result<Replay, Error> {
        self.read_log(room, since, false).await
    }

    async fn recent(&self, room: &Room, since: Position) -> Result<Replay, Error> {
        self.read_log(room, since, true).await
    }

    async fn position(&self, room: &Room) -> Result<Option<Position>, Error> {
        let state = self.keys(room).state();
        let fields = self.shards.ask(&state, |shard| {
            let state = state.clone();
            async move { shard.commands.hmget(state, vec!["epoch", "seq"]).await }
        });
        let fields: Vec<Option<u64>> = fields.await?;
        Ok(match fields.as_slice() {
            [Some(epoch), Some(seq)] => Some(Position {
                epoch: Epoch(*epoch),
                seq: *seq,
            }),
            _ => None,
        })
    }

    async fn rotate(&self, room: &Room, from: Epoch) -> Result<(), Error> {
        let keys = self.keys(room);
        let is_inbox = matches!(room, Room::User(_));
        let args = vec![
            text(from.0.to_string()),
            int(Epoch::random().0),
            int(u64::from(is_inbox)),
        ];
        let named = vec![keys.state(), keys.log()];
        self.ask(&self.scripts.rotate, named, args).await?;
        Ok(())
    }

    async fn listen(&self, room: &Room) -> Result<(), Error> {
        self.shards.listen(room).await
    }

    async fn listen_again(&self, room: &Room) {
        self.shards.listen_again(room).await;
    }

    async fn unlisten(&self, room: &Room) {
        self.shards.unlisten(room).await;
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.shards.link()
    }

    fn hears(&self) -> bool {
        self.shards.hears()
    }

    fn kind(&self) -> &'static str {
        "redis"
    }

    async fn close(&self) {
        self.shards.close().await;
    }
}
