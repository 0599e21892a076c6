"""A user's backend at the courier's door, through any client: what it sends, what it is told."""

import queue
import time

from .deadline import PATIENCE
from .pad import CLIENTS, RAW, pad
from .peer import unique
from .shapes import NUMBER, STRING

COURIERS = [*CLIENTS, RAW]
TYPES = ["position_shared", "comment_added", "position_updated", "share_revoked"]


def courier(node, client, user, display_name=None, **options):
    """A socket of COURIERS that is there: it has been told so, and nothing else is read yet."""
    return Courier(node, client, user, display_name, **options)


def collab_event(sender, to, data=None, type="position_shared", **id):
    """What a sender says."""
    return {"type": type, "from_user": sender, "to_users": to, "data": data or {"position_id": "p"}} | id


def letter(event, seq=NUMBER, id=STRING):
    """What its recipients are told."""
    return {"id": id, "seq": seq} | event


def event_ack(event, delivered_to, total, queued=0, id=STRING, **full):
    return {
        "event_type": event["type"],
        "delivered_to": delivered_to,
        "total_recipients": total,
        "queued": queued,
        "id": event.get("id", id),
    } | full


class Courier:
    def __init__(self, node, client, user, display_name=None, **options):
        self.user = user
        self.pad = pad(node, client, user, display_name=display_name or f"{user}, Esq.", **options)
        self.letters = []
        self.greet()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def greet(self):
        self.connected = self.pad.next("connected")
        assert self.connected["user_id"] == self.user

    def send(self, to, data=None, type="position_shared", **id):
        """Says it, and returns what it said."""
        event = collab_event(self.user, to, data, type, **id)
        self.pad.emit("collab_event", event)
        return event

    def ask(self, to, data=None, type="position_shared", id=None):
        """Sends it under an id, and returns what came of it."""
        id = id or unique("letter")
        self.send(to, data, type, id=id)
        return self.reply(id)

    def reply(self, id):
        """What came of the event with this id."""
        event, body = self.answer()
        assert event in ("event_ack", "error") and body.get("id") == id, (event, body)
        return body

    def answer(self, within=PATIENCE):
        """The next thing heard that is no letter; letters that come in between are kept."""
        while True:
            try:
                event, body = self.pad.heard.get(timeout=within)
            except queue.Empty:
                raise AssertionError(f"{self.user} heard nothing within {within} s") from None
            if event != "collab_event":
                return event, body
            self.letters.append(body)

    def take(self, count, within=PATIENCE):
        """The next so many letters, which must be all that comes."""
        end = time.monotonic() + within
        while len(self.letters) < count:
            self.letters.append(self.pad.next("collab_event", max(0.01, end - time.monotonic())))
        taken, self.letters = self.letters[:count], self.letters[count:]
        return taken

    def take_all(self):
        """The letters that lie before the answer to a ping."""
        self.pad.emit("ping", {})
        event, body = self.answer()
        assert event == "pong", (event, body)
        taken, self.letters = self.letters, []
        return taken

    def hears_nothing(self):
        return self.take_all() == []

    def told_of(self, user):
        """What it was told of a user's coming and going, in order."""
        return [event for event, body in self.pad.presence if body["user_id"] == user]

    def leave(self):
        """Returns the letters that had come and were not read yet."""
        self.pad.leave()
        taken, self.letters = self.letters, []
        while not self.pad.heard.empty():
            event, body = self.pad.heard.get()
            taken += [body] if event == "collab_event" else []
        return taken

    def come(self):
        self.pad.come()
        self.greet()

    def end(self):
        self.pad.end()
