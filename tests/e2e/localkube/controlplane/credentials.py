"""Certificates, tokens and the administrator's kubeconfig."""

from __future__ import annotations

import json
from pathlib import Path

from .machine import NODE_IP, sh

EC_KEY = (
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
)  # RSA keys take longer to make than etcd to start
DAYS = ("-days", "30")


def make(d: Path, server: str, token: str) -> None:
    """Writes the keys ca, server and sa (signs tokens of ServiceAccounts), tokens.csv and
    kubeconfig into the folder.
    """
    sh(
        "openssl",
        "req",
        "-x509",
        *EC_KEY,
        "-keyout",
        f"{d}/ca.key",
        "-out",
        f"{d}/ca.crt",
        *DAYS,
        "-subj",
        "/CN=local-ca",
    )
    sh(
        "openssl",
        "req",
        *EC_KEY,
        "-keyout",
        f"{d}/server.key",
        "-out",
        f"{d}/server.csr",
        "-subj",
        "/CN=kube-apiserver",
    )
    names = [
        f"DNS:kubernetes{x}" for x in ("", ".default", ".default.svc", ".default.svc.cluster.local")
    ]
    names += ["DNS:localhost", "IP:127.0.0.1", f"IP:{NODE_IP}", "IP:10.96.0.1"]
    (d / "server.ext").write_text(f"subjectAltName={','.join(names)}\n")
    signed = (
        "-CA",
        f"{d}/ca.crt",
        "-CAkey",
        f"{d}/ca.key",
        "-CAcreateserial",
        "-extfile",
        f"{d}/server.ext",
    )
    sh(
        "openssl",
        "x509",
        "-req",
        "-in",
        f"{d}/server.csr",
        *signed,
        "-out",
        f"{d}/server.crt",
        *DAYS,
    )
    sh("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{d}/sa.key")
    (d / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "local",
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "admin"}}],
        "clusters": [
            {"name": "local", "cluster": {"server": server, "certificate-authority": f"{d}/ca.crt"}}
        ],
        "users": [{"name": "admin", "user": {"token": token}}],
    }
    (d / "kubeconfig").write_text(json.dumps(config))
