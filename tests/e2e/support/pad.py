"""Somebody at the Socket.IO doors, through the official clients, Python's and JavaScript's, or in plain frames."""

import json
import queue
import subprocess
import threading
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from urllib.parse import urlencode

import engineio
import socketio
from socketio.exceptions import ConnectionError as Refused
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from .deadline import PATIENCE, eventually

TRANSPORTS = {"websocket": ["websocket"], "polling": ["polling"], "both": None}
# Every client by every way.
CLIENTS = [f"{client}-{transports}" for client in ("python", "js") for transports in TRANSPORTS]
# The variant of couriers without the library.
RAW = "raw"
JS = Path(__file__).parent.parent / "js"


def pad(node, client, user=None, auth=None, reconnection=False, **query):
    """A client of CLIENTS, or RAW. With `reconnection` it comes back by the library's own logic."""
    library, _, transports = client.partition("-")
    query = {key: value for key, value in ({"user_id": user} | query).items() if value is not None}
    transports = TRANSPORTS.get(transports)
    options = query, transports, auth, reconnection
    return {"python": Python, "js": Js, RAW: Raw}[library](f"{node.host}:{node.port}", *options)


class Pad:
    """What the clients have in common: `come`, `emit`, `ask`, `leave`, `end` are theirs."""

    def __init__(self):
        self.heard = queue.Queue()
        # Who else came and went: told in between everything else.
        self.presence = []
        self.closed = threading.Event()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def hear(self, event, body):
        if event in ("user_online", "user_offline"):
            self.presence.append((event, body))
        else:
            self.heard.put((event, body))

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


class InOrder(engineio.Client):
    """The library gives every message a thread of its own, and these overtake one another."""

    def _trigger_event(self, event, *arguments, run_async=False, **options):
        return super()._trigger_event(event, *arguments, **options)


class PythonClient(socketio.Client):
    def _engineio_client_class(self):
        return InOrder


class Python(Pad):
    def __init__(self, address, query, transports, auth, reconnection):
        super().__init__()
        self.client = PythonClient(
            reconnection=reconnection, reconnection_delay=0.1, reconnection_delay_max=0.5, request_timeout=PATIENCE
        )
        self.client.on("*", lambda event, body=None: self.hear(event, body))
        self.client.on("disconnect", lambda *_: self.closed.set())
        self.url = f"http://{address}?{urlencode(query)}"
        self.options = {"transports": transports, "auth": auth, "wait_timeout": PATIENCE}
        self.come()

    def come(self):
        self.closed.clear()
        self.client.connect(self.url, **self.options)

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
        # The library throws its goodbye away when it is busy writing, and then waits for the next ping.
        eio = self.client.eio
        writing = eio.queue.not_empty
        # On a busy machine it gives writing up by itself, after a while in which it had nothing to say.
        gave_up = lambda: not (eio.write_loop_task and eio.write_loop_task.is_alive())
        done = lambda: not self.connected or writing._waiters or gave_up()
        eventually(done, "the client has written all it had", every=0.002)
        self.client.disconnect()

    def end(self):
        self.leave()
        self.client.shutdown()


class Js(Pad):
    def __init__(self, address, query, transports, auth, reconnection):
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
            ["node", "pad.js", f"http://{address}", json.dumps(options)],
            cwd=JS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self._await_open()

    def _await_open(self):
        self.opened.wait(PATIENCE)
        if not self.connected:
            self.end()
            raise Refused(self.answers["refused"].get(timeout=1))

    def _read(self):
        for line in self.process.stdout:
            said = json.loads(line)
            body = said.get("body")
            match said.get("own"):
                case None:
                    self.hear(said["event"], body)
                case "connected":
                    self.connected = True
                    self.opened.set()
                case "disconnected":
                    self.connected = False
                    self.closed.set()
                case own:
                    self.answers[own].put(body)
                    if own == "refused":
                        self.opened.set()

    def _say(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    @property
    def transport(self):
        self._say(do="transport")
        return self.answers["transport"].get(timeout=PATIENCE)

    def emit(self, event, body):
        self._say(event=event, body=body)

    def ask(self, event, body):
        number = next(self.numbers)
        self._say(event=event, body=body, number=number)
        assert self.answers["done"].get(timeout=PATIENCE) == number

    def come(self):
        self.opened.clear()
        self.closed.clear()
        self._say(do="come")
        self._await_open()

    def leave(self):
        self._say(do="leave")
        assert self.closed.wait(PATIENCE)

    def end(self):
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.wait(PATIENCE)


class Raw(Pad):
    """`{"event":…,"data":…}`, by the `websockets` package. A token goes into the handshake."""

    def __init__(self, address, query, transports, auth, reconnection):
        super().__init__()
        assert transports is None and not reconnection, "there is one way only, and no logic"
        self.url = f"ws://{address}/?{urlencode(query)}"
        self.headers = {"Authorization": f"Bearer {auth['token']}"} if auth else {}
        # Frames as they were written, to see that nothing was put differently.
        self.frames = []
        self.code = None
        self.resources = ExitStack()
        self.come()

    def come(self):
        opening = connect(
            self.url,
            proxy=None,
            additional_headers=self.headers,
            open_timeout=PATIENCE,
            ping_interval=None,
            max_size=None,
            max_queue=None,
        )
        self.socket = self.resources.enter_context(opening)
        self.closed.clear()
        threading.Thread(target=self._read, args=(self.socket,), daemon=True).start()

    def _read(self, socket):
        try:
            for text in socket:
                self.frames.append(text)
                said = json.loads(text)
                assert set(said) == {"event", "data"}, said
                self.hear(said["event"], said["data"])
        except ConnectionClosed as closed:
            self.code = closed.rcvd.code if closed.rcvd else None
        finally:
            self.closed.set()

    @property
    def connected(self):
        return not self.closed.is_set()

    @property
    def transport(self):
        return "websocket"

    def emit(self, event, body):
        self.emit_raw(json.dumps({"event": event, "data": body}))

    def emit_raw(self, frame):
        self.socket.send(frame)

    def leave(self):
        self.resources.close()
        assert self.closed.wait(PATIENCE)

    end = leave
