"""Objects that are wrong harm themselves alone, and their owners hear of it (F-11).

A few seconds by default; ``FAULT_SECONDS=60`` runs the full length.
"""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.harness.load import steady_load
from tests.harness.replica import SECONDS, Cluster, Json, route, slice_of

pytestmark = pytest.mark.timeout(5 * SECONDS + 120)

LAST_GOOD = 200
"""What a client gets of an object that serves on as it was."""


class Mistake(NamedTuple):
    """Something wrong in an Ingress, and what clients of its host get."""

    make: Callable[[Json], object]
    code: str
    status: int
    status_if_new: int = 404


def _path(ingress: Json) -> Any:
    return ingress["spec"]["rules"][0]["http"]["paths"][0]


def _many(ingress: Json) -> None:
    paths = [_path(ingress) | {"path": f"/{number}"} for number in range(10_000)]
    ingress["spec"]["rules"][0]["http"]["paths"] = paths


MISTAKES = {
    "path-type": Mistake(
        lambda ingress: _path(ingress).update(pathType="Regex"), "path-type-unknown", 404
    ),
    "path": Mistake(lambda ingress: _path(ingress).update(path="no-slash"), "path-invalid", 404),
    "number": Mistake(lambda ingress: _path(ingress).update(path=7), "object-malformed", LAST_GOOD),
    "host": Mistake(
        lambda ingress: ingress["spec"]["rules"][0].update(host="no_host..test"),
        "host-invalid",
        404,
    ),
    "rules": Mistake(
        lambda ingress: ingress["spec"].update(rules="all"), "object-malformed", LAST_GOOD
    ),
    "port": Mistake(
        lambda ingress: _path(ingress)["backend"]["service"].update(port={"name": "none"}),
        "service-port-missing",
        503,
        503,
    ),
    "service": Mistake(
        lambda ingress: _path(ingress)["backend"]["service"].update(name="none"),
        "service-missing",
        503,
        503,
    ),
    "backend": Mistake(lambda ingress: _path(ingress).pop("backend"), "backend-invalid", 503, 503),
    "annotation": Mistake(
        lambda ingress: ingress["metadata"].update(annotations={"a.test/b": 7}),
        "object-malformed",
        LAST_GOOD,
    ),
    "value": Mistake(
        lambda ingress: ingress["metadata"].update(
            annotations={"nginx.ingress.kubernetes.io/ssl-redirect": "perhaps"}
        ),
        "annotation-invalid",
        200,
        200,
    ),
    "paths": Mistake(_many, "ingress-too-large", 404),
}


async def test_a_wrong_ingress_harms_itself_alone(cluster: Cluster) -> None:
    """New ones, and good ones that become wrong; each has its diagnostic and its Event."""
    cluster.put(*(route(f"once-good-{name}", f"{name}.once-good.test") for name in MISTAKES))
    async with cluster.replica() as replica, steady_load(replica.http) as load:
        for name, mistake in MISTAKES.items():
            for kind in ("once-good", "new"):
                ingress = route(f"{kind}-{name}", f"{name}.{kind}.test")
                mistake.make(ingress)
                cluster.put(ingress)
        cluster.put(route("late", "late.test"))
        await replica.serves("late.test", within=1.0)
        for name, mistake in MISTAKES.items():
            await replica.serves(f"{name}.once-good.test", mistake.status, within=0.5)
            seen = await replica.get(f"{name}.new.test")
            assert seen.status == mistake.status_if_new, name
        await asyncio.sleep(SECONDS / 2)
        found = {(each["object"]["name"], each["code"]) for each in await replica.diagnostics()}
        expected = {
            (f"{kind}-{name}", mistake.code)
            for kind in ("once-good", "new")
            for name, mistake in MISTAKES.items()
        }
        assert found == expected

        # Whether an Ingress that could never be read is ours, nobody knows.
        silent = {name for name, code in expected if name.startswith("new") and "malformed" in code}
        untold = {name for name, _ in expected} - silent

        def is_told() -> bool:
            events = cluster.api.objects("Event")
            untold.difference_update(event["involvedObject"]["name"] for event in events)
            return not untold

        try:
            await replica.until(is_told, "Events on all")
        except AssertionError as error:
            error.add_note(f"no Events on {untold}")
            raise
        for event in cluster.api.objects("Event"):
            name = event["involvedObject"]["name"]
            assert name not in silent
            held = cluster.api.get("Ingress", "shop", name)
            assert held is not None
            assert event["involvedObject"]["uid"] == held["metadata"]["uid"]
            assert event["type"] == "Warning"

        for name in MISTAKES:
            cluster.put(route(f"once-good-{name}", f"{name}.once-good.test"))
            cluster.put(route(f"new-{name}", f"{name}.new.test"))
        for name in MISTAKES:
            await replica.serves(f"{name}.new.test", within=1.0)
            await replica.serves(f"{name}.once-good.test", within=1.0)
        for code in {mistake.code for mistake in MISTAKES.values()}:
            await replica.diagnosed(code, gone=True)
    assert load.failures == []


async def test_wrong_services_slices_and_classes_harm_themselves_alone(cluster: Cluster) -> None:
    """What cannot be read keeps its last good version; what is wrong in an endpoint is that one."""
    for name in ("slice", "service", "address"):
        service = {"kind": "Service", "metadata": {"name": name, "namespace": "shop"}}
        cluster.put(service | {"spec": {"ports": [{"port": 80}]}})
        cluster.put(slice_of(name, cluster.backend), route(name, f"{name}.test", name))
    async with cluster.replica() as replica, steady_load(replica.http) as load:
        broken = slice_of("slice", cluster.backend)
        broken["endpoints"] = "none"
        service = {"kind": "Service", "metadata": {"name": "service", "namespace": "shop"}}
        partly = slice_of("address", cluster.backend)
        for wrong in ("999.1.1.1", "127.0.0.1", "169.254.169.254", "example.com", ""):
            partly["endpoints"].append({"addresses": [wrong], "conditions": {"ready": True}})
        ingress_class = {"kind": "IngressClass", "metadata": {"name": "python"}}
        cluster.put(
            broken,
            partly,
            service | {"spec": {"ports": [{"port": "eighty"}]}},
            ingress_class | {"spec": {"controller": 7}},
            route("late", "late.test"),
        )
        await replica.serves("late.test", within=1.0)
        for name in ("slice", "service", "address"):
            for _ in range(10):
                assert (await replica.get(f"{name}.test")).status == 200
        malformed = await replica.diagnosed("object-malformed")
        assert {each["object"]["kind"] for each in malformed} == {
            "EndpointSlice",
            "Service",
            "IngressClass",
        }
        assert await replica.diagnostics("EndpointSlice")
    assert load.failures == []
