//! The Lua scripts: called by hash, and by source when a server does not know them.

use std::time::{Duration, Instant};

use fred::bytes_utils::Str;
use fred::error::Error as RedisError;
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Key, Value};
use fred::util::sha1_hash;

use super::int;
use super::shard::Commands;
use crate::backplane::Keep;
use crate::telemetry::metrics::{OpMetrics, metrics};

pub struct Script {
    pub op: &'static str,
    source: Str,
    hash: Str,
    timing: OpMetrics,
}

pub struct Scripts {
    pub commit: Script,
    pub announce: Script,
    pub report: Script,
    pub enter: Script,
    pub leave: Script,
    pub keep: Script,
    pub create: Script,
    pub end: Script,
    pub snapshot: Script,
    pub members: Script,
    pub replay: Script,
    pub rotate: Script,
    pub beat: Script,
    pub depart: Script,
    pub holdings: Script,
    pub held: Script,
    pub claim: Script,
    pub forget: Script,
    pub count: Script,
    pub admit: Script,
    pub vacate: Script,
    pub route: Script,
    pub inbox: Script,
    pub mark: Script,
    pub acquaint: Script,
    pub contacts: Script,
    pub couriers: Script,
    pub register: Script,
    pub list: Script,
    pub listed: Script,
    pub expect: Script,
    pub due: Script,
    pub settle: Script,
    pub follow: Script,
    pub follows: Script,
    pub hooks: Script,
    pub unhook: Script,
    pub tried: Script,
    pub document: Script,
    pub compact: Script,
    pub show: Script,
}

impl Scripts {
    pub fn new(keep: &Keep) -> Self {
        let constants = constants(keep);
        let script = |op, body: &str| Script::new(op, false, &constants, body);
        let frequent = |op, body: &str| Script::new(op, true, &constants, body);
        Self {
            commit: frequent("commit", include_str!("lua/commit.lua")),
            announce: frequent("announce", include_str!("lua/announce.lua")),
            report: frequent("report", include_str!("lua/report.lua")),
            enter: script("enter", include_str!("lua/enter.lua")),
            leave: script("leave", include_str!("lua/leave.lua")),
            keep: script("keep", include_str!("lua/keep.lua")),
            create: script("create", include_str!("lua/create.lua")),
            end: script("end", include_str!("lua/end.lua")),
            snapshot: script("snapshot", include_str!("lua/snapshot.lua")),
            members: script("members", include_str!("lua/members.lua")),
            replay: script("replay", include_str!("lua/replay.lua")),
            rotate: script("rotate", include_str!("lua/rotate.lua")),
            beat: script("beat", include_str!("lua/beat.lua")),
            depart: script("depart", include_str!("lua/depart.lua")),
            holdings: script("holdings", include_str!("lua/holdings.lua")),
            held: script("held", include_str!("lua/held.lua")),
            claim: script("claim", include_str!("lua/claim.lua")),
            forget: script("forget", include_str!("lua/forget.lua")),
            count: script("count", include_str!("lua/count.lua")),
            admit: script("admit", include_str!("lua/admit.lua")),
            vacate: script("vacate", include_str!("lua/vacate.lua")),
            route: frequent("route", include_str!("lua/route.lua")),
            inbox: script("inbox", include_str!("lua/inbox.lua")),
            mark: frequent("mark", include_str!("lua/mark.lua")),
            acquaint: frequent("acquaint", include_str!("lua/acquaint.lua")),
            contacts: script("contacts", include_str!("lua/contacts.lua")),
            couriers: script("couriers", include_str!("lua/couriers.lua")),
            register: script("register", include_str!("lua/register.lua")),
            list: script("list", include_str!("lua/list.lua")),
            listed: script("listed", include_str!("lua/listed.lua")),
            expect: script("expect", include_str!("lua/expect.lua")),
            due: script("due", include_str!("lua/due.lua")),
            settle: script("settle", include_str!("lua/settle.lua")),
            follow: script("follow", include_str!("lua/follow.lua")),
            follows: script("follows", include_str!("lua/follows.lua")),
            hooks: script("hooks", include_str!("lua/hooks.lua")),
            unhook: script("unhook", include_str!("lua/unhook.lua")),
            tried: script("tried", include_str!("lua/tried.lua")),
            document: frequent("document", include_str!("lua/document.lua")),
            compact: script("compact", include_str!("lua/compact.lua")),
            show: frequent("show", include_str!("lua/show.lua")),
        }
    }
}

/// The limits as the first line of every script.
fn constants(keep: &Keep) -> String {
    let names = "LOG_LENGTH, LOG_TTL, CHAT_LENGTH, IDEMPOTENCY_TTL, SESSION_GRACE, SESSION_TTL, ENDED_TTL, \
                 INBOX_LENGTH, INBOX_BYTES, INBOX_TTL, HOOKS_LENGTH";
    let values = [
        keep.log_length,
        millis(keep.log_ttl),
        keep.chat_history,
        millis(keep.idempotency),
        millis(keep.session_grace),
        millis(keep.session_ttl),
        millis(keep.ended_ttl),
        keep.inbox.length,
        keep.inbox.bytes,
        millis(keep.inbox.ttl),
        keep.hooks_length,
    ];
    let values = values.map(|value| value.to_string()).join(", ");
    format!("local {names} = {values}\n")
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

impl Script {
    fn new(op: &'static str, frequent: bool, constants: &str, body: &str) -> Self {
        let source = [constants, include_str!("lua/prelude.lua"), body].concat();
        Self {
            op,
            hash: sha1_hash(&source).into(),
            source: source.into(),
            timing: metrics().backplane_op(op, frequent),
        }
    }

    pub fn timing(&self) -> &OpMetrics {
        &self.timing
    }

    /// Runs the script. A server that was restarted has forgotten it, and a replica that took over never
    /// knew it: its source is sent once, to whoever has the keys, and is known there from then on.
    pub async fn run(
        &self,
        client: &Commands,
        keys: &[Key],
        args: &[Value],
    ) -> Result<Value, RedisError> {
        let started = Instant::now();
        let answer = self.call(client, keys, args).await;
        self.timing.took(started.elapsed());
        answer
    }

    async fn call(
        &self,
        client: &Commands,
        keys: &[Key],
        args: &[Value],
    ) -> Result<Value, RedisError> {
        match self.send(client, true, keys, args).await {
            Err(error) if is_unknown(&error) => self.send(client, false, keys, args).await,
            answer => answer,
        }
    }

    /// One call: of a script that is known by its hash, or else by its source. Not by the library's interface for
    /// scripts, which knows no pipelines and leaves a client's options out.
    pub async fn send(
        &self,
        client: &impl ClientLike,
        known: bool,
        keys: &[Key],
        args: &[Value],
    ) -> Result<Value, RedisError> {
        let (name, script) = if known {
            ("EVALSHA", &self.hash)
        } else {
            ("EVAL", &self.source)
        };
        // All are reference counted: copies cost little.
        let mut words = Vec::with_capacity(2 + keys.len() + args.len());
        words.push(Value::String(script.clone()));
        words.push(int(keys.len() as u64));
        words.extend(keys.iter().cloned().map(Value::from));
        words.extend_from_slice(args);
        let command = CustomCommand::new_static(name, ClusterHash::Random, false);
        client.custom(command, words).await
    }
}

/// Whether a server does not know the script.
pub fn is_unknown(error: &RedisError) -> bool {
    error.details().starts_with("NOSCRIPT")
}
