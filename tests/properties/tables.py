"""Generated tables, and requests that often meet them."""

from itertools import product

from hypothesis import strategies as st

from router.match.paths import path_condition
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
LABELS = ("a", "b")
NAMES = _joined(LABELS, ".", 2)
_ELEMENTS = ("a", "%41", "é")
WRITTEN = ["/", *(f"/{path}{end}" for path in _joined(_ELEMENTS, "/", 2) for end in ("", "/"))]
_SENT = ("a", "%61", "aa", "A", "%c3%a9", "a%2Fb", "", "..")
DEFAULT = _route("prefix", "/")

routes = st.sampled_from(
    [_route("exact", written) for written in WRITTEN]
    + [_route("prefix", written) for written in WRITTEN]
)
host_entries = st.builds(
    Host,
    routes=st.lists(routes, max_size=8, unique_by=lambda route: route.path).map(tuple),
    default=st.sampled_from([None, DEFAULT]),
)
patterns = st.sampled_from(["", *NAMES, *(f"*.{name}" for name in NAMES)])
tables = st.dictionaries(patterns, host_entries, max_size=5)
sent_hosts = st.sampled_from(
    [f"{name}{end}" for name in _joined(LABELS, ".", 3) for end in ("", ".:80")]
)
sent_paths = st.sampled_from([f"/{path}" for path in _joined(_SENT, "/", 3)])


def requests_of(count: int) -> st.SearchStrategy[list[tuple[str, str]]]:
    """So many (value of the Host field, path)."""
    return st.lists(st.tuples(sent_hosts, sent_paths), min_size=count, max_size=count)
