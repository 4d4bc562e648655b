"""The Pods that we offer: what they may, how they are probed, how they end, how they are set."""

import argparse
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ingress_controller.cli import parser_for
from ingress_controller.flags import flags_of
from ingress_controller.settings import TOPICS, Settings, run_settings
from ingress_controller.supervisor.workers import KILL_GRACE_SECONDS
from tests.manifests.kustomize import Object, read_yaml, render
from tests.manifests.pod_security import violations
from tests.manifests.scenarios import ALL, INSTALLATIONS, MANIFESTS, name_of

ROOT = MANIFESTS.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
NAME = "python-ingress-controller"
CLASS = "python"


def one(folder: Path, kind: str, name: str = NAME) -> Object:
    (found,) = [o for o in render(folder) if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


def pod_of(folder: Path) -> dict[str, Any]:
    spec: dict[str, Any] = one(folder, "Deployment")["spec"]["template"]["spec"]
    return spec


def container_of(folder: Path) -> dict[str, Any]:
    (container,) = pod_of(folder)["containers"]
    return dict(container)


def environment_of(container: Mapping[str, Any]) -> dict[str, str]:
    """The variables that a container of namespace python-ingress gets.

    References to others count only if those stand before (API documentation of EnvVar).
    """
    values = {
        "metadata.name": "pod-1",
        "metadata.namespace": "python-ingress",
        "status.podIPs": "10.244.0.2",
    }
    environment: dict[str, str] = {}
    for variable in container["env"]:
        if "valueFrom" in variable:
            text = values[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        else:
            text = re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], variable["value"])
        environment[variable["name"]] = text
    return environment


def settings_of(folder: Path) -> Settings:
    """What the program makes of its command line and environment."""
    container = container_of(folder)
    program, *words = container["command"] + container.get("args", [])
    assert program == "ingress-controller"
    arguments: argparse.Namespace = parser_for(["run"]).parse_args(words)
    return run_settings(arguments, environment_of(container))


@pytest.mark.parametrize("folder", INSTALLATIONS, ids=name_of)
def test_every_setting_exists_and_is_accepted(folder: Path) -> None:
    settings = settings_of(folder)
    known = {flag.variable for _, cls in TOPICS for flag in flags_of(cls)}
    given = {name for name in environment_of(container_of(folder)) if name.startswith("INGRESS_")}
    assert given <= known
    assert settings.logging.log_format == "json"
    assert not settings.serving.manifests


def test_a_name_of_no_setting_would_be_found() -> None:
    known = {flag.variable for _, cls in TOPICS for flag in flags_of(cls)}
    assert "INGRESS_WORKERS" in known
    assert "INGRESS_WORKER" not in known


@pytest.mark.parametrize("folder", INSTALLATIONS, ids=name_of)
def test_ports_and_probes_are_those_of_the_program(folder: Path) -> None:
    settings = settings_of(folder)
    container = container_of(folder)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {
        "http": settings.serving.http_port,
        "https": settings.serving.https_port,
        "admin": settings.admin.admin_port,
    }
    assert "127.0.0.1" not in settings.admin.admin_bind
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness")}
    assert all(probe == {"path": "/healthz", "port": "admin"} for probe in probes.values())
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}


def test_the_pages_that_probes_ask_for_exist() -> None:
    pages = admin_pages()
    assert {"/healthz", "/readyz", "/metrics"} <= pages


def admin_pages() -> set[str]:
    source = (ROOT / "ingress_controller" / "admin" / "server.py").read_text()
    return set(re.findall(r'add_get\("([^"]+)"', source))


@pytest.mark.parametrize("folder", INSTALLATIONS, ids=name_of)
def test_services_lead_to_the_ports_and_clients_are_told_theirs(folder: Path) -> None:
    settings = settings_of(folder)
    service = one(folder, "Service")["spec"]
    targets = {port["name"]: port["targetPort"] for port in service["ports"]}
    assert targets == {"http": "http", "https": "https"}
    seen = {port["name"]: port["port"] for port in service["ports"]}
    if folder.name == "minikube":  # clients use the NodePorts themselves
        seen = {port["name"]: port["nodePort"] for port in service["ports"]}
    assert seen["http"] == settings.translation.published_http_port
    assert seen["https"] == settings.https.published_https_port
    admin = one(folder, "Service", f"{NAME}-admin")["spec"]
    assert [(port["port"], port["targetPort"]) for port in admin["ports"]] == [
        (settings.admin.admin_port, "admin")
    ]
    labels = one(folder, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert admin["selector"].items() <= labels.items()


def test_kind_maps_its_ports_to_the_node_ports() -> None:
    (cluster,) = read_yaml(MANIFESTS / "overlays" / "kind" / "cluster.yaml")
    mapped = {
        mapping["hostPort"]: mapping["containerPort"]
        for node in cluster["nodes"]
        for mapping in node["extraPortMappings"]
    }
    ports = one(MANIFESTS / "overlays" / "kind", "Service")["spec"]["ports"]
    assert mapped == {port["port"]: port["nodePort"] for port in ports}


@pytest.mark.parametrize("folder", INSTALLATIONS, ids=name_of)
def test_what_is_named_by_settings_is_there(folder: Path) -> None:
    settings = settings_of(folder)
    assert settings.publishing.publish_service == f"python-ingress/{NAME}"
    assert one(folder, "Service")["metadata"]["namespace"] == "python-ingress"
    assert settings.translation.config == f"python-ingress/{NAME}"
    assert one(folder, "ConfigMap")["metadata"]["namespace"] == "python-ingress"
    (controller,) = settings.translation.controller
    assert one(folder, "IngressClass", CLASS)["spec"]["controller"] == controller


@pytest.mark.parametrize("folder", INSTALLATIONS, ids=name_of)
def test_a_pod_has_the_time_that_its_end_takes(folder: Path) -> None:
    limits = settings_of(folder).limits
    pod = pod_of(folder)
    sleep = container_of(folder)["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = sleep + limits.drain_accept + limits.drain_timeout + KILL_GRACE_SECONDS
    assert needed + 5 <= pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("folder", INSTALLATIONS, ids=name_of)
def test_a_pod_counts_as_ready_as_long_as_it_accepts(folder: Path) -> None:
    """kube-proxy drops what comes for a Pod that ends and is not ready (KEP-1669)."""
    probe = container_of(folder)["readinessProbe"]
    unready = (probe["failureThreshold"] - 1) * probe["periodSeconds"]
    assert unready >= settings_of(folder).limits.drain_accept


@pytest.mark.parametrize("folder", ALL, ids=name_of)
def test_every_pod_is_let_into_its_restricted_namespace(folder: Path) -> None:
    objects = render(folder)
    labels = {o["metadata"]["name"]: o["metadata"]["labels"] for o in objects if is_namespace(o)}
    pods = [o for o in objects if o["kind"] == "Deployment"]
    assert pods
    for obj in pods:
        profile = labels[obj["metadata"]["namespace"]]["pod-security.kubernetes.io/enforce"]
        assert profile == "restricted"
        spec = obj["spec"]["template"]["spec"]
        assert violations(spec) == []
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert "volumeMounts" not in container
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def is_namespace(obj: Object) -> bool:
    return bool(obj["kind"] == "Namespace")


@pytest.mark.parametrize("folder", ALL, ids=name_of)
def test_images_have_the_tag_of_this_version(folder: Path) -> None:
    images = {
        container["image"]
        for obj in render(folder)
        if obj["kind"] == "Deployment"
        for container in obj["spec"]["template"]["spec"]["containers"]
    }
    assert images == {f"ghcr.io/python-ingress/controller:{VERSION}"}


def test_a_rolling_update_takes_no_replica_away() -> None:
    for folder in INSTALLATIONS:
        strategy = one(folder, "Deployment")["spec"]["strategy"]["rollingUpdate"]
        assert strategy == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize("folder", INSTALLATIONS, ids=name_of)
def test_the_number_of_replicas_has_one_owner(folder: Path) -> None:
    objects = render(folder)
    scaled = [o for o in objects if o["kind"] == "HorizontalPodAutoscaler"]
    replicas = one(folder, "Deployment")["spec"].get("replicas")
    assert bool(scaled) != (replicas is not None)
    for scaler in scaled:
        assert scaler["spec"]["scaleTargetRef"]["name"] == NAME
        assert scaler["spec"]["minReplicas"] >= 2


@pytest.mark.parametrize("folder", INSTALLATIONS, ids=name_of)
def test_selectors_meet_the_pods(folder: Path) -> None:
    labels = one(folder, "Deployment")["spec"]["template"]["metadata"]["labels"]
    spec = one(folder, "Deployment")["spec"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    for constraint in spec["template"]["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"].items() <= labels.items()
    budget = one(folder, "PodDisruptionBudget")["spec"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()
    policies = [o for o in render(folder) if o["kind"] == "NetworkPolicy"]
    for policy in policies:
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_prometheus_finds_the_admin_service() -> None:
    folder = next(folder for folder in INSTALLATIONS if folder.name == "all")
    monitor = one(folder, "ServiceMonitor")["spec"]
    service = one(folder, "Service", f"{NAME}-admin")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] in admin_pages()


# The rules of Pod Security themselves

GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "a",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ],
}
BAD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "hostNetwork": ({"hostNetwork": True}, {}),
    "volume of type hostPath": ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, {}),
    "hostPort 80": ({}, {"ports": [{"containerPort": 80, "hostPort": 80}]}),
    "runAsNonRoot": ({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, {}),
    "seccompProfile": ({"securityContext": {"runAsNonRoot": True}}, {}),
    "capabilities are not dropped": (
        {},
        {"securityContext": {"allowPrivilegeEscalation": False}},
    ),
    "allowPrivilegeEscalation": ({}, {"securityContext": {"capabilities": {"drop": ["ALL"]}}}),
    "capabilities are added": (
        {},
        {
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
            }
        },
    ),
}


def test_a_good_pod_violates_nothing() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize("what", BAD)
def test_a_bad_pod_is_found(what: str) -> None:
    pod, container = BAD[what]
    assert what in violations(
        {**GOOD, **pod, "containers": [{**GOOD["containers"][0], **container}]}
    )
