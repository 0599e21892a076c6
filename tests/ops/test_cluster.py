"""deploy/cluster.sh: a cluster that comes up, loses nodes and servers and gets them back, and leaves nothing behind."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from support import http
from support.peer import Peer, unique
from support.processes import BINARY


class Cluster:
    def __init__(self, root, folder):
        self.script, self.folder = root / "deploy/cluster.sh", folder
        self.environment = {"PATH": os.environ["PATH"], "CLUSTER_DIR": str(folder), "COLLABD": str(BINARY)}

    def __call__(self, *arguments, right=0):
        done = subprocess.run(
            [self.script, *arguments], env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == right, done.stdout + done.stderr
        return done.stdout if right == 0 else done.stderr

    def env(self):
        return dict(line.split("=", 1) for line in self("env").splitlines())

    def running(self):
        """Processes that have their folder below ours."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if process.joinpath("cwd").readlink().is_relative_to(self.folder):
                    found.append(int(process.name))
            except OSError:
                continue
        return found


class Address:
    """What a client needs to know of a node, or of the balancer."""

    def __init__(self, url):
        self.host, port = url.removeprefix("http://").split(":")
        self.port = int(port)

    def get(self, path):
        return http.request(self.host, self.port, "GET", path)


@pytest.fixture(scope="module")
def cluster(root):
    # Not below a folder that is for its owner alone: PostgreSQL is another user, and has to get in.
    cluster = Cluster(root, Path(tempfile.mkdtemp(prefix="collabd-cluster-")))
    cluster.shared = set(os.listdir("/dev/shm"))
    cluster("up", "--nodes", "2", "--with", "rabbitmq", "--env", "DRAIN_DELAY=0", "--env", "LEAVE_GRACE=1")
    yield cluster
    if (cluster.folder / "env").exists():
        cluster("down")


def test_whoever_comes_meets_the_others(cluster):
    """Nodes behind the balancer are strangers to each other."""
    known = cluster.env()
    assert len(re.findall(r"runs, pid", cluster("status"))) == 6
    session = unique("cluster")
    nodes = [Address(known[name]) for name in ("NODE_1", "NODE_2", "URL")]
    with Peer(nodes[0], session, "ann") as ann, Peer(nodes[1], session, "bob"), Peer(nodes[2], session, "cat"):
        ann.until(lambda frame: frame["type"] == "user_joined" and frame["user_id"] == "cat")


def test_a_setting_is_given_to_all_nodes(cluster):
    """A load test measures nodes with other settings than it says."""
    for number in ("1", "2"):
        pid = cluster.env()[f"PID_{number}"]
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert b"LEAVE_GRACE=1" in environment and b"AUTH=open" in environment


def test_a_node_goes_and_comes_back(cluster):
    """After a kill nobody can come, or the node that is started again is not found by the balancer."""
    before = cluster.env()
    cluster("kill", "1")
    assert "1 does not run" in cluster("status")
    # The balancer passes who it dealt to the dead one on to the other.
    assert [Address(before["URL"]).get("/health").status for _ in range(4)] == [200] * 4
    assert "1 does not run" in cluster("kill", "1", right=1)
    cluster("start", "1")
    assert "ended after" in cluster("drain", "2")
    after = cluster.env()
    assert after["NODE_1"] == before["NODE_1"] and after["PID_1"] != before["PID_1"]
    assert Address(after["NODE_1"]).get("/readyz").status == 200
    cluster("start", "2")
    assert "2 runs already" in cluster("start", "2", right=1)


def test_servers_come_back_with_what_they_had(cluster):
    """What is lost in a test of faults was lost by the script."""
    node = Address(cluster.env()["NODE_1"])
    session = unique("kept")
    with Peer(node, session, "ann") as ann:
        ann.ask("chat", message="kept")
        for server in ("redis", "postgres", "haproxy"):
            cluster("stop", server)
            cluster("start", server)
        with Peer(Address(cluster.env()["NODE_2"]), session, "bob") as bob:
            assert "ann" in {user["user_id"] for user in bob.greeting["users"]}


@pytest.mark.parametrize(
    "wrong",
    [["kill", "9"], ["start", "prometheus"], ["up"], ["up", "--nodes", "three"], ["up", "--with"], ["drain", "redis"], ["kill", ""]],
    ids=" ".join,
)
def test_what_cannot_be_done_is_said(cluster, wrong):
    """A typing error ends the wrong process, or nothing and says nothing."""
    before = sorted(cluster.running())
    assert cluster(*wrong, right=1).startswith("cluster.sh: ")
    assert sorted(cluster.running()) == before


def test_only_this_machine_is_listened_to(cluster):
    """Whoever is in the same network takes the cluster for theirs, without a password."""
    inodes = set()
    for pid in cluster.running():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if (target := os.readlink(link)).startswith("socket:["):
                inodes.add(target[8:-1])
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening.append(fields[1].split(":")[0])
    # 127.0.0.1 and ::1, as the kernel writes them.
    assert len(listening) >= 7 and set(listening) <= {"0100007F", "0" * 24 + "01000000"}


def test_nothing_is_left_behind(cluster):
    """The next run finds ports taken, or a folder full of data, or no shared memory left."""
    shared = set(os.listdir("/dev/shm")) - cluster.shared
    assert cluster.running() and shared
    cluster("down")
    assert not cluster.running() and not cluster.folder.exists()
    assert not shared & set(os.listdir("/dev/shm"))


def test_a_folder_with_something_in_it_is_left_alone(cluster, tmp_path):
    """CLUSTER_DIR=$HOME, and `down` removes it."""
    (tmp_path / "mine").write_text("kept")
    other = Cluster(cluster.script.parents[1], tmp_path)
    assert "is not empty" in other("up", right=1)
    assert "there is no cluster" in other("down", right=1)
    assert (tmp_path / "mine").read_text() == "kept"
