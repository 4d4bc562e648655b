"""One parsed document becomes an object, or the reason why not.

A document is what a YAML or JSON reader makes: dictionaries, lists and scalars. As with `kubectl`,
an entry whose value is null counts as absent; readers leave such entries out.
"""

import re
from typing import NamedTuple

import msgspec

from ingress_controller.objects.config import ConfigMap, Secret
from ingress_controller.objects.ingress import Ingress, IngressClass
from ingress_controller.objects.meta import ObjectKey, quoted
from ingress_controller.objects.service import Service
from ingress_controller.objects.slices import Endpoints, EndpointSlice

KubernetesObject = Ingress | IngressClass | Service | EndpointSlice | Endpoints | Secret | ConfigMap

DEFAULT_NAMESPACE = "default"

_TYPES: dict[tuple[str, str], type[KubernetesObject]] = {
    ("networking.k8s.io", "Ingress"): Ingress,
    ("networking.k8s.io", "IngressClass"): IngressClass,
    ("extensions", "Ingress"): Ingress,
    ("", "Service"): Service,
    ("discovery.k8s.io", "EndpointSlice"): EndpointSlice,
    ("", "Endpoints"): Endpoints,
    ("", "Secret"): Secret,
    ("", "ConfigMap"): ConfigMap,
}
"""By API group and kind. The group ``extensions`` held Ingress until Kubernetes 1.22."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
"""A DNS-1123 subdomain: what the API server accepts for the names of all kinds that we read."""
_MAX_NAME = 254
"""Characters kept of a name, so that one that is too long is seen to be so."""
_PROBLEM = re.compile(r"(?P<what>.*) - at `\$\.?(?P<where>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_WRONG_TYPE = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<got>[^`]*)`")
_OUT_OF_BOUNDS = re.compile(
    r"Expected `[^`]*` (?P<length>of length )?(?P<sign>[<>]=) (?P<bound>\d+)"
)
_TYPE_NAMES = {"str": "text", "int": "a number", "array": "a list", "object": "a mapping"}


class Undecodable(NamedTuple):
    """Why a document of a kind that we read is no such object."""

    key: ObjectKey
    """As far as it could be read."""
    field: str
    message: str
    remedy: str
    version: bool = False
    """The API version is the reason."""


def decode(document: object) -> KubernetesObject | Undecodable | None:
    """The object that a document stands for; None when it is of a kind that we do not read.

    An object without a namespace is in ``default``, and an IngressClass in none.
    """
    if not isinstance(document, dict):
        return None
    api_version, kind = document.get("apiVersion"), document.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str):
        return None
    group, _, version = api_version.rpartition("/")
    cls = _TYPES.get((group, kind))
    if cls is None:
        return None
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    key = _key(kind, metadata)
    if version != "v1" or group == "extensions":
        right = "networking.k8s.io/v1" if group == "extensions" else f"{group}/v1".lstrip("/")
        return Undecodable(
            key,
            "apiVersion",
            f"{api_version} {kind} is not read",
            f"write it as {right}; `kubectl convert` can do so",
            version=True,
        )
    for field, value in (("metadata.name", key.name), ("metadata.namespace", key.namespace)):
        if not isinstance(metadata.get(field.removeprefix("metadata."), ""), str):
            return Undecodable(
                key,
                field,
                f"it must be text, but is read as {quoted(value)}",
                "put quotes around the value",
            )
        if _NAME.fullmatch(value) is None and not (value == "" and kind == "IngressClass"):
            return _bad_name(key, field, value, metadata)
    located = {**document, "metadata": {**metadata, "namespace": key.namespace}}
    located.pop("kept", None)  # ours, and no field of any document
    try:
        return msgspec.convert(located, cls)
    except msgspec.ValidationError as problem:
        return _undecodable(key, str(problem), document)


def _key(kind: str, metadata: dict[object, object]) -> ObjectKey:
    name, namespace = metadata.get("name", ""), metadata.get("namespace", DEFAULT_NAMESPACE)
    if kind == "IngressClass":
        namespace = ""
    return ObjectKey(kind, str(namespace)[:_MAX_NAME], str(name)[:_MAX_NAME])


def _bad_name(
    key: ObjectKey, field: str, value: str, metadata: dict[object, object]
) -> Undecodable:
    if not value and "generateName" in metadata:
        return Undecodable(
            key, field, "only generateName is set", "set metadata.name; nothing generates it here"
        )
    return Undecodable(
        key,
        field,
        f"{quoted(value)} is no name" if value else "the name is missing",
        "write small letters, digits, hyphens and dots, and begin and end with a letter or digit",
    )


def _undecodable(key: ObjectKey, problem: str, document: dict[object, object]) -> Undecodable:
    """A validator's message as ours."""
    found = _PROBLEM.fullmatch(problem)
    what, field = (found["what"], found["where"]) if found else (problem, "")
    remedy = "correct the field; `kubectl explain` tells its form"
    missing, wrong = _MISSING.fullmatch(what), _WRONG_TYPE.fullmatch(what)
    if missing:
        field = f"{field}.{missing['name']}" if field else missing["name"]
        return Undecodable(key, field, "the field is missing", "add it")
    if field.endswith("[...]"):
        field = _with_culprit(field.removesuffix("[...]"), document)
    bounds = _OUT_OF_BOUNDS.fullmatch(what)
    if bounds:
        least = "at least" if bounds["sign"] == ">=" else "at most"
        what = f"it must be {least} {bounds['bound']}" + (" characters" if bounds["length"] else "")
    if wrong:
        expected, got = (_TYPE_NAMES.get(name, name) for name in wrong.group("expected", "got"))
        what = f"it must be {expected}, but is {got}"
        if wrong["expected"] == "str":
            remedy = "put quotes around the value"
        elif wrong.group("expected", "got") == ("int", "str"):
            remedy = "write a number, without quotes"
    return Undecodable(key, field, what, remedy)


def _with_culprit(field: str, document: dict[object, object]) -> str:
    """The field with the first key whose value is no text: validators do not tell which."""
    value: object = document
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(item, str):
                return f"{field}[{name}]"
    return field
