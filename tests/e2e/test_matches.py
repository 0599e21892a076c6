"""Match events out of RabbitMQ: each makes one session, whatever dies meanwhile, and none is lost."""

import json
import signal
import time

import pytest
from pika.exceptions import AMQPError

from support.deadline import eventually
from support.http import assert_problem
from support.matchmaker import Matchmaker
from support.peer import door, unique
from support.people import metric, said
from support.proxy import Proxy
from support.rabbit import PASSWORD, Rabbit, found, publish
from support.raw import refused, turned_away
from support.tokens import SECRET, bearer, token

# Long enough for a broker that is away for a moment, short enough to wait for.
RECONNECT = 0.5
# A broker takes its time to start on a busy machine, and the node then its pause.
BROKER = 60


@pytest.fixture(scope="module")
def rabbit(children):
    """The broker of all tests; each has a queue of its own."""
    return children.rabbit()


@pytest.fixture(scope="module")
def redis(children):
    return children.redis()


@pytest.fixture
def queue():
    return unique("matches")


@pytest.fixture
def start(own_children, rabbit, redis, queue):
    """Starts nodes that take events out of the test's queue: `start("north", "south")`."""

    def start(*names, taking=True, **settings):
        settings = {
            "REDIS_URL": redis.url,
            "RABBITMQ_URL": rabbit.url,
            "QUEUE_NAME": queue,
            "QUEUE_RECONNECT_MAX": RECONNECT,
        } | settings
        nodes = [own_children.node(name, **settings) for name in names]
        if taking:
            for node in nodes:
                takes(node)
        return nodes if len(names) > 1 else nodes[0]

    return start


def takes(node):
    eventually(lambda: metric(node, "collab_intake_connected") == 1, f"{node.name} takes events", within=BROKER)


def events(node, result):
    return metric(node, f'collab_match_events_total{{result="{result}"}}')


def total(nodes, result):
    return sum(events(node, result) for node in nodes)


def hash_of(redis, session):
    return redis.client.hgetall(f"session:{session}")


def made(redis, session):
    return eventually(lambda: hash_of(redis, session), f"{session} is made")


def sessions(redis, word):
    """Every session whose id begins so."""
    return {name.removeprefix("session:") for name in redis.client.scan_iter(f"session:{word}*", count=1000)}


def exactly(redis, word, number):
    """As many sessions as there were events, no more; none comes later, because nothing is left to make one of."""
    wanted = {f"{word}-{at}" for at in range(number)}
    eventually(lambda: len(sessions(redis, word)) >= number, "all sessions are made", within=BROKER, every=0.2)
    assert sessions(redis, word) == wanted


def drained(rabbit, queue, *nodes):
    """Nothing is left: what had not been acknowledged would be ready again once those have gone who took it."""
    eventually(lambda: rabbit.ready(queue) == 0, "nothing is ready", within=BROKER)
    for node in nodes:
        assert node.terminate() == 0
    eventually(lambda: rabbit.consumers(queue) == 0, "nobody consumes")
    assert rabbit.ready(queue) == 0


def audit(node, message):
    lines = (json.loads(line) for line in node.log().splitlines() if '"audit"' in line)
    return [line for line in lines if line["target"] == "audit" and line["message"] == message]


# What becomes of an event


def test_a_match_makes_a_session_on_every_node(start, rabbit, redis, queue, session, join):
    """A match leads to nothing, or the two meet in a session without their question."""
    north, south = start("north", "south")
    rabbit.publish(found(session, question_id="q-17", difficulty="hard", topic="graphs"), queue=queue)
    fields = made(redis, session)
    assert {name: fields[name] for name in ("session_id", "question_id", "difficulty", "topic")} == {
        "session_id": session,
        "question_id": "q-17",
        "difficulty": "hard",
        "topic": "graphs",
    }
    assert json.loads(fields["users"]) == ["ann", "bob"]
    ann, bob = join(north, session, "ann"), join(south, session, "bob")
    assert ann.greeting["question_id"] == bob.greeting["question_id"] == "q-17"
    eventually(lambda: total([north, south], "created") == 1, "it is counted")
    noted = [line for node in (north, south) for line in audit(node, "session made of a match")]
    assert [(line["session"], line["users"]) for line in noted] == [(session, 2)]
    drained(rabbit, queue, north, south)


def test_only_who_was_matched_may_enter(start, rabbit, redis, queue, session, join):
    """A stranger with a good token comes into a session that was matched for others."""
    node = start("tokens", JWT_SECRET=SECRET, HOST="127.0.0.1")
    rabbit.publish(found(session), queue=queue)
    made(redis, session)
    for user in ("ann", "bob"):
        join(node, session, token=token(user))
    stranger = token("eve")
    assert_problem(turned_away(node, door(session, token=stranger)), 403, "forbidden")
    in_browser = refused(node, door(session, token=stranger), Origin=f"http://{node.address}")
    assert (in_browser.status, in_browser.close) == (101, 4403)
    state = lambda made: node.get(f"/api/v1/session/{session}/state", headers=bearer(made)).status
    assert (state(stranger), state(token("ann"))) == (403, 200)


def test_an_event_that_comes_again_changes_nothing(start, rabbit, redis, queue, session, join):
    """The same event delivered twice makes a second session, or begins the first anew."""
    nodes = start("north", "south")
    rabbit.publish(found(session), queue=queue)
    made(redis, session)
    ann = join(nodes[0], session, "ann")
    ann.ask("code_change", code="kept")
    rabbit.publish(*[found(session, question_id="another")] * 20, queue=queue)
    eventually(lambda: total(nodes, "existing") == 20, "all were seen")
    assert total(nodes, "created") == 1
    shown = lambda: hash_of(redis, session)["code"] == "kept"
    eventually(shown, "the text is where other services read it", within=1)
    assert hash_of(redis, session)["question_id"] == "two-sum"
    drained(rabbit, queue, *nodes)


def test_an_ended_session_is_not_made_anew(start, rabbit, redis, queue, session):
    """A late copy of an event brings a session back that its people have ended."""
    node = start("node")
    rabbit.publish(found(session), queue=queue)
    made(redis, session)
    assert node.delete(f"/api/v1/session/{session}").status == 204
    rabbit.publish(found(session), queue=queue)
    eventually(lambda: events(node, "ended") == 1, "it was seen")
    assert_problem(node.get(f"/api/v1/session/{session}/state"), 410)
    drained(rabbit, queue, node)


def test_nodes_share_the_events(start, rabbit, redis, queue, session):
    """One node does all the work, or two make the same session."""
    nodes = start("north", "south")
    rabbit.publish(*[found(f"{session}-{number}") for number in range(400)], queue=queue)
    exactly(redis, session, 400)
    eventually(lambda: total(nodes, "created") == 400, "all are counted")
    assert all(events(node, "created") > 40 for node in nodes), [events(node, "created") for node in nodes]
    for node in nodes:
        eventually(lambda node=node: metric(node, "collab_match_events_in_flight") == 0, "nothing is in flight")
        assert metric(node, "collab_match_event_duration_seconds_count") == events(node, "created")


def test_as_many_events_are_in_flight_as_was_said(start, rabbit, redis, queue, session):
    """While Redis hangs a node takes the whole queue into its memory, or one event at a time."""
    proxy = Proxy(redis.port)
    node = start("node", QUEUE_PREFETCH=7, REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0", COMMAND_TIMEOUT=60)
    try:
        proxy.delay = 0.5
        rabbit.publish(*[found(f"{session}-{number}") for number in range(30)], queue=queue)
        eventually(lambda: metric(node, "collab_match_events_in_flight") == 7, "seven are in flight", within=10)
        assert rabbit.ready(queue) >= 30 - 3 * 7
        proxy.delay = 0
        exactly(redis, session, 30)
    finally:
        node.terminate()
        proxy.close()


INVALID = {
    "no json": (b"{", "no match event"),
    "not utf-8": (b'{"session_id":"\xff"}', "no match event"),
    "nothing": (b"", "no match event"),
    "a list": (b"[1]", "one JSON object"),
    "no session": ({"event_type": "match.found", "users": ["ann"]}, "session_id"),
    "a bad session": (found("a b"), "session"),
    "a recorded session's id": (found("r-01234567-89ab-cdef-0123-456789abcdef"), "recorded"),
    "no users": (found("x", users=()), "users"),
    "a bad user": (found("x", users=("ann", "b b")), "user"),
    "users of another kind": (found("x") | {"users": ["ann", 7]}, "users[1]"),
    "a long topic": (found("x", topic="t" * 65), "topic"),
    "another event": ({"event_type": "match.cancelled", "id": 7}, "match.cancelled"),
    "a type of another kind": (found("x") | {"event_type": 7}, "event_type"),
    "too large": (found("x", more="m" * 2_000), "2"),
}


def test_what_is_no_match_event_goes_to_the_dead(start, rabbit, redis, queue, session):
    """A bad event is thrown away, comes again for ever, or holds up the good ones behind it."""
    node = start("node", MAX_BODY_BYTES=2_000)
    dead = f"{queue}.dead"
    assert rabbit.ready(dead) == 0, "it is there before it is needed"
    for name, (event, _) in INVALID.items():
        rabbit.publish(event, queue=queue, message_id=name, headers={"trace": name, "number": 7})
    rabbit.publish(found(session), queue=queue)
    made(redis, session)
    eventually(lambda: events(node, "dead") == len(INVALID), "all are counted")
    drained(rabbit, queue, node)
    taken = {properties.message_id: (properties, body) for properties, body in rabbit.take(dead)}
    assert taken.keys() == INVALID.keys()
    for name, (event, word) in INVALID.items():
        properties, body = taken[name]
        assert body == (event if isinstance(event, bytes) else json.dumps(event).encode()), name
        assert word in properties.headers["x-reason"], (name, properties.headers)
        assert (properties.headers["trace"], properties.headers["number"]) == (name, 7)
        assert (properties.content_type, properties.delivery_mode) == ("application/json", 2)
    assert not redis.client.exists("session:x")


def test_what_is_dead_acts_no_more(start, rabbit, queue):
    """A dead event expires before anybody looks, goes round in circles, or is refused by the broker for ever."""
    node = start("node")
    rabbit.publish(b"bad", queue=queue, user_id="collabd", expiration="60000", headers={"CC": [f"{queue}.none"]})
    eventually(lambda: events(node, "dead") == 1, "it is dead")
    ((properties, body),) = rabbit.take(f"{queue}.dead")
    assert body == b"bad"
    assert (properties.user_id, properties.expiration) == (None, None)
    headers = properties.headers
    assert (headers["x-user-id"], headers["x-expiration"]) == ("collabd", "60000")
    assert headers["x-cc"] == [f"{queue}.none"] and "CC" not in headers


def test_an_event_is_kept_until_its_place_among_the_dead_is_sure(start, rabbit, redis, queue, session):
    """A dead queue that is full, or was deleted, swallows events."""
    dead = f"{queue}.dead"
    with rabbit.open() as channel:
        channel.queue_declare(dead, durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        # One is in there; the limit holds from the next on.
        for _ in range(2):
            try:
                publish(channel, b"before", dead)
            except AMQPError:
                break
    full = rabbit.ready(dead)
    node = start("node", taking=True)
    rabbit.publish(b"bad", queue=queue)
    eventually(lambda: events(node, "retried") >= 3, "it is tried again")
    assert events(node, "dead") == 0
    rabbit.publish(found(session), queue=queue)
    made(redis, session)
    assert rabbit.ready(dead) == full
    assert (rabbit.ready(queue), metric(node, "collab_match_events_in_flight")) == (0, 1), "it is not acknowledged"
    with rabbit.open() as channel:
        channel.queue_delete(dead)
    eventually(lambda: events(node, "dead") == 1, "the queue is declared again")
    assert [body for _, body in rabbit.take(dead)] == [b"bad"]
    drained(rabbit, queue, node)


# Queues and brokers


def test_a_queue_that_is_there_is_taken_as_it_is(start, rabbit, redis, queue, session):
    """The matchmaker declared the queue with arguments, and the node cannot consume it."""
    arguments = {"x-max-length": 1_000, "x-queue-type": "classic"}
    with rabbit.open() as channel:
        channel.queue_declare(queue, durable=True, arguments=arguments)
    start("node")
    rabbit.publish(found(session), queue=queue)
    made(redis, session)
    with rabbit.open() as channel:
        channel.queue_declare(queue, durable=True, arguments=arguments)


def test_a_queue_that_is_not_there_is_made_durable(start, rabbit, queue):
    """What the node declares is gone with the broker's next start, or the matchmaker cannot declare it as well."""
    assert rabbit.ready(queue) is None
    start("node")
    for name in (queue, f"{queue}.dead"):
        with rabbit.open() as channel:
            channel.queue_declare(name, durable=True)


def test_a_deleted_queue_is_declared_again(start, rabbit, redis, queue, session):
    """An operator deletes the queue, and nothing is consumed until every node was restarted."""
    node = start("node")
    with rabbit.open() as channel:
        channel.queue_delete(queue)
    eventually(lambda: rabbit.consumers(queue) == 1, "it is declared and consumed again")
    rabbit.publish(found(session), queue=queue)
    made(redis, session)
    assert node.get("/readyz").status == 200


def test_a_node_may_be_there_before_the_broker(own_children, redis, start, queue, session):
    """A node that started first never consumes, or is not ready meanwhile."""
    late = own_children.adopt(Rabbit())
    node = start("node", taking=False, RABBITMQ_URL=late.url)
    eventually(lambda: said(node, "no match events: RabbitMQ is tried again and again") == 1, "it says so")
    assert node.get("/readyz").status == 200
    assert metric(node, "collab_intake_connected") == 0
    late.start()
    takes(node)
    late.publish(found(session), queue=queue)
    made(redis, session)
    # Told once, not with every try, and never with the password.
    assert said(node, "no match events: RabbitMQ is tried again and again") == 1
    assert "canary" not in node.log() and PASSWORD not in node.log()


def test_a_broker_that_hangs_is_left(own_children, redis, start, queue, session):
    """A broker stops answering without closing anything, and the node waits for ever."""
    broker = own_children.rabbit()
    node = start("node", RABBITMQ_URL=f"{broker.url}?heartbeat=1")
    broker.signal(signal.SIGSTOP)
    eventually(lambda: metric(node, "collab_intake_connected") == 0, "it is noticed")
    broker.signal(signal.SIGCONT)
    takes(node)
    broker.publish(found(session), queue=queue)
    made(redis, session)


def test_over_tls_the_certificate_is_checked(own_children, redis, start, queue, session):
    """Events, and the password, go to whoever answers; or a broker with a certificate of its own cannot be used."""
    broker = own_children.rabbit(tls=True)
    node = start("node", RABBITMQ_URL=broker.tls_url, RABBITMQ_CA=broker.ca)
    broker.publish(found(session), queue=queue)
    made(redis, session)
    doubtful = start("doubtful", taking=False, RABBITMQ_URL=broker.tls_url)
    eventually(lambda: "no match events" in doubtful.log(), "it says so")
    assert "certificate" in doubtful.log()
    assert "canary" not in node.log() + doubtful.log()
    answer = node.run("check-config", RABBITMQ_URL="amqp://localhost")
    assert answer.returncode == 78 and "RABBITMQ_CA" in answer.stderr, answer


def test_a_password_is_not_told(start, rabbit, queue):
    """The log or the settings that are shown give the broker's password away."""
    node = start("node", RABBITMQ_URL=rabbit.url.replace("%3F", "%3Fwrong"), taking=False)
    eventually(lambda: "no match events" in node.log(), "it says so")
    assert "ACCESS_REFUSED" in node.log()
    shown = node.run("check-config")
    assert shown.returncode == 0 and "RABBITMQ_URL=amqp://collabd:***@127.0.0.1" in shown.stdout, shown
    bad = node.run("check-config", RABBITMQ_URL=f"amqp://collabd:{PASSWORD}@127.0.0.1")
    assert bad.returncode == 78 and "RABBITMQ_URL" in bad.stderr, bad
    for text in (node.log(), shown.stdout, bad.stdout + bad.stderr):
        assert "canary" not in text and "w@rd" not in text


# What breaks meanwhile


def test_a_broker_restarts_in_mid_stream(start, rabbit, redis, queue, session):
    """Events are lost or doubled when the broker restarts, or the nodes do not come back to it."""
    nodes = start("north", "south")
    matchmaker = Matchmaker(rabbit, queue, session, 2_000)
    matchmaker.after(500)
    rabbit.restart()
    matchmaker.join()
    exactly(redis, session, 2_000)
    for node in nodes:
        takes(node)
    drained(rabbit, queue, *nodes)


def test_a_broker_is_killed_in_mid_stream(start, rabbit, redis, queue, session):
    """What the broker confirmed before it crashed makes no session."""
    node = start("node")
    matchmaker = Matchmaker(rabbit, queue, session, 1_000)
    matchmaker.after(300)
    rabbit.kill()
    rabbit.start()
    matchmaker.join()
    exactly(redis, session, 1_000)
    drained(rabbit, queue, node)


def test_a_node_is_killed_in_mid_stream(start, rabbit, redis, queue, session):
    """Events that a dead node had taken are gone with it."""
    north, south = start("north", "south")
    matchmaker = Matchmaker(rabbit, queue, session, 2_000)
    matchmaker.after(500)
    north.kill()
    matchmaker.join()
    exactly(redis, session, 2_000)
    drained(rabbit, queue, south)


def test_redis_is_away_while_events_come(own_children, rabbit, start, queue, session):
    """Events that come while no session can be made are acknowledged, or thrown among the dead."""
    store = own_children.redis(durable=True)
    nodes = start("north", "south", REDIS_URL=store.url, COMMAND_TIMEOUT=1)
    rabbit.publish(*[found(f"{session}-{number}") for number in range(100)], queue=queue)
    exactly(store, session, 100)
    store.stop()
    rabbit.publish(*[found(f"{session}-{number}") for number in range(100, 300)], queue=queue)
    eventually(lambda: total(nodes, "retried") > 0, "it is tried")
    store.start()
    exactly(store, session, 300)
    assert total(nodes, "dead") == 0 and rabbit.ready(f"{queue}.dead") == 0
    drained(rabbit, queue, *nodes)


def test_a_node_without_redis_leaves_the_events_to_others(start, rabbit, redis, queue, session):
    """A node that is cut off from Redis keeps events that another could take."""
    proxy = Proxy(redis.port)
    cut = start("cut", REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0", COMMAND_TIMEOUT=1)
    proxy.cut()
    try:
        rabbit.publish(*[found(f"{session}-{number}") for number in range(20)], queue=queue)
        eventually(lambda: events(cut, "retried") > 0, "it is tried")
        start("well")
        exactly(redis, session, 20)
        eventually(lambda: rabbit.consumers(queue) == 1, "it consumes no more")
        proxy.mend()
        eventually(lambda: rabbit.consumers(queue) == 2, "until Redis is back", within=BROKER)
    finally:
        cut.terminate()
        proxy.close()


def test_a_node_that_leaves_has_nothing_left(start, rabbit, redis, queue, session):
    """A deploy leaves events unacknowledged, or takes new ones while the node goes."""
    north, south = start("north", "south", DRAIN_DELAY=3)
    matchmaker = Matchmaker(rabbit, queue, session, 2_000)
    matchmaker.after(500)
    north.signal(signal.SIGTERM)
    eventually(lambda: rabbit.consumers(queue) == 1, "it consumes no more", within=3)
    assert north.alive, "it is the first thing it does"
    eventually(lambda: metric(north, "collab_match_events_in_flight") == 0, "what it had is done", within=3)
    assert metric(north, "collab_intake_connected") == 0
    taken = events(north, "created")
    assert north.process.wait(15) == 0
    matchmaker.join()
    exactly(redis, session, 2_000)
    # None came again: all that it took it also acknowledged.
    eventually(lambda: events(south, "created") == 2_000 - taken, "the other made the rest")
    assert events(south, "existing") == 0
    drained(rabbit, queue, south)


@pytest.mark.parametrize("away", ["redis", "broker"])
def test_a_node_leaves_when_something_is_away(own_children, start, queue, session, away):
    """A stop waits for a broker, or for a Redis, that does not answer."""
    store, broker = own_children.redis(), own_children.rabbit()
    node = start("node", REDIS_URL=store.url, RABBITMQ_URL=broker.url, COMMAND_TIMEOUT=1)
    (store if away == "redis" else broker).signal(signal.SIGSTOP)
    if away == "redis":
        broker.publish(*[found(f"{session}-{number}") for number in range(5)], queue=queue)
        eventually(lambda: events(node, "retried") > 0, "it is tried")
    assert node.terminate(within=20) == 0
    if away == "redis":
        assert broker.ready(queue) == 5, "they are for others"


def test_ten_thousand_matches_are_ten_thousand_sessions(start, rabbit, redis, queue, session):
    """Under load, restarts of the broker and of a node lose events, double sessions or leave messages behind."""
    began = time.monotonic()
    north, south = start("north", "south")
    matchmaker = Matchmaker(rabbit, queue, session, 10_000)
    matchmaker.after(2_000)
    south.kill()
    matchmaker.after(3_000)
    south.start()
    matchmaker.after(5_000)
    rabbit.restart()
    matchmaker.after(8_000)
    assert south.terminate() == 0
    south.start()
    matchmaker.join()
    published = time.monotonic()
    exactly(redis, session, 10_000)
    done = time.monotonic()
    print(f"published in {published - began:.1f} s, all sessions {done - published:.1f} s later")
    assert rabbit.ready(f"{queue}.dead") == 0
    for node in (north, south):
        takes(node)
    again = total([north, south], "existing")
    drained(rabbit, queue, north, south)
    print(f"{again:.0f} events came again, in {time.monotonic() - began:.1f} s altogether")
