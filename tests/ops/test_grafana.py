"""Dashboards, rules and runbooks: right in themselves, right for what nodes export, and right for each other."""

import json
import re
import subprocess
import sys
from collections import defaultdict
from contextlib import suppress

import panels
import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard
from promql import VARIABLES, asked, filled, in_panels, queries_of, rules_of

from support import http
from support.deadline import eventually
from support.processes import Child, free_port

ROOT = panels.ROOT
DASHBOARDS = sorted((ROOT / "grafana/dashboards").glob("*.json"))
RULES = list(rules_of(ROOT))
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
RULE_TESTS = sorted((ROOT / "grafana/rules/tests").glob("*.yaml"))
RUNBOOKS = ROOT / "docs/runbooks.md"
# What whoever scrapes adds, and what Prometheus says by itself.
TARGET_LABELS = {"cluster", "namespace", "job", "instance"}
OF_PROMETHEUS = {"up", "ALERTS"}
# Of every process; what dashboards say of memory is what is resident.
NOT_SHOWN = {"process_virtual_memory_bytes", "process_virtual_memory_max_bytes"}

# Prometheus keeps each of them in memory, for every node.
MOST_SERIES = 2_000

# Thresholds that were agreed on, and that nobody moves by the way: what stands in expressions, and for how long.
WANTED = {
    "CollabFanoutSlow": (["job_path:collab_fanout_latency_seconds:p99_5m > 0.25"], "5m"),
    "CollabBackplaneDisconnected": (["collab_backplane_connected == 0"], "30s"),
    "CollabGapsNotFilled": (['outcome!="filled"', "> 0"], None),
    "CollabReconnectStorm": (
        [
            "> 0.02 * avg_over_time(job:collab_connections:sum[30m])",
            "> 0.5 * avg_over_time(job:collab_connections:sum[30m])",
        ],
        "30s",
    ),
    "CollabImbalance": (["1.5 * (avg", "unless on (cluster, namespace, job, instance) collab_draining == 1"], "15m"),
    "CollabAbnormalCloses": (["> 0.3"], "5m"),
    "CollabSlowConsumers": (['code="4503"'], None),
    "CollabFileDescriptors": (["process_open_fds / process_max_fds > 0.8"], "5m"),
    "CollabForcedDrains": (['result="forced"', ">= 5", "> 0.01"], None),
    "CollabBalancerNearlyFull": (["> 0.85"], "5m"),
    "CollabClusterSizeDisagrees": (["(collab_cluster_nodes) != min"], "5m"),
}


@pytest.fixture(scope="module")
def observed():
    """Three nodes, a broker and Prometheus, and what they lived through: takes a minute."""
    return panels.observe()


@pytest.fixture(scope="module")
def live(observed):
    """The labels of each series that nodes export."""
    found = defaultdict(set)
    for page in observed.pages:
        for name, labels in series_of(page):
            found[name] |= set(labels)
    return found


@pytest.fixture(scope="module")
def balanced(tool):
    """What HAProxy exports with the repository's settings: (name, labels) of each series."""
    addresses = {name: f"127.0.0.1:{free_port()}" for name in ("HAPROXY_BIND", "HAPROXY_METRICS")}
    haproxy = Child("haproxy", [tool("haproxy"), "-db", "-f", ROOT / "deploy/haproxy.cfg"], addresses)
    haproxy.environment["HAPROXY_SOCKET"] = str(haproxy.folder / "socket")
    haproxy.spawn()
    host, port = addresses["HAPROXY_METRICS"].split(":")

    def page():
        assert haproxy.alive, haproxy.log()
        with suppress(ConnectionRefusedError):
            return http.request(host, int(port), "GET", "/metrics").text

    try:
        yield list(series_of(eventually(page, "HAProxy serves its figures")))
    finally:
        haproxy.kill()


@pytest.fixture(scope="module")
def exported(live, balanced):
    """The labels of each series that there is, whoever says it."""
    found = defaultdict(set, live)
    for name, labels in balanced:
        found[name] |= set(labels)
    return found


def series_of(page):
    """(name, labels) of each line with a value."""
    for name, labels in re.findall(r"^([a-z_]+)(?:\{(.*)\})? \S+$", page, re.MULTILINE):
        yield name, dict(re.findall(r'([a-z_]+)="([^"]*)"', labels))


@pytest.fixture(scope="module", params=DASHBOARDS, ids=lambda path: path.stem)
def dashboard(request):
    return json.loads(request.param.read_text())


def all_queries():
    """Of panels, annotations, rules and runbooks: (where, query)."""
    for where, query in queries_of(ROOT):
        yield where, filled(query, "1m")
    for rule in RULES:
        yield rule.get("alert") or rule["record"], rule["expr"]
    for number, block in enumerate(re.findall(r"```promql\n(.*?)```", RUNBOOKS.read_text(), re.DOTALL)):
        for line in block.strip().splitlines():
            yield f"runbooks.md, block {number + 1}", line


def test_rules_can_be_read(run):
    """Prometheus refuses a whole file for one rule that it cannot read, and does not start."""
    run("promtool", "check", "rules", *sorted((ROOT / "grafana/rules").glob("*.yaml")))


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_alerts_do_what_their_tests_say(path, run):
    """An alert fires when all is well, or sleeps when nothing is; or says something else than it means."""
    run("promtool", "test", "rules", path)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_tested_both_ways(alert):
    """An alert that was never seen to fire, or never seen to be quiet, is a guess."""
    checks = [
        check
        for path in RULE_TESTS
        for group in yaml.safe_load(path.read_text())["tests"]
        for check in group["alert_rule_test"]
        if check["alertname"] == alert
    ]
    assert any(check.get("exp_alerts") for check in checks), "it never fires"
    assert any(not check.get("exp_alerts") for check in checks), "it is never quiet"


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_what_to_do(alert):
    """Somebody is woken by a name, without figures and without a way on."""
    rule = ALERTS[alert]
    said = rule["annotations"]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(said) == {"summary", "description", "runbook_url"}
    assert said["runbook_url"] == f"docs/runbooks.md#{alert.lower()}"
    # Where nothing is left there is nothing to tell of.
    assert "{{ $labels.job }}" in said["description"] or alert == "CollabAbsent"


@pytest.mark.parametrize("alert", WANTED)
def test_thresholds_are_the_agreed_ones(alert):
    """A threshold was moved until it was quiet."""
    parts, how_long = WANTED[alert]
    expression = " ".join(ALERTS[alert]["expr"].split())
    assert [part for part in parts if part not in expression] == []
    assert ALERTS[alert].get("for") == how_long


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    """A link in an alert at night leads nowhere, or somebody reads about an alert that is no more."""
    sections = re.findall(r"^### (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert sorted(sections) == sorted(ALERTS)


def test_runbooks_have_all_three_parts():
    """A section says what is wrong and not what to do about it."""
    for section in re.split(r"^### ", RUNBOOKS.read_text(), flags=re.MULTILINE)[1:]:
        assert re.findall(r"^\*\*(\w+)\.\*\*", section, re.MULTILINE) == ["Means", "Look", "Do"], section.split()[0]


def test_runbooks_quote_what_nodes_log():
    """Somebody searches the logs for a sentence that no node says any more."""
    sources = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    quoted = set(re.findall(r'`"([^"`]+)"`', " ".join(RUNBOOKS.read_text().split())))
    assert len(quoted) > 20
    assert sorted(line for line in quoted if f'"{line}"' not in sources) == []


def test_runbooks_name_settings_that_exist(settings):
    """Somebody raises a limit that no node reads."""
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", RUNBOOKS.read_text()))
    assert len(named) > 20
    assert sorted(named - settings) == []


def test_dashboards_are_what_is_generated(run):
    """A change made by hand is lost with the next one that is made as it should be."""
    run(sys.executable, "-B", ROOT / "grafana/generate", "--check")


def test_dashboards_are_what_grafana_reads(dashboard):
    """A name that Grafana does not know is passed over in silence: the panel looks otherwise than was meant."""
    plugins.register_default_plugins()
    read = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))
    assert list(passed_over(dashboard, read)) == []


def passed_over(written, read, place=""):
    """What was written and is not what was read; what was read beyond that are Grafana's defaults."""
    if isinstance(written, dict) and isinstance(read, dict):
        for key, value in written.items():
            if key in read:
                yield from passed_over(value, read[key], f"{place}/{key}")
            else:
                yield f"{place}/{key}"
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for number, (one, other) in enumerate(zip(written, read)):
            yield from passed_over(one, other, f"{place}/{number}")
    elif written != read:
        yield place


def test_what_grafana_does_not_know_is_found(dashboard):
    """The test before this one would let everything pass."""
    wrong = json.loads(json.dumps(dashboard))
    next(in_panels(wrong))["fieldConfig"]["defaults"]["units"] = "s"
    read = json.loads(json.dumps(Dashboard.from_json(wrong), cls=JSONEncoder))
    assert [place.rpartition("/")[2] for place in passed_over(wrong, read)] == ["units"]


def test_names_and_numbers_are_unique():
    """One dashboard takes another's place, or a link leads to the wrong one."""
    read = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert len({one["uid"] for one in read}) == len({one["title"] for one in read}) == len(read) == 3
    for one in read:
        numbers = [row["id"] for row in one["panels"]] + [
            each["id"] for row in one["panels"] for each in row.get("panels", [])
        ]
        assert len(set(numbers)) == len(numbers)
        assert [link["tags"] for link in one["links"]] == [["collabd"]] and one["tags"] == ["collabd"]


def test_links_lead_to_dashboards():
    """Somebody clicks on a node and gets an empty page."""
    text = "".join(path.read_text() for path in DASHBOARDS)
    uids = {json.loads(path.read_text())["uid"] for path in DASHBOARDS}
    linked = set(re.findall(r"/d/([\w-]+)", text))
    assert linked and linked <= uids


def test_panels_do_not_lie_on_each_other(dashboard):
    """A panel hides another one."""
    # Folded rows place theirs when they are opened, each for itself.
    shown = [one for one in dashboard["panels"]]
    for group in [shown] + [row["panels"] for row in shown if row.get("collapsed")]:
        taken = set()
        for one in group:
            at = one["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert at["x"] + at["w"] <= 24 and not cells & taken, one["title"]
            taken |= cells


def test_panels_say_what_they_show(dashboard):
    """A line without a unit, from who knows which data source, that nobody can explain."""
    known = {value for value in vars(units).values() if isinstance(value, str)}
    titles = defaultdict(list)
    row = None
    for one in dashboard["panels"]:
        row = one["title"] if one["type"] == "row" else row
        for each in one.get("panels", []) if one["type"] == "row" else [one]:
            titles[row].append(each["title"])
            assert len(each["description"]) >= 50 and each["description"].endswith("."), each["title"]
            assert each["fieldConfig"]["defaults"]["unit"] in known, each["title"]
            assert each["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None, each["title"]
            for asking in [each, *each["targets"]]:
                assert asking["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, each["title"]
            assert len({target["refId"] for target in each["targets"]}) == len(each["targets"])
    assert all(len(set(names)) == len(names) for names in titles.values())


def test_dashboards_have_the_same_variables(dashboard):
    """A link to another dashboard takes along a choice that this one does not know."""
    names = [one["name"] for one in dashboard["templating"]["list"]]
    assert names == ["datasource", *VARIABLES]
    assert all(link["includeVars"] and link["keepTime"] for link in dashboard["links"])


def test_queries_heed_the_variables():
    """A panel shows every cluster's sum whichever was chosen, or a rate over less than one scrape."""
    for where, query in queries_of(ROOT):
        for metric, matchers in asked(filled(query, "1m")).selectors:
            chosen = {
                label for label, sign, value in matchers if sign == "Re" and value.rstrip("|") == VARIABLES.get(label)
            }
            assert chosen >= ({"job"} if metric == "ALERTS" else set(VARIABLES)), (where, query)
        ranges = set(re.findall(r"rate\([^\[]*\[([^\]]+)\]", query))
        assert ranges <= {"$__rate_interval"}, (where, query)


def test_prometheus_reads_every_query(run, tmp_path):
    """A panel shows an error instead of a line, and a runbook's query none of what it promises."""
    rules = [{"record": f"asked:{number}", "expr": query} for number, (_, query) in enumerate(all_queries())]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert len(rules) > 200
    run("promtool", "check", "rules", "--lint=none", path)


def test_prometheus_reads_its_settings(run, tmp_path):
    """Prometheus does not start, or starts without the rules."""
    (tmp_path / "prometheus.yml").write_text((ROOT / "deploy/prometheus.yml").read_text())
    (tmp_path / "rules").symlink_to(ROOT / "grafana/rules")
    checked = run("promtool", "check", "config", tmp_path / "prometheus.yml")
    files = len(list((ROOT / "grafana/rules").glob("*.yaml")))
    assert f"SUCCESS: {files} rule files found" in checked.stdout


def test_grafana_is_told_where_things_are():
    """Grafana starts empty, or asks nobody, or takes rates over less than one scrape."""
    read = lambda path: yaml.safe_load((ROOT / path).read_text())
    compose = read("deploy/compose.yaml")["services"]
    prometheus = read("deploy/prometheus.yml")
    source = read("deploy/grafana/provisioning/datasources/prometheus.yaml")["datasources"][0]
    provider = read("deploy/grafana/provisioning/dashboards/collabd.yaml")["providers"][0]
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    assert source["url"] == "http://prometheus:9090" and "prometheus" in compose
    mounts = dict(line.split(":")[:2] for line in compose["grafana"]["volumes"])
    assert mounts["../grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    assert (
        dict(line.split(":")[:2] for line in compose["prometheus"]["volumes"])["../grafana/rules"]
        == "/etc/prometheus/rules"
    )
    names = [
        name
        for job in prometheus["scrape_configs"]
        for found in job.get("dns_sd_configs", [])
        for name in found["names"]
    ]
    assert names == ["collabd"] and "collabd" in compose


def test_nodes_speak_as_prometheus_wants(observed, tool):
    """A page of figures that Prometheus reads otherwise than it was meant: all of promtool's lints count."""
    for page in observed.pages:
        checked = subprocess.run(
            [tool("promtool"), "check", "metrics"], input=page, capture_output=True, text=True, timeout=30, check=False
        )
        assert checked.returncode == 0 and not checked.stdout + checked.stderr, checked.stdout + checked.stderr


def test_nodes_export_no_more_than_prometheus_bears(observed):
    """A label names rooms or users: nodes export more series from day to day, until Prometheus has no memory."""
    counted = [len(list(series_of(page))) for page in observed.pages]
    # Every door and most commands were used by then.
    assert 300 < max(counted) <= MOST_SERIES, counted


def test_haproxy_exports_what_is_asked_of_it(balanced):
    """HAProxy calls the frontend or a figure otherwise: the balancer fills up and nobody is told."""
    wanted = [
        (metric, {label: value for label, _, value in matchers})
        for rule in RULES
        for metric, matchers in asked(rule["expr"]).selectors
        if metric.startswith("haproxy_")
    ]
    assert len(wanted) >= 2
    for metric, labels in wanted:
        assert [given for name, given in balanced if name == metric and labels.items() <= given.items()], metric


def test_everything_asked_for_exists(exported):
    """A metric was given another name, or a label: its panel is empty for ever, its alert asleep."""
    wrong = []
    recorded = {name: labels_of(rule["expr"], exported) for rule in RULES if (name := rule.get("record"))}
    for where, query in all_queries():
        found = asked(query)
        of_query = set()
        for metric, matchers in found.selectors:
            if metric in OF_PROMETHEUS:
                continue
            if metric not in exported and metric not in recorded:
                wrong.append(f"{where}: there is no {metric}")
                continue
            labels = exported.get(metric) or recorded.get(metric) or set()
            of_query |= labels
            wrong += [
                f"{where}: {metric} has no {label}" for label, _, _ in matchers if label not in labels | TARGET_LABELS
            ]
        wrong += [f"{where}: nothing has {label}" for label in found.labels if label not in of_query | TARGET_LABELS]
    assert wrong == []


def labels_of(query, exported):
    """Labels that what it asks for has."""
    return set().union(*(exported.get(metric, set()) for metric, _ in asked(query).selectors))


def test_everything_that_nodes_export_is_shown(live):
    """A figure that is counted and never looked at."""
    shown = {metric for _, query in queries_of(ROOT) for metric, _ in asked(filled(query, "1m")).selectors}
    base = lambda name: re.sub(r"_(bucket|sum|count)$", "", name)
    assert sorted({base(name) for name in live} - {base(name) for name in shown} - NOT_SHOWN) == []


def test_every_panel_and_rule_has_something_to_show(observed):
    """A query is right in form and asks for nothing that there is: labels do not meet, or no node says the value."""
    assert len(observed.gave) > 150
    assert observed.empty == []
