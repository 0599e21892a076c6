"""Accounts, from registering to leaving: on a node alone with SQLite, and on two with Redis and PostgreSQL."""

import json
import re
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed

import bcrypt
import jwt
import pytest

from support import accounts, processes, shapes, tokens
from support.accounts import (
    Person,
    change,
    guest,
    leave,
    login,
    logout,
    me,
    password,
    refresh,
    register,
    stranger,
)
from support.deadline import eventually
from support.http import assert_problem
from support.peer import Peer, door, unique
from support.place import Place
from support.postgres import PASSWORD as DATABASE_PASSWORD
from support.processes import Node, free_port
from support.proxy import Proxy
from support.raw import turned_away
from support.sqlite import Sqlite
from support.tokens import SECRET, bearer, token

LIFE = 900
LEEWAY = 30
FAILURES = 5


def place_of(kind, request, children, **settings):
    """A node alone, with the file that it makes where it is started; or a cluster of two."""
    # Passwords come faster than people's, and a busy machine is slow with them.
    settings = {"HOST": "127.0.0.1", "TOKEN_TTL": LIFE, "PASSWORD_HASHES": 64, "DATABASE_TIMEOUT": 20} | settings
    if kind == "sqlite":
        node = children.node("alone", **settings)
        return Place([node], Sqlite(node.folder / "collabd.db"))
    redis, database = children.redis(), request.getfixturevalue("postgres").database()
    settings |= {"REDIS_URL": redis.url, "DATABASE_URL": database.url}
    return Place([children.node(name, **settings) for name in ("north", "south")], database)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def place(request, children):
    """Where who one is stands in a token."""
    return place_of(request.param, request, children, JWT_SECRET=SECRET)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def open_place(request, children):
    """Where sockets are whoever they say, and nobody was given a secret."""
    return place_of(request.param, request, children)


@pytest.fixture(scope="module")
def node(place):
    return place.north


def rows(place):
    return place.database.execute("SELECT count(*) FROM users")[0][0]


def stored(place, person):
    """The hash of a password."""
    [(kept,)] = place.database.execute("SELECT password FROM users WHERE id = ?", person.id)
    return kept


def assert_given(answer, status=200, **user):
    """A token was given for this user. Returns it."""
    assert answer.status == status, answer
    assert answer.kind == "application/json"
    given = answer.json
    shape = {"access_token": shapes.STRING, "token_type": "bearer", "expires_in": LIFE}
    assert {key: value for key, value in given.items() if key != "user"} == shape
    assert user.items() <= given["user"].items(), given
    return given["access_token"]


def assert_refused(place, made):
    """Everywhere: at the door, and over REST."""
    for node in place.nodes:
        assert turned_away(node, door(unique("session"), token=made)).status == 401
        answer = me(node, made)
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


def assert_sentence(problem):
    assert len(problem["detail"].split()) > 3, problem


# Registering


def test_who_registers_can_log_in_and_work(place, join, session):
    """Somebody registers and cannot come in: on another node, by their address, or at the door of a session."""
    fields = stranger()
    answer = register(place.north, **fields)
    assert answer.status == 201, answer
    assert answer.json == {"id": shapes.STRING, "username": fields["username"], "email": fields["email"]}
    shown = answer.json
    for node in place.nodes:
        for name in ("username", "email"):
            known = {name: fields[name], "password": fields["password"]}
            given = assert_given(login(node, **known), **shown)
            assert me(place.south, given).json == shown | {"guest": False, "created_at": shapes.TIME}
    ann = join(place.south, session, token=given)
    assert [user["user_id"] for user in ann.greeting["users"]] == [shown["id"]]


def test_a_token_says_what_other_services_look_for(place):
    """A service that shares the secret cannot tell who comes, or until when."""
    ann = Person(place.north)
    given, before = ann.login(), time.time()
    claims = jwt.decode(given, SECRET, algorithms=["HS256"])
    assert claims["sub"] == ann.id
    assert abs(claims["exp"] - before - LIFE) < 10
    assert claims["jti"], "it can be revoked"
    assert claims["jti"] != jwt.decode(ann.login(), SECRET, algorithms=["HS256"])["jti"]


def test_what_nobody_asked_for_is_ignored(place):
    """Somebody registers as an admin, as somebody else, or without a password."""
    extra = {"id": "root", "role": "admin", "guest": True, "created_at": 0, "is_admin": 1, "": None}
    ann = Person(place.north, **extra)
    assert ann.id != "root"
    given = ann.login()
    assert me(place.south, given).json["guest"] is False
    answer = place.north.post("/api/auth/logout", {"jti": "of somebody else"}, headers=bearer(given))
    assert_problem(answer, 403, "forbidden")


@pytest.mark.parametrize("name", ["username", "email"])
def test_a_name_is_taken_in_every_spelling(place, name):
    """Two accounts look like one to people, who then trust the wrong one."""
    fields = stranger(username=unique("Ärger-Æ"), email=f"{unique('Ann')}@Example.ORG")
    assert register(place.north, **fields).status == 201
    before = rows(place)
    taken = fields[name]
    for spelling in (taken, taken.upper(), taken.lower(), taken.swapcase()):
        answer = register(place.south, **stranger(**{name: spelling}))
        problem = assert_problem(answer, 409, "conflict", name)
        assert_sentence(problem)
    assert rows(place) == before


@pytest.mark.parametrize("name", ["username", "email"])
def test_a_name_that_many_want_at_once_is_given_to_one(place, name):
    """Two people who register at the same moment share a name."""
    taken = unique("Wanted") + ("@example.org" if name == "email" else "")
    spellings = [taken, taken.upper(), taken.lower()] * 4
    wanted = [stranger(**{name: spelling}) for spelling in spellings]
    with ThreadPoolExecutor(len(wanted)) as pool:
        asked = [
            pool.submit(register, place.nodes[number % len(place.nodes)], **fields)
            for number, fields in enumerate(wanted)
        ]
        answers = [one.result() for one in asked]
    assert Counter(answer.status for answer in answers) == {201: 1, 409: len(wanted) - 1}
    for answer in answers:
        if answer.status == 409:
            assert_problem(answer, 409, "conflict", name)


WIDEST = {
    "username": ["x", "n" * 64, "ü" * 64, "😀" * 64, "o'hara", "a.b-c_d|e:f", "日本語"],
    "email": ["a@b", "a" * 250 + "@b.c", "o'hara+tag@example.org", "ü@exämple.org"],
    "password": ["p" * 8, "p" * 256, "ü" * 8, "ü" * 256, "        ", "a\tb c\nd e"],
}


@pytest.mark.parametrize("name,value", [(name, value) for name, values in WIDEST.items() for value in values])
def test_the_widest_that_is_right(place, name, value):
    """Somebody's own name, address or passphrase is refused, or cut and then taken for another."""
    ann = Person(place.north, **{name: value})
    answer = me(place.south, ann.login(place.south))
    assert ann.shown.items() <= answer.json.items()
    if name == "password":
        wrong = login(place.north, username=ann.username, password=value[:-1] + "x")
        assert_problem(wrong, 401, "unauthorized")


WRONG_TYPES = [None, 7, True, [], {}, ["ann"]]
BAD_FIELDS = {
    "username": ["", "n" * 65, "ü" * 65, "a b", " ann", "ann ", "a\tb", "a\nb", "a\0b", "\0", "a\x7fb", "a\x85b", "a@b"],
    "email": ["", "ann", "@", "@b", "a@", "a" * 251 + "@b.c", "ü" * 251 + "@b.c", "a@b\0", "\0@b", "a\nb@c"],
    "password": ["", "p" * 7, "ü" * 7, "p" * 257, "ü" * 257, "canary-\0-canary", "\0" * 8],
}


@pytest.mark.parametrize(
    "name,value",
    [(name, value) for name, values in BAD_FIELDS.items() for value in [*values, *WRONG_TYPES]],
)
def test_a_field_that_is_wrong_is_named(place, name, value):
    """An account is made that nobody can use; or a form cannot show which of its fields is wrong."""
    before = rows(place)
    problem = assert_problem(register(place.north, **stranger(**{name: value})), 400, "bad_field", name)
    assert_sentence(problem)
    assert rows(place) == before


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_a_field_that_is_missing_is_named(place, name):
    """A form that was not filled in makes an account, or a guess has to be made at what is missing."""
    fields = stranger()
    del fields[name]
    assert_problem(register(place.north, **fields), 400, "bad_field", name)


NO_OBJECTS = [
    b"",
    b"{",
    b"username=ann&password=canary-form",
    b"null",
    b'"canary"',
    b"7",
    b"[]",
    b'{"username":"\xff","email":"a@b","password":"canary-utf8"}',
    b'{"username":"\\ud800","email":"a@b","password":"canary-half"}',
    b"{}{}",
    b'{"x":' * 10_000 + b"1" + b"}" * 10_000,
]


@pytest.mark.parametrize("path", ["register", "login", "password"])
def test_a_body_that_is_no_object(node, path):
    """A node answers with a failure of its own to what it cannot read, or ends."""
    headers = bearer(Person(node).login())
    for body in NO_OBJECTS:
        assert_problem(node.post(f"/api/auth/{path}", body, headers=headers), 400, "bad_field")


@pytest.mark.parametrize("path", ["register", "login", "guest", "password"])
def test_a_body_that_is_too_large(node, path):
    """A long body costs memory."""
    made = Person(node).login()
    body = json.dumps(stranger(filler="x" * (2 << 20))).encode()
    assert_problem(node.post(f"/api/auth/{path}", body, headers=bearer(made)), 413)


META = ["'", '"', "';DROP/**/TABLE/**/users;--", "x'OR'1'='1", "%", "_", "\\", "$1", "?", ":name", "{0}", "\\'--", "`"]


@pytest.mark.parametrize("mark", META)
def test_marks_of_sql_are_text(place, mark):
    """Whoever knows SQL reads, changes or takes over the accounts of others."""
    Person(place.north)
    before = rows(place)
    name = unique("sql") + mark
    ann = Person(place.north, username=name, email=f"{name}@example.org", password=f"{mark}{password()}")
    given = ann.login(place.south)
    assert ann.shown.items() <= me(place.south, given).json.items()
    assert_given(login(place.south, email=ann.email, password=ann.password), **ann.shown)
    for field in ("username", "email"):
        answer = login(place.north, **{field: mark, "password": mark + password()})
        assert answer.status in (400, 401), answer
    assert change(place.north, given, ann.password, new := mark + password()).status == 204
    assert_given(login(place.south, username=name, password=new), **ann.shown)
    assert rows(place) == before + 1


# Logging in


@pytest.mark.parametrize("known", [{"username": "ANN"}, {"email": "ANN"}], ids=["username", "email"])
def test_a_name_is_known_in_every_spelling(place, known):
    """Somebody who writes their address as the telephone does is told that it is unknown."""
    [name] = known
    ann = Person(place.north)
    for spelling in (getattr(ann, name).upper(), getattr(ann, name).title()):
        assert_given(login(place.south, **{name: spelling}, password=ann.password), **ann.shown)


@pytest.mark.alone
def test_who_is_unknown_and_who_is_wrong_get_the_same_answer(place):
    """Anybody finds out who has an account, by what is said or by how long it takes."""
    ann = Person(place.north)
    took = {"unknown": [], "wrong": []}
    said = {}
    for _ in range(FAILURES):
        for who, name in (("unknown", unique("nobody")), ("wrong", ann.username)):
            fields = {"username": name, "password": password()}
            began = time.monotonic()
            answer = login(place.north, **fields)
            took[who].append(time.monotonic() - began)
            assert_problem(answer, 401, "unauthorized")
            different = {"date", "x-request-id", "content-length"}
            headers = {key: value for key, value in answer.headers.items() if key not in different}
            assert said.setdefault("answer", (answer.text, headers)) == (answer.text, headers)
    unknown, wrong = (statistics.median(took[who]) for who in ("unknown", "wrong"))
    print(f"unknown {unknown * 1000:.1f} ms, wrong {wrong * 1000:.1f} ms")
    assert 0.5 < unknown / wrong < 2, took


@pytest.mark.parametrize(
    "fields,name",
    [
        ({"username": "ann"}, "password"),
        ({"password": "canary-no-name"}, None),
        ({"username": 7, "password": "canary-type"}, "username"),
        ({"email": ["a@b"], "password": "canary-type"}, "email"),
        ({"username": "ann", "password": None}, "password"),
        ({"username": "ann", "password": {"$ne": ""}}, "password"),
        ({"username": "a\0b", "password": "canary-nul-name"}, "username"),
        ({"email": "\0@b", "password": "canary-nul-email"}, "email"),
        ({"username": "ann", "password": "canary-\0-password"}, "password"),
    ],
)
def test_a_login_that_is_wrong_is_named(node, fields, name):
    """A form cannot show which of its fields is wrong; or a value that is no text passes for a password."""
    assert_problem(login(node, **fields), 400, "bad_field", name)
    assert database_health(node) == HEALTHY, "nobody outside can make it look otherwise"


def guess(node, name, **options):
    return node.post("/api/auth/login", {"username": name, "password": password()}, **options)


def assert_too_often(answer):
    assert_problem(answer, 429, "rate_limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 60, answer


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_passwords_are_not_guessed(place, known):
    """Anybody tries passwords until one fits; or is told by a refusal which names are worth it."""
    ann = Person(place.north) if known else None
    name = ann.username if known else unique("nobody")
    for number in range(FAILURES):
        spelling = name.upper() if number % 2 else name
        assert_problem(guess(place.north, spelling), 401, "unauthorized")
    assert_too_often(guess(place.north, name))
    if known:
        for field in ("username", "email"):
            assert_too_often(login(place.north, **{field: getattr(ann, field)}, password=ann.password))
    # Neither others from here, nor the owner from elsewhere.
    Person(place.north).login()
    elsewhere = guess(place.north, name, source="127.0.0.2")
    assert_problem(elsewhere, 401, "unauthorized")
    if known:
        fields = {"username": name, "password": ann.password}
        assert place.north.post("/api/auth/login", fields, source="127.0.0.2").status == 200


def test_passwords_are_not_guessed_all_at_once(place):
    """Guesses that are under way together are not counted, and any number of them is tried."""
    ann = Person(place.north)
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(guess, place.north, ann.username) for _ in range(20)]
        seen = Counter(one.result().status for one in asked)
    assert seen[401] <= FAILURES, seen
    assert set(seen) <= {401, 429, 503}, seen


def test_a_right_password_is_no_failure(place):
    """Who comes and goes often is locked out."""
    ann = Person(place.north)
    for _ in range(FAILURES + 2):
        ann.login()


def test_names_of_nobody_are_neither_kept_nor_written_down(own_children):
    """Failed logins fill memory and disk with whatever is said to them: a password, at times, in the wrong field."""
    node = own_children.node(JWT_SECRET=SECRET, HOST="127.0.0.1")
    mistaken = password()
    assert_problem(login(node, username=mistaken, password=password()), 401, "unauthorized")

    def knock(size):
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(login, node, username=f"{n:0{size}}", password=password()) for n in range(100)]
            assert {one.result().status for one in asked} <= {400, 401}
        return node.resident_bytes()

    size = 900_000
    # Short ones first, because hashing takes memory, too.
    before = knock(20)
    grown = knock(size) - before
    print(f"{grown / 1e6:.0f} MB more after {100 * size / 1e6:.0f} MB of names")
    assert grown < 50 * size
    assert "0" * 1000 not in node.log()
    assert mistaken not in node.log()


# How passwords are kept


def test_passwords_are_kept_by_argon2id(place):
    """Whoever copies the database has the passwords."""
    ann, bob = Person(place.north), Person(place.north, password="canary-shared-password")
    eve = Person(place.north, password=bob.password)
    for one in (ann, bob, eve):
        assert stored(place, one).startswith("$argon2id$"), stored(place, one)
        accounts.said.append(stored(place, one))
    assert stored(place, bob) != stored(place, eve), "each has its own salt"
    for row in place.database.execute("SELECT * FROM users WHERE id = ?", ann.id):
        assert ann.password not in str(row)


# The old service looked at the first 72 bytes alone, and left it at that.
@pytest.mark.parametrize("length", [16, 72, 100])
def test_a_hash_of_the_old_service_is_known_and_renewed(place, length):
    """Everybody needs a new password after the move; or old hashes stay for ever."""
    ann = Person(place.north)
    ann.password = (password() * 8)[:length]
    old = bcrypt.hashpw(ann.password.encode()[:72], bcrypt.gensalt(10)).decode()
    assert old.startswith("$2b$")
    accounts.said += [old, ann.password]
    place.database.execute("UPDATE users SET password = ? WHERE id = ?", old, ann.id)
    assert_problem(guess(place.north, ann.username), 401, "unauthorized")
    assert stored(place, ann) == old
    assert_given(login(place.south, username=ann.username, password=ann.password), **ann.shown)
    renewed = eventually(lambda: (kept := stored(place, ann)) != old and kept, "the hash is renewed")
    assert renewed.startswith("$argon2id$")
    ann.login()
    assert_problem(guess(place.north, ann.username), 401, "unauthorized")


@pytest.mark.parametrize("kept", ["", "x", "$2b$", "$2b$10$short", "$argon2id$", "$1$md5$crypt", "plain-canary-text"])
def test_a_hash_that_is_none_lets_nobody_in(place, kept):
    """An import that went wrong opens accounts to who says what stands in the table, or breaks the node."""
    ann = Person(place.north)
    place.database.execute("UPDATE users SET password = ? WHERE id = ?", kept, ann.id)
    for said in (ann.password, "plain-canary-text"):
        assert_problem(login(place.north, username=ann.username, password=said), 401, "unauthorized")


# A token's holder

NOT_BELIEVED = {
    "none": lambda user: None,
    "no jwt": lambda user: "canary-not-a-token-at-all-0123456789",
    "forged": lambda user: token(user, key="canary-secret-that-no-node-has-0123456789"),
    "alg none": lambda user: token(user, key=None, algorithm="none"),
    "expired": lambda user: token(user, exp=int(time.time()) - LEEWAY - 1),
    "no exp": lambda user: token(user, exp=None),
}


@pytest.mark.parametrize("make", NOT_BELIEVED.values(), ids=NOT_BELIEVED)
def test_a_token_that_is_not_believed(place, make):
    """Somebody reads, changes or ends an account of others."""
    ann = Person(place.north)
    headers = bearer(made) if (made := make(ann.id)) else {}
    fields = {"current_password": ann.password, "new_password": password()}
    for node in place.nodes:
        for answer in (
            node.get("/api/auth/me", headers=headers),
            node.post("/api/auth/refresh", b"", headers=headers),
            node.post("/api/auth/logout", b"", headers=headers),
            node.post("/api/auth/password", fields, headers=headers),
            node.delete("/api/auth/me", headers=headers),
        ):
            assert_problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
    ann.login()


def test_a_token_of_an_issuer_needs_an_account(place):
    """A token made elsewhere shows an account that is not there, or one that is cannot be seen with it."""

    def issued(user):
        answer = place.north.run("token", "--user", user)
        assert answer.returncode == 0, answer
        tokens.minted.append(answer.stdout.strip())
        return answer.stdout.strip()

    ann = Person(place.north)
    for node in place.nodes:
        assert_sentence(assert_problem(me(node, issued("x")), 404, "not_found"))
        assert ann.shown.items() <= me(node, issued(ann.id)).json.items()


def test_a_token_is_renewed(place, join, session):
    """Who works for longer than a token lives must say their password again; or is thrown out at once."""
    ann = Person(place.north)
    old = ann.login()
    peer = join(place.south, session, token=old)
    new = assert_given(refresh(place.south, old), **ann.shown)
    assert new != old
    for node in place.nodes:
        for either in (old, new):
            assert me(node, either).status == 200
    assert peer.before_pong() == []
    assert logout(place.north, old).status == 204
    assert peer.close_code() == 4401
    assert_refused(place, old)
    assert_problem(refresh(place.south, old), 401, "unauthorized")
    assert me(place.south, new).status == 200, "the new one lives for itself"


def test_logging_out_ends_one_token_everywhere(place, join):
    """A token given up on one node opens sessions on another, or takes those of another device with it."""
    ann = Person(place.north)
    mine, other = ann.login(), ann.login(place.south)
    session = unique("session")
    here, there = join(place.north, session, token=mine), join(place.south, session, token=mine)
    staying = join(place.south, session, token=other)
    assert logout(place.north, mine).status == 204
    assert {here.close_code(), there.close_code()} == {4401}
    assert_refused(place, mine)
    assert_problem(logout(place.south, mine), 401, "unauthorized")
    assert staying.ask("chat", message="still here")["type"] == "ack"
    assert me(place.north, other).status == 200


# Changing a password


def test_a_new_password_throws_all_others_out(place, join):
    """Who stole a token or a password stays in after the owner did what they could."""
    ann = Person(place.north)
    mine, stolen, elsewhere = ann.login(), ann.login(), ann.login(place.south)
    renewed = assert_given(refresh(place.south, stolen), **ann.shown)
    session = unique("session")
    staying = [join(node, session, token=mine) for node in place.nodes]
    going = [join(node, session, token=made) for node in place.nodes for made in (stolen, elsewhere, renewed)]
    bystander = Person(place.north)
    bystanding = join(place.south, session, token=bystander.login())
    old, ann.password = ann.password, password()
    assert change(place.north, mine, old, ann.password).status == 204
    assert {peer.close_code() for peer in going} == {4401}
    for made in (stolen, elsewhere, renewed):
        assert_refused(place, made)
    for peer in [*staying, bystanding]:
        assert peer.ask("chat", message="still here")["type"] == "ack"
    for node in place.nodes:
        assert me(node, mine).status == 200
    assert_problem(login(place.south, username=ann.username, password=old), 401, "unauthorized")
    ann.login(place.south)


def test_a_wrong_current_password_changes_nothing(place):
    """Who finds an open browser takes the account over, by guessing if need be."""
    ann = Person(place.north)
    mine, other = ann.login(), ann.login()
    for _ in range(FAILURES):
        assert_problem(change(place.north, mine, password(), password()), 403, "forbidden")
    for answer in (
        change(place.north, mine, password(), password()),
        change(place.north, mine, ann.password, password()),
        login(place.north, username=ann.username, password=ann.password),
    ):
        assert_too_often(answer)
    for made in (mine, other):
        assert me(place.south, made).status == 200
    fields = {"username": ann.username, "password": ann.password}
    assert place.north.post("/api/auth/login", fields, source="127.0.0.2").status == 200


def test_a_failed_login_counts_for_a_change_of_password(place):
    """Guesses are doubled by making half of them another way."""
    ann = Person(place.north)
    mine = ann.login()
    for _ in range(FAILURES):
        assert_problem(guess(place.north, ann.username), 401, "unauthorized")
    assert_too_often(change(place.north, mine, ann.password, password()))


def test_a_new_password_that_is_wrong(place):
    """A password is set with which nobody can log in."""
    ann = Person(place.north)
    mine, other = ann.login(), ann.login()
    for value in [*BAD_FIELDS["password"], *WRONG_TYPES]:
        problem = assert_problem(change(place.north, mine, ann.password, value), 400, "bad_field", "new_password")
        assert_sentence(problem)
    assert me(place.south, other).status == 200
    ann.login()


@pytest.mark.parametrize("missing", ["current_password", "new_password"])
def test_a_change_of_password_names_what_is_missing(place, missing):
    """A password is changed by who did not say the one before."""
    ann = Person(place.north)
    fields = {"current_password": ann.password, "new_password": password()}
    for left in ({}, {missing: None}, {missing: 7}):
        body = {name: value for name, value in fields.items() if name != missing} | left
        answer = place.north.post("/api/auth/password", body, headers=bearer(ann.login()))
        assert_problem(answer, 400, "bad_field", missing)
    ann.login()


# Leaving


def test_who_leaves_is_gone_everywhere(place, join):
    """An account that was deleted goes on in open sockets, or comes back with the next owner of its name."""
    ann = Person(place.north)
    held = [ann.login(), ann.login(place.south)]
    session = unique("session")
    peers = [join(node, session, token=made) for node in place.nodes for made in held]
    assert leave(place.north, held[0]).status == 204
    assert {peer.close_code() for peer in peers} == {4401}
    for made in held:
        assert_refused(place, made)
        assert_problem(leave(place.south, made), 401, "unauthorized")
    for name in ("username", "email"):
        answer = login(place.south, **{name: getattr(ann, name)}, password=ann.password)
        assert_problem(answer, 401, "unauthorized")
    again = Person(place.south, username=ann.username.upper(), email=ann.email.upper())
    assert again.id != ann.id
    assert me(place.north, again.login(place.north)).json["id"] == again.id
    for made in held:
        assert_refused(place, made)


@pytest.mark.parametrize("how", ["password", "leave"])
def test_a_token_given_at_the_last_moment_ends_as_well(place, how):
    """Who knows the old password logs in while it is being changed, and stays."""
    ann = Person(place.north)
    mine, theirs = ann.login(), ann.login()
    known = {"username": ann.username, "password": ann.password}
    with ThreadPoolExecutor(9) as pool:
        asked = [pool.submit(login, node, **known) for node in place.nodes * 2]
        asked += [pool.submit(refresh, node, theirs) for node in place.nodes * 2]
        # While these are on their way.
        if how == "password":
            ended = pool.submit(change, place.north, mine, ann.password, password())
        else:
            ended = pool.submit(leave, place.north, mine)
        asked += [pool.submit(refresh, node, theirs) for node in place.nodes]
        answers = [one.result() for one in asked]
    assert ended.result().status == 204, ended.result()
    seen = Counter(answer.status for answer in answers)
    # 404 is what a token says whose account goes that very moment.
    assert set(seen) <= {200, 401, 404, 429, 503}, seen
    for answer in answers:
        if answer.status == 200:
            assert_refused(place, answer.json["access_token"])


@pytest.mark.parametrize("how", ["login", "refresh"])
def test_a_slow_way_to_the_database_keeps_nobody_in(own_children, postgres, how):
    """A token is given by a password, or a token, that was right when it was looked at and is not any more."""
    redis, database, proxy = own_children.redis(), postgres.database(), Proxy(postgres.port)
    north = own_children.node("north", **on(database.url, redis))
    url = database.url.replace(f":{postgres.port}/", f":{proxy.port}/")
    south = own_children.node("south", **on(url, redis))
    ann = Person(north)
    mine, theirs = ann.login(), ann.login(south)
    proxy.delay = 0.1

    def come(number):
        # The point is to meet every step of what is under way meanwhile, which takes a second this way.
        time.sleep(number * 0.05)
        if how == "login":
            return login(south, username=ann.username, password=ann.password, source=f"127.0.0.{number + 10}")
        return refresh(south, theirs)

    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(come, number) for number in range(20)]
        next(one for one in as_completed(asked) if one.result().status == 200)
        ended = change(north, mine, ann.password, password())
        answers = [one.result() for one in asked]
    proxy.delay = 0
    assert ended.status == 204, ended
    given = [answer.json["access_token"] for answer in answers if answer.status == 200]
    assert given, "some came before"
    assert [made for made in given if me(north, made).status != 401] == []
    proxy.close()


@pytest.mark.parametrize("how", ["logout", "password", "leave"])
def test_what_was_revoked_stays_so_after_a_restart(own_children, how):
    """Whoever waits for the next deploy comes in with a token that was given up."""
    node = own_children.node("alone", JWT_SECRET=SECRET, HOST="127.0.0.1")
    ann, bob = Person(node), Person(node)
    mine, other, bobs = ann.login(), ann.login(), bob.login()
    match how:
        case "logout":
            ended = logout(node, other)
        case "password":
            old, ann.password = ann.password, password()
            ended = change(node, mine, old, ann.password)
        case "leave":
            ended = leave(node, mine)
    assert ended.status == 204, ended
    assert node.terminate() == 0
    node.start()
    assert_refused(Place([node], None), other)
    if how == "leave":
        assert_refused(Place([node], None), mine)
    else:
        assert me(node, mine).status == 200
        ann.login()
    assert me(node, bobs).status == 200
    bob.login()


def test_what_was_revoked_stays_so_when_redis_forgets(own_children, postgres):
    """Whoever has Redis restarted without its data comes in with a token that was given up."""
    redis, database = own_children.redis(), postgres.database()
    nodes = [own_children.node(name, **on(database.url, redis)) for name in ("north", "south")]
    ann = Person(nodes[0])
    given_up, kept = ann.login(), ann.login()
    assert logout(nodes[0], given_up).status == 204
    redis.kill()
    redis.start()
    for node in nodes:
        eventually(lambda: me(node, kept).status == 200, "the node is back")
        eventually(lambda: me(node, given_up).status == 401, "it is known again")


# Without tokens, without accounts


def test_an_open_cluster_believes_its_own_tokens(open_place):
    """Nobody has an account on a node that was started without a secret, or has it on that node alone."""
    ann = Person(open_place.north)
    given = ann.login()
    for node in open_place.nodes:
        assert ann.shown.items() <= me(node, given).json.items()
        assert_problem(me(node), 401, "unauthorized")
        assert_problem(me(node, token(ann.id, key="canary-secret-of-nobody-0123456789")), 401, "unauthorized")
    new = assert_given(refresh(open_place.south, given), **ann.shown)
    assert logout(open_place.south, given).status == 204
    for node in open_place.nodes:
        assert_problem(me(node, given), 401, "unauthorized")
        assert me(node, new).status == 200
    other = ann.login(open_place.south)
    old, ann.password = ann.password, password()
    assert change(open_place.north, new, old, ann.password).status == 204
    for node in open_place.nodes:
        assert_problem(me(node, other), 401, "unauthorized")
    assert leave(open_place.south, new).status == 204
    for node in open_place.nodes:
        assert_problem(me(node, new), 401, "unauthorized")


def test_a_guest_needs_no_password(open_place):
    """Who only wants a look has to make up a password; or can be impersonated by who knows the name."""
    name = shapes.Matcher("guest-<8 hex>", re.compile(r"guest-[0-9a-f]{8}").fullmatch)
    given = assert_given(guest(open_place.north), 201, username=name, guest=True)
    for node in open_place.nodes:
        shown = me(node, given).json
        assert (shown["username"], shown["guest"], shown["created_at"]) == (name, True, shapes.TIME)
        for said in ("", password()):
            answer = login(node, username=shown["username"], password=said)
            assert answer.status in (400, 401), answer
    new = assert_given(refresh(open_place.south, given), username=shown["username"], guest=True)
    assert logout(open_place.south, given).status == 204
    for node in open_place.nodes:
        assert_problem(me(node, given), 401, "unauthorized")
    assert leave(open_place.north, new).status == 204
    assert Person(open_place.north, username=shown["username"]), "the name is free again"


def test_a_guest_may_have_a_name_that_is_free(open_place):
    """A guest takes the name of somebody with an account, or one that no account may have."""
    chosen, ann = unique("Guest"), Person(open_place.north)
    assert_given(guest(open_place.north, username=chosen), 201, username=chosen, guest=True)
    for taken in (chosen, chosen.upper(), ann.username):
        assert_problem(guest(open_place.south, username=taken), 409, "conflict", "username")
    assert_problem(register(open_place.south, **stranger(username=chosen)), 409, "conflict", "username")
    for bad in [*BAD_FIELDS["username"], 7, True, [], {}]:
        assert_problem(guest(open_place.north, username=bad), 400, "bad_field", "username")


def test_guests_have_names_of_their_own(open_place):
    """Guests who come at the same moment are one."""
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(guest, open_place.nodes * (20 // len(open_place.nodes))))
    names = {answer.json["user"]["username"] for answer in answers}
    assert len(names) == len(answers)


def test_a_secret_makes_an_open_node_no_other(own_children, session):
    """AUTH=open beside a secret has no guests, or its tokens are not those of the secret."""
    node = own_children.node(JWT_SECRET=SECRET, AUTH="open", TOKEN_TTL=LIFE)
    given = assert_given(guest(node), 201, guest=True)
    assert jwt.decode(given, SECRET, algorithms=["HS256"])["sub"] == me(node, given).json["id"]
    with Peer(node, session, "ann"):
        assert me(node, Person(node).login()).status == 200


def test_there_are_no_guests_where_tokens_are_asked_for(node):
    """Anybody comes in by calling themselves a guest."""
    for fields in ({}, {"username": unique("guest")}):
        assert_sentence(assert_problem(guest(node, **fields), 404, "not_found"))


def test_accounts_of_others_are_not_made_here(own_children):
    """A node that only believes another issuer makes accounts whose tokens it cannot sign."""
    nowhere = f"http://127.0.0.1:{free_port()}/jwks.json"
    node = own_children.node(JWKS_URL=nowhere, HOST="127.0.0.1")
    for answer in (
        register(node, **stranger()),
        login(node, username="ann", password=password()),
        guest(node),
    ):
        assert_sentence(assert_problem(answer, 404, "not_found"))


def test_a_cluster_without_a_database_has_no_accounts(own_children, session):
    """Each node of a cluster keeps accounts of its own; or what needs none is away with them."""
    node = own_children.node(REDIS_URL=own_children.redis().url, JWT_SECRET=SECRET, HOST="127.0.0.1")
    for answer in (
        register(node, **stranger()),
        login(node, username="ann", password=password()),
        me(node, token("ann")),
    ):
        assert_sentence(assert_problem(answer, 503, "records_unavailable"))
    health = node.get("/health/database")
    assert (health.status, health.json["status"]) == (200, "not configured")
    assert node.get("/status", headers=bearer(token("ann"))).json["database"] == "not configured"
    assert not (node.folder / "collabd.db").exists()
    with Peer(node, session, token=token("ann")) as ann:
        assert ann.ask("chat", message="hello")["type"] == "ack"


# The database


def test_a_node_that_is_ready_has_its_tables(own_children):
    """The first who come after a deploy are told that the database is away."""
    nodes = [own_children.adopt(Node(f"n{number}", JWT_SECRET=SECRET, HOST="127.0.0.1")) for number in range(8)]

    def come(node):
        node.start()
        ann = Person(node)
        node.kill()
        node.start()
        ann.login()

    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(come, nodes))


def database_health(node):
    answer = node.get("/health/database")
    assert set(answer.json) <= {"status", "detail"}, answer
    status = node.get("/status", headers=bearer(token("ann"))).json
    return answer.status, answer.json["status"], status["database"]


HEALTHY = (200, "healthy", "healthy")
UNHEALTHY = (503, "unhealthy", "unhealthy")


def test_a_database_that_is_there_is_healthy(place):
    """A node in good health is taken out of service."""
    for node in place.nodes:
        assert database_health(node) == HEALTHY


def on(database, redis, **settings):
    return {"REDIS_URL": redis.url, "DATABASE_URL": database, "JWT_SECRET": SECRET, "HOST": "127.0.0.1"} | settings


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_postgresql_goes_away_and_comes_back(own_children, session, how):
    """While the database is restarted requests hang, sockets go, or a node must be restarted after it."""
    postgres, redis = own_children.postgres(), own_children.redis()
    node = own_children.node(**on(postgres.database().url, redis))
    ann = Person(node)
    with Peer(node, session, token=ann.login()) as peer:
        getattr(postgres, how)()
        for asked in (lambda: register(node, **stranger()), lambda: login(node, username="x", password=password())):
            began = time.monotonic()
            assert_sentence(assert_problem(asked(), 503, "records_unavailable"))
            assert time.monotonic() - began < 12
        eventually(lambda: database_health(node) == UNHEALTHY, "the node says so")
        assert node.get("/readyz").status == 200, "no node is better than another"
        assert peer.ask("chat", message="undisturbed")["type"] == "ack"
        postgres.start()
        eventually(lambda: register(node, **stranger()).status == 201, "accounts are made again")
        eventually(lambda: database_health(node) == HEALTHY, "the node says so")
        ann.login()
        assert peer.ask("chat", message="still here")["type"] == "ack"


def test_a_database_that_hangs_holds_nobody_up(own_children, postgres, session):
    """Requests wait for a database that does not answer until all that a node has is waiting."""
    redis, database, proxy = own_children.redis(), postgres.database(), Proxy(postgres.port)
    url = database.url.replace(f":{postgres.port}/", f":{proxy.port}/")
    node = own_children.node(**on(url, redis))
    ann = Person(node)
    with Peer(node, session, token=ann.login()) as peer:
        proxy.delay = 60
        with ThreadPoolExecutor(20) as pool:
            began = time.monotonic()
            asked = [pool.submit(register, node, **stranger()) for _ in range(20)]
            while not all(one.done() for one in asked):
                assert peer.ask("chat", message="undisturbed")["type"] == "ack"
            for one in asked:
                assert_problem(one.result(), 503)
        assert time.monotonic() - began < 15
        eventually(lambda: database_health(node) == UNHEALTHY, "the node says so")
        proxy.delay = 0
        proxy.cut()
        proxy.mend()
        eventually(lambda: register(node, **stranger()).status == 201, "accounts are made again")
        eventually(lambda: database_health(node) == HEALTHY, "the node says so")
    proxy.close()


def test_a_node_starts_while_its_database_is_away(own_children):
    """After a power cut the nodes are up first, and stay without accounts."""
    postgres, redis = own_children.postgres(), own_children.redis()
    database = postgres.database()
    postgres.stop()
    node = own_children.node(ready=False, **on(database.url, redis))
    assert_problem(register(node, **stranger()), 503, "records_unavailable")
    eventually(lambda: database_health(node) == UNHEALTHY, "the node says so")
    postgres.start()
    eventually(lambda: register(node, **stranger()).status == 201, "accounts are made")
    eventually(lambda: database_health(node) == HEALTHY, "the node says so")
    assert node.get("/readyz").status == 200


def test_ten_nodes_start_at_once_on_an_empty_database(own_children, postgres):
    """Nodes that make the tables at the same time get into each other's way, and some do not start."""
    redis, database = own_children.redis(), postgres.database()
    settings = on(database.url, redis)
    nodes = [own_children.adopt(Node(f"n{number}", **settings)) for number in range(10)]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(Node.start, nodes))
        people = list(pool.map(Person, nodes))
        for person, neighbour in zip(people, [*nodes[1:], nodes[0]], strict=True):
            assert me(nodes[0], person.login(neighbour)).json["id"] == person.id
    assert database.execute("SELECT count(*) FROM users") == [(10,)]
    for node in nodes:
        assert database_health(node) == HEALTHY


def test_accounts_outlive_every_node(own_children, postgres):
    """A deploy makes everybody register anew."""
    redis, database = own_children.redis(), postgres.database()
    clustered = own_children.node(**on(database.url, redis))
    alone = own_children.node(JWT_SECRET=SECRET, HOST="127.0.0.1")
    for node in (clustered, alone):
        ann = Person(node)
        given = ann.login()
        node.kill()
        node.start()
        assert ann.shown.items() <= me(node, given).json.items()
        ann.login()


def test_the_url_of_other_services_is_understood(own_children, postgres):
    """The setting that the old services had cannot be taken over as it is."""
    redis, database = own_children.redis(), postgres.database()
    url = database.url.replace("postgres://", "postgresql+asyncpg://")
    node = own_children.node(**on(url, redis))
    Person(node).login()
    assert database.execute("SELECT count(*) FROM users") == [(1,)]


@pytest.mark.parametrize("url", ["sqlite:collabd.db", "sqlite:///./canary.db", "sqlite+aiosqlite:////tmp/canary.db"])
def test_a_cluster_refuses_a_file_of_one_machine(own_children, url):
    """Every node of a cluster keeps other accounts, and people are known now and then."""
    node = own_children.adopt(Node(**on(url, own_children.redis())))
    for command in ("serve", "check-config"):
        answer = node.run(command)
        assert answer.returncode == 78, answer
        assert answer.stderr.startswith("collabd: DATABASE_URL: "), answer
        assert "SQLite" in answer.stderr and "REDIS_URL" in answer.stderr, answer
    assert not list(node.folder.glob("*.db"))


@pytest.mark.parametrize(
    "url", ["localhost", "mysql://u:canary@db/x", "postgres://u:canary@db:port/x", "redis://:canary@db"]
)
def test_an_address_that_is_no_database_is_refused(own_children, url):
    """A node runs without accounts, or the complaint gives the password away."""
    answer = own_children.adopt(Node()).run("check-config", DATABASE_URL=url)
    assert answer.returncode == 78, answer
    assert answer.stderr.startswith("collabd: DATABASE_URL: "), answer
    assert "canary" not in answer.stdout + answer.stderr
    assert "panicked" not in answer.stderr


@pytest.mark.parametrize("life", ["0", "-1", "soon", "nan"])
def test_a_life_that_is_none_is_refused(own_children, life):
    """Tokens are given that are over at once, or never."""
    answer = own_children.adopt(Node()).run("check-config", TOKEN_TTL=life)
    assert answer.returncode == 78, answer
    assert answer.stderr.startswith("collabd: TOKEN_TTL: "), answer


def test_check_config_masks_the_password_of_the_database(own_children, postgres):
    """The password of all accounts stands in a terminal or a CI log."""
    answer = own_children.adopt(Node()).run("check-config", DATABASE_URL=postgres.url)
    assert answer.returncode == 0, answer
    assert re.search(rf"DATABASE_URL=postgres://.*127\.0\.0\.1:{postgres.port}/", answer.stdout)
    assert "canary" not in answer.stdout + answer.stderr


# What is written down. Last, because it looks at what all the others left.


def test_no_password_no_token_and_no_hash_is_in_a_log(place, children):
    """Whoever reads the logs can come in as anybody."""
    nodes = [child for child in children.all if isinstance(child, processes.Node)]
    logs = "".join(node.log() for node in nodes)
    assert len(accounts.said) > 100 and len(tokens.minted) > 50, "there is something to look at"
    assert logs.count('"level":"DEBUG"') > 100
    secret = [*accounts.said, SECRET, DATABASE_PASSWORD, "canary", "$argon2", "$2b$"]
    assert [one for one in secret if one in logs] == []
    for made in tokens.minted:
        for part in made.split("."):
            assert len(part) < 12 or part not in logs, made
