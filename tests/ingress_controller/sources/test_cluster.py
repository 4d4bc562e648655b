"""What a cluster as a source hands over, and which objects it reads."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingress_controller.objects.config import Secret
from ingress_controller.objects.ingress import Ingress, IngressStatus
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.objects.service import Service
from ingress_controller.sources import cluster as module
from ingress_controller.sources import kube_api
from ingress_controller.sources.cluster import Scope
from ingress_controller.store import Name
from tests.harness.cluster import (
    config_map,
    ingress,
    ingress_class,
    reading,
    secret,
    service,
    slices,
)
from tests.harness.kube_api import FakeKubeApi
from tests.harness.waiting import until

TLS, CA = ObjectKey("Secret", "shop", "tls"), ObjectKey("Secret", "shop", "ca")
CONFIG = ObjectKey("ConfigMap", "shop", "config")


def content(item: object) -> str:
    """Of a Secret that was handed over; empty without one."""
    return item.data["tls.crt"] if isinstance(item, Secret) else ""


@pytest.fixture
async def fake() -> AsyncIterator[FakeKubeApi]:
    async with FakeKubeApi() as server:
        yield server


async def test_everything_is_handed_over_and_then_every_change(
    fake: FakeKubeApi, tmp_path: Path
) -> None:
    fake.put(ingress("a"))
    fake.put(ingress_class("python"))
    fake.put(service("web"))
    fake.put(slices("web", "10.0.0.1"))
    fake.put(secret("tls"))
    fake.put(config_map("unnamed"))
    async with reading(fake, tmp_path) as read:
        await read.until_synced()
        kinds = ["EndpointSlice", "Ingress", "IngressClass", "Secret", "Service"]
        assert sorted(key.kind for key in read.objects) == kinds
        fake.put(service("web", port=81))
        fake.put(ingress("b"))
        fake.delete("Ingress", "shop", "a")
        await until(lambda: read.names("Ingress") == ["b"], "one came, one went")
        web = read.objects[ObjectKey("Service", "shop", "web")]
        assert isinstance(web, Service)
        assert web.spec.ports[0].port == 81
        assert read.times_synced == 1
        assert not read.idle
        assert read.source.waiting == ""


async def test_nothing_is_synced_before_the_last_kind_is_whole(
    fake: FakeKubeApi, tmp_path: Path
) -> None:
    fault = fake.fault("list", "endpointslices", status=500, times=None)
    async with reading(fake, tmp_path) as read:
        await until(lambda: read.state("Ingress").synced, "the Ingresses are listed")
        await until(lambda: fault.hits > 2, "the slices were tried")
        assert not read.times_synced
        assert "endpointslices" in read.source.waiting
        assert "500" in read.source.waiting
        fault.withdraw()
        await read.until_synced()


async def test_a_list_of_many_pages_is_handed_over_whole(fake: FakeKubeApi, tmp_path: Path) -> None:
    for number in range(1203):
        fake.put(service(f"s{number}"))
    async with reading(fake, tmp_path) as read:
        await read.until_synced()
        assert len(read.names("Service")) == 1203
        assert len(fake.requested("list", "/services")) == 3
        assert read.state("Service").lists == 1
        assert max(len(changes) for changes in read.calls) <= 500


async def test_objects_that_are_too_large_together_are_read_in_smaller_pages(
    fake: FakeKubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_api, "MAX_BODY", 100_000)
    for number in range(100):
        fake.put(secret(f"s{number}", value="eHh4" * 2_500))
    async with reading(fake, tmp_path) as read:
        await read.until_synced()
        assert len(read.names("Secret")) == 100


async def test_the_status_of_an_ingress_is_told_apart_from_it(
    fake: FakeKubeApi, tmp_path: Path
) -> None:
    name = Name("shop", "a")
    fake.put(ingress("a"))
    async with reading(fake, tmp_path) as read:
        await read.until_synced()
        stored = fake.get("Ingress", "shop", "a")
        assert stored is not None
        uid = stored["metadata"]["uid"]
        assert read.source.statuses == {name: IngressStatus(uid, ())}
        assert read.statuses[name] == 1
        balancer = {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "lb.test", "ip": "192.0.2.1"}]}
        fake.put(ingress("a") | {"status": {"loadBalancer": balancer}})
        await until(lambda: read.statuses[name] == 2, "the status was told")
        addresses = ("192.0.2.1", "192.0.2.9", "lb.test")
        assert read.source.statuses == {name: IngressStatus(uid, addresses)}
        assert [change.key.kind for change in read.changes] == ["Ingress"]
        fake.delete("Ingress", "shop", "a")
        await until(lambda: read.statuses[name] == 3, "the end was told")
        assert read.source.statuses == {}
        assert not read.objects


async def test_a_status_written_while_we_were_away_is_told(
    fake: FakeKubeApi, tmp_path: Path
) -> None:
    fake.put(ingress("a"))
    fake.put(ingress("b"))
    async with reading(fake, tmp_path) as read:
        await read.until_synced()
        await fake.stop()
        balancer = {"ingress": [{"ip": "192.0.2.9"}]}
        fake.put(ingress("a") | {"status": {"loadBalancer": balancer}})
        fake.delete("Ingress", "shop", "b")
        fake.forget_history()
        await fake.start()
        await until(lambda: Name("shop", "b") not in read.source.statuses, "it was read anew")
        assert read.source.statuses[Name("shop", "a")].addresses == ("192.0.2.9",)
        assert list(read.source.statuses) == [Name("shop", "a")]


async def test_an_object_that_cannot_be_read_harms_itself_alone(
    fake: FakeKubeApi, tmp_path: Path
) -> None:
    fake.put(ingress("new", rules="none"))
    fake.put(ingress("old", defaultBackend={"service": {"name": "web"}}))
    fake.put(ingress("good"))
    async with reading(fake, tmp_path) as read:
        await read.until_synced()
        assert read.names("Ingress") == ["good", "old"]
        [diagnostic] = read.source.diagnostics
        assert diagnostic.code == "object-malformed"
        assert diagnostic.object == ObjectKey("Ingress", "shop", "new")
        assert diagnostic.field == "spec.rules"
        assert diagnostic.consequence == "the object counts as absent; others do not"
        fake.put(ingress("old", rules="none"))
        await until(lambda: len(read.source.diagnostics) == 2, "the second is reported")
        kept = read.objects[ObjectKey("Ingress", "shop", "old")]
        assert isinstance(kept, Ingress)
        assert kept.spec.default_backend is not None
        consequences = {item.object.name: item.consequence for item in read.source.diagnostics}
        assert consequences["old"] == "the object's last good version is served on"
        fake.put(ingress("new"))
        fake.delete("Ingress", "shop", "old")
        await until(lambda: not read.source.diagnostics, "nothing is wrong any more")
        assert read.names("Ingress") == ["good", "new"]


async def test_the_last_good_version_of_an_object_does_not_outlive_it(
    fake: FakeKubeApi, tmp_path: Path
) -> None:
    fake.put(ingress("a"))
    async with reading(fake, tmp_path) as read:
        await read.until_synced()
        await fake.stop()
        fake.delete("Ingress", "shop", "a")
        fake.put(ingress("a", rules="none"))
        fake.forget_history()
        await fake.start()
        await until(lambda: not read.objects, "another one of the name is there")
        assert read.codes() == ["object-malformed"]


class TestWanted:
    async def test_a_tls_secret_is_known_already(self, fake: FakeKubeApi, tmp_path: Path) -> None:
        fake.put(secret("tls"))
        async with reading(fake, tmp_path) as read:
            assert not read.source.want(frozenset({TLS}))
            await read.until_synced()
            assert read.source.want(frozenset({TLS}))
            assert read.source.want(frozenset())
            assert not fake.requested("list", "/namespaces/shop/secrets")

    async def test_other_objects_are_read_alone_while_they_are_wanted(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fake.put(secret("ca", type_="Opaque"))
        fake.put(secret("other", type_="Opaque"))
        fake.put(config_map("config", a="1"))
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            assert not read.objects
            assert not read.source.want(frozenset({CA, CONFIG}))
            await read.until_synced(2)
            assert sorted(read.objects) == [CONFIG, CA]
            assert read.source.want(frozenset({CA, CONFIG}))
            [request] = fake.requested("list", "/namespaces/shop/secrets")
            assert request.query["fieldSelector"] == "metadata.name=ca"
            fake.put(config_map("config", a="2"))
            await until(lambda: len(read.changes) == 3, "its change is seen")
            assert read.source.want(frozenset({CA}))
            assert sorted(read.objects) == [CA]
            await until(lambda: not fake.watches("configmaps"), "its watch is closed")
            assert read.times_synced == 2

    async def test_what_was_counted_stays_counted_when_they_end(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            read.source.want(frozenset({CA}))
            await read.until_synced(2)
            read.source.want(frozenset())
            read.source.want(frozenset({CA}))
            await read.until_synced(3)
            state = read.state("Secret", alone=True)
            assert (state.alone, state.lists) == (1, 2)

    async def test_what_is_not_there_is_known_to_be_absent(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            assert not read.source.want(frozenset({CA, CONFIG}))
            await read.until_synced(2)
            assert not read.objects
            fake.put(secret("ca", type_="Opaque"))
            await until(lambda: read.objects, "it came")

    async def test_names_that_cannot_exist_are_not_asked_for(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            before = len(fake.requests)
            odd = [("..", "x"), ("shop", "a/b"), ("shop", "x,type=Opaque"), ("shop", ""), ("", "x")]
            assert read.source.want(frozenset(ObjectKey("Secret", *names) for names in odd))
            assert len(fake.requests) == before

    async def test_a_secret_that_becomes_a_tls_secret_is_taken_over(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fake.put(secret("tls", type_="Opaque", value="AAAA"))
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            read.source.want(frozenset({TLS}))
            await read.until_synced(2)
            fake.delete("Secret", "shop", "tls")
            fake.put(secret("tls", value="BBBB"))
            await until(lambda: content(read.objects.get(TLS)) == "BBBB", "the new one is there")
            await until(lambda: not fake.watches("/namespaces/shop/secrets"), "not alone any more")
            assert not read.state("Secret").errors
            fake.delete("Secret", "shop", "tls")
            fake.put(secret("tls", type_="Opaque", value="CCCC"))
            await until(lambda: content(read.objects.get(TLS)) == "CCCC", "alone again")

    async def test_one_that_may_not_be_read_counts_as_absent(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fault = fake.fault("list", "/namespaces/shop/secrets", status=403, times=None)
        fake.put(secret("ca", type_="Opaque"))
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            assert not read.source.want(frozenset({CA}))
            await read.until_synced(2)
            [diagnostic] = read.source.diagnostics
            assert diagnostic.code == "api-refused"
            assert diagnostic.object == CA
            assert diagnostic.consequence == "it counts as absent"
            fault.withdraw()
            await until(lambda: read.objects, "it is read after all")
            await until(lambda: not read.source.diagnostics, "nothing is wrong any more")

    async def test_their_number_is_bounded(
        self, fake: FakeKubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MAX_WATCHES", 8)  # five whole kinds and three more
        keys = [ObjectKey("Secret", "shop", f"s{number}") for number in range(5)]
        async with reading(fake, tmp_path, Scope(named=frozenset({CONFIG}))) as read:
            await read.until_synced()
            assert not read.source.want(frozenset(keys))
            await read.until_synced(2)
            assert len(fake.watches("secrets")) + len(fake.watches("configmaps")) <= 4
            [diagnostic] = read.source.diagnostics
            assert diagnostic.code == "watches-too-many"
            assert diagnostic.object == keys[2]
            assert "nor are 2 others" in diagnostic.message
            read.source.want(frozenset(keys[2:4]))
            await until(lambda: not read.source.diagnostics, "there is room again")
            assert read.state("ConfigMap", alone=True).synced

    async def test_no_namespace_takes_all_watches(
        self, fake: FakeKubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MAX_WATCHES", 10)  # five whole kinds and five more
        fake.put(config_map("ca", "shop"))
        fake.put(config_map("ca", "zoo"))
        greedy = {ObjectKey("Secret", "evil", f"absent-{number}") for number in range(50)}
        modest = {ObjectKey("ConfigMap", each, "ca") for each in ("shop", "zoo")}
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            read.source.want(frozenset(greedy))
            await read.until_synced(2)
            assert read.state("Secret", alone=True).alone == 5
            read.source.want(frozenset(greedy | modest))
            await read.until_synced(3)
            assert modest <= read.objects.keys()
            assert read.state("Secret", alone=True).alone == 3

    async def test_a_hundred_of_them_are_read_at_once(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        keys = frozenset(ObjectKey("Secret", "shop", f"s{number}") for number in range(100))
        for key in keys:
            fake.put(secret(key.name))
        async with reading(fake, tmp_path, Scope(secrets="named")) as read:
            await read.until_synced()
            assert not read.source.want(keys)
            await read.until_synced(2)
            assert len(read.objects) == 100
            assert read.state("Secret", alone=True).alone == 100
            assert read.source.want(frozenset())
            await until(lambda: not fake.watches("secrets"), "all are closed")
            assert not read.objects


class TestNamespaces:
    async def test_only_these_are_read(self, fake: FakeKubeApi, tmp_path: Path) -> None:
        for namespace in ("a", "b", "c"):
            fake.put(service("web", namespace))
            fake.put(ingress("i", namespace))
        fake.put(ingress_class("python"))
        async with reading(fake, tmp_path, Scope(namespaces=("a", "b", "a"))) as read:
            await read.until_synced()
            assert {key.namespace for key in read.objects} == {"a", "b", ""}
            assert sorted(read.source.statuses) == [Name("a", "i"), Name("b", "i")]
            assert len(fake.requested("list")) == 9
            assert not fake.requested("list", "/v1/services")
            fake.delete("Ingress", "a", "i")
            await until(lambda: Name("a", "i") not in read.source.statuses, "it is gone")
            assert list(read.source.statuses) == [Name("b", "i")]

    async def test_roles_alone_are_enough(self, fake: FakeKubeApi, tmp_path: Path) -> None:
        fake.fault("list", "ingressclasses", status=403, times=None)
        async with reading(fake, tmp_path, Scope(namespaces=("a",))) as read:
            await read.until_synced()
            [diagnostic] = read.source.diagnostics
            assert diagnostic.code == "api-refused"
            assert diagnostic.severity == "warning"
            assert diagnostic.object == ObjectKey("IngressClass", "", "")

    async def test_cluster_wide_classes_are_waited_for(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fault = fake.fault("list", "ingressclasses", status=403, times=None)
        async with reading(fake, tmp_path) as read:
            await until(lambda: read.codes() == ["api-refused"], "it is reported")
            await until(lambda: fault.hits > 3, "it is tried again")
            assert not read.times_synced
            assert read.source.diagnostics[0].severity == "error"
            fault.withdraw()
            await read.until_synced()
            assert not read.source.diagnostics

    async def test_named_objects_are_read_alone_where_their_kind_is_not(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        publish, inside = ObjectKey("Service", "lb", "edge"), ObjectKey("Service", "a", "web")
        fake.put(service("edge", "lb"))
        fake.put(service("other", "lb"))
        fake.put(service("web", "a"))
        fake.put(secret("default", "lb", type_="Opaque"))
        default = ObjectKey("Secret", "lb", "default")
        scope = Scope(namespaces=("a",), named=frozenset({publish, inside, default}))
        async with reading(fake, tmp_path, scope) as read:
            await read.until_synced()
            assert sorted(read.objects) == [default, inside, publish]
            assert len(fake.requested("list", "/services")) == 2
            assert read.source.want(frozenset())
            assert publish in read.objects


async def test_secrets_by_name_leave_all_others_unread(fake: FakeKubeApi, tmp_path: Path) -> None:
    fake.put(secret("tls"))
    fake.put(secret("other"))
    async with reading(fake, tmp_path, Scope(secrets="named")) as read:
        await read.until_synced()
        assert not read.names("Secret")
        assert not read.source.want(frozenset({TLS}))
        await read.until_synced(2)
        assert read.names("Secret") == ["tls"]
        assert not [seen for seen in fake.requests if seen.path == "/api/v1/secrets"]
