"""What was said and done in a recorded session, over REST: whole, in order, in pages, and after every restart."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

import pytest

from support import kept, shapes
from support import review_shapes as review
from support.deadline import eventually
from support.http import assert_problem
from support.peer import Peer, unique
from support.place import place_of
from support.recorded import Visitor, end, given
from support.review import TAKEN, Reviewer, cast, heard, told

# So that a test need not wait for the next text that is kept.
STEP = 0.2


@pytest.fixture(scope="module", params=["tokens", "cluster"])
def place(request, children):
    return place_of(request.param, request, children, REPLAY_STEP=STEP)


@pytest.fixture
def people(place):
    return cast(place)


# Messages


@pytest.fixture(scope="module")
def long_talk(place):
    """A session with 23 lines of the host and the editor, oldest first; the last three are a thread of the first."""
    people = cast(place)
    with (
        Reviewer(place.north, people.session, people.host) as host,
        Reviewer(place.south, people.session, people.editor) as editor,
    ):
        lines = [(host, editor)[number % 2].say(f"line {number}") for number in range(20)]
        root = lines[0]["id"]
        lines.append(host.say("answer", reply_to=root))
        lines.append(editor.say("answer to that", reply_to=lines[-1]["id"]))
        lines.append(host.say("another answer", reply_to=root))
    return people, lines


@pytest.mark.parametrize("limit", [None, 1, 4, 22, 23, 200])
def test_messages_come_in_pages(place, long_talk, limit):
    """A page is missing, or its last line is the next one's first."""
    people, lines = long_talk
    for node in place.nodes:
        found = kept.pages(node, people.viewer, people.session, "messages", limit=limit)
        assert [one["id"] for page in found for one in page] == [one["id"] for one in reversed(lines)]
        if limit:
            assert {len(page) for page in found[:-1]} <= {limit} and 0 < len(found[-1]) <= limit
    newest, first = found[0][0], found[-1][-1]
    assert newest == review.message(lines[-1], thread_id=lines[0]["id"])
    assert first == review.message(lines[0])


def test_messages_before_one(place, long_talk):
    """Who scrolls up sees the same lines again, or misses one."""
    people, lines = long_talk
    for number in (0, 1, 7, 22):
        found = kept.messages(place.south, people.viewer, people.session, before=lines[number]["id"], limit=5)
        assert [one["id"] for one in found] == [one["id"] for one in reversed(lines[:number])]
    page = kept.page(place.north, people.viewer, people.session, "messages", before=lines[10]["id"], limit=3)
    assert kept.contents(page["items"]) == ["line 9", "line 8", "line 7"]
    for wrong in ("nothing", "a b", "'"):
        answer = kept.ask(place.north, people.viewer, people.session, "messages", before=wrong)
        assert_problem(answer, answer.status)
        assert answer.status in (400, 404) and answer.json.get("field") in (None, "before")


def test_messages_of_a_thread(place, long_talk):
    """An answer to an answer is in no thread, or a thread has lines of others."""
    people, lines = long_talk
    thread = [lines[0], *lines[20:]]
    # Whichever of its messages is asked about.
    for number, one in enumerate(thread):
        for limit in (2, 200):
            node = place.nodes[number % len(place.nodes)]
            found = kept.messages(node, people.viewer, people.session, thread=one["id"], limit=limit)
            assert [line["id"] for line in found] == [line["id"] for line in thread]
    assert {one["thread_id"] for one in found[1:]} == {lines[0]["id"]}
    alone = kept.messages(place.north, people.viewer, people.session, thread=lines[5]["id"])
    assert [one["id"] for one in alone] == [lines[5]["id"]]


def test_lines_that_come_meanwhile_move_no_page(place, people, attend):
    """Who reads on while others talk reads a line twice."""
    host = attend(place.north, people.session, people.host)
    lines = [host.say(f"line {number}") for number in range(6)]
    first = kept.page(place.south, people.viewer, people.session, "messages", limit=3)
    host.say("meanwhile")
    host.delete(lines[1]["id"])
    rest = kept.page(place.south, people.viewer, people.session, "messages", limit=3, cursor=first["next_cursor"])
    assert kept.contents(first["items"] + rest["items"]) == ["line 5", "line 4", "line 3", "line 2", "", "line 0"]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("below", ["messages", "comments", "events"])
def test_a_page_that_is_none_is_named(place, people, below):
    """A list is asked for that has no end, or begins wherever the database takes this for."""
    ask = lambda **query: kept.ask(place.north, people.viewer, people.session, below, **query)
    for limit in ("0", "-1", "201", "x", "1.5", "99999999999999999999"):
        assert_problem(ask(limit=limit), 400, "bad_field", "limit")
    for cursor in ("a/b", "\0", " ", "x" * 2_000, "'"):
        assert_problem(ask(cursor=cursor), 400, "bad_field", "cursor")


def test_what_is_counted(place, people, attend):
    """What was private or taken back is counted, and so is known."""
    host, editor = attend(place.north, people.session, people.host), attend(place.south, people.session, people.editor)
    empty = kept.stats(place.south, people.viewer, people.session)
    assert empty == {"total": 0, "by_user": [], "by_day": [], "reactions": []}
    lines = [host.say("one"), editor.say("two"), host.say("three"), editor.say("gone")]
    private = host.say("private", to_user=people.editor.id)
    comment = host.comment("a comment")
    for reviewer, message, emoji in (
        (host, lines[0], "👍"),
        (editor, lines[0], "👍"),
        (editor, lines[1], "🎉"),
        (editor, lines[3], "😢"),
        (editor, private, "🤫"),
    ):
        reviewer.react(message["id"], emoji)
    editor.delete(lines[3]["id"])
    host.resolve(comment["id"])
    for node in place.nodes:
        for who in (people.host, people.viewer):
            stats = kept.stats(node, who, people.session)
            assert stats["total"] == 3
            by_user = sorted(stats["by_user"], key=lambda one: -one["count"])
            assert by_user == [review.named(people.host) | {"count": 2}, review.named(people.editor) | {"count": 1}]
            days = {line["timestamp"][:10] for line in lines[:3]}
            assert {one["day"] for one in stats["by_day"]} == days
            assert sum(one["count"] for one in stats["by_day"]) == 3
            counted = {one["emoji"]: one["count"] for one in stats["reactions"]}
            assert counted == {"👍": 2, "🎉": 1}


# Comments


def test_comments_are_filtered(place, people, attend):
    """A comment is not found where it was written, or one that is done hides among those that are not."""
    host, editor = attend(place.north, people.session, people.host), attend(place.south, people.session, people.editor)
    first = host.comment("one", "a.py", 3, code_snippet="x = 1")
    second = editor.comment("two", "b.py", 4)
    answer = editor.comment("answer", "a.py", 3, reply_to=first["id"])
    third = host.comment("three", "a.py", 9)
    editor.react(first["id"], "👀")
    host.edit(third["id"], "three again")
    editor.resolve(first["id"])
    gone = host.comment("canary", "a.py", 1, code_snippet="canary")
    host.delete(gone["id"])
    listed = lambda node, **query: kept.comments(node, people.viewer, people.session, **query)
    in_order = [first, second, answer, third, gone]
    for node in place.nodes:
        for limit in (1, 2, 200):
            assert [one["id"] for one in listed(node, limit=limit)] == [one["id"] for one in in_order]
        assert kept.contents(listed(node, file="a.py")) == ["one", "answer", "three again", ""]
        assert kept.contents(listed(node, file="b.py", limit=1)) == ["two"]
        assert listed(node, file="c.py") == []
        assert kept.contents(listed(node, resolved="true"))[:1] == ["one"]
        assert not {"two", "three again"} & set(kept.contents(listed(node, resolved="true")))
        assert {"two", "three again"} <= set(kept.contents(listed(node, resolved="false")))
        assert "one" not in kept.contents(listed(node, resolved="false"))
        assert "one" in kept.contents(listed(node, file="a.py", resolved="true"))
        assert listed(node, file="b.py", resolved="true") == []
    whole = {one["id"]: one for one in listed(place.south)}
    shape = {
        "id": first["id"],
        "user": review.named(people.host),
        "file": "a.py",
        "line": 3,
        "content": "one",
        "code_snippet": "x = 1",
        "reply_to": None,
        "resolved": True,
        "reactions": [{"emoji": "👀", "users": [people.editor.id]}],
        "edited_at": None,
        "deleted": False,
        "timestamp": shapes.TIME,
        "seq": first["seq"],
    }
    assert review.fits(whole[first["id"]], shape)
    assert (whole[third["id"]]["edited_at"], whole[third["id"]]["content"]) == (shapes.TIME, "three again")
    assert whole[answer["id"]]["reply_to"] == first["id"]
    assert (whole[gone["id"]]["deleted"], whole[gone["id"]]["content"]) == (True, "")
    assert not whole[gone["id"]]["code_snippet"]
    for wrong in ("yes", "1", "TRUE"):
        answer = kept.ask(place.north, people.viewer, people.session, "comments", resolved=wrong)
        assert_problem(answer, 400, "bad_field", "resolved")


# Events and replay


@dataclass
class Story:
    """What happened in a session, at all doors, as its host was told; texts one by one, none within a step."""

    session: str
    host: Visitor
    editor: Visitor
    live: list = field(default_factory=list)
    texts: list = field(default_factory=list)


@pytest.fixture(scope="module")
def story(place):
    people = cast(place)
    story = Story(people.session, people.host, people.editor)
    with (
        Reviewer(place.north, people.session, people.host) as host,
        Peer(place.south, people.session, token=people.editor.token) as pairing,
    ):
        host.hear("user_joined", people.editor.id)
        writers = [(host, people.host), (pairing, people.editor)] * 2
        for number, (socket, who) in enumerate(writers):
            text = f"x = {number}\n"
            answer = socket.ask("code_change", code=text)
            story.texts.append((answer["seq"], text, who.id))
            host.say(f"line {number}")
            # The next text is a step later.
            host.listen(2 * STEP)
        line = pairing.ask("chat", message="from the other door")
        said = host.at(line["seq"], "chat_message")
        host.edit(host.say("to be corrected")["id"], "corrected")
        gone = host.say("canary")
        host.delete(gone["id"])
        host.react(said["id"])
        comment = host.comment("a comment")
        host.resolve(comment["id"])
        host.change_session(title="Renamed")
        pairing.ask("language_change", language="go")
        given(place.south, people.host, people.session, people.viewer, "editor")
        host.until(lambda frame: frame["type"] == "participant_update")
        host.say("the last line")
    story.live = [frame for frame in host.history if "seq" in frame and frame["type"] not in TAKEN]
    return story


def settled(place, story):
    """The replay, when the last thing that happened is in it."""
    last = story.live[-1]["seq"]

    def whole():
        frames = kept.replay(place.south, story.host, story.session)
        return frames if any(frame["seq"] >= last for frame in frames) else None

    return eventually(whole, "the log is written down", every=0.1)


def test_a_replay_is_what_was_told(place, story):
    """An event is missing, twice, in another place, or at another time."""
    frames = settled(place, story)
    seqs = [frame["seq"] for frame in frames]
    assert seqs == sorted(set(seqs))
    by_seq = {frame["seq"]: frame for frame in frames}
    assert [one["seq"] for one in story.live if one["seq"] not in by_seq] == []
    for told_then in story.live:
        again = by_seq[told_then["seq"]]
        assert again["type"] == told_then["type"]
        if told_then["type"] not in ("chat_message", "code_update"):
            assert again == told_then
    said = [frame["content"] for frame in frames if frame["type"] == "chat_message"]
    lines = [f"line {number}" for number in range(4)]
    assert said[:5] == [*lines, "from the other door"]
    assert said[5] in ("to be corrected", "corrected") and said[6:] == ["", "the last line"]
    assert "canary" not in json.dumps(frames)
    for node in place.nodes:
        assert kept.replay(node, story.host, story.session)[: len(frames)] == frames


def test_what_happened_happened_at_one_time(place, story):
    """The same message is of another time wherever one looks, or a replay goes back in time."""
    frames = settled(place, story)
    replayed = {frame["seq"]: frame["timestamp"] for frame in frames}
    assert {frame["seq"]: frame["timestamp"] for frame in story.live}.items() <= replayed.items()
    listed = kept.events(place.north, story.host, story.session, limit=200)
    assert [(one["seq"], one["timestamp"]) for one in listed][: len(frames)] == list(replayed.items())
    where = place.north, story.host, story.session
    for one in (*kept.messages(*where), *kept.comments(*where)):
        assert one["timestamp"] == replayed[one["seq"]]
    # Of what was done one after another: two nodes that write at once may have looked at the clock the other way round.
    times = [replayed[frame["seq"]] for frame in story.live]
    assert times == sorted(times)


def test_texts_of_every_door_are_in_a_replay(place, story):
    """What one wrote at the pairing door is missing when the others look at it again."""
    texts = {frame["seq"]: frame for frame in settled(place, story) if frame["type"] == "code_update"}
    assert [(seq, texts[seq].get("code"), texts[seq]["user_id"]) for seq, _, _ in story.texts] == story.texts
    versions = [texts[seq]["version"] for seq, _, _ in story.texts]
    assert versions == [1, 2, 3, 4]


def test_events_are_filtered(place, story):
    """A type or a time that was not asked for is there, or one that was is not."""
    frames = settled(place, story)
    who, session = story.host, story.session
    for node in place.nodes:
        for limit in (1, 5, 200):
            listed = kept.events(node, who, session, limit=limit)[: len(frames)]
            assert [(one["seq"], one["type"]) for one in listed] == [(one["seq"], one["type"]) for one in frames]
        assert all(set(one) == {"seq", "type", "user_id", "timestamp", "data"} for one in listed)
        assert all(isinstance(one["data"], dict) for one in listed)
        for kind in {frame["type"] for frame in frames}:
            found = kept.events(node, who, session, type=kind, limit=2)
            assert [one["seq"] for one in found][: len(frames)] == [
                frame["seq"] for frame in frames if frame["type"] == kind
            ]
    assert "canary" not in json.dumps(listed)
    assert kept.events(place.north, who, session, type="user_joined")[0]["user_id"] == story.host.id


def test_events_and_replay_between_two_moments(place, story):
    """A window on an hour shows a day, or lacks its first or last moment."""
    count = len(settled(place, story))
    who, session = story.host, story.session
    frames = kept.events(place.south, who, session, limit=200)[:count]
    first, last = frames[6]["timestamp"], frames[-3]["timestamp"]
    inside = [frame["seq"] for frame in frames if first <= frame["timestamp"] < last]
    beyond = [frame["seq"] for frame in frames if frame["timestamp"] == last]
    for node in place.nodes:
        window = {"from_": first, "to": last}
        for found in (kept.events(node, who, session, limit=3, **window), kept.replay(node, who, session, **window)):
            seqs = [one["seq"] for one in found]
            # Whether the end itself belongs to it is left open.
            assert seqs in (inside, inside + beyond)
        future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        for found in (kept.events(node, who, session, from_=future), kept.replay(node, who, session, from_=future)):
            assert found == []
        assert kept.events(node, who, session, to="2001-01-01T00:00:00Z") == []
        # The same moment, said in another zone.
        elsewhere = datetime.fromisoformat(first).astimezone(timezone(timedelta(hours=2))).isoformat()
        assert kept.replay(node, who, session, from_=elsewhere)[0]["seq"] == inside[0]
    for name in ("from", "to"):
        for wrong in ("yesterday", "2026-13-01T00:00:00Z", "7"):
            for below in ("events", "replay"):
                answer = kept.ask(place.north, who, session, below, **{name: wrong})
                assert_problem(answer, 400, "bad_field", name)


def test_a_type_that_never_was(place, story):
    """A list of what nobody knows is taken for an empty one, or for a fault of the node."""
    for kind in ("dance", "'"):
        answer = kept.ask(place.north, story.host, story.session, "events", type=kind)
        assert answer.status == 400 and answer.json["field"] == "type" or answer.json["items"] == [], answer


# After a restart


def restart(place, how):
    if how == "one by one":
        for node in place.nodes:
            node.terminate()
            node.start()
    else:
        place.stop(how)
        place.start()


@pytest.mark.parametrize("how", ["terminate", "kill", "one by one"])
@pytest.mark.parametrize("kind", ["tokens", "cluster"])
def test_the_log_goes_on_after_a_restart(request, own_children, kind, how):
    """After a deploy, or a Redis that forgot, a history begins anew, has events twice, or lacks those before it."""
    place = place_of(kind, request, own_children, LEAVE_GRACE=0.2, REPLAY_STEP=0.05)
    people = cast(place)
    ids, lines = [], []
    for part in range(3):
        with (
            Reviewer(place.north, people.session, people.host) as host,
            Reviewer(place.south, people.session, people.editor) as editor,
        ):
            assert [one["content"] for one in host.greeting["messages"]] == lines
            assert host.greeting["code"] == ("" if part == 0 else f"part = {part - 1}")
            for number in range(4):
                sender = (host, editor)[number % 2]
                lines.append(f"{part}: {number}")
                ids.append(sender.say(lines[-1])["id"])
            host.react(ids[-1], f":{part}:")
            answer = editor.ask("code_change", code=f"part = {part}")
            assert answer["type"] == "ack"
            host.find(lambda frame, part=part: frame.get("code") == f"part = {part}")
            told_now = [frame["data"]["emoji"] for frame in told(host, "reaction_update")]
            assert told_now == [f":{part}:"]
            await_written(place, people, answer["seq"], part)
        restart(place, how)
    for node in place.nodes:
        assert [one["id"] for one in kept.messages(node, people.viewer, people.session, limit=5)] == ids[::-1]
        frames = kept.replay(node, people.viewer, people.session)
        said = [frame["content"] for frame in frames if frame["type"] == "chat_message"]
        assert said == lines
        emojis = [frame["data"]["emoji"] for frame in frames if frame["type"] == "reaction_update"]
        assert emojis == [":0:", ":1:", ":2:"]
        texts = [frame.get("code") for frame in frames if frame["type"] == "code_update"]
        assert texts == ["part = 0", "part = 1", "part = 2"]
        listed = kept.events(node, people.viewer, people.session, limit=4)
        assert [(one["seq"], one["type"]) for one in listed] == [(one["seq"], one["type"]) for one in frames]
        assert kept.stats(node, people.viewer, people.session)["total"] == len(ids)
    joined = [frame["user"]["user_id"] for frame in frames if frame["type"] == "user_joined"]
    assert joined.count(people.host.id) == 3 and joined.count(people.editor.id) == 3


def await_written(place, people, seq, part):
    """What is killed at once has written down nothing that it had not to."""

    def written():
        frames = kept.replay(place.south, people.host, people.session)
        return [frame for frame in frames if frame.get("code") == text and frame["seq"] == seq]

    text = f"part = {part}"
    saved = lambda: place.database.execute("SELECT code FROM sessions WHERE id = ?", people.session)[0][0] == text
    eventually(lambda: written() and saved(), "the log and the text are written down")


def test_answers_and_corrections_reach_over_a_restart(request, own_children, attend):
    """What was said before a Redis forgot cannot be answered, corrected or taken back any more."""
    place = place_of("cluster", request, own_children)
    people = cast(place)
    with Reviewer(place.north, people.session, people.host) as host:
        lines = [host.say(f"line {number}") for number in range(4)]
        comment = host.comment("a comment")
    place.stop()
    place.start()
    editor, host = attend(place.south, people.session, people.editor), attend(place.north, people.session, people.host)
    root, edited, gone, liked = (line["id"] for line in lines)
    editor.say("an answer", reply_to=root)
    host.edit(edited, "corrected")
    host.delete(gone)
    editor.react(liked)
    editor.resolve(comment["id"])
    editor.comment("done", reply_to=comment["id"])
    thread = kept.messages(place.north, people.viewer, people.session, thread=root)
    assert kept.contents(thread) == ["line 0", "an answer"]
    listed = kept.contents(kept.messages(place.south, people.viewer, people.session))
    assert listed == ["an answer", "line 3", "", "corrected", "line 0"]
    [first, second] = kept.comments(place.south, people.viewer, people.session)
    assert (first["resolved"], second["reply_to"]) == (True, comment["id"])
    greeted = attend(place.south, people.session, people.viewer).greeting["messages"]
    assert [one["content"] for one in greeted if one["content"]] == ["line 0", "corrected", "line 3", "an answer"]


def test_an_id_counts_for_a_while(request, own_children, attend):
    """A client that numbers its lines from 1 whenever it connects is told that they were said, and they were not."""
    place = place_of("cluster", request, own_children, IDEMPOTENCY_TTL=2)
    people = cast(place)
    host = attend(place.north, people.session, people.host)
    watching = attend(place.south, people.session, people.editor)
    first = host.ask("chat_message", content="one", id="1")
    assert host.ask("chat_message", content="one", id="1")["seq"] == first["seq"]
    for command, fields in {
        "chat_message": {"content": "two"},
        "code_comment": {"data": {"file": "f", "line": 1, "content": "one"}},
    }.items():
        assert host.ask(command, **fields, id="1")["code"] == "conflict"
    # Longer than the command is remembered.
    watching.listen(2.5)
    again = host.ask("chat_message", content="one", id="1")
    assert again["type"] == "ack" and again["seq"] > first["seq"]
    assert [frame["content"] for frame in heard(host, watching)[0] if frame["type"] == "chat_message"] == ["one"]
    listed = kept.contents(kept.messages(place.south, people.host, people.session))
    assert listed[1:] == ["one", "one"]


# Both doors, and the greeting


def test_chat_of_the_pairing_door_is_kept_as_well(place, people, attend, join):
    """What is said at one door is not in the history, or cannot be answered at the other."""
    host = attend(place.north, people.session, people.host)
    pairing = join(place.south, people.session, token=people.editor.token)
    answer = pairing.ask("chat", message="from pairing")
    line = host.at(answer["seq"], "chat_message")
    assert line == review.chat(people.editor, "from pairing")
    reply = host.say("from review", reply_to=line["id"])
    frame = pairing.until(lambda frame: frame["type"] == "chat_message" and frame["text"] == "from review")[-1]
    assert frame == shapes.chat_message(people.host.id, "from review", people.host.name) | {"id": reply["id"]}
    host.react(line["id"])
    host.edit(reply["id"], "corrected")
    gone = host.say("canary")
    host.delete(gone["id"])
    assert [frame["type"] for frame in pairing.before_pong() if frame["type"] != "chat_message"] == []
    listed = kept.contents(kept.messages(place.south, people.viewer, people.session))
    assert listed == ["", "corrected", "from pairing"]
    greeting = join(place.north, people.session, token=people.viewer.token).greeting
    assert [one["text"] for one in greeting["chat"]] == ["from pairing", "corrected"]


def test_a_greeting_has_the_last_fifty(place, people, attend):
    """Who comes late to a long talk gets all of it, or of its beginning."""
    host = attend(place.north, people.session, people.host)
    lines = [host.say(f"line {number}") for number in range(55)]
    host.comment("no line")
    greeting = attend(place.south, people.session, people.viewer).greeting
    assert kept.contents(greeting["messages"]) == [f"line {number}" for number in range(5, 55)]
    assert greeting["messages"][-1] == lines[-1]
    # Private ones count only for those who see them.
    for number in range(3):
        host.say(f"private {number}", to_user=people.editor.id)
    assert kept.contents(attend(place.south, people.session, people.viewer).greeting["messages"])[-1] == "line 54"
    for_editor = kept.contents(attend(place.south, people.session, people.editor).greeting["messages"])
    assert for_editor == [*(f"line {number}" for number in range(8, 55)), *(f"private {number}" for number in range(3))]


# The end


def test_everything_can_be_read_after_the_end(place, people, attend):
    """A session is over, and what was decided in it is gone."""
    host = attend(place.north, people.session, people.host)
    host.say("decided")
    host.comment("why")
    assert end(place.south, people.host, people.session).status == 204
    assert host.close_code() == 4410
    for node in place.nodes:
        for who in (people.host, people.editor, people.viewer, people.stranger):
            text = kept.everything(node, who, people.session)
            assert "decided" in text and "why" in text
    ended = lambda: kept.replay(place.south, people.host, people.session)[-1]
    assert eventually(lambda: ended()["type"] == "session_ended", "the end is in the log", every=0.1)
    assert kept.presence(place.north, people.host, people.session) == {}


# How long it is kept


def test_what_is_older_than_it_is_to_be_kept_goes(request, own_children, attend):
    """A database grows for ever; or what is young goes as well."""
    place = place_of("cluster", request, own_children)
    people = cast(place)
    with attend(place.north, people.session, people.host) as host:
        line = host.say("old")
        host.react(line["id"], "👍")
        host.say("young")
        host.comment("young, too")
    settled = lambda: kept.replay(place.north, people.host, people.session)
    before = eventually(lambda: (frames := settled()) and frames[-1]["type"] == "user_left" and frames, "all is recorded")
    week = 8 * 86_400_000
    execute = place.database.execute
    execute("UPDATE messages SET created_at = created_at - ? WHERE id = ?", week, line["id"])
    execute("UPDATE events SET happened_at = happened_at - ? WHERE seq <= ?", week, line["seq"])
    place.stop()
    for node in place.nodes:
        node.environment["RECORDS_RETENTION"] = "events=7,messages=7"
    place.start()
    gone = lambda: execute("SELECT COUNT(*) FROM messages WHERE id = ?", line["id"]) == [(0,)]
    eventually(gone, "the old message is deleted")
    # What is young and about something that went goes with it.
    young = [frame for frame in before[line["seq"] :] if line["id"] not in json.dumps(frame)]
    eventually(lambda: settled() == young, "old events are deleted")
    assert execute("SELECT COUNT(*) FROM reactions") == [(0,)]
    assert kept.contents(kept.messages(place.south, people.viewer, people.session)) == ["young"]
    assert len(kept.comments(place.south, people.viewer, people.session)) == 1
