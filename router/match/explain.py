"""Matching told step by step, for people: which host, which path, and why not the others.

The verdict comes from the functions that serve traffic (`canonical_path`, `normalise_host`,
`HostTable.find_host`, `HostRoutes.find`). Only the reasons are found here, and where they were
wrong, the verdict would still be right.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from router.match.hosts import MAX_HOST, normalise_host
from router.match.paths import PathRefused, canonical_path
from router.match.table import build
from router.model.snapshot import Host, HostPattern, Route


class HostStep(msgspec.Struct, frozen=True):
    """A host pattern that was looked at."""

    pattern: HostPattern
    exists: bool
    """Whether a rule names this pattern."""
    taken: bool
    reason: str


class Candidate(msgspec.Struct, frozen=True):
    """A route of the chosen host."""

    route: Route
    default: bool
    """It is the host's default, which asks for no path."""
    takes: bool
    """Whether it would take the path if it stood alone."""
    won: bool
    reason: str


class Matching(msgspec.Struct, frozen=True, kw_only=True):
    """How a host and a path were matched. What a refusal leaves unknown is None or empty."""

    host: str | None
    """The host in normal form; None when it is refused."""
    host_refused: str
    """Why the host is refused: a sentence; empty when it is not."""
    host_steps: tuple[HostStep, ...]
    """In the order of precedence."""
    pattern: HostPattern | None
    """Of the host entry that was taken; None when no rule is for this host."""
    path: str | None
    """The path in match form; None when it is refused."""
    forward: str | None
    """The path as it is forwarded."""
    path_refused: str
    path_changes: tuple[str, ...]
    """What canonicalisation did to the path, a sentence each."""
    candidates: tuple[Candidate, ...]
    """All routes of the chosen host: the winner, then those that take the path, then the rest."""
    route: Route | None
    """The route that takes the request; None means 404, unless something is refused."""


def explain(hosts: Mapping[HostPattern, Host], host: bytes, path: bytes) -> Matching:
    """Match the value of a Host field and a path (without query), and say why.

    A refused path still gets its host explained, and a refused host its path.
    """
    name = normalise_host(host)
    canonical = canonical_path(path)
    refused = canonical.reason if isinstance(canonical, PathRefused) else ""
    match = None if isinstance(canonical, PathRefused) else canonical.match
    forward = None if isinstance(canonical, PathRefused) else canonical.forward

    pattern = None
    steps: tuple[HostStep, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    route = None
    if name is not None:
        looked_at = _looked_at(name.decode())
        # No other pattern can concern this host, and a table of all of them takes time.
        table = build({each: hosts[each] for each in looked_at if each in hosts}, _itself)
        routes = table.find_host(name)
        if routes is not None:
            pattern = routes.pattern
            if match is not None:
                route = routes.find(match)
                candidates = _candidates(hosts[pattern], match.decode(), route)
        steps = tuple(_host_step(each, name.decode(), hosts, pattern) for each in looked_at)
        # Wildcards for fewer labels are told only where somebody may have meant them.
        steps = tuple(step for step in steps if step.exists or _is_asked(step.pattern, name))
    return Matching(
        host=None if name is None else name.decode(),
        host_refused="" if name is not None else _why_no_host(host),
        host_steps=steps,
        pattern=pattern,
        path=None if match is None else match.decode(),
        forward=None if forward is None else forward.decode(),
        path_refused=refused,
        path_changes=() if match is None or forward is None else _changes(path, match, forward),
        candidates=candidates,
        route=route,
    )


def _itself(pattern: HostPattern, route: Route) -> Route:
    return route


_LETTERS: Final = re.compile(rb"[A-Za-z0-9._-]*")

# -- hosts -------------------------------------------------------------------------------------


def _looked_at(name: str) -> list[HostPattern]:
    """Every pattern that could be meant for a host, in the order of precedence.

    That is more than the table asks: a wildcard takes one label, but people forget that.
    """
    labels = name.split(".")
    parents = [".".join(labels[count:]) for count in range(1, len(labels))]
    wildcards = [f"*.{parent}" for parent in parents]
    return [name, *wildcards, f"*.{name}", ""]


def _is_asked(pattern: HostPattern, name: bytes) -> bool:
    """Whether the table asks for this pattern."""
    _, dot, parent = name.decode().partition(".")
    return pattern in ("", name.decode()) or bool(dot and pattern == f"*.{parent}")


def _host_step(
    pattern: HostPattern,
    name: str,
    hosts: Mapping[HostPattern, Host],
    taken: HostPattern | None,
) -> HostStep:
    exists = pattern in hosts
    if not _is_asked(pattern, name.encode()):
        reason = "a wildcard takes exactly one label more than it names"
    elif not exists:
        reason = "no rule is for this host" if pattern else "no rule is for every host"
    elif pattern == taken:
        reason = _why_taken(pattern)
    else:
        reason = f"{taken} is more precise"
    return HostStep(pattern=pattern, exists=exists, taken=pattern == taken, reason=reason)


def _why_taken(pattern: HostPattern) -> str:
    if not pattern:
        return "takes every host that no rule names"
    if pattern.startswith("*"):
        return "takes one label in place of the star"
    return "equals the host"


def _why_no_host(raw: bytes) -> str:
    name, colon, _ = raw.partition(b":")
    if not raw:
        return "the host is empty"
    if b"," in raw:
        return "the host is a list, and a request has one host"
    if b"@" in raw:
        return "the host holds user information (before the @), which requests may not"
    if b"%" in raw:
        return "the host holds a percent sign, and host names are not encoded"
    if raw.startswith(b"["):
        return "the host is not an IPv6 address in brackets, with or without a port"
    if not _LETTERS.fullmatch(name):
        return "the host holds more than letters, digits, hyphens, underscores and dots"
    if not name or name.startswith(b".") or b".." in name:
        return "the host holds an empty label"
    if len(name) > MAX_HOST:
        return f"the host is longer than {MAX_HOST} octets"
    return "the port is not a number from 1 to 65535" if colon else "the host is malformed"


# -- paths -------------------------------------------------------------------------------------

_UNRESERVED_ESCAPE: Final = re.compile(
    rb"%(?:4[1-9A-F]|5[0-9A]|6[1-9A-F]|7[0-9A]|3[0-9]|2[DE]|5F|7E)", re.IGNORECASE
)
_ABOVE_ASCII: Final = re.compile(rb"[\x80-\xff]")
_REPEATED_SLASH: Final = re.compile(rb"//")


def _changes(path: bytes, match: bytes, forward: bytes) -> tuple[str, ...]:
    changes = []
    if _UNRESERVED_ESCAPE.search(path):
        changes.append("letters, digits and - . _ ~ need no percent-encoding: decoded")
    if _ABOVE_ASCII.search(path):
        changes.append("octets beyond ASCII are percent-encoded")
    if forward.count(b"/") < path.count(b"/") or forward.endswith(b"/") > path.endswith(b"/"):
        changes.append("dot segments (. and ..) are resolved")
    if _REPEATED_SLASH.search(forward):
        changes.append("repeated slashes are matched as one, and forwarded as they came")
    if _upper_escapes(forward) != forward:
        changes.append("%xx is matched with capitals, and forwarded as it came")
    return tuple(changes)


def _upper_escapes(path: bytes) -> bytes:
    return re.sub(rb"%..", lambda escape: escape[0].upper(), path)


def _candidates(host: Host, path: str, winner: Route | None) -> tuple[Candidate, ...]:
    routes = [_candidate(route, path, winner) for route in host.routes]
    routes.sort(key=_by_nearness(path))
    if host.default is not None:
        won = winner is host.default
        reason = "no path takes the request" if won else "only takes what no path takes"
        default = Candidate(route=host.default, default=True, takes=True, won=won, reason=reason)
        routes.insert(0 if won else len(routes), default)
    return tuple(routes)


def _by_nearness(path: str) -> Callable[[Candidate], tuple[bool, bool, int, str, str]]:
    """The winner, then those that take the path, then those with most elements in common."""

    def key(candidate: Candidate) -> tuple[bool, bool, int, str, str]:
        condition = candidate.route.path
        common = _common(condition.value.split("/"), path.split("/"))
        return (not candidate.won, not candidate.takes, -common, condition.value, condition.kind)

    return key


def _candidate(route: Route, path: str, winner: Route | None) -> Candidate:
    exact = route.path.kind == "exact"
    failure = _exact_failure(route, path) if exact else _prefix_failure(route, path)
    won = route is winner
    if failure:
        reason = failure
    elif won:
        reason = "equals the path, so it wins over every Prefix" if exact else "the longest prefix"
    elif winner is not None and winner.path.kind == "exact":
        reason = f"takes the path too, but Exact {winner.written} wins over it"
    elif winner is not None:
        reason = f"takes the path too, but {winner.written} is longer"
    else:
        reason = "takes the path"
    return Candidate(route=route, default=False, takes=not failure, won=won, reason=reason)


def _exact_failure(route: Route, path: str) -> str:
    """Why an exact path does not take the path; empty when it does."""
    value = route.path.value
    if value == path:
        return ""
    if value.rstrip("/") == path.rstrip("/"):
        return "differs in the slash at the end, which Exact minds"
    if value.lower() == path.lower():
        return "differs in case"
    if path.startswith(value.rstrip("/") + "/"):
        return "is above the path, and Exact takes nothing below itself"
    return "is another path"


def _prefix_failure(route: Route, path: str) -> str:
    """Why a prefix does not take the path; empty when it does."""
    rule, request = route.path.value.split("/"), path.split("/")
    common = _common(rule, request)
    if common == len(rule):
        return ""
    if common == len(request) or (common == len(request) - 1 and not request[common]):
        return "goes deeper than the path"
    wanted, found = rule[common], request[common]
    if wanted.lower() == found.lower():
        return f"differs in case: {found!r} is not {wanted!r}"
    if found.startswith(f"{wanted}%2F"):
        return "an encoded slash (%2F) is data and ends no element"
    if found.startswith(wanted):
        return f"takes whole elements: {found!r} is not {wanted!r}"
    return f"has {wanted!r} where the path has {found!r}"


def _common(rule: list[str], request: list[str]) -> int:
    """How many elements are equal from the left."""
    count = 0
    for left, right in zip(rule, request, strict=False):
        if left != right:
            break
        count += 1
    return count
