"""The manifests of k8s/: that they build, that an API server would take them, and that they mean what they should.

Nothing here reads the sources where it can read what is rendered of them. Needs kustomize, kubernetes-validate,
checkov, haproxy, and a collabd binary, which knows its settings and their defaults.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml
from k8s.manifests import POD, Manifests, pod_labels, ports, quantity, references
from support.processes import BINARY

HERE = Path(__file__).resolve().parent

# The oldest version that README promises, and the newest whose schemas are known.
VERSIONS = ["1.31", "1.37"]

OVERLAYS = ["dev", "prod", "gateway-api", "haproxy", "traefik", "keda", "monitoring"]
COMPONENTS = [
    "pdb",
    "hpa",
    "keda",
    "network-policy",
    "monitoring",
    "gateway-api",
    "haproxy",
    "traefik",
    "rabbitmq",
    "sentinel",
    "jwks",
    "neighbours",
    "redis-ca",
]
# Components that prod has already, so that a tiny kustomization puts them on the base.
OF_PROD = ["pdb", "hpa", "network-policy"]
GATEWAYS = {"gateway-api": "envoy-gateway-system", "haproxy": "haproxy-controller", "traefik": "traefik"}

# prod, and what stands on it. The last has everything at once but the gateways that would exclude each other.
WHOLE = ["prod", "gateway-api", "haproxy", "traefik", "keda", "monitoring", "component:everything"]
EVERYTHING = ["gateway-api", "keda", "monitoring", "rabbitmq", "sentinel", "jwks", "neighbours", "redis-ca"]
ALL = ["dev", *WHOLE, *(f"component:{each}" for each in COMPONENTS)]

# What operators put into the Secrets that README has them make. The forms with the most ports to be let out to.
SAMPLES = {
    "REDIS_URL": "rediss://collabd:password@redis.example.com:6379",
    "DATABASE_URL": "postgres://collabd:password@postgres.example.com:5432/collabd?sslmode=require",
    "JWT_SECRET": "0123456789abcdef0123456789abcdef",
    "RABBITMQ_URL": "amqps://collabd:password@rabbitmq.example.com:5671/collabd",
    "IDE_BRIDGE_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
}

# Rules of checkov that do not hold here, and why.
SKIPS = {
    "CKV_K8S_11": "no CPU limit: throttled for a tenth of a second, a node is late for everybody at once",
    "CKV_K8S_15": "images are named by version and not changed afterwards; a host may have them from elsewhere",
    "CKV_K8S_35": "settings come from the environment alone, and so do those that are secret",
    "CKV_K8S_43": "the digest is known when an image is pushed to a registry, which is the operator's",
}
DEV_SKIPS = SKIPS | {
    "CKV_K8S_40": "initdb wants a user that has a name in the image, and that one is 999",
    "CKV_SECRET_6": "the secrets of dev are known to everybody, and say so",
}

# Ports of what nodes reach, where a URL names none.
DEFAULT_PORTS = {
    "redis": 6379,
    "redis-cluster": 6379,
    "redis-sentinel": 26379,
    "postgres": 5432,
    "amqp": 5672,
    "amqps": 5671,
    "http": 80,
    "https": 443,
}


@pytest.fixture(scope="module")
def build(root, run, tmp_path_factory):
    """Renders an overlay, or `component:NAME` by a tiny kustomization, once."""
    rendered = {}

    def of(name):
        if name not in rendered:
            folder = root / "k8s/overlays" / name
            if name.startswith("component:"):
                folder = tmp_path_factory.mktemp("kustomization")
                tiny(root, folder, name.removeprefix("component:"))
            rendered[name] = render(name, folder, run)
        return rendered[name]

    return of


def tiny(root, folder, component):
    """A kustomization that has one component, or all that go together, on what they need."""
    k8s = Path(os.path.relpath(root / "k8s", folder))
    components = EVERYTHING if component == "everything" else [component]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "collabd",
        "resources": [str(k8s / ("base" if component in OF_PROD else "overlays/prod"))],
        "components": [str(k8s / "components" / each) for each in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))


def render(name, folder, run):
    built = run("kustomize", "build", folder)
    assert built.stderr == "", f"{name}: {built.stderr}"
    return Manifests(name, built.stdout, [each for each in yaml.safe_load_all(built.stdout) if each])


@pytest.fixture(params=ALL)
def manifests(request, build):
    return build(request.param)


@pytest.fixture(params=WHOLE)
def whole(request, build):
    return build(request.param)


@pytest.fixture(params=["dev", *WHOLE])
def usable(request, build):
    return build(request.param)


def checked(environment, folder):
    """What `collabd check-config` prints for these settings, by name."""
    answer = subprocess.run(
        [BINARY, "check-config"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return dict(re.findall(r"^([A-Z_]+)=(.*?)(?:  # .*)?$", answer.stdout, re.MULTILINE))


def in_force(manifests, folder):
    """All settings of a node, defaults included."""
    environment = manifests.environment(SAMPLES)
    if "REDIS_CA" in environment:
        # The file is in the pod alone.
        environment = {name: value for name, value in environment.items() if name != "REDIS_CA"}
    return checked(environment, folder)


# That they build, and that a server would take them.


def test_every_overlay_and_component_is_tested(root):
    """An overlay or a component is added and none of these tests ever sees it."""
    folders = {kind: {each.name for each in (root / "k8s" / kind).iterdir()} for kind in ("overlays", "components")}
    assert folders == {"overlays": set(OVERLAYS), "components": set(COMPONENTS)}


def test_builds(manifests):
    """Kustomize refuses an overlay or a component, warns of what it will drop, or makes nothing of it."""
    assert manifests.has("Deployment", "collabd")


@pytest.mark.parametrize("version", VERSIONS)
def test_core_kinds_are_valid(manifests, version, run, tmp_path):
    """The API server refuses or drops a field of a kind of its own, in the oldest or the newest version."""
    core = [each for each in manifests.all if not schema_path(each).exists()]
    file = tmp_path / "core.yaml"
    file.write_text(yaml.safe_dump_all(core))
    answer = run("kubernetes-validate", "--strict", "-k", version, file)
    lines = (answer.stdout + answer.stderr).splitlines()
    # A kind that it does not know is a warning to it.
    assert [line for line in lines if not line.startswith("INFO ")] == []
    assert len(lines) == len(core)


def schema_path(document):
    group, _, version = document["apiVersion"].rpartition("/")
    return HERE / "k8s/crds" / f"{group}_{version}_{document['kind']}.json"


def test_custom_kinds_are_valid(manifests):
    """The API server refuses or drops a field of a kind that an operator or a gateway brought."""
    for document in manifests.all:
        path = schema_path(document)
        if path.exists():
            jsonschema.Draft202012Validator(json.loads(path.read_text())).validate(document)


def test_each_custom_schema_is_used(build):
    """A kind is renamed or dropped, its schema stays, and nothing is validated by it any more."""
    used = {schema_path(each) for name in ("traefik", "component:everything") for each in build(name).all}
    assert set((HERE / "k8s/crds").glob("*.json")) <= used


def test_checkov(usable, run, tmp_path):
    """A pod is given more than it needs: root, a writable root, capabilities, a token, a privileged port."""
    file = tmp_path / "rendered.yaml"
    file.write_text(usable.text)
    skips = DEV_SKIPS if usable.name == "dev" else SKIPS
    answer = run(
        "checkov", "--quiet", "--compact", "--skip-download", "--output", "json",
        "--framework", "kubernetes", "secrets", "--skip-check", ",".join(skips), "--file", file,
    )  # fmt: skip
    report = json.loads(answer.stdout)
    summaries = [each["summary"] for each in (report if isinstance(report, list) else [report])]
    assert sum(each["passed"] for each in summaries) > 50
    assert [each["parsing_errors"] for each in summaries if each["parsing_errors"]] == []


# What nodes are given.


def test_stopping_fits_into_the_grace(manifests, tmp_path):
    """The kubelet kills a node that still has sockets to close: they would all come back at once, and untold."""
    settings = in_force(manifests, tmp_path)
    parts = ["DRAIN_DELAY", "DRAIN_WINDOW", "CLOSE_TIMEOUT", "STOP_TIMEOUT"]
    pause = manifests.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pause == 5
    assert manifests.pod["terminationGracePeriodSeconds"] == 150
    assert pause + sum(float(settings[part]) for part in parts) < manifests.pod["terminationGracePeriodSeconds"]


def test_settings_exist(manifests, settings):
    """A setting is misspelt, or was renamed, and a node never hears of it."""
    unknown = set(manifests.environment(SAMPLES)) - settings
    # What is no setting is there to be a part of one.
    assert unknown == manifests.parts()
    # Nor does anything of the namespace act as one.
    assert manifests.pod["enableServiceLinks"] is False


def test_settings_are_right(usable, tmp_path):
    """A node ends with 78 at once, because a value is none that it takes."""
    settings = in_force(usable, tmp_path)
    assert settings["AUTH"] == ("open" if usable.name == "dev" else "token")
    # Reachable by others than itself, at the ports that probes, Services and policies name.
    named = ports(usable.one("Deployment"))
    assert (settings["HOST"], settings["PORT"], settings["METRICS_PORT"]) == (
        "0.0.0.0",
        str(named["http"]),
        str(named["metrics"]),
    )
    assert settings["TRUSTED_PROXIES"] or usable.name == "dev"


def test_nodes_say_where_they_are_reached(usable, tmp_path):
    """A node looks for its own address before names are found, has none for life, and no request is passed on to it."""
    port = ports(usable.one("Deployment"))["http"]
    assert in_force(usable, tmp_path)["ADVERTISE_ADDRESS"] == f"{POD['status.podIP']}:{port}"
    # And there they are let in to: test_nodes_reach_each_other_and_names.


def test_readme_says_what_ipv6_wants(root, build, run, tmp_path, monkeypatch):
    """Nodes of a cluster with IPv6 end with 78, and what README has operators write does not help."""
    monkeypatch.setitem(POD, "status.podIP", "fd00:10:244::7")
    with pytest.raises(AssertionError, match="ADVERTISE_ADDRESS"):
        in_force(build("prod"), tmp_path)
    (patch,) = [text for text in blocks(root, "yaml") if "ADVERTISE_ADDRESS" in text]
    k8s = Path(os.path.relpath(root / "k8s", tmp_path))
    # With what adds variables of its own, which kustomize puts before the others.
    parts = f"resources: [{k8s}/overlays/prod]\ncomponents: [{k8s}/components/neighbours]\n"
    (tmp_path / "kustomization.yaml").write_text(parts + patch)
    settings = in_force(render("ipv6", tmp_path, run), tmp_path)
    assert settings["ADVERTISE_ADDRESS"] == "[fd00:10:244::7]:8004"


def test_prod_trusts_nobody_yet(root, whole):
    """Prod believes X-Forwarded-For of whole networks that nobody chose: any pod in them may forge an address."""
    trusted = whole.environment(SAMPLES)["TRUSTED_PROXIES"]
    documentation = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"]
    assert trusted in documentation
    assert f"{trusted} is a documentation network, to be replaced" in (root / "k8s/README.md").read_text()


def test_rollout(manifests):
    """A rollout takes nodes away before others are there, or gives up while it is still getting on."""
    spec = manifests.one("Deployment")["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert spec["minReadySeconds"] == 30
    assert spec["progressDeadlineSeconds"] == 1800


def test_probes(manifests):
    """Nodes are restarted because Redis is away, or are waited for longer or shorter than they need to start."""
    container = manifests.container
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert asked == {
        "startup": {"path": "/readyz", "port": "http"},
        "liveness": {"path": "/livez", "port": "http"},
        "readiness": {"path": "/readyz", "port": "http"},
    }
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 60
    assert "initialDelaySeconds" not in startup


def test_pods_are_restricted(manifests):
    """A pod does not meet the restricted standard, and its namespace refuses it; or a node has rights it never uses."""
    pod = manifests.pod
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
        "sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "10240 65535"}],
    }
    assert manifests.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert manifests.one("ServiceAccount")["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)


def test_other_pods_are_restricted(build):
    """Redis or PostgreSQL of dev is refused by its namespace."""
    for workload in build("dev").workloads:
        pod = workload["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_namespace_enforces_the_standard(usable):
    """The namespace takes pods that are not restricted, or objects land in another one."""
    (namespace,) = usable.kind("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert namespace["metadata"]["name"] == ("collabd-dev" if usable.name == "dev" else "collabd")
    others = {each["metadata"].get("namespace") for each in usable.all if each is not namespace}
    assert others == {namespace["metadata"]["name"]}


def test_own_ports_are_not_given_away(manifests):
    """A connection that a node makes while it starts is given the port that it is about to listen at."""
    (sysctl,) = manifests.pod["securityContext"]["sysctls"]
    lowest = int(sysctl["value"].split()[0])
    assert max(ports(manifests.one("Deployment")).values()) < lowest


def test_spread(manifests):
    """One host or zone takes most nodes with it, or a rollout waits for hosts because old nodes count, too."""
    zone, host = manifests.pod["topologySpreadConstraints"]
    assert [zone["topologyKey"], host["topologyKey"]] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    # On a laptop there is one host.
    strict = "ScheduleAnyway" if manifests.name == "dev" else "DoNotSchedule"
    assert [zone["whenUnsatisfiable"], host["whenUnsatisfiable"]] == ["ScheduleAnyway", strict]
    for constraint in (zone, host):
        assert constraint["maxSkew"] == 1
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]
        assert constraint["labelSelector"]["matchLabels"].items() <= pod_labels(manifests.one("Deployment")).items()


# KiB of a socket as measured: resident in the node, and in the kernel's buffers.
RESIDENT, KERNEL = 3.4, 4
# MiB: a process that has Redis and nobody yet, a password that is being hashed, and what is set aside for these.
RESTING, PASSWORD, PROCESS = 73, 19, 128


def test_memory_is_enough_for_the_sockets(usable, tmp_path):
    """A node is killed for want of memory before it refuses sockets, or MAX_CONNECTIONS was raised alone."""
    settings = in_force(usable, tmp_path)
    needed = int(settings["MAX_CONNECTIONS"]) * (RESIDENT + KERNEL) / 1024 * 1.5 + PROCESS
    resources = usable.container["resources"]
    given = quantity(resources["limits"]["memory"]) / 2**20
    assert needed <= given <= needed + 16
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert RESTING + int(settings["PASSWORD_HASHES"]) * PASSWORD < PROCESS


def test_cpu_is_asked_for_and_not_limited(usable):
    """A node is throttled, or works with as many threads as its host has cores and nobody has promised it."""
    resources = usable.container["resources"]
    assert "cpu" in resources["requests"]
    assert set(resources["limits"]) == {"memory"}
    environment = usable.environment(SAMPLES)
    threads = {"dev": "1"}.get(usable.name, "2")
    assert (environment["WORKER_THREADS"], environment["RELAY_WORKERS"]) == (threads, threads)


def test_images_are_named_by_version(manifests, root):
    """Nobody can say which version runs, or the manifests of one version run another."""
    version = re.search(r'^version = "(.+)"', (root / "Cargo.toml").read_text(), re.MULTILINE)[1]
    for workload in manifests.workloads:
        for container in workload["spec"]["template"]["spec"]["containers"]:
            assert re.search(r":v?\d+\.\d+(\.\d+)?$", container["image"])
    assert manifests.container["image"].rpartition(":")[2] == version


def test_dev_has_the_servers_of_compose(build, root):
    """What is tried in a cluster is another Redis or PostgreSQL than what is tried without one."""
    services = yaml.safe_load((root / "deploy/compose.yaml").read_text())["services"].values()
    images = {service["image"] for service in services}
    for workload in build("dev").workloads:
        assert {each["image"] for each in workload["spec"]["template"]["spec"]["containers"]} <= images


# How many there are.


def behaviors(manifests):
    """The autoscaler's spec: its least and most, its threshold, its behavior."""
    if manifests.kind("ScaledObject"):
        spec = manifests.one("ScaledObject")["spec"]
        (trigger,) = spec["triggers"]
        assert trigger["metricType"] == "AverageValue"
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        return spec["minReplicaCount"], spec["maxReplicaCount"], int(trigger["metadata"]["threshold"]), behavior
    spec = manifests.one("HorizontalPodAutoscaler")["spec"]
    (metric,) = spec["metrics"]
    assert metric["type"] == "External"
    assert metric["external"]["metric"] == {"name": "collab_connections"}
    assert metric["external"]["target"]["type"] == "AverageValue"
    threshold = int(metric["external"]["target"]["averageValue"])
    return spec["minReplicas"], spec["maxReplicas"], threshold, spec["behavior"]


def test_scaling(whole, tmp_path):
    """Nodes come too late for a crowd, or go so quickly that clients are sent around."""
    least, most, threshold, behavior = behaviors(whole)
    assert (least, most) == (3, 30)
    assert threshold == 0.65 * int(in_force(whole, tmp_path)["MAX_CONNECTIONS"])
    # What one of the least number carries, the others can take.
    assert threshold * least / (least - 1) <= int(in_force(whole, tmp_path)["MAX_CONNECTIONS"])
    assert behavior["scaleUp"] == {
        "stabilizationWindowSeconds": 0,
        "policies": [{"type": "Percent", "value": 50, "periodSeconds": 15}],
    }
    assert behavior["scaleDown"] == {
        "stabilizationWindowSeconds": 1800,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 300}],
    }


def test_one_autoscaler_owns_the_number(whole):
    """Two autoscalers, or an autoscaler and every apply, set the number of nodes in turn."""
    scalers = whole.kind("HorizontalPodAutoscaler", "ScaledObject")
    assert len(scalers) == 1
    assert scalers[0]["spec"]["scaleTargetRef"]["name"] == "collabd"
    assert "replicas" not in whole.one("Deployment")["spec"]


def test_redis_of_dev_refuses_before_it_is_killed(build):
    """Redis has more data than its memory: it is killed for it, reads all of it again, and is killed again."""
    (container,) = build("dev").one("StatefulSet", "redis")["spec"]["template"]["spec"]["containers"]
    said = dict(zip(container["args"][::2], container["args"][1::2], strict=True))
    assert said["--maxmemory-policy"] == "noeviction"
    # Redis's own mb are Kubernetes's Mi. A quarter is for buffers and for what a rewrite copies.
    most = int(re.fullmatch(r"(\d+)mb", said["--maxmemory"])[1]) * 2**20
    assert most <= 0.75 * quantity(container["resources"]["limits"]["memory"])


def test_dev_has_no_autoscaler(build):
    """Dev waits for an adapter that is not there, or asks for more nodes than a laptop holds."""
    dev = build("dev")
    assert dev.kind("HorizontalPodAutoscaler", "ScaledObject") == []
    assert dev.one("Deployment")["spec"]["replicas"] == 2


def test_both_autoscalers_ask_the_same(build, root):
    """The adapter sums something else than KEDA, or a series that nodes do not have."""
    values = yaml.safe_load((root / "k8s/components/hpa/adapter-values.yaml").read_text())
    (rule,) = values["rules"]["external"]
    series = build("prod").one("HorizontalPodAutoscaler")["spec"]["metrics"][0]["external"]["metric"]["name"]
    assert rule["seriesQuery"] == f'{series}{{namespace!=""}}'
    scaled = build("keda").one("ScaledObject")
    namespace = scaled["metadata"]["namespace"]
    query = rule["metricsQuery"].replace("<<.Series>>", series)
    query = query.replace("<<.LabelMatchers>>", f'namespace="{namespace}"')
    assert scaled["spec"]["triggers"][0]["metadata"]["query"] == query


def test_nodes_have_the_series(build, node):
    """Autoscalers ask for a series that was renamed: they would neither scale nor say so."""
    series = build("prod").one("HorizontalPodAutoscaler")["spec"]["metrics"][0]["external"]["metric"]["name"]
    assert re.search(rf"^# TYPE {series} gauge$", node.metrics(), re.MULTILINE)


def test_keda_does_not_shrink_blindly(build):
    """Prometheus is away, and KEDA takes that for nobody being there."""
    spec = build("keda").one("ScaledObject")["spec"]
    assert spec["triggers"][0]["metadata"]["ignoreNullValues"] == "false"
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
    assert spec["fallback"]["replicas"] == spec["minReplicaCount"]


def test_disruption(whole):
    """Draining hosts takes several nodes at once, or a node that is broken keeps a host from being drained."""
    spec = whole.one("PodDisruptionBudget")["spec"]
    assert spec["maxUnavailable"] == 1
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert "minAvailable" not in spec


# That what is named is there.


def test_selectors_match(manifests):
    """A Service, a budget or a policy selects no pod: it is there and does nothing."""
    for workload in manifests.workloads:
        assert workload["spec"]["selector"]["matchLabels"].items() <= pod_labels(workload).items()
    for service in manifests.kind("Service"):
        assert len(manifests.selected(service["spec"]["selector"])) == 1, service["metadata"]["name"]
    for each in manifests.kind("PodDisruptionBudget"):
        assert len(manifests.selected(each["spec"]["selector"]["matchLabels"])) == 1
    for policy in manifests.kind("NetworkPolicy"):
        assert len(manifests.selected(policy["spec"]["podSelector"]["matchLabels"])) == 1
        for rule in policy["spec"].get("ingress", []):
            for peer in rule["from"]:
                if "podSelector" in peer:
                    assert manifests.selected(peer["podSelector"]["matchLabels"]), policy["metadata"]["name"]


def test_ports_exist(manifests):
    """A port is called by a name that the pods behind do not have: nothing would be connected."""
    for service in manifests.kind("Service"):
        (workload,) = manifests.selected(service["spec"]["selector"])
        for port in service["spec"]["ports"]:
            assert port["name"]
            assert port["targetPort"] in ports(workload)
    for policy in manifests.kind("NetworkPolicy"):
        (workload,) = manifests.selected(policy["spec"]["podSelector"]["matchLabels"])
        for rule in policy["spec"].get("ingress", []):
            assert {port["port"] for port in rule["ports"]} <= set(ports(workload))


def test_gateways_lead_to_the_doors(build):
    """A route leads to a Service or a port that is not there, or to the metrics."""
    ingress = build("haproxy").one("Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    (route,) = build("traefik").one("IngressRoute")["spec"]["routes"]
    (rule,) = [each for each in build("gateway-api").one("HTTPRoute")["spec"]["rules"] if "backendRefs" in each]
    (port,) = build("prod").one("Service")["spec"]["ports"]
    assert (ingress["name"], ingress["port"]) == ("collabd", {"name": port["name"]})
    assert [(each["name"], each["port"]) for each in route["services"]] == [("collabd", port["name"])]
    assert [(each["name"], each["port"]) for each in rule["backendRefs"]] == [("collabd", port["port"])]


def test_references_resolve(manifests, root):
    """A pod waits for a Secret or ConfigMap for ever, because nobody was told to make it."""
    readme = (root / "k8s/README.md").read_text()
    listed = {
        (kind, name): set(re.findall(r"`([^`]+)`", keys))
        for kind, name, keys in re.findall(r"^\| (Secret|ConfigMap) `([^`]+)` \| ([^|]+) \|", readme, re.MULTILINE)
    }
    for kind, name, key in references(manifests):
        if manifests.has(kind, name):
            document = manifests.one(kind, name)
            assert key is None or key in document.get("data", {}), (kind, name, key)
        else:
            assert (kind, name) in listed, (kind, name)
            assert key is None or key in listed[kind, name], (kind, name, key)


def test_secrets_are_by_reference(whole):
    """A password stands in a manifest, and so in somebody's repository."""
    assert whole.kind("Secret") == []
    secret = {"REDIS_URL", "DATABASE_URL", "JWT_SECRET", "RABBITMQ_URL", "IDE_BRIDGE_SECRET"}
    for config in whole.kind("ConfigMap"):
        assert not secret & set(config["data"])
    plain = {each["name"] for each in whole.container["env"] if "value" in each}
    assert not secret & plain
    assert {"REDIS_URL", "DATABASE_URL", "JWT_SECRET"} <= {each["name"] for each in whole.container["env"]}


# Who may talk to whom.


def needs(settings):
    """(host, port) of everything that a node reaches with these settings."""
    found = set()
    for name, value in settings.items():
        # Where clients reach the service is nothing that a node dials.
        if "://" not in value or name in ("PUBLIC_URL", "ALLOWED_ORIGINS", "JWT_ISSUER"):
            continue
        url = urlsplit(value)
        scheme = url.scheme.replace("rediss", "redis")
        found.add((url.hostname, url.port or DEFAULT_PORTS[scheme]))
    return found


def lets_out(manifests, host, port):
    """Whether a node may connect there: to a Service here, one of another namespace, or a host elsewhere."""
    name, *rest = host.split(".")
    here = not rest
    namespace = rest[0] if rest[-1:] == ["svc"] else None
    for _, rule in manifests.policies("egress"):
        if not any(each["port"] == port and each.get("protocol", "TCP") == "TCP" for each in rule["ports"]):
            continue
        if "to" not in rule:
            return True
        for peer in rule["to"]:
            if here and peer.get("podSelector", {}).get("matchLabels", {}) == {"app.kubernetes.io/name": name}:
                return True
            if namespace and namespace in namespaces(peer):
                return True
    return False


def namespaces(peer):
    selector = peer.get("namespaceSelector", {})
    named = {selector.get("matchLabels", {}).get("kubernetes.io/metadata.name")} - {None}
    for expression in selector.get("matchExpressions", []):
        if expression["key"] == "kubernetes.io/metadata.name" and expression["operator"] == "In":
            named |= set(expression["values"])
    return named


def test_nodes_reach_what_their_settings_name(usable, tmp_path):
    """A node waits for a server, because a policy keeps it from where its own settings send it."""
    settings = in_force(usable, tmp_path)
    reached = needs(settings)
    assert len(reached) >= 2
    assert {each for each in reached if not lets_out(usable, *each)} == set()


@pytest.mark.parametrize(
    ("component", "host", "port"),
    [
        ("rabbitmq", "rabbitmq.example.com", 5671),
        ("sentinel", "sentinel.example.com", 26379),
        ("jwks", "id.example.com", 443),
        ("neighbours", "ide-bridge.ide.svc", 8080),
    ],
)
def test_a_component_brings_its_policy(build, component, host, port):
    """What a component has nodes ask is behind a policy that only another component opens."""
    assert lets_out(build(f"component:{component}"), host, port)
    assert not lets_out(build("prod"), host, port)


def test_nodes_reach_each_other_and_names(usable):
    """A request of a client that polls is not passed on to the node that has it; or no name is found at all."""
    deployment = usable.one("Deployment")
    own = pod_labels(deployment)
    peer = {"podSelector": {"matchLabels": own}}
    ingress = [rule for _, rule in usable.policies("ingress") if peer in rule["from"]]
    assert [rule["ports"] for rule in ingress] == [[{"port": "http"}]]
    egress = [rule for _, rule in usable.policies("egress") if peer in rule.get("to", [])]
    assert [rule["ports"] for rule in egress] == [[{"port": ports(deployment)["http"]}]]
    names = [rule for _, rule in usable.policies("egress") if {"port": 53, "protocol": "UDP"} in rule["ports"]]
    assert [{"port": 53, "protocol": "TCP"} in rule["ports"] for rule in names] == [True]
    assert "kube-system" in set().union(*(namespaces(peer) for peer in names[0]["to"]))


def test_prod_lets_out_no_more(build):
    """A node that was taken over reaches what nobody meant it to reach."""
    anywhere = {
        port["port"] for _, rule in build("prod").policies("egress") if "to" not in rule for port in rule["ports"]
    }
    assert anywhere == {6379, 5432, 5672}
    assert all(rule.get("ports") for _, rule in build("component:everything").policies("egress"))


def test_policies_cover_both_directions(usable):
    """Nobody is kept from anything, because no policy says that nodes are under one."""
    types = {direction for policy, _ in usable.policies("egress") for direction in policy["spec"]["policyTypes"]}
    assert types == {"Ingress", "Egress"}
    for workload in usable.workloads:
        labels = pod_labels(workload)
        covering = [
            policy["spec"]["policyTypes"]
            for policy in usable.kind("NetworkPolicy")
            if policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        ]
        assert ["Ingress", "Egress"] in covering, workload["metadata"]["name"]


def test_only_the_gateway_and_monitoring_come_in(usable):
    """Anybody in the cluster reaches the doors past the gateway, or reads the metrics."""
    own = pod_labels(usable.one("Deployment"))
    found = set()
    for _, rule in usable.policies("ingress"):
        for peer in rule["from"]:
            if peer == {"podSelector": {"matchLabels": own}}:
                continue
            assert set(peer) == {"namespaceSelector"}
            for namespace in namespaces(peer):
                found |= {(namespace, port["port"]) for port in rule["ports"]}
    gateway = {(GATEWAYS[usable.name], "http")} if usable.name in GATEWAYS else set()
    expected = {
        "monitoring": {("monitoring", "metrics")},
        "component:everything": {("envoy-gateway-system", "http"), ("monitoring", "metrics")},
    }
    assert found == expected.get(usable.name, gateway)


def test_dev_servers_take_nodes_alone(build):
    """Redis or PostgreSQL of dev is open to every pod in the cluster."""
    dev = build("dev")
    for name in ("redis", "postgres"):
        policy = dev.one("NetworkPolicy", name)["spec"]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert "egress" not in policy
        nodes = {"podSelector": {"matchLabels": pod_labels(dev.one("Deployment"))}}
        assert policy["ingress"] == [{"from": [nodes], "ports": [{"port": name}]}]


# Gateways.


def test_gateway_api_does_not_cut_sockets(build):
    """A gateway takes an open socket for one request that has lasted too long, or upgrades by HTTP/2."""
    gateway = build("gateway-api")
    route = gateway.one("HTTPRoute")["spec"]
    rules = [each for each in route["rules"] if "backendRefs" in each]
    assert rules
    for rule in rules:
        assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    (port,) = gateway.one("Service")["spec"]["ports"]
    assert port["appProtocol"] == "kubernetes.io/ws"
    listeners = {each["name"]: each for each in gateway.one("Gateway")["spec"]["listeners"]}
    for name in ("collabd", "collabd-redirect"):
        spec = gateway.one("HTTPRoute", name)["spec"]
        (parent,) = spec["parentRefs"]
        assert parent["name"] == "collabd"
        assert spec["hostnames"] == [listeners[parent["sectionName"]]["hostname"]]
    redirect = gateway.one("HTTPRoute", "collabd-redirect")["spec"]
    assert redirect["parentRefs"][0]["sectionName"] == "http"
    assert "backendRefs" not in redirect["rules"][0]


def test_haproxy_means_what_deploy_means(build, root, run, tmp_path):
    """The controller's HAProxy refuses the snippet, and with it every change; or it takes a draining node for dead."""
    annotations = build("haproxy").one("Service")["metadata"]["annotations"]
    prefix = "haproxy.org/"
    said = {name.removeprefix(prefix): value for name, value in annotations.items() if name.startswith(prefix)}
    assert (said["check"], said["check-http"], said["load-balance"]) == ("true", "GET /lb", "leastconn")
    snippet = said["backend-config-snippet"].strip().splitlines()
    assert "http-check disable-on-404" in snippet
    # What the controller makes of these.
    lines = [
        f"balance {said['load-balance']}",
        f"option httpchk {said['check-http']}",
        f"timeout server {said['timeout-server']}",
        *snippet,
        f"server one 127.0.0.1:8004 check inter {said['check-interval']}",
    ]
    head = "defaults\n  mode http\n  timeout client 75s\n  timeout connect 5s\n  timeout server 50s\n\n"
    front = "frontend clients\n  bind 127.0.0.1:8080\n  default_backend nodes\n\n"
    config = tmp_path / "haproxy.cfg"
    config.write_text(head + front + "backend nodes\n" + "".join(f"  {line}\n" for line in lines))
    checked = run("haproxy", "-c", "-f", config)
    assert "warning" not in (checked.stdout + checked.stderr).lower()
    # The same as without Kubernetes.
    bare = re.sub(r"\s+", " ", (root / "deploy/haproxy.cfg").read_text())
    for line in (*lines[:3], "http-check disable-on-404", f"inter {said['check-interval']}"):
        assert line in bare, line


def test_traefik_deals_newcomers_to_who_has_fewer(build):
    """A node that came late stays empty for hours."""
    (route,) = build("traefik").one("IngressRoute")["spec"]["routes"]
    assert [service["strategy"] for service in route["services"]] == ["p2c"]
    assert "sticky" not in route["services"][0]


PROBES = ["/readyz", "/livez", "/lb"]


def kept_in(manifests):
    """The paths that a gateway leads to no node."""
    if manifests.name == "haproxy":
        snippet = manifests.one("Service")["metadata"]["annotations"]["haproxy.org/backend-config-snippet"]
        (paths,) = re.findall(r"http-request return status 404 if \{ path (.+) \}", snippet)
        return paths.split()
    if manifests.name == "traefik":
        (route,) = manifests.one("IngressRoute")["spec"]["routes"]
        return re.findall(r"&& !Path\(`(.+?)`\)", route["match"])
    rules = [each for each in manifests.one("HTTPRoute")["spec"]["rules"] if "backendRefs" not in each]
    matches = [match["path"] for rule in rules for match in rule["matches"]]
    # An exact path goes before a prefix, whichever rule is first.
    assert {match["type"] for match in matches} == {"Exact"}
    return [match["value"] for match in matches]


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_probes_are_not_public(build, node, gateway):
    """Anybody out there sees which node starts and which one drains."""
    assert kept_in(build(gateway)) == PROBES
    assert [node.get(path).status for path in PROBES] == [200, 200, 200]


def test_gateway_api_sends_probes_to_nothing(build, node):
    """A redirect leads to what nodes have, and whoever asks for a probe out there takes that for its answer."""
    route = build("gateway-api").one("HTTPRoute")["spec"]
    (rule,) = [each for each in route["rules"] if "backendRefs" not in each]
    # A rule that leads nowhere at all is left out by some gateways, and then the next one would hold.
    (filtered,) = rule["filters"]
    assert filtered["type"] == "RequestRedirect"
    path = filtered["requestRedirect"]["path"]
    assert path["type"] == "ReplaceFullPath"
    assert node.get(path["replaceFullPath"]).status == 404


# Monitoring.


def test_what_is_scraped(build, root):
    """Prometheus finds no node, loses those that drain, or calls the job otherwise than rules and dashboards do."""
    monitoring = build("monitoring")
    monitor = monitoring.one("ServiceMonitor")["spec"]
    labels = monitor["selector"]["matchLabels"]
    services = [each for each in monitoring.kind("Service") if labels.items() <= each["metadata"]["labels"].items()]
    (service,) = services
    jobs = [each["job_name"] for each in yaml.safe_load((root / "deploy/prometheus.yml").read_text())["scrape_configs"]]
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "collabd"
    assert "collabd" in jobs
    assert service["spec"]["publishNotReadyAddresses"] is True
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    # The public Service leads to no metrics.
    assert [port["targetPort"] for port in monitoring.one("Service")["spec"]["ports"]] == ["http"]


def test_rules_are_those_of_grafana(build, root):
    """A rule was changed in grafana/rules, and the cluster keeps the old one."""
    path = root / "k8s/render-rules.py"
    spec = importlib.util.spec_from_file_location("render_rules", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    committed = root / "k8s/components/monitoring/prometheusrule.yaml"
    assert committed.read_text() == module.render(), "run python k8s/render-rules.py"
    groups = []
    for file in sorted((root / "grafana/rules").glob("*.yaml")):
        groups += yaml.safe_load(file.read_text())["groups"]
    assert groups
    assert build("monitoring").one("PrometheusRule")["spec"]["groups"] == groups
    names = [group["name"] for group in groups]
    assert len(names) == len(set(names))


def test_dashboards_are_those_of_grafana(build, root):
    """A dashboard was added and Grafana never sees it, or one is too large for a ConfigMap."""
    maps = [
        each
        for each in build("monitoring").kind("ConfigMap")
        if each["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
    ]
    found = {name: text for each in maps for name, text in each["data"].items()}
    there = {file.name: file.read_text() for file in (root / "grafana/dashboards").glob("*.json")}
    assert there
    assert found == there
    assert max(len(json.dumps(each["data"]).encode()) for each in maps) < 2**20


# What README says.


def blocks(root, language):
    """README's blocks of a language; of commands, where that is empty."""
    readme = (root / "k8s/README.md").read_text()
    found = re.findall(r"^```([a-z]*)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    return [text for said, text in found if said == language]


def test_readme_tells_of_all(root):
    """Somebody looks for an overlay or a component that README does not know, or for one that is gone."""
    readme = (root / "k8s/README.md").read_text()
    assert re.findall(r"^\| `([a-z-]+)` \|", readme, re.MULTILINE) == OVERLAYS
    assert [each for each in COMPONENTS if f"`{each}`" not in readme and f"components/{each}" not in readme] == []
    for path in re.findall(r"`?k8s/(overlays/[a-z-]+(?:/[a-z.]+)?)", readme):
        assert path.startswith("overlays/mine") or (root / "k8s" / path).exists(), path
    for path in re.findall(r"`(components/[a-z-]+(?:/[a-z.-]+)?)`", readme):
        assert (root / "k8s" / path).exists(), path


def test_readme_s_figures_are_those_rendered(build, root):
    """README tells of other numbers than the cluster has."""
    readme = (root / "k8s/README.md").read_text()
    least, most, threshold, _ = behaviors(build("prod"))
    connections = int(build("prod").environment(SAMPLES)["MAX_CONNECTIONS"])
    assert f"/ {threshold:,}, at least {least} and at most {most}" in readme
    assert f"{threshold:,} is 65 % of the sockets that a node may have (MAX_CONNECTIONS, {connections:,})" in readme
    assert f"MAX_CONNECTIONS × ({RESIDENT} + {KERNEL} KiB) × 1.5, and {PROCESS} MiB" in readme


def test_readme_s_overlay_builds(root, run, tmp_path):
    """The overlay that README has operators write does not build, or does not do what it is said to."""
    for folder in ("k8s", "grafana"):
        shutil.copytree(root / folder, tmp_path / folder)
    mine = tmp_path / "k8s/overlays/mine"
    mine.mkdir()
    (example,) = [text for text in blocks(root, "yaml") if text.startswith("apiVersion")]
    (mine / "kustomization.yaml").write_text(example)
    built = render("mine", mine, run)
    assert built.container["image"].startswith("registry.example.net/collabd:")
    assert built.environment(SAMPLES)["TRUSTED_PROXIES"] == "10.42.0.0/16"
    ingress = built.one("Ingress")["spec"]
    assert ingress["rules"][0]["host"] == ingress["tls"][0]["hosts"][0] == "collab.example.net"
    assert "collabd.example.com" not in built.text
    assert len(built.kind("ScaledObject")) == len(built.kind("PrometheusRule")) == 1
    assert not built.kind("HorizontalPodAutoscaler")


def test_readme_s_commands_are_for_these_objects(build, root):
    """A command of README names a deployment, a service, a Secret or a namespace that is not there."""
    readme = (root / "k8s/README.md").read_text()
    commands = "\n".join(blocks(root, ""))
    spaces = {here or there for here, there in re.findall(r"kubectl -n (\S+)|/namespaces/([^/]+)/", commands)}
    assert spaces == {build(name).kind("Namespace")[0]["metadata"]["name"] for name in ("dev", "prod")}
    assert set(re.findall(r"\b(deployment|service|hpa)[/ ](collabd\S*)", commands)) == {
        ("deployment", "collabd"),
        ("service", "collabd"),
        ("hpa", "collabd"),
    }
    made = set(re.findall(r"create secret \S+ (\S+)", commands))
    wanted = {name for kind, name, _ in references(build("haproxy")) if kind == "Secret"}
    assert made == wanted
    grace = build("prod").pod["terminationGracePeriodSeconds"]
    assert f"{grace} s in all" in readme
