"""Asks one URL again and again from a process of its own, and tells how late the answers came.

``python prober.py HOST PORT PATH HOSTNAME EVERY PID``: every EVERY seconds it looks how long the
process takes to answer; a look that falls due while an answer is still awaited is answered by that
one. When standard input ends, it prints a line of JSON: for each look the moment at which it was
due (`time.monotonic`), and the seconds from then to the answer. The time in which the machine had
no processor for us or for the asked process (PID, as the kernel counts it) does not count.
"""

import json
import select
import socket
import sys
import time
from bisect import bisect_right
from pathlib import Path


def main() -> None:
    host, port, path, name, every, pid = sys.argv[1:]
    schedules = [Path(f"/proc/{each}/schedstat").open() for each in ("self", pid)]  # noqa: SIM115
    told: list[tuple[float, float]] = []
    moments, waits = [time.monotonic()], [_waited(schedules)]
    with socket.create_connection((host, int(port)), timeout=30) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = f"GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()
        due = time.monotonic()
        while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
            sock.sendall(request)
            _read_answer(sock)
            now, waited = time.monotonic(), _waited(schedules)
            moments.append(now)
            waits.append(waited)
            while due <= now:
                before = waits[bisect_right(moments, due) - 1]
                told.append((due, max(0.0, now - due - (waited - before))))
                due += float(every)
    print(json.dumps(told))  # noqa: T201 - read by the test


def _waited(schedules: list) -> float:  # type: ignore[type-arg]
    """Seconds for which both were ready to run and did not."""
    total = 0
    for file in schedules:
        file.seek(0)
        total += int(file.read().split()[1])
    return total / 1e9


def _read_answer(sock: socket.socket) -> None:
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65536)


if __name__ == "__main__":
    main()
