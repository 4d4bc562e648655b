"""Renders kustomizations: the part of kustomize that our manifests use, read strictly.

What is not known here raises ValueError. `test_kustomize` compares with `kubectl kustomize`.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

KNOWN = frozenset(
    {
        *("apiVersion", "kind", "resources", "components", "configMapGenerator"),
        *("patches", "namespace", "labels"),
    }
)
MERGE_KEYS: Mapping[str, str] = {"containers": "name", "env": "name", "ports": "port"}
"""Lists of objects that a strategic merge joins by this field."""
ATOMIC = frozenset({"metrics"})
"""Lists of objects that it replaces."""
CLUSTER_WIDE = frozenset({"Namespace", "ClusterRole", "ClusterRoleBinding", "IngressClass"})


def read_yaml(path: Path) -> list[Object]:
    """All documents of a file."""
    with path.open() as file:
        return [document for document in yaml.load_all(file, yaml.CSafeLoader) if document]


def render(folder: Path) -> list[Object]:
    """What `kubectl apply -k` of this folder applies."""
    objects: list[Object] = []
    _accumulate(folder, objects)
    keys = [key_of(obj) for obj in objects]
    if len(keys) != len(set(keys)):
        raise ValueError(f"{folder}: an object is there twice")
    return objects


def key_of(obj: Object) -> tuple[str, str, str]:
    """Kind, namespace and name."""
    metadata = obj["metadata"]
    return obj["kind"], metadata.get("namespace", ""), metadata["name"]


def _accumulate(folder: Path, objects: list[Object]) -> None:
    """Adds what a kustomization says to the objects so far; a component changes those, too."""
    (said,) = read_yaml(folder / "kustomization.yaml")
    if unknown := said.keys() - KNOWN:
        raise ValueError(f"{folder}: {sorted(unknown)} is not known here")
    own: list[Object] = objects if said["kind"] == "Component" else []
    for name in said.get("resources", ()):
        path = folder / name
        if path.is_dir():
            _accumulate(path, own)
        else:
            own += read_yaml(path)
    own += [_config_map(folder, generator) for generator in said.get("configMapGenerator", ())]
    for name in said.get("components", ()):
        _accumulate(folder / name, own)
    for patch in said.get("patches", ()):
        _patch(own, folder, patch)
    for obj in own:
        if "namespace" in said and obj["kind"] not in CLUSTER_WIDE:
            obj["metadata"]["namespace"] = said["namespace"]
        for label in said.get("labels", ()):
            if label.keys() != {"pairs"}:
                raise ValueError(f"{folder}: labels in selectors are not known here")
            obj["metadata"].setdefault("labels", {}).update(label["pairs"])
    if own is not objects:
        objects += own


def _config_map(folder: Path, generator: Object) -> Object:
    if generator["options"].get("disableNameSuffixHash") is not True:
        raise ValueError(f"{folder}: names with a hash are not known here")
    data = {}
    for file in generator["files"]:
        key, _, path = file.rpartition("=")
        data[key or path] = (folder / path).read_text()
    metadata = {"name": generator["name"], "namespace": generator["namespace"]}
    metadata["labels"] = dict(generator["options"].get("labels", {}))
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _patch(objects: list[Object], folder: Path, patch: Object) -> None:
    text = (folder / patch["path"]).read_text() if "path" in patch else patch["patch"]
    said = yaml.safe_load(text)
    if isinstance(said, list):
        for obj in _selected(objects, patch["target"]):
            for operation in said:
                _operate(obj, operation)
        return
    (found,) = [obj for obj in objects if key_of(obj) == key_of(said)]
    if said.get("$patch") == "delete":
        objects.remove(found)
    else:
        _merge(found, said)


def _selected(objects: list[Object], target: Object) -> Iterator[Object]:
    """Targets are regular expressions for the whole kind and name; none need be there."""
    if target.keys() != {"kind", "name"}:
        raise ValueError(f"{target} is not known here")
    for obj in objects:
        kind, _, name = key_of(obj)
        if re.fullmatch(target["kind"], kind) and re.fullmatch(target["name"], name):
            yield obj


def _operate(obj: Object, operation: Object) -> None:
    """One operation of RFC 6902."""
    *path, last = operation["path"].removeprefix("/").split("/")
    place: Any = obj
    for step in path:
        place = place[int(step) if isinstance(place, list) else step]
    where = int(last) if isinstance(place, list) and last != "-" else last
    match operation["op"]:
        case "test":
            if place[where] != operation["value"]:
                raise ValueError(f"{operation} does not hold for {key_of(obj)}")
        case "remove":
            del place[where]
        case "replace" if isinstance(place, list) or where in place:
            place[where] = operation["value"]
        case "add" if where == "-":
            place.append(operation["value"])
        case _:
            raise ValueError(f"{operation} is not known here")


def _merge(into: Object, said: Object) -> None:
    """A strategic merge patch."""
    for field, value in said.items():
        there = into.get(field)
        if isinstance(value, dict) and isinstance(there, dict):
            _merge(there, value)
        elif _are_objects(value) and _are_objects(there) and field not in ATOMIC:
            into[field] = _merged_list(there, value, MERGE_KEYS[field])
        else:
            into[field] = value


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _merged_list(there: list[Object], said: list[Object], key: str) -> list[Object]:
    """Items of the patch come first, as kustomize has it."""
    rest = {item[key]: item for item in there}
    merged = []
    for item in said:
        old = rest.pop(item[key], {})
        _merge(old, item)
        merged.append(old)
    return merged + list(rest.values())
