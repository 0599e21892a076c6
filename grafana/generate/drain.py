"""The dashboard of a rollout, or of a node that is told to stop."""

from common import FANOUT, NODE, quantiles
from shapes import dashboard, panel, quantile, rate, stat, zero


def drain():
    now = [
        stat(
            "Draining",
            "Nodes on their way out. More than one in a rolling rollout: it takes more away than maxUnavailable says.",
            "short",
            "sum(collab_draining{SEL})",
            steps=[(1, "odd")],
        ),
        stat(
            "Still to close",
            "Sockets of draining nodes. It falls by DRAIN_RATE a second.",
            "short",
            "sum(collab_drain_remaining_connections{SEL})",
        ),
        stat(
            "Nodes",
            "That give figures. With maxUnavailable 0 never fewer than before.",
            "short",
            "count(collab_build_info{SEL})",
        ),
        stat(
            "Versions",
            "Two while a rollout is under way, and one before and after.",
            "short",
            "count(count by (version) (collab_build_info{SEL}))",
            steps=[(2, "odd")],
        ),
        stat(
            "Cut in 30 minutes",
            "Of the sockets closed by drains, those that did not take the close frame in time. Above 1 %, and five or more, it alerts.",
            "percentunit",
            zero(
                'sum(increase(collab_drain_closed_total{SEL, result="forced"}[30m])) /'
                " (sum(increase(collab_drain_closed_total{SEL}[30m])) > 0)"
            ),
            steps=[(0.01, "bad")],
        ),
        stat(
            "Lost in 30 minutes",
            "Sockets that ended with 1006. A drain makes none; many are nodes that are killed before they are done.",
            "short",
            zero('sum(increase(collab_connections_closed_total{SEL, code="1006"}[30m]))'),
        ),
        stat(
            "Redis",
            "Nodes without it. Roll out nothing while it is not 0.",
            "short",
            "count(collab_backplane_connected{SEL}) - sum(collab_backplane_connected{SEL})",
            steps=[(1, "bad")],
        ),
        stat(
            "Fan-out p99",
            "From commit to the last socket's write: what those who stay notice of it. Above the line they do; drain"
            " more slowly (DRAIN_RATE).",
            "s",
            quantile(0.99, "collab_fanout_latency_seconds"),
            steps=FANOUT,
        ),
    ]
    course = [
        panel(
            "Who drains",
            "Each node's time from SIGTERM to its end. Longer than DRAIN_DELAY + DRAIN_WINDOW + CLOSE_TIMEOUT +"
            " STOP_TIMEOUT (115 s unless set): see CollabDrainStuck.",
            "short",
            ("collab_draining{SEL}", NODE),
            kind="state-timeline",
            steps=[(None, "good"), (1, "odd")],
            mappings={0: "serves", 1: "drains"},
            wide=12,
        ),
        panel(
            "Nodes by version",
            "The old one goes down as the new one comes up. Both for an hour: the rollout is stuck.",
            "short",
            ("count by (version) (collab_build_info{SEL})", "{{version}}"),
            stacked=True,
            wide=12,
        ),
        panel(
            "Sockets still to close",
            "A straight line down to zero. Flat: the node waits in DRAIN_DELAY, or hangs.",
            "short",
            ("collab_drain_remaining_connections{SEL}", NODE),
        ),
        panel(
            "Closed by drains, per second",
            "At most DRAIN_RATE a node. forced is those that did not read in CLOSE_TIMEOUT; the last scrape before "
            "a node ends may miss some.",
            "cps",
            (rate("collab_drain_closed_total", "result"), "{{result}}"),
        ),
        panel(
            "Closed per second, by close code",
            "In a rollout 1012 stands out, and nothing else. 1006 beside it: nodes are killed before they are done; "
            "the grace period is too short.",
            "cps",
            (zero(rate("collab_connections_closed_total", "code"), "code"), "{{code}}"),
            stacked=True,
        ),
    ]
    coming = [
        panel(
            "Sockets by node",
            "They move from the draining node to the others. The sum has a dent as wide as clients wait. Click to see"
            " the node.",
            "short",
            ("sum by (instance) (collab_connections{SEL})", NODE),
            stacked=True,
            node_link=True,
        ),
        panel(
            "Opened per second, by node",
            "Those who come back, spread over the window that they were told. A wall instead of a hill: clients "
            "do not heed retry_in_ms.",
            "cps",
            (rate("collab_connections_opened_total", "instance"), NODE),
            node_link=True,
        ),
        panel(
            "Coming back",
            "replayed got what they missed; snapshot came without `since`, too late, or to a room that began anew.",
            "cps",
            (rate("collab_resumes_total", "outcome"), "{{outcome}}"),
        ),
        panel(
            "Refused per second, by reason",
            "draining is clients that the balancer still sends there: it does not look at /readyz or /lb. "
            "rate_limited: many behind one address; see TRUSTED_PROXIES.",
            "cps",
            (zero(rate("collab_connections_rejected_total", "reason"), "reason"), "{{reason}}"),
            stacked=True,
        ),
        panel(
            "Time to come in",
            "It rises a little while many come. Above a second: drain more slowly (DRAIN_RATE).",
            "s",
            *quantiles("collab_handshake_duration_seconds"),
            steps=[(1, "bad")],
        ),
        panel(
            "Members taken out",
            "Members of nodes that are gone, in ten minutes. After a drain only those who stayed away; after a kill"
            " everybody.",
            "short",
            ("sum(increase(collab_reaped_members_total{SEL}[10m]))", "members"),
        ),
        panel(
            "Nodes that each node counts",
            "It steps down within LEASE of a node's end. Lines apart for minutes: nodes do not see each other.",
            "short",
            ("collab_cluster_nodes{SEL}", NODE),
        ),
        panel(
            "Holes in rooms' order, per second",
            "A rollout makes none. failed or snapshot here is Redis, at the same time: see the cluster overview.",
            "cps",
            (zero(rate("collab_backplane_gaps_total", "outcome"), "outcome"), "{{outcome}}"),
        ),
        panel(
            "Fan-out latency",
            "From commit to the last socket's write: what those who stay notice of it. Above the line they do; drain"
            " more slowly (DRAIN_RATE).",
            "s",
            *quantiles("collab_fanout_latency_seconds", "path", shares=(0.5, 0.99)),
            steps=FANOUT,
        ),
    ]
    rows = [("Now", False, now), ("Leaving", False, course), ("Coming back", False, coming)]
    about = "A rollout, or a node that is told to stop: who leaves, who comes back, and what it costs."
    return dashboard("collabd-drain", "collabd / Deploy & drain", about, rows, refresh="10s", since="now-30m")
