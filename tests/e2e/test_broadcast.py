"""Notifications: every socket they are for is told once, wherever it is, whatever happens meanwhile."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from threading import Event, Thread

import pytest
from support.deadline import eventually
from support.http import assert_problem
from support.listeners import DOORS, Listener, Service, guest_of, recorded, types
from support.peer import Peer, door, unique
from support.place import place_of
from support.proxy import DeafProxy, Proxy
from support.raw import RawSocket
from support.shapes import TIME
from support.tokens import bearer, token


@pytest.fixture(scope="module")
def place(request, children):
    """Two nodes that want tokens, Redis and PostgreSQL."""
    return place_of("cluster", request, children, LEAVE_GRACE=0.2)


@pytest.fixture(scope="module")
def service(place):
    return Service(place.north, bearer(token("ops", role="service")))


@pytest.fixture(scope="module")
def session(place):
    return recorded(place)


@pytest.fixture
def listen(place, session):
    """Opens a listener that is closed when the test ends: `listen(node, client)`."""
    (session_id, host) = session
    with ExitStack() as stack:

        def opened(node, client, who=None):
            who = who or guest_of(place, session_id, host)
            return stack.enter_context(Listener(node, client, who, session_id))

        yield opened


@pytest.fixture
def everywhere(place, listen):
    """One at every door of both nodes."""
    return [listen(node, client) for node in place.nodes for client in DOORS]


DATA = {"in_s": [60, None, 1.5], "text": "é \u2028 👍 <b>", "deep": {"a": {"b": []}}, "big": 2**53 - 1}


def test_everybody_is_told_once(place, service, everywhere):
    """A socket at some door, or on another node, is not told, or twice."""
    before = place.south.metrics()
    kind = unique("deploy")
    service.tell(kind, data=DATA)
    for heard in service.heard_by(*everywhere):
        assert heard == [{"type": kind, "data": DATA, "timestamp": TIME}]
    told = 'collab_notifications_total{outcome="told"}'
    # Counted when the last socket has it.
    eventually(lambda: value(place.south.metrics(), told) == value(before, told) + 2, "both are counted")
    noted = lambda: [line for line in place.north.log().splitlines() if f'"{kind}"' in line and '"notified"' in line]
    (line,) = eventually(noted, "it stands in the log")
    assert json.loads(line)["user"] == "ops"


def value(metrics, series):
    """Of a counter."""
    lines = [line for line in metrics.splitlines() if line.startswith(series)]
    return float(lines[0].split()[-1]) if lines else 0.0


def test_data_passes_through_as_it_came(place, service, listen):
    """A number is rounded, a key is lost, or an order changed by being read and written again."""
    raw = listen(place.south, "raw")
    data = '{ "b":1.50,"a":[ 1e3 ,"\\u0041" ],\n"a":0.1000000000000000055 }'
    body = f'{{"to":{{"all":true}},"data":{data},"type":"exact"}}'
    answer = place.north.post("/broadcast", body.encode(), headers=service.headers)
    assert answer.status == 202, answer
    raw.next()
    assert f'"data":{data},' in raw.socket.frames[-1]


@pytest.mark.parametrize("chosen", sorted(set(DOORS.values())))
def test_a_door_alone_is_told(service, everywhere, chosen):
    """Those at other doors are told, too, or one at this door is not."""
    kind = unique("door")
    service.tell(kind, {"door": chosen})
    for listener, heard in zip(everywhere, types(service.heard_by(*everywhere)), strict=True):
        assert heard == ([kind] if listener.door == chosen else []), listener.client


def test_users_are_told_at_all_their_sockets(place, session, service, listen):
    """A user's second socket is not told, or somebody else is."""
    ann, bob, cat = (guest_of(place, *session) for _ in range(3))
    at = [(place.north, "pairing"), (place.south, "pairing"), (place.south, "raw"), (place.north, "python-websocket")]
    sockets = {who.id: [listen(*where, who) for where in at] for who in (ann, bob, cat)}
    kind = unique("users")
    service.tell(kind, {"users": [ann.id, bob.id, bob.id, "nobody"]})
    listeners = [listener for listeners in sockets.values() for listener in listeners]
    for listener, heard in zip(listeners, types(service.heard_by(*listeners)), strict=True):
        assert heard == ([kind] if listener.user != cat.id else []), listener.client


def test_what_is_repeated_is_told_once(place, service, listen):
    """A sender that had no answer repeats, and everybody is told again."""
    listeners = [listen(place.north, "pairing"), listen(place.south, "raw")]
    before = place.south.metrics()
    kind, key = unique("once"), unique("key")
    first = service.tell(kind, id=key)
    assert first["id"] == key
    assert service.tell(kind, id=key) == first
    assert service.tell(kind, node=place.south, headers={"Idempotency-Key": key}) == first
    # The header counts; another sender's id is another, and without one each is new.
    assert service.tell(kind, id="another", headers={"Idempotency-Key": key}) == first
    other = Service(place.south, bearer(token("other", role="admin")))
    assert other.tell(kind, id=key)["seq"] == first["seq"] + 1
    unnamed = [service.tell(kind) for _ in range(2)]
    assert unnamed[0]["id"] != unnamed[1]["id"]
    assert types(service.heard_by(*listeners)) == [[kind] * 4] * 2
    repeated = 'collab_notifications_total{outcome="repeated"}'
    assert value(place.south.metrics(), repeated) == value(before, repeated) + 1


def test_what_is_repeated_at_once_is_told_once(place, service, listen):
    """Two nodes are asked at the same moment."""
    listeners = [listen(place.north, "pairing"), listen(place.south, "pairing")]
    kind, key = unique("storm"), unique("key")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda at: service.tell(kind, node=place.nodes[at % 2], id=key), range(48)))
    assert all(answer == answers[0] for answer in answers)
    assert types(service.heard_by(*listeners)) == [[kind]] * 2


def test_who_may_notify(place, own_children, join):
    """Anybody who has a token reaches everybody."""
    with_role = lambda **claims: Service(place.south, bearer(token("ann", **claims)))
    for role in (None, "agent", "editor"):
        with_role(role=role).refused(403, "forbidden")
    assert_problem(place.north.post("/broadcast", {"type": "x", "data": 1, "to": {"all": True}}), 401, "unauthorized")
    for role in ("admin", "service"):
        with_role(role=role).tell("fine")
    assert '"forbidden"' in place.south.log()
    alone = own_children.node("open")
    peer = join(alone, unique("session"), "ann")
    key = unique("key")
    first = Service(alone).tell("fine", data=[1], id=key)
    assert Service(alone).tell("fine", data=[1], id=key) == first
    assert peer.expect("notification") == {
        "type": "notification",
        "data": {"type": "fine", "data": [1], "timestamp": TIME},
    }
    assert peer.before_pong() == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"type": ""}, "type"),
        ({"type": "a b"}, "type"),
        ({"type": "x" * 65}, "type"),
        ({"type": "é"}, "type"),
        ({"type": 7}, "type"),
        ({"type": None}, "type"),
        ({"to": None}, "to"),
        ({"to": "all"}, "to"),
        ({"to": {}}, "to"),
        ({"to": {"all": False}}, "to.all"),
        ({"to": {"all": True, "door": "raw"}}, "to"),
        ({"to": {"everybody": True}}, "to"),
        ({"to": {"door": "window"}}, "to.door"),
        ({"to": {"users": []}}, "to.users"),
        ({"to": {"users": ["ann", "b b"]}}, "to.users"),
        ({"to": {"users": [f"user-{number}" for number in range(1_001)]}}, "to.users"),
        ({"id": ""}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"id": 7}, "id"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_what_is_no_notification_is_refused(service, fields, field):
    """Nonsense reaches everybody, or its sender is not told what is wrong."""
    body = {"type": "x", "data": None, "to": {"all": True}} | fields
    answer = service.node.post("/broadcast", body, headers=service.headers)
    problem = assert_problem(answer, 400, "bad_field")
    assert problem.get("field", "").split("[")[0].startswith(field), problem


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"type":"x"', b"\xff", b'{"type":"x","to":{"all":true}}'])
def test_what_is_no_body_is_refused(service, body):
    """The same of what is no JSON, or lacks the data."""
    answer = service.node.post("/broadcast", body, headers=service.headers)
    assert_problem(answer, 400, "bad_field")


def test_limits(service, place, listen):
    """What is too large is told to everybody, or what is just right is not."""
    listener = listen(place.south, "pairing")
    text = "x" * (65_536 - 2)
    service.tell("large", data=text)
    assert listener.next()["data"] == text
    service.refused(413, "too_large", "data", data=text + "x")
    service.tell("many", {"users": [f"{'u' * 120}-{number:04}" for number in range(1_000)]})
    service.tell("y" * 64)
    assert listener.next()["type"] == "y" * 64
    for key in ("x" * 65, "a b", "é".encode().decode("latin-1")):
        service.refused(400, "bad_field", "Idempotency-Key", headers={"Idempotency-Key": key})
    large = json.dumps({"type": "x", "data": "x" * 2_000_000, "to": {"all": True}}).encode()
    assert_problem(place.north.post("/broadcast", large, headers=service.headers), 413, "too_large")


def test_who_notifies_too_often_waits(own_children):
    """One address floods everybody."""
    node = own_children.node("paced", TRUSTED_PROXIES="127.0.0.1", HANDSHAKE_RATE=1, HANDSHAKE_BURST=3)
    body = {"type": "x", "data": 1, "to": {"all": True}}
    away = {"X-Forwarded-For": "203.0.113.9"}
    answers = [node.post("/broadcast", body, headers=away) for _ in range(8)]
    assert {answer.status for answer in answers} == {202, 429}
    late = next(answer for answer in answers if answer.status == 429)
    assert_problem(late, 429, "rate_limited")
    assert int(late.headers["retry-after"]) >= 1


# What goes wrong


class Pair:
    """Two open nodes; one of them reaches Redis on a way that can be cut."""

    def __init__(self, children, way=Proxy, **settings):
        self.redis = children.redis()
        self.way = way(self.redis.port)
        settings = {"LEAVE_GRACE": 0.2, "COMPARE_IDLE": 1} | settings
        self.north = children.node("north", REDIS_URL=self.redis.url, **settings)
        self.south = children.node("south", REDIS_URL=f"redis://127.0.0.1:{self.way.port}/0", **settings)
        self.service = Service(self.north)


@pytest.fixture
def pair_of(own_children):
    pairs = []

    def made(*arguments, **settings):
        pairs.append(Pair(own_children, *arguments, **settings))
        return pairs[-1]

    yield made
    for pair in pairs:
        pair.way.close()


def notified(peer, marker):
    """Types of the notifications a peer hears up to this one."""
    frames = peer.until(lambda frame: frame["type"] == "notification" and frame["data"]["type"] == marker)
    return [frame["data"]["type"] for frame in frames[:-1] if frame["type"] == "notification"]


def away(node):
    return node.get("/health/redis").status == 503


def test_what_is_said_while_a_node_is_cut_off_is_told_when_it_is_back(pair_of, join):
    """A node whose link was down never hears of it, or tells it twice."""
    pair = pair_of()
    peers = [join(node, unique("session"), "ann") for node in (pair.north, pair.south)]
    kinds = [f"kind-{number}" for number in range(30)]
    for kind in kinds[:10]:
        pair.service.tell(kind)
    pair.way.cut()
    for kind in kinds[10:20]:
        pair.service.tell(kind)
    eventually(lambda: away(pair.south), "the node knows that it is cut off")
    answer = pair.service.post("in-vain", node=pair.south)
    assert_problem(answer, 503, "backplane_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    pair.way.mend()
    for kind in kinds[20:]:
        pair.service.tell(kind)
    pair.service.tell("end")
    assert [notified(peer, "end") for peer in peers] == [kinds, kinds]
    assert [peer.before_pong() for peer in peers] == [[], []]
    assert pair.redis.client.ttl("lobby") == -1


def test_what_a_deaf_node_did_not_hear_is_told(pair_of, join):
    """The last notification before a pause is lost on its way, and nothing that follows shows the hole."""
    pair = pair_of(DeafProxy, PROBE_SILENCE=3_600)
    peers = [join(node, unique("session"), "ann") for node in (pair.north, pair.south)]
    pair.service.tell("heard")
    assert all(peer.expect("notification") for peer in peers)
    pair.way.deaf = True
    kinds = ["one", "two", "three"]
    for kind in kinds:
        pair.service.tell(kind)
    for kind in kinds:
        assert peers[1].expect("notification")["data"]["type"] == kind
    pair.way.deaf = False
    pair.service.tell("end")
    assert [notified(peer, "end") for peer in peers] == [kinds, []]
    assert [peer.before_pong() for peer in peers] == [[], []]


def test_what_the_log_lost_is_said_to_be_lost(pair_of, join):
    """A node that cannot know what it missed says nothing of it, or is silent from then on."""
    pair = pair_of()
    peers = [join(node, unique("session"), "ann") for node in (pair.north, pair.south)]
    pair.service.tell("before")
    assert all(peer.expect("notification") for peer in peers)
    pair.way.cut()
    eventually(lambda: away(pair.south), "the node knows that it is cut off")
    pair.service.tell("missed")
    pair.redis.client.delete("{lobby}:log")
    pair.way.mend()
    lost = 'collab_notifications_total{outcome="lost"}'
    eventually(lambda: value(pair.south.metrics(), lost) == 1, "it is counted")
    assert "notifications may have been missed" in pair.south.log()
    pair.service.tell("end")
    assert [notified(peer, "end") for peer in peers] == [["missed"], []]
    assert value(pair.north.metrics(), lost) == 0


def test_notifications_go_on_in_a_redis_that_lost_everything(pair_of, join):
    """Nobody is told anything any more, because the order is another."""
    pair = pair_of()
    peers = [join(node, unique("session"), "ann") for node in (pair.north, pair.south)]
    for kind in ("one", "two"):
        pair.service.tell(kind)
    assert [notified(peer, "two") for peer in peers] == [["one"], ["one"]]
    pair.redis.client.delete("lobby", "{lobby}:log")
    for kind in ("three", "four", "end"):
        pair.service.tell(kind)
    assert [notified(peer, "end") for peer in peers] == [["three", "four"]] * 2
    assert [peer.before_pong() for peer in peers] == [[], []]


def test_a_node_that_starts_tells_nothing_old(pair_of, own_children, join):
    """Everything that was ever said is told once more to whoever comes first."""
    pair = pair_of()
    for number in range(5):
        pair.service.tell(f"old-{number}")
    east = own_children.node("east", REDIS_URL=pair.redis.url)
    peer = join(east, unique("session"), "ann")
    assert pair.service.tell("new")["seq"] == 6
    assert notified(peer, "new") == []


def many(node, count):
    """That many notifications, over one connection, each said again until it is taken."""
    connection = HTTPConnection(node.host, node.port, timeout=30)

    def taken(number):
        body = {"type": f"n-{number}", "data": "x" * 200, "to": {"all": True}, "id": f"n-{number}"}
        connection.request("POST", "/broadcast", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status in (202, 503), response.read()
        response.read()
        return response.status == 202

    for number in range(count):
        eventually(lambda number=number: taken(number), "it is taken")
    connection.close()


def test_a_burst_is_told_once(pair_of, join):
    """More comes at once than may wait in the node, and what did not fit is lost or told twice."""
    pair = pair_of(LEASE=60, COMPARE_IDLE=30, LOG_LENGTH=10_000)
    peers = [join(node, unique("session"), "ann") for node in (pair.north, pair.south)]
    pair.south.signal(signal.SIGSTOP)
    many(pair.north, 3_000)
    pair.south.signal(signal.SIGCONT)
    pair.service.tell("end")
    said = [f"n-{number}" for number in range(3_000)]
    assert [notified(peer, "end") == said for peer in peers] == [True, True]
    assert [peer.before_pong() for peer in peers] == [[], []]


def test_who_comes_meanwhile_is_greeted_first_and_told_once(pair_of):
    """A frame comes before the greeting, or what was told at that moment comes twice or has a hole behind it."""
    pair = pair_of()
    done, said = Event(), []

    def talk():
        while not done.is_set():
            pair.service.tell(f"{len(said)}")
            said.append(len(said))

    talking = Thread(target=talk)
    talking.start()
    session = unique("session")
    with ExitStack() as stack:
        try:
            come = lambda number: Peer((pair.north, pair.south)[number % 2], session, f"user-{number}")
            # Whoever is greeted with anything else fails.
            peers = [stack.enter_context(come(number)) for number in range(16)]
        finally:
            done.set()
            talking.join()
        pair.service.tell("end")
        last = len(said) - 1
        for peer in peers:
            heard = [int(kind) for kind in notified(peer, "end")]
            first = heard[0] if heard else last + 1
            assert heard == list(range(first, last + 1))


def test_a_slow_socket_is_closed_and_holds_nobody_up(own_children, join):
    """Somebody who does not read fills the node's memory, or keeps the others waiting."""
    node = own_children.node("slow", OUTBOX_BYTES=65_536)
    slow = RawSocket(node, door(unique("session"), "slow"), receive_buffer=4_096)
    peer = join(node, unique("session"), "quick")
    service = Service(node)
    # More than the kernel holds for who does not read.
    for _ in range(150):
        service.tell("large", data="x" * 60_000)
        assert peer.expect("notification")["data"]["type"] == "large"
    assert slow.closing() == 4503
    assert peer.before_pong() == []
