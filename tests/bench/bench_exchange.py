"""What one proxied request costs in Python alone: no kernel, transports that only take bytes.

Run ``python -m tests.bench.bench_exchange``; ``--profile`` shows where the time goes.
"""

import asyncio
import cProfile
import pstats
import random
import sys
import time

from router.accesslog import AccessLog
from router.io.connect import Dialler
from router.io.downstream import ClientConnection
from router.io.hub import Hub
from router.io.upstream import UpstreamConnection
from router.model.limits import Limits
from router.model.snapshot import Listener
from router.model.upstreams import Endpoint
from router.model.wire import Options
from router.runtime import Runtime
from router.steps import at_once
from tests.harness.worker import key, snapshot
from tls.contexts import ServerContexts
from tls.upstream import UpstreamContexts

ROUNDS = 30_000
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: backend\r\nDate: Tue, 24 Nov 2026 10:00:00 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 96\r\n\r\n" + b"x" * 96
)


class NullTransport:
    """Takes bytes, tells nothing."""

    def write(self, data: bytes) -> None: ...
    def writelines(self, parts: list[bytes]) -> None: ...
    def get_extra_info(self, name: str) -> tuple[str, int]:
        return ("192.0.2.1", 4711)

    def set_write_buffer_limits(self, high: int) -> None: ...
    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...


def request(fields: int) -> bytes:
    """A browser-like request with so many further fields."""
    more = b"".join(b"X-Field-%d: value of field %d\r\n" % (n, n) for n in range(fields))
    return (
        b"GET /shop/cart?id=7 HTTP/1.1\r\nHost: host-500.test\r\nUser-Agent: wrk/4.1\r\n"
        b"Accept: */*\r\nAccept-Encoding: gzip\r\n" + more + b"\r\n"
    )


async def prepare(access_log: AccessLog) -> tuple[ClientConnection, UpstreamConnection]:
    """A worker's state with 1,000 hosts, one client, and one idle upstream connection."""
    runtime = Runtime(
        limits=Limits(max_requests_per_connection=1 << 60),
        options=Options(),
        access_log=access_log,
        clock=time.monotonic,
        wall_clock=time.time,
        random_bits=random.Random(1).getrandbits,
    )
    hub = Hub(
        runtime=runtime,
        max_clients=1000,
        contexts=ServerContexts(openssl=None, secret=None),
        upstream_contexts=UpstreamContexts(openssl=None),
        log=lambda *_: None,
    )
    table = {f"host-{n}.test": {"/": "web", "/shop": "web", "=/x": "web"} for n in range(1000)}
    at_once(runtime.loading(snapshot(1, table, {"web": [Endpoint("192.0.2.2", 80)]})))
    hub.tick()
    listener = Listener("http", protocol="http", published_port=80)
    client = ClientConnection(hub, Dialler(hub, asyncio.get_running_loop()), listener)
    client.connection_made(NullTransport())  # type: ignore[arg-type]
    target = runtime.pools[key("web")].pick(runtime.now)
    assert target is not None
    target.may_open()
    upstream = UpstreamConnection(hub, target)
    upstream.connection_made(NullTransport())  # type: ignore[arg-type]
    target.give_back(upstream)
    return client, upstream


def drive(client: ClientConnection, upstream: UpstreamConnection, head: bytes, rounds: int) -> None:
    """So many requests, each answered at once."""
    for _ in range(rounds):
        client.data_received(head)
        upstream.data_received(ANSWER)


async def main(profile: bool) -> None:
    """Print the cost for a common request and for one of 40 fields."""
    for name, fields in (("small", 0), ("40 fields", 36)):
        client, upstream = await prepare(AccessLog(lambda lines: True))
        head = request(fields)
        drive(client, upstream, head, 2000)
        if profile:
            profiler = cProfile.Profile()
            profiler.runcall(drive, client, upstream, head, ROUNDS)
            pstats.Stats(profiler).sort_stats("tottime").print_stats(28)
        best = min(_timed(client, upstream, head) for _ in range(5))
        print(f"{name}: {best * 1e6:.2f} us of Python for each request")


def _timed(client: ClientConnection, upstream: UpstreamConnection, head: bytes) -> float:
    began = time.process_time()
    drive(client, upstream, head, ROUNDS)
    return (time.process_time() - began) / ROUNDS


if __name__ == "__main__":
    asyncio.run(main("--profile" in sys.argv))
