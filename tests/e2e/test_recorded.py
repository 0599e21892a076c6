"""Recorded sessions: on nodes alone with SQLite, one open and one with tokens, and on two with Redis and PostgreSQL."""

import re
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import SimpleNamespace
from uuid import uuid4

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from support import processes, shapes, tokens
from support.deadline import eventually
from support.http import assert_problem
from support.pad import pad
from support.peer import Peer, door, heard, unique
from support.people import hear_of
from support.proxy import HoldingProxy
from support.raw import RawSocket, refused, turned_away
from support.recorded import (
    Visitor,
    assign,
    by,
    end,
    end_by_door,
    given,
    listed,
    look,
    made,
    make,
    path,
    people,
    send_away,
    state,
    update,
)
from support.place import SOON, Place, place_of
from support.sqlite import Sqlite
from support.tokens import SECRET, token

PLAIN = "python-websocket"
RECORDED_ID = shapes.Matcher("r-<uuid>", re.compile(r"r-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch)
# Between savings: so late that none is in a test.
NEVER = 3_600


@pytest.fixture(scope="module", params=["open", "tokens", "cluster"])
def place(request, children):
    return place_of(request.param, request, children)


# Where a test is about one of them.
of_open = pytest.mark.parametrize("place", ["open"], indirect=True)
of_tokens = pytest.mark.parametrize("place", ["tokens", "cluster"], indirect=True)
of_cluster = pytest.mark.parametrize("place", ["cluster"], indirect=True)


@pytest.fixture
def ann(place):
    """The host of `session`."""
    return Visitor(place.north, "ann")


@pytest.fixture
def bob(place):
    return Visitor(place.north, "bob")


@pytest.fixture
def session(place, ann):
    return made(place.north, ann)


def saved(place, session):
    """Text and version in the database."""
    [row] = place.database.execute("SELECT code, version FROM sessions WHERE id = ?", session)
    return tuple(row)


def await_saved(place, session, code, version):
    eventually(lambda: saved(place, session) == (code, version), "the text is saved")


def assert_turned_away(node, session, visitor, status, code, close):
    """At every door: before the upgrade, and behind it for browsers; and in a code room."""
    way = door(session, token=visitor.token)
    assert_problem(turned_away(node, way), status, code)
    browser = refused(node, way, Origin=f"http://{node.address}")
    assert (browser.status, browser.close) == (101, close)
    with pad(node, PLAIN, auth=visitor.auth) as one:
        one.join(session)
        word = "not_found" if code == "ended" else code
        assert one.next("error")["code"] == word


# Making


def test_who_makes_a_session_is_its_host(place, ann, bob):
    """A session is not there on another node, or is somebody else's."""
    said = {"title": "Trees", "description": "Balanced\nones", "language": "go", "default_role": "editor"}
    answer = make(place.north, ann, **said)
    assert answer.status == 201, answer
    owner = {"user_id": ann.id, "username": ann.name, "role": "host"}
    times = {"created_at": shapes.TIME, "updated_at": answer.json["created_at"]}
    assert answer.json == said | times | {"id": RECORDED_ID, "owner": owner, "role": "host"}
    for node in place.nodes:
        assert look(node, ann, answer.json["id"]).json == answer.json
        assert look(node, bob, answer.json["id"]).json == answer.json | {"role": "editor"}


def test_a_session_needs_no_more_than_a_title(place, ann):
    """Who leaves a field out gets a session that anybody may write in, or none."""
    answer = make(place.north, ann, title="T", owner={"user_id": "eve"}, id="mine", role="viewer", ended_at=1)
    assert answer.status == 201, answer
    defaults = {"description": "", "language": "python", "default_role": "viewer", "id": RECORDED_ID}
    assert defaults.items() <= answer.json.items()
    assert answer.json["owner"]["user_id"] == ann.id


META = "'; DROP TABLE sessions; -- \" % _ \\ $1 ? :name {0} x'OR'1'='1"
WIDEST = {
    "title": ["x", META, "😀" * 200, "日本語 – العربية", "e\u0301" * 100, "<script>alert(1)</script>"],
    "description": ["", META, "line\r\n\tline", "😀" * 4_000],
    "language": ["c", "x" * 64, "c++", "日本語"],
}


@pytest.mark.parametrize("name,value", [(name, value) for name, values in WIDEST.items() for value in values])
def test_the_widest_that_is_right(place, ann, session, name, value):
    """A title is cut, changed on its way, or read as SQL."""
    other = made(place.south, ann, **{name: value})
    assert update(place.north, ann, session, **{name: value}).json[name] == value
    for one in (session, other):
        assert look(place.south, ann, one).json[name] == value
    assert [item[name] for item in listed(place.north, ann).json["items"]] == [value] * 2


WRONG = {
    "title": ["", " ", "\n", "x" * 201, "😀" * 201, "a\0b", "\0", "a\nb", 7, True, [], {}],
    "description": ["x" * 4_001, "a\0b", "\0", 7, False, [], {}],
    "language": ["", "x" * 65, "a\0b", "a\nb", 7, [], {}],
    "default_role": ["", "host", "banned", "owner", "Viewer", "\0", 7, [], {}],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_field_that_is_wrong_is_named(place, ann, session, name):
    """A session has a title that cannot be kept, or a form cannot show which of its fields is wrong."""
    before = look(place.north, ann, session).json
    for value in WRONG[name]:
        for answer in (
            make(place.north, ann, **{"title": "Right", name: value}),
            update(place.south, ann, session, **{"title": "Right", name: value}),
        ):
            problem = assert_problem(answer, 400, "bad_field", name)
            assert len(problem["detail"].split()) > 3, problem
            assert len(problem["detail"]) < 1_000, "what was wrong is not sent back whole"
    assert listed(place.north, ann).json["items"] == [{key: before[key] for key in before if key != "role"}]


@pytest.mark.parametrize("fields", [{}, {"title": None}, {"description": "x"}], ids=str)
def test_a_title_that_is_missing_is_named(place, ann, fields):
    """A list has sessions that nobody can tell apart."""
    assert_problem(place.north.post("/api/sessions", fields, **by(ann)), 400, "bad_field", "title")


def test_a_body_that_is_no_object(place, ann, session):
    """A node answers with a failure of its own to what it cannot read, or ends."""
    for body in (b"", b"{", b"null", b'"x"', b"7", b'["x"]', b'{"title":"\xff"}', b'{"title":"\\ud800"}', b"{}{}"):
        for answer in (
            place.north.post("/api/sessions", body, **by(ann)),
            place.north.patch(path(session), body, **by(ann)),
            place.north.put(path(session, "participants", "bob"), body, **by(ann)),
        ):
            assert_problem(answer, 400, "bad_field")


def test_a_title_that_is_too_large(place, ann, session):
    """A long title costs memory, and every list of it."""
    title = "x" * (1 << 20)
    for answer in (make(place.north, ann, title=title), update(place.north, ann, session, title=title)):
        assert answer.status in (400, 413), answer.status
        assert len(answer.text) < 1_000
    assert look(place.south, ann, session).json["title"] == "A session"


def test_some_fields_are_changed_and_others_stay(place, ann, session):
    """A new title empties the description, or is seen on one node alone."""
    before = look(place.south, ann, session).json
    for number, changed in enumerate(
        [
            {"title": "New"},
            {"description": "Of trees", "language": "go"},
            {"default_role": "editor", "title": "Newer"},
            {"title": "Newest", "description": None, "id": "other", "owner": "eve", "role": "viewer"},
            {},
        ]
    ):
        answer = update(place.nodes[number % len(place.nodes)], ann, session, **changed)
        assert answer.status == 200, answer
        taken = {key: value for key, value in changed.items() if key in WRONG and value is not None}
        before |= taken | {"updated_at": shapes.TIME}
        assert answer.json == before
        assert before["created_at"] <= answer.json["updated_at"]
        for node in place.nodes:
            assert look(node, ann, session).json == answer.json


def test_a_language_is_one_at_every_door(place, ann, session, join):
    """An editor colours a language that a list does not say."""
    peers = [join(node, session, token=ann.token) for node in place.nodes]
    assert update(place.north, ann, session, language="go").status == 200
    for peer in peers:
        told = peer.until(lambda frame: frame["type"] == "language_change")[-1]
        assert told == shapes.language_change(ann.id, "go")
    peers[0].ask("language_change", language="rust")
    assert join(place.south, session, token=ann.token).greeting["language"] == "rust"
    eventually(lambda: look(place.south, ann, session).json["language"] == "rust", "the records know")
    # What is changed while nobody has come is there when somebody does.
    other = made(place.north, ann)
    update(place.north, ann, other, language="go")
    assert join(place.south, other, token=ann.token).greeting["language"] == "go"


# Lists


def pages(node, visitor, limit):
    """Every page's ids."""
    found, cursor = [], None
    while True:
        answer = listed(node, visitor, limit, cursor)
        assert answer.status == 200, answer
        assert set(answer.json) == {"items", "next_cursor"}
        found.append([item["id"] for item in answer.json["items"]])
        cursor = answer.json["next_cursor"]
        if cursor is None:
            return found


def test_a_list_has_what_is_ones_own_and_where_one_has_a_role(place, ann, bob):
    """Somebody does not find a session again, or sees those of others."""
    cat = Visitor(place.south, "cat")
    mine = []
    for number in range(8):
        node = place.nodes[number % len(place.nodes)]
        # Every other one is somebody else's.
        host = (ann, cat)[number % 2]
        mine.append(made(node, host))
        if host is cat:
            given(node, cat, mine[-1], ann, ("viewer", "editor", "host", "viewer")[number // 2])
    banned, stranger, ended, left, by_role = (made(place.north, cat) for _ in range(5))
    given(place.north, cat, banned, ann, "banned")
    assert look(place.north, ann, stranger).status == 200
    for gone in (left, by_role):
        given(place.north, cat, gone, ann, "editor")
    assert send_away(place.south, cat, left, ann.id).status == 204
    assert end(place.south, cat, by_role).status == 204
    own = made(place.north, ann)
    assert end(place.south, ann, own).status == 204
    assert end(place.south, cat, ended).status == 204
    youngest = mine[::-1]
    for node in place.nodes:
        assert pages(node, ann, None) == [youngest]
        for limit in (1, 3, 7, 8, 200):
            some = pages(node, ann, limit)
            assert [one for page in some for one in page] == youngest
            assert {len(page) for page in some[:-1]} <= {limit} and 0 < len(some[-1]) <= limit
        assert pages(node, bob, None) == [[]]
    [first, *_] = listed(place.south, ann).json["items"]
    whole = look(place.south, ann, youngest[0]).json
    assert first.items() <= whole.items() and set(whole) - set(first) <= {"role"}


def test_a_list_that_grows_meanwhile_shows_nothing_twice(place, ann):
    """A page begins with what the page before ended with."""
    known = [made(place.north, ann) for _ in range(4)][::-1]
    page = listed(place.north, ann, 2).json
    made(place.south, ann)
    end(place.south, ann, known[2])
    rest = listed(place.south, ann, 2, page["next_cursor"]).json
    assert [item["id"] for item in page["items"] + rest["items"]] == [*known[:2], known[3]]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("limit", ["0", "-1", "201", "x", "1.5", "", "99999999999999999999"])
def test_a_limit_that_is_none_is_named(place, ann, limit):
    """A list is asked for that has no end."""
    assert_problem(listed(place.north, ann, limit), 400, "bad_field", "limit")


@pytest.mark.parametrize("cursor", ["a/b", "%00", "%20", "x" * 200, "'"])
def test_a_cursor_that_is_none_is_named(place, ann, cursor):
    """A list begins wherever the database takes this for."""
    assert_problem(listed(place.north, ann, cursor=cursor), 400, "bad_field", "cursor")


# Roles over REST

ATTEND, CONTRIBUTE, MANAGE = ["viewer", "editor", "host"], ["editor", "host"], ["host"]
# The weakest first: the last one may end it.
ROLES = ["banned", None, "viewer", "editor", "host"]
# Who may, what is answered then, and how it is asked; `other` is somebody with a role.
ASKS = {
    "look": (ATTEND, 200, lambda node, who, session, other: look(node, who, session)),
    "people": (ATTEND, 200, lambda node, who, session, other: people(node, who, session)),
    "state": (ATTEND, 200, lambda node, who, session, other: state(node, who, session)),
    "title": (CONTRIBUTE, 200, lambda node, who, session, other: update(node, who, session, title="New")),
    "description": (CONTRIBUTE, 200, lambda node, who, session, other: update(node, who, session, description="New")),
    "language": (CONTRIBUTE, 200, lambda node, who, session, other: update(node, who, session, language="go")),
    "default role": (MANAGE, 200, lambda node, who, session, other: update(node, who, session, default_role="editor")),
    "default role and title": (
        MANAGE,
        200,
        lambda node, who, session, other: update(node, who, session, title="New", default_role="viewer"),
    ),
    "assign": (MANAGE, 200, lambda node, who, session, other: assign(node, who, session, other, "editor")),
    "assign oneself": (MANAGE, 200, lambda node, who, session, other: assign(node, who, session, who.id, "host")),
    "ban": (MANAGE, 200, lambda node, who, session, other: assign(node, who, session, other, "banned")),
    "send away": (MANAGE, 204, lambda node, who, session, other: send_away(node, who, session, other)),
    "end": (MANAGE, 204, lambda node, who, session, other: end(node, who, session)),
    "end by door": (MANAGE, 204, lambda node, who, session, other: end_by_door(node, who, session)),
}


@pytest.mark.parametrize("ask", ASKS)
def test_who_may_ask_for_what(place, ann, bob, session, ask):
    """Somebody changes or ends the session of another, or is kept from their own work."""
    may, status, asked = ASKS[ask]
    given(place.north, ann, session, bob, "viewer")
    known = lambda: (look(place.south, ann, session).json, people(place.south, ann, session).json)
    for number, role in enumerate(ROLES):
        node = place.nodes[number % len(place.nodes)]
        who = Visitor(node, "eve")
        if role:
            given(place.north, ann, session, who, role)
        before = known()
        answer = asked(node, who, session, bob.id)
        if (role or "viewer") in may:
            assert answer.status == status, (role, answer)
        else:
            problem = assert_problem(answer, 403, "forbidden")
            assert len(problem["detail"].split()) > 3, problem
            assert known() == before


@pytest.mark.parametrize("ask", ASKS)
def test_everything_wants_a_token(place, ann, bob, session, ask):
    """Whoever guesses an id has the session, on an open node at least."""
    given(place.north, ann, session, bob, "viewer")
    before = look(place.north, ann, session).json
    _, _, asked = ASKS[ask]
    forged = SimpleNamespace(id=ann.id, token=token(ann.id, key="canary-secret-of-nobody-0123456789"))
    for node in place.nodes:
        for who in (None, forged):
            if who or ask != "assign oneself":
                answer = asked(node, who, session, bob.id)
                assert_problem(answer, 401, "unauthorized")
                assert answer.headers["www-authenticate"] == "Bearer"
    for answer in (make(place.north, None, title="T"), make(place.north, forged, title="T"), listed(place.north, None)):
        assert_problem(answer, 401, "unauthorized")
    assert look(place.south, ann, session).json == before


@of_tokens
@pytest.mark.parametrize("role", ["admin", "service", "agent"])
def test_an_admin_and_a_service_end_any_session(place, session, ann, role):
    """Nobody can end a session whose host is gone; or whoever is called something can."""
    who = Visitor(place.south, "eve", role=role)
    peer = Peer(place.north, session, token=ann.token)
    with peer:
        if role == "agent":
            assert_problem(end(place.south, who, session), 403, "forbidden")
            assert peer.ask("chat", message="still here")["type"] == "ack"
        else:
            assert end(place.south, who, session).status == 204
            assert peer.close_code() == 4410


@of_tokens
def test_a_token_for_other_sessions_opens_none(place, ann):
    """A token that was given away for one session opens all of its owner's."""
    session, other = made(place.north, ann), made(place.north, ann)
    narrow = SimpleNamespace(id=ann.id, token=token(ann.id, sessions=[other]))
    narrow.auth = {"token": narrow.token}
    for ask, (_, _, asked) in ASKS.items():
        if ask != "assign oneself":
            assert_problem(asked(place.south, narrow, session, "bob"), 403, "forbidden")
    assert_turned_away(place.south, session, narrow, 403, "forbidden", 4403)
    assert look(place.south, narrow, other).status == 200
    with Peer(place.south, other, token=narrow.token) as peer:
        assert peer.ask("chat", message="hello")["type"] == "ack"


def test_people_are_listed_host_first(place, ann, bob, session):
    """Somebody's role is not shown, or it is told who was banned."""
    cat, eve, dan = (Visitor(place.south, name) for name in ("cat", "eve", "dan"))
    given(place.north, ann, session, bob, "viewer")
    given(place.south, ann, session, eve, "banned")
    given(place.north, ann, session, cat, "host")
    given(place.south, ann, session, bob, "editor")
    host = {"user_id": ann.id, "username": ann.name, "role": "host"}
    for node in place.nodes:
        for who in (ann, cat, bob, dan):
            answer = people(node, who, session)
            assert answer.status == 200 and set(answer.json) == {"items", "next_cursor"}, answer
            first, *others = answer.json["items"]
            assert (first, answer.json["next_cursor"]) == (host, None)
            expected = [bob.shown("editor"), cat.shown("host")]
            # The second host is a host, too.
            expected += [eve.shown("banned")] if who in (ann, cat) else []
            in_order = lambda listed: sorted(listed, key=lambda one: one["user_id"])
            assert in_order(others) == in_order(expected)


@pytest.mark.parametrize("role", ["editor", "viewer", "banned", "host"])
def test_an_owner_stays_one(place, ann, bob, session, role):
    """Whom the owner made a host takes the session over."""
    given(place.north, ann, session, bob, "host")
    for who in (bob, ann):
        for node in place.nodes:
            assert_problem(assign(node, who, session, ann.id, role), 403, "forbidden")
            assert_problem(send_away(node, who, session, ann.id), 403, "forbidden")
    assert look(place.south, ann, session).json["role"] == "host"
    with Peer(place.south, session, token=ann.token) as peer:
        assert peer.ask("chat", message="mine")["type"] == "ack"


NO_ROLES = ["", "owner", "Host", "editor ", "editor\0", 7, True, None, [], {}, "x" * 100_000]


@pytest.mark.parametrize("role", NO_ROLES)
def test_a_role_that_is_none_is_named(place, ann, bob, session, role):
    """Somebody gets a role that nobody knows, which may be more than was meant."""
    problem = assert_problem(assign(place.north, ann, session, bob.id, role), 400, "bad_field", "role")
    assert len(problem["detail"]) < 1_000
    assert_problem(place.north.put(path(session, "participants", bob.id), {}, **by(ann)), 400, "bad_field", "role")
    assert len(people(place.south, ann, session).json["items"]) == 1


@pytest.mark.parametrize("user", ["a b", "a\0b", "x" * 129, "ä", "a/b", "'"], ids=repr)
def test_a_user_that_is_none_is_named(place, ann, session, user):
    """A role is given to nobody, and a list cannot be read any more."""
    assert_problem(assign(place.north, ann, session, user, "editor"), 400, "bad_field", "user_id")
    assert_problem(send_away(place.north, ann, session, user), 400, "bad_field", "user_id")


# Roles at the doors

# Everything that needs more than a look, and what others hear of it.
COMMANDS = [
    ("code_change", {"code": "canary = 1"}, "code_update"),
    ("code_update", {"code": "canary = 2", "base_version": 1}, "code_update"),
    ("chat", {"message": "canary chat"}, "chat_message"),
    ("language_change", {"language": "go"}, "language_change"),
]
FORBIDDEN = shapes.error("forbidden", id=shapes.STRING)


@pytest.mark.parametrize("role", [None, "viewer", "editor", "host"])
def test_a_command_wants_a_role(place, ann, bob, session, join, role):
    """Who was invited to look writes; or who was invited to write cannot."""
    if role:
        given(place.south, ann, session, bob, role)
    # Two who listen: one on the same node, one on another.
    near, far = (join(node, session, token=ann.token) for node in (place.north, place.south))
    writer = join(place.north, session, token=bob.token)
    for peer in (near, far):
        hear_of(peer, "user_joined", bob.id)
    for command, fields, event in COMMANDS:
        answer = writer.ask(command, **fields)
        if role in CONTRIBUTE:
            assert answer["type"] in ("ack", "code_ack"), answer
            for peer in (near, far):
                assert peer.expect(event)["user_id"] == bob.id
        else:
            assert answer == FORBIDDEN
            writer.send(command, **fields)
            writer.hears(shapes.error("forbidden"))
    writer.send("cursor_move", cursor={"lineNumber": 2, "column": 3})
    for peer in (near, far):
        peer.hears(shapes.cursor_move(bob.id, 2, 3))
    assert heard(near, near, far) == [[], []]
    now = state(place.south, bob, session).json
    expected = ("canary = 2", 2, "go") if role in CONTRIBUTE else ("", 0, "python")
    assert (now["code"], now["version"], now["language"]) == expected


@pytest.mark.parametrize("role", [None, "viewer", "editor", "host"])
def test_a_code_room_wants_a_role(place, ann, bob, session, role):
    """The other door of the same session knows no roles."""
    if role:
        given(place.south, ann, session, bob, role)
    with pad(place.north, PLAIN, auth=bob.auth) as writer, pad(place.south, PLAIN, auth=ann.auth) as host:
        for each in (writer, host):
            each.join(session)
        writer.change(session, "canary = 1")
        if role in CONTRIBUTE:
            assert host.next("receive") == {"type": "receive", "code": "canary = 1"}
        else:
            assert writer.next("error")["code"] == "forbidden"
        assert host.nothing_before_pong() and writer.nothing_before_pong()
        host.change(session, "canary = 2")
        assert writer.next("receive")["code"] == "canary = 2"
    assert state(place.south, ann, session).json["version"] == (2 if role in CONTRIBUTE else 1)


def test_a_new_role_counts_with_the_next_change(place, ann, bob, session, join):
    """Somebody must come again to write, or goes on writing who may not any more."""
    host, writer = join(place.south, session, token=ann.token), join(place.north, session, token=bob.token)
    with pad(place.north, PLAIN, auth=bob.auth) as room:
        room.join(session)
        version = 0
        for node, role in zip(place.nodes * 4, ("editor", "viewer", "host", "viewer", "editor"), strict=False):
            given(node, ann, session, bob, role)
            answer = writer.ask("code_change", code=f"canary {role}", base_version=version)
            if role == "viewer":
                assert answer == FORBIDDEN
                room.change(session, "canary unwritten")
                assert room.next("error")["code"] == "forbidden"
            else:
                version += 2
                assert answer["type"] == "code_ack", answer
                room.until_code(f"canary {role}")
                room.change(session, f"canary {role} there")
                host.until(lambda frame: frame["type"] == "code_update" and frame["version"] == version)
            assert state(node, ann, session).json["version"] == version


def test_a_new_default_role_counts_with_the_next_change(place, ann, bob, session, join):
    """A session is opened to all, and those who are there may not write; or closed, and they may."""
    cat = Visitor(place.south, "cat")
    given(place.north, ann, session, cat, "viewer")
    writer, viewer = join(place.north, session, token=bob.token), join(place.north, session, token=cat.token)
    for default in ("editor", "viewer", "editor", "viewer"):
        assert update(place.south, ann, session, default_role=default).status == 200
        answer = writer.ask("code_change", code=f"canary {default}")
        assert answer["type"] == ("ack" if default == "editor" else "error"), answer
        assert viewer.ask("code_change", code="canary unwritten") == FORBIDDEN, "who has a role keeps it"


def test_a_repeated_command_is_no_way_around_a_role(place, ann, bob, session, join):
    """Who writes with an id of the time before goes on writing."""
    given(place.north, ann, session, bob, "editor")
    writer = join(place.north, session, token=bob.token)
    writer.ask("code_change", code="canary = 1", id="again")
    given(place.south, ann, session, bob, "viewer")
    writer.ask("code_change", code="canary = 2", id="again")
    assert writer.ask("code_change", code="canary = 2", id="another") == FORBIDDEN
    now = state(place.south, ann, session).json
    assert (now["code"], now["version"]) == ("canary = 1", 1)


@of_tokens
def test_a_token_for_some_sessions_lists_these(place):
    """A list ends at the first page that has nothing for its reader, or shows what the token does not open."""
    ann = Visitor(place.north)
    sessions = [made(place.north, ann) for _ in range(5)]
    limited, seen, cursor = token(ann.id, sessions=sessions[:1]), [], ""
    while cursor is not None:
        page = place.north.get(f"/api/sessions?limit=2&cursor={cursor}", headers=tokens.bearer(limited)).json
        seen += [one["id"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert seen == sessions[:1]
    assert_problem(place.north.post("/api/sessions", {"title": "x"}, headers=tokens.bearer(limited)), 403, "forbidden")


def test_a_session_wants_a_token_at_every_door(place, ann, bob, session):
    """Whoever knows the host's name is the host, where names are believed."""
    forged = token(ann.id, key="canary-secret-of-nobody-0123456789")
    is_open = "JWT_SECRET" not in place.north.environment
    without = (403, 4403) if is_open else (401, 4401)
    for node in place.nodes:
        ways = [(door(session, ann.id), *without), (door(session, ann.id, token=forged), 401, 4401)]
        for way, status, close in ways:
            assert_problem(turned_away(node, way), status)
            browser = refused(node, way, Origin=f"http://{node.address}")
            assert (browser.status, browser.close) == (101, close)
        # A token of one's own makes nobody another.
        assert_problem(turned_away(node, door(session, ann.id, token=bob.token)), 403, "forbidden")
        with RawSocket(node, door(session, token=ann.token)) as raw:
            assert raw.answer.status == 101
            assert raw.recv_json()["type"] == "session_state"


@of_open
def test_a_code_room_of_a_session_wants_a_token(place, ann, session):
    """A guest of code rooms reads what was not meant for guests."""
    forged = {"token": token(ann.id, key="canary-secret-of-nobody-0123456789")}
    for user, auth in ((ann.id, None), (None, None), (ann.id, forged)):
        with pad(place.north, PLAIN, user, auth=auth) as guest:
            guest.join(session)
            assert guest.next("error")["code"] == "forbidden"
            guest.change(session, "canary = 1")
            assert guest.next("error")["code"] == "not_found"
            # Other rooms are as open as the node is.
            guest.join(other := unique("room"))
            guest.change(other, "x = 1")
            assert guest.nothing_before_pong()
    assert state(place.north, ann, session).json["version"] == 0


@of_open
def test_a_token_harms_nobody_in_a_session_that_asks_for_none(place, ann, bob, session, join):
    """An open node shuts its old sessions to who has a token, or to who has an old one."""
    other = unique("session")
    join(place.north, other, "cat").ask("code_change", code="x = 1")
    stale = SimpleNamespace(token=token("eve", key="canary-secret-of-nobody-0123456789"))
    assert join(place.north, other, token=ann.token).ask("code_change", code="x = 2")["type"] == "ack"
    assert join(place.north, other, "eve", token=stale.token).ask("code_change", code="x = 3")["type"] == "ack"
    assert place.north.delete(f"/api/v1/session/{other}").status == 204


# Sent away, and banned


def test_who_is_banned_is_out_everywhere(place, ann, bob, session, join):
    """Somebody who was banned stays in on another node, or comes back by another door."""
    given(place.north, ann, session, bob, "editor")
    host = join(place.south, session, token=ann.token)
    sockets = [join(node, session, token=bob.token) for node in place.nodes]
    position = sockets[0].greeting["position"]
    rooms = [pad(node, PLAIN, auth=bob.auth) for node in place.nodes]
    for room in rooms:
        room.join(session)
    given(place.south, ann, session, bob, "banned")
    for peer in sockets:
        assert peer.close_code() == 4403
    for room in rooms:
        # Out of this room alone: the socket may be in others.
        assert room.next("error")["code"] == "forbidden"
        room.change(session, "canary")
        assert room.next("error")["code"] == "forbidden"
        room.end()
    for node in place.nodes:
        assert_turned_away(node, session, bob, 403, "forbidden", 4403)
        assert turned_away(node, door(session, token=bob.token, since=position)).status == 403
    # Everybody else may be an editor; who was banned is still banned.
    assert update(place.north, ann, session, default_role="editor").status == 200
    for node in place.nodes:
        assert_turned_away(node, session, bob, 403, "forbidden", 4403)
    assert host.ask("chat", message="still here")["type"] == "ack"
    given(place.north, ann, session, bob, "viewer")
    assert join(place.south, session, token=bob.token).ask("chat", message="canary") == FORBIDDEN


def test_who_is_sent_away_may_come_again(place, ann, bob, session, join):
    """Somebody who was sent away goes on on another node, keeps the role, or is shut out for ever."""
    given(place.north, ann, session, bob, "editor")
    cat = Visitor(place.south, "cat")
    # Those who were given no role are sent away as well.
    for who in (bob, cat):
        staying = [join(node, session, token=ann.token) for node in place.nodes]
        sockets = [join(node, session, token=who.token) for node in place.nodes]
        with pad(place.south, PLAIN, auth=who.auth) as room:
            room.join(session)
            assert send_away(place.south, ann, session, who.id).status == 204
            assert [peer.close_code() for peer in sockets] == [4403] * len(sockets)
            assert room.next("error")["code"] == "forbidden"
        for peer in staying:
            assert peer.ask("chat", message="still here")["type"] == "ack"
        assert who.id not in [one["user_id"] for one in people(place.north, ann, session).json["items"]]
        for node in place.nodes:
            again = join(node, session, token=who.token)
            assert again.ask("code_change", code="canary") == FORBIDDEN
            assert look(node, who, session).json["role"] == "viewer"


def test_sending_away_who_never_came_is_no_failure(place, ann, session):
    """A list that is a moment old shows a failure to who clicks on it."""
    assert send_away(place.north, ann, session, unique("nobody")).status == 204


def test_whom_a_room_shows_out_keeps_nobody_from_it(place, ann, bob, session, join):
    """Somebody is banned while many come and go, and one of them with them."""
    host = join(place.north, session, token=ann.token)
    others = [Visitor(place.north, "cat") for _ in range(4)]

    def come_and_go(number):
        node = place.nodes[number % len(place.nodes)]
        for _ in range(5):
            with Peer(node, session, token=others[number].token) as peer:
                peer.before_pong()

    def ban():
        for _ in range(5):
            given(place.south, ann, session, bob, "banned")
            given(place.south, ann, session, bob, "viewer")

    def insist():
        for _ in range(10):
            try:
                with Peer(place.north, session, token=bob.token) as peer:
                    peer.before_pong()
            except InvalidStatus as refusal:
                assert refusal.response.status_code == 403
            except ConnectionClosed as closed:
                assert closed.rcvd and closed.rcvd.code == 4403

    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(come_and_go, number) for number in range(4)] + [pool.submit(ban), pool.submit(insist)]
        for one in asked:
            one.result()
    given(place.south, ann, session, bob, "banned")
    assert turned_away(place.north, door(session, token=bob.token)).status == 403
    assert host.ask("chat", message="still here")["type"] == "ack"


# The end


@pytest.mark.parametrize("by_which", [end, end_by_door], ids=["rest", "door"])
def test_the_end_is_for_good(place, ann, bob, session, join, by_which):
    """A session that was ended goes on in open sockets, or is made again by who comes back."""
    given(place.north, ann, session, bob, "editor")
    peers = [join(node, session, token=who.token) for node in place.nodes for who in (ann, bob)]
    with pad(place.north, PLAIN, auth=bob.auth) as room:
        room.join(session)
        assert by_which(place.south, ann, session).status == 204
        assert [peer.close_code() for peer in peers] == [4410] * len(peers)
        assert "ended" in room.next("error")["message"]
        room.change(session, "canary = 1")
        assert room.next("error")["code"] == "not_found"
    assert_ended(place, session, ann, bob)
    if place.redis:
        # Its marker does not live for ever.
        forget(place, session)
        assert_ended(place, session, ann, bob)


def forget(place, session):
    """As if it had expired in Redis."""
    client = place.redis.client
    assert client.delete(*client.keys(f"*session:{session}*"))


def assert_ended(place, session, ann, bob):
    for node in place.nodes:
        for who in (ann, bob):
            for _, _, asked in ASKS.values():
                assert_problem(asked(node, who, session, bob.id), 410, "ended")
            assert_turned_away(node, session, who, 410, "ended", 4410)
            assert listed(node, who).json["items"] == []


def test_a_session_nobody_came_to_can_be_ended(place, ann, session):
    """A session that was made by mistake stays in the list."""
    assert end(place.south, ann, session).status == 204
    assert_problem(look(place.north, ann, session), 410, "ended")
    assert_problem(turned_away(place.north, door(session, token=ann.token)), 410, "ended")


# Ids


def test_an_id_that_was_never_made_is_not_found(place, ann, join):
    """Whoever guesses an id makes a session that looks like a recorded one, and belongs to nobody."""
    for unknown in (str(uuid4()), str(uuid4()).upper(), f"{'0' * 8}-0000-0000-0000-{'0' * 12}"):
        session = f"r-{unknown}"
        for node in place.nodes:
            for _, _, asked in ASKS.values():
                assert_problem(asked(node, ann, session, "bob"), 404, "not_found")
            assert_turned_away(node, session, ann, 404, "not_found", 4404)
        if place.redis:
            assert place.redis.client.keys(f"*{session}*") == []


@pytest.mark.parametrize("is_made", [False, True], ids=["never made", "made"])
def test_a_match_makes_no_recorded_session(place, ann, bob, is_made):
    """Who may announce a match puts a session of nobody in the place of one that is recorded."""
    session = made(place.north, ann) if is_made else f"r-{uuid4()}"
    has_tokens = "JWT_SECRET" in place.north.environment
    service = SimpleNamespace(token=token("matcher", role="service")) if has_tokens else None
    match = {"session_id": session, "users": [bob.id], "question_id": "q", "difficulty": "easy", "topic": "trees"}
    answer = place.south.post("/api/v1/session", match, **by(service))
    assert 400 <= answer.status < 500 or (is_made and answer.status == 200), answer
    if is_made:
        with Peer(place.north, session, token=ann.token) as peer:
            assert peer.ask("code_change", code="canary = 1")["type"] == "ack"
        assert turned_away(place.south, door(session, bob.id)).status in (401, 403)
    else:
        assert_problem(turned_away(place.south, door(session, token=bob.token)), 404, "not_found")


OTHER_FORMS = ["r-1", "r-", "r-not-a-uuid", "{}", "R-{}", "r_{}", "r-{}-1", "x-r-{}"]


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_ids_of_other_forms_are_made_as_before(place, ann, join, form):
    """Old sessions whose names begin alike are shut."""
    assert_made_by_coming(place.nodes, form.format(uuid4()), join, ann.token)


@pytest.mark.parametrize("mode", ["alone", "cluster"])
def test_a_node_without_a_database_has_the_old_sessions(own_children, join, mode):
    """Who keeps no records has no sessions at all."""
    settings = {"REDIS_URL": own_children.redis().url} if mode == "cluster" else {}
    node = own_children.node(DATABASE_URL="none", HOST="127.0.0.1", JWT_SECRET=SECRET, **settings)
    ann = Visitor(node)
    for form in OTHER_FORMS:
        assert_made_by_coming([node], form.format(uuid4()), join, ann.token)
    assert_turned_away(node, f"r-{uuid4()}", ann, 404, "not_found", 4404)
    for answer in (make(node, ann, title="T"), listed(node, ann)):
        assert_problem(answer, 503, "records_unavailable")


def assert_made_by_coming(nodes, session, join, made_token):
    first = join(nodes[0], session, token=made_token)
    assert first.ask("code_change", code="x = 1", base_version=0)["type"] == "code_ack"
    assert join(nodes[-1], session, token=made_token).greeting["code"] == "x = 1"


# What is kept

TEXTS = {
    "empty": "",
    "of many scripts": "# 日本語 العربية 😀 e\u0301\n\tprint('\"\\$1 ?')\r\n",
    "of control characters": "".join(map(chr, range(1, 32))) + "\x7f\x85\u2028\ufeff",
    "with NUL": "a\0b",
    "large": "x" * (512 * 1024),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_any_text_is_saved(place, ann, session, join, kind):
    """A text that a database does not like is lost, and all that come after it."""
    ann_there = join(place.north, session, token=ann.token)
    ann_there.ask("code_change", code="before")
    answer = ann_there.ask("code_change", code=TEXTS[kind], base_version=1)
    if answer["type"] == "error":
        assert (kind, answer["code"], answer["field"]) == ("with NUL", "bad_field", "code"), answer
        return
    # Lines end in one way.
    await_saved(place, session, TEXTS[kind].replace("\r\n", "\n"), 2)
    ann_there.ask("code_change", code="after")
    await_saved(place, session, "after", 3)


@dataclass
class Written:
    """A session that was written in, and its people."""

    session: str
    ann: Visitor
    editor: Visitor
    viewer: Visitor
    banned: Visitor


def write(place, join):
    """Text `canary text` in version 2, language go, and one of each role."""
    ann, editor, viewer, banned = (Visitor(place.north, name) for name in ("ann", "bob", "cat", "eve"))
    session = made(place.north, ann, title="Kept", default_role="editor")
    for who, role in ((editor, "editor"), (viewer, "viewer"), (banned, "banned")):
        given(place.south, ann, session, who, role)
    peer = join(place.north, session, token=ann.token)
    peer.ask("language_change", language="go")
    peer.ask("code_change", code="canary draft")
    peer.ask("code_change", code="canary text", base_version=1)
    return Written(session, ann, editor, viewer, banned)


def assert_kept(place, written, join):
    session = written.session
    now = state(place.south, written.viewer, session).json
    assert (now["code"], now["version"], now["language"]) == ("canary text", 2, "go")
    viewer = join(place.south, session, token=written.viewer.token)
    assert (viewer.greeting["code"], viewer.greeting["version"]) == ("canary text", 2)
    assert viewer.greeting["language"] == "go"
    assert viewer.ask("code_change", code="canary", base_version=2) == FORBIDDEN
    assert_turned_away(place.north, session, written.banned, 403, "forbidden", 4403)
    editor = join(place.north, session, token=written.editor.token)
    answer = editor.ask("code_change", code="canary goes on", base_version=2)
    assert (answer["type"], answer["version"]) == ("code_ack", 3), answer
    with pad(place.south, PLAIN, auth=written.viewer.auth) as room:
        room.join(session)
        room.until_code("canary goes on")
    assert look(place.south, written.ann, session).json["title"] == "Kept"
    roles = {one["user_id"]: one["role"] for one in people(place.north, written.ann, session).json["items"]}
    people_now = {written.ann: "host", written.editor: "editor", written.viewer: "viewer", written.banned: "banned"}
    assert roles == {who.id: role for who, role in people_now.items()}
    assert join(place.north, session, token=Visitor(place.north).token).ask("chat", message="default")["type"] == "ack"
    assert join(place.south, session, token=written.ann.token).ask("chat", message="host")["type"] == "ack"


@pytest.mark.parametrize("how", ["terminate", "kill"])
@pytest.mark.parametrize("kind", ["tokens", "cluster"])
def test_a_session_outlives_everything(request, own_children, join, kind, how):
    """After a deploy or a crash a session is empty, in another version, or everybody's."""
    place = place_of(kind, request, own_children)
    written = write(place, join)
    await_saved(place, written.session, "canary text", 2)
    place.stop(how)
    place.start()
    assert_kept(place, written, join)


@pytest.mark.parametrize("kind", ["tokens", "cluster"])
def test_a_node_that_stops_saves_what_it_had_not(request, own_children, join, kind):
    """What was written just before a deploy is lost."""
    place = place_of(kind, request, own_children, SAVE_INTERVAL=NEVER)
    written = write(place, join)
    assert saved(place, written.session)[0] == ""
    place.stop()
    place.start()
    assert_kept(place, written, join)


def test_a_session_that_everybody_left_is_saved_before_it_goes(own_children, join):
    """People close their tabs at once, and what they wrote last goes with the room."""
    settings = {"SESSION_GRACE": 0.1, "LEAVE_GRACE": 0, "SAVE_INTERVAL": NEVER}
    node = own_children.node(HOST="127.0.0.1", JWT_SECRET=SECRET, **settings)
    place, ann = Place([node], Sqlite(node.folder / "collabd.db")), Visitor(node)
    session = made(node, ann)
    with Peer(node, session, token=ann.token) as peer:
        peer.ask("code_change", code="canary text")
    await_saved(place, session, "canary text", 1)


@pytest.mark.parametrize("then", ["others read it", "others save it"])
def test_what_a_killed_node_had_not_saved_is_not_lost(own_children, postgres, join, then):
    """A node dies a moment after somebody wrote, and the text with it; or with the room, once everybody is gone."""
    quick = {"LEASE": 1, "BEAT_INTERVAL": 0.2, "LEAVE_GRACE": 0.2, "REAP_PAUSE": 0.5}
    redis, database = own_children.redis(), postgres.database()
    settings = {"REDIS_URL": redis.url, "DATABASE_URL": database.url, "JWT_SECRET": SECRET, "HOST": "127.0.0.1"} | quick
    north = own_children.node("north", SAVE_INTERVAL=NEVER, **settings)
    south = own_children.node("south", SAVE_INTERVAL=SOON, **settings)
    place = Place([north, south], database, redis)
    written = write(place, join)
    staying = join(south, written.session, token=written.viewer.token)
    alone = made(north, written.ann)
    join(north, alone, token=written.ann.token).ask("code_change", code="canary alone")
    north.kill()
    if then == "others read it":
        assert (staying.greeting["code"], staying.greeting["version"]) == ("canary text", 2)
        assert join(south, written.session, token=written.editor.token).greeting["code"] == "canary text"
        assert join(south, alone, token=written.ann.token).greeting["code"] == "canary alone"
    else:
        await_saved(place, written.session, "canary text", 2)
        await_saved(place, alone, "canary alone", 1)


@pytest.fixture(scope="module")
def cluster(request, children):
    """Whose Redis may lose everything."""
    return place_of("cluster", request, children)


def answered(peer, command, **fields):
    """The answer, once the cluster is back."""

    def ask():
        answer = peer.ask(command, **fields)
        return None if answer.get("code") == "backplane_unavailable" else answer

    return eventually(ask, "the cluster is back", every=0.1)


@pytest.mark.parametrize("how", ["restart", "flush"])
def test_a_redis_that_lost_everything_gives_nobody_a_role(cluster, join, how):
    """Redis is restarted without its data, and whoever comes first is host, or everybody may write."""
    written = write(cluster, join)
    session = written.session
    await_saved(cluster, session, "canary text", 2)
    assert update(cluster.north, written.ann, session, default_role="viewer").status == 200
    nobody = Visitor(cluster.north)
    viewers = [join(node, session, token=who.token) for node in cluster.nodes for who in (written.viewer, nobody)]
    editor = join(cluster.south, session, token=written.editor.token)
    if how == "restart":
        cluster.redis.stop()
        assert editor.ask("code_change", code="canary unwritten")["code"] == "backplane_unavailable"
        cluster.redis.start()
    else:
        cluster.redis.client.flushall()
    for peer in viewers:
        assert answered(peer, "code_change", code="canary unwritten") == FORBIDDEN
        assert answered(peer, "chat", message="canary unsaid") == FORBIDDEN
    answer = answered(editor, "code_change", code="canary goes on", base_version=2)
    assert (answer["type"], answer["version"]) == ("code_ack", 3), answer
    for peer in viewers:
        peer.until(lambda frame: frame.get("code") == "canary goes on")
    for node in cluster.nodes:
        assert look(node, nobody, session).json["role"] == "viewer"
        assert_turned_away(node, session, written.banned, 403, "forbidden", 4403)
        assert join(node, session, token=Visitor(node).token).ask("chat", message="x") == FORBIDDEN
    assert join(cluster.south, session, token=written.ann.token).ask("chat", message="x")["type"] == "ack"


def test_who_is_banned_while_redis_is_away_is_out_when_it_is_back(cluster, join):
    """A ban comes at the wrong moment, and is forgotten, or takes everybody out who is on the same node."""
    written = write(cluster, join)
    session = written.session
    host = join(cluster.north, session, token=written.ann.token)
    viewers = [join(node, session, token=written.viewer.token) for node in cluster.nodes]
    editors = [join(node, session, token=written.editor.token) for node in cluster.nodes]
    cluster.redis.stop()
    ban = lambda: assign(cluster.south, written.ann, session, written.editor.id, "banned")
    assert_problem(ban(), 503, "backplane_unavailable")
    cluster.redis.start()
    # Where the answer was a failure one asks again.
    eventually(lambda: ban().status == 200, "the ban is taken", every=0.1)
    assert answered(host, "chat", message="still here")["type"] == "ack"
    for peer in viewers:
        # By itself, or in the greeting with which the room begins anew.
        peer.until(lambda frame: "still here" in [line.get("text") for line in frame.get("chat", [frame])])
    assert [peer.close_code() for peer in editors] == [4403, 4403]
    for node in cluster.nodes:
        assert join(node, session, token=written.viewer.token).before_pong() == []
        assert_turned_away(node, session, written.editor, 403, "forbidden", 4403)


def test_an_end_that_redis_does_not_hear_of_is_none(cluster, join):
    """A session is ended in the records alone, or the database is looked at because Redis is away."""
    ann = Visitor(cluster.north)
    session = made(cluster.north, ann)
    peer = join(cluster.north, session, token=ann.token)
    peer.ask("code_change", code="canary text")
    cluster.redis.stop()
    asked = [ask(cluster.south, ann, session) for ask in (end, end_by_door)]
    cluster.redis.start()
    for answer in asked:
        assert_problem(answer, 503, "backplane_unavailable")
    assert answered(peer, "chat", message="still here")["type"] == "ack"
    eventually(lambda: end(cluster.south, ann, session).status == 204, "the session is ended", every=0.1)
    assert peer.close_code() == 4410
    assert_problem(look(cluster.north, ann, session), 410, "ended")


@pytest.fixture(scope="module")
def held_up(request, children):
    """A cluster whose second node's questions to the database can be held up; and what does that."""
    redis, postgres = children.redis(), request.getfixturevalue("postgres")
    database, proxy = postgres.database(), HoldingProxy(postgres.port)
    settings = {"REDIS_URL": redis.url, "JWT_SECRET": SECRET, "HOST": "127.0.0.1", "MAX_PARTICIPANTS": 2}
    north = children.node("north", DATABASE_URL=database.url, **settings)
    # Every question is written out, so that it can be told from others.
    url = database.url.replace(f":{postgres.port}/", f":{proxy.port}/") + "?statement-cache-capacity=0"
    south = children.node("south", DATABASE_URL=url, **settings)
    yield Place([north, south], database, redis), proxy
    proxy.close()


def meanwhile(proxy, slowly, quickly, word="participants"):
    """Does one thing up to where that was read, then another, then the rest; returns what came of both."""
    with ThreadPoolExecutor(2) as pool, proxy.holding(word):
        first = pool.submit(slowly)
        proxy.await_held()
        second = pool.submit(quickly)
        # It may be one that must wait for the first.
        wait([second], timeout=1)
        proxy.let_go()
        return first.result(), second.result()


@pytest.mark.parametrize("how", ["ban", "demote", "close", "end"])
def test_what_happens_while_a_session_is_made_again_counts(held_up, how):
    """A room is made of records that were read before somebody was banned, and no node knows of the ban."""
    place, proxy = held_up
    ann, eve = Visitor(place.north), Visitor(place.north, "eve")
    session = made(place.north, ann, default_role="editor" if how == "close" else "viewer")
    if how != "close":
        given(place.north, ann, session, eve, "editor")

    def come():
        try:
            return Peer(place.south, session, token=eve.token, greeted=False)
        except InvalidStatus as refusal:
            return refusal.response.status_code

    def happen():
        match how:
            case "ban":
                return assign(place.north, ann, session, eve.id, "banned")
            case "demote":
                return assign(place.north, ann, session, eve.id, "viewer")
            case "close":
                return update(place.north, ann, session, default_role="viewer")
            case "end":
                return end(place.north, ann, session)

    came, happened = meanwhile(proxy, come, happen)
    assert happened.status in (200, 204), happened
    refused_with = {"ban": 403, "end": 410}.get(how)
    if refused_with:
        assert_problem(turned_away(place.north, door(session, token=eve.token)), refused_with)
        assert came == refused_with or came.close_code() == {403: 4403, 410: 4410}[refused_with]
    else:
        with came:
            assert came.ask("code_change", code="canary unwritten") == FORBIDDEN


def test_two_who_change_a_session_at_once_both_do(held_up):
    """Who corrects a title undoes that the session was closed meanwhile."""
    place, proxy = held_up
    ann, bob = Visitor(place.north), Visitor(place.north, "bob")
    session = made(place.north, ann, default_role="editor")
    given(place.north, ann, session, bob, "editor")
    closed = {"default_role": "viewer", "description": "closed", "language": "go"}
    answers = meanwhile(
        proxy,
        lambda: update(place.south, bob, session, title="Renamed"),
        lambda: update(place.north, ann, session, **closed),
    )
    assert [answer.status for answer in answers] == [200, 200]
    now = look(place.north, ann, session).json
    assert {name: now[name] for name in (*closed, "title")} == closed | {"title": "Renamed"}


def test_a_session_goes_on_while_its_database_is_away(own_children, join):
    """The database is restarted, and everybody is thrown out, or may do everything."""
    postgres, redis = own_children.postgres(), own_children.redis()
    database = postgres.database()
    settings = {"REDIS_URL": redis.url, "DATABASE_URL": database.url, "JWT_SECRET": SECRET, "HOST": "127.0.0.1"}
    settings |= {"SAVE_INTERVAL": SOON, "DATABASE_TIMEOUT": 1}
    nodes = [own_children.node(name, **settings) for name in ("north", "south")]
    place = Place(nodes, database, redis)
    written = write(place, join)
    session, unseen = written.session, made(place.north, written.ann)
    await_saved(place, session, "canary text", 2)
    host, viewer = (join(place.north, session, token=who.token) for who in (written.ann, written.viewer))
    before = people(place.north, written.ann, session).json
    postgres.stop()
    assert viewer.ask("code_change", code="canary") == FORBIDDEN
    assert host.ask("code_change", code="canary goes on", base_version=2)["type"] == "code_ack"
    # Who comes is let in by what Redis knows.
    editor = join(place.south, session, token=written.editor.token)
    assert editor.greeting["code"] == "canary goes on"
    # What is said is kept, or not said.
    assert editor.ask("chat", message="hello")["code"] == "records_unavailable"
    assert_turned_away(place.south, session, written.banned, 403, "forbidden", 4403)
    with pad(place.south, PLAIN, auth=written.viewer.auth) as room:
        room.join(session)
        room.until_code("canary goes on")
        room.change(session, "canary")
        assert room.next("error")["code"] == "forbidden"
    for node in place.nodes:
        began = time.monotonic()
        assert_problem(turned_away(node, door(unseen, token=written.ann.token)), 503, "records_unavailable")
        with pad(node, PLAIN, auth=written.ann.auth) as room:
            room.join(unseen)
            assert room.next("error")["code"] == "records_unavailable"
        for answer in (
            assign(node, written.ann, session, written.viewer.id, "editor"),
            assign(node, written.ann, session, written.editor.id, "banned"),
            send_away(node, written.ann, session, written.editor.id),
            update(node, written.ann, session, default_role="viewer", title="Lost"),
            make(node, written.ann, title="Lost"),
            end(node, written.ann, session),
            end_by_door(node, written.ann, session),
            look(node, written.ann, session),
            people(node, written.ann, session),
            listed(node, written.ann),
        ):
            assert_problem(answer, 503, "records_unavailable")
        assert time.monotonic() - began < 20
    assert viewer.ask("code_change", code="canary") == FORBIDDEN
    assert editor.ask("code_change", code="canary at last", base_version=3)["type"] == "code_ack"
    assert join(place.north, session, token=Visitor(place.north).token).ask("language_change", language="python")["type"] == "ack"
    postgres.start()
    for node in place.nodes:
        eventually(lambda: people(node, written.ann, session).status == 200, "the records are back")
        assert people(node, written.ann, session).json == before
    now = look(place.north, written.ann, session).json
    assert (now["title"], now["default_role"]) == ("Kept", "editor")
    await_saved(place, session, "canary at last", 4)
    join(place.north, unseen, token=written.ann.token)


# Limits


@pytest.fixture(scope="module")
def narrow(children):
    return children.node("narrow", HOST="127.0.0.1", JWT_SECRET=SECRET, MAX_PARTICIPANTS=2)


def assert_too_many(answer):
    assert_problem(answer, answer.status, "too_many")
    assert 400 <= answer.status < 500, answer


def test_roles_are_given_to_so_many(narrow):
    """A list of people grows without end; or a role cannot be changed once it is full."""
    ann, bob, cat, dan = (Visitor(narrow, name) for name in ("ann", "bob", "cat", "dan"))
    session = made(narrow, ann)
    given(narrow, ann, session, bob, "editor")
    given(narrow, ann, session, cat, "viewer")
    assert_too_many(assign(narrow, ann, session, dan.id, "editor"))
    given(narrow, ann, session, bob, "viewer")
    assert send_away(narrow, ann, session, cat.id).status == 204
    given(narrow, ann, session, dan, "editor")
    assert_too_many(assign(narrow, ann, session, cat.id, "viewer"))
    assert [one["user_id"] for one in people(narrow, ann, session).json["items"]] == [ann.id, bob.id, dan.id]


def test_roles_that_are_given_at_once_are_counted(held_up):
    """Two roles given at the same moment are one more than there may be, and that one is not shown."""
    place, proxy = held_up
    ann, bob = Visitor(place.north), Visitor(place.north, "bob")
    session = made(place.north, ann)
    given(place.north, ann, session, bob, "viewer")
    answers = meanwhile(
        proxy,
        lambda: assign(place.south, ann, session, unique("cat"), "viewer"),
        lambda: assign(place.north, ann, session, unique("dan"), "viewer"),
        word="COUNT(*)",
    )
    taken, refused_one = sorted(answers, key=lambda answer: answer.status)
    assert taken.status == 200
    assert_too_many(refused_one)
    assert len(people(place.north, ann, session).json["items"]) == 3, "the host, and two"


# What is written down. Last, because it looks at what all the others left.


def test_no_token_and_no_text_is_in_a_log(narrow, held_up, cluster, children):
    """Whoever reads the logs reads along, or comes in as anybody."""
    logs = "".join(child.log() for child in children.all if isinstance(child, processes.Node))
    assert logs.count('"level":"DEBUG"') > 100, "there is something to look at"
    assert [one for one in ("canary", SECRET) if one in logs] == []
    for minted in tokens.minted:
        for part in minted.split("."):
            assert len(part) < 12 or part not in logs, minted
