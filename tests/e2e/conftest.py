"""Fixtures of the end-to-end tests; without a cluster all of them are skipped."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.controller import Controller
    from tests.e2e.kube import Kube
    from tests.e2e.outside import Edge
    from tests.e2e.space import Space

HERE = Path(__file__).parent
REPLICAS = 2
LAST = ("test_faults.py", "test_convergence.py", "test_rights.py")
"""Some stop the API server, from which the control plane's own controllers recover slowly; and what
all of them made our controller ask is judged at the end."""


def why_not() -> str:
    """Why there is no cluster to run on; empty when there is one."""
    if os.environ.get("CLUSTER_DIR"):
        return ""
    if os.environ.get("USE_EXISTING_CLUSTER") == "true":
        return "" if os.environ.get("KUBECONFIG") else "USE_EXISTING_CLUSTER needs KUBECONFIG"
    return "no cluster: `make e2e` brings one up, or takes yours; see tests/e2e/README.md"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mine = [item for item in items if HERE in item.path.parents]
    if mine and (reason := why_not()):
        # One line says it for all of them.
        mine[0].add_marker(pytest.mark.skip(reason=f"{len(mine)} end-to-end tests: {reason}"))
        items[:] = [item for item in items if item not in mine[1:]]
        return
    items.sort(key=lambda item: LAST.index(item.path.name) if item.path.name in LAST else -1)


@pytest.fixture
def local_cluster() -> None:
    """For tests that stop parts of the control plane: skips where we may not."""
    if not os.environ.get("CLUSTER_DIR"):
        pytest.skip("stops parts of the control plane: only in a cluster of its own")


@pytest.fixture(scope="session")
def controller(tmp_path_factory: pytest.TempPathFactory) -> "Controller":
    """The installed controller with two replicas, as the autoscaler of the manifests would have."""
    from tests.e2e.controller import BASE, NAME, NAMESPACE, Controller, kubectl, overlay, rollout

    folder = Path(os.environ.get("E2E_MANIFESTS", BASE))
    if os.environ.get("E2E_IMAGE"):
        folder = overlay(tmp_path_factory.mktemp("e2e-manifests"), resources=[folder])
    kubectl("apply", "-k", str(folder))
    kubectl("scale", f"deployment/{NAME}", "-n", NAMESPACE, f"--replicas={REPLICAS}")
    rollout(NAMESPACE, NAME)
    return Controller()


@pytest.fixture(scope="session")
def standing() -> Iterator[list[str]]:
    """Addresses of three echo Pods that stand for Services of any namespace."""
    from tests.e2e.kube import Kube
    from tests.e2e.space import Space

    async def begin() -> list[str]:
        async with Kube() as kube:
            space = Space(kube, name="e2e-standing")
            await space.__aenter__()
            await space.deploy("echo", replicas=3)
            return await space.addresses("echo")

    async def end() -> None:
        async with Kube() as kube:
            await Space(kube, name="e2e-standing").__aexit__(None, None, None)

    yield asyncio.run(begin())
    asyncio.run(end())


@pytest.fixture
def edge(controller: "Controller") -> "Edge":
    """The published address."""
    return controller.edge


@pytest.fixture
async def kube() -> AsyncIterator["Kube"]:
    from tests.e2e.kube import Kube

    async with Kube() as client:
        yield client


@pytest.fixture
async def space(kube: "Kube", controller: "Controller") -> AsyncIterator["Space"]:
    """A namespace of its own, watched by the installed controller."""
    from tests.e2e.space import Space

    async with Space(kube) as made:
        yield made
