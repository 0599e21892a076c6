"""Writes the dashboards: `python3 grafana/generate`. With --check it only says whether they would change."""

import json
import sys
from pathlib import Path

from cluster import cluster
from drain import drain
from node import node

FOLDER = Path(__file__).resolve().parent.parent / "dashboards"
DASHBOARDS = {"cluster.json": cluster, "node.json": node, "drain.json": drain}


def main(check):
    changed = []
    for name, made in DASHBOARDS.items():
        text = json.dumps(made(), indent=2, ensure_ascii=False) + "\n"
        place = FOLDER / name
        if not place.exists() or place.read_text(encoding="utf-8") != text:
            changed.append(name)
            if not check:
                place.write_text(text, encoding="utf-8")
    for name in changed:
        print(f"{name} {'is not what grafana/generate writes' if check else 'written'}")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
