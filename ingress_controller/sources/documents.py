"""Bytes of a manifest file become documents: YAML 1.1 as `kubectl` reads it, or JSON.

Compared with a plain YAML loader:

* dates and sexagesimal numbers stay text, and ``y`` and ``n`` are booleans, as for `kubectl`;
* entries whose value is null are left out: the API server takes them for absent;
* everything is bounded: depth, and nodes counted after aliases are expanded;
* no tag constructs anything but a scalar, a list or a mapping;
* the line of each document, and of each item of a list of objects, is known.

Nothing is evaluated: a file with template marks is malformed YAML.
"""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

MAX_DEPTH = 64
"""Nested lists and mappings; the deepest object that we read has 10."""
MAX_NODES = 4_000_000
"""Scalars, lists and mappings of one file, aliases expanded: about 80,000 objects."""

Value = str | int | float | bool | list["Value | None"] | dict[str, "Value"]


class Document(NamedTuple):
    """One document, or one item of a `List`."""

    value: Value
    line: int
    """Where it begins, counted from 1; 0 when unknown."""


class Documents(NamedTuple):
    """All documents of a file."""

    documents: list[Document]
    repeated: list[tuple[str, int]]
    """Keys that stand twice in one mapping, and the line of the second; the second counts."""


class MalformedError(Exception):
    """The bytes are neither YAML nor JSON, or more than a file may hold."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        """Counted from 1; 0 when unknown."""


def read_yaml(text: bytes) -> Documents:
    """The documents of a YAML file; the items of `List` kinds stand for themselves.

    Raises:
        MalformedError: it is no YAML, or too much of it.
    """
    reader = _YamlReader(text)
    try:
        return reader.documents()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "not YAML"
        last = text.count(b"\n") + 1  # the end of the file may count as a line of its own
        raise MalformedError(reason, min(mark.line + 1, last) if mark is not None else 0) from None
    except yaml.YAMLError as error:
        raise MalformedError(str(error).partition("\n")[0]) from None
    except UnicodeDecodeError as error:
        raise MalformedError(
            "the file is not UTF-8", text.count(b"\n", 0, error.start) + 1
        ) from None


def read_json(text: bytes) -> Documents:
    """The documents of a JSON file: one, or several after each other.

    Raises:
        MalformedError: it is no JSON, or too deep.
    """
    repeated: list[tuple[str, int]] = []

    def mapping(pairs: list[tuple[str, Value | None]]) -> dict[str, Value]:
        found = {name: value for name, value in pairs if value is not None}
        if len({name for name, _ in pairs}) != len(pairs):
            names = [name for name, _ in pairs]
            repeated.extend((name, 0) for name in found if names.count(name) > 1)
        return found

    documents = []
    try:
        content = text.decode("utf-8-sig")
        decoder = json.JSONDecoder(object_pairs_hook=mapping)
        position = _after_space(content, 0)
        while position < len(content):
            value, end = decoder.raw_decode(content, position)
            line = content.count("\n", 0, position) + 1
            documents += _items(Document(value, line), {})
            position = _after_space(content, end)
    except UnicodeDecodeError as error:
        raise MalformedError(
            "the file is not UTF-8", text.count(b"\n", 0, error.start) + 1
        ) from None
    except json.JSONDecodeError as error:
        raise MalformedError(error.msg, error.lineno) from None
    except RecursionError:
        raise MalformedError("lists and mappings are nested too deeply") from None
    except ValueError as error:  # a number with thousands of digits
        raise MalformedError(str(error)) from None
    return Documents(documents, repeated)


_SPACE = re.compile(r"[ \t\r\n]*")


def _after_space(content: str, position: int) -> int:
    found = _SPACE.match(content, position)
    return found.end() if found is not None else position


def _items(document: Document, lines: dict[int, int]) -> list[Document]:
    """The items of a `List` (or `IngressList` and so on) in place of the list.

    Items of a typed list may leave out what the list's own kind and version say.
    """
    value = document.value
    if not isinstance(value, dict):
        return [document]
    kind, items = value.get("kind"), value.get("items")
    if not (isinstance(kind, str) and kind.endswith("List") and isinstance(items, list)):
        return [document]
    missing: dict[str, Value] = {}
    if kind != "List" and "apiVersion" in value:
        missing = {"apiVersion": value["apiVersion"], "kind": kind.removesuffix("List")}
    return [
        Document({**missing, **item}, lines.get(id(item), document.line))
        for item in items
        if isinstance(item, dict)
    ]


# Plain scalars, as the YAML library of `kubectl` reads them.
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9A-Fa-f_]+|0o?[0-7_]+|[1-9][0-9_]*|0)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_MAX_DIGITS = 40
_STARTS_NUMBER = frozenset("0123456789+-.")


def plain_scalar(text: str) -> Value | None:
    """What an unquoted scalar means."""
    if text in _NULLS:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] not in _STARTS_NUMBER or len(text) > _MAX_DIGITS:
        return text
    if _INTEGER.fullmatch(text) is not None:
        digits = text.replace("_", "")
        sign = -1 if digits.startswith("-") else 1
        digits = digits.lstrip("+-")
        if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
            digits = "0o" + digits
        try:
            return sign * int(digits, 0)
        except ValueError:  # nothing but underscores behind the prefix
            return text
    if _FLOAT.fullmatch(text) is not None:
        return float(text)
    return text


_TAG = "tag:yaml.org,2002:"


class _YamlReader:
    """Makes values from parser events; holds the anchors of the current document."""

    __slots__ = ("_anchors", "_lines", "_next", "_nodes", "_plain", "_repeated")

    def __init__(self, text: bytes) -> None:
        parser: Any = yaml.CSafeLoader(text)
        self._next: Callable[[], Event] = parser.get_event
        self._anchors: dict[str, tuple[Value | None, int]] = {}
        self._lines: dict[int, int] = {}
        self._nodes = 0
        self._plain: dict[str, Value | None] = {}
        self._repeated: list[tuple[str, int]] = []

    def documents(self) -> Documents:
        documents: list[Document] = []
        while not isinstance(event := self._next(), StreamEndEvent):
            if not isinstance(event, DocumentStartEvent):
                continue
            self._anchors.clear()
            self._lines.clear()
            first = self._next()
            value = self._value(first, 0)
            if value is not None:
                documents += _items(Document(value, _line(first)), self._lines)
        return Documents(documents, self._repeated)

    def _value(self, event: Event, depth: int) -> Value | None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise MalformedError(f"more than {MAX_NODES} values, aliases expanded", _line(event))
        before = self._nodes
        value: Value | None
        if isinstance(event, ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, AliasEvent):
            return self._alias(event)
        elif depth >= MAX_DEPTH:
            raise MalformedError(f"more than {MAX_DEPTH} nested lists and mappings", _line(event))
        elif isinstance(event, MappingStartEvent):
            value = self._mapping(event, depth)
        elif isinstance(event, SequenceStartEvent):
            value = self._sequence(event, depth)
        else:
            raise MalformedError("a value is missing", _line(event))
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._nodes - before + 1)
        return value

    def _alias(self, event: AliasEvent) -> Value | None:
        found = self._anchors.get(event.anchor or "")
        if found is None:
            raise MalformedError(f"the alias *{event.anchor} has no anchor before it", _line(event))
        value, nodes = found
        self._nodes += nodes - 1
        return value

    def _sequence(self, event: SequenceStartEvent, depth: int) -> list[Value | None]:
        _collection_tag(event, "seq")
        values = []
        next_event = self._next
        while type(item := next_event()) is not SequenceEndEvent:
            value = self._value(item, depth + 1)
            if depth == 1 and type(value) is dict:
                self._lines[id(value)] = _line(item)
            values.append(value)
        return values

    def _mapping(self, event: MappingStartEvent, depth: int) -> dict[str, Value]:
        _collection_tag(event, "map")
        found: dict[str, Value] = {}
        merged: list[Value | None] = []
        next_event = self._next
        while type(key := next_event()) is not MappingEndEvent:
            name, merges = self._key(key)
            value = self._value(next_event(), depth + 1)
            if merges:
                merged.append(value)
                continue
            if name in found:
                self._repeated.append((name, _line(key)))
            if value is not None:
                found[name] = value
            else:
                found.pop(name, None)
        return _merge(found, merged, event) if merged else found

    def _key(self, event: Event) -> tuple[str, bool]:
        """A key as it is written, and whether it is the merge key."""
        name: Value | None = None
        if isinstance(event, ScalarEvent):
            name = event.value
            if event.anchor is not None:
                self._anchors[event.anchor] = (name, 1)
        elif isinstance(event, AliasEvent):
            name = self._alias(event)
        if not isinstance(name, str):
            raise MalformedError("a key of a mapping must be text", _line(event))
        return name, name == "<<" and isinstance(event, ScalarEvent) and event.implicit[0]

    def _scalar(self, event: ScalarEvent) -> Value | None:
        text: str = event.value
        tag = event.tag
        if tag is None or tag == "!":
            if not event.implicit[0]:
                return text
            try:
                return self._plain[text]
            except KeyError:
                value = plain_scalar(text)
                if len(self._plain) < 4096:
                    self._plain[text] = value
                return value
        if tag == _TAG + "str":
            return text
        if tag.startswith(_TAG) and tag.removeprefix(_TAG) in ("null", "bool", "int", "float"):
            return plain_scalar(text)
        raise MalformedError(f"the tag {tag} is not read", _line(event))


def _collection_tag(event: CollectionStartEvent, name: str) -> None:
    if event.tag is not None and event.tag not in ("!", _TAG + name):
        raise MalformedError(f"the tag {event.tag} is not read", _line(event))


def _merge(found: dict[str, Value], merged: list[Value | None], event: Event) -> dict[str, Value]:
    """The mapping with those under its merge key (``<<``) below it; its own entries count."""
    sources: list[Value | None] = []
    for value in merged:
        sources += value if isinstance(value, list) else [value]
    result: dict[str, Value] = {}
    for source in reversed(sources):
        if not isinstance(source, dict):
            raise MalformedError("a merge key (<<) takes mappings alone", _line(event))
        result.update(source)
    result.update(found)
    return result


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0
