"""Three nodes and one Redis behave as one, also while Redis is away, frozen, emptied or late."""

import json
import signal
import threading
import time
from contextlib import contextmanager

import pytest

from support import shapes
from support.deadline import eventually
from support.http import assert_problem
from support.peer import Peer, door, heard, unique
from support.processes import Redis
from support.raw import refused

SESSION_GRACE = 60
NAMES = ["north", "east", "south"]


@pytest.fixture(scope="module")
def redis(children):
    """Keeps what it acknowledged over a stop and a start."""
    return children.redis(durable=True)


@pytest.fixture(scope="module")
def nodes(children, redis):
    return start_nodes(children, redis)


def start_nodes(children, redis):
    settings = {"REDIS_URL": redis.url, "LEAVE_GRACE": 0.5, "SESSION_GRACE": SESSION_GRACE}
    return [children.node(name, **settings) for name in NAMES]


@pytest.fixture
def trio(nodes, session, join):
    """Ann, Bob and Cat, each on a node of their own."""
    return gather(nodes, session, join, "ann", "bob", "cat")


def gather(nodes, session, join, *users):
    """Users in one session, dealt to the nodes in turn, who have all heard of each other."""
    peers = []
    for number, user in enumerate(users):
        newcomer = join(nodes[number % len(nodes)], session, user)
        for peer in peers:
            peer.hears(shapes.joined(user))
        peers.append(newcomer)
    return peers


# Who hears what


def test_code_reaches_the_others_on_every_node(trio):
    """A change stays on the node where it was made, or comes back to its sender by way of Redis."""
    ann, bob, cat = trio
    ann.send("code_change", code="x = 1")
    assert heard(ann, ann, bob, cat) == [[], *[[shapes.code_update("ann", "x = 1", 1)]] * 2]


def test_cursor_reaches_the_others_on_every_node(trio):
    """A cursor is not shown on other nodes, or is echoed."""
    ann, bob, cat = trio
    ann.send("cursor", cursor={"lineNumber": 2, "column": 7})
    for peer in (bob, cat):
        peer.hears(shapes.cursor_move("ann", 2, 7))
    assert heard(bob, ann) == [[]]


def test_language_and_chat_reach_everyone_on_every_node(trio):
    """The sender, or somebody on another node, is left out, or hears it twice."""
    ann, _bob, _cat = trio
    ann.send("language", language="go")
    ann.send("chat", message="hello")
    everything = [shapes.language_change("ann", "go"), shapes.chat_message("ann", "hello")]
    assert heard(ann, *trio) == [everything] * 3


def test_join_and_leave_reach_the_others_on_every_node(nodes, session, trio):
    """A person on another node is invisible, or stays as a ghost."""
    dan = Peer(nodes[1], session, "dan", "Dan")
    assert sorted(user["user_id"] for user in dan.greeting["users"]) == ["ann", "bob", "cat", "dan"]
    for peer in trio:
        peer.hears(shapes.joined("dan", "Dan"))
    assert dan.before_pong() == []
    dan.leave()
    for peer in trio:
        peer.hears(shapes.left("dan"))


def test_a_user_on_two_nodes_is_one_person(nodes, session, trio):
    """A person with a laptop and a phone is announced twice, or gone while the phone is still there."""
    ann, bob, _cat = trio
    laptop, phone = Peer(nodes[0], session, "dan"), Peer(nodes[2], session, "dan")
    assert phone.greeting["user_count"] == 4
    assert heard(ann, ann, bob) == [[shapes.joined("dan")]] * 2
    laptop.leave()
    assert heard(phone, ann, bob) == [[]] * 2
    phone.leave()
    for peer in trio[:2]:
        peer.hears(shapes.left("dan"))
    assert heard(ann, bob) == [[]]


def test_a_lost_user_who_returns_on_another_node_never_left(nodes, session, trio, join):
    """Changing from one node to another by a reconnect looks like leaving."""
    ann, _bob, _cat = trio
    back, gone = Peer(nodes[1], session, "back"), Peer(nodes[1], session, "gone")
    heard(ann, *trio)
    back.drop()
    gone.drop()
    join(nodes[2], session, "back")
    for peer in trio:
        # `back` was lost first: had it been told as gone, that would have been heard before.
        peer.hears(shapes.left("gone"))
    assert heard(ann, *trio) == [[]] * 3


def test_a_newcomer_sees_the_same_session_on_every_node(nodes, session, trio, join):
    """The state depends on which node one comes to."""
    ann, bob, cat = trio
    ann.ask("code_change", code="x = 1")
    bob.ask("language", language="rust")
    cat.ask("chat", message="hello")
    bob.send("cursor", cursor={"lineNumber": 3, "column": 4})
    cat.until(lambda frame: frame["type"] == "cursor_move")
    assert_same_state(nodes, session, join)


def test_a_repeated_command_happens_once_whichever_node_takes_it(nodes, session, trio, join):
    """A client that reconnects to another node and repeats its command says it twice."""
    ann, _bob, cat = trio
    first = ann.ask("chat", message="once", id="same")
    elsewhere = join(nodes[1], session, "ann")
    again = elsewhere.ask("chat", message="once", id="same")
    assert again == shapes.ack("same", first["seq"])
    assert heard(ann, cat) == [[shapes.chat_message("ann", "once")]]


def test_command_ids_of_different_users_are_never_the_same(nodes, session, join):
    """A user's command is taken for the repeat of another's, because the two names ran into one another."""
    short, long = join(nodes[0], session, "ann"), join(nodes[1], session, "ann:x")
    short.hears(shapes.joined("ann:x"))
    first = short.ask("chat", message="from ann", id="x:1")
    second = long.ask("chat", message="from ann:x", id="1")
    assert second["seq"] == first["seq"] + 1


def test_a_command_id_of_a_former_session_is_new(own_children, redis, session):
    """The first words in a session that was made anew are swallowed as repeats from its former life."""
    node = own_children.node(REDIS_URL=redis.url, SESSION_GRACE=1)
    with Peer(node, session, "ann") as ann:
        ann.ask("chat", message="then", id="1")
    eventually(lambda: node.get(f"/api/v1/session/{session}/state").status == 404, "the session is forgotten")
    with Peer(node, session, "ann") as ann:
        assert ann.greeting["chat"] == []
        ann.send("chat", message="now", id="1")
        ann.hears_in_any_order(shapes.chat_message("ann", "now"), shapes.ack("1"))


def test_a_stale_change_is_merged_across_nodes(trio):
    """Versions count per node, and two people overwrite each other unseen."""
    ann, bob, cat = trio
    ann.ask("code_change", code="one two", base_version=0)
    bob.hears(shapes.code_update("ann", "one two", 1))
    ann.ask("code_change", code="zero one two", base_version=1)
    bob.hears(shapes.code_update("ann", "zero one two", 2))
    bob.send("code_change", code="one two three", base_version=1)
    current = bob.recv()
    assert (current["type"], current["code"], current["version"]) == ("code_update", "zero one two three", 3)
    bob.hears(shapes.code_ack(3))
    for other in (ann, cat):
        frames = other.until(lambda frame: frame.get("version") == 3)
        assert frames[-1] == shapes.code_update("bob", "zero one two three", 3)


def test_an_ended_session_is_over_on_every_node(nodes, session, trio):
    """Ending a session reaches only the node that was asked."""
    assert nodes[2].delete(f"/api/v1/session/{session}").status == 204
    for peer in trio:
        peer.expect("session_ended")
        assert peer.close_code() == 4410
    for node in nodes:
        assert refused(node, door(session, "ann")).status == 410
        assert_problem(node.get(f"/api/v1/session/{session}/state"), 410)


def test_an_end_is_heard_by_nodes_that_were_deaf(redis, nodes, join):
    """A session that ended while a node's subscription was down goes on there for ever."""
    for _ in range(3):
        session = unique("session")
        peers = gather(nodes, session, join, "ann", "bob", "cat")
        redis.client.client_kill_filter(_type="pubsub")
        # Answered with 503 by a node that knows itself to be deaf; then asked again.
        eventually(lambda: nodes[0].delete(f"/api/v1/session/{session}").status == 204, "the session ends")
        for peer in peers:
            assert peer.close_code() == 4410


def test_health_counts_the_whole_cluster(nodes, session, join):
    """A figure on the status page is one node's share of the truth."""
    peers = gather(nodes, session, join, "ann", "bob", "cat", "dan")

    def counted():
        return [node.get("/health").json for node in nodes]

    def agreed():
        users = {health["active_users"] for health in counted()}
        sockets = {node.get("/status").json["connections"] for node in nodes}
        return users == sockets == {len(peers)}

    eventually(agreed, "every node counts every socket of the cluster")
    ever = lambda: {health["total_connections"] for health in counted()}
    eventually(lambda: len(ever()) == 1 and min(ever()) >= len(peers), "all know of the same sockets of all times")
    assert len({health["node_id"] for health in counted()}) == 3


# What lies in Redis


def test_the_session_hash_has_the_documented_fields(redis, nodes, session, trio):
    """Other services that read the hash find a field missing, renamed or in another form."""
    ann, _bob, _cat = trio
    ann.ask("code_change", code="x = 1")
    seq = ann.ask("language", language="rust")["seq"]
    shown = lambda: redis.client.hget(f"session:{session}", "code") == "x = 1"
    eventually(shown, "the text is where other services read it", within=1)
    fields = redis.client.hgetall(f"session:{session}")
    assert fields["session_id"] == session
    assert fields["code_version"] == fields["version"] == "1"
    assert fields["language"] == "rust"
    assert json.loads(fields["users"]) == ["ann", "bob", "cat"]
    assert fields["created_at"] == shapes.TIME
    assert (fields["question_id"], fields["difficulty"], fields["topic"]) == ("", "", "")
    assert int(fields["seq"]) == seq
    assert fields["epoch"]
    assert (fields["version"], fields["code_version"]) == ("1", "1")
    assert fields["main_file"] == "main"


def test_a_match_fills_the_session_hash(redis, nodes, session, join):
    """What the match said does not reach those who read the hash."""
    body = {
        "event_type": "match.found",
        "session_id": session,
        "users": ["ann", "bob"],
        "question_id": "q-17",
        "difficulty": "easy",
        "topic": "Array",
    }
    assert nodes[0].post("/api/v1/session", body).status == 201
    join(nodes[1], session, "ann")
    fields = redis.client.hgetall(f"session:{session}")
    assert {name: fields[name] for name in ("session_id", "question_id", "difficulty", "topic")} == {
        "session_id": session,
        "question_id": "q-17",
        "difficulty": "easy",
        "topic": "Array",
    }
    assert json.loads(fields["users"]) == ["ann", "bob"]


def test_a_session_of_the_old_service_is_taken_over(redis, nodes, session, join):
    """On the day of the change everybody's code is gone, because the old hash knows no seq and no epoch."""
    old = {
        "session_id": session,
        "question_id": "q-17",
        "code": "x = 1",
        "language": "java",
        "users": '["ann", "bob"]',
        "created_at": "2025-11-12T10:30:00Z",
    }
    redis.client.hset(f"session:{session}", mapping=old)
    assert nodes[1].state(session)["code"] == "x = 1"
    ann, bob = gather(nodes, session, join, "ann", "bob")
    assert {name: ann.greeting[name] for name in ("question_id", "code", "language")} == {
        "question_id": "q-17",
        "code": "x = 1",
        "language": "java",
    }
    assert ann.ask("code_change", code="x = 2")["type"] == "ack"
    assert bob.expect("code_update")["code"] == "x = 2"
    assert json.loads(redis.client.hget(f"session:{session}", "users")) == ["ann", "bob"]


def test_keys_expire_after_the_last_has_left_and_stay_when_somebody_is_back(redis, nodes, session, join):
    """Empty sessions fill Redis for ever, or a session vanishes under somebody's hands."""
    key = f"session:{session}"
    ann = Peer(nodes[0], session, "ann")
    bob = Peer(nodes[1], session, "bob")
    ann.ask("chat", message="hello")
    assert redis.client.pttl(key) == -1
    ann.leave()
    bob.hears(*[shapes.chat_message("ann", "hello"), shapes.left("ann")])
    assert redis.client.pttl(key) == -1
    bob.leave()
    eventually(lambda: redis.client.pttl(key) >= 0, "the empty session gets its expiry")
    every_key = [key, *redis.client.scan_iter(f"{{{key}}}:*")]
    assert len(every_key) >= 3, every_key
    for name in every_key:
        assert 0 < redis.client.pttl(name) <= SESSION_GRACE * 1000 or ":idem:" in name, name
    join(nodes[2], session, "ann")
    for name in (key, f"{{{key}}}:chat", f"{{{key}}}:members"):
        assert redis.client.pttl(name) == -1, name


# One order


def test_all_nodes_see_one_order_under_concurrent_writers(nodes, session, join):
    """Two people see the same events in different orders, or miss one, or get one twice."""
    peers = gather(nodes, session, join, "ann", "bob", "cat", "dan", "eve", "fay")
    each = 60

    def write(peer):
        for number in range(each):
            peer.send("chat", message=f"{peer.user} {number}")
            if number % 10 == 0:
                peer.send("language", language=f"{peer.user}-{number}")

    heard_by = run_all(peers, write, each * len(peers))
    orders = [[(frame["seq"], frame["type"], frame["user_id"]) for frame in frames] for frames in heard_by]
    assert all(order == orders[0] for order in orders)
    seqs = [seq for seq, *_ in orders[0]]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    for peer in peers:
        said = [f["text"] for f in heard_by[0] if f["type"] == "chat_message" and f["user_id"] == peer.user]
        assert said == [f"{peer.user} {number}" for number in range(each)]


def test_texts_only_grow_newer_under_concurrent_writers(nodes, session, join):
    """Two editors end with different texts, or an older text replaces a newer one."""
    peers = gather(nodes, session, join, "ann", "bob", "cat")
    each = 50

    def write(peer):
        for number in range(each):
            peer.send("code_change", code=f"{peer.user} {number}")
        peer.send("chat", message="done")

    heard_by = run_all(peers, write, len(peers))
    texts = {json.dumps(node.state(session)["code"]) for node in nodes}
    assert len(texts) == 1
    for peer, frames in zip(peers, heard_by):
        versions = [frame["version"] for frame in frames if frame["type"] == "code_update"]
        assert versions == sorted(set(versions))
        assert peer.user not in {f["user_id"] for f in frames if f["type"] == "code_update"}
    assert nodes[0].state(session)["version"] == each * len(peers)


def test_who_comes_in_mid_conversation_misses_nothing(nodes, session, join):
    """Between the greeting and the first live line some are lost, or come twice."""
    writer, _ = gather(nodes, session, join, "ann", "bob")
    lines = [f"line {number}" for number in range(400)]

    def write():
        for line in lines:
            writer.send("chat", message=line)
            writer.until(lambda frame: frame.get("text") == line)

    thread = threading.Thread(target=write)
    thread.start()
    comers = []
    while thread.is_alive():
        comers.append(join(nodes[len(comers) % 3], session, f"comer-{len(comers)}"))
    thread.join()
    assert len(comers) > 3
    for comer in comers:
        if not comer.greeting["chat"] or comer.greeting["chat"][-1]["text"] != lines[-1]:
            comer.until(lambda frame: frame.get("text") == lines[-1])
        seen = Screen(comer).lines
        assert seen == lines[-len(seen) :]
        assert len(seen) >= min(100, len(lines))


def test_people_who_come_and_go_at_once_leave_no_ghost(nodes, session, join):
    """After a rush somebody is shown who is gone, or somebody who is there is not."""
    watchers = gather(nodes, session, join, "ann", "bob", "cat")

    def rush(number):
        for turn in range(8):
            # The same few users on every node, so that sockets of a user overlap.
            with Peer(nodes[(number + turn) % 3], session, f"user-{number % 3}"):
                pass

    threads = [threading.Thread(target=rush, args=[number]) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: len(nodes[0].state(session)["users"]) == len(watchers), "the rush is over")
    heard(watchers[0], *watchers)
    for watcher in watchers:
        assert Screen(watcher).users == {"ann", "bob", "cat"}
        told = [f for f in watcher.history if f["type"] in ("user_joined", "user_left")]
        for user in ("user-0", "user-1", "user-2"):
            turns = [frame["type"] for frame in told if frame["user_id"] == user]
            assert turns == ["user_joined", "user_left"] * (len(turns) // 2)


def run_all(peers, write, lines):
    """All write at once while all read; returns what each heard up to that many chat lines."""
    heard_by = [[] for _ in peers]

    def read(peer, frames):
        while sum(frame["type"] == "chat_message" for frame in frames) < lines:
            frames.append(peer.recv())

    threads = [threading.Thread(target=write, args=[peer]) for peer in peers]
    threads += [threading.Thread(target=read, args=pair) for pair in zip(peers, heard_by)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(sum(f["type"] == "chat_message" for f in frames) == lines for frames in heard_by)
    return heard_by


# Redis goes and comes


class Screen:
    """What a client shows that was given all the frames a peer has heard."""

    def __init__(self, peer):
        self.peer = peer
        for frame in peer.history:
            self.show(frame)

    def show(self, frame):
        match frame["type"]:
            case "session_state":
                self.users = {user["user_id"] for user in frame["users"]}
                self.lines = [line["text"] for line in frame["chat"]]
                self.code, self.language = frame["code"], frame["language"]
            case "user_joined":
                self.users.add(frame["user_id"])
            case "user_left":
                self.users.discard(frame["user_id"])
            case "code_update":
                self.code = frame["code"]
            case "language_change":
                self.language = frame["language"]
            case "chat_message":
                self.lines.append(frame["text"])
            case "ack" | "code_ack":
                self.code = self.peer.written.get(frame.get("id"), self.code)

    @property
    def shown(self):
        return {"users": self.users, "lines": self.lines, "code": self.code, "language": self.language}


def insist(peer, type, **fields):
    """Repeats a command until it is taken, as the error tells a client to; returns the answer."""
    command = fields.setdefault("id", unique("insist"))
    end = time.monotonic() + 30
    while True:
        answer = peer.ask(type, **fields)
        if answer["type"] != "error":
            return answer
        assert answer == shapes.unavailable(id=command)
        assert time.monotonic() < end, "the node does not recover"
        # Other clients go on meanwhile; a client waits as long as it was told.
        time.sleep(answer["retry_in_ms"] / 1000)


def assert_cursors_pass(sender, receiver, line):
    sender.send("cursor", cursor={"lineNumber": line, "column": 1})
    frames = receiver.until(lambda frame: frame["type"] == "cursor_move")
    assert frames[-1] == shapes.cursor_move(sender.user, line, 1)
    return frames[:-1]


def assert_same_state(nodes, session, join):
    """REST and a newcomer's greeting say the same on every node."""
    states = [node.state(session) for node in nodes]
    for state in states:
        state["users"].sort(key=lambda user: user["user_id"])
    assert all(state == states[0] for state in states)
    watcher = [join(node, session, "watcher").greeting for node in nodes]
    views = [
        {k: v for k, v in view.items() if k not in ("position", "timestamp", "users")} for view in watcher
    ]
    assert all(view == views[0] for view in views)
    assert views[0]["code"] == states[0]["code"]
    return states[0]


@contextmanager
def away(redis):
    redis.stop()
    yield
    redis.start()


@pytest.mark.parametrize("durable", [True, False], ids=["with its data", "emptied"])
def test_redis_is_stopped_and_started_in_mid_conversation(own_children, session, join, durable):
    """A restart of Redis loses sockets, keeps clients apart, or needs somebody to restart the nodes."""
    redis = own_children.redis(durable=durable)
    nodes = start_nodes(own_children, redis)
    # Dan shares Ann's node.
    peers = ann, bob, cat, dan = gather(nodes, session, join, "ann", "bob", "cat", "dan")
    ann.send("code_change", code="before")
    ann.send("chat", message="before")
    for peer in peers:
        peer.until(lambda frame: frame.get("text") == "before")

    with away(redis):
        for kind, fields in {
            "chat": {"message": "lost"},
            "language": {"language": "lost"},
            "code_change": {"code": "lost"},
        }.items():
            answer = ann.ask(kind, id=f"lost-{kind}", **fields)
            assert answer == shapes.unavailable(id=f"lost-{kind}")
        assert ann.ask("code_change", code="lost", base_version=1)["code"] == "backplane_unavailable"
        assert_cursors_pass(ann, dan, 7)
        for node in nodes:
            assert node.get("/livez").status == 200
            assert node.get("/readyz").status == 200
        eventually(lambda: nodes[0].get("/health").json.get("stale") is True, "totals are said to be old")
        assert nodes[0].get("/health/redis").status == 503
        for peer in peers:
            # The sockets are open and answered.
            assert [f for f in peer.before_pong() if f["type"] not in ("session_state", "cursor_move")] == []

    insist(ann, "chat", message="after ann")
    insist(cat, "chat", message="after cat")
    assert insist(bob, "code_change", code="after")["type"] == "ack"
    insist(ann, "language", language="go")
    insist(dan, "chat", message="the end")
    lines = assert_converged(nodes, session, peers, "the end", code="after", language="go")
    said = ["after ann", "after cat", "the end"]
    assert lines == ["before", *said] if durable else lines[-3:] == said
    assert "lost" not in lines

    eventually(lambda: "stale" not in nodes[0].get("/health").json, "totals are current again")
    assert nodes[0].get("/health/redis").status == 200
    # Coming and going works again, too.
    eve = join(nodes[1], session, "eve")
    for peer in peers:
        peer.until(lambda frame: frame == shapes.joined("eve"))
    eve.leave()
    for peer in peers:
        peer.until(lambda frame: frame == shapes.left("eve"))


def assert_converged(nodes, session, peers, marker, code, language):
    """All clients show one state, which is also what REST says everywhere; returns the chat lines."""
    for peer in peers:
        if not any(frame.get("text") == marker for frame in peer.history):
            peer.until(lambda frame: frame.get("text") == marker)
    screens = [Screen(peer) for peer in peers]
    users = {peer.user for peer in peers}
    lines = screens[0].lines
    for screen in screens:
        assert screen.shown == {"users": users, "lines": lines, "code": code, "language": language}
        assert not [f for f in screen.peer.history if f["type"] == "user_left"], "nobody went"
    assert len(set(lines)) == len(lines), "a line came twice"
    for node in nodes:
        state = node.state(session)
        assert (state["code"], state["language"]) == (code, language)
        assert {user["user_id"] for user in state["users"]} == users
    return lines


def test_redis_is_frozen_for_a_while(own_children, session, join):
    """A Redis that hangs without closing its connections makes a node hang, or a command happen twice."""
    redis = own_children.redis(durable=True)
    nodes = start_nodes(own_children, redis)
    peers = ann, bob, cat, dan = gather(nodes, session, join, "ann", "bob", "cat", "dan")
    frozen_at = time.monotonic()
    with frozen(redis):
        bob.send("chat", message="caught in the frost", id="caught")
        line = 0
        while time.monotonic() - frozen_at < 6:
            line += 1
            assert_cursors_pass(ann, dan, line)
            assert nodes[line % 3].get("/readyz").status == 200
            time.sleep(0.05)
    # Told as failed or not, it may be repeated, and then it happened once.
    bob.until(lambda frame: frame.get("id") == "caught")
    insist(bob, "chat", message="caught in the frost", id="caught")
    insist(ann, "code_change", code="after")
    insist(cat, "language", language="go")
    insist(dan, "chat", message="the end")
    lines = assert_converged(nodes, session, peers, "the end", code="after", language="go")
    assert lines == ["caught in the frost", "the end"]


@contextmanager
def frozen(redis):
    redis.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        redis.signal(signal.SIGCONT)


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
def test_killed_connections_lose_and_repeat_nothing(redis, trio, kind):
    """A node goes deaf for good, or a command whose answer was cut off happens twice or not at all."""
    said = []
    for turn in range(2):
        assert redis.client.client_kill_filter(_type=kind) >= len(NAMES)
        lines = {peer: [f"{peer.user} {turn} {number}" for number in range(20)] for peer in trio}
        for number in range(20):
            for peer in trio:
                peer.send("chat", message=lines[peer][number], id=lines[peer][number])
        for peer in trio:
            for line in lines[peer]:
                insist(peer, "chat", message=line, id=line)
        said += sum(lines.values(), [])
        # All hear all of it before the next cut, which so finds connections to cut again.
        orders = [heard_lines(peer, said) for peer in trio]
    assert orders[0] == orders[1] == orders[2]
    assert sorted(orders[0]) == sorted(said)


def heard_lines(peer, expected):
    """The chat lines a peer heard, when it has heard all that are expected."""
    while True:
        lines = [frame["text"] for frame in peer.history if frame["type"] == "chat_message"]
        if set(expected) <= set(lines):
            return lines
        peer.recv()


def test_a_node_waits_for_redis_at_its_start(own_children, session):
    """A node that starts before Redis gives up, or takes people in whom it cannot serve."""
    redis = own_children.adopt(Redis())
    node = own_children.node(ready=False, REDIS_URL=redis.url)
    assert node.get("/livez").status == 200
    assert node.get("/readyz").status == 503
    assert refused(node, door(session, "ann")).status == 503
    assert refused(node, door(session, "ann"), Origin="http://example.org").close == 1013
    assert_problem(node.get(f"/api/v1/session/{session}/state"), 503, "backplane_unavailable")
    redis.start()
    eventually(lambda: node.get("/readyz").status == 200, "the node is ready by itself", within=30)
    with Peer(node, session, "ann") as ann:
        assert ann.ask("chat", message="hello")["type"] == "ack"


def test_a_redis_with_a_password(own_children, session):
    """Credentials in REDIS_URL are ignored, or end up in a log."""
    redis = own_children.adopt(Redis(password="canary-pass-word"))
    redis.start()
    node = own_children.node(REDIS_URL=redis.url)
    with Peer(node, session, "ann") as ann:
        assert ann.ask("chat", message="hello")["type"] == "ack"
    assert node.terminate() == 0
    assert "canary-pass-word" not in node.log()
