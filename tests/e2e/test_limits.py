"""How fast and how many: whoever is over a limit is told so, and nobody else notices."""

import itertools
import json
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import processes, shapes
from support.crowd import retry_in_ms
from support.deadline import PATIENCE, eventually
from support.http import assert_problem
from support.peer import Peer, door, unique
from support.processes import Node
from support.raw import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    RawSocket,
    Wire,
    close_payload,
    frame,
    handshake,
    refused,
    turned_away,
)

ORIGIN = "http://example.org"
RATE, BURST = 50, 100
# Three nodes at once, and a node that is gone soon noticed.
PLACES, LEASE = 20, 2

# Whoever is slow is under every limit.
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def node(children):
    """Rates as in production, but a flood is called one sooner."""
    return children.node(
        MESSAGE_RATE=RATE,
        MESSAGE_BURST=BURST,
        BYTE_RATE=20_000,
        MAX_FRAME_BYTES=32_768,
        FLOOD_TIME=2.5,
        LEAVE_GRACE=0.2,
    )


def flood(socket, frames):
    """All at once, as bytes."""
    socket.send(b"".join(frame(TEXT, json.dumps(one).encode()) for one in frames))


def answers(raw, count):
    """The answers to `count` commands by their ids."""
    found = {}
    while len(found) < count:
        said = raw.recv_json()
        if said["type"] in ("ack", "code_ack", "pong", "error"):
            found[said["id"]] = said
    return found


# Frames


def test_frames_over_the_burst_are_refused_and_not_executed(node, session, join):
    """A socket writes as fast as it likes; or what was refused is done all the same."""
    bob = join(node, session, "bob")
    with RawSocket(node, door(session, "ann")) as ann:
        lines = [{"type": "chat", "message": f"line {n}", "id": f"c{n}"} for n in range(BURST + 60)]
        began = time.monotonic()
        flood(ann, lines)
        said = answers(ann, len(lines))
        took = time.monotonic() - began
        taken = [line for line in lines if said[line["id"]]["type"] == "ack"]
        haste = [one for one in said.values() if one["type"] == "error"]
        assert BURST <= len(taken) <= BURST + took * RATE + 1
        for one in haste:
            assert one == shapes.error("rate_limited", id=one["id"], retry_in_ms=shapes.NUMBER)
            assert one["retry_in_ms"] <= 1000, one
        # Exactly those that were acknowledged were said.
        heard = []
        while len(heard) < len(taken):
            said = bob.recv()
            if said["type"] == "chat_message":
                heard.append(said["text"])
        assert heard == [line["message"] for line in taken]
        assert bob.before_pong() == []
        # Who waits as long as it was told is served.
        time.sleep(max(one["retry_in_ms"] for one in haste) / 1000)
        ann.send_json("chat", message="patient", id="patient")
        assert answers(ann, 1)["patient"]["type"] == "ack"


def test_every_kind_of_frame_counts(node, session):
    """Pings, cursors or nonsense are free, and so a way to be faster than allowed."""
    for number, one in enumerate(
        [
            {"type": "ping"},
            {"type": "cursor", "cursor": {"lineNumber": 1, "column": 1}},
            {"type": "auth", "token": "canary"},
        ]
    ):
        with RawSocket(node, door(session, f"u{number}")) as raw:
            flood(raw, [one | {"id": f"c{n}"} for n in range(BURST + 40)])
            flood(raw, [{"type": "chat", "message": "x", "id": "last"}])
            while True:
                said = raw.recv_json()
                if said.get("id") == "last":
                    break
            assert said["code"] == "rate_limited", said


def test_bytes_count_as_well(node, session, join):
    """A few huge frames pass where many small ones would not."""
    bob = join(node, session, "bob")
    with RawSocket(node, door(session, "ann")) as ann:
        texts = [{"type": "code_change", "code": str(n) * 9_900, "id": f"c{n}"} for n in range(8)]
        flood(ann, texts)
        said = answers(ann, len(texts))
        haste = [one for one in said.values() if one["type"] == "error"]
        # Two seconds' worth at once: four of them, and none of the others.
        assert [one["id"] for one in haste] == ["c4", "c5", "c6", "c7"]
        for one in haste:
            assert one == shapes.error("rate_limited", id=one["id"], retry_in_ms=shapes.NUMBER)
            assert "bytes" in one["message"] and 0 < one["retry_in_ms"] <= 2000, one
    bob.until(lambda said: said["type"] == "user_left")
    assert node.state(session)["code"] == "3" * 9_900


def test_a_users_sockets_count_together(children, session, join):
    """Who opens ten sockets is ten times as fast."""
    node = children.node("shared", USER_MESSAGE_RATE=30)
    cat = join(node, session, "cat")
    with RawSocket(node, door(session, "ann")) as first, RawSocket(node, door(session, "ann")) as second:
        began = time.monotonic()
        for raw in (first, second):
            flood(raw, [{"type": "chat", "message": "x", "id": f"c{n}"} for n in range(40)])
        said = [*answers(first, 40).values(), *answers(second, 40).values()]
        took = time.monotonic() - began
        taken = [one for one in said if one["type"] == "ack"]
        assert 30 <= len(taken) <= 30 + took * 30 + 1
        for one in said:
            assert one["type"] == "ack" or one["code"] == "rate_limited" and "sockets" in one["message"], one
        # It is the user's rate and nobody else's.
        assert cat.ask("chat", message="mine")["type"] == "ack"


class Talk:
    """Four people in each of two sessions, who talk and hear each other; when what was heard is noted."""

    def __init__(self, node, sessions, join):
        self.groups = [[join(node, session, f"{session}-{n}") for n in range(4)] for session in sessions]
        self.peers = [peer for group in self.groups for peer in group]
        self.said, self.sent, self.heard = itertools.count(1), {}, {peer.user: [] for peer in self.peers}
        self.expected = {peer.user: [] for peer in self.peers}
        self.late = []
        self.readers = ThreadPoolExecutor(len(self.peers))

    def round(self, seconds):
        """Everyone says ten lines a second for a while; the latencies of what was heard of it."""
        self.late = []
        readers = [self.readers.submit(self._listen, peer, int(seconds * 10) * 4) for peer in self.peers]
        began = time.monotonic()
        for tick in range(int(seconds * 10)):
            for group in self.groups:
                for peer in group:
                    text = f"talk {next(self.said)}"
                    for mate in group:
                        self.expected[mate.user].append(text)
                    self.sent[text] = time.monotonic()
                    peer.send("chat", message=text)
            time.sleep(max(0.0, began + (tick + 1) / 10 - time.monotonic()))
        for reader in readers:
            reader.result()
        return sorted(self.late)

    def _listen(self, peer, count):
        heard = self.heard[peer.user]
        while count:
            said = peer.recv()
            if said["type"] == "chat_message" and said["text"].startswith("talk "):
                self.late.append(time.monotonic() - self.sent[said["text"]])
                heard.append(said["text"])
                count -= 1


def described(late):
    p50, p99 = late[len(late) // 2], late[len(late) * 99 // 100]
    return f"p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, worst {late[-1] * 1000:.1f} ms of {len(late)}"


def test_a_flood_by_one_costs_nobody_else(node, session, join, record_property):
    """One who writes ten times too fast slows a session down, or makes it lose lines; and is never sent away."""
    talk = Talk(node, [session, unique("elsewhere")], join)
    quiet = talk.round(1.5)
    flooder = RawSocket(node, door(session, "mallory"))
    closed = {}

    def write():
        began = time.monotonic()
        chunk = b"".join(frame(TEXT, b'{"type":"chat","message":"flood"}') for _ in range(RATE))
        try:
            for tick in range(200):
                flooder.send(chunk)
                time.sleep(max(0.0, began + (tick + 1) / 10 - time.monotonic()))
        except OSError:
            pass

    def read():
        began = time.monotonic()
        closed["code"] = flooder.closing()
        closed["after"] = time.monotonic() - began

    threads = [threading.Thread(target=work) for work in (write, read)]
    with flooder:
        for thread in threads:
            thread.start()
        loud = talk.round(3)
        for thread in threads:
            thread.join(PATIENCE)
    report = (
        f"quiet: {described(quiet)}; beside a flood: {described(loud)}; flooder closed after {closed['after']:.1f} s"
    )
    print(report)
    record_property("latency", report)
    assert closed["code"] == 4429
    # FLOOD_TIME, and a second to have measured it.
    assert 2.4 < closed["after"] < 6
    for group in talk.groups:
        for peer in group:
            # The order of different writers is the session's, and the same for all.
            assert talk.heard[peer.user] == talk.heard[group[0].user]
            assert sorted(talk.heard[peer.user]) == sorted(talk.expected[peer.user])
    assert loud[len(loud) * 99 // 100] < 1.0, report
    # Away, but not for ever.
    join(node, session, "mallory")


def test_pings_of_the_protocol_are_no_way_around(node, session):
    """A socket that floods with pings instead of text is answered each one for ever."""
    with RawSocket(node, door(session, "ann")) as raw:
        raw.send_frame(PING, b"one")
        while (got := raw.recv_frame()).opcode != PONG:
            pass
        assert got.payload == b"one"
        pings = frame(PING, b"flood") * RATE
        stop = threading.Event()
        raw.socket.settimeout(2)

        def write():
            for _ in range(60):
                try:
                    raw.send(pings)
                except OSError:
                    return
                if stop.wait(0.1):
                    return

        writer = threading.Thread(target=write)
        writer.start()
        try:
            assert raw.closing() == 4429
        finally:
            stop.set()
            writer.join()


# Sockets of a node


def test_a_full_node_turns_the_next_one_away(children, session):
    """A node takes sockets until it breaks; or stays full when they have gone."""
    node = children.node("small", MAX_CONNECTIONS=3, CLOSE_TIMEOUT=0.5, ALLOWED_ORIGINS="*")
    full = [Peer(node, session, f"u{n}") for n in range(3)]
    answer = turned_away(node, door(session, "late"))
    assert_problem(answer, 503, "capacity")
    assert int(answer.headers["retry-after"]) >= 1
    assert refused(node, door(session, "late"), Origin=ORIGIN).close == 1013
    assert 1 <= come(node, session, "late", Origin=ORIGIN) <= 2
    assert full[0].ask("chat", message="undisturbed")["type"] == "ack"
    # REST and probes are no sockets.
    assert node.get("/readyz").status == 200
    full[0].leave()
    with eventually(lambda: arrived(node, session, "next"), "there is room again"):
        assert turned_away(node, door(session, "late")).status == 503
    for peer in full[1:]:
        peer.leave()


def arrived(node, session, user):
    """A socket if there is room, else nothing."""
    raw = RawSocket(node, door(session, user))
    if raw.answer.status == 101:
        return raw
    raw.socket.close()


# Everybody at once

# As many may come a second.
GATE = 40


@pytest.fixture(scope="module")
def narrow(children):
    return children.node("narrow", MAX_HANDSHAKES_PER_SECOND=GATE, ALLOWED_ORIGINS="*")


def come(node, session, user, **headers):
    """A socket, or after how many seconds to come again."""
    raw = RawSocket(node, door(session, user), **headers)
    if raw.answer.status == 503:
        wait = int(raw.answer.headers["retry-after"])
    else:
        assert raw.answer.status == 101
        opcode, payload, _ = raw.recv_frame()
        if opcode == TEXT:
            assert json.loads(payload)["type"] == "session_state"
            return raw
        assert (opcode, payload[:2]) == (CLOSE, struct.pack(">H", 1013))
        wait = retry_in_ms(payload[2:].decode()) / 1000
    raw.socket.close()
    return wait


def come_until_in(node, session, user, **headers):
    """Does as it is told; returns the socket and how long it was asked to wait."""
    waits = []
    while not isinstance(found := come(node, session, user, **headers), RawSocket):
        waits.append(found)
        time.sleep(found)
    return found, waits


@pytest.mark.parametrize("headers", [{}, {"Origin": ORIGIN}], ids=["programs", "browsers"])
def test_a_rush_is_dealt_out_over_the_time_it_takes(narrow, session, headers):
    """After a node's death everyone knocks at the others at once, and again at once, until these break too."""
    count = 3 * GATE
    began = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        results = list(pool.map(lambda n: come_until_in(narrow, session, f"user-{n}", **headers), range(count)))
    took = time.monotonic() - began
    first = [waits[0] for _, waits in results if waits]
    # Who does as it is told gets in, as soon as the rate allows.
    assert len(first) >= GATE / 2 and took < 3 * count / GATE
    assert min(first) >= 0.75 and max(first) >= 2 and len(set(first)) > 2
    tries = count + sum(len(waits) for _, waits in results)
    assert tries < 4 * count
    (rejected,) = [
        line
        for line in narrow.metrics().splitlines()
        if line.startswith('collab_connections_rejected_total{reason="busy"')
    ]
    assert float(rejected.split()[-1]) > 0
    for raw, _ in results:
        raw.socket.close()


def test_a_rush_is_told_in_a_problem_and_disturbs_nobody_inside(narrow, session):
    """A refusal that says nothing, or a node whose people suffer from those who knock."""
    ann, _ = come_until_in(narrow, session, "ann")
    with ThreadPoolExecutor(16) as pool:
        told = [one for one in pool.map(lambda n: sent_away(narrow, session, f"eve-{n}"), range(3 * GATE)) if one]
    assert told
    for answer in told:
        assert_problem(answer, 503, "busy")
        assert int(answer.headers["retry-after"]) >= 1
    ann.send_json("chat", message="undisturbed", id="one")
    assert answers(ann, 1)["one"]["type"] == "ack"
    # REST and probes are no sockets.
    assert narrow.get("/readyz").status == 200
    ann.socket.close()


def sent_away(node, session, user):
    """The answer of who is refused."""
    with Wire(node) as wire:
        wire.send(handshake(node, door(session, user)))
        if wire.fill() and not wire.buffer.startswith(b"HTTP/1.1 101"):
            return wire.http_answer()


# Sockets of a user


@pytest.fixture(scope="module")
def redis(children):
    return children.redis()


def three(children, redis, **settings):
    settings = {"MAX_CONNECTIONS_PER_USER": PLACES, "LEAVE_GRACE": 0.2} | settings
    return [children.node(name, REDIS_URL=redis.url, **settings) for name in ("north", "east", "south")]


@pytest.fixture(scope="module")
def nodes(children, redis):
    return three(children, redis)


def rush(nodes, session, user, count, **headers):
    """So many sockets of a user at once, dealt to the nodes."""
    path = door(session, user)
    with ThreadPoolExecutor(count) as pool:
        come = lambda number: RawSocket(nodes[number % len(nodes)], path, **headers)
        return list(pool.map(come, range(count)))


def leave_all(sockets):
    for raw in sockets:
        raw.socket.close()


def assert_full(nodes, session, user):
    for node in nodes:
        answer = turned_away(node, door(session, user))
        assert_problem(answer, 429, "too_many")
        assert int(answer.headers["retry-after"]) >= 1
        assert refused(node, door(session, user), Origin=ORIGIN).close == 4429


def test_thirty_sockets_of_a_user_at_once_are_twenty(nodes, session):
    """Nodes count apart, or two that come together both take the last place."""
    for user in ("ann", "bob"):
        come = rush(nodes, session, user, 30)
        inside = [raw for raw in come if raw.answer.status == 101]
        outside = [raw for raw in come if raw.answer.status != 101]
        assert len(inside) == PLACES
        assert {raw.answer.status for raw in outside} == {429}
        assert all(int(raw.answer.headers["retry-after"]) >= 1 for raw in outside)
        for raw in inside:
            assert raw.recv_json()["type"] == "session_state"
        assert_full(nodes, session, user)
        # Each that goes makes room for one, and for one only.
        leave_all(inside[:5])
        again = [
            eventually(lambda n=n: arrived(nodes[n % 3], session, user), "a place is free", within=2) for n in range(5)
        ]
        assert_full(nodes, session, user)
        leave_all([*inside, *again, *outside])


def test_browsers_over_the_cap_are_told_by_a_close_code(nodes, session):
    """A browser that is one too many sees a lost connection, and comes back at once for ever."""
    come = rush(nodes, session, "cat", 30, Origin=ORIGIN)
    opened = [raw.recv_frame() for raw in come]
    refused_with = [said.payload[:2] for said in opened if said.opcode == CLOSE]
    assert refused_with == [struct.pack(">H", 4429)] * 10
    assert sum(said.opcode == TEXT for said in opened) == PLACES
    leave_all(come)


def reset(raw):
    raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.socket.close()


GOING = {
    "closed": lambda raw: raw.send_frame(CLOSE, close_payload(1000)),
    "closed without a code": lambda raw: raw.send_frame(CLOSE),
    "hung up": lambda raw: raw.socket.close(),
    "half hung up": lambda raw: raw.socket.shutdown(socket.SHUT_WR),
    "reset": reset,
    "unmasked frame": lambda raw: raw.send_frame(TEXT, b"{}", mask=False),
    "binary frame": lambda raw: raw.send_frame(BINARY, b"x"),
    "not utf-8": lambda raw: raw.send_frame(TEXT, b"\xff"),
    "too large": lambda raw: raw.send_frame(TEXT, claimed=100_000_000),
    "bad frames": lambda raw: [raw.send_frame(TEXT, b"x") for _ in range(21)],
    "frame cut short": lambda raw: (raw.send(frame(TEXT, b"hello")[:4]), raw.socket.shutdown(socket.SHUT_WR)),
}


@pytest.fixture(scope="module")
def single(children, redis):
    """One socket a user."""
    return children.node("single", REDIS_URL=redis.url, KEY_PREFIX="single-", MAX_CONNECTIONS_PER_USER=1)


@pytest.mark.parametrize("go", GOING.values(), ids=GOING)
def test_a_place_is_free_at_once_however_its_socket_went(single, session, go):
    """Somebody whose connection broke is locked out of their own session."""
    user = unique("ann")
    raw = RawSocket(single, door(session, user))
    assert raw.recv_json()["type"] == "session_state"
    assert turned_away(single, door(session, user)).status == 429
    # It never reads a close frame nor closes its end: that must not matter.
    go(raw)
    eventually(lambda: arrived(single, session, user), f"{user} is in again", within=2).socket.close()
    raw.socket.close()


def test_a_place_is_free_after_a_handshake_that_nobody_waited_for(single, session):
    """A browser that reloads while it connects loses its place for good."""
    user = unique("ann")
    for _ in range(20):
        with Wire(single) as wire:
            wire.send(handshake(single, door(session, user)))
        with Wire(single) as wire:
            wire.send(handshake(single, door(session, user), Origin=ORIGIN))
            reset(wire)
    eventually(lambda: arrived(single, session, user), f"{user} is in", within=2).socket.close()


def test_a_place_is_free_when_its_session_ended(single, session):
    """Who was in a session that ended can enter no other."""
    user = unique("ann")
    with RawSocket(single, door(session, user)) as raw:
        assert raw.recv_json()["type"] == "session_state"
        assert single.delete(f"/api/v1/session/{session}").status == 204
        eventually(lambda: arrived(single, unique("next"), user), "it is in another", within=2).socket.close()


def test_places_of_a_node_that_was_killed_are_free_within_its_lease(own_children, session):
    """A node dies and takes its users' places with it; or gives them back twice."""
    nodes = three(own_children, own_children.redis(), LEASE=LEASE, BEAT_INTERVAL=0.5)
    user = "dan"
    inside = [arrived(nodes[n % 3], session, user) for n in range(PLACES)]
    assert all(inside)
    assert_full(nodes, session, user)
    nodes[0].kill()
    killed = time.monotonic()
    living = nodes[1:]
    answer = turned_away(living[0], door(session, user))
    assert answer.status == 429, "before its lease is over the node may only be slow"
    first = eventually(lambda: arrived(living[0], session, user), "dan is in again", within=LEASE + 4)
    print(f"in again {time.monotonic() - killed:.1f} s after the kill, with a lease of {LEASE} s")
    lost = (PLACES + 2) // 3
    rest = [raw for raw in rush(living, session, user, PLACES) if raw.answer.status == 101]
    assert len(rest) == lost - 1, "as many as died with the node, and no more"
    assert_full(living, session, user)
    for raw in [*inside, first, *rest]:
        raw.socket.close()
    # Nothing of it stays behind.
    again = eventually(lambda: all_in(living, session, user), "all places are free", every=0.3)
    assert_full(living, session, user)
    leave_all(again)


def all_in(nodes, session, user):
    come = rush(nodes, session, user, PLACES)
    if all(raw.answer.status == 101 for raw in come):
        return come
    leave_all(come)


# Handshakes of an address


@pytest.fixture(scope="module")
def front(children):
    """Behind a proxy on this machine."""
    return children.node(
        "front", TRUSTED_PROXIES="127.0.0.0/8", HANDSHAKE_RATE=1, HANDSHAKE_BURST=3, ALLOWED_ORIGINS="*"
    )


def knock(node, session, *forwarded, times=1, **wire):
    """The statuses of so many handshakes that a proxy passes on with these words."""
    headers = {"X_Forwarded_For": ", ".join(forwarded)} if forwarded else {}
    path = door(session, "ann")
    return [turned_away(node, path, wire=wire, **headers).status for _ in range(times)]


def test_this_machine_itself_is_not_counted(front, session):
    """Probes and scripts on the node's own machine are shut out."""
    assert knock(front, session, times=10) == [101] * 10


def test_addresses_behind_a_proxy_are_limited_one_by_one(front, session):
    """All users behind the balancer share one limit, or nobody has any."""
    for address in ("198.51.100.1", "198.51.100.2:4711", "[2001:db8:1::1]:443"):
        assert knock(front, session, address, times=5) == [101] * 3 + [429] * 2
    # An IPv6 customer has a whole network.
    assert knock(front, session, "2001:db8:1::2") == [429]
    assert knock(front, session, "2001:db8:2::1") == [101]
    answer = turned_away(front, door(session, "ann"), X_Forwarded_For="198.51.100.1")
    assert_problem(answer, 429, "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1
    told = refused(front, door(session, "ann"), X_Forwarded_For="198.51.100.1", Origin=ORIGIN)
    assert told.close == 4429


def test_what_a_client_writes_about_itself_changes_nothing(front, children, session):
    """Whoever writes X-Forwarded-For themselves has as many handshakes as they like, or uses up another's."""
    for n in range(3):
        assert knock(front, session, f"203.0.113.{n}", "198.51.100.9") == [101]
    for left in (["203.0.113.7"], ["127.0.0.1"], ["nonsense"], [""], ["203.0.113.7", "10.0.0.1"]):
        assert knock(front, session, *left, "198.51.100.9") == [429]
    assert knock(front, session, "203.0.113.7") == [101], "nobody's turn was used up by another"
    direct = children.node("direct", HANDSHAKE_RATE=1, HANDSHAKE_BURST=1)
    assert knock(direct, session, "198.51.100.9", times=4) == [101] * 4, "nobody believes it here"
    turned_away(direct, door(session), X_Forwarded_For="198.51.100.9")
    assert '"client":"127.0.0.1"' in direct.log() and "198.51.100.9" not in direct.log()


# The PROXY protocol, version 2 (proxy-protocol.txt of HAProxy, section 2.2)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXIED, LOCAL = 0x21, 0x20
TCP4, TCP6, UNIX, UNSPECIFIED = 0x11, 0x21, 0x31, 0x00


def header(command, family, addresses=b"", extra=b"", length=None):
    rest = addresses + extra
    return SIGNATURE + struct.pack(">BBH", command, family, len(rest) if length is None else length) + rest


def of(source, target="192.0.2.200"):
    """The header of a client with this address."""
    family, number = (TCP6, socket.AF_INET6) if ":" in source else (TCP4, socket.AF_INET)
    target = "2001:db8::200" if ":" in source else target
    ends = socket.inet_pton(number, source) + socket.inet_pton(number, target)
    return header(PROXIED, family, ends + struct.pack(">HH", 4711, 443))


@pytest.fixture(scope="module")
def behind(children):
    """Every connection of this machine begins with a PROXY header."""
    node = children.adopt(
        Node(
            "behind",
            PROXY_PROTOCOL="true",
            TRUSTED_PROXIES="127.0.0.1",
            HANDSHAKE_TIMEOUT=1,
            HANDSHAKE_RATE=1,
            HANDSHAKE_BURST=3,
        )
    )
    node.spawn()
    processes.running.append(node)

    def lives():
        assert node.alive, node.log()
        try:
            return turned_away(node, "/livez", wire={"before": header(LOCAL, UNSPECIFIED)}).status == 200
        except (OSError, EOFError):
            return False

    eventually(lives, "the node is up")
    return node


def client_seen(node, session, before):
    """The address that the audit log names for a refused handshake."""
    mark = len(node.log())
    assert turned_away(node, door(session), wire={"before": before}).status == 400
    lines = [json.loads(line) for line in node.log()[mark:].splitlines() if '"audit"' in line]
    (line,) = [line for line in lines if line["message"] == "refused"]
    return line["client"]


ITSELF = "127.0.0.1"
HEADERS = {
    "IPv4": (of("192.0.2.7"), "192.0.2.7"),
    "IPv6": (of("2001:db8::7"), "2001:db8::7"),
    "IPv4 in IPv6": (of("::ffff:192.0.2.8"), "192.0.2.8"),
    "with extras": (
        header(PROXIED, TCP4, socket.inet_aton("192.0.2.9") * 2 + b"\0\1\0\2", b"\x02\0\x0bexample.org"),
        "192.0.2.9",
    ),
    "of the proxy itself": (header(LOCAL, UNSPECIFIED), ITSELF),
    "of the proxy itself, with addresses to skip": (header(LOCAL, TCP4, of("192.0.2.10")[16:]), ITSELF),
    "unspecified": (header(PROXIED, UNSPECIFIED), ITSELF),
    "a unix socket": (header(PROXIED, UNIX, bytes(216)), ITSELF),
}


@pytest.mark.parametrize("before,right", HEADERS.values(), ids=HEADERS)
def test_the_proxy_header_says_who_comes(behind, session, before, right):
    """A client behind a balancer has another address than its own, or cannot come in."""
    assert client_seen(behind, session, before) == right
    with RawSocket(behind, door(session, "ann"), wire={"before": before}) as raw:
        assert raw.recv_json()["type"] == "session_state"


def test_the_address_of_the_header_is_the_one_that_is_limited(behind, session):
    """The limit counts the balancer, or everything behind it as one."""
    for address in ("192.0.2.50", "2001:db8:50::1"):
        assert knock(behind, session, times=4, before=of(address)) == [101] * 3 + [429]
    assert knock(behind, session, times=5, before=header(LOCAL, UNSPECIFIED)) == [101] * 5


def test_a_header_may_come_in_pieces(behind, session):
    """A header that TCP cut in two is called wrong."""
    whole = of("192.0.2.60") + handshake(behind, door(session, "ann"))
    with Wire(behind) as wire:
        for at in range(0, 40):
            wire.send(whole[at : at + 1])
        wire.send(whole[40:])
        assert wire.head().status == 101


V1 = b"PROXY TCP4 192.0.2.7 192.0.2.200 4711 443\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
WRONG = {
    "nothing": b"",
    "no header": GET,
    "version 1": V1 + GET,
    "garbage": bytes(range(256)),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    "signature and no more": SIGNATURE,
    "half a signature": SIGNATURE[:7],
    "cut short": of("192.0.2.7")[:-3],
    "too long": header(PROXIED, TCP4, b"", length=0xFFFF) + bytes(4_000),
    "shorter than its addresses": header(PROXIED, TCP4, b"\x7f\0\0\1") + GET,
    "version 3": header(0x31, TCP4, of("192.0.2.7")[16:]) + GET,
    "unknown command": header(0x22, TCP4, of("192.0.2.7")[16:]) + GET,
    "unknown family": header(PROXIED, 0x51, bytes(12)) + GET,
}


def test_wrong_proxy_headers_are_refused_without_harm(behind, session):
    """Something that is no header is taken for a request, or holds a connection open for ever."""
    with RawSocket(behind, door(session, "ann"), wire={"before": header(LOCAL, UNSPECIFIED)}) as ann:
        assert ann.recv_json()["type"] == "session_state"

        def ended(sent):
            began = time.monotonic()
            with Wire(behind, before=sent) as wire:
                assert wire.rest() == b""
            return time.monotonic() - began

        with ThreadPoolExecutor(len(WRONG)) as pool:
            took = dict(zip(WRONG, pool.map(ended, WRONG.values()), strict=True))
            ann.send_json("ping", id="here")
            assert ann.recv_json()["id"] == "here"
        assert max(took.values()) < 10, took
        assert all(took[name] > 0.8 for name in ("nothing", "cut short")), took
    assert knock(behind, session, before=of("192.0.2.61")) == [101]


def test_only_trusted_proxies_speak_for_others(children, session):
    """Whoever reaches the node past the balancer chooses an address; or cannot be served at all."""
    node = children.node(
        "guarded", PROXY_PROTOCOL="true", TRUSTED_PROXIES="127.0.0.2", HANDSHAKE_RATE=1, HANDSHAKE_BURST=2
    )
    # That it is ready was asked without a header, from an address that is no proxy's.
    assert knock(node, session, times=3) == [101] * 3
    with Wire(node, before=of("192.0.2.7")) as wire:
        wire.send(handshake(node, door(session, "ann")))
        assert wire.head().status == 400
    assert knock(node, session, times=3, source="127.0.0.2", before=of("192.0.2.7")) == [101, 101, 429]
    with Wire(node, source="127.0.0.2", before=GET) as wire:
        assert wire.rest() == b""
    # Behind two proxies: the first by header, the second by its word.
    assert knock(node, session, "198.51.100.1", times=3, source="127.0.0.2", before=of("127.0.0.2")) == [101, 101, 429]
