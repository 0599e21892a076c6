"""Many edit one text at random, by Yjs and by whole texts, on three nodes on which everything goes wrong in between: in
the end all have the same text, it is what Yjs alone makes of what is stored, and nothing is lost that was promised.

Every change brings a character of its own. It is promised when its writer was told so: an editor by hearing that the
node has its clocks, a pairing user by an ack. What was promised must be in the text once, unless somebody's change took
it away. A whole text without its version replaces everything, so what it takes away is not known; such changes are in a
session of their own, where nobody is promised anything but the same text as everybody."""

import os
import random
import signal
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from support import text_record
from support.peer import unique
from support.proxy import Proxy
from support.text import Yjs
from support.text_crowd import Account, Scribe, Typist, all_agree, all_done

NAMES = ["north", "east", "south"]
# Steps between faults, and while one lasts; each is one change by somebody, who pauses as long as people hardly do.
CALM, ROUGH = 60, 100
PAUSE = 0.01


@pytest.fixture(scope="module")
def seed():
    return int(os.environ.get("TEXT_SEED") or time.time())


class World:
    """Three nodes, their Redis, and the ways to both."""

    def __init__(self, children):
        self.redis = children.redis(durable=True)
        self.links = [Proxy(self.redis.port) for _ in NAMES]
        urls = [f"redis://127.0.0.1:{link.port}/0" for link in self.links]
        settings = {"LEAVE_GRACE": 0.5, "COMMAND_TIMEOUT": 1, "BEAT_INTERVAL": 0.5}
        self.nodes = [children.node(name, REDIS_URL=url, **settings) for name, url in zip(NAMES, urls)]
        self.doors = [Proxy(node.port) for node in self.nodes]
        # Clients that know only these.
        self.ways = [SimpleNamespace(host="127.0.0.1", port=door.port) for door in self.doors]

    def faults(self, dice):
        """What begins, and what ends it; in the order of the dice."""
        number, link, door = dice.randrange(len(self.nodes)), dice.choice(self.links), dice.choice(self.doors)
        faults = {
            "a node is killed and replaced": (lambda: self.kill(number), lambda: self.replace(number)),
            "connections are cut": (door.cut, door.mend),
            "a node has no Redis": (link.cut, link.mend),
            "Redis starts anew with its data": (self.redis.stop, self.redis.start),
        }
        return dice.sample(sorted(faults.items()), len(faults))

    def kill(self, number):
        self.nodes[number].signal(signal.SIGKILL)
        # Nobody is to wait at the door for a node that is not there.
        self.doors[number].cut()

    def replace(self, number):
        self.nodes[number].process.wait()
        self.nodes[number].start()
        self.doors[number].mend()

    def close(self):
        for way in (*self.links, *self.doors):
            way.close()


# With versions, and where some say none; there, some editors' lines end in their own way.
WITH_VERSIONS = [{"late": True}, {"ends": "\r\n"}, {"late": True, "ends": "\r\n"}]
WITHOUT = [{"versions": False}, {"late": True}]


class Table:
    """A session and its crowd."""

    def __init__(self, world, seed, edit, session, versions):
        dice = lambda name: random.Random(f"{seed} {versions} {name}")
        self.session, self.account, self.dice = session, Account(), dice("table")
        self.scribes, self.typists = [], []
        for number, way in enumerate([*world.ways, world.ways[0]]):
            editor = edit(way, session, f"scribe-{number}").is_synced()
            ends = "\n" if versions or number % 2 else "\r\n"
            self.scribes.append(Scribe(editor, self.account, dice(editor.user), ends))
        for number, kind in enumerate(WITH_VERSIONS if versions else WITHOUT):
            user = f"typist-{number}"
            self.typists.append(Typist(world.ways, session, user, self.account, dice(user), **kind))

    @property
    def crowd(self):
        return [*self.scribes, *self.typists]

    def step(self):
        """Somebody changes something; now and then a lot."""
        one = self.dice.choice(self.crowd)
        one.edit(paste=self.dice.random() < 0.007)
        for scribe in self.scribes:
            scribe.look()
        for typist in self.typists:
            typist.listen()


def play(world, dice, tables):
    """Everything goes wrong, one thing after another, and nobody stops typing."""

    def steps(count):
        for _ in range(count):
            for table in tables:
                table.step()
            # What comes meanwhile is heard.
            dice.choice(tables).typists[0].listen(PAUSE)

    steps(CALM)
    for name, (begin, end) in world.faults(dice):
        print(name)
        begin()
        steps(ROUGH)
        end()
        steps(CALM)


def converged(world, table, yjs):
    """Waits until everybody has the same text; what there was to it."""
    by_node = {node.name: lambda node=node: node.state(table.session)["code"] for node in world.nodes}
    stored = lambda: yjs.read(*text_record.stored(world.redis, table.session))
    text = all_agree(table.crowd, stored=lambda: stored()["text"], **by_node)
    assert not stored()["pending"]
    # Which no half of a pair can be.
    assert text.encode("utf-8")
    kept, written = len(table.account.kept), len(table.account.written)
    return f"{len(text)} characters, {kept} of {written} kept, {[typist.outcomes for typist in table.typists]}"


def fate(world, table, yjs, token):
    return text_record.fate(yjs, world.redis, table.session, token)


def test_all_have_the_same_text_and_nothing_promised_is_lost(own_children, seed):
    """A fault of any kind parts somebody from the others for ever, or costs a change that was acknowledged."""
    print(f"TEXT_SEED={seed}")
    dice = random.Random(seed)
    world = World(own_children)
    with ExitStack() as stack:
        stack.callback(world.close)
        yjs = stack.enter_context(Yjs())
        edit = stack.enter_context(yjs.editors())
        tables = [Table(world, seed, edit, unique("text"), versions) for versions in (True, False)]
        for table in tables:
            for typist in table.typists:
                stack.callback(typist.leave)
        play(world, dice, tables)
        for table in tables:
            all_done(table.crowd)
        for table in tables:
            print(converged(world, table, yjs))
        promised = tables[0].account
        lost = promised.check(tables[0].scribes[0].text)
        assert lost == [], [(promised.written[token], fate(world, tables[0], yjs, token)) for token in lost]
        # Otherwise nothing was tested.
        assert len(promised.kept) > 50
        assert all(typist.outcomes["taken"] > 10 for typist in tables[0].typists)
