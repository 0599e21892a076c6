//! Agents, as operations.

#![expect(dead_code, reason = "functions for the macros to name operations by")]

use utoipa::OpenApi;

use super::shapes;
use super::shapes::Page;
use crate::api::agents::{AgentsOut, FollowerBody, ReportedOut, RunsOut};

#[derive(OpenApi)]
#[openapi(paths(
    agents_status,
    agent_runs,
    subscribe_agent,
    unsubscribe_agent,
    agent_events
))]
pub(super) struct Area;

/// Which agents are wanted.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// `running` for all at work, `idle`, `completed`, `failed`, `cancelled`, or an agent's own word; empty for all.
    #[param(schema_with = shapes::any_word, required = false)]
    status: String,
    /// Those at work there; empty for all.
    #[param(schema_with = shapes::cursor, required = false)]
    workspace_id: String,
    /// Those at work for that user; empty for all.
    #[param(schema_with = shapes::cursor, required = false)]
    user_id: String,
}

/// Which page of an agent's runs is wanted.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct RunPage {
    /// Entries of the page; 50 where it is not said.
    #[param(schema_with = shapes::limit, required = false)]
    limit: u32,
    /// `next_cursor` of the page before; empty for the first.
    #[param(schema_with = shapes::message, required = false)]
    cursor: String,
}

/// Agents that ever ran, in the order of their ids.
///
/// A page may have fewer than were asked for, and others behind it.
#[utoipa::path(get, path = "/agents/status", params(Page, Wanted), responses((status = 200, body = AgentsOut)),
    extensions(("x-problems" = json!(["forbidden", "backplane_unavailable"]))))]
fn agents_status() {}

/// Runs of an agent that are over, the youngest first.
#[utoipa::path(get, path = "/agents/{agent_id}/runs", params(RunPage), responses((status = 200, body = RunsOut)),
    extensions(("x-problems" = json!(["forbidden", "records_unavailable"]))))]
fn agent_runs() {}

/// Has all of a user's sockets at the workspace door hear the agent, now and later.
///
/// `too_many`: the user follows MAX_AGENT_SUBSCRIPTIONS. `not_found`: it never ran, and the AI-agents service does not know it.
#[utoipa::path(post, path = "/agents/{agent_id}/subscribe", request_body = FollowerBody,
    responses((status = 204, description = "They hear it.")),
    extensions(("x-problems" = json!(["forbidden", "not_found", "too_many", "backplane_unavailable"]))))]
fn subscribe_agent() {}

/// Ends that, on all of the user's sockets.
#[utoipa::path(post, path = "/agents/{agent_id}/unsubscribe", request_body = FollowerBody,
    responses((status = 204, description = "They do not hear it.")),
    extensions(("x-problems" = json!(["forbidden", "backplane_unavailable"]))))]
fn unsubscribe_agent() {}

/// Tells of an agent's run, as its socket would; for agents without one.
///
/// The body is a frame of the workspace door: `agent_execution_start`, `agent_execution_update` or
/// `agent_execution_complete`, with an `id` by which a repeat is known. `conflict`: it is at work already; `not_found`: it is not.
#[utoipa::path(post, path = "/agents/{agent_id}/events", request_body(content = Object, description = "A frame."),
    responses((status = 202, body = ReportedOut)),
    extensions(("x-problems" = json!(["unknown_type", "forbidden", "not_found", "conflict", "backplane_unavailable"]))))]
fn agent_events() {}
