#!/usr/bin/env python3
"""A real Kubernetes control plane on one machine, without containers, in namespaces of its own.

  cluster.py run [OPTIONS] -- COMMAND [ARG ...]    until COMMAND ends; exits with its status
  cluster.py up  [OPTIONS]                         until SIGINT or SIGTERM; prints how to enter

etcd, kube-apiserver (RBAC on) and kube-controller-manager come from --assets. With --pods also
kube-proxy, CoreDNS, a kubelet that runs Pods as local processes, and addresses for Services of type
LoadBalancer. README.md says what is real and what is not. Exit status 125: the cluster itself
failed. Needs root, iproute2, nftables, util-linux, openssl; with --pods also aiohttp.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from controlplane import machine
from controlplane.cluster import Cluster
from controlplane.component import ClusterError, first


async def serve(folder: Path, options: argparse.Namespace, command: list[str], pid: int) -> int:
    cluster, stop, begun = Cluster(folder, options), asyncio.Event(), time.monotonic()
    for s in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(s, stop.set)
    try:
        cluster.spawn(machine.bury_orphans())
        rising, stopped = asyncio.create_task(cluster.up()), asyncio.create_task(stop.wait())
        await first(rising, stopped)
        if not rising.done():
            return 143
        rising.result()
        print(f"cluster up in {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
        return await (
            cluster.run(command, stop) if options.verb == "run" else cluster.stay(stop, pid)
        )
    except ClusterError as e:
        print(f"cluster: {e}", file=sys.stderr, flush=True)
        return machine.FAILED
    finally:
        cluster.failed.cancel()  # whoever still waits for something to come up need not
        if options.keep_logs:
            await cluster.keep_logs(Path(options.keep_logs))


def main() -> int:
    a = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    a.add_argument("verb", choices=["run", "up"])
    a.add_argument(
        "--assets",
        default=os.environ.get("KUBEBUILDER_ASSETS")
        or str(Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "local-kube/bin"),
        help="folder of the binaries (default: %(default)s)",
    )
    a.add_argument(
        "--pods",
        action="store_true",
        help="with kubelet, kube-proxy, DNS and load balancer addresses",
    )
    a.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="REGEX=COMMAND",
        help="what an image runs when the Pod gives no command",
    )
    a.add_argument(
        "--image-root",
        action="append",
        default=[],
        metavar="REGEX=DIRECTORY",
        help="an image's files: DIRECTORY/bin comes first in PATH",
    )
    a.add_argument(
        "--renew-tokens",
        type=float,
        metavar="SECONDS",
        help="renew the tokens of ServiceAccounts in Pods this often (default: as Kubernetes does)",
    )
    a.add_argument(
        "--apiserver-arg",
        action="append",
        default=[],
        metavar="FLAG",
        help="one more flag for kube-apiserver",
    )
    a.add_argument(
        "--audit", action="store_true", help="write what Pods ask of the API server to audit.log"
    )
    a.add_argument(
        "--keep-logs",
        metavar="FOLDER",
        help="copy the logs of components and Pods there at the end",
    )
    a.add_argument(
        "--verbose", action="store_true", help="logs of the components go to standard error"
    )
    words = sys.argv[1:]
    at = words.index("--") if "--" in words else len(words)
    options, command = a.parse_args(words[:at]), words[at + 1 :]
    if bool(command) != (options.verb == "run"):
        a.error("run needs a command behind --" if options.verb == "run" else "up takes no command")
    options.assets = str(Path(options.assets).resolve())
    for number, (image, equals, root) in enumerate(x.partition("=") for x in options.image_root):
        if not equals or not Path(root).is_dir():
            a.error(f"--image-root {image}{equals}{root} does not name a folder")
        options.image_root[number] = (
            f"{image}={Path(root).absolute()}"  # Pods start in another folder
        )
    folder = tempfile.mkdtemp(prefix="kube-")
    try:
        return machine.enclosed(
            folder, lambda pid: asyncio.run(serve(Path(folder), options, command, pid))
        )
    except ClusterError as e:
        print(f"cluster: {e}", file=sys.stderr)
        return machine.FAILED
    finally:
        os.rmdir(folder)


if __name__ == "__main__":
    sys.exit(main())
