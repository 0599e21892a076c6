"""Agents at work: what their watchers are told, on whichever node, and what becomes of a run that nobody tells of any more."""

import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from support import workspace as say
from support.deadline import eventually
from support.http import assert_problem
from support.peer import unique
from support.shapes import NUMBER, POSITION, STRING, TIME
from support.tokens import SECRET, bearer, token
from support.workspace import AGENTS, RUNNING, SECONDS, Fellow, durable, lost, progressed, resumed, room, state

# Short enough to wait for. Between two words to the others that runs go on lies a third of it.
LOST_AFTER = 1.5
SUBSCRIPTIONS = 5
# Nobody is lost before a node has been up for a lease; which is long enough for a machine that builds beside the tests.
SOON = {"LEASE": 5, "BEAT_INTERVAL": 0.5, "LEAVE_GRACE": 1, "AGENT_LOST_AFTER": LOST_AFTER, "AGENT_SILENCE": 2}
# Between two words of an agent's progress to one socket, in seconds.
PACE = 0.1


@pytest.fixture(scope="module")
def redis(children):
    return children.redis(durable=True)


@pytest.fixture(scope="module")
def nodes(children, redis):
    return [children.node(name, REDIS_URL=redis.url, **SOON) for name in ("north", "south")]


@pytest.fixture(scope="module")
def alone(children):
    return children.node("alone", MAX_AGENT_SUBSCRIPTIONS=SUBSCRIPTIONS, LOG_LENGTH=10, **SOON | {"LEASE": 2})


@pytest.fixture
def agent():
    return unique("agent")


# What watchers are told


def test_a_run_is_told_from_start_to_end(ends, come, agent):
    """Watchers miss a step, see the end before the last step, or the wrong agent's."""
    here, elsewhere = ends
    worker, ann = come(here, agent), come(elsewhere, "ann")
    answer = ann.ask("subscribe_agent", agent_id=agent)
    assert answer == {"type": "subscribed", "data": {"agent_id": agent, "agent": None, "position": POSITION, "id": STRING}}
    place = worker.starts(agent, "Sort\nthe tests 😀")
    ann.hears(say.started(room(agent), agent, "Sort\nthe tests 😀", "ann", place))
    worker.reports(agent, 12.5, current_step="Reading", metrics={"tokens": 10**12, "of": {"x": [None]}})
    ann.hears(progressed(agent, 12.5, "Reading", metrics={"tokens": 10**12, "of": {"x": [None]}}))
    worker.send("agent_execution_update", agent_id=agent)
    ann.hears(progressed(agent, None))
    end = worker.completes(agent, result={"found": [1, "x", None]}, execution_time=1.001)
    assert end == place + 1
    ann.hears(say.completed(room(agent), agent, "completed", {"found": [1, "x", None]}, 1.001, end))
    runs = [frame["data"]["run_id"] for frame in durable(ann.history)]
    assert runs[0] == runs[1]
    # The next run is another.
    worker.starts(agent)
    worker.completes(agent, "cancelled")
    assert ann.over(agent)[-1] == say.completed(room(agent), agent, "cancelled")
    assert durable(ann.history)[-1]["data"]["run_id"] != runs[0]
    ann.hears_nothing()


def test_who_comes_late_is_told_how_far_it_is(ends, come, agent):
    """A page that is opened in the middle of a run shows an agent that does nothing."""
    here, elsewhere = ends
    worker, ann = come(here, agent), come(elsewhere, "ann")
    assert ann.state_of(agent) is None
    worker.starts(agent, "Sort", workspace_id=None)
    assert ann.state_of(agent) == state(agent, "running", 0, task="Sort", **RUNNING)
    worker.reports(agent, 60, current_step="Reading", metrics={"tokens": 5})
    worker.before_pong()
    sixty = state(agent, "running", 60, "Reading", task="Sort", metrics={"tokens": 5}, **RUNNING)
    assert ann.state_of(agent) == sixty
    # What a word does not say stays as it was.
    worker.send("agent_execution_update", agent_id=agent, status="thinking")
    worker.before_pong()
    assert ann.state_of(agent) == sixty | {"status": "thinking"}
    worker.completes(agent, "failed", execution_time=4)
    over = {"step": "Reading", "task": "Sort", "metrics": {"tokens": 5}}
    assert ann.state_of(agent) == state(agent, "failed", 60, runs=1, failures=1, mean=4.0, **over)
    worker.starts(agent, "Sort again")
    fresh = state(agent, "running", 0, task="Sort again", runs=1, failures=1, mean=4.0, **RUNNING)
    assert ann.state_of(agent) == fresh, "nothing of the run before"
    worker.completes(agent, execution_time=1)
    over = state(agent, "completed", 100, task="Sort again", runs=2, failures=1, mean=2.5)
    assert ann.state_of(agent) == over


def test_who_is_back_hears_what_was_missed(ends, come, agent):
    """Who was in a tunnel when a run ended waits for its end for ever."""
    here, elsewhere = ends
    worker, ann = come(here, agent), Fellow(elsewhere, "ann")
    at = ann.listens(agent)["position"]
    ann.drop()
    places = [worker.starts(agent), worker.completes(agent, result="one"), worker.starts(agent)]
    worker.reports(agent, 40)
    worker.before_pong()
    back = come(here, "ann")
    told = back.listens(agent, since=at)
    assert back.history[1:-1] == [
        say.started(room(agent), agent, seq=places[0]),
        say.completed(room(agent), agent, result="one", seq=places[1]),
        say.started(room(agent), agent, seq=places[2]),
    ]
    assert told["resumed"] is True
    assert told["agent"] == state(agent, "running", 40, runs=1, mean=SECONDS, **RUNNING)
    assert back.recv() == resumed(told["position"], agent_id=agent)
    worker.completes(agent)
    assert back.over(agent) == [say.completed(room(agent), agent)]
    at = back.history[-1]["position"]
    for since, is_there in ((at, True), ("ffffffff-1", False)):
        assert back.ask("unsubscribe_agent", agent_id=agent)["type"] == "unsubscribed"
        before = len(back.history)
        assert back.listens(agent, since=since)["resumed"] is is_there
        assert len(back.history) == before + 1, "nothing is told twice"
        back.before_pong()


def test_a_log_that_does_not_reach_back_is_said(alone, come, agent):
    """A hole in what is told is not noticed by anybody."""
    worker, ann = come(alone, agent), come(alone, "ann")
    at = ann.listens(agent)["position"]
    assert ann.ask("unsubscribe_agent", agent_id=agent)["type"] == "unsubscribed"
    for _ in range(10):
        worker.starts(agent)
        worker.completes(agent)
    told = ann.listens(agent, since=at)
    assert (told["resumed"], told["agent"]["runs"]) == (False, 10)
    assert durable(ann.history) == []


def test_who_listens_no_more_hears_no_more(ends, come, agent):
    """A page that was left goes on being told of what nobody looks at."""
    here, elsewhere = ends
    worker, ann, bob = come(here, agent), come(elsewhere, "ann"), come(elsewhere, "bob")
    for one in (ann, bob):
        one.listens(agent)
    for _ in range(2):
        answer = ann.ask("unsubscribe_agent", agent_id=agent)
        assert answer == {"type": "unsubscribed", "data": {"agent_id": agent, "id": STRING, "timestamp": TIME}}
    worker.starts(agent)
    worker.reports(agent, 1)
    worker.completes(agent)
    bob.over(agent)
    ann.hears_nothing()


def test_two_workspaces_hear_each_its_own(ends, come, agent):
    """One team sees what another's agent does; or who sees it in two ways is told twice."""
    here, elsewhere = ends
    worker, spaces = come(here, agent), [unique("workspace") for _ in range(2)]
    people = [come(node, f"in-{n}") for n, node in enumerate(ends)]
    both = come(elsewhere, "both")
    for one, space in zip(people, spaces, strict=True):
        one.enters(space)
    both.listens(agent)
    both.enters(spaces[0])
    people[0].hear_of("user_joined", "both")
    other = unique("agent")
    for n, space in enumerate(spaces):
        worker.starts(agent, "a task", workspace_id=space)
        worker.reports(agent, 50)
        worker.completes(agent, result=n)
        in_space = f"workspace:{space}"
        people[n].hears(
            say.started(in_space, agent, workspace_id=space), progressed(agent, 50), say.completed(in_space, agent, result=n)
        )
        both.hears(
            say.started(room(agent), agent, workspace_id=space), progressed(agent, 50), say.completed(room(agent), agent, result=n)
        )
    # For none: nobody hears it who does not listen.
    come(here, other).starts(other)
    worker.starts(agent)
    worker.completes(agent)
    assert both.over(agent)[-1]["room"] == room(agent)
    for one in (*people, both):
        one.hears_nothing()
    # One after the other, in a workspace's own order.
    places = [frame["seq"] for frame in durable(people[0].history, f"workspace:{spaces[0]}")]
    assert places == sorted(set(places))


def test_a_run_for_a_workspace_that_is_none_is_refused(ends, come, agent):
    """An agent works for a team that there is not, and nobody ever sees it."""
    worker = come(ends[0], agent)
    worker.refused(
        "not_found", "agent_execution_start", "workspace_id", agent_id=agent, task="t", user_id="ann", workspace_id=unique("w")
    )
    worker.refused("not_found", "agent_execution_complete", agent_id=agent, status="completed")
    worker.starts(agent)


# One run at a time


def test_a_run_is_begun_once_and_ended_once(ends, come, agent):
    """Two runs of one agent are mixed up; or words about none are told."""
    here, elsewhere = ends
    worker, other, ann = come(here, agent), come(elsewhere, agent), come(elsewhere, "ann")
    ann.listens(agent)
    update, complete = {"agent_id": agent, "progress": 1}, {"agent_id": agent, "status": "completed"}
    for one in (worker, other):
        one.refused("not_found", "agent_execution_update", **update)
        one.refused("not_found", "agent_execution_complete", **complete)
    worker.starts(agent)
    for one in (worker, other):
        one.refused("conflict", "agent_execution_start", agent_id=agent, task="another", user_id="bob")
    # Whichever socket goes on with it.
    other.reports(agent, 50)
    other.before_pong()
    worker.completes(agent)
    for one in (worker, other):
        one.refused("not_found", "agent_execution_complete", **complete)
        one.refused("not_found", "agent_execution_update", **update)
    ann.hears(say.started(room(agent), agent), progressed(agent, 50), say.completed(room(agent), agent))
    ann.hears_nothing()


def test_of_many_who_start_at_once_one_does(nodes, come, agent):
    """The same start on two nodes begins two runs."""
    workers = [come(nodes[n % 2], agent) for n in range(10)]
    start = lambda one: one.ask("agent_execution_start", agent_id=agent, task="t", user_id="ann")
    with ThreadPoolExecutor(10) as pool:
        for _ in range(5):
            answers = list(pool.map(start, workers))
            codes = [answer["data"].get("code", "ack") for answer in answers]
            assert sorted(codes) == ["ack"] + ["conflict"] * 9
            workers[codes.index("ack") - 1].completes(agent)


def test_a_repeat_changes_nothing_and_is_answered_alike(ends, come, agent):
    """An agent that was not answered, and says it again, begins or ends a run that it did not mean."""
    here, elsewhere = ends
    space = unique("workspace")
    worker, other, ann, bob = come(here, agent), come(elsewhere, agent), come(elsewhere, "ann"), come(here, "bob")
    ann.listens(agent)
    bob.enters(space)
    begun = worker.starts(agent, "one", "s 1", workspace_id=space)
    for one in (worker, other):
        assert one.starts(agent, "one", "s 1", workspace_id=space) == begun
    ended = worker.completes(agent, "completed", "c 1")
    for one in (worker, other):
        assert one.completes(agent, "completed", "c 1") == ended
        assert one.starts(agent, "one", "s 1", workspace_id=space) == begun, "that one was, and is over"
    second = worker.starts(agent, "two", "s 2", workspace_id=space)
    for one in (worker, other):
        # Of the run before: this one goes on.
        assert one.completes(agent, "completed", "c 1") == ended
        assert one.starts(agent, "one", "s 1", workspace_id=space) == begun
    assert ann.state_of(agent)["status"] == "running"
    ann.listens(agent)
    worker.reports(agent, 50)
    assert worker.completes(agent, "failed", "c 2") == second + 1
    told = [("start", "one"), ("complete", "completed"), ("start", "two"), ("update", 50), ("complete", "failed")]
    bob.over(agent)
    bob.over(agent)
    words = lambda frame: frame["data"].get("task") or frame["data"].get("progress") or frame["data"].get("status")
    heard = [(f["type"].removeprefix("agent_execution_"), words(f)) for f in bob.history if f["type"].startswith("agent_")]
    assert heard == told
    bob.hears_nothing()
    assert [frame["type"] for frame in durable(ann.history)].count("agent_execution_complete") == 1, "the second it missed"
    assert ann.over(agent)[-1]["data"]["status"] == "failed"


# How often progress is told


def test_progress_is_told_at_a_pace_and_the_last_word_before_the_end(ends, come, agent):
    """A busy agent drowns its watchers; or they see a run end at a step before its last."""
    here, elsewhere = ends
    space = unique("workspace")
    worker, ann, bob = come(here, agent), come(elsewhere, "ann"), come(elsewhere, "bob")
    ann.listens(agent)
    bob.enters(space)
    worker.starts(agent, workspace_id=space)
    began = time.monotonic()
    count = 300
    for n in range(1, count + 1):
        worker.reports(agent, n * 100 / count)
        if n % 20 == 0:
            # As fast as they are taken.
            worker.before_pong()
    worker.before_pong()
    took = time.monotonic() - began
    worker.completes(agent)
    for one in (ann, bob):
        steps = [frame["data"]["progress"] for frame in one.over(agent) if frame["type"] == "agent_execution_update"]
        assert steps[-1] == 100, "the last word"
        assert steps == sorted(set(steps))
        assert len(steps) <= took / PACE + 3, (len(steps), took)
    # Without an end, too, the last word is told, a moment later.
    worker.starts(agent, workspace_id=space)
    for n in (1, 2, 3):
        worker.reports(agent, n)
    for one in (ann, bob):
        frames = one.until(lambda frame: frame["data"].get("progress") == 3)
        assert len(frames) <= 4
    worker.completes(agent)


# How many


def test_so_many_agents_and_no_more(alone, come):
    """A loop in a page makes a node listen to everything."""
    ann = come(alone, "ann")
    agents = [unique("agent") for _ in range(SUBSCRIPTIONS + 1)]
    for one in agents[:SUBSCRIPTIONS]:
        ann.listens(one)
    ann.refused("too_many", "subscribe_agent", agent_id=agents[-1])
    # Asking again takes no more, nor do workspaces.
    ann.listens(agents[0])
    ann.enters(unique("workspace"))
    assert ann.ask("unsubscribe_agent", agent_id=agents[1])["type"] == "unsubscribed"
    ann.listens(agents[-1])
    worker = come(alone, agents[-1])
    worker.starts(agents[-1])
    ann.hears(say.started(room(agents[-1]), agents[-1]))


def test_ten_thousand_are_asked_for_and_the_others_are_served(own_children, redis, come, agent):
    """One socket that wants everything keeps everybody else waiting."""
    asked, most = 10_000, 300
    north = own_children.node("flooded", REDIS_URL=redis.url, MAX_AGENT_SUBSCRIPTIONS=most)
    greedy, worker, ann = come(north, "greedy"), come(north, agent), come(north, "ann")
    ann.listens(agent)
    worker.starts(agent)
    front = unique("flood")
    answers = {"subscribed": 0, "error": 0}

    def ask():
        for n in range(asked):
            greedy.send("subscribe_agent", f"{front}-{n}", agent_id=f"{front}-{n}")

    def read():
        for _ in range(asked):
            answer = greedy.recv()
            answers[answer["type"]] += 1
            assert answer["type"] == "subscribed" or answer["data"]["code"] == "too_many", answer

    with ThreadPoolExecutor() as pool:
        both, slowest, first = [pool.submit(ask), pool.submit(read)], 0.0, time.monotonic()
        while wait(both, timeout=0.1).not_done:
            began = time.monotonic()
            ann.before_pong()
            worker.ask("agent_execution_start", agent_id=agent, task="t", user_id="u")
            slowest = max(slowest, time.monotonic() - began)
        for one in both:
            one.result()
    assert answers == {"subscribed": most, "error": asked - most}
    # Beside them, and not behind them.
    assert slowest < max(2, (time.monotonic() - first) / 4), slowest
    worker.completes(agent)
    assert ann.over(agent)[-1] == say.completed(room(agent), agent)


# Who may tell


@pytest.fixture(scope="module")
def guarded(children):
    """Two nodes on which tokens count."""
    redis = children.redis()
    settings = SOON | {"JWT_SECRET": SECRET, "HOST": "127.0.0.1"}
    return [children.node(name, REDIS_URL=redis.url, **settings) for name in ("guarded", "warded")]


def test_agents_speak_for_themselves(guarded, come, agent):
    """Anybody says what an agent did."""
    north, south = guarded
    ann = come(south, token=token("ann"))
    ann.listens(agent)
    start = {"agent_id": agent, "task": "t", "user_id": "ann"}
    update, complete = {"agent_id": agent, "progress": 5}, {"agent_id": agent, "status": "completed"}
    user, other = come(north, token=token(agent)), come(north, token=token(unique("agent"), role="agent"))
    nobody = come(south, token=token("ann"))
    own, service = come(north, token=token(agent, role="agent")), come(south, at=AGENTS, token=token("svc", role="service"))
    for one in (nobody, user, other):
        one.refused("forbidden", "agent_execution_start", **start)
    own.starts(agent)
    for one in (nobody, user, other):
        one.refused("forbidden", "agent_execution_update", **update)
        one.refused("forbidden", "agent_execution_complete", **complete)
    service.reports(agent, 5)
    service.completes(agent, result="by a service")
    ann.hears(say.started(room(agent), agent), progressed(agent, 5, status="running"), say.completed(room(agent), agent, result="by a service"))
    root = come(north, token=token("root", role="admin"))
    root.starts(agent)
    own.completes(agent)
    # Over REST the same.
    frame = {"type": "agent_execution_start", "data": start}
    post = lambda **who: north.post(f"/agents/{agent}/events", frame, headers=bearer(token(**who)))
    for who in ({"sub": "ann"}, {"sub": agent}, {"sub": "other", "role": "agent"}):
        assert_problem(post(**who), 403, "forbidden")
    assert post(sub=agent, role="agent").status == 202
    assert_problem(post(sub="svc", role="service"), 409, "conflict")


def test_an_agent_with_a_token_goes_on_without_a_word(guarded, come, agent):
    """It is back in time, has nothing to say for a while, and has failed."""
    north, south = guarded
    ann = come(south, token=token("ann"))
    ann.listens(agent)
    worker = Fellow(north, token=token(agent, role="agent"))
    worker.starts(agent)
    worker.drop()
    back = come(south, token=token(agent, role="agent"))
    # Longer than to be lost, by what the node itself does about another's run.
    probe = unique("probe")
    for _ in range(2):
        ann.listens(probe)
        gone = Fellow(north, token=token(probe, role="agent"))
        gone.starts(probe)
        gone.drop()
        ann.over(probe)
    back.completes(agent)
    assert ann.over(agent)[-1] == say.completed(room(agent), agent)


# Over REST


def test_a_user_follows_on_all_sockets(nodes, come, agent):
    """What was asked for once has to be asked for in every tab, or is heard for ever."""
    north, south = nodes
    user, other = unique("ann"), unique("bob")
    worker = come(north, agent)
    here, there, spaces = come(north, user), come(south, user, at=AGENTS), come(south, user, at=say.WORKSPACES)
    bob = come(north, other)
    follow = lambda node, what, who=user: node.post(f"/agents/{agent}/{what}", {"user_id": who}).status
    assert [follow(south, "subscribe"), follow(north, "subscribe")] == [204, 204]
    for one in (here, there):
        assert one.expect("subscribed")["data"] == {"agent_id": agent, "agent": None, "position": POSITION}
    worker.starts(agent)
    later = come(north, user)
    assert later.expect("subscribed")["data"]["agent"]["status"] == "running"
    for one in (here, there):
        one.hears(say.started(room(agent), agent))
    # Who asks beside that is told again, with what it missed if it says where it was.
    told = later.listens(agent, since=here.history[-1]["position"])
    assert told["resumed"] is True
    assert later.recv() == resumed(agent_id=agent)
    assert follow(north, "unsubscribe") == 204
    for one in (here, there, later):
        assert one.expect("unsubscribed")["data"] == {"agent_id": agent, "timestamp": TIME}
    assert follow(south, "unsubscribe") == 204
    worker.completes(agent)
    for one in (here, there, later, spaces, bob):
        one.hears_nothing()
    come(south, user).hears_nothing()


def test_whom_one_may_subscribe(guarded, agent):
    """Somebody fills another's screen."""
    north, _ = guarded
    subscribe = lambda user, **who: north.post(f"/agents/{agent}/subscribe", {"user_id": user}, headers=bearer(token(**who)))
    assert_problem(subscribe("bob", sub="ann"), 403, "forbidden")
    assert_problem(subscribe("bob", sub=agent, role="agent"), 403, "forbidden")
    assert subscribe("ann", sub="ann").status == 204
    assert subscribe("bob", sub="svc", role="service").status == 204


def test_a_user_follows_so_many(alone):
    """A loop over all agents makes every page slow."""
    user, agents = unique("ann"), [unique("agent") for _ in range(SUBSCRIPTIONS + 1)]
    post = lambda agent, what="subscribe": alone.post(f"/agents/{agent}/{what}", {"user_id": user})
    assert {post(one).status for one in agents[:-1]} == {204}
    assert post(agents[0]).status == 204
    assert_problem(post(agents[-1]), 400, "too_many")
    assert post(agents[0], "unsubscribe").status == 204
    assert post(agents[-1]).status == 204


def tell(node, agent, type, id=None, /, **data):
    """As an agent does that has no socket."""
    said = {"type": f"agent_execution_{type}", "data": {"agent_id": agent} | data} | ({"id": id} if id else {})
    return node.post(f"/agents/{agent}/events", said)


def test_an_agent_without_a_socket_is_heard(ends, come, agent):
    """A job that runs for a minute has to keep a connection; or what it said is forgotten."""
    here, elsewhere = ends
    ann = come(elsewhere, "ann")
    ann.listens(agent)
    assert_problem(tell(here, agent, "update", progress=1), 404, "not_found")
    begun = tell(here, agent, "start", "s 1", task="Sort", user_id="ann")
    assert (begun.status, begun.json) == (202, {"seq": NUMBER})
    assert tell(elsewhere, agent, "start", "s 1", task="Sort", user_id="ann").json == begun.json
    assert_problem(tell(elsewhere, agent, "start", task="Sort", user_id="ann"), 409, "conflict")
    told = tell(elsewhere, agent, "update", progress=50, current_step="Half")
    assert (told.status, told.json) == (202, {"seq": None})
    ended = tell(elsewhere, agent, "complete", "c 1", status="completed", result=[1])
    assert ended.json == {"seq": begun.json["seq"] + 1}
    assert tell(here, agent, "complete", "c 1", status="completed", result=[1]).json == ended.json
    assert_problem(tell(here, agent, "complete", status="completed"), 404, "not_found")
    ann.hears(
        say.started(room(agent), agent, "Sort"), progressed(agent, 50, "Half"), say.completed(room(agent), agent, result=[1])
    )
    # Silent for too long.
    tell(here, agent, "start", task="Sort", user_id="ann")
    assert ann.over(agent)[-1] == lost(agent)


def test_agents_are_listed_with_what_they_are_at(nodes, come):
    """A dashboard lacks an agent, shows one twice, or what was."""
    north, south = nodes
    front = unique("listed")
    names = [f"{front}-{n}" for n in range(5)]
    worker, user = come(north, "many"), unique("user")
    for name in names:
        worker.starts(name, f"Of {name}", user_id=user)
    worker.reports(names[1], 20)
    worker.before_pong()
    worker.completes(names[4], "cancelled", execution_time=2)
    seen, cursor = [], ""
    while cursor is not None:
        page = south.get(f"/agents/status?limit=2{cursor and '&cursor=' + cursor}").json
        seen += page["agents"]
        cursor = page["next_cursor"]
    ids = [one["agent_id"] for one in seen]
    assert ids == sorted(set(ids))
    listed = [one for one in seen if one["agent_id"] in names]
    of = lambda n, **more: {"task": f"Of {names[n]}", **more}
    run = RUNNING | {"user_id": user}
    assert listed == [
        *(state(names[n], "running", 20 if n == 1 else 0, **of(n), **run) for n in range(4)),
        state(names[4], "cancelled", 0, **of(4), runs=1, mean=2.0),
    ]
    mine = south.get(f"/agents/status?user_id={user}&status=running").json
    assert [one["agent_id"] for one in mine["agents"]] == names[:4]
    assert north.get(f"/agents/status?user_id={unique('nobody')}").json["agents"] == []


def test_runs_that_are_over_are_kept(alone, come, agent):
    """Nobody knows what an agent did last week."""
    worker = come(alone, agent)
    for n in range(3):
        worker.starts(agent, f"task {n}")
        worker.completes(agent, ["completed", "failed", "cancelled"][n], result={"n": n}, execution_time=n + 0.5)
    gone = Fellow(alone, agent)
    gone.starts(agent, "task 3")
    gone.drop()
    runs = lambda more="": alone.get(f"/agents/{agent}/runs{more}").json
    eventually(lambda: len(runs()["items"]) == 4, "all are written down")
    whole = [
        {
            "run_id": STRING,
            "agent_id": agent,
            "user_id": "ann",
            "workspace_id": None,
            "task": f"task {n}",
            "status": ["completed", "failed", "cancelled", "failed"][n],
            "result": {"n": n} if n < 3 else None,
            "reason": "lost" if n == 3 else None,
            "started_at": TIME,
            "execution_time": n + 0.5 if n < 3 else SECONDS,
        }
        for n in (3, 2, 1, 0)
    ]
    assert runs() == {"items": whole, "next_cursor": None}
    first = runs("?limit=3")
    assert first["items"] == whole[:3]
    assert runs(f"?limit=3&cursor={first['next_cursor']}") == {"items": whole[3:], "next_cursor": None}
