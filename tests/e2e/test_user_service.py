"""The user service: whose name everybody sees, who comes in, and what happens while the service does not answer."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlencode

import pytest
from socketio.exceptions import ConnectionError as Refused
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from support import recorded, tokens
from support.courier import courier
from support.deadline import PATIENCE, eventually
from support.http import assert_problem
from support.neighbour import Neighbour
from support.pad import pad
from support.peer import Peer, door, unique
from support.people import metric, said
from support.place import place_of
from support.raw import RawSocket, turned_away
from support.review import Reviewer
from support.tokens import SECRET, bearer, token

TIMEOUT = 0.3
PAUSE = 0.4
FAILURES = 3
MODES = ["prefer", "require"]
LEFT_ALONE = "a neighbour keeps failing: it is left alone"
BACK = "a neighbour answers again"
# No part of it may stand in a log.
PASSWORD = "canary-password-of-the-user-service"


@pytest.fixture(scope="module")
def service():
    service = Neighbour(below="/v1")
    yield service
    service.stop()


@pytest.fixture(scope="module")
def place(request, children, service):
    """Two nodes that keep records, with tokens."""
    return place_of("cluster", request, children, USER_SERVICE_URL=service.url)


def open_node(children, service, mode, **settings):
    """Believes everybody, and soon knows how the service is."""
    usual = {
        "USER_SERVICE_URL": service.url.replace("://", f"://collab:{PASSWORD}@") + "/",
        "USER_SERVICE_MODE": mode,
        "USER_SERVICE_TIMEOUT": TIMEOUT,
        "NEIGHBOUR_PAUSE": PAUSE,
        "NEIGHBOUR_FAILURES": FAILURES,
        "AUTH": "open",
        "JWT_SECRET": SECRET,
        "DATABASE_URL": "none",
        "MAX_CONNECTIONS_PER_USER": 1_000,
        "HANDSHAKE_RATE": 100_000,
        "HANDSHAKE_BURST": 100_000,
    }
    return children.node(mode, **usual | settings)


@pytest.fixture(scope="module")
def open_nodes(children, service):
    return {mode: open_node(children, service, mode) for mode in MODES}


@pytest.fixture(params=MODES)
def node(request, open_nodes, service):
    """The service is well when a test begins, and the node knows."""
    node = open_nodes[request.param]
    node.mode = request.param
    eventually(lambda: is_asked(node, service), "the node asks the service again")
    return node


@pytest.fixture
def strict(open_nodes, service):
    eventually(lambda: is_asked(open_nodes["require"], service), "the node asks the service again")
    return open_nodes["require"]


@pytest.fixture
def lenient(open_nodes, service):
    eventually(lambda: is_asked(open_nodes["prefer"], service), "the node asks the service again")
    return open_nodes["prefer"]


def is_asked(node, service):
    user = unique("probe")
    service.knows(user)
    turned_away(node, door(unique("session"), user))
    return service.requests(user) and not metric(node, 'collab_neighbour_open{neighbour="user_service"}')


def results(node, result):
    return metric(node, f'collab_neighbour_requests_total{{neighbour="user_service",result="{result}"}}')


def shown_as(node, user, name=None, **query):
    """The name a user has in a session into which it comes."""
    with Peer(node, unique("session"), user, name=name, **query) as peer:
        (entry,) = peer.greeting["users"]
        return entry["username"]


# Names


def test_the_services_name_wins_at_every_door_of_every_node(place, service, attend):
    """A door shows the name somebody gave themselves, or one of the nodes does."""
    for node, other in ((place.north, place.south), (place.south, place.north)):
        host = recorded.Visitor(node, "host")
        service.knows(host.id, username="Grace Hopper")
        session = recorded.made(node, host, default_role="editor")
        watcher = attend(other, session, host)
        assert watcher.greeting["user"]["username"] == "Grace Hopper"

        names = {}
        with ExitStack() as stack:
            for way in ("review", "pairing", "websocket", "polling"):
                who = recorded.Visitor(node, way)
                service.knows(who.id, username=f"Known {way}")
                if way == "review":
                    stack.enter_context(Reviewer(node, session, who))
                elif way == "pairing":
                    stack.enter_context(Peer(node, session, name="Self-styled", token=who.token))
                else:
                    client = stack.enter_context(pad(node, f"python-{way}", auth=who.auth, username="Self-styled"))
                    client.join(session)
                joined = watcher.until(lambda f: f["type"] == "user_joined" and f["user"]["user_id"] == who.id)[-1]
                names[way] = joined["user"]["username"]
            for way in ("python-websocket", "python-polling", "raw"):
                who = recorded.Visitor(node, "backend")
                service.knows(who.id, username=f"Known {way}")
                stack.enter_context(courier(node, way, who.id, "Self-styled", auth=who.auth))
                online = other.get("/api/users/online?limit=1000", headers=bearer(who.token)).json["users"]
                names[way] = next(u["display_name"] for u in online if u["user_id"] == who.id)
        assert names == {way: f"Known {way}" for way in names}
        assert len(names) == 7


def test_what_the_service_is_asked(lenient, service):
    """The service gets a token, or half an id."""
    user = "ann:b@c|d"
    service.knows(user, username="Known")
    assert shown_as(lenient, user, "Self-styled", token=token(user)) == "Known"
    path, headers = service.heard[-1]
    assert path == "/v1/users/ann%3Ab%40c%7Cd"
    assert headers["authorization"].startswith("Basic "), "by the login in the URL"
    assert tokens.minted[-1] not in json.dumps(headers)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"username": "U", "name": "N", "display_name": "D"}, "U"),
        ({"name": "N", "display_name": "D"}, "N"),
        ({"display_name": "Zoë 🦀"}, "Zoë 🦀"),
        ({"username": 7, "name": ["N"], "display_name": None}, "Self-styled"),
        ({"username": "bell\u0007", "name": "N"}, "N"),
        ({"username": "n" * 129}, "Self-styled"),
        ({"username": "n" * 128}, "n" * 128),
        ({}, "Self-styled"),
    ],
)
def test_which_name_is_taken(node, service, fields, name):
    """What cannot be shown is shown, or keeps somebody out whom the service knows."""
    user = unique("ann")
    service.knows(user, **fields)
    assert shown_as(node, user, "Self-styled") == name


def test_the_services_name_wins_over_the_tokens(place, service):
    """Who made the token decides what everybody is called."""
    user = unique("ann")
    service.knows(user, name="Known")
    for node in place.nodes:
        assert shown_as(node, None, token=token(user, name="Of the token")) == "Known"
        other = unique("bob")
        assert shown_as(node, None, token=token(other, name="Of the token")) == "Of the token"


def test_guests_services_and_agents_are_not_looked_up(strict, service):
    """Who is nobody there by its nature cannot come in, or costs a request."""
    before = service.requests()
    with pad(strict, "python-websocket") as guest:
        guest.join(unique("room"))
    for role in ("service", "agent"):
        assert turned_away(strict, door(unique("session"), token=token(unique(role), role=role))).status == 101
    assert service.requests() == before
    # Who merely calls itself so is looked up.
    with pytest.raises(Refused):
        pad(strict, "python-websocket", "guest-0badcafe").end()
    assert service.requests() == before + 1


def test_rest_asks_nobody(place, service):
    """A request costs another one."""
    before = service.requests()
    who = recorded.Visitor(place.north)
    session = recorded.made(place.north, who)
    assert recorded.look(place.south, who, session).status == 200
    assert service.requests() == before


# Cache


def test_two_hundred_sockets_of_one_user_cost_one_request(node, service, session):
    """A crowd that comes back at once falls upon the service."""
    user = unique("ann")
    service.knows(user, username="Known")
    begun = threading.Event()
    path = door(session, user, "Self-styled")

    def come(_):
        begun.wait(PATIENCE)
        with RawSocket(node, path) as raw:
            assert raw.answer.status == 101
            return {entry["username"] for entry in raw.recv_json()["users"]}

    with ThreadPoolExecutor(200) as pool:
        coming = [pool.submit(come, number) for number in range(200)]
        begun.set()
        assert {frozenset(one.result(PATIENCE)) for one in coming} == {frozenset({"Known"})}
    assert service.requests(user) == 1


def test_answers_are_kept_for_a_while(own_children, service):
    """A change of name is never seen, or each socket costs a request; who is new waits long."""
    node = open_node(own_children, service, "require", USER_SERVICE_CACHE_TTL=30)
    ann, bob = unique("ann"), unique("bob")
    service.knows(ann, username="First")
    assert shown_as(node, ann) == shown_as(node, ann) == "First"
    assert service.requests(ann) == 1

    path = door(unique("session"), bob)
    assert [turned_away(node, path).status for _ in range(3)] == [403] * 3
    assert service.requests(bob) == 1
    service.knows(bob, username="Bob")
    # A tenth of the time.
    eventually(lambda: turned_away(node, path).status == 101, "bob is known", within=15)
    assert shown_as(node, ann) == "First"
    assert service.requests(ann) == 1


def test_a_kept_answer_is_forgotten(own_children, service):
    """A user's new name is not seen until the node is restarted."""
    node = open_node(own_children, service, "prefer", USER_SERVICE_CACHE_TTL=0.5)
    ann = unique("ann")
    service.knows(ann, username="First")
    assert shown_as(node, ann) == "First"
    service.knows(ann, username="Second")
    eventually(lambda: shown_as(node, ann) == "Second", "the new name is shown", within=5)


def test_kept_answers_are_bounded(own_children, service):
    """Whoever comes under ever new names fills the node's memory."""
    node = open_node(own_children, service, "prefer", NEIGHBOUR_CACHE=10)
    users = [unique("ann") for _ in range(300)]
    paths = [door(unique("session"), user) for user in users]
    for user in users:
        service.knows(user)
    with ThreadPoolExecutor(16) as pool:
        come = lambda: {answer.status for answer in pool.map(lambda path: turned_away(node, path), paths)}
        assert come() == {101}
        before = service.requests()
        assert come() == {101}
    assert service.requests() - before >= 200


# No such user, and no answer


def assert_kept_out(node, service, status, code, close):
    """At every door, as it says no there."""
    for path in (door(unique("session"), unique("ann")), f"/?user_id={unique('ann')}"):
        answer = turned_away(node, path)
        assert_problem(answer, status, code)
        assert (int(answer.headers.get("retry-after", 0)) > 0) == (status == 503)
        with RawSocket(node, path, Origin=f"http://{node.address}") as page:
            assert page.answer.status == 101
            _, payload, _ = page.recv_frame()
            assert int.from_bytes(payload[:2], "big") == close, payload
            if close == 1013:
                assert json.loads(payload[2:])["retry_in_ms"] > 0
    for transport in ("websocket", "polling"):
        told = knock(node, transport, unique("ann"))
        if status == 503:
            # Cut off without a word: so the library comes back by itself.
            assert told is None
        else:
            assert told["data"]["code"] == code, told


def knock(node, transport, user):
    """What who asks for the namespace is told: its `connect_error`, `"in"`, or nothing before the end."""
    if transport == "websocket":
        query = urlencode({"EIO": 4, "transport": transport, "user_id": user})
        with connect(f"ws://{node.address}/socket.io/?{query}", proxy=None, open_timeout=PATIENCE) as socket:
            socket.recv(PATIENCE)
            socket.send("40")
            try:
                return heard(socket.recv(PATIENCE))
            except ConnectionClosed:
                return None
    path = f"/socket.io/?{urlencode({'EIO': 4, 'transport': transport, 'user_id': user})}"
    sid = json.loads(node.get(path).text[1:])["sid"]
    path += f"&sid={sid}"
    assert node.post(path, b"40").text == "ok"
    packet = node.get(path).text.split("\x1e")[0]
    return heard(packet) if packet != "1" else None


def heard(packet):
    assert packet[:2] in ("40", "44"), packet
    return "in" if packet[:2] == "40" else json.loads(packet[2:])


def assert_let_in(node):
    user = unique("ann")
    assert shown_as(node, user, "Self-styled") == "Self-styled"
    assert turned_away(node, f"/?user_id={unique('ann')}").status == 101
    for transport in ("websocket", "polling"):
        assert knock(node, transport, unique("ann")) == "in"


@pytest.mark.parametrize("status", [404, 410, 400, 422])
def test_who_is_not_known_there(node, service, status):
    """`require` lets strangers in, or `prefer` keeps them out; or odd ids open the circuit for everybody."""
    with service.saying(status, {"detail": "no"}):
        if node.mode == "require":
            assert_kept_out(node, service, 403, "forbidden", 4403)
        else:
            assert_let_in(node)
    assert not metric(node, 'collab_neighbour_open{neighbour="user_service"}')


TROUBLES = {
    "500": lambda service: service.saying(500, {"detail": "oops"}),
    "unauthorized": lambda service: service.saying(401, {}),
    "slow": lambda service: service.stalled(),
    "refused connection": lambda service: service.away(),
    "no JSON": lambda service: service.saying(200, b"<html>"),
    "no object": lambda service: service.saying(200, ["ann"]),
    "empty": lambda service: service.saying(200, b""),
    "huge": lambda service: service.saying(200, {"username": "n" * 1_000_000}),
    "deep": lambda service: service.saying(200, b'{"a":' * 5_000),
    "redirect elsewhere": lambda service: service.saying(302, Location="http://127.0.0.2:1/users/ann"),
    "redirect for ever": lambda service: service.saying(302, Location="/v1/users/ann"),
    "redirect nowhere": lambda service: service.saying(302),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_while_the_service_does_not_answer(node, service, trouble):
    """`require` lets in whom nobody vouches for, or `prefer` fails together with the service."""
    with TROUBLES[trouble](service):
        if node.mode == "require":
            assert_kept_out(node, service, 503, "user_service_unavailable", 1013)
        else:
            assert_let_in(node)


def test_a_redirect_elsewhere_is_not_followed(lenient, service):
    """Whoever can make the service redirect has the node ask whom it likes."""
    other = Neighbour()
    user = unique("ann")
    try:
        with service.saying(307, Location=f"{other.url}/v1/users/{user}"):
            other.known[f"/v1/users/{user}"] = {"username": "Of the other"}
            assert shown_as(lenient, user, "Self-styled") == "Self-styled"
        assert other.requests() == 0
    finally:
        other.stop()


def test_a_redirect_to_the_same_place_is_followed(lenient, service):
    """A service that puts a slash at the end is of no use."""
    user, known = unique("ann"), {"username": "Known"}
    there = service.path(user) + "/"

    def redirecting(path):
        if path == there:
            return 200, json.dumps(known).encode(), {}
        return 307, b"", {"Location": there}

    service.instead = redirecting
    try:
        assert shown_as(lenient, user, "Self-styled") == "Known"
    finally:
        service.instead = None


def test_the_circuit_opens_and_closes_again(node, service):
    """A service that is down is asked for everybody, a slow one costs everybody its timeout; or it is never asked again."""
    opened, closed = said(node, LEFT_ALONE), said(node, BACK)
    session = unique("session")
    with service.stalled():
        before = service.requests()
        for _ in range(FAILURES):
            turned_away(node, door(session, unique("ann")))
        assert service.requests() - before == FAILURES
        assert metric(node, 'collab_neighbour_open{neighbour="user_service"}') == 1
        # From here on it is asked by one at a time, after each pause.
        began, came = time.monotonic(), 0
        while time.monotonic() - began < 4 * PAUSE:
            with ThreadPoolExecutor(8) as pool:
                came += len(list(pool.map(lambda _: turned_away(node, door(session, unique("ann"))), range(8))))
        probes = service.requests() - before - FAILURES
        assert 1 <= probes <= (time.monotonic() - began) / PAUSE + 1, (probes, came)
        assert came > 2 * probes
        assert said(node, LEFT_ALONE) == opened + 1
        assert said(node, BACK) == closed
    user = unique("ann")
    service.knows(user, username="Known")
    named = lambda: turned_away(node, door(session, user)).status == 101 and service.requests(user)
    eventually(named, "the service is asked again")
    assert said(node, BACK) == closed + 1
    assert metric(node, 'collab_neighbour_open{neighbour="user_service"}') == 0
    assert shown_as(node, user) == "Known"


def test_an_open_circuit_costs_no_time(lenient, service):
    """Everybody waits for a service that is known to be away."""
    with service.stalled():
        for _ in range(FAILURES):
            turned_away(lenient, door(unique("session"), unique("ann")))
        took = []
        while len(took) < 9:
            before = results(lenient, "open")
            began = time.monotonic()
            assert turned_away(lenient, door(unique("session"), unique("ann"))).status == 101
            if results(lenient, "open") > before:
                took.append(time.monotonic() - began)
        assert sorted(took)[4] < TIMEOUT / 2, took


def test_more_than_may_ask_at_once_wait_for_their_turn(own_children, service):
    """A crowd of users opens as many connections to the service as it has heads."""
    node = open_node(own_children, service, "require", NEIGHBOUR_REQUESTS=2, NEIGHBOUR_FAILURES=100)
    users = [unique("ann") for _ in range(8)]
    for user in users:
        service.knows(user)
    before = service.requests()
    with ThreadPoolExecutor(8) as pool, service.stalled():
        coming = [pool.submit(turned_away, node, door(unique("session"), user)) for user in users]
        eventually(lambda: service.requests() - before == 2, "two ask")
        # The first two wait for their answer as long as all others for a turn.
        statuses = [one.result(PATIENCE).status for one in coming]
    assert statuses == [503] * 8
    assert service.requests() - before <= 4
    assert results(node, "busy") >= 4
    # It is not the service's fault.
    assert metric(node, 'collab_neighbour_open{neighbour="user_service"}') == 0
    with ThreadPoolExecutor(8) as pool:
        again = pool.map(lambda user: turned_away(node, door(unique("session"), user)), users)
        assert [answer.status for answer in again] == [101] * 8


@pytest.mark.parametrize("client", ["js-websocket", "js-polling", "js-both"])
def test_a_socket_io_client_comes_back_by_itself(strict, service, session, join, client):
    """A moment in which the service is away is the end for a client of the library."""
    user, other = unique("ann"), unique("bob")
    service.knows(user, username="Known")
    service.knows(other)
    bob = join(strict, session, other)
    rejected = lambda: metric(strict, 'collab_connections_rejected_total{reason="user_service_unavailable"}')
    with ThreadPoolExecutor(1) as pool:
        with service.saying(500):
            before = rejected()
            coming = pool.submit(pad, strict, client, user, reconnection=True)
            eventually(lambda: rejected() > before + 1, "it was kept out, and tried again")
        with coming.result(PATIENCE) as ann:
            ann.join(session)
            assert bob.expect("user_joined")["username"] == "Known"


# Settings


@pytest.mark.parametrize("name", ["USER_SERVICE_URL", "AI_AGENTS_URL"])
@pytest.mark.parametrize("url", ["users:8001", "ftp://a:{}@users", "http://", "http://a:{}@users?key={}", "http://a:{}@users#x"])
def test_a_wrong_url_is_told_without_what_is_secret_in_it(lenient, name, url):
    """A node starts and asks nobody; or a password stands in a terminal, and in what was copied out of it."""
    checked = lenient.run("check-config", **{name: url.format(PASSWORD, PASSWORD)})
    told = checked.stdout + checked.stderr
    assert checked.returncode != 0, told
    assert f"{name}: given" in told and "http:// or https://" in told, told
    assert PASSWORD not in told


def test_a_mode_without_a_service_is_a_mistake(children):
    """Somebody relies on a check that nobody makes."""
    node = children.node("plain", DATABASE_URL="none")
    checked = node.run("check-config", USER_SERVICE_MODE="require")
    assert checked.returncode != 0
    assert "USER_SERVICE_MODE: given" in checked.stdout + checked.stderr
    assert 'neighbour="user_service"' not in node.metrics()


def test_no_log_has_a_password_a_token_or_a_body(open_nodes, service, place):
    """Runs last: whatever the tests above did, with logs at DEBUG."""
    ann = unique("ann")
    service.knows(ann, username="Known", email="canary@example.net")
    for node in [*open_nodes.values(), *place.nodes]:
        turned_away(node, door(unique("session"), ann, token=token(ann)))
        with service.saying(200, b'{"username": canary}'):
            turned_away(node, door(unique("session"), token=token(unique("bob"))))
        log = node.log()
        assert PASSWORD not in log
        assert "canary@example.net" not in log and "oops" not in log
        assert not [made for made in tokens.minted if made in log]
    assert "its answer cannot be read at line 1" in open_nodes["require"].log()
