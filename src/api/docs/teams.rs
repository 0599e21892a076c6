//! Teams, as operations.

#![expect(dead_code, reason = "functions for the macros to name operations by")]

use utoipa::OpenApi;

use super::shapes::Page;
use crate::api::teams::{MateBody, MateOut, MatesOut, TeamBody, TeamOut, TeamPatch, TeamsOut};

#[derive(OpenApi)]
#[openapi(paths(
    list_teams,
    create_team,
    team,
    update_team,
    delete_team,
    team_members,
    put_team_member,
    remove_team_member
))]
pub(super) struct Area;

/// The teams that the caller is in, the youngest first.
#[utoipa::path(get, path = "/api/teams", params(Page), responses((status = 200, body = TeamsOut)),
    extensions(("x-problems" = json!(["forbidden", "backplane_unavailable"]))))]
fn list_teams() {}

/// Makes a team, which the caller owns.
///
/// `too_many`: the caller made, and is in, MAX_TEAMS_PER_USER.
#[utoipa::path(post, path = "/api/teams", request_body = TeamBody, responses((status = 201, body = TeamOut)),
    extensions(("x-problems" = json!(["forbidden", "too_many", "backplane_unavailable"]))))]
fn create_team() {}

/// A team, and what the caller is in it; for members.
#[utoipa::path(get, path = "/api/teams/{team_id}", responses((status = 200, body = TeamOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "backplane_unavailable"]))))]
fn team() {}

/// Changes what it is called; for owners and admins.
#[utoipa::path(patch, path = "/api/teams/{team_id}", request_body = TeamPatch,
    responses((status = 200, body = TeamOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "backplane_unavailable"]))))]
fn update_team() {}

/// Deletes it with its insights; for owners.
#[utoipa::path(delete, path = "/api/teams/{team_id}", responses((status = 204, description = "It is deleted.")),
    extensions(("x-problems" = json!(["forbidden", "not_found", "backplane_unavailable"]))))]
fn delete_team() {}

/// Its members, in the order of their ids; for members.
#[utoipa::path(get, path = "/api/teams/{team_id}/members", params(Page), responses((status = 200, body = MatesOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "backplane_unavailable"]))))]
fn team_members() {}

/// Gives somebody a role, or another one; for owners and admins.
///
/// Only owners make owners, and make of owners anything else; the last one stays owner. `too_many`: the team has MAX_TEAM_MEMBERS.
#[utoipa::path(put, path = "/api/teams/{team_id}/members/{user_id}", request_body = MateBody,
    responses((status = 200, body = MateOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "conflict", "too_many", "backplane_unavailable"]))))]
fn put_team_member() {}

/// Takes somebody out of the team; for owners and admins, oneself for everybody.
///
/// Only owners take owners out; the last one stays.
#[utoipa::path(delete, path = "/api/teams/{team_id}/members/{user_id}",
    responses((status = 204, description = "They are no member.")),
    extensions(("x-problems" = json!(["forbidden", "not_found", "conflict", "backplane_unavailable"]))))]
fn remove_team_member() {}
