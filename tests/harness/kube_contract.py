"""What an API server promises to a client: the same checks for the fake one and for a real one.

Each promise is a coroutine that takes a client and uses nothing but requests. They write into the
namespace ``default`` and delete what they made; names begin with ``promise-``.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from ingress_controller.sources.errors import (
    ApiError,
    ConflictError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from ingress_controller.sources.kube_api import KubeApi

Json = Any
Promise = Callable[[KubeApi], Awaitable[None]]

ALL_INGRESSES = "/apis/networking.k8s.io/v1/ingresses"
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
SECRETS = "/api/v1/namespaces/default/secrets"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
EVENTS = "/api/v1/namespaces/default/events"
MERGE_PATCH = "application/merge-patch+json"
ADDRESS = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}


def ingress(name: str, host: str = "h.test", **meta: Any) -> Json:
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": f"promise-{name}", "namespace": "default", **meta},
        "spec": {"rules": [{"host": host, "http": {"paths": [path]}}]},
    }


async def send(
    api: KubeApi, method: str, path: str, content: Json, content_type: str = "application/json"
) -> Json:
    body = json.dumps(content).encode()
    return json.loads(await api.request(method, path, body=body, content_type=content_type))


async def read(api: KubeApi, path: str, **query: str) -> Json:
    return json.loads(await api.request("GET", path, query=query))


def names(page: Json) -> list[str]:
    """Of our own objects: others may be there."""
    found = [item["metadata"]["name"] for item in page["items"]]
    return [name.removeprefix("promise-") for name in found if name.startswith("promise-")]


@contextlib.asynccontextmanager
async def made(api: KubeApi, path: str, *contents: Json) -> AsyncGenerator[list[Json], None]:
    """Objects that are deleted afterwards."""
    objects = []
    try:
        for content in contents:
            objects.append(await send(api, "POST", path, content))
        yield objects
    finally:
        for made_one in objects:
            with contextlib.suppress(NotFoundError):
                await api.request("DELETE", f"{path}/{made_one['metadata']['name']}")


@contextlib.asynccontextmanager
async def events(
    api: KubeApi, path: str, **query: str
) -> AsyncGenerator[Callable[[], Awaitable[tuple[str, Json]]], None]:
    """A function that gives the next event of our own objects, or an ERROR, or a BOOKMARK."""
    lines = api.stream(path, query={"watch": "true"} | query, silence=10)

    async def following() -> tuple[str, Json]:
        while True:
            event = json.loads(await anext(lines))
            name = event["object"].get("metadata", {}).get("name", "promise-")
            if name.startswith("promise-"):
                return event["type"], event["object"]

    async with contextlib.aclosing(lines):
        yield following


# -- writes ----------------------------------------------------------------------------------------


async def an_object_is_created_read_replaced_and_deleted(api: KubeApi) -> None:
    async with made(api, INGRESSES, ingress("x")) as (first,):
        assert first["metadata"]["uid"]
        assert first["status"] == {"loadBalancer": {}}
        with pytest.raises(ConflictError) as again:
            await send(api, "POST", INGRESSES, ingress("x"))
        assert again.value.reasons == {"AlreadyExists"}
        first["spec"]["rules"][0]["host"] = "other.test"
        first["status"] = ADDRESS
        new = await send(api, "PUT", f"{INGRESSES}/promise-x", first)
        assert new["metadata"]["generation"] == 2
        assert new["status"] == {"loadBalancer": {}}, "a status has its own path"
        assert await read(api, f"{INGRESSES}/promise-x") == new
        gone = json.loads(await api.request("DELETE", f"{INGRESSES}/promise-x"))
        assert (gone["kind"], gone["status"]) == ("Status", "Success")
        with pytest.raises(NotFoundError, match='"promise-x" not found'):
            await read(api, f"{INGRESSES}/promise-x")


async def a_stale_version_is_a_conflict(api: KubeApi) -> None:
    content = {"metadata": {"name": "promise-l"}, "spec": {"holderIdentity": "a"}}
    async with made(api, LEASES, content) as (lease,):
        path = f"{LEASES}/promise-l"
        await send(api, "PUT", path, lease | {"spec": {"holderIdentity": "b"}})
        with pytest.raises(ConflictError, match="has been modified") as conflict:
            await send(api, "PUT", path, lease | {"spec": {"holderIdentity": "c"}})
        assert conflict.value.reasons == {"Conflict"}
        patch = {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}}
        with pytest.raises(ConflictError, match="has been modified"):
            await send(api, "PATCH", path, patch | {"spec": {"holderIdentity": "c"}}, MERGE_PATCH)
        del lease["metadata"]["resourceVersion"]
        with pytest.raises(InvalidError, match="must be specified for an update"):
            await send(api, "PUT", path, lease)


async def a_status_patch_touches_the_status_alone(api: KubeApi) -> None:
    async with made(api, INGRESSES, ingress("x")) as (first,):
        path = f"{INGRESSES}/promise-x/status"
        patch = {"metadata": {"uid": first["metadata"]["uid"]}, "status": ADDRESS}
        new = await send(api, "PATCH", path, patch | {"spec": {"rules": []}}, MERGE_PATCH)
        assert (new["status"], new["spec"]) == (ADDRESS, first["spec"])
        assert new["metadata"]["generation"] == 1
        again = await send(api, "PATCH", path, patch, MERGE_PATCH)
        assert again["metadata"]["resourceVersion"] == new["metadata"]["resourceVersion"]
        emptied = await send(api, "PATCH", path, {"status": {"loadBalancer": None}}, MERGE_PATCH)
        assert emptied["status"] == {"loadBalancer": {}}


async def the_uid_of_another_life_is_refused(api: KubeApi) -> None:
    other = "00000000-0000-4000-8000-fffffffffff1"
    async with made(api, INGRESSES, ingress("x")):
        path = f"{INGRESSES}/promise-x"
        for place in (path, f"{path}/status"):
            with pytest.raises(InvalidError, match="field is immutable") as error:
                await send(api, "PATCH", place, {"metadata": {"uid": other}}, MERGE_PATCH)
            assert "Invalid" in error.value.reasons
        with pytest.raises(ConflictError, match="Precondition failed"):
            await send(api, "PUT", path, ingress("x", uid=other))
        with pytest.raises(NotFoundError):
            await send(api, "PATCH", f"{path}-other/status", {"status": {}}, MERGE_PATCH)


async def an_event_gets_a_name_of_its_own(api: KubeApi) -> None:
    about = {"kind": "Ingress", "namespace": "default", "name": "promise-x"}
    content = {"metadata": {"generateName": "promise-x."}, "involvedObject": about}
    async with made(api, EVENTS, content, content) as (first, second):
        assert first["metadata"]["name"] != second["metadata"]["name"]
        page = await read(api, EVENTS, fieldSelector="involvedObject.name=promise-x")
        assert len(names(page)) == 2


async def what_cannot_be_done_is_refused(api: KubeApi) -> None:
    async with made(api, INGRESSES, ingress("x")):
        for method, path, content_type, code in (
            ("GET", "/apis/networking.k8s.io/v1/nonsense", "application/json", 404),
            ("GET", f"{INGRESSES}/promise-x/scale", "application/json", 404),
            ("GET", "/nonsense", "application/json", 404),
            ("POST", ALL_INGRESSES, "application/json", 405),
            ("PATCH", f"{INGRESSES}/promise-x", "application/nonsense", 415),
            ("PATCH", f"{INGRESSES}/promise-x", MERGE_PATCH, 400),
        ):
            with pytest.raises(ApiError) as error:
                await api.request(method, path, body=b"{", content_type=content_type)
            assert error.value.status == code, path


# -- lists -----------------------------------------------------------------------------------------


async def a_list_is_cut_into_pages_that_show_one_moment(api: KubeApi) -> None:
    async with made(api, INGRESSES, *(ingress(name, labels={"p": "1"}) for name in "edcba")):
        query = {"labelSelector": "p=1"}
        first = await read(api, ALL_INGRESSES, limit="2", **query)
        await api.request("DELETE", f"{INGRESSES}/promise-c")
        patch = ingress("d", host="other.test")
        await send(api, "PATCH", f"{INGRESSES}/promise-d", {"spec": patch["spec"]}, MERGE_PATCH)
        token = first["metadata"]["continue"]
        rest = await read(api, ALL_INGRESSES, limit="9", **query, **{"continue": token})
        assert (first["kind"], names(first), names(rest)) == (
            "IngressList",
            ["a", "b"],
            ["c", "d", "e"],
        )
        assert rest["items"][1]["spec"] == ingress("d")["spec"], "as it was at the first page"
        assert first["metadata"]["resourceVersion"] == rest["metadata"]["resourceVersion"]
        assert not rest["metadata"].get("continue")
        assert "kind" not in first["items"][0]
        whole = await read(api, ALL_INGRESSES, limit="1", resourceVersion="0", **query)
        assert len(names(whole)) == 4, "version 0 comes from the cache, which knows no pages"


async def a_list_of_a_version_that_is_not_there_yet_times_out(api: KubeApi) -> None:
    with pytest.raises(UnavailableError) as error:
        await read(api, ALL_INGRESSES, resourceVersion="999999999")
    assert "ResourceVersionTooLarge" in error.value.reasons
    assert (error.value.status, error.value.retry_after) == (504, 1.0)


async def a_token_that_continues_nothing_is_refused(api: KubeApi) -> None:
    with pytest.raises(InvalidError) as error:
        await read(api, ALL_INGRESSES, limit="1", **{"continue": "nonsense"})
    assert error.value.status == 400


async def selectors_choose_by_name_type_and_label(api: KubeApi) -> None:
    secrets = [
        {"metadata": {"name": f"promise-{name}", "labels": {"p": name}}, "type": f"promise/{name}"}
        for name in "ab"
    ]
    async with made(api, SECRETS, *secrets):
        for query, expected in (
            ({"fieldSelector": "type=promise/a"}, ["a"]),
            ({"fieldSelector": "metadata.name=promise-b"}, ["b"]),
            ({"fieldSelector": "type!=promise/b", "labelSelector": "p"}, ["a"]),
            ({"labelSelector": "p=b"}, ["b"]),
            ({"fieldSelector": "type=promise/a,metadata.name=promise-b"}, []),
        ):
            assert names(await read(api, SECRETS, **query)) == expected, query
            assert names(await read(api, "/api/v1/secrets", **query)) == expected, query
        with pytest.raises(InvalidError, match="field label not supported"):
            await read(api, SECRETS, fieldSelector="data.x=1")


async def empty_lists_of_a_slice_are_null(api: KubeApi) -> None:
    content = {"metadata": {"name": "promise-s"}, "addressType": "IPv4", "endpoints": []}
    async with made(api, SLICES, content) as (found,):
        assert (found["endpoints"], found["ports"]) == (None, None)


# -- watches ---------------------------------------------------------------------------------------


async def a_watch_tells_what_happened_after_its_version(api: KubeApi) -> None:
    async with made(api, INGRESSES, ingress("old")):
        page = await read(api, ALL_INGRESSES)
        async with made(api, INGRESSES, ingress("new")) as (new,):
            changed = await send(
                api,
                "PATCH",
                f"{INGRESSES}/promise-old",
                {"spec": ingress("old", host="other.test")["spec"]},
                MERGE_PATCH,
            )
            version = page["metadata"]["resourceVersion"]
            async with events(api, ALL_INGRESSES, resourceVersion=version) as following:
                assert await following() == ("ADDED", new)
                assert await following() == ("MODIFIED", changed)
                await api.request("DELETE", f"{INGRESSES}/promise-new")
                type_, gone = await following()
        assert (type_, gone["kind"], gone["spec"]) == ("DELETED", "Ingress", new["spec"])
        later = int(gone["metadata"]["resourceVersion"])
        assert later > int(changed["metadata"]["resourceVersion"])


async def a_watch_without_a_version_begins_with_what_is_there(api: KubeApi) -> None:
    async with made(api, INGRESSES, ingress("x")):
        for query in ({}, {"resourceVersion": "0"}):
            async with events(api, INGRESSES, **query) as following:
                type_, thing = await following()
                assert (type_, thing["metadata"]["name"]) == ("ADDED", "promise-x")


async def an_object_that_no_longer_fits_is_told_as_deleted(api: KubeApi) -> None:
    version = (await read(api, INGRESSES))["metadata"]["resourceVersion"]
    query = {"resourceVersion": version, "labelSelector": "p=1"}
    async with (
        made(api, INGRESSES, ingress("x", labels={"p": "1"})),
        events(api, INGRESSES, **query) as following,
    ):
        for label in ("2", "3", "1"):
            patch = {"metadata": {"labels": {"p": label}}}
            await send(api, "PATCH", f"{INGRESSES}/promise-x", patch, MERGE_PATCH)
        seen = [await following() for _ in range(3)]
    assert [type_ for type_, _ in seen] == ["ADDED", "DELETED", "ADDED"]


async def a_watch_ends_when_its_time_is_up(api: KubeApi) -> None:
    version = (await read(api, INGRESSES))["metadata"]["resourceVersion"]
    async with events(api, INGRESSES, resourceVersion=version, timeoutSeconds="1") as following:
        with pytest.raises(StopAsyncIteration):
            await following()


PROMISES: list[Promise] = [
    an_object_is_created_read_replaced_and_deleted,
    a_stale_version_is_a_conflict,
    a_status_patch_touches_the_status_alone,
    the_uid_of_another_life_is_refused,
    an_event_gets_a_name_of_its_own,
    what_cannot_be_done_is_refused,
    a_list_is_cut_into_pages_that_show_one_moment,
    a_list_of_a_version_that_is_not_there_yet_times_out,
    a_token_that_continues_nothing_is_refused,
    selectors_choose_by_name_type_and_label,
    empty_lists_of_a_slice_are_null,
    a_watch_tells_what_happened_after_its_version,
    a_watch_without_a_version_begins_with_what_is_there,
    an_object_that_no_longer_fits_is_told_as_deleted,
    a_watch_ends_when_its_time_is_up,
]
