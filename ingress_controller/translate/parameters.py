"""``IngressClass.spec.parameters`` of a class that is ours: which ConfigMap, and what it says."""

from collections.abc import Mapping
from typing import NamedTuple

from ingress_controller.objects.config import ConfigMap
from ingress_controller.objects.ingress import ClassParameters, IngressClass
from ingress_controller.objects.meta import ObjectKey, quoted
from ingress_controller.store import Name, key_of
from ingress_controller.translate.config import ClassSettings, ConfigRead, read_config
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode
from ingress_controller.translate.options import Options


class ParametersRead(NamedTuple):
    """What was found."""

    settings: ClassSettings
    config_map: ObjectKey | None
    """What was looked at, whether it exists or not."""
    diagnostics: tuple[Diagnostic, ...] = ()


def read_parameters(
    item: IngressClass, config_maps: Mapping[Name, ConfigMap], base: ClassSettings
) -> ParametersRead:
    """What holds for the Ingresses of a class; ``base`` where it says nothing."""
    parameters = item.spec.parameters
    if parameters is None:
        return ParametersRead(base, None)
    wrong = _wrong(parameters)
    if wrong is not None:
        message, field, remedy = wrong
        found = _about(item, DiagnosticCode.CLASS_PARAMETERS_INVALID, message, field, remedy)
        return ParametersRead(base, None, (found,))
    name = Name(parameters.namespace, parameters.name)
    key = ObjectKey("ConfigMap", *name)
    config_map = config_maps.get(name)
    if config_map is None:
        found = _about(
            item,
            DiagnosticCode.CLASS_PARAMETERS_MISSING,
            f"there is no {key}",
            "name",
            "create it, or correct the reference; the controller must be allowed to read it",
        )
        return ParametersRead(base, key, (found,))
    settings, diagnostics = read_config(config_map, base)
    return ParametersRead(settings, key, diagnostics)


def read_named_config(options: Options, config_maps: Mapping[Name, ConfigMap]) -> ParametersRead:
    """What the ConfigMap of ``--config`` makes of what the flags say."""
    base = ClassSettings.of(options)
    namespace, slash, name = options.config.partition("/")
    if not slash:
        return ParametersRead(base, None)
    key = ObjectKey("ConfigMap", namespace, name)
    config_map = config_maps.get(Name(namespace, name))
    if config_map is not None:
        read: ConfigRead = read_config(config_map, base)
        return ParametersRead(read.settings, key, read.diagnostics)
    found = Diagnostic(
        code=DiagnosticCode.CONFIG_MISSING,
        severity="error",
        object=key,
        message="there is no such ConfigMap, and --config names it",
        consequence="the flags alone count",
        remedy="create it, or correct the flag",
    )
    return ParametersRead(base, key, (found,))


def _wrong(parameters: ClassParameters) -> tuple[str, str, str] | None:
    """Message, field and remedy, where no ConfigMap is meant."""
    if (parameters.api_group, parameters.kind) != ("", "ConfigMap"):
        what = f"{parameters.api_group}/{parameters.kind}".removeprefix("/")
        return f"parameters of kind {quoted(what)} are not read", "kind", "name a ConfigMap"
    if parameters.scope == "Cluster":
        return (
            "a ConfigMap is in a namespace, but the scope is Cluster, which is the default",
            "scope",
            "set scope: Namespace, and namespace",
        )
    if not parameters.namespace:
        return "the scope is Namespace, and no namespace is named", "namespace", "name it"
    return None


def _about(
    item: IngressClass, code: DiagnosticCode, message: str, field: str, remedy: str
) -> Diagnostic:
    return Diagnostic(
        code=code,
        severity="error",
        object=key_of(item),
        field=f"spec.parameters.{field}",
        message=message,
        consequence="Ingresses of the class have the options of --config and the flags",
        remedy=remedy,
    )
