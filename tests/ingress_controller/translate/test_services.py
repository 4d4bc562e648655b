"""Services: ports by name and number, every type, ExternalName with its guards, appProtocol."""

import pytest

from ingress_controller.translate.options import Options
from router.model.snapshot import Answer
from router.model.upstreams import Endpoint, Upstream
from tests.ingress_controller.translate.manifest import (
    backend,
    codes,
    endpoints,
    ingress,
    matched,
    only,
    outcome,
    service,
    slices,
    translated,
)

TWO_PORTS = "{port: 80, name: http, targetPort: 8080}, {port: 9000, name: admin, targetPort: adm}"
EXTERNAL = Options(allow_external_name=True)


def to(name: str, port: str) -> str:
    """An Ingress that sends everything to one backend."""
    return ingress("web", f"defaultBackend: {backend(name, port)}")


@pytest.mark.parametrize(
    ("port", "key", "shown"),
    [
        pytest.param("number: 80", "default/web:80", "http", id="by number"),
        pytest.param("name: http", "default/web:80", "http", id="by name"),
        pytest.param("name: admin", "default/web:9000", "admin", id="the other by name"),
        pytest.param("number: 9000", "default/web:9000", "admin", id="the other by number"),
    ],
)
def test_a_port_is_found_by_name_and_by_number(port: str, key: str, shown: str) -> None:
    snapshot = translated(service("web", TWO_PORTS) + to("web", port)).snapshot
    assert snapshot.upstreams == {key: Upstream(key, "default", "web", shown)}


def test_an_unnamed_port_is_called_by_its_number() -> None:
    snapshot = translated(service("web", "{port: 80}") + to("web", "number: 80")).snapshot
    assert snapshot.upstreams["default/web:80"].port == "80"


@pytest.mark.parametrize(
    ("port", "remedy"),
    [
        pytest.param("number: 8080", "the Service's own port, 80 (http)", id="a target port"),
        pytest.param("name: adm", "the Service's own port, 9000 (admin)", id="its name"),
        pytest.param("name: HTTP", "write 'http'", id="capitals"),
        pytest.param('name: "80"', "write port.number: 80", id="a number as name"),
        pytest.param("number: 81", "80 (http), 9000 (admin)", id="unknown"),
    ],
)
def test_a_missing_port_answers_503_and_says_what_to_write(port: str, remedy: str) -> None:
    translation = translated(service("web", TWO_PORTS) + to("web", port))
    found = only(translation, "service-port-missing")
    assert found.severity == "error"
    assert found.field == "spec.defaultBackend.service.port"
    assert remedy in found.remedy
    assert outcome(translation.snapshot, "x.test", "/") == "503"
    assert translation.snapshot.upstreams == {}


@pytest.mark.parametrize(
    ("port", "reason"),
    [
        pytest.param("", "neither a name nor a number", id="none"),
        pytest.param("name: http, number: 80", "both a name and a number", id="both"),
    ],
)
def test_a_port_that_is_not_one_thing_answers_503(port: str, reason: str) -> None:
    translation = translated(service("web") + to("web", port))
    assert reason in only(translation, "backend-invalid").message
    assert outcome(translation.snapshot, "x.test", "/") == "503"


def test_a_udp_port_carries_no_http() -> None:
    udp = "{port: 53, name: dns, protocol: UDP}, {port: 53, name: dns-tcp}"
    by_number = translated(service("web", udp) + to("web", "number: 53"))
    assert by_number.snapshot.upstreams["default/web:53"].port == "dns-tcp"
    by_name = translated(service("web", udp) + to("web", "name: dns"))
    assert "is UDP, not TCP" in only(by_name, "service-port-missing").message


def test_a_missing_service_answers_503_with_its_reason() -> None:
    translation = translated(to("web", "number: 80"))
    route = matched(translation.snapshot, "x.test", "/")
    assert route is not None
    assert route.action == Answer(503, "there is no Service web in namespace default")
    assert only(translation, "service-missing").severity == "error"


def test_a_service_of_another_namespace_is_not_reached_but_named() -> None:
    translation = translated(service("web", ns="shop") + to("web", "number: 80"))
    found = only(translation, "service-missing")
    assert "exists in namespace shop" in found.remedy
    assert outcome(translation.snapshot, "x.test", "/") == "503"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{resource: {kind: Bucket, name: b, apiGroup: x.dev}}", id="resource"),
        pytest.param("{}", id="nothing"),
        pytest.param(
            "{resource: {kind: B, name: b}, service: {name: web, port: {number: 80}}}", id="both"
        ),
    ],
)
def test_a_backend_that_is_no_service_is_a_diagnosed_dead_path(text: str) -> None:
    dead = f"{{path: /dead, pathType: Prefix, backend: {text}}}"
    alive = f"{{path: /, pathType: Prefix, backend: {backend('web')}}}"
    translation = translated(
        service("web") + ingress("web", f"rules: [{{http: {{paths: [{dead}, {alive}]}}}}]")
    )
    assert outcome(translation.snapshot, "x.test", "/dead/x") == "503"
    assert outcome(translation.snapshot, "x.test", "/x") == "web"
    assert codes(translation)[0] in ("backend-resource", "backend-invalid")


@pytest.mark.parametrize(
    "more",
    [
        pytest.param("type: ClusterIP, clusterIP: 10.96.0.1", id="ClusterIP"),
        pytest.param("type: NodePort", id="NodePort"),
        pytest.param("type: LoadBalancer", id="LoadBalancer"),
        pytest.param("clusterIP: None", id="headless"),
        pytest.param("selector: {app: web}", id="with a selector"),
        pytest.param("selector: null", id="without a selector"),
    ],
)
def test_every_type_of_service_is_served_by_its_endpoints(more: str) -> None:
    text = service("web", more=more) + slices("web", "{addresses: [10.0.0.1]}")
    translation = translated(text + to("web", "number: 80"))
    assert endpoints(translation.snapshot, "default/web:80") == [Endpoint("10.0.0.1", 8080)]
    assert translation.diagnostics == ()


def external(name: str, ports: str = "{port: 80}") -> str:
    return service("ext", ports, more=f'type: ExternalName, externalName: "{name}"')


def test_an_external_name_is_off_by_default() -> None:
    translation = translated(external("api.example.com") + to("ext", "number: 80"))
    assert outcome(translation.snapshot, "x.test", "/") == "503"
    assert "--allow-external-name" in only(translation, "external-name-off").remedy
    assert translation.snapshot.endpoints == {}


@pytest.mark.parametrize(
    ("ports", "port", "expected"),
    [
        pytest.param("{port: 80}", "number: 80", 80, id="by number"),
        pytest.param("{port: 81, name: http}", "name: http", 81, id="by name"),
        pytest.param("", "number: 8443", 8443, id="without ports the number counts"),
    ],
)
def test_an_external_name_is_its_own_endpoint(ports: str, port: str, expected: int) -> None:
    translation = translated(external("API.example.com.", ports) + to("ext", port), EXTERNAL)
    key = f"default/ext:{expected}"
    assert endpoints(translation.snapshot, key) == [Endpoint("api.example.com", expected)]
    assert translation.diagnostics == ()


def test_slices_of_an_external_name_do_not_count() -> None:
    text = external("api.example.com") + slices("ext", "{addresses: [10.0.0.1]}", "{port: 80}")
    snapshot = translated(text + to("ext", "number: 80"), EXTERNAL).snapshot
    assert endpoints(snapshot, "default/ext:80") == [Endpoint("api.example.com", 80)]


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "localhost", "LOCALHOST.", "foo.localhost", "localhost.localdomain", "ip6-localhost",
        "127.0.0.1", "127.1", "0x7f000001", "0x7f.1", "2130706433", "017700000001", "0177.0.0.1",
        "0", "0.0.0.0", "::1", "[::1]", "::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1",
        "::", "169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200",
        "metadata.google.internal", "metadata", "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local", "224.0.0.1", "", "a b", "exa_mple..com", "-a.com",
        "http://api.example.com", "api.example.com:80", "a/b", "x" * 254,
    ],
)  # fmt: skip
def test_a_guarded_external_name_is_refused_whatever_the_options(name: str, local: bool) -> None:
    options = Options(allow_external_name=True, allow_local_endpoints=local)
    translation = translated(external(name) + to("ext", "number: 80"), options)
    assert outcome(translation.snapshot, "x.test", "/") == "503"
    assert only(translation, "external-name-refused").severity == "error"
    assert translation.snapshot.endpoints == {}


@pytest.mark.parametrize("name", ["a.example", "web.other.svc.cluster.local", "1a.example", "x0"])
def test_a_harmless_external_name_is_served(name: str) -> None:
    snapshot = translated(external(name) + to("ext", "number: 80"), EXTERNAL).snapshot
    assert endpoints(snapshot, "default/ext:80") == [Endpoint(name, 80)]


@pytest.mark.parametrize(
    ("protocol", "answer", "code"),
    [
        pytest.param("", "web", None, id="unset"),
        pytest.param("http", "web", None, id="http"),
        pytest.param("HTTP", "web", None, id="capitals"),
        pytest.param("kubernetes.io/ws", "web", None, id="ws"),
        pytest.param("kubernetes.io/h2c", "web", "protocol-degraded", id="h2c"),
        pytest.param("grpc", "web", "protocol-degraded", id="grpc"),
        pytest.param("redis", "web", "protocol-degraded", id="unknown"),
        pytest.param("https", "web", None, id="https"),
        pytest.param("kubernetes.io/wss", "web", None, id="wss"),
    ],
)
def test_the_protocol_is_taken_from_the_service_port(
    protocol: str, answer: str, code: str | None
) -> None:
    ports = f'{{port: 80, name: http, appProtocol: "{protocol}"}}'
    translation = translated(
        service("web", ports) + slices("web", "{addresses: [10.0.0.1]}") + to("web", "number: 80")
    )
    assert outcome(translation.snapshot, "x.test", "/") == answer
    assert codes(translation) == ([code] if code else [])
