"""What operators see and do: health, metrics, logs, settings, start and stop."""

import json
import re
import shutil
import signal
import socket

import pytest

from support import shapes
from support.accounts import Person
from support.bridge import SECRET, Bridge
from support.deadline import eventually
from support.http import assert_problem
from support.peer import Peer, door, heard
from support.processes import ROOT, Node, free_port
from support.proxy import DeafProxy
from support.raw import RawSocket, refused
from support.workspace import Fellow


@pytest.fixture(scope="module")
def node(children):
    return children.node()


# Health


def test_health_has_the_documented_shape(node, session, join):
    """A status page finds a field missing or of another type."""
    before = node.get("/health").json["total_connections"]
    join(node, session, "ann")
    join(node, session, "ann")
    join(node, session, "bob")

    def counts():
        health = node.get("/health").json
        return (health["total_connections"], health["active_users"]) == (before + 3, 2) and health

    assert eventually(counts, "two users with three sockets are counted") == {
        "status": "healthy",
        "uptime": shapes.Matcher("seconds", lambda value: isinstance(value, (int, float)) and value >= 0),
        "active_users": 2,
        "total_connections": before + 3,
        "total_events_routed": shapes.NUMBER,
        "node_id": shapes.STRING,
        "version": shapes.STRING,
    }


def test_routed_events_are_counted(node, session, join):
    """The figure of routed events stands still."""
    ann = join(node, session, "ann")
    before = node.get("/health").json["total_events_routed"]
    for number in range(5):
        ann.ask("chat", message=str(number))
    eventually(lambda: node.get("/health").json["total_events_routed"] >= before + 5, "events are counted")


def totals(node):
    health = node.get("/health").json
    return health["total_connections"], health["total_events_routed"]


def test_totals_of_all_times_survive_every_node(own_children, session):
    """A deploy sets the figures back, or counts an event once for each node that heard it."""
    redis = own_children.redis(durable=True)
    nodes = [own_children.node(name, REDIS_URL=redis.url, BEAT_INTERVAL=0.2, LEASE=2) for name in ("one", "two")]
    with Peer(nodes[0], session, "ann") as ann, Peer(nodes[1], session, "bob") as bob:
        for number in range(5):
            ann.ask("chat", message=str(number))
        for _ in range(5):
            bob.expect("chat_message")
        eventually(lambda: all(totals(node)[0] == 2 for node in nodes), "both sockets are counted, on both nodes")
        # Five lines; besides, who came.
        eventually(lambda: 5 <= totals(nodes[0])[1] == totals(nodes[1])[1], "both nodes tell the same")
        assert totals(nodes[0])[1] < 10

    for node in nodes:
        node.terminate()
    for node in nodes:
        node.start()
    eventually(lambda: all(totals(node)[0] == 2 for node in nodes), "the totals go on")
    before = totals(nodes[0])[1]
    with Peer(nodes[1], session, "cat") as cat:
        cat.ask("chat", message="again")
        eventually(lambda: totals(nodes[0])[0] == 3, "and grow")
        eventually(lambda: totals(nodes[0])[1] > before, "and grow")

    # Who dies loses what it counted since its last beat, and no more.
    settled = totals(nodes[1])
    nodes[1].kill()
    nodes[1].start()
    eventually(lambda: totals(nodes[1]) >= settled, "nothing of what was told is lost")
    known = totals(nodes[0])
    redis.stop()
    eventually(lambda: nodes[0].get("/health").json.get("stale"), "the node says that it does not know")
    assert totals(nodes[0]) == known


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz", "/lb", "/health/redis", "/ws/health"])
def test_every_probe_of_a_healthy_node_is_200(node, path):
    """A balancer or an orchestrator takes a good node out of service."""
    assert node.get(path).status == 200


def test_redis_health_without_redis_says_not_configured(node):
    """A node that needs no Redis is reported as broken, or as having one."""
    health = node.get("/health/redis").json
    assert set(health) == {"status", "detail"}
    assert "not configured" in health["status"] + health["detail"]


def test_redis_health_with_redis(own_children):
    """The probe says well while Redis is away."""
    redis = own_children.redis()
    node = own_children.node(REDIS_URL=redis.url)
    assert node.get("/health/redis").status == 200
    redis.stop()
    eventually(lambda: node.get("/health/redis").status == 503, "the probe notices")
    assert set(node.get("/health/redis").json) == {"status", "detail"}
    assert node.get("/lb").status == 200
    redis.start()
    eventually(lambda: node.get("/health/redis").status == 200, "the probe recovers", within=30)


def test_a_node_that_hears_nothing_is_not_ready(own_children, session):
    """Everybody is sent to a node that takes commands and is deaf; or none is left when Redis is away."""
    redis = own_children.redis()
    proxy = DeafProxy(redis.port)
    node = own_children.node(REDIS_URL=f"redis://127.0.0.1:{proxy.port}", PROBE_SILENCE=2)
    assert node.get("/readyz").status == 200
    proxy.deaf = True
    eventually(lambda: node.get("/readyz").status == 503, "the node knows that it is deaf")
    assert "hears nothing" in node.get("/readyz").json["detail"]
    assert node.get("/health/redis").status == 503
    eventually(lambda: "collab_backplane_connected 0" in node.metrics(), "the metric says so")
    # Nothing is taken while the node listens anew, which it does from time to time.
    anew = node.log().count("redis is connected")
    eventually(lambda: node.log().count("redis is connected") > anew, "the node listens anew")
    with Peer(node, session, "ann") as ann:
        assert ann.ask("chat", message="taken all the same")["type"] == "ack"
    redis.stop()
    eventually(lambda: node.get("/readyz").status == 200, "without Redis no node is better than another")
    redis.start()
    proxy.deaf = False
    eventually(lambda: node.get("/health/redis").status == 200, "the node hears again", within=30)
    assert node.get("/readyz").status == 200
    eventually(lambda: "collab_backplane_connected 1" in node.metrics(), "the metric follows")
    with Peer(node, session, "bob") as bob:
        bob.ask("chat", message="hello")
    proxy.close()


def test_a_redis_that_forgets_is_warned_of_once(own_children):
    """What was acknowledged is gone after a restart, and nobody had said so; or it is said again and again."""
    redis = own_children.redis(options=["--maxmemory-policy", "allkeys-lru"])
    node = own_children.node(REDIS_URL=redis.url)
    for warning in ("appendonly is off", "maxmemory-policy is allkeys-lru"):
        eventually(lambda: warning in node.log(), warning)
    redis.client.client_kill_filter(_type="pubsub")
    eventually(lambda: node.log().count("redis is connected") == 2, "the node is connected anew")
    node.get("/health/redis")
    assert node.log().count("appendonly is off") == 1


def test_the_service_card(node):
    """Who calls the bare address sees nothing of what runs there."""
    card = node.get("/")
    assert card.status == 200
    assert card.kind == "application/json"
    assert "/health" in json.dumps(card.json), "the card links to what there is"
    assert "/pairing.html" in json.dumps(card.json)
    page = node.get("/", headers={"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"})
    assert page.status == 200
    assert page.kind == "text/html"
    assert "/playground/assets/" in page.text


def test_the_try_out_page_is_served(node):
    """The page of the first try-out is missing, or loads from elsewhere."""
    page = node.get("/pairing.html")
    assert page.status == 200
    assert page.kind == "text/html"
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page.text)


# Metrics


def documented_metrics():
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\|\s*`(collab_[a-z_]+)` \| (?:counter|gauge|histogram)", readme, re.MULTILINE)
    assert len(rows) > 20, "the README has no table of metrics"
    return set(rows)


# Counted only when something went wrong between the nodes.
FAULTS = {"collab_backplane_gaps_total", "collab_messages_dropped_total"}
# Counted only where match events are taken out of a queue; `test_matches` looks at them.
QUEUE = {
    *("collab_match_events_total", "collab_match_events_in_flight"),
    *("collab_match_event_duration_seconds", "collab_intake_connected"),
}


def test_every_documented_metric_exists_after_some_traffic(own_children, session):
    """A dashboard draws a metric that the node does not have."""
    redis, bridge = own_children.redis(), Bridge()
    node = own_children.node(REDIS_URL=redis.url, IDE_BRIDGE_URL=bridge.url, IDE_BRIDGE_SECRET=SECRET)
    with Fellow(node, "bob") as worker:
        worker.starts("an-agent")
        worker.completes("an-agent")
        bridge.has("agent:an-agent", 2)
    bridge.stop()
    with Peer(node, session, "zebulon") as zeb, Peer(node, session, "bob") as bob:
        zeb.ask("chat", message="hello")
        zeb.ask("code_change", code="x")
        zeb.send("cursor", cursor={"lineNumber": 1, "column": 1})
        zeb.send("dance")
        heard(zeb, bob)
    refused(node, door("{x}", "ann"))
    node.get("/health")
    # A node alone has a database.
    alone = own_children.node("alone")
    Person(alone)
    exposed = node.metrics() + alone.metrics()
    series = set(re.findall(r"^([a-z_]+)", exposed, re.MULTILINE))
    known = series | {re.sub(r"_(bucket|count|sum)$", "", name) for name in series}
    assert documented_metrics() - FAULTS - QUEUE - known == set()
    for name in re.findall(r"^# TYPE (\S+) histogram", exposed, re.MULTILINE):
        assert f"{name}_bucket" in exposed, "a summary does not add up across nodes"
    assert not re.search(rf"{session}|zebulon", exposed), "no label names a room or a user"


def test_every_metric_is_documented(node, session):
    """An operator meets a metric that no table explains."""
    with Peer(node, session, "ann") as ann:
        ann.ask("chat", message="hello")
    names = set(re.findall(r"^# TYPE (collab_\S+)", node.metrics(), re.MULTILINE))
    assert names - documented_metrics() == set()


def test_metrics_follow_what_happens(node, session, join):
    """A metric exists but never moves."""

    def value(series):
        found = re.search(rf"^{re.escape(series)} (\S+)$", node.metrics(), re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    open_before = value('collab_connections{door="pairing"}')
    closed_before = value('collab_connections_closed_total{code="1000"}')
    ann = join(node, session, "ann")
    bob = Peer(node, session, "bob")
    eventually(lambda: value('collab_connections{door="pairing"}') == open_before + 2, "two more sockets")
    bob.leave()
    eventually(lambda: value('collab_connections{door="pairing"}') == open_before + 1, "one less")
    eventually(lambda: value('collab_connections_closed_total{code="1000"}') > closed_before, "a close")
    rejects_before = value('collab_rejects_total{code="bad_field"}')
    ann.send("chat", message="")
    ann.until(lambda frame: frame["type"] == "error")
    eventually(lambda: value('collab_rejects_total{code="bad_field"}') == rejects_before + 1, "a reject")


def test_metrics_are_not_on_the_public_port(node):
    """Anybody on the internet reads the node's inner figures."""
    assert_problem(node.get("/metrics"), 404)


# Logs


def test_no_secret_and_no_content_reaches_the_log(own_children, session):
    """Tokens, questions of visitors, chat or code stand in a log that many read and few guard."""
    log_file = "node.log"
    node = own_children.node(LOG_FILE=log_file, LOG_LEVEL="DEBUG")
    with Peer(node, session, "ann") as ann:
        ann.ask("chat", message="canary-chat")
        ann.ask("code_change", code="canary-code")
        ann.ask("chat", message="canary-long" * 2000)
        ann.send("canary-type", value="canary-value")
        ann.send_raw('{"type":"chat","message":canary-broken}')
        ann.send("cursor", cursor={"lineNumber": "canary-cursor"})
        ann.before_pong()
    query = {"token": "canary-token", "note": "canary-query"}
    with RawSocket(node, door(session, "bob", **query), Authorization="Bearer canary-bearer") as raw:
        raw.recv_json()
    refused(node, door("{x}", "bob", **query), Authorization="Bearer canary-bearer")
    node.get("/api/v1/session/none/state?token=canary-token", headers={"Cookie": "canary=cookie"})
    node.get("/nowhere?token=canary-token")
    node.post("/api/v1/session?token=canary-token", b'{"session_id":"canary-body"')
    assert node.terminate() == 0
    said = node.log() + (node.folder / log_file).read_text()
    assert session in said, "the log tells of the session, so it was read"
    assert re.findall(r"canary[\w-]*", said) == []


def test_json_logs_are_json(node):
    """A log collector drops lines it cannot parse."""
    lines = [json.loads(line) for line in node.log().splitlines()]
    assert lines
    for line in lines:
        assert {"timestamp", "level"} <= set(line), line


def test_line_logs_have_the_old_form(own_children, session):
    """The scripts that read the old service's logs find nothing."""
    node = own_children.node(LOG_FORMAT="line", LOG_LEVEL="info")
    Peer(node, session, "ann").leave()
    assert node.terminate() == 0
    form = re.compile(r"\S+ \[(DEBUG|INFO|WARN|WARNING|ERROR)\]: [^{]+ (\{.*\})")
    lines = node.log().splitlines()
    assert lines
    for line in lines:
        matched = form.fullmatch(line)
        assert matched, line
        json.loads(matched.group(2))


def test_pretty_logs_and_the_log_file(own_children, session):
    """A developer reads JSON, or the log file stays empty."""
    node = own_children.node(LOG_FORMAT="pretty", LOG_FILE="copy.log")
    Peer(node, session, "ann").leave()
    assert node.terminate() == 0
    copy = (node.folder / "copy.log").read_text()
    for said in (node.log(), copy):
        assert session in said
        assert not said.startswith("{")
    assert "\x1b[" not in copy, "colours belong to a terminal"


def test_the_log_level_counts(own_children, session):
    """A level is ignored, and a busy node fills the disk."""
    node = own_children.node(LOG_LEVEL="error")
    Peer(node, session, "ann").leave()
    assert node.terminate() == 0
    assert node.log() == ""


# Settings, start and stop


def test_a_node_listens_on_several_addresses(own_children, session):
    """A node that replaces several services answers on one of their ports only."""
    first, second = free_port(), free_port()
    node = own_children.node(LISTEN=f"127.0.0.1:{first},127.0.0.1:{second}", PORT=first)
    ann = Peer(node, session, "ann", port=first)
    bob = Peer(node, session, "bob", port=second)
    ann.hears(shapes.joined("bob"))
    ann.leave()
    bob.leave()
    assert node.run("healthcheck").returncode == 0


def test_a_port_in_use_ends_the_start(own_children):
    """A node that cannot listen stays up and looks well."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        node = own_children.adopt(Node(PORT=port))
        node.spawn()
        assert node.process.wait(15) != 0
        assert str(port) in node.log(), "the log says which"


def test_check_config_shows_settings_and_masks_secrets(node):
    """A password stands in a terminal or a CI log, or a setting cannot be looked up."""
    answer = node.run(
        "check-config",
        REDIS_URL="redis://user:hunter2@redis.example:6379/0",
        LEAVE_GRACE="0.5",
        MAX_CODE_BYTES="1000",
    )
    assert answer.returncode == 0, answer
    shown = answer.stdout + answer.stderr
    assert "hunter2" not in shown
    assert "redis.example" in answer.stdout
    for name in ("PORT", "REDIS_URL", "LEAVE_GRACE", "HEARTBEAT_INTERVAL", "MAX_CODE_BYTES", "LOG_FORMAT"):
        assert name in answer.stdout, name
    assert re.search(r"MAX_CODE_BYTES\W+1000\b", answer.stdout)


BAD_SETTINGS = {
    "PORT": ["abc", "70000", "-1", "80.5"],
    "METRICS_PORT": ["none", "65536"],
    "LISTEN": ["nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:8004,,"],
    "HOST": ["not a host"],
    "REDIS_URL": ["localhost", "http://localhost:6379", "redis://"],
    "RABBITMQ_URL": ["localhost", "http://localhost:5672", "amqp://", "amqp://ann@localhost"],
    "QUEUE_NAME": ["amq.mine", "q" * 251],
    "QUEUE_PREFETCH": ["0", "70000"],
    "QUEUE_RECONNECT_MAX": ["0", "soon"],
    "LOG_FORMAT": ["xml"],
    "LOG_LEVEL": ["loud"],
    "LEAVE_GRACE": ["-1", "soon", "nan", "inf", "1e30"],
    "SESSION_GRACE": ["-5", "five"],
    "SESSION_TTL": ["0", "forever"],
    "HEARTBEAT_INTERVAL": ["0", "-1", "1s"],
    "HANDSHAKE_TIMEOUT": ["0", "x"],
    "MAX_FRAME_BYTES": ["0", "1MiB", "99999999999999999999"],
    "MAX_CODE_BYTES": ["-1", "many"],
    "OUTBOX_BYTES": ["0", "1.5"],
    "MESSAGE_QUEUE_SIZE": ["0", "x"],
    "MAX_CONNECTIONS": ["0", "all"],
    "SESSION_AUTOCREATE": ["maybe"],
    "DURABILITY": ["disk", "replicas"],
    "PROBE_SILENCE": ["0", "never"],
}


@pytest.mark.parametrize(
    "name,value", [(name, value) for name, values in BAD_SETTINGS.items() for value in values]
)
def test_a_bad_setting_is_refused_with_a_sentence(node, name, value):
    """A typing error in a setting acts as something else, or is told without saying where."""
    answer = node.run("check-config", **{name: value})
    assert answer.returncode == 78, answer
    shown = answer.stdout + answer.stderr
    assert name in shown
    # An address that cannot be read may hold a password anywhere.
    assert value in shown or (name in ("REDIS_URL", "RABBITMQ_URL") and "***" in shown), "what was given"
    assert "panicked" not in shown


def test_a_node_does_not_start_with_a_bad_setting(node):
    """A node runs with another setting than the one it was given."""
    answer = node.run("serve", HEARTBEAT_INTERVAL="soon", PORT=free_port(), METRICS_PORT=free_port())
    assert answer.returncode == 78, answer
    assert "HEARTBEAT_INTERVAL" in answer.stdout + answer.stderr


def test_a_bad_address_of_redis_is_told_without_its_password(node):
    """The complaint about a setting gives its secret away."""
    answer = node.run("check-config", REDIS_URL="redis://:hunter2@redis.example:port/0")
    assert answer.returncode == 78, answer
    assert "hunter2" not in answer.stdout + answer.stderr
    assert "REDIS_URL" in answer.stdout + answer.stderr


def test_settings_may_come_from_a_file(own_children):
    """A .env file is ignored, or wins over the environment."""
    node = own_children.node()
    (node.folder / ".env").write_text("LEAVE_GRACE=7.5\nNODE_NAME=from-file\n")
    shown = node.run("check-config").stdout
    assert re.search(r"LEAVE_GRACE\W+7\.5", shown)
    assert "from-file" not in shown, "the environment wins over the file"


def test_healthcheck_tells_a_running_node_from_a_stopped_one(own_children):
    """A container is kept that is dead, or killed that is well."""
    node = own_children.node()
    assert node.run("healthcheck").returncode == 0
    assert node.terminate() == 0
    assert node.run("healthcheck").returncode == 1


@pytest.mark.parametrize("with_redis", [False, True], ids=["memory", "redis"])
def test_sigterm_ends_the_process_in_order(own_children, session, with_redis):
    """A deploy waits until the node is killed, or its people are not told to come back."""
    settings = {"REDIS_URL": own_children.redis().url} if with_redis else {}
    node = own_children.node(**settings)
    peers = [Peer(node, session, f"user-{number}") for number in range(5)]
    assert node.terminate(within=10) == 0
    for peer in peers:
        assert peer.close_code() in (1001, 1012), "codes after which a client comes back"


def test_sigterm_ends_a_node_that_still_waits_for_redis(own_children):
    """A node that never became ready cannot be stopped."""
    node = own_children.node(ready=False, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert node.terminate(within=10) == 0


def test_sigint_ends_it_as_well(own_children):
    """Ctrl-C at a developer's terminal leaves the node running, or looks like a crash."""
    node = own_children.node()
    node.signal(signal.SIGINT)
    assert node.process.wait(10) == 0

def test_an_env_file_is_read_where_it_lies_and_never_repeated(own_children):
    """A typing error prints the secret beside it, a name that is no setting is heeded by nobody, or another folder's file is."""
    node = own_children.adopt(Node("env"))
    del node.environment["MESSAGE_RATE"]
    file = node.folder / ".env"
    for text in ("A=1\nJWT_SECRET=canary canary canary\n", "A=1\nJWT_SECRET canary-canary-canary\n"):
        file.write_text(text)
        done = node.run("check-config")
        assert done.returncode == 78 and ".env, line 2: right is NAME=value" in done.stderr
        assert "canary" not in done.stdout + done.stderr
    file.write_text("MESSAGE_RATE=77\nMESSAGE_RAT=78\nAPP_NAME='pa$word#x y'\nRUST_BACKTRACE=1\nENV=word\n")
    done = node.run("check-config")
    assert done.returncode == 0
    assert "MESSAGE_RATE=77 " in done.stdout and "APP_NAME=pa$word#x y " in done.stdout
    assert done.stderr == "collabd: .env says MESSAGE_RAT, which is no setting\n"
    below = own_children.adopt(Node("below"))
    del below.environment["MESSAGE_RATE"]
    shutil.rmtree(below.folder)
    below.folder = node.folder / "below"
    below.folder.mkdir()
    assert "MESSAGE_RATE=77 " not in below.run("check-config").stdout
