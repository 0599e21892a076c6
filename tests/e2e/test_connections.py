"""How many sockets there are and where, and which: over all nodes, as if they were one."""

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event, Thread
from urllib.parse import urlencode

import pytest
from support.deadline import eventually
from support.http import assert_problem
from support.listeners import DOORS, Listener, guest_of, recorded
from support.pad import pad
from support.peer import door, unique
from support.place import place_of
from support.proxy import DeafProxy, Proxy
from support.raw import RawSocket
from support.shapes import TIME
from support.tokens import SECRET, bearer, token

NOBODY = dict.fromkeys(("pairing", "review", "socketio", "raw", "workspace", "yjs"), 0)


@pytest.fixture(scope="module")
def redis(children):
    return children.redis()


@pytest.fixture(scope="module")
def nodes(children, redis):
    """Two that ask nobody who they are, and beat often."""
    return [children.node(name, REDIS_URL=redis.url, BEAT_INTERVAL=0.2, LEAVE_GRACE=0.2) for name in ("north", "south")]


def connections(node, headers=None, **query):
    answer = node.get("/connections" + (f"?{urlencode(query)}" if query else ""), headers=headers)
    assert answer.status == 200, answer
    said = answer.json
    assert said["total"] == sum(said["by_node"].values()) == sum(said["by_door"].values()), said
    return said


def ids(*nodes):
    return [node.get("/health").json["node_id"] for node in nodes]


def settled(nodes, total):
    """What all nodes say once they have heard of each other."""

    def said():
        found = [connections(node) for node in nodes]
        return found if all(one["total"] == total for one in found) else None

    return eventually(said, f"all nodes count {total} sockets")


class Sockets:
    """Idle sockets at the pairing door, opened by several at once."""

    def __init__(self, nodes, count, user="user"):
        self.session = unique("crowd")
        open_one = lambda at: RawSocket(nodes[at % len(nodes)], door(self.session, f"{user}-{at}"))
        with ThreadPoolExecutor(8) as pool:
            self.all = list(pool.map(open_one, range(count)))
        assert all(socket.answer.status == 101 for socket in self.all)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for socket in self.all:
            socket.socket.close()


# How many


def test_sums_are_of_all_nodes_and_doors(request, own_children):
    """Sockets of another node, or at some door, are not counted, or counted twice."""
    place = place_of("cluster", request, own_children, LEAVE_GRACE=0.2, BEAT_INTERVAL=0.2)
    session, host = recorded(place)
    shown = bearer(token("anybody"))
    of = lambda node: connections(node, shown)
    nobody = {"total": 0, "by_node": dict.fromkeys(ids(*place.nodes), 0), "by_door": doors()}
    eventually(lambda: of(place.north) == nobody, "the nodes have heard of each other")
    with ExitStack() as stack:
        for at, client in enumerate([*DOORS, "pairing", "raw", "raw"]):
            node = place.nodes[at % 2]
            stack.enter_context(Listener(node, client, guest_of(place, session, host), session))
        count = len(DOORS) + 3
        for node in place.nodes:
            said = eventually(lambda node=node: (one := of(node))["total"] == count and one, "all are counted")
            assert said["by_door"] == doors(pairing=2, review=1, socketio=3, raw=3, workspace=1)
            assert sorted(said["by_node"].values()) == [5, 5]
            status = node.get("/status", headers=shown).json
            assert status["connections"] == count
            assert {one["node_id"]: one["connections"] for one in status["nodes"]} == said["by_node"]
            assert (status["redis"], status["database"]) == ("healthy", "healthy")
            assert status["rooms"] > 0 and "stale" not in status
    for node in place.nodes:
        eventually(lambda node=node: of(node)["total"] == 0, "nobody is left")
    assert_problem(place.north.get("/connections"), 401, "unauthorized")
    assert_problem(place.north.get("/status"), 401, "unauthorized")


def doors(**sockets):
    return NOBODY | sockets


def test_sums_are_equal_while_sockets_come_and_go(nodes):
    """The sum by node is of another moment than the sum by door."""
    stop = Event()

    def churn():
        while not stop.is_set():
            with Sockets(nodes, 12):
                pass

    churning = Thread(target=churn)
    churning.start()
    try:
        # Each look compares the sums.
        totals = {connections(nodes[at % 2])["total"] for at in range(300)}
    finally:
        stop.set()
        churning.join()
    assert len(totals) > 1, "something happened"
    settled(nodes, 0)


def test_a_killed_node_disappears(redis, nodes, own_children):
    """Its sockets are counted for ever."""
    east = own_children.node("east", REDIS_URL=redis.url, LEASE=2, BEAT_INTERVAL=0.2)
    (gone,) = ids(east)
    with Sockets([*nodes, east], 9):
        said = settled([*nodes, east], 9)
        assert all(one["by_node"][gone] == 3 for one in said)
        east.kill()
        said = settled(nodes, 6)
        assert all(gone not in one["by_node"] for one in said)
        assert nodes[0].get("/status").json["connections"] == 6
    settled(nodes, 0)


def test_numbers_last_known_say_so(redis, own_children):
    """They are taken for those of now while Redis is away."""
    way = Proxy(redis.port)
    node = own_children.node("cut", REDIS_URL=f"redis://127.0.0.1:{way.port}/0", KEY_PREFIX="cut-", BEAT_INTERVAL=0.2)
    other = own_children.node("whole", REDIS_URL=redis.url, KEY_PREFIX="cut-", BEAT_INTERVAL=0.2)
    with Sockets([node, other], 4):
        settled([node, other], 4)
        way.cut()
        status = eventually(lambda: (one := node.get("/status").json).get("stale") and one, "it is said")
        assert (status["redis"], status["connections"], len(status["nodes"])) == ("unhealthy", 4, 2)
        said = connections(node)
        assert (said["stale"], said["total"]) == (True, 4)
        way.mend()
        eventually(lambda: "stale" not in connections(node), "it is over")
        assert node.get("/status").json["redis"] == "healthy"
    way.close()


def test_a_deaf_node_is_not_healthy(redis, own_children):
    """Its status says so while its health says otherwise."""
    way = DeafProxy(redis.port)
    url = f"redis://127.0.0.1:{way.port}/0"
    node = own_children.node("deaf", REDIS_URL=url, KEY_PREFIX="deaf-", PROBE_SILENCE=0.3)
    assert node.get("/status").json["redis"] == "healthy"
    way.deaf = True
    eventually(lambda: node.get("/status").json["redis"] == "unhealthy", "it is said")
    way.close()


def test_a_node_alone(own_children):
    """What is only known of clusters is missing."""
    node = own_children.node("alone", DATABASE_URL="none")
    status = node.get("/status").json
    assert (status["redis"], status["database"], len(status["nodes"])) == ("not configured", "not configured", 1)
    with Sockets([node], 3):
        # Its own sockets are those of now.
        said = connections(node, limit=10)
        assert (said["total"], len(said["list"]), said["unreachable"]) == (3, 3, [])


def test_a_node_that_does_not_tell_its_doors_is_counted(redis, nodes):
    """During a deploy the sums differ."""
    old = "00000000000000aa"
    report = {"node": old, "name": "old", "version": "0.0.1", "sockets": 7, "users": 7, "rooms": 1, "routed": 0}
    redis.client.set(f"node:{old}", packed(report | {"started_at": 1}), px=3_000)
    redis.client.zadd("nodes", {old: float(redis.client.time()[0] * 1_000 + 2_500)})
    said = settled(nodes, 7)
    assert all(one["by_node"][old] == 7 and one["by_door"]["other"] == 7 for one in said)
    said = connections(nodes[0], limit=10)
    assert said["unreachable"] == [old]
    settled(nodes, 0)


def packed(fields):
    """MessagePack of names with short texts and numbers."""
    text = lambda word: bytes([0xA0 | len(word)]) + word.encode()
    value = lambda of: text(of) if isinstance(of, str) else bytes([of])
    return bytes([0x80 | len(fields)]) + b"".join(text(name) + value(of) for name, of in fields.items())


# Which


def pages(node, limit, **options):
    """All pages, by the cursor of each."""
    found, cursor = [], None
    while True:
        said = connections(node, limit=limit, **({"cursor": cursor} if cursor else {}), **options)
        found.append(said["list"])
        assert said["unreachable"] == []
        assert len(said["list"]) <= limit
        cursor = said.get("next_cursor")
        if cursor is None:
            return found
        assert len(said["list"]) == limit, "only the last page has room"


def test_every_socket_is_on_one_page(nodes):
    """One is on two pages or on none, or the other nodes' are not there."""
    with Sockets(nodes, 250) as sockets:
        settled(nodes, 250)
        of_each = []
        for node, limit in zip(nodes, (37, 125), strict=True):
            found = [one for page in pages(node, limit) for one in page]
            assert len(found) == 250
            assert {one["user_id"] for one in found} == {f"user-{at}" for at in range(250)}
            assert [one["socket_id"] for one in found] == sorted({one["socket_id"] for one in found})
            assert {one["node_id"] for one in found} == set(ids(*nodes))
            of_each.append(found)
        assert of_each[0] == of_each[1]
        one = of_each[0][0]
        assert one == {
            "socket_id": one["socket_id"],
            "node_id": one["node_id"],
            "user_id": one["user_id"],
            "username": one["user_id"],
            "door": "pairing",
            "connected_at": TIME,
            "rooms": [f"session:{sockets.session}"],
        }
        assert "list" not in connections(nodes[0])
        whole = connections(nodes[0], limit=250)
        assert (len(whole["list"]), "next_cursor" in whole) == (250, False)
        assert len(connections(nodes[0], cursor="")["list"]) == 100
    settled(nodes, 0)


def test_who_stays_is_listed_once_while_others_come_and_go(nodes):
    """A socket that goes takes another one's place on a page."""
    stop = Event()
    with Sockets(nodes, 60, "stays"):
        settled(nodes, 60)

        def churn():
            while not stop.is_set():
                with Sockets(nodes, 10, "goes"):
                    pass

        churning = Thread(target=churn)
        churning.start()
        try:
            for at in range(10):
                found = [one["user_id"] for page in loose_pages(nodes[at % 2], 9) for one in page]
                staying = [user for user in found if user.startswith("stays")]
                assert sorted(staying) == sorted(f"stays-{number}" for number in range(60))
        finally:
            stop.set()
            churning.join()
    settled(nodes, 0)


def loose_pages(node, limit):
    cursor = None
    while True:
        said = connections(node, limit=limit, **({"cursor": cursor} if cursor else {}))
        yield said["list"]
        cursor = said.get("next_cursor")
        if cursor is None:
            return


def test_a_socket_in_rooms_of_its_choice(nodes):
    """Only one of them is shown."""
    with pad(nodes[0], "raw", "ann", display_name="Ann") as courier:
        courier.next("connected")
        rooms = sorted(unique("room") for _ in range(2))
        for room in rooms:
            courier.emit("join", {"room": room})
        here = lambda: connections(nodes[1], limit=10)["list"]
        known = eventually(lambda: (found := here()) and len(found[0]["rooms"]) == 4 and found, "it is in all of them")
        assert known[0]["rooms"] == ["couriers", *(f"session:{room}" for room in rooms), "user:ann"]
        assert (known[0]["door"], known[0]["username"]) == ("raw", "Ann")
    settled(nodes, 0)


def test_a_node_that_does_not_answer_is_named(redis, own_children):
    """The whole page is refused, or looks as if nobody were there."""
    settings = {"REDIS_URL": redis.url, "KEY_PREFIX": "still-", "BEAT_INTERVAL": 0.2, "LEASE": 30}
    north, south = (own_children.node(name, **settings) for name in ("north", "south"))
    (here, there) = ids(north, south)
    with Sockets([north, south], 20):
        settled([north, south], 20)
        listed = lambda: connections(north, limit=50)
        assert len(listed()["list"]) == 20
        south.signal(signal.SIGSTOP)
        said = listed()
        assert (said["unreachable"], said["by_node"][there]) == ([there], 10)
        assert [one["node_id"] for one in said["list"]] == [here] * 10
        south.signal(signal.SIGCONT)
        assert len(listed()["list"]) == 20
        south.kill()
        said = listed()
        assert (said["unreachable"], len(said["list"])) == ([there], 10)
        # Others' pages begin where theirs ended.
        first = connections(north, limit=4)
        rest = connections(north, limit=50, cursor=first["next_cursor"])
        assert len(first["list"]) + len(rest["list"]) == 10


def test_who_is_told_which_there_are(own_children):
    """Anybody who has a token finds out who else is there."""
    node = own_children.node("tokens", JWT_SECRET=SECRET, HOST="127.0.0.1")
    for role in (None, "agent"):
        shown = bearer(token("ann", role=role))
        assert set(connections(node, shown)) == {"total", "by_node", "by_door"}
        for query in ("limit=5", "cursor="):
            assert_problem(node.get(f"/connections?{query}", headers=shown), 403, "forbidden")
    for role in ("admin", "service"):
        assert connections(node, bearer(token("root", role=role)), limit=5)["list"] == []
    assert_problem(node.get("/connections?limit=5"), 401, "unauthorized")


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "limit=", "cursor=x", "cursor=" + "0" * 31 + "g"])
def test_what_is_no_page_is_refused(nodes, query):
    """Nonsense is taken for the first page."""
    assert_problem(nodes[0].get(f"/connections?{query}"), 400, "bad_field", query.split("=")[0])


def test_what_only_looks_like_another_node_is_refused(own_children):
    """Whoever names itself a node is told who is there."""
    node = own_children.node("secret", JWT_SECRET=SECRET, HOST="127.0.0.1")
    for shown in ("", "x", token("ann", role="admin"), token("ann", key="another secret of somebody" * 2)):
        headers = {"X-Collabd-Pass": shown} | bearer(token("root", role="admin"))
        assert_problem(node.get("/connections?after=0&limit=5", headers=headers), 403, "forbidden")
