"""Opens connections to endpoints, within a deadline."""

import asyncio
import socket
import ssl
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import cast

from router.addresses import inner, refused_always, refused_local
from router.exchange import Exchange
from router.http.faults import (
    CONNECT_REFUSED,
    CONNECT_TIMEOUT,
    UPSTREAM_TLS,
    UPSTREAM_UNTRUSTED,
    Fault,
)
from router.io.hub import Hub
from router.io.upstream import UpstreamConnection
from router.pool import Target
from tls.certificate import CertificateDigest
from tls.contexts import ContextRefusedError
from tls.policy import UpstreamTls
from tls.upstream import Dial, hostname_for

MAX_ADDRESSES = 64
"""Addresses of a name that are looked at."""


class Dialler:
    """Opens connections for exchanges; each attempt is a task: connecting is rare and long."""

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        self._hub = hub
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()

    def dial(self, target: Target, exchange: Exchange) -> None:
        """Open a connection to the target (counted as open already) for this exchange.

        If the exchange ends meanwhile, the connection goes to the target's pool.
        """
        task = self._loop.create_task(self._dial(target, exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dial(self, target: Target, exchange: Exchange) -> None:
        fault: Fault
        try:
            async with asyncio.timeout(self._hub.runtime.limits.upstream_connect_timeout):
                connection = await self._open(target)
        except TimeoutError:
            fault = CONNECT_TIMEOUT
        except ssl.SSLCertVerificationError as error:
            fault = UPSTREAM_UNTRUSTED
            self._tell(target, error.verify_message)
        except ssl.SSLError as error:
            fault = UPSTREAM_TLS
            self._tell(target, error.reason or str(error))
        except ContextRefusedError as error:
            fault = UPSTREAM_TLS
            self._tell(target, str(error))
        except OSError:
            fault = CONNECT_REFUSED
        else:
            if not connection.lost:
                exchange.connected(connection, reused=False)
                return
            exchange.connect_failed(CONNECT_REFUSED)  # its end was counted when it was lost
            return
        target.forget(None)
        exchange.connect_failed(fault)

    async def _open(self, target: Target) -> UpstreamConnection:
        host = await endpoint_address(
            self._loop, target.address, target.port, self._hub.runtime.denied
        )
        if target.tls is None:
            _, connection = await self._loop.create_connection(
                lambda: UpstreamConnection(self._hub, target), host, target.port
            )
            return connection
        dial = self._tls_dial(target, target.tls)
        _, connection = await self._loop.create_connection(
            lambda: UpstreamConnection(self._hub, target, dial),
            host,
            target.port,
            ssl=cast(ssl.SSLContext, dial),
            server_hostname=dial.server_hostname,
            ssl_handshake_timeout=self._hub.runtime.limits.upstream_connect_timeout,
            ssl_shutdown_timeout=1.0,
        )
        return connection

    def _tls_dial(self, target: Target, profile: UpstreamTls) -> Dial:
        """What TLS needs for one connection.

        Raises:
            ContextRefusedError: what the profile names is not there; never in clear instead.
        """
        runtime = self._hub.runtime
        digest = profile.client_certificate
        context = self._hub.upstream_contexts.get(
            profile,
            authorities=None
            if profile.authorities is None
            else runtime.authorities.get(profile.authorities),
            client=None if digest is None else runtime.certificates.get(CertificateDigest(digest)),
        )
        return context.dial(target.name, hostname_for(profile, target.address))

    def _tell(self, target: Target, why: str) -> None:
        self._hub.log_once(
            f"upstream.{target.name}",
            "no TLS connection to an endpoint could be opened",
            {"endpoint": target.name, "why": why},
        )


async def endpoint_address(
    loop: asyncio.AbstractEventLoop,
    host: str,
    port: int,
    denied: Iterable[IPv4Network | IPv6Network],
) -> str:
    """The address to dial for an endpoint: itself, or for a name the first one that is no way into
    this machine or its neighbours. Judged after resolution, because the owner of a name can make
    it mean anything.

    Raises:
        OSError: the name has no such address.
    """
    if _is_literal(host):
        return host
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for _, _, _, _, place in found[:MAX_ADDRESSES]:
        ip = inner(ip_address(place[0]))
        if not (refused_always(ip) or refused_local(ip) or any(ip in each for each in denied)):
            return str(place[0])
    raise OSError(f"{host} has no address that may be an endpoint")


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
