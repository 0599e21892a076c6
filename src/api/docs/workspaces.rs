//! Workspaces, as operations.

#![expect(dead_code, reason = "functions for the macros to name operations by")]

use utoipa::OpenApi;

use super::shapes::Page;
use crate::api::workspaces::{
    MemberBody, PeopleOut, WorkspaceBody, WorkspaceOut, WorkspacePatch, WorkspacesOut,
};

#[derive(OpenApi)]
#[openapi(paths(
    list_workspaces,
    create_workspace,
    workspace,
    update_workspace,
    delete_workspace,
    join_workspace,
    leave_workspace,
    workspace_users
))]
pub(super) struct Area;

/// Workspaces that somebody made, in the order of their making.
#[utoipa::path(get, path = "/workspaces", params(Page), responses((status = 200, body = WorkspacesOut)),
    extensions(("x-problems" = json!(["forbidden", "backplane_unavailable"]))))]
fn list_workspaces() {}

/// Makes a workspace, which stays until it is deleted.
#[utoipa::path(post, path = "/workspaces", request_body = WorkspaceBody, responses((status = 201, body = WorkspaceOut)),
    extensions(("x-problems" = json!(["forbidden", "backplane_unavailable"]))))]
fn create_workspace() {}

/// A workspace.
#[utoipa::path(get, path = "/workspaces/{workspace_id}", responses((status = 200, body = WorkspaceOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "backplane_unavailable"]))))]
fn workspace() {}

/// Changes what it is called; for who made it.
///
/// Who is in it hears a `workspace_update` of the type `workspace_changed`. On an open node anybody may.
#[utoipa::path(patch, path = "/workspaces/{workspace_id}", request_body = WorkspacePatch,
    responses((status = 200, body = WorkspaceOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "backplane_unavailable"]))))]
fn update_workspace() {}

/// Deletes it; for who made it.
///
/// Who is in it hears a `workspace_update` of the type `workspace_deleted`, and is out.
#[utoipa::path(delete, path = "/workspaces/{workspace_id}", responses((status = 204, description = "It is deleted.")),
    extensions(("x-problems" = json!(["forbidden", "not_found", "backplane_unavailable"]))))]
fn delete_workspace() {}

/// Makes somebody belong to it, there or not; oneself, or others for who made it.
///
/// `too_many`: MAX_WORKSPACE_MEMBERS belong to it.
#[utoipa::path(post, path = "/workspaces/{workspace_id}/join", request_body = MemberBody,
    responses((status = 204, description = "They belong to it.")),
    extensions(("x-problems" = json!(["forbidden", "not_found", "too_many", "backplane_unavailable"]))))]
fn join_workspace() {}

/// Makes somebody belong to it no more; sockets that are in it stay.
#[utoipa::path(post, path = "/workspaces/{workspace_id}/leave", request_body = MemberBody,
    responses((status = 204, description = "They do not belong to it.")),
    extensions(("x-problems" = json!(["forbidden", "not_found", "backplane_unavailable"]))))]
fn leave_workspace() {}

/// Who belongs to it, or is in it, in the order of their ids.
#[utoipa::path(get, path = "/workspaces/{workspace_id}/users", responses((status = 200, body = PeopleOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "backplane_unavailable"]))))]
fn workspace_users() {}
