"""Who is there, where they look, and whether they are at their desk, as everybody at the review door sees it."""

import time

import pytest

from support import kept, shapes
from support import review_shapes as review
from support.deadline import eventually
from support.people import moment
from support.place import place_of
from support.recorded import Visitor
from support.review import cast, heard, told

# Seconds without a command.
IDLE, AWAY = 1, 3
LEASE, GRACE = 2.5, 0.5
# How late somebody may be told of it, on a busy machine.
LATE = 2.5
SETTINGS = {
    "IDLE_AFTER": IDLE,
    "AWAY_AFTER": AWAY,
    "LEAVE_GRACE": GRACE,
    "LEASE": LEASE,
    "BEAT_INTERVAL": 0.5,
    "REAP_PAUSE": 1,
}


@pytest.fixture(scope="module", params=["tokens", "cluster"])
def place(request, children):
    """Where people are soon idle."""
    return place_of(request.param, request, children, **SETTINGS)


@pytest.fixture(scope="module", params=["tokens", "cluster"])
def patient(request, children):
    """Where they are not."""
    return place_of(request.param, request, children, LEAVE_GRACE=GRACE)


of_cluster = pytest.mark.parametrize("place", ["cluster"], indirect=True)


@pytest.fixture
def people(place):
    return cast(place)


def statuses(reviewer, user):
    """What it was told of somebody's status so far, in order."""
    return [frame["data"]["status"] for frame in told(reviewer, "presence_update") if frame["user_id"] == user]


def shown(place, people, who):
    """As everybody sees somebody: the same on every node and in a new greeting."""
    [first, *others] = [kept.presence(node, people.host, people.session).get(who.id) for node in place.nodes]
    assert others == [first] * len(others)
    return first


# Idle and away


def test_who_does_nothing_is_idle_and_then_away(place, people, attend):
    """Somebody who went home is shown at their desk, and their cursor in the code."""
    host = attend(place.north, people.session, people.host)
    viewer = attend(place.south, people.session, people.viewer)
    viewer.point("main.py", 3, 4)
    viewer.scroll("main.py", 1, 30)
    began = moment(host.hear("viewport_update", viewer.user))
    idle = while_alive(viewer, host, "idle")
    there = shown(place, people, people.viewer)
    assert there["status"] == "idle" and there["cursor"] == review.cursor("main.py", 3, 4)
    away = while_alive(viewer, host, "away")
    assert statuses(host, viewer.user) == ["idle", "away"]
    assert idle == review.announced("presence_update", people.viewer, status="idle")
    assert IDLE - 0.1 <= moment(idle) - began <= IDLE + LATE
    assert AWAY - 0.1 <= moment(away) - began <= AWAY + LATE
    gone = review.participant(people.viewer, "viewer", status="away")
    assert shown(place, people, people.viewer) == gone
    greeting = attend(place.north, people.session, people.stranger).greeting
    assert gone in greeting["participants"]
    assert kept.presence(place.south, people.host, people.session, file="main.py") == {}
    # Any command, and they are there again.
    viewer.point("main.py", 5, 6)
    assert host.hear("presence_update", viewer.user, status="active")
    host.hear("cursor_update", viewer.user, **review.cursor("main.py", 5, 6))
    there = shown(place, people, people.viewer)
    assert (there["status"], there["cursor"]) == ("active", review.cursor("main.py", 5, 6))
    assert statuses(viewer, viewer.user) == [], "one's own status is told to the others"


def while_alive(reviewer, watcher, status):
    """Up to where `watcher` is told this of who sends what a client sends by itself: pings, and new tokens."""

    def told_it():
        reviewer.send("ping")
        reviewer.send("auth", token=reviewer.who.token)
        watcher.listen(0.1)
        about = [frame for frame in told(watcher, "presence_update") if frame["user_id"] == reviewer.user]
        return [frame for frame in about if frame["data"]["status"] == status]

    return eventually(told_it, f"{status} is told", within=AWAY + LATE)[-1]


@pytest.mark.parametrize("type", ["chat_message", "code_change", "viewport_update", "reaction"])
def test_any_command_makes_active(place, people, attend, type):
    """Who types is shown away, because only some commands count."""
    host, editor = attend(place.north, people.session, people.host), attend(place.south, people.session, people.editor)
    fields = {
        "chat_message": {"content": "here"},
        "code_change": {"code": "x = 1"},
        "viewport_update": {"data": review.viewport("f", 1, 2)},
        "reaction": {"data": {"message_id": host.say("React")["id"], "emoji": "👍", "action": "add"}},
    }
    host.hear("presence_update", editor.user, status="idle")
    editor.send(type, **fields[type])
    assert host.hear("presence_update", editor.user, status="active")


@pytest.mark.parametrize("status", ["idle", "away"])
def test_a_status_is_set_by_hand_until_the_next_command(patient, attend, status):
    """Who said to be away is shown active a moment later; or away for ever."""
    people = cast(patient)
    host = attend(patient.north, people.session, people.host)
    viewer = attend(patient.south, people.session, people.viewer)
    viewer.point("main.py", 3, 4)
    viewer.send("presence_update", data={"status": status})
    assert host.hear("presence_update", viewer.user) == review.announced(
        "presence_update", people.viewer, status=status
    )
    viewer.position()
    there = shown(patient, people, people.viewer)
    assert there["status"] == status
    assert there["cursor"] == (None if status == "away" else review.cursor("main.py", 3, 4))
    viewer.scroll("main.py", 1, 2)
    host.hear("presence_update", viewer.user, status="active")
    assert shown(patient, people, people.viewer)["status"] == "active"
    # The same once more is no news.
    viewer.send("presence_update", data={"status": "active"})
    viewer.point("main.py", 9, 9)
    host.hear("cursor_update", viewer.user, line=9)
    assert statuses(host, viewer.user) == [status, "active"]


def test_the_most_active_socket_wins(place, people, attend):
    """Whoever has a forgotten tab somewhere is shown away while typing."""
    host = attend(place.north, people.session, people.host)
    typing, forgotten = (attend(node, people.session, people.viewer) for node in (place.north, place.south))
    line, end = 1, time.monotonic() + AWAY + 1
    while time.monotonic() < end:
        line += 1
        typing.point("main.py", line, 1)
        host.listen(0.2)
    host.hear("cursor_update", typing.user, line=line)
    assert statuses(host, typing.user) == []
    assert shown(place, people, people.viewer)["status"] == "active"
    # By hand in one tab, active in the other.
    forgotten.send("presence_update", data={"status": "away"})
    forgotten.position()
    typing.point("main.py", line + 1, 1)
    host.hear("cursor_update", typing.user, line=line + 1)
    assert shown(place, people, people.viewer)["status"] == "active"
    # When the active one goes the other one counts.
    typing.leave()
    host.hear("presence_update", typing.user, status="away")
    assert shown(place, people, people.viewer)["status"] == "away"
    assert told(host, "user_left") == []


# Coming and going


def test_who_is_there(patient, attend):
    """A list of people lacks who has just come, or has who has left."""
    place, people = patient, cast(patient)
    host = attend(place.north, people.session, people.host)
    expected = {people.host.id: review.participant(people.host, "host")}
    for number, (who, role) in enumerate(
        [(people.editor, "editor"), (people.viewer, "viewer"), (people.stranger, "viewer")]
    ):
        reviewer = attend(place.nodes[number % len(place.nodes)], people.session, who)
        expected[who.id] = review.participant(who, role)
        # At once, on whatever node.
        for node in place.nodes:
            assert kept.presence(node, people.host, people.session) == expected
        greeted = {one["user_id"]: one for one in reviewer.greeting["participants"]}
        assert greeted == expected
        assert host.hear("user_joined", who.id) == review.joined(who, role)
    second = attend(place.south, people.session, people.stranger)
    reviewer.leave()
    # With the last socket; a clean end is told at once, and to the others alone.
    assert kept.presence(place.north, people.host, people.session) == expected
    second.leave()
    assert host.hear("user_left", people.stranger.id) == review.left(people.stranger)
    del expected[people.stranger.id]
    for node in place.nodes:
        assert kept.presence(node, people.host, people.session) == expected
    assert [frame["user"]["user_id"] for frame in told(host, "user_joined")] == [
        people.editor.id,
        people.viewer.id,
        people.stranger.id,
    ]
    assert len(told(host, "user_left")) == 1


def test_who_is_cut_off_has_left_after_a_grace(patient, attend):
    """Everybody is told to have left in each tunnel; or nobody ever is."""
    place, people = patient, cast(patient)
    host = attend(place.north, people.session, people.host)
    viewer = attend(place.south, people.session, people.viewer)
    host.hear("user_joined", viewer.user)
    viewer.drop()
    again = attend(place.north, people.session, people.viewer)
    heard(host)
    assert told(host, "user_left") == []
    again.drop()
    host.hear("user_left", viewer.user)
    assert set(kept.presence(place.south, people.host, people.session)) == {people.host.id}
    assert len(told(host, "user_joined")) == 1


def test_the_people_of_a_dead_node_have_left(request, own_children, attend):
    """A crash leaves ghosts, with cursors in the code."""
    place = place_of("cluster", request, own_children, **SETTINGS)
    people = cast(place)
    host = attend(place.south, people.session, people.host)
    dead = [attend(place.north, people.session, who) for who in (people.viewer, people.editor)]
    dead[0].point("main.py", 1, 1)
    host.hear("cursor_update", people.viewer.id)
    # One of them is on the other node, too.
    attend(place.south, people.session, people.editor)
    place.north.kill()
    assert host.hear("user_left", people.viewer.id, within=LEASE + 8)
    eventually(
        lambda: set(kept.presence(place.south, people.host, people.session)) == {people.host.id, people.editor.id},
        "the dead node's people are gone",
    )
    heard(host)
    assert [frame["user"]["user_id"] for frame in told(host, "user_left")] == [people.viewer.id]


# Where they look


def test_where_people_look(patient, attend):
    """A cursor of one file is shown in another, or stays where nobody is."""
    place, people = patient, cast(patient)
    host = attend(place.north, people.session, people.host)
    editor, viewer = (attend(place.south, people.session, who) for who in (people.editor, people.viewer))
    editor.point("a.py", 1, 2)
    viewer.point("b.py", 3, 4)
    viewer.scroll("a.py", 10, 20)
    host.hear("cursor_update", editor.user)
    host.hear("viewport_update", viewer.user)
    look = lambda node, **query: set(kept.presence(node, people.host, people.session, **query))
    for node in place.nodes:
        assert look(node, file="a.py") == {editor.user, viewer.user}
        assert look(node, file="b.py") == {viewer.user}
        assert look(node, file="c.py") == set()
        assert look(node) == {host.user, editor.user, viewer.user}
    greeted = {one["user_id"]: one for one in attend(place.south, people.session, people.host).greeting["participants"]}
    assert greeted[viewer.user] == review.participant(
        people.viewer, "viewer", cursor=review.cursor("b.py", 3, 4), viewport=review.viewport("a.py", 10, 20)
    )
    viewer.point("a.py", 5, 6)
    host.hear("cursor_update", viewer.user, file="a.py")
    for node in place.nodes:
        assert look(node, file="b.py") == set()
    # To the others alone.
    assert [frame for frame in heard(host, viewer)[0] if frame.get("user_id") == viewer.user] == []


def test_a_cursor_at_the_pairing_door(patient, attend, join):
    """Two people in one session do not see each other's cursor, or see it in a file that they have not open."""
    place, people = patient, cast(patient)
    reviewer = attend(place.north, people.session, people.host)
    pairing = join(place.south, people.session, token=people.editor.token)
    pairing.send("cursor_move", cursor={"lineNumber": 7, "column": 3})
    shape = review.announced("cursor_update", people.editor, **review.cursor("main", 7, 3))
    assert reviewer.hear("cursor_update", people.editor.id) == shape
    there = kept.presence(place.north, people.host, people.session, file="main")
    assert there[people.editor.id]["cursor"] == review.cursor("main", 7, 3)
    reviewer.point("main", 2, 9)
    moved = pairing.until(lambda frame: frame["type"] == "cursor_move")[-1]
    assert moved == shapes.cursor_move(people.host.id, 2, 9)
    watching = attend(place.south, people.session, people.viewer)
    reviewer.point("other.py", 4, 4)
    reviewer.scroll("main", 1, 9)
    watching.hear("viewport_update", people.host.id)
    # Whoever can see these was told by now; whoever cannot hears nothing but the line behind them.
    line = reviewer.say("marker")
    frames = pairing.until(lambda frame: frame.get("seq") == line["seq"])
    assert [frame["type"] for frame in frames] == ["user_joined", "chat_message"]
    greeted = join(place.north, people.session, token=people.stranger.token).greeting["users"]
    [host] = [one for one in greeted if one["user_id"] == people.host.id]
    assert host["cursor"] is None, "it is in no file that pairing shows"
    assert [one["cursor"] for one in greeted if one["user_id"] == people.editor.id] == [{"lineNumber": 7, "column": 3}]


def test_people_of_all_doors_are_in_one_list(patient, attend, join):
    """Who comes by another door is a ghost at this one."""
    place, people = patient, cast(patient)
    pairing = join(place.south, people.session, token=people.editor.token)
    reviewer = attend(place.north, people.session, people.host)
    assert {one["user_id"]: one["role"] for one in reviewer.greeting["participants"]} == {
        people.host.id: "host",
        people.editor.id: "editor",
    }
    pairing.until(lambda frame: frame["type"] == "user_joined" and frame["user_id"] == people.host.id)
    late = Visitor(place.south)
    other = join(place.south, people.session, token=late.token)
    assert reviewer.hear("user_joined", late.id) == review.joined(late, "viewer")
    other.leave()
    assert reviewer.hear("user_left", late.id) == review.left(late)
