"""Two nodes behind a balancer that keeps nobody on a node: both doors of Socket.IO, by the official clients."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import jwt
import pytest
from support import processes
from support.balancer import Balancer
from support.deadline import eventually
from support.http import request
from support.pad import CLIENTS, pad
from support.peer import unique
from support.processes import Node
from support.raw import Wire
from test_code_rooms import engine, opened, polled, posted
from test_origin_and_tls import Certificate, Files

# Those whose requests are dealt out to both nodes.
POLLING = [client for client in CLIENTS if not client.endswith("websocket")]


class Cluster:
    def __init__(self, children, **settings):
        self.redis = children.redis(durable=True)
        self.nodes = [children.node(name, REDIS_URL=self.redis.url, **settings) for name in ("one", "two")]
        self.balancer = children.adopt(Balancer(self.nodes).start())
        # Each knows the other by its next beat.
        for node in self.nodes:
            eventually(lambda node=node: len(node.get("/status").json["nodes"]) == 2, "they know each other", within=15)


@pytest.fixture(scope="module")
def cluster(children):
    return Cluster(children, BEAT_INTERVAL="0.3")


@pytest.fixture
def own(own_children):
    return Cluster(own_children, BEAT_INTERVAL="0.3", LEASE="1.5", DRAIN_WINDOW="1", REAP_PAUSE="1")


@pytest.fixture
def room():
    return unique("room")


def event(sender, *recipients, **more):
    return {"type": "position_shared", "from_user": sender, "to_users": list(recipients), "data": {"position_id": "p"}} | more


@pytest.mark.parametrize("client", CLIENTS)
def test_code_rooms_behind_a_balancer(cluster, room, client):
    """A poll that comes to the other node ends the connection, or a message is lost on the way."""
    with pad(cluster.balancer, client, "ann") as ann, pad(cluster.balancer, client, "bob") as bob:
        for each in (ann, bob):
            each.join(room)
        for number in range(20):
            ann.change(room, f"text {number}")
            bob.until_code(f"text {number}")
        bob.change(room, "back")
        ann.until_code("back")
        bob.emit("change", {"room": room})
        assert bob.next("error")["field"] == "code"
        if client.endswith("both"):
            eventually(lambda: ann.transport == "websocket", "it has changed over, wherever that came to")
        bob.ask("leave", {"room": room})
        ann.change(room, "alone")
        assert ann.nothing_before_pong() and bob.nothing_before_pong()


@pytest.mark.parametrize("client", CLIENTS)
def test_couriers_behind_a_balancer(cluster, client):
    """The same for events between users."""
    ann, bob, cid = unique("ann"), unique("bob"), unique("cid")
    with ExitStack() as stack:
        come = lambda user: stack.enter_context(pad(cluster.balancer, client, user, display_name=user))
        first, second = come(ann), come(bob)
        for each, user in ((first, ann), (second, bob)):
            assert each.next("connected")["user_id"] == user
        first.emit("collab_event", event(ann, bob, cid, id="k"))
        ack = first.next("event_ack")
        assert (ack["delivered_to"], ack["queued"], ack["total_recipients"]) == (1, 1, 2)
        assert second.next("collab_event")["from_user"] == ann
        third = come(cid)
        assert third.next("connected")["user_id"] == cid
        assert third.next("collab_event")["id"] == "k"
        first.emit("collab_event", event(ann, bob, cid, id="k"))
        assert first.next("event_ack") == ack
        assert first.nothing_before_pong() and second.nothing_before_pong() and third.nothing_before_pong()


# Python's client by requests alone needs half a minute to see that it was closed.
@pytest.mark.parametrize("client", [client for client in CLIENTS if client != "python-polling"])
@pytest.mark.parametrize("end", ["killed", "drained"])
def test_clients_come_back_by_themselves(own, room, client, end):
    """A client that asks for its dead node for ever, or is told that it may not come back."""
    with pad(own.balancer, client, "ann", reconnection=True, display_name="Ann") as ann:
        ann.next("connected")
        ann.join(room)
        ann.change(room, "kept")
        holds = lambda node: f'collab_connections{{door="socketio"}} 1' in node.metrics()
        eventually(lambda: any(holds(node) for node in own.nodes), "somebody has it")
        owner = next(node for node in own.nodes if holds(node))
        owner.kill() if end == "killed" else owner.signal(signal.SIGTERM)
        body = ann.next("connected", within=20)
        assert body["user_id"] == "ann"
        ann.join(room)
        ann.until_code("kept")


def test_requests_go_to_their_node_and_no_further(cluster, room):
    """What holds for a client's own node holds through another: one poll, one POST, one owner, one size."""
    one, two = cluster.nodes
    sid = opened(one, user_id="ann")
    assert posted(two, sid, "40").text == "ok"
    assert polled(two, sid).text.startswith("40")
    assert posted(two, sid, f'420["join",{{"room":"{room}"}}]').status == 200
    assert "430[]" in polled(two, sid).text
    assert polled(two, sid, user_id="bob").status == 403
    assert posted(two, sid, "4" * 1_048_577).status == 413
    assert posted(two, sid, '421["ping",{}]').status == 200
    assert "431[]" in polled(one, sid).text
    assert engine(two, f"EIO=4&transport=polling&sid={sid}", "DELETE").json["code"] == 2
    # Its node is there, and knows nothing of this one; and a node that is not there.
    for unknown in (sid[:16] + "0" * 32, "0" * 48, "x" * 48, ""):
        assert polled(two, unknown).json["code"] in (0, 1)
    posted(two, sid, "41")
    eventually(lambda: polled(two, sid).status == 400, "it is over")


def test_a_node_that_has_just_come_is_known(own_children):
    """Right after a deploy requests of the new node's clients are answered `Session ID unknown` by the others."""
    redis = own_children.redis()
    settings = {"REDIS_URL": redis.url, "LEASE": 60, "BEAT_INTERVAL": 20}
    first = own_children.node("first", **settings)
    second = own_children.node("second", **settings)
    sid = opened(second, user_id="ann")
    assert posted(first, sid, "40").text == "ok"
    assert polled(first, sid).text.startswith("40")
    # Whoever is not there is looked for once for all who ask, and not at all while nobody can be.
    began = time.monotonic()
    with ThreadPoolExecutor(40) as askers:
        answers = list(askers.map(lambda number: polled(first, f"{number:016x}" + "0" * 32), range(1, 41)))
    assert {answer.json["code"] for answer in answers} == {1}
    assert time.monotonic() - began < 5
    redis.stop()
    eventually(lambda: first.get("/health/redis").status == 503, "Redis is away")
    assert polled(first, "0" * 48).json["code"] == 1


def test_only_nodes_pass_requests_on(cluster):
    """Whoever writes the header is believed to be a node."""
    one, two = cluster.nodes
    sid = opened(one)
    posted(one, sid, "40")
    secret = cluster.redis.client.get("cluster:secret")
    good = {"iss": two.get("/").json["node_id"], "aud": sid[:16], "exp": int(time.time()) + 30, "sid": sid, "method": "GET"}
    path = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
    asked = lambda token: request(one.host, one.port, "GET", path, headers={"X-Collabd-Pass": token})
    for wrong in (
        "nonsense",
        jwt.encode(good, "another secret of enough length", "HS256"),
        jwt.encode(good, None, "none"),
        jwt.encode(good | {"aud": "0" * 16}, secret, "HS256"),
        jwt.encode(good | {"sid": sid[:-1]}, secret, "HS256"),
        jwt.encode(good | {"method": "POST"}, secret, "HS256"),
        jwt.encode(good | {"exp": int(time.time()) - 100}, secret, "HS256"),
    ):
        assert asked(wrong).status == 403, wrong
    assert "a pass was refused" in one.log()
    assert asked(jwt.encode(good, secret, "HS256")).text.startswith("40")
    # What was passed on once goes nowhere else.
    elsewhere = good | {"aud": two.get("/").json["node_id"]}
    passed = request(two.host, two.port, "GET", path, headers={"X-Collabd-Pass": jwt.encode(elsewhere, secret, "HS256")})
    assert passed.json["code"] == 1


def test_a_node_that_stands_still_is_not_waited_for(own_children):
    """A frozen node holds up the requests of others, and their clients never come anew."""
    own = Cluster(own_children, BEAT_INTERVAL="0.3", HEARTBEAT_INTERVAL="1", CLOSE_TIMEOUT="1", HANDSHAKE_TIMEOUT="2")
    one, two = own.nodes
    sid = opened_at(one)
    posted(two, sid, "40")
    one.signal(signal.SIGSTOP)
    started = time.monotonic()
    assert posted(two, sid, "3").json["code"] == 1
    assert polled(two, sid).json["code"] == 1
    assert time.monotonic() - started < 12
    one.signal(signal.SIGCONT)
    assert 'collab_passed_requests_total{outcome="unanswered"}' in two.metrics()


def opened_at(node):
    """The sid alone: this node's settings are others than the usual ones."""
    text = engine(node, "EIO=4&transport=polling").text
    return text.split('"sid":"')[1].split('"')[0]


def test_too_many_at_once_are_told_when_to_come_again(own_children):
    """One node's clients take all connections of another."""
    own = Cluster(own_children, BEAT_INTERVAL="0.3", MAX_PASSED_REQUESTS="1")
    one, two = own.nodes
    sid = opened(one)
    posted(one, sid, "40")
    polled(one, sid)
    with ExitStack() as stack:
        waiting = stack.enter_context(Wire(two))
        waiting.send(f"GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        eventually(lambda: "collab_passing_requests 1" in two.metrics(), "the one place is taken")
        assert posted(two, sid, "3").status == 503
        assert posted(one, sid, '420["ping",{}]').status == 200
        assert waiting.head().status == 200
        eventually(lambda: posted(two, sid, "3").status == 200, "it is free again")


# The PROXY protocol's word for a connection that is the proxy's own (version 2, LOCAL).
PROXY_LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


@pytest.mark.parametrize("kind", ["tls", "proxy"])
def test_nodes_reach_each_other_as_clients_reach_them(own_children, tmp_path, kind):
    """Nodes with TLS, or behind a proxy that announces its clients, pass nothing on."""
    certificate = Certificate(7)
    tls = kind == "tls"
    if tls:
        more = Files(tmp_path, certificate).settings
    else:
        more = {"PROXY_PROTOCOL": "true", "TRUSTED_PROXIES": "127.0.0.0/8"}
    redis = own_children.redis()
    nodes = [own_children.adopt(Node(name, REDIS_URL=redis.url, BEAT_INTERVAL="0.3", **more)) for name in ("one", "two")]

    def ask(node, method, query, body=b""):
        way = {"tls": certificate.context} if tls else {"before": PROXY_LOCAL}
        with Wire(node, **way) as wire:
            head = f"{method} {query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            wire.send(head.encode() + body)
            return wire.http_answer()

    for node in nodes:
        node.spawn()
        processes.running.append(node)

    def ready(node):
        with suppress(OSError, EOFError):
            return len(ask(node, "GET", "/status").json["nodes"]) == 2

    for node in nodes:
        eventually(lambda node=node: ready(node), "they know each other", within=15)
    path = "/socket.io/?EIO=4&transport=polling"
    sid = ask(nodes[0], "GET", path).text.split('"sid":"')[1].split('"')[0]
    assert ask(nodes[1], "POST", f"{path}&sid={sid}", b"40").text == "ok"
    assert ask(nodes[1], "GET", f"{path}&sid={sid}").text.startswith("40")
