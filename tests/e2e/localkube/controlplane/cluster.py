"""Which components there are, how they come up, and how a test acts on them."""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from . import credentials, machine
from .component import ClusterError, Component, first
from .machine import NODE_IP

HERE = Path(__file__).resolve().parent
API, ETCD = f"https://{NODE_IP}:6443", "http://127.0.0.1:2379"
CONTROLLERS = [
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "job-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "endpoints-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "clusterrole-aggregation-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
]
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}
"""What programs in Pods have asked for, and what they were answered; nobody else's requests."""
COREFILE = """.:53 {
  bind %s
  errors
  ready 127.0.0.1:8181
  loadbalance
  kubernetes cluster.local in-addr.arpa {
    kubeconfig %s
    pods insecure
  }
  template ANY ANY . {
    rcode NXDOMAIN
  }
}
"""


class Cluster:
    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.dir, self.options, self.assets = folder, options, Path(options.assets)
        self.token = os.urandom(16).hex()
        self.kubeconfig = self.dir / "kubeconfig"
        self.components: dict[str, Component] = {}
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def fail(self, message: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(ClusterError(message))

    # -- up --------------------------------------------------------------------
    async def up(self) -> None:
        pods = self.options.pods
        programs, tools = (
            ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"],
            ["ip", "mount", "openssl"],
        )
        machine.check(
            self.assets,
            programs + (["kube-proxy", "coredns"] if pods else []),
            tools + (["nft"] if pods else []),
        )
        if pods:
            machine.check_for_pods()
        machine.network()
        await self._etcd().start()
        credentials.make(self.dir, API, self.token)
        api = self._apiserver()
        await api.start()
        await self._or_failure(api.ready())
        rest = [
            self._controller_manager(),
            *([self._kubelet(), self._proxy(), self._dns()] if pods else []),
        ]
        for c in rest:
            await c.start()
        await self._or_failure(asyncio.gather(*(c.ready() for c in rest)))
        if pods:
            machine.resolver(self.dir)
            await self._or_failure(asyncio.to_thread(self._services))
        (self.dir / "bin").mkdir()
        (self.dir / "bin/clusterctl").symlink_to(HERE.parent / "clusterctl.py")
        await asyncio.start_unix_server(self._control, self.dir / "control")

    def _etcd(self) -> Component:
        return self._component(
            "etcd",
            data_dir=self.dir / "etcd",
            listen_client_urls=ETCD,
            advertise_client_urls=ETCD,
            listen_peer_urls="http://127.0.0.1:2380",
            unsafe_no_fsync="true",
            log_level="warn",
        )

    def _apiserver(self) -> Component:
        d = self.dir
        c = self._component(
            "kube-apiserver",
            f"{API}/readyz",
            etcd_servers=ETCD,
            bind_address="0.0.0.0",
            secure_port=6443,
            advertise_address=NODE_IP,  # what the Service kubernetes.default leads to
            service_cluster_ip_range="10.96.0.0/16",
            tls_cert_file=d / "server.crt",
            tls_private_key_file=d / "server.key",
            cert_dir=d / "certs",
            client_ca_file=d / "ca.crt",
            token_auth_file=d / "tokens.csv",
            authorization_mode="RBAC",
            service_account_issuer="https://kubernetes.default.svc.cluster.local",
            service_account_signing_key_file=d / "sa.key",
            service_account_key_file=d / "sa.key",
            allow_privileged="true",
            kubelet_preferred_address_types="InternalIP",
            enable_priority_and_fairness="false",  # a test may ask as fast as it can
            max_requests_inflight=0,
            max_mutating_requests_inflight=0,
        )
        if self.options.audit:
            (d / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))
            c.command += [
                f"--audit-policy-file={d}/audit-policy.json",
                f"--audit-log-path={d}/audit.log",
            ]
        c.command += self.options.apiserver_arg
        return c

    def _controller_manager(self) -> Component:
        return self._component(
            "kube-controller-manager",
            f"{API}/api/v1/namespaces/default/serviceaccounts/default",
            kubeconfig=self.kubeconfig,
            controllers=",".join(CONTROLLERS),
            leader_elect="false",
            service_account_private_key_file=self.dir / "sa.key",
            root_ca_file=self.dir / "ca.crt",
            cert_dir=self.dir / "certs",
            bind_address="127.0.0.1",
            kube_api_qps=500,
            kube_api_burst=1000,
            concurrent_deployment_syncs=10,
        )

    def _kubelet(self) -> Component:
        d, o = self.dir, self.options
        files = {"ca": d / "ca.crt", "cert": d / "server.crt", "key": d / "server.key", "dir": d}
        c = self._component(
            "kubelet", f"{API}/api/v1/nodes/local-node", server=API, token=self.token, **files
        )
        c.command[:1] = [sys.executable, "-m", "kubelet"]
        c.command += [f"--image={x}" for x in o.image] + [f"--image-root={x}" for x in o.image_root]
        c.command += [f"--renew-tokens={o.renew_tokens}"] if o.renew_tokens else []
        return c

    def _proxy(self) -> Component:
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": str(self.kubeconfig)},
            "clusterCIDR": "10.244.0.0/16",
            "hostnameOverride": "local-node",
            "nodePortAddresses": ["0.0.0.0/0"],
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "nftables": {"minSyncPeriod": "10ms", "syncPeriod": "30s"},
            # Conntrack limits belong to the machine, not to a namespace: they must be left alone.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        }
        (self.dir / "kube-proxy.json").write_text(json.dumps(config))
        return self._component(
            "kube-proxy", "http://127.0.0.1:10256/healthz", config=self.dir / "kube-proxy.json"
        )

    def _dns(self) -> Component:
        (self.dir / "Corefile").write_text(COREFILE % (NODE_IP, self.kubeconfig))
        return self._component("coredns", "http://127.0.0.1:8181/ready", conf=self.dir / "Corefile")

    def _services(self) -> None:
        """Makes the DNS Service and waits until kube-proxy serves it and the API server's own."""
        meta = {"name": "kube-dns", "namespace": "kube-system"}
        ports = [
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        ]
        slice_ = {
            "metadata": meta | {"labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [NODE_IP]}],
            "ports": ports,
        }
        for path, body in (
            (
                f"{API}/api/v1/namespaces/kube-system/services",
                {"metadata": meta, "spec": {"clusterIP": "10.96.0.10", "ports": ports}},
            ),
            (f"{API}/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices", slice_),
        ):
            if error := self.get(path, 10, self.failed.done, body):
                raise ClusterError(f"The DNS Service could not be made: {error}.")
        end = time.monotonic() + 30
        for address in ("10.96.0.10", 53), ("10.96.0.1", 443):
            while not self.failed.done():
                try:
                    socket.create_connection(address, 0.2).close()
                    break
                except OSError as e:
                    if time.monotonic() > end:
                        tail = self.components["kube-proxy"].tail()
                        text = f"Service address {address[0]} does not answer: {e}.{tail}"
                        raise ClusterError(text) from e
                    time.sleep(0.02)

    def _component(self, name: str, ready: str = "", **flags: object) -> Component:
        """One with flags named like the arguments; it is well when the URL answers."""
        command = [
            str(self.assets / name),
            *(f"--{k.replace('_', '-')}={v}" for k, v in flags.items()),
        ]
        self.components[name] = c = Component(self, name, command, ready)
        return c

    async def _or_failure(self, work: Awaitable[Any]) -> None:
        future = asyncio.ensure_future(work)
        await first(future, self.failed)
        if self.failed.done():
            self.failed.result()
        future.result()

    def get(
        self, url: str, seconds: float, give_up: Callable[[], bool], body: object = None
    ) -> str | None:
        """Asks until the answer is good; otherwise what was wrong last."""
        tls = ssl.create_default_context(cafile=str(self.dir / "ca.crt"))
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.token}"} if url.startswith(API) else {}
        )
        error, end = "no answer", time.monotonic() + seconds
        while time.monotonic() < end and not give_up():
            try:
                data = None if body is None else json.dumps(body).encode()
                with urllib.request.urlopen(
                    urllib.request.Request(url, data, headers),
                    context=tls if url.startswith("https") else None,
                    timeout=5,
                ):
                    return None
            except (OSError, http.client.HTTPException) as e:
                error = str(e)
            time.sleep(0.05)
        return error

    def environment(self) -> dict[str, str]:
        return {
            "KUBECONFIG": str(self.kubeconfig),
            "CLUSTER_DIR": str(self.dir),
            "PATH": f"{self.dir}/bin:{self.assets}:{os.environ['PATH']}",
        }

    # -- while it is up --------------------------------------------------------
    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One line "VERB COMPONENT", answered by "ok" or by what was wrong (see clusterctl)."""
        verb, _, name = (await reader.readline()).decode().strip().partition(" ")
        component = self.components.get(name) or self.components.get(f"kube-{name}")
        try:
            if component is None:
                raise ClusterError(f"there is no {name}; there are {', '.join(self.components)}")
            if verb in ("stop", "restart"):
                await component.stop()
            if verb == "kill":
                await component.stop(signal.SIGKILL)
            if verb in ("start", "restart"):
                await component.start()
                await component.ready()
            if verb in ("pause", "resume"):
                component.signal(signal.SIGSTOP if verb == "pause" else signal.SIGCONT)
            answer = "ok"
        except ClusterError as e:
            answer = str(e)
        writer.write(answer.encode())
        writer.close()

    async def run(self, command: list[str], stop: asyncio.Event) -> int:
        try:
            process = await asyncio.create_subprocess_exec(
                *command, env={**os.environ, **self.environment()}
            )
        except OSError as e:
            print(f"cluster: {command[0]}: {e.strerror}", file=sys.stderr)
            return 127
        ended, stopped = asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())
        await first(ended, stopped, self.failed)
        if not ended.done():
            process.terminate()
            await asyncio.wait({ended}, timeout=10)
        if self.failed.done():
            self.failed.result()
        code = process.returncode
        return 143 if code is None else 128 - code if code < 0 else code

    async def stay(self, stop: asyncio.Event, pid: int) -> int:
        words = [
            f"{k}={v}" if k != "PATH" else f"PATH={self.dir}/bin:{self.assets}:$PATH"
            for k, v in self.environment().items()
        ]
        print(f"kubeconfig: {self.kubeconfig} (inside)")
        print(
            f"enter:      nsenter --target {pid} --net --mount --pid env {' '.join(words)} bash",
            flush=True,
        )
        stopped = asyncio.create_task(stop.wait())
        await first(stopped, self.failed)
        if self.failed.done():
            self.failed.result()
        return 0

    async def keep_logs(self, folder: Path) -> None:
        if kubelet := self.components.get("kubelet"):
            await kubelet.stop()  # it writes down what its Pods have said
        for log in (*self.dir.glob("*.log"), *self.dir.glob("pods/**/*.log")):
            copy = folder / log.relative_to(self.dir)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(log, copy)
