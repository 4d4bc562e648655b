"""The controller of this repository."""

import base64
import importlib.util
import sys
from string import Template

from loadtest.configurations.setting import ADDRESSES, Command, Missing, Setting
from loadtest.lane import HOST

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
