"""Whatever a client sends: the documented answer for it, and nothing noticed by the others."""

import json
import re
import socket
import time

import pytest

from support import shapes
from support.deadline import PATIENCE, eventually
from support.http import assert_problem
from support.peer import Peer, door, heard, unique
from support.raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    RawSocket,
    Wire,
    close_payload,
    frame,
    handshake,
    refused,
)

MAX_FRAME_BYTES = 64 * 1024
MAX_CODE_BYTES = 16 * 1024
MAX_CHAT_BYTES = 8 * 1024
ORIGIN = "http://example.org"


@pytest.fixture(scope="module")
def node(children):
    return children.node(
        MAX_FRAME_BYTES=MAX_FRAME_BYTES,
        MAX_CODE_BYTES=MAX_CODE_BYTES,
        HANDSHAKE_TIMEOUT=1,
        LEAVE_GRACE=0.2,
    )


@pytest.fixture(scope="module")
def impatient(children):
    """A node that notices a silent socket within two seconds."""
    return children.node("impatient", HEARTBEAT_INTERVAL=1, LEAVE_GRACE=0.2)


@pytest.fixture
def others(node, session, join):
    """Two who talk in the same session; used before and after to see that they are undisturbed."""
    bob, cat = join(node, session, "bob"), join(node, session, "cat")
    bob.hears(shapes.joined("cat"))
    return bob, cat


@pytest.fixture
def raw(node, session, others):
    """Mallory's socket, greeted."""
    with RawSocket(node, door(session, "mallory")) as raw:
        assert raw.recv_json()["type"] == "session_state"
        for peer in others:
            peer.until(lambda frame: frame == shapes.joined("mallory"))
        yield raw


def assert_undisturbed(others):
    for speaker in others:
        assert heard(speaker, *others) == [[]] * len(others)


# Frames that are WebSocket, but not what the dialect says

DEEP = '{"type":"chat","message":' + "[" * 20_000 + "]" * 20_000 + "}"

BAD_FRAMES = {
    "not json": ("hello", "bad_frame", None),
    "empty": ("", "bad_frame", None),
    "half an object": ('{"type":"chat"', "bad_frame", None),
    "two objects": ('{"type":"ping"}{"type":"ping"}', "bad_frame", None),
    "bare word": ("NaN", "bad_frame", None),
    "null": ("null", "bad_frame", None),
    "number": ("7", "bad_frame", None),
    "string": ('"chat"', "bad_frame", None),
    "array": ('["chat","hello"]', "bad_frame", None),
    "array of objects": ('[{"type":"ping"}]', "bad_frame", None),
    "deep nesting": (DEEP, None, None),
    "deep array": ("[" * 60_000, "bad_frame", None),
    "lone surrogate": ('{"type":"chat","message":"\\ud800"}', None, None),
    "no type": ("{}", "bad_frame", None),
    "type is null": ('{"type":null}', None, None),
    "type is a number": ('{"type":7}', None, None),
    "type is an array": ('{"type":["chat"]}', None, None),
    "type is unknown": ('{"type":"dance"}', "unknown_type", None),
    "type is empty": ('{"type":""}', "unknown_type", None),
    "type in capitals": ('{"type":"CHAT","message":"x"}', "unknown_type", None),
    "type is huge": (json.dumps({"type": "x" * 50_000}), "unknown_type", None),
    "a server's type": ('{"type":"session_state"}', "unknown_type", None),
    "chat without text": ('{"type":"chat"}', "bad_field", "message"),
    "chat is empty": ('{"type":"chat","message":""}', "bad_field", "message"),
    "chat is a number": ('{"type":"chat","message":5}', "bad_field", "message"),
    "chat is an array": ('{"type":"chat","message":["x"]}', "bad_field", "message"),
    "chat is too long": (json.dumps({"type": "chat", "message": "x" * 8193}), "bad_field", "message"),
    "chat is too long in bytes": (
        json.dumps({"type": "chat", "message": "é" * 4097}, ensure_ascii=False),
        "bad_field",
        "message",
    ),
    "code is missing": ('{"type":"code_change"}', "bad_field", "code"),
    "code is null": ('{"type":"code_change","code":null}', "bad_field", "code"),
    "code is an object": ('{"type":"code_change","code":{}}', "bad_field", "code"),
    "code is too long": (
        json.dumps({"type": "code_change", "code": "x" * (MAX_CODE_BYTES + 1)}),
        "bad_field",
        "code",
    ),
    "base version is a string": (
        '{"type":"code_change","code":"x","base_version":"1"}',
        "bad_field",
        "base_version",
    ),
    "base version is negative": (
        '{"type":"code_change","code":"x","base_version":-1}',
        "bad_field",
        "base_version",
    ),
    "base version is a fraction": (
        '{"type":"code_change","code":"x","base_version":0.5}',
        "bad_field",
        "base_version",
    ),
    "base version is huge": (
        '{"type":"code_change","code":"x","base_version":99999999999999999999}',
        "bad_field",
        "base_version",
    ),
    "cursor is missing": ('{"type":"cursor"}', "bad_field", "cursor"),
    "cursor is an array": ('{"type":"cursor","cursor":[1,1]}', "bad_field", "cursor"),
    "cursor is half": ('{"type":"cursor","cursor":{"lineNumber":1}}', "bad_field", "cursor"),
    "cursor is text": ('{"type":"cursor","cursor":{"lineNumber":"1","column":"1"}}', "bad_field", "cursor"),
    "cursor is before the text": (
        '{"type":"cursor","cursor":{"lineNumber":0,"column":1}}',
        "bad_field",
        "cursor",
    ),
    "cursor is negative": ('{"type":"cursor","cursor":{"lineNumber":-1,"column":1}}', "bad_field", "cursor"),
    "cursor's code is a number": (
        '{"type":"cursor","cursor":{"lineNumber":1,"column":1},"code":7}',
        "bad_field",
        "code",
    ),
    "cursor's code is too long": (
        json.dumps(
            {"type": "cursor", "cursor": {"lineNumber": 1, "column": 1}, "code": "x" * (MAX_CODE_BYTES + 1)}
        ),
        "bad_field",
        "code",
    ),
    "language is missing": ('{"type":"language"}', "bad_field", "language"),
    "language is empty": ('{"type":"language","language":""}', "bad_field", "language"),
    "language is a flag": ('{"type":"language","language":true}', "bad_field", "language"),
    "language is huge": (json.dumps({"type": "language", "language": "x" * 10_000}), "bad_field", "language"),
    "id is a number": ('{"type":"chat","message":"x","id":7}', "bad_field", "id"),
    "id is an object": ('{"type":"ping","id":{}}', "bad_field", "id"),
    "id is too long": (json.dumps({"type": "ping", "id": "x" * 65}), "bad_field", "id"),
}


@pytest.mark.parametrize("text,code,field", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_bad_frame_is_answered_and_nobody_else_notices(raw, others, text, code, field):
    """A frame that is wrong closes the socket, goes unanswered, or reaches the others."""
    raw.send_frame(TEXT, text.encode())
    answer = raw.recv_json()
    assert answer == shapes.error(answer["code"]) | ({"field": answer["field"]} if "field" in answer else {})
    assert len(answer["message"]) < 1000, "an error does not repeat what it was sent"
    if code:
        assert answer["code"] == code, answer
    else:
        assert answer["code"] in ("bad_frame", "bad_field"), answer
    if field:
        assert answer.get("field") == field, answer
    assert_undisturbed(others)
    # The socket stays and works.
    raw.send_json("ping", id="still here")
    frames = [raw.recv_json() for _ in range(3)]
    assert frames[-1]["id"] == "still here", frames


def test_nothing_that_was_refused_was_kept(node, session, raw, others):
    """A refused command changes the state all the same."""
    for text, *_ in list(BAD_FRAMES.values())[::4]:
        raw.send_frame(TEXT, text.encode())
        raw.recv_json()
    state = node.state(session)
    assert (state["code"], state["language"], state["version"]) == ("", "python", 0)


def test_values_at_their_limits_are_taken(node, session, join, others):
    """A limit is one too low, or counts characters where bytes are meant."""
    ann = join(node, session, "ann")
    for kind, fields in [
        ("chat", {"message": "é" * 4096}),
        ("chat", {"message": "x"}),
        ("code_change", {"code": "x" * MAX_CODE_BYTES}),
        ("code_change", {"code": ""}),
        ("chat", {"message": "null \u0000 byte"}),
        ("chat", {"message": "a line\u2028and\u2029more \U0001f980"}),
    ]:
        assert ann.ask(kind, **fields)["type"] == "ack", (kind, fields)
    assert ann.ask("chat", message="x", id="i" * 64)["type"] == "ack"
    _bob, cat = others
    (frames,) = heard(ann, cat)
    assert [f["text"] for f in frames if f["type"] == "chat_message"] == [
        "é" * 4096,
        "x",
        "null \u0000 byte",
        "a line\u2028and\u2029more \U0001f980",
        "x",
    ]


def test_the_twenty_first_bad_frame_of_a_minute_closes(raw, others):
    """A broken client costs the node an answer for every frame, for ever."""
    for _ in range(20):
        raw.send_frame(TEXT, b"nonsense")
        assert raw.recv_json()["code"] == "bad_frame"
    raw.send_frame(TEXT, b"nonsense")
    assert raw.closing() == 4400
    bob, cat = others
    bob.until(lambda frame: frame == shapes.left("mallory"))
    cat.until(lambda frame: frame == shapes.left("mallory"))
    assert_undisturbed(others)


# Frames that break RFC 6455

HALF = "é".encode()[:1]

BROKEN = {
    "binary": ([frame(BINARY, b'{"type":"ping"}')], 1003),
    "empty binary": ([frame(BINARY)], 1003),
    "oversize": ([frame(TEXT, b" " * (MAX_FRAME_BYTES + 1))], 1009),
    "oversize, only announced": ([frame(TEXT, b"", claimed=MAX_FRAME_BYTES + 1)], 1009),
    "oversize of half the address space": ([frame(TEXT, b"", claimed=1 << 62)], 1009),
    "oversize in fragments": (
        [frame(TEXT, b" " * 40_000, fin=False), frame(CONTINUATION, b" " * 40_000)],
        1009,
    ),
    "oversize in fragments without an end": (
        [frame(TEXT, b" " * 10_000, fin=False)] + [frame(CONTINUATION, b" " * 10_000, fin=False)] * 7,
        1009,
    ),
    "length of 64 bits with the highest set": ([bytes([0x81, 0xFF]) + b"\xff" * 8 + b"mask"], None),
    "invalid UTF-8": ([frame(TEXT, b'{"type":"chat","message":"\xff"}')], 1007),
    "overlong UTF-8": ([frame(TEXT, b'{"type":"chat","message":"\xc0\xaf"}')], 1007),
    "surrogate in UTF-8": ([frame(TEXT, b'{"type":"chat","message":"\xed\xa0\x80"}')], 1007),
    "cut UTF-8": ([frame(TEXT, b'{"type":"chat","message":"' + HALF)], 1007),
    "invalid UTF-8 across fragments": (
        [frame(TEXT, b'{"type":"chat","message":"' + HALF, fin=False), frame(CONTINUATION, b'x"}')],
        1007,
    ),
    "unmasked": ([frame(TEXT, b'{"type":"ping"}', mask=False)], 1002),
    "first reserved bit": ([frame(TEXT, b"{}", reserved=4)], 1002),
    "second reserved bit": ([frame(TEXT, b"{}", reserved=2)], 1002),
    "third reserved bit": ([frame(PING, reserved=1)], 1002),
    "unknown opcode": ([frame(3, b"{}")], 1002),
    "unknown control opcode": ([frame(11)], 1002),
    "fragmented ping": ([frame(PING, fin=False)], 1002),
    "fragmented close": ([frame(CLOSE, close_payload(1000), fin=False)], 1002),
    "ping too long": ([frame(PING, b"x" * 126)], 1002),
    "close too long": ([frame(CLOSE, close_payload(1000, b"x" * 124))], 1002),
    "continuation of nothing": ([frame(CONTINUATION, b"{}")], 1002),
    "text within a fragmented text": ([frame(TEXT, b"{", fin=False), frame(TEXT, b"}")], 1002),
    "close of one byte": ([frame(CLOSE, b"\x03")], 1002),
    "close with a reserved code": ([frame(CLOSE, close_payload(1005))], 1002),
    "close with an impossible code": ([frame(CLOSE, close_payload(999))], 1002),
    "close with an invalid reason": ([frame(CLOSE, close_payload(1000, b"\xff"))], 1007),
}


@pytest.mark.parametrize("frames,code", BROKEN.values(), ids=BROKEN)
def test_a_broken_frame_closes_with_the_documented_code(raw, others, frames, code):
    """A violation of the protocol is taken, goes unanswered, or disturbs the others."""
    raw.send(b"".join(frames))
    assert raw.closing() in ((code,) if code else (1002, 1009))
    for peer in others:
        peer.until(lambda frame: frame == shapes.left("mallory"))
    assert_undisturbed(others)


def test_a_character_may_be_split_across_fragments(raw, others):
    """Text whose fragments cut through a character is taken for broken."""
    text = json.dumps({"type": "chat", "message": "h\u00e9 \U0001f980"}, ensure_ascii=False).encode()
    raw.send_frame(TEXT, text[:1], fin=False)
    for byte in text[1:-1]:
        raw.send_frame(CONTINUATION, bytes([byte]), fin=False)
    raw.send_frame(CONTINUATION, text[-1:])
    for peer in others:
        peer.hears(shapes.chat_message("mallory", "h\u00e9 \U0001f980"))


def test_bytes_may_come_one_at_a_time(raw, others):
    """A frame that arrives in pieces is lost."""
    whole = frame(TEXT, b'{"type":"chat","message":"slow"}') + frame(PING, b"p")
    raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in whole:
        raw.send(bytes([byte]))
    for peer in others:
        peer.hears(shapes.chat_message("mallory", "slow"))


def test_many_frames_may_come_in_one_packet(raw, others):
    """Frames behind the first of a packet wait for the next packet, or are lost."""
    raw.send(
        b"".join(frame(TEXT, json.dumps({"type": "chat", "message": str(n)}).encode()) for n in range(50))
    )
    for peer in others:
        peer.hears(*[shapes.chat_message("mallory", str(n)) for n in range(50)])


def test_a_command_may_come_with_the_handshake(node, session):
    """What a client sends before it has read the answer to its upgrade is swallowed."""
    early = frame(TEXT, b'{"type":"ping","id":"early"}')
    with RawSocket(node, door(session, "ann"), early=early) as raw:
        assert raw.recv_json()["type"] == "session_state"
        assert raw.recv_json()["id"] == "early"


@pytest.mark.parametrize("payload", [b"", b"p", b"\xff" * 125], ids=len)
def test_a_ping_gets_its_payload_back(raw, payload):
    """A client that checks its connection takes it for dead."""
    raw.send_frame(PING, payload)
    assert raw.recv_frame() == (PONG, payload, True)


def test_a_ping_is_answered_between_fragments(raw, others):
    """A large message in fragments blocks the heartbeat, or a ping within it breaks it."""
    raw.send_frame(TEXT, b'{"type":"chat",', fin=False)
    raw.send_frame(PING, b"between")
    assert raw.recv_frame() == (PONG, b"between", True)
    raw.send_frame(CONTINUATION, b'"message":"whole"}')
    others[0].hears(shapes.chat_message("mallory", "whole"))


def test_an_unasked_pong_is_ignored(raw):
    """A pong nobody asked for, which the protocol allows, closes the socket."""
    raw.send_frame(PONG, b"whatever")
    raw.send_frame(PING, b"p")
    assert raw.recv_frame() == (PONG, b"p", True)


@pytest.mark.parametrize("payload", [close_payload(1000), close_payload(1001, b"bye"), close_payload(4321)])
def test_a_close_is_answered_with_its_code(raw, payload):
    """A client that says goodbye waits for the answer, or takes it for an error."""
    raw.send_frame(CLOSE, payload)
    opcode, answer, _ = raw.recv_frame()
    assert opcode == CLOSE
    assert answer[:2] == payload[:2]
    assert raw.rest() == b""


def test_the_connection_ends_when_both_have_said_goodbye(node, session):
    """The last one in a session waits for the end of the connection, which client libraries do."""
    with RawSocket(node, door(session, "ann")) as raw:
        raw.recv_json()
        start = time.monotonic()
        raw.send_frame(CLOSE, close_payload(1000))
        assert raw.closing() == 1000
        assert time.monotonic() - start < 3, "sooner than a node waits for who does not answer"


def test_a_close_without_a_code_is_answered(raw):
    """A close frame without a payload, which the protocol allows, is taken for an error."""
    raw.send_frame(CLOSE)
    opcode, answer, _ = raw.recv_frame()
    assert opcode == CLOSE
    assert answer in (b"", close_payload(1000))
    assert raw.rest() == b""


def test_nothing_after_a_close_is_carried_out(raw, others):
    """A command behind a goodbye still happens."""
    raw.send(frame(CLOSE, close_payload(1000)) + frame(TEXT, b'{"type":"chat","message":"from beyond"}'))
    assert raw.closing() == 1000
    for peer in others:
        peer.hears(shapes.left("mallory"))
    assert_undisturbed(others)


# The handshake

BAD_IDS = {
    "braces": "%7Bx%7D",
    "opening brace": "a%7Bb",
    "newline": "a%0Ab",
    "carriage return": "a%0D%0Ab",
    "nul": "a%00b",
    "space": "a%20b",
    "slash": "a%2Fb",
    "dot": ".",
    "dots": "...",
    "encoded dots": "%2E%2E",
    "encoded braces, twice": "%257Bx%257D",
    "percent": "a%25b",
    "broken percent": "a%zzb",
    "letters beyond ASCII": "%C3%A9",
    "bytes that are no UTF-8": "%FF",
    "star": "a*b",
    "129 characters": "x" * 129,
    "300 characters": "x" * 300,
}


@pytest.mark.parametrize("written", BAD_IDS.values(), ids=BAD_IDS)
def test_a_malformed_session_id_is_refused(node, written):
    """An id breaks out of a key, a path or a log line."""
    path = f"/api/v1/ws/session/{written}?user_id=ann"
    assert refused(node, path).status == 400
    assert refused(node, path, Origin=ORIGIN).close == 4400
    assert_problem(node.get(f"/api/v1/session/{written}/state"), 400)
    assert_problem(node.delete(f"/api/v1/session/{written}"), 400)


@pytest.mark.parametrize("written", BAD_IDS.values(), ids=BAD_IDS)
def test_a_malformed_user_id_is_refused(node, session, written):
    """A user's id breaks out of a key, a JSON list or a log line."""
    path = f"/api/v1/ws/session/{session}?user_id={written}"
    assert refused(node, path).status == 400
    assert refused(node, path, Origin=ORIGIN).close == 4400


def test_every_allowed_character_makes_an_id(node, join):
    """An id of the documented alphabet is refused, or differs from its percent-encoded self."""
    name = "A.z_0:@|-"
    session = unique(name)
    ann = join(node, session, name)
    with RawSocket(node, f"/api/v1/ws/session/{session.replace('|', '%7C')}?user_id=bob") as raw:
        assert raw.recv_json()["session_id"] == session
        ann.hears(shapes.joined("bob"))
    longest = "x" * 128
    assert join(node, longest, longest).greeting["session_id"] == longest
    assert node.state(session)["session_id"] == session


def test_a_name_is_limited(node, session, join):
    """A name as long as a book is shown to everyone."""
    assert refused(node, door(session, "ann", "n" * 129)).status == 400
    assert refused(node, door(session, "ann", "n" * 129), Origin=ORIGIN).close == 4400
    ann = join(node, session, "ann", "\u00e9" * 128)
    assert ann.greeting["users"] == [shapes.present("ann", "\u00e9" * 128)]


def test_a_path_nobody_knows(node):
    """A wrong address hangs, or answers with something a program cannot read."""
    assert_problem(node.get("/nowhere"), 404, "not_found")
    assert_problem(node.get("/api/v1/session/x/elsewhere"), 404, "not_found")
    assert refused(node, "/api/v1/ws/nowhere").status == 404


def test_a_method_the_path_does_not_know(node):
    """A wrong method is taken for the right one, or does not say which would be."""
    answer = node.post("/api/v1/session/x/state", {})
    assert_problem(answer, 405)
    assert "GET" in answer.headers["allow"]
    assert_problem(node.delete("/health"), 405)


def test_the_door_without_an_upgrade(node, session):
    """A plain request at the door gets an answer that looks like success."""
    assert_problem(node.get(door(session, "ann")), 426)


@pytest.mark.parametrize("version", ["8", "12", "14", "x"])
def test_another_websocket_version_is_told_which_is_right(node, session, version):
    """An old client is let in with a protocol the node does not speak."""
    answer = refused(node, door(session, "ann"), Sec_WebSocket_Version=version)
    assert answer.status == 426
    assert answer.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize("key", ["", "short", "not base 64 at all!!===="])
def test_a_malformed_key_is_refused(node, session, key):
    """A cache between client and node can answer for it."""
    assert refused(node, door(session, "ann"), Sec_WebSocket_Key=key).status == 400


def test_header_names_and_values_are_read_as_the_web_writes_them(node, session):
    """A browser that asks for keep-alive too, or a proxy that writes in small letters, is refused."""
    written = {"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"}
    with RawSocket(node, door(session, "ann"), **written) as raw:
        assert raw.recv_json()["type"] == "session_state"
    small = handshake(node, door(session, "bob")).split(b"\r\n", 1)
    with Wire(node) as wire:
        name_by_name = [line.split(b": ", 1) for line in small[1].split(b"\r\n") if line]
        lines = [name.lower() + b":" + value for name, value in name_by_name]
        wire.send(b"\r\n".join([small[0], *lines, b"", b""]))
        assert wire.head().status == 101


def test_an_extension_that_is_offered_is_declined(node, session):
    """A client that offers compression gets frames it cannot read, or none."""
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    with RawSocket(node, door(session, "ann"), **offer) as raw:
        assert "sec-websocket-extensions" not in raw.answer.headers
        assert raw.recv_json()["type"] == "session_state"


def test_a_missing_key_or_version_is_refused(node, session):
    """A request that is no WebSocket handshake is upgraded."""
    for missing, status in {"Sec-WebSocket-Key": 400, "Sec-WebSocket-Version": 426, "Upgrade": 426}.items():
        with Wire(node) as wire:
            wire.send(handshake(node, door(session, "ann"), leave_out=[missing]))
            assert wire.head().status == status, missing


@pytest.mark.parametrize("begun", [0, 40], ids=["not a byte", "half a request"])
@pytest.mark.parametrize("pace", [None, 0.02], ids=["then silence", "a byte at a time"])
def test_a_slow_handshake_is_cut_while_others_are_served(node, session, others, begun, pace):
    """A few clients that never finish their request keep everybody else out."""
    request = handshake(node, door(session, "mallory"), X_Filler="x" * 4000)
    slow = [Wire(node) for _ in range(10)]
    start = time.monotonic()
    for wire in slow:
        wire.send(request[:begun])
        if pace:
            wire.socket.settimeout(pace)
    assert_undisturbed(others)
    with Peer(node, unique("session"), "ann") as ann:
        assert ann.before_pong() == []
    open_ones = slow if pace else []
    for byte in request[begun:]:
        open_ones = [wire for wire in open_ones if not hung_up(wire, byte)]
        if not open_ones:
            break
    for wire in slow:
        wire.socket.settimeout(PATIENCE)
        answer = wire.rest()
        assert answer == b"" or answer.split()[1] == b"408", answer
        wire.socket.close()
    assert 0.5 < time.monotonic() - start < 15


def hung_up(wire, byte):
    """Sends another byte and waits a little for the end; the pace of a slow client."""
    try:
        wire.send(bytes([byte]))
        return not wire.fill()
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "bomb",
    [
        {f"X-{number}": "x" for number in range(2000)},
        {"X-Long": "x" * 100 * 1024},
        {"Cookie": "x" * 1024 * 1024},
    ],
    ids=["many headers", "a long header", "a very long header"],
)
def test_a_header_bomb_is_refused(node, session, others, bomb):
    """A request's headers fill the node's memory."""
    with Wire(node) as wire:
        try:
            wire.send(handshake(node, door(session, "mallory"), **bomb))
            answer = wire.rest()
        except ConnectionError:
            answer = b""
        assert answer == b"" or answer.split()[1] == b"431", answer[:200]
    assert_undisturbed(others)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        b"GET / HTTP/9.9\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nBad Header: x\r\n\r\n",
        b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"\x00" * 1000,
    ],
    ids=["tls", "version", "no http", "bad header", "negative length", "zeros"],
)
def test_what_is_not_http_is_refused(node, others, request_bytes):
    """Bytes that are no request hang, or bring the node down."""
    with Wire(node) as wire:
        wire.send(request_bytes)
        answer = wire.rest()
        assert answer == b"" or 400 <= int(answer.split()[1]) <= 505, answer
    assert_undisturbed(others)


# Sockets that go quiet, or do not listen


def test_a_socket_that_answers_nothing_is_closed(impatient, session, join):
    """A client whose machine lost power stays as a ghost."""
    ann = join(impatient, session, "ann")
    start = time.monotonic()
    with RawSocket(impatient, door(session, "bob")) as half_open:
        half_open.recv_json()
        assert half_open.closing() == 4408
    assert 1.5 < time.monotonic() - start < 10
    ann.hears(shapes.joined("bob"), shapes.left("bob"))


@pytest.mark.parametrize("sign", ["pong", "ping frame", "command"])
def test_a_socket_that_gives_any_sign_of_life_stays(impatient, session, sign):
    """A client that only talks, or only answers pings, is taken for dead."""
    with RawSocket(impatient, door(session, "bob")) as alive:
        alive.recv_json()
        pings = 0
        while pings < 4:
            opcode, payload, _ = alive.recv_frame()
            if opcode != PING:
                assert opcode == PONG or json.loads(payload)["type"] == "pong", (opcode, payload)
                continue
            pings += 1
            if sign == "pong":
                alive.send_frame(PONG, payload)
            elif sign == "ping frame":
                alive.send_frame(PING, b"me")
            else:
                alive.send_json("ping")


def test_a_reader_that_stops_reading_is_closed_and_costs_the_others_nothing(own_children, session, join):
    """One stuck browser tab fills the node's memory, or holds up everybody else."""
    node = own_children.node("slow", OUTBOX_BYTES=256 * 1024, CLOSE_TIMEOUT=60, LOG_LEVEL="INFO")
    ann, bob = join(node, session, "ann"), join(node, session, "bob")
    stuck = [RawSocket(node, door(session, f"stuck-{n}"), receive_buffer=4096) for n in range(10)]

    def chat(bunches):
        for _ in range(bunches):
            for _ in range(19):
                ann.send("chat", message="." * MAX_CHAT_BYTES)
            heard(ann, ann, bob)

    # The first ones fill the kernel's buffers and the room's log, which are not what is measured.
    chat(75)
    before = node.resident_bytes()
    chat(150)
    assert node.resident_bytes() - before < 16 * 1024 * 1024, "22 MB were said"
    for raw in stuck:
        with raw:
            assert raw.closing() == 4503
    gone = {frame["user_id"] for frame in bob.history if frame["type"] == "user_left"}
    while len(gone) < len(stuck):
        gone.add(bob.until(lambda frame: frame["type"] == "user_left")[-1]["user_id"])
    assert heard(ann, bob) == [[]]


# REST


def test_a_body_that_is_too_large(node):
    """A request's body fills the node's memory."""
    assert_problem(node.post("/api/v1/session", b" " * 2 * 1024 * 1024), 413)
    with Wire(node) as wire:
        head = f"POST /api/v1/session HTTP/1.1\r\nHost: {node.address}\r\nContent-Type: application/json\r\n"
        wire.send(f"{head}Content-Length: 1000000000\r\n\r\n".encode())
        assert wire.head().status == 413


BODY = {
    "event_type": "match.found",
    "session_id": "s",
    "users": ["ann", "bob"],
    "question_id": "q",
    "difficulty": "easy",
    "topic": "Array",
}


def without(field):
    return {name: value for name, value in BODY.items() if name != field}


BAD_BODIES = {
    "nothing": (b"", None),
    "half an object": (b"{", None),
    "array": (b"[]", None),
    "null": (b"null", None),
    "no UTF-8": (b"\xff\xfe", None),
    "deep array": (b"[" * 50_000, None),
    "empty object": ({}, None),
    "values without names": (list(without("event_type").values()), None),
    "more behind the object": (json.dumps(BODY).encode() + b"}", None),
    "another event": (BODY | {"event_type": "match.lost"}, "event_type"),
    "no session": (without("session_id"), "session_id"),
    "malformed session": (BODY | {"session_id": "{x}"}, "session_id"),
    "session is a number": (BODY | {"session_id": 7}, "session_id"),
    "no users": (without("users"), "users"),
    "users are a string": (BODY | {"users": "ann"}, "users"),
    "a user is a number": (BODY | {"users": [1]}, "users"),
    "malformed user": (BODY | {"users": ["a b"]}, "users"),
    "list of no users": (BODY | {"users": []}, "users"),
    "too many users": (BODY | {"users": [f"u{n}" for n in range(1001)]}, "users"),
    "question is an array": (BODY | {"question_id": []}, "question_id"),
    "difficulty is a number": (BODY | {"difficulty": 3}, "difficulty"),
    "topic is huge": (BODY | {"topic": "x" * 10_000}, "topic"),
}


@pytest.mark.parametrize("body,field", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_bad_body_is_a_problem_that_names_the_field(node, session, body, field):
    """A service that sends a wrong match notice learns nothing, or a half-made session comes of it."""
    if isinstance(body, dict) and body.get("session_id") == BODY["session_id"]:
        body = body | {"session_id": session}
    problem = assert_problem(node.post("/api/v1/session", body), 400)
    assert field is None or field in re.findall(r"\w+", f"{problem.get('field')} {problem['detail']}"), (
        problem
    )
    assert len(problem["detail"]) < 1000
    assert node.get(f"/api/v1/session/{session}/state").status == 404


def test_a_browser_on_another_page_may_call(node):
    """A front end on another host cannot use REST."""
    answer = node.get("/health", headers={"Origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] in ("*", ORIGIN)
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "DELETE"}
    answer = node.options("/api/v1/session/x", headers=asked)
    assert answer.status in (200, 204)
    assert answer.headers["access-control-allow-origin"] in ("*", ORIGIN)
    allowed = answer.headers["access-control-allow-methods"]
    assert "DELETE" in allowed or allowed == "*"


def test_other_origins_are_kept_out_when_some_are_named(own_children, session):
    """Any page on the web can join in its visitor's name."""
    node = own_children.node(ALLOWED_ORIGINS="https://good.example,https://fine.example")
    for origin in ("https://good.example", "https://fine.example"):
        with RawSocket(node, door(session, "ann"), Origin=origin) as raw:
            assert raw.recv_json()["type"] == "session_state"
        answer = node.get("/health", headers={"Origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
    for origin in (
        "https://evil.example",
        "https://good.example.evil.example",
        "http://good.example",
        "null",
    ):
        assert refused(node, door(session, "ann"), Origin=origin).close == 1008, origin
        answer = node.get("/health", headers={"Origin": origin})
        assert answer.headers.get("access-control-allow-origin") not in ("*", origin)
    with Peer(node, session, "bob") as bob:
        assert bob.before_pong() == []


def test_sessions_are_not_made_when_that_is_off(own_children, session):
    """Anybody fills the store with sessions nobody planned."""
    node = own_children.node(SESSION_AUTOCREATE="false")
    assert refused(node, door(session, "ann")).status == 404
    assert refused(node, door(session, "ann"), Origin=ORIGIN).close == 4404
    assert node.post("/api/v1/session", BODY | {"session_id": session}).status == 201
    with Peer(node, session, "ann") as ann:
        assert ann.greeting["question_id"] == "q"


def test_a_full_node_says_so(own_children, session):
    """A node takes more sockets than it has room for, or never takes one again."""
    node = own_children.node(MAX_CONNECTIONS=3)
    peers = [Peer(node, session, f"user-{n}") for n in range(3)]
    answer = refused(node, door(session, "more"))
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert refused(node, door(session, "more"), Origin=ORIGIN).close == 1013
    assert node.get("/livez").status == 200, "REST still answers"
    for peer in peers:
        assert [f for f in peer.before_pong() if f["type"] != "user_joined"] == []
    peers.pop().leave()
    eventually(lambda: has_room(node, session), "the place that became free can be taken")
    for peer in peers:
        peer.leave()


def has_room(node, session):
    with RawSocket(node, door(session, "more")) as raw:
        return raw.answer.status == 101
