"""What certificates and handshakes cost: no network, numbers only.

Run ``python -m tests.bench.bench_tls``; ``--contexts N`` sets how many hosts have certificates.
"""

import argparse
import gc
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.tls.certificates import authority, pair
from tests.tls.handshakes import client_context, hello_bytes
from tls.certificate import CertificatePair
from tls.client_hello import ClientHelloReader, read_client_hello
from tls.contexts import ServerContexts
from tls.faults import CertificateFault
from tls.openssl import OpenSsl, probe
from tls.pem import read_pair
from tls.policy import TlsPolicy
from tls.store import CertificateStore, Entry
from tls.tickets import TicketSecret

POLICY = TlsPolicy()
SECRET = TicketSecret(b"b" * 32)


def resident_kib() -> int:
    """Memory of this process, after a collection."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


def microseconds(run: Callable[[], object], rounds: int) -> float:
    """CPU time of one call: the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        begun = time.process_time()
        for _ in range(rounds):
            run()
        best = min(best, time.process_time() - begun)
    return best / rounds * 1e6


def show(what: str, value: float, unit: str) -> None:
    print(f"{what:<58}{value:>10.1f} {unit}")


def byte_by_byte(received: bytes) -> None:
    reader = ClientHelloReader()
    view = memoryview(received)
    for end in range(1, len(received) + 1):
        reader.read(view[:end])


def bench_hello() -> None:
    hello = hello_bytes(client_context(alpn=("h2", "http/1.1")), "shop.test")
    show(
        f"ClientHello of {len(hello)} bytes",
        microseconds(lambda: read_client_hello(hello), 2000),
        "µs",
    )
    show(
        "the same in one segment a byte",
        microseconds(lambda: byte_by_byte(hello), 20),
        "µs",
    )


def bench_pem() -> None:
    for algorithm in ("ecdsa", "rsa"):
        files = authority().issue(["a.test"], algorithm=algorithm)
        cost = microseconds(lambda files=files: read_pair(*files), 50)  # type: ignore[misc] # a default
        show(f"read and check a pair, {algorithm}", cost, "µs")


def bench_store(count: int) -> None:
    entry = Entry(pairs=(pair("a.test"),))
    store = CertificateStore({f"host-{n}.test": entry for n in range(count)}, entry)
    for what, name in (("precise", "host-7.test"), ("unknown", "x.host-7.test")):
        cost = microseconds(
            lambda name=name: store.select(name, offers_ecdsa=True, offers_rsa=True),  # type: ignore[misc] # a default
            5000,
        )
        show(f"select among {count}, {what}", cost, "µs")
    show(
        f"change one of {count}", microseconds(lambda: store.change({"new.test": entry}), 50), "µs"
    )


def hosts(count: int) -> list[tuple[CertificatePair, ...]]:
    found: list[tuple[CertificatePair, ...]] = []
    for number in range(count):
        read = read_pair(*authority().issue([f"host-{number}.test"]))
        if isinstance(read, CertificateFault):
            raise TypeError(read.reason)
        found.append((read.pair,))
    return found


def bench_contexts(count: int) -> None:
    every = hosts(count)
    contexts = ServerContexts(openssl=OpenSsl(), secret=SECRET, limit=count)
    before, begun = resident_kib(), time.process_time()
    for pairs in every:
        contexts.get(pairs, POLICY)
    seconds = time.process_time() - begun
    grown = resident_kib() - before
    show(f"build {count} contexts", seconds, "s")
    show("  one", seconds / count * 1e3, "ms")
    show("  one", grown / count, "KiB")
    show("find one of them", microseconds(lambda: contexts.get(every[0], POLICY), 5000), "µs")
    begun = time.process_time()
    contexts.rotate(TicketSecret(b"c" * 32))
    show(f"rotate the ticket keys of {count}", (time.process_time() - begun) * 1e3, "ms")


def bench_replacement() -> None:
    """A certificate that is replaced again and again: memory must stay."""
    contexts = ServerContexts(openssl=OpenSsl(), secret=SECRET)
    client = client_context()
    base = pair("a.test")
    versions = [read_pair(*authority().issue(["a.test"])) for _ in range(20)]
    pairs = [(read.pair,) for read in versions if not isinstance(read, CertificateFault)]

    def run(rounds: int) -> None:
        for number in range(rounds):
            current = pairs[number % len(pairs)]
            handshake(contexts.get(current, POLICY), client, None)
            contexts.forget(current[0].digest)

    run(300)
    before = resident_kib()
    run(2000)
    show("growth over 2,000 replacements with a handshake each", resident_kib() - before, "KiB")
    server = contexts.get((base,), POLICY)
    before = resident_kib()
    for _ in range(5000):
        handshake(server, client, None)
    show("growth over 5,000 handshakes of one context", resident_kib() - before, "KiB")


def handshake(
    server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[float, ssl.SSLObject]:
    """CPU seconds of the server's side, and the client."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(to_client, to_server, server_hostname="a.test", session=session)
    spent, done = 0.0, False
    ours: ssl.SSLObject | None = None
    for _ in range(4):
        try:
            theirs.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            done = False
        begun = time.perf_counter()
        ours = ours or server.wrap_bio(to_server, to_client, server_side=True)
        try:
            ours.do_handshake()
            spent += time.perf_counter() - begun
            if done:
                break
        except ssl.SSLWantReadError:
            spent += time.perf_counter() - begun
    if ours is None or not done:
        raise RuntimeError("the handshake does not end")
    ours.write(b"!")
    theirs.read(1)
    return spent, theirs


def bench_handshakes() -> None:
    contexts = ServerContexts(openssl=OpenSsl(), secret=SECRET)
    for algorithm in ("ecdsa", "rsa"):
        server = contexts.get((pair("a.test", algorithm=algorithm),), POLICY)
        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            client = client_context(version=version)
            _, first = handshake(server, client, None)
            for what, session in (("full", None), ("resumed", first.session)):
                costs = []
                for _ in range(300):
                    spent, ended = handshake(server, client, session)
                    assert ended.session_reused is (session is not None)
                    costs.append(spent)
                label = f"handshake, server's side, {algorithm}, {version.name}, {what}"
                show(label, sorted(costs)[len(costs) // 2] * 1e6, "µs")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contexts", type=int, default=2000)
    count = parser.parse_args().contexts
    print(f"{ssl.OPENSSL_VERSION}, Python {sys.version.split()[0]}, msgspec {msgspec.__version__}")
    begun = time.perf_counter()
    reason = probe()
    show(f"probe ({reason or 'accepted'})", (time.perf_counter() - begun) * 1e3, "ms")
    bench_hello()
    bench_pem()
    bench_store(count)
    bench_contexts(count)
    bench_handshakes()
    bench_replacement()
    return 0


if __name__ == "__main__":
    sys.exit(main())
