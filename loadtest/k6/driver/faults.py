"""What goes wrong while k6 talks, in step with it: each waits for what it is to disturb.

What does not come about within its time is an exception, and the scenario is missed, whatever k6's thresholds say.
"""

import time

from .cluster import NODES
from .slow import Slow

# Of sockets, until all are in (again). A machine that is busy with other things needs it.
PATIENCE = 120
# Of talk before and after, unless CALM says, so that there is something to compare with. Seconds.
CALM = 3


def none(cluster, sizes, say):
    """Nothing."""


def rolling_restart(cluster, sizes, say):
    """Every node in turn is told to stop and started again; the next one when all sockets are in again."""
    await_sockets(cluster, sizes, say)
    time.sleep(sizes.get("CALM", CALM))
    for number in range(1, NODES + 1):
        here = cluster.metric("collab_connections", number)
        said = cluster.order("drain", str(number)).strip()
        say(f"node {number} had {here:.0f} sockets; {said}")
        cluster.order("start", str(number))
        await_sockets(cluster, sizes, say)
        time.sleep(sizes.get("CALM", CALM))


def redis_kill(cluster, sizes, say):
    """Redis dies, is away for OUTAGE seconds, and comes back with what its append-only file has."""
    await_sockets(cluster, sizes, say)
    time.sleep(sizes.get("CALM", CALM))
    cluster.order("kill", "redis")
    say("redis was killed")
    cluster.until("every node notices", lambda: cluster.metric("collab_backplane_connected") == 0, PATIENCE)
    time.sleep(sizes.get("OUTAGE", 3))
    cluster.order("start", "redis")
    took = cluster.until("every node is back", lambda: cluster.metric("collab_backplane_connected") == NODES, PATIENCE)
    say(f"redis is back, and after {took:.1f} s so are all nodes")
    time.sleep(sizes.get("CALM", CALM))


def reconnect_storm(cluster, sizes, say):
    """A node is killed; when all its people are with the others it is started again."""
    await_sockets(cluster, sizes, say)
    time.sleep(sizes.get("CALM", CALM))
    here = cluster.metric("collab_connections", 2)
    cluster.order("kill", "2")
    survivors = [number for number in range(1, NODES + 1) if number != 2]
    wanted = sizes["SOCKETS"]
    took = cluster.until(
        "everybody is with the survivors", lambda: cluster.metric("collab_connections", *survivors) >= wanted, PATIENCE
    )
    say(f"node 2 was killed with {here:.0f} sockets; after {took:.1f} s all were with the others")
    time.sleep(sizes.get("CALM", CALM))
    cluster.order("start", "2")
    time.sleep(sizes.get("CALM", CALM))


def slow_consumers(cluster, sizes, say):
    """Some of a room do not read, until each was closed with 4503; then they come back.

    Who missed no more than OUTBOX_BYTES is told that, others the whole: both are in order.
    """
    await_sockets(cluster, sizes, say)
    closed = 'collab_connections_closed_total{code="4503"}'
    count = sizes["SLOW"]
    nodes = cluster.nodes()
    before = cluster.metric(closed)
    people = [Slow(nodes[nth % len(nodes)], sizes["ROOM"], f"slow-{nth}") for nth in range(count)]
    for person in people:
        person.greet()
    took = cluster.until("all slow ones are closed", lambda: cluster.metric(closed) - before >= count, PATIENCE)
    say(f"{count} who did not read were closed with 4503, the last after {took:.1f} s")
    resumed = [person.return_() for person in people]
    for person in people:
        person.leave()
    say(f"all came back: {sum(resumed)} were told what they missed, {count - sum(resumed)} the whole")


def await_sockets(cluster, sizes, say):
    wanted = sizes["SOCKETS"]
    took = cluster.until(f"{wanted} sockets", lambda: cluster.connections() >= wanted, PATIENCE)
    say(f"all {wanted} sockets are in, {took:.1f} s after they were looked for")
