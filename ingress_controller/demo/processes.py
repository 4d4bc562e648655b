"""Starts the sample backends, and writes the EndpointSlices that name their ports."""

import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

MANIFESTS = Path(__file__).parent / "manifests"

BACKENDS: Mapping[str, Sequence[str]] = {
    "shop": ("shop-1", "shop-2"),
    "cart": ("cart-1",),
    "live": ("live-1",),
    "tenants": ("tenants-1",),
    "welcome": ("welcome-1",),
    "secure": ("secure-1",),
}
"""Sample Services of namespace ``demo`` and the backends that serve each of them."""

START_SECONDS = 20.0
END_SECONDS = 3.0


class SampleBackends:
    """The running backends; a context manager that ends them."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> Self:
        for names in BACKENDS.values():
            for name in names:
                self._processes[name] = subprocess.Popen(  # noqa: S603 # our own program
                    [sys.executable, "-P", "-m", "ingress_controller.demo.backend", name],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    # Ctrl-C on the terminal is for us; they end when we close their input.
                    start_new_session=True,
                )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for process in self._processes.values():
            if process.stdin is not None:
                process.stdin.close()
        deadline = time.monotonic() + END_SECONDS
        for process in self._processes.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def ports(self) -> dict[str, int]:
        """The port of each backend, once all of them listen.

        Raises:
            RuntimeError: one does not start.
        """
        deadline = time.monotonic() + START_SECONDS
        ports = {}
        for name, process in self._processes.items():
            assert process.stdout is not None  # noqa: S101 # it was asked for
            wait = max(0.0, deadline - time.monotonic())
            line = (
                process.stdout.readline()
                if select.select([process.stdout], [], [], wait)[0]
                else ""
            )
            if not line:
                raise RuntimeError(f"the sample backend {name} did not start; see its error above")
            ports[name] = int(line)
        return ports


def write_slices(folder: Path, ports: Mapping[str, int]) -> None:
    """Writes one EndpointSlice a Service, as a cluster's own controller would."""
    for service, names in BACKENDS.items():
        # A slice has one set of ports for all its endpoints; the samples differ in their ports.
        slices = [_slice(service, name, ports[name]) for name in names]
        text = yaml.safe_dump_all(slices, sort_keys=False)
        (folder / f"{service}.yaml").write_text(text, encoding="utf-8")


def _slice(service: str, name: str, port: int) -> dict[str, object]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "demo",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }
