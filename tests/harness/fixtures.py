"""Pytest fixtures on the harness; `tests/conftest.py` makes them known everywhere."""

from collections.abc import Iterator

import pytest

from tests.harness.edge import HURRIED, Edge, edge


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
