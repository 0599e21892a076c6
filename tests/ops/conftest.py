"""What the checks of everything around the node share: programs, a live node, and the settings that the binary knows."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The tests of the front door know how to start nodes and servers.
sys.path.insert(0, str(ROOT / "tests/e2e"))

from support.processes import BINARY, Node

# deploy/cluster.sh, too, is to take the binary that is looked at, and not a release of another day.
os.environ.setdefault("COLLABD", str(BINARY))

VENV = Path(sys.prefix)
# Debian has some of them where only root looks.
PLACES = [VENV / "bin", VENV / "checkov/bin", *map(Path, ("/usr/sbin", "/sbin"))]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def tool():
    """A program's path: `make check-ops` installs those that are missing."""

    def find(name):
        places = [str(place / name) for place in PLACES if (place / name).exists()]
        found = places[0] if places else shutil.which(name)
        assert found, f"{name} is not installed; `make check-ops` does that"
        return found

    return find


@pytest.fixture(scope="session")
def run(tool):
    """Runs a program, which must end well: `run("promtool", "check", "rules", file).stdout`."""

    def ran(program, *arguments, cwd=ROOT, env=None, input=None, right=(0,)):
        done = subprocess.run(
            [tool(program), *map(str, arguments)],
            cwd=cwd,
            env=env,
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode in right, f"{program} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return ran


@pytest.fixture(scope="session")
def defaults():
    """Every setting that the binary knows, with the value that it has unless it is given."""
    # Nothing of the caller's environment may act as a setting, nor a .env file.
    done = subprocess.run([BINARY, "check-config"], cwd="/", env={}, capture_output=True, text=True, check=True)
    lines = (line.partition("  # ")[0].partition("=") for line in done.stdout.splitlines())
    return {name: value for name, _, value in lines}


@pytest.fixture(scope="session")
def settings(defaults):
    """Their names."""
    return set(defaults)


@pytest.fixture(scope="session")
def node():
    """A node that works alone."""
    node = Node("ops").start()
    yield node
    node.kill()
