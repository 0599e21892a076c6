"""What a text was: every version of a recorded session, sessions that come back, and texts that lost their store."""

from contextlib import ExitStack

import pytest

from support import kept, text_record
from support import text_wire as wire
from support.deadline import eventually
from support.http import assert_problem
from support.peer import Peer
from support.place import place_of
from support.recorded import state
from support.review import Reviewer, cast
from support.text import Yjs, agree
from support.text_wire import Wire

# Longer than a node takes to stop, which writes down what it has.
GRACE = 3
RESET = 4409


@pytest.fixture(scope="module", params=["tokens", "cluster"])
def place(request, children):
    return place_of(request.param, request, children, SESSION_GRACE=GRACE, LEAVE_GRACE=0.2, REPLAY_STEP=0.01)


of_cluster = pytest.mark.parametrize("place", ["cluster"], indirect=True)


@pytest.fixture
def people(place):
    return cast(place)


@pytest.fixture(scope="module")
def redis(children):
    return children.redis()


@pytest.fixture(scope="module")
def nodes(children, redis):
    return [children.node(name, REDIS_URL=redis.url, LEAVE_GRACE=0.2) for name in ("north", "south")]


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
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(Wire(*arguments, **options))


def newest(node, who, session):
    shown = state(node, who, session).json
    return shown["version"], shown["code"]


def written(place, people, edit):
    """What was written in a session, by all kinds of writers: the text of each version, and who wrote it."""
    known = {0: ("", None)}
    host, editor = people.host, people.editor
    ann = edit(place.north, people.session, token=host.token).is_synced()
    with (
        Peer(place.south, people.session, token=editor.token) as bob,
        Reviewer(place.south, people.session, host) as review,
    ):

        def note(who):
            ann.is_saved()
            version, code = newest(place.north, host, people.session)
            assert version == len(known), "one version for each change"
            known[version] = (code, who.id)
            ann.has(code)

        for number in range(4):
            ann.insert(0, f"🎉 {number}\n")
            note(host)
            version, code = newest(place.north, host, people.session)
            assert bob.ask("code_change", code=f"{code}by bob {number}\n", base_version=version)["type"] == "code_ack"
            note(editor)
            ann.remove(0, 1 if number % 2 else 2)
            ann.is_saved()
            eventually(lambda: newest(place.north, host, people.session)[0] == len(known), "the deletion is kept")
            note(host)
        assert review.ask("code_change", code="all new\n")["type"] in ("ack", "code_ack")
        note(host)
    ann.end()
    return known


def assert_all_there(place, people, known):
    for node in place.nodes:
        named = 0
        for version, (code, who) in known.items():
            said = text_record.version(node, people.viewer, people.session, version)
            assert (version, said["code"]) == (version, code)
            assert said.get("user_id") in (who, None)
            named += said.get("user_id") is not None
        # But perhaps of the one that was the newest when the session rested, and of the one that is.
        assert named >= len(known) - 3
        last = text_record.version(node, people.viewer, people.session)
        assert (last["version"], last["code"]) == (max(known), known[max(known)][0])
        assert_problem(text_record.text(node, people.viewer, people.session, version=max(known) + 1), 404, "not_found")


def begin_anew(place, session):
    """Nothing is left of the session but what the records have."""
    if place.redis:
        keys = f"session:{session}", f"{{session:{session}}}:doc", f"{{session:{session}}}:doc:log"
        eventually(lambda: not place.redis.client.exists(*keys), "the room is gone")
    else:
        place.stop()
        place.start()


def test_every_version_can_be_read(place, people, edit):
    """A review shows a text that nobody ever saw, or nobody's."""
    assert_all_there(place, people, written(place, people, edit))


def test_every_version_outlives_the_room(place, people, edit):
    """What a text was is forgotten with the session's keys, or the session begins with another text."""
    known = written(place, people, edit)
    last = max(known)
    begin_anew(place, people.session)
    assert_all_there(place, people, known)
    ann = edit(place.north, people.session, token=people.host.token).has(known[last][0])
    with Peer(place.south, people.session, token=people.editor.token) as bob:
        assert (bob.greeting["code"], bob.greeting["version"]) == (known[last][0], last)
        ann.append("goes on\n")
        ann.is_saved()
        known[last + 1] = (known[last][0] + "goes on\n", people.host.id)
        text = known[last + 1][0] + "by bob, too\n"
        assert bob.ask("code_change", code=text, base_version=last + 1)["version"] == last + 2
        known[last + 2] = (text, people.editor.id)
        ann.has(text)
    assert_all_there(place, people, known)


def test_who_kept_the_document_goes_on_with_it(place, people, edit):
    """An editor that was closed over night has everything twice, or is told to begin anew."""
    ann = edit(place.north, people.session, token=people.host.token).is_synced()
    ann.insert(0, "x = 1\n")
    ann.is_saved()
    ann.disconnect()
    ann.append("y = 2\n")
    begin_anew(place, people.session)
    bob = edit(place.south, people.session, token=people.editor.token).has("x = 1\n")
    ann.connect()
    agree("x = 1\ny = 2\n", ann, bob)
    assert ann.look("closed") is None


def test_versions_outlive_the_log(place, people):
    """Only the last few hundred versions can be read, and the rest of an hour's work is lost."""
    many = 760
    with Peer(place.north, people.session, token=people.host.token) as ann:
        for number in range(1, many):
            ann.send("code_change", code=f"text {number}\n")
        assert ann.ask("code_change", code=f"text {many}\n")["type"] in ("ack", "code_ack")
        assert newest(place.south, people.host, people.session) == (many, f"text {many}\n")
        if place.redis:
            base = lambda: int(place.redis.client.hget(f"{{session:{people.session}}}:doc", "base") or 0)
            eventually(lambda: base() > 200, "the log is shortened")
        for version in (*range(1, 20), 200, 258, 259, 260, 261, 262, 500, many):
            for node in place.nodes:
                assert text_record.version(node, people.viewer, people.session, version)["code"] == f"text {version}\n"


def test_who_may_read_what_a_text_was(place, people):
    """Former versions are shown to whoever asks, or a wrong number is a wrong text."""
    node = place.north
    assert_problem(text_record.text(node, None, people.session), 401)
    assert text_record.version(node, people.viewer, people.session)["code"] == ""
    for wrong in ("x", "-1", "1.5", "99999999999999999999", " "):
        assert_problem(text_record.text(node, people.host, people.session, version=wrong), 400, "bad_field", "version")
    assert_problem(text_record.text(node, people.host, "r-nothing", version=1), 404)


def test_a_replay_has_the_versions(place, people, edit):
    """A replay shows a text and not which one, or only the last."""
    known = written(place, people, edit)

    def replayed():
        frames = kept.replay(place.north, people.viewer, people.session)
        return [frame for frame in frames if frame["type"] == "code_update"]

    last = max(known)
    frames = eventually(lambda: (found := replayed()) and found[-1]["version"] == last and found, "the last is there")
    versions = [frame["version"] for frame in frames]
    assert versions == sorted(set(versions)) and set(versions) <= set(known)
    for frame in frames:
        assert frame.get("code", known[frame["version"]][0]) == known[frame["version"]][0]
        assert frame["user_id"] == known[frame["version"]][1]


# Former lives


def legacy(redis, session, code):
    """A session as a former service left it."""
    fields = {"session_id": session, "question_id": "", "code": code, "language": "python", "users": "[]"}
    redis.client.hset(f"session:{session}", mapping=fields)


def forget(redis, session):
    for key in redis.client.scan_iter(f"*{session}*"):
        redis.client.delete(key)


def test_a_text_of_a_former_service_is_there_once(nodes, redis, session, edit):
    """Two nodes make a document of one text, and everybody has it twice."""
    legacy(redis, session, "x = 1\n")
    editors = [edit(nodes[number % 2], session, f"user-{number}") for number in range(6)]
    agree("x = 1\n", *editors)
    for number, editor in enumerate(editors):
        editor.append(f"{number}\n")
    wanted = len("x = 1\n") + 6 * 2
    eventually(lambda: {len(editor.text) for editor in editors} == {wanted}, "all is there once")
    assert {node.state(session)["code"] for node in nodes} == {editors[0].text}


@pytest.mark.parametrize("known", ["of a plain text", "of its own"])
def test_who_kept_another_document_begins_anew(own_children, redis, session, edit, known):
    """A text is there twice, because an editor kept what is a plain text once more."""
    nodes = [own_children.node(name, REDIS_URL=redis.url, LEAVE_GRACE=0.2) for name in ("north", "south")]
    if known == "of a plain text":
        legacy(redis, session, "x = 1\n")
    ann = edit(nodes[0], session, "ann").is_synced()
    if known == "of its own":
        ann.insert(0, "x = 1\n")
        ann.is_saved()
    ann.has("x = 1\n")
    ann.disconnect()
    for node in nodes:
        node.terminate()
    forget(redis, session)
    legacy(redis, session, "x = 1\n")
    for node in nodes:
        node.start()
    bob = edit(nodes[1], session, "bob").has("x = 1\n")
    ann.connect()
    assert ann.closed()["code"] == RESET
    bob.append("y = 2\n")
    again = edit(nodes[0], session, "ann").has("x = 1\ny = 2\n")
    agree("x = 1\ny = 2\n", again, bob)
    assert nodes[0].state(session)["code"] == "x = 1\ny = 2\n"


def test_who_does_not_ask_first_is_told_as_well(own_children, redis, session, edit, yjs, speak):
    """A client that brings its former document without a question has the text twice, and everybody with it."""
    node = own_children.node("north", REDIS_URL=redis.url, LEAVE_GRACE=0.2)
    legacy(redis, session, "x = 1\n")
    ann = edit(node, session, "ann").has("x = 1\n")
    former = ann.state
    ann.end()
    node.terminate()
    forget(redis, session)
    legacy(redis, session, "x = 1\n")
    node.start()
    bob = edit(node, session, "bob").has("x = 1\n")
    old = speak(node, session, "ann")
    old.send(wire.step_2(former))
    assert old.close_code() == RESET
    bob.append("y = 2\n")
    bob.is_saved()
    assert node.state(session)["code"] == bob.text == "x = 1\ny = 2\n"


def test_who_kept_a_document_nobody_else_has_brings_it_back(own_children, redis, session, edit):
    """An editor that has the whole text is told to throw it away, because the session is a new one."""
    nodes = [own_children.node(name, REDIS_URL=redis.url, LEAVE_GRACE=0.2) for name in ("north", "south")]
    ann = edit(nodes[0], session, "ann").is_synced()
    ann.insert(0, "x = 1\n")
    ann.is_saved()
    ann.disconnect()
    for node in nodes:
        node.terminate()
    forget(redis, session)
    for node in nodes:
        node.start()
    bob = edit(nodes[1], session, "bob").is_synced()
    bob.insert(0, "y = 2\n")
    ann.connect()
    eventually(lambda: sorted(ann.text.splitlines()) == ["x = 1", "y = 2"], "both are there")
    agree(ann.text, bob)
    assert ann.look("closed") is None


def test_a_text_outlives_its_store(own_children, session, edit, yjs, join):
    """A Redis that was emptied empties every editor; or all of them write the same text back."""
    redis = own_children.redis()
    nodes = [own_children.node(name, REDIS_URL=redis.url, LEAVE_GRACE=0.5) for name in ("north", "south")]
    ann, bob = (edit(node, session, user).is_synced() for node, user in zip(nodes, ("ann", "bob")))
    cat = join(nodes[1], session, "cat")
    text = "x = 1 🎉\n" * 20
    ann.insert(0, text)
    bob.has(text).remove(0, 6)
    text = text[6:]
    ann.has(text)
    bob.is_saved()
    redis.client.flushall()
    # Somebody notices when something is written.
    for _ in range(3):
        bob.append("!")
        text += "!"
    agree(text, ann, bob)
    eventually(lambda: cat_has(cat, text), "the pairing user has it, too")
    eventually(lambda: [node.state(session)["code"] for node in nodes] == [text] * 2, "and every node")
    eventually(lambda: yjs.read(*text_record.stored(redis, session))["text"] == text, "and the store")
    ann.insert(0, "goes on\n")
    agree(f"goes on\n{text}", ann, bob)
    late = edit(nodes[0], session, "dan").has(f"goes on\n{text}")
    assert [one.look("closed") for one in (ann, bob, late)] == [None] * 3


def test_a_text_that_nobody_speaks_yjs_of_outlives_its_store(own_children, session, join):
    """The key that finds out that Redis was emptied empties the text: the node throws away what it alone has."""
    redis = own_children.redis()
    node = own_children.node("north", REDIS_URL=redis.url, LEAVE_GRACE=0.5)
    ann, bob = (join(node, session, user) for user in ("ann", "bob"))
    text = "".join(f"line {number}\n" for number in range(50))
    ann.ask("code_change", code=text, base_version=0)
    redis.client.flushall()
    ann.send("code_change", code=text + "more\n", base_version=1)
    there = lambda: node.get(f"/api/v1/session/{session}/state")
    eventually(lambda: there().status == 200 and text in there().json["code"], "what was acknowledged is there")
    eventually(lambda: cat_has(bob, node.state(session)["code"]), "and told")
    shown = lambda: redis.client.hget(f"session:{session}", "code") == node.state(session)["code"]
    eventually(shown, "and where others read it")


def cat_has(peer, text):
    """The text this peer was told last, behind all that is on its way."""
    peer.before_pong()
    texts = [frame["code"] for frame in peer.history if frame["type"] in ("code_update", "session_state")]
    return texts[-1] == text


def test_what_is_stored_is_what_yjs_makes_of_it(nodes, redis, session, yjs, edit, join):
    """The store has something that only this node's library reads like this."""
    ann, bob = edit(nodes[0], session, "ann").is_synced(), join(nodes[1], session, "bob")
    ann.insert(0, "one 🎉\ntwo\n")
    ann.is_saved()
    bob.ask("code_change", code="one 🎊\nthree\n")
    ann.has("one 🎊\nthree\n").remove(4, 2)
    ann.is_saved()
    read = yjs.read(*text_record.stored(redis, session))
    assert (read["text"], read["pending"]) == ("one \nthree\n", False)
    assert read["vector"] == yjs.read(ann.state)["vector"]
