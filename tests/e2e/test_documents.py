"""What the node says of itself is true: its routes, who may use them, and what sockets say and are told."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from support import teams, workspace
from support.accounts import Person
from support.deadline import eventually
from support.documents import Doors, asyncapi_errors, operations
from support.http import assert_problem
from support.pad import pad
from support.peer import Peer, unique
from support.processes import ROOT
from support.recorded import Visitor, end, given, made
from support.review import Reviewer
from support.tokens import SECRET, bearer, token
from support.workspace import Fellow, durable

# What answers without a token when tokens count: how the node is, what it is, and how to get one.
OPEN = {
    *(("GET", path) for path in ("/", "/livez", "/readyz", "/lb", "/ws/health")),
    *(("GET", path) for path in ("/health", "/health/redis", "/health/database")),
    *(("POST", f"/api/auth/{what}") for what in ("register", "login", "guest")),
}


@pytest.fixture(scope="module")
def node(children):
    return children.node("documented", JWT_SECRET=SECRET, HOST="127.0.0.1", LEAVE_GRACE=0.2)


@pytest.fixture(scope="module")
def openapi(node):
    return node.get("/api/openapi.json").json


@pytest.fixture(scope="module")
def asyncapi(node):
    return node.get("/api/asyncapi.json").json


# REST


def test_the_documents_are_served(node, openapi, asyncapi):
    """Whoever wants to know how to get a token needs one; or a document is of another version."""
    version = node.get("/health").json["version"]
    assert (openapi["openapi"], openapi["info"]["version"]) == ("3.1.0", version)
    assert (asyncapi["asyncapi"], asyncapi["info"]["version"]) == ("3.0.0", version)
    moved = node.get("/api/docs")
    assert (moved.status, moved.headers["location"]) == (308, "/api/docs/")
    assert_problem(node.get("/api/docs/nothing.js"), 404, "not_found")


def test_nothing_answers_without_a_token_that_needs_one(node, openapi):
    """A route was added and nobody thought of who may use it."""
    is_open = set()
    for method, path, operation in operations(openapi):
        answer = node.get(path) if method == "GET" else getattr(node, method.lower())(path, **body(method))
        if operation.get("security", openapi["security"]) == [{}]:
            is_open.add((method, path))
            # Nor is the password of nobody a password.
            assert answer.status != 401, (method, path, answer)
        else:
            assert_problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert is_open == OPEN


def body(method):
    return {"body": b""} if method in ("POST", "PUT", "PATCH") else {}


# Found by trying, from a fixed seed.
SEED, EXAMPLES = 20_260_504, 4
# What would end the token, or the session, team or insight, that all the rest is tried with.
NOT_TRIED = ("delete_me", "logout", "end_recorded", "end_session", "delete_team", "delete_insight")
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = [200, 201, 202, 204, 308, 401, 403, 404, 409, 410, 429]

# Whether it is a username or an email is no matter of one field.
[[operations]]
include-operation-id = "login"
checks.positive_data_acceptance.enabled = false

# Nor is how far one time is from another.
[[operations]]
include-operation-id = "team_analytics"
checks.positive_data_acceptance.enabled = false

# Its body is a frame, which the other document describes.
[[operations]]
include-operation-id = "agent_events"
checks.positive_data_acceptance.enabled = false
"""


def conforms(node, shown, *options, there=None, **headers):
    """Whatever fits the document is taken, whatever does not is refused, and every answer is in it. `there` are parameters
    that lead somewhere, by their places and names."""
    parameters = ", ".join(f'"{name}" = "{value}"' for name, value in (there or {}).items())
    config = f"parameters = {{ {parameters} }}\n" + CONFIG
    (node.folder / "schemathesis.toml").write_text(config)
    command = [
        *[Path(sys.executable).with_name("schemathesis"), "run", f"http://{node.address}/api/openapi.json"],
        *["--seed", SEED, "--max-examples", EXAMPLES, "--phases", "examples,coverage,fuzzing"],
        *["--continue-on-failure", "--no-color", *options],
    ]
    for name, value in (bearer(shown) | headers).items():
        command += ["--header", f"{name}: {value}"]
    for operation in NOT_TRIED:
        command += ["--exclude-operation-id", operation]
    done = subprocess.run(
        [str(part) for part in command], cwd=node.folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(params=["sqlite", "postgres"])
def recording(request, own_children):
    """A node with this database."""
    url = {} if request.param == "sqlite" else {"DATABASE_URL": request.getfixturevalue("postgres").database().url}
    return own_children.node(request.param, JWT_SECRET=SECRET, HOST="127.0.0.1", LOG_LEVEL="INFO", **url)


def test_routes_do_as_documented_for_an_admin(recording):
    """An answer that no document has, or an internal error, at something that nobody thought of."""
    root = Visitor(recording, "root", role="admin", jti=unique("jti"))
    session, team = made(recording, root), teams.made(recording, root)
    there = {
        "path.session_id": session,
        "path.team_id": team,
        "query.team_id": team,
        "path.insight_id": teams.noted(recording, root, team, session, tags=["a"]),
    }
    conforms(recording, root.token, there=there)


def test_routes_do_as_documented_for_anybody(node):
    """The same with an account."""
    conforms(node, Person(node).login())


def test_routes_do_as_documented_for_who_comes_too_often(own_children):
    """Who is told to come again later is told so in words that no document has."""
    node = own_children.node(
        JWT_SECRET=SECRET, HOST="127.0.0.1", TRUSTED_PROXIES="127.0.0.1", HANDSHAKE_RATE=1, HANDSHAKE_BURST=10
    )
    made = Person(node).login()
    # Who comes too often is not asked who it is.
    options = ["--include-path", "/api/sessions", "--exclude-checks", "missing_required_header,ignored_auth"]
    conforms(node, made, *options, **{"X-Forwarded-For": "203.0.113.7"})
    assert 'status="429"' in node.metrics()


# Doors


def broadcast(node):
    """Has everybody who is there told something."""
    body = {"type": "deploy", "data": {"in_s": [60, None]}, "to": {"all": True}}
    answer = node.post("/broadcast", body, headers=bearer(token("root", role="service")))
    assert answer.status == 202, answer


@pytest.fixture(scope="module")
def doors(asyncapi):
    return Doors(asyncapi)


def test_the_document_of_the_doors_is_one(asyncapi, doors):
    """A generator of clients refuses it, or an example is none."""
    assert asyncapi_errors(asyncapi) == []
    messages = asyncapi["components"]["messages"]
    assert len(messages) > 60
    for name, message in messages.items():
        assert message["examples"], name
        for example in message["examples"]:
            assert doors.errors(message, example["payload"]) == [], name


def assert_all(doors, channel, action, seen):
    """Everything that is written was seen."""
    assert seen == set(doors.messages(channel, action)), (channel, action)


def test_pairing_says_what_is_documented(node, doors, session):
    """A frame has a field more or less than clients were told."""
    said = set()

    def say(peer, type, **fields):
        said.add(doors.fitting("pairing", "receive", type, {"type": type} | fields))
        peer.send(type, **fields)

    def come(user, **options):
        return stack.enter_context(Peer(node, session, token=token(user, name=user.title(), role="admin"), **options))

    with ExitStack() as stack:
        ann, bob = come("ann"), come("bob")
        say(ann, "code_change", code="print(1)", base_version=0, id="a1")
        say(ann, "code_change", code="print(2)", base_version=9)
        say(ann, "cursor_move", cursor={"lineNumber": 1, "column": 9})
        say(ann, "language_change", language="rust", id="a2")
        say(ann, "chat", message="hello", id="a3")
        say(ann, "auth", token=token("ann", role="admin"))
        say(ann, "ping", id="a4")
        ann.until(lambda frame: frame["type"] == "pong")
        broadcast(node)
        ann.until(lambda frame: frame["type"] == "notification")
        position = bob.before_pong() and bob.history[-1]["position"]
        bob.leave()
        ann.until(lambda frame: frame["type"] == "user_left")
        say(ann, "chat", message="who is there?")
        back = come("bob", since=position, greeted=False)
        back.until(lambda frame: frame["type"] == "resumed")
        assert node.delete(f"/api/v1/session/{session}", headers=bearer(token("root", role="admin"))).status == 204
        for peer in (ann, back):
            assert peer.close_code() == 4410
        told = {doors.fitting("pairing", "send", frame["type"], frame) for peer in (ann, bob, back) for frame in peer.history}
    assert_all(doors, "pairing", "receive", said)
    assert_all(doors, "pairing", "send", told)


# The name that a channel gives to a client's event and a node's is one.
CHANNELS = {"raw": "courier_raw", "python-websocket": "courier"}


@pytest.mark.parametrize("client", CHANNELS)
def test_couriers_say_what_is_documented(node, doors, client):
    """The same of events between couriers, in packets and in plain frames."""
    channel, said, told = CHANNELS[client], set(), set()
    ann, bob = unique("ann"), unique("bob")

    def framed(event, data):
        return {"event": event, "data": data} if client == "raw" else data

    def say(who, event, data):
        said.add(doors.fitting(channel, "receive", event, framed(event, data)))
        who.emit(event, data)

    def hear(who, event):
        name, data = who.heard.get(timeout=15)
        assert name == event, (name, data)
        told.add(doors.fitting(channel, "send", name, framed(name, data)))

    def come(user):
        options = {"auth": {"token": token(user)}, "display_name": user.title()}
        return stack.enter_context(pad(node, client, user, **options))

    with ExitStack() as stack:
        first = come(ann)
        hear(first, "connected")
        second = come(bob)
        hear(second, "connected")
        letter = {"type": "position_shared", "from_user": ann, "to_users": [bob], "data": {"position_id": "p"}}
        say(first, "collab_event", letter | {"id": "l1"})
        hear(first, "event_ack")
        hear(second, "collab_event")
        say(first, "ping", {})
        hear(first, "pong")
        say(first, "auth", {"token": token(ann)})
        hear(first, "auth_ok")
        broadcast(node)
        hear(first, "notification")
        first.emit("jump", {})
        hear(first, "error")
        second.leave()
        eventually(lambda: ("user_offline", {"user_id": bob}) in first.presence, "bob is gone")
        for event, data in first.presence:
            told.add(doors.fitting(channel, "send", event, framed(event, data)))
    assert_all(doors, channel, "receive", said)
    assert_all(doors, channel, "send", told)


def test_code_rooms_say_what_is_documented(node, doors, session):
    """The same of code rooms."""
    said, told = set(), set()

    def say(who, event, data):
        said.add(doors.fitting("codepad", "receive", event, data))
        who.ask(event, data)

    def hear(who, event):
        data = who.next(event)
        told.add(doors.fitting("codepad", "send", event, data))

    with ExitStack() as stack:
        ann, bob = (
            stack.enter_context(pad(node, "python-websocket", user, auth={"token": token(user)}))
            for user in (unique("ann"), unique("bob"))
        )
        for pad_of in (ann, bob):
            say(pad_of, "join", {"room": session})
        say(ann, "change", {"room": session, "code": "print(1)"})
        hear(bob, "receive")
        say(ann, "ping", {})
        hear(ann, "pong")
        say(ann, "auth", {"token": token(ann.url.split("user_id=")[1])})
        hear(ann, "auth_ok")
        broadcast(node)
        hear(ann, "notification")
        say(bob, "leave", {"room": session})
        assert node.delete(f"/api/v1/session/{session}", headers=bearer(token("root", role="admin"))).status == 204
        hear(ann, "error")
    assert_all(doors, "codepad", "receive", said)
    assert_all(doors, "codepad", "send", told)


class Overheard(Reviewer):
    """Everything it says is held against the document, too."""

    def __init__(self, doors, said, *arguments):
        self.doors, self.said = doors, said
        super().__init__(*arguments)

    def send(self, type, **fields):
        self.said.add(self.doors.fitting("review", "receive", type, {"type": type} | fields))
        super().send(type, **fields)


def test_review_says_what_is_documented(node, doors):
    """The same of the review door."""
    host, guest = Visitor(node, "ann", jti=unique("jti")), Visitor(node, "bob")
    session = made(node, host)
    said, peers = set(), []

    def come(who):
        peers.append(stack.enter_context(Overheard(doors, said, node, session, who)))
        return peers[-1]

    with ExitStack() as stack:
        ann, bob = come(host), come(guest)
        given(node, host, session, guest, "editor")
        line, remark = ann.say("look, @bob")["id"], ann.comment("why?")["id"]
        bob.say("only for you", to_user=host.id)
        bob.react(line)
        ann.edit(line, "look here")
        ann.delete(line)
        bob.resolve(remark)
        ann.change_session(title="A better name")
        ann.point("main.py", 3, 1)
        ann.scroll("main.py", 1, 40)
        ann.send("presence_update", data={"status": "away"})
        assert bob.ask("code_change", code="print(1)", base_version=0)["type"] == "code_ack"
        ann.refused("version_gone", "code_change", "base_version", code="print(2)", base_version=9)
        ann.send("auth", token=host.token)
        ann.until(lambda frame: frame["type"] == "auth_ok")
        for type in ("cursor_update", "viewport_update", "presence_update"):
            bob.find(lambda frame, type=type: frame["type"] == type)
        broadcast(node)
        bob.find(lambda frame: frame["type"] == "notification")
        since = bob.position()
        bob.leave()
        ann.find(lambda frame: frame["type"] == "user_left")
        back = stack.enter_context(Reviewer(node, session, guest, since=since, greeted=False))
        peers.append(back)
        back.until(lambda frame: frame["type"] == "resumed")
        assert end(node, host, session).status == 204
        for peer in (ann, back):
            assert peer.close_code() == 4410
    told = {doors.fitting("review", "send", frame["type"], frame) for peer in peers for frame in peer.history}
    assert_all(doors, "review", "receive", said)
    assert_all(doors, "review", "send", told)


class Fellows(Fellow):
    """The same at the doors of workspaces and agents."""

    def __init__(self, doors, said, at, *arguments, **options):
        self.channel, self.doors, self.collected = AT[at], doors, said
        super().__init__(*arguments, at=at, **options)

    def send_raw(self, frame):
        said = json.loads(frame)
        self.collected.add(self.doors.fitting(self.channel, "receive", said["type"], said))
        super().send_raw(frame)


AT = {workspace.ALL: "workspace", workspace.AGENTS: "agents", workspace.WORKSPACES: "workspaces"}


@pytest.mark.parametrize("at", AT)
def test_workspaces_and_agents_say_what_is_documented(node, doors, at):
    """The same of the doors of workspaces and agents."""
    space, agent = unique("workspace"), unique("agent")
    said, peers = set(), []

    def come(user, **claims):
        peers.append(stack.enter_context(Fellows(doors, said, at, node, token=token(user, **claims))))
        return peers[-1]

    with ExitStack() as stack:
        worker = stack.enter_context(Fellow(node, token=token(agent, role="agent")))
        worker.enters(space)
        ann, bob = come("ann", role="service"), come("bob")
        rooms = []
        if at != workspace.AGENTS:
            ann.enters(space)
            bob.enters(space)
            bob.tells(space, "agent_added", agent_id=agent, by="eve")
            rooms.append(("join_workspace", "leave_workspace", {"workspace_id": space}))
        if at != workspace.WORKSPACES:
            for one in (ann, bob):
                one.listens(agent)
            rooms.append(("subscribe_agent", "unsubscribe_agent", {"agent_id": agent}))
            # It speaks here, too.
            worker = ann
        worker.starts(agent, **({"workspace_id": space} if at != workspace.AGENTS else {}))
        worker.reports(agent, 12.5, current_step="Reading", metrics={"tokens": 12})
        worker.completes(agent, result={"sorted": True}, execution_time=1.5)
        bob.over(agent)
        for into, out, about in rooms:
            name = f"{next(iter(about)).removesuffix('_id')}:{next(iter(about.values()))}"
            since = durable(bob.history, name)[0]["position"]
            assert bob.ask(out, **about)["type"] in ("left", "unsubscribed")
            assert bob.ask(into, since=since, **about)["data"]["resumed"] is True
            bob.expect("resumed")
        bob.ask("auth", token=token("bob"))
        broadcast(node)
        bob.find(lambda frame: frame["type"] == "notification")
        bob.before_pong()
        if at != workspace.WORKSPACES:
            bob.refused("forbidden", "agent_execution_complete", agent_id=agent, status="failed")
        else:
            bob.refused("not_found", "workspace_update", workspace_id=unique("none"), update_type="x")
        ann.before_pong()
    told = {doors.fitting(AT[at], "send", frame["type"], frame) for peer in peers for frame in peer.history}
    assert_all(doors, AT[at], "receive", said)
    assert_all(doors, AT[at], "send", told)


def test_the_documents_stand_in_the_readme():
    """Nobody finds them."""
    readme = (ROOT / "README.md").read_text()
    for path in ("/api/docs", "/api/openapi.json", "/api/asyncapi.json"):
        assert path in readme
