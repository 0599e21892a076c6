"""Who comes back and says where it was gets what it missed: in order, nothing twice, or is told to start anew."""

import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from support import http
from support.http import assert_problem
from support.peer import Peer, door, unique
from support.proxy import Proxy

LARGE_TEXT = 40_000


@pytest.fixture(scope="module")
def redis(children):
    return children.redis()


@pytest.fixture(scope="module")
def nodes(children, redis):
    """Three nodes of one cluster. A lost user has long to come back."""
    return [children.node(name, REDIS_URL=redis.url, LEAVE_GRACE=30) for name in ("north", "east", "south")]


@pytest.fixture(scope="module")
def alone(children):
    return children.node("alone", LEAVE_GRACE=30, LOG_LENGTH=10)


def position(peer):
    """Where the peer is now; what it was sent before that has been read."""
    marker = unique("where")
    peer.send("ping", id=marker)
    return peer.until(lambda frame: frame["type"] == "pong" and frame.get("id") == marker)[-1]["position"]


def back(node, session, user, since):
    """Comes back, and returns the socket and what it heard up to where it is live again."""
    peer = Peer(node, session, user, since=since, greeted=False)
    return peer, peer.until(lambda frame: frame["type"] in ("resumed", "session_state"))


def said(frames):
    return [frame["text"] for frame in frames if frame["type"] == "chat_message"]


def seqs(frames):
    return [frame["seq"] for frame in frames if "seq" in frame and frame["type"] != "ack"]


@pytest.mark.parametrize("kind", ["alone", "in a cluster"])
def test_who_is_back_hears_what_was_missed_and_nothing_else(alone, nodes, session, join, kind):
    """A gap in the chat after each tunnel, or everything once more."""
    here, there = (alone, alone) if kind == "alone" else nodes[:2]
    ann, bob = Peer(here, session, "ann"), join(there, session, "bob")
    ann.expect("user_joined")
    bob.ask("chat", message="heard before")
    ann.until(lambda frame: frame.get("text") == "heard before")
    since = position(ann)
    ann.drop()
    for line in ("one", "two"):
        assert bob.ask("chat", message=line)["type"] == "ack"
    assert bob.ask("language", language="go")["type"] == "ack"
    assert bob.ask("chat", message="three")["type"] == "ack"
    ann, missed = back(there, session, "ann", since)
    assert [frame["type"] for frame in missed] == [*["chat_message"] * 2, "language_change", "chat_message", "resumed"]
    assert said(missed) == ["one", "two", "three"]
    assert seqs(missed) == sorted(set(seqs(missed)))
    assert missed[-1]["position"] == position(ann)
    bob.send("chat", message="live again")
    assert ann.expect("chat_message")["text"] == "live again"
    # Nobody noticed that she was away.
    assert [frame["type"] for frame in bob.history if frame["type"].startswith("user_")] == []
    ann.leave()


def test_who_was_told_to_have_left_is_told_to_be_back(children, session, join):
    """A list of people that is kept by what is heard lacks oneself from then on."""
    node = children.node("hasty", LEAVE_GRACE=0.1)
    ann, bob = Peer(node, session, "ann"), join(node, session, "bob")
    ann.expect("user_joined")
    since = position(ann)
    ann.drop()
    bob.until(lambda frame: frame["type"] == "user_left")
    ann, missed = back(node, session, "ann", since)
    assert [frame["type"] for frame in missed] == ["user_left", "user_joined", "resumed"]
    assert [frame["user_id"] for frame in missed[:2]] == ["ann", "ann"]
    ann.leave()


def test_more_than_may_wait_is_not_replayed(children, session, join):
    """A thousand long lines for everyone who knocks fill the node's memory."""
    node = children.node("small", LEAVE_GRACE=30, OUTBOX_BYTES=65_536)
    ann, bob = Peer(node, session, "ann"), join(node, session, "bob")
    ann.expect("user_joined")
    since = position(ann)
    ann.drop()
    for number in range(12):
        assert bob.ask("chat", message=f"{number} ".ljust(8_000, "."))["type"] == "ack"
    ann, missed = back(node, session, "ann", since)
    assert [frame["type"] for frame in missed] == ["session_state"]
    ann.leave()


def test_texts_that_were_missed_are_one(nodes, session, join):
    """Every key press of an hour is replayed, or the text stays the old one."""
    ann, bob = Peer(nodes[0], session, "ann"), join(nodes[1], session, "bob")
    ann.expect("user_joined")
    since = position(ann)
    ann.drop()
    for number in range(30):
        bob.send("code_change", code=f"x = {number}")
    assert bob.ask("chat", message="done")["type"] == "ack"
    ann, missed = back(nodes[2], session, "ann", since)
    assert [frame["type"] for frame in missed] == ["chat_message", "code_update", "resumed"]
    assert (missed[1]["code"], missed[1]["version"], missed[1]["user_id"]) == ("x = 29", 30, "bob")
    ann.leave()


def test_a_large_text_that_waited_is_not_skipped(nodes, session, join):
    """A text held back for its pace is behind the position that its reader was told, and lost with the socket."""
    ann, bob = Peer(nodes[0], session, "ann"), join(nodes[0], session, "bob")
    ann.expect("user_joined")
    for number in range(4):
        bob.send("code_change", code=f"{number} ".ljust(LARGE_TEXT, "."))
    assert bob.ask("chat", message="behind it")["type"] == "ack"
    told = ann.until(lambda frame: frame["type"] == "chat_message")
    since = position(ann)
    ann.drop()
    ann, missed = back(nodes[1], session, "ann", since)
    newest = [frame for frame in told + missed if frame["type"] == "code_update"][-1]
    assert newest["version"] == 4
    ann.leave()


def test_what_the_own_other_socket_said_is_told(nodes, session):
    """Whoever has two devices misses what the other one did meanwhile."""
    phone, laptop = Peer(nodes[0], session, "ann"), Peer(nodes[1], session, "ann")
    since = position(phone)
    phone.drop()
    laptop.ask("chat", message="from the laptop")
    laptop.ask("code_change", code="y = 1")
    phone, missed = back(nodes[0], session, "ann", since)
    assert [frame["type"] for frame in missed] == ["chat_message", "code_update", "resumed"]
    phone.leave()
    laptop.leave()


def test_a_log_that_does_not_reach_back_is_said(alone, session, join):
    """Part of what was missed is told, and passes for all of it."""
    ann, bob = Peer(alone, session, "ann"), join(alone, session, "bob")
    since = position(ann)
    ann.drop()
    for number in range(20):
        assert bob.ask("chat", message=f"line {number}")["type"] == "ack"
    ann, missed = back(alone, session, "ann", since)
    assert [frame["type"] for frame in missed] == ["session_state"]
    assert missed[0]["resumed"] is False and len(missed[0]["chat"]) == 20
    ann.leave()


def test_a_position_of_another_life_is_none(nodes, session, join):
    """The numbers of an order that is no more are taken for those of this one."""
    other = unique("other")
    stranger = join(nodes[0], other, "ann")
    bob = join(nodes[0], session, "bob")
    bob.ask("chat", message="hello")
    ann, missed = back(nodes[1], session, "ann", position(stranger))
    assert [frame["type"] for frame in missed] == ["session_state"]
    ann.leave()
    # Nor is one that lies ahead of all that happened.
    epoch = position(bob).rsplit("-", 1)[0]
    ann, missed = back(nodes[1], session, "ann", f"{epoch}-999")
    assert [frame["type"] for frame in missed] == ["session_state"]
    ann.leave()


@pytest.mark.parametrize("since", ["nonsense", "12", "zz-1", "1-", "-1", "1-99999999999999999999999"])
def test_what_is_no_position_is_refused(alone, session, since):
    """A typo costs everything that was missed, silently."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    path = door(session, "ann") + f"&since={quote(since)}"
    answer = http.request(alone.host, alone.port, "GET", path, headers=headers)
    assert_problem(answer, 400, "bad_field", "since")


def test_coming_and_going_under_writers_misses_and_repeats_nothing(nodes, session):
    """An event between the log and the live stream is lost, or told twice."""
    lines, stop = 150, threading.Event()
    writers = [Peer(node, session, f"writer-{number}") for number, node in enumerate(nodes)]

    def write(writer):
        for number in range(lines):
            writer.ask("chat", message=f"{writer.user} {number}")

    threads = [threading.Thread(target=write, args=(writer,)) for writer in writers]
    ann = Peer(nodes[0], session, "ann")
    heard = []
    at = ann.greeting["position"]
    for thread in threads:
        thread.start()
    turn = 0
    while any(thread.is_alive() for thread in threads):
        # What came behind the last position is told again: it counts from there.
        marker = unique("turn")
        ann.send("ping", id=marker)
        frames = ann.until(lambda frame: frame["type"] == "pong" and frame.get("id") == marker)
        heard += [frame for frame in frames if frame["type"] == "chat_message"]
        at = frames[-1]["position"]
        ann.drop()
        turn += 1
        ann, missed = back(nodes[turn % 3], session, "ann", at)
        assert missed[-1]["type"] == "resumed"
        heard += [frame for frame in missed if frame["type"] == "chat_message"]
    for thread in threads:
        thread.join()
    stop.set()
    marker = unique("end")
    writers[0].send("chat", message=marker)
    rest = ann.until(lambda frame: frame.get("text") == marker)
    heard += [frame for frame in rest if frame["type"] == "chat_message"]
    assert turn > 3
    numbers = [frame["seq"] for frame in heard]
    assert numbers == sorted(set(numbers)), "in order, nothing twice"
    assert len(heard) == 3 * lines + 1, "nothing lost"
    for peer in [ann, *writers]:
        peer.leave()


def test_those_who_come_back_together_share_what_is_read(children, redis, session, join):
    """Some who were away for days cost all others what they missed, or each one a reading of its own."""
    proxy = Proxy(redis.port)
    url = redis.url.replace(str(redis.port), str(proxy.port))
    node = children.node("stormy", REDIS_URL=url, LOG_LENGTH=100, LEAVE_GRACE=30)
    bob = join(node, session, "bob")
    for number in range(300):
        bob.send("chat", message=f"line {number}", id=f"line-{number}")
    bob.until(lambda frame: frame["type"] == "ack" and frame["id"] == "line-299")
    epoch, now = position(bob).split("-")
    now = int(now)
    lately = [now - number for number in range(25)]
    long_ago = [3 * number for number in range(1, 20)]
    read = lambda: redis.client.info("commandstats").get("cmdstat_xrange", {"calls": 0})["calls"]
    begun = read()
    # They meet in the time that one reading takes.
    proxy.delay = 0.1
    with ThreadPoolExecutor(len(lately + long_ago)) as pool:
        comes_back = lambda seq: back(node, session, f"user-{seq}", f"{epoch}-{seq}")
        heard = dict(zip(lately + long_ago, pool.map(comes_back, lately + long_ago), strict=True))
    proxy.delay = 0.0
    assert read() - begun < len(lately) / 2
    for seq, (peer, missed) in heard.items():
        if seq in lately:
            assert missed[-1]["type"] == "resumed"
            numbers = seqs(missed)
            assert numbers[: now - seq] == list(range(seq + 1, now + 1))
            # Then those who came before it.
            assert numbers == list(range(seq + 1, seq + 1 + len(numbers)))
        else:
            assert [frame["type"] for frame in missed] == ["session_state"]
        peer.leave()
    proxy.close()


def test_a_killed_nodes_people_go_on_elsewhere(own_children, redis):
    """A crash costs what was said while its people looked for another node."""
    doomed, safe = (own_children.node(name, REDIS_URL=redis.url, LEASE=3, BEAT_INTERVAL=1) for name in ("doomed", "safe"))
    sessions = [unique("crash") for _ in range(20)]
    # Twenty sockets are as many as one user may have.
    away = {session: Peer(doomed, session, f"ann-{session}") for session in sessions}
    stay = {session: Peer(safe, session, f"bob-{session}") for session in sessions}
    since = {session: position(peer) for session, peer in away.items()}
    for peer in away.values():
        peer.ask("chat", message="acknowledged")
    doomed.kill()
    for peer in stay.values():
        assert peer.ask("chat", message="said meanwhile")["type"] == "ack"
    for session in sessions:
        ann, missed = back(safe, session, f"ann-{session}", since[session])
        assert said(missed) == ["acknowledged", "said meanwhile"]
        assert missed[-1]["type"] == "resumed"
        ann.leave()
        stay[session].leave()
