//! The cluster as this node last heard of it.

use hyper::StatusCode;
use serde_json::json;

use super::Api;
use super::health::NOT_CONFIGURED;
use crate::backplane::Link;
use crate::clock::rfc3339;
use crate::http::{Answer, json as answer};

impl Api {
    pub(super) fn status(&self) -> Answer {
        let totals = self.node.totals();
        let cluster = totals.cluster();
        let nodes: Vec<_> = cluster
            .reports
            .iter()
            .map(|report| {
                json!({
                    "node_id": report.node,
                    "name": report.name,
                    "version": report.version,
                    "connections": report.sockets,
                    "rooms": report.rooms,
                    "started_at": rfc3339(report.started_at),
                    "draining": report.draining,
                    "address": report.address,
                })
            })
            .collect();
        let redis = match (self.node.backplane_kind(), self.node.link()) {
            ("redis", Link::Up) => "healthy",
            ("redis", _) => "unhealthy",
            _ => NOT_CONFIGURED,
        };
        let rooms: u64 = cluster.reports.iter().map(|report| report.rooms).sum();
        let mut body = json!({
            "service": self.config.service,
            "version": env!("CARGO_PKG_VERSION"),
            "environment": self.config.environment,
            "node_id": self.node.id().to_string(),
            "uptime_s": (self.node.clock().now() - totals.started_at()) / 1_000,
            "nodes": nodes,
            "connections": cluster.sockets,
            "rooms": rooms,
            "redis": redis,
            "database": self.database(),
        });
        if cluster.stale {
            body["stale"] = true.into();
        }
        answer(StatusCode::OK, &body)
    }
}
