"""What is read from the API: a kind, of all namespaces or of one, or a single object."""

import re
from typing import NamedTuple

from ingress_controller.objects.stream import API_VERSIONS

_PLURALS = {
    "Ingress": "ingresses",
    "IngressClass": "ingressclasses",
    "Service": "services",
    "EndpointSlice": "endpointslices",
    "Secret": "secrets",
    "ConfigMap": "configmaps",
}
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


def is_name(text: str) -> bool:
    """Whether it can be the name of an object or a namespace (DNS-1123 subdomain).

    Names that rules mention are users' text, and become parts of a path and of a selector.
    """
    return _NAME.fullmatch(text) is not None


class Target(NamedTuple):
    """What a reflector reads."""

    kind: str
    namespace: str = ""
    """Empty: all, or the kind has none."""
    name: str = ""
    """One object alone."""
    selector: str = ""
    """A field selector; for one object alone it is made from the name."""

    @property
    def plural(self) -> str:
        """The kind's name in paths and in roles."""
        return _PLURALS[self.kind]

    @property
    def path(self) -> str:
        """Path of the list in the API."""
        version = API_VERSIONS[self.kind]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        place = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{root}{place}/{self.plural}"

    @property
    def query(self) -> dict[str, str]:
        """What selects the objects."""
        selector = f"metadata.name={self.name}" if self.name else self.selector
        return {"fieldSelector": selector} if selector else {}

    def __str__(self) -> str:
        if self.name:
            return f"{self.kind} {self.namespace}/{self.name}"
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.plural}{where}"
