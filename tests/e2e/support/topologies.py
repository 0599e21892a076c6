"""Redis as more than one server, and as one that not everybody may use."""

import subprocess
from urllib.parse import quote

import redis

from .deadline import eventually
from .processes import ROOT, Child, Redis, free_port

SLOTS = 16_384
MASTER = "main"


class Cluster:
    """Masters with equal shares of the slots."""

    def __init__(self, children, masters=3):
        buses = [free_port() for _ in range(masters)]
        enabled = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]
        self.servers = [children.redis(options=["--cluster-port", bus, *enabled]) for bus in buses]
        for number, server in enumerate(self.servers):
            first, last = (SLOTS * edge // masters for edge in (number, number + 1))
            server.client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            server.client.execute_command("CLUSTER ADDSLOTSRANGE", first, last - 1)
            server.client.execute_command("CLUSTER MEET", "127.0.0.1", self.servers[0].port, buses[0])
        eventually(lambda: all(self._serves(server) for server in self.servers), "the cluster serves")

    def _serves(self, server):
        info = server.client.execute_command("CLUSTER INFO")
        return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(len(self.servers))

    @property
    def url(self):
        first, second, *_ = self.servers
        return f"redis-cluster://127.0.0.1:{first.port}?node=127.0.0.1:{second.port}"


class Pair:
    """A master with a replica, and three Sentinels that watch them."""

    def __init__(self, children):
        self.master, self.replica = children.redis(), children.redis()
        self.replica.client.replicaof("127.0.0.1", self.master.port)
        self.sentinels = [children.adopt(Sentinel(self.master.port)) for _ in range(3)]
        for sentinel in self.sentinels:
            sentinel.start()
        eventually(lambda: all(sentinel.informed for sentinel in self.sentinels), "the sentinels have met")
        self.replicated()

    def replicated(self):
        """Waits until the replica has everything that the master has."""

        def offset(server):
            return server.client.info("replication")["master_repl_offset"]

        eventually(
            lambda: self.replica.client.info("replication").get("master_link_status") == "up",
            "the replica follows",
        )
        eventually(lambda: offset(self.master) == offset(self.replica), "the replica has it all")

    @property
    def url(self):
        first, *others = (f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        nodes = "".join(f"&node={other}" for other in others)
        return f"redis-sentinel://{first}/0?sentinelServiceName={MASTER}{nodes}"


class Sentinel(Child):
    def __init__(self, master):
        self.port = free_port()
        super().__init__("sentinel", ["redis-server", "sentinel.conf", "--sentinel"], {})
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\n"
            "bind 127.0.0.1\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {master} 2\n"
            f"sentinel down-after-milliseconds {MASTER} 1000\n"
            f"sentinel failover-timeout {MASTER} 3000\n"
        )
        self.client = redis.Redis(port=self.port, decode_responses=True, socket_timeout=10)

    def start(self):
        self.spawn()

    @property
    def informed(self):
        """Whether it knows the replica and the other two."""
        try:
            known = self.client.execute_command("SENTINEL MASTER", MASTER)
        except redis.ConnectionError:
            return False
        return (int(known["num-slaves"]), int(known["num-other-sentinels"])) == (1, 2)


class Secured(Redis):
    """Speaks TLS alone, and knows a user who may do no more than the README says a node needs."""

    password = "canary:pa/ss?w@rd"

    def __init__(self, prefix):
        rights = next(
            line.removeprefix("ACL SETUSER collabd on >password ")
            for line in (ROOT / "README.md").read_text().splitlines()
            if line.startswith("ACL SETUSER collabd on >password ")
        )
        admin = "admin-pass"
        super().__init__(
            options=["--tls-auth-clients", "no"]
            + [
                "--tls-ca-cert-file",
                "ca.pem",
                "--tls-cert-file",
                "server.pem",
                "--tls-key-file",
                "server.key",
            ]
            + ["--user", "collabd", "on", f">{self.password}", *rights.replace("collabd:", prefix).split()]
            + ["--user", "default", "off", "--user", "admin", "on", f">{admin}", "~*", "&*", "+@all"],
        )
        # The port is asked for by TLS instead.
        self.arguments[1:3] = ["--port", "0", "--tls-port", str(self.port)]
        self.ca = certify(self.folder, "127.0.0.1")
        self.url = f"rediss://collabd:{quote(self.password, safe='')}@127.0.0.1:{self.port}"
        self.client = redis.Redis(
            port=self.port,
            host="127.0.0.1",
            username="admin",
            password=admin,
            ssl=True,
            ssl_ca_certs=str(self.ca),
            decode_responses=True,
            socket_timeout=10,
        )


def certify(folder, address):
    """Makes `server.pem` and `server.key` for the address in the folder; returns who vouches for them."""
    (folder / "names").write_text(f"subjectAltName=IP:{address}\n")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for command in (
        f"req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
        f"req {key} -keyout server.key -out server.csr -subj /CN=server",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True, timeout=30)
    return folder / "ca.pem"
