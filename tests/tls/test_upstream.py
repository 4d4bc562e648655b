"""Client contexts: what they verify, what they show, and how sessions resume."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, cast

import pytest
import uvloop

from tests.tls.certificates import authorities, authority, client_pair, pair
from tests.tls.handshakes import ANSWER, serving
from tls.contexts import ContextRefusedError, ServerContexts
from tls.default import LocalAuthority
from tls.faults import CertificateFault
from tls.openssl import OpenSsl
from tls.pem import PairRead, read_authorities, read_pair
from tls.policy import TlsPolicy, UpstreamTls
from tls.upstream import SESSIONS_LIMIT, UpstreamContext, UpstreamContexts, hostname_for

OURS = UpstreamTls(server_name="a.test", authorities=authorities().digest)
LOOPS = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


def contexts(limit: int = 10) -> UpstreamContexts:
    return UpstreamContexts(openssl=OpenSsl(), limit=limit)


def trusting(profile: UpstreamTls = OURS) -> UpstreamContext:
    return contexts().get(profile, authorities=authorities())


def server(*names: str, policy: TlsPolicy | None = None) -> ssl.SSLContext:
    return ServerContexts(openssl=OpenSsl(), secret=None).get(
        (pair(*names),), policy or TlsPolicy(), authorities()
    )


async def ask(context: UpstreamContext, port: int, name: str = "a.test") -> bool:
    """One request; True when the session was resumed.

    Raises:
        ssl.SSLError, OSError: the handshake failed.
    """
    dial = context.dial(f"127.0.0.1:{port}", name)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=cast(ssl.SSLContext, dial), server_hostname=name
    )
    try:
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.readexactly(len(ANSWER)) == ANSWER
        connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
        dial.remember(connection)
        return bool(connection.session_reused)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def run(loop: Callable[[], Any], *questions: Any) -> list[bool]:
    with asyncio.Runner(loop_factory=loop) as runner:
        return [runner.run(question) for question in questions]


def serve(context: ssl.SSLContext, connections: int = 1) -> AbstractContextManager[Any]:
    return serving(context, connections)


@LOOPS
def test_an_upstream_is_verified_and_its_session_resumed(loop: Callable[[], Any]) -> None:
    context = trusting()
    with serve(server("a.test"), 2) as served:
        resumed = run(loop, ask(context, served.port), ask(context, served.port))
    assert resumed == [False, True]


@LOOPS
def test_an_endpoint_gets_no_session_of_another(loop: Callable[[], Any]) -> None:
    context = trusting()
    shared = server("a.test")  # it would resume the session of the other port
    with serve(shared) as first, serve(shared) as second:
        assert run(loop, ask(context, first.port), ask(context, second.port)) == [False, False]
    assert len(context._sessions) == 2


@pytest.mark.parametrize(
    ("profile", "certificate", "name", "reason"),
    [
        pytest.param(OURS, "b.test", "a.test", "mismatch", id="wrong name"),
        pytest.param(OURS, "b.test", "127.0.0.1", "mismatch", id="wrong address"),
        pytest.param(UpstreamTls(), "a.test", "a.test", "local issuer", id="system authorities"),
        pytest.param(
            UpstreamTls(authorities=authorities("other authority").digest),
            "a.test", "a.test", "local issuer", id="another authority",
        ),
    ],
)  # fmt: skip
def test_a_certificate_that_is_not_right_is_refused(
    profile: UpstreamTls, certificate: str, name: str, reason: str
) -> None:
    given = authorities("other authority" if profile != OURS else "test authority")
    context = contexts().get(profile, authorities=given)
    with serve(server(certificate)) as served:
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            run(uvloop.new_event_loop, ask(context, served.port, name))
        assert served.outcome().startswith("failed")


def test_an_expired_certificate_is_refused() -> None:
    long_ago = LocalAuthority(1_600_000_000, "long ago")
    read, bundle = (
        read_pair(*long_ago.issue(["a.test"])),
        read_authorities(long_ago.certificate_pem),
    )
    assert isinstance(read, PairRead)
    assert not isinstance(bundle, CertificateFault)
    profile = UpstreamTls(authorities=bundle.authorities.digest)
    context = contexts().get(profile, authorities=bundle.authorities)
    old = ServerContexts(openssl=None, secret=None).get((read.pair,), TlsPolicy())
    with serve(old) as served:
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            run(uvloop.new_event_loop, ask(context, served.port))
        served.outcome()


def test_an_address_is_verified_as_an_address() -> None:
    context = trusting(UpstreamTls(authorities=authorities().digest))
    with serve(server("a.test", "127.0.0.1")) as served:
        assert run(uvloop.new_event_loop, ask(context, served.port, "127.0.0.1")) == [False]


def test_without_verification_any_certificate_will_do() -> None:
    context = contexts().get(UpstreamTls(verify=False))
    with serve(server("b.test")) as served:
        assert run(uvloop.new_event_loop, ask(context, served.port)) == [False]


@pytest.mark.parametrize("shown", [True, False])
def test_our_certificate_is_shown(*, shown: bool) -> None:
    us = client_pair("ingress")
    profile = UpstreamTls(
        authorities=authorities().digest, client_certificate=us.digest if shown else None
    )
    context = contexts().get(profile, authorities=authorities(), client=us if shown else None)
    policy = TlsPolicy(client_certificates="required", authorities=authorities().digest)
    with serve(server("a.test", policy=policy)) as served:
        if shown:
            assert run(uvloop.new_event_loop, ask(context, served.port)) == [False]
        else:
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                run(uvloop.new_event_loop, ask(context, served.port))
        assert served.outcome().startswith("failed") is not shown


def test_what_the_profile_names_must_be_there() -> None:
    with pytest.raises(ContextRefusedError, match="authorities"):
        contexts().get(OURS)
    with pytest.raises(ContextRefusedError, match="authorities"):
        contexts().get(OURS, authorities=authorities("other authority"))
    shows = UpstreamTls(client_certificate=client_pair().digest)
    with pytest.raises(ContextRefusedError, match="certificate to show"):
        contexts().get(shows)
    with pytest.raises(ContextRefusedError, match="certificate to show"):
        contexts().get(shows, client=client_pair("bob"))
    deep = UpstreamTls(verify_depth=1)
    with pytest.raises(ContextRefusedError, match="depth"):
        UpstreamContexts(openssl=None).get(deep)


def test_profiles_that_differ_in_the_name_alone_share_a_context() -> None:
    kept = contexts()
    first = kept.get(UpstreamTls(server_name="a.test"))
    assert kept.get(UpstreamTls(server_name="b.test")) is first
    assert kept.get(UpstreamTls(alpn=("h2",))) is not first
    assert kept.get(UpstreamTls(verify=False)) is not first
    assert len(kept) == 3


def test_contexts_and_sessions_are_bounded() -> None:
    kept = contexts(limit=2)
    profiles = [UpstreamTls(verify=False, alpn=(name,)) for name in ("a", "b", "c")]
    first, second, _ = (kept.get(profile) for profile in profiles)
    assert len(kept) == 2
    assert kept.get(profiles[1]) is second
    assert kept.get(profiles[0]) is not first

    with serve(server("a.test")) as served:
        context = trusting()
        run(uvloop.new_event_loop, ask(context, served.port))
        session = next(iter(context._sessions.values()))
    for number in range(SESSIONS_LIMIT + 5):
        context.remember(f"10.0.0.1:{number}", "a.test", session)
    assert len(context._sessions) == SESSIONS_LIMIT


def test_a_dial_verifies_no_other_name() -> None:
    dial = trusting().dial("127.0.0.1:1", "a.test")
    for options in ({"server_hostname": "b.test"}, {}, {"server_side": True}):
        with pytest.raises(ValueError, match="must verify"):
            dial.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), **options)  # wrong on purpose


def test_the_name_to_verify_is_the_profiles_or_the_address() -> None:
    assert hostname_for(OURS, "10.0.0.1") == "a.test"
    assert hostname_for(UpstreamTls(), "10.0.0.1") == "10.0.0.1"


def test_tls_below_1_2_is_not_spoken() -> None:
    context = trusting()._context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert authority().certificate_pem
