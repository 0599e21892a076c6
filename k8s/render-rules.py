#!/usr/bin/env python3
"""Wraps the rule files of grafana/rules, which kustomize cannot, as the PrometheusRule of components/monitoring.

    python k8s/render-rules.py        # writes k8s/components/monitoring/prometheusrule.yaml; needs PyYAML
"""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "grafana/rules"
TARGET = ROOT / "k8s/components/monitoring/prometheusrule.yaml"

HEAD = "# Made of grafana/rules by k8s/render-rules.py: change the rules there, and run it again.\n"


class Dumper(yaml.SafeDumper):
    """Texts of several lines stay readable, and aliases are written out."""

    def ignore_aliases(self, data):
        return True


def text(dumper, value):
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


Dumper.add_representer(str, text)


def render():
    """The PrometheusRule of what lies in grafana/rules now, as text."""
    groups = []
    for path in sorted(RULES.glob("*.yaml")):
        groups += yaml.safe_load(path.read_text())["groups"]
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "collabd", "labels": {"app.kubernetes.io/name": "collabd"}},
        "spec": {"groups": groups},
    }
    return HEAD + yaml.dump(resource, Dumper=Dumper, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    TARGET.write_text(render())
