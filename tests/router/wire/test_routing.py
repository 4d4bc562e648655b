"""Which backend gets a request, and what is answered when none does."""

import socket

import pytest

from router.model.snapshot import Answer
from router.model.upstreams import Endpoint
from tests.harness.backend import Backend
from tests.harness.client import Connection, fetch, request
from tests.harness.edge import Edge
from tests.harness.waiting import until
from tests.harness.worker import Worker


async def test_no_rule_is_404_and_no_endpoint_is_503_with_retry_after(edge: Edge) -> None:
    """Rule 8 of the design: 404 only when no rule matches."""
    missing = await fetch(edge.address, request(host="nobody.test"))
    empty = await fetch(edge.address, request(host="empty.test"))
    assert (missing.status, missing.get("retry-after")) == (404, None)
    assert (empty.status, empty.get("retry-after")) == (503, "1")


async def test_our_own_answers_keep_the_connection_when_they_can(edge: Edge) -> None:
    async with await edge.open() as connection:
        for host, status in (("nobody.test", 404), ("empty.test", 503), ("h.test", 200)) * 3:
            assert (await connection.exchange(request(host=host))).status == status


async def test_our_own_answer_to_head_has_no_body(edge: Edge) -> None:
    async with await edge.open() as connection:
        for host in ("nobody.test", "empty.test"):
            reply = await connection.exchange(request(host=host, method="HEAD"))
            assert reply.length == 0
        await edge.clean_on(connection)


@pytest.mark.parametrize("host", ["nobody.test", "empty.test"])
async def test_body_of_an_unanswerable_request_is_never_taken_for_a_request(
    edge: Edge, host: str
) -> None:
    """The rule of FR5 for our own answers: the body is consumed, or the connection closed."""
    body = request("/smug")
    async with await edge.open() as connection:
        await connection.send(request(method="POST", host=host, body=body))
        [reply] = await connection.receive()
        assert reply.status in (404, 503)
        if reply.get("connection") == "close":
            assert await connection.ending() != "open"
        else:
            await edge.clean_on(connection)
    assert all(seen.path != "/smug" for seen in edge.backend.requests)


async def test_body_may_come_after_the_answer_to_an_unanswerable_request(edge: Edge) -> None:
    async with await edge.open() as connection:
        for _ in range(3):
            data = request(method="POST", host="nobody.test", body=request("/smug"))
            head, end, body = data.partition(b"\r\n\r\n")
            reply = await connection.exchange(head + end)
            assert reply.status == 404
            if reply.get("connection") == "close":
                return
            await connection.send(body[:10])
            await connection.send(body[10:])
            await edge.clean_on(connection)
    assert all(seen.path != "/smug" for seen in edge.backend.requests)


async def test_body_that_never_comes_after_such_an_answer_ends_the_connection(
    hurried_edge: Edge,
) -> None:
    async with await hurried_edge.open() as connection:
        length = ("Content-Length", "10")
        reply = await connection.exchange(request("/x", length, method="POST", host="nobody.test"))
        assert reply.status == 404
        assert await connection.ending(within=4) != "open"


async def test_fixed_answer_serves_no_backend(edge: Edge) -> None:
    for target in ("/blocked", "/./blocked", "/a/../blocked", "/%62locked", "/blocked?x"):
        reply = await fetch(edge.address, request(target))
        assert reply.status == 403
    assert edge.backend.requests == []


async def test_hosts_and_paths_lead_to_their_own_backends() -> None:
    with Backend("one") as one, Backend("two") as two, Worker() as worker:
        worker.serve(
            {
                "a.test": {"/": "one", "/two": "two", "=/two/exact": "one"},
                "*.b.test": {"/": "two"},
                "": {"/": "one"},
            },
            {"one": [one.endpoint], "two": [two.endpoint]},
        )
        for host, target, name in (
            ("a.test", "/", "one"),
            ("a.test", "/two", "two"),
            ("a.test", "/two/", "two"),
            ("a.test", "/two/x", "two"),
            ("a.test", "/twofold", "one"),
            ("a.test", "/two/exact", "one"),
            ("a.test", "/two/exact/x", "two"),
            ("A.TEST.:99", "/two", "two"),
            ("x.b.test", "/", "two"),
            ("x.y.b.test", "/", "one"),
            ("b.test", "/", "one"),
            ("other.test", "/two", "one"),
        ):
            reply = await fetch(worker.address, request(target, host=host))
            assert reply.get("x-backend") == name, (host, target)
        worker.check()
        assert one.violations == two.violations == []


async def test_round_robin_is_fair_while_endpoints_change() -> None:
    with Backend("a") as a, Backend("b") as b, Backend("c") as c, Worker() as worker:
        table = {"h.test": {"/": "web"}}
        worker.serve(table, {"web": [a.endpoint, b.endpoint]})
        async with await Connection.open(worker.address) as connection:

            async def count(requests: int) -> dict[str, int]:
                found: dict[str, int] = {}
                for _ in range(requests):
                    reply = await connection.exchange(request())
                    name = reply.get("x-backend") or ""
                    found[name] = found.get(name, 0) + 1
                return found

            assert await count(40) == {"a": 20, "b": 20}
            worker.change(services={"web": [a.endpoint, b.endpoint, c.endpoint]})
            assert await count(60) == {"a": 20, "b": 20, "c": 20}
            totals: dict[str, int] = {}
            for turn in range(30):
                here = [a.endpoint, b.endpoint] + [c.endpoint] * (turn % 2)
                worker.change(services={"web": here})
                for name, seen in (await count(2)).items():
                    totals[name] = totals.get(name, 0) + seen
            assert abs(totals["a"] - totals["b"]) <= 10, totals
            worker.change(services={"web": [c.endpoint]})
            assert await count(5) == {"c": 5}


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
async def test_endpoint_may_have_an_ipv6_address() -> None:
    with Backend(address="::1") as backend, Worker() as worker:
        worker.serve({"h.test": {"/": "web"}}, {"web": [backend.endpoint]})
        assert (await fetch(worker.address, request())).status == 200
        worker.check()


async def test_name_that_leads_into_this_machine_is_no_endpoint() -> None:
    """The owner of a name can make it mean anything; the admin port, for example."""
    with Backend() as backend, Worker() as worker:
        endpoint = Endpoint(address="localhost", port=backend.port)
        worker.serve({"h.test": {"/": "web"}}, {"web": [endpoint]})
        assert (await fetch(worker.address, request())).status == 502
        assert backend.connections == []
        worker.check()


async def test_weights_share_the_traffic_of_a_route() -> None:
    with Backend("a") as a, Backend("b") as b, Worker() as worker:
        worker.serve(
            {"h.test": {"/": (("a", 3), ("b", 1))}}, {"a": [a.endpoint], "b": [b.endpoint]}
        )
        async with await Connection.open(worker.address) as connection:
            names = [(await connection.exchange(request())).get("x-backend") for _ in range(40)]
        assert (names.count("a"), names.count("b")) == (30, 10)


async def test_request_sees_the_table_that_was_current_when_its_head_was_complete() -> None:
    with Backend("old") as old, Backend("new") as new, Worker() as worker:
        services = {"old": [old.endpoint], "new": [new.endpoint]}
        worker.serve({"h.test": {"/": "old"}}, services)
        async with (
            await Connection.open(worker.address) as uploading,
            await Connection.open(worker.address) as half,
        ):
            await uploading.send(request("/x", ("Content-Length", "4"), method="POST") + b"ab")
            await half.send(request()[:-2])
            await until(lambda: old.requests, "the upload at the backend")
            worker.change(table={"h.test": {"/": "new"}})
            await uploading.send(b"cd")
            [reply] = await uploading.receive()
            assert reply.get("x-backend") == "old"
            await half.send(request()[-2:])
            [reply] = await half.receive()
            assert reply.get("x-backend") == "new"
            assert (await uploading.exchange(request())).get("x-backend") == "new"


async def test_delta_that_does_not_fit_is_answered_and_changes_nothing() -> None:
    with Backend() as backend, Worker() as worker:
        worker.serve({"h.test": {"/": "web"}}, {"web": [backend.endpoint]})
        worker.version += 7
        worker.change(table={"h.test": {"/": Answer(404, "gone")}}, wait=False)
        worker.heard(lambda message: type(message).__name__ == "OutOfStep", "OutOfStep")
        assert (await fetch(worker.address, request())).status == 200
        worker.serve({"h.test": {"/": Answer(404, "gone")}}, {"web": [backend.endpoint]})
        assert (await fetch(worker.address, request())).status == 404
