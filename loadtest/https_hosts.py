"""What many hosts with certificates of their own cost: start, memory, first handshakes.

    python -m loadtest.https_hosts [--hosts N]

Starts this controller alone with N Ingresses, each with a host and a Secret of its own, and asks
every host for a TLS 1.3 handshake, twice, one after the other. A worker makes the context of a host
when it is first asked for; the second handshake finds it. Both are full handshakes, and both ends
are in the time: the client (Python's ssl, on another core) verifies chain and name.
"""

import argparse
import base64
import contextlib
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from string import Template

if __package__ in (None, ""):  # started by file name: the repository is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from loadtest import configurations, cpu, peers
from tls.default import LocalAuthority

MAX_HOSTS = 20_000
START_SECONDS = 120.0
STOP_SECONDS = 10.0
ANSWER_SECONDS = 10.0

_HOST = Template("""\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {namespace: bench, name: host-$number}
spec:
  ingressClassName: python
  tls: [{hosts: [$host], secretName: host-$number-tls}]
  rules:
    - host: $host
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}
---
apiVersion: v1
kind: Secret
metadata: {namespace: bench, name: host-$number-tls}
type: kubernetes.io/tls
data: {tls.crt: $chain, tls.key: $key}
""")


def host_name(number: int) -> str:
    """The host with this number."""
    return f"host-{number}.example"


def write_hosts(folder: Path, count: int, authority: LocalAuthority) -> None:
    """A file for each host in this new folder."""
    folder.mkdir()
    for number in range(count):
        chain, key = authority.issue([host_name(number)])
        text = _HOST.substitute(
            number=number,
            host=host_name(number),
            chain=base64.b64encode(chain).decode(),
            key=base64.b64encode(key).decode(),
        )
        (folder / f"host-{number}.yaml").write_text(text)


def _is_ready(admin_port: int) -> bool:
    with contextlib.suppress(OSError):
        asked = f"http://127.0.0.1:{admin_port}/readyz"
        with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS) as answer:
            return bool(answer.status == 200)
    return False


@contextlib.contextmanager
def running(command: configurations.Command, admin_port: int, core: int) -> Iterator[list[int]]:
    """The program on this core, ready; gives its processes, the control process first.

    Raises:
        OSError: it ended, or was not ready in time.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        process = subprocess.Popen(command.argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    finally:
        os.sched_setaffinity(0, before)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _is_ready(admin_port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise OSError("the controller was started but is not ready")
            time.sleep(0.01)
        yield cpu.tree(process.pid)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def resident_mib(pid: int) -> float:
    """Memory of a process, with what it shares with others."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def handshake_ms(port: int, host: str, context: ssl.SSLContext) -> float:
    """From the ClientHello to the end of the handshake as the client sees it.

    Raises:
        OSError: there is no handshake, or its certificate is not this host's.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as plain:
        began = time.perf_counter()
        with context.wrap_socket(plain, server_hostname=host):
            return (time.perf_counter() - began) * 1e3


def spread(costs: list[float]) -> str:
    """Median and 99 % as text."""
    ordered = sorted(costs)
    late = ordered[len(ordered) * 99 // 100]
    return f"{statistics.median(ordered):.1f} ms (median), {late:.1f} ms (99 %)"


def measure(folder: Path, count: int, core: int) -> dict[str, str]:
    """Run it all in this folder, the controller on this core; rows of the table.

    Raises:
        OSError: the controller does not start, or a handshake failed.
    """
    port, https_port, admin_port, backend_port = peers.free_ports(4)
    setting = configurations.Setting(
        folder=folder,
        port=port,
        https_port=https_port,
        certificate=configurations.certificate(),
        admin_port=admin_port,
        backend_port=backend_port,
        large_buffers=False,
    )
    command = configurations.ours(setting)
    authority = LocalAuthority(time.time())
    write_hosts(folder / "manifests" / "hosts", count, authority)
    context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    names = [host_name(number) for number in range(count)]
    began = time.perf_counter()
    with running(command, admin_port, core) as pids:
        started = time.perf_counter() - began
        control, worker = pids[0], pids[1]
        before = resident_mib(worker)
        first = [handshake_ms(https_port, name, context) for name in names]
        later = [handshake_ms(https_port, name, context) for name in names]
        return {
            'from the start of the program to "ready"': f"{started:.1f} s",
            "control process": f"{resident_mib(control):.0f} MiB",
            "worker before the first handshake": f"{before:.0f} MiB",
            "worker after two handshakes with every host": f"{resident_mib(worker):.0f} MiB",
            "first handshake of a host": spread(first),
            "second handshake of a host": spread(later),
        }


def main() -> int:
    """0 when it was measured, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.https_hosts",
        description="Start, memory and first handshakes of many hosts with own certificates.",
        epilog="Example: python -m loadtest.https_hosts --hosts 500",
    )
    parser.add_argument("--hosts", type=int, default=2000, help="how many (default: 2000)")
    count = parser.parse_args().hosts
    if not 1 <= count <= MAX_HOSTS:
        parser.error(f"--hosts is 1 to {MAX_HOSTS}")
    with tempfile.TemporaryDirectory(prefix="hosts-") as folder:
        try:
            proxy_core, load_core = cpu.two_cores()
            os.sched_setaffinity(0, {load_core})
            rows = measure(Path(folder), count, proxy_core)
        except (OSError, ValueError, configurations.Missing) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print(f"{count} hosts, each with an Ingress and an ECDSA certificate of its own, one worker:\n")
    width = max(map(len, rows))
    for what, value in rows.items():
        print(f"  {what:{width}}  {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
