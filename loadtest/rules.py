"""Where the load test makes rules: in a folder that the edge reads, or in a cluster."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from loadtest.cluster import ApiError, Cluster
from loadtest.targets import RuleBackend, Rules

LABEL = "loadtest.python-ingress.dev/made-by"
"""On every object that the load test makes, so that what an ended run left can be found."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One host whose requests go to one backend."""

    name: str
    host: str
    backend: RuleBackend


class RulePlace(Protocol):
    """Takes rules."""

    def put(self, rule: Rule) -> None:
        """Makes the rule, or changes it.

        Raises:
            OSError, ApiError: it could not be made.
        """

    def remove(self, name: str) -> None:
        """Removes a rule; no error when it is gone."""

    def close(self) -> None:
        """Nothing more will be changed."""


def ingress(rule: Rule, rules: Rules) -> dict[str, Any]:
    """The rule as an Ingress."""
    service = {"name": rule.backend.service, "port": {"number": rule.backend.port}}
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": service}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": rule.name,
            "namespace": rules.namespace,
            "labels": {LABEL: "locust"},
        },
        "spec": {
            "ingressClassName": rules.ingress_class,
            "rules": [{"host": rule.host, "http": {"paths": [path]}}],
        },
    }


class Folder:
    """Each rule is a file; the edge watches the folder."""

    def __init__(self, folder: Path, rules: Rules) -> None:
        self._folder = folder
        self._rules = rules

    def put(self, rule: Rule) -> None:
        """Replaces the file at once, so that nobody reads half of it."""
        made = self._folder / f".{rule.name}"
        made.write_text(json.dumps(ingress(rule, self._rules)))
        made.replace(self._folder / f"{rule.name}.yaml")

    def remove(self, name: str) -> None:
        (self._folder / f"{name}.yaml").unlink(missing_ok=True)

    def close(self) -> None:
        pass


class InCluster:
    """Each rule is an Ingress in the cluster."""

    def __init__(self, cluster: Cluster, rules: Rules) -> None:
        self._cluster = cluster
        self._rules = rules
        self._path = f"/apis/networking.k8s.io/v1/namespaces/{rules.namespace}/ingresses"

    def put(self, rule: Rule) -> None:
        made = ingress(rule, self._rules)
        try:
            self._cluster.request("POST", self._path, made)
        except ApiError as error:
            if error.status != 409:  # there already
                raise
            change: Mapping[str, Any] = {"spec": made["spec"]}
            self._cluster.request("PATCH", f"{self._path}/{rule.name}", change)

    def remove(self, name: str) -> None:
        try:
            self._cluster.request("DELETE", f"{self._path}/{name}")
        except ApiError as error:
            if error.status != 404:
                raise

    def close(self) -> None:
        self._cluster.close()
