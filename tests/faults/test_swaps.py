"""Swaps of the table under load (F-37): no connection is closed, no request fails.

A few seconds by default; ``SWAP_SECONDS=30`` runs the full length.
"""

import asyncio
import os
import time

import pytest

from tests.harness.backend import Backend, Exchange, echo, tunnel_echo
from tests.harness.client import Connection, request
from tests.harness.load import steady_load
from tests.harness.waiting import until
from tests.harness.worker import Target, Worker

SECONDS = float(os.environ.get("SWAP_SECONDS", "5"))
RUNNING = 1000
HOSTS = 300


def _table(turn: int) -> dict[str, dict[str, Target]]:
    """Many hosts; those of this turn have other paths than before."""
    table: dict[str, dict[str, Target]] = {"h.test": {"/": "web", f"/turn/{turn}": "web"}}
    for number in range(HOSTS):
        table[f"host-{number}.test"] = {"/": "web", f"/{turn}": "web"}
    return table


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 90)
@pytest.mark.parametrize("whole", [False, True], ids=["deltas", "whole snapshots"])
async def test_swaps_with_a_thousand_running_requests_fail_none(*, whole: bool) -> None:
    with Backend() as backend, Worker() as worker:
        release = backend.gate()

        async def waits(exchange: Exchange) -> None:
            await release.passed()
            await echo(exchange)

        backend.on("/waits", waits)
        backend.on("/tunnel", tunnel_echo)
        backend.on("/download", _slow_download)
        services = {"web": [backend.endpoint]}
        worker.serve(_table(0), services)
        running = [await Connection.open(worker.address) for _ in range(RUNNING)]
        for number, connection in enumerate(running):
            await connection.send(request("/waits", nonce=str(number)))
        await until(lambda: len(backend.requests) == RUNNING, "all requests run", within=30)
        tunnel = await Connection.open(worker.address)
        await tunnel.send(request("/tunnel", ("Connection", "upgrade"), ("Upgrade", "custom")))
        await tunnel.head()
        download = await Connection.open(worker.address)
        await download.send(request("/download"))
        slow = await download.head()
        rate = 10 if whole else 100
        memory = 0
        async with steady_load(worker.address) as load:
            start = time.perf_counter()
            turn = 0
            while (now := time.perf_counter() - start) < SECONDS:
                turn += 1
                if whole:
                    worker.serve(_table(turn), services)
                elif turn % 2:
                    worker.change(table={"h.test": {"/": "web", f"/turn/{turn}": "web"}})
                else:
                    worker.change(services=services)
                if turn == rate:
                    memory = worker.memory
                await asyncio.sleep(max(0.0, turn / rate - now))
            assert turn > SECONDS * rate * 0.5, "the worker did not keep up"
        assert load.failures == []
        assert worker.memory < memory + 15 * 1024 * 1024
        await tunnel.send(b"alive")
        while bytes(tunnel.tunnelled) != b"alive":
            await tunnel.read()
        got = slow.length
        while slow.length == got:
            await download.read()
        release.open()
        for number, connection in enumerate(running):
            [reply] = await connection.receive()
            assert (reply.status, reply.get("x-nonce")) == (200, str(number))
        for connection in (*running, tunnel, download):
            connection.close()
        worker.check()


async def _slow_download(exchange: Exchange) -> None:
    exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        await exchange.send(b"x")
        await asyncio.sleep(0.05)
