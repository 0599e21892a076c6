//! Whether the node lives, is ready, and what it carries.

use hyper::StatusCode;
use serde_json::json;

use super::Api;
use crate::backplane::Link;
use crate::http::{Answer, html, json as answer};

pub(super) const NOT_CONFIGURED: &str = "not configured";
const DEAF: &str = "redis takes commands, but this node hears nothing of what is published";

impl Api {
    /// Totals of the cluster as last known: users now, sockets and events of all times.
    pub(super) fn health(&self) -> Answer {
        let totals = self.node.totals();
        let cluster = totals.cluster();
        let uptime = (self.node.clock().now() - totals.started_at()) / 1_000;
        let mut body = json!({
            "status": "healthy",
            "uptime": uptime,
            "active_users": cluster.users,
            "total_connections": cluster.ever.opened,
            "total_events_routed": cluster.ever.routed,
            "node_id": self.node.id().to_string(),
            "version": env!("CARGO_PKG_VERSION"),
        });
        if cluster.stale || cluster.uncounted || self.node.link() != Link::Up {
            body["stale"] = true.into();
        }
        answer(StatusCode::OK, &body)
    }

    pub(super) fn health_redis(&self) -> Answer {
        if self.node.backplane_kind() != "redis" {
            let body = json!({"status": NOT_CONFIGURED, "detail": "this node works alone"});
            return answer(StatusCode::OK, &body);
        }
        let (code, status, detail) = match self.node.link() {
            _ if !self.node.hears() => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy", DEAF),
            Link::Up => (StatusCode::OK, "healthy", "commands and listening work"),
            Link::Away => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unhealthy",
                "redis is away",
            ),
            Link::Never => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unhealthy",
                "redis has not been reached since the start",
            ),
        };
        answer(code, &json!({"status": status, "detail": detail}))
    }

    pub(super) fn health_database(&self) -> Answer {
        let (code, status, detail) = match self.node.records() {
            None => (
                StatusCode::OK,
                NOT_CONFIGURED,
                "nothing is kept beyond sessions",
            ),
            Some(records) if records.is_up() => (StatusCode::OK, "healthy", "statements work"),
            Some(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unhealthy",
                "the database does not answer, or its tables are not made yet",
            ),
        };
        answer(code, &json!({"status": status, "detail": detail}))
    }

    /// The database in a word.
    pub(super) fn database(&self) -> &'static str {
        match self.node.records() {
            None => NOT_CONFIGURED,
            Some(records) if records.is_up() => "healthy",
            Some(_) => "unhealthy",
        }
    }

    /// This node's sockets.
    pub(super) fn socket_health(&self) -> Answer {
        let body = json!({"status": "healthy", "connections": self.node.socket_count()});
        answer(StatusCode::OK, &body)
    }

    /// The process answers: no more than that.
    pub(super) fn alive(&self) -> Answer {
        answer(StatusCode::OK, &json!({"status": "alive"}))
    }

    /// Ready from the first word to the backplane until the node stops; also while it is away
    /// later, because sockets stay and cursors move. Not while it is there and this node alone hears nothing of
    /// it: others do better.
    pub(super) fn ready(&self) -> Answer {
        let (code, status, detail) = if self.node.is_draining() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining", "")
        } else if self.node.link() == Link::Never || !self.node.is_leased() {
            let detail = "the backplane has not been reached since the start";
            (StatusCode::SERVICE_UNAVAILABLE, "starting", detail)
        } else if !self.node.hears() {
            (StatusCode::SERVICE_UNAVAILABLE, "deaf", DEAF)
        } else {
            (StatusCode::OK, "ready", "")
        };
        answer(code, &json!({"status": status, "detail": detail}))
    }

    /// For balancers that take a node out on 404.
    pub(super) fn balancer(&self) -> Answer {
        if self.node.is_draining() {
            answer(StatusCode::NOT_FOUND, &json!({"status": "draining"}))
        } else {
            answer(StatusCode::OK, &json!({"status": "ready"}))
        }
    }

    /// What this is and where to go from here.
    pub(super) fn card(&self, page: bool) -> Answer {
        if page {
            return html(include_str!("pages/card.html"));
        }
        let body = json!({
            "service": self.config.service,
            "version": env!("CARGO_PKG_VERSION"),
            "environment": self.config.environment,
            "node_id": self.node.id().to_string(),
            "backplane": self.node.backplane_kind(),
            "links": {
                "pairing": "/api/v1/ws/session/{session_id}?user_id=&username=",
                "pairing_page": "/pairing.html",
                "code_rooms": "/socket.io/",
                "courier": "/socket.io/?user_id=&backend_url=&display_name= or /?user_id=",
                "users_online": "/api/users/online",
                "accounts": "/api/auth/register, /api/auth/login",
                "recorded_sessions": "/api/sessions",
                "teams": "/api/teams, /api/insights, /api/analytics/team",
                "session_state": "/api/v1/session/{session_id}/state",
                "status": "/status",
                "stats": "/ws/stats",
                "health": "/health",
                "ready": "/readyz",
            },
        });
        answer(StatusCode::OK, &body)
    }
}
