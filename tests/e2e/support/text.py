"""Shared text at the Yjs door: editors with the official provider, and what Yjs alone makes of updates."""

import json
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from itertools import count
from urllib.parse import quote, urlencode

from .deadline import PATIENCE, eventually
from .pad import JS

# How long a provider waits at most before it tries again, in milliseconds.
BACKOFF = 300


def way(session, **query):
    """Path and query of the door."""
    query = {key: value for key, value in query.items() if value is not None}
    return f"/yjs/{quote(session, safe='')}" + (f"?{urlencode(query)}" if query else "")


def insert(at, text):
    return {"at": at, "insert": text}


def remove(at, count):
    return {"at": at, "remove": count}


def replace(at, count, text):
    return {"at": at, "remove": count, "insert": text}


def units(text):
    """How long JavaScript thinks that a text is."""
    return len(text.encode("utf-16-le")) // 2


def least(old, new):
    """The one change between what two texts begin and end with alike; characters stay whole."""
    begin = end = 0
    while begin < min(len(old), len(new)) and old[begin] == new[begin]:
        begin += 1
    while end < min(len(old), len(new)) - begin and old[-1 - end] == new[-1 - end]:
        end += 1
    return replace(units(old[:begin]), units(old[begin : len(old) - end]), new[begin : len(new) - end])


class Yjs:
    """A process of JavaScript that has any number of editors. It may be asked by several threads."""

    def __init__(self):
        self.names = count()
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            ["node", "yjs.js"], cwd=JS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(PATIENCE)

    def ask(self, do, **command):
        with self.lock:
            self.process.stdin.write(json.dumps({"do": do} | command) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        assert line, f"yjs.js ended with {self.process.wait(PATIENCE)}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    @contextmanager
    def editors(self):
        """Opens editors, `open(node, session, user)`, and ends them."""
        with ExitStack() as stack:
            yield lambda *arguments, **options: stack.enter_context(Editor(self, *arguments, **options))

    def read(self, *updates):
        """What Yjs alone makes of updates: text, state, vector, and whether something is missing."""
        return self.ask("read", updates=updates)

    def merge(self, *updates):
        return self.ask("merge", updates=updates)

    def write(self, client, *changes, base=()):
        """What a client writes who has exactly the updates of `base`; see yjs.js."""
        return self.ask("write", client=client, base=base, changes=changes)

    def type(self, client, *changes, base=()):
        """The same, as one update for each change."""
        return self.ask("type", client=client, base=base, changes=changes)

    def outline(self, update):
        return self.ask("outline", update=update)

    def merged(self, old, *texts):
        """What `old` may become when each of two made its own text of it: who comes first where both wrote at the same
        place depends on their ids."""
        base = self.write(1, insert(0, old))["state"]

        def text(*clients):
            updates = [self.write(one, least(old, new), base=[base])["update"] for one, new in zip(clients, texts)]
            return self.read(base, *updates)["text"]

        return {text(2, 3), text(3, 2)}


class Editor:
    """One document and its connection. It comes back by the provider's own logic."""

    def __init__(self, program, node, session, user=None, name=None, token=None, client=None, connect=True, **headers):
        """With `client`, that is its client id; `connect=False` begins without a connection."""
        self.program = program
        self.session = session
        self.user = user
        self.of = next(program.names)
        self.ended = False
        query = {"user_id": user, "username": name, "token": token}
        options = {
            "url": door(node),
            "room": quote(session, safe=""),
            "params": {key: value for key, value in query.items() if value is not None},
            "headers": headers,
            "backoff": BACKOFF,
            "connect": connect,
        }
        self.client = self.ask("open", **options, **({} if client is None else {"client": client}))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def ask(self, do, **command):
        return self.program.ask(do, of=self.of, **command)

    # Its text

    @property
    def text(self):
        return self.ask("text")

    @property
    def state(self):
        """All it has, as one update."""
        return self.ask("describe")["state"]

    def change(self, *changes):
        """In one transaction; returns how many clocks of its own there are now."""
        return self.ask("change", changes=changes)

    def insert(self, at, text):
        return self.change(insert(at, text))

    def remove(self, at, count):
        return self.change(remove(at, count))

    def append(self, text):
        return self.ask("append", text=text)

    def has(self, text):
        """Waits until this is the text."""
        try:
            eventually(lambda: self.text == text, f"{self.user} has {text!r}")
        except AssertionError as late:
            late.add_note(f"but {self.text!r}, {self.status}")
            raise
        return self

    # Its connection

    @property
    def status(self):
        return self.ask("look")

    def look(self, what):
        return self.status[what]

    def is_synced(self):
        """Waits until it has heard what there is."""
        eventually(lambda: self.look("synced"), f"{self.user} is synced")
        return self

    def is_saved(self):
        """Waits until the node has said that it keeps all this editor wrote."""

        def saved():
            status = self.status
            return status["saved"] >= status["clock"]

        eventually(saved, f"{self.user} is saved")
        return self

    def closed(self):
        """Waits until it was told not to come back; code and reason."""
        return eventually(lambda: self.look("closed"), f"{self.user} is told not to come back")

    def connect(self, node=None):
        """Perhaps to another node."""
        if node:
            self.ask("move", url=door(node))
        self.ask("connect")

    def disconnect(self):
        """It says goodbye, and stays away."""
        self.ask("disconnect")

    def drop(self):
        self.ask("drop")

    def end(self):
        if not self.ended:
            self.ask("end")
            self.ended = True

    # Who is there

    def show(self, **fields):
        """In its own awareness."""
        self.ask("show", fields=fields)

    def point(self, anchor, head=None, field="cursor"):
        self.ask("point", anchor=anchor, head=anchor if head is None else head, field=field)

    def others(self):
        """What the others show, by client ids."""
        return {one["client"]: one["state"] for one in self.ask("awareness") if one["client"] != self.client}

    def sees(self, other):
        return other.client in self.others()

    def cursor_of(self, name):
        """Where somebody of this name points to in this editor's text: (anchor, head); None: nowhere."""
        for one in self.ask("cursors"):
            if (one["user"] or {}).get("name") == name and one["at"]:
                return one["at"]["anchor"], one["at"]["head"]
        return None


def door(node):
    return f"ws://{node.host}:{node.port}/yjs"


def agree(text, *editors):
    """Waits until all have this text."""
    for editor in editors:
        editor.has(text)


def agreed(*editors):
    """Waits until all have the same text, and returns it."""
    texts = lambda: {editor.text for editor in editors}
    eventually(lambda: len(texts()) == 1, "all have the same text")
    return texts().pop()
