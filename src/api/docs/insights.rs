//! Teams' insights and analytics, as operations.

#![expect(dead_code, reason = "functions for the macros to name operations by")]

use utoipa::OpenApi;
use utoipa::openapi::schema::Object;

use super::shapes;
use crate::api::insights::{AnalyticsOut, InsightOut, InsightsOut, NoteBody, NotePatch};

#[derive(OpenApi)]
#[openapi(paths(
    list_insights,
    add_insight,
    insight,
    update_insight,
    delete_insight,
    team_analytics
))]
pub(super) struct Area;

/// Which of a team's insights are wanted. What is empty is not said, but for the limit.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct InsightsPage {
    /// Of this team.
    #[param(schema_with = shapes::id)]
    team_id: String,
    /// About this session.
    #[param(schema_with = shapes::cursor, required = false)]
    session_id: String,
    /// With this in the title or the body, in whatever case.
    #[param(schema_with = shapes::words, required = false)]
    q: String,
    /// With this tag, as it was given.
    #[param(schema_with = shapes::tag, required = false)]
    tag: String,
    /// Insights of the page; 20 where it is not said.
    #[param(schema_with = limit, required = false)]
    limit: u32,
    /// `next_cursor` of the page before; empty for the first.
    #[param(schema_with = shapes::cursor, required = false)]
    cursor: String,
}

fn limit() -> Object {
    shapes::at_most(50)
}

/// What is counted.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Counted {
    /// Of this team's members.
    #[param(schema_with = shapes::id)]
    team_id: String,
    /// From then on, at most 366 days before `to`; 30 where it is not said.
    #[param(schema_with = shapes::time, required = false)]
    from: String,
    /// Until before then; now where it is not said.
    #[param(schema_with = shapes::time, required = false)]
    to: String,
}

/// A team's insights, the youngest first; for members.
#[utoipa::path(get, path = "/api/insights", params(InsightsPage), responses((status = 200, body = InsightsOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "backplane_unavailable"]))))]
fn list_insights() {}

/// Notes something of a session; for members who may attend it, or might before it ended.
///
/// `too_many`: the team has MAX_TEAM_INSIGHTS.
#[utoipa::path(post, path = "/api/insights", request_body = NoteBody, responses((status = 201, body = InsightOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "too_many", "backplane_unavailable"]))))]
fn add_insight() {}

/// An insight; for members of its team.
#[utoipa::path(get, path = "/api/insights/{insight_id}", responses((status = 200, body = InsightOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "backplane_unavailable"]))))]
fn insight() {}

/// Changes it; for its author, and the team's owners and admins.
#[utoipa::path(patch, path = "/api/insights/{insight_id}", request_body = NotePatch,
    responses((status = 200, body = InsightOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "backplane_unavailable"]))))]
fn update_insight() {}

/// Deletes it; for the same.
#[utoipa::path(delete, path = "/api/insights/{insight_id}", responses((status = 204, description = "It is deleted.")),
    extensions(("x-problems" = json!(["forbidden", "not_found", "backplane_unavailable"]))))]
fn delete_insight() {}

/// What a team's members did in recorded sessions, by member and by day; for members.
///
/// A count that takes longer than DATABASE_TIMEOUT is given up as `records_unavailable`: less time may be asked for.
#[utoipa::path(get, path = "/api/analytics/team", params(Counted), responses((status = 200, body = AnalyticsOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "records_unavailable", "backplane_unavailable"]))))]
fn team_analytics() {}
