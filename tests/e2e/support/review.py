"""Somebody at the review door, and the people of a recorded session."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from .deadline import PATIENCE
from .peer import Peer, unique
from .recorded import Visitor, given, made

# What durable commands are answered with.
TAKEN = ("ack", "code_ack")


def way(session, **query):
    """Path and query of the review door."""
    query = {key: value for key, value in query.items() if value is not None}
    return f"/ws/session/{quote(session, safe='')}" + (f"?{urlencode(query)}" if query else "")


class Reviewer(Peer):
    """One socket of a visitor: whoever has `id`, `name` and `token`."""

    greeted_with = "connected"

    def __init__(self, node, session, who, **options):
        super().__init__(node, session, token=who.token, **options)
        self.who = who
        self.user = who.id

    def way(self, session, user, name, since):
        return way(session, since=since)

    def find(self, matches, within=PATIENCE):
        """The latest frame heard already that matches, else the first that comes."""
        known = [frame for frame in reversed(self.history) if matches(frame)]
        return known[0] if known else self.until(matches, within)[-1]

    def listen(self, seconds):
        """What comes within this time, which may be nothing."""
        frames, end = [], time.monotonic() + seconds
        with suppress(TimeoutError):
            while (left := end - time.monotonic()) > 0:
                frames.append(json.loads(self.socket.recv(timeout=left)))
                self.history.append(frames[-1])
        return frames

    def at(self, seq, type):
        """The event at this place of the session's order."""
        return self.find(lambda frame: frame.get("seq") == seq and frame["type"] == type)

    def hear(self, type, user, within=PATIENCE, **data):
        """The latest of such events about a user whose data says this."""

        def matches(frame):
            about = frame.get("user_id") or (frame.get("user") or {}).get("user_id")
            return frame["type"] == type and about == user and data.items() <= frame.get("data", {}).items()

        return self.find(matches, within)

    def did(self, type, event, /, **fields):
        """Has a command carried out, and returns the event as this socket hears it."""
        answer = self.ask(type, **fields)
        assert answer["type"] in TAKEN, f"{self.user} sent {type} {fields} and heard {answer}"
        return self.at(answer["seq"], event)

    def refused(self, code, type, field=None, /, **fields):
        """Has a command refused like this, and returns the error."""
        answer = self.ask(type, **fields)
        told = (answer["type"], answer.get("code"), answer.get("field", field))
        assert told == ("error", code, field), f"{self.user} sent {type} {fields} and heard {answer}"
        assert code != "bad_field" or "field" in answer, answer
        return answer

    def say(self, content, id=None, **data):
        return self.did("chat_message", "chat_message", **spoken(content, id, data))

    def comment(self, content, file="main.py", line=1, id=None, **data):
        data = {"file": file, "line": line, "content": content} | data
        return self.did("code_comment", "code_comment", data=data, **({"id": id} if id else {}))

    def react(self, message, emoji="👍", action="add"):
        data = {"message_id": message, "emoji": emoji, "action": action}
        return self.did("reaction", "reaction_update", data=data)

    def edit(self, message, content):
        return self.did("message_edit", "message_edited", data={"message_id": message, "content": content})

    def delete(self, message):
        return self.did("message_delete", "message_deleted", data={"message_id": message})

    def resolve(self, comment, resolved=True):
        return self.did("comment_resolve", "comment_resolved", data={"comment_id": comment, "resolved": resolved})

    def change_session(self, **data):
        return self.did("session_update", "session_update", data=data)

    def point(self, file, line, column):
        self.send("cursor_update", data={"file": file, "line": line, "column": column})

    def scroll(self, file, first, last):
        self.send("viewport_update", data={"file": file, "start_line": first, "end_line": last})

    def position(self):
        """Where it is now; what it was sent before that has been read."""
        marker = unique("where")
        self.send("ping", id=marker)
        return self.until(lambda frame: frame["type"] == "pong" and frame.get("id") == marker)[-1]["position"]

    @property
    def role(self):
        return self.greeting["role"]


def spoken(content, id=None, data=None):
    """The fields of a chat message."""
    fields = {"content": content, "id": id, "data": data}
    return {name: value for name, value in fields.items() if value}


def heard(speaker, *reviewers):
    """What each of them heard up to a line that `speaker` says now, that line left out."""
    seq = speaker.say(unique("marker"))["seq"]
    marker = lambda frame: frame["type"] == "chat_message" and frame.get("seq") == seq
    # The speaker itself has read its own line by now.
    return [[] if one is speaker else one.until(marker)[:-1] for one in reviewers]


def told(reviewer, *types):
    """Everything it was told so far, of these types."""
    return [frame for frame in reviewer.history if frame["type"] in types]


def missed(attend, node, session, who, since):
    """Comes back; returns the socket and what it heard up to where it is live again."""
    reviewer = attend(node, session, who, since=since, greeted=False)
    return reviewer, reviewer.until(lambda frame: frame["type"] in ("resumed", "connected"))


@dataclass
class Cast:
    """A recorded session and who is who in it; the stranger has no role of its own, as the viewer."""

    session: str
    host: Visitor
    editor: Visitor
    viewer: Visitor
    stranger: Visitor


def cast(place, **fields):
    host, editor, viewer, stranger = (Visitor(place.north, word) for word in ("ann", "bob", "cat", "dan"))
    session = made(place.north, host, **fields)
    given(place.south, host, session, editor, "editor")
    given(place.north, host, session, viewer, "viewer")
    return Cast(session, host, editor, viewer, stranger)
