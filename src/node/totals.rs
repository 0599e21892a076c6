//! How much the whole cluster carries, as last known.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use parking_lot::Mutex;

use super::Node;
use crate::backplane::{Beat, Counters, ENVELOPE_VERSION, NodeReport};
use crate::clock::Millis;
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

pub struct Totals {
    started_at: Millis,
    cluster: Mutex<Cluster>,
    /// How much of what this node counted is known to be in what was ever counted.
    added: tokio::sync::Mutex<Counters>,
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
            node: node.id().to_string(),
            name: node.config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sockets: sockets.len() as u64,
            users: users.len() as u64,
            rooms: node.hub.room_count() as u64,
            routed: metrics().routed_so_far(),
            started_at: self.started_at,
            draining: node.is_draining(),
            reads: ENVELOPE_VERSION,
            address: node.config.address.clone(),
        };
        let beat = node.backplane.beat(node.id(), &report).await;
        let mut cluster = self.cluster.lock();
        match &beat {
            Ok(beat) => {
                let reports = &beat.reports;
                *cluster = Cluster {
                    nodes: reports.len(),
                    sockets: reports.iter().map(|report| report.sockets).sum(),
                    users: reports.iter().map(|report| report.users).sum(),
                    stale: false,
                    reports: reports.clone(),
                    ..std::mem::take(&mut *cluster)
                }
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
