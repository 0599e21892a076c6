"""Who may do what at the review door, and that a change of it counts at once: alone with SQLite, and on two nodes."""

import pytest

from support import kept, shapes
from support.http import assert_problem
from support.peer import unique
from support.place import place_of
from support.raw import turned_away
from support.recorded import Visitor, assign, given, look, send_away, state, update
from support.review import cast, heard, told, way

FORBIDDEN = shapes.error("forbidden", id=shapes.STRING)


@pytest.fixture(scope="module", params=["tokens", "cluster"])
def place(request, children):
    return place_of(request.param, request, children)


of_cluster = pytest.mark.parametrize("place", ["cluster"], indirect=True)


@pytest.fixture
def people(place):
    """The cast of a session of its own."""
    return cast(place)


# The table

HOST, CONTRIBUTE, ATTEND = ["host"], ["editor", "host"], ["viewer", "editor", "host"]
# `own`, `others`, `comment`: ids of messages. The last column: what everybody else hears; None: nothing.
COMMANDS = {
    "cursor": (ATTEND, "cursor_update", {"data": {"file": "main", "line": 3, "column": 4}}, "cursor_update"),
    "viewport": (
        ATTEND,
        "viewport_update",
        {"data": {"file": "main", "start_line": 3, "end_line": 9}},
        "viewport_update",
    ),
    "presence": (ATTEND, "presence_update", {"data": {"status": "away"}}, "presence_update"),
    "chat": (CONTRIBUTE, "chat_message", {"content": "canary"}, "chat_message"),
    "answer": (CONTRIBUTE, "chat_message", {"content": "canary", "data": {"reply_to": "others"}}, "chat_message"),
    "private": (CONTRIBUTE, "chat_message", {"content": "canary", "data": {"to_user": "host"}}, None),
    "comment": (
        CONTRIBUTE,
        "code_comment",
        {"data": {"file": "main", "line": 1, "content": "canary"}},
        "code_comment",
    ),
    "react": (
        CONTRIBUTE,
        "reaction",
        {"data": {"message_id": "others", "emoji": "👎", "action": "add"}},
        "reaction_update",
    ),
    "react no more": (
        CONTRIBUTE,
        "reaction",
        {"data": {"message_id": "others", "emoji": "👍", "action": "remove"}},
        "reaction_update",
    ),
    "edit own": (CONTRIBUTE, "message_edit", {"data": {"message_id": "own", "content": "canary"}}, "message_edited"),
    "edit another's": ([], "message_edit", {"data": {"message_id": "others", "content": "canary"}}, "message_edited"),
    "delete own": (CONTRIBUTE, "message_delete", {"data": {"message_id": "own"}}, "message_deleted"),
    "delete another's": (HOST, "message_delete", {"data": {"message_id": "others"}}, "message_deleted"),
    "resolve": (
        CONTRIBUTE,
        "comment_resolve",
        {"data": {"comment_id": "comment", "resolved": True}},
        "comment_resolved",
    ),
    "title": (CONTRIBUTE, "session_update", {"data": {"title": "canary"}}, "session_update"),
    "description": (CONTRIBUTE, "session_update", {"data": {"description": "canary"}}, "session_update"),
    "language": (CONTRIBUTE, "session_update", {"data": {"language": "go"}}, "session_update"),
    "default role": (HOST, "session_update", {"data": {"default_role": "editor"}}, "session_update"),
    "default role and title": (
        HOST,
        "session_update",
        {"data": {"title": "canary", "default_role": "viewer"}},
        "session_update",
    ),
    "code": (CONTRIBUTE, "code_change", {"code": "canary = 1"}, "code_update"),
    "code of a version": (CONTRIBUTE, "code_change", {"code": "canary = 2", "base_version": 0}, "code_update"),
}
# Events that are announced, and have no answer.
LATEST_WINS = ("cursor_update", "viewport_update", "presence_update")


@of_cluster
@pytest.mark.parametrize("role", [None, "viewer", "editor", "host"])
@pytest.mark.parametrize("command", COMMANDS)
def test_who_may_do_what(place, people, attend, command, role):
    """Who was invited to look writes, or who was invited to write cannot; or it is shown and not kept."""
    may, type, fields, event = COMMANDS[command]
    who = Visitor(place.south, "eve")
    given(place.south, people.host, people.session, who, "editor")
    host = attend(place.north, people.session, people.host)
    near = attend(place.south, people.session, people.editor)
    writer = attend(place.south, people.session, who)
    ids = ids_for(host, writer, people)
    if role is None:
        assert send_away(place.north, people.host, people.session, who.id).status == 204
        assert writer.close_code() == 4403
        writer = attend(place.south, people.session, who)
    elif role != "editor":
        # Of a socket that came as something else.
        given(place.north, people.host, people.session, who, role)
        writer.until(lambda frame: frame["type"] == "participant_update")
    heard(host, near, writer)
    before = seen(place, people)
    fields = filled(fields, ids)
    if (role or "viewer") not in may:
        assert writer.ask(type, **fields) == FORBIDDEN
        writer.send(type, **fields)
        assert writer.until(lambda frame: frame["type"] == "error")[-1] == shapes.error("forbidden")
        assert [frame for frame in heard(host, near)[0] if frame["type"] == event] == []
        assert seen(place, people) == before
    elif type in LATEST_WINS:
        writer.send(type, **fields)
        for one in (host, near):
            assert one.hear(event, who.id, **fields["data"])
    else:
        answer = writer.ask(type, **fields)
        assert answer["type"] in ("ack", "code_ack"), answer
        host.at(answer["seq"], event or "chat_message")
        [others] = heard(host, near)
        assert [frame["type"] for frame in others if frame.get("seq") == answer["seq"]] == ([event] if event else [])


def ids_for(host, writer, people):
    """What there is to work on."""
    others = host.say("Of the host")
    writer.react(others["id"])
    return {
        "others": others["id"],
        "own": writer.say("Of the writer")["id"],
        "comment": host.comment("Why?")["id"],
        "host": people.host.id,
    }


def filled(fields, ids):
    if "data" not in fields:
        return fields
    data = {name: ids.get(value, value) if isinstance(value, str) else value for name, value in fields["data"].items()}
    return fields | {"data": data}


def seen(place, people):
    """What the session is, and what is kept of it, but for marker lines."""
    node, host, session = place.north, people.host, people.session
    said = [one for one in kept.messages(node, host, session) if not one["content"].startswith("marker")]
    whole = look(node, host, session).json
    return said, kept.comments(node, host, session), whole, state(node, host, session).json


PAIRING = {
    "code_change": ({"code": "canary = 1"}, "code_update"),
    "chat": ({"message": "canary"}, "chat_message"),
    "language_change": ({"language": "go"}, "session_update"),
}


@pytest.mark.parametrize("role", [None, "viewer", "editor", "host"])
def test_the_same_roles_at_the_pairing_door(place, people, attend, join, role):
    """Who may only look takes the other door."""
    who = people.stranger
    if role:
        given(place.south, people.host, people.session, who, role)
    host = attend(place.north, people.session, people.host)
    writer = join(place.south, people.session, token=who.token)
    for type, (fields, event) in PAIRING.items():
        answer = writer.ask(type, **fields)
        if role in CONTRIBUTE:
            assert answer["type"] in ("ack", "code_ack"), answer
            frame = host.at(answer["seq"], event)
            assert who.id in (frame.get("user_id"), frame.get("user", {}).get("user_id"))
        else:
            assert answer == FORBIDDEN
    expected = [event for _, event in PAIRING.values()] if role in CONTRIBUTE else []
    heard(host)
    by_who = [frame for frame in host.history if who.id in (frame.get("user_id"), frame.get("user", {}).get("user_id"))]
    assert [frame["type"] for frame in by_who if frame["type"] != "user_joined"] == expected


# Changes of it


def test_a_new_role_counts_with_the_next_command(place, people, attend):
    """Somebody must come again to write, or goes on writing who may not any more."""
    host, writer = (
        attend(place.north, people.session, people.host),
        attend(place.south, people.session, people.viewer),
    )
    for number, role in enumerate(("editor", "viewer", "host", "viewer", "editor")):
        node = place.nodes[number % len(place.nodes)]
        given(node, people.host, people.session, people.viewer, role)
        for one in (host, writer):
            frame = one.until(lambda frame: frame["type"] == "participant_update")[-1]
            assert frame["data"] == {"user_id": people.viewer.id, "role": role}
        if role == "viewer":
            assert writer.ask("chat_message", content="canary") == FORBIDDEN
        else:
            assert host.at(writer.say(f"As {role}")["seq"], "chat_message")["content"] == f"As {role}"
        shown = {one["user_id"]: one["role"] for one in kept.presence(node, people.editor, people.session).values()}
        assert shown == {people.host.id: "host", people.viewer.id: role}


@pytest.mark.parametrize("how", ["socket", "rest"])
def test_a_new_default_role_counts_with_the_next_command(place, people, attend, how):
    """A session is opened to all, and those who are there may not write; or closed, and they may."""
    host = attend(place.north, people.session, people.host)
    writer, viewer = (attend(place.south, people.session, who) for who in (people.stranger, people.viewer))
    for default in ("editor", "viewer", "editor", "viewer"):
        if how == "socket":
            seq = host.change_session(default_role=default)["seq"]
            assert viewer.at(seq, "session_update")["data"] == {"default_role": default}
        else:
            assert update(place.south, people.host, people.session, default_role=default).status == 200
        answer = writer.ask("chat_message", content=default)
        assert answer["type"] == ("ack" if default == "editor" else "error"), answer
        assert viewer.ask("chat_message", content="canary") == FORBIDDEN, "who has a role keeps it"
        shown = kept.presence(place.north, people.host, people.session)
        assert shown[people.stranger.id]["role"] == default
        assert shown[people.viewer.id]["role"] == "viewer"


def test_who_is_sent_away_is_out_everywhere_and_may_come_again(place, people, attend, join):
    """Somebody who was sent away goes on on another node, keeps the role, or is shut out for ever."""
    host = attend(place.north, people.session, people.host)
    sockets = [attend(node, people.session, people.editor) for node in place.nodes]
    sockets.append(join(place.south, people.session, token=people.editor.token))
    assert send_away(place.south, people.host, people.session, people.editor.id).status == 204
    assert [one.close_code() for one in sockets] == [4403] * len(sockets)
    frame = host.find(lambda frame: frame["type"] == "participant_update")
    assert frame["data"] == {"user_id": people.editor.id, "removed": True}
    again = attend(place.south, people.session, people.editor)
    assert again.role == "viewer"
    assert again.ask("chat_message", content="canary") == FORBIDDEN


def test_who_is_banned_is_out_everywhere_and_stays_out(place, people, attend, join):
    """Somebody who was banned stays in on another node, comes back, or reads on over REST."""
    host = attend(place.north, people.session, people.host)
    sockets = [attend(node, people.session, people.editor) for node in place.nodes]
    sockets.append(join(place.south, people.session, token=people.editor.token))
    since = sockets[0].greeting["position"]
    given(place.north, people.host, people.session, people.editor, "banned")
    assert [one.close_code() for one in sockets] == [4403] * len(sockets)
    for node in place.nodes:
        for query in ({}, {"since": since}):
            path = way(people.session, token=people.editor.token, **query)
            assert_problem(turned_away(node, path), 403, "forbidden")
        for below in (["messages"], ["messages", "stats"], ["comments"], ["presence"], ["events"], ["replay"]):
            assert_problem(kept.ask(node, people.editor, people.session, *below), 403, "forbidden")
    assert people.editor.id not in kept.presence(place.south, people.host, people.session)
    host.refused("not_found", "chat_message", "data.to_user", content="hi", data={"to_user": people.editor.id})
    # Taken back.
    given(place.south, people.host, people.session, people.editor, "editor")
    attend(place.south, people.session, people.editor).say("Here again")


@of_cluster
def test_a_role_is_lost_in_mid_sentence(place, people, attend):
    """Of what was sent before and after somebody became a viewer, something is told that was refused, or kept."""
    host = attend(place.north, people.session, people.host)
    writer = attend(place.south, people.session, people.editor)
    commands = [unique("line") for _ in range(200)]
    assert writer.ask("chat_message", id=commands[0], content=commands[0])["type"] == "ack"
    for number, command in enumerate(commands):
        writer.send("chat_message", id=command, content=command)
        if number == 100:
            assert assign(place.north, people.host, people.session, people.editor.id, "viewer").status == 200
    answers = {}
    while len(answers) < len(commands):
        frame = writer.recv()
        if frame["type"] in ("ack", "error"):
            answers[frame["id"]] = frame
    taken = [command for command in commands if answers[command]["type"] == "ack"]
    assert 0 < len(taken) < len(commands)
    assert taken == commands[: len(taken)]
    heard(host)
    by_writer = [frame["content"] for frame in told(host, "chat_message") if frame["user"]["user_id"] == writer.user]
    assert by_writer == taken
    listed = kept.messages(place.south, people.host, people.session, limit=200)
    assert [one["content"] for one in listed if one["content"] in commands] == taken[::-1]
    [(count,)] = place.database.execute(
        "SELECT COUNT(*) FROM messages WHERE session_id = ? AND seq IS NOT NULL", people.session
    )
    assert count == len(taken) + 1, "those that were taken, and the marker"
