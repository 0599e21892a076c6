"""A client at the Yjs door that writes and reads its frames itself."""

import time
from base64 import b64decode, b64encode
from collections import namedtuple
from contextlib import ExitStack, suppress

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from .deadline import PATIENCE
from .text import way

# The first bytes of a message.
STEP_1, STEP_2, UPDATE = b"\0\0", b"\0\1", b"\0\2"
AWARENESS, DENIED, QUERY = b"\1", b"\2\0", b"\3"
KINDS = (STEP_1, STEP_2, UPDATE, AWARENESS, DENIED, QUERY)

# `body` is what the message's one length-prefixed part holds.
Message = namedtuple("Message", "kind body")
# Of awareness; `state` is JSON.
Entry = namedtuple("Entry", "client clock state")

EMPTY_VECTOR = b"\0"


def number(value):
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes(out) + bytes([value])


def blob(data):
    return number(len(data)) + data


def read_number(data, at=0):
    """The number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if byte < 0x80:
            return value, at


def read_blob(data, at=0):
    length, at = read_number(data, at)
    assert at + length <= len(data), data
    return data[at : at + length], at + length


def step_1(vector=EMPTY_VECTOR):
    return STEP_1 + blob(vector)


def step_2(update):
    return STEP_2 + blob(b64decode(update))


def update(update):
    """`update` as yjs.js gives it."""
    return UPDATE + blob(b64decode(update))


def awareness(*entries):
    parts = (number(client) + number(clock) + blob(state.encode()) for client, clock, state in entries)
    return AWARENESS + blob(number(len(entries)) + b"".join(parts))


def entries(body):
    """What an awareness message says."""
    found = []
    total, at = read_number(body)
    for _ in range(total):
        client, at = read_number(body, at)
        clock, at = read_number(body, at)
        state, at = read_blob(body, at)
        found.append(Entry(client, clock, state.decode()))
    assert at == len(body), "nothing follows the last entry"
    return found


def message(frame):
    """One message a frame: clients before y-websocket 4 read only the first."""
    kind = next((kind for kind in KINDS if frame.startswith(kind)), None)
    assert kind, f"no message of the protocol: {frame!r}"
    if kind == QUERY:
        assert frame == QUERY, frame
        return Message(kind, b"")
    body, end = read_blob(frame, len(kind))
    assert end == len(frame), f"more than one message in a frame: {frame!r}"
    return Message(kind, body)


class Wire:
    """One socket. Everything it hears is kept in `heard`."""

    def __init__(self, node, session, user=None, **query):
        self.user = user
        self.heard = []
        self.resources = ExitStack()
        opening = connect(
            f"ws://{node.host}:{node.port}{way(session, user_id=user, **query)}",
            proxy=None,
            open_timeout=PATIENCE,
            ping_interval=None,
            compression=None,
            max_size=None,
            max_queue=None,
        )
        self.socket = self.resources.enter_context(opening)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.resources.close()

    def send(self, *frames):
        for frame in frames:
            self.socket.send(frame)

    def throw(self, *frames):
        """Sends what may end the socket before all of it is out."""
        with suppress(ConnectionClosed):
            self.send(*frames)

    def recv(self, within=PATIENCE):
        try:
            frame = self.socket.recv(timeout=within)
        except TimeoutError:
            raise AssertionError(f"{self.user} heard nothing within {within} s") from None
        assert isinstance(frame, bytes), f"a binary door sends binary frames only: {frame!r}"
        self.heard.append(message(frame))
        return self.heard[-1]

    def expect(self, kind, within=PATIENCE):
        """The very next message, which must be of this kind; its body."""
        heard = self.recv(within)
        assert heard.kind == kind, f"{self.user} expected {kind} and heard {heard}"
        return heard.body

    def until(self, matches, within=PATIENCE):
        """Everything up to the first message that matches, which is the last of the list."""
        heard, end = [], time.monotonic() + within
        while True:
            heard.append(self.recv(max(0.01, end - time.monotonic())))
            if matches(heard[-1]):
                return heard

    def until_kind(self, kind, within=PATIENCE):
        """The body of the next message of this kind."""
        return self.until(lambda heard: heard.kind == kind, within)[-1].body

    def ask(self, vector=EMPTY_VECTOR):
        """The update that somebody lacks who has `vector`, base64."""
        self.send(step_1(vector))
        return b64encode(self.until_kind(STEP_2)).decode()

    def before_answer(self):
        """What lies between now and the answer to a question."""
        self.send(step_1())
        return self.until(lambda heard: heard.kind == STEP_2)[:-1]

    def shown(self):
        """Everybody who is aware of the document, as the node says when it is asked."""
        self.send(QUERY)
        told = [heard.body for heard in self.before_answer() if heard.kind == AWARENESS]
        return list({entry.client: entry for body in told for entry in entries(body)}.values())

    def hears_of(self, *those, within=PATIENCE):
        """Waits until it is told exactly these of awareness."""
        self.until(lambda heard: heard.kind == AWARENESS and entries(heard.body) == [*those], within)

    def close_code(self, within=PATIENCE):
        """Reads until the node closes, and returns its close code."""
        return self.close_or(lambda heard: False, within)

    def close_or(self, matches, within=PATIENCE):
        """Reads until the node closes, and returns its close code; None if something came that matches."""
        try:
            self.until(matches, within)
        except ConnectionClosed as closed:
            assert closed.rcvd, "the node hung up without a word"
            return closed.rcvd.code
