"""From a frozen settings class to flags, environment variables and a reference table.

The field ``http_port`` is the flag ``--http-port`` and the variable ``INGRESS_HTTP_PORT``; its type
says how text becomes a value, its default is the default, and the docstring below it is the text
that users read. A flag wins over the environment, which wins over the default.

Types may be marked with ``Annotated[..., msgspec.Meta(extra={"kind": KIND})]`` (see PARSERS) and
bounded with ``ge``, ``gt`` and ``le``. A tuple is a flag that may be repeated or given a list
separated by commas; folders are the exception, whose names may contain commas.
"""

import argparse
import ast
import functools
import inspect
import ipaddress
import itertools
import os
import re
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import msgspec

PREFIX = "INGRESS_"
LARGEST = 1 << 50
"""No size, count or duration is larger: a petabyte is an error of typing, not a limit."""

SettingsClass = TypeVar("SettingsClass", bound=msgspec.Struct)
Value = Any  # the type of a flag's value is known from its field only


class UsageError(ValueError):
    """A flag, variable or argument is wrong; the message is one sentence for people."""


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as users see it."""

    field: str
    kind: str
    """Key of PARSERS, or ``switch`` or ``choice``."""
    text: str
    """Docstring of the field, on one line."""
    default: Value
    choices: tuple[str, ...] = ()
    repeated: bool = False
    bounds: msgspec.Meta = msgspec.Meta()

    @property
    def name(self) -> str:
        return "--" + self.field.replace("_", "-")

    @property
    def variable(self) -> str:
        return PREFIX + self.field.upper()

    @property
    def metavar(self) -> str:
        return "|".join(self.choices) if self.choices else METAVARS[self.kind]


def parse_size(text: str) -> int:
    """Bytes: a number with an optional K, M or G (powers of 1024)."""
    found = re.fullmatch(r"(\d{1,18})\s*([kmg]?)(?:i?b)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError("is not a size; write bytes, or a number with K, M or G, such as 10M")
    return int(found[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[found[2].lower()]


def parse_duration(text: str) -> float:
    """Seconds: a number, or numbers with ms, s, m, h or d in a row, such as 1h30m."""
    written = text.strip()
    if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", written):
        return float(written)
    if not re.fullmatch(r"(\d{1,12}(\.\d{1,9})?(ms|s|m|h|d))+", written):
        raise ValueError("is not a duration; write seconds, or a number with ms, s, m, h or d: 30s")
    seconds = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    return sum(
        float(number) * seconds[unit]
        for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", written)
    )


def parse_count(text: str) -> int:
    """A whole number."""
    if not re.fullmatch(r"\d{1,18}", text.strip()):
        raise ValueError("is not a number; write a whole number such as 100")
    return int(text)


def parse_port(text: str) -> int:
    """A TCP port; 0 lets the system choose."""
    if not re.fullmatch(r"\d{1,5}", text.strip()) or int(text) > 65535:
        raise ValueError("is not a port; write a number from 1 to 65535, or 0 for any free port")
    return int(text)


def parse_port_or_off(text: str) -> int | None:
    """A TCP port, or None for ``off``."""
    if text.strip().lower() == "off":
        return None
    try:
        return parse_port(text)
    except ValueError as error:
        raise ValueError(f"{error}, or off") from None


def parse_object_name(text: str) -> str:
    """Namespace and name of an object, as in ``kube-system/default-tls``."""
    written = text.strip()
    parts = written.split("/")
    if len(parts) != 2 or not all(
        re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", part) for part in parts
    ):
        raise ValueError("is not NAMESPACE/NAME; write one such as default/my-object")
    return written


def parse_address(text: str) -> str:
    """An IPv4 or IPv6 address without port; brackets are optional."""
    written = text.strip()
    if written.startswith("[") and written.endswith("]"):
        written = written[1:-1]
    try:
        return str(ipaddress.ip_address(written))
    except ValueError:
        raise ValueError(
            "is not an address; write an IPv4 or IPv6 address without port, such as 0.0.0.0 or ::1"
        ) from None


def parse_namespace(text: str) -> str:
    """The name of a namespace: a DNS label (RFC 1123)."""
    written = text.strip()
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", written):
        raise ValueError("is no name of a namespace; write one such as default")
    return written


def parse_address_or_name(text: str) -> str:
    """An address without port, or a DNS name (RFC 1123 section 2.1)."""
    written = text.strip()
    label = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    if re.fullmatch(r"[0-9.]+|.*:.*", written):
        return parse_address(written)
    if len(written) > 253 or not re.fullmatch(rf"{label}(\.{label})*", written):
        raise ValueError("is neither an address nor a DNS name; write 192.0.2.1 or lb.example.com")
    return written.lower()


def parse_network(text: str) -> str:
    """A CIDR or a single address."""
    written = text.strip()
    try:
        return str(ipaddress.ip_network(written))
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(written, strict=False)
    except ValueError:
        raise ValueError("is not a network; write a CIDR such as 10.0.0.0/8 or fd00::/8") from None
    raise ValueError(f"has bits behind its prefix; write {meant}, or {written.split('/')[0]}")


def parse_field_value(text: str) -> str:
    """A value that may stand in an HTTP field (RFC 9110 section 5.5), visible ASCII only."""
    if not re.fullmatch(r"([!-~]([ !-~]{0,250}[!-~])?)?", text):
        raise ValueError("cannot stand in an HTTP header; write up to 252 visible ASCII characters")
    return text


def parse_text(text: str) -> str:
    """Any text that is not empty."""
    if not text.strip() or "\0" in text:
        raise ValueError("is empty; write a value or leave the setting out")
    return text.strip()


PARSERS: Mapping[str, Callable[[str], Value]] = types.MappingProxyType(
    {
        "size": parse_size,
        "duration": parse_duration,
        "count": parse_count,
        "port": parse_port,
        "port-or-off": parse_port_or_off,
        "object-name": parse_object_name,
        "address": parse_address,
        "address-or-name": parse_address_or_name,
        "namespace": parse_namespace,
        "file": parse_text,
        "network": parse_network,
        "field-value": parse_field_value,
        "folder": parse_text,
        "log-target": parse_text,
        "text": parse_text,
    }
)
METAVARS: Mapping[str, str] = types.MappingProxyType(
    {
        "size": "SIZE",
        "duration": "TIME",
        "count": "N",
        "port": "PORT",
        "port-or-off": "PORT|off",
        "object-name": "NAMESPACE/NAME",
        "address": "ADDRESS",
        "address-or-name": "ADDRESS|NAME",
        "namespace": "NAMESPACE",
        "file": "FILE",
        "network": "CIDR",
        "field-value": "VALUE",
        "folder": "FOLDER",
        "log-target": "PATH|-|off",
        "text": "NAME",
        "switch": "",
    }
)
SWITCH_WORDS: Mapping[str, bool] = types.MappingProxyType(
    {"1": True, "true": True, "yes": True, "on": True}
    | {"0": False, "false": False, "no": False, "off": False}
)


def docstrings(cls: type) -> dict[str, str]:
    """The docstring below each field of a class, joined to one line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    texts = {}
    for statement, after in itertools.pairwise(body):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            texts[statement.target.id] = " ".join(after.value.value.split())
    return texts


@functools.cache  # reading the docstrings parses the source
def flags_of(cls: type[msgspec.Struct]) -> tuple[Flag, ...]:
    """The flags of a settings class, in the order of its fields."""
    texts = docstrings(cls)
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(
        _flag(field.name, hints[field.name], field.default, texts[field.name])
        for field in msgspec.structs.fields(cls)
    )


def _flag(field: str, hint: Value, default: Value, text: str) -> Flag:
    """One flag from a field's type; unions are with None only (None: decided elsewhere)."""
    origin: Callable[[Value], Value] = typing.get_origin
    repeated = origin(hint) is tuple
    if repeated:
        hint = typing.get_args(hint)[0]
    if origin(hint) in (typing.Union, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    kind, choices, bounds = "text", (), msgspec.Meta()
    if hint is bool:
        kind = "switch"
    elif origin(hint) is Literal:
        kind, choices = "choice", typing.get_args(hint)
    elif origin(hint) is typing.Annotated:
        bounds = typing.get_args(hint)[1]
        kind = (bounds.extra or {})["kind"]
    return Flag(
        field=field,
        kind=kind,
        text=text,
        default=default,
        choices=choices,
        repeated=repeated,
        bounds=bounds,
    )


def add_flags(parser: argparse.ArgumentParser, title: str, cls: type[msgspec.Struct]) -> None:
    """Adds one group of flags; values stay text until `read` makes a settings object of them."""
    group = parser.add_argument_group(title)
    for flag in flags_of(cls):
        # A percent sign starts a placeholder in argparse's help.
        text = f"{flag.text} Default: {show(flag)}.".replace("%", "%%")
        if flag.kind == "switch":
            action = argparse.BooleanOptionalAction
            group.add_argument(flag.name, dest=flag.field, action=action, default=None, help=text)
        else:
            group.add_argument(
                flag.name,
                dest=flag.field,
                metavar=flag.metavar,
                action="append" if flag.repeated else "store",
                help=text,
            )


def show(flag: Flag, value: Value = None) -> str:
    """A value (the default, if none is given) as it would be written behind the flag."""
    value = flag.default if value is None else value
    if value is None or value in ((), ""):
        return "none"
    if flag.repeated:
        return ",".join(value)
    if flag.kind == "switch":
        return "yes" if value else "no"
    if flag.kind == "size":
        for unit, factor in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
            if value and value % factor == 0:
                return f"{value // factor}{unit}"
    if flag.kind == "duration":
        for unit, factor in (("d", 86400), ("h", 3600), ("m", 60)):
            if value and value % factor == 0:
                return f"{value / factor:g}{unit}"
        return f"{value:g}s"
    return str(value)


def read(
    cls: type[SettingsClass],
    arguments: argparse.Namespace,
    environment: Mapping[str, str] = os.environ,
) -> SettingsClass:
    """A settings object from flags, then the environment, then defaults.

    Raises:
        UsageError: a value is wrong; the sentence names the flag or the variable.
    """
    values = {}
    for flag in flags_of(cls):
        given = getattr(arguments, flag.field, None)
        if given is not None:
            values[flag.field] = _from_flag(flag, given)
        elif (text := environment.get(flag.variable)) is not None and not _unset(flag, text):
            values[flag.field] = _from_environment(flag, text)
    return cls(**values)


def _unset(flag: Flag, text: str) -> bool:
    """Whether a variable is nobody's setting.

    An empty one says that there is none, as where a part of a manifest is overridden; lists and
    texts may be empty. For a Service named "ingress-http" the kubelet sets
    INGRESS_HTTP_PORT=tcp://10.0.0.1:80 in every pod of its namespace (service links, Kubernetes
    documentation "Service").
    """
    if not text.strip() and not flag.repeated and flag.kind not in ("field-value", "switch"):
        return True
    return flag.kind in ("port", "port-or-off") and text.startswith(("tcp://", "udp://", "sctp://"))


def _from_flag(flag: Flag, given: Value) -> Value:
    if flag.kind == "switch":
        return given
    if not flag.repeated:
        return _value(flag, given, flag.name)
    return tuple(
        _value(flag, part, flag.name)
        for text in given
        for part in ([text] if flag.kind == "folder" else text.split(","))
    )


def _from_environment(flag: Flag, text: str) -> Value:
    if flag.repeated:
        parts = text.split(os.pathsep if flag.kind == "folder" else ",")
        return tuple(_value(flag, part, flag.variable) for part in parts if part.strip())
    return _value(flag, text, flag.variable)


def _value(flag: Flag, text: str, where: str) -> Value:
    """One parsed value; ``where`` is the flag or variable that the sentence names."""
    if flag.kind == "switch":
        if text.strip().lower() not in SWITCH_WORDS:
            raise UsageError(f"{where}: {text!r} is neither yes nor no; write true or false")
        return SWITCH_WORDS[text.strip().lower()]
    if flag.kind == "choice":
        if text not in flag.choices:
            raise UsageError(f"{where}: {text!r} is unknown; write {_either(flag.choices)}")
        return text
    try:
        value = PARSERS[flag.kind](text)
    except ValueError as error:
        raise UsageError(f"{where}: {text!r} {error}") from None
    if isinstance(value, int | float):
        if flag.bounds.ge is not None and value < flag.bounds.ge:
            raise UsageError(f"{where}: {text!r} is too small; the least is {flag.bounds.ge}")
        if flag.bounds.gt is not None and value <= flag.bounds.gt:
            raise UsageError(f"{where}: {text!r} is too small; it must be more than 0")
        if value > (LARGEST if flag.bounds.le is None else flag.bounds.le):
            most = LARGEST if flag.bounds.le is None else flag.bounds.le
            raise UsageError(f"{where}: {text!r} is too large; the most is {most}")
    return value


def _either(words: tuple[str, ...]) -> str:
    return ", ".join(words[:-1]) + f" or {words[-1]}"
