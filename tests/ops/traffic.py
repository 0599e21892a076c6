"""People, programs and services at every door of a cluster, a few of each, so that every figure of its nodes moves."""

import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pika

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from support import recorded, tokens
from support.courier import courier
from support.pad import RAW, pad
from support.peer import Peer, unique
from support.processes import Node
from support.rabbit import QUEUE, found, message
from support.review import Reviewer
from support.workspace import Fellow

# No Engine.IO handshake, so no door: refused before the upgrade.
BAD_SESSION = "/api/v1/ws/session/no%20good?user_id=ann"


class There(Node):
    """A node, or what stands in front of nodes, that somebody else has started."""

    def __init__(self, address, metrics=None):
        self.host, _, port = address.partition(":")
        self.port = int(port)
        self.metrics_port = int(metrics.partition(":")[2]) if metrics else None
        # What clients of it ask whether tokens are of the secret.
        self.environment = {"JWT_SECRET": tokens.SECRET}


class Traffic:
    """Comes to all nodes at once and stays; `tick` has everybody do something. `front` is a balancer."""

    def __init__(self, nodes, front, broker):
        self.nodes, self.front, self.broker = nodes, front, broker
        self.opened = ExitStack()
        self.count = 0

    def __enter__(self):
        enter = self.opened.enter_context
        first, second, last = self.nodes[0], self.nodes[1], self.nodes[-1]
        names = ("ann", "bob", "cat")
        self.pair = [enter(Peer(node, "pair", name)) for node, name in zip((first, second, last), names)]
        self.pads = [
            enter(pad(node, kind, name))
            for node, kind, name in (
                (first, "python-websocket", "dan"),
                # By polling, each request perhaps to another node.
                (self.front, "python-polling", "eve"),
            )
        ]
        for each in self.pads:
            each.join("pad")
        self.couriers = [
            enter(courier(node, kind, name))
            for node, kind, name in ((first, RAW, "fay"), (second, "python-websocket", "gus"))
        ]
        host = recorded.Visitor(first, "host")
        session = recorded.made(first, host)
        self.reviewers = [enter(Reviewer(node, session, host)) for node in (first, second)]
        self.host, self.session = host, session
        self.fellows = [enter(Fellow(node, name)) for node, name in ((first, "ida"), (second, "jim"))]
        for each in self.fellows:
            each.enters("works")
            each.listens("robot")
        self.channel = enter(Broker(self.broker))
        return self

    def __exit__(self, *_):
        # Some of them may have been closed by what was done to their node.
        with suppress(Exception):
            self.opened.close()

    def tick(self):
        """Everybody does something; nothing of it is left out."""
        self.count += 1
        ann, bob, _ = self.pair
        for number in range(8):
            assert ann.ask("chat", message=f"line {number}")["type"] == "ack"
        for peer in self.pair:
            peer.send("cursor_move", cursor={"lineNumber": self.count, "column": 1})
        version = self.nodes[0].state("pair")["version"]
        changed = ann.ask("code_change", code=f"x = {self.count}", base_version=version)
        assert changed["type"] == "code_ack", changed
        assert bob.ask("code_change", code="y", base_version=10**6)["code"] == "version_gone"
        bob.send_raw("this is no JSON")
        bob.before_pong()
        for number, each in enumerate(self.pads):
            each.change("pad", f"text {self.count} {number}")
        fay, gus = self.couriers
        # To somebody who is there and somebody who is away.
        fay.ask(["gus", "hal"])
        gus.ask(["fay"])
        for reviewer in self.reviewers:
            reviewer.say(f"line {self.count}")
            reviewer.point("main.py", self.count, 1)
        ida, jim = self.fellows
        jim.tells("works", text=str(self.count))
        ida.starts("robot", workspace_id="works")
        ida.reports("robot", 50)
        ida.completes("robot")
        self.channel.publish(found(unique(f"match-{self.count}")))
        self.channel.publish(b"no match event")
        self.requests()
        self.come_and_go()

    def requests(self):
        """By REST; some of them are refused."""
        for node in self.nodes[:2]:
            assert node.get("/health").status == 200
            assert node.get("/api/v1/session/nobody/state").status == 404
            assert node.get("/connections?limit=10").status in (200, 401, 403)
            assert node.get(BAD_SESSION, headers=UPGRADE).status == 400
            assert recorded.look(node, self.host, self.session).status == 200
        news = {"type": "news", "data": self.count, "to": {"door": "pairing"}}
        told = self.front.post("/broadcast", news, headers=service())
        assert told.status in (200, 202), told

    def come_and_go(self):
        """One is lost and comes back to where it was, one leaves as one should, and an agent is heard of no more."""
        first, second = self.nodes[:2]
        lost = Peer(first, "pair", "ken")
        since = lost.greeting["position"]
        lost.drop()
        with Peer(second, "pair", "ken", since=since, greeted=False) as back:
            back.until(lambda frame: frame["type"] in ("resumed", "session_state"))
        worker = Fellow(first, unique("lost"))
        worker.starts(worker.user)
        worker.drop()


def service():
    return tokens.bearer(tokens.token("matchmaker", role="service"))


class Broker:
    """A connection to RabbitMQ."""

    def __init__(self, url):
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()

    def publish(self, event):
        self.channel.basic_publish("", QUEUE, *message(event))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with suppress(pika.exceptions.AMQPError):
            self.connection.close()


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
