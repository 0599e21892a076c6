//! Who has which slots: what a cluster tells of itself, and the table that every command looks into.
//!
//! A server that is no cluster, and the one that Sentinels name, is one shard that has all slots: it costs a
//! command no hash of its key.

use std::collections::HashMap;
use std::sync::Arc;

use fred::types::config::Server;
use fred::types::{Key, Value};
use fred::util::redis_keyslot;

use super::shard::Shard;

pub const SLOTS: usize = 16_384;
/// In the table: nobody has the slot.
const NOBODY: u16 = u16::MAX;

/// What a server of a cluster says.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// First slot, last slot, and the master that has them.
    pub ranges: Vec<(u16, u16, Server)>,
    /// Everyone it knows of who serves slots, replicas too.
    pub servers: Vec<Server>,
}

impl Told {
    /// Reads what `CLUSTER SLOTS` answers; `asked` is the host that did.
    pub fn read(answer: Value, asked: &str) -> Option<Self> {
        let (mut ranges, mut servers) = (Vec::new(), Vec::new());
        for range in array(answer)? {
            let mut parts = array(range)?.into_iter();
            let (first, last) = (slot(&parts.next()?)?, slot(&parts.next()?)?);
            if first > last {
                return None;
            }
            let mut named = parts.map(|block| server(block, asked));
            let master = named.next()??;
            ranges.push((first, last, master.clone()));
            servers.push(master);
            servers.extend(named.flatten());
        }
        servers.sort();
        servers.dedup();
        Some(Self { ranges, servers }).filter(|told| !told.ranges.is_empty())
    }

    /// The masters, each once.
    pub fn masters(&self) -> Vec<&Server> {
        let mut masters: Vec<_> = self.ranges.iter().map(|(_, _, master)| master).collect();
        masters.sort();
        masters.dedup();
        masters
    }
}

fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(parts) => Some(parts),
        _ => None,
    }
}

fn slot(value: &Value) -> Option<u16> {
    let slot = u16::try_from(value.as_i64()?).ok()?;
    (usize::from(slot) < SLOTS).then_some(slot)
}

/// A server as it wants to be called: by its name rather than its address, because certificates hold names.
fn server(block: Value, asked: &str) -> Option<Server> {
    let mut parts = array(block)?.into_iter();
    let host = parts.next()?;
    let port = u16::try_from(parts.next()?.as_i64()?).ok()?;
    let more = parts.nth(1).unwrap_or(Value::Null);
    let more: HashMap<String, String> = more.convert().unwrap_or_default();
    let name = more.get("hostname").filter(|name| !name.is_empty());
    // Null and nothing: the host by which it was asked.
    let host = host.as_str().filter(|host| !host.is_empty());
    let host = match host {
        Some(host) if host.parse::<std::net::IpAddr>().is_err() => host.into_owned(),
        host => name.map_or_else(
            || host.as_deref().unwrap_or(asked).to_owned(),
            String::clone,
        ),
    };
    Some(Server::new(host, port))
}

/// The shards, and which of them has a slot.
pub struct Routes {
    shards: Vec<Arc<Shard>>,
    /// By slot; `None`: the only shard has them all.
    owners: Option<Vec<u16>>,
}

impl Routes {
    pub fn to_the_only(shard: Arc<Shard>) -> Self {
        Self {
            shards: vec![shard],
            owners: None,
        }
    }

    /// Before anybody has told.
    pub fn unknown() -> Self {
        Self {
            shards: Vec::new(),
            owners: Some(vec![NOBODY; SLOTS]),
        }
    }

    /// `shard` finds or makes the shard of a master.
    pub fn of(told: &Told, shard: impl FnMut(&Server) -> Option<Arc<Shard>>) -> Self {
        let shards: Vec<_> = told.masters().into_iter().filter_map(shard).collect();
        let mut owners = vec![NOBODY; SLOTS];
        for (first, last, master) in &told.ranges {
            let mut known = shards.iter();
            let owner = known.position(|shard| shard.server.as_ref() == Some(master));
            let owner = owner.map_or(NOBODY, |at| at as u16);
            owners[usize::from(*first)..=usize::from(*last)].fill(owner);
        }
        Self {
            shards,
            owners: Some(owners),
        }
    }

    pub fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    /// One shard has everything.
    pub fn is_one(&self) -> bool {
        self.owners.is_none()
    }

    pub fn has(&self, shard: &Arc<Shard>) -> bool {
        self.shards.iter().any(|known| Arc::ptr_eq(known, shard))
    }

    /// Whose the key is.
    pub fn at(&self, key: &Key) -> Option<&Arc<Shard>> {
        match &self.owners {
            None => self.shards.first(),
            Some(owners) => self.shards.get(usize::from(*owners.get(hash(key))?)),
        }
    }

    /// Whose the channel is.
    pub fn at_channel(&self, channel: &str) -> Option<&Arc<Shard>> {
        match &self.owners {
            None => self.shards.first(),
            Some(owners) => {
                let slot = usize::from(redis_keyslot(channel.as_bytes()));
                self.shards.get(usize::from(*owners.get(slot)?))
            }
        }
    }

    /// Whether these say the same as the others.
    pub fn agree(&self, others: &Self) -> bool {
        let same = |(ours, theirs): (&Arc<Shard>, &Arc<Shard>)| Arc::ptr_eq(ours, theirs);
        self.owners == others.owners
            && self.shards.len() == others.shards.len()
            && self.shards.iter().zip(&others.shards).all(same)
    }
}

fn hash(key: &Key) -> usize {
    usize::from(key.cluster_hash())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(host: Value, port: i64, more: Vec<Value>) -> Value {
        let id = Value::from_static_str("id");
        Value::Array(vec![host, Value::Integer(port), id, Value::Array(more)])
    }

    fn text(text: &'static str) -> Value {
        Value::from_static_str(text)
    }

    /// Guards the names of servers: one that says nothing of itself, an address with a name beside it, a replica.
    #[test]
    fn servers_are_called_by_their_names() {
        let range = |first, last, mut blocks: Vec<Value>| {
            let mut parts = vec![Value::Integer(first), Value::Integer(last)];
            parts.append(&mut blocks);
            Value::Array(parts)
        };
        let answer = Value::Array(vec![
            range(0, 99, vec![block(Value::Null, 7000, vec![])]),
            range(
                100,
                16_383,
                vec![
                    block(text("10.0.0.1"), 7001, vec![text("hostname"), text("one")]),
                    block(text("10.0.0.2"), 7002, vec![]),
                ],
            ),
        ]);
        let told = Told::read(answer, "asked").expect("it is well said");
        let (first, second) = (Server::new("asked", 7000), Server::new("one", 7001));
        assert_eq!(
            told.ranges,
            [(0, 99, first.clone()), (100, 16_383, second.clone())]
        );
        assert_eq!(told.masters(), [&first, &second]);
        assert_eq!(told.servers, [Server::new("10.0.0.2", 7002), first, second]);
    }

    #[test]
    fn nonsense_is_no_map() {
        assert_eq!(Told::read(Value::Null, "asked"), None);
        assert_eq!(Told::read(Value::Array(vec![]), "asked"), None);
        let backwards = vec![Value::Integer(9), Value::Integer(1)];
        let backwards = Value::Array(vec![Value::Array(backwards)]);
        assert_eq!(Told::read(backwards, "asked"), None);
        let beyond = vec![
            Value::Integer(0),
            Value::Integer(SLOTS as i64),
            block(text("h"), 1, vec![]),
        ];
        let beyond = Value::Array(vec![Value::Array(beyond)]);
        assert_eq!(Told::read(beyond, "asked"), None);
    }
}
