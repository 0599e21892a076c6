//! One node is the whole cluster: nobody else lives, and nobody dies but with everything here.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;
use parking_lot::Mutex;

use super::Memory;
use crate::backplane::cluster::new_secret;
use crate::backplane::{Beat, Cluster, Counters, Error, Held, NodeReport};
use crate::clock::Millis;
use crate::ids::{NodeId, Room, SocketId, UserId};

/// The sockets of each user.
pub(super) type Places = DashMap<UserId, HashSet<SocketId>>;
/// Revoked tokens, and until when that matters.
pub(super) type Revoked = Mutex<HashMap<String, Millis>>;

/// What was ever counted, and how much of it each node added.
#[derive(Default)]
pub(super) struct Counted {
    all: Counters,
    nodes: HashMap<NodeId, Counters>,
}

#[async_trait]
impl Cluster for Memory {
    fn is_shared(&self) -> bool {
        false
    }

    async fn beat(&self, _: NodeId, report: &NodeReport) -> Result<Beat, Error> {
        Ok(Beat {
            reports: vec![report.clone()],
            ..Beat::default()
        })
    }

    async fn depart(&self, _: NodeId, _: Duration) -> Result<(), Error> {
        Ok(())
    }

    async fn hold(&self, _: NodeId, _: &[Room]) -> Result<(), Error> {
        Ok(())
    }

    async fn release(&self, _: NodeId, _: &Room) {}

    async fn holdings(&self, _: NodeId) -> Result<Vec<Room>, Error> {
        Ok(Vec::new())
    }

    async fn held(&self, node: NodeId, room: &Room, _: Option<String>) -> Result<Held, Error> {
        Ok(self.with(room, |stored| {
            let of_node = stored.members.iter().filter(|(id, _)| id.is_of(node));
            Held {
                members: of_node.map(|(id, record)| (*id, record.clone())).collect(),
                next: None,
            }
        }))
    }

    async fn headcount(&self, room: &Room) -> Result<u64, Error> {
        Ok(self.with(room, |stored| stored.users.len() as u64))
    }

    async fn claim(&self, _: NodeId, _: NodeId, _: Duration) -> Result<bool, Error> {
        Ok(true)
    }

    async fn forget(&self, dead: NodeId) -> Result<(), Error> {
        self.counted.lock().nodes.remove(&dead);
        Ok(())
    }

    async fn count(&self, node: NodeId, added: Counters, now: Counters) -> Result<Counters, Error> {
        let mut counted = self.counted.lock();
        let before = *counted.nodes.entry(node).or_insert(added);
        let by_now = Counters {
            opened: now.opened.max(before.opened),
            routed: now.routed.max(before.routed),
        };
        counted.nodes.insert(node, by_now);
        counted.all.opened += by_now.opened - before.opened;
        counted.all.routed += by_now.routed - before.routed;
        Ok(counted.all)
    }

    async fn admit(&self, user: &UserId, socket: SocketId, most: u64) -> Result<(), Error> {
        let mut places = self.places.entry(user.clone()).or_default();
        if !places.contains(&socket) && places.len() as u64 >= most {
            return Err(Error::Full);
        }
        places.insert(socket);
        Ok(())
    }

    async fn dismiss(&self, user: &UserId, socket: SocketId) -> Result<(), Error> {
        self.free(user, |taken| *taken == socket);
        Ok(())
    }

    async fn vacate(&self, user: &UserId, node: NodeId) -> Result<(), Error> {
        self.free(user, |taken| taken.is_of(node));
        Ok(())
    }

    async fn revoke(&self, token: &str, time: Duration) -> Result<(), Error> {
        let now = self.clock.now();
        let mut revoked = self.revoked.lock();
        revoked.retain(|_, until| *until > now);
        revoked.insert(token.to_owned(), now + time.as_millis() as Millis);
        Ok(())
    }

    async fn is_revoked(&self, token: &str) -> Result<bool, Error> {
        let until = self.revoked.lock().get(token).copied();
        Ok(until.is_some_and(|until| until > self.clock.now()))
    }

    async fn secret(&self, known: Option<&str>) -> Result<String, Error> {
        let mut secret = self.secret.lock();
        let made = secret.get_or_insert_with(|| known.map_or_else(new_secret, str::to_owned));
        Ok(made.clone())
    }
}

impl Memory {
    fn free(&self, user: &UserId, is_free: impl Fn(&SocketId) -> bool) {
        if let Slot::Occupied(mut places) = self.places.entry(user.clone()) {
            places.get_mut().retain(|socket| !is_free(socket));
            if places.get().is_empty() {
                places.remove();
            }
        }
    }
}
