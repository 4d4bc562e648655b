"""TLS Secrets that are deleted, broken, mixed up or replaced while they serve (F-12, F-13).

A few seconds by default; ``FAULT_SECONDS=60`` runs the full length.
"""

import asyncio
import base64
import itertools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.harness.client import Address, request
from tests.harness.load import steady_load
from tests.harness.replica import SECONDS, Cluster, Json, Replica, route
from tests.harness.secure import SecureConnection
from tests.tls.certificates import authority, pair
from tests.tls.handshakes import client_context
from tls.certificate import CertificatePair
from tls.faults import CertificateFault
from tls.pem import read_pair

pytestmark = pytest.mark.timeout(5 * SECONDS + 120)


def _secret(name: str, certificate: bytes, key: bytes) -> Json:
    values = {"tls.crt": certificate, "tls.key": key}
    return {
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "shop"},
        "type": "kubernetes.io/tls",
        "data": {name: base64.b64encode(value).decode() for name, value in values.items()},
    }


def _of(name: str, known: CertificatePair) -> Json:
    return _secret(name, known.chain, known.key.pem)


def _fresh(name: str) -> CertificatePair:
    read = read_pair(*authority().issue([name]))
    assert not isinstance(read, CertificateFault)
    return read.pair


def _der(known: CertificatePair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(known.chain.decode())


async def _presented(replica: Replica, host: str) -> bytes:
    """The certificate that a client who trusts our authority gets, with an answer over it."""
    async with await SecureConnection.secure(
        replica.https, context=client_context(), server_name=host
    ) as connection:
        assert (await connection.exchange(request(host=host))).status == 200
        presented = connection.tls.getpeercert(binary_form=True)
        assert presented is not None
        return presented


async def _presents(replica: Replica, host: str, known: CertificatePair, within: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while await _presented(replica, host) != _der(known):
        assert loop.time() < deadline, f"{host} does not get the new certificate"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def handshakes(address: Address, *hosts: str) -> AsyncIterator[list[str]]:
    """Clients that connect again and again, and trust our authority alone; gives what failed."""
    failures: list[str] = []
    stop = asyncio.Event()
    done = 0

    async def client(host: str) -> None:
        nonlocal done
        for nonce in itertools.count():
            if stop.is_set():
                return
            try:
                async with await SecureConnection.secure(
                    address, context=client_context(), server_name=host
                ) as connection:
                    reply = await connection.exchange(request(host=host, nonce=str(nonce)))
                if (reply.status, reply.get("x-nonce")) != (200, str(nonce)):
                    failures.append(f"{host}: {reply.status}")
            except (OSError, TimeoutError, AssertionError) as error:
                failures.append(f"{host}: {error!r}")
            done += 1
            await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(client(host)) for host in hosts for _ in range(2)]
    try:
        yield failures
    finally:
        stop.set()
        await asyncio.gather(*tasks)
    assert done > 10


async def test_a_lost_certificate_serves_on_for_its_grace(cluster: Cluster) -> None:
    """F-12: broken in every way, then deleted; a connection that was open never notices."""
    good, other = pair("a.test"), pair("b.test")
    cluster.put(_of("a", good), _of("b", other))
    cluster.put(route("a", "a.test", tls="a"), route("b", "b.test", tls="b"))
    grace = max(3.0, SECONDS)
    async with (
        cluster.replica("--certificate-grace", f"{grace:g}s") as replica,
        steady_load(replica.http) as load,
        await SecureConnection.secure(
            replica.https, context=client_context(), server_name="a.test"
        ) as opened,
    ):
        async with handshakes(replica.https, "a.test", "b.test") as failures:
            for broken, reason in (
                (_secret("a", b"", b""), "empty"),
                (_secret("a", good.chain[:200], good.key.pem), "PEM"),
                (_secret("a", good.chain, other.key.pem), "belong"),
            ):
                cluster.put(broken)
                [found] = await replica.diagnosed("certificate-kept", saying=reason)
                assert found["object"]["name"] == "a"
                assert await _presented(replica, "a.test") == _der(good)
                assert (await opened.exchange(request(host="a.test"))).status == 200
            cluster.api.delete("Secret", "shop", "a")
            await replica.diagnosed("certificate-kept")
            await asyncio.sleep(grace / 2)
            assert await _presented(replica, "a.test") == _der(good)
            renewed = _fresh("a.test")
            cluster.put(_of("a", renewed))
            await _presents(replica, "a.test", renewed, within=1.0)
            await replica.diagnosed("certificate-kept", gone=True)
        assert failures == []

        async with handshakes(replica.https, "b.test") as failures:
            cluster.api.delete("Secret", "shop", "a")
            for _ in range(10):
                await asyncio.sleep(grace / 10)
                assert (await opened.exchange(request(host="a.test"))).status == 200
            await replica.diagnosed("certificate-missing")
            with pytest.raises(ssl.SSLCertVerificationError):  # now the default certificate
                await _presented(replica, "a.test")
            assert (await opened.exchange(request(host="a.test"))).status == 200
        assert failures == []
    assert load.failures == []


def _resident(pid: int) -> int:
    """Bytes of a process's memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if "VmRSS" in line).split()[1])


async def test_rotating_a_certificate_for_a_minute_costs_no_memory(cluster: Cluster) -> None:
    """F-13: as many certificates as a minute has seconds, or some less; old ones are forgotten."""
    rotations = round(max(40, SECONDS))
    settled = rotations // 3
    cluster.put(_of("a", _fresh("a.test")), route("a", "a.test", tls="a"))
    async with cluster.replica() as replica, steady_load(replica.http) as load:
        pids = [replica.program.process.pid, *replica.program.worker_pids()]
        before: list[int] = []
        async with handshakes(replica.https, "a.test") as failures:
            for number in range(rotations):
                renewed = _fresh("a.test")
                cluster.put(_of("a", renewed))
                await _presents(replica, "a.test", renewed, within=1.0)
                if number == settled:
                    before = [_resident(pid) for pid in pids]
                await asyncio.sleep(SECONDS / rotations)
        assert failures == []
        for was, pid in zip(before, pids, strict=True):
            assert _resident(pid) < was * 1.02 + (1 << 20)
    assert load.failures == []
