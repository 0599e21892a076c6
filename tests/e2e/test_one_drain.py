"""One drain, seen from all sides: what happens when, and how much of it at a time."""

import json
import signal
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from support.crowd import Crowd, retry_in_ms
from support.deadline import eventually
from support.peer import Peer, door, unique
from support.people import hear_of, metric, said, shown, told
from support.raw import Wire, refused
from test_drain import BEAT, CLOSE, DELAY, GRACE, RATE, SETTINGS, Sampler, exit_of, node_id, start, ttl

CROWD = 300
# A busy machine, on top of what the settings say.
SLACK = 3

# Who would say goodbye while sockets are closed; one does.
LATE = [f"bye-too-{number}" for number in range(4)]

pytestmark = pytest.mark.alone


def says_goodbye(peer):
    """Whether it was the first to close."""
    peer.leave()
    return peer.socket.protocol.close_rcvd.code == 1000


@pytest.fixture(scope="module")
def drain(children):
    """A node with many sockets gets SIGTERM; what happened then is looked at by the tests below."""
    redis = children.redis()
    leaving, staying = start(children, redis, **SETTINGS)
    session = unique("drain")
    story = SimpleNamespace(redis=redis, leaving=leaving, staying=staying, session=session)
    story.name = node_id(leaving)
    with ExitStack() as stack:
        join = lambda node, user: stack.enter_context(Peer(node, session, user))
        story.watcher = watcher = join(staying, "watcher")
        people = {user: join(leaving, user) for user in ("back", "gone", "bye", *LATE)}
        for user in people:
            hear_of(watcher, "user_joined", user)
        story.crowd = crowd = Crowd(leaving, CROWD)
        stack.callback(crowd.close)
        body = json.dumps({"session_id": unique("match"), "users": ["ann", "bob"]}).encode()
        request = stack.enter_context(Wire(leaving))
        request.send(b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        request.send(b"Content-Length: %d\r\n\r\n" % len(body) + body[:10])
        story.sampler = Sampler(leaving)

        leaving.signal(signal.SIGTERM)
        story.began = time.monotonic()
        eventually(lambda: leaving.get("/readyz").status == 503, "it is not ready", within=1)
        story.unready = time.monotonic()
        story.probes = {path: leaving.get(path) for path in ("/readyz", "/lb", "/livez")}
        story.late = join(leaving, "late")
        people["bye"].leave()
        hear_of(watcher, "user_left", "bye")
        story.bye_told = time.monotonic()

        crowd.wait(1, DELAY + SLACK)
        # Whom the node closed first said no goodbye; it takes them in no order.
        story.bye_too = next(user for user in LATE if says_goodbye(people[user]))
        story.refusal = refused(leaving, door(session, "more"))
        story.browser = refused(leaving, door(session, "more"), Origin="http://example.org")
        hear_of(watcher, "user_left", story.bye_too, within=2)
        story.bye_too_told = time.monotonic()
        story.code = people["back"].close_code()
        story.back = join(staying, "back")
        crowd.wait(CROWD, CROWD / RATE + SLACK)
        request.send(body[10:])
        story.answer = request.head()
        story.codes = [people["gone"].close_code(), story.late.close_code()]
        story.exit, story.exited = exit_of(leaving, 15)
        eventually(lambda: len(staying.get("/status").json["nodes"]) == 1, "it is no node any more")
        story.uncounted = time.monotonic()
        hear_of(watcher, "user_left", "gone")
        story.gone_told_at = time.monotonic()
        for user in ("late", *LATE):
            hear_of(watcher, "user_left", user)
        watcher.before_pong()
        story.sampler.thread.join()
        yield story


def test_probes_turn_at_once_and_the_process_lives(drain):
    """Balancers send people to a node that is about to close them, or it is killed as dead."""
    assert drain.unready - drain.began < 1
    assert [drain.probes[path].status for path in ("/readyz", "/lb", "/livez")] == [503, 404, 200]


def test_until_balancers_have_noticed_newcomers_are_served(drain):
    """In the seconds before the balancer looks, people are turned away."""
    assert {user["user_id"] for user in drain.late.greeting["users"]} >= {"watcher", "late"}
    first = min(end.at for end in drain.crowd.ends.values())
    assert DELAY <= first - drain.began < DELAY + SLACK


def test_then_newcomers_are_told_to_come_elsewhere(drain):
    """A newcomer is let in and closed at once, or not told that coming again helps."""
    assert drain.refusal.status == 503
    assert int(drain.refusal.headers["retry-after"]) >= 1
    assert (drain.browser.status, drain.browser.close) == (101, 1012)


def test_every_socket_is_asked_to_come_back(drain):
    """Some are cut off without a close frame, or all of them come back in the same instant."""
    ends = list(drain.crowd.ends.values())
    assert {end.code for end in ends} == {1012}
    assert [drain.code, *drain.codes] == [1012] * 3
    window_ms = (CROWD + 10) / RATE * 1000
    waits = sorted(retry_in_ms(end.reason) for end in ends)
    assert 0 <= waits[0] and waits[-1] <= window_ms
    # Evenly: the median of three hundred is off by more than a fifth once in a million times.
    assert 0.3 * window_ms < waits[len(waits) // 2] < 0.7 * window_ms


def test_sockets_are_closed_at_the_pace_that_was_set(drain):
    """All are closed at once, and the other nodes are run over."""
    times = sorted(end.at for end in drain.crowd.ends.values())
    took = times[-1] - times[0]
    print(f"{CROWD} sockets closed in {took:.2f} s")
    assert 0.8 * CROWD / RATE < took < CROWD / RATE + SLACK
    for at in times:
        within = sum(at <= other < at + 0.5 for other in times)
        assert within < CROWD / 2, "most were closed at once"


def test_the_process_ends_well_and_in_time(drain):
    """A deploy waits for the kill, or reports a crash."""
    print(f"exit after {drain.exited - drain.began:.2f} s")
    assert drain.exit == 0
    assert drain.exited - drain.began < DELAY + CROWD / RATE + CLOSE + SLACK
    assert "panicked" not in drain.leaving.log()


def test_a_request_under_way_is_answered(drain):
    """Somebody's POST is cut off because the node leaves."""
    assert drain.answer.status == 201


def test_who_came_back_never_left_and_who_did_not_is_told_once(drain):
    """Every deploy makes everybody leave and join, or leaves ghosts."""
    print(f"told {drain.gone_told_at - drain.exited:.2f} s after the exit")
    assert told(drain.watcher, "back") == ["user_joined"]
    for user in ("gone", "late", "bye", *LATE):
        assert told(drain.watcher, user) == ["user_joined", "user_left"], user
    assert GRACE - 1 < drain.gone_told_at - drain.exited < GRACE + BEAT + SLACK
    assert shown(drain.watcher) == {"watcher", "back"}
    assert told(drain.back, "gone") in ([], ["user_left"])


def test_who_says_goodbye_is_told_at_once(drain):
    """Whoever closes the page while the node leaves is shown until it is reaped."""
    assert drain.bye_told < drain.exited and drain.bye_too_told < drain.exited
    assert drain.bye_told - drain.began < DELAY


def test_figures_tell_how_it_goes(drain):
    """The dashboard of a deploy stands still."""
    figures = [f for f in drain.sampler.figures if f.at > drain.unready]
    assert {f.draining for f in figures} == {1}
    closing = [f for f in figures if f.at > min(end.at for end in drain.crowd.ends.values())]
    remaining = [f.remaining for f in closing]
    assert remaining == sorted(remaining, reverse=True)
    assert len({int(number) for number in remaining}) > 10, "it falls step by step"
    assert remaining[0] > CROWD / 2 and remaining[-1] <= CROWD / 10
    closed = [f.closed for f in closing]
    assert closed == sorted(closed)
    assert closed[-1] == CROWD + 3 + len(LATE) - 1 and closing[-1].forced == 0


def test_a_node_that_left_is_counted_no_more(drain):
    """For a while everybody who changed the node is counted twice."""
    print(f"counted no more {drain.uncounted - drain.exited:.2f} s after the exit")
    # Before it is dead for the others.
    assert drain.uncounted - drain.exited < GRACE - BEAT / 2
    totals = lambda: drain.staying.get("/status").json["connections"]
    eventually(lambda: totals() == 2, "the watcher and who came back", within=GRACE)
    (node,) = drain.staying.get("/status").json["nodes"]
    assert node["name"] == "staying"
    assert metric(drain.staying, "collab_cluster_nodes") == 1


def test_rooms_nobody_came_back_to_begin_to_expire(drain):
    """Each deploy leaves sessions behind that are kept for ever."""
    eventually(lambda: all(ttl(drain.redis, name) > 0 for name in drain.crowd.sessions), "all expire")
    assert ttl(drain.redis, drain.session) == -1
    assert said(drain.staying, "a dead node was reaped") == 1
