"""The programs of docs/clients.md do what the document says: in Chromium, in Node and in Python, while answers to them
are lost, nodes refuse them, and the node they are on restarts."""

import signal
import threading
import time

import pytest
from websockets.sync.server import serve

from support.courier import courier
from support.deadline import eventually
from support.pad import RAW
from support.peer import Peer, unique
from support.people import metric
from support.recorded import Visitor, given, made
from support.review import Reviewer
from support.snippets import LosingProxy, Stage, blocks, named
from support.tokens import SECRET, bearer, token
from support.workspace import Fellow

SETTINGS = {
    "HOST": "127.0.0.1",
    "JWT_SECRET": SECRET,
    # The pages come from elsewhere.
    "ALLOWED_ORIGINS": "*",
    "LEAVE_GRACE": 30,
    "DRAIN_WINDOW": 2,
}
PLACES = ("browser", "node", "python")
# Said while all is well; when answers to it are lost; while the programs' node leaves; and afterwards.
FIRST, LOST, WHILE, LAST = "one", "the-second", ("three", "four", "five", "six"), "seven"
WORDS = (FIRST, LOST, *WHILE, LAST)
SERVICE = bearer(token("ops", role="service"))


class Scene:
    """One run of a program, on the way that its kind takes, and somebody on another node who talks to it."""

    # By the library of Socket.IO, which has its own way of coming back.
    library = False
    # Every word is told, and answered once. Otherwise the newest is, at least once.
    every = True
    # Words that nobody need be told.
    missed = ()
    # What it says of its end.
    over = "over 4401"

    def __init__(self, north, south, place):
        self.north, self.south, self.place = north, south, place
        self.name = f"{type(self).__name__}-{place}"
        self.user = unique("doc")
        self.token = token(self.user, jti=unique("jti"), **self.claims)
        self.prepare()

    claims = {}

    def run(self, stage, way):
        block = named(self.files[self.place == "python"])
        node = f"{'http' if self.library else 'ws'}://127.0.0.1:{way.port}"
        self.program = stage.run(self.name, block, self.place, NODE=node, TOKEN=self.token, **self.constants)

    def text(self, word):
        """What the program is told of it."""
        return word

    def taken(self, word):
        """What the program says when its answer was acknowledged."""
        return f"taken {self.text(word)}"

    def answer(self, word):
        return f"answer to {self.text(word)}"

    def await_answer(self, word):
        answered = lambda: self.answer(word) in self.answers()
        eventually(answered, f"{self.name} answers {word!r}; it said {self.program.lines()}")

    def await_command(self, word):
        """Waits until the first thing that the program says to it is done."""
        self.await_answer(word)

    def finish(self):
        """Looks at what came of all."""

    def says(self, line):
        """Waits until the program says a line that begins like this."""
        found = lambda: any(said.startswith(line) for said in self.program.lines())
        eventually(found, f"{self.name} says {line!r}; it said {self.program.lines()}")

    def end(self):
        """Its token is believed no more; with the same one it may not come back."""
        answer = self.south.post("/api/auth/logout", b"", headers=bearer(self.token))
        assert answer.status == 204, answer


class InSession(Scene):
    over = "over 4410"

    def end(self):
        """Its session is over."""
        answer = self.south.delete(f"/api/v1/session/{self.session}", headers=SERVICE)
        assert answer.status == 204, answer


class Pairing(InSession):
    files = "pairing.js", "pairing.py"

    def prepare(self):
        self.session, self.mine = unique("doc"), token(unique("witness"))
        self.constants = {"SESSION": self.session, "USER": self.user}
        self.witness = Peer(self.south, self.session, token=self.mine)

    def say(self, word):
        self.witness.send("chat", message=word)
        # Somebody else writes at the same time.
        while True:
            now = self.state()
            code = f"{now['code']}{word} of the witness\n"
            answer = self.witness.ask("code_change", code=code, base_version=now["version"])
            if answer["type"] == "code_ack":
                return

    def state(self):
        return self.south.get(f"/api/v1/session/{self.session}/state", headers=bearer(self.mine)).json

    def finish(self):
        told = [f"{word}\n" for word in WORDS] + [f"{word} of the witness\n" for word in WORDS]
        whole = lambda: sorted(self.state()["code"].splitlines(keepends=True)) == sorted(told)
        eventually(whole, f"{self.name}: what both wrote is in the text, once")

    def answers(self):
        self.witness.before_pong()
        lines = [frame for frame in self.witness.history if frame["type"] == "chat_message"]
        return [line["text"] for line in lines if line["user_id"] == self.user]


class Review(InSession):
    files = "review.js", "review.py"

    def prepare(self):
        host = Visitor(self.south, "host")
        self.session = made(self.south, host, default_role="editor")
        self.constants = {"SESSION": self.session}
        self.witness = Reviewer(self.south, self.session, host)

    def say(self, word):
        self.witness.say(word)

    def answers(self):
        self.witness.before_pong()
        lines = [frame for frame in self.witness.history if frame["type"] in ("chat_message", "code_comment")]
        by_program = [line for line in lines if line["user"]["user_id"] == self.user]
        comments = [line["data"]["content"] for line in by_program if line["type"] == "code_comment"]
        assert len(comments) == len(set(comments)), comments
        return [line["content"] for line in by_program if line["type"] == "chat_message"]


class CodeRoom(InSession):
    """The witness is in the same session by the pairing door."""

    files = "coderoom.js", "coderoom.py"
    library, every = True, False
    over = "error the session has ended"

    def prepare(self):
        self.session = unique("doc")
        self.constants = {"ROOM": self.session}
        self.witness = Peer(self.south, self.session, token=token(unique("witness")))

    def text(self, word):
        return f"question {word}"

    def taken(self, word):
        return f"taken {self.answer(word)}"

    def say(self, word):
        assert self.witness.ask("code_change", code=self.text(word))["type"] == "ack"

    def answers(self):
        self.witness.before_pong()
        return [frame["code"] for frame in self.witness.history if frame["type"] == "code_update"]


class CourierByLibrary(Scene):
    files = "courier.js", "courier.py"
    library = True
    over = "over"
    client = "python-websocket"

    def prepare(self):
        self.constants = {"USER": self.user}
        who = unique("witness")
        self.witness = courier(self.south, RAW, who, auth={"token": token(who)})
        self.letters = []

    def taken(self, word):
        return f"taken {self.answer(word)} (1)"

    def say(self, word):
        assert "delivered_to" in self.witness.ask([self.user], {"position_id": "p", "text": word})

    def answers(self):
        self.letters += self.witness.take_all()
        return [letter["data"]["text"] for letter in self.letters]


class CourierPlain(CourierByLibrary):
    files = "courier-plain.js", "courier_plain.py"
    library = False
    over = "over 4401"


class Workspace(Scene):
    files = "workspace.js", "workspace.py"
    claims = {"role": "service"}

    def prepare(self):
        self.workspace, self.agent = unique("doc"), unique("agent")
        self.constants = {"WORKSPACE": self.workspace, "AGENT": self.agent}
        who = unique("witness")
        self.witness = Fellow(self.south, who, token=token(who))
        self.witness.enters(self.workspace)

    def say(self, word):
        self.witness.tells(self.workspace, "task", task=word)

    def await_command(self, word):
        is_start = lambda frame: frame["type"] == "agent_execution_start" and frame["data"]["task"] == word
        self.witness.find(is_start)

    def answers(self):
        self.witness.before_pong()
        ends = [frame for frame in self.witness.history if frame["type"] == "agent_execution_complete"]
        return [end["data"]["result"] for end in ends]


class Notifications(Scene):
    """Who is away misses what is said meanwhile."""

    files = "notifications.js", "notifications.py"
    claims = {"role": "service"}
    constants = {}
    missed = WHILE

    def prepare(self):
        self.witness = Fellow(self.south, who := unique("witness"), token=token(who))

    def text(self, word):
        # Answers are for everybody: words are each one's own.
        return f"{word} for {self.user}"

    def say(self, word):
        body = {"type": "question", "data": self.text(word), "to": {"users": [self.user]}}
        assert self.south.post("/broadcast", body, headers=SERVICE).status == 202

    def answers(self):
        self.witness.before_pong()
        told = [frame["data"] for frame in self.witness.history if frame["type"] == "notification"]
        return [notice["data"] for notice in told if notice["data"].endswith(f" {self.user}")]


SCENES = (Pairing, Review, CodeRoom, CourierByLibrary, CourierPlain, Workspace, Notifications)
RUNS = [pytest.param(scene, place, id=f"{scene.__name__}-{place}") for scene in SCENES for place in PLACES]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("stage"))
    yield stage
    stage.end()


@pytest.fixture(scope="module")
def scenes(children, postgres, stage):
    """All programs at once, because a node that leaves does so for all; what they said and caused."""
    shared = {"REDIS_URL": children.redis().url, "DATABASE_URL": postgres.database().url, **SETTINGS}
    north, south = (children.node(name, **shared) for name in ("north", "south"))
    full = children.node("full", MAX_CONNECTIONS=1, **shared)
    # One for the careful clients, one for the library's.
    ways = [LosingProxy(north.port, LOST), LosingProxy(north.port, LOST)]
    scenes = {(kind, place): kind(north, south, place) for kind in SCENES for place in PLACES}
    everybody = list(scenes.values())
    careful = [scene for scene in everybody if not scene.library]
    for scene in everybody:
        scene.run(stage, ways[scene.library])
    for scene in everybody:
        scene.says("joined" if isinstance(scene, CodeRoom) else "here")
    say_and_await(everybody, FIRST)

    for way in ways:
        way.losing = True
    for scene in everybody:
        scene.say(LOST)
    for scene in everybody:
        scene.await_command(LOST)
    with Peer(full, unique("doc"), token=token("the-only-one")):
        # Those who read close codes are turned away for a while, as by a node without room.
        ways[0].lead_to(full.port)
        for way in ways:
            way.cut_all()
        refused = lambda: metric(full, 'collab_connections_rejected_total{reason="capacity"}')
        eventually(lambda: refused() >= len(careful), "all were refused")
        ways[0].lead_to(north.port)
    for scene in everybody:
        scene.says(scene.taken(LOST))

    for way in ways:
        way.lead_to(south.port)
    north.signal(signal.SIGTERM)
    for word in WHILE:
        for scene in everybody:
            scene.say(word)
    assert north.process.wait(30) == 0
    say_and_await(everybody, LAST)
    for scene in everybody:
        scene.finish()
        scene.heard = scene.answers()
        scene.end()
    for scene in everybody:
        scene.says(scene.over)
        scene.lines = scene.program.lines()
    yield scenes
    for way in ways:
        way.close()


def say_and_await(scenes, word):
    for scene in scenes:
        scene.say(word)
    for scene in scenes:
        scene.await_answer(word)
        scene.says(scene.taken(word))


@pytest.mark.parametrize(("scene", "place"), RUNS)
def test_a_program_hears_and_says_everything_once(scenes, scene, place):
    """Who copies a client from the document loses or doubles what is said when a node goes, or is never back."""
    it = scenes[scene, place]
    words = [word for word in WORDS if word not in it.missed]
    heard = [line for line in it.lines if line.startswith("heard ")]
    if it.every:
        wanted = [f"heard {it.text(word)}" for word in words]
        assert [line for line in heard if line in wanted] == wanted, it.lines
        assert len(heard) == len(set(heard)), it.lines
        answers = [answer for answer in it.heard if answer in map(it.answer, words)]
        assert sorted(answers) == sorted(map(it.answer, words)), it.heard
        assert [it.lines.count(it.taken(word)) for word in words] == [1] * len(words), it.lines
    else:
        for word in (FIRST, LOST, LAST):
            assert f"heard {it.text(word)}" in heard
            assert it.answer(word) in it.heard
            assert it.taken(word) in it.lines


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("scene", [Pairing, Review, Workspace])
def test_who_comes_back_says_where_it_was(scenes, scene, place):
    """A client that is back is shown everything anew, each time."""
    lines = scenes[scene, place].lines
    assert lines.count("resumed") == 2, lines
    assert sum(line.startswith("here") for line in lines) == 1, lines


def test_every_program_of_the_document_is_run():
    """A program that nobody runs stands there, and is wrong by now."""
    run = {file for scene in SCENES for file in scene.files}
    beside = {"careful.js", "careful.py", "page.html"}
    assert sorted(block.file for block in blocks() if block.file) == sorted(run | beside)
    for block in blocks():
        assert block.file, f"{block.text.splitlines()[0]}: a block without a file"
        assert block.places == {"js": ["browser", "node"], "python": ["python"], "html": ["browser"]}[block.language]
    for scene in SCENES:
        for file in scene.files:
            assert named(file).constants()[0] == "NODE"


class Host:
    """A server that is no node: it does one thing with whoever comes, and notes when they came."""

    def __init__(self, receive):
        self.visits, self.receive = [], receive
        chosen = lambda _, offered: offered[0] if offered else None
        self.server = serve(self.note, "127.0.0.1", 0, subprotocols=["bearer"], select_subprotocol=chosen)
        self.way = f"ws://127.0.0.1:{self.server.socket.getsockname()[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def note(self, socket):
        self.visits.append(time.monotonic())
        self.receive(socket)


@pytest.fixture
def host():
    hosts = []

    def host(receive):
        hosts.append(Host(receive))
        return hosts[-1]

    yield host
    for one in hosts:
        one.server.shutdown()


@pytest.mark.parametrize("code", [1012, 1013])
def test_who_is_told_when_to_come_back_comes_then(stage, host, code):
    """All clients of a node that restarts come at once, or so late that people reload the page."""
    told = 1.5
    reason = f'{{"retry_in_ms":{int(told * 1000)}}}'
    hosts = {place: host(lambda socket: socket.close(code, reason)) for place in PLACES}
    for place, one in hosts.items():
        stage.run(f"patient-{code}-{place}", named(Pairing.files[place == "python"]), place, NODE=one.way, TOKEN="t")
    for place, one in hosts.items():
        eventually(lambda: len(one.visits) >= 2, f"the client in {place} is back")
        waited = one.visits[1] - one.visits[0]
        # By its own measure it would have come within 0.4 s.
        assert told - 0.1 < waited < told + 10, (place, waited)


@pytest.mark.parametrize("place", ["browser", "node"])
def test_silence_is_noticed(stage, host, place):
    """A page whose connection died on the way waits for ever; or gives up one that lives."""

    def answer(socket):
        for _ in socket:
            socket.send('{"type":"pong"}')

    silent, alive = host(lambda socket: [None for _ in socket]), host(answer)
    for word, one in (("silent", silent), ("alive", alive)):
        stage.run(f"{word}-{place}", named("pairing.js"), place, hurried=True, NODE=one.way, TOKEN="t")
    eventually(lambda: len(silent.visits) >= 3, "it comes again")
    assert len(alive.visits) == 1


@pytest.fixture(scope="module")
def open_node(children):
    return children.node("open", ALLOWED_ORIGINS="*")


@pytest.mark.parametrize("file", ["pairing.js", "pairing.py", "coderoom.js", "coderoom.py"])
def test_on_an_open_node_no_token_is_needed(open_node, stage, file):
    """The first thing a newcomer tries wants a token that nobody has."""
    block, session = named(file), unique("open")
    is_room = file.startswith("coderoom")
    node = f"{'http' if is_room else 'ws'}://{open_node.address}"
    constants = {"ROOM": session} if is_room else {"SESSION": session, "USER": "ann"}
    place = "python" if block.language == "python" else "node"
    program = stage.run(f"open-{file}", block, place, NODE=node, **constants)
    eventually(lambda: set(program.lines()) & {"joined", "here with 1 users"}, f"{file} is there\n")
    with Peer(open_node, session, "bob") as bob:
        kind, said = ("code_change", {"code": "question"}) if is_room else ("chat", {"message": "question"})
        assert bob.ask(kind, **said)["type"] == "ack"
        bob.until(lambda frame: "answer to question" in (frame.get("code"), frame.get("text")))
