"""People who edit one text at random, in two ways, and an account of what they were promised."""

import json
import time
from collections import deque
from contextlib import suppress

from websockets.exceptions import ConnectionClosed, InvalidHandshake

from .deadline import eventually
from .peer import Peer, unique
from .text import units

# Every insertion brings one character of its own, of these; a character is written, moved and deleted as a whole.
TOKENS = range(0x4E00, 0x9FFF)
# What is written beside it.
PIECES = [
    "x = 1\n",
    "🎉",
    "👩‍🚀",
    "e\u0301",
    "🇩🇪",
    "\t",
    "\n",
    " ",
    "한\u0303",
    "\U0001fa42",
    "def f():\n    pass\n",
    "",
]
PASTE = 50_000
# Whoever finds more than this deletes a good part of it.
MOST = 150_000
# After the last fault.
SETTLED_WITHIN = 15
# Whose change met others' is told the text that came of it, but not if it is the one that was sent; it asks then.
SAME = 1
# The texts that somebody may still have who is late.
LATE = 6


class Account:
    """What was written, what was promised to be kept, and what somebody took away."""

    def __init__(self):
        self.unused = iter(TOKENS)
        # Each token, and who wrote it.
        self.written = {}
        self.promised, self.removed = set(), set()
        # What whom was told to be the text of a version.
        self.told, self.parted = {}, []

    def piece(self, writer, paste):
        """A token and something to write with it."""
        token, dice = chr(next(self.unused)), writer.dice
        self.written[token] = writer.name
        rest = "".join(dice.choice(PIECES) for _ in range(dice.randrange(4)))
        if paste:
            rest = "".join(dice.choices("pasted text 🎉\n", k=PASTE))
        return token, (token + rest).replace("\n", writer.ends)

    def take(self, text):
        self.removed.update(token for token in text if ord(token) in TOKENS)

    @property
    def kept(self):
        """What must be there in the end."""
        return self.promised - self.removed

    def check(self, text):
        """A version has one text, and what was written is nowhere twice; returns what was promised, not removed, and is
        lost all the same."""
        assert self.parted == [], "a version, and who was told which text of it"
        counts = {token: text.count(token) for token in self.written}
        assert {token: self.written[token] for token, number in counts.items() if number > 1} == {}, "there twice"
        return [token for token in sorted(self.kept) if not counts[token]]

    def saw(self, version, text, who):
        """A version has one text, whoever is told of it and however."""
        known, by = self.told.setdefault(version, (text, who))
        if known != text:
            self.parted.append((version, by, len(known), who, len(text)))


def much(dice, text, paste):
    """How much somebody deletes who writes this."""
    if units(text) > MOST:
        return PASTE
    return 0 if paste else dice.choice((0, 0, 0, 1, 2, 5, 20))


class Scribe:
    """At an editor of JavaScript. A token is promised when the node says that it has the clocks."""

    def __init__(self, editor, account, dice, ends="\n"):
        self.editor, self.account, self.dice, self.ends = editor, account, dice, ends
        self.unsaved = deque()

    def edit(self, paste=False):
        token, piece = self.account.piece(self, paste)
        remove = much(self.dice, self.text, paste)
        done = self.editor.ask("scribble", where=self.dice.random(), remove=remove, insert=piece)
        self.account.take(done["removed"])
        self.unsaved.append((done["clock"], token))

    def look(self):
        saved = self.editor.look("saved")
        while self.unsaved and self.unsaved[0][0] <= saved:
            self.account.promised.add(self.unsaved.popleft()[1])

    @property
    def name(self):
        return self.editor.user

    def is_done(self):
        """All it wrote is kept: what is unsaved is said again until it is."""
        self.look()
        return not self.unsaved and self.editor.look("connected")

    @property
    def text(self):
        return self.editor.text


class Typist:
    """At the pairing door: one change at a time, said again with the same id until it is answered."""

    def __init__(self, nodes, session, name, account, dice, late=False, ends="\n", versions=True):
        self.nodes, self.session, self.name, self.account, self.dice = nodes, session, name, account, dice
        self.late, self.ends, self.versions = late, ends, versions
        self.peer = None
        self.text, self.version, self.seq, self.former = "", 0, 0, deque(maxlen=LATE)
        # The change on its way, and the version whose text it waits for before it goes on, and since when.
        self.change = self.owed = None
        # It was told to try again.
        self.again = False
        self.outcomes = {"taken": 0, "late": 0, "version_gone": 0, "again": 0, "asked": 0}
        self.come()

    def come(self):
        """To any node, if one is there."""
        if self.peer:
            self.peer.resources.close()
        self.peer = None
        with suppress(OSError, InvalidHandshake, ConnectionClosed, TimeoutError):
            self.peer = Peer(self.dice.choice(self.nodes), self.session, self.name)
            self.know(self.peer.greeting["code"], self.peer.greeting["version"], "coming")
            self.owed, self.again = None, False
            if self.change:
                self.outcomes["again"] += 1
                self.say()

    def know(self, code, version, how, seq=0):
        if self.versions:
            self.account.saw(version, code, f"{self.name} {how}")
        self.former.append((self.version, self.text))
        self.text, self.version, self.seq = code, version, max(seq, self.seq)
        if self.owed and version >= self.owed[0]:
            self.owed = None

    def edit(self, paste=False):
        if self.change or self.owed or not self.peer:
            return
        version, text = self.version, self.text
        if self.late and self.former and self.dice.random() < 0.5:
            version, text = self.dice.choice(self.former)
            self.outcomes["late"] += version < self.version
        self.token, piece = self.account.piece(self, paste)
        at = self.dice.randrange(len(text) + 1)
        end = at + much(self.dice, text, paste)
        self.account.take(text[at:end])
        self.change = {"id": unique("change"), "code": text[:at] + piece + text[end:]}
        if self.versions:
            self.change["base_version"] = version
        with suppress(ConnectionClosed):
            self.say()

    def say(self):
        self.peer.send("code_change", **self.change)

    def listen(self, within=0.0):
        """Takes what has come; comes back if the connection is gone."""
        if not self.peer:
            self.come()
            return
        try:
            if self.again:
                self.again = False
                self.say()
            self.hear(json.loads(self.peer.socket.recv(timeout=within)))
            while True:
                self.hear(json.loads(self.peer.socket.recv(timeout=0)))
        except TimeoutError:
            if self.owed and time.monotonic() - self.owed[1] > SAME:
                self.outcomes["asked"] += 1
                self.come()
        except ConnectionClosed:
            self.come()

    def hear(self, frame):
        kind, mine = frame["type"], self.change and frame.get("id") == self.change["id"]
        if kind == "session_state":
            self.know(frame["code"], frame["version"], "anew")
        elif kind == "code_update" and self.versions and frame["version"] <= self.version:
            self.account.saw(frame["version"], frame["code"], f"{self.name} late")
        elif kind == "code_update":
            self.know(frame["code"], frame["version"], "told", frame.get("seq", 0))
        elif kind in ("code_ack", "ack") and mine:
            self.taken(frame)
        elif kind == "error" and mine:
            self.refused(frame)

    def taken(self, frame):
        self.outcomes["taken"] += 1
        self.account.promised.add(self.token)
        change, self.change = self.change, None
        code = change["code"].replace("\r\n", "\n")
        if not self.versions:
            # Its version is not said; what was heard may be newer.
            if frame["seq"] > self.seq:
                self.know(code, self.version, "taken", frame["seq"])
        elif frame["version"] == change["base_version"] + 1:
            if frame["version"] > self.version:
                self.know(code, frame["version"], "taken")
        elif frame["version"] > self.version:
            self.owed = frame["version"], time.monotonic()

    def refused(self, frame):
        if frame["code"] == "backplane_unavailable":
            self.again = True
            return
        assert frame["code"] == "version_gone", frame
        self.outcomes["version_gone"] += 1
        self.change = None

    def is_done(self):
        self.listen()
        return self.peer and not self.change and not self.owed

    def leave(self):
        if self.peer:
            self.peer.resources.close()


def all_done(crowd):
    """Waits until everybody is connected, and everything said has been answered."""
    late = lambda: [one.name for one in crowd if not one.is_done()]
    eventually(lambda: not late(), "everybody is done", within=SETTLED_WITHIN)


def all_agree(crowd, **others):
    """Waits until everybody has the same text, and whatever else tells of it by a call; returns the text."""

    def texts():
        for one in crowd:
            one.is_done()
        return {one.name: one.text for one in crowd} | {name: text() for name, text in others.items()}

    def same():
        found = set(texts().values())
        return found if len(found) == 1 else None

    try:
        return eventually(same, "everybody has the same text", within=SETTLED_WITHIN).pop()
    except AssertionError as late:
        for name, text in texts().items():
            late.add_note(f"{name}: {len(text)} characters, {hash(text):x}")
        raise
