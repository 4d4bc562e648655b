"""Certificates of the demo: a local authority, and what it issues, in a folder that goes with it.

The authority's key stays in memory. Nobody trusts it but those who are given its certificate, which
is what ``curl --cacert`` is for.
"""

from pathlib import Path
from typing import NamedTuple

import yaml

from tls.default import LocalAuthority

HOSTS = ("secure.example", "members.example")
"""Of `manifests/secure.yaml`."""


class CertificateFiles(NamedTuple):
    """What curl needs to know."""

    authority: Path
    """Whom to trust, as PEM."""
    client: Path
    """A certificate for clients, with its key, as PEM."""


def write_certificates(manifests: Path, files: Path, now: float) -> CertificateFiles:
    """Writes the Secrets that `manifests/secure.yaml` names, and what curl needs.

    Args:
        manifests: folder of manifests that is served.
        files: folder that only the owner of the demo can read.
        now: Unix seconds.
    """
    authority = LocalAuthority(now, "python-ingress demo authority")
    certificate, key = authority.issue(HOSTS)
    secrets = [
        _secret(
            "secure-tls",
            "kubernetes.io/tls",
            {"tls.crt": certificate.decode(), "tls.key": key.decode()},
        ),
        _secret("members-ca", "Opaque", {"ca.crt": authority.certificate_pem.decode()}),
    ]
    text = yaml.safe_dump_all(secrets, sort_keys=False)
    (manifests / "secrets.yaml").write_text(text, encoding="utf-8")
    written = CertificateFiles(files / "ca.pem", files / "client.pem")
    written.authority.write_bytes(authority.certificate_pem)
    written.client.write_bytes(b"".join(authority.issue([], subject="alice", client=True)))
    return written


def _secret(name: str, kind: str, values: dict[str, str]) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "demo"},
        "type": kind,
        "stringData": values,
    }
