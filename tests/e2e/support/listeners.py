"""Somebody at any door who listens for notifications, and whoever sends them."""

from queue import Empty

from .deadline import PATIENCE
from .http import assert_problem
from .pad import pad
from .peer import Peer, unique
from .recorded import Visitor, given, made
from .review import Reviewer
from .shapes import TIME
from .workspace import Fellow

# Clients, and the name of their door.
DOORS = {
    "pairing": "pairing",
    "review": "review",
    "python-websocket": "socketio",
    "python-polling": "socketio",
    "js-both": "socketio",
    "raw": "raw",
    "workspace": "workspace",
}


class Listener:
    """One socket. `who` has `id` and `token`; `session` is one that every door admits to."""

    def __init__(self, node, client, who, session):
        self.client, self.door, self.user = client, DOORS[client], who.id
        if client == "pairing":
            self.socket = Peer(node, session, token=who.token)
        elif client == "review":
            self.socket = Reviewer(node, session, who)
        elif client == "workspace":
            self.socket = Fellow(node, who.id, token=who.token)
        else:
            # The one without the library is a courier in any case.
            courier = {"display_name": "A courier"} if client in ("raw", "js-both") else {}
            self.socket = pad(node, client, who.id, auth={"token": who.token}, **courier)
            # Its client thinks itself in a moment before it is.
            self.socket.emit("ping", {})
            self._await("pong", PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        (self.socket.leave if isinstance(self.socket, Peer) else self.socket.end)()

    def next(self, within=PATIENCE):
        """The next notification, whatever else comes before it."""
        if isinstance(self.socket, Peer):
            frame = self.socket.until(lambda frame: frame["type"] == "notification", within)[-1]
            assert frame == {"type": "notification", "data": frame["data"]}
            body = frame["data"]
        else:
            body = self._await("notification", within)
        assert body == {"type": body["type"], "data": body["data"], "timestamp": TIME}
        return body

    def _await(self, wanted, within):
        event = None
        while event != wanted:
            try:
                event, body = self.socket.heard.get(timeout=within)
            except Empty:
                raise AssertionError(f"{self.user} heard no {wanted} within {within} s") from None
        return body

    def up_to(self, kind, within=PATIENCE):
        """All notifications up to the first of this type, that one left out."""
        bodies = []
        while (body := self.next(within))["type"] != kind:
            bodies.append(body)
        return bodies


class Service:
    """Sends notifications, by a token where nodes want one."""

    def __init__(self, node, headers=None):
        self.node, self.headers = node, headers or {}

    def post(self, kind, to=None, data=None, node=None, headers=None, **fields):
        body = {"type": kind, "data": data, "to": to or {"all": True}} | fields
        return (node or self.node).post("/broadcast", body, headers=self.headers | (headers or {}))

    def tell(self, kind, *arguments, **options):
        """What came of one that must be taken."""
        answer = self.post(kind, *arguments, **options)
        assert answer.status == 202, answer
        assert set(answer.json) == {"id", "seq"}, answer
        return answer.json

    def refused(self, status, code, field=None, **request):
        assert_problem(self.post("x", **request), status, code, field)

    def heard_by(self, *listeners):
        """What each of them was notified of up to one more that all of them hear."""
        marker = unique("marker")
        self.tell(marker)
        return [listener.up_to(marker) for listener in listeners]


def types(heard):
    """Of what each of some listeners heard."""
    return [[body["type"] for body in bodies] for bodies in heard]


def recorded(place):
    """A recorded session, and somebody who may make others come to it."""
    host = Visitor(place.north, "host", jti=unique("jti"))
    return made(place.north, host), host


def guest_of(place, session, host, word="guest"):
    visitor = Visitor(place.north, word, jti=unique("jti"))
    given(place.north, host, session, visitor, "viewer")
    return visitor
