"""The started program: `python -m ingress_controller …` as a person would run it.

Ports are free ones; where they are is read from the log. The process is ended by its id.
"""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"INGRESS_LOG_FORMAT": "json", "INGRESS_HTTPS_PORT": "0"}
PATIENCE = 20.0
"""Seconds until something that should happen counts as never happening."""


class Answer(NamedTuple):
    """What a client got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    address: str, path: str, host: str = "", method: str = "GET", timeout: float = 10.0
) -> Answer:
    """One request on a new connection.

    Raises:
        OSError, http.client.HTTPException: there was no complete answer.
    """
    where, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(where.strip("[]"), int(port), timeout=timeout)
    with contextlib.closing(connection):
        connection.request(method, path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())


class Program:
    """One run; a context manager that ends it at once if it still runs."""

    def __init__(
        self,
        *words: str,
        variables: Mapping[str, str] | None = None,
        module: str = "ingress_controller",
    ) -> None:
        """``module`` is run; another one than the program's own must end in running it."""
        self._words = (module, *words)
        self._variables = variables or {}
        self.log: list[dict[str, str]] = []
        """Events of the control log so far."""
        self.output: list[str] = []
        """Lines of standard output so far."""
        self.errors: list[str] = []
        """Lines of standard error that are no events."""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *self._words],
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT, **self._variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stderr, self._hear)),
            threading.Thread(target=self._read, args=(self.process.stdout, self.output.append)),
        ]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(PATIENCE)
        if error is not None:
            sys.stderr.write(f"control log of the failed test: {self.log}\n{self.errors}\n")

    @staticmethod
    def _read(stream: Any, take: Callable[[str], None]) -> None:
        with stream:
            for line in stream:
                take(line.rstrip("\n"))

    def _hear(self, line: str) -> None:
        try:
            self.log.append(json.loads(line))
        except ValueError:
            self.errors.append(line)

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Waits until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"never: {what}; log: {self.log} {self.errors}"
            assert self.process.poll() is None or holds(), f"ended before: {what}; {self.errors}"
            time.sleep(0.01)

    def events(self, beginning: str) -> list[dict[str, str]]:
        """Log events whose sentence begins so."""
        return [each for each in self.log if each["event"].startswith(beginning)]

    def ready(self) -> Self:
        """Waits until it serves."""
        self.until(lambda: self.events("ready"), "ready")
        return self

    @property
    def http(self) -> str:
        return self.events("ready")[0]["http"].split(",")[0]

    @property
    def https(self) -> str:
        return self.events("ready")[0]["https"].split(",")[0]

    @property
    def admin(self) -> str:
        return self.events("ready")[0]["admin"].split(",")[0]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and waits; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def worker_pids(self) -> list[int]:
        """Processes that the control process has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]


@contextlib.contextmanager
def sample_backend(name: str) -> Iterator[int]:
    """A backend of the demo as a process; gives its port."""
    with subprocess.Popen(
        [sys.executable, "-m", "ingress_controller.demo.backend", name],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.stdin.close()
        process.wait(PATIENCE)


def ingress(
    name: str,
    host: str,
    service: str = "shop",
    path: str = "/",
    *,
    tls: str = "",
    annotations: Mapping[str, str] | None = None,
) -> str:
    """An Ingress as YAML; ``tls`` is the name of a Secret."""
    termination = f"[{{hosts: [{host}], secretName: {tls}}}]" if tls else "[]"
    return f"""\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: test, annotations: {json.dumps(annotations or {})}}}
spec:
  ingressClassName: python
  tls: {termination}
  rules:
    - host: {host}
      http:
        paths:
          - path: {path}
            pathType: Prefix
            backend: {{service: {{name: {service}, port: {{number: 80}}}}}}
"""


def service(name: str, *ports: int, ready: bool = True) -> str:
    """A Service, and a slice with one endpoint on loopback for each port, as YAML."""
    text = f"""\
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: test}}
spec:
  ports: [{{name: http, port: 80}}]
"""
    for port in ports:
        text += "---\n" + endpoint_slice(f"{name}-{port}", name, port, ready=ready)
    return text


def tls_secret(name: str, certificate: bytes, key: bytes, **more: str) -> str:
    """A Secret with certificate and key, as YAML."""
    values = {"tls.crt": certificate.decode(), "tls.key": key.decode(), **more}
    return f"""\
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: test}}
type: kubernetes.io/tls
stringData: {json.dumps(values)}
"""


def endpoint_slice(name: str, service_name: str, port: int, *, ready: bool = True) -> str:
    """An EndpointSlice with one endpoint, as YAML."""
    return f"""\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}
  namespace: test
  labels: {{kubernetes.io/service-name: {service_name}}}
addressType: IPv4
endpoints:
  - addresses: [127.0.0.1]
    conditions: {{ready: {str(ready).lower()}, serving: {str(ready).lower()}}}
ports: [{{name: http, port: {port}}}]
"""
