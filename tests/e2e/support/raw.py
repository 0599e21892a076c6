"""A WebSocket client without manners: any bytes, any frame, any pace."""

import base64
import json
import os
import socket
import struct
from collections import namedtuple

from .deadline import PATIENCE
from .http import Answer

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

Frame = namedtuple("Frame", "opcode payload fin")
Head = namedtuple("Head", "status headers")


def frame(opcode, payload=b"", fin=True, mask=True, reserved=0, claimed=None):
    """One frame's bytes. `claimed` states another length than the payload has."""
    length = len(payload) if claimed is None else claimed
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    masked = 0x80 if mask else 0
    if length < 126:
        head += bytes([masked | length])
    elif length < 65_536:
        head += bytes([masked | 126]) + struct.pack(">H", length)
    else:
        head += bytes([masked | 127]) + struct.pack(">Q", length)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def close_payload(code, reason=b""):
    return struct.pack(">H", code) + reason


class Wire:
    """A TCP connection to a node, perhaps from another address of this machine. `before` is sent first of all,
    also before encryption begins."""

    def __init__(self, node, port=None, receive_buffer=None, before=b"", tls=None, source=None):
        self.socket = socket.socket()
        if source:
            self.socket.bind((source, 0))
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((node.host, port or node.port))
        self.buffer = b""
        if before:
            self.socket.sendall(before)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=node.host)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def fill(self):
        """Reads some more; false at the end."""
        try:
            data = self.socket.recv(65_536)
        except ConnectionError:
            data = b""
        self.buffer += data
        return bool(data)

    def take(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                raise EOFError(f"the server hung up; {self.buffer!r} was left")
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def rest(self):
        """Everything up to the end of the connection."""
        while self.fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def head(self):
        """Status and headers of an HTTP answer; names in lower case."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill():
                raise EOFError(f"no HTTP answer, only {self.buffer!r}")
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        return Head(int(first.split()[1]), headers)

    def http_answer(self):
        """A whole HTTP answer."""
        status, headers = self.head()
        body = self.take(int(headers.get("content-length", 0)))
        return Answer(status, headers, body.decode())


def handshake(node, path, leave_out=(), **headers):
    """An upgrade request. Headers given replace the usual ones, `leave_out` names those to omit."""
    usual = {
        "Host": node.address,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    usual |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in usual.items() if name not in leave_out]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


class RawSocket(Wire):
    """A WebSocket whose frames are written and read by hand. It answers no ping."""

    def __init__(self, node, path, receive_buffer=None, early=b"", wire=None, **headers):
        super().__init__(node, receive_buffer=receive_buffer, **wire or {})
        self.send(handshake(node, path, **headers) + early)
        self.answer = self.head()

    def send_frame(self, *arguments, **options):
        self.send(frame(*arguments, **options))

    def send_json(self, type, **fields):
        self.send_frame(TEXT, json.dumps({"type": type} | fields).encode())

    def recv_frame(self):
        first, second = self.take(2)
        assert not second & 0x80, "a server masks nothing"
        assert not first & 0x70, "no extension was agreed on"
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self.take(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.take(8))
        return Frame(first & 0x0F, self.take(length), bool(first & 0x80))

    def recv_json(self):
        """The next text frame, whatever control frames come before it."""
        while True:
            opcode, payload, fin = self.recv_frame()
            if opcode == TEXT:
                assert fin
                return json.loads(payload)
            assert opcode in (PING, PONG), (opcode, payload)

    def closing(self):
        """Reads on until the server's close frame and the end behind it; returns the close code."""
        while True:
            opcode, payload, _ = self.recv_frame()
            if opcode == CLOSE:
                break
        # Well-mannered at the end, so that the server need not wait for the echo.
        try:
            self.send_frame(CLOSE, payload[:2])
        except ConnectionError:
            pass
        assert not self.rest(), "nothing may follow a close frame"
        return struct.unpack(">H", payload[:2])[0] if payload else None


Refusal = namedtuple("Refusal", "status headers close")


def refused(node, path, **headers):
    """How an upgrade ends: with an HTTP status, or with 101 and the close code that follows at once."""
    with RawSocket(node, path, **headers) as raw:
        status, headers = raw.answer
        return Refusal(status, headers, raw.closing() if status == 101 else None)


def turned_away(node, path, wire=None, **headers):
    """The HTTP answer to an upgrade that is refused. `wire` says how to connect."""
    with Wire(node, **wire or {}) as connection:
        connection.send(handshake(node, path, **headers))
        return connection.http_answer()
