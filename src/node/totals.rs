//! How much the whole cluster carries, as last known.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use parking_lot::Mutex;

use super::Node;
use crate::backplane::{Beat, Counters, ENVELOPE_VERSION, Link, NodeReport};
use crate::clock::Millis;
use crate::dialects::Dialect;
use crate::ids::NodeId;
use crate::telemetry::metrics::{Observation, metrics};

#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// Every living node's last report.
    pub reports: Vec<NodeReport>,
    pub nodes: usize,
    pub sockets: u64,
    /// Users by node, added up: someone on two nodes counts twice.
    pub users: u64,
    /// What was ever counted.
    pub ever: Counters,
    /// True when the backplane was away at the last look.
    pub stale: bool,
    /// The same of what was ever counted.
    pub uncounted: bool,
}

impl Cluster {
    fn add_up(&mut self) {
        let reports = &self.reports;
        self.nodes = reports.len();
        self.sockets = reports.iter().map(|report| report.sockets).sum();
        self.users = reports.iter().map(|report| report.users).sum();
    }
}

pub struct Totals {
    started_at: Millis,
    cluster: Mutex<Cluster>,
    /// How much of what this node counted is known to be in what was ever counted.
    added: tokio::sync::Mutex<Counters>,
}

impl Node {
    /// The cluster as last known, and this node as it is now.
    pub fn cluster(&self) -> Cluster {
        let mut cluster = self.totals.cluster();
        let report = self.own_report();
        let reports = &mut cluster.reports;
        match reports.iter_mut().find(|known| known.node == report.node) {
            Some(known) => {
                let users = known.users;
                *known = NodeReport { users, ..report };
            }
            // It has not been heard yet.
            None => reports.push(report),
        }
        cluster.add_up();
        cluster.stale |= self.link() != Link::Up;
        cluster
    }

    /// All but the users, who are counted one by one.
    fn own_report(&self) -> NodeReport {
        let census = self.hub.census();
        let doors = Dialect::ALL.map(|dialect| {
            let sockets = census[usize::from(dialect.tongue())];
            (dialect.door().to_owned(), sockets)
        });
        NodeReport {
            node: self.id().to_string(),
            name: self.config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sockets: doors.iter().map(|(_, sockets)| sockets).sum(),
            doors: doors.into(),
            users: 0,
            rooms: self.hub.room_count() as u64,
            routed: metrics().routed_so_far(),
            started_at: self.totals.started_at,
            draining: self.is_draining(),
            reads: ENVELOPE_VERSION,
            address: self.config.address.clone(),
        }
    }
}

impl Totals {
    pub fn new(started_at: Millis) -> Self {
        Self {
            started_at,
            cluster: Mutex::default(),
            added: tokio::sync::Mutex::default(),
        }
    }

    pub fn started_at(&self) -> Millis {
        self.started_at
    }

    pub fn cluster(&self) -> Cluster {
        self.cluster.lock().clone()
    }

    /// Whether it lived at the last look.
    pub(super) fn knows(&self, node: NodeId) -> bool {
        let node = node.to_string();
        let reports = &self.cluster.lock().reports;
        reports.iter().any(|report| report.node == node)
    }

    pub(super) fn address_of(&self, node: NodeId) -> Option<String> {
        let node = node.to_string();
        let cluster = self.cluster.lock();
        let mut reports = cluster.reports.iter();
        let report = reports.find(|report| report.node == node)?;
        report.address.clone()
    }

    /// Whether a node is reached at that address.
    pub fn is_node(&self, address: IpAddr) -> bool {
        let cluster = self.cluster.lock();
        let mut said = cluster
            .reports
            .iter()
            .filter_map(|report| report.address.as_ref());
        said.any(|said| said.parse().is_ok_and(|at: SocketAddr| at.ip() == address))
    }

    /// The nodes that live, as they were last heard.
    pub(super) fn living(&self) -> HashSet<String> {
        let reports = &self.cluster.lock().reports;
        reports.iter().map(|report| report.node.clone()).collect()
    }

    /// Whether some other node is there and not about to leave itself.
    pub(super) fn others_stay(&self, node: NodeId) -> bool {
        let node = node.to_string();
        let reports = &self.cluster.lock().reports;
        reports
            .iter()
            .any(|report| report.node != node && !report.draining)
    }

    /// Whether no other living node comes before this one: so that one of them does what needs to be done once.
    pub(super) fn is_first(&self, node: NodeId) -> bool {
        let node = node.to_string();
        let reports = &self.cluster.lock().reports;
        reports.iter().all(|report| report.node >= node)
    }

    /// Reports this node and takes in the others' reports; `None` when the backplane is away.
    pub(super) async fn beat(&self, node: &Node) -> Option<Beat> {
        let sockets = node.hub.sockets();
        let users: HashSet<_> = sockets.iter().map(|socket| &socket.user).collect();
        let report = NodeReport {
            users: users.len() as u64,
            ..node.own_report()
        };
        let beat = node.backplane.beat(node.id(), &report).await;
        let mut cluster = self.cluster.lock();
        match &beat {
            Ok(beat) => {
                cluster.reports.clone_from(&beat.reports);
                cluster.stale = false;
                cluster.add_up();
            }
            Err(error) => {
                tracing::debug!(%error, "no totals of the cluster now");
                cluster.stale = true;
            }
        }
        metrics().observe(&Observation {
            rooms: node.hub.room_count(),
            subscriptions: node.listening.count(),
            outbox_bytes: sockets.iter().map(|socket| socket.waiting()).sum(),
            cluster_nodes: cluster.nodes,
        });
        beat.ok()
    }

    /// Whether [`Totals::count`] is under way.
    pub(super) fn is_counting(&self) -> bool {
        self.added.try_lock().is_err()
    }

    /// Adds what this node counted to what was ever counted, and takes that in.
    pub(super) async fn count(&self, node: &Node) {
        let mut added = self.added.lock().await;
        let by_now = node.roster.tally.by_now();
        let counted = node.backplane.count(node.id(), *added, by_now).await;
        let mut cluster = self.cluster.lock();
        cluster.uncounted = counted.is_err();
        match counted {
            Ok(ever) => {
                *added = by_now;
                cluster.ever = ever;
            }
            Err(error) => tracing::debug!(%error, "no totals of all times now"),
        }
    }
}
