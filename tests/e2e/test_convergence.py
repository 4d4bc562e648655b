"""Whatever happens, in whatever order: in the end every replica serves what the API server says.

Random changes of every kind through the API, from a seed that a failure prints; then the table of
each replica is compared with that of a controller which has just started and read everything once.
"""

import asyncio
import json
import random
import time
from typing import Any

import pytest

from tests.e2e.certificates import Certificate, issue
from tests.e2e.controller import Controller, clusterctl
from tests.e2e.instance import instance
from tests.e2e.kube import Kube, Object, RefusedError
from tests.e2e.objects import (
    endpoint_slice,
    ingress,
    path,
    paths_of,
    secret,
    service,
    tls_entry,
)
from tests.e2e.space import Space

NAMES = 8
OPERATIONS = 250
SUFFIX = ".random.test"
PORT_NAMES = ("http", "http", "http", "web")
PORTS = (80, 80, 80, 8080)
"""Mostly those that fit together."""


def arbitrary(kind: str, number: int, rng: random.Random, pairs: list[Certificate]) -> Object:
    """Some object of the kind; of a few names, so that they meet."""
    other = rng.randrange(NAMES)
    if kind == "Service":
        ports = [{"name": rng.choice(PORT_NAMES), "port": rng.choice(PORTS)}]
        return service(f"s{number}", selects=False, ports=ports)
    if kind == "EndpointSlice":
        addresses = [f"10.245.77.{rng.randrange(1, 200)}" for _ in range(rng.randrange(3))]
        conditions = {"ready": rng.random() < 0.7}
        name = rng.choice(PORT_NAMES)
        return endpoint_slice(
            f"s{other}", *addresses, name=f"e{number}", port_name=name, conditions=conditions
        )
    if kind == "Secret":
        # Never a broken one: the last good one would be kept, which a fresh start cannot know.
        pair = rng.choice(pairs)
        return secret(f"t{number}", pair.pem, pair.private_key)
    host = f"h{other}{SUFFIX}" if rng.random() < 0.9 else f"*{SUFFIX}"
    paths = [
        path(rng.choice(["/", "/a", "/a/b"]), f"s{rng.randrange(NAMES)}:{rng.choice(PORTS)}")
        for _ in range(rng.randrange(1, 3))
    ]
    return ingress(
        f"i{number}",
        paths_of(host, *paths),
        ingress_class=rng.choice(["python", "python", "python", "nobodys"]),
        tls=[tls_entry(f"t{other}", host)] if rng.random() < 0.4 else (),
    )


async def operate(space: Space, rng: random.Random, pairs: list[Certificate]) -> None:
    """One change, whether it fits or not."""
    kind = rng.choice(["Service", "EndpointSlice", "EndpointSlice", "Secret", "Ingress", "Ingress"])
    obj = arbitrary(kind, rng.randrange(NAMES), rng, pairs)
    verbs = ["create", "replace", "replace", *(["delete"] if kind != "Secret" else [])]
    try:
        match rng.choice(verbs):
            case "create":
                await space.create(obj)
            case "replace":
                await space.replace(obj)
            case _:
                await space.delete(obj)
    except RefusedError as refusal:
        if refusal.status not in (404, 409):
            raise


async def table(controller: Controller, kube: Kube, pod: str, space: Space) -> Any:
    """What a replica serves of this test's hosts, without what each process has of its own."""
    told = json.loads(await controller.ask(kube, pod, "/routes"))
    names = {digest: pair["names"] for digest, pair in told["certificates"].items()}
    return {
        "hosts": {name: host for name, host in told["hosts"].items() if name.endswith(SUFFIX)},
        "names": {
            name: {**entry, "certificates": [names[d] for d in entry["certificates"]]}
            for name, entry in told["server_names"].items()
            if name.endswith(SUFFIX)
        },
        "upstreams": {
            key: upstream
            for key, upstream in told["upstreams"].items()
            if key.startswith(f"{space.name}/")
        },
    }


async def until_equal(
    controller: Controller, kube: Kube, pod: str, space: Space, wanted: Any
) -> Any:
    """The table of a replica, at last: it has ten seconds to become the one that is wanted."""
    end = time.monotonic() + 10
    while (found := await table(controller, kube, pod, space)) != wanted:
        if time.monotonic() > end:
            break
        await asyncio.sleep(0.1)
    return found


@pytest.mark.parametrize("broken", [False, True], ids=["calm", "with an API server that dies"])
async def test_every_replica_ends_with_the_table_of_a_fresh_start(
    request: pytest.FixtureRequest, controller: Controller, kube: Kube, broken: bool
) -> None:
    if broken:
        request.getfixturevalue("local_cluster")
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    pairs = [issue(f"h{number}{SUFFIX}") for number in range(3)]
    async with Space(kube) as space:
        for number in range(OPERATIONS):
            await operate(space, rng, pairs)
            if broken and number == OPERATIONS // 2:
                await asyncio.to_thread(clusterctl, "kill-apiserver")
                await asyncio.to_thread(clusterctl, "start-apiserver")
                await _back(kube)
        last = f"last{SUFFIX}"  # chance may have left nothing else
        await space.create(ingress("last", paths_of(last, path("/", "s0:80"))))
        async with instance(
            f"fresh{int(broken)}",
            "python",
            "python-ingress.dev/controller",
            makes_class=False,
            PUBLISH_STATUS="false",
            EVENTS="false",
        ) as fresh:
            [new] = await fresh.pods(kube)
            wanted = await table(fresh, kube, new["metadata"]["name"], space)
            assert last in wanted["hosts"]
            for pod in await controller.pods(kube):
                name = pod["metadata"]["name"]
                found = await until_equal(controller, kube, name, space, wanted)
                assert found == wanted, f"seed {seed}: {name} differs from a fresh start"


async def _back(kube: Kube) -> None:
    for _ in range(300):
        if await kube.answers("https://10.96.0.1"):
            return
        await asyncio.sleep(0.1)
