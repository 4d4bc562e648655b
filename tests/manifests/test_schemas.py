"""Every object that we offer is what the API takes: no field too many, none of a wrong type."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from tests.manifests.kustomize import Object, key_of, read_yaml, render
from tests.manifests.scenarios import ALL, MANIFESTS, name_of

VERSIONS = ("1.30", "1.33", "1.36")
"""From the oldest whose API has all that we use (the action `sleep` of preStop)."""


def closed(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """A schema of an object with these fields and no others."""
    properties = {**required, **(optional or {})}
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT = {"type": "string"}
LABELS = {"type": "object", "additionalProperties": TEXT}
METADATA = closed({"name": TEXT, "namespace": TEXT}, {"labels": LABELS})
SOLVER = closed({"http01": closed({"ingress": closed({"ingressClassName": TEXT})})})
ACME = closed(
    {
        "server": {"type": "string", "pattern": "^https://"},
        "email": {"type": "string", "pattern": "@"},
        "privateKeySecretRef": closed({"name": TEXT}),
        "solvers": {"type": "array", "minItems": 1, "items": SOLVER},
    }
)
RESOURCES: dict[tuple[str, str], dict[str, Any]] = {
    # Fields of the Prometheus operator's API documentation (monitoring.coreos.com/v1) that we use.
    ("monitoring.coreos.com/v1", "ServiceMonitor"): closed(
        {
            "selector": closed({"matchLabels": LABELS}),
            "endpoints": {
                "type": "array",
                "minItems": 1,
                "items": closed(
                    {"port": TEXT},
                    {
                        "path": TEXT,
                        "interval": {"type": "string", "pattern": r"^\d+s$"},
                        "honorLabels": {"type": "boolean"},
                    },
                ),
            },
        }
    ),
    # Likewise of cert-manager's (cert-manager.io/v1).
    ("cert-manager.io/v1", "Issuer"): {
        "oneOf": [closed({"selfSigned": closed({})}), closed({"acme": ACME})]
    },
}
"""Kinds that are no part of Kubernetes, whose schemas no package brings: their specs."""


def judge(obj: Object, version: str) -> None:
    """Raises when the object is not what the API of this version takes."""
    spec = RESOURCES.get((obj["apiVersion"], obj["kind"]))
    if spec is None:
        kubernetes_validate.validate(obj, version, strict=True)
    else:
        whole = closed({"apiVersion": TEXT, "kind": TEXT, "metadata": METADATA, "spec": spec})
        jsonschema.validate(obj, whole)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_folders_apply_is_valid(version: str) -> None:
    distinct = {json.dumps(obj): obj for folder in ALL for obj in render(folder)}
    for obj in distinct.values():
        judge(obj, version)


ALONE = (
    MANIFESTS / "samples" / "cert-manager.yaml",
    MANIFESTS / "components" / "narrow-secrets" / "example.yaml",
)
"""Files that are applied by themselves."""


@pytest.mark.parametrize("file", ALONE, ids=name_of)
def test_what_a_file_applies_is_valid(file: Path) -> None:
    for obj in read_yaml(file):
        judge(obj, VERSIONS[-1])


def test_no_file_is_left_out() -> None:
    """What nobody applies, nobody tests."""
    seen = {key_of(obj) for folder in ALL for obj in render(folder)}
    seen |= {key_of(obj) for file in ALONE for obj in read_yaml(file)}
    for file in MANIFESTS.rglob("*.yaml"):
        for obj in read_yaml(file):
            if (
                obj["kind"] in ("Kustomization", "Component")
                or "kind.x-k8s.io" in obj["apiVersion"]
            ):
                continue
            kind, namespace, name = key_of(obj)
            assert any(k == kind and n == name and namespace in ("", ns) for k, ns, n in seen), file


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("Deployment", {"replica": 2}),
        ("Service", {"ports": [{"port": "80"}]}),
        ("ServiceMonitor", {"endpoints": [{"port": "admin", "intervall": "15s"}]}),
    ],
)
def test_a_wrong_field_would_be_found(kind: str, wrong: dict[str, Any]) -> None:
    folder = next(folder for folder in ALL if folder.name == "all")
    obj = next(obj for obj in render(folder) if obj["kind"] == kind)
    obj["spec"] |= wrong
    with pytest.raises((kubernetes_validate.ValidationError, jsonschema.ValidationError)):
        judge(obj, VERSIONS[-1])
