"""A node leaves in order: balancers notice first, then everybody is asked to come back, and nobody has left."""

import signal
import socket
import threading
import time
from contextlib import ExitStack, suppress
from types import SimpleNamespace

import pytest
from websockets.exceptions import ConnectionClosed, WebSocketException

from support import shapes
from support.crowd import Crowd
from support.deadline import eventually
from support.peer import Peer, door, unique
from support.people import hear_of, told
from support.processes import Node, free_port
from support.raw import CLOSE as CLOSE_FRAME
from support.raw import RawSocket, Wire

# Short enough to wait for, and far enough apart to be told from each other.
DELAY, RATE, GRACE, BEAT, CLOSE = 2, 100, 2, 0.5, 1.5
SETTINGS = {
    "DRAIN_DELAY": DELAY,
    "DRAIN_RATE": RATE,
    "DRAIN_WINDOW": 10,
    "LEAVE_GRACE": GRACE,
    "CLOSE_TIMEOUT": CLOSE,
    "LEASE": 3,
    "BEAT_INTERVAL": BEAT,
    "REAP_PAUSE": 2,
    "COMMAND_TIMEOUT": 1,
}
AT_ONCE = SETTINGS | {"DRAIN_DELAY": 0}
# A busy machine that does other things, too, on top of what the settings say.
SLACK = 6


def start(children, redis, names=("leaving", "staying"), **settings):
    return [children.node(name, REDIS_URL=redis.url, **settings) for name in names]


def node_id(node):
    return node.get("/health").json["node_id"]


def exit_of(node, within):
    """The exit code, and when it came."""
    code = node.process.wait(within)
    return code, time.monotonic()


def ttl(redis, session):
    return redis.client.pttl(f"session:{session}")


class Sampler:
    """Looks at a node all the time, until it is gone."""

    def __init__(self, node):
        self.node, self.figures = node, []
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self):
        with suppress(OSError, AssertionError):
            while self.node.alive:
                text = self.node.metrics()
                self.figures.append(SimpleNamespace(at=time.monotonic(), **figures(text)))
                time.sleep(0.05)

    def last(self, name):
        return getattr(self.figures[-1], name)


def figures(text):
    series = {
        "draining": "collab_draining ",
        "remaining": "collab_drain_remaining_connections ",
        "closed": 'collab_drain_closed_total{result="closed"} ',
        "forced": 'collab_drain_closed_total{result="forced"} ',
    }
    lines = text.splitlines()
    return {
        name: next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))
        for name, start in series.items()
    }


# Who is alone, in a hurry, or without Redis


@pytest.mark.parametrize("with_redis", [False, True], ids=["memory", "redis"])
def test_a_node_alone_drains_as_well(own_children, session, with_redis):
    """Without others nobody is told to come back, or who was there stays in Redis for ever."""
    redis = own_children.redis() if with_redis else None
    settings = SETTINGS | {"DRAIN_DELAY": 0.5} | ({"REDIS_URL": redis.url} if redis else {})
    node = own_children.node(**settings)
    name = node_id(node)
    crowd = Crowd(node, 30)
    with Peer(node, session, "ann") as ann:
        began = time.monotonic()
        node.signal(signal.SIGTERM)
        assert ann.close_code() == 1012
        crowd.wait(30, 0.5 + 1 + SLACK)
    assert exit_of(node, 10)[0] == 0
    assert {end.code for end in crowd.ends.values()} == {1012}
    assert 0.5 <= min(end.at for end in crowd.ends.values()) - began
    if redis:
        assert all(0 < ttl(redis, room) <= 300_000 for room in (session, *crowd.sessions))
        assert list(redis.client.scan_iter(f"*{name}*")) == []
        assert redis.client.zcard("nodes") == 0


def test_a_cluster_that_is_stopped_as_a_whole_leaves_nobody_behind(own_children, session, join):
    """All leave their people to each other, and nobody takes them out."""
    redis = own_children.redis()
    nodes = start(own_children, redis, ("north", "east", "south"), **SETTINGS)
    for number, node in enumerate(nodes):
        join(node, session, f"user-{number}")
    for node in nodes:
        node.signal(signal.SIGTERM)
    assert [exit_of(node, 15)[0] for node in nodes] == [0, 0, 0]
    assert redis.client.hlen(f"{{session:{session}}}:members") == 0
    assert 0 < ttl(redis, session) <= 300_000


def test_a_second_sigterm_ends_it_at_once(own_children, session, join):
    """An operator who is in a hurry must kill the node."""
    node = own_children.node(**SETTINGS | {"DRAIN_DELAY": 60})
    join(node, session, "ann")
    node.signal(signal.SIGTERM)
    eventually(lambda: node.get("/readyz").status == 503, "it is on its way")
    again = time.monotonic()
    node.signal(signal.SIGTERM)
    code, at = exit_of(node, 10)
    assert code == 0
    assert at - again < SLACK
    assert "panicked" not in node.log()


def test_sigint_waits_for_no_balancer(own_children):
    """Ctrl-C at a developer's terminal takes a minute, or drops people without a word."""
    node = own_children.node(**SETTINGS | {"DRAIN_DELAY": 60, "DRAIN_RATE": 1})
    crowd = Crowd(node, 50)
    began = time.monotonic()
    node.signal(signal.SIGINT)
    crowd.wait(50, SLACK)
    code, at = exit_of(node, 10)
    assert code == 0
    assert at - began < CLOSE + SLACK
    assert {end.code for end in crowd.ends.values()} == {1012}


def test_who_still_says_something_is_not_cut_off(own_children, session):
    """Behind a proxy a client that spoke at that moment gets a reset in the place of 1012, because our end came first."""
    node = own_children.node(**AT_ONCE | {"CLOSE_TIMEOUT": 5})
    with RawSocket(node, door(session, "ann")) as ann:
        assert ann.recv_json()["type"] == "session_state"
        node.signal(signal.SIGTERM)
        while (told := ann.recv_frame()).opcode != CLOSE_FRAME:
            pass
        ann.send_json("ping")
        ann.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            ann.socket.recv(1)
        ann.socket.settimeout(10)
        ann.send_frame(CLOSE_FRAME, told.payload[:2])
        assert ann.rest() == b""
    assert exit_of(node, 10)[0] == 0


def test_who_does_not_read_holds_nobody_up(own_children, session, join):
    """One laptop that sleeps keeps the node from ending until it is killed."""
    settings = AT_ONCE | {"OUTBOX_BYTES": 100_000_000, "MESSAGE_QUEUE_SIZE": 10_000}
    node = own_children.node(**settings)
    writer = join(node, session, "writer")
    idle = [Wire(node) for _ in range(3)]
    idle[1].send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert idle[1].head().status == 200
    idle[2].send(b"GET /livez HTTP/1.1\r\n")
    with ExitStack() as stack:
        for user in ("sleeper", "dreamer"):
            stack.enter_context(RawSocket(node, door(session, user), receive_buffer=4096))
            writer.until(lambda frame: frame == shapes.joined(user))
        for number in range(40):
            writer.ask("code_change", code=f"{number}" * 200_000)
        sampler = Sampler(node)
        began = time.monotonic()
        node.signal(signal.SIGTERM)
        assert writer.close_code() == 1012
        code, at = exit_of(node, 15)
    print(f"exit after {at - began:.2f} s")
    assert code == 0
    assert CLOSE <= at - began < 1 + CLOSE + CLOSE + SLACK
    sampler.thread.join()
    # The last one ends together with the node.
    assert sampler.last("closed") == 1 and sampler.last("forced") >= 1
    for wire in idle:
        wire.socket.close()


def test_who_says_nothing_at_the_door_holds_nobody_up(own_children):
    """A connection that never gets beyond its first bytes keeps the node from ending."""
    node = own_children.adopt(Node("node", **AT_ONCE | {"HANDSHAKE_TIMEOUT": 60, "PROXY_PROTOCOL": "true", "TRUSTED_PROXIES": "127.0.0.1"}))
    node.spawn()
    with eventually(lambda: knocks(node), "it listens"):
        began = time.monotonic()
        node.signal(signal.SIGTERM)
        code, at = exit_of(node, 15)
    assert code == 0
    assert at - began < CLOSE + SLACK


def knocks(node):
    """A connection that says nothing, which a node may not take yet."""
    with suppress(OSError):
        return Wire(node)


def test_those_who_still_knock_hold_nobody_up(own_children, session):
    """As long as refused people linger at the door the node does not end."""
    size, rate = 20, 10
    node = own_children.node(**AT_ONCE | {"DRAIN_RATE": rate})
    crowd = Crowd(node, size)
    knocked = []

    def knock():
        with suppress(OSError, EOFError):
            while True:
                # A browser that is refused, and does not go.
                knocked.append(RawSocket(node, door(session, "more"), Origin="http://example.org"))
                time.sleep(0.1)

    began = time.monotonic()
    node.signal(signal.SIGTERM)
    crowd.wait(1, SLACK)
    knockers = [threading.Thread(target=knock) for _ in range(2)]
    for knocker in knockers:
        knocker.start()
    code, at = exit_of(node, 30)
    for knocker in knockers:
        knocker.join()
    print(f"exit after {at - began:.2f} s, {len(knocked)} refused")
    for raw in knocked:
        raw.socket.close()
    assert code == 0
    assert len(knocked) > size
    assert at - began < size / rate + 2 * CLOSE + SLACK


def test_a_node_leaves_in_time_without_redis(own_children, join):
    """While Redis is away, or hangs, a node cannot be stopped, or its people are never told as gone."""
    away, hung = (own_children.redis(durable=True) for _ in range(2))
    clusters = []
    for redis in (away, hung):
        leaving, staying = start(own_children, redis, **AT_ONCE)
        session = unique("session")
        watcher = join(staying, session, "watcher")
        peer = join(leaving, session, "ann")
        hear_of(watcher, "user_joined", "ann")
        clusters.append(SimpleNamespace(leaving=leaving, watcher=watcher, peer=peer))
    away.stop()
    hung.signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        for cluster in clusters:
            cluster.leaving.signal(signal.SIGTERM)
        for cluster in clusters:
            assert cluster.peer.close_code() == 1012
            code, at = exit_of(cluster.leaving, 20)
            assert code == 0
            print(f"exit after {at - began:.2f} s")
            assert at - began < 10 + SLACK
    finally:
        hung.signal(signal.SIGCONT)
    away.start()
    for cluster in clusters:
        hear_of(cluster.watcher, "user_left", "ann")
        cluster.watcher.before_pong()
        assert told(cluster.watcher, "ann") == ["user_joined", "user_left"]
        assert told(cluster.watcher, "watcher") == []


def test_a_node_that_was_never_ready_leaves_at_once(own_children):
    """A node whose Redis hangs at the start cannot be stopped."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", free_port()))
        silent.listen()
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        node = own_children.node(ready=False, REDIS_URL=url, **AT_ONCE)
        assert node.get("/readyz").status == 503
        began = time.monotonic()
        node.signal(signal.SIGTERM)
        code, at = exit_of(node, 15)
    assert code == 0
    print(f"exit after {at - began:.2f} s")
    assert at - began < 1 + SLACK


# A deploy


class Talker:
    """Someone who talks all the time, and comes back to the next node when asked to."""

    def __init__(self, nodes, session, user):
        self.nodes, self.session, self.user = nodes, session, user
        self.said, self.sockets, self.codes = [], [], []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._talk, daemon=True)
        self.thread.start()

    def _talk(self):
        number, unanswered = 0, None
        while not self.stop.is_set():
            try:
                peer = Peer(self.nodes[0], self.session, self.user)
            except (OSError, WebSocketException):
                # On its way out or in: the way to take changes in a moment.
                time.sleep(0.05)
                continue
            self.sockets.append(peer)
            try:
                while not self.stop.is_set():
                    line = unanswered or f"{self.user} {number}"
                    unanswered, number = line, number + (unanswered is None)
                    # With an id, so that what was not answered can be said again.
                    answer = peer.ask("chat", message=line, id=line)
                    if answer["type"] == "ack":
                        self.said.append(line)
                        unanswered = None
                    time.sleep(0.02)
            except ConnectionClosed as closed:
                self.codes.append(closed.rcvd.code if closed.rcvd else 1006)


def test_a_rolling_deploy_loses_no_line_and_nobody(own_children, session, join):
    """While nodes are replaced one by one, lines are lost or doubled, or people are told as gone who are there."""
    redis = own_children.redis()
    settings = AT_ONCE | {"DRAIN_DELAY": 0.5, "CHAT_HISTORY": 10_000}
    old = start(own_children, redis, ("old-1", "old-2", "old-3"), **settings)
    # Where people are sent: the first that is ready, as a balancer would say it.
    ways = [[old[0], old[1]], [old[1], old[2]], [old[2], old[0]]]
    talkers = [Talker(way, session, user) for way, user in zip(ways, ("ann", "bob", "cat"))]
    eventually(lambda: all(len(talker.said) > 5 for talker in talkers), "the conversation is under way")
    for leaving in old:
        (new,) = start(own_children, redis, (leaving.name.replace("old", "new"),), **settings)
        for talker in talkers:
            talker.nodes = [new if talker.nodes[0] is leaving else talker.nodes[0]]
        leaving.signal(signal.SIGTERM)
        assert exit_of(leaving, 15)[0] == 0
    spoken = [len(talker.said) for talker in talkers]
    # Until what the last node left behind is reaped.
    last = join(new, session, "dan")
    eventually(lambda: redis.client.zcard("nodes") == 3 or said_by(own_children, "was reaped") == 3, "reaped")
    eventually(lambda: all(len(t.said) > n + 5 for t, n in zip(talkers, spoken)), "they go on")
    for talker in talkers:
        talker.stop.set()
    for talker in talkers:
        talker.thread.join()
        assert talker.codes == [1012]
    last.before_pong()
    with Peer(new, session, "eve") as eve:
        lines = [line["text"] for line in eve.greeting["chat"]]
    for talker in talkers:
        assert [line for line in lines if line.startswith(talker.user)] == talker.said
        for peer in [last, *talker.sockets, *(other.sockets[-1] for other in talkers)]:
            assert [told(peer, user).count("user_left") for user in ("ann", "bob", "cat")] == [0, 0, 0]
    for talker in talkers:
        for peer in talker.sockets:
            peer.leave()


def said_by(children, sentence):
    return sum(child.log().count(sentence) for child in children.all)
