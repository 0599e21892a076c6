//! The courier, as operations.

#![expect(dead_code, reason = "functions for the macros to name operations by")]

use utoipa::OpenApi;
use utoipa::openapi::schema::Object;

use super::shapes;
use crate::api::courier::{CardBody, CardOut, OnlineOut};

#[derive(OpenApi)]
#[openapi(paths(users_online, register_card))]
pub(super) struct Area;

#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct OnlinePage {
    /// Users of the page; 1,000 where it is not said.
    #[param(schema_with = limit, required = false)]
    limit: u32,
    /// `next_cursor` of the page before; empty for the first.
    #[param(schema_with = shapes::cursor, required = false)]
    cursor: String,
}

fn limit() -> Object {
    shapes::at_most(1_000)
}

/// Users with a courier, in the order of their ids.
#[utoipa::path(get, path = "/api/users/online",
    params(OnlinePage),
    responses((status = 200, body = OnlineOut)),
    extensions(("x-problems" = json!(["backplane_unavailable"]))))]
fn users_online() {}

/// Notes name and backend of a user who may come without saying them.
///
/// Makes nobody present. With tokens for one's own id; for any by services.
#[utoipa::path(post, path = "/api/register", request_body = CardBody, responses((status = 200, body = CardOut)),
    extensions(("x-problems" = json!(["forbidden", "backplane_unavailable"]))))]
fn register_card() {}
