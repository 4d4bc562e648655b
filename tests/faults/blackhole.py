"""Endpoints that cannot be reached."""

import socket

from router.model.upstreams import Endpoint


def closed_port() -> int:
    """A port that refuses connects."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class Blackhole:
    """Listens with a full queue and never accepts: further connects hang."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._waiting: list[socket.socket] = []

    def __enter__(self) -> "Blackhole":
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(self._listening.getsockname())
            self._waiting.append(sock)
        return self

    def __exit__(self, *exception: object) -> None:
        for sock in (*self._waiting, self._listening):
            sock.close()

    @property
    def endpoint(self) -> Endpoint:
        """Where connects hang."""
        return Endpoint(address="127.0.0.1", port=self._listening.getsockname()[1])
