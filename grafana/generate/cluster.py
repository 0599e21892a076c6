"""The dashboard of all nodes together."""

from beside import agents, courier, intake, neighbours, records, texts
from common import ASKED, ERRORS, FANOUT
from core import backplane, delivery, doors, http
from shapes import dashboard, quantile, rate, stat, zero


def cluster():
    glance = [
        stat(
            "Nodes",
            "Nodes that give figures. Fewer than were started: see the alert CollabNodeDown.",
            "short",
            "count(collab_build_info{SEL})",
        ),
        stat(
            "Sockets",
            "Open at all doors. A drop that no rollout explains is people who were cut off: see closed, by close code.",
            "short",
            "sum(collab_connections{SEL})",
        ),
        stat(
            "Nodes without Redis",
            "Anything but 0: durable commands are refused there.",
            "short",
            "count(collab_backplane_connected{SEL}) - sum(collab_backplane_connected{SEL})",
            steps=[(1, "bad")],
        ),
        stat(
            "Fan-out p99",
            "From commit to the last socket's write. Above 250 ms people notice.",
            "s",
            quantile(0.99, "collab_fanout_latency_seconds"),
            steps=FANOUT,
        ),
        stat(
            "Delivered",
            "Events delivered to nodes' rooms, per second. Zero with many sockets open: nobody is heard, or nobody"
            " speaks.",
            "cps",
            rate("collab_events_routed_total"),
        ),
        stat(
            "Answers that are errors",
            "5xx of all answers, probes left out. Some per cent are normal while something is away, and not otherwise.",
            "percentunit",
            zero(
                f"{rate('collab_http_requests_total', more=ERRORS)} / {rate('collab_http_requests_total', more=ASKED)}"
            ),
            steps=[(0.05, "bad")],
        ),
        stat(
            "Draining",
            "Nodes on their way out. For more than two minutes: CollabDrainStuck.",
            "short",
            "sum(collab_draining{SEL})",
            steps=[(1, "odd")],
        ),
        stat(
            "Alerts",
            "Alerts of collabd that fire; docs/runbooks.md has a section for each.",
            "short",
            zero('count(ALERTS{alertname=~"Collab.+", alertstate="firing", job=~"$job|"})'),
            steps=[(1, "bad")],
        ),
    ]
    rows = [
        ("At a glance", False, glance),
        ("Doors", False, doors()),
        ("Delivery", False, delivery()),
        ("Redis", False, backplane()),
        ("Shared text", True, texts()),
        ("HTTP", True, http()),
        ("Records", True, records()),
        ("Courier and notifications", True, courier()),
        ("Match events", True, intake()),
        ("Agents", True, agents()),
        ("Other services and the IDE bridge", True, neighbours()),
    ]
    return dashboard(
        "collabd-cluster",
        "collabd / Cluster overview",
        "All nodes together: who is here, what is said, and whether it is heard.",
        rows,
    )
