"""The namespaces of a cluster, their network, and what the machine must have for them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from .component import ClusterError

HERE = Path(__file__).resolve().parent
FAILED = 125  # exit status when it is the cluster that failed

NODE_IP = "10.244.0.1"
NEWNS, NEWPID, NEWNET = 0x20000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG = 1
NETWORK = f"""link set lo up
link add node0 type veth peer name nowhere
address add {NODE_IP}/32 dev node0
link set node0 up
route add local 10.245.0.0/16 dev lo
route add 10.96.0.0/16 dev node0 src {NODE_IP}
route add 10.246.0.0/24 dev node0 src {NODE_IP}
link add client0 type veth peer name eth0 netns client
address add 10.247.0.1/16 dev client0
link set client0 up
"""
CLIENT = """link set lo up
address add 10.247.0.2/16 dev eth0
link set eth0 up
route add local 10.247.1.0/24 dev lo
route add default via 10.247.0.1
"""
SYSCTLS = {"net/ipv4/ip_forward": "1", "net/ipv4/conf/all/rp_filter": "0"}


def sh(*command: str, text: str | None = None) -> None:
    r = subprocess.run(command, input=text, capture_output=True, text=True)
    if r.returncode:
        raise ClusterError(f"{' '.join(command)} failed: {(r.stderr or r.stdout).strip()}")


def check(assets: Path, programs: list[str], tools: list[str]) -> None:
    """Says what the machine lacks, before anything is started."""
    if missing := [x for x in programs if not os.access(assets / x, os.X_OK)]:
        build = HERE.parent / "build"
        raise ClusterError(
            f"{assets} has no {', '.join(missing)}: "
            f"run {build}, or point KUBEBUILDER_ASSETS or --assets to them."
        )
    if missing := [x for x in tools if not shutil.which(x)]:
        raise ClusterError(
            f"This machine has no {', '.join(missing)}: "
            "install iproute2, nftables, util-linux and openssl."
        )


def check_for_pods() -> None:
    if subprocess.run([sys.executable, "-c", "import aiohttp"], capture_output=True).returncode:
        raise ClusterError(f"--pods needs aiohttp for {sys.executable}.")
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        raise ClusterError("--pods needs the overlay file system (modprobe overlay).")


def network() -> None:
    """The node's network, and the namespace "client" for somebody outside of the cluster."""
    with contextlib.suppress(FileExistsError):
        Path("/run/netns").mkdir(parents=True)
    sh(
        "mount", "-t", "tmpfs", "netns", "/run/netns"
    )  # so that names do not meet those of other clusters
    sh("ip", "netns", "add", "client")
    sh("ip", "-batch", "-", text=NETWORK)
    sh("ip", "-n", "client", "-batch", "-", text=CLIENT)
    for name, value in SYSCTLS.items():
        Path("/proc/sys", name).write_text(value)


def resolver(folder: Path) -> None:
    """Names of Services are known to whoever enters, too."""
    resolv = Path("/etc/resolv.conf")
    if resolv.exists():
        (folder / "resolv.conf").write_text(
            "nameserver 10.96.0.10\nsearch svc.cluster.local cluster.local\n"
        )
        sh("mount", "--bind", f"{folder}/resolv.conf", str(resolv))


def enclosed(folder: str, inside: Callable[[int], int]) -> int:
    """Calls inside(pid seen from here) as first process of PID, network and mount namespaces of its
    own. Whatever is made in there, files in the folder included, is gone when that process is; and
    it goes when this one does, however that ends.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEWPID):
        raise ClusterError(
            f"No new namespaces: {os.strerror(ctypes.get_errno())}. This needs root."
        )
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = FAILED
        try:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            pid = int(os.read(read, 20))
            if libc.unshare(NEWNS | NEWNET):
                raise ClusterError(f"No new namespaces: {os.strerror(ctypes.get_errno())}.")
            sh("mount", "--make-rprivate", "/")
            sh("mount", "-t", "proc", "proc", "/proc")
            sh("mount", "-t", "tmpfs", "-o", "mode=755", "cluster", folder)
            code = inside(pid)
        except ClusterError as e:
            print(f"cluster: {e}", file=sys.stderr, flush=True)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    for s in (
        signal.SIGTERM,
        signal.SIGINT,
        *([] if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [signal.SIGHUP]),
    ):
        signal.signal(
            s,
            lambda number, _: os.kill(child, signal.SIGTERM if number == signal.SIGHUP else number),
        )
    os.write(write, str(child).encode())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def bury_orphans() -> None:
    """The first process of a PID namespace inherits orphans. What stays dead for a while was
    started by somebody else: asyncio fetches its own at once.
    """
    before = 0
    while True:
        await asyncio.sleep(0.5)
        with contextlib.suppress(ChildProcessError):
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            dead = os.waitid(os.P_ALL, 0, flags)  # noqa: ASYNC222 # does not wait
            if dead and dead.si_pid == before:
                os.waitpid(before, 0)  # noqa: ASYNC222 # it is dead
            before = dead.si_pid if dead else 0
