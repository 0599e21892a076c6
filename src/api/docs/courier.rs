//! The courier, as operations.

#![expect(dead_code, reason = "functions for the macros to name operations by")]

use utoipa::OpenApi;

use crate::api::courier::{CardBody, CardOut, OnlineOut};

#[derive(OpenApi)]
#[openapi(paths(users_online, register_card))]
pub(super) struct Area;

/// Users with a courier, in the order of their ids.
#[utoipa::path(get, path = "/api/users/online",
    params(
        ("limit" = inline(Option<u32>), Query, minimum = 1, maximum = 1000, description = "Users of a page; 1,000 where it is not said."),
        ("cursor" = inline(Option<String>), Query, max_length = 128, description = "`next_cursor` of the page before."),
    ),
    responses((status = 200, body = OnlineOut)),
    extensions(("x-problems" = json!(["backplane_unavailable"]))))]
fn users_online() {}

/// Notes name and backend of a user who may come without saying them.
///
/// Makes nobody present. With tokens for one's own id; for any by services.
#[utoipa::path(post, path = "/api/register", request_body = CardBody, responses((status = 200, body = CardOut)),
    extensions(("x-problems" = json!(["forbidden", "backplane_unavailable"]))))]
fn register_card() {}
