"""The IDE bridge is told what happens in workspaces, and of agents' runs: in order, at least once, whatever goes wrong."""

import itertools
from contextlib import ExitStack

import pytest

from support.bridge import SECRET, Bridge
from support.deadline import eventually
from support.http import request
from support.neighbour import Neighbour
from support.people import metric
from support.peer import unique
from support.workspace import Fellow

# An event is told a second after its first failure, two after the second.
ATTEMPTS = 3


@pytest.fixture(scope="module")
def bridge():
    bridge = Bridge()
    yield bridge
    bridge.stop()


@pytest.fixture(scope="module")
def redis(children):
    return children.redis()


def settings(redis, bridge, **more):
    return {
        "REDIS_URL": redis.url,
        "IDE_BRIDGE_URL": bridge.url,
        "IDE_BRIDGE_SECRET": SECRET,
        "NEIGHBOUR_PAUSE": 0.2,
    } | more


@pytest.fixture(scope="module")
def nodes(children, redis, bridge):
    return [children.node(name, **settings(redis, bridge)) for name in ("north", "south")]


@pytest.fixture
def fellow():
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(Fellow(*arguments, **options))


def made(node, name="Search"):
    """A workspace that somebody made, and its room."""
    answer = request(node.host, node.port, "POST", "/workspaces", {"name": name, "user_id": "ann"})
    assert answer.status == 201, answer
    return answer.json["id"], f"workspace:{answer.json['id']}"


def kinds(hooks):
    return [hook["data"].get("update_type", hook["type"]) for hook in hooks]


def test_what_happens_in_a_workspace_is_told_in_its_order(nodes, bridge, fellow):
    """From both nodes, agents' runs among it, down to its end."""
    north, south = nodes
    workspace, room = made(north)
    ann, bob = fellow(north, "ann"), fellow(south, "bob")
    agent = unique("agent")
    ann.enters(workspace), bob.enters(workspace)
    ann.tells(workspace, "opened", path="a.py")
    bob.tells(workspace, "saved", path="a.py")
    bob.starts(agent, workspace_id=workspace)
    bob.reports(agent, 50)
    bob.completes(agent, result="done")
    request(south.host, south.port, "PATCH", f"/workspaces/{workspace}", {"name": "Find"})
    request(north.host, north.port, "DELETE", f"/workspaces/{workspace}")
    told = bridge.has(room, 6)
    assert kinds(told) == [
        *("opened", "saved", "agent_execution_start", "agent_execution_complete"),
        *("workspace_changed", "workspace_deleted"),
    ]
    assert told[0]["data"]["path"] == "a.py" and told[0]["data"]["by"] == "ann"
    assert told[3]["data"]["agent_id"] == agent and told[3]["data"]["result"] == "done"
    seqs = [hook["seq"] for hook in told]
    assert seqs == sorted(seqs)
    # The run is told of once: in its workspace.
    assert bridge.of(f"agent:{agent}") == []


def test_an_agent_without_a_workspace_is_told_of_by_itself(nodes, bridge, fellow):
    agent = unique("agent")
    bob = fellow(nodes[0], "bob")
    bob.starts(agent)
    bob.completes(agent, "failed")
    told = bridge.has(f"agent:{agent}", 2)
    assert kinds(told) == ["agent_execution_start", "agent_execution_complete"]
    assert told[1]["data"]["status"] == "failed"


def test_a_bridge_that_is_away_misses_nothing(nodes, bridge, fellow):
    """Sixty seconds' worth of tries are shortened to a few; the order holds, and other workspaces wait as well."""
    places = [made(node) for node in nodes]
    people = [fellow(node, user) for node, user in zip(nodes, ("ann", "bob"), strict=True)]
    for person, (workspace, _) in zip(people, places, strict=True):
        person.enters(workspace)
    bridge.stop()
    for number in range(50):
        for person, (workspace, _) in zip(people, places, strict=True):
            person.tells(workspace, f"no-{number}")
    eventually(lambda: sum(metric(node, 'collab_hooks_total{result="failed"}') for node in nodes) > 0, "a try fails")
    bridge.start()
    for _, room in places:
        assert kinds(bridge.has(room, 50)) == [f"no-{number}" for number in range(50)]


def test_what_is_refused_is_tried_again_under_its_id_and_nothing_overtakes_it(nodes, bridge, fellow):
    workspace, room = made(nodes[0])
    ann = fellow(nodes[0], "ann")
    ann.enters(workspace)
    refusals = itertools.count()
    bridge.refuses = lambda hook: 500 if hook["room"] == room and next(refusals) < 2 else None
    for number in range(5):
        ann.tells(workspace, f"no-{number}")
    assert kinds(bridge.has(room, 5)) == [f"no-{number}" for number in range(5)]
    tries = [hook for hook in bridge.tries if hook["room"] == room]
    assert kinds(tries) == ["no-0"] * 3 + [f"no-{number}" for number in range(1, 5)]
    assert len({hook["id"] for hook in tries[:3]}) == 1


def test_what_is_never_taken_is_laid_aside_and_the_rest_goes_on(own_children, redis, bridge, fellow):
    node = own_children.node("patient", **settings(redis, bridge, KEY_PREFIX="dead-", IDE_BRIDGE_ATTEMPTS=ATTEMPTS))
    workspace, room = made(node)
    ann = fellow(node, "ann")
    ann.enters(workspace)
    bridge.refuses = lambda hook: 400 if hook["room"] == room and hook["data"]["update_type"] == "bad" else None
    for word in ("good", "bad", "better"):
        ann.tells(workspace, word)
    assert kinds(bridge.has(room, 2)) == ["good", "better"]
    tries = [hook for hook in bridge.tries if hook["room"] == room]
    assert kinds(tries) == ["good", *["bad"] * ATTEMPTS, "better"]
    assert metric(node, 'collab_hooks_total{result="dead"}') == 1
    assert redis.client.xlen(f"{{dead-{room}}}:hooks:dead") == 1
    assert "the IDE bridge does not take an event" in node.log()


def test_a_node_that_dies_leaves_its_hooks_to_the_others(own_children, bridge, fellow):
    """Killed while the bridge is away, with everything still to be told."""
    redis = own_children.redis()
    north, south = (own_children.node(name, **settings(redis, bridge)) for name in ("north", "south"))
    workspace, room = made(north)
    ann = fellow(north, "ann")
    ann.enters(workspace)
    bridge.stop()
    for number in range(20):
        ann.tells(workspace, f"no-{number}")
    north.kill()
    bridge.start()
    assert south.alive
    # The dead node's claim has to run out.
    assert kinds(bridge.has(room, 20, within=90)) == [f"no-{number}" for number in range(20)]


def test_redis_away_for_a_while_loses_no_hook(own_children, bridge, fellow):
    redis = own_children.redis(durable=True)
    node = own_children.node("node", **settings(redis, bridge))
    workspace, room = made(node)
    ann = fellow(node, "ann")
    ann.enters(workspace)
    bridge.refuses = lambda hook: 503 if hook["room"] == room else None
    for number in range(5):
        ann.tells(workspace, f"no-{number}")
    redis.stop()
    bridge.refuses = lambda hook: None
    redis.start()
    assert kinds(bridge.has(room, 5)) == [f"no-{number}" for number in range(5)]


def test_agents_that_nobody_knows_are_asked_after(own_children, redis, fellow):
    """Who is known there may be listened to before it ever ran, who is not may not; and without the service all may."""
    service = Neighbour()
    try:
        node = own_children.node("asking", REDIS_URL=redis.url, KEY_PREFIX="known-", AI_AGENTS_URL=service.url)
        service.known["/agents/a1"] = {"name": "Analyst", "description": "Looks at things"}
        ann = fellow(node, "ann")
        state = ann.listens("a1")["agent"]
        assert (state["name"], state["description"], state["status"]) == ("Analyst", "Looks at things", "idle")
        ann.refused("not_found", "subscribe_agent", agent_id="a2")
        answer = request(node.host, node.port, "POST", "/agents/a2/subscribe", {"user_id": "ann"})
        assert answer.status == 404, answer
        # One that ran is known here.
        ann.starts("a2")
        assert ann.listens("a2")["agent"]["status"] == "running"
        with service.away():
            assert ann.listens("a3")["agent"] is None
    finally:
        service.stop()
