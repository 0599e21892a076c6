"""The node's own documents, and what fits them."""

import json
import re
from pathlib import Path
from uuid import uuid4

import jsonschema_rs

SPECS = Path(__file__).parent.parent / "js/node_modules/@asyncapi/specs/schemas"
METHODS = ("get", "post", "put", "patch", "delete")
# What stands for parameters of paths.
PLAUSIBLE = {"session_id": f"r-{uuid4()}", "user_id": "ann"}


def operations(document):
    """Method, a path with plausible ids, and the operation, of all routes."""
    for path, item in document["paths"].items():
        filled = re.sub(r"\{(\w+)\}", lambda name: PLAUSIBLE.get(name[1], str(uuid4())), path)
        for method in METHODS:
            if operation := item.get(method):
                yield method.upper(), filled, operation


def asyncapi_errors(document):
    """What is wrong with a document, by the specification's own schema."""
    schema = json.loads((SPECS / f"{document['asyncapi']}.json").read_text())
    return [f"{error.instance_path}: {error}" for error in jsonschema_rs.Draft7Validator(schema).iter_errors(document)]


class Doors:
    """The messages of a document. They are taken to the letter: a field that is not written there is wrong."""

    def __init__(self, document):
        self.document = document
        self.schemas = {"components": {"schemas": _closed(document["components"]["schemas"])}}
        self.checked = {}

    def messages(self, channel, action):
        """By the names under which the channel has them."""
        operation = self.document["operations"][f"{channel}_{action}"]
        assert operation["action"] == action
        names = [reference["$ref"].rsplit("/", 1)[1] for reference in operation["messages"]]
        return {name: self.message(channel, name) for name in names}

    def message(self, channel, name):
        reference = self.document["channels"][channel]["messages"][name]["$ref"]
        return self.document["components"]["messages"][reference.rsplit("/", 1)[1]]

    def errors(self, message, payload):
        validator = self.checked.get(id(message))
        if validator is None:
            schema = {**self.schemas, "allOf": [_closed(message["payload"])]}
            validator = jsonschema_rs.Draft7Validator(schema, validate_formats=True)
            self.checked[id(message)] = validator
        return [f"{error.instance_path}: {error}" for error in validator.iter_errors(payload)]

    def fitting(self, channel, action, name, payload):
        """The one message of this wire name that fits; none is a failure that says why."""
        found = {key: m for key, m in self.messages(channel, action).items() if m["name"] == name}
        assert found, f"{channel} has no {name}: {payload}"
        wrong = {key: self.errors(message, payload) for key, message in found.items()}
        fits = [key for key, errors in wrong.items() if not errors]
        assert len(fits) == 1, (payload, wrong)
        return fits[0]


def _closed(schema):
    """Fields that are not named are not allowed."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(part) for name, part in schema.items()}
    if closed.get("type") == "object" and "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed
