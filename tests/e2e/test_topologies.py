"""Nodes behave as one on a Redis Cluster, behind Sentinels, and by TLS as a user with few rights."""

import pytest

from support import shapes
from support.deadline import eventually
from support.peer import heard, unique
from support.topologies import Cluster, Pair, Secured
from test_cluster import assert_converged, assert_cursors_pass, assert_same_state, gather, insist

NAMES = ["north", "east", "south"]
# The same few people are in many sessions at once.
SETTINGS = {"LEAVE_GRACE": 0.5, "BEAT_INTERVAL": 0.5, "MAX_CONNECTIONS_PER_USER": 1_000}


@pytest.fixture(scope="module")
def cluster(children):
    return Cluster(children)


@pytest.fixture(scope="module")
def on_cluster(children, cluster):
    """Three nodes on a Redis Cluster."""
    return [children.node(name, REDIS_URL=cluster.url, **SETTINGS) for name in NAMES]


def test_people_on_different_nodes_meet_on_a_cluster(on_cluster, join):
    """What belongs to a session is strewn over servers, or its node listens to another one."""
    # Sessions enough to be sure that every master has some.
    for session in (unique("session") for _ in range(12)):
        ann, bob = gather(on_cluster[:2], session, join, "ann", "bob")
        ann.send("chat", message="hello")
        for peer in (ann, bob):
            peer.hears(shapes.chat_message("ann", "hello"))
        bob.send("code_change", code="x = 1")
        ann.hears(shapes.code_update("bob", "x = 1", 1))
        assert_cursors_pass(ann, bob, 3)
        assert_same_state(on_cluster, session, join)


def test_every_master_of_a_cluster_has_sessions(cluster, on_cluster, join):
    """All goes through one server, and the others are there for nothing."""
    peers = [join(on_cluster[number % 3], unique("session"), f"user-{number}") for number in range(24)]
    for peer in peers:
        assert peer.ask("chat", message="hello")["type"] == "ack"
    for server in cluster.servers:
        assert server.client.dbsize() > 0


def test_totals_are_those_of_all_nodes_on_a_cluster(on_cluster, session, join):
    """Nodes do not see each other, because what they report lies on different servers."""
    gather(on_cluster, session, join, "ann", "bob", "cat")
    eventually(
        lambda: all(node.get("/status").json["connections"] == 3 for node in on_cluster),
        "every node counts the sockets of all three",
    )


def test_a_pair_fails_over_in_mid_conversation(own_children, session, join):
    """A failover loses what was acknowledged, keeps people apart, or needs somebody to restart the nodes."""
    pair = Pair(own_children)
    nodes = [own_children.node(name, REDIS_URL=pair.url, **SETTINGS) for name in NAMES[:2]]
    peers = ann, bob, cat = gather(nodes, session, join, "ann", "bob", "cat")
    for number in range(20):
        assert ann.ask("chat", message=f"before {number}", id=f"before-{number}")["type"] == "ack"
    assert bob.ask("code_change", code="before")["type"] == "ack"
    pair.replicated()
    pair.master.kill()

    insist(cat, "chat", message="after")
    # Repeated by a client that does not know whether it was heard: it happens once all the same.
    insist(ann, "chat", message="before 19", id="before-19")
    insist(bob, "code_change", code="after")
    insist(ann, "language", language="go")
    insist(bob, "chat", message="the end")
    lines = assert_converged(nodes, session, peers, "the end", code="after", language="go")
    assert lines == [*(f"before {number}" for number in range(20)), "after", "the end"]
    for node in nodes:
        eventually(lambda: node.get("/health/redis").status == 200, "the node is well again")


def test_tls_a_user_with_few_rights_and_a_prefix(own_children, session, join):
    """A node trusts anybody, needs an almighty user, strays out of its keys, or logs its password."""
    redis = own_children.adopt(Secured(prefix="eu-"))
    redis.start()
    settings = {"REDIS_URL": redis.url, "REDIS_CA": redis.ca, "KEY_PREFIX": "eu-", **SETTINGS}
    nodes = [own_children.node(name, **settings) for name in NAMES[:2]]
    ann, bob = gather(nodes, session, join, "ann", "bob")
    ann.send("chat", message="hello")
    bob.send("code_change", code="x = 1")
    assert heard(ann, bob) == [[shapes.chat_message("ann", "hello")]]
    ann.until(lambda frame: frame == shapes.code_update("bob", "x = 1", 1))
    assert_cursors_pass(bob, ann, 5)
    assert_same_state(nodes, session, join)

    keys = list(redis.client.scan_iter("*"))
    assert f"eu-session:{session}" in keys
    assert [key for key in keys if not key.startswith(("eu-", "{eu-"))] == []
    channels = {f"{{eu-session:{session}}}:events", "{eu-lobby}:events"}
    listened = set(redis.client.pubsub_shardchannels())
    probes = {channel for channel in listened if channel.startswith("{eu-probe:")}
    assert listened - probes == channels and len(probes) == len(nodes)
    assert redis.client.acl_log() == [], "nothing was refused"
    for node in nodes:
        assert node.terminate() == 0
        assert redis.password not in node.log()
        assert redis.url not in node.log()


@pytest.mark.parametrize(
    "url,ca",
    [
        ("redis-cluster://127.0.0.1:7000/1", ""),
        ("redis-cluster://127.0.0.1:7000?nodes=127.0.0.1:7001", ""),
        ("redis-sentinel://127.0.0.1:26379?node=127.0.0.1:26380", ""),
        ("redis://ann@127.0.0.1", ""),
        ("rediss://127.0.0.1", "/nowhere/ca.pem"),
        ("redis://127.0.0.1", "/etc/hostname"),
    ],
)
def test_what_could_not_work_is_refused_before_the_start(on_cluster, url, ca):
    """A typing error is found when the first person comes."""
    answer = on_cluster[0].run("check-config", REDIS_URL=url, REDIS_CA=ca)
    assert answer.returncode == 78, answer
    assert ("REDIS_CA" if ca else "REDIS_URL") in answer.stdout + answer.stderr
