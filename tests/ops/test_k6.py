"""The load test's scripts: right by type, each with thresholds, known to the driver and described; and the runner's own
tests. That they run against a cluster is for `make loadtest`; here two of them do against a single node, shortly."""

import json
import re
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "loadtest/k6"
SCENARIOS = sorted(path.stem for path in (SCRIPTS / "scenarios").glob("*.ts"))
# What every scenario promises, whatever goes wrong in it.
ALWAYS = {
    "dropped_iterations": ["count==0"],
    "delivery_ratio": ["rate>0.9999"],
    "gaps": ["count==0"],
    "lost": ["count==0"],
    "doubled": ["count==0"],
    "disorder": ["count==0"],
    "unanswered": ["count==0"],
    "absent": ["count==0"],
}


@pytest.fixture(scope="session")
def scripts(run):
    """Their folder, with what they need installed as the lock file has it."""
    lock, stamp = SCRIPTS / "package-lock.json", SCRIPTS / "node_modules/.installed"
    if not stamp.exists() or stamp.stat().st_mtime < lock.stat().st_mtime:
        run("npm", "ci", "--silent", "--no-audit", "--no-fund", cwd=SCRIPTS)
        stamp.touch()
    return SCRIPTS


@pytest.fixture
def inspect(run, scripts):
    """A scenario's options, as the runner reads them."""

    def inspected(name, **env):
        given = [word for key, value in env.items() for word in ("-e", f"{key}={value}")]
        return json.loads(run("node", "runner/main.js", "inspect", *given, f"scenarios/{name}.ts", cwd=scripts).stdout)

    return inspected


def test_types(run, scripts):
    """Guards against scripts that k6's own types refuse, which no run here would notice."""
    run("npm", "run", "check", cwd=scripts)


def test_lock_file():
    """Guards against a lock file that names a host, or that is not of this package.json."""
    package = json.loads((SCRIPTS / "package.json").read_text())
    lock = json.loads((SCRIPTS / "package-lock.json").read_text())
    assert lock["packages"][""]["dependencies"] == package["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in package["dependencies"].values())
    installed = {place: entry for place, entry in lock["packages"].items() if place}
    assert [place for place, entry in installed.items() if "resolved" in entry] == []
    assert [place for place, entry in installed.items() if "integrity" not in entry] == []
    for name, version in package["dependencies"].items():
        assert installed[f"node_modules/{name}"]["version"] == version


def test_runner(run, scripts):
    """Guards against a runner, or an account of a room, that takes what is missed for kept."""
    done = run("npm", "test", cwd=scripts)
    assert re.search(r"^# pass [1-9]\d*$", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^# fail 0$", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("name", SCENARIOS)
def test_thresholds(inspect, name):
    """Guards against a scenario that cannot fail: one without thresholds, or without those that all have."""
    options = inspect(name)
    assert list(options["scenarios"]) == [name]
    missing = {metric for metric, asked in ALWAYS.items() if options["thresholds"].get(metric) != asked}
    assert missing == set()
    assert options["thresholds"]["ws_connecting"] == ["p(95)<1000"]


def test_thresholds_by_path(inspect):
    """Guards against a fan-out that is judged as one where it is known who was at whose node."""
    by_node = inspect("fan-out", NODES="127.0.0.1:1,127.0.0.1:2")["thresholds"]
    assert {metric for metric in by_node if metric.startswith("fanout_ms")} == {
        "fanout_ms{path:local}",
        "fanout_ms{path:remote}",
    }
    assert inspect("fan-out")["thresholds"]["fanout_ms"] == ["p(99)<250"]


def test_driver_and_readme_know_all(root):
    """Guards against a scenario that `make loadtest` leaves out, or that nobody is told of."""
    sys.path.insert(0, str(SCRIPTS))
    from driver.scenarios import SCENARIOS as driven

    section = (root / "loadtest/README.md").read_text().partition("\n# k6\n")[2].partition("*What all promise*")[0]
    described = re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)
    assert sorted(driven) == SCENARIOS
    assert sorted(described) == SCENARIOS


def test_sizes_are_possible(inspect):
    """Guards against sizes of the driver's table that a script refuses, in a scale that is seldom run."""
    sys.path.insert(0, str(SCRIPTS))
    from driver.scenarios import SCENARIOS as driven

    for name, scenario in driven.items():
        for sizes in (scenario.smoke, scenario.full):
            assert inspect(name, **sizes)["thresholds"], name


@pytest.mark.parametrize("name", ["order", "courier"])
def test_run(run, scripts, node, name):
    """Guards against scripts that fit their types and not the node."""
    sizes = {"URL": f"http://127.0.0.1:{node.port}", "SOCKETS": 20, "RAMP": 1, "DURATION": 2, "RATE": 20}
    sizes |= {"ROOMS": 2} if name == "order" else {}
    given = [word for key, value in sizes.items() for word in ("-e", f"{key}={value}")]
    done = run("node", "runner/main.js", "run", *given, f"scenarios/{name}.ts", cwd=scripts, right=(0, 99))
    assert re.search(r"^  delivery_ratio: rate=1 passes=[1-9]", done.stdout, re.MULTILINE), done.stdout
    # A busy machine may be slow; nothing else is forgiven.
    missed = re.findall(r"^  ✗ (\w+)", done.stdout, re.MULTILINE)
    assert set(missed) <= {"fanout_ms", "ws_connecting"}, done.stdout
