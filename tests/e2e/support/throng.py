"""Thousands of sockets of one session that come and go at once: read by one thread, and counted, not kept.

What two thousand tell each other are millions of frames, more than Python reads as JSON in a test's time.
So frames are counted by how they begin; of a few sockets everything is kept.
"""

import json
import selectors
import socket
import threading
import time

from .peer import door
from .raw import CLOSE, TEXT, frame, handshake

GREETED, JOINED, LEFT = (b'{"type":"session_state"', b'{"type":"user_joined"', b'{"type":"user_left"')
# The beginnings may be cut by the end of what was read at once.
CARRY = max(map(len, (GREETED, JOINED, LEFT))) - 1


class One:
    """One of them."""

    def __init__(self, node, session, user, keep):
        self.user = user
        self.node = node
        self.counts = dict.fromkeys((GREETED, JOINED, LEFT), 0)
        self.kept = bytearray() if keep else None
        self.carry = b""
        self.open = True
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex((node.host, node.port))
        self.request = handshake(node, door(session, user))

    def take(self, data):
        if self.kept is not None:
            self.kept += data
        text = self.carry + data
        for word in self.counts:
            # Whole words in the carry were counted with what it came with.
            self.counts[word] += text.count(word) - self.carry.count(word)
        self.carry = text[-CARRY:]

    def say(self, **fields):
        self.socket.send(frame(TEXT, json.dumps(fields).encode()))

    @property
    def greeted(self):
        return self.counts[GREETED] > 0

    def frames(self):
        """What was kept, as frames."""
        data, at = bytes(self.kept), self.kept.index(b"\r\n\r\n") + 4
        found = []
        while at + 2 <= len(data):
            length, size = data[at + 1], 2
            if length >= 126:
                size = 4 if length == 126 else 10
                length = int.from_bytes(data[at + 2 : at + size], "big")
            if at + size + length > len(data):
                break
            if data[at] & 0x0F == TEXT:
                found.append(json.loads(data[at + size : at + size + length]))
            at += size + length
        return found


class Throng:
    """`keep` of those that come are read in full."""

    def __init__(self, session):
        self.session = session
        self.all = []
        self.selector = selectors.DefaultSelector()
        self.changed = threading.Condition()
        self.closed = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def come(self, nodes, users, keep=()):
        """All at once, by turns to the nodes; returns them, not yet greeted."""
        come = []
        for number, user in enumerate(users):
            one = One(nodes[number % len(nodes)], self.session, user, user in keep)
            come.append(one)
            self.selector.register(one.socket, selectors.EVENT_WRITE, one)
        self.all += come
        return come

    def _read(self):
        while not self.closed:
            events = self.selector.select(timeout=0.2)
            for key, mask in events:
                one = key.data
                if mask & selectors.EVENT_WRITE:
                    one.socket.send(one.request)
                    self.selector.modify(one.socket, selectors.EVENT_READ, one)
                    continue
                try:
                    data = one.socket.recv(262_144)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                one.take(data)
                if not data:
                    self.selector.unregister(one.socket)
                    one.open = False
            if events:
                with self.changed:
                    self.changed.notify_all()

    def wait(self, what, so, within=30.0):
        """Returns the seconds until `so` was true."""
        began = time.monotonic()
        with self.changed:
            true = self.changed.wait_for(so, within)
        assert true, f"not within {within} s: {what}; {sum(one.open for one in self.all)} are there"
        return time.monotonic() - began

    def go(self, some):
        """They say goodbye, all at once."""
        for one in some:
            one.socket.send(frame(CLOSE, (1000).to_bytes(2, "big")))

    def close(self):
        self.closed = True
        self.reader.join()
        for one in self.all:
            one.socket.close()
