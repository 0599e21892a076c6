"""Real `collabd` and `redis-server` children: started on free ports, ended by their own process id."""

import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import redis

from . import http
from .deadline import eventually

ROOT = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("COLLABD_BIN") or ROOT / "target/debug/collabd").absolute()

# Below the ephemeral range: a node that keeps dialling a Redis that is away must not be given the
# very port it dials, nor may a client socket take a port that a restart needs again.
# Those who run tests side by side have each a part of them, and give none out twice: whoever was given one may not
# listen there yet.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = range(15_000 + WORKER, 32_000, WORKERS)
given = set()

# Nodes that run now or ran since the current test began; a failing test shows their logs.
running = []


def free_port():
    while True:
        port = random.choice(PORTS)
        if port in given:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            given.add(port)
            return port


class Child:
    """One process of ours, its folder and everything it printed."""

    def __init__(self, name, arguments, environment, folder=None):
        self.name = name
        self.folder = Path(folder or tempfile.mkdtemp(prefix=f"collabd-{name}-"))
        self.output = self.folder / "output"
        self.arguments = [str(part) for part in arguments]
        # Nothing of the caller's environment may act as a setting.
        self.environment = {"PATH": os.environ["PATH"], "RUST_BACKTRACE": "1"} | {
            key: str(value) for key, value in environment.items()
        }
        self.process = None

    def spawn(self):
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.arguments,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)
        if number == signal.SIGSTOP:
            # It stands still a moment later: until then it may answer.
            stat = Path(f"/proc/{self.process.pid}/stat")
            eventually(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it stands still", every=0.001)

    def terminate(self, within=15.0):
        """Ends it the polite way and returns its exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(within)

    def kill(self):
        if self.alive:
            # A stopped process only notices once it goes on; SIGKILL reaches it in any case.
            self.process.kill()
            self.process.wait()

    def log(self):
        return self.output.read_text(errors="replace") if self.output.exists() else ""


class Redis(Child):
    """A Redis server. With `durable`, what it acknowledged outlives a stop and a start."""

    def __init__(self, durable=False, password=None, options=()):
        self.port = free_port()
        persistence = (
            ["--appendonly", "yes", "--appendfsync", "always"] if durable else ["--appendonly", "no"]
        )
        arguments = ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", *persistence]
        if password:
            arguments += ["--requirepass", password]
        super().__init__("redis", [*arguments, *options], {})
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, password=password, decode_responses=True, socket_timeout=10)

    def start(self):
        self.spawn()
        eventually(self._answers, "redis-server answers PING")
        return self

    def _answers(self):
        if not self.alive:
            raise AssertionError(f"redis-server ended:\n{self.log()}")
        with suppress(redis.RedisError):
            return self.client.ping()

    def stop(self):
        self.client.close()
        self.terminate()


class Node(Child):
    """A `collabd` node with its own ports. Settings are given as keywords, named as in the README."""

    def __init__(self, name="node", **settings):
        self.host = "127.0.0.1"
        self.port = settings.get("PORT") or free_port()
        self.metrics_port = free_port()
        environment = {
            "PORT": self.port,
            # A stop is quick unless the test is about draining.
            "DRAIN_DELAY": "0",
            # Tests write faster than people do; those about limits say so.
            "MESSAGE_RATE": "100000",
            "MESSAGE_BURST": "100000",
            "USER_MESSAGE_RATE": "100000",
            "BYTE_RATE": "1000000000",
            "COURIER_BYTE_RATE": "1000000000",
            "COURIER_BYTE_BURST": "1000000000",
            "METRICS_PORT": self.metrics_port,
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "DEBUG",
            "NODE_NAME": name,
        } | settings
        super().__init__(name, [BINARY], environment)

    def start(self, ready=True):
        if not BINARY.exists():
            raise AssertionError(f"{BINARY} is missing; build it, or set COLLABD_BIN")
        self.spawn()
        running.append(self)
        eventually(self._ready if ready else self._lives, f"{self.name} is up\n")
        self.started_at = time.monotonic()
        return self

    def _ready(self):
        return self._answers("/readyz")

    def _lives(self):
        return self._answers("/livez")

    def _answers(self, path):
        if not self.alive:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
        with suppress(OSError):
            return self.get(path).status == 200

    def run(self, subcommand, *arguments, **settings):
        """Runs a subcommand with this node's settings, and these on top."""
        environment = self.environment | {key: str(value) for key, value in settings.items()}
        return subprocess.run(
            [str(BINARY), subcommand, *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def get(self, path, **options):
        return http.request(self.host, self.port, "GET", path, **options)

    def post(self, path, body, **options):
        return http.request(self.host, self.port, "POST", path, body=body, **options)

    def put(self, path, body, **options):
        return http.request(self.host, self.port, "PUT", path, body=body, **options)

    def patch(self, path, body, **options):
        return http.request(self.host, self.port, "PATCH", path, body=body, **options)

    def delete(self, path, **options):
        return http.request(self.host, self.port, "DELETE", path, **options)

    def options(self, path, **options):
        return http.request(self.host, self.port, "OPTIONS", path, **options)

    def state(self, session):
        """What REST says of a session; it must be there."""
        answer = self.get(f"/api/v1/session/{session}/state")
        assert answer.status == 200, answer
        return answer.json

    def metrics(self):
        answer = http.request(self.host, self.metrics_port, "GET", "/metrics")
        assert answer.status == 200, answer
        return answer.text

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            line = next(line for line in status if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024
