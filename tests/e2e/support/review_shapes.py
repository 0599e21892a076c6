"""Exact shapes of what the review door says; see `shapes`."""

from .shapes import NUMBER, POSITION, STRING, TIME, Matcher


def named(who):
    return {"user_id": who.id, "username": who.name}


def event(type, **fields):
    """Durable."""
    return {"type": type, "timestamp": TIME, "seq": NUMBER} | fields


def announced(type, who, **data):
    return {"type": type, "user_id": who.id, "data": data, "timestamp": TIME}


def chat(who, content, id=STRING, reply_to=None, mentions=(), **to_user):
    said = {"id": id, "user": named(who), "content": content, "reply_to": reply_to, "mentions": list(mentions)}
    return event("chat_message", **said, **to_user)


def comment(who, content, file="main.py", line=1, mentions=(), **more):
    data = {"file": file, "line": line, "content": content, "code_snippet": None, "reply_to": None, "resolved": False}
    return event("code_comment", id=STRING, user=named(who), data=data | more, mentions=list(mentions))


def reaction(who, message, emoji, action, users):
    data = {"message_id": message, "emoji": emoji, "action": action, "users": [one.id for one in users]}
    return event("reaction_update", user_id=who.id, data=data)


def edited(who, message, content, mentions=()):
    data = {"message_id": message, "content": content, "mentions": list(mentions), "edited_at": TIME}
    return event("message_edited", user_id=who.id, data=data)


def deleted(who, message):
    return event("message_deleted", user_id=who.id, data={"message_id": message})


def resolved(who, comment, resolved=True):
    return event("comment_resolved", user_id=who.id, data={"comment_id": comment, "resolved": resolved})


def session_update(who, **data):
    return event("session_update", user_id=who.id, data=data)


def joined(who, role):
    return event("user_joined", user=named(who), role=role)


def left(who):
    return event("user_left", user=named(who))


def participant(who, role, status="active", cursor=None, viewport=None):
    return named(who) | {"role": role, "status": status, "cursor": cursor, "viewport": viewport}


def cursor(file, line, column):
    return {"file": file, "line": line, "column": column}


def viewport(file, first, last):
    return {"file": file, "start_line": first, "end_line": last}


def connected(session, who, role, participants, messages, **fields):
    shape = {
        "type": "connected",
        "session_id": session["id"],
        "user": named(who),
        "role": role,
        "participants": participants,
        "messages": messages,
        "position": POSITION,
        "resumed": False,
        "session": {name: session[name] for name in ("title", "language", "default_role")},
        "code": "",
        "version": 0,
        "timestamp": TIME,
    }
    return shape | fields


def fits(frame, shape):
    """It has these fields; there may be more."""
    return {name: frame.get(name) for name in shape} == shape


def message(said, **more):
    """A message of the history, from how it was told."""
    same = {name: said[name] for name in ("id", "user", "content", "reply_to", "mentions", "timestamp", "seq")}
    alone = Matcher("itself or none", lambda thread: thread in (None, said["id"]))
    rest = {"to_user": said.get("to_user"), "thread_id": alone, "reactions": [], "edited_at": None}
    return same | rest | {"deleted": False} | more
