"""Recorded sessions over REST, and the people who make and visit them."""

from urllib.parse import quote

from . import accounts
from .peer import unique
from .tokens import bearer, token


class Visitor:
    """Has a token: of the secret where nodes have one, else a guest's."""

    def __init__(self, node, word="ann", **claims):
        if "JWT_SECRET" in node.environment:
            self.id, self.name = unique(word), f"The {word}"
            self.token = token(self.id, name=self.name, **claims)
            # Who has no account here is known by name only where the token is shown.
            self.known = self.id
        else:
            given = accounts.guest(node, username=unique(word)).json
            self.id, self.name = given["user"]["id"], given["user"]["username"]
            self.token = given["access_token"]
            self.known = self.name

    @property
    def auth(self):
        """For Socket.IO."""
        return {"token": self.token}

    def shown(self, role):
        """As one who was given a role."""
        return {"user_id": self.id, "username": self.known, "role": role}


def made(node, visitor, **fields):
    """The id of a new session."""
    answer = make(node, visitor, **{"title": "A session"} | fields)
    assert answer.status == 201, answer
    return answer.json["id"]


def make(node, visitor, **fields):
    return node.post("/api/sessions", fields, **by(visitor))


def by(visitor):
    """`None`: without a token."""
    return {"headers": bearer(visitor.token) if visitor else {}}


def path(session, *below):
    return "/".join(["/api/sessions", *(quote(part, safe="") for part in (session, *below))])


def look(node, visitor, session):
    return node.get(path(session), **by(visitor))


def update(node, visitor, session, **fields):
    return node.patch(path(session), fields, **by(visitor))


def end(node, visitor, session):
    return node.delete(path(session), **by(visitor))


def people(node, visitor, session):
    return node.get(path(session, "participants"), **by(visitor))


def assign(node, visitor, session, user, role):
    return node.put(path(session, "participants", user), {"role": role}, **by(visitor))


def given(node, host, session, visitor, role):
    """The visitor has this role from now on."""
    answer = assign(node, host, session, visitor.id, role)
    assert answer.status == 200, answer
    assert answer.json["role"] == role


def send_away(node, visitor, session, user):
    return node.delete(path(session, "participants", user), **by(visitor))


def state(node, visitor, session):
    """What the door's own REST says of it."""
    return node.get(f"/api/v1/session/{session}/state", **by(visitor))


def end_by_door(node, visitor, session):
    return node.delete(f"/api/v1/session/{session}", **by(visitor))


def listed(node, visitor, limit=None, cursor=None):
    query = "&".join(f"{name}={value}" for name, value in (("limit", limit), ("cursor", cursor)) if value is not None)
    return node.get(f"/api/sessions?{query}", **by(visitor))
