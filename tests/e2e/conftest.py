"""Fixtures of the front-door tests: real nodes, real Redis servers, and their logs when a test fails."""

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support import processes, turns
from support.peer import Peer, unique
from support.postgres import Postgres
from support.rabbit import Rabbit
from support.review import Reviewer
from support.workspace import Fellow

# A node at DEBUG says much; the end of it is what matters.
LOG_TAIL = 20_000


class Children:
    """Starts children and ends exactly those."""

    def __init__(self):
        self.all = []

    def node(self, name="node", ready=True, **settings):
        node = processes.Node(name, **settings)
        self.all.append(node)
        return node.start(ready)

    def redis(self, **options):
        return self.adopt(processes.Redis(**options).start())

    def postgres(self, **options):
        return self.adopt(Postgres(**options).start())

    def rabbit(self, **options):
        # Adopted first: it may fail to start, and has children of its own.
        return self.adopt(Rabbit(**options)).start()

    def adopt(self, child):
        self.all.append(child)
        return child

    def end(self):
        for child in reversed(self.all):
            child.kill()
            shutil.rmtree(child.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def children():
    """Children that live as long as the module's tests."""
    started = Children()
    yield started
    started.end()


@pytest.fixture
def own_children():
    """Children of one test."""
    started = Children()
    yield started
    started.end()


@pytest.fixture(scope="session")
def postgres():
    """The server that all share who do not stop it; a test takes a database of its own."""
    started = Children()
    yield started.postgres()
    started.end()


@pytest.fixture
def session():
    """A session id that no other test uses."""
    return unique("session")


@pytest.fixture
def join():
    """Opens sockets that are closed when the test ends: `join(node, session, user)`."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(Peer(*arguments, **options))


@pytest.fixture
def attend():
    """The same at the review door: `attend(node, session, visitor)`."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(Reviewer(*arguments, **options))


@pytest.fixture
def come():
    """The same at the workspace door: `come(node, user)`."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(Fellow(*arguments, **options))


@pytest.fixture(params=["alone", "in a cluster"])
def ends(request):
    """Two of the file's `nodes`; or twice its node that is `alone`."""
    if request.param == "alone":
        return [request.getfixturevalue("alone")] * 2
    return request.getfixturevalue("nodes")


def pytest_configure(config):
    config.addinivalue_line("markers", f"{turns.ALONE}: has the machine for itself, because its bounds of time are its point")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    turns.line_up(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    with turns.turn(item, nextitem):
        return (yield)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    processes.running[:] = [node for node in processes.running if node.alive]
    for node in processes.running:
        node.mark = len(node.log())
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for node in processes.running:
            if said := node.log()[getattr(node, "mark", 0) :]:
                report.sections.append((f"log of {node.name} ({node.port})", said[-LOG_TAIL:]))
