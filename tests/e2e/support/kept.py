"""What was said and done in a recorded session, as REST gives it back."""

import json
from urllib.parse import urlencode

from .recorded import by, path


def ask(node, who, session, *below, **query):
    """`from_` is `from`."""
    query = {name.rstrip("_"): value for name, value in query.items() if value is not None}
    return node.get(path(session, *below) + (f"?{urlencode(query)}" if query else ""), **by(who))


def page(node, who, session, *below, **query):
    answer = ask(node, who, session, *below, **query)
    assert answer.status == 200, answer
    assert set(answer.json) == {"items", "next_cursor"}, answer
    return answer.json


def pages(node, who, session, *below, **query):
    """The items of every page."""
    found, cursor = [], None
    while True:
        one = page(node, who, session, *below, cursor=cursor, **query)
        found.append(one["items"])
        cursor = one["next_cursor"]
        if cursor is None:
            return found


def items(node, who, session, *below, **query):
    return [item for one in pages(node, who, session, *below, **query) for item in one]


def messages(node, who, session, **query):
    return items(node, who, session, "messages", **query)


def comments(node, who, session, **query):
    return items(node, who, session, "comments", **query)


def events(node, who, session, **query):
    return items(node, who, session, "events", **query)


def presence(node, who, session, **query):
    """Participants by their id."""
    return {one["user_id"]: one for one in items(node, who, session, "presence", **query)}


def stats(node, who, session):
    answer = ask(node, who, session, "messages", "stats")
    assert answer.status == 200, answer
    return answer.json


def replay(node, who, session, **query):
    answer = ask(node, who, session, "replay", **query)
    assert answer.status == 200, answer
    assert answer.kind == "application/x-ndjson", answer
    return [json.loads(line) for line in lines(answer)]


def lines(answer):
    """Texts may have ends of lines that are none here: U+2028, U+0085."""
    assert answer.text in ("", "\n") or answer.text.endswith("\n") or answer.kind == "application/json", answer
    return [line for line in answer.text.split("\n") if line]


def contents(listed):
    return [one["content"] for one in listed]


def everything(node, who, session):
    """All of it as one text: what is not in there nobody of this role can read."""
    below = [("messages",), ("messages", "stats"), ("comments",), ("events",), ("replay",), ("presence",)]
    answers = [ask(node, who, session, *one, **({"limit": 200} if one[-1] in PAGED else {})) for one in below]
    assert [answer.status for answer in answers] == [200] * len(below), answers
    # As it is, not as JSON may escape it.
    return "\n".join(
        json.dumps(json.loads(line), ensure_ascii=False) for answer in answers for line in lines(answer)
    )


PAGED = ("messages", "comments", "events")
