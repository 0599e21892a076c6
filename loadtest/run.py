#!/usr/bin/env python3
"""Load tests: starts a cluster, has k6 run each scenario against it, breaks what the scenario wants broken, in step
with it, and prints one table of what came of all thresholds. Exit code 1 when any was missed.

    loadtest/run.py [SCENARIO...] [--scale smoke|full] [--env NAME=VALUE]... [--set NAME=VALUE]...

`--env` gives a setting to the nodes, `--set` another size to the scripts (SOCKETS, ROOMS, RATE, DURATION, …). K6 in
the environment names a k6; without it the runner in loadtest/k6/runner runs the same scripts.
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "k6"))
from driver import report  # noqa: E402
from driver.cluster import ROOT, Cluster, has_ended  # noqa: E402
from driver.scenarios import BY_SCALE, LIFTED, SCENARIOS  # noqa: E402

SCRIPTS = ROOT / "loadtest/k6"
RESULTS = ROOT / "target/loadtest"
# Beyond what a scenario says it takes at most: to come, to settle, to judge.
SPARE = 180


def main():
    # What was started is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    asked = arguments()
    runner = k6()
    RESULTS.mkdir(parents=True, exist_ok=True)
    settings = LIFTED | BY_SCALE[asked.scale]
    settings = [f"{name}={value}" for name, value in settings.items()] + asked.env
    lines = []
    with tempfile.TemporaryDirectory(prefix="collabd-loadtest-") as folder:
        # PostgreSQL's user has to get through.
        os.chmod(folder, 0o711)
        with Cluster(os.environ.get("CLUSTER_DIR", f"{folder}/cluster"), settings) as cluster:
            for name in asked.scenarios:
                sizes = getattr(SCENARIOS[name], asked.scale) | dict(pair.split("=", 1) for pair in asked.set)
                sizes = {key: int(value) if str(value).isdigit() else value for key, value in sizes.items()}
                lines.append(run(name, sizes, runner, cluster))
    print("\n" + report.table(lines))
    for line in lines:
        for what in line["missed"]:
            print(f"{line['scenario']}: missed {what}")
    summary = {"host": report.host(), "scale": asked.scale, "runner": runner, "settings": settings, "runs": lines}
    (RESULTS / "summary.json").write_text(json.dumps(summary, indent=2))
    return 1 if any(line["missed"] for line in lines) else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    known = ", ".join(SCENARIOS)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {known}; unless given, all")
    parser.add_argument("--scale", choices=BY_SCALE, default="smoke")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    asked = parser.parse_args()
    asked.scenarios = asked.scenarios or list(SCENARIOS)
    for name in asked.scenarios:
        if name not in SCENARIOS:
            parser.error(f"there is no scenario '{name}'; right is {known}")
    for pair in asked.env + asked.set:
        if "=" not in pair:
            parser.error(f"'{pair}': right is NAME=VALUE")
    return asked


def k6():
    """The command that runs a script: k6 if one is named, else the runner, with what it needs installed."""
    if named := os.environ.get("K6"):
        return shlex.split(named)
    if not (SCRIPTS / "node_modules/ws").is_dir():
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=SCRIPTS, check=True)
    return ["node", str(SCRIPTS / "runner/main.js")]


def run(name, sizes, runner, cluster):
    """One scenario with its fault; returns a line of the table."""
    scenario = SCENARIOS[name]
    say = lambda words: print(f"{name}: {words}", flush=True)
    say(", ".join(f"{key} {value}" for key, value in sizes.items()))
    exported = RESULTS / f"{name}.json"
    exported.unlink(missing_ok=True)
    with control() as (address, end):
        given = {key: str(value) for key, value in sizes.items()}
        given |= {"URL": cluster.env["URL"], "JWT_SECRET": cluster.env["JWT_SECRET"]}
        if scenario.at_nodes:
            given["NODES"] = ",".join(cluster.nodes())
        if scenario.fault.__name__ != "none":
            given["CONTROL"] = address
        words = [word for key, value in given.items() for word in ("-e", f"{key}={value}")]
        script = SCRIPTS / f"scenarios/{name}.ts"
        began, busy_before = time.monotonic(), busy()
        process = subprocess.Popen([*runner, "run", *words, "--summary-export", str(exported), str(script)])
        cluster.load = process
        try:
            # What goes wrong does so to this k6 alone: if it is over before, that is not what was asked for.
            wrong = []
            scenario.fault(cluster, sizes, say)
            if "CONTROL" in given and has_ended(process):
                wrong = ["k6 was over before what was to go wrong had"]
        except RuntimeError as error:
            wrong = [str(error)]
            say(wrong[0])
        except BaseException:
            process.terminate()
            raise
        end()
        code, cores = finished(process, began, sizes)
    seconds = time.monotonic() - began
    cores = {"k6": cores, "all": (busy() - busy_before) / seconds}
    return report.line(name, seconds, cores, code, report.read(exported), wrong)


@contextmanager
def control():
    """An address at which scripts ask whether to go on; and what to call when they shall not."""
    over = threading.Event()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            body = b"end" if over.is_set() else b"go"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", over.set
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def finished(process, began, sizes):
    """Its exit code, and how many cores it used on average."""
    timer = threading.Timer(sizes["DURATION"] + sizes.get("RAMP", 0) + SPARE, process.kill)
    timer.start()
    try:
        _, status, used = os.wait4(process.pid, 0)
    finally:
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, (used.ru_utime + used.ru_stime) / (time.monotonic() - began)


def busy():
    """Seconds of all cores that were used by anybody since the machine began."""
    user, nice, system, _, _, irq, softirq, *_ = (int(word) for word in Path("/proc/stat").read_text().split()[1:11])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
