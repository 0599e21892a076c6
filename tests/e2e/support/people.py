"""What people were told of each other, and what that adds up to."""

import re
from datetime import datetime

from .deadline import PATIENCE


def told(peer, user):
    """`user_joined` and `user_left` that this peer heard of a user so far, in order."""
    kinds = ("user_joined", "user_left")
    return [f["type"] for f in peer.history if f["type"] in kinds and f["user_id"] == user]


def shown(peer):
    """The users a client shows that was given every frame this peer has heard."""
    users = set()
    for frame in peer.history:
        match frame["type"]:
            case "session_state":
                users = {user["user_id"] for user in frame["users"]}
            case "user_joined":
                users.add(frame["user_id"])
            case "user_left":
                users.discard(frame["user_id"])
    return users


def hear_of(peer, kind, user, within=PATIENCE):
    """Reads on until the peer has been told this of the user; returns that frame."""
    matches = lambda frame: frame["type"] == kind and frame["user_id"] == user
    known = [frame for frame in peer.history if matches(frame)]
    return known[-1] if known else peer.until(matches, within)[-1]


def moment(frame):
    """When it was said, in seconds since 1970."""
    return datetime.fromisoformat(frame["timestamp"]).timestamp()


def metric(node, series):
    """A metric's value; zero for a series that does not exist yet."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", node.metrics(), re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def said(node, sentence):
    """How often a node's log has a sentence."""
    return node.log().count(f'"{sentence}"')
