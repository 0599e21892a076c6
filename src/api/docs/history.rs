//! What was said and what happened in recorded sessions, as operations.

#![expect(dead_code, reason = "functions for the macros to name operations by")]

use utoipa::OpenApi;

use super::shapes;
use crate::api::history::{CommentsOut, EventsOut, MessagesOut, PresenceOut, StatsOut, TextOut};

#[derive(OpenApi)]
#[openapi(paths(messages, message_stats, comments, presence, events, replay, text))]
pub(super) struct Area;

/// Which messages are wanted.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct MessagesQuery {
    /// Those that were said before this message; so does `cursor`, which counts where both are said.
    #[param(schema_with = shapes::message, required = false)]
    before: String,
    /// This message's thread alone, the oldest first.
    #[param(schema_with = shapes::message, required = false)]
    thread: String,
    /// Entries of the page; 50 where it is not said.
    #[param(schema_with = shapes::limit, required = false)]
    limit: u32,
    /// `next_cursor` of the page before; empty for the first.
    #[param(schema_with = shapes::message, required = false)]
    cursor: String,
}

/// Which comments are wanted.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct CommentsQuery {
    /// Those on this file.
    #[param(schema_with = shapes::file, required = false)]
    file: String,
    /// Those that are resolved, or those that are not.
    #[param(schema_with = shapes::flag, required = false)]
    resolved: String,
    /// Entries of the page; 50 where it is not said.
    #[param(schema_with = shapes::limit, required = false)]
    limit: u32,
    /// `next_cursor` of the page before; empty for the first.
    #[param(schema_with = shapes::message, required = false)]
    cursor: String,
}

/// Who is wanted.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct PresenceQuery {
    /// Those whose cursor or viewport is in this file.
    #[param(schema_with = shapes::file, required = false)]
    file: String,
}

/// When it happened.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct SpanQuery {
    /// Then, or later.
    #[param(schema_with = shapes::time, required = false)]
    from: String,
    /// Before.
    #[param(schema_with = shapes::time, required = false)]
    to: String,
}

/// What happened.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct KindQuery {
    /// As the review door's frames are called; what no frame is called never happened.
    #[param(rename = "type", schema_with = shapes::file, required = false)]
    kind: String,
    /// Entries of the page; 50 where it is not said.
    #[param(schema_with = shapes::limit, required = false)]
    limit: u32,
    /// `next_cursor` of the page before; empty for the first.
    #[param(schema_with = shapes::place, required = false)]
    cursor: String,
}

/// Chat, the newest first; a thread the oldest first.
///
/// For who may attend, also when the session has ended. Direct messages are shown to the two alone; what was deleted has
/// no content.
#[utoipa::path(get, path = "/api/sessions/{session_id}/messages", params(MessagesQuery),
    responses((status = 200, body = MessagesOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found"]))))]
fn messages() {}

/// Chat that everybody may read, summed up.
#[utoipa::path(get, path = "/api/sessions/{session_id}/messages/stats", responses((status = 200, body = StatsOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found"]))))]
fn message_stats() {}

/// Comments on lines of files, the oldest first.
#[utoipa::path(get, path = "/api/sessions/{session_id}/comments", params(CommentsQuery),
    responses((status = 200, body = CommentsOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found"]))))]
fn comments() {}

/// Who is there now, and where they look.
#[utoipa::path(get, path = "/api/sessions/{session_id}/presence", params(PresenceQuery),
    responses((status = 200, body = PresenceOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "backplane_unavailable"]))))]
fn presence() {}

/// Everything durable that happened, the oldest first.
#[utoipa::path(get, path = "/api/sessions/{session_id}/events", params(SpanQuery, KindQuery),
    responses((status = 200, body = EventsOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found"]))))]
fn events() {}

/// Everything durable that happened as the review door tells it, one JSON object a line, with the times when it happened.
///
/// Texts are there as often as they were kept (REPLAY_STEP). A body that is cut off says that the database went away.
#[utoipa::path(get, path = "/api/sessions/{session_id}/replay", params(SpanQuery),
    responses((status = 200, description = "Frames of the review door.", body = String, content_type = "application/x-ndjson")),
    extensions(("x-problems" = json!(["forbidden", "not_found"]))))]
fn replay() {}

/// Which text is wanted.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct TextQuery {
    /// As the door's frames have it; the newest where it is not said.
    #[param(minimum = 0, required = false)]
    version: u64,
}

/// The session's text as it was at a version, also when the session has ended.
#[utoipa::path(get, path = "/api/sessions/{session_id}/text", params(TextQuery),
    responses((status = 200, description = "The text.", body = TextOut)),
    extensions(("x-problems" = json!(["forbidden", "not_found", "version_gone", "backplane_unavailable"]))))]
fn text() {}
