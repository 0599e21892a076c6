"""Code rooms, through the official Socket.IO clients: the same sessions as behind every other door."""

import json
import signal

import pytest
from socketio.exceptions import ConnectionError as Refused

from support.deadline import PATIENCE, eventually
from support.http import request
from support.pad import CLIENTS, pad
from support.peer import unique
from support.raw import Wire, RawSocket
from support.tokens import SECRET, token


@pytest.fixture(scope="module")
def alone(children):
    return children.node("alone", MAX_ROOMS_PER_SOCKET=3)


@pytest.fixture(scope="module")
def redis(children):
    return children.redis()


@pytest.fixture(scope="module")
def nodes(children, redis):
    return [children.node(name, REDIS_URL=redis.url) for name in ("north", "south")]


@pytest.fixture
def room():
    return unique("room")


@pytest.fixture(params=CLIENTS)
def client(request):
    return request.param


# Where it does not matter.
PLAIN = "python-websocket"


def receive(code):
    return {"type": "receive", "code": code}


def test_a_change_is_heard_by_all_but_its_writer(nodes, room, client):
    """An editor is told its own keystrokes, or its neighbour is not told them."""
    here, there = nodes
    with pad(here, client, "ann") as ann, pad(here, client, "bob") as bob, pad(there, client, "cat") as cat:
        for each in (ann, bob, cat):
            each.join(room)
        ann.change(room, "x = 1")
        assert [each.next("receive") for each in (bob, cat)] == [receive("x = 1")] * 2
        cat.change(room, "x = 2")
        assert [each.next("receive") for each in (ann, bob)] == [receive("x = 2")] * 2
        assert all(each.nothing_before_pong() for each in (ann, bob, cat))


def test_who_comes_into_a_room_gets_its_text(nodes, room, client):
    """A latecomer types over what is there, because it was not shown."""
    with pad(nodes[0], client, "ann") as ann, pad(nodes[1], client, "bob") as bob:
        ann.join(room)
        assert ann.nothing_before_pong(), "an empty room has nothing to tell"
        ann.change(room, "print(1)")
        bob.join(room)
        assert bob.next("receive") == receive("print(1)")
        # Who asks again is told again.
        bob.join(room)
        assert bob.next("receive") == receive("print(1)")


def test_who_left_a_room_hears_no_more_of_it(alone, room):
    """A closed tab's room goes on filling the next one's editor."""
    with pad(alone, PLAIN, "ann") as ann, pad(alone, PLAIN, "bob") as bob:
        for each in (ann, bob):
            each.join(room)
        bob.ask("leave", {"room": room})
        ann.change(room, "unseen")
        assert bob.nothing_before_pong()
        bob.change(room, "of an outsider")
        assert bob.next("error")["code"] == "not_found"
        assert ann.nothing_before_pong()


def test_rooms_of_one_socket_do_not_mix(alone):
    """A text of one room gives way to a newer one of another."""
    rooms = [unique("room") for _ in range(3)]
    with pad(alone, PLAIN, "ann") as ann, pad(alone, PLAIN, "bob") as bob:
        for room in rooms:
            ann.join(room)
            bob.join(room)
        for room in rooms:
            ann.emit("change", {"room": room, "code": f"of {room}"})
        assert sorted(bob.next("receive")["code"] for _ in rooms) == sorted(f"of {room}" for room in rooms)
        bob.join(unique("room"))
        assert bob.next("error")["code"] == "too_many", "MAX_ROOMS_PER_SOCKET"


def test_pairing_and_code_rooms_are_one_session(nodes, room, join, client):
    """People of the two services sit in two sessions of the same name."""
    peer = join(nodes[0], room, "ann")
    with pad(nodes[1], client, "bob") as bob:
        bob.join(room)
        assert peer.expect("user_joined")["user_id"] == "bob"
        peer.ask("code_change", code="from pairing")
        bob.until_code("from pairing")
        bob.change(room, "from the code room")
        update = peer.expect("code_update")
        assert (update["code"], update["user_id"]) == ("from the code room", "bob")
        # What code rooms have no word for is not told there.
        peer.ask("chat", message="hello")
        peer.ask("language", language="go")
        assert bob.nothing_before_pong()
        bob.ask("leave", {"room": room})
        assert peer.until(lambda frame: frame["type"] == "user_left")[-1]["user_id"] == "bob"


def test_a_guest_has_a_name(nodes, room, join):
    """Clients of the old service never said who they are."""
    peer = join(nodes[0], room, "ann")
    with pad(nodes[0], PLAIN) as guest:
        guest.join(room)
        joined = peer.expect("user_joined")
        assert joined["user_id"].startswith("guest-") and joined["username"] == "Guest"


def test_readers_of_the_old_key_find_the_text(nodes, redis, room, join):
    """Services that read a room's text from Redis read an old one, or none."""
    key = f"code_{room}"
    peer = join(nodes[0], room, "ann")
    peer.ask("code_change", code="of pairing alone")
    with pad(nodes[1], PLAIN, "bob") as bob:
        bob.join(room)
        bob.until_code("of pairing alone")
        assert redis.client.get(key) is None, "no code room has changed it"
        bob.change(room, "from the code room")
        eventually(lambda: redis.client.get(key) == "from the code room", "the copy")
        assert 1_795_000 < redis.client.pttl(key) <= 1_800_000
        peer.ask("code_change", code="from pairing")
        eventually(lambda: redis.client.get(key) == "from pairing", "the copy")
    peer.leave()
    left = lambda: redis.client.pttl(f"session:{room}")
    eventually(lambda: left() > 0, "the session begins to expire")
    assert 1_700_000 < left() <= 1_800_000, "as long as its copy, which is longer than SESSION_GRACE"


def test_a_room_of_the_old_service_is_taken_over(nodes, redis, room):
    """On the day of the change everybody's text is gone."""
    redis.client.set(f"code_{room}", "print('old')", ex=1_800)
    with pad(nodes[0], PLAIN, "ann") as ann, pad(nodes[1], PLAIN, "bob") as bob:
        ann.join(room)
        assert ann.next("receive") == receive("print('old')")
        ann.change(room, "new")
        bob.join(room)
        assert bob.next("receive") == receive("new")


def test_an_ended_session_says_so(alone, room):
    """An editor goes on in a room that is no more."""
    with pad(alone, PLAIN, "ann") as ann:
        ann.join(room)
        assert request(alone.host, alone.port, "DELETE", f"/api/v1/session/{room}").status == 204
        assert "ended" in ann.next("error")["message"]
        ann.join(room)
        assert ann.next("error")["code"] == "not_found"


WRONG = {
    "no room": ("join", {}),
    "a room that is no text": ("join", {"room": 7}),
    "a room with a slash": ("join", {"room": "a/b"}),
    "an empty room": ("join", {"room": ""}),
    "no object": ("join", "room"),
    "a list": ("join", [["room", "x"]]),
    "no code": ("change", {"room": "ROOM"}),
    "code that is no text": ("change", {"room": "ROOM", "code": {"a": 1}}),
    "too much code": ("change", {"room": "ROOM", "code": "x" * (512 * 1024 + 1)}),
    "an unknown event": ("nonsense", {"room": "ROOM"}),
}


def test_binary_parts_are_refused_and_harm_nobody(alone, room):
    """A picture pasted into an editor ends its connection."""
    with pad(alone, "python-both", "ann") as ann:
        ann.join(room)
        ann.emit("change", {"room": room, "code": b"\x00\x01"})
        assert ann.next("error")["code"] == "bad_frame"
        ann.change(room, "goes on")
        assert ann.nothing_before_pong()


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_answered_and_harms_nobody(alone, room, client, case):
    """A client's mistake closes its socket, or somebody else's."""
    event, body = WRONG[case]
    if isinstance(body, dict) and body.get("room") == "ROOM":
        body = body | {"room": room}
    with pad(alone, client, "ann") as ann:
        ann.join(room)
        ann.emit(event, body)
        error = ann.next("error")
        assert error["message"] and error["code"] == error["error"], error
        ann.change(room, "goes on")
        assert ann.nothing_before_pong()


@pytest.fixture(scope="module")
def strict(children):
    return children.node("strict", MESSAGE_RATE=1, MESSAGE_BURST=3, FLOOD_TIME=3600)


def test_who_is_too_fast_is_answered_all_the_same(strict, room, client):
    """A client that asked what became of its event waits for ever."""
    with pad(strict, client, "ann") as ann:
        ann.join(room)
        for number in range(12):
            ann.change(room, str(number))
        error = ann.next("error")
        assert error["code"] == "rate_limited" and error["retry_in_ms"] > 0, error
        assert ann.connected


def test_parts_of_what_came_too_fast_are_passed_over(strict, room):
    """A picture pasted too fast ends its connection: its parts are taken for something else."""
    with pad(strict, "python-websocket", "ann") as ann:
        ann.join(room)
        for _ in range(15):
            ann.emit("change", {"room": room, "code": b"\x00\x01"})
        ann.change(room, "answered")
        codes = [ann.next("error")["code"] for _ in range(16)]
        assert codes[0] == "bad_frame" and codes[-1] == "rate_limited", codes
        assert ann.connected


# The protocols below


def engine(node, query, method="GET", body=None, path="/socket.io/"):
    return request(node.host, node.port, method, f"{path}?{query}", body=body)


def opened(node, **query):
    """A connection by requests: its sid."""
    more = "".join(f"&{key}={value}" for key, value in query.items())
    answer = engine(node, f"EIO=4&transport=polling{more}")
    assert answer.status == 200 and answer.text[0] == "0", answer
    open_ = json.loads(answer.text[1:])
    assert open_["upgrades"] == ["websocket"]
    assert (open_["pingInterval"], open_["pingTimeout"], open_["maxPayload"]) == (25_000, 20_000, 1_048_576)
    return open_["sid"]


def polled(node, sid, **query):
    more = "".join(f"&{key}={value}" for key, value in query.items())
    return engine(node, f"EIO=4&transport=polling&sid={sid}{more}")


def posted(node, sid, *packets):
    return engine(node, f"EIO=4&transport=polling&sid={sid}", "POST", "\x1e".join(packets).encode())


def until_polled(node, sid, packet):
    """Asks until this packet has come; others may come before."""
    eventually(lambda: packet in polled(node, sid).text.split("\x1e"), packet)


@pytest.mark.parametrize(
    "query, method, code",
    [
        ("transport=polling", "GET", 5),
        ("EIO=3&transport=polling", "GET", 5),
        ("EIO=4", "GET", 0),
        ("EIO=4&transport=webtransport", "GET", 0),
        ("EIO=4&transport=polling&sid=unknown", "GET", 1),
        ("EIO=4&transport=polling&sid=unknown", "POST", 1),
        ("EIO=4&transport=websocket&sid=unknown", "GET", 1),
        ("EIO=4&transport=polling", "POST", 2),
        ("EIO=4&transport=polling&j=0", "GET", None),
    ],
)
def test_a_request_that_is_none_is_told_in_the_protocols_numbers(alone, query, method, code):
    """Client libraries tell by the number what to do next."""
    answer = engine(alone, query, method, b"" if method == "POST" else None)
    if code is None:
        # JSONP is not spoken: the answer is an ordinary one.
        assert answer.status == 200 and answer.text[0] == "0"
    else:
        assert (answer.status, answer.json["code"]) == (400, code)


def test_packets_go_by_requests(alone, room):
    """The protocol as its text has it, without a library that smooths things over."""
    sid = opened(alone)
    assert posted(alone, sid, "40").text == "ok"
    connected = polled(alone, sid).text
    assert connected.startswith('40{"sid":')
    assert posted(alone, sid, f'420["join",{{"room":"{room}"}}]', f'421["ping",{{}}]', "3").status == 200
    answers = polled(alone, sid).text.split("\x1e")
    assert answers[0] == "430[]" and answers[1].startswith('42["pong",') and answers[2] == "431[]"
    assert posted(alone, sid, "41").text == "ok"
    # JavaScript's client does not read what comes in one body with the end.
    assert [polled(alone, sid).text for _ in range(2)] == ["41", "1"]
    assert polled(alone, sid).json["code"] == 1


def test_two_requests_that_wait_end_the_connection(alone):
    """The answer goes to one that nobody reads any more."""
    sid = opened(alone)
    posted(alone, sid, "40")
    polled(alone, sid)
    with Wire(alone) as first:
        first.send(f"GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        # One of the two ends it: which came first is open.
        assert polled(alone, sid).status == 400
        assert first.head().status == 400
    assert polled(alone, sid).json["code"] == 1


@pytest.mark.parametrize("packet", ["", "9", "x", "4", "4nonsense", '42["join"', "45", "0{}", '42["join",{}]', "bnonsense"])
def test_packets_that_are_none_end_their_connection_alone(alone, room, packet):
    """One broken client takes its node's other clients with it."""
    with pad(alone, PLAIN, "ann") as ann:
        ann.join(room)
        sid = opened(alone)
        # Before the namespace was asked for nothing else may come.
        posted(alone, sid, packet)
        eventually(lambda: polled(alone, sid).status == 400, "it is closed")
        sid = opened(alone)
        posted(alone, sid, "40")
        polled(alone, sid)
        posted(alone, sid, packet)
        answer = polled(alone, sid)
        if packet == '42["join",{}]':
            assert '"error"' in answer.text
        else:
            assert answer.text == "41" and polled(alone, sid).text == "1" or answer.status == 400
        assert ann.nothing_before_pong()


def test_a_body_that_is_too_large_is_refused(alone):
    """A request fills the node's memory."""
    sid = opened(alone)
    with Wire(alone) as wire:
        head = f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n"
        wire.send(head.encode())
        assert wire.head().status == 413
    assert posted(alone, sid, "40").status == 200, "the connection is as it was"


def test_a_foreign_connection_is_refused(alone):
    """Whoever sees an address line can read along."""
    sid = opened(alone, user_id="ann")
    assert polled(alone, sid, user_id="bob").status == 403
    assert posted(alone, sid, "40").status == 200
    assert polled(alone, sid, user_id="ann").text.startswith("40")


def test_a_change_of_transport_that_never_ends_costs_nothing(alone, room):
    """A WebSocket that a proxy swallows takes the connection that works with it."""
    sid = opened(alone)
    posted(alone, sid, "40")
    polled(alone, sid)
    with RawSocket(alone, f"/socket.io/?EIO=4&transport=websocket&sid={sid}") as raw:
        raw.send_frame(1, b"2probe")
        assert raw.recv_frame()[1] == b"3probe"
        posted(alone, sid, f'420["join",{{"room":"{room}"}}]')
        until_polled(alone, sid, "430[]")
    posted(alone, sid, f'421["ping",{{}}]')
    until_polled(alone, sid, "431[]")


def test_who_it_is_comes_with_the_namespace(children, room):
    """A library's way of handing over a token is not understood."""
    node = children.node("tokens", JWT_SECRET=SECRET)
    for client in CLIENTS:
        with pad(node, client, auth={"token": token("ann")}) as ann:
            ann.join(room)
            assert ann.nothing_before_pong()
        with pad(node, client, token=token("bob")) as bob:
            assert bob.nothing_before_pong()
        with pytest.raises(Refused):
            pad(node, client, auth={"token": token("ann", exp=1)})
    for auth in (None, {"token": "nonsense"}, {"token": 7}):
        with pytest.raises(Refused):
            pad(node, PLAIN, auth=auth)
    with pytest.raises(Refused):
        pad(node, PLAIN, user="bob", auth={"token": token("ann")})
    with pytest.raises(Refused) as refused:
        pad(node, "js-both", auth={"token": "nonsense"})
    why = refused.value.args[0]
    assert why["data"]["code"] == "unauthorized" and why["data"]["message"] == why["message"]


# Python's client by requests alone needs half a minute to see that it was closed.
@pytest.mark.parametrize("client", [client for client in CLIENTS if client != "python-polling"])
def test_clients_come_back_by_themselves_after_a_drain(own_children, room, client):
    """A deploy closes connections in a way that the library takes for the end."""
    redis = own_children.redis()
    node = own_children.node("old", REDIS_URL=redis.url, DRAIN_WINDOW=1)
    with pad(node, client, "ann", reconnection=True) as ann:
        ann.join(room)
        ann.change(room, "kept")
        node.signal(signal.SIGTERM)
        assert ann.closed.wait(PATIENCE)
        eventually(lambda: not node.alive, "it is gone")
        node.start()
        eventually(lambda: ann.connected, "it is back")
        ann.join(room)
        ann.until_code("kept")


@pytest.mark.parametrize("client", ["python-both", "js-both"])
def test_a_client_that_may_changes_over_to_a_websocket(alone, room, client):
    """Every message costs a request for ever, or one is lost on the way over."""
    with pad(alone, client, "ann") as ann, pad(alone, PLAIN, "bob") as bob:
        for each in (ann, bob):
            each.join(room)
        for number in range(200):
            bob.emit("change", {"room": room, "code": f"{number}"})
        eventually(lambda: ann.transport == "websocket", "it has changed over")
        bob.change(room, "last")
        ann.until_code("last")


def test_who_leaves_and_comes_again_at_once_is_there(nodes, room, join):
    """The leaving comes last, and an editor that types is shown to nobody."""
    peer = join(nodes[0], room, "ann")
    with pad(nodes[1], PLAIN, "bob") as bob:
        for _ in range(20):
            bob.emit("join", {"room": room})
            bob.emit("leave", {"room": room})
        bob.join(room)
        bob.change(room, "x")
        peer.until(lambda frame: frame["type"] == "code_update")
        users = {user["user_id"] for user in nodes[0].state(room)["users"]}
        assert users == {"ann", "bob"}


def test_nothing_after_the_goodbye_is_carried_out(alone, room):
    """Packets behind a goodbye in the same body change the text."""
    with pad(alone, PLAIN, "ann") as ann:
        ann.join(room)
        sid = opened(alone)
        posted(alone, sid, "40")
        polled(alone, sid)
        posted(alone, sid, f'420["join",{{"room":"{room}"}}]', "41", f'42["change",{{"room":"{room}","code":"late"}}]')
        assert ann.nothing_before_pong()


def test_much_said_before_the_namespace_ends_the_connection(alone):
    """Asking for namespaces that are not there fills the node's memory with answers."""
    sid = opened(alone)
    posted(alone, sid, *["40/elsewhere,"] * 100)
    eventually(lambda: polled(alone, sid).status == 400, "it is closed")


def test_bodies_of_very_many_packets_harm_nobody(alone, room):
    """Half a million packets in a body hold up everybody else on the node."""
    with pad(alone, PLAIN, "ann") as ann:
        ann.join(room)
        sid = opened(alone)
        posted(alone, sid, "40")
        polled(alone, sid)
        posted(alone, sid, *["3"] * 500_000)
        assert ann.nothing_before_pong()
    eventually(lambda: polled(alone, sid).status == 400, "the flood is closed")
