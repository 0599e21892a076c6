"""Whether every panel and rule has something to show: a cluster that lives through a little of everything.

    python tests/ops/panels.py        # needs the packages of tests/ops/requirements.txt, and cluster.sh's programs

Prints what each query gave and ends with 1 when one gave nothing. COLLABD names the program, as for deploy/cluster.sh.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from promql import asked, filled, queries_of, rules_of
from traffic import There, Traffic, tokens

from support import bridge
from support.deadline import eventually
from support.neighbour import Neighbour
from support.peer import Peer
from support.people import metric

ROOT = Path(__file__).resolve().parents[2]
# Four times what cluster.sh scrapes at.
RATE_INTERVAL = "8s"
STEP = 2
ROUNDS = 8
BEATS = 'collab_backplane_command_duration_seconds_count{op="beat"}'

# What would take an hour to bring about, or a node that is broken. Alerts ask for it all the same.
NOT_MADE = {
    ("code", "4503"): "a client that does not read",
    ("reason", "capacity|busy"): "more clients than a node takes",
    ("reason", "relay_full|backplane_lagged"): "more events than a node takes",
    ("reason", "unreadable"): "a newer version's events",
    ("reason", "unrecorded"): "a database that is away for longer than the log reaches",
    ("reason", "records_unavailable"): "a database that is away",
    ("code", "records_unavailable"): "the same",
    ("result", "dead"): "a bridge that never answers",
}


@dataclass
class Observed:
    """`pages`: /metrics of nodes, at several times. `gave`: (where, query, how many series)."""

    pages: list
    gave: list

    @property
    def empty(self):
        return [(where, query) for where, query, series in self.gave if not series]


class Cluster:
    """deploy/cluster.sh with three nodes, a broker and Prometheus, in a folder of its own."""

    def __init__(self, **settings):
        self.environment = os.environ | {"CLUSTER_DIR": tempfile.mkdtemp(prefix="collabd-panels-")}
        given = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
        # When it cannot, it ends what it had started.
        self.call("up", "--nodes", "3", "--with", "rabbitmq,prometheus", *given)
        self.known = dict(line.split("=", 1) for line in self.call("env").splitlines())
        self.nodes = [There(self.known[f"NODE_{n}"], self.known[f"METRICS_{n}"]) for n in (1, 2, 3)]
        self.front = There(self.known["URL"].removeprefix("http://"))

    def call(self, *words):
        done = subprocess.run(
            [ROOT / "deploy/cluster.sh", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"cluster.sh {' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.call("down")

    def ask(self, path, **query):
        url = f"{self.known['PROMETHEUS_URL']}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]["result"]

    def scraped(self):
        """Waits until every node was looked at once more."""
        looked = lambda: {
            one["metric"]["instance"]: float(one["value"][1]) for one in self.ask("query", query='timestamp(up{job="collabd"})')
        }
        before = looked()
        eventually(lambda: all(at > before.get(node, 0) for node, at in looked().items()), "another scrape", every=0.2)

    def shows(self, query):
        """Waits until Prometheus has something for it."""
        return eventually(lambda: self.ask("query", query=query), f"Prometheus shows {query}", every=0.2)

    def acquainted(self):
        """Waits until every node has said twice that it lives: the second time it knows all who did the first."""
        said = lambda: [metric(node, BEATS) for node in self.nodes]
        before = said()
        eventually(
            lambda: all(now >= then + 2 for now, then in zip(said(), before)), "nodes know each other", every=0.2
        )

    def series(self, query, since):
        """How many series the query gave at any time, of values that are numbers."""
        answer = self.ask("query_range", query=query, start=since, end=time.time(), step=STEP)
        return sum(any(value != "NaN" for _, value in one["values"]) for one in answer)


def observe():
    """Brings the cluster up, lives through everything, and asks."""
    told, service = bridge.Bridge(), Neighbour()
    service.instead = lambda path: (200, b'{"id": "x", "username": "Somebody"}', {"Content-Type": "application/json"})
    settings = {
        "JWT_SECRET": tokens.SECRET,
        "IDE_BRIDGE_URL": told.url,
        "IDE_BRIDGE_SECRET": bridge.SECRET,
        "USER_SERVICE_URL": service.url,
        "AI_AGENTS_URL": service.url,
        "AGENT_LOST_AFTER": 2,
        "DRAIN_DELAY": 4,
    }
    try:
        with Cluster(**settings) as cluster:
            return live_and_look(cluster)
    finally:
        told.stop()
        service.stop()


def live_and_look(cluster):
    began = time.time()
    pages = []
    cluster.shows('count(up{job="collabd"} == 1) == 3')
    talk(cluster)
    pages += [node.metrics() for node in cluster.nodes]
    roll(cluster)
    lose_redis(cluster)
    talk(cluster)
    pages += [node.metrics() for node in cluster.nodes]
    return Observed(pages, list(look(cluster, began)))


def talk(cluster):
    with Traffic(cluster.nodes, cluster.front, cluster.known["RABBITMQ_URL"]) as traffic:
        for _ in range(ROUNDS):
            traffic.tick()
            cluster.scraped()


def roll(cluster):
    """A node with people on it is drained and comes back."""
    crowd = [Peer(cluster.nodes[2], f"crowd-{number // 5}", f"user-{number}") for number in range(20)]
    cluster.scraped()
    cluster.call("drain", "3")
    assert {peer.close_code() for peer in crowd} == {1012}
    cluster.call("start", "3")
    cluster.shows('count(up{job="collabd"} == 1) == 3')
    cluster.acquainted()


def lose_redis(cluster):
    """Redis is away for a moment, and comes back without what it had: holes that nobody can fill."""
    with Peer(cluster.nodes[0], "pair", "ann"), Peer(cluster.nodes[1], "pair", "bob"):
        cluster.call("stop", "redis")
        cluster.shows("count(collab_backplane_connected == 0) == 3")
        assert cluster.nodes[0].get("/api/v1/session/pair/state").status == 503
        shutil.rmtree(Path(cluster.known["CLUSTER_DIR"], "redis/appendonlydir"))
        cluster.call("start", "redis")
        cluster.shows("count(collab_backplane_connected == 1) == 3")
        cluster.acquainted()


def look(cluster, since):
    """Of every panel, every recording rule, and every series that an alert asks for."""
    cluster.scraped()
    asking = [*panels_queries(), *rules_queries()]
    for where, query in asking:
        yield where, query, cluster.series(query, since)


def panels_queries():
    for where, query in queries_of(ROOT):
        query = filled(query, RATE_INTERVAL)
        # What is counted seldom is shown as 0 until then. Here it is to be counted.
        counted, _, instead = query.partition(" or on () ")
        if instead:
            yield where, query
        # Alerts need not fire.
        if not any(is_not_made(matchers) for _, matchers in asked(counted).selectors) and "ALERTS" not in counted:
            yield f"{where}, counted", counted


def rules_queries():
    for rule in rules_of(ROOT):
        if "record" in rule:
            yield rule["record"], rule["record"]
            continue
        for name, matchers in asked(rule["expr"]).selectors:
            matchers = [] if is_not_made(matchers) else matchers
            written = ", ".join(f"{label}{SIGNS[sign]}{json.dumps(value)}" for label, sign, value in matchers)
            yield f"{rule['alert']} {name}", f"{name}{{{written}}}"


def is_not_made(matchers):
    return any((label, value) in NOT_MADE for label, _, value in matchers)


SIGNS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}


def main():
    observed = observe()
    for where, _, series in observed.gave:
        print(f"{series:4} {where}")
    for where, query in observed.empty:
        print(f"nothing: {where}: {query}")
    print(f"{len(observed.gave)} queries, {len(observed.empty)} without anything")
    return 1 if observed.empty else 0


if __name__ == "__main__":
    sys.exit(main())
