"""Pytest fixtures on the harness; `tests/conftest.py` makes them known everywhere."""

import contextlib
import resource
import subprocess
from collections.abc import Iterator

import pytest

from tests.harness import network
from tests.harness.edge import HURRIED, Edge, edge

DESCRIPTORS = 16384


@pytest.fixture(scope="session", autouse=True)
def enough_descriptors() -> None:
    """Tests with thousands of connections need more than the usual 1024; workers inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS:
        most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@pytest.fixture(scope="session")
def shared_edge() -> Iterator[Edge]:
    """One worker with default limits for the whole session; use `edge` in tests."""
    with edge() as pair:
        yield pair
        assert pair.worker.memory < 100 * 1024 * 1024


@pytest.fixture(scope="session")
def shared_hurried_edge() -> Iterator[Edge]:
    """One worker with short time-outs for the whole session; use `hurried_edge` in tests."""
    with edge(HURRIED) as pair:
        yield pair


@pytest.fixture(name="edge")
def _edge(shared_edge: Edge) -> Iterator[Edge]:
    """A worker with default limits; checked after every test."""
    yield shared_edge
    shared_edge.check()
    shared_edge.backend.forget()


@pytest.fixture
def hurried_edge(shared_hurried_edge: Edge) -> Iterator[Edge]:
    """A worker with short time-outs; checked after every test."""
    yield shared_hurried_edge
    shared_hurried_edge.check()
    shared_hurried_edge.backend.forget()


@pytest.fixture
def own_network() -> Iterator[None]:
    """The test, and all that it starts, in a network of their own: see `tests.harness.network`."""
    with contextlib.ExitStack() as entered:
        try:
            entered.enter_context(network.own_network())
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"a network of the test's own needs Linux, root and ip(8): {error}")
        yield
