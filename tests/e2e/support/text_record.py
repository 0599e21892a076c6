"""What is kept of texts: the versions of a recorded session by REST, and a document's keys in Redis."""

from base64 import b64encode
from urllib.parse import urlencode

import redis

from .recorded import by, path

# MessagePack's heads of bytes, and how many bytes their lengths have.
BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}
USER, UPDATE = b"\xa4user", b"\xa6update"


def text(node, who, session, **query):
    """The answer that has a version's text."""
    return node.get(path(session, "text") + (f"?{urlencode(query)}" if query else ""), **by(who))


def version(node, who, session, number=None):
    """The text of a version, the newest without one, as it must be there."""
    answer = text(node, who, session, **({} if number is None else {"version": number}))
    assert answer.status == 200, answer
    said = answer.json
    assert said["session_id"] == session
    assert number is None or said["version"] == number, said
    return said


def stored(server, session):
    """The updates a document is made of, base64: its snapshot, if there is one, and what is logged since."""
    return [update for _, _, update in changes(server, session)]


def changes(server, session):
    """The same with the version that each made, and by whom."""
    with redis.Redis(port=server.port) as client:
        base, snapshot = client.hmget(f"{{session:{session}}}:doc", "base", "state")
        log = client.xrange(f"{{session:{session}}}:doc:log")
    first = [(int(base), None, b64encode(snapshot).decode())] if snapshot else []
    return first + [change(number, fields[b"u"]) for number, fields in log]


def change(number, entry):
    """Of a map {user, at, update}, in this order."""
    at = entry.index(USER) + len(USER)
    # Names are short here, so their length is in the head, or in the byte behind it.
    length, at = (entry[at + 1], at + 2) if entry[at] == 0xD9 else (entry[at] & 0x1F, at + 1)
    user = entry[at : at + length].decode()
    at = entry.index(UPDATE) + len(UPDATE)
    width = BYTES[entry[at]]
    update = entry[at + 1 + width :]
    assert len(update) == int.from_bytes(entry[at + 1 : at + 1 + width], "big"), entry
    return int(number.split(b"-")[0]), user, b64encode(update).decode()


def fate(yjs, server, session, token):
    """In which version a token came into a text and went out of it, and by whom: to say who lost it."""
    there, told, updates = False, [], []
    for version, user, update in changes(server, session):
        updates.append(update)
        if (token in yjs.read(*updates)["text"]) != there:
            there = not there
            told.append((version, user))
    return told
