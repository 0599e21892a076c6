//! The table of metrics, as the README shows it.

use metrics::Unit;

use super::{Kind, Metric};

const fn row(
    name: &'static str,
    kind: Kind,
    unit: Option<Unit>,
    labels: &'static str,
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        unit,
        labels,
        help,
    }
}

use Kind::{Counter, Gauge, Histogram};

/// Every metric of the node's own; `process_*` come from the operating system.
pub const LIST: &[Metric] = &[
    row("collab_connections", Gauge, None, "door", "Open sockets"),
    row(
        "collab_connections_opened_total",
        Counter,
        None,
        "door",
        "Sockets opened",
    ),
    row(
        "collab_connections_closed_total",
        Counter,
        None,
        "code",
        "Sockets closed, by close code; 1006 was lost",
    ),
    row(
        "collab_connections_rejected_total",
        Counter,
        None,
        "reason",
        "Connections refused before or right after the upgrade",
    ),
    row(
        "collab_handshake_duration_seconds",
        Histogram,
        Some(Unit::Seconds),
        "",
        "From the request's head to the greeting",
    ),
    row(
        "collab_rooms",
        Gauge,
        None,
        "",
        "Rooms with sockets on this node",
    ),
    row(
        "collab_subscriptions",
        Gauge,
        None,
        "",
        "Rooms this node listens to",
    ),
    row(
        "collab_messages_received_total",
        Counter,
        None,
        "door, type",
        "Frames from clients, by what they asked",
    ),
    row(
        "collab_messages_sent_total",
        Counter,
        None,
        "door",
        "Frames queued for clients",
    ),
    row(
        "collab_received_bytes_total",
        Counter,
        Some(Unit::Bytes),
        "",
        "Bytes of clients' text frames",
    ),
    row(
        "collab_sent_bytes_total",
        Counter,
        Some(Unit::Bytes),
        "",
        "Bytes queued for clients",
    ),
    row(
        "collab_fanout_latency_seconds",
        Histogram,
        Some(Unit::Seconds),
        "path",
        "From commit to the last socket's write, of one event in eight; path is local or remote",
    ),
    row(
        "collab_fanout_recipients",
        Histogram,
        None,
        "",
        "Sockets of this node that an event reached, of one event in eight",
    ),
    row(
        "collab_outbox_bytes",
        Gauge,
        Some(Unit::Bytes),
        "",
        "Bytes waiting in outboxes",
    ),
    row(
        "collab_outbox_conflated_total",
        Counter,
        None,
        "",
        "Frames superseded by a newer one before they were written",
    ),
    row(
        "collab_messages_dropped_total",
        Counter,
        None,
        "reason",
        "Events not delivered: duplicate, backplane_lagged, relay_full, unreadable",
    ),
    row(
        "collab_rejects_total",
        Counter,
        None,
        "code",
        "Commands refused, by error code",
    ),
    row(
        "collab_backplane_connected",
        Gauge,
        None,
        "",
        "1 while commands and listening work",
    ),
    row(
        "collab_backplane_lag_seconds",
        Histogram,
        Some(Unit::Seconds),
        "",
        "From commit to this node hearing it, of one event in eight, and of the probes of silent links",
    ),
    row(
        "collab_backplane_gaps_total",
        Counter,
        None,
        "outcome",
        "Holes in a room's order: filled, snapshot or failed",
    ),
    row(
        "collab_resumes_total",
        Counter,
        None,
        "outcome",
        "Sockets that came back with `since`: replayed what they missed, or a snapshot",
    ),
    row(
        "collab_backplane_reconnects_total",
        Counter,
        None,
        "",
        "Times the backplane came back after being away",
    ),
    row(
        "collab_backplane_command_duration_seconds",
        Histogram,
        Some(Unit::Seconds),
        "op",
        "Time a backplane operation took; of commit and announce one in eight",
    ),
    row("collab_draining", Gauge, None, "", "1 from SIGTERM on"),
    row(
        "collab_drain_remaining_connections",
        Gauge,
        None,
        "",
        "Sockets that a leaving node has still to close; 0 while it serves",
    ),
    row(
        "collab_drain_closed_total",
        Counter,
        None,
        "result",
        "Sockets a leaving node closed: closed, or forced when the peer did not take the close frame in time",
    ),
    row(
        "collab_reaped_members_total",
        Counter,
        None,
        "",
        "Members of dead nodes that this node took out of their rooms",
    ),
    row(
        "collab_cluster_nodes",
        Gauge,
        None,
        "",
        "Nodes alive, this one among them",
    ),
    row(
        "collab_events_routed_total",
        Counter,
        None,
        "",
        "Events delivered to this node's rooms",
    ),
    row(
        "collab_http_requests_total",
        Counter,
        None,
        "route, status",
        "HTTP requests answered",
    ),
    row(
        "collab_http_request_duration_seconds",
        Histogram,
        Some(Unit::Seconds),
        "route",
        "Time to answer an HTTP request",
    ),
    row("collab_build_info", Gauge, None, "version", "Always 1"),
];
