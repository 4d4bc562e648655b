"""All diagnostics of the translation, by what was looked at.

They are bounded, for each thing and for each namespace: a tenant who makes a hundred thousand
mistakes must not keep everybody busy with comparing and telling them.
"""

from collections import Counter

from ingress_controller.translate.diagnostics import (
    SEVERITIES,
    Diagnostic,
    DiagnosticCode,
    order,
)

MAX_ABOUT = 100
"""Of one thing, such as the backends of an Ingress, the gravest first; the others are counted."""
MAX_OF_NAMESPACE = 2_000
"""Altogether; the others are counted."""


class Findings:
    """What is said about something is replaced as a whole when it is looked at again."""

    __slots__ = ("_found", "_sorted")

    def __init__(self) -> None:
        self._found: dict[tuple[str, ...], tuple[Diagnostic, ...]] = {}
        self._sorted: tuple[Diagnostic, ...] | None = None

    def note(self, about: tuple[str, ...], found: tuple[Diagnostic, ...]) -> None:
        """What there is to say about something now; ``about`` begins with who says it."""
        if len(found) > MAX_ABOUT:
            found = _gravest(found)
        if self._found.get(about, ()) == found:
            return
        if found:
            self._found[about] = found
        else:
            del self._found[about]
        self._sorted = None

    def about(self, *about: str) -> tuple[Diagnostic, ...]:
        """What was said last about something."""
        return self._found.get(about, ())

    @property
    def sorted(self) -> tuple[Diagnostic, ...]:
        """Everything, by object; sorted when asked for, not at every change."""
        if self._sorted is None:
            found: list[Diagnostic] = []
            counts: Counter[str] = Counter()
            first: dict[str, Diagnostic] = {}
            for items in self._found.values():
                for item in items:
                    namespace = item.object.namespace
                    counts[namespace] += 1
                    if counts[namespace] <= MAX_OF_NAMESPACE or not namespace:
                        found.append(item)
                    else:
                        first.setdefault(namespace, item)
            found += [
                _more(item, counts[namespace] - MAX_OF_NAMESPACE, f"of namespace {namespace}")
                for namespace, item in first.items()
            ]
            self._sorted = tuple(sorted(found, key=order))
        return self._sorted


def _gravest(found: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    ranked = sorted(found, key=lambda one: SEVERITIES.index(one.severity))
    return (*ranked[:MAX_ABOUT], _more(ranked[MAX_ABOUT], len(found) - MAX_ABOUT, "of its kind"))


def _more(first: Diagnostic, count: int, which: str) -> Diagnostic:
    """Stands for what is left out; ``first`` is the first of it."""
    return Diagnostic(
        code=DiagnosticCode.FINDINGS_TOO_MANY,
        severity=first.severity,
        object=first.object,
        field=first.field,
        message=f"{count} more findings {which} are not listed; the first: {first.message}",
        consequence="they count all the same",
        remedy="mend what is listed; the others appear then",
    )
