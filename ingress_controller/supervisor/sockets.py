"""Listening sockets, bound by the control process and inherited by workers.

Each worker slot has sockets of its own (SO_REUSEPORT spreads new connections over them evenly,
where a shared accept queue favours one worker). The control process keeps every one of them open:
a socket that only its worker held would reset all queued connections when that worker dies.
"""

import errno
import ipaddress
import os
import socket
from collections.abc import Sequence

BACKLOG = 16384
"""Connections that may wait to be accepted; the kernel lowers it to net.core.somaxconn."""

ALL_ADDRESSES = ("0.0.0.0", "::")


class BindError(OSError):
    """A socket cannot listen; the message is one sentence that says why and what to do."""

    def __init__(self, address: str, port: int, flag: str, error: OSError) -> None:
        super().__init__(f"cannot listen on {shown(address, port)}: {_advice(error, port, flag)}")


def shown(address: str, port: int) -> str:
    """An address and port as they stand in a URL."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _advice(error: OSError, port: int, flag: str) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"another program listens there; stop it, or choose another port with {flag}"
        case errno.EACCES:
            return (
                f"ports below 1024 need the right CAP_NET_BIND_SERVICE; "
                f"give it, or choose another port than {port} with {flag}"
            )
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address; bind one that it has"
        case _:
            return f"{os.strerror(error.errno or 0)}; choose another address or port"


class BoundListener:
    """One port on some addresses: a listening socket for each address and slot."""

    def __init__(self, port: int, slots: Sequence[Sequence[socket.socket]]) -> None:
        self.port = port
        self.slots = slots

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where clients reach it, such as ``0.0.0.0:8080``."""
        return tuple(shown(*listening.getsockname()[:2]) for listening in self.slots[0])

    def close(self) -> None:
        """Closes every socket."""
        for sockets in self.slots:
            for listening in sockets:
                listening.close()


def bind_listener(
    addresses: Sequence[str], port: int, *, slots: int, port_flag: str
) -> BoundListener:
    """Listens on a port of some addresses (none given: of all), once for each slot.

    Port 0 lets the system choose one port, the same for all addresses.

    Raises:
        BindError: one of the sockets cannot be bound; none stays open then.
    """
    bound: list[list[socket.socket]] = [[] for _ in range(slots)]
    listener = BoundListener(port, bound)
    for address in addresses or ALL_ADDRESSES:
        try:
            _refuse_taken(address, listener.port)
            for sockets in bound:
                sockets.append(_listening(address, listener.port))
                listener.port = sockets[-1].getsockname()[1]
        except OSError as error:
            if not addresses and address == "::" and bound[0] and _no_ipv6(error):
                continue
            listener.close()
            raise BindError(address, listener.port, port_flag, error) from None
    return listener


def _no_ipv6(error: OSError) -> bool:
    return error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def _refuse_taken(address: str, port: int) -> None:
    """Fails if anybody listens there already.

    SO_REUSEPORT alone would let a second instance of ours take a share of the connections of the
    first, unnoticed.
    """
    with _socket(address) as probe:
        probe.bind((address, port))


def _listening(address: str, port: int) -> socket.socket:
    listening = _socket(address)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((address, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _socket(address: str) -> socket.socket:
    version = ipaddress.ip_address(address).version
    created = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET)
    created.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if version == 6:
        created.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return created
