"""Tables against a slow matcher that says the Kubernetes contract word by word.

Sources: the Ingress concepts page ("Path types", "Multiple matches", "Hostname wildcards"), the
comments of networking/v1 types, and KEP-1453 (an exact path first, then the longest prefix; no
fall-through to another host).
"""

import pytest
from hypothesis import given, settings

from router.match.hosts import normalise_host
from router.match.paths import PathRefused, canonical_path
from router.match.table import build
from router.model.snapshot import Host, PathCondition, Route
from tests.properties.tables import requests_of, tables


def _takes_host(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        # Exactly one label more, and the rest equal.
        return host.split(".")[1:] == pattern.split(".")[1:]
    return pattern in ("", host)


def _takes_path(condition: PathCondition, path: str) -> bool:
    if condition.kind == "exact":
        return path == condition.value
    rule = [element for element in condition.value.split("/") if element]
    request = path.split("/")[1:]
    return request[: len(rule)] == rule


def plain_match(table: dict[str, Host], host: str, path: str) -> Route | None:
    """Asks every pattern and every route, and sorts what said yes."""
    chosen = [pattern for pattern in table if _takes_host(pattern, host)]
    if not chosen:
        return None
    # Precise before wildcard before none; of each kind at most one can say yes.
    entry = table[min(chosen, key=lambda pattern: (pattern == "", pattern.startswith("*")))]
    takers = [route for route in entry.routes if _takes_path(route.path, path)]
    if not takers:
        return entry.default
    return max(takers, key=lambda route: (route.path.kind == "exact", len(route.path.value)))


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=10_000, deadline=None)
@given(tables, requests_of(4))
def test_tables_match_as_the_contract_says(
    table: dict[str, Host], requests: list[tuple[str, str]]
) -> None:
    compiled = build(table, lambda _, route: route)
    for sent_host, sent_path in requests:
        host = normalise_host(sent_host.encode())
        assert host is not None
        path = canonical_path(sent_path.encode())
        if isinstance(path, PathRefused):
            continue  # tests/router/match/test_paths.py says which
        entry = compiled.find_host(host)
        found = None if entry is None else entry.find(path.match)
        assert found is plain_match(table, host.decode(), path.match.decode())
