"""Rows of the cluster overview about nodes themselves: doors, delivery, Redis, HTTP."""

from common import CONNECTED, ERRORS, FANOUT, NODE, YES_NO, quantiles
from shapes import mean, panel, quantile, rate, zero


def doors():
    return [
        panel(
            "Sockets by door",
            "Open sockets. A drop that no deployment explains is lost clients; a door at zero that should not be is a"
            " proxy or a token.",
            "short",
            ("sum by (door) (collab_connections{SEL})", "{{door}}"),
            stacked=True,
        ),
        panel(
            "Sockets by node",
            "Open sockets of each node. One node far above the others for a quarter of an hour: the balancer does not"
            " deal to whoever has the fewest, or keeps clients on their node. Click to see the node.",
            "short",
            ("sum by (instance) (collab_connections{SEL})", NODE),
            node_link=True,
        ),
        panel(
            "Opened per second",
            "Sockets opened at each door. A peak that stays is clients that come again and again: see closed and"
            " refused beside it.",
            "cps",
            (rate("collab_connections_opened_total", "door"), "{{door}}"),
        ),
        panel(
            "Closed per second, by close code",
            "1000, 1001 and 1005: the client went. 1012: a node drained. 1006: lost without a word; 4408: silent; 4503:"
            " too slow. Much of these three is a network, a proxy's time-out, or a node that is overloaded.",
            "cps",
            (zero(rate("collab_connections_closed_total", "code"), "code"), "{{code}}"),
            stacked=True,
        ),
        panel(
            "Refused per second, by reason",
            "Who was not let in. capacity and busy: there is no room. unauthorized: tokens, after a change of secrets"
            " all of them. *_unavailable: something that nodes ask is away.",
            "cps",
            (zero(rate("collab_connections_rejected_total", "reason"), "reason"), "{{reason}}"),
            stacked=True,
        ),
        panel(
            "Time to come in",
            "From a request's head to the greeting. Above a second: Redis, the database or the user service is slow, or"
            " nodes have no CPU left.",
            "s",
            *quantiles("collab_handshake_duration_seconds"),
            steps=[(1, "bad")],
        ),
    ]


def delivery():
    return [
        panel(
            "Frames received per second",
            "What clients say, by door. bad and too_fast are what was not carried out.",
            "cps",
            (rate("collab_messages_received_total", "door"), "{{door}}"),
            (rate("collab_messages_received_total", "type", more=', type=~"bad|too_fast"'), "{{type}}"),
        ),
        panel(
            "Frames queued per second",
            "What clients are told, by door. It falls behind what is received when rooms are empty, and not otherwise.",
            "cps",
            (rate("collab_messages_sent_total", "door"), "{{door}}"),
        ),
        panel(
            "Bytes per second",
            "Of text frames, in and out. Much out for little in is large rooms, or whole texts that are sent for every"
            " key.",
            "Bps",
            (rate("collab_received_bytes_total"), "in"),
            (rate("collab_sent_bytes_total"), "out"),
        ),
        panel(
            "Fan-out latency",
            "From commit to the last socket's write. local is the sender's node, remote the others. Only remote slow:"
            " Redis or the network. Both slow: nodes have no CPU left. Above the line for five minutes it alerts.",
            "s",
            *quantiles("collab_fanout_latency_seconds", "path", shares=(0.5, 0.99)),
            steps=FANOUT,
        ),
        panel(
            "Recipients of an event",
            "Sockets of one node that an event reached. A p99 of thousands is a room that should be split.",
            "short",
            (mean("collab_fanout_recipients"), "mean"),
            (quantile(0.99, "collab_fanout_recipients"), "p99"),
        ),
        panel(
            "Events delivered per second",
            "To the rooms of each node. Nodes differ as their rooms do; one at zero that has sockets hears nothing.",
            "cps",
            (rate("collab_events_routed_total", "instance"), NODE),
            node_link=True,
        ),
        panel(
            "Commands refused per second",
            "By error code. conflict is people who type at once, and normal. backplane_unavailable and"
            " records_unavailable: something is away. rate_limited: a client runs wild.",
            "cps",
            (zero(rate("collab_rejects_total", "code"), "code"), "{{code}}"),
            stacked=True,
        ),
        panel(
            "Events dropped per second",
            "duplicate is heard twice and told once, no harm. relay_full and backplane_lagged are read again out of the"
            " log: nodes do not keep up. unreadable and unrecorded are lost.",
            "cps",
            (rate("collab_messages_dropped_total", "reason"), "{{reason}}"),
        ),
        panel(
            "Coming back",
            "Sockets that came with `since`: replayed got what they missed, snapshot everything. More snapshots than"
            " replays after an outage: LOG_LENGTH is short for it.",
            "cps",
            (rate("collab_resumes_total", "outcome"), "{{outcome}}"),
        ),
        panel(
            "Bytes waiting for sockets",
            "In outboxes, by node. It is near zero when all is well; what grows is clients that do not read, soon"
            " closed with 4503.",
            "bytes",
            ("sum by (instance) (collab_outbox_bytes{SEL})", NODE),
            node_link=True,
        ),
        panel(
            "Frames superseded per second",
            "Cursors and the like that a newer one replaced before they were written. That is how slow clients are"
            " spared; much of it is many of these.",
            "cps",
            (rate("collab_outbox_conflated_total"), "superseded"),
        ),
        panel(
            "Rooms",
            "Rooms with sockets, and rooms listened to, added up over nodes. They go together; listening far above:"
            " rooms are not let go.",
            "short",
            ("sum(collab_rooms{SEL})", "with sockets"),
            ("sum(collab_subscriptions{SEL})", "listened to"),
        ),
    ]


def backplane():
    return [
        panel(
            "Backplane connected",
            "Whether each node reaches Redis and hears it. One node at no: its network. All: Redis.",
            "short",
            ("collab_backplane_connected{SEL}", NODE),
            kind="state-timeline",
            steps=CONNECTED,
            mappings=YES_NO,
        ),
        panel(
            "Backplane lag",
            "From commit to another node hearing it. It is a millisecond or so; more is Redis' CPU, its network, or"
            " nodes that have none left.",
            "s",
            *quantiles("collab_backplane_lag_seconds"),
            steps=FANOUT,
        ),
        panel(
            "Slowest operations in Redis, p99",
            "The eight slowest at the moment. commit is what senders wait for; the others are seldom. All of them slow:"
            " Redis is busy, or saves to a slow disk.",
            "s",
            (f"topk(8, {quantile(0.99, 'collab_backplane_command_duration_seconds', 'op')})", "{{op}}"),
            steps=[(0.1, "odd")],
        ),
        panel(
            "Holes in rooms' order, per second",
            "filled is repaired, snapshot is told everything anew, failed is tried again. With Redis up all are near"
            " zero.",
            "cps",
            (zero(rate("collab_backplane_gaps_total", "outcome"), "outcome"), "{{outcome}}"),
        ),
        panel(
            "Reconnects in 30 minutes",
            "How often a node found Redis again. More than three: something between them comes and goes.",
            "short",
            ("max by (instance) (increase(collab_backplane_reconnects_total{SEL}[30m]))", NODE),
            steps=[(3, "bad")],
        ),
        panel(
            "Nodes that each node counts",
            "All lines are one line when nodes agree. A node apart sees another Redis, or none.",
            "short",
            ("collab_cluster_nodes{SEL}", NODE),
            node_link=True,
        ),
        panel(
            "Requests between nodes, per second",
            "Polling clients whose socket another node has, and what nodes ask each other. unanswered: a node cannot be"
            " reached at its ADVERTISE_ADDRESS. busy: MAX_PASSED_REQUESTS.",
            "cps",
            (rate("collab_passed_requests_total", "outcome"), "{{outcome}}"),
        ),
        panel(
            "Requests and tunnels under way",
            "Between nodes, now. It follows the number of polling clients; what only grows is nodes that take but do"
            " not answer.",
            "short",
            ("sum by (instance) (collab_passing_requests{SEL})", NODE),
            node_link=True,
        ),
        panel(
            "Dead nodes' members taken out, and pauses",
            "Members of nodes that are gone, in ten minutes, and processes that stood still for longer than their"
            " lease. The first follows every drain; the second should never happen.",
            "short",
            ("sum(increase(collab_reaped_members_total{SEL}[10m]))", "members"),
            ("sum(increase(collab_pauses_total{SEL}[10m]))", "pauses"),
        ),
    ]


def http():
    return [
        panel(
            "Answers per second, by status",
            "Upgrades are 101. Probes count, too: 503 from /readyz and 404 from /lb are a node that drains.",
            "reqps",
            (rate("collab_http_requests_total", "status"), "{{status}}"),
            stacked=True,
        ),
        panel(
            "Errors by route, per second",
            "5xx without probes; the eight routes with the most. One route alone is a bug; all that need the database"
            " or Redis are the database or Redis.",
            "reqps",
            (
                zero(f"topk(8, {rate('collab_http_requests_total', 'route', more=ERRORS)})", "route"),
                "{{route}}",
            ),
            steps=[(0.1, "odd")],
        ),
        panel(
            "Slowest routes, p99",
            "The eight slowest at the moment. Replays and counts take long; sessions and health should not.",
            "s",
            (f"topk(8, {quantile(0.99, 'collab_http_request_duration_seconds', 'route')})", "{{route}}"),
        ),
    ]
