"""Teams, their insights and analytics: on nodes alone with SQLite, one open and one with tokens, and on two with Redis and
PostgreSQL."""

import re
import time
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta

import pytest

from support import processes, recorded, shapes, tokens
from support.accounts import Person
from support.deadline import eventually
from support.http import assert_problem
from support.peer import unique
from support.place import Place
from support.proxy import HoldingProxy
from support.recorded import Visitor, by
from support.sqlite import Sqlite
from support.teams import (
    analytics,
    delete,
    delete_note,
    joined,
    listed,
    look,
    made,
    make,
    members,
    note,
    noted,
    notes,
    path,
    put,
    read_note,
    remove,
    roles,
    stats,
    update,
    update_note,
)
from support.tokens import SECRET, token

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TEAM_ID = shapes.Matcher("t-<uuid>", re.compile(f"t-{UUID}").fullmatch)
INSIGHT_ID = shapes.Matcher("i-<uuid>", re.compile(f"i-{UUID}").fullmatch)
META = "'; DROP TABLE teams; -- \" % _ \\ $1 ? :name {0} x'OR'1'='1"
LONG = 1 << 20


def place_of(kind, request, children, **settings):
    settings = {"HOST": "127.0.0.1"} | settings
    if kind != "open":
        settings["JWT_SECRET"] = SECRET
    if kind != "cluster":
        node = children.node(kind, **settings)
        return Place([node], Sqlite(node.folder / "collabd.db"))
    redis, database = children.redis(), request.getfixturevalue("postgres").database()
    settings |= {"REDIS_URL": redis.url, "DATABASE_URL": database.url}
    return Place([children.node(name, **settings) for name in ("north", "south")], database, redis)


@pytest.fixture(scope="module", params=["open", "tokens", "cluster"])
def place(request, children):
    return place_of(request.param, request, children)


of_tokens = pytest.mark.parametrize("place", ["tokens", "cluster"], indirect=True)
of_cluster = pytest.mark.parametrize("place", ["cluster"], indirect=True)


@pytest.fixture
def ann(place):
    """The owner of `team`, and the host of `session`."""
    return Visitor(place.north, "ann")


@pytest.fixture
def bob(place):
    return Visitor(place.north, "bob")


@pytest.fixture
def team(place, ann):
    return made(place.north, ann)


@pytest.fixture
def session(place, ann):
    return recorded.made(place.north, ann)


def ids(answer):
    assert answer.status == 200, answer
    return [one["id"] for one in answer.json["items"]]


def pages(ask, limit, key="id"):
    """Every page's ids; `ask` is called with limit and cursor."""
    found, cursor = [], None
    while True:
        answer = ask(limit=limit, cursor=cursor)
        assert answer.status == 200, answer
        assert set(answer.json) == {"items", "next_cursor"}
        found.append([item[key] for item in answer.json["items"]])
        cursor = answer.json["next_cursor"]
        if cursor is None:
            return found


# Teams


def test_who_makes_a_team_is_its_owner(place, ann, bob):
    """A team is not there on another node, or is somebody else's."""
    answer = make(place.north, ann, name="Trees", description="Balanced\nones")
    assert answer.status == 201, answer
    times = {"created_at": shapes.TIME, "updated_at": answer.json["created_at"]}
    right = {"id": TEAM_ID, "name": "Trees", "description": "Balanced\nones", "role": "owner"}
    assert answer.json == right | times
    team = answer.json["id"]
    for node in place.nodes:
        assert look(node, ann, team).json == answer.json
        assert ids(listed(node, ann)) == [team]
        people = members(node, ann, team)
        owner = {"user_id": ann.id, "username": ann.name, "role": "owner", "added_at": answer.json["created_at"]}
        assert people.json == {"items": [owner], "next_cursor": None}
        assert ids(listed(node, bob)) == []


def test_a_team_needs_no_more_than_a_name(place, ann):
    """Who leaves a field out gets no team; who says too much gets one that is not made right."""
    answer = make(place.north, ann, name="T", description=None, role="member", id="mine", owner="eve", members=[])
    assert answer.status == 201, answer
    assert {"id": TEAM_ID, "name": "T", "description": "", "role": "owner"}.items() <= answer.json.items()
    assert roles(place.south, ann, answer.json["id"]) == {ann.id: "owner"}


@pytest.mark.parametrize("name", ["x", META, "😀" * 128, "日本語 – العربية", "<script>alert(1)</script>"])
@pytest.mark.parametrize("description", ["", META, "😀" * 4_000])
def test_the_widest_that_is_right(place, ann, team, name, description):
    """A name is cut, changed on its way, or read as SQL."""
    other = made(place.south, ann, name=name, description=description)
    assert update(place.north, ann, team, name=name, description=description).status == 200
    for one in (team, other):
        found = look(place.south, ann, one).json
        assert (found["name"], found["description"]) == (name, description)
    assert [one["name"] for one in listed(place.south, ann).json["items"]] == [name] * 2


WRONG = {
    "name": ["", " ", "\n", "x" * 129, "😀" * 129, "a\0b", "\0", "a\nb", 7, True, [], {}, "x" * 100_000],
    "description": ["x" * 4_001, "a\0b", "\0", 7, False, [], {}],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_field_that_is_wrong_is_named(place, ann, team, name):
    """A team has a name that cannot be kept, or a form cannot show which of its fields is wrong."""
    before = look(place.north, ann, team).json
    for value in WRONG[name]:
        for answer in (
            make(place.north, ann, **{"name": "Right", name: value}),
            update(place.south, ann, team, **{"name": "Right", name: value}),
        ):
            problem = assert_problem(answer, 400, "bad_field", name)
            assert len(problem["detail"].split()) > 3, problem
            assert len(problem["detail"]) < 1_000, "what was wrong is not sent back whole"
    assert listed(place.north, ann).json["items"] == [before]


def test_bodies_that_are_none(place, ann, team):
    """A node answers with a failure of its own to what it cannot read, or ends."""
    for body in (b"", b"{", b"null", b'"x"', b"7", b'["x"]', b'{"name":"\xff"}', b'{"name":"\\ud800"}', b"{}{}"):
        for answer in (
            place.north.post("/api/teams", body, **by(ann)),
            place.north.patch(path(team), body, **by(ann)),
            place.north.put(path(team, "members", "bob"), body, **by(ann)),
            place.north.post("/api/insights", body, **by(ann)),
        ):
            assert_problem(answer, 400, "bad_field")
    for fields in ({}, {"name": None}, {"description": "x"}):
        assert_problem(place.north.post("/api/teams", fields, **by(ann)), 400, "bad_field", "name")
    for fields in ({}, {"role": None}, {"user_id": "bob"}):
        answer = place.north.put(path(team, "members", "bob"), fields, **by(ann))
        assert_problem(answer, 400, "bad_field", "role")
    for answer in (make(place.north, ann, name="x" * LONG), update(place.north, ann, team, name="x" * LONG)):
        assert answer.status in (400, 413), answer.status
        assert len(answer.text) < 1_000
    assert roles(place.south, ann, team) == {ann.id: "owner"}


def test_some_fields_are_changed_and_others_stay(place, ann, team):
    """A new name empties the description, or is seen on one node alone."""
    before = look(place.south, ann, team).json
    for number, changed in enumerate(
        [
            {"name": "New"},
            {"description": "Of trees"},
            {"description": "", "name": "Newer"},
            {"name": "Newest", "description": None, "id": "other", "role": "member"},
            {},
        ]
    ):
        answer = update(place.nodes[number % len(place.nodes)], ann, team, **changed)
        assert answer.status == 200, answer
        taken = {key: value for key, value in changed.items() if key in WRONG and value is not None}
        before |= taken | {"updated_at": shapes.TIME}
        assert answer.json == before
        for node in place.nodes:
            assert look(node, ann, team).json == answer.json


def test_teams_are_listed_page_by_page(place, ann, bob):
    """A team is twice in a list, or in that of somebody who is not in it."""
    cat = Visitor(place.south, "cat")
    mine = []
    for number in range(7):
        node, owner = place.nodes[number % len(place.nodes)], (ann, cat)[number % 2]
        mine.append(made(node, owner))
        if owner is cat:
            joined(node, cat, mine[-1], ann, ("member", "admin", "owner")[number // 2])
    made(place.north, cat)
    left = made(place.north, cat)
    joined(place.north, cat, left, ann)
    assert remove(place.south, ann, left, ann.id).status == 204
    gone = made(place.south, ann)
    assert delete(place.north, ann, gone).status == 204
    youngest = mine[::-1]
    for node in place.nodes:
        for limit in (None, 1, 3, 6, 7, 200):
            some = pages(lambda **query: listed(node, ann, **query), limit)
            assert [one for page in some for one in page] == youngest
            assert {len(page) for page in some[:-1]} <= {limit}
        assert pages(lambda **query: listed(node, bob, **query), None) == [[]]


def test_members_are_listed_page_by_page(place, ann, team):
    """A member is left out between two pages."""
    everybody = sorted([ann.id, *(unique("member") for _ in range(6))])
    for user in everybody:
        if user != ann.id:
            assert put(place.north, ann, team, user, "member").status == 200
    for limit in (None, 1, 3, 6, 7):
        some = pages(lambda **query: members(place.south, ann, team, **query), limit, "user_id")
        assert sorted(one for page in some for one in page) == everybody
        assert {len(page) for page in some[:-1]} <= {limit}


@pytest.mark.parametrize("limit", ["0", "-1", "201", "x", "1.5", "", "99999999999999999999", "1\0"])
def test_a_limit_that_is_none_is_named(place, ann, team, limit):
    """A list is asked for that has no end."""
    for answer in (
        listed(place.north, ann, limit=limit),
        members(place.north, ann, team, limit=limit),
        notes(place.north, ann, team, limit=limit),
    ):
        assert_problem(answer, 400, "bad_field", "limit")


@pytest.mark.parametrize("cursor", ["a/b", "\0", " ", "x" * 200, "'"])
def test_a_cursor_that_is_none_is_named(place, ann, team, cursor):
    """A list begins wherever the database takes this for."""
    for answer in (
        listed(place.north, ann, cursor=cursor),
        members(place.north, ann, team, cursor=cursor),
        notes(place.north, ann, team, cursor=cursor),
    ):
        assert_problem(answer, 400, "bad_field", "cursor")


def test_ids_that_are_none_are_named(place, ann, team, session):
    """What stands in a path becomes part of a question to the database."""
    for bad in ("a'b", "a b", "..", "x" * 129, "\0", "ä", "a/b"):
        for answer in (
            look(place.north, ann, bad),
            update(place.north, ann, bad, name="x"),
            delete(place.north, ann, bad),
            members(place.north, ann, bad),
            put(place.north, ann, bad, "bob", "member"),
            notes(place.north, ann, bad),
            analytics(place.north, ann, bad),
            note(place.north, ann, bad, session),
        ):
            assert_problem(answer, 400, "bad_field", "team_id")
        assert_problem(put(place.north, ann, team, bad, "member"), 400, "bad_field", "user_id")
        assert_problem(remove(place.north, ann, team, bad), 400, "bad_field", "user_id")
        assert_problem(note(place.north, ann, team, bad), 400, "bad_field", "session_id")
        assert_problem(notes(place.north, ann, team, session_id=bad), 400, "bad_field", "session_id")
        assert_problem(read_note(place.north, ann, bad), 400, "bad_field", "insight_id")
    assert_problem(place.north.get("/api/insights", **by(ann)), 400, "bad_field", "team_id")
    assert_problem(place.north.get("/api/analytics/team", **by(ann)), 400, "bad_field", "team_id")


# Who may


def asks(node, who, team, session, insight):
    """Everything that can be asked of a team, by what it is called; the last ones end something."""
    user = unique("dan")
    return {
        "look": lambda: look(node, who, team),
        "members": lambda: members(node, who, team),
        "notes": lambda: notes(node, who, team),
        "read": lambda: read_note(node, who, insight),
        "analytics": lambda: analytics(node, who, team),
        "note": lambda: note(node, who, team, session),
        "update note": lambda: update_note(node, who, insight, title="New"),
        "update": lambda: update(node, who, team, name="New"),
        "put": lambda: put(node, who, team, user, "member"),
        "promote": lambda: put(node, who, team, user, "admin"),
        "remove": lambda: remove(node, who, team, user),
        "put owner": lambda: put(node, who, team, user, "owner"),
        "delete note": lambda: delete_note(node, who, insight),
        "delete": lambda: delete(node, who, team),
    }


READ = {"look", "members", "notes", "read", "analytics", "note"}
MANAGE = READ | {"update note", "update", "put", "promote", "remove", "delete note"}
MAY = {"member": READ, "admin": MANAGE, "owner": MANAGE | {"put owner", "delete"}}


@pytest.mark.parametrize("role", MAY)
def test_who_may_do_what(place, ann, bob, team, session, role):
    """Somebody does what the role does not allow, or may not do what it does."""
    insight = noted(place.north, ann, team, session)
    joined(place.north, ann, team, bob, role)
    for what, ask in asks(place.south, bob, team, session, insight).items():
        answer = ask()
        if what in MAY[role]:
            assert answer.status in (200, 201, 204), (what, answer)
        else:
            assert_problem(answer, 403, "forbidden")
    if role != "owner":
        assert look(place.north, ann, team).status == 200


def test_nobody_else_sees_a_team(place, ann, bob, session, team):
    """Somebody finds out that there is a team, or reads what it notes."""
    insight = noted(place.north, ann, team, session)
    joined(place.north, ann, team, bob)
    assert remove(place.north, ann, team, bob.id).status == 204
    no_team, no_insight = f"t-{insight[2:]}", f"i-{team[2:]}"
    for who in (bob, Visitor(place.south, "cat")):
        for node in place.nodes:
            real = asks(node, who, team, session, insight)
            none = asks(node, who, no_team, session, no_insight)
            for what in real:
                answers = [ask() for ask in (real[what], none[what])]
                for answer in answers:
                    assert_problem(answer, 404, "not_found")
                assert answers[0].text == answers[1].text, what
            assert_problem(put(node, who, team, who.id, "owner"), 404, "not_found")
            assert_problem(remove(node, who, team, who.id), 404, "not_found")
            assert_problem(put(node, who, team, who.id, "nonsense"), 404, "not_found")
    assert roles(place.north, ann, team) == {ann.id: "owner"}
    assert read_note(place.north, ann, insight).json["title"] == "A note"


@of_tokens
def test_an_admin_of_the_node_is_nobody_in_a_team(place, ann, team, session):
    """Whoever runs the service reads what teams note."""
    for role in ("admin", "service"):
        trusted = Visitor(place.north, "root", role=role)
        assert_problem(look(place.north, trusted, team), 404, "not_found")
        assert_problem(notes(place.north, trusted, team), 404, "not_found")


@of_tokens
def test_a_token_for_certain_sessions_is_for_no_team(place, ann, team, session):
    """A link to one session opens everything its maker has."""
    insight = noted(place.north, ann, team, session)
    narrow = Visitor(place.north)
    narrow.token = token(ann.id, sessions=[session])
    for ask in asks(place.south, narrow, team, session, insight).values():
        assert_problem(ask(), 403, "forbidden")
    assert_problem(make(place.north, narrow, name="Mine"), 403, "forbidden")
    assert_problem(listed(place.north, narrow), 403, "forbidden")
    assert roles(place.north, ann, team) == {ann.id: "owner"}


def test_nobody_comes_without_a_token(place, team, session):
    """On an open node everybody is whoever they say."""
    for ask in asks(place.north, None, team, session, f"i-{team[2:]}").values():
        assert_problem(ask(), 401, "unauthorized")
    assert_problem(make(place.north, None, name="Mine"), 401, "unauthorized")
    assert_problem(listed(place.north, None), 401, "unauthorized")


# Members


def test_a_member_is_called_as_the_account(place, ann, team):
    """A list has ids where people have names."""
    person, stranger = Person(place.south), unique("stranger")
    for user, name in ((person.id, person.username), (stranger, stranger)):
        answer = put(place.north, ann, team, user, "admin")
        assert answer.status == 200, answer
        shown = {"user_id": user, "username": name, "role": "admin", "added_at": shapes.TIME}
        assert answer.json == shown
        assert shown in members(place.south, ann, team).json["items"]


def test_a_role_is_given_anew(place, ann, bob, team):
    """A member is there twice, or keeps what was taken."""
    added = put(place.north, ann, team, bob.id, "member").json["added_at"]
    for role in ("admin", "owner", "member", "member"):
        answer = put(place.south, ann, team, bob.id, role)
        assert (answer.status, answer.json["role"], answer.json["added_at"]) == (200, role, added)
        for node in place.nodes:
            assert roles(node, ann, team) == {ann.id: "owner", bob.id: role}
            assert look(node, bob, team).json["role"] == role


@pytest.mark.parametrize("role", ["", "Owner", "host", "\0", META, 7, None, [], {}])
def test_a_role_that_is_none_is_named(place, ann, bob, team, role):
    """A member has a role that allows nobody knows what."""
    assert_problem(put(place.north, ann, team, bob.id, role), 400, "bad_field", "role")
    assert roles(place.north, ann, team) == {ann.id: "owner"}


def test_whom_an_admin_may_touch(place, ann, bob, team):
    """An admin throws the owner out, or becomes one."""
    cat, dan = Visitor(place.north, "cat"), Visitor(place.north, "dan")
    joined(place.north, ann, team, bob, "admin")
    for answer in (
        put(place.south, bob, team, ann.id, "member"),
        put(place.south, bob, team, ann.id, "owner"),
        remove(place.south, bob, team, ann.id),
        put(place.south, bob, team, bob.id, "owner"),
        put(place.south, bob, team, cat.id, "owner"),
    ):
        assert_problem(answer, 403, "forbidden")
    joined(place.north, bob, team, cat, "admin")
    joined(place.north, bob, team, dan)
    assert put(place.north, bob, team, cat.id, "member").status == 200
    assert put(place.north, bob, team, bob.id, "member").status == 200
    for answer in (put(place.south, bob, team, bob.id, "admin"), remove(place.south, bob, team, dan.id)):
        assert_problem(answer, 403, "forbidden")
    assert roles(place.south, ann, team) == {ann.id: "owner"} | dict.fromkeys((bob.id, cat.id, dan.id), "member")


def test_who_leaves_is_out_on_every_node(place, ann, bob, team):
    """Somebody who left reads on, or cannot leave."""
    for role in ("member", "admin", "owner"):
        joined(place.north, ann, team, bob, role)
        assert look(place.south, bob, team).status == 200
        assert remove(place.south, bob, team, bob.id).status == 204
        for node in place.nodes:
            assert_problem(look(node, bob, team), 404, "not_found")
    # Who is not there is not there afterwards.
    assert remove(place.north, ann, team, bob.id).status == 204


def test_the_last_owner_stays(place, ann, bob, team):
    """A team is nobody's, and nobody can delete it."""
    joined(place.north, ann, team, bob, "admin")
    for answer in (
        remove(place.north, ann, team, ann.id),
        put(place.south, ann, team, ann.id, "admin"),
        put(place.south, ann, team, ann.id, "member"),
    ):
        problem = assert_problem(answer, 409, "conflict")
        assert "owner" in problem["detail"]
    assert put(place.north, ann, team, ann.id, "owner").status == 200
    joined(place.north, ann, team, bob, "owner")
    assert remove(place.north, ann, team, ann.id).status == 204
    assert_problem(remove(place.south, bob, team, bob.id), 409, "conflict")
    assert roles(place.south, bob, team) == {bob.id: "owner"}


def test_owners_who_leave_at_once_leave_one(place):
    """A team is left without an owner by all of its owners in the same moment."""
    owners = [Visitor(place.north, f"owner{number}") for number in range(4)]
    for _ in range(5):
        team = made(place.north, owners[0])
        for owner in owners[1:]:
            joined(place.north, owners[0], team, owner, "owner")
        with ThreadPoolExecutor(4) as pool:
            nodes = [place.nodes[number % len(place.nodes)] for number in range(4)]
            answers = list(pool.map(lambda node, one: remove(node, one, team, one.id), nodes, owners))
        assert sorted(answer.status for answer in answers) == [204, 204, 204, 409]
        [last] = [one for one, answer in zip(owners, answers, strict=True) if answer.status == 409]
        assert roles(place.south, last, team) == {last.id: "owner"}


def test_a_member_who_is_put_twice_at_once_is_one(place, ann, team):
    """A member is there twice, or one of two who put the same gets a failure."""
    users, given = [unique("member") for _ in range(4)], ("member", "admin")
    with ThreadPoolExecutor(8) as pool:
        asked = [(node, user, role) for user in users for node, role in zip((place.north, place.south), given, strict=True)]
        answers = list(pool.map(lambda ask: put(ask[0], ann, team, ask[1], ask[2]), asked))
    assert [answer.status for answer in answers] == [200] * 8
    now = roles(place.north, ann, team)
    assert len(now) == 5 and all(now[user] in given for user in users)


@pytest.fixture(scope="module")
def held_up(request, children):
    """A cluster whose second node's questions to the database can be held up; and what does that."""
    redis, postgres = children.redis(), request.getfixturevalue("postgres")
    database, proxy = postgres.database(), HoldingProxy(postgres.port)
    settings = {"REDIS_URL": redis.url, "JWT_SECRET": SECRET, "HOST": "127.0.0.1", "MAX_TEAM_MEMBERS": 3}
    north = children.node("north", DATABASE_URL=database.url, **settings)
    # Every question is written out, so that it can be told from others.
    url = database.url.replace(f":{postgres.port}/", f":{proxy.port}/") + "?statement-cache-capacity=0"
    south = children.node("south", DATABASE_URL=url, **settings)
    yield Place([north, south], database, redis), proxy
    proxy.close()


def meanwhile(proxy, slowly, quickly):
    """Does one thing up to where the team's members were looked at, then another, then the rest; what came of both."""
    with ThreadPoolExecutor(2) as pool, proxy.holding("other_owners"):
        first = pool.submit(slowly)
        proxy.await_held()
        second = pool.submit(quickly)
        # It must wait for the first.
        wait([second], timeout=0.5)
        proxy.let_go()
        return first.result(), second.result()


@pytest.mark.parametrize("how", ["leave", "demote"])
def test_what_was_looked_at_is_still_so(held_up, how):
    """Each of two owners looks, finds the other one there, and goes."""
    place, proxy = held_up
    ann, bob = Visitor(place.north), Visitor(place.north, "bob")
    team = made(place.north, ann)
    joined(place.north, ann, team, bob, "owner")

    def go(node, who):
        return remove(node, who, team, who.id) if how == "leave" else put(node, who, team, who.id, "member")

    left, stayed = meanwhile(proxy, lambda: go(place.south, ann), lambda: go(place.north, bob))
    assert left.status == (204 if how == "leave" else 200)
    assert_problem(stayed, 409, "conflict")
    assert roles(place.south, bob, team)[bob.id] == "owner"


def test_members_who_are_put_at_once_are_counted(held_up):
    """Two who come at the same moment are one more than there may be."""
    place, proxy = held_up
    ann = Visitor(place.north)
    team = made(place.north, ann)
    assert put(place.north, ann, team, unique("bob"), "member").status == 200
    first, second = meanwhile(
        proxy,
        lambda: put(place.south, ann, team, unique("cat"), "member"),
        lambda: put(place.north, ann, team, unique("dan"), "member"),
    )
    assert first.status == 200
    assert_problem(second, 400, "too_many")
    assert len(roles(place.north, ann, team)) == 3


# Insights


def test_an_insight_is_what_was_written(place, ann, bob, team, session):
    """A note is cut or changed on its way, or is not there on another node."""
    joined(place.north, ann, team, bob)
    said = {"title": "It's 50%", "body": "Slow\n\tbecause: ☃", "tags": ["perf", "b", "perf", "Ä '; --"]}
    answer = note(place.north, bob, team, session, **said, author="eve", id="mine", created_at=1)
    assert answer.status == 201, answer
    assert answer.json == {
        "id": INSIGHT_ID,
        "team_id": team,
        "session_id": session,
        "author": {"user_id": bob.id, "username": bob.name},
        "title": said["title"],
        "body": said["body"],
        "tags": ["perf", "b", "Ä '; --"],
        "created_at": shapes.TIME,
        "updated_at": answer.json["created_at"],
    }
    for node in place.nodes:
        for who in (ann, bob):
            assert read_note(node, who, answer.json["id"]).json == answer.json
            assert notes(node, who, team).json == {"items": [answer.json], "next_cursor": None}


WRONG_NOTE = {
    "title": ["", " ", "x" * 201, "a\0b", "a\nb", 7, [], {}],
    "body": ["", " \n", "x" * 20_001, "a\0b", 7, True, [], {}],
    "tags": [["x"] * 21, [""], [" "], ["x" * 41], ["a\0b"], ["a\nb"], "x", 7, {}],
}


@pytest.mark.parametrize("name", WRONG_NOTE)
def test_a_field_of_an_insight_that_is_wrong_is_named(place, ann, team, session, name):
    """A note has a tag that nobody can look for."""
    insight = noted(place.north, ann, team, session)
    for value in WRONG_NOTE[name]:
        for answer in (
            note(place.north, ann, team, session, **{name: value}),
            update_note(place.south, ann, insight, **{name: value}),
        ):
            assert_problem(answer, 400, "bad_field", name)
            assert len(answer.text) < 1_000
    assert ids(notes(place.north, ann, team)) == [insight]
    answer = note(place.north, ann, team, session, tags=["fine", 7])
    assert_problem(answer, 400, "bad_field", "tags[1]")
    fields = {"team_id": team, "session_id": session, "title": "T", "body": "B"}
    for lacking in fields:
        some = {key: value for key, value in fields.items() if key != lacking}
        assert_problem(place.north.post("/api/insights", some, **by(ann)), 400, "bad_field", lacking)


def test_the_widest_insight_that_is_right(place, ann, team, session):
    """A bound is lower than it is said to be."""
    tags = [f"{number:02}" + "ü" * 38 for number in range(20)]
    said = {"title": "😀" * 200, "body": "😀" * 20_000, "tags": tags}
    answer = note(place.north, ann, team, session, **said)
    assert answer.status == 201, answer.text[:200]
    found = read_note(place.south, ann, answer.json["id"]).json
    assert {name: found[name] for name in said} == said
    assert ids(notes(place.north, ann, team, tag=tags[-1], q="😀" * 200)) == [answer.json["id"]]


def test_insights_are_found(place, ann, team, session):
    """A search takes what is sought for a pattern, or finds what it should not."""
    other = recorded.made(place.south, ann)
    cache = noted(place.north, ann, team, session, title="Cache", body="50% FASTER_now!", tags=["perf", "cache"])
    route = noted(place.south, ann, team, other, title="Route", body="Überholt \\ 'x'", tags=["perf", "Perf"])
    second = made(place.north, ann)
    noted(place.north, ann, second, session, title="Cache", body="50% FASTER_now!", tags=["perf"])
    for query, right in [
        ({}, [route, cache]),
        ({"q": "CACHE"}, [cache]),
        ({"q": "0% f"}, [cache]),
        ({"q": "fasterXnow"}, []),
        ({"q": "faster_NOW"}, [cache]),
        ({"q": "%"}, [cache]),
        ({"q": "_"}, [cache]),
        ({"q": "!"}, [cache]),
        ({"q": "üBERHOLT"}, [route]),
        ({"q": "\\"}, [route]),
        ({"q": "'x'"}, [route]),
        ({"q": META}, []),
        ({"q": ""}, [route, cache]),
        ({"tag": "perf"}, [route, cache]),
        ({"tag": "Perf"}, [route]),
        ({"tag": "per"}, []),
        ({"tag": "%"}, []),
        ({"tag": "perf", "q": "cache"}, [cache]),
        ({"session_id": session}, [cache]),
        ({"session_id": session, "tag": "Perf"}, []),
        ({"session_id": other, "tag": "perf", "q": "RO", "unknown": "x"}, [route]),
    ]:
        for node in place.nodes:
            assert ids(notes(node, ann, team, **query)) == right, query
    for query, field in [
        ({"q": "\0"}, "q"),
        ({"q": "x" * 201}, "q"),
        ({"tag": "\0"}, "tag"),
        ({"tag": "x" * 41}, "tag"),
        ({"limit": 51}, "limit"),
    ]:
        assert_problem(notes(place.north, ann, team, **query), 400, "bad_field", field)


def test_insights_are_listed_page_by_page(place, ann, team, session):
    """A note is left out between two pages."""
    mine = [noted(place.nodes[n % len(place.nodes)], ann, team, session, tags=["a"] * (n % 2)) for n in range(7)][::-1]
    for limit in (None, 1, 3, 7):
        for query, right in (({}, mine), ({"tag": "a"}, mine[1::2]), ({"q": "NOTE"}, mine)):
            some = pages(lambda **page: notes(place.south, ann, team, **query, **page), limit)
            assert [one for page in some for one in page] == right
            assert {len(page) for page in some[:-1]} <= {limit}


def test_an_insight_is_changed(place, ann, team, session):
    """A new title takes the tags along, or the old ones are still found."""
    insight = noted(place.north, ann, team, session, tags=["a", "b"])
    before = read_note(place.north, ann, insight).json
    for changed in (
        {"title": "New"},
        {"body": "Other", "tags": ["c", "a"]},
        {"tags": []},
        {"tags": ["d"], "title": None, "session_id": "other", "team_id": "other", "author": "eve"},
        {},
    ):
        answer = update_note(place.south, ann, insight, **changed)
        assert answer.status == 200, answer
        taken = {key: value for key, value in changed.items() if key in WRONG_NOTE and value is not None}
        before |= taken | {"updated_at": shapes.TIME}
        assert answer.json == before == read_note(place.north, ann, insight).json
    for tag, right in (("a", []), ("b", []), ("c", []), ("d", [insight])):
        assert ids(notes(place.south, ann, team, tag=tag)) == right


def test_who_changes_an_insight(place, ann, bob, team, session):
    """A member changes what somebody else wrote; or its author cannot."""
    cat = Visitor(place.south, "cat")
    for one in (bob, cat):
        joined(place.north, ann, team, one)
    insight = noted(place.north, bob, team, session)
    for answer in (update_note(place.north, cat, insight, title="Cat's"), delete_note(place.south, cat, insight)):
        assert_problem(answer, 403, "forbidden")
    assert update_note(place.south, bob, insight, title="Bob's").status == 200
    joined(place.north, ann, team, cat, "admin")
    assert update_note(place.south, cat, insight, title="Admin's").json["author"]["user_id"] == bob.id
    # Who has left reads and changes nothing any more, whoever wrote it.
    assert remove(place.north, ann, team, bob.id).status == 204
    for answer in (read_note(place.south, bob, insight), update_note(place.north, bob, insight, title="Late")):
        assert_problem(answer, 404, "not_found")
    assert read_note(place.north, ann, insight).json["title"] == "Admin's"
    assert delete_note(place.north, cat, insight).status == 204
    for node in place.nodes:
        assert_problem(read_note(node, ann, insight), 404, "not_found")
        assert_problem(delete_note(node, ann, insight), 404, "not_found")


def test_an_insight_is_about_a_session_that_one_may_attend(place, ann, bob, team, session):
    """Somebody who is banned writes about what goes on there; or nobody may once it has ended."""
    joined(place.north, ann, team, bob)
    recorded.given(place.north, ann, session, bob, "banned")
    assert_problem(note(place.south, bob, team, session), 403, "forbidden")
    nowhere = f"r-{team[2:]}"
    for missing in (nowhere, "pairing", "x"):
        assert_problem(note(place.south, ann, team, missing), 404, "not_found")
    recorded.given(place.north, ann, session, bob, "viewer")
    assert recorded.end(place.north, ann, session).status == 204
    for who in (ann, bob):
        noted(place.south, who, team, session)


def test_insights_go_with_their_team(place, ann, bob, team, session):
    """What a team noted is still there, and nobody's."""
    joined(place.north, ann, team, bob, "admin")
    other = made(place.north, ann)
    insight, kept = noted(place.north, bob, team, session, tags=["a"]), noted(place.north, ann, other, session)
    assert delete(place.south, ann, team).status == 204
    for node in place.nodes:
        for answer in (
            look(node, ann, team),
            members(node, ann, team),
            read_note(node, bob, insight),
            note(node, ann, team, session),
            delete(node, ann, team),
        ):
            assert_problem(answer, 404, "not_found")
        assert ids(listed(node, ann)) == [other]
        assert ids(notes(node, ann, other)) == [kept]
    for table, column in (("insights", "team_id"), ("insight_tags", "team_id"), ("team_members", "team_id")):
        assert place.database.execute(f"SELECT * FROM {table} WHERE {column} = ?", team) == []


# Analytics

ZERO = {"sessions": 0, "messages": 0, "comments": 0, "active_minutes": 0}


def instant(text):
    return int(datetime.fromisoformat(text).timestamp() * 1_000)


@pytest.fixture
def rows(place):
    """Writes rows as rooms write them: somebody said or did something in a session, so many minutes after a moment."""
    numbers = iter(range(1, 1_000_000))

    def happen(session, user, at, kind=None, told=True, deleted=False):
        number = next(numbers)
        if kind is None:
            place.database.execute(
                "INSERT INTO events (session_id, part, seq, happened_at, kind, user_id, body) "
                "VALUES (?, 0, ?, ?, 'code', ?, '{}')",
                *(session, number, at, user),
            )
        else:
            place.database.execute(
                "INSERT INTO messages (id, session_id, kind, user_id, username, content, mentions, resolved, "
                "created_at, deleted_at, seq) VALUES (?, ?, ?, ?, ?, 'x', '[]', 0, ?, ?, ?)",
                *(unique("m"), session, kind, user, user, at, at if deleted else None, number if told else None),
            )

    return happen


def test_what_a_team_did_is_counted(place, ann, bob, team, session, rows):
    """A count has what was deleted, what others did, or a minute twice."""
    joined(place.north, ann, team, bob)
    other, start = recorded.made(place.north, ann), instant("2025-03-01T00:00:00+00:00")
    minute, day = 60_000, 86_400_000
    for at in (0, 1, minute - 1, minute):
        rows(session, ann.id, start + at)
    rows(other, ann.id, start + 2)
    rows(session, bob.id, start)
    rows(session, ann.id, start, "chat")
    rows(other, ann.id, start, "comment")
    rows(other, bob.id, start + day, "chat")
    rows(session, bob.id, start, "chat", told=False)
    rows(session, bob.id, start, "chat", deleted=True)
    rows(session, unique("eve"), start, "chat")
    rows(session, ann.id, start - 1)
    rows(session, ann.id, start + 2 * day, "chat")
    days = {"from": "2025-03-01T00:00:00Z", "to": "2025-03-03T02:00:00+02:00"}
    ann_did = {"sessions": 2, "messages": 1, "comments": 1, "active_minutes": 2}
    bob_did = {"sessions": 2, "messages": 1, "comments": 0, "active_minutes": 1}
    counted = analytics(place.south, bob, team, **days)
    assert counted.status == 200, counted
    assert sorted(counted.json["members"], key=lambda one: one["user_id"]) == sorted(
        [
            {"user_id": ann.id, "username": ann.name} | ann_did,
            {"user_id": bob.id, "username": bob.known} | bob_did,
        ],
        key=lambda one: one["user_id"],
    )
    rest = {name: counted.json[name] for name in counted.json if name != "members"}
    assert rest == {
        "team_id": team,
        "from": "2025-03-01T00:00:00.000Z",
        "to": "2025-03-03T00:00:00.000Z",
        "days": [
            {"day": "2025-03-01", "sessions": 2, "messages": 1, "comments": 1, "active_minutes": 3},
            {"day": "2025-03-02", "sessions": 1, "messages": 1, "comments": 0, "active_minutes": 0},
        ],
        "totals": {"sessions": 2, "messages": 2, "comments": 1, "active_minutes": 3},
    }


def test_the_last_thirty_days_are_counted(place, ann, team, session, rows):
    """Who does not say when gets nothing, or everything."""
    now = int(time.time() * 1_000)
    rows(session, ann.id, now - 29 * 86_400_000, "chat")
    rows(session, ann.id, now - 31 * 86_400_000, "chat")
    counted = analytics(place.south, ann, team).json
    assert counted["totals"] == ZERO | {"sessions": 1, "messages": 1}
    span = instant(counted["to"]) - instant(counted["from"])
    assert span == 30 * 86_400_000
    to = datetime.now(UTC) - timedelta(days=1, hours=1)
    counted = analytics(place.south, ann, team, to=to.isoformat()).json
    assert counted["totals"] == ZERO | {"sessions": 1, "messages": 2}, "thirty days before that"


@pytest.mark.parametrize(
    "query,field",
    [
        ({"from": "yesterday"}, "from"),
        ({"from": "2025-03-01"}, "from"),
        ({"from": "2025-03-01T00:00:00"}, "from"),
        ({"from": "1740787200"}, "from"),
        ({"to": "2025-13-01T00:00:00Z"}, "to"),
        ({"to": "\0"}, "to"),
        ({"to": META}, "to"),
        ({"from": "2025-03-02T00:00:00Z", "to": "2025-03-01T00:00:00Z"}, "from"),
        ({"from": "2025-03-01T00:00:00Z", "to": "2025-03-01T00:00:00Z"}, "from"),
        ({"from": "2024-03-01T00:00:00Z", "to": "2025-03-02T00:00:01Z"}, "from"),
        ({"from": "-009999-01-02T00:00:00Z", "to": "9999-12-30T00:00:00Z"}, "from"),
        ({"from": "9999-12-30T00:00:00Z"}, "from"),
    ],
)
def test_a_time_that_is_none_is_named(place, ann, team, query, field):
    """A count of ten years holds the database up for everybody."""
    assert_problem(analytics(place.north, ann, team, **query), 400, "bad_field", field)


def test_a_year_may_be_counted(place, ann, team):
    """A leap year is too long."""
    query = {"from": "2024-01-01T00:00:00Z", "to": "2025-01-01T00:00:00Z"}
    counted = analytics(place.north, ann, team, **query).json
    assert (counted["days"], counted["totals"]) == ([], ZERO)
    assert counted["members"] == [{"user_id": ann.id, "username": ann.name} | ZERO]
    early = {"from": "0000-01-01T00:00:00Z", "to": "0000-06-01T00:00:00Z"}
    assert analytics(place.north, ann, team, **early).json["totals"] == ZERO


# How much goes on


def test_everybody_who_is_there_is_counted_once(own_children, join):
    """Who is on two nodes is two, or a session that is; or a node that nobody asks is left out."""
    place = place_of_two(own_children)
    ann, bob, root = Visitor(place.north), Visitor(place.north, "bob"), Visitor(place.north, "root", role="admin")
    shared, alone = recorded.made(place.north, ann, default_role="editor"), recorded.made(place.north, ann)
    peers = [join(node, shared, token=ann.token) for node in place.nodes]
    peers += [join(place.south, shared, token=bob.token), join(place.north, alone, token=ann.token)]
    by_session = sorted([{"session_id": shared, "users": 2}, {"session_id": alone, "users": 1}], key=str)
    right = {"total_connections": 4, "total_sessions": 2, "users": 2, "messages_today": 0}
    for node in place.nodes:
        eventually(lambda: stats(node, root).json == right | {"by_session": by_session}, f"{node.name} knows")
        assert stats(node, bob).json == right, "who is where is for admins and services"
        first = stats(node, root, limit=1).json
        assert first["by_session"] == by_session[:1]
        assert first["next_cursor"] == by_session[0]["session_id"]
        second = stats(node, root, limit=1, cursor=first["next_cursor"]).json
        assert second["by_session"] == by_session[1:] and "next_cursor" not in second
        assert_problem(stats(node), 401, "unauthorized")
        for query in ({"limit": 0}, {"limit": 501}, {"cursor": "a b"}):
            assert_problem(stats(node, root, **query), 400, "bad_field", next(iter(query)))
    for peer in peers:
        peer.leave()
    gone = right | {"total_connections": 0, "total_sessions": 0, "users": 0, "by_session": []}
    for node in place.nodes:
        eventually(lambda: stats(node, root).json == gone, f"{node.name} knows that nobody is there")


def test_what_is_known_is_said_while_others_are_away(own_children, join):
    """A page of figures is a failure whenever Redis or the database is."""
    place = place_of_two(own_children)
    ann, root = Visitor(place.north), Visitor(place.north, "root", role="admin")
    session = recorded.made(place.north, ann)
    join(place.north, session, token=ann.token)
    eventually(lambda: stats(place.north, root).json["total_connections"] == 1, "it is counted")
    eventually(lambda: stats(place.south, root).json["total_sessions"] == 1, "it is counted there, too")
    place.redis.stop()
    stale = {"total_connections": 1, "total_sessions": 1, "users": 1, "messages_today": 0, "stale": True}
    eventually(lambda: stats(place.north, root).json == stale, "it says that this is old")
    place.database.server.stop()
    stale["messages_today"] = None
    eventually(lambda: stats(place.north, ann).json == stale, "messages are not known")


def test_messages_of_today_are_counted(place, ann, session, rows):
    """A day has what is of yesterday, what nobody was told, or what was deleted."""
    before = stats(place.south, ann).json["messages_today"]
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = int(midnight.timestamp() * 1_000)
    rows(session, ann.id, start, "chat")
    rows(session, ann.id, start + 1, "comment")
    rows(session, ann.id, start - 1, "chat")
    rows(session, ann.id, start, "chat", told=False)
    rows(session, ann.id, start, "chat", deleted=True)
    eventually(lambda: stats(place.north, ann).json["messages_today"] == before + 2, "there are two more")


@pytest.mark.parametrize("place", ["open"], indirect=True)
def test_an_open_node_tells_anybody(place, join, session, ann):
    """A page of figures wants a token where there are none."""
    join(place.north, "figures", "ann")
    figures = {"session_id": "figures", "users": 1}
    eventually(lambda: figures in stats(place.north).json["by_session"], "it is listed")


# Bounds, and what is not there


def test_what_there_may_be_of_is_bounded(own_children):
    """Somebody fills the database; or cannot go on where something went."""
    settings = {"MAX_TEAMS_PER_USER": 2, "MAX_TEAM_MEMBERS": 2, "MAX_TEAM_INSIGHTS": 2}
    node = own_children.node("narrow", HOST="127.0.0.1", JWT_SECRET=SECRET, **settings)
    ann, bob, cat = (Visitor(node, name) for name in ("ann", "bob", "cat"))
    team, session = made(node, ann), recorded.made(node, ann)
    second = made(node, ann)
    assert_problem(make(node, ann, name="Third"), 400, "too_many")
    # Others cannot fill one's count.
    joined(node, bob, made(node, bob), cat, "owner")
    joined(node, bob, made(node, bob), cat, "owner")
    made(node, cat)
    joined(node, ann, team, bob)
    assert_problem(put(node, ann, team, cat.id, "member"), 400, "too_many")
    joined(node, ann, team, bob, "admin")
    assert remove(node, ann, team, bob.id).status == 204
    joined(node, ann, team, cat)
    first, _ = noted(node, ann, team, session), noted(node, cat, team, session)
    assert_problem(note(node, ann, team, session), 400, "too_many")
    noted(node, ann, second, session)
    assert delete_note(node, ann, first).status == 204
    noted(node, ann, team, session)
    assert delete(node, ann, second).status == 204
    made(node, ann)


def test_teams_go_on_when_their_database_is_back(own_children):
    """The database is restarted, and nodes must be, too."""
    place = place_of_two(own_children)
    ann, bob = Visitor(place.north), Visitor(place.north, "bob")
    team, session = made(place.north, ann), recorded.made(place.north, ann)
    joined(place.north, ann, team, bob, "admin")
    insight = noted(place.north, ann, team, session, tags=["a"])
    before = members(place.north, ann, team).json, notes(place.north, ann, team).json
    place.database.server.stop()
    for node in place.nodes:
        began = time.monotonic()
        for ask in asks(node, ann, team, session, insight).values():
            assert_problem(ask(), 503, "records_unavailable")
        for answer in (make(node, ann, name="Lost"), listed(node, ann), remove(node, bob, team, bob.id)):
            assert_problem(answer, 503, "records_unavailable")
        assert time.monotonic() - began < 15
    place.database.server.start()
    for node in place.nodes:
        eventually(lambda: look(node, ann, team).status == 200, "the records are back")
        assert (members(node, ann, team).json, notes(node, ann, team).json) == before
    for node in place.nodes:
        assert update(node, bob, team, name=node.name).json["name"] == node.name
        noted(node, bob, team, session)


def test_teams_outlive_their_nodes(own_children):
    """A team is gone with the process that made it."""
    node = own_children.node("alone", HOST="127.0.0.1", JWT_SECRET=SECRET)
    ann = Visitor(node)
    team, session = made(node, ann, description="Kept"), recorded.made(node, ann)
    noted(node, ann, team, session, tags=["a"])
    before = look(node, ann, team).json, members(node, ann, team).json, notes(node, ann, team, tag="a").json
    node.kill()
    node.start()
    assert before == (look(node, ann, team).json, members(node, ann, team).json, notes(node, ann, team, tag="a").json)


def test_a_cluster_without_a_database_has_no_teams(own_children):
    """Every node keeps teams of its own."""
    redis = own_children.redis()
    node = own_children.node("bare", HOST="127.0.0.1", JWT_SECRET=SECRET, REDIS_URL=redis.url)
    ann, team = Visitor(node), "t-1"
    for ask in asks(node, ann, team, "r-1", "i-1").values():
        assert_problem(ask(), 503, "records_unavailable")
    found = stats(node, ann).json
    assert found == {"total_connections": 0, "total_sessions": 0, "users": 0, "messages_today": None}


def place_of_two(children):
    """A cluster whose database may be stopped."""
    postgres, redis = children.postgres(), children.redis()
    database = postgres.database()
    database.server = postgres
    settings = {"REDIS_URL": redis.url, "DATABASE_URL": database.url, "JWT_SECRET": SECRET, "HOST": "127.0.0.1"}
    settings |= {"DATABASE_TIMEOUT": 1, "LEAVE_GRACE": 0.2, "BEAT_INTERVAL": 0.5, "LEASE": 2}
    return Place([children.node(name, **settings) for name in ("north", "south")], database, redis)


# What is written down. Last, because it looks at what all the others left.


def test_no_token_is_in_a_log(held_up, children):
    """Whoever reads the logs comes in as anybody."""
    logs = "".join(child.log() for child in children.all if isinstance(child, processes.Node))
    assert logs.count('"level":"DEBUG"') > 100, "there is something to look at"
    assert SECRET not in logs
    for minted in tokens.minted:
        for part in minted.split("."):
            assert len(part) < 12 or part not in logs, minted
