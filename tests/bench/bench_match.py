"""What matching costs: ``python tests/bench/bench_match.py`` prints tables and asserts nothing.

1. Look-ups in tables of 10, 1,000 and 100,000 routes side by side: they must not grow.
2. The canonical path of common paths, and what normalising a host costs.
3. The worst 16 KiB that a client can send, beside a quarter of it: four times the time is linear.
4. Building a table, and changing one host of it.

Nanoseconds or milliseconds a call: the best of several runs, the cost of an empty call deducted.
"""

import sys
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # started as a file, without installation

from router.match.hosts import normalise_host
from router.match.paths import PathRefused, canonical_path, path_condition
from router.match.table import HostTable, build
from router.model.origin import Origin
from router.model.snapshot import Answer, Host, HostPattern, PathKind, Route

_ORIGIN = Origin(kind="Ingress", namespace="bench", name="web", rule=0, path=0)
_ANSWER = Answer(status=200, reason="")


def _route(kind: PathKind, written: str) -> Route:
    condition = path_condition(kind, written)
    if isinstance(condition, PathRefused):
        raise TypeError(condition.reason)
    return Route(path=condition, written=written, action=_ANSWER, origin=_ORIGIN)


def _hosts(routes: int, per_host: int) -> dict[str, Host]:
    """``routes`` routes in hosts of ``per_host``; every second host is a wildcard."""
    hosts = {}
    for index in range(routes // per_host):
        name = f"shop-{index}.example.com" if index % 2 == 0 else f"*.shop-{index}.example.com"
        hosts[name] = Host(
            routes=(
                _route("prefix", "/"),
                *(
                    _route("prefix" if path % 2 else "exact", f"/api/v{path}/orders")
                    for path in range(1, per_host)
                ),
            )
        )
    return hosts


def _itself(pattern: HostPattern, route: Route) -> Route:
    return route


def _seconds(call: Callable[[], object], number: int = 20_000, repeat: int = 9) -> float:
    best = min(timeit.repeat(call, number=number, repeat=repeat))
    empty = min(timeit.repeat(lambda: None, number=number, repeat=3))
    return max(best - empty, 0.0) / number


def _nanoseconds(call: Callable[[], object]) -> str:
    return f"{_seconds(call) * 1e9:9.0f} ns"


def _milliseconds(call: Callable[[], object]) -> str:
    return f"{_seconds(call, number=1, repeat=5) * 1e3:9.3f} ms"


def _look_up(table: HostTable[Route], host: bytes, path: bytes) -> Callable[[], object]:
    def call() -> Route | None:
        routes = table.find_host(host)
        return None if routes is None else routes.find(path)

    return call


def _print_look_ups() -> None:
    sizes = (10, 1_000, 100_000)
    small = [build(_hosts(size, 5), _itself) for size in sizes]
    one = [build(_hosts(size, size), _itself) for size in sizes]
    precise, wildcard = b"shop-0.example.com", b"eu.shop-1.example.com"
    print("find_host and find".ljust(46), *(f"{size:>12,}" for size in sizes), " routes")
    for name, tables, host, path in (
        ("precise host, prefix of three elements", small, precise, b"/api/v1/orders/17"),
        ("precise host, exact path", small, precise, b"/api/v2/orders"),
        ("precise host, root prefix", small, precise, b"/static/js/main.8d7f6a5b.js"),
        ("wildcard host, prefix of three elements", small, wildcard, b"/api/v1/orders/17"),
        ("unknown host", small, b"nobody.example.org", b"/api/v1/orders/17"),
        ("all routes in one host, prefix", one, precise, b"/api/v7/orders/17"),
        ("all routes in one host, no prefix but the root", one, precise, b"/api/v7/x/17"),
        ("all routes in one host, 8,000 elements", one, precise, b"/api/v7/orders" + b"/a" * 8000),
    ):
        cells = (_nanoseconds(_look_up(table, host, path)) for table in tables)
        print(name.ljust(46), *cells)


def _print_paths_and_hosts() -> None:
    print("\ncanonical_path")
    for path in (
        b"/",
        b"/api/v1/users/123/orders",
        b"/.well-known/acme-challenge/token",
        b"/a.b/c.html",
        b"/a;p=1/b",
        b"/@scope%2Fname",
        b"/static/js/main.8d7f6a5b.chunk.js",
        b"/%E4%BD%A0%E5%A5%BD",
        b"/a/../b",
        b"//a",
        b"/@scope%2fname",
    ):
        print(path.decode().ljust(46), _nanoseconds(partial(canonical_path, path)))
    print("\nnormalise_host")
    for host in (b"shop.example.com", b"Shop.Example.com:8080", b"[2001:db8::1]:80"):
        print(host.decode().ljust(46), _nanoseconds(partial(normalise_host, host)))


def _print_worst() -> None:
    print("\ncanonical_path, worst cases".ljust(47), "       4 KiB       16 KiB")
    for piece in (
        b"/",
        b"/a",
        b"/a/..",
        b"/.",
        b"/.a",
        b"/..a;",
        b"a",
        b"%2e",
        b"/%2e",
        b"%41",
        b"%2f",
        b"%2F",
        b"%2f.a",
        b"%c0",
        b"%E0%80",
        b"%F8%80%80%80%80",
        b"\xe9",
        b"\xe9a",
        b"%4",
    ):
        cells = []
        for size in (4096, 16384):
            path = (b"/"[piece.startswith(b"/") :] + piece * (size // len(piece)))[:size]
            # With an octet at the very end that no path may hold, everything is read in vain.
            good, bad = partial(canonical_path, path), partial(canonical_path, path + b"|")
            cells.append(max(_milliseconds(good), _milliseconds(bad)))
        print(f"{piece!r} repeated".ljust(46), *cells)
    deep = Host(routes=tuple(_route("prefix", "/a" * depth) for depth in range(1, 4097, 64)))
    table = build({"": deep}, _itself)
    for depth in (2048, 8192):
        call = _look_up(table, b"h", b"/a" * depth)
        print(f"find, rules to 4,033 elements, path of {depth:,}".ljust(46), _milliseconds(call))


def _print_builds() -> None:
    print("\nbuild, and change one host".ljust(47), "       build       change")
    for size in (10, 1_000, 15_000, 100_000):
        hosts = _hosts(size, 10)
        table = build(hosts, _itself)
        pattern = next(iter(hosts))
        built = _milliseconds(partial(build, hosts, _itself))
        changed = _milliseconds(partial(table.changed, {pattern: hosts[pattern]}, _itself))
        print(f"{size:,} routes".ljust(46), built, changed)


if __name__ == "__main__":
    _print_look_ups()
    _print_paths_and_hosts()
    _print_worst()
    _print_builds()
