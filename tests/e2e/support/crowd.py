"""Many well-mannered sockets that only listen, read by one thread, and how each of them ended."""

import json
import selectors
import socket
import struct
import threading
import time
from collections import namedtuple

from .peer import door, unique
from .raw import CLOSE, RawSocket, frame

# `code` and `reason` are None when the connection ended without a close frame.
End = namedtuple("End", "at code reason")


class Crowd:
    """`size` users in sessions of `together`."""

    def __init__(self, node, size, together=10):
        self.ends = {}
        self.sockets = {}
        self.changed = threading.Condition()
        self.selector = selectors.DefaultSelector()
        session = unique("crowd")
        self.sessions = [f"{session}-{number}" for number in range((size + together - 1) // together)]
        for number in range(size):
            user = f"{session}-user-{number}"
            raw = RawSocket(node, door(self.sessions[number // together], user))
            self.sockets[user] = raw
            raw.socket.setblocking(False)
            self.selector.register(raw.socket, selectors.EVENT_READ, user)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while len(self.ends) < len(self.sockets):
            for key, _ in self.selector.select(timeout=1):
                self._take(key.data, self.sockets[key.data])

    def _take(self, user, raw):
        try:
            data = raw.socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        raw.buffer += data
        while (parsed := _frame(raw.buffer)) is not None:
            opcode, payload, raw.buffer = parsed
            if opcode == CLOSE:
                (code,) = struct.unpack(">H", payload[:2])
                self._ended(user, raw, End(time.monotonic(), code, payload[2:].decode()))
                return
        if not data:
            self._ended(user, raw, End(time.monotonic(), None, None))

    def _ended(self, user, raw, end):
        self.selector.unregister(raw.socket)
        raw.socket.setblocking(True)
        try:
            raw.send(frame(CLOSE, struct.pack(">H", end.code or 1000)))
            raw.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        raw.socket.close()
        with self.changed:
            self.ends[user] = end
            self.changed.notify_all()

    def wait(self, count, within):
        """Returns when that many have ended."""
        with self.changed:
            enough = self.changed.wait_for(lambda: len(self.ends) >= count, within)
        assert enough, f"not within {within} s: {count} of {len(self.sockets)} end; {len(self.ends)} did"

    def close(self):
        for raw in self.sockets.values():
            raw.socket.close()


def _frame(data):
    """The first frame of what was read, and the rest; None while it is not whole."""
    if len(data) < 2:
        return None
    length, at = data[1] & 0x7F, 2
    if length >= 126:
        form, more = (">H", 2) if length == 126 else (">Q", 8)
        if len(data) < at + more:
            return None
        (length,) = struct.unpack(form, data[at : at + more])
        at += more
    if len(data) < at + length:
        return None
    return data[0] & 0x0F, data[at : at + length], data[at + length :]


def retry_in_ms(reason):
    """What the reason of a 1012 says, and nothing else."""
    said = json.loads(reason)
    assert set(said) == {"retry_in_ms"} and isinstance(said["retry_in_ms"], int), reason
    assert len(reason.encode()) <= 123
    return said["retry_in_ms"]
