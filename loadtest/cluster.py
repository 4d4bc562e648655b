"""The Kubernetes API, as far as the load test changes something there.

In a Pod it is reached with the Pod's ServiceAccount. Elsewhere `kubectl proxy` gives access with
the user's kubeconfig, by a Unix socket that only they can open: so every kind of credentials that
kubectl knows will do.
"""

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT = 10.0
"""Seconds for one answer of the API."""
START_SECONDS = 15.0
POLL = 0.5
ROLLOUT_SECONDS = 600.0
"""A Deployment that is not updated within it never will be."""
RESTARTED = "loadtest.python-ingress.dev/restarted-at"


class ApiError(Exception):
    """The API refused, or cannot be reached; the message says what was asked and answered."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class _Unix(http.client.HTTPConnection):
    """Over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Cluster:
    """Asks the API; one connection a request."""

    def __init__(
        self, kubeconfig: str | None, context: str | None, path: Path, *, account: Path = ACCOUNT
    ) -> None:
        """
        Args:
            kubeconfig: of kubectl; None for kubectl's own choice, or the Pod's ServiceAccount.
            context: of that kubeconfig; None for its current one.
            path: of the socket, in a folder that only this user can enter.
            account: where the ServiceAccount's files are.

        Raises:
            ApiError: there is no way to the API.
        """
        self._proxy: subprocess.Popen[bytes] | None = None
        self._account = account
        self._in_pod = kubeconfig is None and context is None and (account / "token").exists()
        self._socket = path
        if not self._in_pod:
            self._start_proxy(kubeconfig, context)

    def _start_proxy(self, kubeconfig: str | None, context: str | None) -> None:
        program = shutil.which("kubectl")
        if program is None:
            raise ApiError("rules and Deployments are changed through kubectl, which is not there")
        command = [program, "proxy", f"--unix-socket={self._socket}"]
        command += [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
        command += [f"--context={context}"] if context else []
        self._proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self._socket.exists():
            if self._proxy.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise ApiError("kubectl proxy did not start; see its message above")
            time.sleep(0.05)

    def close(self) -> None:
        """Ends the way to the API."""
        if self._proxy is not None:
            self._proxy.terminate()
            self._proxy.wait(TIMEOUT)
        self._socket.unlink(missing_ok=True)

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Asks for something; a PATCH is a merge patch (RFC 7396).

        Raises:
            ApiError: the answer is none of success, or there is none.
        """
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        fields = {"Content-Type": kind, "Accept": "application/json"}
        connection = self._connection(fields)
        try:
            connection.request(method, path, json.dumps(body) if body else None, fields)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(f"{method} {path}: {type(error).__name__}: {error}") from None
        finally:
            connection.close()
        try:
            said = json.loads(text)
        except ValueError:
            said = {}
        if answer.status >= 300:
            raise ApiError(
                f"{method} {path}: {answer.status} {said.get('message', '')}", answer.status
            )
        return dict(said)

    def _connection(self, fields: dict[str, str]) -> http.client.HTTPConnection:
        if not self._in_pod:
            return _Unix(self._socket)
        fields["Authorization"] = f"Bearer {(self._account / 'token').read_text().strip()}"
        return http.client.HTTPSConnection(
            os.environ["KUBERNETES_SERVICE_HOST"],
            int(os.environ.get("KUBERNETES_SERVICE_PORT", "443")),
            timeout=TIMEOUT,
            context=ssl.create_default_context(cafile=str(self._account / "ca.crt")),
        )

    def restart(self, namespace: str, name: str) -> None:
        """Replaces all Pods of a Deployment, as `kubectl rollout restart` does, and waits for it.

        Raises:
            ApiError: the API refuses, or the Pods are not replaced in time.
        """
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        mark = {RESTARTED: str(time.time())}
        changed = self.request(
            "PATCH", path, {"spec": {"template": {"metadata": {"annotations": mark}}}}
        )
        generation = changed["metadata"]["generation"]
        deadline = time.monotonic() + ROLLOUT_SECONDS
        while not rolled_out(self.request("GET", path), generation):
            if time.monotonic() > deadline:
                raise ApiError(f"{namespace}/{name} was not updated within {ROLLOUT_SECONDS:g} s")
            time.sleep(POLL)


def rolled_out(deployment: Mapping[str, Any], generation: int) -> bool:
    """Whether all Pods are of that generation, available, and no others are left."""
    status = deployment.get("status", {})
    wanted = deployment["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= generation
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("replicas", 0) == status.get("updatedReplicas", 0)
        and status.get("availableReplicas", 0) >= wanted
    )
