"""Another service that nodes ask, such as the user service: by HTTP, and as well or badly as a test wants."""

import json
import socket
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from .deadline import PATIENCE
from .processes import free_port


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # Closing waits for no request that hangs.
    block_on_close = False
    request_queue_size = 1024
    allow_reuse_address = True

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.connections = set()

    def process_request(self, request, address):
        self.connections.add(request)
        super().process_request(request, address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self):
        """Also on those who keep their connection."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Neighbour:
    """Knows what is in `known`, by path; counts what it is asked for. It may be slow, wrong, or away."""

    def __init__(self, below=""):
        self.below = below
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{below}"
        self.known = {}
        self.asked = Counter()
        self.noting = threading.Lock()
        # What it was sent: paths as they came, and headers, whose names are in lower case here.
        self.heard = []
        self.instead = None
        # Unset while it does not answer.
        self.answers = threading.Event()
        self.answers.set()
        self.server = None
        self.start()

    def start(self):
        neighbour = self

        class Handler(BaseHTTPRequestHandler):
            # Connections are kept, as real services keep them.
            protocol_version = "HTTP/1.1"
            # An answer goes out in one piece: with two the second waits for the first to be acknowledged.
            wbufsize = -1

            def do_GET(self):
                neighbour.note(self.path, {name.lower(): value for name, value in self.headers.items()})
                neighbour.answers.wait(PATIENCE)
                status, body, headers = neighbour.answer(unquote(self.path))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def handle(self):
                # Who waited too long has hung up.
                with suppress(ConnectionError):
                    super().handle()

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def stop(self):
        """From here on nobody is there; `start` brings it back on its port."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server.hang_up()
            self.server = None

    def note(self, path, headers):
        with self.noting:
            self.asked[unquote(path)] += 1
            self.asked[None] += 1
            self.heard.append((path, headers))

    def answer(self, path):
        if self.instead:
            return self.instead(path)
        if path in self.known:
            return 200, json.dumps(self.known[path]).encode(), {"Content-Type": "application/json"}
        return 404, b'{"detail": "no such thing"}', {"Content-Type": "application/json"}

    def path(self, user):
        return f"{self.below}/users/{user}"

    def knows(self, user, **fields):
        """Of a user, with these fields."""
        self.known[self.path(user)] = {"id": user} | fields

    def requests(self, user=None):
        """How often it was asked, for a user or in all."""
        return self.asked[None if user is None else self.path(user)]

    @contextmanager
    def saying(self, status=200, body=b"", **headers):
        """Answers everybody so."""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.instead = lambda _: (status, body, headers)
        try:
            yield
        finally:
            self.instead = None

    @contextmanager
    def stalled(self):
        """Takes requests and answers none."""
        self.answers.clear()
        try:
            yield
        finally:
            self.answers.set()

    @contextmanager
    def away(self):
        """Nobody listens there."""
        self.stop()
        try:
            yield
        finally:
            self.start()
