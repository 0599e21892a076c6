"""What k6 wrote down of a run, as a line of a table."""

import json
import os
import platform

COLUMNS = [
    ("scenario", "scenario"),
    ("s", "seconds"),
    ("handshakes", "sockets"),
    ("commands", "commands"),
    ("heard live", "heard"),
    ("fan-out p50, p99", "fanout"),
    ("lost", "lost"),
    ("gaps", "gaps"),
    ("1006", "torn"),
    ("back p50, max", "back"),
    ("cores: k6, all", "cores"),
    ("late p99", "late"),
    ("verdict", "verdict"),
]


def line(name, seconds, cores, code, exported, wrong):
    """One run's figures, and what it missed; `cores` are those that k6 used, and everybody."""
    metrics = exported.get("metrics", {})

    def value(metric, word, digits=0):
        found = metrics.get(metric, {}).get(word)
        return "–" if found is None else f"{found:.{digits}f}"

    def spread(metric, low, high):
        has = metrics.get(metric, {}).get("max")
        return f"{value(metric, low)}, {value(metric, high)} ms" if has else "–"

    missed = [
        f"{metric} {threshold}"
        for metric, values in metrics.items()
        for threshold, is_missed in values.get("thresholds", {}).items()
        if is_missed
    ]
    missed += wrong
    # Without figures there is still k6's word.
    if code and not missed:
        missed = [f"k6 ended with {code}"]
    return {
        "scenario": name,
        "seconds": f"{seconds:.0f}",
        "sockets": value("ws_sessions", "count"),
        "commands": value("commands", "count"),
        "heard": value("fanout_ms", "count"),
        "fanout": spread("fanout_ms", "med", "p(99)"),
        "lost": value("lost", "count"),
        "gaps": value("gaps", "count"),
        "torn": value("close_1006", "passes"),
        "back": spread("back_ms", "med", "max"),
        "cores": f"{cores['k6']:.2f}, {cores['all']:.2f}",
        "late": f"{value('late_ms', 'p(99)')} ms",
        "verdict": "missed" if missed else "ok",
        "missed": missed,
    }


def table(lines):
    rows = [[title for title, _ in COLUMNS]] + [[line[key] for _, key in COLUMNS] for line in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    printed = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    printed.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(printed)


def host():
    """The machine, as far as figures depend on it."""
    with open("/proc/cpuinfo") as file:
        models = {line.split(":", 1)[1].strip() for line in file if line.startswith("model name")}
    return {"cores": os.cpu_count(), "processor": sorted(models), "kernel": platform.release()}


def read(path):
    """k6's summary; of a run that ended before it wrote one, nothing."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
