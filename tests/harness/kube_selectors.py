"""Field and label selectors of a fake API server: equal, different, and a label that is there."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.harness.kube_store import Kind, Refusal, Stored


class Requirement(NamedTuple):
    """Of a selector."""

    path: str
    label: bool
    equal: bool
    value: str | None
    """None: the label only has to be there."""

    def holds(self, stored: Stored) -> bool:
        if self.label:
            found: Any = (stored.content["metadata"].get("labels") or {}).get(self.path)
        else:
            found = stored.content
            for name in self.path.split("."):
                found = found.get(name, "") if isinstance(found, dict) else ""
        return found is not None if self.value is None else (found == self.value) is self.equal


Selector = tuple[Requirement, ...]


def selected(stored: Stored | None, selector: Selector) -> bool:
    """The object is there and all requirements hold."""
    return stored is not None and all(requirement.holds(stored) for requirement in selector)


def read_selector(kind: Kind, fields: str, labels: str) -> Selector:
    """Selectors of a request; a field that the kind does not offer is refused."""
    known = ("metadata.name", "metadata.namespace", *kind.fields)
    wanted = list(_requirements(fields, label=False))
    for requirement in wanted:
        if requirement.path not in known:
            message = f"field label not supported: {requirement.path}"
            raise Refusal(400, "BadRequest", message)
    return (*wanted, *_requirements(labels, label=True))


def _requirements(text: str, *, label: bool) -> Iterator[Requirement]:
    for part in filter(None, text.split(",")):
        equal = "!=" not in part
        path, sign, value = part.replace("!=", "=").replace("==", "=").partition("=")
        yield Requirement(path, label, equal, value if sign else None)
