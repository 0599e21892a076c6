"""Pairing, code rooms, review and Yjs edit one text: each in its own way, and what is typed at once is merged."""

import re
import time
from contextlib import ExitStack, closing

import pytest

from support import shapes
from support import text_wire as wire
from support.deadline import eventually
from support.pad import pad
from support.peer import Peer, unique
from support.place import place_of
from support.proxy import Proxy
from support.recorded import state
from support.review import cast
from support.text import Yjs, agree, insert, remove, units
from support.text_wire import Wire

PLAIN = "python-websocket"
# How far what others read in Redis may be behind, and how long it may take on a busy machine to look.
BEHIND, SLACK = 1.0, 0.5


@pytest.fixture(scope="module")
def redis(children):
    return children.redis()


@pytest.fixture(scope="module")
def nodes(children, redis):
    return [children.node(name, REDIS_URL=redis.url, LEAVE_GRACE=0.5) for name in ("north", "south")]


@pytest.fixture(scope="module")
def alone(children):
    return children.node("alone", LEAVE_GRACE=0.5)


@pytest.fixture(scope="module", params=["tokens", "cluster"])
def place(request, children):
    return place_of(request.param, request, children)


@pytest.fixture
def people(place):
    return cast(place)


@pytest.fixture(scope="module")
def yjs():
    with Yjs() as program:
        yield program


@pytest.fixture
def edit(yjs):
    with yjs.editors() as edit:
        yield edit


@pytest.fixture
def visit():
    """Opens sockets at the pairing door by token."""
    with ExitStack() as stack:
        yield lambda node, session, who: stack.enter_context(Peer(node, session, token=who.token))


def told(peer, version):
    """The text of a version, as this peer is told it."""
    known = [frame for frame in peer.history if frame["type"] == "code_update" and frame["version"] == version]
    is_it = lambda frame: frame["type"] == "code_update" and frame["version"] == version
    return (known or peer.until(is_it))[-1]["code"]


# All doors


def test_everybody_types_into_one_text(place, people, edit, attend, visit):
    """Who comes by one door does not see what is typed at another, or it replaces what others typed."""
    host, editor = people.host, people.editor
    yjs = edit(place.north, people.session, token=host.token).is_synced()
    pairing = visit(place.south, people.session, editor)
    review = attend(place.north, people.session, host)
    with pad(place.south, PLAIN, auth=editor.auth) as room:
        room.join(people.session)
        yjs.insert(0, "one\n")
        pairing.until(lambda frame: frame.get("code") == "one\n")
        room.until_code("one\n")
        review.until(lambda frame: frame.get("code") == "one\n")
        assert pairing.ask("code_change", code="one\ntwo\n", base_version=1) == shapes.code_ack(2, id=shapes.STRING)
        yjs.has("one\ntwo\n")
        room.until_code("one\ntwo\n")
        review.until(lambda frame: frame.get("code") == "one\ntwo\n")
        room.change(people.session, "one\ntwo\nthree\n")
        yjs.has("one\ntwo\nthree\n")
        pairing.until(lambda frame: frame.get("code") == "one\ntwo\nthree\n")
        review.until(lambda frame: frame.get("code") == "one\ntwo\nthree\n")
        assert review.ask("code_change", code="zero\none\ntwo\nthree\n", base_version=3)["type"] in ("ack", "code_ack")
        everything = "zero\none\ntwo\nthree\n"
        yjs.has(everything)
        pairing.until(lambda frame: frame.get("code") == everything)
        room.until_code(everything)
    for node in place.nodes:
        shown = state(node, host, people.session).json
        assert (shown["code"], shown["version"]) == (everything, 4)


def test_a_viewer_writes_by_no_frame_of_any_door(place, people, edit, attend, visit):
    """A viewer's text is taken at the one door where nobody thought of it."""
    editor = edit(place.north, people.session, token=people.host.token).is_synced()
    editor.insert(0, "x = 1")
    editor.is_saved()
    viewer = people.viewer
    pairing, review = visit(place.south, people.session, viewer), attend(place.south, people.session, viewer)
    for type in ("code_change", "code_update"):
        for base in ({}, {"base_version": 1}, {"base_version": 0}):
            assert pairing.ask(type, code="no", **base)["code"] == "forbidden"
    pairing.send("cursor_move", cursor={"lineNumber": 1, "column": 1}, code="no")
    for base in ({}, {"base_version": 1}):
        review.refused("forbidden", "code_change", code="no", **base)
    with pad(place.south, PLAIN, auth=viewer.auth) as room:
        room.join(people.session)
        room.until_code("x = 1")
        room.emit("change", {"room": people.session, "code": "no"})
        assert room.next("error")["code"] == "forbidden"
    mine = edit(place.south, people.session, token=viewer.token).is_synced()
    mine.insert(0, "no")
    eventually(lambda: mine.look("denied"), "the viewer is told")
    editor.append("2")
    eventually(lambda: mine.text.replace("no", "") == "x = 12", "the others' text goes on")
    assert editor.text == "x = 12"
    for node in place.nodes:
        assert state(node, people.host, people.session).json["code"] == "x = 12"


# Changes of older texts

# What there is, what the first makes of it, and what the second makes of it, who has not heard of the first.
MERGES = {
    "different lines": ("one\ntwo\nthree\n", "ONE\ntwo\nthree\n", "one\ntwo\nTHREE\n"),
    "the same place": ("ab", "aXb", "aYb"),
    "both at the end": ("one\n", "one\ntwo\n", "one\n2\n"),
    "both into nothing": ("", "north", "south"),
    "all of it": ("abc", "north", "uvw"),
    "the same deletion": ("abc", "ac", "ac"),
    "deletions that overlap": ("abcdef", "aef", "abf"),
    "an insertion into what is deleted": ("one two three", "one !three", "one tXwo three"),
    "a deletion of what was written into": ("one two three", "one tXwo three", "one !three"),
    "all gone": ("one two", "", "one two three"),
    "an emoji for another": ("a🙂b", "a🙃b", "a😀b"),
    "an emoji that ends alike": ("a🙂b", "a\U0001fa42b", "a🙂🙂b"),
    "an emoji of many": ("x👩‍🚀y", "x👩y", "x👩‍🚀‍y"),
    "flags": ("🇩🇪", "🇫🇷", "🇩🇰"),
    "marks on a letter": ("cafe", "cafe\u0301", "cafe\u0308"),
    "marks that were letters": ("caf\u00e9!", "cafe\u0301!", "caf\u00e9?"),
    "ends of lines": ("a\nb\n", "a\r\nb\r\n!", "a\n\nb\n"),
    "a paste": ("begin\nend\n", "begin\n" + "paste 🎉\n" * 6_000 + "end\n", "begin\nhere\nend\n"),
}


@pytest.mark.parametrize("case", MERGES)
def test_a_change_of_an_older_text_is_merged(ends, session, join, edit, yjs, case):
    """Who did not hear of another's change yet takes it back, or is told to type again; or the result is another than
    Yjs would make of it."""
    old, first, second = (text.replace("\r\n", "\n") for text in MERGES[case])
    ann, bob = join(ends[0], session, "ann"), join(ends[1], session, "bob")
    watcher = edit(ends[0], session, "cat").is_synced()
    base = ann.ask("code_change", code=old, base_version=0)["version"]
    assert bob.ask("code_change", code=MERGES[case][1], base_version=base)["version"] <= base + 1
    taken = ann.ask("code_change", code=MERGES[case][2], base_version=base)
    assert taken == shapes.code_ack(shapes.NUMBER, id=shapes.STRING)
    expected = yjs.merged(old, first, second)
    merged = ends[0].state(session)
    assert merged["code"] in expected
    assert merged["version"] == taken["version"]
    assert ends[1].state(session)["code"] == merged["code"]
    if merged["code"] != MERGES[case][2]:
        assert told(ann, taken["version"]) == merged["code"], "who sent another text is told this one"
    if merged["code"] != first:
        assert told(bob, taken["version"]) == merged["code"]
    watcher.has(merged["code"])


def test_a_change_of_the_current_text_is_not_told_back(ends, session, join):
    """An editor's own text comes back to it while it types on."""
    ann, bob = join(ends[0], session, "ann"), join(ends[1], session, "bob")
    for version in range(5):
        taken = ann.ask("code_change", code=f"x = {version}", base_version=version)
        assert taken == shapes.code_ack(version + 1, id=shapes.STRING)
    assert told(bob, 5) == "x = 4"
    ann.before_pong()
    assert [frame for frame in ann.history if frame["type"] == "code_update"] == []


def test_the_text_that_came_of_a_change_comes_with_its_ack(own_children):
    """Who is told that the own change is version 3, and not what else is in it, takes that away with the next key."""
    redis = own_children.redis()
    with closing(Proxy(redis.port)) as way:
        # Others' changes are a moment on their way here.
        way.delay = 0.02
        here = own_children.node("here", REDIS_URL=f"redis://127.0.0.1:{way.port}/0")
        there = own_children.node("there", REDIS_URL=redis.url)
        for _ in range(15):
            session = unique("session")
            with Peer(here, session, "ann") as ann, Peer(there, session, "bob") as bob:
                ann.ask("code_change", code="one two", base_version=0)
                told(bob, 1)
                bob.send("code_change", code="one two three", base_version=1, id="of bob")
                ann.send("code_change", code="zero one two", base_version=1, id="of ann")
                taken = {peer: text_with_ack(peer, f"of {peer.user}") for peer in (ann, bob)}
                (second,) = (text for version, text in taken.values() if version == 3)
                assert second == "zero one two three"


def text_with_ack(peer, id):
    """The version that the own change made, and the text of it that was told by when it is acknowledged, if any was."""
    known = peer.until(lambda frame: frame["type"] == "code_ack" and frame.get("id") == id)
    version = known[-1]["version"]
    known += peer.before_pong()
    texts = [frame["code"] for frame in known if frame["type"] == "code_update" and frame["version"] >= version]
    return version, texts[-1] if texts else None


def test_several_typists_behind_one_another(ends, session, join, yjs):
    """Only the last version can be merged with, and whoever is two behind begins anew."""
    ann, bob = join(ends[0], session, "ann"), join(ends[1], session, "bob")
    lines = [f"line {number}" for number in range(20)]
    ann.ask("code_change", code="\n".join(lines), base_version=0)
    wanted = list(lines)
    for number in range(12):
        mine = list(lines)
        mine[number] += f" by {number}"
        wanted[number] = mine[number]
        writer = (ann, bob)[number % 2]
        assert writer.ask("code_change", code="\n".join(mine), base_version=1)["version"] == number + 2
    assert ends[1].state(session)["code"] == "\n".join(wanted)


def test_a_text_without_a_version_replaces_all(ends, session, join, edit):
    """A client of the old service, which knows no versions, is told that it is wrong; or its text is merged with one
    that it never saw."""
    ann, bob = join(ends[0], session, "ann"), edit(ends[1], session, "bob").is_synced()
    bob.insert(0, "one two three")
    ann.until(lambda frame: frame["type"] == "code_update")
    ann.send("code_change", code="all new")
    bob.has("all new")
    assert ends[1].state(session)["code"] == "all new"


def test_what_a_replacement_leaves_alone_stays(ends, session, join, edit):
    """Every change of a pairing user throws the cursors of others to the end of the text."""
    ann, bob = join(ends[0], session, "ann"), edit(ends[1], session, "bob").is_synced()
    cat = edit(ends[0], session, "cat").is_synced()
    cat.insert(0, "one\ntwo\nthree\n")
    bob.has("one\ntwo\nthree\n")
    bob.show(user={"name": "Bob"})
    bob.point(10)
    eventually(lambda: cat.cursor_of("Bob") == (10, 10), "his cursor is seen")
    ann.send("code_change", code="zero\none\ntwo\nthree, four\n")
    cat.has("zero\none\ntwo\nthree, four\n")
    eventually(lambda: cat.cursor_of("Bob") == (15, 15), "his cursor is where it was")


def test_a_version_that_is_no_more(alone, session, join, edit):
    """A change of a forgotten text overwrites what came since, or nobody says why it was not taken."""
    ann, bob = join(alone, session, "ann"), join(alone, session, "bob")
    bob.ask("code_change", code="first", base_version=0)
    for number in range(760):
        bob.send("code_change", code=f"text {number}")
    newest = bob.ask("code_change", code="newest")
    assert newest["type"] in ("ack", "code_ack")
    # Its log is shortened a moment later; a change of nothing changes nothing.
    answer = eventually(lambda: is_gone(ann.ask("code_change", code="first", base_version=1)), "the version is gone")
    assert answer == shapes.error("version_gone", id=shapes.STRING, field="base_version")
    assert told(ann, alone.state(session)["version"]) == "newest"
    marked = len(ann.history)
    answer = ann.ask("code_change", code="first and more", base_version=1)
    assert answer == shapes.error("version_gone", id=shapes.STRING, field="base_version")
    current = ann.until(lambda frame: frame["type"] == "code_update")[-1]
    assert (current["code"], current["version"]) == ("newest", alone.state(session)["version"]), ann.history[marked:]
    assert alone.state(session)["code"] == "newest"
    taken = ann.ask("code_change", code="newest and more", base_version=current["version"])
    assert taken == shapes.code_ack(current["version"] + 1, id=shapes.STRING)


def is_gone(answer):
    return answer if answer["type"] == "error" else None


def test_a_version_that_is_not_yet(ends, session, join):
    """A change of a text that nobody has seen is taken for one of the newest."""
    ann = join(ends[0], session, "ann")
    ann.ask("code_change", code="x = 1", base_version=0)
    answer = ann.ask("code_change", code="x = 2", base_version=99)
    assert answer == shapes.error("version_gone", id=shapes.STRING, field="base_version")
    current = ann.until(lambda frame: frame["type"] == "code_update")[-1]
    assert (current["code"], current["version"]) == ("x = 1", 1)
    assert ends[1].state(session)["code"] == "x = 1"


def test_a_repeated_change_happens_once(ends, session, join, edit):
    """A change that is sent again after a lost connection is merged with itself, and its line is there twice."""
    ann, bob = join(ends[0], session, "ann"), edit(ends[1], session, "bob").is_synced()
    ann.ask("code_change", code="one\n", base_version=0)
    bob.has("one\n").insert(0, "zero\n")
    bob.is_saved()
    first = ann.ask("code_change", code="one\ntwo\n", base_version=1, id="same")
    again = join(ends[1], session, "ann")
    second = again.ask("code_change", code="one\ntwo\n", base_version=1, id="same")
    assert (second["version"], second["seq"]) == (first["version"], first["seq"])
    bob.has("zero\none\ntwo\n")


# Characters and ends of lines


def test_lines_end_in_one_way(ends, session, join, edit):
    """What was pasted from elsewhere has ends of lines that some editors count and others do not."""
    ann, bob = join(ends[0], session, "ann"), join(ends[1], session, "bob")
    editor = edit(ends[1], session, "cat").is_synced()
    ann.ask("code_change", code="a\r\nb\r\n", base_version=0)
    editor.has("a\nb\n")
    assert told(bob, 1) == "a\nb\n"
    # Said again by somebody who was not told, it is no change.
    ann.ask("code_change", code="a\r\nb\r\nc\r\n", base_version=1)
    editor.has("a\nb\nc\n")
    editor.insert(0, "0\n")
    ann.until(lambda frame: frame.get("code") == "0\na\nb\nc\n")


# One for another: they begin alike, end alike, are pairs or one unit, or have marks.
CHARACTERS = ["🙂", "🙃", "\U0001fa42", "é", "e\u0301", "x", "👩‍🚀", "👩", "🇩🇪", "🇫🇷", "\ufffd", "丽", "\u2028"]


def test_no_character_is_split(ends, session, join, edit):
    """A new emoji that begins as the old one did is made of a half of each."""
    ann, editor = join(ends[0], session, "ann"), edit(ends[1], session, "bob").is_synced()
    for old in CHARACTERS:
        for new in CHARACTERS:
            for text in (old, new, f"{old}{new}", f"{new}{old}{new}"):
                ann.send("code_change", code=text)
            assert ann.ask("code_change", code=new)["type"] in ("ack", "code_ack")
            editor.has(new)
    assert ends[1].state(session)["code"] == CHARACTERS[-1]


@pytest.mark.parametrize("place", ["tokens"], indirect=True)
@pytest.mark.parametrize("half", ["left", "right", "between"])
def test_an_editor_that_splits_a_pair_does_not_part_from_the_node(place, people, yjs, half):
    """An editor deletes half of an emoji, and from then on its places are not the node's."""
    before = yjs.write(7, insert(0, "a🎉b🎉c"))
    changes = {"left": remove(1, 1), "right": remove(2, 1), "between": insert(2, "|")}
    split = yjs.write(8, changes[half], base=[before["state"]])
    after = yjs.write(9, insert(units(split["text"]), "!"), base=[before["state"], split["update"]])
    with Wire(place.north, people.session, token=people.host.token) as ann:
        for update in (before["state"], split["update"], after["update"]):
            ann.send(wire.update(update))
        wanted = yjs.read(before["state"], split["update"], after["update"])["text"]
        code = lambda: state(place.north, people.host, people.session).json["code"]
        eventually(lambda: code() == wanted, f"the node has {wanted!r}, not {code()!r}")
        assert yjs.read(ann.ask())["text"] == wanted


# Cursors

# What a style sheet understands.
COLOUR = re.compile(r"#[0-9a-f]{6}|hsl\(\d+, \d+%, \d+%\)")
LINES = "one\ntwo 🎉 x\nthree"


def test_a_cursor_by_line_and_column_is_seen_in_editors(ends, session, edit):
    """A pairing user's cursor is in another place behind an emoji, or stays where it was when the text moves."""
    bob = edit(ends[0], session, "bob").is_synced()
    bob.insert(0, LINES)
    bob.is_saved()
    with Peer(ends[1], session, "ann", "Ann") as ann:
        assert all(shown.get("user", {}).get("name") != "Ann" for shown in bob.others().values())
        for line, column, index in ((2, 7, 10), (1, 1, 0), (1, 4, 3), (2, 1, 4), (3, 6, 18), (3, 99, 18), (2, 99, 12)):
            ann.send("cursor_move", cursor={"lineNumber": line, "column": column})
            eventually(lambda: bob.cursor_of("Ann") == (index, index), f"{line}:{column} is {index}")
        ann.send("cursor_move", cursor={"lineNumber": 2, "column": 7})
        eventually(lambda: bob.cursor_of("Ann") == (10, 10), "she is where she says")
        (shown,) = (state for state in bob.others().values() if state.get("cursor"))
        assert shown["user"]["name"] == "Ann" and shown["user"]["id"] == "ann"
        assert COLOUR.fullmatch(shown["user"]["color"]), shown
        bob.insert(0, "🎉🎉\n")
        eventually(lambda: bob.cursor_of("Ann") == (15, 15), "it moves with the text")
        bob.remove(0, 5)
        eventually(lambda: bob.cursor_of("Ann") == (10, 10), "and back")
        eventually(lambda: ends[1].state(session)["code"] == LINES, "what was removed is gone there, too")
        # Somebody who comes now sees it in the same place.
        cat = edit(ends[1], session, "cat").has(LINES)
        eventually(lambda: cat.cursor_of("Ann") == (10, 10), "a newcomer sees it")
    eventually(lambda: bob.cursor_of("Ann") is None and cat.cursor_of("Ann") is None, "she is gone")


@pytest.mark.parametrize("field", ["cursor", "selection"])
def test_a_cursor_of_an_editor_is_told_by_line_and_column(ends, session, join, edit, field):
    """Editors' cursors are not seen at the pairing door, or behind an emoji in another place."""
    ann = join(ends[0], session, "ann")
    bob = edit(ends[1], session, "bob", "Bob").is_synced()
    bob.insert(0, LINES)
    bob.is_saved()
    bob.show(user={"name": "Bob"})
    ann.until(lambda frame: frame["type"] == "code_update")
    for index, line, column in ((10, 2, 7), (0, 1, 1), (3, 1, 4), (4, 2, 1), (18, 3, 6)):
        bob.point(0, index, field=field)
        moved = ann.until(lambda frame: frame["type"] == "cursor_move")[-1]
        assert moved == shapes.cursor_move("bob", line, column)


def test_a_newcomer_is_told_where_editors_are(ends, session, join, edit):
    """Who comes to the pairing door sees no cursors until they move."""
    ann, bob = join(ends[1], session, "ann"), edit(ends[1], session, "bob", "Bob").is_synced()
    bob.insert(0, LINES)
    bob.point(10)
    ann.until(lambda frame: frame["type"] == "cursor_move")
    cat = join(ends[0], session, "cat")
    shown = lambda users: {user["user_id"]: user["cursor"] for user in users}["bob"]
    assert shown(cat.greeting["users"]) == {"lineNumber": 2, "column": 7}
    assert shown(ends[0].state(session)["users"]) == {"lineNumber": 2, "column": 7}


def test_cursors_of_reviewers_are_seen_in_editors_and_back(place, people, edit, attend):
    """Reviewers and editors look at one text and do not see each other."""
    editor = edit(place.north, people.session, token=people.editor.token).is_synced()
    editor.insert(0, LINES)
    editor.is_saved()
    host = attend(place.south, people.session, people.host)
    host.point("main", 2, 7)
    eventually(lambda: editor.cursor_of(people.host.name) == (10, 10), "the host's cursor is seen")
    # Another file is no place in this text.
    host.point("other.py", 1, 1)
    eventually(lambda: editor.cursor_of(people.host.name) is None, "the host is elsewhere")
    editor.show(user={"name": "whoever"})
    editor.point(3)
    told = host.hear("cursor_update", people.editor.id)
    assert told["data"] == {"file": "main", "line": 1, "column": 4}


# What others read


def test_what_others_read_is_a_second_old_at_most(nodes, redis, session, edit):
    """Services that read the text from Redis read an old one while somebody types, or for ever."""
    editor = edit(nodes[0], session, "ann").is_synced()
    with pad(nodes[1], PLAIN, "bob") as room:
        room.join(session)
        room.change(session, "begin\n")
        editor.has("begin\n")
        eventually(lambda: redis.client.get(f"code_{session}"), "there is a copy")
        saved, ages = [], []
        end = time.monotonic() + 3
        while time.monotonic() < end:
            editor.append(f"{len(saved)}\n")
            editor.is_saved()
            saved.append(time.monotonic())
            for text in (redis.client.hget(f"session:{session}", "code"), redis.client.get(f"code_{session}")):
                lines = text.count("\n") - 1
                if lines < len(saved):
                    ages.append(time.monotonic() - saved[max(lines, 0)])
        assert ages, "otherwise nothing was measured"
        assert max(ages) < BEHIND + SLACK, f"{max(ages):.2f} s"
    last = editor.text

    def shown():
        code, version = redis.client.hmget(f"session:{session}", "code", "code_version")
        return code == last == redis.client.get(f"code_{session}") and version

    stopped = time.monotonic()
    version = eventually(shown, "the last text is there, too", within=BEHIND + SLACK)
    assert int(version) == nodes[0].state(session)["version"], time.monotonic() - stopped
    agree(last, editor)
