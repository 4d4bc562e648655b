"""Clients that are slow, and clients that stop: the edge must bear the first and end the second.

A slow client's own time is none of the edge's, so what counts as response time is what is left when
it is done: until the answer to a slow request, and until the first byte of one that is read slowly.
"""

import http.client
import random
import time

from locust import tag, task

from loadtest.checks import problem
from loadtest.users import SocketUser, Wrong

PIECE_PAUSE = 0.2
"""Seconds between two pieces: far above what the edge's time-outs allow at the least."""
PIECES = 10
BODY = 10_000
READ = 1 << 16
"""Bytes read at a time, ten times a second: an answer of 4 MiB takes six seconds."""
READ_PAUSE = 0.1
RECEIVE_BUFFER = 1 << 14
"""Bytes; with the kernel's own choice, it would take a whole answer at once."""


class SlowClients(SocketUser):
    """One task for each kind of slowness."""

    weight = 2

    @tag("slow")
    @task(2)
    def send_slowly(self) -> None:
        """Head and body in ten pieces over two seconds each."""
        target = random.choice(self.run_of.targets.uploads)
        head = (
            f"POST {target.path} HTTP/1.1\r\nHost: {target.host}\r\nConnection: close\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {BODY}\r\n\r\n"
        ).encode()
        with (
            self.counted("SLOW", f"{target.url} (sent slowly)") as measured,
            self.run_of.edge.connect(target.host, secure=target.secure) as connection,
        ):
            for whole in (head, bytes(BODY)):
                step = -(-len(whole) // PIECES)
                for start in range(0, len(whole), step):
                    time.sleep(PIECE_PAUSE)
                    connection.sendall(whole[start : start + step])
            sent = time.perf_counter()
            answer = http.client.HTTPResponse(connection, method="POST")
            answer.begin()
            body = answer.read()
            measured.seconds, measured.length = time.perf_counter() - sent, len(body)
            if said := problem(target, answer.status, body, size=BODY):
                raise Wrong(said)

    @tag("slow")
    @task(2)
    def read_slowly(self) -> None:
        """An answer larger than all buffers on its way, and a client that takes its time."""
        downloads = self.run_of.targets.downloads
        if not downloads:
            return
        target = random.choice(downloads)
        size = random.choice(target.sizes)
        request = (
            f"GET {target.path.replace('{size}', str(size))} HTTP/1.1\r\nHost: {target.host}\r\n"
            "Connection: close\r\n\r\n"
        ).encode()
        with (
            self.counted("SLOW", f"{target.url} (read slowly)") as measured,
            self.run_of.edge.connect(
                target.host, secure=target.secure, receive_buffer=RECEIVE_BUFFER
            ) as connection,
        ):
            connection.sendall(request)
            sent = time.perf_counter()
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            measured.seconds = time.perf_counter() - sent
            if answer.status != target.status:
                raise Wrong(f"status {answer.status}, expected {target.status}")
            while piece := answer.read(READ):
                measured.length += len(piece)
                time.sleep(READ_PAUSE)
            if measured.length != size:
                raise Wrong(f"{measured.length} bytes came, expected {size}")

    @tag("slow")
    @task(1)
    def stop_in_the_head(self) -> None:
        """Half a head, then nothing: the edge must answer 408, or close, within its own limit."""
        target = random.choice(self.run_of.targets.uploads)
        limit = self.run_of.stall_limit
        with (
            self.counted("SLOW", f"{target.url} (stopped in the head)") as measured,
            self.run_of.edge.connect(target.host, secure=target.secure) as connection,
        ):
            connection.sendall(f"GET {target.path} HTTP/1.1\r\nHost: {target.host}\r\nX-".encode())
            connection.settimeout(limit)
            began = time.perf_counter()
            try:
                first = connection.recv(4096)
            except TimeoutError:
                raise Wrong(f"the edge still waits after {limit:g} s") from None
            except ConnectionResetError:
                first = b""  # cut: one way to end it
            measured.seconds, measured.length = time.perf_counter() - began, len(first)
            if first and not first.startswith(b"HTTP/1.1 408 "):
                raise Wrong(f"expected 408, got {first[:40]!r}")
