"""No way around a host's client certificates or versions: each that is known is refused."""

import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from router.model import wire
from router.model.snapshot import HttpsRules
from tests.harness.backend import Backend
from tests.harness.client import Address, Connection, fetch, request
from tests.harness.secure import (
    Name,
    SecureConnection,
    needs_certificate,
    renamed,
    secure_worker,
    serve,
)
from tests.harness.worker import Worker
from tests.tls.certificates import authorities, client_pair, pair
from tests.tls.handshakes import client_context
from tls.policy import TlsPolicy

GUARDED = "guarded.test"
HOSTS = ("open.test", GUARDED, "optional.test", "modern.test", "x.wild.test", "other.test")
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@dataclass(frozen=True, slots=True)
class Site:
    """A worker with hosts under different policies; all of them lead to one backend."""

    worker: Worker
    backend: Backend

    @property
    def address(self) -> Address:
        return self.worker.secure_address

    async def connect(
        self,
        server_name: str | None,
        *,
        subject: str | None = None,
        version: ssl.TLSVersion | None = None,
        session: ssl.SSLSession | None = None,
        context: ssl.SSLContext | None = None,
    ) -> SecureConnection:
        certificate = None if subject is None else client_pair(subject)
        if context is None:
            context = client_context(trusts=None, certificate=certificate, version=version)
        return await SecureConnection.secure(
            self.address, context=context, server_name=server_name, session=session
        )

    def reached(self) -> int:
        """Requests at the backend so far."""
        return len(self.backend.requests)


@pytest.fixture(scope="module")
def shared_site() -> Iterator[Site]:
    # The tests come from 127.0.0.1, and 127.0.0.9 is a proxy whose fields count.
    options = wire.Options(access_log="off", trusted_proxies=("127.0.0.9/32",))
    with Backend() as backend, secure_worker(options=options) as worker:
        lay_out(worker, backend)
        yield Site(worker, backend)
        assert backend.violations == []


def lay_out(worker: Worker, backend: Backend) -> None:
    bundle = authorities()
    hosts = {**{host: {"/": "web"} for host in HOSTS}, "*.wild.test": {"/": "web"}}
    rules = {host: HttpsRules(redirect=False) for host in ("open.test", GUARDED, "optional.test")}
    names = {
        "open.test": Name(pairs=(pair("open.test"),)),
        GUARDED: needs_certificate(GUARDED, issuer=bundle),
        "optional.test": needs_certificate("optional.test", issuer=bundle, optional=True),
        "modern.test": Name(pairs=(pair("modern.test"),), policy=TlsPolicy(profile="modern")),
        "*.wild.test": needs_certificate("*.wild.test", issuer=bundle),
    }
    serve(worker, hosts, {"web": [backend.endpoint]}, names, rules=rules)


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    yield shared_site
    shared_site.worker.check()


async def refused(
    site: Site,
    server_name: str,
    *,
    context: ssl.SSLContext,
    session: ssl.SSLSession | None = None,
    alert: str = "ALERT",
) -> None:
    """No handshake, an alert that says why, and nothing behind it.

    In TLS 1.3 the client learns it with its first read only.
    """
    before = site.reached()
    why = "let in"
    try:
        async with await site.connect(server_name, context=context, session=session) as connection:
            await connection.send(request(host=GUARDED))
            await connection.read()
            why = f"{connection.ended}, {bytes(connection.raw)!r}"
    except (ssl.SSLError, ConnectionError) as failure:
        why = str(failure)
    assert alert in why, why
    assert site.reached() == before


async def misdirected(site: Site, connection: SecureConnection, host: str) -> None:
    before = site.reached()
    reply = await connection.exchange(request(host=host))
    assert reply.status == 421
    assert site.reached() == before


async def test_a_certificate_opens_the_host_and_the_backend_is_told(site: Site) -> None:
    async with await site.connect(GUARDED, subject="alice") as connection:
        reply = await connection.exchange(request(host=GUARDED))
    assert reply.status == 200
    seen = site.backend.requests[-1]
    assert seen.values("ssl-client-verify") == ["SUCCESS"]
    assert seen.values("ssl-client-subject-dn") == ["CN=alice"]


@pytest.mark.parametrize(
    "server_name", [GUARDED, GUARDED.upper(), GUARDED + ".", "Guarded.Test.", "x.wild.test"]
)
async def test_no_certificate_no_handshake_however_the_name_is_spelled(
    site: Site, server_name: str
) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        await refused(site, server_name, context=client_context(trusts=None, version=version))


async def test_a_certificate_of_a_stranger_is_refused(site: Site) -> None:
    stranger = client_context(trusts=None, certificate=client_pair("mallory", "somebody else"))
    await refused(site, GUARDED, context=stranger, alert="ALERT_UNKNOWN_CA")


@pytest.mark.parametrize("server_name", [None, "open.test", "nobody.test", "127.0.0.1"])
@pytest.mark.parametrize(
    "host",
    [
        GUARDED,
        GUARDED.upper(),
        GUARDED + ".",
        GUARDED + ":443",
        GUARDED + ":8443",
        "x.wild.test",
        "X.wild.test.",
        "a_b.wild.test",
    ],
)
@VERSIONS
async def test_a_connection_for_another_name_does_not_reach_it(
    site: Site, server_name: str | None, host: str, version: ssl.TLSVersion
) -> None:
    async with await site.connect(server_name, version=version) as connection:
        await misdirected(site, connection, host)


def test_an_address_as_server_name_does_not_reach_it(site: Site) -> None:
    """Python sends no addresses; openssl does."""
    before = site.reached()
    host, port = site.address
    for server_name in ("127.0.0.1", "::1", "1.2", "guarded.test.."):
        outcome = subprocess.run(
            [
                "openssl",
                "s_client",
                "-quiet",
                "-connect",
                f"{host}:{port}",
                "-servername",
                server_name,
            ],
            input=request("/", ("Connection", "close"), host=GUARDED),
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert outcome.stdout.startswith(b"HTTP/1.1 421 "), (server_name, outcome)
    assert site.reached() == before


async def test_a_connection_that_was_used_for_its_own_host_does_not_reach_it(site: Site) -> None:
    async with await site.connect("open.test") as connection:
        assert (await connection.exchange(request(host="open.test"))).status == 200
        await misdirected(site, connection, GUARDED)


async def test_a_pipelined_request_does_not_reach_it(site: Site) -> None:
    async with await site.connect("open.test") as connection:
        before = site.reached()
        await connection.send(request(host="open.test") + request(host=GUARDED))
        replies = await connection.receive(2)
        assert [reply.status for reply in replies] == [200, 421]
        assert site.reached() == before + 1


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            f"GET https://{GUARDED}/x HTTP/1.1\r\nHost: {GUARDED}\r\n\r\n".encode(),
            id="absolute-form",
        ),
        pytest.param(
            f"GET https://{GUARDED}/x HTTP/1.1\r\nHost: open.test\r\n\r\n".encode(),
            id="absolute-form with another Host",
        ),
        pytest.param(
            request(
                "/x", ("X-Forwarded-Host", GUARDED), ("X-Original-Host", GUARDED), host=GUARDED
            ),
            id="forwarding fields",
        ),
        pytest.param(
            request(
                "/x",
                ("Connection", "Upgrade"),
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                host=GUARDED,
            ),
            id="WebSocket",
        ),
        pytest.param(request("/x", host=GUARDED, method="POST", body=b"x" * 1000), id="body"),
        pytest.param(request("/x", host=GUARDED, version="HTTP/1.0"), id="HTTP/1.0"),
    ],
)
async def test_no_form_of_request_reaches_it(site: Site, data: bytes) -> None:
    before = site.reached()
    async with await site.connect("open.test") as connection:
        connection.reader.methods.append(data.partition(b" ")[0].decode())
        await connection.send(data)
        [reply] = await connection.receive()
        assert reply.status in (400, 421)
    assert site.reached() == before


async def test_other_policies_are_kept_apart_too(site: Site) -> None:
    """Connections with a certificate are for their host alone, as are those without."""
    async with await site.connect(GUARDED, subject="alice") as connection:
        for host in ("open.test", "optional.test", "nobody.test"):
            await misdirected(site, connection, host)
            connection.close()
            connection = await site.connect(GUARDED, subject="alice")
        connection.close()


async def test_one_connection_serves_hosts_under_one_policy(site: Site) -> None:
    """Coalescing is right where it gets around nothing (RFC 9110 7.4)."""
    async with await site.connect("open.test") as connection:
        for host in ("open.test", "other.test", "OPEN.test.", "open.test:8443"):
            assert (await connection.exchange(request(host=host))).status == 200
        assert (await connection.exchange(request(host="nobody.test"))).status == 404


# Resumption


async def _session(site: Site, context: ssl.SSLContext, host: str) -> ssl.SSLSession:
    async with await site.connect(host, context=context) as connection:
        assert (await connection.exchange(request(host=host))).status == 200
        session = await connection.ticket()
        assert session.has_ticket
        return session


@VERSIONS
@pytest.mark.parametrize("host", ["open.test", "optional.test"])
async def test_a_session_of_another_host_is_no_certificate(
    site: Site, host: str, version: ssl.TLSVersion
) -> None:
    context = client_context(trusts=None, version=version)
    session = await _session(site, context, host)
    await refused(site, GUARDED, context=context, session=session)


@VERSIONS
async def test_a_session_with_certificate_means_nothing_to_another_host(
    site: Site, version: ssl.TLSVersion
) -> None:
    context = client_context(trusts=None, version=version, certificate=client_pair("alice"))
    session = await _session(site, context, GUARDED)
    async with await site.connect("optional.test", context=context, session=session) as connection:
        assert not connection.tls.session_reused
    async with await site.connect("open.test", context=context, session=session) as connection:
        assert not connection.tls.session_reused
        await misdirected(site, connection, GUARDED)


@VERSIONS
async def test_a_session_of_the_host_itself_keeps_its_certificate(
    site: Site, version: ssl.TLSVersion
) -> None:
    context = client_context(trusts=None, version=version, certificate=client_pair("alice"))
    session = await _session(site, context, GUARDED)
    async with await site.connect(GUARDED, context=context, session=session) as connection:
        assert connection.tls.session_reused
        assert (await connection.exchange(request(host=GUARDED))).status == 200
    seen = site.backend.requests[-1]
    assert seen.values("ssl-client-subject-dn") == ["CN=alice"]
    assert seen.values("ssl-client-verify") == ["SUCCESS"]


@VERSIONS
async def test_a_session_does_not_outlive_its_authority(version: ssl.TLSVersion) -> None:
    """The host's authorities were replaced: whom the old ones vouched for is out."""
    with Backend() as backend, secure_worker() as worker:
        lay_out(worker, backend)
        site = Site(worker, backend)
        context = client_context(trusts=None, version=version, certificate=client_pair("alice"))
        session = await _session(site, context, GUARDED)
        bundle = authorities("the next authority")
        worker.apply(renamed({GUARDED: needs_certificate(GUARDED, issuer=bundle)}))
        await refused(site, GUARDED, context=context, session=session)
        worker.check()


async def test_an_open_connection_does_not_outlive_its_policy() -> None:
    """From the swap on, requests on old connections are under the new policy."""
    with Backend() as backend, secure_worker() as worker:
        lay_out(worker, backend)
        site = Site(worker, backend)
        async with (
            await site.connect(GUARDED, subject="alice") as guarded,
            await site.connect("open.test") as opened,
        ):
            assert (await guarded.exchange(request(host=GUARDED))).status == 200
            assert (await opened.exchange(request(host="open.test"))).status == 200
            bundle = authorities("the next authority")
            worker.apply(
                renamed(
                    {
                        GUARDED: needs_certificate(GUARDED, issuer=bundle),
                        "open.test": needs_certificate("open.test", issuer=bundle),
                    }
                )
            )
            await misdirected(site, guarded, GUARDED)
            await misdirected(site, opened, "open.test")
        worker.check()


# Plain HTTP


async def test_plain_http_does_not_reach_it(site: Site) -> None:
    before = site.reached()
    for host in (GUARDED, GUARDED.upper() + ".", "x.wild.test"):
        reply = await fetch(site.worker.address, request(host=host))
        assert reply.status == 403
        assert b"client certificate" in reply.body
    assert site.reached() == before


async def test_claims_of_https_do_not_reach_it_over_plain_http(site: Site) -> None:
    before = site.reached()
    claims = (
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Ssl", "on"),
        ("Ssl-Client-Verify", "SUCCESS"),
        ("Ssl-Client-Cert", "x"),
    )
    reply = await fetch(site.worker.address, request("/x", *claims, host=GUARDED))
    assert reply.status == 403
    async with await Connection.open(site.worker.address, source="127.0.0.9") as connection:
        reply = await connection.exchange(request("/x", *claims, host=GUARDED))
        assert reply.status == 403
    assert site.reached() == before


async def test_a_host_for_which_all_need_a_certificate_is_closed_in_clear() -> None:
    """Also when no other policy exists beside it, the default's included."""
    bundle = authorities()
    with Backend() as backend, secure_worker() as worker:
        serve(
            worker,
            {GUARDED: {"/": "web"}},
            {"web": [backend.endpoint]},
            {
                "": needs_certificate("default.test", issuer=bundle),
                GUARDED: needs_certificate(GUARDED, issuer=bundle),
            },
        )
        assert (await fetch(worker.address, request(host=GUARDED))).status == 403
        assert backend.requests == []
        worker.check()


# Optional certificates


async def test_optional_certificates_say_whether_there_is_one(site: Site) -> None:
    for subject, verdict in ((None, "NONE"), ("bob", "SUCCESS")):
        async with await site.connect("optional.test", subject=subject) as connection:
            reply = await connection.exchange(request(host="optional.test"))
            assert reply.status == 200
        seen = site.backend.requests[-1]
        assert seen.values("ssl-client-verify") == [verdict]
        assert (seen.get("ssl-client-subject-dn") is None) is (subject is None)


async def test_an_optional_certificate_must_be_good(site: Site) -> None:
    stranger = client_context(trusts=None, certificate=client_pair("mallory", "somebody else"))
    await refused(site, "optional.test", context=stranger, alert="ALERT_UNKNOWN_CA")


# Versions


async def test_a_version_floor_holds_however_the_name_is_spelled(site: Site) -> None:
    for server_name in ("modern.test", "MODERN.test", "modern.test."):
        with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
            await site.connect(server_name, version=ssl.TLSVersion.TLSv1_2)
        async with await site.connect(server_name) as connection:
            assert connection.tls.version() == "TLSv1.3"
            assert (await connection.exchange(request(host="modern.test"))).status == 200


@pytest.mark.parametrize("server_name", [None, "open.test", "nobody.test", "127.0.0.1"])
@VERSIONS
async def test_a_version_floor_is_not_passed_by_another_name(
    site: Site, server_name: str | None, version: ssl.TLSVersion
) -> None:
    async with await site.connect(server_name, version=version) as connection:
        await misdirected(site, connection, "Modern.test.")


async def test_a_session_of_another_host_does_not_pass_a_version_floor(site: Site) -> None:
    context = client_context(trusts=None, version=ssl.TLSVersion.TLSv1_2)
    session = await _session(site, context, "open.test")
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        await site.connect("modern.test", context=context, session=session)


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused_by_all_names(site: Site, version: str) -> None:
    host, port = site.address
    for server_name in ("open.test", "modern.test", "nobody.test"):
        outcome = subprocess.run(
            [
                "openssl",
                "s_client",
                version,
                "-cipher",
                "ALL:@SECLEVEL=0",
                "-connect",
                f"{host}:{port}",
                "-servername",
                server_name,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert b"alert protocol version" in outcome.stderr, outcome
