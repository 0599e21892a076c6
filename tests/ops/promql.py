"""What queries ask for: their series, by name and labels, as the parser of PromQL reads them."""

import json
from dataclasses import dataclass, field

import promql_parser
import yaml
from promql_parser import AggregateExpr, BinaryExpr, Call, MatrixSelector, VectorSelector

# What stands for the dashboards' variables when they are asked outside Grafana: all nodes of the job.
VARIABLES = {"cluster": ".*", "namespace": ".*", "job": "collabd", "instance": ".*"}


@dataclass
class Asked:
    """`selectors`: pairs of a metric and (label, operator, value)s. `labels`: what it groups or joins by."""

    selectors: list = field(default_factory=list)
    labels: set = field(default_factory=set)


def asked(query):
    """Raises ValueError where the query is none."""
    found = Asked()
    _look(promql_parser.parse(query), found)
    return found


def _look(node, found):
    match node:
        case VectorSelector():
            matchers = [(one.name, str(one.op).rpartition(".")[2], one.value) for one in node.matchers.matchers]
            found.selectors.append((node.name, matchers))
        case MatrixSelector():
            _look(node.vector_selector, found)
        case AggregateExpr():
            found.labels |= set(node.modifier.labels if node.modifier else [])
            _look(node.expr, found)
        case BinaryExpr():
            if node.modifier and node.modifier.matching:
                found.labels |= set(node.modifier.matching.labels)
            if node.modifier and node.modifier.group_labels:
                found.labels |= set(node.modifier.group_labels.labels)
            _look(node.lhs, found)
            _look(node.rhs, found)
        case Call():
            for argument in node.args:
                _look(argument, found)
        case _:
            # In brackets, negated, or a subquery; numbers and texts have nothing within.
            if hasattr(node, "expr"):
                _look(node.expr, found)


def in_panels(dashboard):
    """Every panel that shows something, also of folded rows."""
    for one in dashboard["panels"]:
        yield from one["panels"] if one["type"] == "row" else [one]


def queries_of(root):
    """(where, query) of every panel and annotation, as they are written."""
    for path in sorted((root / "grafana/dashboards").glob("*.json")):
        dashboard = json.loads(path.read_text())
        for one in in_panels(dashboard):
            for target in one["targets"]:
                yield f"{path.name}: {one['title']} {target['refId']}", target["expr"]
        for one in dashboard["annotations"]["list"]:
            yield f"{path.name}: annotation {one['name']}", one["expr"]


def rules_of(root):
    """Every rule, as it is written."""
    for path in sorted((root / "grafana/rules").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def filled(query, interval):
    """A panel's query with something in place of its variables. `interval`: the range of rates."""
    for name, value in VARIABLES.items():
        query = query.replace(f"${name}", value)
    return query.replace("$__rate_interval", interval)
