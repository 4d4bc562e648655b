"""Where a route came from, so that every request can be explained."""

from typing import NamedTuple

import msgspec


class RouteLabel(NamedTuple):
    """What metrics and the access log call a route: bounded by the number of objects."""

    namespace: str
    ingress: str
    service: str


class Origin(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The object, and the place inside it, that a route was made from."""

    kind: str
    """Kind of the object, for example ``Ingress``."""
    namespace: str
    name: str
    rule: int | None = None
    """Index in ``spec.rules``; None for ``spec.defaultBackend``."""
    path: int | None = None
    """Index in ``spec.rules[rule].http.paths``; None for ``spec.defaultBackend``."""
    service: str = ""
    """Name of the backend Service as written in the object; empty when the backend is none."""

    @property
    def field(self) -> str:
        """The field path inside the object, as ``kubectl explain`` would spell it."""
        if self.rule is None:
            return "spec.defaultBackend"
        return f"spec.rules[{self.rule}].http.paths[{self.path}]"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name} {self.field}"
