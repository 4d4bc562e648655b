"""Plain requests for hosts with TLS are sent to https, and nowhere else."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from router.model import wire
from router.model.snapshot import Answer, HttpsRules, Snapshot
from tests.harness.backend import Backend, fixed, message
from tests.harness.client import Connection, fetch, request
from tests.harness.secure import (
    Name,
    SecureConnection,
    SecureEdge,
    needs_certificate,
    secure_worker,
    secured,
)
from tests.harness.worker import route, snapshot
from tests.tls.certificates import authorities, pair
from tests.tls.handshakes import client_context

TRUSTED = "127.0.0.9"
HSTS = "max-age=31536000; includeSubDomains"
ACME = "/.well-known/acme-challenge/token"


def _snapshot(backend: Backend, *, port: int = 8443) -> Snapshot:
    table = {
        "r.test": {"/": "web", "=/blocked": Answer(503, "cannot be served")},
        "*.r.test": {"/": "web"},
        "": {"/any": "web"},
        "plain.test": {"/": "web"},
        "empty.test": {"/": "empty"},
    }
    rules = HttpsRules(redirect=True, hsts=HSTS)
    whole = secured(
        snapshot(0, table, {"web": [backend.endpoint], "empty": []}),
        {"r.test": Name(pairs=(pair("r.test", "*.r.test"),))},
        rules=dict.fromkeys(("r.test", "*.r.test", "", "empty.test"), rules),
        published_port=port,
    )
    # A path that a solver of ACME challenges serves: https, but never a redirect.
    known = whole.hosts["default"]["r.test"]
    solver = replace(route(f"={ACME}", "web"), https=HttpsRules(redirect=False, hsts=HSTS))
    return replace(
        whole,
        hosts={
            "default": {
                **whole.hosts["default"],
                "r.test": replace(known, routes=(*known.routes, solver)),
            }
        },
    )


@pytest.fixture(scope="module")
def shared_redirecting() -> Iterator[SecureEdge]:
    options = wire.Options(access_log="off", trusted_proxies=(f"{TRUSTED}/32",))
    with Backend() as backend, secure_worker(options=options) as worker:
        worker.load(_snapshot(backend))
        yield SecureEdge(worker, backend)


@pytest.fixture
def redirecting(shared_redirecting: SecureEdge) -> Iterator[SecureEdge]:
    yield shared_redirecting
    shared_redirecting.check()
    shared_redirecting.backend.forget()


async def _location(edge: SecureEdge, target: str, host: str = "r.test") -> str:
    reply = await fetch(edge.address, request(target, host=host))
    assert reply.status == 308, reply
    [location] = reply.values("location")
    assert edge.backend.requests == []
    return location


@pytest.mark.parametrize(
    ("host", "target", "location"),
    [
        ("r.test", "/", "https://r.test:8443/"),
        ("r.test:80", "/a/b", "https://r.test:8443/a/b"),
        ("R.TEST.", "/a?b=c&d=%20/?", "https://r.test:8443/a?b=c&d=%20/?"),
        ("x.r.test", "/a?", "https://x.r.test:8443/a?"),
        ("r.test", "/%C3%BC/ü".encode().decode("latin-1"), None),
        ("other.test:8080", "/any/x", "https://other.test:8443/any/x"),
        ("[2001:db8::1]:80", "/any", "https://[2001:db8::1]:8443/any"),
        ("192.0.2.7", "/any", "https://192.0.2.7:8443/any"),
        ("r.test", "/blocked", "https://r.test:8443/blocked"),
        ("empty.test", "/", "https://empty.test:8443/"),
    ],
)
async def test_redirect_keeps_host_path_and_query(
    redirecting: SecureEdge, host: str, target: str, location: str | None
) -> None:
    if location is None:
        reply = await fetch(redirecting.address, request(target, host=host))
        assert reply.status in (308, 400)
        assert all(" " <= letter <= "~" for letter in reply.get("location") or "")
    else:
        assert await _location(redirecting, target, host) == location


async def test_redirect_leaves_the_usual_port_out() -> None:
    with Backend() as backend, secure_worker() as worker:
        worker.load(_snapshot(backend, port=443))
        edge = SecureEdge(worker, backend)
        assert await _location(edge, "/a") == "https://r.test/a"
        worker.check()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
async def test_redirect_holds_for_all_methods_and_keeps_the_connection(
    redirecting: SecureEdge, method: str
) -> None:
    async with await redirecting_plain(redirecting) as connection:
        for _ in range(2):
            body = b"x" * 500 if method in ("POST", "PUT") else b""
            reply = await connection.exchange(
                request("/x", method=method, host="r.test", body=body)
            )
            assert reply.status == 308
            assert reply.get("connection") is None
        reply = await connection.exchange(request("/x", host="plain.test"))
        assert reply.status == 200


async def redirecting_plain(edge: SecureEdge, source: str = "") -> Connection:
    return await Connection.open(edge.address, source=source)


@pytest.mark.parametrize(
    "target",
    [
        "//evil.test/x",
        "/%2f%2fevil.test",
        "/\\evil.test",
        "/%5cevil.test",
        "/@evil.test",
        "/.evil.test",
        "/%0d%0aX-Injected:%20yes",
        "/x?%0d%0aX-Injected:%20yes",
        "/x?a=//evil.test",
        "/%00",
        "/%E5%98%8A%E5%98%8DX-Injected:yes",
        "/..//evil.test",
        "/a/../../evil.test",
        "/x?\r",
        "/;//evil.test",
        "http://evil.test/x",
        "https://evil.test/x",
    ],
)
async def test_location_holds_nothing_that_a_client_can_inject(
    redirecting: SecureEdge, target: str
) -> None:
    """A link to us must never lead elsewhere (open redirects, response splitting)."""
    async with await redirecting_plain(redirecting) as connection:
        reply = await connection.exchange(request(target, host="r.test"))
    assert reply.status in (308, 400, 404, 421)
    assert reply.get("x-injected") is None
    location = reply.get("location")
    if location is not None:
        assert location.startswith("https://r.test:8443/")
        assert urlsplit(location).hostname == "r.test"
        assert all("!" <= letter <= "~" for letter in location)
    assert redirecting.backend.requests == []


@pytest.mark.parametrize(
    "host",
    [
        *("r.test@evil.test", "evil.test/r.test", "r.test:80:evil", "r.test\\evil"),
        *("r.test,evil.test", "r.test evil.test", "r.test#", "r.test?", "r%2etest"),
        *("[::1]evil.test", "r.test:443x"),
    ],
)
async def test_location_never_holds_a_malformed_host(redirecting: SecureEdge, host: str) -> None:
    reply = await fetch(redirecting.address, request("/any", host=host))
    assert reply.status == 400
    assert reply.get("location") is None


async def test_forwarded_host_does_not_lead_elsewhere(redirecting: SecureEdge) -> None:
    fields = (("X-Forwarded-Host", "evil.test"), ("Forwarded", "host=evil.test"))
    for source in ("", TRUSTED):
        async with await redirecting_plain(redirecting, source) as connection:
            reply = await connection.exchange(request("/x", *fields, host="r.test"))
        assert reply.get("location") == "https://r.test:8443/x"


async def test_requests_that_were_https_at_a_trusted_proxy_are_not_redirected(
    redirecting: SecureEdge,
) -> None:
    """Else there would be a loop."""
    async with await redirecting_plain(redirecting, TRUSTED) as connection:
        for proto, status in (("https", 200), ("HTTPS", 200), ("http", 308), ("wss", 308)):
            reply = await connection.exchange(
                request("/x", ("X-Forwarded-Proto", proto), host="r.test")
            )
            assert reply.status == status, proto
            assert (reply.get("strict-transport-security") is not None) is (status == 200)
        assert (await connection.exchange(request("/x", host="r.test"))).status == 308


async def test_claims_of_https_by_anybody_else_do_not_count(redirecting: SecureEdge) -> None:
    reply = await fetch(
        redirecting.address, request("/x", ("X-Forwarded-Proto", "https"), host="r.test")
    )
    assert reply.status == 308
    assert redirecting.backend.requests == []


async def test_challenges_are_served_in_clear(redirecting: SecureEdge) -> None:
    reply = await fetch(redirecting.address, request(ACME, host="r.test"))
    assert (reply.status, reply.get("strict-transport-security")) == (200, None)
    assert (await fetch(redirecting.address, request(ACME + "x", host="r.test"))).status == 308


async def test_hosts_without_tls_are_served_in_clear(redirecting: SecureEdge) -> None:
    reply = await fetch(redirecting.address, request("/x", host="plain.test"))
    assert (reply.status, reply.get("strict-transport-security")) == (200, None)


async def _securely(edge: SecureEdge, target: str, host: str = "r.test") -> list[str]:
    context = client_context(trusts=None)
    async with await SecureConnection.secure(
        edge.worker.secure_address, context=context, server_name=host
    ) as connection:
        reply = await connection.exchange(request(target, host=host))
        assert reply.status == 200
        return reply.values("strict-transport-security")


async def test_answers_over_https_carry_hsts_once(redirecting: SecureEdge) -> None:
    assert await _securely(redirecting, "/x") == [HSTS]
    assert await _securely(redirecting, "/x", "plain.test") == []
    own = message("200 OK", b"x", ("Strict-Transport-Security", "max-age=1"))
    redirecting.backend.on("/own", fixed(own))
    assert await _securely(redirecting, "/own") == ["max-age=1"]


async def test_unclaimed_paths_and_hosts_are_not_redirected(redirecting: SecureEdge) -> None:
    assert (await fetch(redirecting.address, request("/none", host="a.test"))).status == 404


async def test_solvers_of_challenges_are_reached_in_clear_on_guarded_hosts() -> None:
    """HTTP-01 asks over plain HTTP; such a route says so by having no redirect."""
    with Backend() as backend, secure_worker() as worker:
        table = {"guarded.test": {"/": "web", "/silent": "web"}}
        whole = secured(
            snapshot(0, table, {"web": [backend.endpoint]}),
            {"guarded.test": needs_certificate("guarded.test", issuer=authorities("an authority"))},
        )
        known = whole.hosts["default"]["guarded.test"]
        solver = replace(route(f"={ACME}", "web"), https=HttpsRules(redirect=False, plain=True))
        hosts = {"guarded.test": replace(known, routes=(*known.routes, solver))}
        worker.load(replace(whole, hosts={"default": hosts}))

        for target, status in ((ACME, 200), ("/", 403), ("/silent", 403)):
            reply = await fetch(worker.address, request(target, host="guarded.test"))
            assert reply.status == status, target
        assert [seen.path for seen in backend.requests] == [ACME]
        worker.check()
