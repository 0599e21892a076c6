"""Two thousand people of one session, who come and go at once: everyone is greeted, and counts agree."""

import time
from pathlib import Path

import pytest

from support.peer import Peer
from support.throng import JOINED, LEFT, Throng

SIZE, LISTED = 2_000, 1_000

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def redis(children):
    return children.redis()


@pytest.fixture(scope="module")
def nodes(children, redis):
    """A line in the log for each of them says nothing."""
    return [
        children.node(name, REDIS_URL=redis.url, LEAVE_GRACE=0.2, LOG_LEVEL="WARNING") for name in ("north", "east")
    ]


@pytest.fixture
def throng(session):
    throng = Throng(session)
    yield throng
    throng.close()


def snapshots(nodes):
    """How often the session was read as a whole."""
    name = 'collab_backplane_command_duration_seconds_count{op="snapshot"'
    lines = [line for node in nodes for line in node.metrics().splitlines() if line.startswith(name)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def cpu_seconds(child):
    fields = Path(f"/proc/{child.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def report(what, seconds, nodes, cpu, told):
    """For who measures; pytest shows it with -s."""
    spent = sum(map(cpu_seconds, nodes)) - cpu
    print(f"\n{what} in {seconds:.2f} s, {spent:.2f} s of CPU, {told} told, {spent / told * 1e6:.2f} us each")


def names(frames, kind):
    return [frame["user_id"] for frame in frames if frame["type"] == kind]


def test_two_thousand_come_and_half_of_them_go(nodes, session, throng):
    """Some are never let in, the count drifts, or the work grows with the square of their number."""
    users = [f"user-{number:04}" for number in range(SIZE)]
    goers, stayers = users[: SIZE // 2], users[SIZE // 2 :]
    # Some of both nodes.
    sample = stayers[:: SIZE // 20] + stayers[1 :: SIZE // 20]
    read, cpu = snapshots(nodes), sum(map(cpu_seconds, nodes))

    everyone = throng.come(nodes, users, keep=sample)
    took = throng.wait("everyone is greeted", lambda: all(one.greeted for one in everyone))
    assert all(one.open for one in everyone)
    read = snapshots(nodes) - read
    assert read < SIZE / 10, "one reading serves all who wait"

    # Who comes last is told how many there are, and who a thousand of them are.
    for number, node in enumerate(nodes):
        with Peer(node, session, late := f"late-{node.name}") as peer:
            assert peer.greeting["user_count"] == SIZE + 1
            listed = [user["user_id"] for user in peer.greeting["users"]]
            assert len(listed) == len(set(listed)) == LISTED
            assert set(listed) <= {*users, late}
        throng.wait("its leaving is told", lambda: all(one.counts[LEFT] == number + 1 for one in everyone))
    told = sum(one.counts[JOINED] for one in everyone)
    report(f"{SIZE} came, {read:.0f} readings,", took, nodes, cpu, told + SIZE)
    for one in kept(everyone):
        frames = one.frames()
        greeting, heard = frames[0], names(frames, "user_joined")
        assert greeting["type"] == "session_state"
        # Each is told of once: by being counted in the greeting, or by coming later.
        assert len(heard) == len(set(heard)) and one.user not in heard
        assert greeting["user_count"] + len(heard) == SIZE + len(nodes)

    cpu = sum(map(cpu_seconds, nodes))
    goes = {*goers}
    begun = time.monotonic()
    throng.go([one for one in everyone if one.user in goes])
    rest = [one for one in everyone if one.user not in goes]
    gone = len(nodes) + len(goers)
    throng.wait("those who stay are told", lambda: all(one.counts[LEFT] >= gone for one in rest))
    report("half went", time.monotonic() - begun, nodes, cpu, len(goers) * len(rest))
    for node in nodes:
        with Peer(node, session, "count") as peer:
            assert peer.greeting["user_count"] == len(rest) + 1
        # The one who counted has left when this is told.
        gone += 1
        throng.wait("that is told", lambda: all(one.counts[LEFT] >= gone for one in rest))
    for one in kept(rest):
        left = names(one.frames(), "user_left")
        assert sorted(left[len(nodes) : -len(nodes)]) == goers
    assert all(one.open and one.counts[LEFT] == gone for one in rest)


def kept(some):
    return [one for one in some if one.kept is not None]
