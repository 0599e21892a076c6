//! Whether the node lives, is ready, and what it carries.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use crate::backplane::Link;
use crate::http::{Answer, json as answer};

pub(super) const NOT_CONFIGURED: &str = "not configured";
const DEAF: &str = "redis takes commands, but this node hears nothing of what is published";

/// Of the whole cluster as last known.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(super) struct HealthOut {
    /// Always `healthy`: who answers is.
    status: &'static str,
    /// Of this node, in seconds.
    #[schema(minimum = 0)]
    uptime: i64,
    /// Users here now, at all doors; who is on two nodes counts twice.
    active_users: u64,
    /// Sockets opened since the beginning.
    total_connections: u64,
    /// Events routed since the beginning.
    total_events_routed: u64,
    node_id: String,
    version: &'static str,
    /// True: these are not of now, because Redis is away; left out otherwise.
    #[serde(skip_serializing_if = "is_false")]
    stale: bool,
}

/// How a part of the node is.
#[derive(Serialize, ToSchema)]
#[schema(as = Part)]
pub(super) struct PartOut {
    /// `healthy`, `unhealthy` or `not configured`; of the node itself `ready`, `draining`, `starting` or `deaf`.
    status: &'static str,
    /// A sentence, or empty.
    detail: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Sockets)]
pub(super) struct SocketsOut {
    /// Always `healthy`.
    status: &'static str,
    /// Sockets of this node.
    connections: usize,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Word)]
pub(super) struct WordOut {
    /// `alive`, `ready` or `draining`.
    status: &'static str,
}

/// What this is.
#[derive(Serialize, ToSchema)]
#[schema(as = ServiceCard)]
pub(super) struct CardOut<'a> {
    service: &'a str,
    version: &'static str,
    environment: &'a str,
    node_id: String,
    /// `redis` or `memory`.
    backplane: &'static str,
    /// Paths by what is there.
    links: BTreeMap<&'static str, &'static str>,
}

/// Where to go from here.
const LINKS: [(&str, &str); 20] = [
    (
        "pairing",
        "/api/v1/ws/session/{session_id}?user_id=&username=",
    ),
    ("pairing_page", "/pairing.html"),
    ("playground", "/playground"),
    ("yjs", "/yjs/{session_id}?user_id=&username="),
    ("code_rooms", "/socket.io/"),
    (
        "courier",
        "/socket.io/?user_id=&backend_url=&display_name= or /?user_id=",
    ),
    ("users_online", "/api/users/online"),
    ("accounts", "/api/auth/register, /api/auth/login"),
    ("recorded_sessions", "/api/sessions"),
    ("review", "/ws/session/{session_id}?token="),
    ("teams", "/api/teams, /api/insights, /api/analytics/team"),
    ("session_state", "/api/v1/session/{session_id}/state"),
    ("status", "/status"),
    ("connections", "/connections"),
    ("stats", "/ws/stats"),
    ("health", "/health"),
    ("ready", "/readyz"),
    ("docs", "/api/docs/"),
    ("openapi", "/api/openapi.json"),
    ("asyncapi", "/api/asyncapi.json"),
];

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
pub(super) fn is_false(said: &bool) -> bool {
    !*said
}

fn part_out(code: StatusCode, status: &'static str, detail: &'static str) -> Answer {
    answer(code, &PartOut { status, detail })
}

impl Api {
    /// Totals of the cluster as last known: users now, sockets and events of all times.
    pub(super) fn health(&self) -> Answer {
        let totals = self.node.totals();
        let cluster = totals.cluster();
        let uptime = (self.node.clock().now() - totals.started_at()) / 1_000;
        let body = HealthOut {
            status: "healthy",
            uptime,
            active_users: cluster.users,
            total_connections: cluster.ever.opened,
            total_events_routed: cluster.ever.routed,
            node_id: self.node.id().to_string(),
            version: env!("CARGO_PKG_VERSION"),
            stale: cluster.stale || cluster.uncounted || self.node.link() != Link::Up,
        };
        answer(StatusCode::OK, &body)
    }

    /// Redis in a word.
    pub(super) fn redis(&self) -> &'static str {
        match self.node.link() {
            _ if self.node.backplane_kind() != "redis" => NOT_CONFIGURED,
            Link::Up if self.node.hears() => "healthy",
            _ => "unhealthy",
        }
    }

    pub(super) fn health_redis(&self) -> Answer {
        if self.node.backplane_kind() != "redis" {
            return part_out(StatusCode::OK, NOT_CONFIGURED, "this node works alone");
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
        part_out(code, status, detail)
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
        part_out(code, status, detail)
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
        let body = SocketsOut {
            status: "healthy",
            connections: self.node.socket_count(),
        };
        answer(StatusCode::OK, &body)
    }

    /// The process answers: no more than that.
    pub(super) fn alive(&self) -> Answer {
        answer(StatusCode::OK, &WordOut { status: "alive" })
    }

    /// Ready from the first word to the backplane until the node stops; also while it is away
    /// later, because sockets stay and cursors move. Not while it is there and this node alone hears nothing of
    /// it: others do better.
    pub(super) fn ready(&self) -> Answer {
        let (code, status, detail) = if self.node.is_draining() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining", "")
        } else if self.is_starting() {
            let detail = "the backplane has not been reached since the start";
            (StatusCode::SERVICE_UNAVAILABLE, "starting", detail)
        } else if !self.node.hears() {
            (StatusCode::SERVICE_UNAVAILABLE, "deaf", DEAF)
        } else {
            (StatusCode::OK, "ready", "")
        };
        part_out(code, status, detail)
    }

    /// Nobody can be let in: the backplane does not know this node yet.
    fn is_starting(&self) -> bool {
        self.node.link() == Link::Never || !self.node.is_leased()
    }

    /// For balancers that take a node out on 404, and do not take one in before it is ready.
    pub(super) fn balancer(&self) -> Answer {
        let (code, status) = if self.node.is_draining() {
            (StatusCode::NOT_FOUND, "draining")
        } else if self.is_starting() {
            (StatusCode::SERVICE_UNAVAILABLE, "starting")
        } else {
            (StatusCode::OK, "ready")
        };
        answer(code, &WordOut { status })
    }

    /// What this is and where to go from here.
    pub(super) fn card(&self) -> Answer {
        let body = CardOut {
            service: &self.config.service,
            version: env!("CARGO_PKG_VERSION"),
            environment: &self.config.environment,
            node_id: self.node.id().to_string(),
            backplane: self.node.backplane_kind(),
            links: LINKS.into_iter().collect(),
        };
        answer(StatusCode::OK, &body)
    }
}
