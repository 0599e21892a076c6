"""Couriers, through the official Socket.IO clients and in plain frames: who is there, and what one sends to others."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from types import SimpleNamespace

import pytest
from socketio.exceptions import ConnectionError as Refused
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from support.courier import COURIERS, RAW, TYPES, Courier, collab_event, courier, event_ack, letter
from support.deadline import PATIENCE, eventually
from support.http import assert_problem
from support.pad import CLIENTS, JS, pad
from support.peer import unique
from support.people import metric, said
from support.proxy import Proxy
from support.raw import BINARY, TEXT, RawSocket, Wire, refused
from support.shapes import MILLIS, NUMBER, STRING, TIME, WORDS
from support.tokens import SECRET, bearer, token

# Where it does not matter.
PLAIN = "python-websocket"
# Short enough to wait for, long enough to come back in, and to tell from at once, on a busy machine.
GRACE = 6
AT_ONCE = 5
INBOX_TTL = 7200


@pytest.fixture(scope="module")
def alone(children):
    return children.node("alone", COURIER_EVENT_TYPES="note_pinned", INBOX_LENGTH=5, LEAVE_GRACE=GRACE)


@pytest.fixture(scope="module")
def redis(children):
    return children.redis()


@pytest.fixture(scope="module")
def nodes(children, redis):
    settings = {"LEAVE_GRACE": GRACE, "INBOX_TTL": INBOX_TTL, "INBOX_BYTES": 16 << 20, "BEAT_INTERVAL": 0.5}
    # What was written to a slow reader is still read, however late the test gets to it.
    settings["CLOSE_TIMEOUT"] = 60
    return [children.node(name, REDIS_URL=redis.url, **settings) for name in ("north", "south")]


@pytest.fixture(params=COURIERS)
def client(request):
    return request.param


@pytest.fixture
def stack():
    """What ends with the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def come(stack):
    """Couriers that go when the test ends: `come(node, client, user)`."""
    return lambda *arguments, **options: stack.enter_context(courier(*arguments, **options))


@pytest.fixture
def users():
    """Names that no other test uses."""
    return [unique(name) for name in ("ann", "bob", "cat", "dan", "eve")]


def online(node, **query):
    more = "&".join(f"{key}={value}" for key, value in query.items())
    answer = node.get(f"/api/users/online?{more}")
    assert answer.status == 200, answer
    return answer.json


def listed(node):
    return {user["user_id"] for user in online(node)["users"]}


def told(redis, user):
    """Up to where the user has been told, as it is written down."""
    return int(redis.client.hget(f"user:{user}", "told") or 0)


# Who is there


def test_who_comes_is_told_how_many_there_are(alone, come, client, users):
    """A backend waits for `connected` before it sends anything, or counts wrong."""
    ann, bob, *_ = users
    eventually(lambda: online(alone)["count"] == 0, "those before have gone")
    first = come(alone, client, ann)
    assert first.connected == {"user_id": ann, "message": WORDS, "active_users": 1}
    assert come(alone, PLAIN, bob).connected["active_users"] == 2
    assert come(alone, RAW, ann).connected["active_users"] == 2, "users, not sockets"
    assert first.hears_nothing()


def test_others_hear_of_a_users_first_and_last_socket(nodes, come, client, users):
    """Every further tab, or the same user on another node, is shown as somebody's coming or going."""
    north, south = nodes
    ann, bob, cat, *_ = users
    here, there = come(north, RAW, ann), come(south, PLAIN, ann)
    bystander = pad(north, PLAIN, cat)
    with courier(south, client, bob, "Bob B.") as first:
        for watcher in (here, there):
            eventually(lambda: watcher.told_of(bob) == ["user_online"], "bob is there")
            assert watcher.pad.presence[-1] == ("user_online", {"user_id": bob, "display_name": "Bob B."})
        with courier(north, PLAIN, bob):
            pass
        with courier(north, PLAIN, bob) as second:
            first.leave()
            assert second.told_of(bob) == first.told_of(bob) == []
            first.come()
        first.leave()
        left_at = time.monotonic()
        for watcher in (here, there):
            eventually(lambda: watcher.told_of(bob) == ["user_online", "user_offline"], "bob has gone, and only once")
            assert watcher.pad.presence[-1] == ("user_offline", {"user_id": bob})
        assert time.monotonic() - left_at < AT_ONCE
    with bystander:
        assert bystander.nothing_before_pong() and not bystander.presence
    assert here.told_of(cat) == here.told_of(ann) == [], "a visitor of code rooms is no courier, nor is it told of itself"


@pytest.mark.parametrize("client", ["js-both", RAW])
def test_who_is_lost_has_a_while_to_come_back(nodes, come, client, users):
    """Every hiccup of a network is shown as somebody's going."""
    north, south = nodes
    ann, bob, cat, *_ = users
    watcher = come(south, RAW, ann)
    proxy = Proxy(north.port)
    way = SimpleNamespace(host="127.0.0.1", port=proxy.port)
    lost = [come(way, client, user) for user in (bob, cat)]
    for user in (bob, cat):
        eventually(lambda: watcher.told_of(user) == ["user_online"], "they are there")
    lost_at = time.monotonic()
    proxy.cut()
    assert all(one.pad.closed.wait(PATIENCE) for one in lost)
    # By the quickest way there is: a program that has to start first may come too late.
    back = come(south, RAW, cat)
    eventually(lambda: watcher.told_of(bob) == ["user_online", "user_offline"], "bob is given up")
    assert GRACE <= time.monotonic() - lost_at < GRACE + 10
    assert watcher.told_of(cat) == ["user_online"], "cat was back in time"
    assert cat in listed(north) and bob not in listed(north)
    back.leave()
    eventually(lambda: watcher.told_of(cat) == ["user_online", "user_offline"], "it went by itself", within=AT_ONCE)
    proxy.close()


def test_coming_and_going_in_haste_ends_in_the_truth(nodes, come, users):
    """Somebody who comes and goes on two nodes at once is shown as the opposite of what is true."""
    ann, bob, cat, *_ = users
    watchers = [come(node, RAW, ann) for node in nodes]

    def storm(node, client):
        with courier(node, client, bob) as one:
            for _ in range(15):
                one.leave()
                one.come()

    storms = [threading.Thread(target=storm, args=pair) for pair in zip(nodes * 2, (RAW, PLAIN, "python-polling", RAW))]
    stays = courier(nodes[1], RAW, cat)
    for one in storms:
        one.start()
    for _ in range(15):
        stays.leave()
        stays.come()
    for one in storms:
        one.join()
    eventually(lambda: bob not in listed(nodes[0]), "bob is gone")
    with stays:
        for watcher in watchers:
            eventually(lambda: watcher.told_of(bob)[-1:] == ["user_offline"], "so it was told")
            eventually(lambda: watcher.told_of(cat)[-1:] == ["user_online"], "and that cat stays")
            for user in (bob, cat):
                events = watcher.told_of(user)
                assert all(one != other for one, other in zip(events, events[1:])), events
        assert cat in listed(nodes[0])


# What one sends to others


@pytest.fixture(scope="module")
def crowd(nodes):
    """A user with a socket by each way, on both nodes in turns."""
    user = unique("crowd")
    with ExitStack() as stack:
        yield {
            client: stack.enter_context(courier(nodes[at % 2], client, user)) for at, client in enumerate(COURIERS)
        }


@pytest.mark.parametrize("sender", COURIERS)
def test_every_socket_of_every_recipient_is_told(nodes, come, crowd, users, sender):
    """One of a user's backends, or one transport, is left out, or told something else."""
    one = crowd[sender]
    bob = come(nodes[0], RAW, users[1])
    to = [bob.user, one.user]
    data = {
        "position_shared": {"position_id": "1", "share_url": "http://a:8000/x", "shared_at": "2025-11-01T10:00:00Z"},
        "comment_added": {
            "position_id": "1",
            "comment": {"id": "c", "text": "Große Ärä 👍\u2028", "user": {"id": "u", "display_name": None}},
        },
        "position_updated": {"position_id": "1", "updates": {"tags": ["bullish"], "price": 1.5, "deep": {"er": [1, {}]}}},
        "share_revoked": {"position_id": "1", "unknown": [None, True, {"x": "y" * 20_000}]},
    }
    assert set(data) == set(TYPES)
    for type in TYPES:
        ack = one.ask(to, data[type], type)
        event = collab_event(one.user, to, data[type], type, id=ack["id"])
        assert ack == event_ack(event, 2, 2)
        heard = [each.take(1) for each in crowd.values()]
        assert all(each == [letter(event, seq=heard[0][0]["seq"], id=ack["id"])] for each in heard), heard
        assert bob.take(1) == [letter(event, id=ack["id"])]
    assert all(each.hears_nothing() for each in (*crowd.values(), bob))


@pytest.mark.parametrize("type", ["note_pinned", "note_unpinned"])
def test_further_types_are_those_of_the_settings(alone, come, users, type):
    """A new feature's events are refused by an old list, or any word is taken."""
    ann = come(alone, RAW, users[0])
    reply = ann.ask([users[1]], type=type)
    if type == "note_pinned":
        assert reply["event_type"] == type
    else:
        assert (reply["code"], reply["field"]) == ("unknown_type", "type")


@pytest.mark.parametrize("where", ["nodes", "alone"])
def test_the_sender_is_told_the_true_numbers(request, come, users, where):
    """A sender believes that somebody was told, who was not."""
    nodes = request.getfixturevalue(where)
    north, south = nodes if where == "nodes" else (nodes, nodes)
    ann, bob, cat, dan, _ = users
    one, _other, _bob = come(north, RAW, ann), come(south, PLAIN, ann), come(south, RAW, bob)
    cases = [([ann], 1, 1, 0), ([bob], 1, 1, 0), ([cat], 0, 1, 1), ([bob, bob, bob], 1, 1, 0)]
    cases += [([cat, bob, dan, ann, bob, cat], 2, 4, 2), ([cat, cat, dan], 0, 2, 2)]
    for to, present, total, queued in cases:
        id = unique("letter")
        event = one.send(to, id=id)
        assert one.reply(id) == event_ack(event, present, total, queued)
    # Without an id it gets one.
    event = one.send([ann])
    name, ack = one.answer()
    assert (name, ack) == ("event_ack", event_ack(event, 1, 1))
    to_self, to_some, without_id = one.take(3)
    assert without_id == letter(event, id=ack["id"])
    assert to_some["to_users"] == [cat, bob, dan, ann], "nobody twice"


@pytest.mark.parametrize("client", CLIENTS)
def test_an_acknowledgement_that_is_asked_for_comes(nodes, come, client, users):
    """`emitWithAck` waits for ever, or is answered before anything was done."""
    ann, bob, *_ = users
    one = come(nodes[0], client, ann)
    one.pad.ask("collab_event", collab_event(ann, [bob], id="first"))
    assert one.pad.heard.get_nowait()[0] == "event_ack", "it comes behind the answer"
    one.pad.ask("collab_event", {"type": 7})
    assert one.pad.heard.get_nowait()[0] == "error"
    one.pad.ask("ping", {})
    assert one.pad.heard.get_nowait()[0] == "pong"


# Of a frame of raw JSON: numbers of all kinds, escapes, spaces, and deeper than most parsers go.
ODD = (
    '{"position_id":"p", "n":1.50,"e":1E+2,"z":-0.0,"big":123456789012345678901234567890.10,"u":"\\u00e9é\\u2028 \\ud83d\\ude00😀",'
    ' "lone":"\\ud800", "nul":"\\u0000","sep":"\\u001e","deep":' + "[" * 300 + "]" * 300 + ',"__proto__":{"a":1} , "":0}'
)


def test_data_is_passed_on_as_it_was_written(nodes, redis, come, users):
    """An amount of 1.50 becomes 1.5, a large number another one, or a strange text ends the connection."""
    north, south = nodes
    ann, bob, *_ = users
    sender, present = come(north, RAW, ann), come(south, RAW, bob)
    frame = json.dumps({"event": "collab_event", "data": collab_event(ann, [bob], "DATA", id="odd")})
    sender.pad.emit_raw(frame.replace('"DATA"', ODD))
    assert sender.reply("odd")["delivered_to"] == 1
    present.take(1)
    assert ODD in present.pad.frames[-1]
    others = [come(south, client, bob) for client in ("python-polling", "js-websocket")]
    sender.pad.emit_raw(frame.replace('"DATA"', ODD).replace('"odd"', '"odd again"'))
    sender.reply("odd again")
    assert [one.take(1)[0]["data"]["n"] for one in (present, *others)] == [1.5] * 3
    eventually(lambda: told(redis, bob) == 2, "it is noted that bob was told")
    for one in (present, *others):
        one.leave()
    eventually(lambda: bob not in listed(north), "bob is gone")
    sender.pad.emit_raw(frame.replace('"DATA"', ODD).replace('"odd"', '"odd later"'))
    assert sender.reply("odd later")["queued"] == 1
    present.come()
    present.take(1)
    assert ODD in present.pad.frames[-1]


# What waits for who is away


def test_who_was_away_is_told_everything_once(nodes, redis, come, client, users):
    """What happened meanwhile is lost, comes in another order, or comes again with every connection."""
    north, south = nodes
    ann, bob, *_ = users
    sender = come(north, RAW, ann)
    acks = [sender.ask([bob], {"position_id": str(n)}) for n in range(10)]
    assert all(ack["queued"] == 1 for ack in acks)
    with courier(south, client, bob) as away:
        letters = away.take(10)
        assert [(one["data"]["position_id"], one["seq"]) for one in letters] == [(str(n), n + 1) for n in range(10)]
        assert [one["id"] for one in letters] == [ack["id"] for ack in acks]
        sender.ask([bob], {"position_id": "live"})
        assert [(one["data"]["position_id"], one["seq"]) for one in away.take(1)] == [("live", 11)]
        assert away.hears_nothing()
        eventually(lambda: told(redis, bob) == 11, "it is noted that bob was told")
        with courier(north, PLAIN, bob) as second:
            assert second.hears_nothing()
        away.leave()
        away.come()
        assert away.hears_nothing()


@pytest.mark.parametrize("client", ["python-polling", "js-both", RAW])
def test_an_inbox_of_a_node_alone(alone, come, client, users):
    """Without Redis whoever is away misses everything; or what was told before comes again."""
    ann, bob, *_ = users
    sender = come(alone, RAW, ann)
    for round in range(2):
        for n in range(3):
            assert sender.ask([bob], {"position_id": f"{round}{n}"})["queued"] == 1
        with courier(alone, client, bob) as away:
            assert [one["data"]["position_id"] for one in away.take(3)] == [f"{round}{n}" for n in range(3)]
        eventually(lambda: bob not in listed(alone), "bob is gone")

        def nothing_more():
            with courier(alone, PLAIN, bob) as away:
                return away.hears_nothing()

        eventually(nothing_more, "all was told")
        eventually(lambda: bob not in listed(alone), "bob is gone")


def test_what_is_kept_expires_as_documented(nodes, redis, come, users):
    """Inboxes of users who never come fill Redis for ever, or go while somebody may still come."""
    ann, bob, *_ = users
    sender = come(nodes[0], RAW, ann)
    sender.ask([bob])
    key = f"user:{bob}"
    kept = [key, f"{{{key}}}:inbox", f"{{{key}}}:contacts"]

    def left(names):
        return [redis.client.ttl(name) for name in names]

    assert all(INBOX_TTL - 60 < ttl <= INBOX_TTL for ttl in left(kept)), left(kept)
    idempotent = f"{{{key}}}:idem:{ann}/*"
    (known,) = redis.client.scan_iter(idempotent)
    assert 0 < redis.client.ttl(known) <= 300
    with courier(nodes[1], PLAIN, bob) as away:
        away.take(1)
        assert left([key, f"{{{key}}}:members", f"{{{key}}}:users"]) == [-1] * 3, "while somebody is there"
    eventually(lambda: left([key])[0] > 0, "it begins to expire")
    assert all(INBOX_TTL - 60 < ttl <= INBOX_TTL for ttl in left(kept)), left(kept)
    eventually(lambda: left([f"{{{key}}}:members", f"{{{key}}}:users", f"{{{key}}}:sockets"]) == [-2] * 3, "nothing stays")


@pytest.mark.parametrize("where", ["memory", "redis"])
def test_a_full_inbox_says_so_and_keeps_its_promises(own_children, redis, come, users, where):
    """For the newest event the oldest one goes, whose sender was told that it is kept."""
    settings = {"INBOX_LENGTH": 5, "INBOX_BYTES": 20_000, "KEY_PREFIX": unique("full-")}
    node = own_children.node("full", **settings | ({"REDIS_URL": redis.url} if where == "redis" else {}))
    ann, bob, cat, dan, _ = users
    sender = come(node, RAW, ann)
    assert [sender.ask([bob], {"position_id": str(n)})["queued"] for n in range(5)] == [1] * 5
    event = sender.send([bob, cat], id="sixth")
    assert sender.reply("sixth") == event_ack(event, 0, 2, 1, full=1)
    with courier(node, PLAIN, bob) as away:
        assert [one["data"]["position_id"] for one in away.take(5)] == [str(n) for n in range(5)]
        assert away.hears_nothing()
        # The same id again is taken now: it was promised to nobody before.
        eventually(lambda: sender.ask([bob, cat], id="sixth").get("full", 0) == 0, "there is room again")
        assert [one["id"] for one in away.take(1)] == ["sixth"]
        assert away.hears_nothing()
    # A single one is taken whatever its size.
    large = {"position_id": "x" * 25_000}
    assert sender.ask([dan], large)["queued"] == 1
    assert sender.ask([dan], id="small")["full"] == 1
    with courier(node, PLAIN, dan) as away:
        assert [one["data"] for one in away.take(1)] == [large]
        eventually(lambda: sender.ask([dan], id="small").get("full", 0) == 0, "there is room again")
        assert [one["id"] for one in away.take(1)] == ["small"]


@pytest.mark.parametrize("where", ["memory", "redis"])
def test_without_inboxes_only_who_is_there_is_told(own_children, redis, come, users, where):
    """INBOX=off keeps what it says it does not, or loses what goes to who is there."""
    settings = {"INBOX": "off", "KEY_PREFIX": unique("off-")}
    node = own_children.node("off", **settings | ({"REDIS_URL": redis.url} if where == "redis" else {}))
    ann, bob, cat, *_ = users
    sender, there = come(node, RAW, ann), come(node, PLAIN, bob)
    event = sender.send([bob, cat], id="one")
    assert sender.reply("one") == event_ack(event, 1, 2, 0)
    assert len(there.take(1)) == 1
    with courier(node, PLAIN, cat) as away:
        assert away.hears_nothing()


LARGE = 1_000


@pytest.fixture(scope="module")
def large(nodes):
    """Users for whom as much waits as may: 1,000 events of 4 KB; one for each way."""
    to = {client: unique("large") for client in COURIERS}
    with courier(nodes[0], RAW, unique("sender")) as sender:
        for n in range(LARGE):
            sender.send(list(to.values()), {"position_id": str(n), "text": "x" * 4_096})
        for _ in range(LARGE):
            assert sender.pad.next("event_ack")["queued"] == len(to)
    return to


def test_a_large_inbox_comes_whole(nodes, large, client):
    """After a long absence a client's connection is cut as too slow, again and again."""
    with courier(nodes[1], client, large[client]) as away:
        letters = away.take(LARGE, within=2 * PATIENCE)
        assert [(one["seq"], one["data"]["position_id"]) for one in letters] == [(n + 1, str(n)) for n in range(LARGE)]
        assert away.hears_nothing()


@pytest.mark.parametrize("client", ["python-polling", "js-both", RAW])
def test_a_large_inbox_comes_whole_through_a_small_outbox(own_children, come, users, client):
    """Where little may wait for a slow reader, whoever was away never gets in again."""
    node = own_children.node("narrow", OUTBOX_BYTES=16_384, MESSAGE_QUEUE_SIZE=8)
    ann, bob, *_ = users
    with courier(node, RAW, ann) as sender:
        for n in range(300):
            sender.send([bob], {"position_id": str(n), "text": "x" * 4_096}, id=f"{n}")
            assert sender.reply(f"{n}")["queued"] == 1
    with courier(node, client, bob) as away:
        assert [one["data"]["position_id"] for one in away.take(300)] == [str(n) for n in range(300)]
        assert away.hears_nothing()


COMINGS = 50
# Clients that hand over what comes behind their goodbye.
READ_TO_THE_END = ["python-polling", RAW]


def test_nothing_is_lost_between_connections(nodes, redis, come, client, users):
    """What is sent while somebody connects or leaves falls between the inbox and the live events."""
    ann, bob, *_ = users
    sent, stop = [], threading.Event()
    sender = come(nodes[0], RAW, ann)

    def send():
        while not stop.is_set():
            sent.append(unique("hammered"))
            ack = sender.ask([bob], id=sent[-1])
            assert ack["delivered_to"] + ack["queued"] == 1 and "full" not in ack, ack

    sending = threading.Thread(target=send)
    bobs = [come(node, client, bob) for node in nodes]
    heard = [one.leave() for one in bobs]
    sending.start()
    try:
        for at in range(COMINGS):
            one = bobs[at % 2]
            one.come()
            heard.append(one.take(1) + one.leave())
    finally:
        stop.set()
        sending.join()
    with courier(nodes[0], client, bob) as last:
        heard.append([])
        eventually(lambda: heard[-1].extend(last.take_all()) or told(redis, bob) == len(sent), "bob was told all")
        heard[-1] += last.take_all()
    seq_of = {}
    for letters in heard:
        seqs = [one["seq"] for one in letters]
        assert not seqs or seqs == list(range(seqs[0], seqs[-1] + 1)), "in order, nothing twice, no hole"
        for one in letters:
            assert seq_of.setdefault(one["id"], one["seq"]) == one["seq"], "again, but as something else"
    seqs = [seq_of.get(id) for id in sent]
    ends = [letters[-1]["seq"] for letters in heard if letters]
    if client in READ_TO_THE_END:
        assert seqs == list(range(1, len(sent) + 1))
    else:
        # What is under way when they say goodbye these libraries throw away.
        holes = {at for at, (seq, before) in enumerate(zip(seqs[1:], seqs), 1) if seq is None and before is not None}
        assert holes <= set(ends), (holes, ends)


def fill(node, user, count, size=16):
    """So many letters wait for the user."""
    with courier(node, RAW, unique("filler")) as sender:
        for n in range(count):
            assert sender.ask([user], {"position_id": str(n), "text": "x" * size})["queued"] == 1


def seqs(frames):
    """Of the letters among Socket.IO's or raw frames."""
    found = (re.search(r'"seq":(\d+),"id":"[^"]*"\}', frame) for frame in frames)
    return [int(match[1]) for match in found if match]


def test_who_stops_reading_is_told_the_rest_later(nodes, redis, come, users):
    """What was never written to a stuck backend counts as told."""
    north, south = nodes
    ann, bob, *_ = users
    sender = come(north, RAW, ann)
    count = 130
    with RawSocket(south, f"/?user_id={bob}", receive_buffer=4_096) as stuck:
        assert stuck.recv_json()["event"] == "connected"
        acks = [sender.ask([bob], {"position_id": str(n), "text": "x" * 60_000}) for n in range(count)]
        assert all(ack["delivered_to"] + ack["queued"] == 1 for ack in acks)
        assert acks[0]["delivered_to"] == acks[-1]["queued"] == 1, "in the end it was given up as too slow"
        read = []
        with suppress(EOFError):
            while (frame := stuck.recv_frame()).opcode == TEXT:
                read.append(frame.payload.decode())
    heard = seqs(read)
    assert heard == list(range(1, len(heard) + 1)) and len(heard) < count
    eventually(lambda: told(redis, bob) == len(heard), "what was written is noted, and no more")
    with courier(north, PLAIN, bob) as back:
        assert [one["seq"] for one in back.take(count - len(heard))] == list(range(len(heard) + 1, count + 1))
        assert back.hears_nothing()


# Its requests one by one


def engine(node, user, sid=None, *packets):
    """Asks for packets, or brings some."""
    path = f"/socket.io/?EIO=4&transport=polling&user_id={user}&backend_url=http://b" + (f"&sid={sid}" if sid else "")
    answer = node.post(path, "\x1e".join(packets).encode()) if packets else node.get(path)
    assert answer.status == 200, answer
    return answer.text.split("\x1e")


def opened(node, user):
    sid = json.loads(engine(node, user)[0][1:])["sid"]
    engine(node, user, sid, "40")
    return sid


def test_an_answer_that_was_lost_is_told_again(nodes, redis, come, users):
    """A request's answer gets lost in a network, and with it what was in it."""
    ann, bob, *_ = users
    sid = opened(nodes[0], bob)
    first = engine(nodes[0], bob, sid)
    assert [packet[:2] for packet in first] in (["40"], ["40", "42"])
    with Wire(nodes[0]) as waiting:
        waiting.send(f"GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert come(nodes[1], RAW, ann).ask([bob])["delivered_to"] == 1
        assert waiting.head().status == 200
    assert told(redis, bob) == 0
    with courier(nodes[1], PLAIN, bob) as back:
        assert [one["seq"] for one in back.take(1)] == [1]
    eventually(lambda: told(redis, bob) == 1, "now it was told")


def test_what_is_handed_out_in_parts_is_told_with_the_last(nodes, redis, users):
    """Of an inbox that takes several requests the end is lost when its client goes in between."""
    bob = users[1]
    fill(nodes[0], bob, 40)
    sid = opened(nodes[1], bob)
    parts = []
    while not parts or len(seqs(parts)) < 40:
        part = engine(nodes[1], bob, sid)
        assert len(part) <= 16, "Python's client takes no more"
        assert told(redis, bob) == 0
        parts += part
    assert parts[0].startswith("40{") and parts[1].startswith('42["connected"') and seqs(parts) == list(range(1, 41))
    engine(nodes[1], bob, sid, '42["ping",{}]')
    assert engine(nodes[1], bob, sid)[0].startswith('42["pong"')
    eventually(lambda: told(redis, bob) == 40, "who asks for more has got it")


@pytest.mark.parametrize("reads", [True, False])
def test_a_change_of_transport_in_the_middle_of_an_inbox(nodes, redis, users, reads):
    """What waits is lost, doubled or put in another order on the way over, or counts as told too early."""
    bob = users[1]
    count = 80
    fill(nodes[0], bob, count, size=60_000)
    sid = opened(nodes[1], bob)
    heard = engine(nodes[1], bob, sid)
    with RawSocket(nodes[1], f"/socket.io/?EIO=4&transport=websocket&sid={sid}", receive_buffer=4_096) as socket:
        socket.send_frame(TEXT, b"2probe")
        assert socket.recv_frame().payload == b"3probe"
        socket.send_frame(TEXT, b"5")
        if reads:
            while len(seqs(heard)) < count:
                heard.append(socket.recv_frame().payload.decode())
            assert seqs(heard) == list(range(1, count + 1))
            eventually(lambda: told(redis, bob) == count, "all was told")
        else:
            # It is on its way, and stuck there.
            heard.append(socket.recv_frame().payload.decode())
    eventually(lambda: bob not in redis.client.hkeys(f"{{user:{bob}}}:users"), "it is gone")
    if not reads:
        assert told(redis, bob) == 0
        with courier(nodes[0], PLAIN, bob) as back:
            assert [one["seq"] for one in back.take(count)] == list(range(1, count + 1))


# Once


@pytest.mark.parametrize("where", ["nodes", "alone"])
def test_a_repeat_changes_nothing_and_is_answered_alike(request, come, users, where):
    """Whoever is not sure that an event was taken cannot send it again."""
    nodes = request.getfixturevalue(where)
    north, south = nodes if where == "nodes" else (nodes, nodes)
    ann, bob, cat, dan, _ = users
    one, other, there = come(north, RAW, ann), come(south, PLAIN, ann), come(south, RAW, bob)
    impostor = come(north, PLAIN, dan)
    event = one.send([bob, cat], id="same")
    first = one.reply("same")
    assert first == event_ack(event, 1, 2, 1)
    there.take(1)
    with courier(north, RAW, cat) as away:
        assert [letter_["id"] for letter_ in away.take(1)] == ["same"]
        for sender in (one, other, one):
            assert sender.ask([bob, cat], id="same") == first, "although cat is there by now"
        assert there.hears_nothing() and away.hears_nothing()
        # More recipients: those are told, the others are not.
        assert other.ask([bob, cat, ann], id="same")["total_recipients"] == 3
        assert [letter_["to_users"] for letter_ in one.take(1)] == [[bob, cat, ann]]
        assert there.hears_nothing() and away.hears_nothing()
        # Somebody else's.
        impostor.ask([bob, cat], id="same")
        assert [each.take(1)[0]["from_user"] for each in (there, away)] == [dan, dan]


def test_an_id_is_forgotten_in_time(own_children, come, users):
    """Ids are remembered for ever, or are not remembered."""
    node = own_children.node("forgetful", IDEMPOTENCY_TTL=1)
    ann, bob, *_ = users
    sender, there = come(node, RAW, ann), come(node, RAW, bob)
    sent_at = time.monotonic()
    sender.ask([bob], id="same")
    there.take(1)

    def forgotten():
        sender.ask([bob], id="same")
        return there.take_all()

    eventually(forgotten, "it is another event by now", every=1.05)
    assert time.monotonic() - sent_at >= 1


# What is refused


def with_data(**data):
    return {"data": {"position_id": "p"} | data}


# What is wrong with an event, its code, its field, and a word of the sentence.
REFUSED = {
    "somebody else's": ({"from_user": "dan"}, "forbidden", "from_user", "own id"),
    "an unknown type": ({"type": "nonsense"}, "unknown_type", "type", "nonsense"),
    "no type": ({"type": None}, "bad_field", "type", "missing"),
    "a type that is a number": ({"type": 7}, "bad_field", "type", "string"),
    "no sender": ({"from_user": None}, "bad_field", "from_user", "missing"),
    "a sender that is a list": ({"from_user": []}, "bad_field", "from_user", "string"),
    "a sender that is no id": ({"from_user": "a/b"}, "bad_field", "from_user", "from_user has"),
    "no recipients": ({"to_users": None}, "bad_field", "to_users", "missing"),
    "recipients that are a text": ({"to_users": "bob"}, "bad_field", "to_users", "list"),
    "recipients that are numbers": ({"to_users": [7]}, "bad_field", "to_users", "list"),
    "an empty list": ({"to_users": []}, "bad_field", "to_users", "empty"),
    "a recipient that is no id": ({"to_users": ["bob", ""]}, "bad_field", "to_users", "to_users"),
    "ten thousand": ({"to_users": [f"u{n}" for n in range(10_000)]}, "too_many", "to_users", "1000"),
    "no data": ({"data": None}, "bad_field", "data", "missing"),
    "data that are a text": ({"data": "x"}, "bad_field", "data", "object"),
    "data that are a list": ({"data": ["p"]}, "bad_field", "data", "object"),
    "data without a position": ({"data": {"x": 1}}, "bad_field", "data.position_id", "position_id"),
    "a position that is a number": (with_data(position_id=7), "bad_field", "data.position_id", "data.position_id"),
    "a position that is null": (with_data(position_id=None), "bad_field", "data.position_id", "data.position_id"),
    "an address that is a number": (with_data(share_url=7), "bad_field", "data.share_url", "data.share_url"),
    "a time that is an object": (with_data(shared_at={}), "bad_field", "data.shared_at", "data.shared_at"),
    "a comment that is a text": (with_data(comment="x"), "bad_field", "data.comment", "data.comment"),
    "a comment that is a list": (with_data(comment=["id", "text"]), "bad_field", "data.comment", "data.comment"),
    "a comment's text": (with_data(comment={"text": 5}), "bad_field", "data.comment.text", "data.comment.text"),
    "a comment's user": (with_data(comment={"user": "bob"}), "bad_field", "data.comment.user", "data.comment.user"),
    "a comment's time": (with_data(comment={"created_at": 1}), "bad_field", "data.comment.created_at", "data.comment.created_at"),
    "updates that are a list": (with_data(updates=[]), "bad_field", "data.updates", "data.updates"),
    "too much": (with_data(x="y" * 70_000), "bad_field", "data", "65536"),
    "an id that is too long": ({"id": "x" * 65}, "bad_field", "id", "64"),
    "an id that is empty": ({"id": ""}, "bad_field", "id", "64"),
    "an id that is a number": ({"id": 7}, "bad_field", "id", "string"),
}
# The whole body.
NO_EVENT = {"a text": "text", "a number": 7, "a list": ["position_shared", "ann"], "nothing": None}


@pytest.mark.parametrize("client", [PLAIN, "js-polling", RAW])
def test_a_mistake_is_named_and_harms_nobody(nodes, come, client, users):
    """A client's mistake reaches somebody, closes a socket, or cannot be found."""
    ann, bob, *_ = users
    there = come(nodes[1], RAW, bob)
    cases = list(REFUSED.items())
    for some in (cases[:15], cases[15:]):
        with courier(nodes[0], client, ann) as sender:
            for name, (wrong, code, field, word) in some:
                event = collab_event(ann, [bob], id="wrong") | wrong
                event = {key: value for key, value in event.items() if value is not None}
                sender.pad.emit("collab_event", event)
                event, error = sender.answer()
                expected = {"message": WORDS, "error": code, "code": code, "field": field}
                assert (event, error) == ("error", expected | ({} if field == "id" else {"id": "wrong"})), name
                assert word in error["message"], (name, error)
    with courier(nodes[0], client, ann) as sender:
        for body in NO_EVENT.values():
            sender.pad.emit("collab_event", body)
            error = sender.pad.next("error")
            assert error == {"message": WORDS, "error": "bad_frame", "code": "bad_frame"}, error
        sender.pad.emit("nonsense", {"id": "n"})
        assert sender.reply("n")["code"] == "unknown_type"
        assert sender.ask([bob])["delivered_to"] == 1
    there.take(1)
    assert there.hears_nothing()


@pytest.mark.parametrize("client", ["python-websocket", "python-polling"])
def test_binary_data_are_refused(nodes, come, client, users):
    """A picture in an event ends the connection, or comes as something else."""
    ann, bob, *_ = users
    sender, there = come(nodes[0], client, ann), come(nodes[0], RAW, bob)
    sender.send([bob], {"position_id": "p", "picture": b"\x00\x01"})
    assert sender.pad.next("error")["code"] == "bad_frame"
    sender.ask([bob])
    there.take(1)
    assert there.hears_nothing()


@pytest.mark.parametrize("client", [PLAIN, "js-polling", RAW])
def test_only_couriers_send(nodes, come, client, users):
    """A visitor of code rooms writes to everybody's backends."""
    ann, bob, *_ = users
    there = come(nodes[0], RAW, bob)
    if client == RAW:
        # At this door everybody is one.
        with pad(nodes[0], RAW, ann) as sender:
            assert sender.next("connected")["user_id"] == ann
        return
    with pad(nodes[0], client, ann) as visitor:
        visitor.emit("collab_event", collab_event(ann, [bob], id="1"))
        error = visitor.next("error")
        assert (error["code"], error["id"]) == ("forbidden", "1")
        assert visitor.nothing_before_pong()
    assert there.hears_nothing()


@pytest.mark.parametrize("client", [PLAIN, "js-polling", RAW])
def test_many_mistakes_end_a_socket(nodes, come, client, users):
    """A broken backend keeps a node busy with its mistakes."""
    ann, bob, *_ = users
    there = come(nodes[1], RAW, bob)
    broken = courier(nodes[0], client, ann, **({} if client == RAW else {"reconnection": True}))
    try:
        for n in range(21):
            broken.pad.emit("collab_event", {"type": n})
        for _ in range(20):
            assert broken.pad.next("error")["code"] == "bad_field"
        assert broken.pad.closed.wait(PATIENCE)
        if client == RAW:
            assert broken.pad.code == 4400
        else:
            # It was told to stay away.
            assert not broken.pad.connected
    finally:
        broken.end()
    assert there.hears_nothing()


def test_an_event_counts_once_for_each_of_its_recipients(own_children, users):
    """One socket has the store make copies for thousands, frame by frame, and everybody else waits."""
    node = own_children.node("dear", COURIER_BYTE_RATE=30_000, COURIER_BYTE_BURST=100_000)
    ann, bob, *_ = users
    many = [bob] + [f"nobody-{n}" for n in range(19)]
    with courier(node, RAW, ann) as sender, courier(node, PLAIN, bob) as there:
        text = "x" * 5_000
        never = sender.ask([*many, "one-more"], data={"position_id": text}, id="never")
        assert (never["code"], never["field"]) == ("too_many", "to_users") and "at most 100000" in never["message"]
        # So much that what is left takes more than a second to be enough for the next.
        few = sender.ask(many[:16], data={"position_id": text}, id="few")
        assert few["delivered_to"] + few["queued"] == 16
        hasty = sender.ask(many[:10], data={"position_id": text}, id="hasty")
        assert hasty["code"] == "rate_limited" and 0 < hasty["retry_in_ms"] < 2_000
        assert sender.ask([bob], id="small")["delivered_to"] == 1
        with courier(node, RAW, bob) as other:
            assert other.ask(many[:10], data={"position_id": text}, id="other's")["total_recipients"] == 10
        eventually(lambda: "code" not in sender.ask(many[:10], data={"position_id": text}, id="hasty"), "its time comes")
        assert [letter_["id"] for letter_ in there.take(4)] == ["few", "small", "other's", "hasty"]


def test_haste_is_answered_with_the_id(own_children, users):
    """A sender cannot tell which of its events was not taken, or waits for ever for an acknowledgement."""
    node = own_children.node("slow", MESSAGE_RATE=1, MESSAGE_BURST=3)
    ann, bob, *_ = users
    for client in (RAW, PLAIN, "js-polling"):
        with courier(node, client, ann) as sender:
            for n in range(9):
                sender.send([bob], id=f"{client}{n}")
            replies = [sender.reply(f"{client}{n}") for n in range(9)]
            hasty = [reply for reply in replies if "code" in reply]
            assert hasty
            assert all(reply["code"] == "rate_limited" and reply["retry_in_ms"] > 0 for reply in hasty)
            if client != RAW:
                sender.pad.ask("collab_event", collab_event(ann, [bob]))


NO_FRAMES = {
    "no JSON": "nonsense",
    "a list": '["collab_event",{}]',
    "a text": '"collab_event"',
    "no event": '{"data":{}}',
    "an event that is a number": '{"event":7,"data":{}}',
    "an empty object": "{}",
    "nothing": "",
    "two": '{"event":"ping"}{"event":"ping"}',
}


def test_frames_that_are_none_are_answered(alone, come, users):
    """Whoever writes the frames by hand sees a closed connection instead of the mistake."""
    sender = come(alone, RAW, users[0])
    for name, frame in NO_FRAMES.items():
        sender.pad.emit_raw(frame)
        assert sender.pad.next("error")["code"] == "bad_frame", name
    sender.pad.emit_raw('{"event":"unknown","data":{"id":"1"}}')
    error = sender.pad.next("error")
    assert (error["code"], error["id"]) == ("unknown_type", "1")
    sender.pad.emit_raw(' {"data" : null , "more":1, "event":"ping"}')
    assert sender.pad.next("pong") == {"timestamp": MILLIS}
    sender.pad.emit_raw('{"event":"ping"}')
    assert sender.pad.next("pong") == {"timestamp": MILLIS}


def test_what_the_raw_door_refuses(alone, users):
    """A client that says nothing of itself is let in, or a browser is not told why it is not."""
    ann = users[0]
    with RawSocket(alone, f"/?user_id={ann}") as raw:
        raw.recv_json()
        raw.send_frame(BINARY, b"\x00")
        assert raw.closing() == 1003
    for path in ("/", "/?user_id=", "/?user_id=a%20b", f"/?user_id={ann}&display_name={'x' * 129}", f"/?user_id={ann}&backend_url=a%20b"):
        assert refused(alone, path).status == 400, path
        answer = refused(alone, path, Origin="http://page.example")
        assert (answer.status, answer.close) == (101, 4400), path
    # Without an upgrade it is the node's card.
    assert alone.get("/").json["service"]
    with pad(alone, RAW, ann, backend_url="http://b:8000") as one:
        assert one.next("connected")["user_id"] == ann


# Who it is


@pytest.fixture(scope="module")
def guarded(children, redis):
    settings = {"REDIS_URL": redis.url, "JWT_SECRET": SECRET, "KEY_PREFIX": "guarded-", "LEAVE_GRACE": GRACE}
    return [children.node(name, **settings) for name in ("guarded north", "guarded south")]


@pytest.mark.parametrize("client", [PLAIN, "js-both", RAW])
def test_a_courier_is_who_its_token_says(guarded, come, client, users):
    """Somebody writes another one's id into the query and sends in that one's name."""
    north, south = guarded
    ann, bob, *_ = users
    there = come(south, RAW, bob, auth={"token": token(bob)})
    for wrong in ({"user": bob, "auth": {"token": token(ann)}}, {"user": ann}, {"user": ann, "auth": {"token": "nonsense"}}):
        with pytest.raises((Refused, InvalidStatus)) as why:
            pad(north, client, display_name="x", **wrong)
        if client == RAW:
            status = 403 if wrong["user"] == bob else 401
            assert why.value.response.status_code == status
    # The id need not be said twice, and the token's name goes before that of the query.
    with pad(north, client, display_name="not Ann", auth={"token": token(ann, name="Ann A.")}) as sender:
        assert sender.next("connected")["user_id"] == ann
        eventually(lambda: there.told_of(ann) == ["user_online"], "it is announced")
        assert there.pad.presence[-1][1]["display_name"] == "Ann A."
        sender.emit("collab_event", collab_event(ann, [bob]))
        assert sender.next("event_ack")["delivered_to"] == 1
        sender.emit("collab_event", collab_event(bob, [bob]))
        assert sender.next("error")["code"] == "forbidden"
    assert len(there.take(1)) == 1 and there.hears_nothing()


def test_a_token_may_stand_in_the_query(guarded, users):
    """A client library that sets no headers cannot come."""
    for client in (RAW, PLAIN):
        with pad(guarded[0], client, display_name="A", token=token(users[0])) as one:
            assert one.next("connected")["user_id"] == users[0]


def test_requests_need_a_token_too(guarded, users):
    """Anybody reads who is there, or registers others' backends."""
    ann, bob, *_ = users
    node = guarded[0]
    card = {"user_id": ann, "backend_url": "http://a:8000", "display_name": "A"}
    assert_problem(node.get("/api/users/online"), 401, "unauthorized")
    assert_problem(node.post("/api/register", card), 401, "unauthorized")
    assert node.get("/api/users/online", headers=bearer(token(bob))).status == 200
    assert_problem(node.post("/api/register", card, headers=bearer(token(bob))), 403, "forbidden")
    assert_problem(node.post("/api/register", card, headers=bearer(token(bob, role="agent"))), 403, "forbidden")
    assert node.post("/api/register", card, headers=bearer(token(ann))).status == 200
    assert node.post("/api/register", card, headers=bearer(token(bob, role="service"))).status == 200


def test_a_revoked_token_ends_its_couriers_everywhere(guarded, come, users):
    """Whoever was logged out goes on hearing everything."""
    ann, bob, *_ = users
    mine, other = token(ann, jti=unique("jti")), token(ann, jti=unique("jti"))
    going = [come(node, client, ann, auth={"token": mine}) for node in guarded for client in (RAW, PLAIN, "js-both")]
    stays, watcher = [come(guarded[0], RAW, user, auth={"token": made}) for user, made in ((ann, other), (bob, token(bob)))]
    assert guarded[1].post("/api/auth/logout", b"", headers=bearer(mine)).status == 204
    assert all(one.pad.closed.wait(PATIENCE) for one in going)
    assert [one.pad.code for one in going if isinstance(one.pad, type(stays.pad))] == [4401] * 2
    assert not any(one.pad.connected for one in going)
    assert watcher.ask([ann])["delivered_to"] == 1
    stays.take(1)
    with pytest.raises(Refused):
        pad(guarded[0], PLAIN, display_name="A", auth={"token": mine})


@pytest.mark.parametrize("client", [PLAIN, "js-polling", RAW])
def test_a_new_token_takes_the_place_of_the_old(guarded, come, client, users):
    """A backend that runs for days is cut off when its first token ends."""
    ann, bob, *_ = users
    first, second = unique("jti"), unique("jti")
    one = come(guarded[0], client, ann, auth={"token": token(ann, jti=first)})
    one.pad.emit("auth", {"token": token(ann, jti=second), "id": "renewed"})
    assert one.pad.next("auth_ok") == {"expires_at": TIME, "id": "renewed"}
    for wrong in (token(bob), "nonsense", token(ann, exp=1)):
        one.pad.emit("auth", {"token": wrong})
        assert one.pad.next("error")["code"] == "forbidden"
    for wrong in ({}, {"token": 7}, None):
        one.pad.emit("auth", wrong)
        assert one.pad.next("error")["code"] == "bad_field"
    service = bearer(token("service", role="service"))
    assert guarded[1].post("/api/auth/logout", {"jti": first}, headers=service).status == 204
    assert one.ask([ann])["delivered_to"] == 1
    assert guarded[1].post("/api/auth/logout", {"jti": second}, headers=service).status == 204
    assert one.pad.closed.wait(PATIENCE)


# Requests


def test_who_is_there_is_listed(nodes, come, users):
    """A page of users does not go on where the last one ended, or lacks somebody of another node."""
    prefix = unique("listed")
    names = sorted(f"{prefix}-{n:02}" for n in range(25))
    before = time.time()
    for at, name in enumerate(names):
        come(nodes[at % 2], RAW, name, f"Name of {name}", backend_url=f"http://{name}:8000/?a=b")
    come(nodes[0], PLAIN, names[0], "another name", backend_url="http://another")
    visitor = pad(nodes[0], PLAIN, f"{prefix}-visitor")
    with visitor:
        pages, cursor = [], prefix
        while cursor is not None:
            page = online(nodes[len(pages) % 2], limit=10, cursor=cursor)
            assert set(page) <= {"users", "count", "next_cursor"} and page["count"] >= 25
            pages.append([user for user in page["users"] if user["user_id"].startswith(prefix)])
            cursor = page.get("next_cursor")
    users = sum(pages, [])
    assert [user["user_id"] for user in users] == names
    assert len(pages) >= 3
    for user in users:
        name = user["user_id"]
        assert user == {
            "user_id": name,
            "display_name": f"Name of {name}",
            "backend_url": f"http://{name}:8000/?a=b",
            "connected_at": TIME,
            "status": "online",
        }
    whole = online(nodes[1])
    assert whole["count"] == len(whole["users"]) and "next_cursor" not in whole
    eventually(lambda: nodes[0].get("/health").json["active_users"] >= 25, "they are counted, too")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=", "limit=-1", "cursor=a%20b", f"cursor={'x' * 129}"])
def test_a_wrong_page_is_refused(alone, query):
    """A typo in a query shows another page than was asked for."""
    assert_problem(alone.get(f"/api/users/online?{query}"), 400, "bad_field", query.split("=")[0])


def test_who_registers_is_known_when_it_comes(nodes, users):
    """What a backend said of itself beforehand is forgotten, or shows it as being there."""
    north, south = nodes
    ann, bob, cat, *_ = users
    answer = north.post("/api/register", {"user_id": ann, "backend_url": "http://registered", "display_name": "Registered"})
    assert answer.status == 200
    assert answer.json == {"success": True, "collab_ws_url": f"ws://{north.address}", "message": WORDS}
    assert ann not in listed(south)

    def shown(user, **query):
        with pad(south, PLAIN, user, **query) as one:
            one.next("connected")
            (found,) = [each for each in online(north)["users"] if each["user_id"] == user]
        eventually(lambda: user not in listed(north), "it is gone")
        return found["display_name"], found["backend_url"]

    assert shown(ann, display_name="Said") == ("Said", "http://registered")
    assert shown(ann, backend_url="http://said") == ("Registered", "http://said")
    assert shown(ann, backend_url="http://said", display_name="Said") == ("Said", "http://said")
    # Each field by itself, and what was said before stays.
    for card in ({"display_name": "B"}, {"backend_url": "http://b"}, {"display_name": "Bob"}):
        assert north.post("/api/register", {"user_id": bob} | card).status == 200
    assert shown(bob, display_name="Said") == ("Said", "http://b")
    assert shown(bob, backend_url="http://said") == ("Bob", "http://said")
    # Somebody of whom nothing is known.
    assert shown(cat, backend_url="http://said") == (cat, "http://said")
    assert shown(cat, display_name="Said") == ("Said", None)


def test_a_public_address_is_told(own_children, users):
    """Behind a balancer backends are sent to an address that only the balancer reaches."""
    node = own_children.node("public", PUBLIC_URL="wss://collab.example/ws")
    answer = node.post("/api/register", {"user_id": users[0], "backend_url": "http://a", "display_name": "A"})
    assert answer.json["collab_ws_url"] == "wss://collab.example/ws"


@pytest.mark.parametrize(
    "body, field",
    [
        (b"", None),
        (b"{", None),
        ([], None),
        ("text", None),
        ({}, None),
        ({"backend_url": "http://a"}, None),
        ({"user_id": 7}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a/b"}, "user_id"),
        ({"user_id": "a", "display_name": 7}, "display_name"),
        ({"user_id": "a", "display_name": "x" * 129}, "display_name"),
        ({"user_id": "a", "backend_url": []}, "backend_url"),
        ({"user_id": "a", "backend_url": "a b"}, "backend_url"),
        ({"user_id": "a", "backend_url": "x" * 2_049}, "backend_url"),
    ],
)
def test_a_wrong_card_is_refused(alone, body, field):
    """A backend registers under nonsense, and nobody reaches it."""
    assert_problem(alone.post("/api/register", body), 400, "bad_field", field)


# One socket, both doors


@pytest.mark.parametrize("client", [PLAIN, "js-both", "python-polling", RAW])
def test_a_courier_may_be_in_code_rooms_as_well(nodes, join, come, client, users):
    """What one service's clients do at the door is not seen by the other's, or ends up in the inbox."""
    ann, bob, cat, *_ = users
    room = unique("room")
    peer = join(nodes[0], room, ann)
    one = come(nodes[1], client, bob)
    with pad(nodes[0], "python-polling", cat) as coder:
        one.pad.emit("join", {"room": room})
        assert peer.expect("user_joined")["user_id"] == bob
        coder.join(room)
        assert peer.expect("user_joined")["user_id"] == cat
        peer.ask("code_change", code="of the peer")
        assert [each.next("receive")["code"] for each in (one.pad, coder)] == ["of the peer"] * 2
        one.pad.emit("change", {"room": room, "code": "of the courier"})
        assert coder.next("receive")["code"] == "of the courier"
        assert peer.expect("code_update")["code"] == "of the courier"
        coder.change(room, "of the coder")
        assert one.pad.next("receive")["code"] == "of the coder"
        assert peer.expect("code_update")["code"] == "of the coder"
        assert one.ask([bob, cat]) | {"id": ""} == event_ack(collab_event(bob, []), 1, 2, 1) | {"id": ""}
        one.take(1)
        assert coder.nothing_before_pong() and one.hears_nothing()
        one.pad.emit("leave", {"room": room})
        assert peer.until(lambda frame: frame["type"] == "user_left")[-1]["user_id"] == bob
        assert bob in listed(nodes[0]), "it left the room, not the courier"
        one.leave()
        eventually(lambda: bob not in listed(nodes[0]), "now it did")


# With many


def test_above_the_limit_only_acquaintances_are_told(own_children, redis, come, users):
    """Ten thousand backends are told of each other's every step, or those that work together are not."""
    settings = {"REDIS_URL": redis.url, "KEY_PREFIX": unique("many-"), "PRESENCE_BROADCAST_LIMIT": 3, "LEAVE_GRACE": 1}
    north, south = [own_children.node(name, **settings) for name in ("many north", "many south")]
    ann, bob, cat, dan, eve = users
    fay = unique("fay")
    first = [come(node, client, user) for node, client, user in ((north, RAW, ann), (south, PLAIN, bob), (north, "js-both", cat))]
    eventually(lambda: first[0].told_of(cat) == ["user_online"], "few enough to be told")
    come(south, RAW, dan)
    eventually(lambda: all(one.told_of(dan) == ["user_online"] for one in first), "with the fourth they are not more than three yet")
    one, two, three = first
    quiet = come(south, RAW, eve)
    # Before it ever came: it is known from the inbox.
    assert one.ask([fay])["queued"] == 1
    with courier(south, RAW, fay) as came:
        came.take(1)
        eventually(lambda: one.told_of(fay) == ["user_online"], "ann wrote to fay")
        came.ask([bob])
        two.take(1)
    for acquainted in (one, two):
        eventually(lambda: acquainted.told_of(fay)[-1:] == ["user_offline"], "they exchanged letters")
    assert two.told_of(fay) == ["user_offline"]
    with courier(north, PLAIN, fay):
        for acquainted in (one, two):
            eventually(lambda: acquainted.told_of(fay)[-1:] == ["user_online"], "they know each other")
    eventually(lambda: two.told_of(fay)[-1:] == ["user_offline"], "it is gone again")
    assert [each.told_of(fay) for each in (three, quiet)] == [[], []]
    assert [each.told_of(eve) for each in first] == [[], [], []]
    assert quiet.hears_nothing() and three.hears_nothing()


# Faults

LEASE, BEAT = 2, 0.5
QUICK = {"LEASE": LEASE, "BEAT_INTERVAL": BEAT, "REAP_PAUSE": 2, "LEAVE_GRACE": 1, "COMMAND_TIMEOUT": 1, "DRAIN_WINDOW": 1}
# Whoever sends all the time sends more than an inbox takes.
QUICK |= {"INBOX_LENGTH": 100_000, "INBOX_BYTES": 1 << 30}


def pair(children, redis, **settings):
    nodes = [children.node(name, REDIS_URL=redis.url, **QUICK | settings) for name in ("east", "west")]
    eventually(lambda: all(metric(node, "collab_cluster_nodes") == 2 for node in nodes), "they know of each other")
    return nodes


def comes(one):
    with suppress(InvalidStatus):
        one.come()
        return True


class Sender:
    """Somebody who sends all the time, each event again until it is taken."""

    def __init__(self, node, user, to):
        self.courier = courier(node, RAW, user)
        self.to, self.sent, self.refused, self.acks = to, [], 0, []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._send)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def _send(self):
        while not self.stop.is_set():
            id = unique("sent")
            while (reply := self.courier.ask(self.to, id=id)).get("code") == "backplane_unavailable":
                assert reply["retry_in_ms"] > 0
                self.refused += 1
                time.sleep(0.02)
            assert "code" not in reply and "full" not in reply, reply
            self.acks.append(reply)
            self.sent.append(id)

    def end(self):
        self.stop.set()
        self.thread.join()
        self.courier.end()
        return self.sent


def test_the_users_of_a_dead_node_go_and_miss_nothing(own_children, stack, come, users):
    """After a crash its users are shown for ever, or what was sent to them in the meantime is lost."""
    redis = own_children.redis()
    east, west = pair(own_children, redis)
    ann, bob, cat, *_ = users
    watcher = come(west, RAW, ann)
    dead = come(east, RAW, bob), come(east, "js-both", cat)
    for user in (bob, cat):
        eventually(lambda: watcher.told_of(user) == ["user_online"], "they are there")
    eventually(lambda: time.monotonic() - west.started_at > LEASE, "west may take others for dead")
    sender = stack.enter_context(Sender(west, unique("sender"), [bob, cat]))
    eventually(lambda: len(sender.sent) > 50, "it is under way")
    killed_at = time.monotonic()
    east.kill()
    # Cat is back at once, bob later.
    back = come(west, PLAIN, cat)
    eventually(lambda: watcher.told_of(bob) == ["user_online", "user_offline"], "bob is given up")
    assert time.monotonic() - killed_at < LEASE + BEAT + 10
    assert bob not in listed(west) and cat in listed(west)
    assert watcher.told_of(cat) == ["user_online"]
    eventually(lambda: sender.acks[-1]["queued"] == 1, "that is seen by who sends")
    sent = sender.end()
    for one, back in ((dead[0], come(west, RAW, bob)), (dead[1], back)):
        # What was written is in the socket of the dead node; the rest comes now.
        assert one.pad.closed.wait(PATIENCE)
        written = [body for event, body in one.pad.heard.queue if event == "collab_event"]
        rest = []
        eventually(lambda: rest.extend(back.take_all()) or rest[-1:] and rest[-1]["id"] == sent[-1], "the last one comes")
        heard = {one["id"]: one["seq"] for one in (*written, *rest)}
        assert [heard.get(id) for id in sent] == list(range(1, len(sent) + 1))
        seqs = [one["seq"] for one in rest]
        assert seqs == list(range(seqs[0], len(sent) + 1))
        assert back.hears_nothing()


def test_what_a_frozen_node_was_to_tell_is_told_elsewhere(own_children, come, users):
    """A node stands still between an event and its delivery, and the event stays there."""
    redis = own_children.redis()
    east, west = pair(own_children, redis)
    ann, bob, *_ = users
    sender, stuck = come(west, RAW, ann), come(east, RAW, bob)
    sender.ask([bob])
    stuck.take(1)
    eventually(lambda: told(redis, bob) == 1, "that was told")
    east.signal(signal.SIGSTOP)
    try:
        acks = [sender.ask([bob]) for _ in range(5)]
        assert all(ack["delivered_to"] == 1 for ack in acks), "it is still believed to be there"
        with courier(west, RAW, bob) as elsewhere:
            assert [one["id"] for one in elsewhere.take(5)] == [ack["id"] for ack in acks]
            eventually(lambda: told(redis, bob) == 6, "that was told")
            eventually(lambda: said(west, "a dead node was reaped"), "the frozen one is given up")
            east.signal(signal.SIGCONT)
            assert stuck.pad.closed.wait(PATIENCE) and stuck.pad.code == 1012, "it was somebody else for so long"
            again = {one["id"] for one in stuck.leave()}
            assert again <= {ack["id"] for ack in acks}
            eventually(lambda: comes(stuck), "it takes somebody again")
            assert stuck.hears_nothing() and elsewhere.hears_nothing()
            assert sender.told_of(bob) == ["user_online"], "bob was there all the time"
            assert sender.ask([bob])["delivered_to"] == 1
            assert len(stuck.take(1)) == len(elsewhere.take(1)) == 1
            assert bob in listed(east)
    finally:
        east.signal(signal.SIGCONT)


def test_a_redis_that_goes_in_the_middle_loses_and_doubles_nothing(own_children, stack, come, users):
    """An event is sent to some of its recipients, or twice, when Redis goes between its parts."""
    redis = own_children.redis(durable=True)
    east, west = pair(own_children, redis)
    ann, bob, cat, dan, _ = users
    there = [come(node, client, user) for node, client, user in ((east, RAW, bob), (west, PLAIN, bob), (west, "js-both", cat))]
    sender = stack.enter_context(Sender(east, ann, [bob, cat, dan]))
    for _ in range(2):
        so_far = len(sender.sent)
        eventually(lambda: len(sender.sent) > so_far + 30, "it is under way")
        refused = sender.refused
        redis.kill()
        eventually(lambda: sender.refused > refused, "the sender is told")
        redis.start()
    so_far = len(sender.sent)
    eventually(lambda: len(sender.sent) > so_far + 30, "it goes on")
    sent = sender.end()
    with courier(west, RAW, dan) as away:
        for one in (*there, away):
            ids = [letter_["id"] for letter_ in one.take(len(sent))]
            assert ids == sent
            assert one.hears_nothing()


def test_a_redis_without_its_data_learns_of_the_couriers(own_children, come, users):
    """After a restart without persistence everybody is shown as gone, and hears nothing until it connects anew."""
    redis = own_children.redis()
    east, west = pair(own_children, redis)
    ann, bob, cat, *_ = users
    one, two = come(east, RAW, ann), come(west, PLAIN, bob)
    for _ in range(3):
        two.ask([ann])
    one.take(3)
    two.ask([cat])
    redis.kill()
    eventually(lambda: two.ask([ann]).get("code") == "backplane_unavailable", "it is noticed")
    redis.start()
    answers = lambda: all(node.get("/api/users/online").status == 200 for node in (east, west))
    eventually(answers, "Redis is back")
    eventually(lambda: listed(east) == {ann, bob} == listed(west), "they are listed again")
    ack = eventually(lambda: (ack := two.ask([ann])) and ack.get("delivered_to") == 1 and ack, "events go on")
    eventually(lambda: ack["id"] in [letter_["id"] for letter_ in one.take_all()], "and are heard")
    back = two.ask([ann, bob])
    assert back["delivered_to"] == 2
    assert [one.take(1)[0]["id"], two.take(1)[0]["id"]] == [back["id"]] * 2
    assert one.hears_nothing() and two.hears_nothing()
    assert one.pad.connected and two.pad.connected


@pytest.mark.parametrize("client", ["js-both", RAW])
def test_a_node_that_leaves_hands_its_couriers_over(own_children, stack, come, users, client):
    """Every deploy is shown as everybody's going, and what is sent meanwhile is lost."""
    redis = own_children.redis()
    # Long enough for a program to start on a busy machine.
    east, west = pair(own_children, redis, LEAVE_GRACE=GRACE)
    ann, bob, *_ = users
    watcher = come(west, RAW, ann)
    leaving = come(east, client, bob, **({} if client == RAW else {"reconnection": True}))
    eventually(lambda: watcher.told_of(bob) == ["user_online"], "bob is there")
    sender = stack.enter_context(Sender(west, unique("sender"), [bob]))
    eventually(lambda: len(sender.sent) > 30, "it is under way")
    east.signal(signal.SIGTERM)
    assert leaving.pad.closed.wait(PATIENCE)
    if client == RAW:
        assert leaving.pad.code == 1012
    before = [body for event, body in leaving.pad.heard.queue if event == "collab_event"]
    back = come(west, client, bob)
    eventually(lambda: not east.alive, "it is gone")
    eventually(lambda: said(west, "a dead node was reaped"), "what it left behind was taken away")
    sent = sender.end()
    heard = [letter_["id"] for letter_ in (*before, *back.take_all())]
    assert [id for id in sent if id not in heard] == []
    assert watcher.told_of(bob) == ["user_online"]
    assert bob in listed(west)


# What is written down


def test_the_audit_log_says_who_sent_what_to_whom(own_children, come, users):
    """After an incident nobody knows who sent it; or private data stand in every log."""
    node = own_children.node("audited", BEAT_INTERVAL=0.5)
    ann, bob, cat, *_ = users
    sender, there = come(node, PLAIN, ann), come(node, RAW, bob)
    secret = "canary-of-the-data"
    ack = sender.ask([bob, cat], {"position_id": secret, "comment": {"text": secret}}, "comment_added")
    there.take(1)
    lines = [json.loads(line) for line in node.log().splitlines() if '"routed"' in line]
    (line,) = [line for line in lines if line["target"] == "audit"]
    assert line["span"]["user"] == ann and line["event"] == ack["id"] and line["kind"] == "comment_added"
    assert json.loads(line["to"]) == [bob, cat]
    assert (line["delivered"], line["queued"]) == (1, 1)
    sender.ask([bob], {"position_id": 7, "x": secret})
    assert secret not in node.log()
    eventually(lambda: node.get("/health").json["total_events_routed"] >= 1, "it is counted")


# The service that is replaced: what its description told people to do

MANUAL = """
// Test client (Node.js)
const io = require('socket.io-client');

const socket = io('ws://localhost:9000', {
  query: {
    user_id: 'test-user',
    backend_url: 'http://localhost:8000',
    display_name: 'Test User'
  }
});

socket.on('connected', (data) => {
  console.log('Connected:', data);
  
  // Send test event
  socket.emit('collab_event', {
    type: 'position_shared',
    from_user: 'test-user',
    to_users: ['other-user'],
    data: { position_id: '123' }
  });
});

socket.on('event_ack', (ack) => {
  console.log('Event acknowledged:', ack);
});
"""


def test_the_old_services_manual_test_works(own_children, come):
    """The documented client of the old service does not work with the new one."""
    node = own_children.node("manual")
    other = come(node, PLAIN, "other-user")
    script = subprocess.Popen(
        ["node", "-e", MANUAL.replace("localhost:9000", f"localhost:{node.port}")],
        cwd=JS,
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        (event,) = other.take(1)
        assert event == letter(collab_event("test-user", ["other-user"], {"position_id": "123"}))
        lines = [script.stdout.readline() for _ in range(11)]
        text = "".join(lines)
        assert text.startswith("Connected: {") and "user_id: 'test-user'" in text and "active_users: 2" in text
        assert "Event acknowledged: {" in text and "delivered_to: 1" in text

        def curl(path):
            address = f"http://localhost:{node.port}{path}"
            return json.loads(subprocess.run(["curl", "-sf", address], capture_output=True, text=True, check=True).stdout)

        health = curl("/health")
        assert health["status"] == "healthy"
        assert {"uptime", "active_users", "total_connections", "total_events_routed"} <= set(health)
        users = curl("/api/users/online")
        assert users["count"] == 2
        assert users["users"][1] == {
            "user_id": "test-user",
            "display_name": "Test User",
            "backend_url": "http://localhost:8000",
            "connected_at": TIME,
            "status": "online",
        }
    finally:
        script.kill()
        script.wait()
        script.stdout.close()


def test_the_old_services_address_works(alone, users):
    """An address without a path, as it was documented, is no address here."""
    ann = users[0]
    address = f"ws://{alone.address}?user_id={ann}&backend_url=http://localhost:8000&display_name=Ann"
    with connect(address, proxy=None, open_timeout=15) as socket:
        assert json.loads(socket.recv(timeout=15))["event"] == "connected"
