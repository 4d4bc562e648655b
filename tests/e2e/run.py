"""Runs the end-to-end tests on a real control plane: `run.py [--measure] [PYTEST ARGUMENT …]`.

Brings up etcd, kube-apiserver and the rest on this machine (localkube/README.md), in namespaces of
their own, building them first when needed; or takes the cluster of KUBECONFIG when
USE_EXISTING_CLUSTER=true. What the machine lacks is said, and then nothing is run: exit status 0,
or 3 with --required. Other failures are failures.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LOCALKUBE = HERE / "localkube"
TOOLS = {"ip": "iproute2", "nft": "nftables", "unshare": "util-linux", "openssl": "openssl"}
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kubectl", "coredns")
IMAGE = "^ghcr.io/python-ingress/controller"
SKIPPED = 3
TOKEN_SECONDS = 15
"""Pods get new tokens so often: tests need not wait for the hour that they live for."""


class LackingError(Exception):
    """What this machine lacks to run a control plane."""


def check_machine() -> None:
    """Raises LackingError when no cluster can be brought up here."""
    if sys.platform != "linux":
        raise LackingError("Linux is needed for a control plane of its own")
    if os.geteuid() != 0:
        raise LackingError("root is needed for namespaces of its own (sudo make e2e)")
    if missing := sorted(package for tool, package in TOOLS.items() if not shutil.which(tool)):
        raise LackingError(f"install {', '.join(missing)}")
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        raise LackingError("the overlay file system is needed (modprobe overlay)")
    # Containers that run continuous integration often may not make namespaces.
    probe = ["unshare", "--pid", "--net", "--mount", "--fork", "mount", "-t", "tmpfs", "x", "/mnt"]
    done = subprocess.run(probe, capture_output=True, text=True)
    if done.returncode:
        raise LackingError(f"namespaces cannot be made here: {done.stderr.strip()}")


def binaries() -> str:
    """The folder of the control plane's programs, built when it is not there.

    Raises:
        LackingError: there is neither KUBEBUILDER_ASSETS nor Go nor a way to Go's modules.
    """
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        if missing := [name for name in PROGRAMS if not os.access(f"{assets}/{name}", os.X_OK)]:
            raise LackingError(f"KUBEBUILDER_ASSETS={assets} has no {', '.join(missing)}")
        return assets
    build = [str(LOCALKUBE / "build")]
    known = subprocess.run([*build, "--built"], capture_output=True, text=True)
    if known.returncode == 0:
        return known.stdout.strip()
    if not shutil.which("go"):
        raise LackingError("Go is needed to build a control plane, or KUBEBUILDER_ASSETS")
    print("e2e: building a control plane, once; about ten minutes on two cores", flush=True)
    fetched = subprocess.run([*build, "--fetch"], capture_output=True, text=True)
    if fetched.returncode:
        raise LackingError(f"Go's modules cannot be fetched: {fetched.stderr.strip()[-500:]}")
    return subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def local(assets: str, command: list[str], *, pods: bool) -> list[str]:
    """The command in a cluster of its own: as a client outside of it; without Pods, on its node."""
    # The interpreter's folder is the image: its virtual environment holds this project.
    cluster = [sys.executable, str(LOCALKUBE / "cluster.py"), "run", "--assets", assets]
    if pods:
        cluster += ["--pods", "--audit", "--image-root", f"{IMAGE}={sys.prefix}"]
        cluster += ["--renew-tokens", str(TOKEN_SECONDS)]
        command = ["clusterctl", "client", *command]
    if logs := os.environ.get("E2E_LOGS"):
        cluster += ["--keep-logs", logs]
    return [*cluster, "--", *command]


def become(command: list[str]) -> NoReturn:
    """Signals and the exit status are the command's."""
    os.chdir(ROOT)
    os.execv(command[0], command)  # noqa: S606 # nothing is left to do here


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", action="store_true", help="measure instead of test")
    parser.add_argument(
        "--required", action="store_true", help="fail when the machine lacks something"
    )
    options, words = parser.parse_known_args()
    if not any(Path(word.partition("::")[0]).exists() for word in words):
        words.append(str(HERE))
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", *words]
    if options.measure:
        command = [sys.executable, "-m", "tests.e2e.measure.run"]
    if os.environ.get("USE_EXISTING_CLUSTER") == "true":
        become(command)
    try:
        check_machine()
        assets = binaries()
    except LackingError as lacking:
        print(f"e2e: skipped: {lacking}", flush=True)
        return SKIPPED if options.required else 0
    become(local(assets, command, pods=not options.measure))


if __name__ == "__main__":
    sys.exit(main())
