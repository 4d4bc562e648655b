"""The rights in the manifests are exactly those that are used. Runs last: it judges the others.

The API server's audit log says what the controllers of all tests asked for under their own
ServiceAccounts, and what they were answered.
"""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.controller import NAME, NAMESPACE, Controller, kubectl
from tests.e2e.kube import Kube

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{NAME}"
NARROW = "system:serviceaccount:e2e-narrow:"
"""May read some Secrets only, and asks for each that a rule names: refusals are what it is for."""
AUDIT = Path(os.environ.get("CLUSTER_DIR", "/nowhere"), "audit.log")
UNUSED = {
    ("patch", "events"): "an Event that is told again is counted five minutes later at the earliest"
}
"""Rights that the tests do not need, and why."""


class Request(NamedTuple):
    """One request as the API server saw it."""

    account: str
    verb: str
    resource: str
    namespace: str
    name: str
    status: int
    refused: bool
    """By RBAC, that is; the API server also says 403 where a namespace is being deleted."""

    @property
    def right(self) -> tuple[str, str]:
        return self.verb, self.resource


def requests() -> Iterator[Request]:
    """Everything that controllers asked, by any account of ours."""
    for file in sorted(AUDIT.parent.glob("audit*.log")):
        for line in file.read_text().splitlines():
            event = json.loads(line)
            account = event["user"]["username"]
            if not account.endswith(NAME):
                continue
            about = event.get("objectRef", {})
            resource = about.get("resource", event["requestURI"])
            if sub := about.get("subresource"):
                resource = f"{resource}/{sub}"
            yield Request(
                account,
                event["verb"],
                resource,
                about.get("namespace", ""),
                about.get("name", ""),
                event.get("responseStatus", {}).get("code", 0),
                event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid",
            )


@pytest.fixture(scope="module")
def asked(controller: Controller) -> list[Request]:
    if not AUDIT.exists():
        pytest.skip("the cluster's audit log is out of reach")
    return list(requests())


def test_nothing_was_forbidden(asked: list[Request]) -> None:
    """Least privilege suffices: not one 403, whatever the tests made the controllers do.

    An API server that starts refuses what it allows a second later; so what was allowed once is not
    what we look for.
    """
    allowed = {(r.account, r.right) for r in asked if r.status < 400}
    refused = Counter(
        (request.account, request.right)
        for request in asked
        if request.refused and not request.account.startswith(NARROW)
    )

    assert {what: count for what, count in refused.items() if what not in allowed} == {}


def test_every_right_is_used(asked: list[Request]) -> None:
    """A right that no test made the controller use is one too many, or a test too few."""
    used = {request.right for request in asked if request.account == ACCOUNT}
    given = set(rights())

    assert given - used <= set(UNUSED)
    assert used - given == set()


def rights() -> Iterator[tuple[str, str]]:
    """What the roles of the installed ServiceAccount allow, as (verb, resource)."""
    for kind in ("clusterrolebindings", "rolebindings"):
        found = json.loads(kubectl("get", kind, "-A", "-o", "json"))
        for binding in found["items"]:
            subjects = binding.get("subjects") or []
            if not any(s["name"] == NAME and s.get("namespace") == NAMESPACE for s in subjects):
                continue
            role = binding["roleRef"]
            words = ["get", role["kind"].lower(), role["name"], "-o", "json"]
            if namespace := binding["metadata"].get("namespace"):
                words += ["-n", namespace]
            for rule in json.loads(kubectl(*words)).get("rules") or []:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        yield verb, resource


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("get", "secrets"),
        ("create", "secrets"),
        ("update", "ingresses.networking.k8s.io"),
        ("patch", "ingresses.networking.k8s.io"),
        ("delete", "ingresses.networking.k8s.io"),
        ("create", "pods"),
        ("list", "pods"),
        ("list", "configmaps"),
        ("patch", "services"),
        ("delete", "leases.coordination.k8s.io"),
        ("get", "nodes"),
        ("impersonate", "users"),
        ("escalate", "clusterroles.rbac.authorization.k8s.io"),
    ],
)
def test_the_account_may_not(controller: Controller, verb: str, resource: str) -> None:
    """In any namespace but its own."""
    words = ["auth", "can-i", verb, resource, f"--as={ACCOUNT}", "-n", "default"]
    done = subprocess.run(["kubectl", *words], capture_output=True, text=True)

    assert done.stdout.strip() == "no"


async def test_no_token_lies_in_an_object(controller: Controller, kube: Kube) -> None:
    """The account's tokens are the Pods' projected ones; there is no Secret with one."""
    secrets = await kube.items("Secret", NAMESPACE)

    assert [s["type"] for s in secrets if "service-account-token" in s["type"]] == []


async def test_the_log_has_no_defect(controller: Controller, kube: Kube) -> None:
    """No traceback and nothing that is not an event, whatever the tests did."""
    for pod in await controller.pods(kube):
        events = controller.log(pod["metadata"]["name"])
        assert events
        unreadable = [e["message"] for e in events if e.get("level") == "unreadable"]
        access = [line for line in unreadable if not line.startswith("{")]
        assert access == []
        assert not any("Traceback" in json.dumps(event) for event in events)
