"""What is said at the review door while the database, Redis, a node or the disk fails, or others say the same."""

import json
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from support import kept, shapes
from support.deadline import PATIENCE, eventually
from support.peer import unique
from support.place import Place, place_of
from support.processes import BINARY, Node
from support.proxy import HoldingProxy
from support.recorded import Visitor, given, look
from support.review import cast, heard, missed, told
from support.sqlite import Sqlite
from support.tokens import SECRET

UNAVAILABLE = shapes.error("records_unavailable", retry_in_ms=shapes.NUMBER, id=shapes.STRING)
# A dead node's people are told to be gone soon; a database that is away is noticed soon.
QUICK = {
    "LEASE": 2.5,
    "BEAT_INTERVAL": 0.5,
    "LEAVE_GRACE": 0.5,
    "REAP_PAUSE": 1,
    "DATABASE_TIMEOUT": 1,
    "COMMAND_TIMEOUT": 1,
}


@pytest.fixture(scope="module", params=["tokens", "cluster"])
def place(request, children):
    return place_of(request.param, request, children)


of_cluster = pytest.mark.parametrize("place", ["cluster"], indirect=True)


@pytest.fixture
def people(place):
    return cast(place)


@pytest.fixture
def fragile(own_children):
    """A cluster whose database and Redis are its own, and keep what they acknowledged over a stop and a start. What the
    database answers to the first node can be held up by `proxy`."""
    postgres, redis = own_children.postgres(), own_children.redis(durable=True)
    database = postgres.database()
    settings = {"REDIS_URL": redis.url, "JWT_SECRET": SECRET, "HOST": "127.0.0.1"} | QUICK
    proxy = HoldingProxy(postgres.port)
    # Every question is written out, so that it can be told from others.
    held_up = database.url.replace(f":{postgres.port}/", f":{proxy.port}/") + "?statement-cache-capacity=0"
    north = own_children.node("north", DATABASE_URL=held_up, **settings)
    south = own_children.node("south", DATABASE_URL=database.url, **settings)
    place = Place([north, south], database, redis)
    place.postgres, place.proxy = postgres, proxy
    yield place
    proxy.close()


def answered(reviewer, type, **fields):
    """The answer, once what was away is back."""

    def ask():
        answer = reviewer.ask(type, **fields)
        return None if answer.get("code") in ("records_unavailable", "backplane_unavailable") else answer

    return eventually(ask, "it is back", every=0.1)


def rows(place, session, command):
    return place.database.execute(
        "SELECT id, seq FROM messages WHERE session_id = ? AND command_id = ?", session, command
    )


def lines(reviewer, content):
    """How often it was told a line, when it came or since."""
    greeted = reviewer.greeting["messages"] if reviewer.greeting else []
    return [one["content"] for one in [*greeted, *told(reviewer, "chat_message")]].count(content)


# The database


def test_the_database_is_away_and_comes_back(fragile, attend):
    """What could not be kept is shown to everybody, a text stops, or nobody can talk until the nodes are restarted."""
    people = cast(fragile)
    session = people.session
    host, editor = attend(fragile.north, session, people.host), attend(fragile.south, session, people.editor)
    line, comment = host.say("before"), host.comment("before")
    editor.at(comment["seq"], "code_comment")
    fragile.postgres.stop()
    lost = [
        ("chat_message", {"content": "lost"}),
        ("chat_message", {"content": "lost", "data": {"reply_to": line["id"]}}),
        ("chat_message", {"content": "lost", "data": {"to_user": people.editor.id}}),
        ("code_comment", {"data": {"file": "f", "line": 1, "content": "lost"}}),
        ("reaction", {"data": {"message_id": line["id"], "emoji": "👍", "action": "add"}}),
        ("message_edit", {"data": {"message_id": line["id"], "content": "lost"}}),
        ("message_delete", {"data": {"message_id": line["id"]}}),
        ("comment_resolve", {"data": {"comment_id": comment["id"], "resolved": True}}),
        ("session_update", {"data": {"title": "lost"}}),
    ]
    with ThreadPoolExecutor(len(lost)) as pool:
        # Each waits for the database as long as it may.
        asking = [attend(fragile.north, session, people.host) for _ in lost]
        answers = pool.map(lambda one: one[0].ask(one[1][0], **one[1][1]), zip(asking, lost, strict=True))
        assert list(answers) == [UNAVAILABLE] * len(lost)
    # Text, cursors and presence go on, and nothing else was told meanwhile.
    assert host.ask("code_change", code="goes on")["type"] == "ack"
    assert editor.until(lambda frame: frame["type"] == "code_update")[-1]["code"] == "goes on"
    host.point("main", 7, 7)
    editor.hear("cursor_update", host.user)
    attend(fragile.north, session, people.viewer).send("presence_update", data={"status": "away"})
    editor.hear("presence_update", people.viewer.id, status="away")
    assert "lost" not in json.dumps([host.history, editor.history], ensure_ascii=False)
    retried = {"content": "lost and found", "id": unique("command")}
    assert host.ask("chat_message", **retried) == UNAVAILABLE
    fragile.postgres.start()
    ack = answered(host, "chat_message", **retried)
    assert ack["type"] == "ack", ack
    # At the other node it is the same command.
    again = attend(fragile.south, session, people.host).ask("chat_message", **retried)
    assert (again["type"], again["seq"]) == ("ack", ack["seq"])
    heard(host, editor)
    for one in (host, editor):
        assert lines(one, "lost and found") == 1
    eventually(lambda: editor.say("I, too"), "the other node has it back")
    listed = kept.contents(kept.messages(fragile.south, people.host, session))
    assert [one for one in listed if not one.startswith("marker")] == ["I, too", "lost and found", "before"]
    assert look(fragile.north, people.host, session).json["title"] == "A session"
    assert '"lost"' not in kept.everything(fragile.north, people.host, session)


def test_a_text_changed_while_the_database_is_away_is_in_the_replay(fragile, attend):
    """What happened while it could not be written down is not in the log for ever."""
    people = cast(fragile)
    host = attend(fragile.north, people.session, people.host)
    host.say("before")
    fragile.postgres.stop()
    ack = host.ask("code_change", code="meanwhile")
    assert ack["type"] == "ack"
    attend(fragile.south, people.session, people.editor)
    fragile.postgres.start()
    seqs = lambda: [frame["seq"] for frame in kept.replay(fragile.south, people.host, people.session)]
    eventually(lambda: kept.ask(fragile.south, people.host, people.session, "replay").status == 200, "it is back")
    eventually(lambda: ack["seq"] in seqs(), "the log was made up for", every=0.2)
    replayed = kept.replay(fragile.south, people.host, people.session)
    joined = [frame["user"]["user_id"] for frame in replayed if frame["type"] == "user_joined"]
    assert joined == [people.host.id, people.editor.id]


# Redis


@pytest.mark.parametrize("how", ["with its data", "without"])
def test_redis_is_away_and_comes_back(fragile, attend, how):
    """A message that nobody was told is in the history, or twice after a retry, or never."""
    people = cast(fragile)
    session = people.session
    host, editor = attend(fragile.north, session, people.host), attend(fragile.south, session, people.editor)
    editor.at(host.say("before")["seq"], "chat_message")
    line, command = "canary in between", unique("command")
    with ThreadPoolExecutor(1) as pool, fragile.proxy.holding("INSERT INTO messages"):
        asking = pool.submit(host.ask, "chat_message", content=line, id=command)
        fragile.proxy.await_held()
        fragile.redis.stop()
        fragile.proxy.let_go()
        assert asking.result() == shapes.unavailable(id=command)
    if how == "without":
        remove(fragile.redis)
    # Later ones are not even stored.
    unstored = unique("command")
    assert host.ask("chat_message", content=line, id=unstored) == shapes.unavailable(id=unstored)
    pending = rows(fragile, session, command)
    assert [seq for _, seq in pending] == [None], "it was stored before it was told"
    for node in fragile.nodes:
        # Not in the history, whatever else can be answered meanwhile.
        assert line not in kept.ask(node, people.host, session, "messages").text
        assert line not in kept.ask(node, people.host, session, "replay").text
    fragile.redis.start()
    ack = answered(host, "chat_message", content=line, id=command)
    assert ack["type"] == "ack", ack
    told_again = eventually(lambda: answered(editor, "chat_message", content="behind it"), "south is back")
    again = attend(fragile.south, session, people.host).ask("chat_message", content=line, id=command)
    assert (again["type"], again["seq"]) == ("ack", ack["seq"])
    for one in (host, editor):
        one.find(lambda frame: any(line["content"] == "behind it" for line in shown_lines_of(frame)))
    listed = [one for one in kept.messages(fragile.south, people.editor, session) if one["content"] == line]
    assert [one["id"] for one in listed] == [pending[0][0]]
    assert [seq for _, seq in rows(fragile, session, command)] == [ack["seq"]]
    for one in (host, editor):
        # By itself, or in the greeting with which the room begins anew.
        shown = [frame for frame in shown_lines(one) if frame["content"] == line]
        assert {frame["id"] for frame in shown} == {pending[0][0]}
        assert [frame["seq"] for frame in told(one, "chat_message") if frame["content"] == line] in ([], [ack["seq"]])


def remove(redis):
    """What it has on its disk."""
    for path in sorted(redis.folder.rglob("*"), reverse=True):
        if path.is_file() and path != redis.output:
            path.unlink()


def shown_lines(reviewer):
    for frame in reviewer.history:
        yield from shown_lines_of(frame)


def shown_lines_of(frame):
    return frame["messages"] if frame["type"] == "connected" else [frame] * (frame["type"] == "chat_message")


# A node


def talk(reviewer, commands, taken):
    """Says a line for each command until the node is gone; `taken` are those that were acknowledged."""
    with suppress(ConnectionClosed):
        for command in commands:
            if reviewer.ask("chat_message", content=command, id=command)["type"] == "ack":
                taken.append(command)


def test_a_node_is_killed_in_mid_chat(fragile, attend):
    """A line that was acknowledged is gone, or one that was said again is there twice."""
    people = cast(fragile)
    session = people.session
    writers = [people.host, people.editor, *(Visitor(fragile.north, word) for word in ("eve", "fay"))]
    for who in writers[2:]:
        given(fragile.north, people.host, session, who, "editor")
    listener = attend(fragile.south, session, people.viewer)
    sockets = [attend(fragile.nodes[number % 2], session, who) for number, who in enumerate(writers)]
    commands = [[unique("line") for _ in range(60)] for _ in sockets]
    taken = [[] for _ in sockets]
    with ThreadPoolExecutor(len(sockets)) as pool:
        talking = [pool.submit(talk, *each) for each in zip(sockets, commands, taken, strict=True)]
        eventually(lambda: len(taken[0]) > 12, "they talk", within=60)
        fragile.north.kill()
        for one in talking:
            one.result()
    assert [len(done) < 60 for done in taken] == [True, False, True, False]
    in_history = lambda: {one["content"] for one in kept.messages(fragile.south, people.host, session, limit=200)}
    assert {line for done in taken for line in done} <= in_history()
    # Those of the dead node come to the other one, and say once more what they do not know of.
    for who, said, done in zip(writers[::2], commands[::2], taken[::2], strict=True):
        again = attend(fragile.south, session, who)
        for command in said[len(done) :]:
            assert answered(again, "chat_message", content=command, id=command)["type"] == "ack"
    everything = [line for said in commands for line in said]
    listed = [one["content"] for one in kept.messages(fragile.south, people.host, session, limit=200)]
    assert sorted(listed) == sorted(everything)
    [(count,)] = fragile.database.execute("SELECT COUNT(*) FROM messages WHERE session_id = ?", session)
    assert count == len(everything)
    heard(again, listener)
    spoken = [frame["content"] for frame in told(listener, "chat_message") if frame["content"] in set(everything)]
    assert sorted(spoken) == sorted(everything)
    # What was recorded by the node that died and by the one that lives is one order.
    replayed = lambda: [one["content"] for one in kept.replay(fragile.south, people.host, session) if "content" in one]
    eventually(lambda: [one for one in replayed() if one in set(everything)] == spoken, "the log was made up for")


# The disk


class Confined(Node):
    """A node whose files can be kept from growing, as on a disk that is full."""

    def __init__(self, **settings):
        super().__init__("confined", LOG_LEVEL="ERROR", **settings)
        # A write beyond the limit fails then, instead of ending the process.
        self.arguments = ["env", "--ignore-signal=XFSZ", str(BINARY)]

    def confine(self, most):
        """Bytes of any file; `None`: as many as it likes."""
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        limit = resource.RLIM_INFINITY if most is None else most
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (limit, hard))


def test_the_disk_is_full(own_children, attend):
    """A full disk ends the node, shows what was not kept, or leaves a file that takes nothing more."""
    node = own_children.adopt(Confined(HOST="127.0.0.1", JWT_SECRET=SECRET, DATABASE_TIMEOUT=1)).start()
    place = Place([node], Sqlite(node.folder / "collabd.db"))
    people = cast(place)
    session = people.session
    host, editor = attend(node, session, people.host), attend(node, session, people.editor)
    host.say("before")
    largest = max(path.stat().st_size for path in node.folder.iterdir() if path.is_file())
    node.confine(largest + 16 * 1024)
    taken, refused = [], None
    for number in range(2_000):
        command = unique("line")
        content = f"{command} ".ljust(4_000, ".")
        answer = host.ask("chat_message", content=content, id=command)
        if answer["type"] == "error":
            refused = command, content
            break
        taken.append(content)
    assert refused, "the disk never was full"
    assert answer == UNAVAILABLE
    # Everything else goes on, and what was refused was told to nobody.
    assert host.ask("code_change", code="goes on")["type"] == "ack"
    editor.until(lambda frame: frame["type"] == "code_update")
    assert [one["content"] for one in told(editor, "chat_message") if one["content"] != "before"] == taken
    # All of it is kept. That the last were told may not have fitted any more: they are shown as soon as it does.
    shown = kept.contents(kept.messages(node, people.editor, session, limit=200))
    told_by_now = [*reversed(taken), "before"]
    assert len(told_by_now) - len(shown) <= 2 and told_by_now[-len(shown) :] == shown
    node.confine(None)
    command, content = refused
    assert answered(host, "chat_message", content=content, id=command)["type"] == "ack"
    assert answered(host, "chat_message", content=content, id=command)["type"] == "ack"
    heard(host, editor)
    assert [one["content"] for one in told(editor, "chat_message")][len(taken) :].count(content) == 1
    listing = lambda: kept.contents(kept.messages(node, people.editor, session, limit=200))
    said = lambda listed: [one for one in listed if not one.startswith("marker")]
    eventually(lambda: said(listing()) == [content, *reversed(taken), "before"], "all is shown")
    listed = listing()
    node.terminate()
    node.start()
    assert kept.contents(kept.messages(node, people.editor, session, limit=200)) == listed


# At once


def test_one_message_is_edited_from_everywhere_at_once(place, people, attend):
    """What everybody was shown last is not what is kept."""
    sockets = [attend(place.nodes[number % len(place.nodes)], people.session, people.editor) for number in range(4)]
    listeners = [attend(node, people.session, people.host) for node in place.nodes]
    line = sockets[0].say("first")["id"]

    def edit(number):
        for turn in range(15):
            sockets[number].edit(line, f"{number}-{turn}")

    with ThreadPoolExecutor(len(sockets)) as pool:
        list(pool.map(edit, range(len(sockets))))
    heard(listeners[0], *listeners)
    orders = [[frame["data"]["content"] for frame in told(one, "message_edited")] for one in listeners]
    assert len(orders[0]) > 1
    assert orders == [orders[0]] * len(listeners)
    for node in place.nodes:
        [listed] = [one for one in kept.messages(node, people.host, people.session) if one["id"] == line]
        assert listed["content"] == orders[0][-1]
        [shown] = [
            one for one in attend(node, people.session, people.viewer).greeting["messages"] if one["id"] == line
        ]
        assert shown["content"] == orders[0][-1]


def test_edits_and_a_deletion_at_once(place, people, attend):
    """What was deleted is there again, because somebody was correcting it."""
    editor, host = attend(place.north, people.session, people.editor), attend(place.south, people.session, people.host)

    def edit(line):
        return [editor.ask("message_edit", data={"message_id": line, "content": "canary"}) for _ in range(5)]

    for _ in range(10):
        line = editor.say("canary")["id"]
        with ThreadPoolExecutor(1) as pool:
            edits = pool.submit(edit, line)
            host.delete(line)
        assert {answer.get("code", "ack") for answer in edits.result()} <= {"ack", "not_found"}
        heard(host)
        events = [frame for frame in host.history if frame.get("data", {}).get("message_id") == line]
        assert events[-1]["type"] == "message_deleted", events
    assert "canary" not in kept.everything(place.north, people.host, people.session)


def test_one_command_is_sent_twice_at_once(place, people, attend):
    """A client that comes back says a line again while the first is on its way, and it is there twice."""
    sockets = [attend(node, people.session, people.editor) for node in (place.north, place.south)]
    listeners = [attend(node, people.session, people.host) for node in place.nodes]
    start = threading.Barrier(2)
    commands = [unique("line") for _ in range(25)]

    def say(socket):
        answers = []
        for command in commands:
            start.wait(PATIENCE)
            answers.append(socket.ask("chat_message", content=command, id=command))
        return answers

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(say, sockets)
    assert [answer for answer in first + second if answer["type"] != "ack"] == []
    assert [answer["seq"] for answer in first] == [answer["seq"] for answer in second]
    heard(listeners[0], *listeners)
    for one in listeners:
        assert [frame["content"] for frame in told(one, "chat_message")][: len(commands)] == commands
        assert len(told(one, "chat_message")) == len(commands) + 1
    listed = kept.contents(kept.messages(place.south, people.host, people.session, limit=200))
    assert listed[1:] == commands[::-1]


def test_many_react_at_once(place, people, attend):
    """What everybody was shown last is not what is kept: somebody's thumb is lost."""
    host = attend(place.north, people.session, people.host)
    line = host.say("React!")["id"]
    many = [Visitor(place.north, "eve") for _ in range(12)]
    for who in many:
        given(place.north, people.host, people.session, who, "editor")
    sockets = [attend(place.nodes[number % len(place.nodes)], people.session, who) for number, who in enumerate(many)]

    def react(number):
        socket = sockets[number]
        for emoji in ("👍", "🎉"):
            socket.react(line, emoji)
            socket.react(line, emoji, "remove")
            socket.react(line, emoji)
        if number % 3 == 0:
            socket.react(line, "🎉", "remove")

    with ThreadPoolExecutor(len(sockets)) as pool:
        list(pool.map(react, range(len(sockets))))
    heard(host)
    last = {}
    for frame in told(host, "reaction_update"):
        last[frame["data"]["emoji"]] = frame["data"]["users"]
    expected = {
        "👍": sorted(who.id for who in many),
        "🎉": sorted(who.id for number, who in enumerate(many) if number % 3),
    }
    assert {emoji: sorted(users) for emoji, users in last.items()} == expected
    for node in place.nodes:
        [listed] = [one for one in kept.messages(node, people.host, people.session) if one["id"] == line]
        assert {one["emoji"]: sorted(one["users"]) for one in listed["reactions"]} == expected


# Coming back


def test_who_comes_back_elsewhere_hears_what_was_missed(place, people, attend):
    """A gap after each tunnel; or what was taken back meanwhile is read after all."""
    host = attend(place.north, people.session, people.host)
    editor = attend(place.south, people.session, people.editor)
    old = host.say("canary said before")
    editor.at(old["seq"], "chat_message")
    since = editor.position()
    editor.drop()
    gone, edited = host.say("canary gone"), host.say("first words")
    note = host.comment("canary note", code_snippet="canary code")
    host.edit(edited["id"], "last words")
    for one in (gone, note, old):
        host.delete(one["id"])
    comment = host.comment("a comment")
    host.resolve(comment["id"])
    host.react(edited["id"])
    for number in range(5):
        assert host.ask("code_change", code=f"x = {number}")["type"] == "ack"
    host.change_session(title="Renamed")
    host.say("private to another", to_user=people.viewer.id)
    private = host.say("private to you", to_user=people.editor.id)
    ids = {"gone": gone["id"], "note": note["id"]}
    for node in place.nodes:
        editor, frames = missed(attend, node, people.session, people.editor, since)
        assert_missed(frames, ids, private)
        assert frames[-1]["position"] == editor.position()
        editor.drop()
    attend(place.south, people.session, people.editor).say("back")


MISSED = [
    *["chat_message"] * 2,
    "code_comment",
    "message_edited",
    *["message_deleted"] * 3,
    "code_comment",
    "comment_resolved",
    "reaction_update",
    "session_update",
    "chat_message",
]


def assert_missed(frames, ids, private):
    text = json.dumps(frames, ensure_ascii=False)
    assert "canary" not in text and "private to another" not in text
    # Who came and went meanwhile, oneself too, is beside the point.
    durable = [frame for frame in frames if "seq" in frame and not frame["type"].startswith(("user_", "code_update"))]
    assert [frame["type"] for frame in durable] == MISSED
    seqs = [frame["seq"] for frame in durable]
    assert seqs == sorted(set(seqs))
    by_id = {frame["id"]: frame for frame in durable if "id" in frame}
    assert by_id[ids["gone"]]["content"] == ""
    note = by_id[ids["note"]]["data"]
    assert note["content"] == "" and not note["code_snippet"]
    assert by_id[private["id"]] == private
    [now] = [frame for frame in frames if frame["type"] == "code_update"]
    assert (now["code"], now["version"]) == ("x = 4", 5)
    assert [frame["type"] for frame in frames[-2:]] == ["code_update", "resumed"]


def test_a_resumed_socket_is_told_what_was_deleted_elsewhere(place, people, attend):
    """A message that came just before the line broke stays on the screen, although it was taken back."""
    host, editor = attend(place.north, people.session, people.host), attend(place.north, people.session, people.editor)
    line = host.say("canary")
    editor.at(line["seq"], "chat_message")
    since = editor.position()
    editor.drop()
    host.delete(line["id"])
    back, frames = missed(attend, place.south, people.session, people.editor, since)
    assert [frame["data"]["message_id"] for frame in frames if frame["type"] == "message_deleted"] == [line["id"]]
    back.leave()


@of_cluster
def test_a_resume_over_the_restart_of_a_node(place, people, attend):
    """A deploy makes everybody start afresh."""
    host, editor = attend(place.south, people.session, people.host), attend(place.north, people.session, people.editor)
    since = editor.position()
    place.north.terminate()
    line = host.say("during the deploy")
    place.north.start()
    _, frames = missed(attend, place.north, people.session, people.editor, since)
    assert frames[-1]["type"] == "resumed"
    assert [frame for frame in frames if frame["type"] == "chat_message"] == [line]
