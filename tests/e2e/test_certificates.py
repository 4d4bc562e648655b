"""Certificates from Secrets of the API: kept when one is lost, swapped without a failed handshake.

F-12 and F-13 on a real API server.
"""

import asyncio
import base64
import contextlib
import datetime as dt
import time

import pytest

from tests.e2e.certificates import issue
from tests.e2e.controller import Controller
from tests.e2e.kube import Kube
from tests.e2e.objects import ingress, rule, secret, tls_entry
from tests.e2e.outside import TROUBLE, Edge
from tests.e2e.space import Space

SOON = 2.0
LOST = {
    "deleted": ("CertificateKept",),
    "malformed": ("CertificateKept", "CertificateUnusable"),
    "mismatched": ("CertificateKept", "CertificateUnusable"),
}
"""How an Ingress that names a Secret loses its certificate, and reasons of Events that tell so."""


async def secured(space: Space, edge: Edge, host: str, standing: list[str]) -> bytes:
    """A host that is served with a certificate; gives it (DER)."""
    certificate = issue(host)
    await space.stand("web", on=standing)
    await space.create(
        secret("web-tls", certificate.pem, certificate.private_key),
        ingress("web", rule(host, root="web"), tls=[tls_entry("web-tls", host)]),
    )
    await edge.until_certificate(host, certificate.der)
    return certificate.der


async def test_a_new_certificate_is_served_even_when_it_says_that_it_is_older(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    host = "older.test"
    await secured(space, edge, host, standing)
    older = issue(host, age=dt.timedelta(days=30))

    await space.replace(secret("web-tls", older.pem, older.private_key))

    await edge.until_certificate(host, older.der, within=SOON)


@pytest.mark.parametrize("loss", list(LOST))
async def test_a_lost_certificate_serves_on(
    space: Space, edge: Edge, standing: list[str], loss: str
) -> None:
    """F-12: handshakes failed = 0, and other hosts are unaffected."""
    host, other = f"{loss}.kept.test", f"{loss}.other.test"
    der = await secured(space, edge, host, standing)
    beside = issue(other)
    await space.create(
        secret("other-tls", beside.pem, beside.private_key),
        ingress("other", rule(other, root="web"), tls=[tls_entry("other-tls", other)]),
    )
    await edge.until_certificate(host, der)
    await edge.until_certificate(other, beside.der)

    lost = secret("web-tls", b"no certificate", b"no key")
    if loss == "deleted":
        await space.delete(lost)
    elif loss == "malformed":
        await space.replace(lost)
    else:
        await space.replace(secret("web-tls", issue(host).pem, issue(host).private_key))

    end = time.monotonic() + SOON
    while time.monotonic() < end:
        assert await edge.certificate(host) == der
        assert await edge.certificate(other) == beside.der
        assert (await edge.get(host, tls=True)).status == 200
    await space.until_event("web", *LOST[loss])

    again = issue(host)
    with contextlib.suppress(Exception):
        await space.delete(lost)
    await space.create(secret("web-tls", again.pem, again.private_key))
    await edge.until_certificate(host, again.der, within=SOON)


async def test_a_certificate_that_changes_every_second_fails_no_handshake(
    kube: Kube, controller: Controller, space: Space, edge: Edge, standing: list[str]
) -> None:
    """F-13, shortened; memory is measured where its slope can be: beside the data plane."""
    host = "rotates.test"
    await secured(space, edge, host, standing)
    await edge.until_served(host, tls=True)
    failures: list[str] = []
    seen: set[bytes] = set()
    done = asyncio.Event()

    async def shake() -> None:
        while not done.is_set():
            try:
                answer = await edge.get(host, tls=True)
                seen.add(answer.certificate)
                if answer.status != 200:
                    failures.append(str(answer.status))
            except TROUBLE as error:
                failures.append(repr(error))

    shaking = [asyncio.ensure_future(shake()) for _ in range(2)]
    rounds = 12
    try:
        for _ in range(rounds):
            certificate = issue(host)
            await space.replace(secret("web-tls", certificate.pem, certificate.private_key))
            await edge.until_certificate(host, certificate.der, within=SOON)
            await asyncio.sleep(0.5)
    finally:
        done.set()
        await asyncio.gather(*shaking)

    assert failures == []
    assert len(seen) >= rounds


async def test_client_certificates_are_demanded_with_authorities_from_a_secret(
    space: Space, edge: Edge, standing: list[str]
) -> None:
    """The Secret has no TLS type: it is watched because the rule names it."""
    host = "clients.test"
    certificate, authority = issue(host), issue("clients-authority", authority=True)
    await space.stand("web", on=standing)
    await space.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "clients-ca"},
            "data": {"ca.crt": base64.b64encode(authority.pem).decode()},
        },
        secret("web-tls", certificate.pem, certificate.private_key),
        ingress(
            "web",
            rule(host, root="web"),
            tls=[tls_entry("web-tls", host)],
            annotations={
                "nginx.ingress.kubernetes.io/auth-tls-secret": f"{space.name}/clients-ca",
                "nginx.ingress.kubernetes.io/auth-tls-verify-client": "optional",
            },
        ),
    )

    await edge.until_served(host, tls=True)
    demanding = {
        "metadata": {"annotations": {"nginx.ingress.kubernetes.io/auth-tls-verify-client": "on"}}
    }
    await space.kube.merge(space.own(ingress("web")), demanding)

    end = time.monotonic() + SOON
    while True:
        try:
            status = (await edge.get(host, tls=True)).status
        except TROUBLE:
            break  # TLS 1.3 tells the client at its first read
        assert status != 200 or time.monotonic() < end, "served without a client's certificate"
        if status != 200:
            break
