//! Health, status and the service card, as operations.

#![expect(dead_code, reason = "functions for the macros to name operations by")]

use utoipa::OpenApi;

use crate::api::health::{CardOut, HealthOut, PartOut, SocketsOut, WordOut};
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
    status
))]
pub(super) struct Area;

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
    responses((status = 200, body = WordOut), (status = 404, description = "It leaves.", body = WordOut)))]
fn balancer() {}

/// The cluster and its nodes.
#[utoipa::path(get, path = "/status", responses((status = 200, body = StatusOut)))]
fn status() {}
