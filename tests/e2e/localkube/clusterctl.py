#!/usr/bin/env python3
"""Acts on the cluster that the environment belongs to (CLUSTER_DIR).

clusterctl VERB-COMPONENT        VERB stop, start, restart, kill, pause (SIGSTOP) or resume;
                                 COMPONENT apiserver, etcd, controller-manager, kubelet, proxy or
                                 coredns. start and restart wait until it is ready.
clusterctl exec [-n NAMESPACE] POD [-c CONTAINER] -- COMMAND ...    inside the container
clusterctl client COMMAND ...    as a client outside of the cluster, 10.247.0.2 (10.247.1.0/24 is
                                 its own, too)
"""

import os
import socket
import sys
from pathlib import Path


def main() -> None:
    words = sys.argv[1:]
    folder = os.environ.get("CLUSTER_DIR")
    if not words or words[0] in ("-h", "--help"):
        sys.exit(__doc__.strip())
    if not folder:
        sys.exit("clusterctl: CLUSTER_DIR is not set: this only works inside a cluster")
    if words[0] == "client":
        os.execvp("ip", ["ip", "netns", "exec", "client", *words[1:]])
    if words[0] == "exec":
        enter(Path(folder), words[1:])
    verb, _, component = words[0].partition("-")
    if verb not in ("stop", "start", "restart", "kill", "pause", "resume") or not component:
        sys.exit(__doc__.strip())
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(f"{folder}/control")
        s.sendall(f"{verb} {component}\n".encode())
        answer = b"".join(iter(lambda: s.recv(65536), b"")).decode()
    if answer != "ok":
        sys.exit(f"clusterctl: {answer}")


def enter(folder: Path, words: list[str]) -> None:
    at = words.index("--") if "--" in words else len(words)
    names, command = words[:at], words[at + 1 :] or ["bash"]
    chosen = {"-n": "default", "-c": ""}
    while any(flag in names for flag in chosen):
        i = next(i for i, w in enumerate(names) if w in chosen)
        chosen[names[i]] = names[i + 1]
        del names[i : i + 2]
    if len(names) != 1:
        sys.exit(__doc__.strip())
    pids = [
        f
        for f in (folder / "pods" / chosen["-n"] / names[0]).glob(chosen["-c"] or "*")
        if f.suffix != ".log"
    ]
    if not pids:
        sys.exit(
            f"clusterctl: no such container runs: {chosen['-n']}/{names[0]} {chosen['-c']}".rstrip()
        )
    pid = pids[0].read_text()
    env = dict(
        x.partition("=")[::2] for x in Path(f"/proc/{pid}/environ").read_text().split("\0") if x
    )
    os.execvpe(
        "nsenter",
        ["nsenter", "--target", pid, "--net", "--mount", "--pid", "--uts", "--", *command],
        env,
    )


main()
