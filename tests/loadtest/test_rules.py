"""Where the load test makes its rules: a folder, or a cluster."""

import asyncio
import json
import shutil
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from loadtest.cluster import ApiError, Cluster, rolled_out
from loadtest.rules import Folder, InCluster, Rule, ingress
from loadtest.targets import RuleBackend, Rules
from tests.harness.kube_api import FakeKubeApi
from tls.default import LocalAuthority

ONE = RuleBackend(service="one", port=80, says="1")
TWO = RuleBackend(service="two", port=81, says="2")
RULES = Rules(domain="r.example", namespace="n", ingress_class="c", backends=(ONE, TWO))
FIRST = Rule(name="a", host="a.r.example", backend=ONE)
SECOND = Rule(name="a", host="a.r.example", backend=TWO)


def test_a_rule_is_an_ingress_that_can_be_found_again() -> None:
    made = ingress(SECOND, RULES)
    assert made["metadata"]["namespace"] == "n"
    assert made["metadata"]["labels"] == {"loadtest.python-ingress.dev/made-by": "locust"}
    assert made["spec"]["ingressClassName"] == "c"
    (rule,) = made["spec"]["rules"]
    assert rule["host"] == "a.r.example"
    (path,) = rule["http"]["paths"]
    assert path["backend"] == {"service": {"name": "two", "port": {"number": 81}}}


def test_a_rule_in_a_folder_is_a_file_that_is_replaced_and_removed(tmp_path: Path) -> None:
    folder = Folder(tmp_path, RULES)
    for rule in (FIRST, SECOND):
        folder.put(rule)
        (file,) = tmp_path.iterdir()
        assert file.name == "a.yaml"
        assert json.loads(file.read_text()) == ingress(rule, RULES)
    folder.remove("a")
    folder.remove("a")
    folder.close()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeKubeApi]:
    authority = LocalAuthority(time.time(), "test authority")
    certificate, key = authority.issue(["localhost"])
    (tmp_path / "server.pem").write_bytes(certificate + key)
    (tmp_path / "authority.pem").write_bytes(authority.certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    async with FakeKubeApi(context=context, token="secret") as server:
        yield server


@pytest.fixture
async def pod(
    fake: FakeKubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[InCluster]:
    """As in a Pod with a ServiceAccount."""
    account = tmp_path / "account"
    account.mkdir()
    for name, value in fake.service_account(account, tmp_path / "authority.pem").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "localhost")
    cluster = Cluster(None, None, tmp_path / "socket", account=account)
    yield InCluster(cluster, RULES)
    cluster.close()


async def test_a_rule_in_a_cluster_is_made_changed_and_removed(
    fake: FakeKubeApi, pod: InCluster
) -> None:
    for rule in (FIRST, SECOND):
        await asyncio.to_thread(pod.put, rule)
        stored = fake.get("Ingress", "n", "a")
        assert stored is not None
        assert stored["spec"] == ingress(rule, RULES)["spec"]
    await asyncio.to_thread(pod.remove, "a")
    assert fake.get("Ingress", "n", "a") is None
    await asyncio.to_thread(pod.remove, "a")


async def test_a_refusal_is_told_with_what_was_asked(fake: FakeKubeApi, pod: InCluster) -> None:
    fake.token = "another"
    with pytest.raises(
        ApiError, match=r"^POST /apis/\S+/namespaces/n/ingresses: 401 Unauth"
    ) as told:
        await asyncio.to_thread(pod.put, FIRST)
    assert told.value.status == 401
    assert "secret" not in str(told.value)


async def test_an_api_that_is_not_there_is_told(fake: FakeKubeApi, pod: InCluster) -> None:
    await fake.stop()
    with pytest.raises(ApiError, match="ConnectionRefusedError"):
        await asyncio.to_thread(pod.put, FIRST)


async def test_a_certificate_of_another_authority_is_refused(
    fake: FakeKubeApi, pod: InCluster, tmp_path: Path
) -> None:
    another = LocalAuthority(time.time(), "another authority")
    (tmp_path / "account" / "ca.crt").write_bytes(another.certificate_pem)
    with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
        await asyncio.to_thread(pod.put, FIRST)
    assert fake.requests == []


async def test_outside_of_a_cluster_kubectl_leads_there(tmp_path: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl")
    async with FakeKubeApi() as fake:
        path = tmp_path / "socket"
        opened = await asyncio.to_thread(Cluster, fake.kubeconfig(tmp_path), "fake", path)
        try:
            place = InCluster(opened, RULES)
            await asyncio.to_thread(place.put, FIRST)
            await asyncio.to_thread(place.put, SECOND)
            stored = fake.get("Ingress", "n", "a")
            assert stored is not None
            assert stored["spec"] == ingress(SECOND, RULES)["spec"]
        finally:
            await asyncio.to_thread(place.close)
        assert not path.exists()


def test_without_kubectl_there_is_no_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ApiError, match="through kubectl, which is not there"):
        Cluster(None, None, tmp_path / "socket", account=tmp_path)


def test_a_kubectl_that_does_not_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "kubectl"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ApiError, match="kubectl proxy did not start"):
        Cluster(None, None, tmp_path / "socket", account=tmp_path)


DONE = {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, True),
        ({"observedGeneration": 1}, False),
        ({"updatedReplicas": 2}, False),
        ({"replicas": 4}, False),
        ({"availableReplicas": 2}, False),
    ],
)
def test_a_deployment_is_rolled_out_when_all_pods_are_new_and_no_others_left(
    status: dict[str, Any], expected: bool
) -> None:
    deployment = {"spec": {"replicas": 3}, "status": {**DONE, **status}}
    assert rolled_out(deployment, 2) is expected


def test_a_deployment_whose_status_nobody_wrote_is_not_rolled_out() -> None:
    assert not rolled_out({"spec": {}}, 1)
