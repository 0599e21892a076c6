"""The IDE bridge: takes webhooks, and checks that each is signed as Standard Webhooks has it."""

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler

from .deadline import PATIENCE, eventually
from .neighbour import Server
from .processes import free_port

KEY = b"a key of the bridge's tests, long enough"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Bridge:
    """Keeps what it is told, in the order in which it came. `refuses` says of a webhook with which status it is refused."""

    def __init__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/hooks/collabd"
        self.told = []
        self.tries = []
        self.refuses = lambda hook: None
        self.lock = threading.Lock()
        self.server = None
        self.start()

    def start(self):
        bridge = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = bridge.take(self.path, dict(self.headers), body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server.hang_up()
            self.server = None

    def take(self, path, headers, body):
        headers = {name.lower(): value for name, value in headers.items()}
        assert path == "/hooks/collabd" and headers["content-type"] == "application/json", (path, headers)
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        right = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{right}", headers
        assert abs(time.time() - int(headers["webhook-timestamp"])) < 60
        frame = json.loads(body)
        assert headers["webhook-event"] == frame["type"]
        hook = {"id": headers["webhook-id"], **frame}
        with self.lock:
            self.tries.append(hook)
            status = self.refuses(hook)
            if status:
                return status
            self.told.append(hook)
        return 204

    def of(self, room):
        """What it was told of a room; repeats, which have the same id, once."""
        with self.lock:
            told = [hook for hook in self.told if hook["room"] == room]
        return list({hook["id"]: hook for hook in told}.values())

    def has(self, room, count, within=PATIENCE):
        """Waits until it was told so much of a room, and returns that."""
        eventually(lambda: len(self.of(room)) >= count, f"{count} webhooks of {room}", within=within)
        return self.of(room)
