"""Whatever stands in an object, the translation answers: with routes, or with diagnostics."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ingress_controller.objects.decode import Undecodable, decode
from ingress_controller.store import KubernetesObject
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import HOST_SET, translate
from router.match.table import Table
from router.model import wire
from router.model.snapshot import HostPattern, Route

TEXT = st.text(max_size=12) | st.sampled_from(["web", "a.test", "*.a.test", "/", "/a", "http"])
NUMBER = st.integers(-(2**70), 2**70) | st.sampled_from([0, 80, 65535, 65536])
ANY = st.none() | st.booleans() | NUMBER | TEXT | st.lists(TEXT, max_size=2)
OPTIONS = Options(
    allow_external_name=True,
    allow_shared_hosts=False,
    config="default/web",
    https=True,
    watch_ingress_without_class=True,
)


def mapping(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Each field is there or not, and sometimes of a wrong kind."""
    return st.fixed_dictionaries({}, optional={name: value | ANY for name, value in fields.items()})


def many(items: st.SearchStrategy[object]) -> st.SearchStrategy[list[object]]:
    return st.lists(items, max_size=3)


PORT = mapping(name=TEXT, number=NUMBER)
SERVICE_BACKEND = mapping(name=st.just("web"), port=PORT)
BACKEND = mapping(service=SERVICE_BACKEND, resource=mapping(kind=TEXT, name=TEXT))
KINDS = st.sampled_from(["Exact", "Prefix", "ImplementationSpecific"]) | TEXT
RULE = mapping(
    host=TEXT, http=mapping(paths=many(mapping(path=TEXT, pathType=KINDS, backend=BACKEND)))
)
SPECS = {
    ("networking.k8s.io/v1", "Ingress"): mapping(
        defaultBackend=BACKEND, rules=many(RULE), tls=many(mapping(hosts=many(TEXT)))
    ),
    ("networking.k8s.io/v1", "IngressClass"): mapping(
        controller=st.just("python-ingress.dev/controller") | TEXT,
        parameters=mapping(
            kind=st.just("ConfigMap"),
            scope=st.just("Namespace") | TEXT,
            namespace=st.just("default") | TEXT,
            name=st.just("web") | TEXT,
        ),
    ),
    ("v1", "Service"): mapping(
        type=st.just("ExternalName") | TEXT,
        externalName=TEXT,
        ports=many(mapping(name=TEXT, port=NUMBER, appProtocol=TEXT, targetPort=NUMBER | TEXT)),
    ),
}
META = st.fixed_dictionaries(
    {"name": st.just("web") | TEXT},
    optional={
        "annotations": st.dictionaries(
            TEXT | st.just("python-ingress.dev/allow-hosts-from"), TEXT | ANY, max_size=2
        ),
        "labels": st.just({"kubernetes.io/service-name": "web"}),
        "creationTimestamp": st.just("2024-01-01T00:00:00Z") | TEXT,
        "namespace": st.just("default") | TEXT,
    },
)
SLICES = st.fixed_dictionaries(
    {
        "apiVersion": st.just("discovery.k8s.io/v1"),
        "kind": st.just("EndpointSlice"),
        "metadata": META,
    },
    optional={
        "addressType": st.sampled_from(["IPv4", "IPv6"]) | TEXT,
        "ports": many(mapping(name=TEXT, port=NUMBER)),
        "endpoints": many(mapping(addresses=many(TEXT), conditions=mapping(ready=st.booleans()))),
    },
)
CONFIG_MAPS = st.fixed_dictionaries(
    {"apiVersion": st.just("v1"), "kind": st.just("ConfigMap"), "metadata": META},
    optional={
        "data": st.dictionaries(
            st.sampled_from(["ssl-redirect", "hsts-max-age", "tls-profile"]) | TEXT, TEXT | ANY
        )
    },
)
DOCUMENTS = (SLICES | CONFIG_MAPS) | st.one_of(
    [
        st.fixed_dictionaries(
            {"apiVersion": st.just(version), "kind": st.just(kind), "metadata": META, "spec": spec}
        )
        for (version, kind), spec in SPECS.items()
    ]
)


def itself(pattern: HostPattern, route: Route) -> Route:
    return route


@given(st.lists(DOCUMENTS, max_size=8))
@settings(max_examples=300, deadline=None)
def test_no_object_stops_the_translation(documents: list[dict[str, object]]) -> None:
    objects: list[KubernetesObject] = []
    for document in documents:
        found = decode(document)
        if isinstance(found, Undecodable):
            assert found.message
        elif found is not None:
            objects.append(found)
    snapshot, diagnostics = translate(objects, OPTIONS)
    assert wire.decode_to_worker(wire.frame(wire.Load(snapshot))[4:]) == wire.Load(snapshot)
    Table.of(snapshot, itself).hosts_for(HOST_SET)
    for upstream in snapshot.endpoints.values():
        assert all(0 < endpoint.port < 65536 for endpoint in upstream.endpoints)
    for diagnostic in diagnostics:
        assert len(diagnostic.message) < 1000
    msgspec.json.encode(diagnostics)
