"""Teams, insights and analytics over REST."""

from urllib.parse import quote, urlencode

from .recorded import by


def path(team, *below):
    return "/".join(["/api/teams", *(quote(part, safe="") for part in (team, *below))])


def insight_path(insight):
    return f"/api/insights/{quote(insight, safe='')}"


def asking(base, **query):
    """What is `None` is not asked."""
    said = {name: value for name, value in query.items() if value is not None}
    return f"{base}?{urlencode(said)}" if said else base


def make(node, visitor, **fields):
    return node.post("/api/teams", fields, **by(visitor))


def made(node, visitor, **fields):
    """The id of a new team."""
    answer = make(node, visitor, **{"name": "A team"} | fields)
    assert answer.status == 201, answer
    return answer.json["id"]


def look(node, visitor, team):
    return node.get(path(team), **by(visitor))


def listed(node, visitor, **query):
    return node.get(asking("/api/teams", **query), **by(visitor))


def update(node, visitor, team, **fields):
    return node.patch(path(team), fields, **by(visitor))


def delete(node, visitor, team):
    return node.delete(path(team), **by(visitor))


def members(node, visitor, team, **query):
    return node.get(asking(path(team, "members"), **query), **by(visitor))


def put(node, visitor, team, user, role):
    return node.put(path(team, "members", user), {"role": role}, **by(visitor))


def joined(node, owner, team, visitor, role="member"):
    """The visitor has this role from now on."""
    answer = put(node, owner, team, visitor.id, role)
    assert answer.status == 200, answer
    assert answer.json["role"] == role


def remove(node, visitor, team, user):
    return node.delete(path(team, "members", user), **by(visitor))


def roles(node, visitor, team):
    """Of every member."""
    answer = members(node, visitor, team, limit=200)
    assert answer.status == 200, answer
    return {one["user_id"]: one["role"] for one in answer.json["items"]}


def note(node, visitor, team, session, **fields):
    fields = {"team_id": team, "session_id": session, "title": "A note", "body": "It says this."} | fields
    return node.post("/api/insights", fields, **by(visitor))


def noted(node, visitor, team, session, **fields):
    """The id of a new insight."""
    answer = note(node, visitor, team, session, **fields)
    assert answer.status == 201, answer
    return answer.json["id"]


def notes(node, visitor, team, **query):
    return node.get(asking("/api/insights", team_id=team, **query), **by(visitor))


def read_note(node, visitor, insight):
    return node.get(insight_path(insight), **by(visitor))


def update_note(node, visitor, insight, **fields):
    return node.patch(insight_path(insight), fields, **by(visitor))


def delete_note(node, visitor, insight):
    return node.delete(insight_path(insight), **by(visitor))


def analytics(node, visitor, team, **query):
    return node.get(asking("/api/analytics/team", team_id=team, **query), **by(visitor))


def stats(node, visitor=None, **query):
    return node.get(asking("/ws/stats", **query), **by(visitor))
