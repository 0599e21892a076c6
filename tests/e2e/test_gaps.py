"""What a node did not hear, and what a store forgot: found without anybody having to say something more."""

import pytest
import redis as library
from support.deadline import eventually
from support.peer import Peer, unique
from test_resume import back, position


@pytest.fixture(scope="module")
def redis(children):
    return children.redis()


@pytest.fixture(scope="module")
def nodes(children, redis):
    """Quiet rooms are compared every second."""
    return [children.node(name, REDIS_URL=redis.url, LEAVE_GRACE=30, COMPARE_IDLE=1) for name in ("north", "east")]


@pytest.fixture
def pair(nodes, session, join):
    """Ann and Bob on two nodes, in a session where something was said."""
    ann, bob = join(nodes[0], session, "ann"), join(nodes[1], session, "bob")
    ann.expect("user_joined")
    assert bob.ask("chat", message="heard")["type"] == "ack"
    assert ann.expect("chat_message")["text"] == "heard"
    return ann, bob


def state(session):
    return f"session:{session}"


def log(session):
    return f"{{session:{session}}}:log"


def raw(redis):
    """The same server, with answers as bytes."""
    return library.Redis(port=redis.port)


def test_an_event_lost_in_a_quiet_room_is_told_all_the_same(redis, session, pair):
    """The last event before a pause is lost on its way, and nothing that follows shows the hole."""
    ann, bob = pair
    server = raw(redis)
    (_, last) = server.xrange(log(session))[-1]
    seq = int(server.hget(state(session), "seq"))
    assert seq < 9, "one digit, so that the length stays"
    # A commit whose word reaches nobody: state and log have it.
    unheard = last[b"e"].replace(b"\xa3seq\xa1%d" % seq, b"\xa3seq\xa1%d" % (seq + 1))
    assert unheard != last[b"e"]
    with server.pipeline(transaction=True) as commit:
        commit.hset(state(session), "seq", seq + 1)
        commit.xadd(log(session), {"e": unheard}, id=f"{seq + 1}-0")
        commit.execute()
    for peer in pair:
        peer.until(lambda frame: frame["type"] == "chat_message" and frame["seq"] == seq + 1)
        assert peer.before_pong() == []


def forget(redis, session, events):
    """What a failover does to writes that the new master never got."""
    server = raw(redis)
    ids = [entry for entry, _ in server.xrange(log(session))]
    ids, last = ids[-events:], ids[-events - 1]
    with server.pipeline(transaction=True) as failover:
        failover.hincrby(state(session), "seq", -events)
        failover.xdel(log(session), *ids)
        failover.execute_command("XSETID", log(session), last)
        failover.execute()


def epoch(text):
    return text.split("-")[0]


def test_a_quiet_room_whose_writes_were_lost_begins_anew(redis, nodes, session, pair):
    """People go on from a place that the store does not know, apart for ever."""
    ann, bob = pair
    before = position(ann)
    forget(redis, session, 1)
    for peer in pair:
        anew = peer.until(lambda frame: frame["type"] == "session_state")[-1]
        assert epoch(anew["position"]) != epoch(before)
    assert epoch(position(ann)) == epoch(position(bob))
    # The old place is none to come back to.
    again, missed = back(nodes[0], session, "ann", before)
    assert [frame["type"] for frame in missed] == ["session_state"]
    again.leave()


def test_a_seq_given_twice_begins_anew(redis, nodes, session, pair):
    """Two events have one place: half of the people know the one, half the other."""
    ann, bob = pair
    before = position(ann)
    forget(redis, session, 2)
    assert bob.ask("chat", message="after the failover")["type"] == "ack"
    for peer in pair:
        anew = peer.until(lambda frame: frame["type"] == "session_state")[-1]
        assert epoch(anew["position"]) != epoch(before)
        assert anew["chat"][-1]["text"] == "after the failover"
    bob.send("chat", message="together again")
    for peer in pair:
        peer.until(lambda frame: frame.get("text") == "together again")


def test_an_event_of_an_order_that_is_no_more_disturbs_nobody(redis, session, pair):
    """An event overtaken by the new order makes everyone start afresh once more."""
    ann, bob = pair
    (_, last) = raw(redis).xrange(log(session))[-1]
    before = position(ann)
    forget(redis, session, 1)
    for peer in pair:
        anew = peer.until(lambda frame: frame["type"] == "session_state")[-1]
        assert epoch(anew["position"]) != epoch(before)
    assert raw(redis).execute_command("SPUBLISH", f"{{{state(session)}}}:events", last[b"e"]) == 2
    # What follows in the same channel has been heard after it.
    bob.send("chat", message="behind it")
    for peer in pair:
        heard = peer.until(lambda frame: frame.get("text") == "behind it")
        assert [frame["type"] for frame in heard] == ["chat_message"]


def test_many_quiet_rooms_are_looked_at_and_left_alone(redis, nodes):
    """A look at a room in which nothing happened disturbs its people."""
    peers = [Peer(nodes[0], unique("quiet"), f"user-{number}") for number in range(60)]
    looks = lambda: redis.client.info("commandstats")["cmdstat_hmget"]["calls"]
    begun = looks()
    eventually(lambda: looks() - begun > 2 * len(peers), "quiet rooms are looked at")
    for peer in peers:
        assert peer.before_pong() == []
        peer.leave()
