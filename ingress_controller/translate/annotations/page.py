"""Prints docs/annotations.md: `python -m ingress_controller.translate.annotations.page`.

Everything in it is read from the table, and a test compares the file with what this prints.
"""

from collections.abc import Iterator

from ingress_controller.translate.annotations.settings import NGINX_PREFIX, PREFIX
from ingress_controller.translate.annotations.table import ROWS, OnBad, Row

_BAD: dict[OnBad, str] = {
    "ignored": "no effect",
    "on": "as `true`",
    "closes": "503",
}


_BEFORE = """\
Annotations of an Ingress begin with `{ours}`. Where ingress-nginx has one of the same meaning,
`{theirs}` is read, too; where both are there and differ, ours counts, and a
warning says so.

A name under our prefix that is not in the table is a finding of `check`, and so is a value that
cannot be read. The column *bad value* says what happens then: what protects fails closed, so the
routes of the Ingress (for `auth-tls-*`: of all its hosts) answer 503. Annotations of ingress-nginx
that are not in the table have no effect, and `check` names each of them."""

_AFTER = """\
Whatever an annotation refers to is in the namespace of the Ingress. Where Ingresses share a host,
the namespace of the oldest one with rules for it decides about passthrough, client certificates and
the TLS profile; an Ingress that asks for more than its host has is closed (503). See
[hosts.md](hosts.md) for whose a host is, and [configmap.md](configmap.md) for options that hold for
all Ingresses of a class."""


def page() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Annotations"
    yield ""
    yield "Made by `python -m ingress_controller.translate.annotations.page` from its table."
    yield ""
    yield from _BEFORE.format(ours=PREFIX, theirs=NGINX_PREFIX).splitlines()
    yield ""
    yield "| annotation | also as ingress-nginx's | values | default | bad value | meaning |"
    yield "|---|---|---|---|---|---|"
    for row in ROWS:
        yield _cells(row)
    yield ""
    yield from _AFTER.splitlines()


def _cells(row: Row) -> str:
    cells = (
        f"`{row.name}`",
        "yes" if row.nginx else "",
        row.values,
        row.default,
        _BAD[row.on_bad],
        row.text,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 # its purpose
