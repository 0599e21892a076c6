"""What comes to the Yjs door and is no editor's: it costs its sender the socket, and nobody else anything."""

import os
import random
import socket
import threading
import time
from contextlib import ExitStack, suppress
from types import SimpleNamespace

import pytest

from support import text_forgery as forgery
from support import text_wire as wire
from support.deadline import eventually
from support.http import assert_problem
from support.peer import Peer, unique
from support.raw import BINARY, RawSocket, turned_away
from support.text import Yjs, agree, insert, remove, way
from support.text_wire import AWARENESS, STEP_1, UPDATE, Wire

MIB = 1 << 20
# What a node may need beside what it holds, with the allocator's own.
ROOM = 48 * MIB
BAD, BINARY_ONLY, TOO_LARGE = 4400, 1003, 1009
RATE, BURST = 50, 100


@pytest.fixture(scope="module")
def node(children):
    return children.node("alone", LEAVE_GRACE=0.2)


@pytest.fixture(scope="module")
def yjs():
    with Yjs() as program:
        yield program


@pytest.fixture
def edit(yjs):
    with yjs.editors() as edit:
        yield edit


@pytest.fixture(scope="module")
def neighbours(yjs, node):
    """An editor and a pairing user who go on typing, whatever the others do."""
    session = unique("neighbours")
    with yjs.editors() as edit, Peer(node, session, "bob") as bob, Wire(node, session, "cat") as cat:
        ann = edit(node, session, "ann").is_synced()
        yield SimpleNamespace(session=session, ann=ann, bob=bob, cat=cat, text="")


@pytest.fixture(autouse=True)
def unharmed(node, neighbours):
    """Around every test: the neighbours go on, nobody wrote but they, and the node's memory is what it was."""
    before = node.resident_bytes()
    yield
    ann, bob = neighbours.ann, neighbours.bob
    ann.insert(0, "🎉")
    neighbours.text = f"🎉{neighbours.text}"
    bob.until(lambda frame: frame.get("code") == neighbours.text)
    version = node.state(neighbours.session)["version"]
    neighbours.text += "x"
    assert bob.ask("code_change", code=neighbours.text, base_version=version)["type"] == "code_ack"
    agree(neighbours.text, ann)
    status = ann.status
    assert (status["connected"], status["opened"], status["closes"]) == (True, 1, [])
    grown = node.resident_bytes() - before
    assert grown < ROOM, f"{grown / MIB:.0f} MiB more"


def ended(node, session, *frames):
    """How the node closes on who sends these."""
    with Wire(node, session, unique("mallory")) as mallory:
        mallory.throw(*frames)
        return mallory.close_code()


# Frames


@pytest.mark.parametrize("case", forgery.MALFORMED)
def test_what_no_client_writes_ends_the_socket(node, neighbours, case):
    """A frame makes the node allocate what it claims, takes its stack, or is stored and breaks every reader."""
    assert ended(node, neighbours.session, forgery.MALFORMED[case]) == BAD


def test_an_update_cut_anywhere_ends_the_socket(node, session, yjs):
    """A frame that lost its end is taken for a shorter one."""
    base = yjs.write(7, insert(0, "one two 🎉"))["state"]
    update = yjs.write(8, remove(1, 2), insert(3, "three"), base=[base])["update"]
    whole = wire.b64decode(update)
    for length in range(len(whole)):
        with Wire(node, session, "ann") as ann:
            ann.throw(wire.update(base), UPDATE + wire.blob(whole[:length]))
            assert ann.close_code() == BAD, length
    with Wire(node, session, "ann") as ann:
        ann.send(wire.update(base), UPDATE + wire.blob(whole))
        ann.until_kind(UPDATE)
        eventually(lambda: node.state(session)["code"] == yjs.read(base, update)["text"], "the whole one is taken")


def test_a_text_frame_ends_the_socket(node, neighbours):
    """JSON at the wrong door is guessed at."""
    assert ended(node, neighbours.session, '{"type":"ping"}') == BINARY_ONLY


def test_a_frame_larger_than_allowed_ends_the_socket(node, neighbours):
    """A frame of a gigabyte is read to its end."""
    assert ended(node, neighbours.session, UPDATE + b"\0" * MIB) == TOO_LARGE
    with RawSocket(node, way(neighbours.session, user_id="mallory")) as raw:
        raw.send_frame(BINARY, b"\0\2", claimed=1 << 40)
        assert raw.closing() == TOO_LARGE


def test_a_text_larger_than_allowed_ends_the_socket(children, session, yjs, edit):
    """Many small updates make a text that no node can hold."""
    most, piece = 50_000, 9_000
    node = children.node("small", MAX_DOCUMENT_LENGTH=most)
    ann = edit(node, session, "ann").is_synced()
    updates = yjs.type(7, *(insert(0, "x" * piece) for _ in range(20)))
    with Wire(node, session, "mallory") as mallory:
        mallory.throw(*(wire.update(update) for update in updates))
        assert mallory.close_code() == TOO_LARGE
    # Of what was not acknowledged some may be there.
    code = node.state(session)["code"]
    assert len(code) <= most and len(code) % piece == 0
    ann.has(code)
    # It can be made shorter, and goes on.
    ann.remove(0, len(code))
    ann.insert(0, "x = 1")
    eventually(lambda: node.state(session)["code"] == "x = 1", "the text goes on")


@pytest.mark.parametrize("path,status", [("/yjs/", 404), ("/yjs/a%2Fb", 400), ("/yjs/..", 400), ("/yjs/%2e%2e", 400)])
def test_a_session_of_no_name_is_refused(node, path, status):
    """A path leads somewhere else."""
    assert turned_away(node, f"{path}?user_id=ann").status == status


def test_a_visitor_without_an_upgrade_is_told_of_it(node, session):
    """A browser's address bar gets an empty answer."""
    assert_problem(node.get(way(session, user_id="ann")), 426)


# Well-formed, and not right


def test_what_builds_on_nothing_is_asked_for(node, session, yjs, edit):
    """An update whose beginning was lost waits for ever, unseen; or its socket is closed, though it can help."""
    ann = edit(node, session, "ann").is_synced()
    first, second, third = yjs.type(7, insert(0, "one"), insert(3, " two"), insert(7, " three"))
    with Wire(node, session, "bob") as bob:
        bob.expect(STEP_1)
        for update in (second, third, yjs.write(8, remove(0, 3), base=[first])["update"]):
            bob.send(wire.update(update))
            assert bob.until_kind(STEP_1) == wire.EMPTY_VECTOR
        assert node.state(session)["code"] == ""
        # As a client answers.
        bob.send(wire.step_2(yjs.merge(first, second, third)))
        ann.has("one two three")
        bob.send(wire.update(yjs.write(8, insert(13, "!"), base=[first, second, third])["update"]))
        ann.has("one two three!")


FORGED = {
    "a struct behind what is not there": forgery.written(forgery.behind(99, 5)),
    "a struct behind itself": forgery.written(forgery.behind(7, 0)),
    "a struct behind what comes later": forgery.written(forgery.behind(7, 5), forgery.text(b"xxxxxxxx")),
    "a gap before it": forgery.written(forgery.text(), clock=5),
    "a gap within": forgery.written(forgery.text(), bytes([forgery.SKIP]) + wire.number(3), forgery.text()),
    "a deletion of what is not there": forgery.written(forgery.text(), deletions=forgery.deleted((100, 5), client=99)),
    "only a deletion of what is not there": b"\0" + forgery.deleted((100, 5), client=99),
    "garbage of two billion": forgery.written(bytes([forgery.GC]) + wire.number((1 << 31) - 1)),
    "deleted text of two billion": forgery.written(forgery.struct(forgery.DELETED, wire.number((1 << 31) - 1))),
    "deleted text without a place": forgery.written(forgery.struct(forgery.DELETED, wire.number(3))),
}


@pytest.mark.parametrize("case", FORGED)
def test_what_is_written_right_and_makes_no_sense_harms_nobody(node, session, yjs, edit, case):
    """An update that no editor made parts the node from its editors."""
    ann = edit(node, session, "ann").is_synced()
    ann.insert(0, "x = 1")
    ann.is_saved()
    with Wire(node, session, "mallory") as mallory:
        mallory.throw(forgery.update(FORGED[case]), wire.step_1())
        mallory.close_or(lambda heard: heard.kind == wire.STEP_2)
    bob = edit(node, session, "bob").is_synced()
    bob.append("2")
    eventually(lambda: ann.text == bob.text == node.state(session)["code"], "all have one text")
    assert ann.text.endswith("x = 12")
    assert not yjs.read(ann.state)["pending"]


def test_bits_that_fell_over_part_nobody(node, yjs):
    """A frame that is nearly right is stored, and the node and its editors read it differently."""
    seed = int(os.environ.get("TEXT_SEED") or time.time())
    print(f"TEXT_SEED={seed}")
    dice = random.Random(seed)
    base = yjs.write(7, insert(0, "one two 🎉 three"))["state"]
    right = wire.update(yjs.write(8, insert(3, "🎉é\n"), remove(0, 1), insert(4, "y"), base=[base])["update"])
    last = yjs.write(9, insert(0, "|"), base=[base])["update"]
    is_last = lambda heard: heard.kind == UPDATE and 9 in [one[0] for one in yjs.outline(packed(heard.body))["adds"]]
    taken = refused = 0
    for _ in range(150):
        frame = bytearray(right)
        for _ in range(dice.choice((1, 1, 2, 4))):
            frame[dice.randrange(len(frame))] ^= 1 << dice.randrange(8)
        session = unique("bits")
        with Wire(node, session, "ann") as ann:
            ann.throw(wire.update(base), bytes(frame), wire.update(last))
            code = ann.close_or(is_last)
            assert code in (None, BAD), (code, frame.hex())
            refused += code == BAD
            if code is None:
                taken += 1
                read = yjs.read(*(packed(heard.body) for heard in ann.heard if heard.kind == UPDATE))
                assert not read["pending"], frame.hex()
                assert node.state(session)["code"] == read["text"], frame.hex()
    assert taken > 10 and refused > 10, (taken, refused)


def packed(body):
    return wire.b64encode(body).decode()


def test_nobody_speaks_for_another(node, session, yjs, speak):
    """Who is malicious moves others' cursors, or has them vanish."""
    ann, mallory, watcher = (speak(node, session, user) for user in ("ann", "mallory", "watcher"))
    hers = (7, 5, '{"user":{"name":"Ann"}}')
    ann.send(wire.awareness(hers))
    watcher.hears_of(hers)
    mallory.send(wire.awareness((7, 9, '{"user":{"name":"Mallory"}}')), wire.awareness((7, 9, "null")))
    mallory.send(wire.awareness((8, 1, "{}")))
    told = watcher.until(lambda heard: heard.kind == AWARENESS and b"{}" in heard.body)
    # Hers may be told twice: to who comes, and when it is new.
    assert {entry for heard in told for entry in wire.entries(heard.body)} <= {hers, (8, 1, "{}")}
    ann.send(wire.awareness((7, 6, '{"user":{"name":"Ann"}}')))
    watcher.hears_of((7, 6, '{"user":{"name":"Ann"}}'))


@pytest.fixture
def speak():
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(Wire(*arguments, **options))


def test_one_socket_cannot_be_a_crowd(node, session, speak):
    """A socket that shows ten thousand cursors fills every editor and the node."""
    watcher, mallory = speak(node, session, "watcher"), speak(node, session, "mallory")
    shown = '{"user":{"name":"x"}}'
    for first in range(1_000, 11_000, 100):
        mallory.throw(wire.awareness(*((client, 1, shown) for client in range(first, first + 100))))
    everybody = speak(node, session, "late").shown()
    assert len(everybody) <= 200, f"{len(everybody)} cursors of one socket"
    assert watcher.socket.protocol.state.name == "OPEN"


# Too fast


@pytest.fixture(scope="module")
def strict(children):
    """As in production."""
    return children.node("strict", MESSAGE_RATE=RATE, MESSAGE_BURST=BURST, BYTE_RATE=512 * 1024)


def test_an_editor_in_haste_loses_nothing(strict, session, edit):
    """A large paste in small pieces is refused in part, and the rest waits for what was refused."""
    ann, bob = edit(strict, session, "ann").is_synced(), edit(strict, session, "bob").is_synced()
    for number in range(400):
        ann.insert(0, f"{number % 10}")
    bob.has(ann.text)
    ann.is_saved()
    assert strict.state(session)["code"] == ann.text


def test_a_flood_is_slowed_down(strict, session, edit):
    """A client without limits has the node for itself."""
    ann = edit(strict, session, "ann").is_synced()
    answers = []
    with RawSocket(strict, way(session, user_id="mallory")) as mallory:
        threads = [threading.Thread(target=act, args=(mallory, answers)) for act in (ask_for_ever, count_answers)]
        for thread in threads:
            thread.start()
        began, slowest = time.monotonic(), 0.0
        while time.monotonic() - began < 4:
            asked = time.monotonic()
            ann.insert(0, "x")
            ann.is_saved()
            slowest = max(slowest, time.monotonic() - asked)
        answered, lasted = len(answers), time.monotonic() - began
        mallory.socket.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
    assert slowest < 1, f"{slowest:.2f} s"
    assert BURST < answered <= BURST + RATE * (lasted + 1), f"{answered} in {lasted:.1f} s"
    assert ann.look("opened") == 1


def ask_for_ever(raw, _):
    with suppress(OSError):
        while True:
            raw.send_frame(BINARY, wire.step_1())


def count_answers(raw, answers):
    with suppress(OSError, EOFError):
        while True:
            if raw.recv_frame().payload.startswith(wire.STEP_2):
                answers.append(time.monotonic())
