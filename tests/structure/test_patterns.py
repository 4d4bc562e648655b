"""No regular expression that some supported Python reads wrongly."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import ingress_controller
import router
import tls

BANNED = {"POSSESSIVE_REPEAT", "ATOMIC_GROUP"}
"""CPython before 3.11.5 (Debian 12 has 3.11.2) matches groups of these wrongly."""


def modules() -> Iterator[str]:
    for package in (ingress_controller, router, tls):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                yield module.name


def operations(tree: object) -> Iterator[str]:
    """The names of all operations in a parsed pattern."""
    if isinstance(tree, tuple) and tree and hasattr(tree[0], "name"):
        yield tree[0].name
    if hasattr(tree, "data"):
        tree = tree.data
    if isinstance(tree, list | tuple):
        for part in tree:
            yield from operations(part)


@pytest.mark.parametrize("name", list(modules()))
def test_patterns_use_what_every_supported_python_reads_right(name: str) -> None:
    for known, value in vars(importlib.import_module(name)).items():
        if isinstance(value, re.Pattern):
            parsed = re._parser.parse(value.pattern, value.flags)  # type: ignore[attr-defined]
            assert not BANNED & set(operations(parsed)), known


def test_the_check_sees_what_is_banned() -> None:
    parsed = re._parser.parse(r"a(b(c*+))")  # type: ignore[attr-defined]
    assert BANNED & set(operations(parsed))
