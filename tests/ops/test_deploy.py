"""The files of deploy/: that their own programs take them, and that they keep what the node needs of them."""

import os
import re
import signal
import socket
import subprocess

import pytest
import yaml

from support.deadline import eventually
from support.processes import Node, free_port

# What a stop may take, in seconds, and what it is made of.
STEPS = ("DRAIN_DELAY", "DRAIN_WINDOW", "CLOSE_TIMEOUT", "STOP_TIMEOUT")


@pytest.fixture(scope="module")
def compose(root):
    return yaml.safe_load((root / "deploy/compose.yaml").read_text())


@pytest.fixture(scope="module")
def unit(root):
    """The systemd unit's directives; of one that stands several times, all."""
    found = {}
    for line in (root / "deploy/collabd.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def seconds(text):
    amount, unit = re.fullmatch(r"(\d+)(s|m|min|)", text).groups()
    return int(amount) * (60 if unit.startswith("m") else 1)


def stop_takes(defaults, given):
    return sum(float(given.get(name, defaults[name])) for name in STEPS)


# Containers


def test_the_image_is_built_by_the_rules(run):
    """A tag that moves, a root user, a package manager left behind."""
    run("hadolint", "deploy/Dockerfile")


def test_the_image_has_all_that_it_is_built_of(root):
    """A build that works in a checkout fails in the image: a folder was not copied into it."""
    allowed = [
        line[1:] for line in (root / "deploy/Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    for source in (root / "src").rglob("*.rs"):
        for name in re.findall(r'include_(?:str|bytes)!\((?:concat!\()?"([^"]+)"', source.read_text()):
            included = os.path.relpath(os.path.normpath(source.parent / name), root)
            assert any(included == each or included.startswith(each + "/") for each in allowed), (source, name)
    members = re.search(r"members = \[(.*)\]", (root / "Cargo.toml").read_text()).group(1)
    for member in re.findall(r'"([^"]+)"', members):
        assert member in allowed, member


def test_the_image_is_pinned(root):
    """What ran yesterday is another program today."""
    text = (root / "deploy/Dockerfile").read_text()
    (final,) = re.findall(r"^FROM (gcr\S+)", text, re.MULTILINE)
    assert re.search(r":nonroot@sha256:[0-9a-f]{64}$", final)
    assert "USER 65532:65532" in text and '"healthcheck"]' in text


def test_compose_is_what_compose_takes(run):
    """`docker compose up` ends with a sentence about a key."""
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml")


def test_compose_lets_nodes_drain(compose, defaults):
    """A deploy kills nodes in the middle of their drain: everybody is cut off at once."""
    node = compose["services"]["collabd"]
    assert stop_takes(defaults, node["environment"]) < seconds(node["stop_grace_period"])


def test_compose_sets_what_there_is(compose, settings):
    """A setting was renamed, and what compose says is heeded by nobody."""
    given = set(compose["services"]["collabd"]["environment"])
    assert given and given <= settings


def test_compose_gives_the_node_a_configuration_that_it_takes(compose, tool, root):
    """The containers restart for ever: a setting is wrong."""
    secrets = {"JWT_SECRET": "0123456789abcdef0123456789abcdef", "GRAFANA_PASSWORD": "word", "POSTGRES_PASSWORD": "word", "RABBITMQ_PASSWORD": "word"}
    expand = lambda text: re.sub(r"\$\{(\w+)[^}]*\}", lambda found: secrets[found.group(1)], text)
    given = {name: expand(value) for name, value in compose["services"]["collabd"]["environment"].items()}
    given["HOST"] = re.search(r"HOST=(\S+)", (root / "deploy/Dockerfile").read_text()).group(1)
    node = Node("compose")
    done = subprocess.run([*node.arguments, "check-config"], cwd="/", env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_compose_has_files_where_it_looks_for_them(compose, root):
    """Docker makes a folder in the place of a file that is not there, and the server does not start."""
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (root / "deploy" / source).exists(), volume


def test_compose_opens_descriptors_for_its_sockets(compose, defaults):
    """With a thousand sockets a node takes no more."""
    node = compose["services"]["collabd"]
    most = int(node["environment"].get("MAX_CONNECTIONS", defaults["MAX_CONNECTIONS"]))
    assert most < node["ulimits"]["nofile"]["soft"] == node["ulimits"]["nofile"]["hard"]


# systemd


def test_the_unit_is_confined(run):
    """A node that is broken into may do whatever its user may."""
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=20", "deploy/collabd.service")
    (score,) = re.findall(r"exposure level for \S+ ([\d.]+)", done.stdout)
    assert float(score) <= 2


def test_the_unit_is_what_systemd_takes(run, root, tmp_path):
    """systemd ignores a line that it does not know, and nobody sees that."""
    text = (root / "deploy/collabd.service").read_text()
    # Where the package puts it, there is nothing here.
    (tmp_path / "collabd.service").write_text(text.replace("/usr/bin/collabd", "/bin/true"))
    done = run("systemd-analyze", "verify", "--man=no", tmp_path / "collabd.service")
    assert "collabd.service" not in done.stderr, done.stderr


def test_the_unit_lets_nodes_drain(unit, defaults):
    """`systemctl restart` kills the node in the middle of its drain."""
    assert stop_takes(defaults, {}) < seconds(unit["TimeoutStopSec"][0])
    assert unit["KillSignal"] == ["SIGTERM"] and unit["Type"] == ["notify"]
    assert unit["LimitNOFILE"] == ["1048576"] and unit["DynamicUser"] == ["yes"]


def test_a_wrong_setting_ends_the_node_for_good(unit):
    """The node is started once a second for ever, and fails each time for the same reason."""
    done = subprocess.run([*Node("wrong").arguments], cwd="/", env={"PORT": "0"}, capture_output=True, text=True, check=False)
    assert "PORT" in done.stderr
    assert unit["RestartPreventExitStatus"] == [str(done.returncode)]
    # What is said about the main process does not hold for what comes before it.
    assert all(command.startswith("-") for command in unit["ExecStartPre"])


def test_the_service_manager_is_told(tmp_path):
    """systemd takes a node for started that is not, or waits for ever, or takes its drain for a hang."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        node = Node("notified", NOTIFY_SOCKET=str(tmp_path / "notify"))
        node.spawn()
        try:
            assert manager.recv(4096).strip() == b"READY=1"
            assert node.get("/readyz").status == 200
            node.signal(signal.SIGTERM)
            assert manager.recv(4096).strip() == b"STOPPING=1"
            assert node.process.wait(30) == 0
        finally:
            node.kill()


# Balancers


def test_haproxy_takes_its_file(run):
    """The balancer does not start, or warns of what it does not do."""
    done = run("haproxy", "-c", "-f", "deploy/haproxy.cfg", env={"PATH": os.environ["PATH"]})
    assert "Warnings" not in done.stdout and "WARNING" not in done.stderr, done.stderr


def test_haproxy_keeps_what_the_node_needs(root):
    """Sockets on which nobody types are cut; a node that drains is given newcomers, or loses those it has."""
    text = (root / "deploy/haproxy.cfg").read_text()
    for line in (
        "timeout tunnel 1h",
        "timeout client 75s",
        "timeout server 75s",
        "balance leastconn",
        "http-check disable-on-404",
        "option httpchk GET /lb",
        "slowstart 30s",
    ):
        assert line in text, line
    for word in ("stick-table", "cookie ", "balance source"):
        assert word not in text, "any node serves any client"


@pytest.fixture
def nginx(run, tool, root, tmp_path):
    """nginx with its file in front of two nodes: `(port, nodes)`."""
    nodes = [Node(name, DATABASE_URL="none", ALLOWED_ORIGINS="").start() for name in ("north", "south")]
    port = free_port()
    text = (root / "deploy/nginx.conf").read_text().replace("listen 8004", f"listen 127.0.0.1:{port}")
    text = re.sub(r"    server node3\S+.*\n", "", text)
    for number, node in enumerate(nodes, 1):
        text = text.replace(f"node{number}:8004", node.address)
    (tmp_path / "nginx.conf").write_text(text)
    arguments = ["-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    run("nginx", "-t", *arguments)
    process = subprocess.Popen([tool("nginx"), *arguments, "-g", "daemon off;"], cwd=tmp_path)
    try:
        yield port, nodes
    finally:
        process.terminate()
        process.wait()
        for node in nodes:
            node.kill()


def test_nginx_leads_to_nodes_that_are_there(nginx, root):
    """nginx refuses its file, answers sockets itself, or sends newcomers to a node that is gone."""
    from support import http

    port, nodes = nginx
    get = lambda path: http.request("127.0.0.1", port, "GET", path)
    eventually(lambda: answers(get), "nginx answers")
    assert get("/livez").status == 404, "probes are of nodes, and not for others"
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    }
    path = "/api/v1/ws/session/ops?user_id=ann"
    assert http.request("127.0.0.1", port, "GET", path, headers=upgrade).status == 101
    # A page of the host that it came to, port and all.
    of_page = upgrade | {"Origin": f"http://127.0.0.1:{port}"}
    assert http.request("127.0.0.1", port, "GET", path, headers=of_page).status == 101
    # An answer of 503 is no sign of a node that is ill.
    login = lambda: http.request("127.0.0.1", port, "POST", "/api/auth/login", body={"email": "a@b.example", "password": "a word"})
    assert [login().status for _ in range(6)] == [503] * 6
    assert [get("/health").status for _ in range(6)] == [200] * 6
    nodes[0].kill()
    assert [get("/health").status for _ in range(6)] == [200] * 6
    text = (root / "deploy/nginx.conf").read_text()
    assert "proxy_read_timeout 75s" in text and "proxy_buffering off" in text
    files, connections = (int(re.search(rf"{name} (\d+)", text).group(1)) for name in ("worker_rlimit_nofile", "worker_connections"))
    assert files >= 2 * connections


def answers(get):
    try:
        return get("/health").status == 200
    except OSError:
        return False


# What stands beside them


def test_scripts_are_sound(run, root):
    """A variable without quotes, a cd that may fail, an array taken for a word."""
    scripts = [*root.glob("deploy/*.sh"), *root.glob("loadtest/**/*.sh")]
    assert len(scripts) >= 2
    run("shellcheck", *[path for path in scripts if "node_modules" not in path.parts])


def test_the_example_of_an_env_file_is_taken(root, tmp_path, defaults):
    """Whoever takes the # from a line gets another value than the one that is in force, or a node that does not start."""
    text = (root / ".env.example").read_text()
    (tmp_path / ".env").write_text(re.sub(r"^#([A-Z])", r"\1", text, flags=re.MULTILINE))
    done = subprocess.run([*Node("env").arguments, "check-config"], cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = (line.partition("  # ")[0].partition("=") for line in done.stdout.splitlines())
    assert {name: value for name, _, value in lines} == defaults


def test_the_description_of_rest_is_openapi(run, node, tmp_path):
    """Generated clients do not build."""
    (tmp_path / "openapi.json").write_text(node.get("/api/openapi.json").text)
    run("openapi-spec-validator", tmp_path / "openapi.json")
