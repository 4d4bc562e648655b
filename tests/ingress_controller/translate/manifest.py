"""Objects, translations and answers from manifests written in a test."""

from textwrap import dedent

from ingress_controller.objects.decode import Undecodable, decode
from ingress_controller.sources.documents import read_yaml
from ingress_controller.store import KubernetesObject
from ingress_controller.translate.diagnostics import Diagnostic
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import HOST_SET, Translation, translate
from router.match.hosts import normalise_host
from router.match.paths import CanonicalPath, canonical_path
from router.match.table import Table
from router.model.snapshot import Answer, HostPattern, Route, Snapshot
from router.model.upstreams import Endpoint


def objects(text: str) -> list[KubernetesObject]:
    """The objects of a YAML text; every document must be one."""
    found = []
    for document in read_yaml(dedent(text).encode()).documents:
        item = decode(document.value)
        assert item is not None, f"no object: {document.value}"
        assert not isinstance(item, Undecodable), item
        found.append(item)
    return found


def translated(text: str, options: Options | None = None) -> Translation:
    """The translation of a YAML text."""
    return translate(objects(text), options or Options())


def ingress(name: str, spec: str, *, namespace: str = "default", extra: str = "") -> str:
    """A document with an Ingress of our class; ``spec`` is YAML in flow style."""
    return (
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\n"
        f"metadata: {{name: {name}, namespace: {namespace}{', ' if extra else ''}{extra}}}\n"
        f"spec: {{ingressClassName: python, {spec}}}\n"
    )


def backend(service: str, port: str = "number: 80") -> str:
    """A backend in flow style."""
    return f"{{service: {{name: {service}, port: {{{port}}}}}}}"


def path(kind: str, written: str, service: str = "web", port: str = "number: 80") -> str:
    """A path in flow style."""
    return f'{{path: "{written}", pathType: {kind}, backend: {backend(service, port)}}}'


def rule(host: str, *paths: str) -> str:
    """A rule in flow style; an empty host is left out."""
    parts = [f'host: "{host}"'] if host else []
    if paths:
        parts.append(f"http: {{paths: [{', '.join(paths)}]}}")
    return f"{{{', '.join(parts)}}}"


def service(
    name: str, ports: str = "{port: 80, name: http}", more: str = "", ns: str = "default"
) -> str:
    """A document with a Service."""
    return (
        f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {ns}}}\n"
        f"spec: {{ports: [{ports}]{', ' if more else ''}{more}}}\n"
    )


def slices(
    name: str,
    endpoints: str,
    ports: str = "{name: http, port: 8080}",
    address_type: str = "IPv4",
    suffix: str = "x",
) -> str:
    """A document with an EndpointSlice of a Service."""
    return (
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
        f"metadata: {{name: {name}-{suffix}, labels: {{kubernetes.io/service-name: {name}}}}}\n"
        f"addressType: {address_type}\nports: [{ports}]\nendpoints: [{endpoints}]\n"
    )


def _itself(pattern: HostPattern, route: Route) -> Route:
    return route


def matched(snapshot: Snapshot, host: str, request_path: str) -> Route | None:
    """The route that takes a request: the walk of the workers."""
    name = normalise_host(host.encode())
    assert name is not None
    canonical = canonical_path(request_path.encode())
    assert isinstance(canonical, CanonicalPath)
    routes = Table.of(snapshot, _itself).hosts_for(HOST_SET).find_host(name)
    return None if routes is None else routes.find(canonical.match)


def outcome(snapshot: Snapshot, host: str, request_path: str) -> str:
    """What a request meets: the name of a Service, ``404``, or the status of a fixed answer."""
    route = matched(snapshot, host, request_path)
    if route is None:
        return "404"
    if isinstance(route.action, Answer):
        return str(route.action.status)
    return snapshot.upstreams[route.action.backends[0].upstream].service


def endpoints(snapshot: Snapshot, upstream: str) -> list[Endpoint]:
    """The endpoints of an upstream."""
    return list(snapshot.endpoints[upstream].endpoints)


def codes(translation: Translation) -> list[str]:
    """The codes of all diagnostics, in order."""
    return [str(found.code) for found in translation.diagnostics]


def only(translation: Translation, code: str) -> Diagnostic:
    """The one diagnostic with a code."""
    found = [item for item in translation.diagnostics if item.code == code]
    assert len(found) == 1, translation.diagnostics
    return found[0]
