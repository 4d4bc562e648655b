"""What a request to a fake API server is about, and the refusals that have words of their own."""

from collections.abc import Mapping

import msgspec

from tests.harness.kube_faults import Request
from tests.harness.kube_selectors import Selector, read_selector
from tests.harness.kube_store import KINDS, Collection, Kind, Refusal, Store


class Target(msgspec.Struct, frozen=True):
    """What a request is about."""

    kind: Kind
    verb: str
    namespace: str
    """Empty: all of them, or the cluster's own objects."""
    name: str
    part: str

    @classmethod
    def of(cls, request: Request) -> "Target | None":
        """None when the path is none of an object or of a kind."""
        kind = next((kind for kind in KINDS if request.path.startswith(f"{kind.root}/")), None)
        if kind is None:
            return None
        parts = request.path.removeprefix(f"{kind.root}/").split("/")
        namespace = ""
        if parts[0] == "namespaces" and len(parts) > 2:
            namespace, parts = parts[1], parts[2:]
        plural, name, part, *more = (*parts, "", "")[: max(3, len(parts))]
        found = [known for known in KINDS if (known.root, known.plural) == (kind.root, plural)]
        if (
            not found
            or more
            or (part and part != "status")
            or (namespace and not found[0].namespaced)
        ):
            return None
        watching = request.query.get("watch") in ("true", "1")
        verbs = {
            "GET": "get" if name else "watch" if watching else "list",
            "POST": "create",
            "PUT": "update",
            "PATCH": "patch",
            "DELETE": "delete",
        }
        verb = verbs.get(request.method, "")
        one = verb in ("get", "update", "patch", "delete")
        if not verb or one != bool(name) or (part and not found[0].has_status):
            return None
        if (one or verb == "create") and found[0].namespaced and not namespace:
            raise Refusal(
                405, "MethodNotAllowed", "the server does not allow this method on the resource"
            )
        return cls(found[0], verb, namespace, name, part)

    def collection(self, store: Store) -> Collection:
        return store.collections[self.kind.kind]

    def covers(self, key: tuple[str, str]) -> bool:
        """An object that is listed or watched here."""
        return not self.namespace or key[0] == self.namespace

    def selector(self, query: Mapping[str, str]) -> Selector:
        return read_selector(
            self.kind, query.get("fieldSelector", ""), query.get("labelSelector", "")
        )


def expired(message: str) -> Refusal:
    """410 in the API's words."""
    return Refusal(410, "Expired", message)


def too_large(wanted: str, current: int) -> Refusal:
    """A version that is not there yet (or not any more, after a restore)."""
    return Refusal(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {wanted}, current: {current}",
        {
            "causes": [
                {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            ],
            "retryAfterSeconds": 1,
        },
    )
