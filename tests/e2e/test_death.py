"""Nodes die, are frozen, or lose their Redis: whoever is gone is told once, whoever is there stays shown."""

import json
import signal
import threading
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from websockets.exceptions import ConnectionClosed

from support.deadline import eventually
from support.peer import Peer, heard, unique
from support.people import hear_of, metric, moment, said, shown, told
from support.proxy import Proxy

NAMES = ["north", "east", "south"]
# Short enough to wait for; COMMAND_TIMEOUT is shorter still, so that a frozen Redis is noticed in time.
LEASE, BEAT, GRACE, PAUSE = 2.5, 0.5, 1, 4
QUICK = {
    "LEASE": LEASE,
    "BEAT_INTERVAL": BEAT,
    "LEAVE_GRACE": GRACE,
    "REAP_PAUSE": PAUSE,
    "COMMAND_TIMEOUT": 1,
}
# From the last beat until somebody notices, and does it, on a busy machine.
TOLD_WITHIN = LEASE + BEAT + 5
# After the first walk a dead node's rooms are walked once more.
SECOND_LOOK = 30
# A claim lasts this long unless it is renewed.
CLAIM = 15


def start(children, redis, names=NAMES, **settings):
    return [children.node(name, REDIS_URL=redis.url, **settings) for name in names]


def node_id(node):
    return node.get("/health").json["node_id"]


def users_by_rest(node, session):
    return {user["user_id"] for user in node.state(session)["users"]}


def shows(peer, users):
    peer.before_pong()
    return shown(peer) == users


def members(redis, session):
    return redis.client.hlen(f"{{session:{session}}}:members")


def reaps(nodes):
    return [said(node, "a dead node was reaped") for node in nodes]


def left_behind(redis, node):
    """Every key that speaks of a node, and its place in the list of nodes."""
    keys = list(redis.client.scan_iter(f"*{node}*"))
    return keys + ["nodes"] * (redis.client.zscore("nodes", node) is not None)


@pytest.fixture(scope="module")
def sockets():
    """Sockets that live as long as the module's tests."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(Peer(*arguments))


# Two stories take more than half a minute: they go on while the other tests run.


@pytest.fixture(scope="module", autouse=True)
def death(children, sockets):
    """A node is killed in mid-conversation, in a cluster with the defaults."""
    redis = children.redis()
    nodes = north, east, south = start(children, redis)
    session, alone = unique("death"), unique("alone")
    story = SimpleNamespace(redis=redis, nodes=nodes, session=session, alone=alone, acknowledged=[])
    story.watchers = sockets(east, session, "bob"), sockets(south, session, "cat")
    ann, *_ = [sockets(north, session, user) for user in ("ann", "back", "dan")]
    sockets(north, alone, "zoe")
    # Dan's phone is on another node.
    sockets(south, session, "dan")
    for user in ("ann", "back", "dan"):
        for peer in story.watchers:
            hear_of(peer, "user_joined", user)
    everyone = 7
    eventually(lambda: east.get("/health").json["total_connections"] == everyone, "all are counted")
    story.dead = node_id(north)

    def talk():
        for number in range(10_000):
            line = f"line {number}"
            try:
                ann.ask("chat", message=line)
            except ConnectionClosed:
                return
            story.acknowledged.append(line)

    talking = threading.Thread(target=talk)
    talking.start()
    eventually(lambda: len(story.acknowledged) > 20, "the conversation is under way")
    north.signal(signal.SIGKILL)
    story.died_at = time.time()
    talking.join()
    story.returned = sockets(south, session, "back")
    return story


@pytest.fixture(scope="module", autouse=True)
def cut(children, sockets):
    """A node runs, but cannot reach Redis for longer than its lease."""
    redis = children.redis()
    proxy = Proxy(redis.port)
    urls = [f"redis://127.0.0.1:{proxy.port}/0", redis.url, redis.url]
    nodes = [children.node(name, REDIS_URL=url, **QUICK) for name, url in zip(NAMES, urls)]
    story = lonely(redis, nodes, sockets, unique("cut"))
    proxy.cut()
    try:
        for user in ("ann", "dan"):
            hear_of(story.watchers[0], "user_left", user)
    finally:
        proxy.mend()
    story.resumed_at = time.monotonic()
    yield story
    proxy.close()


@pytest.fixture(scope="module", autouse=True)
def pause(children, sockets):
    """A node is frozen for longer than its lease, and goes on."""
    redis = children.redis()
    nodes = start(children, redis, **QUICK)
    story = lonely(redis, nodes, sockets, unique("pause"))
    north, bob = nodes[0], story.watchers[0]
    story.former = node_id(north)
    story.since = [peer.greeting["position"] for peer in story.lonely]
    north.signal(signal.SIGSTOP)
    try:
        for user in ("ann", "dan"):
            hear_of(bob, "user_left", user)
        bob.ask("chat", message="said while they were away")
    finally:
        north.signal(signal.SIGCONT)
    story.resumed_at = time.monotonic()
    story.closed = [closing(peer) for peer in story.lonely]
    eventually(lambda: north.get("/readyz").status == 200, "it lives again")
    story.now = node_id(north)
    story.back = [
        Peer(north, story.session, peer.user, since=since, greeted=False)
        for peer, since in zip(story.lonely, story.since)
    ]
    yield story
    for peer in story.back:
        peer.leave()


def lonely(redis, nodes, sockets, session):
    """Ann and Dan are on a node that the others will not hear of for a while; Bob and Cat are there."""
    north, east, south = nodes
    watchers = sockets(east, session, "bob"), sockets(south, session, "cat")
    # Ann has two sockets there: each must know in the end that she is present.
    alone = [sockets(north, session, user) for user in ("ann", "ann", "dan")]
    for user in ("ann", "dan"):
        for peer in watchers:
            hear_of(peer, "user_joined", user)
    return SimpleNamespace(
        redis=redis, nodes=nodes, session=session, watchers=watchers, lonely=alone, peers=[*watchers, *alone]
    )


def closing(peer):
    """Reads until the server closes; its code and reason."""
    try:
        while True:
            peer.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code, closed.rcvd.reason


def test_a_paused_node_goes_on_as_another(pause):
    """Its people were taken out, and it shows them for ever: nobody reaps them a second time."""
    for code, reason in pause.closed:
        assert code == 1012
        assert json.loads(reason)["retry_in_ms"] >= 0
    assert pause.now != pause.former
    assert "stood still" in pause.nodes[0].log()
    assert metric(pause.nodes[0], "collab_pauses_total") == 1
    assert [metric(node, "collab_pauses_total") for node in pause.nodes[1:]] == [0, 0]


def test_who_was_on_a_paused_node_comes_back_and_misses_nothing(pause):
    """A frozen node costs what was said meanwhile."""
    for peer in pause.back:
        missed = peer.until(lambda frame: frame["type"] == "resumed")
        assert [f["text"] for f in missed if f["type"] == "chat_message"] == ["said while they were away"]
    everyone = {"ann", "bob", "cat", "dan"}
    eventually(
        lambda: all(users_by_rest(node, pause.session) == everyone for node in pause.nodes),
        "everybody is present on every node",
    )
    assert heard(pause.back[2], *pause.watchers, *pause.back)


def test_who_was_on_a_node_without_redis_is_present_again(cut):
    """A node that lost its lease goes on with people whom nobody else sees, or who see themselves gone."""
    everyone = {"ann", "bob", "cat", "dan"}

    def agreed():
        for peer in cut.peers:
            peer.before_pong()
        by_rest = [users_by_rest(node, cut.session) for node in cut.nodes]
        views = [shown(peer) for peer in cut.peers]
        return all(view == everyone for view in by_rest + views)

    eventually(agreed, "everybody is present for everybody")
    assert members(cut.redis, cut.session) == len(cut.peers)
    # Presence is no mere picture: what is said arrives, and who goes is told once.
    before = [len(told(peer, "ann")) for peer in cut.watchers]
    assert heard(cut.lonely[2], *cut.peers)
    assert [len(told(peer, "ann")) for peer in cut.watchers] == before


def test_a_reaper_that_stops_midway_is_replaced(own_children, join):
    """The one who takes a dead node's people out dies as well, and half of them stay for ever."""
    redis = own_children.redis()
    nodes = start(own_children, redis, **QUICK)
    doomed, *others = nodes
    sessions = [unique("reaped") for _ in range(250)]
    names = {node_id(node): node for node in others}
    dead = node_id(doomed)
    for number, session in enumerate(sessions):
        join(doomed, session, f"user-{number}")
    # On each survivor somebody is in a few of the rooms.
    watched = sessions[::50]
    watchers = {node: [join(node, session, "bob") for session in watched] for node in others}
    gone = [f"user-{sessions.index(session)}" for session in watched]
    # Joined before the leases of the cluster can be short of time.
    eventually(lambda: time.monotonic() - others[1].started_at > LEASE, "everybody may reap")
    doomed.signal(signal.SIGKILL)

    def claimed():
        return redis.client.get(f"reap:{dead}")

    first = names[eventually(claimed, "somebody claims the dead node", every=0)]
    first.signal(signal.SIGSTOP)
    (second,) = [node for node in others if node is not first]
    rest = sum(members(redis, session) for session in sessions)
    assert rest > 2 * len(watched), "the reaper was stopped midway"
    assert 0 < redis.client.pttl(f"reap:{dead}") <= CLAIM * 1000
    # What is left of the claim need not be waited for.
    redis.client.pexpire(f"reap:{dead}", 1000)
    for peer, user in zip(watchers[second], gone):
        hear_of(peer, "user_left", user)
    eventually(
        lambda: sum(members(redis, session) for session in sessions) == len(watched),
        "everybody of both is taken out, but for those who live",
    )
    assert said(second, "a dead node was reaped") == 2
    # The first goes on as another node, and does no harm.
    first.signal(signal.SIGCONT)
    assert {closing(peer)[0] for peer in watchers[first]} == {1012}
    for session in watched:
        eventually(lambda: users_by_rest(second, session) == {"bob"}, "Bob is there")
    assert sum(members(redis, session) for session in sessions) == len(watched)
    for peer, user in zip(watchers[second], gone):
        peer.before_pong()
        assert told(peer, user) == ["user_left"], "once"


def test_a_broken_room_keeps_nobody_else_there(own_children, join):
    """One key of another form stops the reaper, and the users of all rooms behind it are ghosts."""
    redis = own_children.redis()
    north, _ = start(own_children, redis, NAMES[:2], **QUICK)
    sessions = [unique("broken") for _ in range(60)]
    for number, session in enumerate(sessions):
        join(north, session, f"user-{number}")
    for session in sessions[:3]:
        key = f"{{session:{session}}}:members"
        redis.client.delete(key)
        redis.client.set(key, "not a hash")
    north.signal(signal.SIGKILL)
    whole = sessions[3:]
    eventually(lambda: sum(members(redis, session) for session in whole) == 0, "all others are taken out")
    for session in whole:
        assert 0 < redis.client.pttl(f"session:{session}")


def test_a_node_that_dies_right_after_its_start_is_reaped(own_children, session, join):
    """Who came before a node's first beat is shown for ever when the node dies."""
    redis = own_children.redis()
    settings = QUICK | {"LEASE": 6, "BEAT_INTERVAL": 3}
    (east,) = start(own_children, redis, ["east"], **settings)
    bob = join(east, session, "bob")
    (north,) = start(own_children, redis, ["north"], **settings)
    join(north, session, "ann")
    north.signal(signal.SIGKILL)
    hear_of(bob, "user_left", "ann")


def test_a_new_node_reaps_a_cluster_that_died(own_children, session, join):
    """After a power cut everybody who was there is shown for ever."""
    redis = own_children.redis()
    nodes = start(own_children, redis, **QUICK)
    for node, user in zip(nodes, ("ann", "bob", "cat")):
        join(node, session, user)
    other = unique("session")
    join(nodes[0], other, "ann")
    for node in nodes:
        node.signal(signal.SIGKILL)
    (new,) = start(own_children, redis, ["new"], **QUICK)
    dan = join(new, session, "dan")
    for user in ("ann", "bob", "cat"):
        hear_of(dan, "user_left", user, TOLD_WITHIN + 5)
    dan.before_pong()
    assert [told(dan, user) for user in ("ann", "bob", "cat")] == [["user_left"]] * 3
    assert users_by_rest(new, session) == {"dan"}
    eventually(lambda: redis.client.pttl(f"session:{other}") > 0, "the empty session begins to expire")
    assert metric(new, "collab_reaped_members_total") == 4
    # Of all times; who was not counted with a beat before the death is not.
    assert 1 <= new.get("/health").json["total_connections"] <= 5


def test_nobody_is_reaped_because_redis_was_away(own_children, join):
    """When Redis is back everybody's lease has run out, and the first node to see that throws all others out."""
    clusters = []
    for durable in (True, False):
        redis = own_children.redis(durable=durable)
        nodes = start(own_children, redis, **QUICK)
        session = unique("away")
        users = ["ann", "bob", "cat", "dan"]
        peers = [join(node, session, user) for node, user in zip(nodes * 2, users)]
        for number, peer in enumerate(peers):
            for user in users[number + 1 :]:
                hear_of(peer, "user_joined", user)
        clusters.append(SimpleNamespace(redis=redis, nodes=nodes, session=session, peers=peers))
    for cluster in clusters:
        cluster.redis.stop()
    stopped_at = time.monotonic()
    # One node really dies meanwhile: Bob's.
    for cluster in clusters:
        cluster.nodes[1].signal(signal.SIGKILL)
        cluster.stay = [peer for peer in cluster.peers if peer.user != "bob"]
    eventually(lambda: time.monotonic() - stopped_at > LEASE + BEAT, "every lease has run out")
    for cluster in clusters:
        cluster.redis.start()
        cluster.back_at = time.time()
    durable = clusters[0]
    for peer in durable.stay:
        gone = hear_of(peer, "user_left", "bob")
        assert PAUSE - 1 < moment(gone) - durable.back_at < PAUSE + LEASE + TOLD_WITHIN
    for cluster in clusters:
        for peer in cluster.stay:
            eventually(lambda: shows(peer, {"ann", "cat", "dan"}), "presence is true")
            assert all("user_left" not in told(peer, user) for user in ("ann", "cat", "dan"))
        assert members(cluster.redis, cluster.session) == len(cluster.stay)
        for node in (cluster.nodes[0], cluster.nodes[2]):
            assert users_by_rest(node, cluster.session) == {"ann", "cat", "dan"}
    assert [sum(reaps(cluster.nodes)) for cluster in clusters] == [1, 0]


# The end of the two long stories


def test_users_of_a_killed_node_are_told_as_gone_once_its_lease_is_over(death):
    """People stay as ghosts, or are told as gone for a hiccup; with the defaults it takes ten seconds."""
    lease, beat, slack = 10, 3, 2
    for peer in death.watchers:
        gone = hear_of(peer, "user_left", "ann")
        took = moment(gone) - death.died_at
        print(f"told after {took:.1f} s")
        assert lease - beat - slack < took < lease + slack
        peer.before_pong()
        assert told(peer, "ann") == ["user_joined", "user_left"], "once"


def test_who_came_back_or_is_elsewhere_never_left(death):
    """A reconnect within the lease, or a phone beside the laptop, looks like leaving."""
    for peer in death.watchers:
        hear_of(peer, "user_left", "ann")
        peer.before_pong()
        assert told(peer, "back") == ["user_joined"]
        assert told(peer, "dan") == ["user_joined"]
    for node in death.nodes[1:]:
        assert users_by_rest(node, death.session) == {"back", "bob", "cat", "dan"}


def test_what_was_acknowledged_before_the_death_is_kept(death):
    """The last words of a node are lost, though their author was told that they are safe."""
    lines = [line["text"] for line in death.returned.greeting["chat"]]
    assert set(death.acknowledged[-50:]) <= set(lines)
    for peer in death.watchers:
        chat = [frame["text"] for frame in peer.history if frame["type"] == "chat_message"]
        assert chat[: len(death.acknowledged)] == death.acknowledged


def test_one_survivor_reaps(death):
    """All survivors do the work of one, or what was done stands in no log."""
    survivors = death.nodes[1:]
    eventually(lambda: sum(reaps(survivors)) == 1, "one has reaped")
    assert sorted(reaps(survivors)) == [0, 1]
    # Ann, back, Dan and Zoe.
    assert sorted(metric(node, "collab_reaped_members_total") for node in survivors) == [0, 4]


def test_totals_lose_a_dead_node(death):
    """The status page counts the people of a node that is gone."""
    for node in death.nodes[1:]:
        # Bob, Cat, Dan's phone, and who came back.
        eventually(lambda: node.get("/status").json["connections"] == 4, "totals")
        status = node.get("/status").json
        assert sorted(other["name"] for other in status["nodes"]) == ["east", "south"]
        assert status["connections"] == 4
        assert metric(node, "collab_cluster_nodes") == 2


def test_rooms_of_a_dead_node_begin_to_expire(death):
    """A session whose last people died with their node is kept for ever."""
    key = f"session:{death.alone}"
    eventually(lambda: death.redis.client.pttl(key) > 0, "the empty session expires")
    for name in (key, *death.redis.client.scan_iter(f"{{{key}}}:*")):
        assert 0 < death.redis.client.pttl(name) <= 300_000, name
    assert death.redis.client.pttl(f"session:{death.session}") == -1, "this one has people"


def test_who_was_on_a_node_without_redis_stays_present(cut):
    """The reaper's second look takes out the people of a node that lives again."""
    after_the_second_look(cut)
    for peer in cut.watchers:
        peer.before_pong()
        for user in ("ann", "dan"):
            assert told(peer, user) == ["user_joined", "user_left", "user_joined"], user
    assert members(cut.redis, cut.session) == len(cut.peers)
    assert cut.redis.client.zcard("nodes") == 3


def test_nothing_of_a_paused_nodes_former_life_is_left(pause):
    """It haunts, beside the node it has become."""
    after_the_second_look(pause)
    for peer in pause.watchers:
        peer.before_pong()
        for user in ("ann", "dan"):
            assert told(peer, user) == ["user_joined", "user_left", "user_joined"], user
    eventually(lambda: left_behind(pause.redis, pause.former) == [], "nothing is left of the former life")
    assert members(pause.redis, pause.session) == len(pause.watchers) + len(pause.back)
    assert pause.redis.client.zcard("nodes") == 3


def after_the_second_look(story):
    since = time.monotonic() - story.resumed_at
    eventually(
        lambda: time.monotonic() - story.resumed_at > SECOND_LOOK + TOLD_WITHIN,
        "the time of the second look is over",
        within=SECOND_LOOK + TOLD_WITHIN - min(since, SECOND_LOOK) + 5,
        every=0.2,
    )


def test_nothing_of_a_dead_node_is_left(death):
    """Every deploy and every crash leaves keys behind, until Redis is full."""
    eventually(
        lambda: left_behind(death.redis, death.dead) == [],
        "all keys of the dead node are gone",
        within=max(1, death.died_at + 10 + 3 + SECOND_LOOK + 10 - time.time()),
        every=0.2,
    )
    assert left_behind(death.redis, node_id(death.nodes[1])) != [], "those of a living node are there"
    assert death.redis.client.zcard("nodes") == 2
