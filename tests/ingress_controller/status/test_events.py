"""Events against an API server on a real socket."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ingress_controller.objects.ingress import (
    Backend,
    HTTPPath,
    HTTPRule,
    Ingress,
    IngressClass,
    IngressClassSpec,
    IngressSpec,
    Rule,
    ServiceBackend,
    ServiceBackendPort,
)
from ingress_controller.objects.meta import ObjectKey, ObjectMeta
from ingress_controller.status import notices
from ingress_controller.status.events import EventWriter
from ingress_controller.store import KubernetesObject, Name, ObjectChange, key_of
from ingress_controller.translate.annotations.unused import SOLVER_LABEL
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Standing, Translator
from tests.harness.waiting import until
from tests.ingress_controller.status.cluster import Cluster, cluster, running

SHOP = Name("shop", "web")


def diagnostic(message: str = "there is no Service shop/cart", name: str = "web") -> Diagnostic:
    return Diagnostic(
        code=DiagnosticCode.SERVICE_MISSING,
        severity="error",
        object=ObjectKey("Ingress", "shop", name),
        field="spec.defaultBackend.service.name",
        message=message,
        consequence="requests get 503",
        remedy="create the Service",
    )


class Scene:
    """A cluster and a writer of Events that runs."""

    def __init__(self, it: Cluster) -> None:
        self.it = it
        self.uid = "u1"
        self.writer = self.another("pod-1")

    def another(self, instance: str) -> EventWriter:
        return EventWriter(
            self.it.api,
            self.it.lead,
            self.it.log,
            instance=instance,
            standing=lambda name: Standing(self.uid, "ours"),
            ingresses_about=lambda key: (),
        )

    @property
    def events(self) -> list[Any]:
        return self.it.fake.objects("Event")

    async def written(self, count: int) -> None:
        await until(lambda: self.writer.counts.written == count, f"{count} are written")


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(notices, "SETTLE", 0.02)
    async with cluster(tmp_path) as it:
        scene = Scene(it)
        async with running(scene.writer.run()):
            yield scene


async def test_an_event_is_as_kubectl_describe_looks_for_it(scene: Scene) -> None:
    scene.writer.found(frozenset([diagnostic()]))
    await scene.written(1)
    (event,) = scene.events
    assert event["involvedObject"] == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "namespace": "shop",
        "name": "web",
        "uid": "u1",
    }
    assert event["metadata"]["namespace"] == "shop"
    assert event["type"] == "Warning"
    assert event["reason"] == "ServiceMissing"
    assert event["message"].startswith("spec.defaultBackend.service.name: there is no Service")
    assert event["source"] == {"component": "python-ingress-controller"}
    assert event["reportingComponent"] == "python-ingress-controller"
    assert event["reportingInstance"] == "pod-1"
    assert event["count"] == 1
    assert event["firstTimestamp"] == event["lastTimestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["lastTimestamp"])


async def test_the_next_leader_finds_the_event_and_refreshes_it(scene: Scene) -> None:
    scene.writer.found(frozenset([diagnostic()]))
    await scene.written(1)
    scene.it.lead.turn(on=False)
    (event,) = scene.events
    scene.it.fake.put({**event, "kind": "Event", "count": 7, "lastTimestamp": "long ago"})
    scene.it.lead.turn(on=True)
    await scene.written(2)
    (event,) = scene.events
    assert event["count"] == 7
    assert event["lastTimestamp"] != "long ago"
    verbs = [seen.verb for seen in scene.it.fake.requests if "/events" in seen.path]
    assert verbs == ["create", "create", "patch"]


async def test_what_comes_back_is_counted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "AGAIN_SECONDS", 0.0)
    for count in (1, 2, 3):
        scene.writer.found(frozenset([diagnostic()]))
        await scene.written(count)
        assert scene.events[0]["count"] == count
        scene.writer.found(frozenset())
    scene.it.fake.delete("Event", "shop", scene.events[0]["metadata"]["name"])
    scene.writer.found(frozenset([diagnostic()]))
    await scene.written(4)
    assert scene.events[0]["count"] == 4, "it was deleted by its age, and is made anew"


async def test_another_life_of_the_ingress_has_events_of_its_own(scene: Scene) -> None:
    scene.writer.found(frozenset([diagnostic()]))
    await scene.written(1)
    scene.uid = "u2"
    scene.writer.confirm([SHOP])
    await scene.written(2)
    assert {event["involvedObject"]["uid"] for event in scene.events} == {"u1", "u2"}


async def test_who_does_not_lead_writes_nothing(scene: Scene) -> None:
    scene.it.lead.turn(on=False)
    scene.writer.found(frozenset([diagnostic()]))
    scene.writer.confirm([SHOP])
    await asyncio.sleep(0.1)
    assert scene.events == []
    assert scene.writer.counts.pending == 0
    scene.it.lead.turn(on=True)
    await scene.written(1)


async def test_a_missing_role_is_said_once_and_then_it_is_quiet(scene: Scene) -> None:
    fault = scene.it.fake.fault("create", "events", status=403, times=None)
    scene.writer.found(frozenset(diagnostic(name=f"i{number}") for number in range(20)))
    await until(lambda: "allow create and patch on events" in scene.it.logged, "said")
    await asyncio.sleep(0.1)
    assert fault.hits == 1
    assert scene.it.logged.count("Events cannot be written") == 1
    assert scene.writer.counts.pending == 20
    assert scene.writer.counts.failed == 1


async def test_an_outage_is_waited_out(scene: Scene) -> None:
    fault = scene.it.fake.fault("create", "events", status=500, times=1)
    scene.writer.found(frozenset([diagnostic("one"), diagnostic("two")]))
    await until(lambda: fault.hits, "it fails")
    await asyncio.sleep(0.2)
    assert scene.events == []
    await scene.written(2)
    assert len(scene.events) == 2


@pytest.mark.parametrize("status", [404, 422])
async def test_what_is_refused_is_not_tried_again_soon(scene: Scene, status: int) -> None:
    fault = scene.it.fake.fault("create", "events", status=status, times=None)
    scene.writer.found(frozenset([diagnostic("one"), diagnostic("two")]))
    await until(lambda: scene.writer.counts.failed == 2, "both are refused")
    await asyncio.sleep(0.1)
    assert fault.hits == 2
    await until(lambda: "an Event is refused" in scene.it.logged, "said")
    assert scene.it.logged.count("an Event is refused") == 1


async def test_a_defect_stops_nothing(scene: Scene) -> None:
    request = scene.it.api.request

    async def broken(*_: object, **__: object) -> bytes:
        scene.it.api.request = request  # type: ignore[method-assign] # broken once
        raise RuntimeError("not foreseen")

    scene.it.api.request = broken  # type: ignore[method-assign] # what cannot happen, happens
    scene.writer.found(frozenset([diagnostic("one"), diagnostic("two")]))
    await scene.written(1)
    await until(lambda: "not foreseen" in scene.it.logged, "said")


def ingress(name: str, service: str, **meta: Any) -> Ingress:
    backend = Backend(service=ServiceBackend(service, ServiceBackendPort(number=80)))
    rule = Rule("a.test", HTTPRule((HTTPPath(backend, f"/{name}", "Prefix"),)))
    return Ingress(
        ObjectMeta(name=name, namespace="shop", uid=f"uid-{name}", **meta),
        IngressSpec("python", None, (rule,)),
    )


async def test_a_mistake_in_real_objects_becomes_an_event_and_a_hint_none(
    scene: Scene,
) -> None:
    """The translator and the writer together; cert-manager's Ingresses are left in peace."""
    nginx = "nginx.ingress.kubernetes.io/"
    objects: list[KubernetesObject] = [
        IngressClass(ObjectMeta(name="python"), IngressClassSpec("python-ingress.dev/controller")),
        ingress("web", "nowhere", annotations={f"{nginx}nonsense": "1"}),
        ingress(
            "solver",
            "nowhere",
            labels={SOLVER_LABEL: "true"},
            annotations={f"{nginx}nonsense": "1", f"{nginx}auth-type": "basic"},
        ),
    ]
    translator = Translator(Options(ingress_classes=("python",)))
    translator.update(ObjectChange(key_of(each), each) for each in objects)
    found = frozenset(translator.diagnostics)
    assert {one.severity for one in found} == {"error", "hint"}
    writer = EventWriter(
        scene.it.api,
        scene.it.lead,
        scene.it.log,
        instance="pod-1",
        standing=translator.standing,
        ingresses_about=translator.ingresses_about,
    )
    async with running(writer.run()):
        writer.found(found)
        expected = [one for one in found if one.severity != "hint"]
        await until(lambda: writer.counts.written == len(expected), "written")
        await asyncio.sleep(0.05)
    assert {event["involvedObject"]["uid"] for event in scene.events} == {"uid-web", "uid-solver"}
    assert {event["reason"] for event in scene.events} == {"ServiceMissing"}
