"""What tests of the whole program in a cluster share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.replica import Cluster, small_cluster


@pytest.fixture
async def cluster(own_network: None, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster that serves ``h.test``, in a network of the test's own."""
    async with small_cluster(tmp_path) as made:
        yield made
