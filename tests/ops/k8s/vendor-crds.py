#!/usr/bin/env python3
"""Makes the JSON schemas of `crds/` out of the custom resource definitions that their makers publish as Go modules.

What the API server would refuse, these refuse: wrong types, missing fields, fields that nobody knows (which the server
would drop without a word). Descriptions are left out, and so are rules in CEL, which JSON Schema cannot say.

    python tests/ops/k8s/vendor-crds.py        # needs Go, PyYAML, and controller-gen on PATH:
                                               # go install sigs.k8s.io/controller-tools/cmd/controller-gen@v0.19.0
"""

import json
import subprocess
import tempfile
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent / "crds"

GATEWAY = "sigs.k8s.io/gateway-api@v1.6.3"
KEDA = "github.com/kedacore/keda/v2@v2.20.2"
TRAEFIK = "github.com/traefik/traefik/v3@v3.7.13"
# Has the Go types alone; the definitions are made of them, as the project itself makes them.
PROMETHEUS = "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring@v0.95.2"

# Module, its licence, its file, version of the resource.
SOURCES = [
    (GATEWAY, "Apache-2.0", "config/crd/standard/gateway.networking.k8s.io_gateways.yaml", "v1"),
    (GATEWAY, "Apache-2.0", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml", "v1"),
    (KEDA, "Apache-2.0", "config/crd/bases/keda.sh_scaledobjects.yaml", "v1alpha1"),
    (
        TRAEFIK,
        "MIT",
        "docs/content/reference/dynamic-configuration/traefik.io_ingressroutes.yaml",
        "v1alpha1",
    ),
    (PROMETHEUS, "Apache-2.0", "monitoring.coreos.com_servicemonitors.yaml", "v1"),
    (PROMETHEUS, "Apache-2.0", "monitoring.coreos.com_prometheusrules.yaml", "v1"),
]

# What every object has, and definitions leave to the server.
METADATA = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "namespace": {"type": "string"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


def main():
    for old in HERE.glob("*.json"):
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        generated = Path(folder)
        module = download(PROMETHEUS)
        options = "crd:crdVersions=v1,maxDescLen=0,ignoreUnexportedFields=true"
        arguments = ["controller-gen", options, "paths=./v1", f"output:dir={generated}"]
        subprocess.run(arguments, cwd=module, check=True)
        for source, licence, file, version in SOURCES:
            path = generated / file if source == PROMETHEUS else download(source) / file
            write(source, licence, yaml.safe_load(path.read_text()), version)


def download(module):
    """The folder of a Go module, fetched if it is not there."""
    answer = subprocess.run(["go", "mod", "download", "-json", module], check=True, capture_output=True, text=True)
    return Path(json.loads(answer.stdout)["Dir"])


def write(source, licence, definition, version):
    spec = definition["spec"]
    schema = next(each["schema"]["openAPIV3Schema"] for each in spec["versions"] if each["name"] == version)
    schema = strict(schema)
    schema["$comment"] = f"Made of {source}, {licence}, by vendor-crds.py"
    schema["properties"]["apiVersion"] = {"const": f"{spec['group']}/{version}"}
    schema["properties"]["kind"] = {"const": spec["names"]["kind"]}
    schema["properties"]["metadata"] = METADATA
    schema["required"] = sorted({"apiVersion", "kind", "metadata", *schema.get("required", [])})
    path = HERE / f"{spec['group']}_{version}_{spec['names']['kind']}.json"
    path.write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")


def strict(schema):
    """As the server takes a structural schema: a field that is not listed is unknown, unless any may be there."""
    known = {
        key: value
        for key, value in schema.items()
        if key not in ("description", "default", "format", "example") and not key.startswith("x-kubernetes-")
    }
    if "properties" in known:
        known["properties"] = {name: strict(inner) for name, inner in known["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            known.setdefault("additionalProperties", False)
    if isinstance(known.get("items"), dict):
        known["items"] = strict(known["items"])
    if isinstance(known.get("additionalProperties"), dict):
        known["additionalProperties"] = strict(known["additionalProperties"])
    if schema.get("nullable") and isinstance(known.get("type"), str):
        known["type"] = [known["type"], "null"]
    known.pop("nullable", None)
    return known


if __name__ == "__main__":
    main()
