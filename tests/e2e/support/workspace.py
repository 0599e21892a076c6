"""Somebody at the workspace door, speaking `{type, data}` through the `websockets` package; and what is heard there."""

import json
from urllib.parse import urlencode

from .deadline import PATIENCE
from .peer import Peer, unique
from .shapes import NUMBER, POSITION, STRING, TIME, WORDS, Matcher

SECONDS = Matcher("seconds", lambda value: isinstance(value, int | float) and value >= 0)
MAYBE_POSITION = Matcher("epoch-seq or null", lambda value: value is None or POSITION == value)

ALL, AGENTS, WORKSPACES = "/ws", "/ws/agents", "/ws/workspaces"


def way(at=ALL, **query):
    """Path and query of the door."""
    query = {key: value for key, value in query.items() if value is not None}
    return at + (f"?{urlencode(query)}" if query else "")


class Fellow(Peer):
    """One socket of a user, who is in any number of rooms."""

    greeted_with = "connected"

    def __init__(self, node, user=None, name=None, at=ALL, **options):
        super().__init__(node, at, user, name, **options)
        if self.greeting:
            self.user = self.greeting["data"]["user_id"]

    def way(self, at, user, name, since):
        return way(at, user_id=user, username=name)

    def send(self, type, id=None, /, **data):
        frame = {"type": type} | ({"id": id} if id else {}) | ({"data": data} if data else {})
        self.send_raw(json.dumps(frame, ensure_ascii=False))

    def answer(self, id, within=PATIENCE):
        """What is said to the command of this id."""
        return self.until(lambda frame: frame["data"].get("id") == id, within)[-1]

    def ask(self, type, id=None, /, **data):
        """Sends a command with an id and returns what is said to it."""
        id = id or unique("command")
        self.send(type, id, **data)
        return self.answer(id)

    def did(self, type, id=None, /, **data):
        """Has a durable command carried out, and returns its place."""
        answer = self.ask(type, id, **data)
        assert answer == ack(STRING), f"{self.user} sent {type} {data} and heard {answer}"
        return answer["data"]["seq"]

    def refused(self, code, type, field=None, /, **data):
        answer = self.ask(type, **data)
        about = {"field": field} if field else {}
        assert answer == error(code, id=STRING, **about), f"{self.user} sent {type} {data} and heard {answer}"
        return answer["data"]

    def refused_for_now(self, type, **data):
        """Redis is away; what is asked may be asked again."""
        answer = self.ask(type, **data)
        assert answer == error("backplane_unavailable", id=STRING, retry_in_ms=NUMBER), answer

    def before_pong(self):
        marker = unique("marker")
        self.send("ping", marker)
        return self.until(lambda frame: frame["type"] == "pong" and frame["data"].get("id") == marker)[:-1]

    def hears_nothing(self):
        """Nothing lies before the answer to a ping."""
        frames = self.before_pong()
        assert frames == [], f"{self.user} heard {frames}"

    def find(self, matches, within=PATIENCE):
        """The first frame heard so far that matches, else the first that comes."""
        known = [frame for frame in self.history if matches(frame)]
        return known[0] if known else self.until(matches, within)[-1]

    # Workspaces

    def enters(self, workspace, since=None):
        """Comes into a workspace, and returns what it is told of it."""
        answer = self.ask("join_workspace", workspace_id=workspace, **came(since))
        assert answer["type"] == "joined", answer
        return answer["data"]

    def leaves(self, workspace):
        answer = self.ask("leave_workspace", workspace_id=workspace)
        assert answer == {"type": "left", "data": {"workspace_id": workspace, "id": STRING, "timestamp": TIME}}

    def tells(self, workspace, update_type="note", id=None, /, **data):
        """Tells a workspace something, and returns its place."""
        return self.did("workspace_update", id, workspace_id=workspace, update_type=update_type, **data)

    def told(self, kind, user):
        """How often it was told this of a user."""
        return sum(frame["type"] == kind and frame["data"]["user_id"] == user for frame in self.history)

    def hear_of(self, kind, user, within=PATIENCE):
        """Reads on until it is told that somebody came or went."""
        return self.find(lambda frame: frame["type"] == kind and frame["data"]["user_id"] == user, within)

    # Agents

    def listens(self, agent, since=None):
        """Subscribes to an agent, and returns what it is told of it."""
        answer = self.ask("subscribe_agent", agent_id=agent, **came(since))
        assert answer["type"] == "subscribed", answer
        return answer["data"]

    def starts(self, agent, task="a task", id=None, /, user_id="ann", **data):
        return self.did("agent_execution_start", id, agent_id=agent, task=task, user_id=user_id, **data)

    def reports(self, agent, progress, **data):
        """Says how far it is; nothing is answered."""
        self.send("agent_execution_update", agent_id=agent, status="running", progress=progress, **data)

    def completes(self, agent, status="completed", id=None, /, **data):
        return self.did("agent_execution_complete", id, agent_id=agent, status=status, **data)

    def over(self, agent, within=PATIENCE):
        """Reads up to the end of the agent's run."""
        end = lambda frame: frame["type"] == "agent_execution_complete" and frame["data"]["agent_id"] == agent
        return self.until(end, within)

    def state_of(self, agent):
        """What an agent is at, as whoever asks is told; this socket goes on as it was."""
        state = self.listens(agent)["agent"]
        assert self.ask("unsubscribe_agent", agent_id=agent)["type"] == "unsubscribed"
        return state


def came(since):
    return {"since": since} if since else {}


def durable(frames, room=None):
    """Those that have a place, in that room if one is named."""
    return [frame for frame in frames if "seq" in frame and room in (None, frame["room"])]


def lose_runs(node, times=2):
    """Lets a run be lost, so often: whatever was to be lost by now is."""
    for _ in range(times):
        probe = unique("probe")
        with Fellow(node, "watcher") as watcher:
            watcher.listens(probe)
            worker = Fellow(node, probe)
            worker.starts(probe)
            worker.drop()
            assert watcher.over(probe)[-1] == lost(probe)


# Frames


def placed(type, room, seq=NUMBER, /, **data):
    return {"type": type, "seq": seq, "position": POSITION, "room": room, "data": data | {"timestamp": TIME}}


def user_joined(workspace, user, name=None):
    data = {"workspace_id": workspace, "user_id": user, "username": name or user}
    return placed("user_joined", f"workspace:{workspace}", **data)


def user_left(workspace, user, name=None):
    return user_joined(workspace, user, name) | {"type": "user_left"}


def workspace_update(workspace, update_type, by, seq=NUMBER, /, **data):
    by = {"by": by} if by else {}
    said = {"workspace_id": workspace, "update_type": update_type} | by
    return placed("workspace_update", f"workspace:{workspace}", seq, **data, **said)


def started(room, agent, task="a task", user="ann", seq=NUMBER, **workspace):
    data = {"agent_id": agent, "run_id": STRING, "task": task, "user_id": user}
    return placed("agent_execution_start", room, seq, **data, **workspace)


def progressed(agent, progress, step=None, status="running", **metrics):
    data = {"agent_id": agent, "status": status, "progress": progress, "current_step": step, "timestamp": TIME}
    return {"type": "agent_execution_update", "data": data | metrics}


def completed(room, agent, status="completed", result=None, took=None, seq=NUMBER, **reason):
    data = {"agent_id": agent, "run_id": STRING, "status": status, "result": result}
    return placed("agent_execution_complete", room, seq, **data, execution_time=SECONDS if took is None else took, **reason)


def room(agent):
    return f"agent:{agent}"


def lost(agent):
    return completed(room(agent), agent, "failed", reason="lost")


def state(agent, status, progress=None, step=None, task="a task", runs=0, failures=0, mean=None, metrics=None, **run):
    """Of an agent, as its watchers are told it; `run` is RUNNING while it is at one."""
    return {
        "agent_id": agent,
        "status": status,
        "progress": progress,
        "current_step": step,
        "task": task,
        "metrics": metrics,
        "updated_at": TIME,
        "runs": runs,
        "failures": failures,
        "mean_execution_time": mean,
    } | run


RUNNING = {"run_id": STRING, "user_id": "ann", "started_at": TIME}


def ack(id, seq=NUMBER):
    return {"type": "ack", "data": {"id": id, "seq": seq, "position": MAYBE_POSITION, "timestamp": TIME}}


def error(code, **more):
    return {"type": "error", "data": {"code": code, "message": WORDS, "timestamp": TIME} | more}


def resumed(position=POSITION, **about):
    return {"type": "resumed", "data": {"position": position, "id": STRING} | about}


def there(user, name=None, online=True):
    return {"user_id": user, "username": name or user, "online": online}
