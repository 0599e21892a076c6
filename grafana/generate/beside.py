"""Rows of the cluster overview about what stands beside nodes: database, couriers, RabbitMQ, agents, services."""

from common import CONNECTED, NODE, YES_NO, quantiles
from shapes import mean, panel, quantile, rate, zero


def records():
    return [
        panel(
            "Time of a statement",
            "The wait for a connection included. Near DATABASE_TIMEOUT things are refused with records_unavailable.",
            "s",
            *quantiles("collab_records_duration_seconds"),
            steps=[(1, "bad")],
        ),
        panel(
            "Slowest statements, mean",
            "The eight slowest at the moment. One alone: an index or a large table. All: the database, or DATABASE_POOL"
            " is too small.",
            "s",
            (f"topk(8, {mean('collab_records_duration_seconds', 'op')})", "{{op}}"),
        ),
        panel(
            "Statements per second",
            "The eight most frequent. It falls to zero when the database is away.",
            "ops",
            (f"topk(8, {rate('collab_records_duration_seconds_count', 'op')})", "{{op}}"),
        ),
        panel(
            "Refused for want of a database, per second",
            "Commands, newcomers, and events that could not be written down. Anything above zero is people who are told"
            " to try again.",
            "cps",
            (zero(rate("collab_rejects_total", more=', code="records_unavailable"')), "commands"),
            (zero(rate("collab_connections_rejected_total", more=', reason="records_unavailable"')), "newcomers"),
            (zero(rate("collab_messages_dropped_total", more=', reason="unrecorded"')), "events lost"),
            wide=24,
            steps=[(0.001, "bad")],
        ),
    ]


def texts():
    return [
        panel(
            "Texts in memory",
            "Sessions' documents that each node has read: those of its sockets' sessions, and a little longer"
            " (DOCUMENT_LINGER).",
            "short",
            ("collab_documents{SEL}", NODE),
            wide=8,
        ),
        panel(
            "Merges and snapshots per second",
            "Whole texts that met others' changes; logs that a snapshot took the place of. overtaken: another node's was"
            " first, which costs work and harms nothing.",
            "cps",
            (rate("collab_text_merges_total"), "merged"),
            (rate("collab_documents_compacted_total", "outcome"), "snapshot {{outcome}}"),
            wide=8,
        ),
        panel(
            "Texts put back per second",
            "Redis had lost something of a text, and a node or an editor still had it. Anything but 0: ask what Redis lost,"
            " and why.",
            "cps",
            (rate("collab_documents_healed_total"), "put back"),
            wide=8,
        ),
    ]


def courier():
    return [
        panel(
            "Recipients of directed events, per second",
            "present is told, kept waits in an inbox, full is refused, absent is dropped (INBOX=off). Much full: users"
            " who never come to read.",
            "cps",
            (rate("collab_directed_total", "outcome"), "{{outcome}}"),
            wide=12,
        ),
        panel(
            "Notifications per second",
            "committed once, told to sockets, repeated under a known id. lost: a node was cut off for longer than the"
            " log reaches.",
            "cps",
            (rate("collab_notifications_total", "outcome"), "{{outcome}}"),
            wide=12,
        ),
    ]


def intake():
    return [
        panel(
            "Intake connected",
            "Whether each node takes match events. A node without Redis, or one that drains, leaves them to the others."
            " All at no: RabbitMQ.",
            "short",
            ("collab_intake_connected{SEL}", NODE),
            kind="state-timeline",
            steps=CONNECTED,
            mappings=YES_NO,
            wide=6,
        ),
        panel(
            "Match events per second",
            "created makes a session; existing and ended are repeats. dead can become none; retried waits for Redis.",
            "cps",
            (rate("collab_match_events_total", "result"), "{{result}}"),
            wide=6,
        ),
        panel(
            "Match events in flight",
            "Taken and not acknowledged yet. At QUEUE_PREFETCH for long: sessions are made more slowly than matches.",
            "short",
            ("sum by (instance) (collab_match_events_in_flight{SEL})", NODE),
            wide=6,
            node_link=True,
        ),
        panel(
            "Time of a match event",
            "From taking it to its acknowledgement; a few milliseconds. Seconds are Redis that is away.",
            "s",
            *quantiles("collab_match_event_duration_seconds"),
            wide=6,
            steps=[(1, "odd")],
        ),
    ]


def agents():
    return [
        panel(
            "Runs started and ended, per second",
            "By how they ended. lost: nobody heard of the agent for AGENT_LOST_AFTER.",
            "cps",
            (rate("collab_agent_runs_started_total"), "started"),
            (rate("collab_agent_runs_ended_total", "status"), "{{status}}"),
            wide=12,
        ),
        panel(
            "Time of a run",
            "Of the runs that ended. Agents set it, not the nodes; one that drops to nothing is agents that fail at"
            " once. What took longer than an hour is shown as an hour, but counts in full in the mean.",
            "s",
            (mean("collab_agent_run_duration_seconds"), "mean"),
            *quantiles("collab_agent_run_duration_seconds", shares=(0.5, 0.95)),
            wide=12,
        ),
    ]


def neighbours():
    return [
        panel(
            "Requests to other services, per second",
            "By service and what came of it. open is not asked, because it kept failing; busy got no turn"
            " (NEIGHBOUR_REQUESTS).",
            "cps",
            (rate("collab_neighbour_requests_total", "neighbour", "result"), "{{neighbour}} {{result}}"),
        ),
        panel(
            "Time other services take, p99",
            "To answer, or to fail. Near the service's time-out setting its answers are thrown away.",
            "s",
            (quantile(0.99, "collab_neighbour_request_duration_seconds", "neighbour"), "{{neighbour}}"),
        ),
        panel(
            "Services left alone",
            "Nodes that do not ask a service because it kept failing. It goes back with the first answer to somebody"
            " who needs one.",
            "short",
            ("sum by (neighbour) (collab_neighbour_open{SEL})", "{{neighbour}}"),
            steps=[(1, "bad")],
        ),
        panel(
            "Events for the IDE bridge, per second",
            "told, failed and tried again, dead and given up. Without IDE_BRIDGE_URL there are none.",
            "cps",
            (zero(rate("collab_hooks_total", "result"), "result"), "{{result}}"),
            wide=12,
        ),
        panel(
            "How late the IDE bridge is told",
            "From an event to its having been told. Above 10 s the bridge fails or is slow, and events of a workspace wait for"
            " each other; minutes are the tries of one that is away. What took longer than an hour is shown as an hour.",
            "s",
            *quantiles("collab_hook_delay_seconds"),
            wide=12,
            steps=[(10, "bad")],
        ),
    ]
