"""Runs of agents that are cut off: in time, or lost, exactly once, whoever dies and whatever is repeated meanwhile."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import workspace as say
from support.deadline import eventually
from support.peer import unique
from support.people import metric
from support.shapes import NUMBER
from support.workspace import SECONDS, Fellow, durable, lose_runs, lost, progressed, room, state

# Short enough to wait for. Between two words to the others that runs go on lies a third of it.
LOST_AFTER = 1.5
# Nobody is lost before a node has been up for a lease; which is long enough for a machine that builds beside the tests.
SOON = {"LEASE": 5, "BEAT_INTERVAL": 0.5, "LEAVE_GRACE": 1, "AGENT_LOST_AFTER": LOST_AFTER}
# Of nodes that die, or lose their Redis.
QUICK = SOON | {"LEASE": 3, "REAP_PAUSE": 2, "COMMAND_TIMEOUT": 1}


@pytest.fixture(scope="module")
def redis(children):
    return children.redis(durable=True)


@pytest.fixture(scope="module")
def nodes(children, redis):
    return [children.node(name, REDIS_URL=redis.url, **SOON) for name in ("north", "south")]


@pytest.fixture(scope="module")
def alone(children):
    return children.node("alone", **SOON | {"LEASE": 2})


@pytest.fixture
def agent():
    return unique("agent")


def test_a_run_whose_socket_is_gone_is_lost(ends, come, agent):
    """A spinner turns for ever in front of an agent that crashed."""
    here, elsewhere = ends
    space = unique("workspace")
    worker, ann, bob = Fellow(here, agent), come(elsewhere, "ann"), come(elsewhere, "bob")
    ann.listens(agent)
    bob.enters(space)
    before = metric(here, 'collab_agent_runs_ended_total{status="lost"}')
    worker.starts(agent, workspace_id=space)
    worker.reports(agent, 30)
    began = time.monotonic()
    worker.drop()
    assert ann.over(agent)[-1] == lost(agent)
    assert time.monotonic() - began > LOST_AFTER - 0.1
    assert bob.over(agent)[-1] == lost(agent) | {"room": f"workspace:{space}"}
    assert ann.state_of(agent) == state(agent, "failed", 30, runs=1, failures=1, mean=SECONDS)
    ended = sum(metric(node, 'collab_agent_runs_ended_total{status="lost"}') for node in {here, elsewhere})
    assert ended >= before + 1
    # It may come back and begin anew, and not go on.
    worker = come(elsewhere, agent)
    worker.refused("not_found", "agent_execution_complete", agent_id=agent, status="completed")
    worker.starts(agent)
    worker.completes(agent)
    bob.hears_nothing()


def test_a_run_whose_node_is_gone_is_lost(own_children, come, agent):
    """The same when all that knew of it is gone; or the survivors tell it more than once."""
    redis = own_children.redis()
    north, south, east = (own_children.node(name, REDIS_URL=redis.url, **QUICK) for name in ("north", "south", "east"))
    ann, bob = come(north, "ann"), come(east, "bob")
    space, back = unique("workspace"), unique("agent")
    for one in (ann, bob):
        one.enters(space)
        one.listens(back)
    ann.hear_of("user_joined", "bob")
    dying = [come(south, name) for name in (agent, back)]
    dying[0].starts(agent, workspace_id=space)
    dying[1].starts(back)
    south.signal(signal.SIGKILL)
    # In time, at another node.
    again = come(east, back)
    again.reports(back, 70)
    for one in (ann, bob):
        assert one.over(agent)[-1] == lost(agent) | {"room": f"workspace:{space}"}
    lose_runs(north)
    again.completes(back, result="done")
    for one in (ann, bob):
        assert one.over(back)[-1] == say.completed(room(back), back, result="done")
        ends_told = [f["data"]["agent_id"] for f in one.history if f["type"] == "agent_execution_complete"]
        assert ends_told == [agent, back]
        one.hears_nothing()


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_who_comes_back_in_time_goes_on(nodes, come, agent, where):
    """An agent that lost its connection for a second loses its work."""
    here, elsewhere = nodes
    worker, ann = Fellow(here, agent), come(elsewhere, "ann")
    ann.listens(agent)
    worker.starts(agent)
    worker.drop()
    back = come(here if where == "here" else elsewhere, agent)
    back.reports(agent, 50)
    ann.until(lambda frame: frame == progressed(agent, 50))
    lose_runs(here)
    # It said nothing meanwhile; its socket is there.
    ann.hears_nothing()
    back.completes(agent)
    assert ann.over(agent) == [say.completed(room(agent), agent)]


def test_a_silent_run_with_a_socket_goes_on_whatever_else_is_tried(nodes, come, agent):
    """A start that was refused, a repeat, or a former socket that is seen to be gone only now, ends a run."""
    here, elsewhere = nodes
    former, worker, ann = come(here, agent), come(elsewhere, agent), come(here, "ann")
    ann.listens(agent)
    former.starts(agent, "one", "s 1")
    worker.reports(agent, 10)
    worker.before_pong()
    worker.refused("conflict", "agent_execution_start", agent_id=agent, task="two", user_id="ann")
    assert worker.starts(agent, "one", "s 1") == NUMBER
    former.drop()
    lose_runs(elsewhere, times=3)
    assert ann.before_pong() == [say.started(room(agent), agent, "one"), progressed(agent, 10)]
    # And yet it is lost with its own socket.
    worker.drop()
    assert ann.over(agent) == [lost(agent)]


def test_runs_survive_a_redis_that_goes_and_comes(own_children, come, agent):
    """Redis is restarted and every run on the cluster has failed; or what was answered is not there."""
    redis = own_children.redis(durable=True)
    north, south = (own_children.node(name, REDIS_URL=redis.url, **QUICK) for name in ("north", "south"))
    idle, ann = unique("agent"), come(south, "ann")
    worker, silent = come(north, agent), come(south, idle)
    at = ann.listens(agent)["position"]
    ann.listens(idle)
    silent.starts(idle)
    ann.hears(say.started(room(idle), idle))
    going, ended, refusals = threading.Event(), [], []

    def work():
        """Run after run; what is refused is said again under the same id."""
        count = 0
        while not going.is_set():
            for type, more in (("start", {"task": str(count), "user_id": "ann"}), ("complete", {"status": "completed", "result": count})):
                # What was begun is ended, whatever comes in between.
                while (answer := worker.ask(f"agent_execution_{type}", f"{type} {count}", agent_id=agent, **more))["type"] == "error":
                    assert answer["data"]["code"] == "backplane_unavailable", answer
                    refusals.append(count)
                    time.sleep(0.05)
            ended.append(count)
            count += 1

    with ThreadPoolExecutor() as pool:
        working = pool.submit(work)
        try:
            for away in (LOST_AFTER + QUICK["LEASE"], 0):
                so_far, before = len(ended), len(refusals)
                eventually(lambda so_far=so_far: len(ended) > so_far + 10, "it is under way")
                redis.kill()
                eventually(lambda before=before: len(refusals) > before, "the agent is told")
                # The first time for longer than it takes to be lost, and than a lease.
                until = time.monotonic() + away
                eventually(lambda until=until: time.monotonic() > until, "runs would be lost")
                redis.start()
            so_far = len(ended)
            eventually(lambda: len(ended) > so_far + 10, "it goes on")
        finally:
            going.set()
        working.result()
    lose_runs(north)
    silent.completes(idle, result="done")
    assert ann.over(idle)[-1] == say.completed(room(idle), idle, result="done")
    back = come(north, "bob")
    back.listens(agent, since=at)
    for one in (ann, back):
        runs = [(f["type"], f["data"].get("task"), f["data"].get("result")) for f in durable(one.history, room(agent))]
        start = lambda n: ("agent_execution_start", str(n), None)
        end = lambda n: ("agent_execution_complete", None, n)
        assert runs == [event for n in range(len(ended)) for event in (start(n), end(n))], one.user
    assert ann.state_of(agent)["runs"] == len(ended)
    assert ann.state_of(agent)["failures"] == 0
