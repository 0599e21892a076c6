//! Health, status, numbers and the service card, as operations.

#![expect(dead_code, reason = "functions for the macros to name operations by")]

use utoipa::OpenApi;
use utoipa::openapi::schema::Object;

use super::shapes;
use crate::api::connections::ConnectionsOut;
use crate::api::health::{CardOut, HealthOut, PartOut, SocketsOut, WordOut};
use crate::api::stats::StatsOut;
use crate::api::status::StatusOut;

#[derive(OpenApi)]
#[openapi(paths(
    card,
    health,
    health_redis,
    health_database,
    socket_health,
    alive,
    ready,
    balancer,
    status,
    connections,
    stats
))]
pub(super) struct Area;

#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct StatsPage {
    /// Sessions of the page; 100 where it is not said.
    #[param(schema_with = limit, required = false)]
    limit: u32,
    /// `next_cursor` of the page before; empty for the first.
    #[param(schema_with = shapes::cursor, required = false)]
    cursor: String,
}

#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ConnectionsPage {
    /// Sockets of the page, which is only made where this or the cursor is said; 100 where the limit is not.
    #[param(schema_with = limit, required = false)]
    limit: u32,
    /// `next_cursor` of the page before; empty for the first.
    #[param(schema_with = shapes::socket, required = false)]
    cursor: String,
}

fn limit() -> Object {
    shapes::at_most(500)
}

/// What this is, and where to go from here.
///
/// A page for whoever accepts `text/html`. A request that upgrades to a WebSocket is the courier's door.
#[utoipa::path(get, path = "/", security(()),
    responses((status = 200, description = "The card, or a page.",
        content((CardOut = "application/json"), (String = "text/html")))))]
fn card() {}

/// The health of the cluster.
#[utoipa::path(get, path = "/health", security(()), responses((status = 200, body = HealthOut)))]
fn health() {}

/// The connection to Redis.
#[utoipa::path(get, path = "/health/redis", security(()),
    responses((status = 200, body = PartOut), (status = 503, description = "Redis is away, or not heard.", body = PartOut)))]
fn health_redis() {}

/// The connection to the database.
#[utoipa::path(get, path = "/health/database", security(()),
    responses((status = 200, body = PartOut), (status = 503, description = "The database is away.", body = PartOut)))]
fn health_database() {}

/// The sockets of this node.
#[utoipa::path(get, path = "/ws/health", security(()), responses((status = 200, body = SocketsOut)))]
fn socket_health() {}

/// Whether the process answers.
#[utoipa::path(get, path = "/livez", security(()), responses((status = 200, body = WordOut)))]
fn alive() {}

/// Whether the node wants to be sent anybody.
#[utoipa::path(get, path = "/readyz", security(()),
    responses((status = 200, body = PartOut), (status = 503, description = "It starts, leaves, or hears nothing.", body = PartOut)))]
fn ready() {}

/// The same for balancers that take a node out on 404.
#[utoipa::path(get, path = "/lb", security(()),
    responses((status = 200, body = WordOut), (status = 404, description = "It leaves.", body = WordOut),
        (status = 503, description = "It starts.", body = WordOut)))]
fn balancer() {}

/// The cluster and its nodes.
#[utoipa::path(get, path = "/status", responses((status = 200, body = StatusOut)))]
fn status() {}

/// The sockets of the cluster: how many, by node and by door.
///
/// A page of them one by one, in the order of nodes and of their coming, for admins and services who ask for it: the nodes are
/// asked, and one that does not answer is named.
#[utoipa::path(get, path = "/connections", params(ConnectionsPage), responses((status = 200, body = ConnectionsOut)),
    extensions(("x-problems" = json!(["forbidden"]))))]
fn connections() {}

/// How much goes on in the cluster now, each session and user once.
///
/// At most a second old. Admins and services are told of each session, too.
#[utoipa::path(get, path = "/ws/stats", params(StatsPage), responses((status = 200, body = StatsOut)),
    extensions(("x-problems" = json!(["backplane_unavailable"]))))]
fn stats() {}
