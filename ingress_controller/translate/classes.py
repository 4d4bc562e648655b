"""Which Ingresses are ours.

An Ingress names its class in ``spec.ingressClassName``, or in the older annotation
``kubernetes.io/ingress.class``. Where both are set and differ, the field counts and we warn: the
API server refuses such objects when they are created, so only an update can make them
(KEP-1453 would let the annotation win, ingress-nginx takes the field).

================  =======================================  ==========================
class name        IngressClass object of that name         served
================  =======================================  ==========================
a name            its spec.controller is one of ours       yes
a name            has another spec.controller              no (hint)
a name            none, and the name is an --ingress-class yes
a name            none, and it is not                      no (warning)
no name           a class of ours is the default class     yes
no name           --watch-ingress-without-class            yes
no name           neither                                  no (warning)
================  =======================================  ==========================

A class is the default one when its annotation ``ingressclass.kubernetes.io/is-default-class`` is
exactly ``true``; the API server then writes its name into new Ingresses, but not into those that
were made before, which is why they are adopted here.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from ingress_controller.objects.ingress import Ingress, IngressClass
from ingress_controller.objects.meta import quoted
from ingress_controller.store import Name, key_of
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode
from ingress_controller.translate.options import Options

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT_CLASS_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"

_NOT_SERVED = "this controller does not serve the Ingress"


class Selection(NamedTuple):
    """Whether an Ingress is ours, and what to say about it."""

    ours: bool
    diagnostics: tuple[Diagnostic, ...] = ()


_OURS = Selection(ours=True)


class Classes:
    """All IngressClass objects, read once; frozen by convention, replaced when one changes."""

    __slots__ = ("_adopts", "_controllers", "_names", "diagnostics")

    def __init__(self, classes: Mapping[Name, IngressClass], options: Options) -> None:
        self._controllers = {
            name.name: item.spec.controller in options.controllers for name, item in classes.items()
        }
        self._names = frozenset(options.ingress_classes)
        defaults = sorted(
            name.name
            for name, item in classes.items()
            if item.metadata.annotations.get(DEFAULT_CLASS_ANNOTATION) == "true"
        )
        self._adopts = options.watch_ingress_without_class or any(
            self._controllers[name] for name in defaults
        )
        self.diagnostics = tuple(self._about_classes(classes.values(), defaults))

    def select(self, ingress: Ingress) -> Selection:
        """Whether this Ingress is ours."""
        field = ingress.spec.ingress_class_name
        annotation = ingress.metadata.annotations.get(CLASS_ANNOTATION, "")
        name = field or annotation
        if not name:
            return _OURS if self._adopts else self._classless(ingress)
        ours = self._controllers.get(name)
        if ours is None:
            ours = name in self._names
            if not ours:
                return self._unknown(ingress, name)
        elif not ours:
            return Selection(False, (_foreign(ingress, name),))
        if field and annotation and field != annotation:
            return Selection(True, (_contradictory(ingress, field, annotation),))
        return _OURS

    def _classless(self, ingress: Ingress) -> Selection:
        return Selection(
            False,
            (
                Diagnostic(
                    code=DiagnosticCode.CLASS_MISSING,
                    severity="warning",
                    object=key_of(ingress),
                    field="spec.ingressClassName",
                    message="the Ingress names no class, and no class of ours is the default one",
                    consequence=_NOT_SERVED,
                    remedy=f"set spec.ingressClassName to {self._ours()}, or start with "
                    "--watch-ingress-without-class",
                ),
            ),
        )

    def _unknown(self, ingress: Ingress, name: str) -> Selection:
        by_field = bool(ingress.spec.ingress_class_name)
        return Selection(
            False,
            (
                Diagnostic(
                    code=DiagnosticCode.CLASS_UNKNOWN,
                    severity="warning",
                    object=key_of(ingress),
                    field=_field(ingress),
                    message=f"there is no IngressClass {quoted(name)}"
                    + (
                        self._misspelt(name)
                        if by_field
                        else ", and this controller is not called so"
                    ),
                    consequence=_NOT_SERVED,
                    remedy=f"name the class {self._ours()}, create an IngressClass {quoted(name)} "
                    f"with our controller, or start with --ingress-class {quoted(name)}",
                ),
            ),
        )

    def _ours(self) -> str:
        """The class names that would be served, for advice."""
        names = {name for name, ours in self._controllers.items() if ours}
        names.update(name for name in self._names if self._controllers.get(name, True))
        return _listed(names) or "one whose spec.controller is ours"

    def _misspelt(self, name: str) -> str:
        for known in sorted({*self._controllers, *self._names}):
            if known != name and known.lower() == name.lower():
                return f", but there is {quoted(known)}"
        return ""

    def _about_classes(
        self, classes: Collection[IngressClass], defaults: list[str]
    ) -> "list[Diagnostic]":
        found = []
        for item in classes:
            name = item.metadata.name
            if not self._controllers[name]:
                continue
            if item.spec.parameters is not None:
                found.append(
                    Diagnostic(
                        code=DiagnosticCode.CLASS_PARAMETERS_UNUSED,
                        severity="hint",
                        object=key_of(item),
                        field="spec.parameters",
                        message="this controller reads no parameters of a class",
                        consequence="they have no effect",
                        remedy="remove them, or set the flags of the controller instead",
                    )
                )
            if len(defaults) > 1 and name in defaults:
                found.append(
                    Diagnostic(
                        code=DiagnosticCode.CLASS_DEFAULT_REPEATED,
                        severity="warning",
                        object=key_of(item),
                        field=f"metadata.annotations[{DEFAULT_CLASS_ANNOTATION}]",
                        message=f"{len(defaults)} classes are the default one: {_listed(defaults)}",
                        consequence="Ingresses without a class are served here, perhaps by others "
                        "too, and the API server refuses new ones",
                        remedy="leave the annotation on one class",
                    )
                )
        return found


def _field(ingress: Ingress) -> str:
    if ingress.spec.ingress_class_name:
        return "spec.ingressClassName"
    return f"metadata.annotations[{CLASS_ANNOTATION}]"


def _foreign(ingress: Ingress, name: str) -> Diagnostic:
    return Diagnostic(
        code=DiagnosticCode.CLASS_FOREIGN,
        severity="hint",
        object=key_of(ingress),
        field=_field(ingress),
        message=f"the class {quoted(name)} belongs to another controller",
        consequence=_NOT_SERVED,
        remedy="nothing, if that is meant; else name a class of ours, or start with --controller "
        f"and the spec.controller of IngressClass {quoted(name)}",
    )


def _contradictory(ingress: Ingress, field: str, annotation: str) -> Diagnostic:
    return Diagnostic(
        code=DiagnosticCode.CLASS_CONTRADICTORY,
        severity="warning",
        object=key_of(ingress),
        field=f"metadata.annotations[{CLASS_ANNOTATION}]",
        message=f"the annotation says {quoted(annotation)}, but spec.ingressClassName says "
        f"{quoted(field)}",
        consequence="the field counts; a controller that reads the annotation may serve it too",
        remedy="remove the annotation",
    )


def _listed(names: Collection[str]) -> str:
    return " or ".join(quoted(name) for name in sorted(names)[:5])
