"""Rendered manifests as a cluster would read them: which object is which, who selects whom, what a node is told."""

import base64
import math
import re

# What the kubelet writes into a pod by the downward API.
POD = {"status.podIP": "10.42.0.7"}
# How one variable is used in another's value.
USED = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


class Manifests:
    """All objects of one rendered kustomization."""

    def __init__(self, name, text, documents):
        self.name = name
        self.text = text
        self.all = documents

    def kind(self, *kinds):
        return [each for each in self.all if each["kind"] in kinds]

    def one(self, kind, name="collabd"):
        found = [each for each in self.kind(kind) if each["metadata"]["name"] == name]
        assert len(found) == 1, f"{self.name}: {len(found)} of {kind}/{name}"
        return found[0]

    def has(self, kind, name):
        return any(each["metadata"]["name"] == name for each in self.kind(kind))

    @property
    def workloads(self):
        return self.kind("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")

    @property
    def pod(self):
        """The spec of a node's pod."""
        return self.one("Deployment")["spec"]["template"]["spec"]

    @property
    def container(self):
        (container,) = self.pod["containers"]
        return container

    def secret(self, name, key):
        """A value out of a Secret that is rendered, or None."""
        if not self.has("Secret", name):
            return None
        return base64.b64decode(self.one("Secret", name)["data"][key]).decode()

    def environment(self, samples):
        """What a node's process is given. Secrets that operators make are taken from `samples`, by variable."""
        given = {}
        for source in self.container.get("envFrom", []):
            given |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
        for variable in self.container.get("env", []):
            # Of those before it alone: what comes later is not known to the kubelet yet, and stays as it is written.
            value = self._value(variable, samples)
            given[variable["name"]] = USED.sub(lambda used: given.get(used[1], used[0]), value)
        return given

    def parts(self):
        """Names of the variables that are there to be used in others' values."""
        values = [variable.get("value", "") for variable in self.container.get("env", [])]
        return {name for value in values for name in USED.findall(value)}

    def _value(self, variable, samples):
        if "value" in variable:
            return variable["value"]
        source = variable["valueFrom"]
        if "secretKeyRef" in source:
            reference = source["secretKeyRef"]
            return self.secret(reference["name"], reference["key"]) or samples[variable["name"]]
        if "fieldRef" in source:
            return POD[source["fieldRef"]["fieldPath"]]
        reference = source["resourceFieldRef"]
        group, _, resource = reference["resource"].partition(".")
        value = self.container.get("resources", {}).get(group, {}).get(resource, "0")
        # The kubelet rounds up to whole divisors.
        return str(math.ceil(quantity(value) / quantity(reference["divisor"])))

    def selected(self, labels):
        """Workloads whose pods have these labels."""
        return [each for each in self.workloads if labels.items() <= pod_labels(each).items()]

    def policies(self, direction):
        """(policy, rule) of each rule for this direction that concerns nodes; direction is ingress or egress."""
        labels = pod_labels(self.one("Deployment"))
        return [
            (policy, rule)
            for policy in self.kind("NetworkPolicy")
            if policy["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items()
            for rule in policy["spec"].get(direction, [])
        ]


def pod_labels(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def ports(workload):
    """The named ports of a workload's pods."""
    containers = workload["spec"]["template"]["spec"]["containers"]
    return {port["name"]: port["containerPort"] for each in containers for port in each.get("ports", [])}


UNITS = {"": 1, "m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def quantity(text):
    """A quantity of Kubernetes as a number."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()
    return float(number) * UNITS[unit]


def references(manifests):
    """(kind, name, key or None) of everything that pods and gateways refer to by name."""
    found = set()
    for workload in manifests.workloads:
        pod = workload["spec"]["template"]["spec"]
        if "serviceAccountName" in pod:
            found.add(("ServiceAccount", pod["serviceAccountName"], None))
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                found.add(("ConfigMap", volume["configMap"]["name"], None))
            if "secret" in volume:
                found.add(("Secret", volume["secret"]["secretName"], None))
        for container in pod["containers"]:
            for source in container.get("envFrom", []):
                for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                    if field in source:
                        found.add((kind, source[field]["name"], None))
            for variable in container.get("env", []):
                for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
                    if reference := variable.get("valueFrom", {}).get(field):
                        found.add((kind, reference["name"], reference["key"]))
    for ingress in manifests.kind("Ingress"):
        found |= {("Secret", each["secretName"], None) for each in ingress["spec"]["tls"]}
    for route in manifests.kind("IngressRoute"):
        found.add(("Secret", route["spec"]["tls"]["secretName"], None))
    for gateway in manifests.kind("Gateway"):
        for listener in gateway["spec"]["listeners"]:
            found |= {("Secret", each["name"], None) for each in listener.get("tls", {}).get("certificateRefs", [])}
    return found
