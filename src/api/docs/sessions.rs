//! Sessions as the doors know them, as operations.

#![expect(dead_code, reason = "functions for the macros to name operations by")]

use utoipa::OpenApi;

use crate::api::sessions::{MatchBody, OpenedOut, StateOut};

#[derive(OpenApi)]
#[openapi(paths(create_session, end_session, session_state))]
pub(super) struct Area;

/// Makes a session of a match; for services and admins.
#[utoipa::path(post, path = "/api/v1/session", request_body = MatchBody,
    responses(
        (status = 201, description = "It is made.", body = OpenedOut),
        (status = 200, description = "It was there already.", body = OpenedOut),
    ),
    extensions(("x-problems" = json!(["forbidden", "ended", "backplane_unavailable"]))))]
fn create_session() {}

/// Ends a session for good; for its host, the users it was matched for, services and admins.
#[utoipa::path(delete, path = "/api/v1/session/{session_id}", responses((status = 204, description = "It has ended.")),
    extensions(("x-problems" = json!([
        "forbidden", "not_found", "ended", "records_unavailable", "backplane_unavailable"
    ]))))]
fn end_session() {}

/// A session's text, language and people.
#[utoipa::path(get, path = "/api/v1/session/{session_id}/state", responses((status = 200, body = StateOut)),
    extensions(("x-problems" = json!([
        "forbidden", "not_found", "ended", "records_unavailable", "backplane_unavailable"
    ]))))]
fn session_state() {}
