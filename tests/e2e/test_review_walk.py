"""A review from its accounts to its replay, on two nodes with Redis and PostgreSQL: each step needs those before it."""

import json
from dataclasses import dataclass, field

import pytest

from support import kept, shapes
from support import review_shapes as review
from support.accounts import Person
from support.http import assert_problem
from support.peer import unique
from support.place import Place, place_of
from support.raw import refused, turned_away
from support.recorded import assign, end, look, made, people, send_away
from support.review import Reviewer, heard, missed, told, way

SNIPPET = "def area(r):\n    return 3.14 * r * r\n"
# Said between two alone; no third person may find it anywhere.
SECRET = "canary between the two of us"


class Member(Person):
    """Has an account, and has logged in."""

    def __init__(self, node, word):
        super().__init__(node, username=unique(word))
        self.name = self.username
        self.token = self.login()


@dataclass
class Walk:
    """Ann hosts, Bob was made an editor, Cat has the default role; each on a node of their own choice."""

    place: Place
    ann: Member
    bob: Member
    cat: Member
    session: str
    host: Reviewer = None
    editor: Reviewer = None
    viewer: Reviewer = None
    # Frames by name, as they were told.
    said: dict = field(default_factory=dict)

    @property
    def sockets(self):
        return self.host, self.editor, self.viewer

    def all_hear(self, seq, shape):
        for socket in self.sockets:
            assert socket.at(seq, shape["type"]) == shape


@pytest.fixture(scope="module")
def place(request, children):
    return place_of("cluster", request, children, LEAVE_GRACE=0.5)


def test_a_review_from_its_first_account_to_its_replay(place, attend):
    """Each part works on its own, and not after all the others."""
    walk = begin(place)
    come(walk, attend)
    talk(walk)
    talk_in_private(walk)
    correct(walk)
    comment(walk)
    look_around(walk)
    be_a_viewer(walk)
    be_promoted(walk)
    write(walk)
    retitle(walk)
    miss_something(walk, attend)
    be_sent_away(walk, attend)
    finish(walk)
    look_back(walk)


def begin(place):
    ann, bob, cat = Member(place.north, "ann"), Member(place.south, "bob"), Member(place.north, "cat")
    session = made(place.north, ann, title="Circles", language="python")
    assert assign(place.south, ann, session, bob.id, "editor").status == 200
    return Walk(place, ann, bob, cat, session)


def come(walk, attend):
    place, known = walk.place, look(walk.place.north, walk.ann, walk.session).json
    walk.host = attend(place.north, walk.session, walk.ann)
    present = [review.participant(walk.ann, "host")]
    assert review.fits(walk.host.greeting, review.connected(known, walk.ann, "host", present, []))
    walk.editor = attend(place.south, walk.session, walk.bob)
    present.append(review.participant(walk.bob, "editor"))
    assert review.fits(in_order(walk.editor), review.connected(known, walk.bob, "editor", ordered(present), []))
    assert walk.host.hear("user_joined", walk.bob.id) == review.joined(walk.bob, "editor")
    walk.viewer = attend(place.south, walk.session, walk.cat)
    present.append(review.participant(walk.cat, "viewer"))
    assert review.fits(in_order(walk.viewer), review.connected(known, walk.cat, "viewer", ordered(present), []))
    for socket in (walk.host, walk.editor):
        assert socket.hear("user_joined", walk.cat.id) == review.joined(walk.cat, "viewer")
    for node in place.nodes:
        assert ordered(kept.items(node, walk.cat, walk.session, "presence")) == ordered(present)
    listed = people(place.south, walk.cat, walk.session).json["items"]
    assert {one["user_id"]: one["role"] for one in listed} == {walk.ann.id: "host", walk.bob.id: "editor"}


def ordered(participants):
    return sorted(participants, key=lambda one: one["user_id"])


def in_order(reviewer):
    return reviewer.greeting | {"participants": ordered(reviewer.greeting["participants"])}


def talk(walk):
    ann, bob, cat, said = walk.ann, walk.bob, walk.cat, walk.said
    said["first"] = walk.host.say("Shall we begin?")
    walk.all_hear(said["first"]["seq"], review.chat(ann, "Shall we begin?"))
    said["answer"] = walk.editor.say("Yes.", reply_to=said["first"]["id"])
    walk.all_hear(said["answer"]["seq"], review.chat(bob, "Yes.", reply_to=said["first"]["id"]))
    words = f"Then @{cat.name.upper()} will look, and not mail@{bob.name}"
    said["mention"] = walk.host.say(words, reply_to=said["answer"]["id"])
    shape = review.chat(ann, words, reply_to=said["answer"]["id"], mentions=[cat.id])
    walk.all_hear(said["mention"]["seq"], shape)
    walk.editor.say("Something else")
    thumb = walk.editor.react(said["first"]["id"])
    walk.all_hear(thumb["seq"], review.reaction(bob, said["first"]["id"], "👍", "add", [bob]))


def talk_in_private(walk):
    ann, bob, said = walk.ann, walk.bob, walk.said
    said["private"] = walk.host.say(SECRET, to_user=bob.id)
    seq = said["private"]["seq"]
    assert walk.editor.at(seq, "chat_message") == review.chat(ann, SECRET, to_user=bob.id)
    said["reply"] = walk.editor.say(f"{SECRET}: so be it", to_user=ann.id, reply_to=said["private"]["id"])
    smile = walk.editor.react(said["private"]["id"], "😀")
    assert walk.host.at(smile["seq"], "reaction_update") == review.reaction(
        bob, said["private"]["id"], "😀", "add", [bob]
    )
    [unheard] = heard(walk.host, walk.viewer)
    assert told_nothing(walk, unheard)


def told_nothing(walk, frames):
    """Neither the words nor the ids of what was said in private."""
    text = json.dumps(frames, ensure_ascii=False)
    return not [one for one in (SECRET, walk.said["private"]["id"], walk.said["reply"]["id"]) if one in text]


def correct(walk):
    said, typo = walk.said, walk.editor.say("Teh typo")
    edit = walk.editor.edit(typo["id"], "The typo")
    walk.all_hear(edit["seq"], review.edited(walk.bob, typo["id"], "The typo"))
    said["edited"] = typo
    said["deleted"] = walk.editor.say("canary that was never meant")
    gone = walk.editor.delete(said["deleted"]["id"])
    walk.all_hear(gone["seq"], review.deleted(walk.bob, said["deleted"]["id"]))
    # The host may delete for others, and not put words into their mouths.
    rude = walk.editor.say("canary that was rude")
    walk.host.refused("forbidden", "message_edit", data={"message_id": rude["id"], "content": "kind"})
    walk.all_hear(walk.host.delete(rude["id"])["seq"], review.deleted(walk.ann, rude["id"]))


def comment(walk):
    ann, bob, said = walk.ann, walk.bob, walk.said
    said["comment"] = walk.editor.comment("What is 3.14?", "src/area.py", 2, code_snippet=SNIPPET)
    shape = review.comment(bob, "What is 3.14?", "src/area.py", 2, code_snippet=SNIPPET)
    walk.all_hear(said["comment"]["seq"], shape)
    root = said["comment"]["id"]
    said["commented"] = walk.host.comment("Pi.", "src/area.py", 2, reply_to=root)
    walk.all_hear(said["commented"]["seq"], review.comment(ann, "Pi.", "src/area.py", 2, reply_to=root))
    walk.all_hear(walk.host.resolve(root)["seq"], review.resolved(ann, root))
    walk.host.refused(
        "bad_field",
        "comment_resolve",
        "data.comment_id",
        data={"comment_id": said["commented"]["id"], "resolved": True},
    )


def look_around(walk):
    cat, session, node = walk.cat, walk.session, walk.place.north
    walk.viewer.point("src/area.py", 2, 8)
    walk.viewer.scroll("src/area.py", 1, 40)
    for socket in (walk.host, walk.editor):
        assert socket.hear("cursor_update", cat.id) == review.announced(
            "cursor_update", cat, **review.cursor("src/area.py", 2, 8)
        )
        assert socket.hear("viewport_update", cat.id) == review.announced(
            "viewport_update", cat, **review.viewport("src/area.py", 1, 40)
        )
    walk.host.point("README.md", 1, 1)
    walk.editor.hear("cursor_update", walk.ann.id)
    there = kept.presence(node, walk.bob, session, file="src/area.py")
    shape = review.participant(
        cat, "viewer", cursor=review.cursor("src/area.py", 2, 8), viewport=review.viewport("src/area.py", 1, 40)
    )
    assert there == {cat.id: shape}
    heard(walk.host, walk.editor, walk.viewer)
    assert {frame["user_id"] for frame in told(walk.viewer, "cursor_update", "viewport_update")} == {walk.ann.id}


def be_a_viewer(walk):
    for type, fields in forbidden(walk):
        walk.viewer.refused("forbidden", type, **fields)
    assert heard(walk.host, walk.editor) == [[]]


def forbidden(walk):
    first, root = walk.said["first"]["id"], walk.said["comment"]["id"]
    return [
        ("chat_message", {"content": "Me too"}),
        ("code_comment", {"data": {"file": "main.py", "line": 1, "content": "Me too"}}),
        ("reaction", {"data": {"message_id": first, "emoji": "🎉", "action": "add"}}),
        ("comment_resolve", {"data": {"comment_id": root, "resolved": False}}),
        ("session_update", {"data": {"title": "Mine"}}),
        ("code_change", {"code": "mine = True"}),
    ]


def be_promoted(walk):
    """By the host, on the other node."""
    answer = assign(walk.place.north, walk.ann, walk.session, walk.cat.id, "editor")
    assert answer.status == 200, answer
    for socket in walk.sockets:
        assert updated(socket, walk.cat) == {"user_id": walk.cat.id, "role": "editor"}
    for type, fields in forbidden(walk):
        answer = walk.viewer.ask(type, **fields)
        assert answer["type"] == "ack", (type, answer)
    walk.viewer.resolve(walk.said["comment"]["id"])


def updated(socket, who, *words):
    """What was told of somebody's part in the session, with these words in it."""
    about = lambda frame: frame["data"]["user_id"] == who.id and all(word in frame["data"] for word in words)
    return socket.find(lambda frame: frame["type"] == "participant_update" and about(frame))["data"]


def write(walk):
    version = walk.host.find(lambda frame: frame["type"] == "code_update")["version"]
    answer = walk.editor.ask("code_change", code="area = 3.14159", base_version=version)
    assert (answer["type"], answer["version"]) == ("code_ack", version + 1), answer
    for socket in (walk.host, walk.viewer):
        update = socket.find(lambda frame: frame.get("version") == version + 1)
        assert (update["type"], update["code"], update["user_id"]) == ("code_update", "area = 3.14159", walk.bob.id)


def retitle(walk):
    walk.editor.change_session(title="Circles and more", language="rust")
    for socket in walk.sockets:
        # In one or in two: the language is an event of its own at the other doors.
        for changed in ({"title": "Circles and more"}, {"language": "rust"}):
            socket.hear("session_update", walk.bob.id, **changed)
    walk.editor.refused("forbidden", "session_update", data={"default_role": "editor"})
    walk.host.change_session(description="About areas")
    known = look(walk.place.south, walk.cat, walk.session).json
    assert (known["title"], known["language"]) == ("Circles and more", "rust")
    assert (known["description"], known["default_role"]) == ("About areas", "viewer")


def miss_something(walk, attend):
    """Cat is away for a moment, and comes back to the other node."""
    since = walk.viewer.position()
    walk.viewer.drop()
    said = walk.editor.say("While you were away")
    hidden = walk.host.say(f"{SECRET} again", to_user=walk.bob.id)
    gone = walk.editor.say("canary gone at once")
    walk.editor.delete(gone["id"])
    walk.viewer, frames = missed(attend, walk.place.north, walk.session, walk.cat, since)
    assert frames[-1]["type"] == "resumed", frames[-1]
    lines = {frame["id"]: frame["content"] for frame in frames if frame["type"] == "chat_message"}
    assert lines == {said["id"]: "While you were away", gone["id"]: ""}
    assert told_nothing(walk, frames) and hidden["id"] not in json.dumps(frames)
    seqs = [frame["seq"] for frame in frames if "seq" in frame]
    assert seqs == sorted(set(seqs))


def be_sent_away(walk, attend):
    place, session, cat = walk.place, walk.session, walk.cat
    assert send_away(place.south, walk.ann, session, cat.id).status == 204
    assert walk.viewer.close_code() == 4403
    for socket in (walk.host, walk.editor):
        assert updated(socket, cat, "removed") == {"user_id": cat.id, "removed": True}
    again = attend(place.south, session, cat)
    assert again.role == "viewer", "with the default role"
    assert told_nothing(walk, again.greeting)
    assert "canary" not in json.dumps(again.greeting)
    assert assign(place.north, walk.ann, session, cat.id, "banned").status == 200
    assert again.close_code() == 4403
    walk.host.hear("user_left", cat.id)
    for node in place.nodes:
        assert_problem(turned_away(node, way(session, token=cat.token)), 403, "forbidden")
        browser = refused(node, way(session, token=cat.token), Origin=f"http://{node.address}")
        assert (browser.status, browser.close) == (101, 4403)
        assert_problem(kept.ask(node, cat, session, "messages"), 403, "forbidden")
    assert assign(place.north, walk.ann, session, cat.id, "viewer").status == 200


def finish(walk):
    place, session = walk.place, walk.session
    assert end(place.south, walk.ann, session).status == 204
    for socket in (walk.host, walk.editor):
        assert socket.close_code() == 4410
        assert socket.history[-1]["type"] == "session_ended"
    for node in place.nodes:
        assert_problem(turned_away(node, way(session, token=walk.ann.token)), 410, "ended")
        browser = refused(node, way(session, token=walk.bob.token), Origin=f"http://{node.address}")
        assert (browser.status, browser.close) == (101, 4410)


def look_back(walk):
    """The session is over, and everything is still there; for Cat all but what was private."""
    place, session, said = walk.place, walk.session, walk.said
    for node in place.nodes:
        for who in (walk.ann, walk.bob):
            assert SECRET in kept.everything(node, who, session)
        for_cat = kept.everything(node, walk.cat, session)
        assert told_nothing(walk, for_cat) and "canary" not in for_cat
        listed = {one["id"]: one for one in kept.messages(node, walk.cat, session, limit=3)}
        thumbs = [{"emoji": "👍", "users": [walk.bob.id]}, {"emoji": "🎉", "users": [walk.cat.id]}]
        assert by_emoji(listed[said["first"]["id"]]) == thumbs
        assert listed[said["edited"]["id"]] == review.message(
            said["edited"], content="The typo", edited_at=shapes.TIME
        )
        assert (listed[said["deleted"]["id"]]["content"], listed[said["deleted"]["id"]]["deleted"]) == ("", True)
        thread = kept.messages(node, walk.cat, session, thread=said["first"]["id"])
        assert [one["id"] for one in thread] == [said[name]["id"] for name in ("first", "answer", "mention")]
        count(walk, kept.stats(node, walk.cat, session), listed)
        threads = kept.comments(node, walk.cat, session, file="src/area.py", resolved="true")
        assert threads[0]["id"] == said["comment"]["id"] and threads[0]["code_snippet"] == SNIPPET
        told_again(walk, node)


def by_emoji(message):
    return sorted(message["reactions"], key=lambda one: one["emoji"], reverse=True)


def count(walk, stats, listed):
    alive = [one for one in listed.values() if not one["deleted"]]
    assert stats["total"] == len(alive)
    counted = {one["user_id"]: one["count"] for one in stats["by_user"]}
    users = [one["user"]["user_id"] for one in alive]
    assert counted == {user: users.count(user) for user in users}
    assert sum(day["count"] for day in stats["by_day"]) == len(alive)
    assert sorted((one["emoji"], one["count"]) for one in stats["reactions"]) == [("🎉", 1), ("👍", 1)]


def told_again(walk, node):
    """Events and replay are one order, and what the sockets were told then."""
    replayed = kept.replay(node, walk.cat, walk.session)
    listed = kept.events(node, walk.cat, walk.session, limit=7)
    assert without_texts(listed) == without_texts(replayed)
    seqs = [frame["seq"] for frame in replayed]
    assert seqs == sorted(set(seqs))
    kinds = {frame["type"] for frame in replayed}
    assert kinds >= {
        "user_joined", "user_left", "chat_message", "message_edited", "message_deleted", "code_comment",
        "comment_resolved", "reaction_update", "session_update", "participant_update", "code_update", "session_ended",
    }  # fmt: skip
    live = {frame["seq"]: frame for frame in told(walk.host, "chat_message", "code_comment", "reaction_update")}
    for frame in replayed:
        if frame["type"] in ("code_comment", "reaction_update"):
            assert frame == live[frame["seq"]]
        if frame["type"] == "chat_message":
            assert frame == live[frame["seq"]] | {"content": frame["content"]}
            assert frame["content"] in (live[frame["seq"]]["content"], "", "The typo")


def without_texts(listed):
    """Not every text is kept, and what is not may be in the list of events alone."""
    return [(one["seq"], one["type"]) for one in listed if one["type"] != "code_update"]
