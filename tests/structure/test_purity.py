"""Which rooms know the outside world: read from the source, so that it stays true."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PURE = (
    "router/model",
    "router/match",
    "router/http",
    "router/forward",
    "router/balance",
    "router/pool.py",
    "router/exchange.py",
    "router/routing.py",
    "router/runtime.py",
    "router/server_names.py",
    "router/steps.py",
    "router/proxy_protocol.py",
    "router/counters.py",
    "router/accesslog.py",
    "ingress_controller/objects",
    "ingress_controller/translate",
    "ingress_controller/store.py",
    "ingress_controller/holdoff.py",
    "ingress_controller/retention.py",
    "ingress_controller/explain",
    "ingress_controller/sources/errors.py",
    "ingress_controller/sources/findings.py",
    "ingress_controller/sources/mirror.py",
    "ingress_controller/sources/outage.py",
    "ingress_controller/sources/target.py",
    "ingress_controller/sources/watch_machine.py",
    "tls/client_hello.py",
    "tls/names.py",
    "tls/certificate.py",
    "tls/faults.py",
    "tls/store.py",
    "tls/policy.py",
    "tls/tickets.py",
    "ingress_controller/leader/lease.py",
    "ingress_controller/status/addresses.py",
    "ingress_controller/status/agenda.py",
    "ingress_controller/status/notices.py",
    "ingress_controller/status/pace.py",
    "ingress_controller/status/wanted.py",
    "router/addresses.py",
)
OUTSIDE = {"asyncio", "socket", "ssl", "time", "random", "os", "logging", "threading"} | {
    "subprocess",
    "aiohttp",
    "uvloop",
}
ONLY_IN = {
    "httptools": {"router/http/request_decoder.py"},
    "uvloop": {"router/worker.py", "ingress_controller/app.py"},
    "yaml": {
        "ingress_controller/sources",
        "ingress_controller/commands",
        "ingress_controller/demo",
    },
    "cryptography": {"tls/pem.py", "tls/default.py"},
    "aiohttp": {
        "ingress_controller/admin/server.py",
        "ingress_controller/sources/connections.py",
        "ingress_controller/sources/kube_api.py",
    },
    "kubernetes_asyncio": {"ingress_controller/sources/credentials.py"},
}


def sources() -> list[Path]:
    return [
        path
        for package in ("ingress_controller", "router", "tls")
        for path in sorted((ROOT / package).rglob("*.py"))
    ]


def imported(path: Path) -> set[str]:
    """Top-level names of all modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def inside(path: Path, places: set[str] | tuple[str, ...]) -> bool:
    relative = path.relative_to(ROOT)
    return any(relative == Path(place) or Path(place) in relative.parents for place in places)


def test_the_lists_name_what_exists() -> None:
    for place in PURE:
        assert (ROOT / place).exists(), place


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_pure_rooms_import_nothing_from_outside(path: Path) -> None:
    if inside(path, PURE):
        assert imported(path) & OUTSIDE == set()


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    for library, rooms in ONLY_IN.items():
        if library in imported(path):
            assert inside(path, rooms), f"{library} belongs to {sorted(rooms)}"
