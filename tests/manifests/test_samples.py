"""The sample applications: translated without a finding, each complete."""

import json
from pathlib import Path
from typing import Any

import pytest

from ingress_controller.cli import main
from tests.harness.program import tls_secret
from tests.manifests.kustomize import Object, key_of, read_yaml
from tests.manifests.scenarios import MANIFESTS, SAMPLES
from tests.tls.certificates import pair

KUSTOMIZATION = read_yaml(SAMPLES / "kustomization.yaml")[0]
FILES = [*KUSTOMIZATION["resources"], "cert-manager.yaml"]
APPLICATIONS = [name for name in FILES if name != "namespace.yaml"]
CLASS = MANIFESTS / "base" / "ingress-class.yaml"


def test_every_sample_is_applied_or_needs_more_than_kubernetes() -> None:
    there = {path.name for path in SAMPLES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(FILES) == there


def slices(objects: list[Object]) -> list[Object]:
    """What the cluster's own controller makes for Services with ready Pods."""
    return [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": obj["metadata"]["name"],
                "namespace": obj["metadata"]["namespace"],
                "labels": {"kubernetes.io/service-name": obj["metadata"]["name"]},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"]}],
            "ports": [{"name": port["name"], "port": 8080} for port in obj["spec"]["ports"]],
        }
        for obj in objects
        if obj["kind"] == "Service"
    ]


@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_sample_is_served_as_it_is_written(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = read_yaml(SAMPLES / name)
    (tmp_path / "slices.json").write_text(json.dumps({"kind": "List", "items": slices(objects)}))
    for obj in objects:
        for entry in obj["spec"].get("tls", ()) if obj["kind"] == "Ingress" else ():
            issued = pair(*entry["hosts"])
            text = tls_secret(entry["secretName"], issued.chain, issued.key.pem)
            there = text.replace("namespace: test", "namespace: samples")
            (tmp_path / "secret.yaml").write_text(there)
    code = main(["check", str(SAMPLES / name), str(CLASS), str(tmp_path), "--output", "json"])
    found = json.loads(capsys.readouterr().out)
    assert (code, found["diagnostics"]) == (0, [])
    summary = found["summary"]
    assert summary["served"] == summary["ingresses"] == 1
    assert summary["routes"] >= 1


@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_sample_is_complete(name: str) -> None:
    objects = read_yaml(SAMPLES / name)
    there = {key_of(obj): obj for obj in objects}
    (ingress,) = [obj for obj in objects if obj["kind"] == "Ingress"]
    backends = [
        path["backend"]["service"]
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
    for backend in backends:
        service = there["Service", "samples", backend["name"]]["spec"]
        ports = [port for port in service["ports"] if backend["port"] in names_of(port)]
        assert len(ports) == 1
        pods = there["Deployment", "samples", backend["name"]]["spec"]["template"]
        assert service["selector"].items() <= pods["metadata"]["labels"].items()
        (container,) = pods["spec"]["containers"]
        assert_listens(container, ports[0]["targetPort"])


def names_of(port: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """How an Ingress may call a port."""
    return {"name": port["name"]}, {"number": port["port"]}


def assert_listens(container: dict[str, Any], port_name: str) -> None:
    """The command is the sample backend's, and names the port that the container declares."""
    port = next(port["containerPort"] for port in container["ports"] if port["name"] == port_name)
    assert container["command"] == ["python", "-P", "-m", "ingress_controller.demo.backend"]
    assert container["args"] == ["$(POD_NAME)", str(port)]
    assert container["readinessProbe"]["httpGet"]["port"] == port_name
