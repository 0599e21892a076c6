"""People in workspaces: who is there, what they tell each other, and what they missed, on whichever node."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import workspace as say
from support.deadline import eventually
from support.http import assert_problem
from support.peer import unique
from support.raw import refused, turned_away
from support.shapes import MILLIS, POSITION, STRING, TIME, Matcher
from support.tokens import SECRET, bearer, token
from support.workspace import AGENTS, WORKSPACES, Fellow, durable, resumed, there, user_joined, user_left, way, workspace_update

# Long enough to come back in, short enough to wait for.
GRACE = 1.5
ROOMS = 4
# Of nodes that die, or lose their Redis.
QUICK = {"LEASE": 3, "BEAT_INTERVAL": 0.5, "REAP_PAUSE": 2, "COMMAND_TIMEOUT": 1, "LEAVE_GRACE": GRACE}


@pytest.fixture(scope="module")
def redis(children):
    return children.redis(durable=True)


@pytest.fixture(scope="module")
def nodes(children, redis):
    return [children.node(name, REDIS_URL=redis.url, LEAVE_GRACE=GRACE) for name in ("north", "south")]


@pytest.fixture(scope="module")
def alone(children):
    return children.node("alone", LEAVE_GRACE=GRACE, LOG_LENGTH=10, MAX_ROOMS_PER_SOCKET=ROOMS)


@pytest.fixture
def space():
    return unique("workspace")


def notes(frames):
    """What was told in a workspace by `Fellow.tells(…, n=…)`."""
    return [frame["data"].get("n") for frame in frames if frame["type"] == "workspace_update"]


# Who is there


def test_who_comes_is_told_who_is_there_and_the_others_of_it(ends, come, space):
    """A list of people that lacks somebody, or has somebody twice who has two tabs open."""
    here, elsewhere = ends
    ann = come(here, "ann", "Ann")
    assert ann.greeting == {"type": "connected", "data": {"user_id": "ann", "username": "Ann", "position": None}}
    first = ann.enters(space)
    assert first == {
        "workspace_id": space,
        "name": space,
        "users": [there("ann", "Ann")],
        "user_count": 1,
        "position": POSITION,
        "id": STRING,
    }
    bob = come(elsewhere, "bob")
    joined = bob.enters(space)
    assert (joined["users"], joined["user_count"]) == ([there("ann", "Ann"), there("bob")], 2)
    ann.hears(user_joined(space, "bob"))
    again = come(here, "bob")
    assert again.enters(space)["user_count"] == 2
    # Each is out of it by its own word; the user with the last.
    bob.leaves(space)
    again.tells(space, n=1)
    ann.hears(workspace_update(space, "note", "bob", n=1))
    bob.hears_nothing()
    again.leaves(space)
    ann.hears(user_left(space, "bob"))
    assert ann.enters(space)["users"] == [there("ann", "Ann")]
    # Who is out of it may leave once more.
    again.leaves(space)
    ann.hears_nothing()


def test_a_name_may_be_called_anything_and_guests_are_guests(alone, come, space):
    """People without an account are all one person, or are turned away."""
    guests = [come(alone) for _ in range(2)]
    for guest in guests:
        assert guest.greeting["data"]["username"] == "Guest"
        assert guest.user.startswith("guest-") and len(guest.user) == len("guest-") + 8
    assert guests[0].user != guests[1].user
    named = come(alone, None, "Zoë 😀")
    assert named.greeting["data"]["username"] == "Zoë 😀"
    for one in (*guests, named):
        one.enters(space)
    assert {(user["user_id"], user["username"]) for user in guests[0].enters(space)["users"]} == {
        *((guest.user, "Guest") for guest in guests),
        (named.user, "Zoë 😀"),
    }


def test_who_is_lost_has_a_while_to_come_back(nodes, come, space):
    """Everybody is told of each tunnel that a train goes through; or never that somebody is gone."""
    north, south = nodes
    ann = come(north, "ann")
    ann.enters(space)
    bob, cat, dan = (come(south, user) for user in ("bob", "cat", "dan"))
    for one in (bob, cat, dan):
        one.enters(space)
        ann.hear_of("user_joined", one.user)
    # A close is told at once, by whatever code of those that mean it.
    bob.leave()
    ann.hears(user_left(space, "bob"))
    began = time.monotonic()
    dan.drop()
    back = come(north, "dan")
    back.enters(space)
    cat.drop()
    ann.hears(user_left(space, "cat"))
    assert GRACE - 0.1 < time.monotonic() - began
    # Dan's grace was over before cat's.
    assert (ann.told("user_left", "dan"), ann.told("user_joined", "dan")) == (0, 1)
    assert ann.enters(space)["users"] == [there("ann"), there("dan")]


def test_the_people_of_a_killed_node_leave_once(own_children, come, space):
    """Ghosts stay in a workspace; or who has another socket elsewhere is told as gone."""
    redis = own_children.redis()
    north, south, east = (own_children.node(name, REDIS_URL=redis.url, **QUICK) for name in ("north", "south", "east"))
    ann, eve = come(north, "ann"), come(east, "eve")
    for one in (ann, eve):
        one.enters(space)
    for user in ("bob", "cat", "dan"):
        come(south, user).enters(space)
    come(north, "cat").enters(space)
    for one in (ann, eve):
        for user in ("bob", "cat", "dan"):
            one.hear_of("user_joined", user)
    south.signal(signal.SIGKILL)
    back = come(east, "dan")
    back.enters(space)
    for one in (ann, eve):
        one.hear_of("user_left", "bob")
        one.tells(space, n=one.user)
    for one in (ann, eve):
        one.find(lambda frame: notes([frame]) == ["ann"])
        one.find(lambda frame: notes([frame]) == ["eve"])
        assert [one.told("user_left", user) for user in ("bob", "cat", "dan")] == [1, 0, 0]
        assert [one.told("user_joined", user) for user in ("bob", "cat", "dan")] == [1, 1, 1]
    assert [user["user_id"] for user in ann.enters(space)["users"]] == ["ann", "cat", "dan", "eve"]


def test_a_node_that_leaves_hands_its_people_over(own_children, come, space):
    """With every deploy everybody leaves and joins; or the clients do not know that they may come back."""
    redis = own_children.redis()
    settings = QUICK | {"LEAVE_GRACE": 10, "DRAIN_WINDOW": 1}
    north, south = (own_children.node(name, REDIS_URL=redis.url, **settings) for name in ("north", "south"))
    ann, bob = come(north, "ann"), come(south, "bob")
    ann.enters(space)
    at = bob.enters(space)["position"]
    ann.hears(user_joined(space, "bob"))
    south.signal(signal.SIGTERM)
    assert bob.close_code() == 1012
    ann.tells(space, n=1)
    back = come(north, "bob")
    assert back.enters(space, since=at)["resumed"] is True
    assert notes(back.history) == [1]
    assert south.process.wait(15) == 0
    ann.tells(space, n=2)
    back.until(lambda frame: notes([frame]) == [2])
    assert ann.told("user_left", "bob") == 0


# What they tell each other


def test_an_update_is_told_to_all_as_it_was_said(ends, come, space):
    """Clients lose a field of their own, or one says something in another's name."""
    ann, bob = come(ends[0], "ann"), come(ends[1], "bob")
    ann.enters(space)
    bob.enters(space)
    ann.hears(user_joined(space, "bob"))
    own = {
        "agent_id": "a1",
        "list": [1, None, 2.5, -0.0, 10**30, {"x": [[]]}],
        "text": 'quotes " \\ \n \u2028 😀 {"}',
        "type": "error",
        "seq": 99,
        "empty": {},
        "": "no name",
        "NULL": None,
    }
    claimed = {"by": "eve", "timestamp": "yesterday"}
    place = bob.tells(space, "agent_added", **own, **claimed)
    said = workspace_update(space, "agent_added", "bob", place, **own)
    assert bob.find(lambda frame: frame["type"] == "workspace_update") == said, "the sender is told, too"
    ann.hears(said)
    # Nothing but its kind; without an id nothing is answered.
    ann.send("workspace_update", workspace_id=space, update_type="x" * 64)
    for one in (ann, bob):
        one.hears(workspace_update(space, "x" * 64, "ann"))
        one.hears_nothing()


def test_everybody_hears_the_same_order(nodes, come, space):
    """Two who write at one moment see it in two orders, for ever."""
    senders = [come(nodes[n % 2], f"sender-{n}") for n in range(4)]
    silent = [come(node, f"silent-{node.name}") for node in nodes]
    everybody = senders + silent
    for one in everybody:
        one.enters(space)

    def speak(one):
        return [one.tells(space, n=f"{one.user} {n}") for n in range(25)]

    with ThreadPoolExecutor() as pool:
        places = list(pool.map(speak, senders))
    ann = come(nodes[0], "ann")
    ann.enters(space)
    ann.tells(space, n="end")
    heard = []
    for one in everybody:
        one.find(lambda frame: notes([frame]) == ["end"])
        frames = durable(one.history, f"workspace:{space}")
        seqs = [frame["seq"] for frame in frames]
        # Its own coming is told to the others.
        assert seqs == sorted(set(seqs)), one.user
        heard.append([(frame["seq"], frame["data"]["n"]) for frame in frames if frame["type"] == "workspace_update"])
    assert all(one == heard[0] for one in heard)
    assert len(heard[0]) == 101
    said = dict(heard[0])
    for one, places_of in zip(senders, places, strict=True):
        assert [said[place] for place in places_of] == [f"{one.user} {n}" for n in range(25)]


def test_a_repeat_is_told_once_and_answered_alike(nodes, come, space):
    """Who was not answered and says it again is heard twice."""
    north, south = nodes
    ann, bob, also = come(north, "ann"), come(south, "bob"), come(south, "ann")
    for one in (ann, bob, also):
        one.enters(space)
    ann.hears(user_joined(space, "bob"))
    place = ann.tells(space, "note", "x 1", n=1)
    for one in (ann, also):
        # What it says the second time does not count.
        assert one.tells(space, "another", "x 1", n=2) == place
    assert bob.tells(space, "note", "x 1", n=3) == place + 1, "an id is its user's"
    assert ann.tells(space, "note", "x 2", n=4) == place + 2
    for one in (ann, bob, also):
        one.find(lambda frame: notes([frame]) == [4])
        assert notes(one.history) == [1, 3, 4]
    # What is no event may be asked again as well.
    for _ in range(2):
        assert ann.ask("join_workspace", "x 3", workspace_id=space)["data"]["user_count"] == 2
    bob.hears_nothing()


def test_many_workspaces_are_apart(alone, come):
    """What is told in one is heard in another; or a socket takes any number of rooms."""
    ann, bob = come(alone, "ann"), come(alone, "bob")
    spaces = [unique("workspace") for _ in range(ROOMS + 1)]
    for space in spaces[:ROOMS]:
        ann.enters(space)
    ann.refused("too_many", "join_workspace", workspace_id=spaces[-1])
    # Agents count for themselves; and asking again takes no more.
    ann.listens(unique("agent"))
    ann.enters(spaces[0])
    bob.enters(spaces[0])
    bob.enters(spaces[1])
    ann.hears(user_joined(spaces[0], "bob"), user_joined(spaces[1], "bob"))
    places = [bob.tells(space, n=space) for space in spaces[:2]]
    ann.hears(*(workspace_update(space, "note", "bob", n, n=space) for space, n in zip(spaces, places, strict=False)))
    bob.refused("not_found", "workspace_update", workspace_id=spaces[2], update_type="note")
    ann.leaves(spaces[1])
    bob.tells(spaces[1], n=1)
    assert ann.enters(spaces[-1])["user_count"] == 1
    assert notes(ann.history) == spaces[:1] + spaces[1:2]


# Coming back


@pytest.mark.parametrize("how", ["drop", "leave"])
def test_who_is_back_hears_what_was_missed_and_nothing_else(ends, come, space, how):
    """A gap after each tunnel, or everything once more."""
    here, elsewhere = ends
    ann, bob = come(here, "ann"), Fellow(elsewhere, "bob")
    ann.enters(space)
    bob.enters(space)
    ann.tells(space, n="before")
    bob.tells(space, n="own")
    # From a frame: positions of rooms stand in what is told of them.
    at = bob.find(lambda frame: notes([frame]) == ["own"])["position"]
    getattr(bob, how)()
    for n in range(5):
        ann.tells(space, n=n)
    back = come(here, "bob")
    joined = back.enters(space, since=at)
    missed = [frame for frame in back.history[1:-1] if frame["type"] == "workspace_update"]
    assert missed == [workspace_update(space, "note", "ann", n=n) for n in range(5)]
    others = [frame for frame in back.history[1:-1] if frame["type"] != "workspace_update"]
    # Who left is told so by those who stayed, oneself included.
    assert others in ([], [user_left(space, "bob")] if how == "leave" else [], [user_left(space, "bob"), user_joined(space, "bob")])
    assert (joined["resumed"], joined["user_count"]) == (True, 2)
    assert back.recv() == resumed(joined["position"], workspace_id=space)
    ann.tells(space, n="live")
    back.until(lambda frame: notes([frame]) == ["live"])
    seqs = [frame["seq"] for frame in durable(back.history)]
    assert seqs == sorted(set(seqs))
    # Where nothing was missed nothing is told.
    at = back.history[-1]["position"]
    back.leaves(space)
    gone = back.enters(space, since=at)
    assert gone["resumed"] is True


def test_what_is_no_place_in_the_log_begins_anew(ends, come, space):
    """Who was away for long misses something without being told so."""
    ann = come(ends[0], "ann")
    other = come(ends[0], "bob").enters(unique("workspace"))["position"]
    ann.enters(space)
    ann.tells(space, n=0)
    for since in ("ffffffff-1", other):
        back = come(ends[1], "cat")
        joined = back.enters(space, since=since)
        assert (joined["resumed"], joined["user_count"]) == (False, 2)
        assert len(back.history) == 2, back.history
        back.hears_nothing()
        back.leaves(space)
        ann.hear_of("user_left", "cat")
        ann.history.clear()
    back = come(ends[1], "cat")
    assert back.ask("join_workspace", workspace_id=space, since="now") == say.error("bad_field", field="since", id=STRING)
    # Empty is none.
    assert "resumed" not in back.ask("join_workspace", workspace_id=space, since="")["data"]


def test_a_log_that_does_not_reach_back_is_said(alone, come, space):
    """A hole in what is told is not noticed by anybody."""
    ann, bob = come(alone, "ann"), come(alone, "bob")
    ann.enters(space)
    at = bob.enters(space)["position"]
    bob.leaves(space)
    for n in range(20):
        ann.tells(space, n=n)
    joined = bob.enters(space, since=at)
    assert joined["resumed"] is False
    assert notes(bob.history) == []
    ann.tells(space, n="live")
    assert notes([bob.find(lambda frame: notes([frame]) == ["live"])]) == ["live"]
    assert not any(frame["type"] == "resumed" for frame in bob.history)


def test_coming_and_going_under_writers_misses_and_repeats_nothing(nodes, come, space):
    """Something falls between the log and the live events, or is in both."""
    writers = [come(node, f"writer-{node.name}") for node in nodes]
    for one in writers:
        one.enters(space)
    going = threading.Event()

    def write(one):
        count = 0
        while not going.is_set():
            one.tells(space, n=f"{one.user} {count}")
            count += 1
        return count

    heard, since = [], None
    with ThreadPoolExecutor() as pool:
        written = [pool.submit(write, one) for one in writers]
        try:
            for turn in range(20):
                with Fellow(nodes[turn % 2], "reader") as reader:
                    joined = reader.enters(space, since=since)
                    assert since is None or joined["resumed"] is True
                    reader.until(lambda frame: frame["type"] == "workspace_update")
                    frames = [frame for frame in durable(reader.history) if frame["type"] == "workspace_update"]
                    if since is None:
                        first = frames[0]["data"]["n"]
                    heard += [frame["data"]["n"] for frame in frames]
                    since = durable(reader.history)[-1]["position"]
        finally:
            going.set()
        counts = [count.result() for count in written]
    with Fellow(nodes[0], "reader") as reader:
        reader.enters(space, since=since)
        heard += notes(reader.history)
    assert len(heard) == len(set(heard))
    assert first in heard
    for one, count in zip(writers, counts, strict=True):
        own = [int(n.split()[1]) for n in heard if n.startswith(one.user + " ")]
        assert own == list(range(own[0], count)), one.user


def test_a_redis_that_goes_in_the_middle_loses_and_doubles_nothing(own_children, come, space):
    """What was answered is not in the log of who comes back, or is there twice."""
    redis = own_children.redis(durable=True)
    north, south = (own_children.node(name, REDIS_URL=redis.url, **QUICK) for name in ("north", "south"))
    ann, bob = come(north, "ann"), come(south, "bob")
    ann.enters(space)
    at = bob.enters(space)["position"]
    going, taken, refusals = threading.Event(), [], []

    def write():
        count = 0
        while not going.is_set():
            answer = ann.ask("workspace_update", f"id-{count}", workspace_id=space, update_type="note", n=count)
            if answer["type"] == "ack":
                taken.append(count)
                count += 1
            else:
                assert answer["data"]["code"] == "backplane_unavailable", answer
                refusals.append(count)
                # As it is told to: the same again, a little later.
                going.wait(0.05)

    with ThreadPoolExecutor() as pool:
        writing = pool.submit(write)
        try:
            for _ in range(2):
                so_far, before = len(taken), len(refusals)
                eventually(lambda so_far=so_far: len(taken) > so_far + 20, "it is under way")
                redis.kill()
                eventually(lambda before=before: len(refusals) > before, "the sender is told")
                redis.start()
            so_far = len(taken)
            eventually(lambda: len(taken) > so_far + 20, "it goes on")
        finally:
            going.set()
        writing.result()
    ann.tells(space, n="end")
    for one in (ann, bob):
        one.find(lambda frame: notes([frame]) == ["end"])
        assert notes(one.history) == [*range(len(taken)), "end"], one.user
        assert one.told("user_left", "bob") + one.told("user_left", "ann") == 0
    back = come(south, "cat")
    back.enters(space, since=at)
    assert notes(back.history) == [*range(len(taken)), "end"]


def test_who_asks_again_while_redis_is_away_is_not_cut_off(own_children, come, space):
    """A client that asks at a bad time is answered so, and hears nothing of the workspace ever after."""
    redis = own_children.redis(durable=True)
    north, south = (own_children.node(name, REDIS_URL=redis.url, **QUICK) for name in ("north", "south"))
    ann, bob, agent = come(north, "ann"), come(south, "bob"), unique("agent")
    for one in (ann, bob):
        one.enters(space)
        one.listens(agent)
    redis.kill()
    refused_ = lambda one: one.ask("workspace_update", workspace_id=space, update_type="x")["type"] == "error"
    for one in (ann, bob):
        eventually(lambda one=one: refused_(one), "Redis is known to be away")
    for type, about in (("join_workspace", {"workspace_id": space}), ("subscribe_agent", {"agent_id": agent})):
        ann.refused_for_now(type, **about)
    ann.refused_for_now("join_workspace", workspace_id=unique("another"))
    redis.start()
    eventually(lambda: not refused_(bob), "Redis is back")
    bob.tells(space, n="back")
    bob.starts(agent)
    ann.find(lambda frame: notes([frame]) == ["back"])
    ann.find(lambda frame: frame["type"] == "agent_execution_start")
    assert ann.enters(space)["user_count"] == 2


def test_a_store_that_lost_its_data_is_told_again(request, own_children, come):
    """Redis is restarted empty, and the team's workspace is gone, though the database has it."""
    redis, database = own_children.redis(), request.getfixturevalue("postgres").database()
    settings = QUICK | {"REDIS_URL": redis.url, "DATABASE_URL": database.url}
    north, south = (own_children.node(name, **settings) for name in ("north", "south"))
    whole = made(north, "Kept", user_id="root")
    space, other = whole["id"], made(south, "Another")["id"]
    assert south.post(f"/workspaces/{space}/join", {"user_id": "dan"}).status == 204
    ann, bob = come(north, "ann"), come(south, "bob")
    for one in (ann, bob):
        at = one.enters(space)["position"]
    redis.client.flushall()
    # Where nobody is as well.
    assert south.get(f"/workspaces/{other}").json["name"] == "Another"
    eventually(lambda: ann.ask("workspace_update", workspace_id=space, update_type="x", n=1)["type"] == "ack", "it is there again")
    for one in (ann, bob):
        anew = one.find(lambda frame: frame["type"] == "joined" and frame["data"].get("resumed") is False)
        assert (anew["data"]["name"], anew["data"]["workspace_id"]) == ("Kept", space)
    eventually(lambda: len(people(south, space)) == 4, "all are in it again")
    assert people(north, space) == [there("ann"), there("bob"), there("dan", online=False), there("root", online=False)]
    assert north.get(f"/workspaces/{space}").json == whole | {"user_count": 4}
    bob.tells(space, n=2)
    ann.find(lambda frame: notes([frame]) == [2])
    back = come(north, "cat")
    assert back.enters(space, since=at)["resumed"] is False


# Doors, and who may


def test_each_door_speaks_of_its_own(ends, come, space):
    """A page that shows workspaces alone is told of every agent, or cannot say what it needs."""
    here, elsewhere = ends
    agent = unique("agent")
    watcher, worker = come(here, "ann", at=WORKSPACES), come(elsewhere, agent, at=AGENTS)
    watcher.enters(space)
    data = {"agent_id": agent, "workspace_id": space, "update_type": "x", "task": "t", "user_id": "u", "status": "completed"}
    for one, types in (
        (watcher, ["subscribe_agent", "unsubscribe_agent", "agent_execution_start", "agent_execution_update"]),
        (worker, ["join_workspace", "leave_workspace", "workspace_update"]),
    ):
        for type in types:
            one.refused("unknown_type", type, **data)
        assert one.ask("ping") == {"type": "pong", "data": {"timestamp": MILLIS, "position": None, "id": STRING}}
    worker.starts(agent, workspace_id=space)
    watcher.hears(say.started(f"workspace:{space}", agent, workspace_id=space))
    worker.completes(agent)
    watcher.hears(say.completed(f"workspace:{space}", agent))
    for door in (watcher, worker):
        assert door.ask("auth", token="x")["type"] in ("error", "auth_ok")


@pytest.fixture(scope="module")
def guarded(children):
    """Two nodes on which tokens count."""
    redis = children.redis()
    settings = {"JWT_SECRET": SECRET, "HOST": "127.0.0.1"}
    return [children.node(name, REDIS_URL=redis.url, **settings) for name in ("guarded", "warded")]


@pytest.mark.parametrize("at", [say.ALL, AGENTS, WORKSPACES])
def test_nobody_comes_in_without_a_good_token(guarded, at):
    """A door was added and its lock forgotten."""
    north, _ = guarded
    old = token("ann", exp=int(time.time()) - 100)
    for path, headers in ((way(at), {}), (way(at, user_id="ann"), {}), (way(at, token=old), {}), (way(at), bearer("x.y.z"))):
        assert_problem(turned_away(north, path, **headers), 401, "unauthorized")
        assert refused(north, path, Origin=f"http://{north.address}", **headers)[::2] == (101, 4401)
    made = token("ann")
    assert_problem(turned_away(north, way(at, user_id="bob", token=made)), 403, "forbidden")
    with Fellow(north, at=at, token=made) as ann:
        assert ann.user == "ann"


def test_one_is_who_the_token_says(guarded, come, space):
    """A name in the query is believed."""
    north, south = guarded
    ann = come(north, None, "Eve", token=token("ann", name="Ann"))
    bob = come(south, token=token("bob"))
    ann.enters(space)
    bob.enters(space)
    ann.hears(user_joined(space, "bob"))
    assert bob.enters(space)["users"] == [there("ann", "Ann"), there("bob")]
    bob.tells(space, by="ann", n=1)
    ann.hears(workspace_update(space, "note", "bob", n=1))


def test_a_token_for_sessions_opens_no_workspace(guarded, come, space):
    """A token that was given for one interview shows everything else."""
    agent = unique("agent")
    whole = bearer(token("ann"))
    assert guarded[0].post(f"/agents/{agent}/subscribe", {"user_id": "ann"}, headers=whole).status == 204
    ann = come(guarded[0], token=token("ann", sessions=["s1"]))
    # Nor is what was asked for with another token told to this one.
    ann.hears_nothing()
    ann.refused("forbidden", "join_workspace", workspace_id=space)
    ann.refused("forbidden", "subscribe_agent", agent_id=agent)
    ann.refused("not_found", "workspace_update", workspace_id=space, update_type="x")
    for role in ("agent", "service"):
        worker = come(guarded[1], token=token(agent, role=role, sessions=["s1"]))
        worker.refused("forbidden", "agent_execution_start", agent_id=agent, task="t", user_id="ann")
    ann.hears_nothing()
    assert guarded[0].post(f"/agents/{agent}/unsubscribe", {"user_id": "ann"}, headers=whole).status == 204


def test_a_socket_goes_with_its_token(guarded, come, space):
    """A stolen token goes on working; or a renewed one ends with the old one's time."""
    north, south = guarded
    jti = unique("canary-jti")
    mine = token("ann", jti=jti)
    staying = come(south, token=token("ann"))
    staying.enters(space)
    going = [come(node, token=mine, at=at) for node in guarded for at in (say.ALL, AGENTS, WORKSPACES)]
    # Long enough to come in with on a busy machine; there is a leeway of half a minute.
    exp = int(time.time()) - 30 + 4
    short, renewed = come(north, token=token("bob", exp=exp)), come(south, token=token("cat", exp=exp))
    for one in (short, renewed):
        one.enters(space)
    answer = renewed.ask("auth", token=token("cat"))
    assert answer == {"type": "auth_ok", "data": {"expires_at": TIME, "id": STRING, "timestamp": TIME}}
    assert renewed.ask("auth", token=token("dan"))["data"]["code"] == "forbidden"
    assert north.post("/api/auth/logout", b"", headers=bearer(mine)).status == 204
    assert [peer.close_code() for peer in going] == [4401] * len(going)
    assert short.close_code() == 4401
    for one in (renewed, staying):
        one.tells(space, n=one.user)


# Over REST


def made(node, name="A workspace", **said):
    answer = node.post("/workspaces", {"name": name} | said)
    assert answer.status == 201, answer
    return answer.json


def people(node, space):
    answer = node.get(f"/workspaces/{space}/users")
    assert answer.status == 200, answer
    assert answer.json["count"] == len(answer.json["users"])
    return answer.json["users"]


MADE_ID = Matcher("id of a workspace", lambda value: isinstance(value, str) and value.startswith("w-"))


def test_a_workspace_is_made_changed_and_deleted(ends, come):
    """Somebody in it goes on as if it were there; or its name is an old one on another node."""
    here, elsewhere = ends
    whole = made(here, "Search", description="What we look for", user_id="ann", username="Ann")
    shown = {"id": MADE_ID, "name": "Search", "description": "What we look for", "created_by": "ann", "created_at": TIME}
    assert whole == shown
    space = whole["id"]
    assert elsewhere.get(f"/workspaces/{space}").json == shown | {"user_count": 1}
    bob = come(elsewhere, "bob")
    assert bob.enters(space)["users"] == [there("ann", "Ann", online=False), there("bob")]
    answer = here.patch(f"/workspaces/{space}", {"name": "Find"})
    assert (answer.status, answer.json) == (200, shown | {"name": "Find", "user_count": 2})
    bob.hears(workspace_update(space, "workspace_changed", None, name="Find"))
    assert come(here, "cat").enters(space)["name"] == "Find"
    bob.hears(user_joined(space, "cat"))
    assert here.delete(f"/workspaces/{space}").status == 204
    bob.hears(workspace_update(space, "workspace_deleted", None))
    bob.refused("not_found", "workspace_update", workspace_id=space, update_type="x")
    for one in (bob, come(here, "dan")):
        one.refused("not_found", "join_workspace", workspace_id=space)
    for answer in (
        elsewhere.get(f"/workspaces/{space}"),
        here.get(f"/workspaces/{space}/users"),
        here.patch(f"/workspaces/{space}", {"name": "x"}),
        here.delete(f"/workspaces/{space}"),
        elsewhere.post(f"/workspaces/{space}/join", {"user_id": "eve"}),
        elsewhere.post(f"/workspaces/{space}/leave", {"user_id": "ann"}),
    ):
        assert_problem(answer, 404, "not_found")
    # It is as if it had never been in it: the room does not count.
    bob.enters(unique("workspace"))


def test_who_belongs_joins_once_and_leaves_once(ends, come):
    """Somebody who is in a workspace without being there is told as gone with the last tab."""
    here, elsewhere = ends
    space = made(here, user_id="root")["id"]
    ann = come(here, "ann")
    ann.enters(space)
    join = lambda node, user, **name: node.post(f"/workspaces/{space}/join", {"user_id": user} | name).status
    leave = lambda node, user: node.post(f"/workspaces/{space}/leave", {"user_id": user}).status
    assert [join(elsewhere, "bob", username="Bob"), join(here, "bob")] == [204, 204]
    ann.hears(user_joined(space, "bob", "Bob"))
    bob = Fellow(elsewhere, "bob", "Bobby")
    bob.enters(space)
    assert people(here, space) == [there("ann"), there("bob", "Bobby"), there("root", online=False)]
    bob.leaves(space)
    assert people(elsewhere, space) == [there("ann"), there("bob", "Bob", online=False), there("root", online=False)]
    bob.enters(space)
    bob.leave()
    eventually(lambda: there("bob", "Bob", online=False) in people(here, space), "the socket is out of it")
    ann.hears_nothing()
    assert leave(here, "bob") == 204
    ann.hears(user_left(space, "bob", "Bob"))
    assert leave(elsewhere, "bob") == 204
    # The other way round: the socket first, and last.
    cat = come(elsewhere, "cat")
    cat.enters(space)
    ann.hears(user_joined(space, "cat"))
    assert [join(here, "cat"), leave(here, "cat")] == [204, 204]
    ann.hears_nothing()
    cat.leaves(space)
    ann.hears(user_left(space, "cat"))
    assert people(here, space) == [there("ann"), there("root", online=False)]


def test_all_that_were_made_are_listed_once(nodes):
    """A page shows a workspace twice, or leaves one out, while others are made."""
    first = [made(nodes[n % 2], f"listed {n}")["id"] for n in range(7)]
    gone = first.pop(3)
    assert nodes[0].delete(f"/workspaces/{gone}").status == 204
    seen, cursor = [], ""
    while cursor is not None:
        page = nodes[1].get(f"/workspaces?limit=2{cursor and '&cursor=' + cursor}").json
        seen += [one["id"] for one in page["workspaces"]]
        cursor = page["next_cursor"]
    assert [one for one in seen if one in first] == first
    assert gone not in seen
    assert len(seen) == len(set(seen))


def test_what_was_made_outlives_its_node(own_children, come):
    """After a restart of a node alone the team's workspace is gone, or everybody has to be invited anew."""
    node = own_children.node("alone", LEAVE_GRACE=0.2)
    space = made(node, "Kept", user_id="ann", username="Ann")["id"]
    gone = made(node, "Gone")["id"]
    assert node.post(f"/workspaces/{space}/join", {"user_id": "bob"}).status == 204
    assert node.post(f"/workspaces/{space}/join", {"user_id": "cat"}).status == 204
    assert node.post(f"/workspaces/{space}/leave", {"user_id": "cat"}).status == 204
    assert node.patch(f"/workspaces/{space}", {"name": "Kept well"}).status == 200
    assert node.delete(f"/workspaces/{gone}").status == 204
    assert node.terminate() == 0
    node.start()
    assert people(node, space) == [there("ann", "Ann", online=False), there("bob", online=False)]
    assert node.get(f"/workspaces/{space}").json["name"] == "Kept well"
    assert [one["id"] for one in node.get("/workspaces").json["workspaces"]] == [space]
    joined = come(node, "dan").enters(space)
    assert (joined["name"], joined["user_count"]) == ("Kept well", 3)
    assert_problem(node.get(f"/workspaces/{gone}"), 404, "not_found")
    come(node, "dan").refused("not_found", "join_workspace", workspace_id=gone)


def test_a_workspace_is_whose_it_is(guarded, come):
    """Anybody deletes, renames or fills another's workspace."""
    north, south = guarded
    as_ = lambda user, **claims: {"headers": bearer(token(user, **claims))}
    answer = north.post("/workspaces", {"name": "Ann's", "user_id": "eve"}, **as_("ann", name="Ann"))
    assert (answer.status, answer.json["created_by"]) == (201, "ann")
    space = answer.json["id"]
    assert north.get(f"/workspaces/{space}/users", **as_("bob")).json["users"] == [there("ann", "Ann", online=False)]
    other = {"user_id": "cat"}
    for refused_one in (
        south.patch(f"/workspaces/{space}", {"name": "x"}, **as_("bob")),
        south.delete(f"/workspaces/{space}", **as_("bob", role="agent")),
        south.post(f"/workspaces/{space}/join", other, **as_("bob")),
        south.post(f"/workspaces/{space}/leave", {"user_id": "ann"}, **as_("bob")),
    ):
        assert_problem(refused_one, 403, "forbidden")
    for answer in (
        south.post(f"/workspaces/{space}/join", {"user_id": "bob"}, **as_("bob")),
        south.post(f"/workspaces/{space}/join", other, **as_("ann")),
        south.post(f"/workspaces/{space}/leave", {"user_id": "bob"}, **as_("svc", role="service")),
    ):
        assert answer.status == 204, answer
    assert south.patch(f"/workspaces/{space}", {"name": "y"}, **as_("root", role="admin")).status == 200
    assert [user["user_id"] for user in people_of(south, space, as_("bob"))] == ["ann", "cat"]
    assert south.delete(f"/workspaces/{space}", **as_("ann")).status == 204


def people_of(node, space, who):
    return node.get(f"/workspaces/{space}/users", **who).json["users"]


def test_so_many_belong_and_no_more(own_children):
    """A loop over a user list makes one workspace too large for every page."""
    node = own_children.node(MAX_WORKSPACE_MEMBERS=3)
    space = made(node, user_id="ann")["id"]
    join = lambda user: node.post(f"/workspaces/{space}/join", {"user_id": user})
    assert [join(user).status for user in ("bob", "cat", "bob", "ann")] == [204] * 4
    assert_problem(join("dan"), 400, "too_many")
    assert node.post(f"/workspaces/{space}/leave", {"user_id": "bob"}).status == 204
    assert join("dan").status == 204
    with Fellow(node, "eve") as eve:
        # Who just comes is not counted by it.
        assert eve.enters(space)["user_count"] == 4


def test_workspaces_that_nobody_made_are_none_where_that_is_off(own_children, come, space):
    """A mistyped name is a workspace of its own, in which nobody ever comes."""
    node = own_children.node(SESSION_AUTOCREATE="false")
    ann = come(node, "ann")
    ann.refused("not_found", "join_workspace", workspace_id=space)
    assert ann.enters(made(node)["id"])["users"] == [there("ann")]
    ann.hears_nothing()
