"""A TCP connection between two parties that can be cut, and be slow."""

import select
import socket
import threading
import time
from contextlib import contextmanager, suppress

from .deadline import PATIENCE


class Proxy:
    """Passes bytes on, `delay` seconds late each way; while it is cut, connections end and none is made."""

    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.delay = 0.0
        self.open = True
        self.pairs = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if not self.open:
                near.close()
                continue
            with suppress(OSError):
                far = socket.create_connection(self.target)
                self.pairs.append((near, far))
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source, sink):
        """What came together goes on together; the delay of one piece does not add to the next one's."""
        late = []
        with suppress(OSError, ValueError):
            while True:
                wait = max(0.0, late[0][0] - time.monotonic()) if late else None
                if select.select([source], [], [], wait)[0]:
                    data = source.recv(65_536)
                    if not data:
                        break
                    late.append((time.monotonic() + self.delay, data))
                while late and late[0][0] <= time.monotonic():
                    sink.sendall(late.pop(0)[1])
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        self.open = False
        for pair in self.pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self.pairs.clear()

    def mend(self):
        self.open = True

    def close(self):
        self.cut()
        self.listener.close()


class Way:
    """A port of its own that leads to another; what is carried on it is its kind's business."""

    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            with suppress(OSError):
                far = socket.create_connection(self.target)
                for carry, *arguments in self._carriers(near, far):
                    threading.Thread(target=carry, args=arguments, daemon=True).start()

    def close(self):
        self.listener.close()


class DeafProxy(Way):
    """A way to Redis that loses what is published while it is `deaf`, and passes on everything else."""

    deaf = False

    def _carriers(self, near, far):
        return (self._carry, near, far, bytes), (self._carry, far, near, self._heard)

    def _carry(self, source, sink, passed):
        waiting = bytearray()
        with suppress(OSError):
            while data := source.recv(65_536):
                waiting += data
                sink.sendall(passed(waiting))
                if passed is bytes:
                    waiting.clear()
        hang_up(source, sink)

    def _heard(self, waiting):
        """Takes whole values away from what is waiting; returns those that arrive."""
        passed = bytearray()
        while length := whole(waiting):
            value = waiting[:length]
            del waiting[:length]
            if not (self.deaf and value.startswith(b">3\r\n$8\r\nsmessage\r\n")):
                passed += value
        return passed


class HoldingProxy(Way):
    """A way to PostgreSQL on which what is answered to one question can be held back, and everything else passes."""

    def __init__(self, port):
        self.word = None
        self.held, self.free = threading.Event(), threading.Event()
        super().__init__(port)

    @contextmanager
    def holding(self, word):
        """Holds the answer to the next question whose SQL has the word, once it has been answered."""
        self.held.clear()
        self.free.clear()
        self.word = word.encode()
        try:
            yield
        finally:
            self.let_go()

    def await_held(self):
        assert self.held.wait(PATIENCE), f"nobody asked for {self.word}"

    def let_go(self):
        self.word = None
        self.free.set()

    def _carriers(self, near, far):
        asked = threading.Event()
        return (self._ask, near, far, asked), (self._answer, far, near, asked)

    def _ask(self, source, sink, asked):
        prepared = False
        with suppress(OSError):
            while data := source.recv(65_536):
                # It is prepared first, and asked when that was answered.
                if prepared:
                    asked.set()
                prepared = bool(self.word) and self.word in data
                if prepared:
                    self.word = None
                sink.sendall(data)
        hang_up(source, sink)

    def _answer(self, source, sink, asked):
        with suppress(OSError):
            while data := source.recv(65_536):
                if asked.is_set():
                    asked.clear()
                    self.held.set()
                    self.free.wait(PATIENCE)
                sink.sendall(data)
        hang_up(source, sink)

    def close(self):
        self.let_go()
        super().close()


def hang_up(*ends):
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def whole(data, start=0):
    """Where the RESP3 value that starts there ends; 0 when not all of it is there."""
    end = data.find(b"\r\n", start)
    if end < 0:
        return 0
    kind, line, at = data[start : start + 1], data[start + 1 : end], end + 2
    if kind in (b"$", b"!", b"="):
        at += int(line) + 2 if int(line) >= 0 else 0
        return at if at <= len(data) else 0
    for _ in range(int(line) * (2 if kind == b"%" else 1) if kind in (b"*", b"~", b">", b"%") else 0):
        at = whole(data, at)
        if not at:
            return 0
    return at
