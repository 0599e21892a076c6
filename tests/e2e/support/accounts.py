"""Somebody with an account, and every password said: none may stand in a log."""

import secrets

from . import tokens
from .peer import unique
from .tokens import bearer

# Every password said and meant to be found; tokens given are among `tokens.minted`.
said = []


def password():
    said.append(made := f"canary-{secrets.token_hex(8)}")
    return made


def stranger(**instead):
    """What somebody says who registers and is not known yet."""
    name = unique("ann")
    return {"username": name, "email": f"{name}@example.org", "password": password()} | instead


def register(node, **fields):
    return node.post("/api/auth/register", fields)


def login(node, source=None, **fields):
    """`source` is another address to come from."""
    return noted(node.post("/api/auth/login", fields, source=source))


def guest(node, **fields):
    return noted(node.post("/api/auth/guest", fields))


def me(node, made=None):
    return node.get("/api/auth/me", headers=bearer(made) if made else {})


def refresh(node, made):
    return noted(node.post("/api/auth/refresh", b"", headers=bearer(made)))


def logout(node, made):
    return node.post("/api/auth/logout", b"", headers=bearer(made))


def change(node, made, current, new):
    """Of a password."""
    body = {"current_password": current, "new_password": new}
    return node.post("/api/auth/password", body, headers=bearer(made))


def leave(node, made):
    return node.delete("/api/auth/me", headers=bearer(made))


def noted(answer):
    """The token of an answer is looked for in logs later."""
    if answer.status in (200, 201):
        tokens.minted.append(answer.json["access_token"])
    return answer


class Person:
    """Has registered."""

    def __init__(self, node, **instead):
        self.node = node
        fields = stranger(**instead)
        answer = register(node, **fields)
        assert answer.status == 201, answer
        self.username, self.email, self.password = fields["username"], fields["email"], fields["password"]
        self.id = answer.json["id"]

    @property
    def shown(self):
        return {"id": self.id, "username": self.username, "email": self.email}

    def login(self, node=None):
        """Returns a token."""
        answer = login(node or self.node, username=self.username, password=self.password)
        assert answer.status == 200, answer
        return answer.json["access_token"]
