"""What deploy/backup.sh saves is there again when both servers were lost; what is not whole is not put back."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from support import accounts, kept
from support.courier import courier
from support.deadline import eventually
from support.people import told
from support.peer import Peer, unique
from support.postgres import Database
from support.processes import ROOT
from support.recorded import Visitor, assign, by, given, look, made, people, state
from support.review import Reviewer
from support.tokens import SECRET

SCRIPT = ROOT / "deploy/backup.sh"
PASSWORD = "canary:of/redis@50%"
QUOTED = "canary%3Aof%2Fredis%4050%25"
NODES = {
    "HOST": "127.0.0.1",
    "JWT_SECRET": SECRET,
    "SAVE_INTERVAL": 0.2,
    # Whoever was there when it was saved is found to be gone.
    "LEASE": 2,
    "BEAT_INTERVAL": 0.5,
    "REAP_PAUSE": 1,
    "LEAVE_GRACE": 0.5,
}
# A server waits for more replicas that may want the same.
AT_ONCE = ["--repl-diskless-sync-delay", "0"]
# Lines said after the backup, and as many again after it was put back.
LATER = 5
RAW = "raw"
HOUR = 3_600


class Programs:
    """The programs that the script runs, each noting what it was told where others could see it."""

    NAMES = ("pg_dump", "pg_restore", "psql", "redis-cli", "redis-server", "redis-check-rdb")
    SHIM = """#!/bin/sh
printf '%s\\n' "{name} $*" >>"{notes}"
case " $* " in *" --rdb "*) read -r _ <"{gate}" ;; esac
exec "{program}" "$@"
"""

    def __init__(self, folder):
        self.folder, self.notes, self.gate = folder, folder / "notes", folder / "gate"
        os.mkfifo(self.gate)
        for name in self.NAMES:
            shim = self.SHIM.format(name=name, program=shutil.which(name), notes=self.notes, gate=self.gate)
            (folder / name).write_text(shim)
            (folder / name).chmod(0o755)

    @contextmanager
    def between(self):
        """The records are saved, and Redis is not until this is over."""
        with self.gate.open("w") as gate:
            yield
            gate.write("\n")

    def seen(self):
        return self.notes.read_text()


def run(*arguments, programs=None, **settings):
    """The script, with these settings and no others."""
    path = os.environ["PATH"]
    return subprocess.run(
        [SCRIPT, *map(str, arguments)],
        env={"PATH": f"{programs.folder}:{path}" if programs else path}
        | {name: str(value) for name, value in settings.items()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def saved(folder, *arguments, **settings):
    """Where the new backup is."""
    done = run("save", *arguments, folder, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def refused(code, word, *arguments, **settings):
    """Runs it in vain, and returns what it says."""
    done = run(*arguments, **settings)
    assert done.returncode == code and word in done.stderr, done
    return done


def lose(server):
    """The server, and what it kept."""
    server.kill()
    shutil.rmtree(server.folder)
    server.folder.mkdir()


def position(peer):
    marker = unique("where")
    peer.send("ping", id=marker)
    return peer.until(lambda frame: frame["type"] == "pong" and frame.get("id") == marker)[-1]["position"]


def lines(peer, *said):
    for line in said:
        assert peer.ask("chat", message=line)["type"] == "ack"


@pytest.fixture(scope="module")
def story(children, tmp_path_factory):
    """Two servers and a node with everything in them that is kept; saved, lost and put back."""
    folder = tmp_path_factory.mktemp("backups")
    programs = Programs(tmp_path_factory.mktemp("programs"))
    redis, postgres = children.redis(durable=True, password=PASSWORD, options=AT_ONCE), children.postgres()
    servers = {
        "DATABASE_URL": postgres.database().url,
        "REDIS_URL": redis.url.replace(PASSWORD, QUOTED),
    }
    node = children.node("before", **NODES, **servers)
    it = SimpleNamespace(node=node, plain=unique("plain"), servers=servers, redis=redis, postgres=postgres)
    it.ann, it.bob, it.eve = (Visitor(node, word) for word in ("ann", "bob", "eve"))
    it.person = accounts.Person(node)
    it.session = made(node, it.ann, title="To be kept", default_role="editor")
    given(node, it.ann, it.session, it.bob, "editor")
    given(node, it.ann, it.session, it.eve, "banned")
    with Reviewer(node, it.session, it.ann) as ann, Reviewer(node, it.session, it.bob) as bob:
        it.line = bob.say("a line to be kept")["id"]
        bob.say("for ann alone", to_user=it.ann.id)
        ann.say("an answer", reply_to=it.line)
        ann.react(it.line)
        it.comment = bob.comment("a comment to be kept", file="main.py", line=3)["id"]
        ann.resolve(it.comment)
        assert bob.ask("code_change", code="kept = 1\n")["type"] == "ack"
    it.workspace = node.post("/workspaces", {"name": "Kept"}, **by(it.ann)).json["id"]
    it.away = Visitor(node, "dave")
    with courier(node, RAW, it.ann.id, auth=it.ann.auth) as sender:
        it.letter = sender.send([it.away.id], {"position_id": "kept"}, id="letter-1")
        assert sender.reply("letter-1")["queued"] == 1
    database = Database(servers["DATABASE_URL"])
    text = lambda: database.execute("SELECT code FROM sessions WHERE id = ?", it.session)[0][0] == "kept = 1\n"
    eventually(text, "the text is in the records")
    events = lambda: "code_comment" in {event["type"] for event in kept.events(node, it.ann, it.session)}
    eventually(events, "what happened is in the records")
    it.events = kept.events(node, it.ann, it.session)

    ann = Peer(node, it.plain, token=it.ann.token)
    ann.ask("code_change", code="plain = 1\n")
    ann.ask("language", language="rust")
    lines(ann, "in the plain session")
    with ThreadPoolExecutor() as beside:
        saving = beside.submit(saved, folder, programs=programs, **servers)
        with programs.between():
            # Redis will have it, the records will not.
            assert assign(node, it.ann, it.session, it.bob.id, "viewer").status == 200
            assert node.patch(f"/workspaces/{it.workspace}", {"name": "Renamed"}, **by(it.ann)).status == 200
            lines(ann, "between the two")
        it.backup = saving.result()
    # What happens from now on is lost.
    lines(ann, *(f"later {number}" for number in range(LATER)))
    it.place = position(ann)
    ann.drop()

    node.kill()
    lose(redis)
    lose(postgres)
    redis.start()
    if postgres.as_user:
        shutil.chown(postgres.folder, "postgres", "postgres")
    postgres.start()
    it.postgres.execute(f"CREATE DATABASE {servers['DATABASE_URL'].rsplit('/', 1)[1]} TEMPLATE template0")
    done = run("restore", it.backup, programs=programs, **servers)
    assert done.returncode == 0, done.stderr
    it.said, it.seen = done.stdout + done.stderr, programs.seen()
    it.node = children.node("after", **NODES, **servers)
    return it


def test_a_recorded_session_is_as_it_was_saved(story):
    """Titles, texts and roles of the records are lost with the servers, or Redis' later word of them wins."""
    shown = look(story.node, story.ann, story.session)
    assert (shown.status, shown.json["title"], shown.json["role"]) == (200, "To be kept", "host")
    assert state(story.node, story.bob, story.session).json["code"] == "kept = 1\n"
    with Reviewer(story.node, story.session, story.bob) as bob:
        assert (bob.role, bob.greeting["code"]) == ("editor", "kept = 1\n")
        assert bob.ask("code_change", code="kept = 2\n", base_version=bob.greeting["version"])["type"] == "code_ack"
    roles = {one["user_id"]: one["role"] for one in people(story.node, story.ann, story.session).json["items"]}
    assert (roles[story.bob.id], roles[story.eve.id]) == ("editor", "banned")
    assert look(story.node, story.eve, story.session).status == 403


def test_what_was_said_and_done_is_read_again(story):
    """Histories are empty, or direct messages are everybody's."""
    said = kept.messages(story.node, story.bob, story.session)
    assert kept.contents(said) == ["an answer", "for ann alone", "a line to be kept"]
    assert [line["reply_to"] for line in said] == [story.line, None, None]
    [comment] = kept.comments(story.node, story.ann, story.session)
    assert (comment["id"], comment["line"], comment["resolved"]) == (story.comment, 3, True)
    assert kept.stats(story.node, story.ann, story.session)["reactions"] == [{"emoji": "👍", "count": 1}]
    assert kept.events(story.node, story.ann, story.session)[: len(story.events)] == story.events


def test_what_happens_afterwards_is_recorded(story):
    """The records believe that they have it already: history ends with the backup."""
    with Reviewer(story.node, story.session, story.ann) as ann:
        line = ann.say("after it was put back")
    told = lambda: [event["data"].get("id") for event in kept.events(story.node, story.ann, story.session)]
    heard = lambda: line["id"] in told()
    eventually(heard, "the line is among the events")
    assert kept.messages(story.node, story.ann, story.session)[0]["content"] == "after it was put back"
    assert "events are not recorded" not in story.node.log()


def test_accounts_are_there_and_tokens_hold(story):
    """Nobody can log in any more."""
    assert accounts.me(story.node, story.person.login(story.node)).json["username"] == story.person.username


def test_a_workspace_is_made_again_of_its_records(story):
    """A workspace is there and nobody belongs to it, or it is not there at all."""
    shown = story.node.get(f"/workspaces/{story.workspace}", **by(story.ann))
    assert (shown.status, shown.json["name"]) == (200, "Kept")
    users = story.node.get(f"/workspaces/{story.workspace}/users", **by(story.ann)).json["users"]
    assert [user["user_id"] for user in users] == [story.ann.id]


def test_who_was_away_gets_what_was_kept(story):
    """Letters that were acknowledged are lost with Redis."""
    with courier(story.node, RAW, story.away.id, auth=story.away.auth) as dave:
        [letter] = dave.take(1)
        assert (letter["id"], letter["data"]) == ("letter-1", {"position_id": "kept"})


def test_a_plain_session_is_as_it_was_and_its_ghosts_go(story):
    """What is in Redis alone is lost, or people who are gone are shown for ever."""
    with Peer(story.node, story.plain, token=story.bob.token) as bob:
        shown = bob.greeting
        assert (shown["code"], shown["language"]) == ("plain = 1\n", "rust")
        assert [line["text"] for line in shown["chat"]] == ["in the plain session", "between the two"]
        there = lambda: [user["user_id"] for user in state(story.node, story.bob, story.plain).json["users"]]
        gone = lambda: story.ann.id not in there()
        eventually(gone, "who was there when it was saved has left")
        assert told(bob, story.ann.id) in ([], ["user_left"])


def test_a_place_after_the_backup_is_not_resumed(story):
    """A client remembers a place that others have by now: it believes to know what was said, and never hears it."""
    with Peer(story.node, story.plain, token=story.bob.token) as bob:
        lines(bob, *(f"instead {number}" for number in range(2 * LATER)))
        with Peer(story.node, story.plain, token=story.ann.token, since=story.place, greeted=False) as ann:
            greeting = ann.expect("session_state")
            assert greeting["resumed"] is False
            assert [line["text"] for line in greeting["chat"]][-1] == f"instead {2 * LATER - 1}"


def test_a_place_of_now_is_resumed(story):
    """After it was put back nobody is ever told what was missed."""
    with Peer(story.node, story.plain, token=story.bob.token) as bob:
        since = position(bob)
        lines(bob, "missed")
        with Peer(story.node, story.plain, token=story.ann.token, since=since, greeted=False) as ann:
            frames = ann.until(lambda frame: frame["type"] == "resumed")
            assert [frame["text"] for frame in frames if frame["type"] == "chat_message"] == ["missed"]


def test_no_password_is_seen(story):
    """Whoever may list processes, or read a log, has the passwords of both servers."""
    for secret in (PASSWORD, QUOTED, "canary:pa/ss?w@rd", "canary%3Apa"):
        assert secret not in story.said
        assert secret not in story.seen
    assert all(re.search(f"^{name} ", story.seen, re.MULTILINE) for name in Programs.NAMES)
    assert oct(os.stat(story.backup).st_mode & 0o777) == "0o700"


def test_one_part_is_put_back_alone(story):
    """Whoever lost one server must lose the other, too."""
    database = story.postgres.database()
    before = story.redis.client.hgetall(f"session:{story.plain}")
    # Redis' address is not even needed.
    done = run("restore", "--only", "records", story.backup, DATABASE_URL=database.url)
    assert done.returncode == 0, done.stderr
    assert database.execute("SELECT title FROM sessions WHERE id = ?", story.session) == [("To be kept",)]
    assert story.redis.client.hgetall(f"session:{story.plain}") == before
    refused(2, "set REDIS_URL", "restore", story.backup, DATABASE_URL=database.url)


# Where it must not be done


def test_servers_that_are_not_empty_are_left_alone(story):
    """Somebody who meant another server mixes a backup into what is there."""
    before = story.redis.client.dbsize(), look(story.node, story.ann, story.session).text
    refused(1, "tables: stop all nodes", "restore", story.backup, **story.servers)
    refused(1, "keys: stop all nodes", "restore", "--only", "redis", story.backup, **story.servers)
    assert look(story.node, story.ann, story.session).text == before[1]
    assert story.redis.client.dbsize() >= before[0] - 5


@pytest.mark.parametrize("part", ["records.dump", "redis.rdb"])
def test_a_backup_that_is_not_whole_is_not_put_back(story, tmp_path, part):
    """Half of a backup is put back, and the servers look as if all were well."""
    copy = shutil.copytree(story.backup, tmp_path / "copy")
    whole = (copy / part).read_bytes()
    (copy / part).write_bytes(whole[: len(whole) // 2])
    refused(1, "is not whole", "verify", copy)
    refused(1, "is not whole", "restore", copy, **story.servers)
    assert run("verify", story.backup).returncode == 0


def test_what_cannot_be_saved_leaves_nothing(story, tmp_path):
    """A backup without Redis lies there like a good one."""
    away = story.servers["REDIS_URL"].rsplit(":", 1)[0] + ":1/0"
    refused(1, "Redis was not saved", "save", tmp_path, **story.servers | {"REDIS_URL": away})
    away = story.servers["DATABASE_URL"].rsplit("/", 1)[0] + "/nothing"
    refused(1, "the records were not saved", "save", tmp_path, **story.servers | {"DATABASE_URL": away})
    assert list(tmp_path.iterdir()) == []


def test_the_youngest_are_kept(story, tmp_path):
    """The disk fills with backups, or the one that was just made is deleted; other files are none of its business."""
    for name in ("collabd-20200101T000000Z", "collabd-20210101T000000Z", "another"):
        (tmp_path / name).mkdir()
    made = saved(tmp_path, "--keep", 2, **story.servers)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"another", "collabd-20210101T000000Z", os.path.basename(made)}


def test_with_a_prefix_other_keys_are_nobodys_business(own_children, tmp_path):
    """A Redis that others use, too, is told things of theirs that they changed long ago, or is refused for them."""
    source, target = own_children.redis(options=AT_ONCE), own_children.redis()
    node = own_children.node("prefixed", REDIS_URL=source.url, KEY_PREFIX="a[1]:", DATABASE_URL="none")
    source.client.set("theirs", "old")
    source.client.set("a[1]:code_kept", "x = 1", ex=HOUR)
    target.client.set("theirs", "new")
    with Peer(node, "kept", "ann") as ann:
        lines(ann, "one")
        backup = saved(tmp_path, REDIS_URL=source.url)
    epochs = {source.client.hget("a[1]:session:kept", "epoch")}
    # Each time another order begins: places of a life that was put back and lost again are known to clients, too.
    for _ in range(2):
        done = run("restore", backup, REDIS_URL=target.url, KEY_PREFIX="a[1]:")
        assert done.returncode == 0, done.stderr
        assert target.client.get("theirs") == "new"
        assert target.client.hget("a[1]:session:kept", "session_id") == "kept"
        assert 0 < target.client.ttl("a[1]:code_kept") <= HOUR
        epochs.add(target.client.hget("a[1]:session:kept", "epoch"))
        refused(1, "keys: stop all nodes", "restore", backup, REDIS_URL=target.url, KEY_PREFIX="a[1]:")
        target.client.delete(*(key for key in target.client.scan_iter() if "a[1]:" in key))
    assert len(epochs) == 3


def test_a_command_line_that_is_wrong_is_explained():
    """A typing error ends in a backup of nothing, or deletes something."""
    for arguments in ("", "save", "restore", "save --keep 0 x", "restore --only both x", "verify --all x", "drop x"):
        refused(2, "usage: backup.sh save", *arguments.split())
    refused(2, "nothing to save", "save", "/nowhere")
    refused(2, "name the master", "save", "/nowhere", REDIS_URL="redis-sentinel://h:1?sentinelServiceName=m")
    refused(2, "no PostgreSQL", "save", "/nowhere", DATABASE_URL="sqlite:collabd.db")
    assert "usage:" in run("--help").stdout
