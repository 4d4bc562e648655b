"""Connections: kept on both sides, answered in order, ended when they must be."""

import asyncio

import pytest

from router.model.limits import Limits
from tests.harness.backend import Exchange, echo, fixed, hang, message, raw
from tests.harness.client import request
from tests.harness.edge import Edge, edge
from tests.harness.waiting import until


async def test_fifty_pipelined_requests_are_answered_in_order(edge: Edge) -> None:
    """RFC 9112 9.3.2."""

    async def late(exchange: Exchange) -> None:
        await asyncio.sleep(0.05)  # the first answer is the slowest
        await echo(exchange)

    edge.backend.on("/0", late)
    async with await edge.open() as connection:
        await connection.send(b"".join(request(f"/{number}") for number in range(50)))
        replies = await connection.receive(50)
    assert [reply.get("x-saw") for reply in replies] == [f"GET /{n} 0" for n in range(50)]


async def test_requests_on_one_connection_use_one_upstream_connection(edge: Edge) -> None:
    edge.backend.close_all()
    async with await edge.open() as connection:
        replies = [await edge.clean_on(connection) for _ in range(20)]
    assert len({reply.get("x-connection") for reply in replies}) == 1


async def test_clients_share_idle_upstream_connections(edge: Edge) -> None:
    edge.backend.close_all()
    replies = [await edge.clean() for _ in range(20)]
    assert len({reply.get("x-connection") for reply in replies}) == 1


async def test_running_requests_never_share_an_upstream_connection(edge: Edge) -> None:
    release = edge.backend.gate()

    async def waits(exchange: Exchange) -> None:
        await release.passed()
        await echo(exchange)

    edge.backend.on("/waits", waits)
    connections = [await edge.open() for _ in range(20)]
    for connection in connections:
        await connection.send(request("/waits"))
    await until(lambda: len(edge.backend.requests) == 20, "20 requests at the backend")
    release.open()
    replies = [(await connection.receive())[0] for connection in connections]
    assert len({reply.get("x-connection") for reply in replies}) == 20
    for connection in connections:
        connection.close()


async def test_dead_idle_connection_is_not_noticed_by_clients(edge: Edge) -> None:
    """A request that met a connection which the backend closed meanwhile is sent again."""
    async with await edge.open() as connection:
        for abruptly in (False, True) * 5:
            await edge.clean_on(connection)
            edge.backend.close_all(abruptly=abruptly)
            await edge.clean_on(connection)


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_idempotent_request_is_sent_again_when_its_connection_dies(
    edge: Edge, method: str
) -> None:
    """F-18: closed before the first byte of an answer."""
    deaths = 1

    async def dies_once(exchange: Exchange) -> None:
        nonlocal deaths
        await exchange.body()
        if deaths:
            deaths -= 1
            exchange.reset()
        else:
            await echo(exchange)

    edge.backend.on("/dies", dies_once)
    async with await edge.open() as connection:
        body = b"hello" if method == "PUT" else b""
        reply = await connection.exchange(request("/dies", method=method, body=body))
    assert reply.get("x-saw") == f"{method} /dies {len(body)}"
    assert len(edge.backend.requests) == 2


async def test_post_is_not_sent_again_when_its_connection_dies(edge: Edge) -> None:
    """It may have been carried out (RFC 9110 9.2.2)."""

    async def dies(exchange: Exchange) -> None:
        await exchange.body()
        exchange.close()

    edge.backend.on("/dies", dies)
    async with await edge.open() as connection:
        reply = await connection.exchange(request("/dies", method="POST", body=b"pay"))
        assert reply.status == 502
        await edge.clean_on(connection)
    assert [seen.path for seen in edge.backend.requests].count("/dies") == 1


async def test_request_is_not_sent_again_after_a_byte_of_an_answer(edge: Edge) -> None:
    async def begins(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\n")
        exchange.close()

    edge.backend.on("/begins", begins)
    async with await edge.open() as connection:
        reply = await connection.exchange(request("/begins"))
    assert reply.status == 502
    assert len(edge.backend.requests) == 1


async def test_upstream_that_asks_to_close_gets_no_further_request(edge: Edge) -> None:
    edge.backend.on("/last", fixed(message("200 OK", b"x", ("Connection", "close"))))
    async with await edge.open() as connection:
        for _ in range(3):
            reply = await connection.exchange(request("/last"))
            assert reply.get("connection") is None
    assert len({seen.connection for seen in edge.backend.requests}) == 3


async def test_upstream_that_ended_its_answer_by_closing_gets_no_further_request(
    edge: Edge,
) -> None:
    """Least of all the POST that waits behind it, which could not be sent again."""
    edge.backend.on("/ends", raw(b"HTTP/1.1 200 OK\r\n\r\nhello", then="close"))
    async with await edge.open() as connection:
        for _ in range(10):
            await connection.send(request("/ends") + request(method="POST", body=b"pay"))
            ended, paid = await connection.receive(2)
            assert (bytes(ended.body), paid.status) == (b"hello", 200)


async def test_connection_ends_when_its_client_asks_for_it(edge: Edge) -> None:
    async with await edge.open() as connection:
        reply = await connection.exchange(request("/x", ("Connection", "close")))
        assert (reply.status, reply.get("connection")) == (200, "close")
        assert await connection.ending() == "closed"


async def test_connection_ends_after_its_last_request() -> None:
    with edge(Limits(max_requests_per_connection=3)) as pair:
        async with await pair.open() as connection:
            replies = [await connection.exchange(request()) for _ in range(3)]
            assert [reply.get("connection") for reply in replies] == [None, None, "close"]
            assert await connection.ending() == "closed"


async def test_connection_ends_when_it_is_too_old() -> None:
    with edge(Limits(max_connection_age=0.5)) as pair:
        async with await pair.open() as connection:
            start = asyncio.get_running_loop().time()
            while (await connection.exchange(request())).get("connection") != "close":
                assert asyncio.get_running_loop().time() - start < 3
            assert await connection.ending() == "closed"


async def test_idle_connections_end_on_both_sides() -> None:
    """Also one that never sent a byte (W01)."""
    limits = Limits(keepalive_timeout=0.5, header_timeout=0.5, upstream_keepalive_timeout=0.5)
    with edge(limits) as pair:
        base = pair.worker.descriptors
        async with await pair.open() as silent, await pair.open() as idle:
            await pair.clean_on(idle)
            assert await idle.ending(within=3) == "closed"
            assert await silent.ending(within=3) != "open"
        await until(lambda: pair.backend.open_connections == 0, "idle upstream connections end")
        pair.worker.descriptors_return_to(base)


async def test_head_that_comes_too_slowly_ends_with_408(hurried_edge: Edge) -> None:
    """W02: the time counts for the whole head, not from byte to byte."""
    async with await hurried_edge.open() as connection:
        for byte in request():
            if not await connection.send(bytes([byte])):
                break
            try:
                await connection.read(within=0.15)
            except TimeoutError:
                continue
            break
        replies = await connection.receive()
        assert [reply.status for reply in replies] in ([408], [])
        assert await connection.ending() != "open"
    assert hurried_edge.backend.requests == []


async def test_half_a_head_behind_a_whole_request_has_no_more_time_than_any_other(
    hurried_edge: Edge,
) -> None:
    async with await hurried_edge.open() as connection:
        await connection.send(request() + request()[:-2])
        [reply] = await connection.receive()
        assert reply.status == 200
        assert await connection.ending(within=4) != "open"
        assert [reply.status for reply in connection.finished] in ([200, 408], [200])


async def test_body_that_comes_too_slowly_ends_with_408(hurried_edge: Edge) -> None:
    """Bytes keep coming, but fewer than the floor allows (``min_body_rate``)."""
    async with await hurried_edge.open() as connection:
        await connection.send(request("/x", ("Content-Length", "1000"), method="POST"))
        for _ in range(50):
            if not await connection.send(b"x"):
                break
            try:
                await connection.read(within=0.15)
            except TimeoutError:
                continue
            break
        assert await connection.ending() != "open"
        [reply] = connection.finished
        assert (reply.status, reply.get("connection")) == (408, "close")
    [seen] = hurried_edge.backend.requests
    assert not seen.complete


async def test_waiting_bytes_of_pipelined_requests_are_bounded(edge: Edge) -> None:
    """PI1: while one request runs, no more than a buffer of later ones is read."""
    release = edge.backend.gate()

    async def waits(exchange: Exchange) -> None:
        await release.passed()
        await echo(exchange)

    edge.backend.on("/waits", waits)
    before = edge.worker.memory
    later = request("/later", ("X", "x" * 900))
    count = 30_000_000 // len(later)
    async with await edge.open() as connection:
        await connection.send(request("/waits"))
        sending = asyncio.ensure_future(connection.send(later * count, within=30))
        await edge.clean()
        await asyncio.sleep(0.3)  # that nothing happens can only be seen after a while
        assert not sending.done()
        assert edge.worker.memory - before < 4 * 1024 * 1024
        sending.cancel()
        await asyncio.wait([sending])  # it must not touch a descriptor that is closed
        connection.reset()
        release.open()
    edge.check()


async def test_client_that_does_not_read_is_cut(hurried_edge: Edge) -> None:
    """W04: no progress in sending for the time-out; the upstream is let go."""

    async def endless(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            await exchange.send(b"x" * 65536)

    hurried_edge.backend.on("/endless", endless)
    async with await hurried_edge.open(receive_buffer=4096) as connection:
        await connection.send(request("/endless"))
        await until(lambda: hurried_edge.backend.requests, "the request at the backend")
        record = hurried_edge.backend.connections[hurried_edge.backend.requests[0].connection]
        await until(lambda: record.ended_by is not None, "the upstream is let go", within=5)
        assert await connection.ending() != "open"


async def test_cut_of_a_client_that_did_not_read_shows_in_a_body_that_the_close_delimits(
    hurried_edge: Edge,
) -> None:
    """A client that stood still too long and then goes on must not take the rest for the end."""

    async def endless(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await exchange.send(b"x" * 65536)

    backend = hurried_edge.backend
    backend.on("/endless", endless)
    async with await hurried_edge.open(http10=True) as connection:
        await connection.send(request("/endless", version="HTTP/1.0"))
        await until(lambda: backend.requests, "the request at the backend")
        record = backend.connections[backend.requests[0].connection]
        await until(lambda: record.ended_by is not None, "the upstream is let go", within=5)
        assert await connection.ending() == "reset"


async def test_client_that_reads_slowly_but_steadily_is_not_cut() -> None:
    """``send_timeout`` counts from the last progress of the client.

    The kernel takes megabytes before it takes more; whoever watches it alone sees no progress of a
    client that needs longer for them than the time-out, and cuts it in the middle.
    """
    size = 6_000_000
    with edge(Limits(send_timeout=0.75)) as pair:
        pair.backend.on("/large", fixed(message("200 OK", b"x" * size)))
        async with await pair.open(receive_buffer=65536) as connection:
            await connection.send(request("/large", ("Connection", "close")))
            reply = await connection.head()
            while reply.length < size and connection.ended == "open":
                await connection.read(most=20_000)
                await asyncio.sleep(0.01)  # slow: two megabytes a second at most
            assert (reply.length, connection.ended) == (size, "open")


async def test_client_that_reads_late_gets_all_answers_before_a_refusal(edge: Edge) -> None:
    """The end of a connection with unread bytes must not destroy what is still on its way."""
    size = 200_000  # so much fits into the kernel, and the exchange is over
    edge.backend.on("/large", fixed(message("200 OK", b"x" * size)))
    async with await edge.open(receive_buffer=4096) as connection:
        refused = b"GET / HTTP/1.1\r\nHost: h.test\r\nbad line\r\n\r\n" + b"y" * 50_000
        await connection.send(request("/large") + refused)
        await asyncio.sleep(3.0)  # longer than closing waits for a client that has everything
        await connection.send(b"y" * 50_000)  # to a closed socket, it would be answered by a reset
        await asyncio.sleep(0.1)
        replies = await connection.receive(2)
    assert [(reply.status, len(reply.body)) for reply in replies] == [
        (200, size),
        (400, len(replies[1].body)),
    ]


async def test_silent_upstream_ends_with_504_and_is_not_used_again(hurried_edge: Edge) -> None:
    hurried_edge.backend.on("/hang", hang)
    async with await hurried_edge.open() as connection:
        reply = await connection.exchange(request("/hang"))
        assert reply.status == 504
        await hurried_edge.clean_on(connection)
    [hung] = [seen for seen in hurried_edge.backend.requests if seen.path == "/hang"]
    record = hurried_edge.backend.connections[hung.connection]
    await until(lambda: record.ended_by in ("peer", "peer-reset"), "its connection ends")


async def test_long_answer_is_not_cut_while_it_makes_progress(hurried_edge: Edge) -> None:
    """Time-outs count between two reads, not over a whole exchange."""

    async def drips(exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.25)  # well below the time-out; twice the time-out in all
            await exchange.send(b"x")

    hurried_edge.backend.on("/drips", drips)
    async with await hurried_edge.open() as connection:
        reply = await connection.exchange(request("/drips"))
    assert bytes(reply.body) == b"xxxxxxxx"


async def test_connections_above_the_limit_are_told_so_or_idle_ones_make_room() -> None:
    with edge(Limits(max_connections=20)) as pair:
        release = pair.backend.gate()

        async def waits(exchange: Exchange) -> None:
            await release.passed()
            await echo(exchange)

        pair.backend.on("/waits", waits)
        busy = [await pair.open() for _ in range(20)]
        for connection in busy:
            await connection.send(request("/waits"))
        await until(lambda: len(pair.backend.requests) == 20, "20 requests at the backend")
        async with await pair.open() as extra:
            [reply] = await extra.receive()
            assert (reply.status, reply.get("connection")) == (503, "close")
        release.open()
        for connection in busy:
            [reply] = await connection.receive()
            assert reply.status == 200
        async with await pair.open() as late:
            await pair.clean_on(late)
        for connection in busy:
            connection.close()


async def test_request_that_waits_too_long_for_a_connection_gets_503() -> None:
    with edge(Limits(max_upstream_connections=1, upstream_connect_timeout=0.5)) as pair:
        pair.backend.on("/hang", hang)
        async with await pair.open() as running, await pair.open() as waiting:
            await running.send(request("/hang"))
            await until(lambda: pair.backend.requests, "the only connection is taken")
            reply = await waiting.exchange(request())
            assert (reply.status, reply.get("retry-after")) == (503, "1")
            running.reset()
            await pair.clean_on(waiting)


async def test_upstream_connections_are_limited_and_requests_wait_for_one() -> None:
    with edge(Limits(max_upstream_connections=2, max_upstream_waiting=3)) as pair:
        release = pair.backend.gate()

        async def waits(exchange: Exchange) -> None:
            await release.passed()
            await echo(exchange)

        pair.backend.on("/waits", waits)
        connections = [await pair.open() for _ in range(6)]
        for connection in connections:
            await connection.send(request("/waits"))
        [refused] = await connections[5].receive()
        assert (refused.status, refused.get("retry-after")) == (503, "1")
        await until(lambda: len(pair.backend.requests) == 2, "two requests run")
        release.open()
        for connection in connections[:5]:
            [reply] = await connection.receive()
            assert reply.status == 200
        assert len({seen.connection for seen in pair.backend.requests}) == 2
        for connection in connections:
            connection.close()
