"""The dashboard of one node, or a few beside each other."""

from common import CONNECTED, ERRORS, FANOUT, NODE, YES_NO
from shapes import dashboard, panel, quantile, rate, zero


def node():
    process = [
        panel(
            "CPU",
            "Cores that the process uses. At the number of cores the machine has, latency grows for everybody.",
            "short",
            ("sum by (instance) (rate(process_cpu_seconds_total{SEL}[RATE]))", NODE),
        ),
        panel(
            "Memory",
            "Resident. It follows the sockets, a few KiB each, and the texts of rooms; what grows without them is a"
            " leak.",
            "bytes",
            ("process_resident_memory_bytes{SEL}", NODE),
        ),
        panel(
            "Memory by socket",
            "Resident memory by open socket; some KiB with many sockets. With few it is the process itself.",
            "bytes",
            (
                (
                    "process_resident_memory_bytes{SEL} / on (cluster, namespace, job, instance) "
                    "(sum by (cluster, namespace, job, instance) (collab_connections{SEL}) > 0)"
                ),
                NODE,
            ),
        ),
        panel(
            "File descriptors in use",
            "Of those that the system allows; every socket is one. At 100 % nobody comes in.",
            "percentunit",
            ("process_open_fds{SEL} / process_max_fds{SEL}", NODE),
            steps=[(0.8, "bad")],
            maximum=1,
        ),
        panel(
            "Threads",
            "Of the process. It is a constant; what grows is blocked on files or names.",
            "short",
            ("process_threads{SEL}", NODE),
        ),
        panel(
            "Up for",
            "Since the process began. A saw is a node that ends again and again: CollabNodeRestarting.",
            "s",
            ("time() - process_start_time_seconds{SEL}", NODE),
        ),
    ]
    sockets = [
        panel(
            "Sockets by door",
            "Open sockets of the nodes chosen. A step down without a drain: this node's network, or a proxy in front"
            " of it.",
            "short",
            ("sum by (instance, door) (collab_connections{SEL})", f"{NODE} {{{{door}}}}"),
            stacked=True,
        ),
        panel(
            "Of the sockets that it takes",
            "Open sockets over MAX_CONNECTIONS. At 100 % newcomers are turned away.",
            "percentunit",
            ("sum by (instance) (collab_connections{SEL}) / sum by (instance) (collab_connections_limit{SEL})", NODE),
            steps=[(0.85, "bad")],
            maximum=1,
        ),
        panel(
            "Opened and closed per second",
            "Together they are the churn. Closed above opened: this node loses sockets, by a drain or by its network.",
            "cps",
            (rate("collab_connections_opened_total", "instance"), f"{NODE} opened"),
            (zero(rate("collab_connections_closed_total", "instance"), "instance"), f"{NODE} closed"),
        ),
        panel(
            "Closed per second, by close code",
            "1006, 4408 and 4503 at one node alone: its machine or its network.",
            "cps",
            (zero(rate("collab_connections_closed_total", "instance", "code"), "code"), f"{NODE} {{{{code}}}}"),
        ),
        panel(
            "Rooms",
            "With sockets here, and listened to. Listening far above: rooms are not let go.",
            "short",
            ("collab_rooms{SEL}", f"{NODE} with sockets"),
            ("collab_subscriptions{SEL}", f"{NODE} listened to"),
        ),
        panel(
            "Bytes waiting for sockets",
            "In outboxes. What grows is clients that do not read.",
            "bytes",
            ("collab_outbox_bytes{SEL}", NODE),
        ),
        panel(
            "Time to come in, p95",
            "From a request's head to the greeting. One node above the others: its CPU, or its way to Redis.",
            "s",
            (quantile(0.95, "collab_handshake_duration_seconds", "instance"), NODE),
            steps=[(1, "bad")],
        ),
    ]
    work = [
        panel(
            "Frames received per second",
            "The eight kinds with the most. One kind far above what people can type: a client in a loop.",
            "cps",
            (f"topk(8, {rate('collab_messages_received_total', 'door', 'type')})", "{{door}} {{type}}"),
        ),
        panel(
            "Frames queued per second",
            "What clients of each node are told. A node far above the others has the large rooms; at zero it hears"
            " nothing.",
            "cps",
            (rate("collab_messages_sent_total", "instance"), NODE),
        ),
        panel(
            "Fan-out latency, p99",
            "From commit to the last socket's write, by node. One node above the others has no CPU left.",
            "s",
            (quantile(0.99, "collab_fanout_latency_seconds", "instance", "path"), f"{NODE} {{{{path}}}}"),
            steps=FANOUT,
        ),
        panel(
            "CPU by frame queued",
            "Microseconds of CPU for each frame that a client is told. It falls under load; what rises is the work by"
            " event.",
            "µs",
            (
                (
                    "1e6 * sum by (instance) (rate(process_cpu_seconds_total{SEL}[RATE])) / "
                    f"({rate('collab_messages_sent_total', 'instance')} > 0)"
                ),
                NODE,
            ),
        ),
        panel(
            "Events dropped per second",
            "relay_full and backplane_lagged: the node does not keep up and reads again.",
            "cps",
            (rate("collab_messages_dropped_total", "instance", "reason"), f"{NODE} {{{{reason}}}}"),
        ),
        panel(
            "Answers that are errors, per second",
            "5xx, probes left out. At one node alone: what only that node cannot reach.",
            "reqps",
            (
                zero(rate("collab_http_requests_total", "instance", "status", more=ERRORS), "status"),
                f"{NODE} {{{{status}}}}",
            ),
            steps=[(0.1, "odd")],
        ),
    ]
    redis = [
        panel(
            "Backplane connected",
            "Whether the node reaches Redis and hears it. no at one node alone is its network, its rights or its"
            " certificates.",
            "short",
            ("collab_backplane_connected{SEL}", NODE),
            kind="state-timeline",
            steps=CONNECTED,
            mappings=YES_NO,
        ),
        panel(
            "Backplane lag, p99",
            "From commit elsewhere to hearing it here. One node above the others: its CPU, its network, or its clock.",
            "s",
            (quantile(0.99, "collab_backplane_lag_seconds", "instance"), NODE),
            steps=FANOUT,
        ),
        panel(
            "Commit in Redis, p99",
            "What senders at this node wait for. One node above the others: its way to Redis; all: Redis itself.",
            "s",
            (quantile(0.99, "collab_backplane_command_duration_seconds", "instance", more=', op="commit"'), NODE),
            steps=[(0.1, "odd")],
        ),
    ]
    rows = [("Process", False, process), ("Sockets", False, sockets), ("Work", False, work), ("Redis", False, redis)]
    return dashboard(
        "collabd-node", "collabd / Node", "One node, or a few beside each other: what it costs and what it does.", rows
    )
