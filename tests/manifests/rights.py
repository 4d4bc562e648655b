"""What Roles allow, as Kubernetes' authorizer reads them, and what a request needs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tests.harness.kube_faults import Request
from tests.harness.kube_paths import Target
from tests.manifests.kustomize import Object, key_of


class Right(NamedTuple):
    """One verb on one resource; also what one request needs."""

    namespace: str
    """Empty: in all of them, or the resource has none."""
    group: str
    resource: str
    """With its sub-resource: ``ingresses/status``."""
    name: str
    """Empty: whatever the name; of a request: it selects none."""
    verb: str

    def allows(self, need: "Right") -> bool:
        """Whether who has this right may do what is needed."""
        return (
            (self.group, self.resource, self.verb) == (need.group, need.resource, need.verb)
            and self.namespace in ("", need.namespace)
            and self.name in ("", need.name)
        )


def given(objects: Sequence[Object], account: str) -> Iterator[Right]:
    """Every right that bindings give to a service account, such as ``python-ingress/name``."""
    by_key = {key_of(obj): obj for obj in objects}
    for obj in objects:
        if obj["kind"] not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        if account not in [_account(subject) for subject in obj["subjects"]]:
            continue
        namespace = obj["metadata"].get("namespace", "")
        role = obj["roleRef"]
        where = "" if role["kind"] == "ClusterRole" else namespace
        for rule in by_key[role["kind"], where, role["name"]]["rules"]:
            yield from _rights(rule, namespace)


def _account(subject: Mapping[str, str]) -> str:
    return (
        f"{subject['namespace']}/{subject['name']}" if subject["kind"] == "ServiceAccount" else ""
    )


def _rights(rule: Object, namespace: str) -> Iterator[Right]:
    if unknown := rule.keys() - {"apiGroups", "resources", "resourceNames", "verbs"}:
        raise ValueError(f"{unknown} is not known here")
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            for name in rule.get("resourceNames", [""]):
                for verb in rule["verbs"]:
                    if "*" in (group, resource, verb):
                        raise ValueError(f"a wildcard gives more than anybody can count: {rule}")
                    yield Right(namespace, group, resource, name, verb)


def needed(request: Request) -> Right | None:
    """What a request needs; None for paths that everybody may ask for.

    `list` and `watch` have the name that a field selector chooses (Kubernetes documentation,
    "Using RBAC Authorization", referring to resources); `create` has none.
    """
    target = Target.of(request)
    if target is None:
        if request.path in ("/version", "/readyz", "/healthz", "/livez"):
            return None
        raise ValueError(f"{request.method} {request.path} is not known here")
    name = "" if target.verb == "create" else target.name
    if target.verb in ("list", "watch"):
        selected = request.query.get("fieldSelector", "").split(",")
        names = [part.partition("=")[2] for part in selected if part.startswith("metadata.name=")]
        name = names[0].lstrip("=") if names else ""
    resource = f"{target.kind.plural}/{target.part}" if target.part else target.kind.plural
    return Right(target.namespace, target.kind.group, resource, name, target.verb)
