"""What a translation costs: prints CPU milliseconds, asserts nothing.

    .venv/bin/python tests/bench/bench_translate.py [INGRESSES]

Each Ingress has one host and three paths; each path has a Service of its own with one
EndpointSlice of two endpoints.
"""

import gc
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

import msgspec

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
from ingress_controller.objects.slices import EndpointSlice, SliceEndpoint, SlicePort
from ingress_controller.store import KubernetesObject, ObjectChange, key_of
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Translator
from router.match.table import Table
from router.model import wire
from router.model.snapshot import HostPattern, Route

PATHS = (("Prefix", "/"), ("Prefix", "/api/v1"), ("Exact", "/healthz"))


def ingress(number: int, prefix: str = "") -> Ingress:
    paths = tuple(
        HTTPPath(
            Backend(ServiceBackend(f"svc-{number}-{i}", ServiceBackendPort(number=80))),
            prefix + path,
            kind,
        )
        for i, (kind, path) in enumerate(PATHS)
    )
    return Ingress(
        ObjectMeta(f"ing-{number}", f"team-{number % 50}"),
        IngressSpec("python", None, (Rule(f"shop-{number}.example.com", HTTPRule(paths)),)),
    )


def endpoints(number: int, path: int, last: int = 2) -> EndpointSlice:
    name = f"svc-{number}-{path}"
    labels = {"kubernetes.io/service-name": name}
    addresses = (f"10.{number >> 8}.{number & 255}.{path + 1}", f"10.200.{number & 255}.{last}")
    return EndpointSlice(
        ObjectMeta(f"{name}-x", f"team-{number % 50}", labels),
        "IPv4",
        tuple(SliceEndpoint((address,)) for address in addresses),
        (SlicePort("http", 8080),),
    )


def objects(count: int) -> Iterator[KubernetesObject]:
    for number in range(count):
        yield ingress(number)
        for path in range(len(PATHS)):
            meta = ObjectMeta(f"svc-{number}-{path}", f"team-{number % 50}")
            yield Service(meta, ServiceSpec(ports=(ServicePort(80, "http"),)))
            yield endpoints(number, path)


def measured(what: str, action: Callable[[], object], times: int = 1) -> None:
    spent = []
    for _ in range(times):
        start = time.process_time()
        action()
        spent.append((time.process_time() - start) * 1000)
    print(f"{what:<58} {median(spent):9.2f} ms   (worst {max(spent):.2f})")


def bind(pattern: HostPattern, route: Route) -> Route:
    return route


def main(count: int) -> None:
    options = Options(allow_shared_hosts=False)  # as with a cluster
    changes = [ObjectChange(key_of(item), item) for item in objects(count)]
    translator = Translator(options)
    print(f"{count} Ingresses, {count * len(PATHS)} paths, {len(changes)} objects")
    measured("translate from scratch", lambda: translator.update(changes))
    snapshot = translator.snapshot
    body = wire.frame(wire.Load(snapshot))[4:]
    measured("encode the snapshot", lambda: wire.frame(wire.Load(snapshot)))
    measured("decode it", lambda: wire.decode_to_worker(body))
    tables: list[Table[Route]] = []
    measured("build the table", lambda: tables.append(Table.of(snapshot, bind)))
    print(f"{'size on the wire':<58} {len(body) / 1e6:9.2f} MB")
    measured("diagnostics, sorted", lambda: translator.diagnostics)

    def swapped(change: ObjectChange) -> None:
        delta = translator.update([change])
        if delta is None:
            raise SystemExit("the change changed nothing: the measurement is void")
        message = wire.decode_to_worker(wire.frame(wire.Change(delta))[4:])
        if isinstance(message, wire.Change):
            tables[0] = tables[0].changed(message.delta, bind)

    gc.collect()
    gc.freeze()
    rule = iter([ingress(7, f"/v{i}") for i in range(200)])
    one = ObjectChange(key_of(ingress(7)), None)
    measured(
        "one Ingress changed: translate, encode, decode, swap",
        lambda: swapped(ObjectChange(one.key, next(rule))),
        100,
    )
    measured("  translate alone", lambda: translator.update([one._replace(object=next(rule))]), 100)
    slices = iter([endpoints(7, 0, 3 + i) for i in range(200)])
    key = key_of(endpoints(7, 0))
    measured(
        "one EndpointSlice changed: translate, encode, decode",
        lambda: swapped(ObjectChange(key, next(slices))),
        100,
    )
    measured("  translate alone", lambda: translator.update([ObjectChange(key, next(slices))]), 100)
    measured("snapshot after a change", lambda: fresh_snapshot(translator, key))
    json = msgspec.json.encode(snapshot)
    print(f"{'snapshot as JSON':<58} {len(json) / 1e6:9.2f} MB")


def fresh_snapshot(translator: Translator, key: object) -> None:
    translator.update([ObjectChange(key_of(endpoints(7, 0)), endpoints(7, 0, 250))])
    _ = translator.snapshot


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
