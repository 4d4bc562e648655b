"""All diagnostics of the translation, by what was looked at."""

from ingress_controller.translate.diagnostics import Diagnostic, order


class Findings:
    """What is said about something is replaced as a whole when it is looked at again."""

    __slots__ = ("_found", "_sorted")

    def __init__(self) -> None:
        self._found: dict[tuple[str, ...], tuple[Diagnostic, ...]] = {}
        self._sorted: tuple[Diagnostic, ...] | None = None

    def note(self, about: tuple[str, ...], found: tuple[Diagnostic, ...]) -> None:
        """What there is to say about something now; ``about`` begins with who says it."""
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
            found = [item for items in self._found.values() for item in items]
            self._sorted = tuple(sorted(found, key=order))
        return self._sorted
