"""The pairing door of one node on its memory backplane: every frame, to whom, and what stays."""

import time

import pytest

from support import shapes
from support.deadline import eventually
from support.http import assert_problem
from support.peer import Peer, door, heard, unique
from support.raw import RawSocket, refused

LEAVE_GRACE = 2
LARGE_TEXT = 33 * 1024


@pytest.fixture(scope="module")
def node(children):
    return children.node(LEAVE_GRACE=LEAVE_GRACE)


@pytest.fixture(scope="module")
def brief(children):
    """A node that forgets an empty session, and one nobody came to, after two seconds."""
    return children.node("brief", SESSION_GRACE=2, SESSION_TTL=2)


@pytest.fixture
def pair(node, session, join):
    """Ann and Bob in one session, Bob last."""
    ann = join(node, session, "ann", "Ann")
    bob = join(node, session, "bob", "Bob")
    ann.hears(shapes.joined("bob", "Bob"))
    return ann, bob


# The greeting


def test_greeting_of_a_new_session_has_exactly_the_documented_fields(node, session, join):
    """A newcomer's page cannot be built because a field is missing, misspelt or of another type."""
    ann = join(node, session, "ann", "Ann Lee")
    assert ann.greeting == {
        "type": "session_state",
        "session_id": session,
        "question_id": "",
        "code": "",
        "chat": [],
        "language": "python",
        "users": [shapes.present("ann", "Ann Lee")],
        "user_count": 1,
        "created_at": shapes.TIME,
        "version": 0,
        "position": shapes.POSITION,
        "resumed": False,
        "timestamp": shapes.TIME,
    }


def test_greeting_tells_what_happened_before(node, session, join):
    """Somebody who comes later sees an empty or an old session."""
    ann = join(node, session, "ann", "Ann")
    ann.ask("code_change", code="x = 1\n")
    ann.ask("language", language="rust")
    ann.send("cursor", cursor={"lineNumber": 1, "column": 4})
    ann.send("chat", message="hello")
    line = ann.until(lambda frame: frame["type"] == "chat_message")[-1]
    greeting = join(node, session, "bob", "Bob").greeting
    assert greeting["code"] == "x = 1\n"
    assert greeting["version"] == 1
    assert greeting["language"] == "rust"
    assert greeting["chat"] == [line], "a line of the history is the line that was heard"
    assert sorted(greeting["users"], key=lambda user: user["user_id"]) == [
        shapes.present("ann", "Ann", {"lineNumber": 1, "column": 4}),
        shapes.present("bob", "Bob"),
    ]
    assert greeting["user_count"] == 2


def test_username_defaults_to_the_user_id(node, session, join):
    """A client without a username is refused, or shown as nobody."""
    ann = join(node, session, "ann")
    assert ann.greeting["users"] == [shapes.present("ann", "ann")]


@pytest.mark.parametrize("user", [None, "", "no spaces", "{x}"])
def test_a_missing_or_malformed_user_id_is_refused(node, session, user):
    """Somebody without an identity gets in, or a browser cannot learn why it did not."""
    assert refused(node, door(session, user)).status == 400
    assert refused(node, door(session, user), Origin="http://example.org").close == 4400


# Every frame, and to whom


@pytest.mark.parametrize("spelling", ["code_change", "code_update"])
def test_code_goes_to_the_others_only(pair, spelling):
    """A change is lost, malformed, or sent back under the sender's own cursor."""
    ann, bob = pair
    ann.send(spelling, code="print('hé 🦀')\n")
    of_ann, of_bob = heard(ann, ann, bob)
    assert of_ann == []
    assert of_bob == [shapes.code_update("ann", "print('hé 🦀')\n", 1)]


@pytest.mark.parametrize("spelling", ["cursor_move", "cursor"])
@pytest.mark.parametrize("code", [{}, {"code": "x = 1"}], ids=["alone", "with code"])
def test_cursor_goes_to_the_others_only(pair, spelling, code):
    """A cursor is lost, echoed, or carries code its sender never gave."""
    ann, bob = pair
    ann.send(spelling, cursor={"lineNumber": 5, "column": 10}, **code)
    bob.hears(shapes.cursor_move("ann", 5, 10, **code))
    assert ann.before_pong() == []


@pytest.mark.parametrize("spelling", ["language_change", "language"])
def test_language_goes_to_all(pair, spelling):
    """The editor that chose the language does not learn that it was chosen."""
    ann, _bob = pair
    ann.send(spelling, language="javascript")
    for peer in pair:
        peer.hears(shapes.language_change("ann", "javascript"))


@pytest.mark.parametrize("spelling", ["chat", "chat_message"])
@pytest.mark.parametrize("field", ["message", "text"])
def test_chat_goes_to_all(pair, spelling, field):
    """A chat line does not appear at its sender, or differs between the two."""
    ann, bob = pair
    ann.send(spelling, **{field: "hello"})
    line = ann.hears(shapes.chat_message("ann", "hello", "Ann"))
    assert bob.recv() == line


def test_ping_is_answered_by_pong_to_the_sender(pair):
    """A client that measures its round trip, or keeps its place, gets nothing to go by."""
    ann, bob = pair
    ann.send("ping")
    ann.hears({"type": "pong", "timestamp": shapes.MILLIS, "position": shapes.POSITION})
    ann.send("ping", id="p1")
    ann.hears({"type": "pong", "id": "p1", "timestamp": shapes.MILLIS, "position": shapes.POSITION})
    assert heard(ann, bob) == [[]]


def test_unknown_fields_are_ignored(pair):
    """A newer client is refused for a field this version does not know."""
    ann, bob = pair
    ann.send("chat", message="hello", colour="red", deep={"er": [1, {}]})
    bob.hears(shapes.chat_message("ann", "hello", "Ann"))


def test_sessions_do_not_hear_each_other(node, pair, join):
    """What happens in one session leaks into another."""
    ann, bob = pair
    other = join(node, unique("session"), "cat")
    ann.send("code_change", code="secret")
    ann.send("cursor", cursor={"lineNumber": 1, "column": 1})
    heard(ann, bob)
    assert heard(other, other) == [[]]


# Coming and going


def test_join_and_leave_are_told_to_the_others(node, session, join, pair):
    """A user appears or vanishes unseen, or is told of themselves."""
    _ann, _bob = pair
    cat = Peer(node, session, "cat", "Cat")
    for peer in pair:
        peer.hears(shapes.joined("cat", "Cat"))
    assert cat.before_pong() == []
    cat.leave()
    for peer in pair:
        peer.hears(shapes.left("cat"))


def test_several_sockets_of_a_user_join_once_and_leave_once(node, session, pair):
    """A second tab makes a second person, or closing it makes the person vanish."""
    ann, bob = pair
    tabs = [Peer(node, session, "cat") for _ in range(3)]
    assert tabs[2].greeting["users"].count(shapes.present("cat")) == 1
    assert tabs[2].greeting["user_count"] == 3
    assert heard(ann, ann, bob) == [[shapes.joined("cat")]] * 2
    for tab in tabs[:-1]:
        tab.leave()
    assert heard(tabs[-1], bob) == [[]]
    tabs[-1].leave()
    bob.hears(shapes.left("cat"))
    assert heard(ann, bob) == [[]]


def test_other_sockets_of_the_sender_hear_the_change(node, session, pair, join):
    """A user's second tab keeps an old text."""
    ann, bob = pair
    tab = join(node, session, "ann", "Ann")
    ann.send("code_change", code="x")
    assert heard(ann, tab, bob) == [[shapes.code_update("ann", "x", 1)]] * 2


@pytest.mark.parametrize("code", [1000, 1001])
def test_a_clean_close_is_told_at_once(own_children, session, join, code):
    """The others see a person who said goodbye for the whole grace period."""
    node = own_children.node(LEAVE_GRACE=60)
    ann = join(node, session, "ann")
    Peer(node, session, "bob").leave(code)
    ann.hears(shapes.joined("bob"), shapes.left("bob"))


def test_a_lost_connection_is_told_after_the_grace_unless_the_user_is_back(node, session, join):
    """A tunnel on a train makes a person flicker, or a person who is gone stays for good."""
    ann = join(node, session, "ann")
    back, gone = Peer(node, session, "back"), Peer(node, session, "gone")
    ann.hears(shapes.joined("back"), shapes.joined("gone"))
    back.drop()
    dropped_at = time.monotonic()
    gone.drop()
    join(node, session, "back")
    # `back` was lost first: had it been told as gone, that would have been heard before.
    ann.hears(shapes.left("gone"))
    assert time.monotonic() - dropped_at >= LEAVE_GRACE * 0.9
    assert heard(ann, ann) == [[]]


# Versions, conflicts, acknowledgements


def test_a_change_with_its_base_version_is_acknowledged(pair):
    """A careful client cannot know that its text was taken, nor which version it is."""
    ann, bob = pair
    ann.send("code_change", code="one", base_version=0)
    ann.hears(shapes.code_ack(1))
    ann.send("code_change", code="two", base_version=1, id="c2")
    ack = ann.hears(shapes.code_ack(2, id="c2"))
    frames = bob.until(lambda frame: frame.get("version") == 2)
    assert frames[-1] == shapes.code_update("ann", "two", 2)
    assert frames[-1]["seq"] == ack["seq"]


def test_a_stale_change_is_merged_and_brings_the_merged_text(pair):
    """Two people who type at once overwrite each other unseen."""
    ann, bob = pair
    ann.ask("code_change", code="her line\n", base_version=0)
    bob.hears(shapes.code_update("ann", "her line\n", 1))
    ann.ask("code_change", code="her new line\n", base_version=1)
    bob.hears(shapes.code_update("ann", "her new line\n", 2))
    bob.send("code_change", code="her line\nhis line\n", base_version=1, id="late")
    both = "her new line\nhis line\n"
    merged = bob.recv()
    assert (merged["type"], merged["code"], merged["version"]) == ("code_update", both, 3)
    bob.hears(shapes.code_ack(3, id="late"))
    assert heard(bob, ann) == [[shapes.code_update("bob", both, 3)]]


def test_a_change_of_a_version_that_never_was_brings_the_current_text(pair):
    """A client of another life of the session writes its text over everybody's."""
    ann, bob = pair
    ann.ask("code_change", code="hers", base_version=0)
    bob.hears(shapes.code_update("ann", "hers", 1))
    bob.send("code_change", code="his", base_version=7, id="lost")
    bob.hears(shapes.error("version_gone", field="base_version", id="lost"))
    current = bob.expect("code_update")
    assert (current["code"], current["version"], current["user_id"]) == ("hers", 1, "ann")
    assert heard(bob, ann) == [[]]


def test_a_change_without_base_version_replaces(pair):
    """A client of the old service, which knows no versions, can no longer write."""
    ann, bob = pair
    ann.ask("code_change", code="one", base_version=0)
    bob.send("code_change", code="two")
    heard(bob, bob)
    assert ann.expect("code_update")["version"] == 2


@pytest.mark.parametrize(
    "command",
    [
        {"type": "chat", "message": "once"},
        {"type": "language", "language": "go"},
        {"type": "code_change", "code": "once"},
    ],
    ids=lambda command: command["type"],
)
def test_a_repeated_command_happens_once(pair, command):
    """A client that repeats a command because its answer was lost says everything twice."""
    ann, bob = pair
    first = ann.ask(**command, id="same")
    assert first == shapes.ack("same")
    again = ann.ask(**command, id="same")
    assert again == shapes.ack("same", first["seq"])
    (of_bob,) = heard(ann, bob)
    assert [frame["seq"] for frame in of_bob] == [first["seq"]]


def test_a_repeated_change_with_base_version_is_not_a_conflict(pair):
    """A repeat of a change that was taken is refused because of itself."""
    ann, bob = pair
    first = ann.ask("code_change", code="once", base_version=0, id="same")
    again = ann.ask("code_change", code="once", base_version=0, id="same")
    assert first == shapes.code_ack(1, id="same")
    assert again == shapes.code_ack(1, id="same")
    assert again["seq"] == first["seq"]
    assert heard(ann, bob) == [[shapes.code_update("ann", "once", 1)]]


def test_a_command_id_belongs_to_its_user(pair):
    """One user's command swallows another's because both were numbered 1."""
    ann, bob = pair
    first = ann.ask("chat", message="from ann", id="1")
    second = bob.ask("chat", message="from bob", id="1")
    assert second["seq"] == first["seq"] + 1


def test_an_error_returns_the_id_of_its_command(pair):
    """A client with several commands under way cannot tell which one failed."""
    ann, _ = pair
    ann.send("chat", message="", id="bad")
    ann.hears(shapes.error("bad_field", field="message", id="bad"))


def test_durable_events_are_numbered_without_holes(node, session, join, pair):
    """A client cannot tell that it missed something."""
    ann, bob = pair
    seqs = [ann.ask("chat", message=f"line {n}")["seq"] for n in range(3)]
    seqs.append(ann.ask("language", language="go")["seq"])
    seqs.append(ann.ask("code_change", code="x")["seq"])
    Peer(node, session, "cat").leave()
    of_bob = bob.until(lambda frame: frame["type"] == "user_left")
    # Cat's coming and going are the last two.
    assert [frame["seq"] for frame in of_bob] == list(range(seqs[0], seqs[0] + 7))


# What stays


def test_the_last_hundred_chat_lines_greet_a_newcomer(node, session, pair, join):
    """The history is lost, grows without bound, or comes in another order."""
    ann, bob = pair
    for number in range(105):
        ann.send("chat", message=f"line {number}")
    lines = [bob.expect("chat_message") for _ in range(105)]
    history = join(node, session, "cat").greeting["chat"]
    assert [line["text"] for line in history] == [f"line {n}" for n in range(5, 105)]
    assert [line["id"] for line in history] == [line["id"] for line in lines[5:]]


def test_the_fullest_session_still_greets(node, session, pair, join):
    """A session that used its allowances in full can no longer be entered."""
    ann, bob = pair
    ann.ask("code_change", code="c" * 512 * 1024)
    for number in range(100):
        ann.send("chat", message=f"{number} ".ljust(8 * 1024, "."))
        bob.until(lambda frame: frame["type"] == "chat_message")
    cat = join(node, session, "cat")
    assert len(cat.greeting["code"]) == 512 * 1024
    assert len(cat.greeting["chat"]) == 100
    assert heard(ann, cat) == [[]]


def test_rest_state_shows_the_session(node, session, pair):
    """Other services see another session than the people in it."""
    ann, bob = pair
    ann.ask("code_change", code="x = 1")
    bob.send("cursor", cursor={"lineNumber": 2, "column": 3})
    ann.expect("cursor_move")
    state = node.state(session)
    users = state.pop("users")
    assert state == {
        "session_id": session,
        "question_id": "",
        "code": "x = 1",
        "language": "python",
        "created_at": shapes.TIME,
        "version": 1,
    }
    assert sorted(users, key=lambda user: user["user_id"]) == [
        {"user_id": "ann", "username": "Ann", "cursor": None},
        {"user_id": "bob", "username": "Bob", "cursor": {"lineNumber": 2, "column": 3}},
    ]


def test_rest_state_of_an_unknown_session(node, session):
    """Asking for a session makes one, or the answer is no problem document."""
    for _ in range(2):
        assert_problem(node.get(f"/api/v1/session/{session}/state"), 404, "not_found")


def match(session, **fields):
    body = {
        "event_type": "match.found",
        "session_id": session,
        "users": ["ann", "bob"],
        "question_id": "q-17",
        "difficulty": "easy",
        "topic": "Array",
    }
    return body | fields


def test_rest_creates_a_matched_session(node, session, join):
    """A match does not lead to a session, or a second notice of it starts it anew."""
    created = node.post("/api/v1/session", match(session))
    assert created.status == 201, created
    assert created.json["session_id"] == session
    assert node.state(session)["question_id"] == "q-17"
    ann = join(node, session, "ann")
    assert ann.greeting["question_id"] == "q-17"
    assert ann.greeting["users"] == [shapes.present("ann")], "who was matched is not there yet"
    ann.ask("code_change", code="kept")
    assert node.post("/api/v1/session", match(session, question_id="q-18")).status == 200
    assert node.state(session)["code"] == "kept"
    assert node.state(session)["question_id"] == "q-17"


def test_an_ended_session_closes_its_sockets_and_stays_ended(node, session, pair):
    """A deleted session lives on, comes to life again, or its people are left in the dark."""
    other = Peer(node, unique("session"), "dan")
    assert node.delete(f"/api/v1/session/{session}").status == 204
    for peer in pair:
        ended = peer.expect("session_ended")
        assert ended == {"type": "session_ended", "seq": shapes.NUMBER, "timestamp": shapes.TIME}
        assert peer.close_code() == 4410
    assert refused(node, door(session, "ann")).status == 410
    assert refused(node, door(session, "ann"), Origin="http://example.org").close == 4410
    assert_problem(node.get(f"/api/v1/session/{session}/state"), 410)
    assert node.post("/api/v1/session", match(session)).status == 410
    assert other.before_pong() == []
    other.leave()


def test_an_empty_session_is_kept_for_the_grace_and_then_forgotten(brief):
    """A reload loses everything, or an empty session is kept for ever."""
    left, visited = unique("session"), unique("session")
    for session in (left, visited):
        with Peer(brief, session, "ann") as ann:
            ann.ask("code_change", code="kept")
    with Peer(brief, visited, "ann") as ann:
        assert ann.greeting["code"] == "kept"
        assert brief.state(left)["code"] == "kept"
        eventually(lambda: brief.get(f"/api/v1/session/{left}/state").status == 404, "the grace ends")
        # The other one was empty at the same time, but somebody came back.
        assert ann.before_pong() == []
        assert brief.state(visited)["code"] == "kept"
    with Peer(brief, left, "ann") as ann:
        assert (ann.greeting["code"], ann.greeting["version"]) == ("", 0)


def test_a_session_nobody_came_to_is_forgotten(brief, session):
    """Matches that came to nothing fill the store."""
    assert brief.post("/api/v1/session", match(session)).status == 201
    assert brief.state(session)["question_id"] == "q-17"
    eventually(
        lambda: brief.get(f"/api/v1/session/{session}/state").status == 404, "the session is forgotten"
    )


# Text under pressure


def test_a_slow_reader_gets_the_newest_text_only(node, session, join):
    """Somebody on a bad line is closed, or fed a thousand outdated texts."""
    writer = join(node, session, "ann")
    with RawSocket(node, door(session, "bob"), receive_buffer=4096) as reader:
        reader.recv_json()
        count = 800
        for number in range(count):
            writer.send("code_change", code=f"{number} ".ljust(30_000, "."))
        writer.ask("code_change", code="the last one")
        texts = [reader.recv_json()]
        while texts[-1]["code"] != "the last one":
            texts.append(reader.recv_json())
    versions = [text["version"] for text in texts]
    assert versions == sorted(set(versions)), "an older text came after a newer one"
    assert versions[-1] == count + 1
    assert len(texts) < count / 2


def test_large_texts_come_at_most_ten_times_a_second(pair):
    """Every keystroke in a large file costs every reader the whole file."""
    ann, bob = pair
    start = time.monotonic()
    last = 60
    for number in range(1, last + 1):
        ann.send("code_change", code=f"{number} ".ljust(LARGE_TEXT, "."))
    texts = bob.until(lambda frame: frame.get("version") == last)
    seconds = time.monotonic() - start
    assert texts[-1]["code"].startswith(f"{last} ")
    versions = [text["version"] for text in texts]
    assert versions == sorted(set(versions))
    assert len(texts) <= seconds * 10 + 2, f"{len(texts)} texts in {seconds:.2f} s"


def test_the_largest_code_passes(pair):
    """A text of the documented size is refused, or breaks on its way."""
    ann, bob = pair
    code = "é" * (256 * 1024)
    ann.send("code_change", code=code, base_version=0)
    ann.hears(shapes.code_ack(1))
    bob.hears(shapes.code_update("ann", code, 1))


def test_chat_is_not_held_up_by_texts(pair):
    """A chat line waits behind texts that are held back for their size."""
    ann, bob = pair
    for number in range(20):
        ann.send("code_change", code=f"{number} ".ljust(LARGE_TEXT, "."))
    for number in range(20):
        ann.send("chat", message=f"line {number}")
    frames = bob.until(lambda frame: frame.get("text") == "line 19")
    lines = [frame["text"] for frame in frames if frame["type"] == "chat_message"]
    assert lines == [f"line {number}" for number in range(20)]
    if not any(frame.get("version") == 20 for frame in frames):
        bob.until(lambda frame: frame.get("version") == 20)
