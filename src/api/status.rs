//! The cluster as this node last heard of it.

use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::health::is_false;
use crate::clock::rfc3339;
use crate::http::{Answer, json as answer};

#[derive(Serialize, ToSchema)]
#[schema(as = Status)]
pub(super) struct StatusOut<'a> {
    service: &'a str,
    version: &'static str,
    environment: &'a str,
    /// Of the node that answers.
    node_id: String,
    /// Seconds that it lives.
    #[schema(minimum = 0)]
    uptime_s: i64,
    nodes: Vec<NodeOut<'a>>,
    /// Sockets open now, on all nodes.
    connections: u64,
    /// Rooms with sockets, of each node.
    rooms: u64,
    /// `healthy`, `unhealthy` or `not configured`.
    redis: &'static str,
    /// The same.
    database: &'static str,
    /// True: the nodes are those last known, because Redis is away; left out otherwise.
    #[serde(skip_serializing_if = "is_false")]
    stale: bool,
}

/// A node as it last told of itself.
#[derive(Serialize, ToSchema)]
#[schema(as = Node)]
pub(super) struct NodeOut<'a> {
    node_id: &'a str,
    name: &'a str,
    version: &'a str,
    connections: u64,
    rooms: u64,
    #[schema(format = DateTime)]
    started_at: String,
    draining: bool,
    /// Where other nodes reach it; null: nowhere.
    address: Option<&'a str>,
}

impl Api {
    pub(super) fn status(&self) -> Answer {
        let cluster = self.node.cluster();
        let nodes: Vec<_> = cluster
            .reports
            .iter()
            .map(|report| NodeOut {
                node_id: &report.node,
                name: &report.name,
                version: &report.version,
                connections: report.sockets,
                rooms: report.rooms,
                started_at: rfc3339(report.started_at),
                draining: report.draining,
                address: report.address.as_deref(),
            })
            .collect();
        let age = self.node.clock().now() - self.node.totals().started_at();
        let rooms: u64 = cluster.reports.iter().map(|report| report.rooms).sum();
        let body = StatusOut {
            service: &self.config.service,
            version: env!("CARGO_PKG_VERSION"),
            environment: &self.config.environment,
            node_id: self.node.id().to_string(),
            uptime_s: age / 1_000,
            nodes,
            connections: cluster.sockets,
            rooms,
            redis: self.redis(),
            database: self.database(),
            stale: cluster.stale,
        };
        answer(StatusCode::OK, &body)
    }
}
