"""The project's own manifests and samples, as a cluster's admin applies them."""

import asyncio
import contextlib
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.controller import (
    BASE,
    NAME,
    NAMESPACE,
    ROOT,
    Controller,
    clusterctl,
    kubectl,
    overlay,
    rollout,
    run,
)
from tests.e2e.kube import Kube
from tests.e2e.outside import Edge

SAMPLES = ROOT / "manifests" / "samples"
SHELL = re.compile(r"^#\s{2,}((?:curl|openssl|kubectl -n samples create) .*?)(?:\s{2,}(\S.*))?$")
"""A line for the shell in the comments of a sample, and what it says that comes."""


@pytest.fixture(scope="module")
def samples(controller: Controller, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """All samples applied by `kubectl apply -k`, ready; gives their namespace."""
    folder = overlay(tmp_path_factory.mktemp("samples"), resources=[SAMPLES])
    kubectl("apply", "-k", str(folder))
    namespace = "samples"
    names = kubectl("get", "deployments", "-n", namespace, "-o", "name").split()
    for name in names:
        rollout(namespace, name.partition("/")[2])
    yield namespace
    kubectl("delete", "-k", str(folder), "--wait=false")


class Line(NamedTuple):
    """A curl line of a sample."""

    file: str
    command: str
    says: str
    before: tuple[str, ...]
    """What the comment says to do first."""


def lines() -> Iterator[Line]:
    """Every curl line of the samples' comments."""
    for file in sorted(SAMPLES.glob("*.yaml")):
        if file.name == "cert-manager.yaml":
            continue  # curl has nothing to ask before cert-manager is there
        before: list[str] = []
        text = re.sub(r" \\\n#\s*", " ", file.read_text())
        for found in filter(None, map(SHELL.match, text.splitlines())):
            if found[1].startswith("curl"):
                yield Line(file.name, found[1], found[2] or "", tuple(before))
            else:
                before.append(found[1])


@pytest.mark.parametrize("said", list(lines()), ids=lambda said: f"{said.file}: {said.command}")
async def test_a_curl_line_of_the_samples_works(
    samples: str, edge: Edge, kube: Kube, tmp_path: Path, said: Line
) -> None:
    """As it stands in the file, from a client outside of the cluster."""
    await _until_addresses(kube, samples, edge)
    for command in said.before:
        await asyncio.to_thread(run, "sh", "-ec", f"cd {tmp_path}; {command}")
    if said.before:
        await edge.until_certificate("secure.example", _der(tmp_path / "tls.crt"))
    line = said.command.replace("ADDRESS", edge.host)
    if line.startswith("curl -N"):  # server-sent events: enough to see some
        line = line.replace("curl -N", "curl -sS -N --max-time 3", 1)
    else:
        line = line.replace("curl", "curl -sS --max-time 10", 1)

    done = await asyncio.to_thread(
        subprocess.run,
        ["sh", "-c", line],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )

    if "--max-time 3" in line:
        assert "event 1 from" in done.stdout, done.stderr
    else:
        assert done.returncode == 0, f"{line}: {done.stderr}"
        if word := re.match(r"[a-z-]+", said.says):
            assert word[0] in done.stdout, done.stdout


async def test_get_ingress_shows_the_address_of_every_sample(
    samples: str, edge: Edge, kube: Kube
) -> None:
    await _until_addresses(kube, samples, edge)

    for row in kubectl("get", "ingress", "-n", samples, "--no-headers").splitlines():
        assert edge.host in row.split(), row


async def test_the_backends_learn_who_the_client_is(samples: str, edge: Edge, kube: Kube) -> None:
    """externalTrafficPolicy: Local keeps the client's address up to us; X-Forwarded-For does on."""
    await _until_addresses(kube, samples, edge)
    answer = await edge.get("plain.example", "/who")

    headers = {key.lower(): value for key, value in answer.seen["headers"].items()}
    route = await asyncio.to_thread(run, "ip", "-o", "-4", "route", "get", edge.host)
    assert headers["x-forwarded-for"] in route.split()
    assert headers["x-forwarded-port"] == "80"


async def test_applying_the_manifests_again_changes_nothing(controller: Controller) -> None:
    assert kubectl("diff", "-k", str(BASE)) == ""


async def test_the_controller_runs_as_the_manifests_promise(
    controller: Controller, kube: Kube
) -> None:
    """Under its own ServiceAccount, not as root, without a writable root, without capabilities."""
    pods = await controller.pods(kube)
    assert pods
    for pod in pods:
        assert pod["spec"]["serviceAccountName"] == NAME
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    name = pods[0]["metadata"]["name"]
    ready = await controller.ask(kube, name, "/readyz")
    assert '"ready": true' in ready or '"ready":true' in ready


@pytest.mark.usefixtures("local_cluster")
async def test_its_processes_have_no_rights_on_the_machine(
    controller: Controller, kube: Kube
) -> None:
    for pod in await controller.pods(kube):
        where = ("-n", NAMESPACE, pod["metadata"]["name"])
        script = "grep -h -E '^(Uid|CapEff|NoNewPrivs):' /proc/1/status; touch /x 2>&1 || true"
        shown = await asyncio.to_thread(clusterctl, "exec", *where, "--", "sh", "-c", script)
        assert "Uid:\t65532" in shown
        assert "CapEff:\t0000000000000000" in shown
        assert "NoNewPrivs:\t1" in shown
        assert "Read-only file system" in shown


async def test_probes_and_metrics_answer(controller: Controller, kube: Kube) -> None:
    for pod in await controller.pods(kube):
        metrics = await controller.metrics(kube, pod["metadata"]["name"])
        assert metrics


async def _until_addresses(kube: Kube, namespace: str, edge: Edge) -> None:
    end = time.monotonic() + 20
    while True:
        items = await kube.items("Ingress", namespace)
        shown = [i.get("status", {}).get("loadBalancer", {}).get("ingress") for i in items]
        if items and all(entry == shown[0] and entry for entry in shown):
            return
        assert time.monotonic() < end, f"not every sample has an address: {shown}"
        with contextlib.suppress(TimeoutError):
            await asyncio.sleep(0.1)


def _der(file: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(file.read_text())
