//! Recorded sessions, as operations.

#![expect(dead_code, reason = "functions for the macros to name operations by")]

use utoipa::OpenApi;

use super::shapes::Page;
use crate::api::recorded::{
    NewBody, PeopleOut, PersonOut, RoleBody, SessionOut, SessionsOut, WishBody,
};

#[derive(OpenApi)]
#[openapi(paths(
    list_recorded,
    create_recorded,
    recorded,
    update_recorded,
    end_recorded,
    participants,
    give_role,
    send_away
))]
pub(super) struct Area;

/// The caller's sessions, and those where the caller has a role; the youngest first.
#[utoipa::path(get, path = "/api/sessions",
    params(Page),
    responses((status = 200, body = SessionsOut)),
    extensions(("x-problems" = json!(["backplane_unavailable"]))))]
fn list_recorded() {}

/// Records a session, whose host is the caller.
#[utoipa::path(post, path = "/api/sessions", request_body = NewBody, responses((status = 201, body = SessionOut)),
    extensions(("x-problems" = json!(["forbidden", "backplane_unavailable"]))))]
fn create_recorded() {}

/// A session, and what the caller is there; for who may attend.
#[utoipa::path(get, path = "/api/sessions/{session_id}", responses((status = 200, body = SessionOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "ended", "backplane_unavailable"]))))]
fn recorded() {}

/// Changes what it is called; for hosts and editors, the default role for hosts.
#[utoipa::path(patch, path = "/api/sessions/{session_id}", request_body = WishBody,
    responses((status = 200, body = SessionOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "ended", "backplane_unavailable"]))))]
fn update_recorded() {}

/// Ends it for good; for hosts.
#[utoipa::path(delete, path = "/api/sessions/{session_id}", responses((status = 204, description = "It has ended.")),
    extensions(("x-problems" = json!(["forbidden", "not_found", "ended", "backplane_unavailable"]))))]
fn end_recorded() {}

/// Its people: the host, then those with a role of their own.
///
/// For who may attend; the banned are shown to the host alone.
#[utoipa::path(get, path = "/api/sessions/{session_id}/participants", responses((status = 200, body = PeopleOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "ended", "backplane_unavailable"]))))]
fn participants() {}

/// Gives somebody a role, which counts for live sockets on every node at once; for hosts.
#[utoipa::path(put, path = "/api/sessions/{session_id}/participants/{user_id}", request_body = RoleBody,
    responses((status = 200, body = PersonOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "ended", "too_many", "backplane_unavailable"]))))]
fn give_role() {}

/// Takes somebody's role and sends them away; they may come again with the default role. For hosts.
#[utoipa::path(delete, path = "/api/sessions/{session_id}/participants/{user_id}",
    responses((status = 204, description = "They are gone.")),
    extensions(("x-problems" = json!(["forbidden", "not_found", "ended", "backplane_unavailable"]))))]
fn send_away() {}
