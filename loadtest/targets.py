"""What is asked for, and how the right answer is known: read from a TOML file, `targets.toml`.

Standard library only: locust's environment has none of the product's packages.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

LABELS: Final = 10
"""A ``*`` in a host stands for one of so many labels: t0 to t9."""
_SCHEMES: Final = {"http": False, "https": True, "ws": False, "wss": True}
_UNITS: Final = {"K": 1 << 10, "M": 1 << 20}
MOST_BYTES: Final = 256 << 20


class TargetsError(ValueError):
    """The file cannot be used; the message says where in it, and why."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One URL, and what its answer must be."""

    url: str
    """As in the file; the name of its row in reports."""
    host: str
    """May begin with ``*.``; see `at`."""
    path: str
    """Path and query."""
    secure: bool
    says: tuple[str, ...] = ()
    """Texts that the answer's body holds when it comes from the right backend."""
    status: int = 200
    weight: int = 1
    """How often it is asked for, beside others of its table."""
    sizes: tuple[int, ...] = ()
    """Bytes of a body to send, or of the answer."""

    def at(self, number: int) -> str:
        """The host to ask for; with a wildcard, it depends on the number."""
        return self.host.replace("*", f"t{number % LABELS}", 1)


@dataclass(frozen=True, kw_only=True)
class RuleBackend:
    """A Service that a rule may name, and how its answers are known."""

    service: str
    port: int
    says: str


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Where rules may be changed during the run, and between which backends."""

    domain: str
    """Hosts below it are the load test's own; nobody else has rules for them."""
    namespace: str
    ingress_class: str
    backends: tuple[RuleBackend, RuleBackend]


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Everything that can be asked for. A table that is missing leaves its scenario out."""

    pages: tuple[Target, ...] = ()
    uploads: tuple[Target, ...] = ()
    websockets: tuple[Target, ...] = ()
    downloads: tuple[Target, ...] = ()
    rules: Rules | None = None

    @property
    def secure(self) -> bool:
        """Whether anything is asked for over TLS."""
        every = (*self.pages, *self.uploads, *self.websockets, *self.downloads)
        return any(target.secure for target in every)


def read_targets(text: str) -> Targets:
    """Reads the file's text.

    Raises:
        TargetsError: it is not TOML, or not what is expected.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TargetsError(f"this is not TOML: {error}") from None
    known = {"pages", "uploads", "websockets", "downloads", "rules"}
    if unknown := sorted(tables.keys() - known):
        raise TargetsError(f"{unknown[0]}: unknown; there are {', '.join(sorted(known))}")
    return Targets(
        pages=_targets(tables, "pages"),
        uploads=_targets(tables, "uploads", sizes=True),
        websockets=_targets(tables, "websockets"),
        downloads=_targets(tables, "downloads", sizes=True),
        rules=_rules(tables["rules"]) if "rules" in tables else None,
    )


def _targets(tables: Mapping[str, Any], kind: str, *, sizes: bool = False) -> tuple[Target, ...]:
    rows = tables.get(kind, [])
    if not isinstance(rows, list):
        raise TargetsError(f"{kind}: write [[{kind}]], with two brackets")
    return tuple(
        _target(row, f"{kind}[{number}]", sizes=sizes) for number, row in enumerate(rows, 1)
    )


def _target(row: Mapping[str, Any], where: str, *, sizes: bool) -> Target:
    _only(row, where, ("url", "says", "status", "weight", *(("sizes",) if sizes else ())))
    url = _text(row, "url", where)
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.port is not None:
        raise TargetsError(
            f"{where}.url: {url!r} is not scheme://host/path; the port is that of --host"
        )
    if "*" in parts.hostname.removeprefix("*."):
        raise TargetsError(f"{where}.url: * may only be the first label of the host")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(
        url=url,
        host=parts.hostname,
        path=path,
        secure=_SCHEMES[parts.scheme],
        says=_says(row.get("says", []), f"{where}.says"),
        status=_number(row, "status", where, 100, 599, otherwise=200),
        weight=_number(row, "weight", where, 1, 1000, otherwise=1),
        sizes=_sizes(row.get("sizes"), f"{where}.sizes") if sizes else (),
    )


def _rules(row: Mapping[str, Any]) -> Rules:
    _only(row, "rules", ("domain", "namespace", "ingress_class", "backends"))
    rows = row.get("backends")
    if not isinstance(rows, list) or len(rows) != 2:
        raise TargetsError("rules.backends: two are needed, to change between")
    backends = []
    for number, each in enumerate(rows, 1):
        where = f"rules.backends[{number}]"
        _only(each, where, ("service", "port", "says"))
        backends.append(
            RuleBackend(
                service=_text(each, "service", where),
                port=_number(each, "port", where, 1, 65535, otherwise=80),
                says=_text(each, "says", where),
            )
        )
    first, second = backends
    if first.says in second.says or second.says in first.says:
        raise TargetsError("rules.backends: one answer could be taken for the other: differ `says`")
    return Rules(
        domain=_text(row, "domain", "rules"),
        namespace=_text(row, "namespace", "rules"),
        ingress_class=_text(row, "ingress_class", "rules"),
        backends=(first, second),
    )


def _only(row: object, where: str, known: Sequence[str]) -> None:
    if not isinstance(row, Mapping):
        raise TargetsError(f"{where}: this must be a table")
    if unknown := sorted(row.keys() - set(known)):
        raise TargetsError(f"{where}.{unknown[0]}: unknown; there are {', '.join(known)}")


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise TargetsError(f"{where}.{key}: a text is needed")
    return value


def _says(value: object, where: str) -> tuple[str, ...]:
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and text for text in texts):
        raise TargetsError(f"{where}: a text is needed, or a list of texts")
    return tuple(map(str, texts))


def _number(
    row: Mapping[str, Any], key: str, where: str, least: int, most: int, *, otherwise: int
) -> int:
    value = row.get(key, otherwise)
    if not isinstance(value, int) or not least <= value <= most:
        raise TargetsError(f"{where}.{key}: a number from {least} to {most} is needed")
    return value


def _sizes(values: object, where: str) -> tuple[int, ...]:
    if not isinstance(values, list) or not values:
        raise TargetsError(f'{where}: a list is needed, such as ["1K", "1M"]')
    return tuple(_size(value, where) for value in values)


def _size(value: object, where: str) -> int:
    text = str(value)
    number, unit = (text[:-1], _UNITS[text[-1]]) if text[-1:] in _UNITS else (text, 1)
    if not number.isascii() or not number.isdigit() or not 0 < int(number) * unit <= MOST_BYTES:
        raise TargetsError(f"{where}: {text!r} is not a size such as 512, 1K or 10M (at most 256M)")
    return int(number) * unit
