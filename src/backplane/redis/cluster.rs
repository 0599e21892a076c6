//! Leases, holdings, places and revocations on Redis: see `lua/` for what is atomic.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use fred::interfaces::{HashesInterface, KeysInterface, SetsInterface};
use fred::types::{Expiration, Key, SetOptions, Value};

use super::{Redis, bin, bytes, int, keys, text};
use crate::backplane::cluster::new_secret;
use crate::backplane::{Beat, Cluster, Counters, Error, Held, NodeReport, envelope};
use crate::ids::{NodeId, Room, SocketId, UserId};

/// Dead nodes told at once; the others come when these are forgotten.
const DEAD_TOLD: u64 = 64;
/// Members looked at for one page.
const PAGE: u64 = 500;

impl Redis {
    pub(super) fn prefix(&self) -> &str {
        &self.config.key_prefix
    }

    /// The reports of these nodes. One of another version, or that ran out just now, is not counted.
    async fn reports(&self, nodes: &[Value]) -> Result<Vec<NodeReport>, Error> {
        let mut reports = Vec::with_capacity(nodes.len());
        for id in nodes.iter().filter_map(Value::as_str) {
            let key = Key::from(keys::node(self.prefix(), &id));
            let report = self.shards.ask(&key, |shard| {
                let key = key.clone();
                async move { shard.commands.get(key).await }
            });
            let found: Option<Bytes> = report.await?;
            reports.extend(found.and_then(|bytes| rmp_serde::from_slice(&bytes).ok()));
        }
        Ok(reports)
    }

    /// Set for so many milliseconds.
    pub(super) async fn set(&self, key: Key, value: Value, time: i64) -> Result<(), Error> {
        let set = self.shards.ask(&key, |shard| {
            let (key, value) = (key.clone(), value.clone());
            let expires = Some(Expiration::PX(time));
            async move { shard.commands.set(key, value, expires, None, false).await }
        });
        set.await
    }

    async fn del(&self, key: String) -> Result<(), Error> {
        let key = Key::from(key);
        let gone = self.shards.ask(&key, |shard| {
            let key = key.clone();
            async move { shard.commands.del(key).await }
        });
        gone.await
    }

    async fn hdel(&self, key: String, field: &str) -> Result<(), Error> {
        let key = Key::from(key);
        let gone = self.shards.ask(&key, |shard| {
            let (key, field) = (key.clone(), field.to_owned());
            async move { shard.commands.hdel(key, field).await }
        });
        gone.await
    }

    pub(super) async fn srem(&self, key: impl Into<Key>, member: Value) -> Result<(), Error> {
        let key = key.into();
        let gone = self.shards.ask(&key, |shard| {
            let (key, member) = (key.clone(), member.clone());
            async move { shard.commands.srem(key, member).await }
        });
        gone.await
    }

    async fn say_alive(&self, node: NodeId, report: &NodeReport) -> Result<Beat, Error> {
        let lease = self.config.lease.as_millis() as i64;
        let packed =
            rmp_serde::to_vec_named(report).expect("writing plain fields to memory cannot fail");
        let key = Key::from(keys::node(self.prefix(), &node.to_string()));
        self.set(key, bin(packed), lease).await?;
        let known = self.lease.is_of(node);
        let args = vec![
            text(node.to_string()),
            Value::Integer(lease),
            Value::from_static_str(if known { "1" } else { "0" }),
            int(DEAD_TOLD),
        ];
        let named = vec![Key::from(keys::nodes(self.prefix()))];
        let answer = self.ask(&self.scripts.beat, named, args).await?;
        let next_death = super::number(&answer, 2).ok().map(Duration::from_millis);
        let living = super::number(&answer, 3)? as usize;
        let nodes = answer.get(4..).unwrap_or_default();
        let (living, dead) = nodes.split_at(living.min(nodes.len()));
        let parsed = |value: &Value| NodeId::parse(&value.as_str()?);
        let dead: Vec<NodeId> = dead.iter().filter_map(parsed).collect();
        self.dead.lock().clone_from(&dead);
        let reports = self.reports(living).await?;
        let all_read = reports.iter().map(|report| report.reads).min();
        let version = all_read.unwrap_or(envelope::OLDEST);
        self.version.store(
            version.clamp(envelope::OLDEST, envelope::NEWEST),
            Ordering::Relaxed,
        );
        Ok(Beat {
            reports,
            dead,
            next_death,
            lost: answer[1].as_str().as_deref() == Some("1"),
        })
    }
}

#[async_trait]
impl Cluster for Redis {
    fn is_shared(&self) -> bool {
        true
    }

    async fn beat(&self, node: NodeId, report: &NodeReport) -> Result<Beat, Error> {
        let asked = Instant::now();
        let beat = self.say_alive(node, report).await;
        let until = asked + self.config.lease;
        match &beat {
            Ok(_) => self.lease.renew(node, until),
            Err(_) => self.lease.excuse(until),
        }
        beat
    }

    async fn depart(&self, node: NodeId, within: Duration) -> Result<(), Error> {
        let named = vec![Key::from(keys::nodes(self.prefix()))];
        let args = vec![text(node.to_string()), int(within.as_millis() as u64)];
        self.ask(&self.scripts.depart, named, args).await?;
        self.del(keys::node(self.prefix(), &node.to_string())).await
    }

    async fn hold(&self, node: NodeId, rooms: &[Room]) -> Result<(), Error> {
        self.lease.check()?;
        let holdings = keys::holdings(self.prefix(), &node.to_string());
        let names: Vec<String> = rooms.iter().map(Room::to_string).collect();
        let key = Key::from(holdings);
        let held = self.shards.ask(&key, |shard| {
            let (key, names) = (key.clone(), names.clone());
            async move { shard.commands.sadd(key, names).await }
        });
        held.await
    }

    async fn release(&self, node: NodeId, room: &Room) {
        let holdings = keys::holdings(self.prefix(), &node.to_string());
        // One too many costs whoever reaps this node a look.
        if let Err(error) = self.srem(holdings, text(room.to_string())).await {
            tracing::debug!(%room, %error, "a room could not be released");
        }
    }

    async fn holdings(&self, node: NodeId) -> Result<Vec<Room>, Error> {
        let holdings = keys::holdings(self.prefix(), &node.to_string());
        let mut rooms = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let page = self
                .run(
                    &self.scripts.holdings,
                    vec![Key::from(holdings.as_str())],
                    vec![text(cursor), int(PAGE)],
                )
                .await?;
            let mut names = page.into_iter().map(bytes);
            let next = names.next().unwrap_or_default();
            let utf8 = |name: Bytes| String::from_utf8(name.to_vec()).ok();
            rooms.extend(names.filter_map(utf8).filter_map(|name| Room::parse(&name)));
            cursor = String::from_utf8_lossy(&next).into_owned();
            if cursor == "0" || cursor.is_empty() {
                return Ok(rooms);
            }
        }
    }

    async fn held(&self, node: NodeId, room: &Room, from: Option<String>) -> Result<Held, Error> {
        let args = vec![
            bin(node.to_bytes().to_vec()),
            text(from.unwrap_or_else(|| "0".to_owned())),
            int(PAGE),
        ];
        let named = vec![self.keys(room).members()];
        let page = self.run(&self.scripts.held, named, args).await?;
        let mut page = page.into_iter().map(bytes);
        let next = page.next().unwrap_or_default();
        let mut held = Held {
            next: Some(String::from_utf8_lossy(&next).into_owned())
                .filter(|next| next != "0" && !next.is_empty()),
            ..Held::default()
        };
        while let (Some(socket), Some(record)) = (page.next(), page.next()) {
            held.members
                .extend(SocketId::from_bytes(&socket).map(|socket| (socket, record)));
        }
        Ok(held)
    }

    async fn headcount(&self, room: &Room) -> Result<u64, Error> {
        let key = self.keys(room).users();
        let count = self.shards.ask(&key, |shard| {
            let key = key.clone();
            async move { shard.commands.hlen(key).await }
        });
        count.await
    }

    async fn claim(&self, dead: NodeId, by: NodeId, time: Duration) -> Result<bool, Error> {
        let named = vec![Key::from(keys::claim(self.prefix(), &dead.to_string()))];
        let args = vec![text(by.to_string()), int(time.as_millis() as u64)];
        let answer = self.ask(&self.scripts.claim, named, args).await?;
        Ok(answer.first().and_then(Value::as_str).as_deref() == Some("yes"))
    }

    async fn forget(&self, dead: NodeId) -> Result<(), Error> {
        let dead = dead.to_string();
        // The list of nodes last: a reaper that dies midway is followed by another.
        for key in [
            keys::holdings(self.prefix(), &dead),
            keys::node(self.prefix(), &dead),
        ] {
            self.del(key).await?;
        }
        self.hdel(keys::counters(self.prefix()), dead.as_str())
            .await?;
        let named = vec![Key::from(keys::nodes(self.prefix()))];
        let args = vec![text(dead.as_str())];
        self.ask(&self.scripts.forget, named, args).await?;
        self.del(keys::claim(self.prefix(), &dead)).await
    }

    async fn count(&self, node: NodeId, added: Counters, now: Counters) -> Result<Counters, Error> {
        let named = vec![Key::from(keys::counters(self.prefix()))];
        let args = vec![
            text(node.to_string()),
            int(added.opened),
            int(added.routed),
            int(now.opened),
            int(now.routed),
        ];
        let answer = self.ask(&self.scripts.count, named, args).await?;
        Ok(Counters {
            opened: super::number(&answer, 1)?,
            routed: super::number(&answer, 2)?,
        })
    }

    async fn admit(&self, user: &UserId, socket: SocketId, most: u64) -> Result<(), Error> {
        self.lease.check()?;
        let places = vec![Key::from(keys::places(self.prefix(), user))];
        let mut args = vec![bin(socket.to_bytes().to_vec()), int(most)];
        args.extend(
            self.dead
                .lock()
                .iter()
                .map(|node| bin(node.to_bytes().to_vec())),
        );
        let answer = self.ask(&self.scripts.admit, places, args).await?;
        match answer.first().and_then(Value::as_str).as_deref() {
            Some("full") => Err(Error::Full),
            _ => Ok(()),
        }
    }

    async fn dismiss(&self, user: &UserId, socket: SocketId) -> Result<(), Error> {
        let places = keys::places(self.prefix(), user);
        self.srem(places, bin(socket.to_bytes().to_vec())).await
    }

    async fn vacate(&self, user: &UserId, node: NodeId) -> Result<(), Error> {
        let places = vec![Key::from(keys::places(self.prefix(), user))];
        let args = vec![bin(node.to_bytes().to_vec())];
        self.ask(&self.scripts.vacate, places, args).await?;
        Ok(())
    }

    async fn revoke(&self, token: &str, time: Duration) -> Result<(), Error> {
        let key = Key::from(keys::revoked(self.prefix(), token));
        let time = time.as_millis().max(1) as i64;
        self.set(key, Value::from_static_str("1"), time).await
    }

    async fn is_revoked(&self, token: &str) -> Result<bool, Error> {
        let key = Key::from(keys::revoked(self.prefix(), token));
        let found = self.shards.ask(&key, |shard| {
            let key = key.clone();
            async move { shard.commands.exists(key).await }
        });
        let found: u64 = found.await?;
        Ok(found > 0)
    }

    async fn secret(&self, known: Option<&str>) -> Result<String, Error> {
        let key = Key::from(keys::secret(self.prefix()));
        let read = async || -> Result<Option<String>, Error> {
            let found = self.shards.ask(&key, |shard| {
                let key = key.clone();
                async move { shard.commands.get(key).await }
            });
            found.await
        };
        if let Some(secret) = read().await? {
            return Ok(secret);
        }
        let offered = known.map_or_else(new_secret, str::to_owned);
        let set = self.shards.ask(&key, |shard| {
            let (key, offered) = (key.clone(), offered.clone());
            let first = Some(SetOptions::NX);
            async move { shard.commands.set(key, offered, None, first, false).await }
        });
        let _: Option<String> = set.await?;
        let secret = read().await?;
        secret.ok_or_else(|| Error::Unavailable("the nodes' secret does not stay".to_owned()))
    }
}
