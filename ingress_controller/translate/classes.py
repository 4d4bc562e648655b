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

Options that a ConfigMap sets for a class (`parameters`) hold for the Ingresses that name it, and
for those that are adopted into it.
"""

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from ingress_controller.objects.config import ConfigMap
from ingress_controller.objects.ingress import Ingress, IngressClass
from ingress_controller.objects.meta import ObjectKey, quoted
from ingress_controller.store import Name, key_of
from ingress_controller.translate.config import ClassSettings
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode
from ingress_controller.translate.options import Options
from ingress_controller.translate.parameters import read_named_config, read_parameters

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT_CLASS_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"

_NOT_SERVED = "this controller does not serve the Ingress"


Owner = Literal["ours", "others", "nobody"]
"""Whose an Ingress is: ours, another controller's by its class, or none's that is known."""


class Selection(NamedTuple):
    """Whether an Ingress is ours, and what to say about it."""

    owner: Owner
    settings: ClassSettings
    """What its class says, if it is ours."""
    diagnostics: tuple[Diagnostic, ...] = ()


class Classes:
    """All IngressClass objects, read once; frozen by convention, replaced when one changes."""

    __slots__ = (
        "_config_maps_of",
        "_controllers",
        "_names",
        "_selections",
        "base",
        "config_maps",
        "diagnostics",
    )

    def __init__(
        self,
        classes: Mapping[Name, IngressClass],
        config_maps: Mapping[Name, ConfigMap],
        options: Options,
    ) -> None:
        self._controllers = {
            name.name: item.spec.controller in options.controllers for name, item in classes.items()
        }
        self._names = frozenset(options.ingress_classes)
        defaults = sorted(
            name.name
            for name, item in classes.items()
            if item.metadata.annotations.get(DEFAULT_CLASS_ANNOTATION) == "true"
        )
        read = read_named_config(options, config_maps)
        self.base: ClassSettings = read.settings
        """Where no class says anything."""
        self._selections: dict[str, Selection] = {}
        """By the class name; the empty one stands for Ingresses that name none."""
        self._config_maps_of: dict[str, ObjectKey | None] = {"": read.config_map}
        """By class; the empty one stands for the ConfigMap that is for all."""
        found = dict.fromkeys(read.diagnostics)
        for (_, name), item in classes.items():
            if self._controllers[name]:
                of_class = read_parameters(item, config_maps, self.base)
                self._selections[name] = Selection("ours", of_class.settings)
                self._config_maps_of[name] = of_class.config_map
                found |= dict.fromkeys(of_class.diagnostics)
        for name in self._names:
            if name not in self._controllers:
                self._selections[name] = Selection("ours", self.base)
        adopting = [name for name in defaults if self._controllers[name]]
        if adopting:
            self._selections[""] = self._selections[adopting[0]]
        elif options.watch_ingress_without_class:
            self._selections[""] = Selection("ours", self.base)
        self.config_maps: frozenset[ObjectKey] = frozenset(
            key for key in self._config_maps_of.values() if key is not None
        )
        """The ConfigMaps that this depends on, whether they exist or not."""
        found |= dict.fromkeys(self._about_defaults(classes.values(), defaults))
        self.diagnostics: tuple[Diagnostic, ...] = tuple(found)

    def select(self, ingress: Ingress) -> Selection:
        """Whether this Ingress is ours."""
        field = ingress.spec.ingress_class_name
        annotation = ingress.metadata.annotations.get(CLASS_ANNOTATION, "")
        name = field or annotation
        selection = self._selections.get(name)
        if selection is None:
            if not name:
                return self._classless(ingress)
            if name in self._controllers:
                return Selection("others", self.base, (_foreign(ingress, name),))
            return self._unknown(ingress, name)
        if field and annotation and field != annotation:
            said = (_contradictory(ingress, field, annotation),)
            return selection._replace(diagnostics=said)
        return selection

    def objects_of(self, ingress: Ingress) -> tuple[ObjectKey, ...]:
        """The class that an Ingress names, and the ConfigMaps whose options hold for it."""
        name = ingress.spec.ingress_class_name or ingress.metadata.annotations.get(
            CLASS_ANNOTATION, ""
        )
        found = [ObjectKey("IngressClass", "", name)] if name in self._controllers else []
        for key in (self._config_maps_of.get(name), self._config_maps_of[""]):
            if key is not None:
                found.append(key)
        return tuple(found)

    def _classless(self, ingress: Ingress) -> Selection:
        return Selection(
            "nobody",
            self.base,
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
            "nobody",
            self.base,
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

    def _about_defaults(
        self, classes: Collection[IngressClass], defaults: list[str]
    ) -> "list[Diagnostic]":
        found = []
        for item in classes:
            name = item.metadata.name
            if len(defaults) > 1 and name in defaults and self._controllers[name]:
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
