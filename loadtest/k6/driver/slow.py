"""People who come to a room, are greeted, and read no more; then come back, and want to know what they missed.

A WebSocket by hand, because libraries read ahead. The receive buffer is small, so that what is not read is soon the
node's.
"""

import base64
import json
import os
import socket
import struct
from urllib.parse import quote

BUFFER = 4096
PATIENCE = 30
TEXT, CLOSE, PING = 1, 8, 9


class Slow:
    def __init__(self, node, room, user):
        self.node, self.room, self.user = node, room, user
        self.socket = None
        self.position = None

    def come(self, since=None):
        host, port = self.node.rsplit(":", 1)
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE)
        if since is None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.socket.connect((host, int(port)))
        query = f"user_id={quote(self.user)}" + (f"&since={quote(since)}" if since else "")
        key = base64.b64encode(os.urandom(16)).decode()
        head = [
            f"GET /api/v1/ws/session/{quote(self.room)}?{query} HTTP/1.1",
            f"Host: {self.node}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        ]
        self.socket.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.read(1)
        if b" 101 " not in answer.split(b"\r\n")[0]:
            raise RuntimeError(f"{self.user} was not let in: {answer.decode()}")

    def greet(self):
        """Comes, hears where the room is, and reads no more."""
        self.come()
        self.position = self.hear("session_state")["position"]

    def return_(self):
        """Comes back with the place where it was; True when it is told what it missed, False when all anew."""
        self.socket.close()
        self.come(since=self.position)
        return self.hear("resumed", "session_state")["type"] == "resumed"

    def leave(self):
        self.socket.close()

    def hear(self, *types):
        while True:
            kind, data = self.frame()
            if kind == TEXT and (said := json.loads(data))["type"] in types:
                return said

    def frame(self):
        """One frame; a node neither masks nor splits them."""
        first, second = self.read(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.read(8))
        data = self.read(length)
        if first & 0x0F == CLOSE:
            raise RuntimeError(f"{self.user} was closed with {struct.unpack('>H', data[:2])[0]}")
        return first & 0x0F, data

    def read(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise RuntimeError(f"{self.user} was cut off")
            data += more
        return data
