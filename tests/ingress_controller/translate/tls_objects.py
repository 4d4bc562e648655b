"""Secrets for tests of the translation, made of the certificates of `tests.tls`."""

import base64
import functools
import time

from ingress_controller.objects.config import ConfigMap, Kept, Secret
from ingress_controller.objects.meta import ObjectMeta
from ingress_controller.translate.options import Options
from tests.tls.certificates import Algorithm, authority
from tls.default import default_pair


def secret(
    name: str,
    *,
    namespace: str = "default",
    kept: Kept | None = None,
    **values: bytes | str,
) -> Secret:
    """A Secret with these values; ``tls_crt`` is ``tls.crt``."""
    data = {
        key.replace("_", "."): base64.b64encode(
            value.encode() if isinstance(value, str) else value
        ).decode()
        for key, value in values.items()
    }
    return Secret(ObjectMeta(name, namespace), "kubernetes.io/tls", data, kept=kept)


def pair_secret(
    name: str,
    *hosts: str,
    namespace: str = "default",
    algorithm: Algorithm = "ecdsa",
    serial: int = 0,
    kept: Kept | None = None,
    **more: bytes,
) -> Secret:
    """A Secret with a pair that works; each ``serial`` is another certificate."""
    certificate, key = issued(hosts, algorithm, serial)
    return secret(name, namespace=namespace, kept=kept, tls_crt=certificate, tls_key=key, **more)


@functools.cache
def issued(hosts: tuple[str, ...], algorithm: Algorithm, serial: int) -> tuple[bytes, bytes]:
    """A chain and its key, the same ones each time."""
    return authority().issue(hosts, algorithm=algorithm, subject=f"serial {serial}")


def authorities_pem(issuer: str = "test authority") -> bytes:
    """The contents of a ``ca.crt``."""
    return authority(issuer).certificate_pem


def authorities_map(name: str, issuer: str = "test authority") -> ConfigMap:
    """A ConfigMap with authorities."""
    return ConfigMap(ObjectMeta(name, "default"), {"ca.crt": authorities_pem(issuer).decode()})


@functools.cache
def https_options() -> Options:
    """HTTPS is served, with a default certificate."""
    return Options(https=True, https_port=443, default_certificate=default_pair(time.time()))
