"""Tables against a slow matcher that says the Kubernetes contract word by word.

Sources: the Ingress concepts page ("Path types", "Multiple matches", "Hostname wildcards"), the
comments of networking/v1 types, and KEP-1453 (an exact path first, then the longest prefix; no
fall-through to another host).
"""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from router.match.hosts import normalise_host
from router.match.paths import PathRefused, canonical_path, path_condition
from router.match.table import build
from router.model.origin import Origin
from router.model.snapshot import Answer, Host, PathCondition, PathKind, Route


def _joined(pieces: tuple[str, ...], separator: str, most: int) -> list[str]:
    """Every way to join one to ``most`` pieces."""
    return [
        separator.join(chosen)
        for count in range(1, most + 1)
        for chosen in product(pieces, repeat=count)
    ]


def _route(kind: PathKind, written: str) -> Route:
    condition = path_condition(kind, written)
    assert isinstance(condition, PathCondition)
    origin = Origin(kind="Ingress", namespace="n", name="i", rule=0, path=0)
    answer = Answer(status=200, reason="")
    return Route(path=condition, written=written, action=answer, origin=origin)


# Choices are made before hypothesis draws: one draw for a route keeps 10,000 examples quick.
# They are few, so that requests often meet rules.
_LABELS = ("a", "b")
_NAMES = _joined(_LABELS, ".", 2)
_ELEMENTS = ("a", "%41", "é")
_WRITTEN = ["/", *(f"/{path}{end}" for path in _joined(_ELEMENTS, "/", 2) for end in ("", "/"))]
_SENT = ("a", "%61", "aa", "A", "%c3%a9", "a%2Fb", "", "..")
_DEFAULT = _route("prefix", "/")

routes = st.sampled_from(
    [_route("exact", written) for written in _WRITTEN]
    + [_route("prefix", written) for written in _WRITTEN]
)
host_entries = st.builds(
    Host,
    routes=st.lists(routes, max_size=8, unique_by=lambda route: route.path).map(tuple),
    default=st.sampled_from([None, _DEFAULT]),
)
patterns = st.sampled_from(["", *_NAMES, *(f"*.{name}" for name in _NAMES)])
tables = st.dictionaries(patterns, host_entries, max_size=5)
sent_hosts = st.sampled_from(
    [f"{name}{end}" for name in _joined(_LABELS, ".", 3) for end in ("", ".:80")]
)
sent_paths = st.sampled_from([f"/{path}" for path in _joined(_SENT, "/", 3)])


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


@settings(max_examples=10_000, deadline=None)
@given(tables, st.lists(st.tuples(sent_hosts, sent_paths), min_size=4, max_size=4))
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
