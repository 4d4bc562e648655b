"""What the processes load: measured in fresh interpreters."""

import subprocess
import sys

import pytest

LOADED = "import {module}, sys; print(*sorted(name.partition('.')[0] for name in sys.modules))"


def loaded(module: str) -> set[str]:
    """Top-level names of all modules that importing one module loads."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(module=module)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def test_a_worker_loads_nothing_that_talks_to_kubernetes_or_serves_the_admin_port() -> None:
    banned = {"kubernetes_asyncio", "aiohttp", "cryptography", "yaml", "prometheus_client"}
    assert loaded("router.worker") & (banned | {"ingress_controller"}) == set()


@pytest.mark.parametrize("module", ["ingress_controller.cli", "ingress_controller.commands.run"])
def test_a_wrong_flag_is_refused_before_anything_large_is_loaded(module: str) -> None:
    assert loaded(module) & {"kubernetes_asyncio", "aiohttp", "cryptography", "uvloop"} == set()
