"""Whatever is sent to the workspace door, or about workspaces and agents: the documented answer, and nothing that others notice."""

import json

import pytest

from support import workspace as say
from support.http import assert_problem
from support.peer import unique
from support.raw import BINARY, CLOSE, CONTINUATION, PING, TEXT, RawSocket, close_payload, frame, turned_away
from support.shapes import STRING
from support.workspace import AGENTS, WORKSPACES, error, user_joined, user_left, way, workspace_update

MAX_FRAME_BYTES = 1024 * 1024
MAX_UPDATE, MAX_RESULT, MAX_METRICS = 64 * 1024, 64 * 1024, 4 * 1024
MAX_TASK, MAX_STEP, MAX_STATUS, MAX_KIND = 8_192, 1_024, 64, 64
MAX_SECONDS = 31_536_000
# A field that is not there.
MISSING = object()


@pytest.fixture(scope="module")
def node(children):
    return children.node(LEAVE_GRACE=0.2, MAX_BAD_FRAMES=10_000, LOG_LEVEL="INFO")


@pytest.fixture(scope="module")
def space():
    return unique("workspace")


@pytest.fixture
def others(node, come, space):
    """Two who are in the workspace and listen to the agent; they must not notice anything."""
    bob, cat = come(node, "bob"), come(node, "cat")
    for one in (bob, cat):
        one.enters(space)
        one.listens("worker")
    bob.hear_of("user_joined", "cat")
    yield bob, cat
    for speaker in (bob, cat):
        place = speaker.tells(space, n=speaker.user)
        for one in (bob, cat):
            frames = one.until(lambda frame, place=place: frame.get("seq") == place and frame["room"].startswith("workspace"))
            gone = [user_left(space, "mallory", "mallory"), user_joined(space, "mallory", "mallory")]
            heard = [f for f in frames if f not in gone and f["type"] != "ack"]
            assert heard == [workspace_update(space, "note", speaker.user, n=speaker.user)], heard


@pytest.fixture
def mallory(node, come, space, others):
    """In the workspace, as any other."""
    mallory = come(node, "mallory")
    mallory.enters(space)
    for one in others:
        one.hear_of("user_joined", "mallory")
    return mallory


# Frames that are WebSocket, but not what the dialect says

DEEP = "[" * 20_000 + "]" * 20_000

BAD_FRAMES = {
    "not json": ("hello", "bad_frame", None),
    "empty": ("", "bad_frame", None),
    "half an object": ('{"type":"ping"', "bad_frame", None),
    "two objects": ('{"type":"ping"}{"type":"ping"}', "bad_frame", None),
    "null": ("null", "bad_frame", None),
    "number": ("7", "bad_frame", None),
    "string": ('"ping"', "bad_frame", None),
    "list": ('["ping"]', "bad_frame", None),
    "list of frames": ('[{"type":"ping"}]', "bad_frame", None),
    "list of a frame's values": ('["join_workspace","1",{"workspace_id":"w"}]', "bad_frame", None),
    "deep list": ("[" * 500_000, "bad_frame", None),
    "a field twice": ('{"type":"ping","type":"ping"}', "bad_frame", None),
    "a megabyte of nothing": (" " * MAX_FRAME_BYTES, "bad_frame", None),
    "no type": ('{"data":{}}', "bad_frame", None),
    "type is null": ('{"type":null,"data":{}}', "bad_frame", None),
    "type is a number": ('{"type":7}', "bad_field", "type"),
    "type is a list": ('{"type":["ping"]}', "bad_field", "type"),
    "type is unknown": ('{"type":"dance","data":{}}', "unknown_type", None),
    "type is empty": ('{"type":""}', "unknown_type", None),
    "type in capitals": ('{"type":"PING"}', "unknown_type", None),
    "type is huge": (json.dumps({"type": "x" * 1_000_000}), "unknown_type", None),
    "a server's type": ('{"type":"joined","data":{}}', "unknown_type", None),
    "another door's type": ('{"type":"chat","message":"x"}', "unknown_type", None),
    "fields beside data": ('{"type":"join_workspace","workspace_id":"w"}', "bad_field", "workspace_id"),
    "data is a list": ('{"type":"join_workspace","data":["w"]}', "bad_field", "data"),
    "data is text": ('{"type":"join_workspace","data":"w"}', "bad_field", "data"),
    "data is a number": ('{"type":"ping","data":7}', "bad_field", "data"),
    "data with a field twice": ('{"type":"join_workspace","data":{"workspace_id":"a","workspace_id":"b"}}', "bad_field", "data"),
    "id is a number": ('{"type":"ping","id":7}', "bad_field", "id"),
    "id is an object": ('{"type":"ping","id":{}}', "bad_field", "id"),
    "id is empty": ('{"type":"ping","id":""}', "bad_field", "id"),
    "id is too long": (json.dumps({"type": "ping", "id": "x" * 65}), "bad_field", "id"),
    "lone surrogate": ('{"type":"subscribe_agent","data":{"agent_id":"\\ud800"}}', "bad_field", "agent_id"),
    "update is a list": ('{"type":"workspace_update","data":["w"]}', "bad_field", "data"),
    "deep data": ('{"type":"subscribe_agent","data":' + DEEP + "}", "bad_field", "data"),
    "deep id of a room": ('{"type":"subscribe_agent","data":{"agent_id":' + DEEP + "}}", "bad_field", "agent_id"),
}


@pytest.mark.parametrize("text,code,field", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_bad_frame_is_answered(mallory, text, code, field):
    """A frame that nobody thought of is taken for another, goes unanswered, or ends the socket."""
    mallory.send_raw(text)
    assert mallory.recv() == error(code, **({"field": field} if field else {}))
    mallory.hears_nothing()


# Every field of every command

NO_TEXT = [MISSING, None, 7, True, [], {}, ["x"]]
NO_ID = [*NO_TEXT, "", " ", "a b", "a/b", ".", "..", "é", "x" * 129, "a\0", "a\n", "x" * 900_000]
OPTIONAL = lambda values: [value for value in values if value is not MISSING and value is not None]
NO_SINCE = OPTIONAL([*NO_TEXT, "now", "-1", "1-", "zz-1", "ff-1 ", "ff--1", "ff-" + "9" * 30])

# What is right, and for each field what is not.
COMMANDS = {
    "subscribe_agent": ({"agent_id": "worker"}, {"agent_id": NO_ID, "since": NO_SINCE}),
    "unsubscribe_agent": ({"agent_id": "worker"}, {"agent_id": NO_ID}),
    "join_workspace": ({"workspace_id": "SPACE"}, {"workspace_id": NO_ID, "since": NO_SINCE}),
    "leave_workspace": ({"workspace_id": "SPACE"}, {"workspace_id": NO_ID}),
    "workspace_update": (
        {"workspace_id": "SPACE", "update_type": "x"},
        {
            "workspace_id": NO_ID,
            "update_type": [*NO_TEXT, "", "x" * (MAX_KIND + 1), "a\0b", "\x07", "\x85"],
        },
    ),
    "agent_execution_start": (
        {"agent_id": "worker", "task": "t", "user_id": "u", "workspace_id": "SPACE"},
        {
            "agent_id": NO_ID,
            "task": [*NO_TEXT, "x" * (MAX_TASK + 1), "a\0b", "\x1b[31m"],
            "user_id": NO_ID,
            "workspace_id": OPTIONAL(NO_ID),
        },
    ),
    "agent_execution_update": (
        {"agent_id": "worker", "status": "running", "progress": 1, "current_step": "s", "metrics": {}},
        {
            "agent_id": NO_ID,
            "status": OPTIONAL([*NO_TEXT, "", "x" * (MAX_STATUS + 1), "a\0b"]),
            "progress": [140, 100.001, -1, -0.001, 1e300, 10**400, "60", "", True, [], {}],
            "current_step": OPTIONAL([*NO_TEXT, "x" * (MAX_STEP + 1), "a\0b"]),
            "metrics": [7, True, "x", [], [1], {"x": "y" * MAX_METRICS}, {"x": "a\0b"}, {"a\0": 1}],
        },
    ),
    "agent_execution_complete": (
        {"agent_id": "worker", "status": "completed", "result": "r", "execution_time": 1},
        {
            "agent_id": NO_ID,
            "status": [*NO_TEXT, "", "Completed", "done", "running", "x" * 10_000],
            "result": ["x" * MAX_RESULT, ["x"] * MAX_RESULT, "a\0b", {"a": ["\0"]}],
            "execution_time": [-1, MAX_SECONDS + 1, 1e300, 10**400, "1", "", True, [], {}],
        },
    ),
    "auth": ({"token": "t"}, {"token": NO_TEXT}),
}


@pytest.mark.parametrize("type,name", [(type, name) for type, (_, fields) in COMMANDS.items() for name in fields])
def test_a_field_that_is_wrong_is_named(mallory, space, type, name):
    """A client is not told which field was wrong; or what was wrong is told to the others, or kept."""
    right, fields = COMMANDS[type]
    right = {field: space if value == "SPACE" else value for field, value in right.items()}
    before = mallory.state_of("worker")
    for value in fields[name]:
        wrong = {field: said for field, said in right.items() if field != name} | ({} if value is MISSING else {name: value})
        answer = mallory.ask(type, **wrong)
        assert answer == error("bad_field", id=STRING, field=name), (value if len(repr(value)) < 99 else repr(value)[:99], answer)
    assert mallory.state_of("worker") == before


def test_an_update_may_be_so_large(mallory, space, others):
    """What is too large is cut, or takes the others' connections along."""
    room_for = MAX_UPDATE - len(json.dumps({"workspace_id": space, "update_type": "x", "text": ""}))
    answer = mallory.ask("workspace_update", workspace_id=space, update_type="x", text="y" * (room_for + 1))
    assert answer == error("bad_field", field="data", id=STRING)
    place = mallory.tells(space, "x", text="y" * room_for)
    told = workspace_update(space, "x", "mallory", place, text="y" * room_for)
    for one in (mallory, *others):
        one.find(lambda frame: frame == told)


def test_values_at_their_limits_are_taken(node, come):
    """A limit is one less than what is written."""
    agent, ann = "a" * 128, come(node, "u" * 128, "n" * 128)
    worker = come(node, agent)
    ann.listens(agent)
    worker.ask("agent_execution_start", "i" * 64, agent_id=agent, task="😀" * MAX_TASK, user_id="u" * 128)
    ann.hears(say.started(say.room(agent), agent, "😀" * MAX_TASK, "u" * 128))
    metrics = {"x": "y" * (MAX_METRICS - len('{"x": ""}'))}
    for progress in (0, 100, 1e-7):
        worker.reports(agent, progress, current_step="s" * MAX_STEP, metrics=metrics)
        ann.hears(say.progressed(agent, progress, "s" * MAX_STEP, metrics=metrics))
    worker.send("agent_execution_update", agent_id=agent, status="s" * MAX_STATUS, current_step="")
    ann.hears(say.progressed(agent, None, "", "s" * MAX_STATUS))
    worker.completes(agent, result="r" * (MAX_RESULT - 2), execution_time=MAX_SECONDS)
    ann.hears(say.completed(say.room(agent), agent, result="r" * (MAX_RESULT - 2), took=MAX_SECONDS))
    ann.hears_nothing()


def test_words_out_of_turn_are_refused(node, come, mallory):
    """What was never begun is told, or ended twice."""
    agent = unique("agent")
    mallory.refused("not_found", "agent_execution_update", agent_id=agent, progress=5)
    mallory.refused("not_found", "agent_execution_complete", agent_id=agent, status="completed")
    assert mallory.state_of(agent) is None
    mallory.starts(agent)
    mallory.refused("conflict", "agent_execution_start", agent_id=agent, task="t", user_id="u")
    mallory.refused("bad_field", "agent_execution_update", "progress", agent_id=agent, progress=140)
    mallory.completes(agent)
    mallory.refused("not_found", "agent_execution_complete", agent_id=agent, status="completed")
    mallory.refused("not_found", "workspace_update", workspace_id=unique("workspace"), update_type="x")
    assert mallory.state_of(agent)["runs"] == 1
    # An update without an id is refused as well, though nothing is said of one that is taken.
    mallory.send("agent_execution_update", agent_id=agent, progress=5)
    mallory.hears(error("not_found"))


def test_the_twenty_first_bad_frame_of_a_minute_closes(own_children):
    """A broken client costs the node an answer for every frame, for ever."""
    node = own_children.node(LEAVE_GRACE=0.2)
    with RawSocket(node, way(user_id="mallory")) as raw:
        assert raw.recv_json()["type"] == "connected"
        for _ in range(20):
            raw.send_frame(TEXT, b"[]")
            assert raw.recv_json() == error("bad_frame")
        # What comes at a bad time is no bad frame.
        raw.send_json("agent_execution_update", data={"agent_id": "a"})
        assert raw.recv_json() == error("not_found")
        raw.send_frame(TEXT, b"[]")
        assert raw.closing() == 4400


# Frames that break RFC 6455, or what is said of them

HALF = "é".encode()[:1]
PING_FRAME = b'{"type":"ping"}'

BROKEN = {
    "binary": ([frame(BINARY, PING_FRAME)], 1003),
    "empty binary": ([frame(BINARY)], 1003),
    "oversize": ([frame(TEXT, b" " * (MAX_FRAME_BYTES + 1))], 1009),
    "oversize, only announced": ([frame(TEXT, b"", claimed=MAX_FRAME_BYTES + 1)], 1009),
    "oversize in fragments": ([frame(TEXT, b" " * 600_000, fin=False), frame(CONTINUATION, b" " * 600_000)], 1009),
    "invalid UTF-8": ([frame(TEXT, b'{"type":"ping","id":"\xff"}')], 1007),
    "overlong UTF-8": ([frame(TEXT, b'{"type":"ping","id":"\xc0\xaf"}')], 1007),
    "cut UTF-8": ([frame(TEXT, b'{"type":"ping","id":"' + HALF)], 1007),
    "unmasked": ([frame(TEXT, PING_FRAME, mask=False)], 1002),
    "first reserved bit": ([frame(TEXT, b"{}", reserved=4)], 1002),
    "unknown opcode": ([frame(3, b"{}")], 1002),
    "fragmented ping": ([frame(PING, fin=False)], 1002),
    "continuation of nothing": ([frame(CONTINUATION, b"{}")], 1002),
    "close of one byte": ([frame(CLOSE, b"\x03")], 1002),
    "close with an invalid reason": ([frame(CLOSE, close_payload(1000, b"\xff"))], 1007),
}


@pytest.mark.parametrize("at", [say.ALL, AGENTS, WORKSPACES])
@pytest.mark.parametrize("frames,code", BROKEN.values(), ids=BROKEN)
def test_a_broken_frame_closes_with_the_documented_code(node, others, frames, code, at):
    """A violation of the protocol is taken, goes unanswered, or disturbs the others."""
    with RawSocket(node, way(at, user_id="mallory")) as raw:
        assert raw.recv_json()["type"] == "connected"
        raw.send(b"".join(frames))
        assert raw.closing() == code


# What comes before the door

BAD_QUERIES = {
    "a space in the id": {"user_id": "a b"},
    "an id that is too long": {"user_id": "x" * 129},
    "an id of dots": {"user_id": ".."},
    "a name with a newline": {"user_id": "u", "username": "a\nb"},
    "a name that is too long": {"user_id": "u", "username": "x" * 129},
}


@pytest.mark.parametrize("query", BAD_QUERIES.values(), ids=BAD_QUERIES)
@pytest.mark.parametrize("at", [say.ALL, AGENTS, WORKSPACES])
def test_a_malformed_user_is_refused(node, query, at):
    """Ids that are none are in lists, keys and logs."""
    assert_problem(turned_away(node, way(at, **query)), 400)


def test_the_doors_without_an_upgrade(node):
    """A browser that opens the address gets a page that never loads."""
    for at in (say.ALL, AGENTS, WORKSPACES):
        assert_problem(node.get(at), 426)


# REST

BAD_NAMES = {
    "missing": ({}, "name"),
    "null": ({"name": None}, "name"),
    "a number": ({"name": 7}, "name"),
    "a list": ({"name": ["x"]}, "name"),
    "empty": ({"name": ""}, "name"),
    "too long": ({"name": "x" * 257}, "name"),
    "too long in other letters": ({"name": "😀" * 257}, "name"),
    "NUL": ({"name": "a\0b"}, "name"),
    "bell": ({"name": "\x07"}, "name"),
    "description is a number": ({"name": "x", "description": 7}, "description"),
    "description is too long": ({"name": "x", "description": "x" * 4_097}, "description"),
    "description with NUL": ({"name": "x", "description": "\0"}, "description"),
    "user is none": ({"name": "x", "user_id": "a b"}, "user_id"),
    "username is none": ({"name": "x", "user_id": "u", "username": "a\nb"}, "username"),
    "a list of values": (b'["x","y"]', None),
    "no JSON": (b"name=x", None),
    "nothing": (b"", None),
    "no UTF-8": (b'{"name":"\xff"}', None),
}


@pytest.mark.parametrize("body,field", BAD_NAMES.values(), ids=BAD_NAMES)
def test_a_workspace_that_is_none_is_not_made(node, body, field):
    """A workspace without a name is in every list; or who made the mistake is not told which."""
    before = node.get("/workspaces").json
    assert_problem(node.post("/workspaces", body), 400, field=field)
    assert node.get("/workspaces").json == before


def test_a_name_of_a_megabyte(node):
    """One body fills the memory, or the list that everybody reads."""
    before = node.get("/workspaces").json
    answer = node.post("/workspaces", {"name": "x" * MAX_FRAME_BYTES})
    assert answer.status in (400, 413), answer
    assert_problem(answer, answer.status)
    assert node.get("/workspaces").json == before


def test_what_is_wrong_over_rest_is_named(node):
    """The same of everything else that is asked over REST."""
    space = node.post("/workspaces", {"name": "x" * 256, "description": "d" * 4_096}).json["id"]
    for body, field in (({"name": ""}, "name"), ({"description": 7}, "description"), ({"name": "a\0"}, "name"), (b"[]", None)):
        assert_problem(node.patch(f"/workspaces/{space}", body), 400, field=field)
    for what in ("join", "leave"):
        for body, field in (({}, "user_id"), ({"user_id": 7}, "user_id"), ({"user_id": "a b"}, "user_id"), (b"", None)):
            assert_problem(node.post(f"/workspaces/{space}/{what}", body), 400, field=field)
    assert_problem(node.post(f"/workspaces/{space}/join", {"user_id": "u", "username": ""}), 400, field="username")
    for what in ("subscribe", "unsubscribe"):
        for body, field in (({}, "user_id"), ({"user_id": ".."}, "user_id"), (b"[]", None)):
            assert_problem(node.post(f"/agents/a/{what}", body), 400, field=field)
    for path in ("/workspaces?limit=0", "/workspaces?limit=x", "/workspaces?cursor=a%20b", "/agents/status?limit=201"):
        assert_problem(node.get(path), 400, "bad_field")
    for path in ("/workspaces/a%20b", "/workspaces/a%20b/users", "/agents/a%20b/runs", "/workspaces/" + "x" * 129):
        assert_problem(node.get(path), 400, "bad_field")
    start = {"agent_id": "a", "task": "t", "user_id": "u"}
    post = lambda type, data, agent="a": node.post(f"/agents/{agent}/events", {"type": type, "data": data})
    assert_problem(post("agent_execution_start", start, "b"), 400, "bad_field", "agent_id")
    assert_problem(post("join_workspace", {"workspace_id": space}), 400, "unknown_type")
    assert_problem(post("ping", {}), 400, "bad_field", "type")
    assert_problem(post("agent_execution_start", start | {"task": 7}), 400, "bad_field", "task")
    assert_problem(post("agent_execution_update", {"agent_id": "a", "progress": 140}), 400, "bad_field", "progress")
    assert_problem(node.post("/agents/a/events", b"[]"), 400, "bad_frame")
    assert_problem(node.post("/agents/a/events", b"\xff"), 400)
    assert node.get("/workspaces/" + unique("none")).status == 404
