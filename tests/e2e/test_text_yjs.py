"""Editors with the official Yjs provider share a text: on one node alone, and on two with Redis between them."""

import json
import signal
import socket
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from support import text_wire as wire
from support.deadline import eventually
from support.peer import Peer, unique
from support.place import place_of
from support.raw import refused, turned_away
from support.recorded import assign, given, send_away
from support.review import cast
from support.text import Yjs, agree, agreed, insert, remove, way
from support.text_wire import AWARENESS, STEP_1, UPDATE, Wire
from support.tokens import SECRET, bearer, token

# A provider gives up on a node from which it heard nothing for so long, and forgets who did not speak for so long.
SILENCE = 30
# Who was on a node that died is gone for the others by then.
BURIED_WITHIN = 15
# Long before an editor repeats by itself that it is there.
SEEN_AGAIN = 5


@pytest.fixture(scope="module")
def redis(children):
    return children.redis()


@pytest.fixture(scope="module")
def nodes(children, redis):
    return [children.node(name, REDIS_URL=redis.url, LEAVE_GRACE=0.5) for name in ("north", "south")]


@pytest.fixture(scope="module")
def alone(children):
    return children.node("alone", LEAVE_GRACE=0.5)


@pytest.fixture(scope="module")
def yjs():
    with Yjs() as program:
        yield program


@pytest.fixture
def edit(yjs):
    with yjs.editors() as edit:
        yield edit


@pytest.fixture
def speak():
    """Opens sockets that speak for themselves."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(Wire(*arguments, **options))


@pytest.fixture(scope="module", autouse=True)
def silence(yjs, children, alone, nodes):
    """Somebody alone who does not type, and an editor who watches a pairing user who does not either: while the other
    tests run."""
    with yjs.editors() as edit, ExitStack() as stack:
        story = SimpleNamespace(began=time.monotonic(), watchers=[])
        story.lone = [edit(node, unique("lone"), "ann").is_synced() for node in (alone, *nodes)]
        for here, there in ((alone, alone), nodes):
            session = unique("silent")
            watcher = edit(here, session, "bob").is_synced()
            peer = stack.enter_context(Peer(there, session, "cat", "Cat"))
            peer.send("cursor_move", cursor={"lineNumber": 1, "column": 1})
            eventually(lambda: watcher.cursor_of("Cat") == (0, 0), "the cursor is seen")
            story.watchers.append(watcher)
        yield story


# The text


def test_two_editors_have_one_text(ends, session, edit):
    """What is typed here is not there, is there twice, or an emoji is two halves."""
    ann, bob = (edit(node, session, user).is_synced() for node, user in zip(ends, ("ann", "bob")))
    ann.insert(0, "x = 1\n")
    bob.has("x = 1\n").insert(6, "y = '👩‍🚀🎉'\r\n")
    agree("x = 1\ny = '👩‍🚀🎉'\r\n", ann, bob)
    ann.change(remove(0, 6), insert(0, "z\n"))
    bob.append("e\u0301")
    agree("z\ny = '👩‍🚀🎉'\r\ne\u0301", ann, bob)
    assert ends[0].state(session)["code"] == ends[1].state(session)["code"] == ann.text


def test_typing_at_once_is_merged(ends, session, edit):
    """Who types while somebody else does loses a word."""
    editors = [edit(ends[number % 2], session, f"user-{number}").is_synced() for number in range(4)]
    for round in range(12):
        for number, editor in enumerate(editors):
            editor.append(f"[{number}.{round}]")
    text = eventually(lambda: len(agreed(*editors)) == 4 * 12 * 5 + 4 * 2 and agreed(*editors), "all is there")
    assert sorted(text.strip("[]").split("][")) == sorted(f"{n}.{r}" for n in range(4) for r in range(12))


def test_who_comes_later_gets_the_text(ends, session, edit):
    """An editor is empty until somebody types."""
    ann = edit(ends[0], session, "ann").is_synced()
    ann.insert(0, "x = 1")
    ann.is_saved()
    bob = edit(ends[1], session, "bob").is_synced()
    assert bob.text == "x = 1", "with the first answer"


def test_who_brings_a_text_along_adds_it(ends, session, edit):
    """What was typed before the connection is gone."""
    ann = edit(ends[0], session, "ann", connect=False)
    ann.insert(0, "typed before")
    ann.connect()
    bob = edit(ends[1], session, "bob").has("typed before")
    ann.is_saved()
    ann.disconnect()
    ann.insert(0, "offline, ")
    bob.append(", online")
    ann.connect()
    agree("offline, typed before, online", ann, bob)


# What a socket hears


def test_the_node_speaks_first(ends, session, edit, speak):
    """A client waits for the node, which waits for it; or hears two messages in a frame, of which it reads one."""
    ann = edit(ends[0], session, "ann").is_synced()
    ann.insert(0, "x = 1")
    ann.is_saved()
    ann.show(user={"name": "Ann"})
    watcher = edit(ends[1], session, "bob")
    eventually(lambda: watcher.sees(ann), "she is known there")
    cat = speak(ends[1], session, "cat")
    vector = cat.expect(STEP_1)
    assert vector == wire.number(1) + wire.number(ann.client) + wire.number(5)
    shown = {entry.client: json.loads(entry.state) for entry in wire.entries(cat.expect(AWARENESS))}
    assert shown[ann.client] == {"user": {"name": "Ann"}}


def test_questions_are_answered(alone, session, yjs, speak):
    """A client is told all there is when it lacks a little, or nothing."""
    written = yjs.write(7, insert(0, "x = 1"))
    ann, bob = speak(alone, session, "ann"), speak(alone, session, "bob")
    assert yjs.read(bob.ask())["text"] == ""
    ann.send(wire.step_2(written["update"]))
    bob.until_kind(UPDATE)
    assert yjs.read(bob.ask())["text"] == "x = 1"
    # Whoever has three of five characters lacks two.
    lacking = bob.ask(wire.number(1) + wire.number(7) + wire.number(3))
    assert yjs.outline(lacking)["adds"] == [[7, 3, 5]]
    ann.send(wire.awareness((7, 1, '{"user":{"name":"Ann"}}')))
    bob.until_kind(AWARENESS)
    assert bob.shown() == [(7, 1, '{"user":{"name":"Ann"}}')]


def test_a_writer_hears_its_own_update_when_it_is_kept(nodes, redis, session, yjs, speak):
    """An editor says "saved" and the text is lost with its node, or never says it."""
    log = f"{{session:{session}}}:doc:log"
    written = yjs.write(7, insert(0, "x = 1"))
    erased = yjs.write(7, remove(0, 2), base=[written["state"]])
    ann = speak(nodes[0], session, "ann")
    ann.expect(STEP_1)
    for kept, update in enumerate((written["update"], erased["update"]), 1):
        ann.send(wire.update(update))
        echo = wire.b64encode(ann.expect(UPDATE)).decode()
        assert redis.client.xlen(log) == kept
        assert yjs.outline(echo) == yjs.outline(update)
    assert yjs.read(ann.ask())["text"] == "= 1"


def test_an_update_that_brings_nothing_new_is_no_version(alone, session, yjs, speak):
    """A client that says again what is known fills the log."""
    written = yjs.write(7, insert(0, "x = 1"))["update"]
    ann = speak(alone, session, "ann")
    for _ in range(3):
        ann.send(wire.update(written), wire.step_2(written))
    more = yjs.write(8, insert(5, "2"), base=[written])
    ann.send(wire.update(more["update"]))
    ann.until(lambda heard: heard.kind == UPDATE and yjs.outline(packed(heard.body))["adds"][0][0] == 8)
    assert alone.state(session)["version"] <= 2
    assert alone.state(session)["code"] == "x = 12"


def packed(body):
    return wire.b64encode(body).decode()


def test_what_bunches_is_told_as_one(ends, session, yjs, speak):
    """Every key press of everybody is a frame of its own to everybody."""
    keys = yjs.type(7, *(insert(at, "abcdefghij"[at % 10]) for at in range(200)))
    ann, bob = speak(ends[0], session, "ann"), speak(ends[1], session, "bob")
    bob.expect(STEP_1)
    ann.send(*(wire.update(key) for key in keys))
    told = []
    while not told or yjs.read(*told)["text"] != "abcdefghij" * 20:
        told.append(packed(bob.until_kind(UPDATE)))
    assert len(told) <= 50, f"{len(told)} frames for 200 keys"
    # Also as one that a client merged itself, with more than one client's.
    merged = yjs.merge(
        yjs.write(8, insert(0, "<"), base=told)["update"], yjs.write(9, insert(200, ">"), base=told)["update"]
    )
    ann.send(wire.update(merged))
    told.append(packed(bob.until_kind(UPDATE)))
    assert yjs.read(*told)["text"] == f"<{'abcdefghij' * 20}>"
    assert yjs.read(ann.ask())["text"] == yjs.read(*told)["text"]


# Who is there


def test_awareness_is_told_and_taken_back(ends, session, edit):
    """A cursor stays where nobody is, or is not seen on another node."""
    ann, bob = (edit(node, session, user).is_synced() for node, user in zip(ends, ("ann", "bob")))
    ann.show(user={"name": "Ann", "color": "#30bced"})
    eventually(lambda: bob.others().get(ann.client) == {"user": {"name": "Ann", "color": "#30bced"}}, "she is seen")
    ann.insert(0, "x = '🎉' # 1")
    bob.has("x = '🎉' # 1")
    ann.point(7, 10)
    eventually(lambda: bob.cursor_of("Ann") == (7, 10), "her cursor is seen")
    bob.insert(0, "🎉")
    eventually(lambda: bob.cursor_of("Ann") == (9, 12), "it moves with the text")
    ann.end()
    eventually(lambda: not bob.sees(ann), "she is gone")


def test_who_comes_back_is_seen_again(ends, session, edit):
    """Somebody whose network hiccups has no cursor for others until the editor has said twice that it is there."""
    ann, bob = (edit(node, session, user).is_synced() for node, user in zip(ends, ("ann", "bob")))
    ann.show(user={"name": "Ann"})
    eventually(lambda: bob.sees(ann), "she is seen")
    for round in range(3):
        ann.drop()
        eventually(lambda: ann.look("opened") == round + 2 and ann.look("connected"), "she is back")
        eventually(lambda: bob.sees(ann), "she is seen again", within=SEEN_AGAIN)
    ann.disconnect()
    eventually(lambda: not bob.sees(ann), "she is gone")
    ann.connect()
    eventually(lambda: bob.sees(ann), "she is back", within=SEEN_AGAIN)


def test_who_changes_nodes_sees_the_same_cursors(nodes, session, edit):
    """A pairing user's cursor is not seen by who comes from another node, until it has moved as often as there."""
    north, south = nodes
    watcher = edit(north, session, "bob").is_synced()
    watcher.insert(0, "x" * 100)
    watcher.is_saved()
    with Peer(north, session, "cat", "Cat") as cat:
        for column in range(1, 60):
            cat.send("cursor_move", cursor={"lineNumber": 1, "column": column})
            eventually(lambda: watcher.cursor_of("Cat") == (column - 1, column - 1), "the cursor is seen")
        watcher.disconnect()
        watcher.connect(south)
        watcher.is_synced()
        cat.send("cursor_move", cursor={"lineNumber": 1, "column": 7})
        eventually(lambda: watcher.cursor_of("Cat") == (6, 6), "it is seen there, too", within=SEEN_AGAIN)


def test_a_lost_socket_takes_its_awareness_along(ends, session, speak):
    """Who closes the laptop points at the text until the others forget."""
    ann, bob = speak(ends[0], session, "ann"), speak(ends[1], session, "bob")
    ann.send(wire.awareness((7, 3, '{"user":{"name":"Ann"}}')))
    bob.hears_of((7, 3, '{"user":{"name":"Ann"}}'))
    ann.socket.socket.shutdown(socket.SHUT_RDWR)
    bob.hears_of((7, 4, "null"))
    assert bob.shown() == speak(ends[0], session, "cat").shown() == []


def test_a_lone_client_hears_itself(ends, session, speak):
    """A client with nobody else in the room takes its connection for dead after half a minute."""
    ann = speak(ends[0], session, "ann")
    said = (7, 1, '{"user":{"name":"Ann"}}')
    ann.send(wire.awareness(said))
    ann.hears_of(said)


def test_many_cursors_are_few_frames(ends, session, speak):
    """Everybody's every movement is a frame to everybody."""
    speakers = [speak(ends[number % 2], session, f"user-{number}") for number in range(8)]
    watcher = speak(ends[1], session, "watcher")
    clocks = 40
    began = time.monotonic()
    for clock in range(1, clocks + 1):
        for number, speaker in enumerate(speakers):
            speaker.send(wire.awareness((100 + number, clock, json.dumps({"at": clock}))))
    latest, frames = {}, 0
    while set(latest.values()) != {clocks} or len(latest) != len(speakers):
        frames += 1
        latest |= {entry.client: entry.clock for entry in wire.entries(watcher.until_kind(AWARENESS))}
    # Thirty a second, and what was on its way.
    assert frames <= 30 * (time.monotonic() - began) + 10, f"{frames} frames"
    assert frames < clocks * len(speakers) / 2


def test_who_was_on_a_dead_node_is_gone_soon(own_children, session, edit):
    """Cursors of a node that died stay until every client has forgotten them."""
    redis = own_children.redis()
    north, south = (own_children.node(name, REDIS_URL=redis.url) for name in ("north", "south"))
    watcher = edit(south, session, "watcher").is_synced()
    ann = edit(north, session, "ann").is_synced()
    ann.show(user={"name": "Ann"})
    with Peer(north, session, "bob", "Bob") as bob:
        bob.send("cursor_move", cursor={"lineNumber": 1, "column": 1})
        eventually(lambda: watcher.sees(ann) and watcher.cursor_of("Bob"), "both are seen")
        north.signal(signal.SIGKILL)
        eventually(lambda: watcher.others() == {}, "nobody is there any more", within=BURIED_WITHIN)


# A node goes


def test_what_was_typed_while_a_node_was_gone_is_merged(own_children, session, edit):
    """Who was offline while the node was killed comes back to a text without the own words, or has them twice."""
    redis = own_children.redis()
    nodes = north, south = [own_children.node(name, REDIS_URL=redis.url) for name in ("north", "south")]
    ann, bob, cat = (
        edit(node, session, user).is_synced() for node, user in zip((*nodes, north), ("ann", "bob", "cat"))
    )
    ann.insert(0, "one\n")
    agree("one\n", ann, bob, cat)
    north.signal(signal.SIGKILL)
    eventually(lambda: not ann.look("connected"), "she notices")
    ann.insert(0, "offline\n")
    bob.append("online\n")
    # She waits for her node to be replaced, Cat goes to the other one.
    cat.disconnect()
    cat.append("elsewhere\n")
    cat.connect(south)
    north.process.wait()
    north.start()
    eventually(lambda: len(agreed(ann, bob, cat)) == len("offline\none\nonline\nelsewhere\n"), "all is there")
    text = agreed(ann, bob, cat)
    assert text.startswith("offline\none\n")
    assert sorted(text.splitlines()) == ["elsewhere", "offline", "one", "online"]
    assert [node.state(session)["code"] for node in nodes] == [text] * 2
    for editor in (ann, bob, cat):
        editor.is_saved()


def test_a_node_alone_that_starts_anew_gets_the_text_from_who_has_it(own_children, session, edit):
    """A restart of a node that keeps texts in memory empties every editor."""
    node = own_children.node("alone")
    ann, bob = (edit(node, session, user).is_synced() for user in ("ann", "bob"))
    ann.insert(0, "x = 1")
    bob.has("x = 1")
    node.kill()
    bob.append(" # offline")
    node.start()
    agree("x = 1 # offline", ann, bob)
    assert node.state(session)["code"] == "x = 1 # offline"


# Who may


@pytest.fixture(scope="module", params=["tokens", "cluster"])
def place(request, children):
    return place_of(request.param, request, children)


@pytest.fixture
def people(place):
    return cast(place)


def test_a_viewer_sees_and_is_seen_and_changes_nothing(place, people, edit, yjs, speak):
    """Who may only look writes into the text, or is told so with every key; or nobody sees where a viewer looks."""
    host = edit(place.north, people.session, token=people.host.token).is_synced()
    host.insert(0, "x = 1")
    host.is_saved()
    viewer = edit(place.south, people.session, token=people.viewer.token).is_synced().has("x = 1")
    viewer.show(user={"name": "Cat"})
    eventually(lambda: host.sees(viewer), "the viewer is seen")
    for at in range(5):
        viewer.insert(at, "!")
    said = eventually(lambda: viewer.look("denied"), "the viewer is told")
    # By hand, with both kinds.
    with_hands = speak(place.south, people.session, token=people.viewer.token)
    written = yjs.write(7, insert(0, "no"))["update"]
    with_hands.send(wire.update(written), wire.step_2(written), wire.update(written))
    with_hands.until_kind(wire.DENIED)
    host.append("2")
    assert [heard.kind for heard in with_hands.until(lambda heard: heard.kind == UPDATE)][:-1].count(wire.DENIED) == 0
    assert host.text == "x = 12"
    assert yjs.read(with_hands.ask())["text"] == "x = 12"
    assert viewer.look("denied") == said and len(said) == 1
    assert viewer.look("connected") and viewer.look("opened") == 1
    assert viewer.text.replace("!", "") == "x = 12"


def test_a_role_counts_from_when_it_is_given(place, people, edit):
    """A viewer who is made an editor has to connect anew, or an editor who is one no more goes on writing."""
    host = edit(place.north, people.session, token=people.host.token).is_synced()
    cat = edit(place.south, people.session, token=people.viewer.token).is_synced()
    cat.insert(0, "as a viewer")
    eventually(lambda: cat.look("denied"), "the viewer is told")
    given(place.north, people.host, people.session, people.viewer, "editor")
    cat.append(", as an editor")
    # All of it: Yjs sends no part of a text that builds on what is not there.
    agree("as a viewer, as an editor", host, cat)
    cat.is_saved()
    given(place.north, people.host, people.session, people.viewer, "viewer")
    cat.append(", as a viewer again")
    eventually(lambda: len(cat.look("denied")) == 2, "the viewer is told again")
    host.insert(0, "! ")
    cat.has("! as a viewer, as an editor, as a viewer again")
    assert host.text == "! as a viewer, as an editor"
    assert cat.look("opened") == 1


def test_who_is_sent_away_is_told_not_to_come_back(place, people, edit):
    """A provider tries for ever where it is not wanted."""
    editor = edit(place.south, people.session, token=people.editor.token).is_synced()
    assert send_away(place.north, people.host, people.session, people.editor.id).status == 204
    assert editor.closed()["code"] == 4403
    given(place.north, people.host, people.session, people.stranger, "banned")
    # A browser, which cannot read a status.
    origin = f"http://{place.south.address}"
    banned = edit(place.south, people.session, token=people.stranger.token, Origin=origin)
    assert banned.closed()["code"] == 4403
    path = way(people.session, token=people.stranger.token)
    assert turned_away(place.north, path).status == 403
    assert assign(place.north, people.host, people.session, people.stranger.id, "viewer").status == 200
    edit(place.south, people.session, token=people.stranger.token).is_synced()


@pytest.mark.parametrize("place,status", [("tokens", 401), ("open", 403)], indirect=["place"])
def test_a_recorded_session_wants_a_token(place, people, status):
    """Whoever writes `?user_id=` of the host is the host."""
    path = way(people.session, user_id=people.host.id)
    assert turned_away(place.north, path).status == status
    assert refused(place.north, path, Origin=f"http://{place.north.address}").close == 4000 + status


@pytest.mark.parametrize("place", ["tokens"], indirect=True)
def test_a_token_that_does_not_count_is_refused(place, edit, session):
    """A forged or expired token opens the door, or a provider knocks with it for ever."""
    node = place.north
    for bad in ("nonsense", token(key=SECRET[::-1]), token(exp=int(time.time()) - 60)):
        path = way(session, token=bad)
        assert turned_away(node, path).status == 401
        assert edit(node, session, token=bad, Origin=f"http://{node.address}").closed()["code"] == 4401
    # One that is another's.
    path = way(session, token=token("ann"), user_id="bob")
    assert turned_away(node, path).status == 403


@pytest.mark.parametrize("place", ["tokens"], indirect=True)
def test_a_token_that_is_revoked_ends_the_socket(place, edit, session):
    """Who logged out goes on writing."""
    mine = token("ann", jti=unique("jti"))
    ann = edit(place.north, session, token=mine).is_synced()
    assert place.north.post("/api/auth/logout", b"", headers=bearer(mine)).status == 204
    assert ann.closed()["code"] == 4401


def test_an_ended_session_ends_its_editors(ends, session, edit):
    """An editor goes on in a session that is no more, or makes it anew."""
    here, there = ends
    ann, bob = edit(here, session, "ann").is_synced(), edit(there, session, "bob").is_synced()
    ann.insert(0, "x = 1")
    bob.has("x = 1")
    assert there.delete(f"/api/v1/session/{session}").status == 204
    for editor in (ann, bob):
        assert editor.closed()["code"] == 4410
    late = edit(here, session, "cat", Origin=f"http://{here.address}")
    assert late.closed()["code"] == 4410
    assert turned_away(there, way(session, user_id="cat")).status == 410


def test_a_node_that_leaves_sends_its_editors_elsewhere(own_children, session, edit):
    """A rolling deployment ends editors for good, or loses what was typed last."""
    redis = own_children.redis()
    north, south = (own_children.node(name, REDIS_URL=redis.url) for name in ("north", "south"))
    ann, bob = edit(north, session, "ann").is_synced(), edit(south, session, "bob").is_synced()
    ann.insert(0, "x = 1")
    assert north.terminate() == 0
    eventually(lambda: ann.look("closes"), "she is told")
    assert ann.look("closes")[0] == 1012 and ann.look("closed") is None
    ann.disconnect()
    ann.append("2")
    ann.connect(south)
    agree("x = 12", ann, bob)


# Long silences: last, because they began first


def test_who_does_not_type_stays_connected(silence):
    """A lone client hears nothing for half a minute, and takes its node for dead."""
    eventually(lambda: time.monotonic() - silence.began > SILENCE + 6, "the silence was long", within=SILENCE + 10)
    for editor in silence.lone:
        status = editor.status
        assert (status["connected"], status["opened"], status["closes"]) == (True, 1, [])


def test_who_does_not_move_is_still_seen(silence):
    """A pairing user's cursor is forgotten by editors after half a minute, because nobody repeats it."""
    eventually(lambda: time.monotonic() - silence.began > SILENCE + 6, "the silence was long", within=SILENCE + 10)
    for watcher in silence.watchers:
        assert watcher.cursor_of("Cat") == (0, 0)
