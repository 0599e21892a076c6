"""The cluster of deploy/cluster.sh: started, looked at through its nodes' metrics, and broken."""

import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
NODES = 3
LOOK_EVERY = 0.1


class Cluster:
    def __init__(self, folder, settings):
        self.folder = Path(folder)
        self.environment = os.environ | {"CLUSTER_DIR": str(folder)}
        self.settings = settings
        self.env = {}
        # The process of k6, while there is one.
        self.load = None

    def __enter__(self):
        given = [word for setting in self.settings for word in ("--env", setting)]
        try:
            self.read(self.order("up", "--nodes", str(NODES), *given))
        except BaseException:
            # Interrupted half way, it leaves what runs already.
            if (self.folder / "env").exists():
                self.order("down")
            raise
        return self

    def __exit__(self, *_):
        self.order("down")

    def order(self, *words):
        """What cluster.sh says; a failure is an exception with what it said."""
        command = [str(ROOT / "deploy/cluster.sh"), *words]
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(command, env=self.environment, check=False, **piped)
        if done.returncode:
            raise RuntimeError(f"cluster.sh {' '.join(words)} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def read(self, text):
        self.env = dict(line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Z_0-9]+=", line))

    def nodes(self):
        return [self.env[f"NODE_{number}"] for number in range(1, NODES + 1)]

    def metric(self, name, *numbers):
        """The sum of a metric over these nodes, or over all; labels may be part of its name. Who is away has none."""
        return sum(self.metric_of(number, name) for number in numbers or range(1, NODES + 1))

    def metric_of(self, number, name):
        address = self.env[f"METRICS_{number}"]
        try:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return 0.0
        wanted = [line for line in lines if re.match(re.escape(name) + r"[ {]", line)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in wanted)

    def connections(self):
        return self.metric("collab_connections")

    def until(self, what, holds, within):
        """Looks until it holds, and says how long that took. Not when there is no load any more that it holds for."""
        began = time.monotonic()
        while not holds():
            if has_ended(self.load):
                raise RuntimeError(f"k6 ended before this: {what}")
            if time.monotonic() - began > within:
                raise RuntimeError(f"not within {within} s: {what}")
            time.sleep(LOOK_EVERY)
        return time.monotonic() - began


def has_ended(process):
    """Leaves it to be waited for, by whoever wants to know what it used."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
