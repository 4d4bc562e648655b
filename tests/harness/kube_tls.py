"""A fake API server over TLS: its certificate, its authorities, and who may come in."""

import ssl
from pathlib import Path

from tests.tls.certificates import authority, client_pair, pair

SERVER_NAME = "kubernetes.test"
"""A name that the server's certificate has besides its address."""


def server_context(
    folder: Path, issuer: str = "cluster authority", *, client_issuer: str | None = None
) -> ssl.SSLContext:
    """The server's side. With ``client_issuer``, clients need a certificate of this authority."""
    known = pair(SERVER_NAME, "127.0.0.1", issuer=issuer)
    path = folder / "server.pem"
    path.write_bytes(known.chain + known.key.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    if client_issuer is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=authority(client_issuer).certificate_pem.decode())
    return context


def authority_file(folder: Path, issuer: str = "cluster authority") -> Path:
    """``ca.crt`` with one authority."""
    path = folder / "ca.crt"
    path.write_bytes(authority(issuer).certificate_pem)
    return path


def client_files(folder: Path, issuer: str = "client authority") -> dict[str, str]:
    """A client's certificate and key, as a kubeconfig names them."""
    known = client_pair("controller", issuer=issuer)
    (folder / "client.crt").write_bytes(known.chain)
    (folder / "client.key").write_bytes(known.key.pem)
    return {
        "client-certificate": str(folder / "client.crt"),
        "client-key": str(folder / "client.key"),
    }
