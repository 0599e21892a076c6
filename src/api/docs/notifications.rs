//! Notifications, as operations.

#![expect(dead_code, reason = "functions for the macros to name operations by")]

use utoipa::OpenApi;

use super::shapes;
use crate::api::broadcast::{BroadcastBody, NotifiedOut};

#[derive(OpenApi)]
#[openapi(paths(broadcast))]
pub(super) struct Area;

#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
struct Repeats {
    /// The same as `id` in the body, before which it counts.
    #[param(rename = "Idempotency-Key", schema_with = shapes::key, required = false)]
    key: String,
}

/// Notifies sockets wherever they are; for services and admins.
///
/// Every node tells those that are there, once each, at whatever door. What is repeated under the id of the first within
/// IDEMPOTENCY_TTL notifies nobody again and is answered as the first was. Nothing is kept for who is away.
#[utoipa::path(post, path = "/broadcast", params(Repeats), request_body = BroadcastBody,
    responses((status = 202, description = "It is in the log, and on its way.", body = NotifiedOut)),
    extensions(("x-problems" = json!(["forbidden", "backplane_unavailable"]))))]
fn broadcast() {}
