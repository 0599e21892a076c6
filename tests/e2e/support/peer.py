"""A person in a session, speaking the pairing dialect through the `websockets` package."""

import itertools
import json
import socket
import time
from contextlib import ExitStack
from urllib.parse import quote, urlencode

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from .deadline import PATIENCE

_numbers = itertools.count(1)


def unique(word):
    """A name nobody else in this run has."""
    return f"{word}-{next(_numbers)}"


def door(session, user=None, name=None, **query):
    """Path and query of the pairing door."""
    query = {"user_id": user, "username": name} | query
    query = {key: value for key, value in query.items() if value is not None}
    return f"/api/v1/ws/session/{quote(session, safe='')}" + (f"?{urlencode(query)}" if query else "")


class Peer:
    """One socket of one user. Every frame is checked for being one JSON object with a type."""

    # What its door says first.
    greeted_with = "session_state"

    def __init__(
        self, node, session, user=None, name=None, port=None, token=None, tls=None, since=None, greeted=True, **headers
    ):
        """With `token` the user need not be said; `tls` is the context of a client that wants encryption.

        `since` says where it was when it comes back; what it hears first is then not known, so not `greeted`.
        """
        self.user = user
        self.session = session
        self.history = []
        # What it wrote by command id: a writer is not told its own text, only that it was taken.
        self.written = {}
        uri = f"{'wss' if tls else 'ws'}://{node.host}:{port or node.port}{self.way(session, user, name, since)}"
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.resources = ExitStack()
        opening = connect(
            uri,
            proxy=None,
            ssl=tls,
            additional_headers={name.replace("_", "-"): value for name, value in headers.items()},
            open_timeout=PATIENCE,
            ping_interval=None,
            max_size=None,
            # Reads on while the test does something else: a peer that was not asked is no slow reader.
            max_queue=None,
        )
        self.socket = self.resources.enter_context(opening)
        self.greeting = self.expect(self.greeted_with) if greeted else None

    def way(self, session, user, name, since):
        """Path and query of its door."""
        return door(session, user, name, since=since)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()

    def send(self, type, **fields):
        if "code" in fields and "id" in fields:
            self.written[fields["id"]] = fields["code"]
        self.send_raw(json.dumps({"type": type} | fields, ensure_ascii=False))

    def send_raw(self, frame):
        self.socket.send(frame)

    def recv(self, within=PATIENCE):
        try:
            text = self.socket.recv(timeout=within)
        except TimeoutError:
            raise AssertionError(f"{self.user} heard nothing within {within} s") from None
        assert isinstance(text, str), "a JSON door sends text frames only"
        frame = json.loads(text)
        assert isinstance(frame, dict) and isinstance(frame.get("type"), str), frame
        self.history.append(frame)
        return frame

    def expect(self, type, within=PATIENCE):
        """The very next frame, which must be of this type."""
        frame = self.recv(within)
        assert frame["type"] == type, f"{self.user} expected {type} and heard {frame}"
        return frame

    def hears(self, *shapes):
        """The next frames are exactly these, in this order. Returns the last one."""
        for shape in shapes:
            frame = self.recv()
            assert frame == shape, f"{self.user} expected {shape} and heard {frame}"
        return frame

    def hears_in_any_order(self, *shapes):
        """The next frames are exactly these; for replies and events, whose mutual order is open."""
        missing = list(shapes)
        while missing:
            frame = self.recv()
            assert frame in missing, f"{self.user} expected one of {missing} and heard {frame}"
            missing.remove(frame)

    def until(self, matches, within=PATIENCE):
        """Everything up to the first frame that matches, which is the last of the list."""
        frames = []
        end = time.monotonic() + within
        while True:
            frames.append(self.recv(max(0.01, end - time.monotonic())))
            if matches(frames[-1]):
                return frames

    def before_pong(self):
        """What lies between now and the answer to a ping: nothing, if nothing was sent here."""
        marker = unique("marker")
        self.send("ping", id=marker)
        return self.until(lambda frame: frame["type"] == "pong" and frame.get("id") == marker)[:-1]

    def ask(self, type, **fields):
        """Sends a durable command with an id and returns its answer: ack, code_ack or error."""
        command = fields.setdefault("id", unique("command"))
        self.send(type, **fields)
        replies = ("ack", "code_ack", "error")
        return self.until(lambda frame: frame["type"] in replies and frame.get("id") == command)[-1]

    def close_code(self, within=PATIENCE):
        """Reads until the server closes, and returns its close code."""
        end = time.monotonic() + within
        try:
            while True:
                self.recv(max(0.01, end - time.monotonic()))
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None

    def leave(self, code=1000):
        self.socket.close(code)
        self.resources.close()

    def drop(self):
        """The TCP connection goes without a word, as when a laptop is closed."""
        self.socket.socket.shutdown(socket.SHUT_RDWR)


def heard(sender, *peers):
    """What each of the peers heard up to a chat line that `sender` says now, which everyone hears.

    What `sender` did before on the same socket has happened by then; so what is not in the answer was
    not told to that peer.
    """
    text = unique("marker")
    sender.send("chat", message=text)
    marker = lambda frame: frame["type"] == "chat_message" and frame["text"] == text
    return [peer.until(marker)[:-1] for peer in peers]
