"""What is wrong at the review door is named, and nobody else notices; what is odd comes back as it was."""

import json
from dataclasses import dataclass

import jwt
import pytest

from support import kept, shapes, tokens
from support import review_shapes as review
from support.accounts import Person
from support.deadline import eventually
from support.http import assert_problem
from support.peer import unique
from support.place import place_of
from support.raw import BINARY, TEXT, RawSocket, refused, turned_away
from support.recorded import Visitor, given, look, made
from support.review import Reviewer, cast, heard, missed, told, way
from support.tokens import bearer, token

# A field that is not there, and the id of no message.
MISSING, NOWHERE = object(), "01a22003-949e-7270-8ba7-6042daf155e2"
META = "'; DROP TABLE messages; -- \" % _ \\ $1 ? :name {0} x'OR'1'='1"
MAX_TEXT, MAX_FILE, MAX_EMOJI, MAX_PLACE = 8 * 1024, 1_024, 64, 100_000_000


@pytest.fixture(scope="module", params=["tokens", "cluster"])
def place(request, children):
    return place_of(request.param, request, children, MAX_BAD_FRAMES=10_000)


of_tokens = pytest.mark.parametrize("place", ["tokens"], indirect=True)
of_cluster = pytest.mark.parametrize("place", ["cluster"], indirect=True)


@pytest.fixture
def people(place):
    return cast(place)


@dataclass
class Scene:
    """The host, who sends, an editor on another node, who listens, and what has been said."""

    sender: Reviewer
    listener: Reviewer
    ids: dict


@pytest.fixture
def scene(place, people, attend):
    sender, listener = (
        attend(place.north, people.session, people.host),
        attend(place.south, people.session, people.editor),
    )
    ids = {"chat": sender.say("A line")["id"], "comment": sender.comment("A comment")["id"], "to": people.editor.id}
    listener.find(lambda frame: frame.get("id") == ids["comment"])
    return Scene(sender, listener, ids)


# Every field of every command

NOT_TEXT = [MISSING, None, 7, True, [], {}, ["x"]]
WORDS = [*NOT_TEXT, "", "x" * (MAX_TEXT + 1), "é" * (MAX_TEXT // 2 + 1), "a\0b", "\0"]
FILE = [*NOT_TEXT, "", "x" * (MAX_FILE + 1), "😀" * (MAX_FILE + 1), "a\0b"]
NUMBER = [MISSING, None, 0, -1, 1.5, "1", "", True, [], {}, MAX_PLACE + 1, 10**30, 1e300]
EMOJI = [*NOT_TEXT, "", " ", "a b", "👍 ", "a\tb", "\n", "a\0b", "\x7f", "\x85", "x" * (MAX_EMOJI + 1), "👍" * 17]
OPTIONAL = lambda values: [value for value in values if value not in (MISSING, None)]

# What is right, with `chat`, `comment` and `to` for ids; and for each field what is not.
COMMANDS = {
    "chat_message": (
        {"content": "x", "data": {"reply_to": "chat", "to_user": None}},
        {
            "content": WORDS,
            "data": [7, True, "x", []],
            "data.reply_to": [7, True, [], {}],
            "data.to_user": [7, True, [], {}],
        },
    ),
    "cursor_update": (
        {"data": {"file": "f", "line": 1, "column": 1}},
        {"data": [*NOT_TEXT[:-1], "x"], "data.file": FILE, "data.line": NUMBER, "data.column": NUMBER},
    ),
    "viewport_update": (
        {"data": {"file": "f", "start_line": 1, "end_line": MAX_PLACE}},
        {"data": [7, []], "data.file": FILE, "data.start_line": NUMBER, "data.end_line": NUMBER},
    ),
    "presence_update": (
        {"data": {"status": "active"}},
        {"data": [MISSING, None, 7, []], "data.status": [*NOT_TEXT, "", "Away", "busy", "x" * 10_000, "a\0b"]},
    ),
    "code_comment": (
        {"data": {"file": "f", "line": 1, "content": "x", "code_snippet": "y", "reply_to": "comment"}},
        {
            "data": [MISSING, None, 7, []],
            "data.file": FILE,
            "data.line": NUMBER,
            "data.content": WORDS,
            "data.code_snippet": OPTIONAL([value for value in WORDS if value != ""]),
            "data.reply_to": [7, True, [], {}],
        },
    ),
    "reaction": (
        {"data": {"message_id": "chat", "emoji": "👍", "action": "add"}},
        {
            "data": [MISSING, None, 7, []],
            "data.message_id": NOT_TEXT,
            "data.emoji": EMOJI,
            "data.action": [*NOT_TEXT, "", "Add", "toggle"],
        },
    ),
    "session_update": (
        {"data": {"title": "T", "description": "D", "language": "go", "default_role": "viewer"}},
        {
            "data": [MISSING, None, 7, []],
            "data.title": [7, True, [], {}, "", " ", "x" * 201, "a\0b", "a\nb"],
            "data.description": [7, True, [], {}, "x" * 4_001, "a\0b"],
            "data.language": [7, True, [], {}, "", "x" * 65, "a\0b"],
            "data.default_role": [7, True, [], {}, "", "host", "banned", "owner", "Viewer"],
        },
    ),
    "message_edit": (
        {"data": {"message_id": "chat", "content": "y"}},
        {"data": [MISSING, None, 7, []], "data.message_id": NOT_TEXT, "data.content": WORDS},
    ),
    "message_delete": (
        {"data": {"message_id": "chat"}},
        {"data": [MISSING, None, 7, []], "data.message_id": NOT_TEXT},
    ),
    "comment_resolve": (
        {"data": {"comment_id": "comment", "resolved": True}},
        {
            "data": [MISSING, None, 7, []],
            "data.comment_id": NOT_TEXT,
            "data.resolved": [MISSING, None, 0, 1, "true", "", [], {}],
        },
    ),
    "code_change": (
        {"code": "x = 1", "base_version": 0},
        {"code": [MISSING, None, 7, True, [], {}, "x" * (512 * 1024 + 1), "a\0b"], "base_version": [-1, 0.5, "0", []]},
    ),
    "auth": ({"token": "t"}, {"token": NOT_TEXT}),
}


def said(right, ids):
    """A command's fields, with the ids that are meant."""
    data = right.get("data")
    return right | {"data": {name: ids.get(value, value) for name, value in data.items()}} if data else dict(right)


def changed(fields, name, value):
    """The same with one field of another value, or without it."""
    *outer, last = name.split(".")
    fields = json.loads(json.dumps(fields))
    inside = fields[outer[0]] if outer else fields
    if value is MISSING:
        del inside[last]
    else:
        inside[last] = value
    return fields


def state_of(place, people):
    node, who, session = place.north, people.host, people.session
    listed = [one for one in kept.messages(node, who, session) if not one["content"].startswith("marker")]
    return listed, kept.comments(node, who, session), look(node, who, session).json


@of_cluster
@pytest.mark.parametrize("type,name", [(type, name) for type, (_, fields) in COMMANDS.items() for name in fields])
def test_a_field_that_is_wrong_is_named(place, people, scene, type, name):
    """A client is not told which field was wrong; or what was wrong is told to the others, or kept."""
    right, fields = COMMANDS[type]
    before = state_of(place, people)
    for value in fields[name]:
        wrong = changed(said(right, scene.ids), name, value)
        answer = scene.sender.ask(type, **wrong)
        assert answer == shapes.error("bad_field", id=shapes.STRING, field=shapes.STRING), (value, answer)
        # Of a `data` that is no object, or is not there, its first field may be the one that lacks.
        assert answer["field"] == name or (name == "data" and answer["field"].startswith("data.")), (value, answer)
        assert len(answer["message"]) < 1_000, "an error does not repeat what it was sent"
        # Without an id it is the same.
        scene.sender.send(type, **wrong)
        assert scene.sender.expect("error")["field"] == answer["field"]
    assert heard(scene.sender, scene.listener) == [[]]
    assert state_of(place, people) == before


@of_tokens
@pytest.mark.parametrize("type", [type for type in COMMANDS if type != "auth"])
def test_what_is_right_is_taken_and_unknown_fields_are_not_looked_at(scene, type):
    """A newer client cannot talk to an older node; or the tables above test nothing."""
    fields = said(COMMANDS[type][0], scene.ids)
    fields |= {"colour": "red", "seq": 7, "user": {"user_id": "eve"}, "user_id": "eve", "timestamp": 7, "role": "host"}
    if "data" in fields:
        fields["data"] |= {"colour": {"r": [1] * 100}, "user_id": "eve", "id": 7}
    scene.sender.send(type, **fields)
    about = lambda frame: scene.sender.user in (frame.get("user_id"), frame.get("user", {}).get("user_id"))
    if type != "presence_update":
        assert about(scene.listener.recv())
    assert [frame for frame in scene.sender.before_pong() if frame["type"] == "error"] == []


@pytest.mark.parametrize("data", [{"start_line": 9, "end_line": 8}, {"start_line": MAX_PLACE, "end_line": 1}], ids=str)
def test_a_viewport_that_ends_before_it_begins(scene, data):
    """A map of who looks where cannot be drawn."""
    answer = scene.sender.ask("viewport_update", data={"file": "f"} | data)
    assert (answer["code"], answer["field"]) in (("bad_field", "data.start_line"), ("bad_field", "data.end_line"))
    assert heard(scene.sender, scene.listener) == [[]]


@of_tokens
@pytest.mark.parametrize("id", [7, True, {}, [], "", "x" * 65])
def test_an_id_of_a_command_that_is_none(scene, id):
    """A command is kept by a name that nobody can say again."""
    scene.sender.send("chat_message", content="x", id=id)
    assert scene.sender.expect("error")["field"] == "id"
    assert heard(scene.sender, scene.listener) == [[]]


@pytest.mark.parametrize("id", [META, "😀" * 64, "a\0b", " "])
def test_an_odd_id_of_a_command(place, people, scene, id):
    """A command's id that a database does not take looks like a database that is away."""
    answers = [scene.sender.ask("chat_message", content="canary", id=id) for _ in range(2)]
    assert [answer["type"] for answer in answers] == ["ack", "ack"]
    assert answers[0]["seq"] == answers[1]["seq"]
    assert kept.contents(kept.messages(place.south, people.editor, people.session)).count("canary") == 1


FRAMES = {
    "not json": ("hello", "bad_frame"),
    "empty": ("", "bad_frame"),
    "half": ('{"type":"chat_message"', "bad_frame"),
    "two": ('{"type":"ping"}{"type":"ping"}', "bad_frame"),
    "null": ("null", "bad_frame"),
    "array": ('["chat_message","x"]', "bad_frame"),
    "deep": ("[" * 60_000, "bad_frame"),
    "deep data": ('{"type":"chat_message","content":"x","data":' + "[" * 20_000 + "]" * 20_000 + "}", None),
    "surrogate": ('{"type":"chat_message","content":"\\ud800"}', None),
    "no type": ("{}", "bad_frame"),
    "type is a number": ('{"type":7}', None),
    "unknown": ('{"type":"dance"}', "unknown_type"),
    "huge type": (json.dumps({"type": "x" * 50_000}), "unknown_type"),
    "in capitals": ('{"type":"CHAT_MESSAGE","content":"x"}', "unknown_type"),
    "the pairing door's": ('{"type":"chat","message":"x"}', "unknown_type"),
    "the server's": ('{"type":"connected"}', "unknown_type"),
    "another of the server's": ('{"type":"user_joined","user":{"user_id":"eve"}}', "unknown_type"),
}


@of_tokens
@pytest.mark.parametrize("text,code", FRAMES.values(), ids=FRAMES)
def test_a_bad_frame_is_answered_and_nobody_else_notices(scene, text, code):
    """A frame that is wrong closes the socket, goes unanswered, or reaches the others."""
    scene.sender.send_raw(text)
    answer = scene.sender.expect("error")
    assert answer["code"] == code if code else answer["code"] in ("bad_frame", "bad_field"), answer
    assert len(answer["message"]) < 1_000
    assert heard(scene.sender, scene.listener) == [[]]


@of_tokens
def test_what_is_no_text_at_all(place, people, scene):
    """A frame that no dialect can read is taken for one, or the node ends."""
    for number, (opcode, payload, code) in enumerate(
        [(BINARY, b"{}", 1003), (TEXT, b'{"type":"\xff"}', 1007), (TEXT, b"x" * ((1 << 20) + 1), 1009)]
    ):
        with RawSocket(place.north, way(people.session, token=people.stranger.token)) as raw:
            assert raw.recv_json()["type"] == "connected", number
            raw.send_frame(opcode, payload)
            assert raw.closing() == code
    assert [frame["type"] for frame in heard(scene.sender, scene.listener)[0] if frame["type"] == "chat_message"] == []


@of_cluster
def test_a_megabyte_of_chat_is_refused_and_of_code_is_too(scene):
    """What is too long is told to everybody first."""
    for type, field, fields in (
        ("chat_message", "content", {"content": "x" * ((1 << 20) - 200)}),
        ("code_change", "code", {"code": "x" * ((1 << 20) - 200)}),
        ("code_comment", "data.content", {"data": {"file": "f", "line": 1, "content": "x" * ((1 << 20) - 200)}}),
    ):
        scene.sender.refused("bad_field", type, field, **fields)
    assert heard(scene.sender, scene.listener) == [[]]


def test_the_twenty_first_bad_frame_of_a_minute_closes(children, attend):
    """A broken client costs the node an answer for every frame, for ever."""
    node = children.node("strict", HOST="127.0.0.1", JWT_SECRET=tokens.SECRET)
    ann = Visitor(node)
    reviewer = attend(node, made(node, ann), ann)
    frames = ["nonsense", '{"type":"dance"}', '{"type":"chat_message","content":7}', '{"type":"reaction"}']
    for number in range(20):
        reviewer.send_raw(frames[number % len(frames)])
        reviewer.expect("error")
    # What is refused for other reasons is no mistake.
    reviewer.refused("not_found", "message_delete", "data.message_id", data={"message_id": NOWHERE})
    reviewer.send_raw(frames[0])
    assert reviewer.close_code() == 4400


# What is odd, and right

ODD = {
    "meta": META,
    "scripts": "日本語 – العربية e\u0301 \u202e\u2028\ufeff",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f\x85",
    "html": "<script>alert(1)</script>&amp;",
    "blank": " \n\t ",
    "long": "é" * (MAX_TEXT // 2),
    "json": '{"type":"chat_message"}\\u0000\\n',
}


@pytest.mark.parametrize("words", ODD.values(), ids=ODD)
def test_what_is_odd_comes_back_as_it_was(place, people, scene, attend, words):
    """A text is cut, changed on its way, read as SQL, or makes the history unreadable."""
    line = scene.sender.say(words, reply_to=scene.ids["chat"])
    shape = review.chat(people.host, words, reply_to=scene.ids["chat"])
    assert scene.listener.at(line["seq"], "chat_message") == shape
    other = scene.sender.say("to be edited")
    assert scene.sender.edit(other["id"], words)["data"]["content"] == words
    private = scene.sender.say(words, to_user=people.editor.id)
    assert scene.listener.at(private["seq"], "chat_message")["content"] == words
    # Which characters a file's name has is its maker's business, but for those that nobody can type.
    file = "".join(one for one in words[:MAX_FILE] if one.isprintable()) or "f"
    comment = scene.sender.comment(words, file, MAX_PLACE, code_snippet=words)
    shape = review.comment(people.host, words, file, MAX_PLACE, code_snippet=words)
    assert scene.listener.at(comment["seq"], "code_comment") == shape
    node, who, session = place.south, people.editor, people.session
    listed = {one["id"]: one for one in kept.messages(node, who, session)}
    assert [listed[one["id"]]["content"] for one in (line, other, private)] == [words] * 3
    [found] = kept.comments(node, who, session, file=file)
    assert (found["content"], found["file"], found["line"], found["code_snippet"]) == (words, file, MAX_PLACE, words)
    greeted = {frame["id"]: frame["content"] for frame in attend(node, session, who).greeting["messages"]}
    assert [greeted[one["id"]] for one in (line, other, private)] == [words] * 3
    replayed = [frame for frame in kept.replay(node, who, session) if frame.get("id") in (line["id"], comment["id"])]
    assert replayed == [line, comment]
    scene.sender.point(file, MAX_PLACE, MAX_PLACE)
    scene.listener.hear("cursor_update", scene.sender.user, **review.cursor(file, MAX_PLACE, MAX_PLACE))
    assert set(kept.presence(node, who, session, file=file)) == {people.host.id}


@pytest.mark.parametrize("emoji", ["👍", "👩‍👩‍👧‍👦", "x" * MAX_EMOJI, "';DROP--", ":+1:", "é", "\\u0000", "$1"])
def test_an_odd_emoji_comes_back_as_it_was(place, people, scene, emoji):
    """Two emojis are taken for one, or one for SQL."""
    shape = review.reaction(people.host, scene.ids["chat"], emoji, "add", [people.host])
    assert scene.listener.at(scene.sender.react(scene.ids["chat"], emoji)["seq"], "reaction_update") == shape
    [listed] = kept.messages(place.south, people.editor, people.session)
    assert listed["reactions"] == [{"emoji": emoji, "users": [people.host.id]}]
    assert kept.stats(place.south, people.editor, people.session)["reactions"] == [{"emoji": emoji, "count": 1}]


def test_an_odd_title_comes_back_as_it_was(place, people, scene, attend):
    """A title is read as SQL, or differs at the doors."""
    scene.sender.change_session(title=META, description=META, language="日本語")
    for changed in ({"title": META, "description": META}, {"language": "日本語"}):
        scene.listener.hear("session_update", people.host.id, **changed)
    known = lambda: look(place.south, people.host, people.session).json
    assert (known()["title"], known()["description"]) == (META, META)
    eventually(lambda: known()["language"] == "日本語", "the records know")
    greeted = attend(place.south, people.session, people.viewer).greeting["session"]
    assert greeted == {"title": META, "language": "日本語", "default_role": "viewer"}


# Messages that are none

NO_IDS = ["", "nothing", NOWHERE, META, "x" * 10_000, "a\0b", "00000000-0000-0000-0000-000000000000"]


def commands_about(message):
    """Everything that names a message: type, the field that does, and the rest."""
    return [
        ("chat_message", "reply_to", {"content": "canary", "data": {"reply_to": message}}),
        ("code_comment", "reply_to", {"data": {"file": "f", "line": 1, "content": "canary", "reply_to": message}}),
        ("reaction", "message_id", {"data": {"message_id": message, "emoji": "👎", "action": "add"}}),
        ("reaction", "message_id", {"data": {"message_id": message, "emoji": "👎", "action": "remove"}}),
        ("message_edit", "message_id", {"data": {"message_id": message, "content": "canary"}}),
        ("message_delete", "message_id", {"data": {"message_id": message}}),
        ("comment_resolve", "comment_id", {"data": {"comment_id": message, "resolved": True}}),
    ]


def assert_not_found(sender, message, but=()):
    for type, name, fields in commands_about(message):
        if type not in but:
            answer = sender.ask(type, **fields)
            assert answer["type"] == "error" and answer["code"] == "not_found", (type, fields, answer)
            assert answer.get("field") in (None, f"data.{name}"), answer


@pytest.mark.parametrize("message", NO_IDS, ids=lambda id: repr(id[:12]))
def test_a_message_that_never_was(scene, message):
    """An id that is none stops a node, or is taken for a database that is away."""
    for type, name, fields in commands_about(message):
        answer = scene.sender.ask(type, **fields)
        assert answer["type"] == "error" and answer["code"] in ("not_found", "bad_field"), (type, answer)
        assert answer.get("field") in (None, f"data.{name}"), answer
    assert heard(scene.sender, scene.listener) == [[]]


def test_a_message_of_another_session(place, people, scene, attend):
    """Whoever knows an id changes what is said where they never were, or reads it."""
    other = cast(place)
    there = attend(place.south, other.session, other.host)
    line, comment = there.say("canary of others"), there.comment("canary of others")
    for one in (line, comment):
        assert_not_found(scene.sender, one["id"])
        for name in ("before", "thread"):
            answer = kept.ask(place.south, people.host, people.session, "messages", **{name: one["id"]})
            assert "canary" not in answer.text and answer.status in (200, 400, 404), answer
    assert heard(scene.sender, scene.listener) == [[]]
    heard(there)
    assert kept.contents(kept.comments(place.north, other.host, other.session)) == ["canary of others"]
    assert "canary of others" in kept.contents(kept.messages(place.north, other.host, other.session))


def test_a_message_that_was_deleted(place, people, scene, attend):
    """What was taken back goes on being talked about, and is shown in what was answered."""
    editor = attend(place.south, people.session, people.editor)
    line, comment = editor.say("canary"), editor.comment("canary", code_snippet="canary")
    reaction = editor.react(line["id"])
    for one in (line, comment):
        editor.delete(one["id"])
    for one in (line, comment):
        type = "message_delete"
        assert_not_found(scene.sender, one["id"], but=(type, "chat_message", "code_comment", "comment_resolve"))
        assert_not_found(editor, one["id"], but=(type, "chat_message", "code_comment", "comment_resolve"))
        # Twice is as good as once, and nobody is told.
        assert editor.ask(type, data={"message_id": one["id"]})["type"] == "ack"
    heard(scene.sender, editor)
    deleted = [frame["data"]["message_id"] for frame in told(editor, "message_deleted")]
    assert deleted == [line["id"], comment["id"]]
    assert "canary" not in kept.everything(place.north, people.host, people.session)
    assert reaction["data"]["users"] == [people.editor.id]
    [found] = [one for one in kept.messages(place.south, people.host, people.session) if one["id"] == line["id"]]
    assert (found["deleted"], found["content"]) == (True, "")


def test_a_comment_is_no_chat_message(scene):
    """An answer hangs in a thread that is shown nowhere."""
    chat, comment = scene.ids["chat"], scene.ids["comment"]
    scene.sender.refused("not_found", "chat_message", "data.reply_to", content="x", data={"reply_to": comment})
    data = {"file": "f", "line": 1, "content": "x", "reply_to": chat}
    scene.sender.refused("not_found", "code_comment", "data.reply_to", data=data)
    scene.sender.refused(
        "not_found", "comment_resolve", "data.comment_id", data={"comment_id": chat, "resolved": True}
    )
    # Reactions, edits and deletions are of both.
    for one in (chat, comment):
        scene.sender.react(one)
        assert scene.sender.edit(one, "changed")["data"]["message_id"] == one
        scene.sender.delete(one)


def test_what_is_done_already_is_acknowledged_and_not_told(place, people, scene):
    """Two clicks are two events, or the second one an error."""
    chat, comment = scene.ids["chat"], scene.ids["comment"]
    scene.sender.react(chat)
    scene.sender.resolve(comment)
    heard(scene.sender, scene.listener)
    for type, data in (
        ("reaction", {"message_id": chat, "emoji": "👍", "action": "add"}),
        ("reaction", {"message_id": chat, "emoji": "👎", "action": "remove"}),
        ("comment_resolve", {"comment_id": comment, "resolved": True}),
    ):
        assert scene.sender.ask(type, data=data)["type"] == "ack", type
    assert heard(scene.sender, scene.listener) == [[]]
    [listed] = [one for one in kept.messages(place.south, people.editor, people.session) if one["id"] == chat]
    assert listed["reactions"] == [{"emoji": "👍", "users": [people.host.id]}]


def test_so_many_reactions_and_no_more(children, attend):
    """One message grows until nobody can load it."""
    node = children.node("narrow", HOST="127.0.0.1", JWT_SECRET=tokens.SECRET, REACTIONS_PER_MESSAGE=3)
    ann = Visitor(node)
    reviewer = attend(node, session := made(node, ann), ann)
    line = reviewer.say("React")["id"]
    for emoji in "abc":
        reviewer.react(line, emoji)
    assert reviewer.ask("reaction", data={"message_id": line, "emoji": "d", "action": "add"})["code"] == "too_many"
    # What is there already is no more; and where one went another may come.
    assert reviewer.ask("reaction", data={"message_id": line, "emoji": "a", "action": "add"})["type"] == "ack"
    reviewer.react(line, "a", "remove")
    reviewer.react(line, "d")
    [listed] = kept.messages(node, ann, session)
    assert sorted(one["emoji"] for one in listed["reactions"]) == ["b", "c", "d"]


# Mentions, and who is spoken to


def test_who_is_mentioned(place, attend):
    """Somebody is called who was not meant, or not called who was."""
    mia, bob, eve = (Person(place.north, username=unique(word)) for word in ("mia", "bob", "eve"))
    longer = Person(place.north, username=f"{mia.username}.b")
    for one in (mia, bob, eve, longer):
        one.name, one.token = one.username, one.login()
    session = made(place.north, mia)
    given(place.north, mia, session, bob, "editor")
    given(place.north, mia, session, longer, "viewer")
    sender, there = attend(place.north, session, mia), attend(place.south, session, eve)
    sender.hear("user_joined", eve.id)
    cases = [
        (f"@{bob.username}", [bob]),
        (f"@{bob.username.upper()}!", [bob]),
        (f"({bob.username}) (@{bob.username})", [bob]),
        (f"@{bob.id}: look", [bob]),
        (f"@{bob.username}, @{bob.username} and @{eve.username}", [bob, eve]),
        (f"@{longer.username}", [longer]),
        (f"mail{bob.username}@{bob.username}", []),
        (f"me@{bob.username}.example.org", []),
        (f"x@{bob.username}", []),
        (f"@{unique('nobody')}", []),
        (f"@ {bob.username}", []),
        ("@", []),
        ("@@@", []),
        (f"\n@{bob.username}\n", [bob]),
    ]
    for words, mentioned in cases:
        line = sender.say(words)
        assert sorted(line["mentions"]) == sorted(one.id for one in mentioned), words
        assert there.at(line["seq"], "chat_message") == line
        comment = sender.comment(words)
        assert sorted(comment["mentions"]) == sorted(one.id for one in mentioned), words
    edit = sender.edit(line["id"], f"now @{eve.username}")
    assert edit["data"]["mentions"] == [eve.id]
    private = sender.say(f"@{eve.username} and @{bob.username}", to_user=bob.id)
    assert private["mentions"] == [bob.id], "of those who can read it"
    # Who has a role is mentioned also when not there; who was only there is not any more.
    there.leave()
    sender.hear("user_left", eve.id)
    assert sender.say(f"@{eve.username}")["mentions"] == []
    listed = kept.messages(place.south, mia, session, limit=200)
    by_id = {one["id"]: one["mentions"] for one in listed}
    assert by_id[line["id"]] == [eve.id] and by_id[private["id"]] == [bob.id]


def test_who_can_be_spoken_to(place, people, attend):
    """Words go to somebody who is not there and never was, or who was shut out."""
    host = attend(place.north, people.session, people.host)
    given(place.north, people.host, people.session, banned := Visitor(place.north, "eve"), "banned")
    elsewhere = Visitor(place.south, "fay")
    for who in (people.host.id, people.stranger.id, banned.id, elsewhere.id, unique("nobody"), META, "", "x" * 10_000):
        answer = host.ask("chat_message", content="canary", data={"to_user": who})
        assert answer["type"] == "error" and answer["code"] in ("not_found", "bad_field"), (who, answer)
        assert answer["code"] == "not_found" or who in (people.host.id, META, "", "x" * 10_000), (who, answer)
    # Who has a role need not be there; who is there needs no role.
    assert host.say("later", to_user=people.editor.id)["to_user"] == people.editor.id
    there = attend(place.south, people.session, people.stranger)
    host.hear("user_joined", people.stranger.id)
    line = host.say("now", to_user=people.stranger.id)
    assert there.at(line["seq"], "chat_message")["content"] == "now"
    assert kept.contents(kept.messages(place.south, people.editor, people.session)) == ["later"]


def test_what_is_private_stays_between_two(place, people, attend, join):
    """A third one reads along: live, greeted, coming back, by REST; or learns by an error that there was something."""
    host, editor = attend(place.north, people.session, people.host), attend(place.south, people.session, people.editor)
    second = attend(place.north, people.session, people.editor)
    given(place.north, people.host, people.session, people.stranger, "host")
    given(place.north, people.host, people.session, people.viewer, "editor")
    # A third one who is a host as well, and one at each door.
    third = attend(place.south, people.session, people.stranger)
    pairing = join(place.north, people.session, token=people.viewer.token)
    pairing_too = join(place.north, people.session, token=people.editor.token)
    since = third.position()
    private = host.say("canary", to_user=people.editor.id)
    for socket in (editor, second):
        assert socket.at(private["seq"], "chat_message") == private
    letter = pairing_too.until(lambda frame: frame["type"] == "chat_message")[-1]
    assert (letter["text"], letter["to_user"]) == ("canary", people.editor.id)
    answer = editor.say("canary back", to_user=people.host.id, reply_to=private["id"])
    editor.react(private["id"])
    editor.edit(answer["id"], "canary changed")
    host.react(answer["id"], "🎉")
    later = editor.say("canary gone", to_user=people.host.id)
    editor.delete(later["id"])
    # For a third one it never was, whatever they are.
    assert_not_found(third, private["id"])
    for who in (host, editor):
        for data in ({}, {"to_user": third.user}):
            refusal = who.ask("chat_message", content="x", data={"reply_to": private["id"]} | data)
            assert refusal["code"] in ("not_found", "bad_field"), "an answer is between the same two"
    # Of somebody else's words neither of the two says they were others.
    host.refused("forbidden", "message_edit", data={"message_id": answer["id"], "content": "x"})
    seen = [*heard(host, third), pairing.before_pong(), attend(place.north, people.session, third.who).greeting]
    third.leave()
    _, frames = missed(attend, place.north, people.session, third.who, since)
    seen += [frames, kept.everything(place.north, third.who, people.session)]
    seen.append(join(place.south, people.session, token=people.viewer.token).greeting)
    text = json.dumps(seen, ensure_ascii=False)
    for word in ("canary", private["id"], answer["id"], later["id"], "🎉"):
        assert word not in text, word
    for who in (people.host, people.editor):
        contents = kept.contents(kept.messages(place.south, who, people.session))
        assert [one for one in contents if "canary" in one] == ["canary changed", "canary"]
        assert "canary changed" in json.dumps(attend(place.south, people.session, who).greeting["messages"])
        assert "canary gone" not in kept.everything(place.south, who, people.session)
    assert kept.ask(place.south, third.who, people.session, "messages", thread=private["id"]).status in (200, 404)


# Who comes in


def refusals(place, session, token=None, **query):
    """Status of an upgrade on every node; who has an origin gets a close code instead."""
    path = way(session, token=token, **query)
    found = [turned_away(node, path) for node in place.nodes]
    for node in place.nodes:
        browser = refused(node, path, Origin=f"http://{node.address}")
        assert browser.status == 101 and browser.close, browser
    return {answer.status for answer in found}


def test_a_token_that_is_none_opens_nothing(place, people):
    """Whoever knows the host's id is the host."""
    secret, who = "canary-secret-of-nobody-0123456789", people.host.id
    none = jwt.encode({"sub": who, "exp": 4_000_000_000}, None, algorithm="none")
    head, body, signature = people.host.token.split(".")
    wrong = {
        "forged": token(who, key=secret),
        "alg none": none,
        "alg none, signed": f"{none.split('.')[0]}.{body}.{signature}",
        "unsigned": f"{head}.{body}.",
        "expired": token(who, exp=1_600_000_000),
        "without an end": token(who, exp=None),
        "of nobody": token(None),
        "not yet": token(who, nbf=4_000_000_000, exp=4_100_000_000),
        "no token": "canary",
        "empty": "",
        "huge": "x" * 10_000,
        "another algorithm": token(who, algorithm="HS512"),
    }
    for kind, one in wrong.items():
        assert refusals(place, people.session, one) == {401}, kind
    assert refusals(place, people.session) == {401}
    for node in place.nodes:
        assert refused(node, way(people.session), Origin=f"http://{node.address}").close == 4401
        assert_problem(kept.ask(node, None, people.session, "messages"), 401, "unauthorized")


def test_a_token_for_other_sessions_opens_none(place, people, attend):
    """A token that was given away for one session opens all of its owner's."""
    other = made(place.north, people.host)
    narrow = Visitor(place.north)
    narrow.id, narrow.token = people.host.id, token(people.host.id, sessions=[other])
    assert refusals(place, people.session, narrow.token) == {403}
    for below in (["messages"], ["messages", "stats"], ["comments"], ["presence"], ["events"], ["replay"]):
        assert_problem(kept.ask(place.south, narrow, people.session, *below), 403, "forbidden")
    assert attend(place.south, other, narrow).role == "host"


def test_a_token_is_shown_in_three_ways(place, people):
    """A browser cannot come in, or who says another name beside a token does."""
    node, who = place.south, people.editor
    for path, headers in (
        (way(people.session, token=who.token), {}),
        (way(people.session), bearer(who.token)),
        (way(people.session), {"Sec-WebSocket-Protocol": f"bearer, {who.token}"}),
        (way(people.session, token=who.token, user_id=who.id), {}),
    ):
        with RawSocket(node, path, **headers) as raw:
            assert raw.answer.status == 101
            assert raw.recv_json()["user"] == review.named(who)
    assert refusals(place, people.session, who.token, user_id=people.host.id) == {403}


def test_a_session_that_never_was(place, people):
    """Whoever makes up an id has a session that nobody made."""
    for session in ("r-00000000-0000-0000-0000-000000000000", unique("never")):
        assert refusals(place, session, people.host.token) == {404}
        for below in (["messages"], ["comments"], ["presence"], ["events"], ["replay"]):
            assert_problem(kept.ask(place.north, people.host, session, *below), 404, "not_found")
    assert refusals(place, "a b", people.host.token) <= {400, 404}


@pytest.mark.parametrize("since", ["nonsense", "-1", "x" * 99, "1-99999999999999999999", META], ids=lambda one: one[:9])
def test_a_position_that_is_none_is_named(place, people, since):
    """Who comes back with nonsense is told that nothing was missed."""
    assert refusals(place, people.session, people.editor.token, since=since) == {400}
    answer = turned_away(place.south, way(people.session, token=people.editor.token, since=since))
    assert_problem(answer, 400, "bad_field", "since")


@pytest.mark.parametrize("since", ["0-0", "1-1", "9999-1"])
def test_a_position_of_another_time_begins_anew(place, people, attend, since):
    """Who comes back after everything was lost is told that nothing was missed."""
    attend(place.north, people.session, people.host).say("canary")
    reviewer = attend(place.south, people.session, people.editor, since=since, greeted=False)
    greeting = reviewer.until(lambda frame: frame["type"] in ("connected", "resumed"))
    assert [frame["type"] for frame in greeting] == ["connected"]
    assert greeting[0]["resumed"] is False
    assert kept.contents(greeting[0]["messages"]) == ["canary"]


def test_a_token_that_is_revoked_closes_its_sockets(place, people, attend):
    """Who logs out on one device goes on reading on another node."""
    bob = Person(place.north)
    bob.name, bob.token = bob.username, bob.login()
    other = Visitor(place.north)
    other.id, other.name, other.token = bob.id, bob.name, bob.login()
    given(place.north, people.host, people.session, bob, "editor")
    first, second = attend(place.south, people.session, bob), attend(place.south, people.session, other)
    assert place.north.post("/api/auth/logout", b"", headers=bearer(bob.token)).status == 204
    assert first.close_code() == 4401
    second.say("still here, with another token")
    assert eventually(lambda: refusals(place, people.session, bob.token) == {401}, "nowhere any more")


def test_an_open_node_wants_a_token_at_this_door(request, own_children, attend, join):
    """Names are believed at the other doors; so they are here, and anybody is the host."""
    place = place_of("open", request, own_children)
    ann = Visitor(place.north)
    session = made(place.north, ann)
    assert refusals(place, session) == {401}
    assert refusals(place, session, user_id=ann.id) == {401}
    assert refusals(place, session, token(ann.id, key="canary-secret-of-nobody-0123456789")) == {401}
    assert attend(place.north, session, ann).say("As the host")["user"] == review.named(ann)


def test_without_records_there_is_no_review(own_children):
    """Who keeps nothing lets people in, and what they say is lost."""
    node = own_children.node(DATABASE_URL="none", HOST="127.0.0.1", JWT_SECRET=tokens.SECRET)
    ann = Visitor(node)
    assert_problem(turned_away(node, way("some", token=ann.token)), 503, "records_unavailable")
    assert_problem(kept.ask(node, ann, "some", "messages"), 503, "records_unavailable")


def test_a_session_that_is_not_recorded(place, attend, join):
    """Who comes to an old session by this door cannot write; or what is said there is thought to be kept."""
    ann, bob = Visitor(place.north), Visitor(place.south, "bob")
    pairing = join(place.north, session := unique("old"), token=ann.token)
    reviewer = attend(place.south, session, bob)
    assert reviewer.role == "editor"
    assert reviewer.ask("code_change", code="x = 1")["type"] == "ack"
    assert pairing.until(lambda frame: frame["type"] == "code_update")[-1]["code"] == "x = 1"
    for type, fields in (
        ("code_comment", {"data": {"file": "f", "line": 1, "content": "x"}}),
        ("message_edit", {"data": {"message_id": NOWHERE, "content": "x"}}),
        ("session_update", {"data": {"title": "x"}}),
    ):
        assert "not recorded" in reviewer.refused("forbidden", type, **fields)["message"]
