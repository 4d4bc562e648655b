"""The fake API server keeps the real one's promises, and breaks them as a test says."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ingress_controller.sources.errors import (
    GoneError,
    InvalidError,
    MalformedAnswerError,
    ThrottledError,
    UnauthorizedError,
    UnavailableError,
)
from ingress_controller.sources.kube_api import Access, KubeApi
from tests.harness.kube_api import FakeKubeApi
from tests.harness.kube_contract import PROMISES, Promise
from tests.harness.waiting import until

INGRESSES = "/apis/networking.k8s.io/v1/namespaces/shop/ingresses"
ALL_INGRESSES = "/apis/networking.k8s.io/v1/ingresses"
SECRETS = "/api/v1/secrets"


def ingress(name: str, host: str = "h.test", **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"namespace": "shop", "name": name, **meta},
        "spec": {"rules": [{"host": host}]},
    }


def secret(name: str, type_: str = "kubernetes.io/tls") -> dict[str, Any]:
    return {"kind": "Secret", "metadata": {"namespace": "shop", "name": name}, "type": type_}


@pytest.fixture
async def fake() -> AsyncIterator[FakeKubeApi]:
    async with FakeKubeApi() as server:
        yield server


@pytest.fixture
async def api(fake: FakeKubeApi, tmp_path: Path) -> AsyncIterator[KubeApi]:
    client = await KubeApi.connect(Access(kubeconfig=fake.kubeconfig(tmp_path)))
    yield client
    await client.close()


class Events:
    """The events of one watch, read one by one."""

    def __init__(self, api: KubeApi, path: str, **query: str) -> None:
        self._lines = api.stream(path, query={"watch": "true"} | query, silence=5)

    async def next(self) -> tuple[str, Any]:
        event = json.loads(await anext(self._lines))
        return event["type"], event["object"]

    async def names(self, count: int) -> list[tuple[str, str]]:
        events = [await self.next() for _ in range(count)]
        return [(type_, thing["metadata"]["name"]) for type_, thing in events]

    async def all(self) -> list[str]:
        return [json.loads(line)["type"] async for line in self._lines]

    async def close(self) -> None:
        await self._lines.aclose()


@contextlib.asynccontextmanager
async def watching(
    fake: FakeKubeApi, api: KubeApi, path: str = ALL_INGRESSES, **query: str
) -> AsyncIterator[Events]:
    """A watch; events before ``resourceVersion`` are not wanted unless the query says so."""
    events = Events(api, path, **({"resourceVersion": str(fake.store.version)} | query))
    yield events
    await events.close()
    await until(lambda: not fake.watches(), "the server forgets a watch whose client left")


async def listed(api: KubeApi, path: str, **query: str) -> Any:
    return json.loads(await api.request("GET", path, query=query))


def names(page: Any) -> list[str]:
    return [item["metadata"]["name"] for item in page["items"]]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_the_fake_keeps_the_promises_of_the_real_one(api: KubeApi, promise: Promise) -> None:
    await promise(api)


# -- lists -----------------------------------------------------------------------------------------


async def test_a_token_that_expired_is_refused(fake: FakeKubeApi, api: KubeApi) -> None:
    for name in "abc":
        fake.put(ingress(name))
    page = await listed(api, ALL_INGRESSES, limit="1")
    fake.expire_continue_tokens()
    with pytest.raises(GoneError):
        await listed(api, ALL_INGRESSES, limit="1", **{"continue": page["metadata"]["continue"]})


async def test_a_namespace_holds_its_own_objects_alone(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put(ingress("here"))
    fake.put(ingress("there", namespace="elsewhere"))
    assert names(await listed(api, INGRESSES)) == ["here"]
    assert names(await listed(api, ALL_INGRESSES)) == ["there", "here"]


# -- watches ---------------------------------------------------------------------------------------


async def test_an_object_that_no_longer_fits_a_selector_is_told_as_deleted(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.put(secret("a"))
    query = {"fieldSelector": "type=kubernetes.io/tls"}
    async with watching(fake, api, SECRETS, **query) as events:
        fake.put(secret("a", "Opaque"))
        fake.put(secret("b", "Opaque"))
        fake.put(secret("a"))
        assert await events.names(2) == [("DELETED", "a"), ("ADDED", "a")]


async def test_bookmarks_carry_the_version_on(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.manners.bookmark_seconds = 0.01
    async with watching(fake, api, allowWatchBookmarks="true") as events:
        await events.next()
        fake.put(secret("pair"))
        version = str(fake.store.version)
        seen = [await events.next() for _ in range(5)]
    assert {type_ for type_, _ in seen} == {"BOOKMARK"}
    assert seen[-1][1]["metadata"] == {"resourceVersion": version}
    assert seen[-1][1]["kind"] == "Ingress"


async def test_a_watch_ends_when_its_time_is_up(fake: FakeKubeApi, api: KubeApi) -> None:
    events = Events(api, ALL_INGRESSES, resourceVersion="1000", timeoutSeconds="0")
    assert await events.all() == []
    assert not fake.watches()


@pytest.mark.parametrize("as_status", [False, True])
async def test_a_watch_from_a_forgotten_version_is_gone(
    fake: FakeKubeApi, api: KubeApi, *, as_status: bool
) -> None:
    fake.put(ingress("x"))
    old = str(fake.store.version - 1)
    fake.forget_history()
    fake.manners.gone_as_status = as_status
    events = Events(api, ALL_INGRESSES, resourceVersion=old)
    if as_status:
        with pytest.raises(GoneError):
            await events.all()
    else:
        type_, thing = await events.next()
        assert (type_, thing["code"], thing["reason"]) == ("ERROR", 410, "Expired")
        assert await events.all() == []


async def test_a_client_ahead_of_a_restored_server_hears_nothing_until_it_caught_up(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    backup = fake.store.backup()
    for name in "abc":
        fake.put(ingress(name))
    ahead = str(fake.store.version)
    fake.restore(backup)
    assert names(await listed(api, ALL_INGRESSES)) == []
    async with watching(fake, api, resourceVersion=ahead) as events:
        for name in "defg":
            fake.put(ingress(name))
        assert await events.names(1) == [("ADDED", "g")]


async def test_a_streaming_list_is_refused_unless_its_gate_is_on(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    with pytest.raises(InvalidError):
        await Events(api, ALL_INGRESSES, **query).all()
    fake.manners.streaming_lists = True
    fake.put(ingress("x"))
    async with watching(fake, api, resourceVersion="", **query) as events:
        assert await events.names(1) == [("ADDED", "x")]
        type_, thing = await events.next()
        assert type_ == "BOOKMARK"
        assert thing["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


# -- writes ----------------------------------------------------------------------------------------


async def test_an_object_is_put_as_kubectl_would(fake: FakeKubeApi, api: KubeApi) -> None:
    first = fake.put(ingress("x"))
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    body = json.dumps({"status": status}).encode()
    patch = "application/merge-patch+json"
    await api.request("PATCH", f"{INGRESSES}/x/status", body=body, content_type=patch)
    second = fake.put(ingress("x", host="other.test"))
    assert second["status"] == status, "what others wrote stays"
    assert second["metadata"]["generation"] == 2
    assert second["metadata"]["uid"] == first["metadata"]["uid"]
    fake.put(ingress("x", host="other.test") | {"status": {"loadBalancer": {}}})
    assert fake.objects("Ingress")[0]["status"] == {"loadBalancer": {}}
    fake.delete("Ingress", "shop", "x")
    assert fake.get("Ingress", "shop", "x") is None
    assert fake.put(ingress("x"))["metadata"]["uid"] != first["metadata"]["uid"]


# -- faults ----------------------------------------------------------------------------------------


async def test_a_fault_happens_as_often_as_it_should(fake: FakeKubeApi, api: KubeApi) -> None:
    fault = fake.fault("list", "ingresses", status=503, headers={"Retry-After": "3"}, times=2)
    for _ in range(2):
        with pytest.raises(ThrottledError) as error:
            await listed(api, ALL_INGRESSES)
        assert error.value.retry_after == 3.0
    await listed(api, ALL_INGRESSES)
    assert fault.hits == 2
    assert [seen.status for seen in fake.requested("list", "ingresses")] == [503, 503, 200]


async def test_a_fault_may_be_withdrawn(fake: FakeKubeApi, api: KubeApi) -> None:
    fault = fake.fault("GET", "^/api/v1/secrets$", status=403, times=None)
    with pytest.raises(Exception, match="403"):
        await listed(api, SECRETS)
    fault.withdraw()
    await listed(api, SECRETS)


async def test_an_answer_is_late_or_does_not_come(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.fault("GET", "secrets", delay=0.05)
    await api.request("GET", SECRETS)
    fake.fault("GET", "secrets", hang=True)
    with pytest.raises(UnavailableError, match=r"within 0\.05 s"):
        await api.request("GET", SECRETS, timeout=0.05)


async def test_an_answer_is_cut(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.fault("GET", "secrets", cut_after=10)
    with pytest.raises(UnavailableError, match="in the middle"):
        await api.request("GET", SECRETS)
    fake.put(ingress("x"))
    fake.fault("watch", "ingresses", cut_after=30)
    events = Events(api, ALL_INGRESSES, resourceVersion="1000")
    with pytest.raises(UnavailableError, match="in the middle"):
        await events.all()


async def test_open_watches_do_what_a_test_says(fake: FakeKubeApi, api: KubeApi) -> None:
    async with watching(fake, api) as events:
        fake.put(ingress("x"))
        await events.next()
        (watch,) = fake.watches("ingresses")
        watch.send_event("MODIFIED", ingress("never-stored"))
        assert await events.names(1) == [("MODIFIED", "never-stored")]
        watch.send_line(b"{garbage")
        with pytest.raises(ValueError, match="Expecting"):
            await events.next()
        watch.send_gone()
        assert (await events.next())[1]["code"] == 410
        assert await events.all() == []


async def test_events_come_twice_and_turned_round(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.manners.mangle = lambda lines: (line for line in reversed(lines) for _ in (1, 2))
    async with watching(fake, api, resourceVersion="1000") as events:
        fake.put(ingress("a"))
        fake.put(ingress("b"))
        assert await events.names(4) == [("ADDED", name) for name in "bbaa"]


async def test_a_silent_watch_sends_nothing_and_does_not_end(
    fake: FakeKubeApi, tmp_path: Path
) -> None:
    api = await KubeApi.connect(Access(kubeconfig=fake.kubeconfig(tmp_path)))
    query = {"watch": "1", "timeoutSeconds": "0.1", "resourceVersion": str(fake.store.version)}
    lines = api.stream(ALL_INGRESSES, query=query, silence=0.5)
    fake.put(ingress("x"))
    await anext(lines)
    (watch,) = fake.watches()
    watch.go_silent()
    fake.put(ingress("y"))
    with pytest.raises(UnavailableError, match="silent"):
        await anext(lines)
    await api.close()


async def test_the_server_goes_and_comes_back_on_its_port(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.put(ingress("x"))
    events = Events(api, ALL_INGRESSES, resourceVersion="1000")
    await events.next()
    await fake.stop()
    with pytest.raises(UnavailableError, match="in the middle"):
        await events.next()
    with pytest.raises(UnavailableError, match="Connection refused"):
        await api.request("GET", SECRETS)
    await fake.start()
    assert names(await listed(api, ALL_INGRESSES)) == ["x"]


async def test_only_the_bearer_of_the_token_is_let_in(tmp_path: Path) -> None:
    async with FakeKubeApi(token="first") as fake:
        path = fake.kubeconfig(tmp_path)
        api = await KubeApi.connect(Access(kubeconfig=path))
        await listed(api, SECRETS)
        fake.token = "second"
        with pytest.raises(UnauthorizedError):
            await listed(api, SECRETS)
        await api.close()


async def test_garbage_is_an_answer_too(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.fault("watch", "ingresses", status=200, body=b'{"type":')
    with pytest.raises(MalformedAnswerError):
        await Events(api, ALL_INGRESSES).all()
