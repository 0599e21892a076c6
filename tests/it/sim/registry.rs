//! What the simulated nodes know of each other: leases by the simulated time, holdings, claims, places.
//!
//! The same rules as the scripts of the Redis backplane, without a server.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use collabd::backplane::{Beat, Error, NodeReport};
use collabd::ids::{NodeId, Room, SocketId, UserId};
use parking_lot::Mutex;
use tokio::time::Instant;

pub struct Registry {
    lease: Duration,
    state: Mutex<State>,
}

/// Everything the nodes wrote down, at one instant.
#[derive(Default, Clone)]
pub struct State {
    nodes: HashMap<NodeId, Lease>,
    holdings: HashMap<NodeId, HashSet<Room>>,
    claims: HashMap<NodeId, (NodeId, Instant)>,
    places: HashMap<UserId, HashSet<SocketId>>,
}

#[derive(Clone)]
struct Lease {
    until: Instant,
    /// `None`: it has said goodbye.
    report: Option<NodeReport>,
}

impl Registry {
    pub fn new(lease: Duration) -> Self {
        Self {
            lease,
            state: Mutex::default(),
        }
    }

    pub fn image(&self) -> State {
        self.state.lock().clone()
    }

    /// Forgets what was written down since.
    pub fn restore(&self, image: State) {
        *self.state.lock() = image;
    }

    /// `known`: the node has said before that it lives.
    pub fn beat(&self, node: NodeId, report: &NodeReport, known: bool) -> Beat {
        let now = Instant::now();
        let mut state = self.state.lock();
        let before = state.nodes.get(&node);
        let lost = known && before.is_none_or(|lease| lease.until < now);
        let lease = Lease {
            until: now + self.lease,
            report: Some(report.clone()),
        };
        state.nodes.insert(node, lease);
        let (living, dead): (Vec<_>, Vec<_>) = state
            .nodes
            .iter()
            .partition(|(_, lease)| lease.until >= now);
        let others = living.iter().filter(|(other, _)| **other != node);
        Beat {
            next_death: others.map(|(_, lease)| lease.until - now).min(),
            reports: living
                .iter()
                .filter_map(|(_, lease)| lease.report.clone())
                .collect(),
            dead: dead.iter().map(|(node, _)| **node).collect(),
            lost,
        }
    }

    pub fn depart(&self, node: NodeId, within: Duration) {
        if let Some(lease) = self.state.lock().nodes.get_mut(&node) {
            lease.until = Instant::now() + within;
            lease.report = None;
        }
    }

    pub fn hold(&self, node: NodeId, rooms: &[Room]) {
        let mut state = self.state.lock();
        let held = state.holdings.entry(node).or_default();
        held.extend(rooms.iter().cloned());
    }

    pub fn release(&self, node: NodeId, room: &Room) {
        if let Some(held) = self.state.lock().holdings.get_mut(&node) {
            held.remove(room);
        }
    }

    pub fn holdings(&self, node: NodeId) -> Vec<Room> {
        let state = self.state.lock();
        let held = state.holdings.get(&node);
        held.into_iter().flatten().cloned().collect()
    }

    pub fn claim(&self, dead: NodeId, by: NodeId, time: Duration) -> bool {
        let now = Instant::now();
        let mut state = self.state.lock();
        let holder = state.claims.get(&dead).filter(|(_, until)| *until > now);
        if holder.is_some_and(|(holder, _)| *holder != by) {
            return false;
        }
        if time.is_zero() {
            state.claims.remove(&dead);
        } else {
            state.claims.insert(dead, (by, now + time));
        }
        true
    }

    pub fn forget(&self, dead: NodeId) {
        let mut state = self.state.lock();
        state.holdings.remove(&dead);
        state.nodes.remove(&dead);
        state.claims.remove(&dead);
    }

    /// `dead` is whom the asking node was told to be dead.
    pub fn admit(
        &self,
        user: &UserId,
        socket: SocketId,
        most: u64,
        dead: &[NodeId],
    ) -> Result<(), Error> {
        let mut state = self.state.lock();
        let places = state.places.entry(user.clone()).or_default();
        if places.contains(&socket) {
            return Ok(());
        }
        if places.len() as u64 >= most {
            places.retain(|socket| !dead.iter().any(|node| socket.is_of(*node)));
        }
        if places.len() as u64 >= most {
            return Err(Error::Full);
        }
        places.insert(socket);
        Ok(())
    }

    pub fn dismiss(&self, user: &UserId, socket: SocketId) {
        self.free(user, |taken| taken == socket);
    }

    pub fn vacate(&self, user: &UserId, node: NodeId) {
        self.free(user, |taken| taken.is_of(node));
    }

    /// Every place that is taken.
    pub fn places(&self) -> HashSet<SocketId> {
        let state = self.state.lock();
        state.places.values().flatten().copied().collect()
    }

    fn free(&self, user: &UserId, is_free: impl Fn(SocketId) -> bool) {
        if let Some(places) = self.state.lock().places.get_mut(user) {
            places.retain(|socket| !is_free(*socket));
        }
    }
}
