"""The objects that are there: Ingresses of two paths, each with a Service and a slice."""

import base64
from collections.abc import Iterator

from tests.e2e import objects
from tests.e2e.certificates import Certificate
from tests.e2e.kube import Object

NAMESPACES = 20
PORT = 8000
"""Where the backend listens, on every address."""


def namespace(number: int) -> str:
    return f"m{number % NAMESPACES}"


def namespaces() -> list[Object]:
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"m{number}"}}
        for number in range(NAMESPACES)
    ]


def host(number: int) -> str:
    return f"h{number}.measure.test"


def address(number: int) -> str:
    """An address of the node; the backend answers on all of 10.245.0.0/16."""
    return f"10.245.{number // 250 % 240}.{number % 250 + 1}"


def inside(number: int, obj: Object) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "namespace": namespace(number)}}


def ingress(number: int, *, api: str = "/api", secret: str = "") -> Object:
    """Two paths of one host, to one Service."""
    made = objects.ingress(
        f"i{number}",
        objects.paths_of(
            host(number), objects.path("/", f"s{number}"), objects.path(api, f"s{number}")
        ),
        tls=[objects.tls_entry(secret, host(number))] if secret else (),
        annotations={"nginx.ingress.kubernetes.io/ssl-redirect": "false"} if secret else {},
    )
    return inside(number, made)


def service(number: int) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": PORT}]
    return inside(number, objects.service(f"s{number}", selects=False, ports=ports))


def endpoint_slice(number: int, at: str = "", *, part: int = 1) -> Object:
    where = at or address(number)
    made = objects.endpoint_slice(f"s{number}", where, name=f"s{number}-{part}", port=PORT)
    return inside(number, made)


def everything(first: int, last: int) -> Iterator[Object]:
    """All objects of Ingresses from ``first`` to before ``last``."""
    for number in range(first, last):
        yield service(number)
        yield endpoint_slice(number)
        yield ingress(number)


def secret(number: int, certificate: Certificate) -> Object:
    data = {"tls.crt": certificate.pem, "tls.key": certificate.private_key}
    return inside(
        number,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": f"t{number}"},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        },
    )
