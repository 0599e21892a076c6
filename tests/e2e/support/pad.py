"""Somebody in code rooms, through the official Socket.IO clients: Python's and JavaScript's."""

import json
import queue
import subprocess
import threading
from itertools import count
from pathlib import Path
from urllib.parse import urlencode

import socketio
from socketio.exceptions import ConnectionError as Refused

from .deadline import PATIENCE

TRANSPORTS = {"websocket": ["websocket"], "polling": ["polling"], "both": None}
# Every client by every way.
CLIENTS = [f"{client}-{transports}" for client in ("python", "js") for transports in TRANSPORTS]
JS = Path(__file__).parent.parent / "js"


def pad(node, client, user=None, auth=None, reconnection=False, **query):
    """A client of CLIENTS. With `reconnection` it comes back by the library's own logic."""
    library, transports = client.split("-")
    query = {key: value for key, value in ({"user_id": user} | query).items() if value is not None}
    url = f"http://{node.host}:{node.port}"
    return {"python": Python, "js": Js}[library](url, query, TRANSPORTS[transports], auth, reconnection)


class Pad:
    """What the clients have in common: `emit`, `ask`, `leave` are theirs."""

    def __init__(self):
        self.heard = queue.Queue()
        self.closed = threading.Event()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()

    def join(self, room):
        self.ask("join", {"room": room})

    def change(self, room, code):
        self.ask("change", {"room": room, "code": code})

    def next(self, event, within=PATIENCE):
        """The very next thing heard, which must be this event; its body."""
        try:
            name, body = self.heard.get(timeout=within)
        except queue.Empty:
            raise AssertionError(f"no {event} within {within} s") from None
        assert name == event, (name, body)
        return body

    def until_code(self, code):
        """Reads on until this text has come."""
        while self.next("receive") != {"type": "receive", "code": code}:
            pass

    def nothing_before_pong(self):
        """Whether nothing lies between now and the answer to a ping."""
        self.emit("ping", {})
        return set(self.next("pong")) == {"timestamp"}


class Python(Pad):
    def __init__(self, url, query, transports, auth, reconnection):
        super().__init__()
        self.client = socketio.Client(
            reconnection=reconnection, reconnection_delay=0.1, reconnection_delay_max=0.5, request_timeout=PATIENCE
        )
        for event in ("receive", "error", "pong"):
            self.client.on(event, lambda body, event=event: self.heard.put((event, body)))
        self.client.on("disconnect", lambda *_: self.closed.set())
        url = f"{url}?{urlencode(query)}"
        self.client.connect(url, transports=transports, auth=auth, wait_timeout=PATIENCE)

    @property
    def connected(self):
        return self.client.connected

    @property
    def transport(self):
        return self.client.transport()

    def emit(self, event, body):
        self.client.emit(event, body)

    def ask(self, event, body):
        """Says it, and returns when it was carried out."""
        return self.client.call(event, body, timeout=PATIENCE)

    def leave(self):
        self.client.disconnect()
        self.client.shutdown()


class Js(Pad):
    def __init__(self, url, query, transports, auth, reconnection):
        super().__init__()
        options = {
            "query": query,
            "auth": auth or {},
            "reconnection": reconnection,
            "reconnectionDelay": 100,
            "reconnectionDelayMax": 500,
        } | ({"transports": transports} if transports else {})
        self.numbers = count()
        self.answers = {"done": queue.Queue(), "transport": queue.Queue(), "refused": queue.Queue()}
        self.connected = False
        self.opened = threading.Event()
        self.process = subprocess.Popen(
            ["node", "pad.js", url, json.dumps(options)],
            cwd=JS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.opened.wait(PATIENCE)
        if not self.connected:
            self.leave()
            raise Refused(self.answers["refused"].get(timeout=1))

    def _read(self):
        for line in self.process.stdout:
            said = json.loads(line)
            event, body = said["event"], said.get("body")
            if event == "connected":
                self.connected = True
                self.opened.set()
            elif event == "disconnected":
                self.connected = False
                self.closed.set()
            elif event in self.answers:
                self.answers[event].put(body)
                if event == "refused":
                    self.opened.set()
            else:
                self.heard.put((event, body))

    def _say(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    @property
    def transport(self):
        self._say(event="transport")
        return self.answers["transport"].get(timeout=PATIENCE)

    def emit(self, event, body):
        self._say(event=event, body=body)

    def ask(self, event, body):
        number = next(self.numbers)
        self._say(event=event, body=body, number=number)
        assert self.answers["done"].get(timeout=PATIENCE) == number

    def leave(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
