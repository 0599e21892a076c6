"""A courier run: many users on three nodes send each other events while a node is killed; then it is judged whether
every acknowledgement was true. Two thirds of them speak Socket.IO, one third plain frames.

    python loadtest/courier.py --users 1000 --events 20000      (from the root; wants the packages of tests/e2e)

Exit code 1 unless nothing was lost, doubled, out of order, or heard by somebody else.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import websockets

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))

from support.processes import Node, Redis

# After the kill: times of others are not counted for so long.
DISTURBED = 5.0
# Nothing heard for so long: everybody is done.
SILENCE = 2.0


class Run:
    def __init__(self, options, nodes):
        self.options, self.nodes = options, nodes
        self.random = random.Random(options.seed)
        self.last = time.monotonic()
        self.killed_at = float("inf")
        # Of each event: who sent it to whom, when, and its acknowledgement.
        self.sent, self.acks, self.again = {}, {}, Counter()
        self.problems = Counter()
        self.to_ack, self.to_ear = [], []

    def problem(self, kind, what):
        self.problems[kind] += 1
        if self.problems[kind] <= 3:
            print(f"{kind}: {what}", file=sys.stderr)

    def took(self, times, since):
        now = time.monotonic()
        if not self.killed_at <= now < self.killed_at + DISTURBED:
            times.append(now - since)


class User:
    """Stays connected, says again what was not acknowledged, notes what it hears."""

    def __init__(self, run, number):
        self.run, self.name, self.node = run, f"user-{number:05}", number % len(run.nodes)
        self.packets = number % 3 < 2
        self.unanswered = {}
        self.heard = []
        self.connected = asyncio.Event()
        self.socket = None
        self.was_on_dead = False
        self.back_at = None
        self.task = None

    def start(self):
        self.task = asyncio.create_task(self.live())

    async def live(self):
        wait = 0.05
        while True:
            node = self.run.nodes[self.node]
            if not node.alive:
                self.was_on_dead = self.socket is not None
                self.node = (self.node + self.run.random.choice((1, 2))) % len(self.run.nodes)
                continue
            try:
                await self.visit(node)
                wait = 0.05
            except (OSError, websockets.WebSocketException):
                pass
            self.connected.clear()
            await asyncio.sleep(wait * self.run.random.uniform(1, 2))
            wait = min(wait * 2, 1.0)

    async def visit(self, node):
        path = "/socket.io/?EIO=4&transport=websocket&" if self.packets else "/?"
        url = f"ws://{node.address}{path}user_id={self.name}&display_name={self.name}"
        async with websockets.connect(url, open_timeout=10, ping_interval=None, max_size=None) as socket:
            if self.packets:
                await socket.recv()
                await socket.send("40")
                await socket.recv()
            self.socket = socket
            async for frame in socket:
                if self.packets and frame == "2":
                    await socket.send("3")
                    continue
                self.run.last = time.monotonic()
                event, body = self.read(frame)
                if event == "connected":
                    self.connected.set()
                    if self.was_on_dead and self.back_at is None:
                        self.back_at = time.monotonic()
                    for id in list(self.unanswered):
                        self.run.again[id] += 1
                        await self.say("collab_event", self.unanswered[id])
                elif event == "collab_event":
                    self.hear(body)
                elif event == "event_ack":
                    self.acknowledged(body)
                elif event == "error":
                    await self.refused(body)

    def read(self, frame):
        if self.packets:
            return json.loads(frame[2:]) if frame.startswith("42") else (None, None)
        said = json.loads(frame)
        return said["event"], said["data"]

    async def say(self, event, body):
        frame = "42" + json.dumps([event, body]) if self.packets else json.dumps({"event": event, "data": body})
        await self.socket.send(frame)

    async def send(self, id, to):
        body = {"type": "position_shared", "from_user": self.name, "to_users": to, "data": {"position_id": id}, "id": id}
        self.unanswered[id] = body
        self.run.sent[id] = (self.name, to, time.monotonic())
        # Otherwise it is said when its sender is back.
        if self.connected.is_set():
            try:
                await self.say("collab_event", body)
            except websockets.WebSocketException:
                pass

    def acknowledged(self, ack):
        id = ack["id"]
        self.unanswered.pop(id, None)
        first = self.run.acks.setdefault(id, ack)
        if first != ack:
            self.run.problem("acknowledged in two ways", (first, ack))
        elif not self.run.again[id]:
            self.run.took(self.run.to_ack, self.run.sent[id][2])

    async def refused(self, error):
        if error["code"] not in ("backplane_unavailable", "rate_limited") or "id" not in error:
            return self.run.problem("refused", error)
        await asyncio.sleep(error.get("retry_in_ms", 100) / 1000)
        if error["id"] in self.unanswered:
            self.run.again[error["id"]] += 1
            await self.say("collab_event", self.unanswered[error["id"]])

    def hear(self, event):
        id = event["id"]
        self.heard.append((id, event["seq"]))
        if id in self.run.sent and not self.run.again[id]:
            self.run.took(self.run.to_ear, self.run.sent[id][2])


def judge(run, users):
    """The table's counts; what is wrong is noted in the run."""
    told_again, heard = 0, set()
    for user in users:
        seqs, ids, highest = {}, [], 0
        for id, seq in user.heard:
            sender_to = run.sent.get(id)
            if sender_to is None or user.name not in sender_to[1]:
                run.problem("for somebody else", (user.name, id))
            elif id in seqs:
                told_again += 1
                if seqs[id] != seq or not user.was_on_dead:
                    run.problem("twice", (user.name, id, seqs[id], seq))
            else:
                if seq != highest + 1:
                    run.problem("out of order", (user.name, id, highest, seq))
                highest = seq
                seqs[id] = seq
                ids.append(id)
                heard.add((user.name, id))
        of_sender = defaultdict(list)
        for id in ids:
            of_sender[run.sent[id][0]].append(id)
        for sender, row in of_sender.items():
            # Ids of a sender grow. Who said something again after it was back said later things before.
            if row != sorted(row) and not any(run.again[id] for id in row):
                run.problem("not in the sender's order", (user.name, sender, row))
    for id, (_, to, _) in run.sent.items():
        ack = run.acks.get(id)
        if ack is None:
            run.problem("not acknowledged", id)
            continue
        counts = ack["delivered_to"], ack["queued"], ack["total_recipients"]
        if counts[2] != len(to) or counts[0] + counts[1] != counts[2] or "full" in ack:
            run.problem("wrong counts", ack)
        for name in to:
            if (name, id) not in heard:
                run.problem("lost", (name, id))
    delivered = sum(ack["delivered_to"] for ack in run.acks.values())
    queued = sum(ack["queued"] for ack in run.acks.values())
    if delivered + queued != len(heard):
        run.problem("sums differ", (delivered, queued, len(heard)))
    return {
        "events": len(run.sent),
        "acknowledged": len(run.acks),
        "said again by their senders": sum(1 for id in run.again if run.again[id]),
        "recipients": sum(len(to) for _, to, _ in run.sent.values()),
        "delivered_to": delivered,
        "queued": queued,
        "heard": len(heard),
        "told again after the death, same id and seq": told_again,
    }


def milliseconds(times):
    cuts = statistics.quantiles(times, n=100)
    return f"{cuts[49] * 1000:.1f}, {cuts[98] * 1000:.1f} ms"


async def drive(options, nodes):
    run = Run(options, nodes)
    users = [User(run, number) for number in range(options.users)]
    present, absent = users[options.absent :], users[: options.absent]

    async def come(some):
        # As many at once as a door of tests takes without complaint.
        for at in range(0, len(some), 50):
            for user in some[at : at + 50]:
                user.start()
            await asyncio.gather(*(user.connected.wait() for user in some[at : at + 50]))

    await come(present)
    print(f"{len(present)} users are there, {len(absent)} away", file=sys.stderr)
    begin = time.monotonic()
    kill_at = int(options.events * options.kill_at)
    for number in range(options.events):
        if number == kill_at:
            run.killed_at = time.monotonic()
            nodes[0].process.kill()
        sender = run.random.choice(present)
        to = [user.name for user in run.random.sample(users, run.random.randint(1, 3))]
        await sender.send(f"{number:06}", to)
        ahead = begin + number / options.rate - time.monotonic()
        if ahead > 0:
            await asyncio.sleep(ahead)
    await come(absent)
    over = time.monotonic() + options.patience
    silent = lambda: time.monotonic() - run.last > SILENCE and not any(user.unanswered for user in users)
    while not silent() and time.monotonic() < over:
        await asyncio.sleep(0.1)
    for user in users:
        user.task.cancel()
    await asyncio.gather(*(user.task for user in users), return_exceptions=True)
    counts = judge(run, users)
    moved = sorted(user.back_at - run.killed_at for user in users if user.back_at)
    if moved:
        counts["users of the dead node who came back"] = len(moved)
        counts["after p50, last"] = f"{statistics.median(moved):.2f}, {moved[-1]:.2f} s"
    counts["said → acknowledged p50, p99"] = milliseconds(run.to_ack)
    counts["said → heard, inboxes included p50"] = f"{statistics.median(run.to_ear) * 1000:.1f} ms"
    return run, counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--absent", type=int, default=100, help="of these, who come when all was sent")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=400, help="events a second")
    parser.add_argument("--kill-at", type=float, default=0.5, help="share of the events after which a node dies")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait at the end")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    redis = Redis(durable=True).start()
    nodes = []
    try:
        for name in ("one", "two", "three"):
            nodes.append(Node(name, REDIS_URL=redis.url, LOG_LEVEL="WARNING").start())
        run, counts = asyncio.run(drive(options, nodes))
    finally:
        for node in nodes:
            node.kill()
        redis.kill()
    for what, figure in counts.items():
        print(f"{what:50} {figure}")
    for kind, number in run.problems.items():
        print(f"{kind:50} {number}  <- wrong")
    print("clean" if not run.problems else "not clean")
    return 1 if run.problems else 0


if __name__ == "__main__":
    sys.exit(main())
