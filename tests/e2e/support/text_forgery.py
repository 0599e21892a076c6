"""Updates of Yjs written byte by byte, to be right in all but one thing."""

from .text_wire import STEP_1, UPDATE, awareness, blob, number

STRING, DELETED, GC, SKIP = 4, 1, 0, 10
# Flags of what a struct says of its place.
ORIGIN, RIGHT_ORIGIN = 0x80, 0x40
ROOT = number(1) + blob(b"code")
NO_DELETIONS = number(0)


def text(payload=b"x", root=ROOT, claimed=None):
    """A struct of text at the root's beginning."""
    length = number(len(payload) if claimed is None else claimed)
    return bytes([STRING]) + root + length + payload


def behind(client, clock, payload=b"x"):
    """A struct of text behind a character of somebody's."""
    return bytes([STRING | ORIGIN]) + number(client) + number(clock) + blob(payload)


def struct(info, body=b"", root=ROOT):
    """Of any kind, at the root's beginning."""
    return bytes([info]) + root + body


def written(*structs, client=7, clock=0, count=None, clients=1, deletions=NO_DELETIONS):
    """An update by one client. `count` and `clients` are what it claims to have."""
    head = number(clients) + number(len(structs) if count is None else count) + number(client) + number(clock)
    return head + b"".join(structs) + deletions


def deleted(*runs, client=7, count=None, clients=1):
    """What an update says of deletions: runs of clock and length."""
    body = b"".join(number(clock) + number(length) for clock, length in runs)
    return number(clients) + number(client) + number(len(runs) if count is None else count) + body


def update(data):
    return UPDATE + blob(data)


def vector(*clients, claimed=None):
    body = b"".join(number(client) + number(clock) for client, clock in clients)
    return STEP_1 + blob(number(len(clients) if claimed is None else claimed) + body)


GOOD = update(written(text()))
HUGE = 1 << 40
DEEP = 100_000


def nested(depth):
    """An array in an array, as Yjs encodes any value."""
    return b"\x75\x01" * depth + b"\x7e"


# What no client writes. Each costs its sender the socket.
MALFORMED = {
    "nothing": b"",
    "an unknown message": b"\7",
    "an unknown message of the text": b"\0\5\0",
    "a kind without an end": b"\xff" * 20,
    "no body": b"\0\0",
    "a body longer than the frame": b"\0\2" + number(100) + b"\0",
    "a body of a terabyte": b"\0\2" + number(HUGE) + b"\0\0",
    "something behind the message": GOOD + b"\0",
    "a second message": GOOD + GOOD,
    "a vector that claims more": vector((7, 1), claimed=2),
    "a vector that claims a trillion": vector((7, 1), claimed=HUGE),
    "a vector with a client twice": vector((7, 1), (7, 2)),
    "a vector with something behind it": STEP_1 + blob(number(0) + b"\0"),
    "a vector with a number without an end": STEP_1 + blob(number(1) + b"\xff" * 12),
    "an empty update": update(b""),
    "an update without its deletions": update(written(text(), deletions=b"")),
    "an update with something behind it": update(written(text()) + b"\0"),
    "a trillion clients": update(written(text(), clients=HUGE)),
    "more clients than there are": update(written(text(), clients=2)),
    "a trillion structs": update(written(text(), count=HUGE)),
    "more structs than there are": update(written(text(), count=2)),
    "a struct of a kind that is none": update(written(struct(31, b"\0"))),
    "text of a terabyte": update(written(text(claimed=HUGE))),
    "text of four gigabytes": update(written(text(claimed=(1 << 32) - 1))),
    "text that is no UTF-8": update(written(text(b"\xff\xfe\xfd"))),
    "text that ends within a character": update(written(text("🎉".encode()[:3]))),
    "text with half a pair": update(written(text(b"\xed\xa0\xbd"))),
    "text longer than its shortest": update(written(text(b"\xc0\x80"))),
    "no text": update(written(text(b""))),
    "a root that is no UTF-8": update(written(text(root=number(1) + blob(b"\xff")))),
    "a root that claims more": update(written(text(root=number(1) + number(HUGE)))),
    "no place": update(written(bytes([STRING]) + number(2) + blob(b"x"))),
    "a clock beyond all numbers": update(written(text(), clock=(1 << 53))),
    "a client beyond all numbers": update(written(text(), client=(1 << 60))),
    "a clock that runs over": update(written(text(b"xxxx"), clock=(1 << 31) - 2)),
    "deleted text of a terabyte": update(written(struct(DELETED, number(HUGE)))),
    "deleted text of no length": update(written(struct(DELETED, number(0)))),
    "a gap of a terabyte": update(written(bytes([SKIP]) + number(HUGE), text())),
    "a million deletions": update(written(text(), deletions=deleted((0, 1), count=1 << 20))),
    "deletions of a trillion clients": update(written(text(), deletions=deleted((0, 1), clients=HUGE))),
    "a deletion of no length": update(written(text(), deletions=deleted((0, 0)))),
    "a deletion beyond all clocks": update(written(text(), deletions=deleted((1 << 31, 1 << 31)))),
    "deletions that overlap": update(written(text(b"xxxx"), deletions=deleted((0, 3), (1, 2)))),
    "values nested a hundred thousand deep": update(written(struct(8, number(1) + nested(DEEP)))),
    "JSON nested a hundred thousand deep": update(written(struct(2, number(1) + blob(b"[" * DEEP + b"]" * DEEP)))),
    "an embedded value nested that deep": update(written(struct(5, blob(b"[" * DEEP + b"]" * DEEP)))),
    "a format": update(written(struct(6, blob(b"bold") + blob(b"true")))),
    "a type within": update(written(struct(7, number(1)))),
    "a type that is none": update(written(struct(7, number(99)))),
    "a document within": update(written(struct(9, blob(b"guid") + b"\x76\0"))),
    "another root": update(written(text(root=number(1) + blob(b"notes")))),
    "awareness of a trillion": b"\1" + blob(number(HUGE)),
    "awareness of more than there are": b"\1" + blob(number(2) + number(7) + number(1) + blob(b"{}")),
    "awareness that is no JSON": awareness((7, 1, "{")),
    "awareness with something behind it": b"\1" + blob(number(1) + number(7) + number(1) + blob(b"{}") + b"\0"),
    "awareness that is no UTF-8": b"\1" + blob(number(1) + number(7) + number(1) + blob(b'"\xff"')),
    "awareness nested a hundred thousand deep": awareness((7, 1, "[" * DEEP + "]" * DEEP)),
    "awareness of a terabyte": b"\1" + blob(number(1) + number(7) + number(1) + number(HUGE) + b"{}"),
    "awareness twice of a client": awareness((7, 1, "{}"), (7, 2, "{}")),
    "a clock of awareness beyond all numbers": b"\1" + blob(number(1) + number(7) + number(1 << 60) + blob(b"{}")),
    "awareness larger than a cursor can be": awareness((7, 1, f'"{"x" * 200_000}"')),
}
