"""What backends learn about the client, from whom they learn it, and Server and Date."""

import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from router.model.wire import Options
from tests.harness.backend import fixed, message
from tests.harness.client import fetch, request
from tests.harness.edge import Edge, edge
from tests.harness.strict import Request

SPOOFED = (
    ("X-Forwarded-For", "9.9.9.9"),
    ("X-Forwarded-Host", "evil.test"),
    ("X-Forwarded-Port", "1"),
    ("X-Forwarded-Proto", "https"),
    ("X-Real-IP", "9.9.9.9"),
    ("X-Request-ID", "chosen-by-client"),
    ("Forwarded", "for=9.9.9.9"),
)


@pytest.fixture(scope="module")
def shared_trusting() -> Iterator[Edge]:
    options = Options(access_log="off", trusted_proxies=("127.0.0.1/32", "10.0.0.0/8", "fd00::/8"))
    with edge(options=options) as pair:
        yield pair


@pytest.fixture
def trusting(shared_trusting: Edge) -> Iterator[Edge]:
    """An edge that trusts the peer (which is 127.0.0.1) and some networks behind it."""
    yield shared_trusting
    shared_trusting.check()
    shared_trusting.backend.forget()


async def _seen(pair: Edge, *fields: tuple[str, str], host: str = "h.test") -> Request:
    reply = await fetch(pair.address, request("/x", *fields, host=host))
    assert reply.status == 200
    return pair.backend.requests[-1]


async def test_backend_learns_the_peer_and_how_it_asked(edge: Edge) -> None:
    seen = await _seen(edge, host="h.test:8080")
    assert seen.get("x-forwarded-for") == "127.0.0.1"
    assert seen.get("x-real-ip") == "127.0.0.1"
    assert seen.get("x-forwarded-host") == "h.test:8080"
    assert seen.get("x-forwarded-proto") == "http"
    assert seen.get("x-forwarded-port") == "80"
    assert seen.get("host") == "h.test:8080"
    assert re.fullmatch(r"[0-9a-f]{32}", seen.get("x-request-id") or "")
    assert seen.get("forwarded") is None


async def test_fields_of_an_untrusted_peer_are_replaced(edge: Edge) -> None:
    seen = await _seen(edge, *SPOOFED)
    honest = await _seen(edge)
    for name in ("x-forwarded-for", "x-real-ip", "x-forwarded-host", "x-forwarded-proto"):
        assert seen.values(name) == honest.values(name)
    assert seen.values("x-forwarded-port") == ["80"]
    assert re.fullmatch(r"[0-9a-f]{32}", seen.get("x-request-id") or "")
    assert seen.get("forwarded") is None
    assert not any("9.9.9.9" in value or "evil" in value for _, value in seen.fields)


async def test_every_request_has_an_id_of_its_own(edge: Edge) -> None:
    async with await edge.open() as connection:
        for _ in range(20):
            await connection.exchange(request())
    ids = [seen.get("x-request-id") for seen in edge.backend.requests]
    assert len(set(ids)) == 20


async def test_fields_of_a_trusted_peer_count(trusting: Edge) -> None:
    seen = await _seen(
        trusting,
        ("X-Forwarded-For", "198.51.100.7"),
        ("X-Forwarded-Host", "public.test"),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Proto", "https"),
        ("X-Request-ID", "from-the-edge"),
    )
    assert seen.get("x-forwarded-for") == "198.51.100.7, 127.0.0.1"
    assert seen.get("x-real-ip") == "198.51.100.7"
    assert seen.get("x-forwarded-host") == "public.test"
    assert seen.get("x-forwarded-port") == "443"
    assert seen.get("x-forwarded-proto") == "https"
    assert seen.get("x-request-id") == "from-the-edge"


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        pytest.param(["198.51.100.7"], "198.51.100.7", id="one untrusted address"),
        pytest.param(["9.9.9.9, 198.51.100.7"], "198.51.100.7", id="forged address left of it"),
        pytest.param(
            ["198.51.100.7, 10.1.2.3, 10.0.0.1"], "198.51.100.7", id="trusted hops skipped"
        ),
        pytest.param(["198.51.100.7", "10.1.2.3"], "198.51.100.7", id="two lines are one list"),
        pytest.param(["10.1.2.3, 10.0.0.1"], "10.1.2.3", id="all trusted: the leftmost"),
        pytest.param(["9.9.9.9, unknown, 10.0.0.1"], "10.0.0.1", id="no address ends the search"),
        pytest.param(["2001:db8::7, fd00::1"], "2001:db8::7", id="IPv6"),
        pytest.param(["[2001:db8::7]:4711, 10.0.0.1"], "2001:db8::7", id="IPv6 with a port"),
        pytest.param(["198.51.100.7:4711"], "198.51.100.7", id="IPv4 with a port"),
        pytest.param(["9.9.9.9, ::ffff:10.0.0.1"], "9.9.9.9", id="mapped IPv4 is IPv4"),
        pytest.param(["::ffff:9.9.9.9"], "9.9.9.9", id="mapped IPv4 is told as IPv4"),
    ],
)
async def test_client_is_the_rightmost_untrusted_address(
    trusting: Edge, chain: list[str], client: str
) -> None:
    seen = await _seen(trusting, *(("X-Forwarded-For", value) for value in chain))
    assert seen.get("x-real-ip") == client
    assert seen.values("x-forwarded-for") == [", ".join([*chain, "127.0.0.1"])]


async def test_real_ip_of_a_trusted_peer_is_ours_to_say(trusting: Edge) -> None:
    seen = await _seen(trusting, ("X-Real-IP", "9.9.9.9"))
    assert seen.values("x-real-ip") == ["127.0.0.1"]


async def test_nominated_field_of_a_trusted_peer_does_not_count(trusting: Edge) -> None:
    """RFC 9110 7.6.1: a nominated field was meant for us alone, and is removed first."""
    nominated = ("Connection", "X-Forwarded-For"), ("X-Forwarded-For", "198.51.100.7")
    seen = await _seen(trusting, *nominated)
    assert seen.get("x-forwarded-for") == "127.0.0.1"
    assert seen.get("x-real-ip") == "127.0.0.1"


async def test_forwarded_field_is_sent_when_asked_for() -> None:
    with edge(options=Options(access_log="off", forwarded_header=True)) as pair:
        seen = await _seen(pair, ("Forwarded", "for=9.9.9.9"))
        [forwarded] = seen.values("forwarded")
        assert set(forwarded.split(";")) == {"for=127.0.0.1", "proto=http", 'host="h.test"'}


async def test_published_port_is_told_not_the_bound_one(edge: Edge) -> None:
    assert edge.address[1] != 80
    assert (await _seen(edge)).get("x-forwarded-port") == "80"


async def test_server_and_date_are_added_when_the_upstream_sends_none(edge: Edge) -> None:
    reply = await fetch(edge.address, request())
    assert reply.values("server") == ["python-ingress"]
    [date] = reply.values("date")
    assert date.endswith("GMT")
    parsedate_to_datetime(date)


async def test_server_and_date_of_the_upstream_are_kept(edge: Edge) -> None:
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    edge.backend.on("/own", fixed(message("200 OK", b"", ("Server", "mine/1"), ("Date", date))))
    reply = await fetch(edge.address, request("/own"))
    assert (reply.values("server"), reply.values("date")) == (["mine/1"], [date])


async def test_empty_server_header_adds_none() -> None:
    with edge(options=Options(access_log="off", server_header="")) as pair:
        for host in ("h.test", "nobody.test"):
            reply = await fetch(pair.address, request(host=host))
            assert reply.get("server") is None
            assert reply.get("date") is not None


async def test_our_own_answers_have_server_and_date_too(edge: Edge) -> None:
    for data, status in (
        (request(host="nobody.test"), 404),
        (request(host="empty.test"), 503),
        (request("/%00"), 400),
        (b"nonsense\r\n\r\n", 400),
    ):
        async with await edge.open() as connection:
            reply = await connection.exchange(data)
            assert (reply.status, reply.get("server")) == (status, "python-ingress")
            assert reply.get("date") is not None
