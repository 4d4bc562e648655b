"""`explain` and the proxy say the same about generated Ingresses and requests.

The proxy is the data plane itself, from the bytes of the request to the endpoint that would be
dialled: runtime, decoder, exchange and pools, with transports that only take bytes.
"""

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingress_controller.explain.explanation import Explanation
from ingress_controller.explain.walk import explain
from ingress_controller.objects.ingress import (
    Backend,
    HTTPPath,
    HTTPRule,
    Ingress,
    IngressSpec,
    Rule,
    ServiceBackend,
    ServiceBackendPort,
)
from ingress_controller.objects.meta import ObjectMeta
from ingress_controller.objects.service import Service, ServicePort, ServiceSpec
from ingress_controller.objects.slices import (
    SERVICE_NAME_LABEL,
    EndpointConditions,
    EndpointSlice,
    SliceEndpoint,
    SlicePort,
)
from ingress_controller.store import KubernetesObject, ObjectChange, key_of
from ingress_controller.translate.options import Options as TranslationOptions
from ingress_controller.translate.translator import LISTENER, Translator
from router.exchange import Exchange
from router.io.downstream import ClientConnection
from router.io.hub import Hub
from router.model.limits import Limits
from router.model.wire import Options
from router.pool import Target
from router.runtime import Runtime
from router.steps import at_once
from tests.properties.tables import NAMES, WRITTEN, sent_hosts, sent_paths
from tls.contexts import ServerContexts
from tls.upstream import UpstreamContexts

# -- objects -----------------------------------------------------------------------------------

_READY = EndpointConditions(ready=True)
_NOT_READY = EndpointConditions(ready=False)
_LEAVING = EndpointConditions(ready=False, serving=True, terminating=True)
_ENDPOINTS = {
    "web": (_READY, _READY, _NOT_READY),
    "leaving": (_LEAVING, _NOT_READY),
    "mixed": (_READY, _LEAVING),
    "down": (_NOT_READY,),
    "empty": (),
}


def _services() -> list[KubernetesObject]:
    found: list[KubernetesObject] = []
    for index, (name, conditions) in enumerate(_ENDPOINTS.items()):
        meta = ObjectMeta(name=name, namespace="n", labels={SERVICE_NAME_LABEL: name})
        found.append(Service(meta, ServiceSpec(ports=(ServicePort(80),))))
        endpoints = tuple(
            SliceEndpoint((f"192.0.2.{index * 16 + number + 1}",), condition)
            for number, condition in enumerate(conditions)
        )
        found.append(EndpointSlice(meta, endpoints=endpoints, ports=(SlicePort("", 8080),)))
    return found


_SERVICES = _services()
_BACKENDS = [
    Backend(ServiceBackend(name, ServiceBackendPort(number=80)))
    for name in (*_ENDPOINTS, "missing")
]

http_paths = st.sampled_from(
    [
        HTTPPath(backend, written, kind)
        for backend in _BACKENDS
        for written in WRITTEN
        for kind in ("Exact", "Prefix", "ImplementationSpecific")
    ]
)
rules = st.builds(
    Rule,
    host=st.sampled_from(["", *NAMES, *(f"*.{name}" for name in NAMES)]),
    http=st.one_of(st.none(), st.builds(HTTPRule, st.lists(http_paths, max_size=5).map(tuple))),
)
specs = st.builds(
    IngressSpec,
    ingress_class_name=st.sampled_from(["python", "python", "python", "other"]),
    default_backend=st.sampled_from([None, None, *_BACKENDS]),
    rules=st.lists(rules, max_size=3).map(tuple),
)
ingresses = st.lists(specs, min_size=1, max_size=3).map(
    lambda each: [
        Ingress(ObjectMeta(name=f"i{index}", namespace="n"), spec)
        for index, spec in enumerate(each)
    ]
)


class Request(NamedTuple):
    """What a client sends."""

    method: str
    host: str
    target: str
    fields: tuple[str, ...]


requests = st.builds(
    Request,
    method=st.sampled_from(["GET"] * 6 + ["POST", "HEAD", "TRACE", "CONNECT", "get", "FETCH"]),
    host=st.one_of(sent_hosts, st.sampled_from(["a..b", "A.B", "a.b,b", "a:0", "[::1]:80", "a/b"])),
    target=st.one_of(
        sent_paths,
        st.tuples(sent_paths, st.sampled_from(["?q", "?", "?a=%2F"])).map("".join),
        st.sampled_from(["/..", "/%2e%2e%2fa", "/%zz", "/\\", "/a;b", "/é"]),
    ),
    fields=st.sampled_from(
        [()] * 6
        + [
            ("Content-Length: 2",),
            ("Content-Length: 999",),
            ("Content-Length: 2", "Transfer-Encoding: chunked"),
            ("Host: b",),
            ("X : y",),
            ("Expect: 200-ok",),
            ("Upgrade: websocket", "Connection: upgrade"),
        ]
    ),
)

# -- the proxy ---------------------------------------------------------------------------------


class Transport:
    """Takes bytes."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def get_extra_info(self, name: str) -> tuple[str, int] | None:
        return ("192.0.2.254", 4711) if name == "peername" else None

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None: ...

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Dialler:
    """Notes what would be dialled."""

    def __init__(self) -> None:
        self.target: Target | None = None
        self.exchange: Exchange | None = None

    def dial(self, target: Target, exchange: Exchange) -> None:
        self.target, self.exchange = target, exchange


class Outcome(NamedTuple):
    """What the proxy did with a request."""

    status: int | None
    """None: it was sent on."""
    address: str
    route: tuple[str, str] | None
    """Ingress and field of the route."""


def proxied(runtime: Runtime, request: Request, translator: Translator) -> Outcome:
    """What the data plane does with the bytes of a request."""
    defects: list[object] = []
    hub = Hub(
        runtime=runtime,
        max_clients=10,
        contexts=ServerContexts(openssl=None, secret=None),
        upstream_contexts=UpstreamContexts(openssl=None),
        log=lambda *said: defects.append(said),
    )
    dialler, transport = Dialler(), Transport()
    client = ClientConnection(hub, dialler, translator.snapshot.listeners[LISTENER])
    client.connection_made(transport)  # type: ignore[arg-type]
    lines = [
        f"{request.method} {request.target} HTTP/1.1",
        f"Host: {request.host}",
        *request.fields,
        "",
        "",
    ]
    client.data_received("\r\n".join(lines).encode())
    client.connection_lost(None)
    assert defects == []
    if dialler.target is None or dialler.exchange is None:
        assert transport.written.startswith(b"HTTP/1.1 ")
        return Outcome(int(transport.written[9:12]), "", None)
    assert transport.written == b""
    assert dialler.exchange.route is not None
    origin = dialler.exchange.route.route.origin
    name = f"{origin.kind} {origin.namespace}/{origin.name}"
    return Outcome(None, dialler.target.name, (name, origin.field))


def agree(told: Explanation, did: Outcome) -> None:
    """The explanation tells what the proxy did."""
    assert told.verdict.status == did.status
    assert told.served == (did.status is None or did.status < 400)
    winners = [(route.object, route.field) for route in told.routes if route.won]
    if did.status is None:
        assert winners == [did.route]
        eligible = [
            endpoint.address
            for upstream in told.upstreams
            for endpoint in upstream.endpoints
            if endpoint.eligible
        ]
        assert did.address in eligible
    elif did.status == 404:
        assert winners == []
    elif did.status == 503:
        assert len(winners) == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=10_000, deadline=None)
@given(ingresses, st.lists(requests, min_size=2, max_size=2))
def test_explanations_tell_what_the_proxy_does(
    objects: list[Ingress], asked: list[Request]
) -> None:
    translator = Translator(TranslationOptions())
    translator.update(ObjectChange(key_of(item), item) for item in (*objects, *_SERVICES))
    limits = Limits(max_body_size=100)
    runtime = Runtime(
        limits=limits,
        options=Options(),
        access_log=None,
        clock=lambda: 0.0,
        wall_clock=lambda: 0.0,
        random_bits=lambda bits: 0,
    )
    at_once(runtime.loading(translator.snapshot))
    for request in asked:
        told = explain(
            translator,
            url=f"http://{request.host}{request.target}",
            method=request.method,
            headers=(f"Host: {request.host}", *request.fields),
            limits=limits,
        )
        agree(told, proxied(runtime, request, translator))
