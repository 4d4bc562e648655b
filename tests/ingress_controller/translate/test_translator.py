"""Any sequence of changes ends in what a translation from scratch gives (DESIGN rule 11)."""

import random
from datetime import UTC, datetime
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ingress_controller.objects import ingress as i
from ingress_controller.objects.config import ConfigMap, Kept, Secret
from ingress_controller.objects.meta import ObjectKey, ObjectMeta
from ingress_controller.objects.service import Service, ServicePort, ServiceSpec
from ingress_controller.objects.slices import (
    EndpointAddress,
    EndpointConditions,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    SliceEndpoint,
    SlicePort,
)
from ingress_controller.store import KubernetesObject, ObjectChange, key_of
from ingress_controller.translate.annotations.unused import SOLVER_LABEL
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Translator, translate
from router.model.apply import apply_delta
from router.model.snapshot import Answer, HttpsRules, Passthrough, Snapshot, Terminate
from tests.ingress_controller.translate.tls_objects import (
    authorities_pem,
    https_options,
    issued,
    pair_secret,
    secret,
)

T = TypeVar("T")

# Few names, so that objects meet: conflicts, missing Services, namesakes in other namespaces.
NAMESPACES = st.sampled_from(["red", "red", "blue"])
SERVICES = st.sampled_from(["web", "web", "api", "db"])
PORT_NAMES = st.sampled_from(["http", "http", "", "admin"])
PORT_NUMBERS = st.sampled_from([80, 80, 8080])
TIMES = st.none() | st.integers(0, 3).map(lambda s: datetime.fromtimestamp(1e9 + s, UTC))
CLASS_NAMES = st.sampled_from(["python", "python", "python", "", "ours", "other", "nginx"])


def several(items: st.SearchStrategy[T], most: int = 3) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(items, max_size=most).map(tuple)


SOLVERS = st.sampled_from([{}, {}, {}, {SOLVER_LABEL: "true"}])


def metas(
    names: st.SearchStrategy[str], annotations: st.SearchStrategy[dict[str, str]] | None = None
) -> st.SearchStrategy[ObjectMeta]:
    return st.builds(
        ObjectMeta,
        names,
        NAMESPACES,
        SOLVERS,
        annotations=st.just({}) if annotations is None else annotations,
        creation_timestamp=TIMES,
    )


PORTS = st.sampled_from([("http", 0), ("", 80), ("admin", 0), ("", 8080), ("http", 80)]).map(
    lambda port: i.ServiceBackendPort(*port)
)
BACKENDS = st.builds(
    i.Backend, st.none() | st.builds(i.ServiceBackend, SERVICES, PORTS)
) | st.builds(i.Backend, st.none(), st.just(i.ResourceBackend("Bucket", "b")))
PATHS = st.builds(
    i.HTTPPath,
    BACKENDS,
    st.sampled_from(["/a", "/a/", "/%61", "/", "", "bad", "/.well-known/acme-challenge/t"]),
    st.sampled_from(["Prefix", "ImplementationSpecific", "Exact", "prefix"]),
)
RULES = st.builds(
    i.Rule,
    st.sampled_from(["a.test", "A.test", "", "*.test", "bad:80"]),
    st.none() | st.builds(i.HTTPRule, several(PATHS)),
)
SPECS = st.builds(
    i.IngressSpec,
    CLASS_NAMES,
    st.none() | BACKENDS,
    several(RULES),
    several(
        st.builds(
            i.IngressTLS,
            several(st.sampled_from(["a.test", "a.test", "*.test", "bad:80"]), 2),
            st.sampled_from(["s1", "s1", "s2", ""]),
        ),
        2,
    ),
)
OURS, THEIRS = "python-ingress.dev/", "nginx.ingress.kubernetes.io/"
ANNOTATIONS = st.dictionaries(
    st.sampled_from(
        [
            OURS + "allow-hosts-from",
            OURS + "allow-hosts-from",
            OURS + "auth-tls-secret",
            OURS + "auth-tls-configmap",
            OURS + "tls-profile",
            OURS + "nonsense",
            THEIRS + "auth-tls-secret",
            THEIRS + "auth-tls-verify-client",
            THEIRS + "backend-protocol",
            THEIRS + "force-ssl-redirect",
            THEIRS + "proxy-ssl-secret",
            THEIRS + "proxy-ssl-verify",
            THEIRS + "ssl-passthrough",
            THEIRS + "ssl-redirect",
        ]
    ),
    st.sampled_from(
        ["s1", "s1", "s2", "true", "true", "false", "on", "off", "HTTPS", "modern", "blue", "*"]
    ),
    max_size=3,
)
INGRESSES = st.builds(
    i.Ingress,
    metas(st.sampled_from(["one", "two", "three"]), st.just({}) | ANNOTATIONS),
    SPECS,
)


def _secrets() -> list[Secret]:
    """Few, so that hosts share them: good and bad, with and without authorities, kept or not."""
    kept = Kept(2_000_000_000, deleted=True, reason="", field="")
    found = []
    for namespace in ("red", "blue"):
        for name in ("s1", "s2"):
            ca = authorities_pem()
            found += [
                pair_secret(name, "a.test", namespace=namespace),
                pair_secret(name, "a.test", namespace=namespace, serial=1, ca_crt=ca),
                pair_secret(name, "a.test", namespace=namespace, kept=kept),
                pair_secret(name, "*.test", "x", namespace=namespace, algorithm="rsa"),
                secret(name, namespace=namespace, ca_crt=authorities_pem("another authority")),
                secret(name, namespace=namespace, ca_crt=ca, other="x"),
                secret(name, namespace=namespace, tls_crt="garbage", tls_key=b"", ca_crt=b"x"),
                secret(
                    name,
                    namespace=namespace,
                    tls_crt=issued(("a.test",), "ecdsa", 0)[0],
                    tls_key=issued(("a.test",), "ecdsa", 1)[1],
                ),
            ]
    return found


SECRETS = st.sampled_from(_secrets())
CONFIG_MAPS = st.builds(
    ConfigMap,
    st.builds(ObjectMeta, st.sampled_from(["s1", "s2"]), st.just("red")),
    st.sampled_from(
        [
            {},
            {"ca.crt": authorities_pem().decode()},
            {"ca.crt": "garbage"},
            {"ssl-redirect": "false", "hsts": "true"},
            {"tls-profile": "modern", "force-ssl-redirect": "true"},
            {"tls-profile": "odd", "nonsense": "x"},
        ]
    ),
)
CLASSES = st.builds(
    i.IngressClass,
    st.builds(
        ObjectMeta,
        st.sampled_from(["python", "ours", "other"]),
        annotations=st.sampled_from([{}, {"ingressclass.kubernetes.io/is-default-class": "true"}]),
    ),
    st.builds(
        i.IngressClassSpec,
        st.sampled_from(["python-ingress.dev/controller", "x.dev/y"]),
        st.none()
        | st.builds(
            i.ClassParameters,
            st.just("ConfigMap"),
            st.sampled_from(["s1", "s2"]),
            scope=st.sampled_from(["Namespace", "Namespace", "Cluster"]),
            namespace=st.just("red"),
        ),
    ),
)
SERVICE_OBJECTS = st.builds(
    Service,
    metas(SERVICES),
    st.builds(
        ServiceSpec,
        st.sampled_from(["ClusterIP", "ClusterIP", "ExternalName"]),
        ports=several(
            st.builds(
                ServicePort,
                PORT_NUMBERS,
                PORT_NAMES,
                st.sampled_from(["TCP", "TCP", "TCP", "UDP"]),
                st.sampled_from(["", "", "https", "grpc"]),
            )
        ),
        external_name=st.sampled_from(["x.example", "localhost"]),
    ),
)
CONDITIONS = st.builds(EndpointConditions, *([st.sampled_from([None, True, False])] * 3))
ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.0.2", "127.0.0.1", "fd00::1", "FD00:0::1", "bad"])
SLICE_PORTS = st.builds(SlicePort, PORT_NAMES, st.sampled_from([8080, 8080, None]))
SLICES = st.builds(
    EndpointSlice,
    st.builds(
        ObjectMeta,
        st.sampled_from(["s1", "s2", "s3"]),
        NAMESPACES,
        SERVICES.map(lambda name: {"kubernetes.io/service-name": name}),
    ),
    st.sampled_from(["IPv4", "IPv4", "FQDN"]),
    several(st.builds(SliceEndpoint, several(ADDRESSES, 2), CONDITIONS)),
    several(SLICE_PORTS),
)
IPS = several(st.builds(EndpointAddress, ADDRESSES))
ENDPOINTS = st.builds(
    Endpoints,
    metas(SERVICES),
    several(st.builds(EndpointSubset, IPS, IPS, several(SLICE_PORTS))),
)
OBJECTS = st.one_of(
    INGRESSES,
    INGRESSES,
    SERVICE_OBJECTS,
    SLICES,
    ENDPOINTS,
    CLASSES,
    SECRETS,
    SECRETS,
    CONFIG_MAPS,
)
OPTIONS = st.builds(
    Options,
    https=st.sampled_from([True, True, False]),
    default_certificate=st.just(https_options().default_certificate),
    default_tls_secret=st.sampled_from(["", "red/s1"]),
    ssl_redirect=st.booleans(),
    hsts=st.sampled_from(["", "max-age=1"]),
    config=st.sampled_from(["", "red/s2"]),
    watch_ingress_without_class=st.booleans(),
    allow_external_name=st.booleans(),
    allow_local_endpoints=st.booleans(),
    allow_shared_hosts=st.booleans(),
    catch_all_namespaces=st.sampled_from([(), (), ("red",)]),
)


_META = ObjectMeta("web", "red")
WORKING: list[KubernetesObject] = [
    i.Ingress(
        ObjectMeta("zero", "red"),
        i.IngressSpec(
            "python",
            i.Backend(i.ServiceBackend("web", i.ServiceBackendPort("http"))),
            (i.Rule("a.test"),),
            (i.IngressTLS(("a.test",), "s1"),),
        ),
    ),
    i.Ingress(
        ObjectMeta(
            "verified",
            "red",
            annotations={
                OURS + "auth-tls-secret": "s2",
                OURS + "backend-protocol": "HTTPS",
                OURS + "proxy-ssl-secret": "s2",
            },
        ),
        i.IngressSpec(
            "python",
            i.Backend(i.ServiceBackend("web", i.ServiceBackendPort("http"))),
            (i.Rule("clients.test"),),
        ),
    ),
    i.Ingress(
        ObjectMeta("passed", "red", annotations={THEIRS + "ssl-passthrough": "true"}),
        i.IngressSpec(
            "python",
            i.Backend(i.ServiceBackend("web", i.ServiceBackendPort("http"))),
            (i.Rule("passed.test"),),
        ),
    ),
    pair_secret("s1", "a.test", namespace="red"),
    secret("s2", namespace="red", ca_crt=authorities_pem()),
    Service(_META, ServiceSpec(ports=(ServicePort(80, "http"),))),
    EndpointSlice(
        ObjectMeta("s1", "red", {"kubernetes.io/service-name": "web"}),
        endpoints=(SliceEndpoint(("10.0.0.1",)),),
        ports=(SlicePort("http", 8080),),
    ),
]
"""Something that is served, so that most changes change something."""


def content(snapshot: Snapshot) -> tuple[object, ...]:
    return (
        snapshot.listeners,
        snapshot.hosts,
        snapshot.upstreams,
        snapshot.endpoints,
        snapshot.server_names,
        snapshot.certificates,
        snapshot.authorities,
    )


class AnySequenceOfChanges(RuleBasedStateMachine):
    """A translator that lives through changes, beside a worker that applies its deltas."""

    @initialize(options=OPTIONS, items=st.lists(OBJECTS, max_size=8))
    def start(self, options: Options, items: list[KubernetesObject]) -> None:
        self.options = options
        self.translator = Translator(options)
        self.worker = self.translator.snapshot
        self.objects: dict[ObjectKey, KubernetesObject] = {}
        self.change(*[ObjectChange(key_of(item), item) for item in [*WORKING, *items]])

    def change(self, *changes: ObjectChange) -> None:
        for key, item in changes:
            if item is None:
                self.objects.pop(key, None)
            else:
                self.objects[key] = item
        delta = self.translator.update(changes)
        if delta is not None:
            self.worker = apply_delta(self.worker, delta)

    @rule(items=st.lists(OBJECTS, min_size=1, max_size=6))
    def create_or_update(self, items: list[KubernetesObject]) -> None:
        self.change(*[ObjectChange(key_of(item), item) for item in items])

    @rule(items=st.lists(SECRETS, min_size=1, max_size=2))
    def change_secrets(self, items: list[Secret]) -> None:
        self.change(*[ObjectChange(key_of(item), item) for item in items])

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if self.objects:
            some = st.lists(st.sampled_from(sorted(self.objects)), min_size=1, max_size=3)
            self.change(*[ObjectChange(key, None) for key in data.draw(some)])

    @rule(data=st.data())
    def replace_by_another_of_the_kind(self, data: st.DataObject) -> None:
        if self.objects:
            key = data.draw(st.sampled_from(sorted(self.objects)))
            kinds = {
                "Ingress": INGRESSES,
                "IngressClass": CLASSES,
                "Service": SERVICE_OBJECTS,
                "EndpointSlice": SLICES,
                "Endpoints": ENDPOINTS,
                "Secret": SECRETS,
                "ConfigMap": CONFIG_MAPS,
            }
            item = data.draw(kinds[key.kind])
            self.change(ObjectChange(key, None), ObjectChange(key_of(item), item))

    @invariant()
    def equals_a_translation_from_scratch(self) -> None:
        items = list(self.objects.values())
        random.Random(len(items)).shuffle(items)
        fresh = translate(items, self.options)
        assert content(self.translator.snapshot) == content(fresh.snapshot)
        assert self.translator.diagnostics == fresh.diagnostics

    @invariant()
    def deltas_lead_to_the_snapshot(self) -> None:
        assert self.worker == self.translator.snapshot

    @invariant()
    def every_upstream_has_an_endpoint_set(self) -> None:
        assert self.worker.endpoints.keys() == self.worker.upstreams.keys()

    @invariant()
    def what_is_named_is_there_and_nothing_else(self) -> None:
        """Certificates and authorities are those that some host or upstream names."""
        names = self.worker.server_names.get("default", {})
        ended = [each for each in names.values() if isinstance(each, Terminate)]
        spoken = [each.tls for each in self.worker.upstreams.values() if each.tls is not None]
        pairs = {digest for each in ended for digest in each.certificates}
        pairs |= {each.client_certificate for each in spoken} - {None}
        assert self.worker.certificates.keys() == pairs
        bundles = {each.policy.authorities for each in ended}
        bundles |= {each.authorities for each in spoken}
        assert self.worker.authorities.keys() == bundles - {None}
        for each in names.values():
            if isinstance(each, Passthrough):
                assert each.upstream in self.worker.upstreams

    @invariant()
    def nobody_gets_around_client_certificates(self) -> None:
        """A host that demands them serves nothing of its owner's in clear."""
        for pattern, each in self.worker.server_names.get("default", {}).items():
            if not isinstance(each, Terminate) or each.policy.client_certificates == "none":
                continue
            assert each.policy.authorities in self.worker.authorities
            host = self.worker.hosts["default"].get(pattern)
            if host is None or each.policy.client_certificates == "optional":
                continue
            owner = self.translator.claimants(pattern)[0].namespace
            default = () if host.default is None else (host.default,)
            for route in (*host.routes, *default):
                if route.origin.namespace == owner and not isinstance(route.action, Answer):
                    assert isinstance(route.https, HttpsRules)
                    assert route.https.redirect

    @invariant()
    def hosts_are_as_shared_as_the_options_allow(self) -> None:
        for pattern, host in self.worker.hosts["default"].items():
            default = () if host.default is None else (host.default,)
            namespaces = {route.origin.namespace for route in (*host.routes, *default)}
            assert self.options.allow_shared_hosts or len(namespaces) <= 1
            if not pattern and self.options.catch_all_namespaces:
                assert namespaces <= set(self.options.catch_all_namespaces)

    @invariant()
    def what_is_named_by_those_that_are_served_is_wanted(self) -> None:
        wanted = self.translator.wanted
        for pattern in self.worker.hosts["default"]:
            decided = self.translator.host_tls(pattern)
            assert decided is None or set(decided.looked_at) <= wanted

    @invariant()
    def rebuilding_changes_nothing_but_the_version(self) -> None:
        made = self.translator.rebuilt(self.options)
        assert content(made.snapshot) == content(self.translator.snapshot)
        assert made.snapshot.version == self.translator.snapshot.version + 1
        assert made.diagnostics == self.translator.diagnostics
        assert made.wanted == self.translator.wanted

    @invariant()
    def every_host_has_a_server_name(self) -> None:
        if self.options.https:
            names = self.worker.server_names["default"]
            assert names.keys() >= self.worker.hosts["default"].keys() | {""}
            default = names[""]
            assert isinstance(default, Terminate)
            assert len(default.certificates) == 1


TestAnySequenceOfChanges = AnySequenceOfChanges.TestCase
TestAnySequenceOfChanges.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@given(items=st.lists(OBJECTS, max_size=25), options=OPTIONS, seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=100)
def test_the_order_of_objects_does_not_matter(
    items: list[KubernetesObject], options: Options, seed: int
) -> None:
    unique = list({key_of(item): item for item in items}.values())
    shuffled = unique.copy()
    random.Random(seed).shuffle(shuffled)
    assert translate(unique, options) == translate(shuffled, options)
