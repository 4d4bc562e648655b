"""A network of a test's own: addresses that are not loopback, and paths that can be cut.

A cluster's API never names endpoints on loopback, so the program refuses them there; backends of
such tests need other addresses. Linux gives each thread its network namespace: the thread that
enters one takes what it starts with it, threads and processes, and nothing outside sees any of it.
"""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator

PODS = ("10.9.0.1", "10.9.0.2", "10.9.0.3")
"""Where backends listen."""
CONTROL_PLANE = "10.9.1.1"
"""Where the API server listens."""

_NEWNET = 0x40000000  # CLONE_NEWNET


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """This thread is in a network of its own, with loopback and the addresses above.

    Sockets that were made inside stay there. What was started inside must have ended with it.

    Raises:
        OSError, subprocess.SubprocessError: not here: it needs Linux, root and ip(8).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _check(libc.unshare(_NEWNET))
        try:
            _ip(
                "link set lo up",
                *(f"address add {each}/32 dev lo" for each in (*PODS, CONTROL_PLANE)),
            )
            yield
        finally:
            _check(libc.setns(before, _NEWNET))
    finally:
        os.close(before)


def cut_path() -> None:
    """What is sent to the control plane is lost, and nobody is told; new connections hang."""
    _ip(
        "link add void type veth peer name beyond",
        "link set void up",
        "link set beyond up",
        f"neighbour add {CONTROL_PLANE} lladdr 02:00:00:00:00:01 dev void nud permanent",
        f"address del {CONTROL_PLANE}/32 dev lo",
        f"route add {CONTROL_PLANE}/32 dev void src {PODS[0]}",
    )


def restore_path() -> None:
    """The control plane can be reached again, on the connections from before, too."""
    _ip(f"address add {CONTROL_PLANE}/32 dev lo", "link del void")


def _ip(*commands: str) -> None:
    subprocess.run(
        ["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True, timeout=10
    )


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
