"""The status writer against an API server on a real socket."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingress_controller.status import writer as room
from ingress_controller.status.pace import Bucket
from ingress_controller.status.wanted import ECHO_SECONDS
from ingress_controller.status.writer import StatusWriter
from ingress_controller.store import Name
from tests.harness.waiting import until
from tests.ingress_controller.status.cluster import Cluster, cluster, running

OURS = ("192.0.2.1",)
THEIRS = "198.51.100.9"
WRITTEN = {"ingress": [{"ip": "192.0.2.1"}]}


class Scene:
    """A cluster and a writer that runs."""

    def __init__(self, it: Cluster) -> None:
        self.it = it
        self.writer = StatusWriter(it.api, it.source.statuses, it.lead, it.log)
        it.source.on_status = self.writer.seen

    def confirm(self, *names: Name) -> None:
        """All workers serve these now."""
        self.writer.confirm({name: self.it.standing(name) for name in names})

    def patches(self, name: str = "") -> int:
        return len(self.it.fake.requested("patch", f"{name}/status"))

    async def written(self, *names: Name) -> None:
        await until(lambda: all(self.it.status(name) == WRITTEN for name in names), "written")

    async def quiet(self, seconds: float = 0.15) -> None:
        """So long nothing is written. (That nothing happens can only be seen by waiting.)"""
        before = self.patches()
        await asyncio.sleep(seconds)
        assert self.patches() == before


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with cluster(tmp_path) as it:
        scene = Scene(it)
        async with running(scene.writer.run()):
            yield scene


async def test_addresses_are_written_when_the_workers_serve_the_ingress(scene: Scene) -> None:
    shop = scene.it.ingress("shop")
    scene.writer.publish(("192.0.2.1", "2001:db8::1", "edge.example.com"))
    await scene.it.knows(shop)
    await scene.quiet()
    scene.confirm(shop)
    entries = [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}, {"hostname": "edge.example.com"}]
    await until(lambda: scene.it.status(shop) == {"ingress": entries}, "written")
    (request,) = scene.it.fake.requested("patch")
    assert request.path == "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/shop/status"
    assert request.headers["Content-Type"] == "application/merge-patch+json"
    assert set(request.json) == {"metadata", "status"}
    await scene.it.knows(shop, "192.0.2.1", "2001:db8::1", "edge.example.com")
    await scene.quiet()
    assert scene.writer.counts.written == 1
    assert scene.writer.counts.pending == 0


async def test_what_the_api_has_already_is_not_written(scene: Scene) -> None:
    shop = scene.it.ingress("shop", *OURS)
    await scene.it.knows(shop, *OURS)
    scene.writer.publish(OURS)
    scene.confirm(shop)
    await scene.quiet()
    assert scene.patches() == 0


async def test_addresses_that_become_known_later_are_written(scene: Scene) -> None:
    shop = scene.it.ingress("shop")
    await scene.it.knows(shop)
    scene.confirm(shop)
    await scene.quiet()
    scene.writer.publish(OURS)
    await scene.written(shop)
    scene.writer.publish(())
    await scene.quiet()
    assert scene.it.status(shop) == WRITTEN


async def test_who_does_not_lead_writes_nothing_and_knows_what_to_do_when_it_does(
    scene: Scene,
) -> None:
    scene.it.lead.turn(on=False)
    shop, gone = scene.it.ingress("shop"), scene.it.ingress("gone", *OURS)
    scene.writer.publish(OURS)
    scene.confirm(shop, gone)
    await scene.it.knows(gone, *OURS)
    scene.writer.confirm({gone: scene.it.standing(gone, "others")})
    await scene.quiet()
    assert scene.patches() == 0
    scene.it.lead.turn(on=True)
    await scene.written(shop)
    await until(lambda: scene.it.status(gone) == {}, "removed")


async def test_who_stops_leading_stops_at_once(scene: Scene) -> None:
    names = [scene.it.ingress(f"i{number}") for number in range(20)]
    await scene.it.knows(names[-1])
    hanging = scene.it.fake.fault("patch", "status", hang=True, times=None)
    scene.writer.publish(OURS)
    scene.confirm(*names)
    await until(lambda: hanging.hits == room.MAX_AT_ONCE, "as many as may")
    scene.it.lead.turn(on=False)
    await until(lambda: scene.writer.counts.pending == 0, "given up", within=1)
    hanging.withdraw()
    await scene.quiet()
    scene.it.lead.turn(on=True)
    await scene.written(*names)
    assert scene.writer.counts.failed == 0


async def test_an_ingress_that_leaves_is_emptied_of_what_is_ours(scene: Scene) -> None:
    shop = scene.it.ingress("shop")
    scene.writer.publish(OURS)
    await scene.it.knows(shop)
    scene.confirm(shop)
    await scene.written(shop)
    scene.writer.confirm({shop: scene.it.standing(shop, "nobody")})
    await until(lambda: scene.it.status(shop) == {}, "removed")
    assert scene.it.fake.requested("patch")[-1].json["status"] == {
        "loadBalancer": {"ingress": None}
    }


async def test_an_ingress_of_another_controller_is_left_alone(scene: Scene) -> None:
    theirs = scene.it.ingress("theirs", THEIRS)
    same = scene.it.ingress("same", *OURS)
    scene.writer.publish(OURS)
    await scene.it.knows(same, *OURS)
    for name in (theirs, same):
        scene.writer.confirm({name: scene.it.standing(name, "others")})
    await scene.quiet()
    assert scene.patches() == 0


async def test_another_life_of_an_ingress_gets_its_address_when_it_is_served(
    scene: Scene,
) -> None:
    shop = scene.it.ingress("shop")
    scene.writer.publish(OURS)
    await scene.it.knows(shop)
    scene.confirm(shop)
    await scene.written(shop)
    await scene.it.knows(shop, *OURS)
    scene.it.fake.delete("Ingress", *shop)
    scene.it.ingress("shop")
    await scene.it.knows(shop)
    await scene.quiet()
    assert scene.it.status(shop) == {"ingress": []}, "as it was made"
    scene.confirm(shop)
    await scene.written(shop)


async def test_a_write_meant_for_an_earlier_life_does_not_hit_and_is_no_fault(
    scene: Scene,
) -> None:
    shop = scene.it.ingress("shop")
    scene.writer.publish(OURS)
    await scene.it.knows(shop)
    slow = scene.it.fake.fault("patch", "status", delay=0.1)
    scene.confirm(shop)
    await until(lambda: slow.hits, "on its way")
    scene.it.fake.delete("Ingress", *shop)
    scene.it.ingress("shop")
    await until(lambda: scene.it.fake.requested("patch")[0].status == 422, "refused")
    await until(lambda: scene.writer.counts.pending == 0, "given up")
    assert scene.writer.counts.failed == 0
    assert scene.writer.counts.written == 0
    scene.confirm(shop)
    await scene.written(shop)


async def test_an_ingress_that_is_gone_is_no_fault(scene: Scene) -> None:
    shop = scene.it.ingress("shop")
    scene.writer.publish(OURS)
    await scene.it.knows(shop)
    slow = scene.it.fake.fault("patch", "status", delay=0.1)
    scene.confirm(shop)
    await until(lambda: slow.hits, "on its way")
    scene.it.fake.delete("Ingress", *shop)
    await until(lambda: scene.it.fake.requested("patch")[0].status == 404, "not found")
    await until(lambda: scene.writer.counts.pending == 0, "given up")
    assert scene.writer.counts.failed == 0


async def test_many_are_written_a_few_at_once_and_oldest_wish_first(scene: Scene) -> None:
    names = [scene.it.ingress(f"i{number:03}") for number in range(60)]
    await scene.it.knows(names[-1])
    under_way = most = 0
    patch = scene.it.api.request

    async def counted(*arguments: object, **more: object) -> bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await patch(*arguments, **more)  # type: ignore[arg-type] # as they came
        finally:
            under_way -= 1

    scene.it.api.request = counted  # type: ignore[method-assign] # to look at
    scene.it.fake.fault("patch", "status", delay=0.02, times=None)
    scene.writer.publish(OURS)
    scene.confirm(*reversed(names))
    await scene.written(*names)
    assert most == room.MAX_AT_ONCE
    paths = [request.path for request in scene.it.fake.requested("patch")]
    asked = [name.name for name in reversed(names)]
    places = [asked.index(path.split("/")[-2]) for path in paths]
    assert all(abs(place - index) < 3 * room.MAX_AT_ONCE for index, place in enumerate(places))


async def test_wishes_about_one_ingress_become_one_write(scene: Scene) -> None:
    shop, other = scene.it.ingress("shop"), scene.it.ingress("other")
    await scene.it.knows(other)
    slow = scene.it.fake.fault("patch", "other/status", delay=0.1)
    scene.writer.publish(OURS)
    scene.confirm(other)
    await until(lambda: slow.hits, "on its way")
    for _ in range(10):
        scene.confirm(shop, other)
    await scene.written(shop, other)
    await scene.it.knows(shop, *OURS)
    assert scene.patches("shop") == scene.patches("other") == 1


async def test_what_changes_while_a_write_is_under_way_is_written_after_it(scene: Scene) -> None:
    shop = scene.it.ingress("shop")
    await scene.it.knows(shop)
    slow = scene.it.fake.fault("patch", "status", delay=0.1)
    scene.writer.publish(("192.0.2.7",))
    scene.confirm(shop)
    await until(lambda: slow.hits, "on its way")
    scene.it.source.on_status = lambda name: None  # the echo of the first would help
    scene.writer.publish(OURS)
    took = await until(lambda: scene.it.status(shop) == WRITTEN, "written")
    assert took < ECHO_SECONDS, "it does not wait for a look by chance"


async def test_an_outage_keeps_the_wishes_and_makes_no_storm(scene: Scene) -> None:
    names = [scene.it.ingress(f"i{number:03}") for number in range(100)]
    await scene.it.knows(names[-1])
    failing = scene.it.fake.fault("patch", "status", status=500, times=None)
    scene.writer.publish(OURS)
    scene.confirm(*names)
    started = time.monotonic()
    # The first at once; then one after 1 s, the next 2 s later.
    await until(lambda: failing.hits >= room.MAX_AT_ONCE + 1, "tried again")
    assert time.monotonic() - started >= 1.0
    await scene.quiet(0.5)
    assert failing.hits <= room.MAX_AT_ONCE + 1
    assert scene.writer.counts.pending == 100
    failing.withdraw()
    await scene.written(*names)
    await until(lambda: "a status cannot be written; it is tried again" in scene.it.logged, "said")
    assert scene.it.logged.count("a status cannot be written") == 1


async def test_a_server_that_sends_us_away_is_obeyed(scene: Scene) -> None:
    shop = scene.it.ingress("shop")
    await scene.it.knows(shop)
    scene.it.fake.fault("patch", "status", status=429, headers={"Retry-After": "2"})
    scene.writer.publish(OURS)
    started = time.monotonic()
    scene.confirm(shop)
    await scene.written(shop)
    assert time.monotonic() - started >= 2.0


async def test_a_missing_role_is_named_and_concerns_its_namespace_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "FORBIDDEN_SECONDS", 0.3)
    closed = [scene.it.ingress(f"i{number}", namespace="closed") for number in range(30)]
    shop = scene.it.ingress("shop")
    await scene.it.knows(shop)
    fault = scene.it.fake.fault("patch", "/closed/", status=403, times=None)
    scene.writer.publish(OURS)
    scene.confirm(*closed, shop)
    await scene.written(shop)
    await until(
        lambda: "allow patch on ingresses/status to our ServiceAccount" in scene.it.logged, "said"
    )
    assert fault.hits <= room.MAX_AT_ONCE
    fault.withdraw()
    await scene.written(*closed)
    assert scene.it.logged.count("allow patch on ingresses/status") == 1


async def test_a_refused_status_holds_up_nobody(scene: Scene) -> None:
    bad, shop = scene.it.ingress("bad"), scene.it.ingress("shop")
    await scene.it.knows(shop)
    scene.it.fake.fault("patch", "bad/status", status=422, times=None)
    scene.writer.publish(OURS)
    scene.confirm(bad, shop)
    await scene.written(shop)
    await until(lambda: "the API server refuses a status" in scene.it.logged, "said")
    await scene.quiet()
    assert scene.writer.counts.failed == 1


async def test_two_controllers_that_fight_do_not_flap(scene: Scene) -> None:
    shop = scene.it.ingress("shop")
    scene.writer.publish(OURS)
    await scene.it.knows(shop)
    scene.confirm(shop)
    for count in range(1, 5):
        await until(lambda count=count: scene.patches() == count, "written")  # type: ignore[misc] # bound now
        await scene.it.knows(shop, *OURS)
        scene.it.write_status(shop, THEIRS)
    await scene.it.knows(shop, THEIRS)
    await scene.quiet(0.3)
    assert scene.patches() == 4, "the first, and three more within a minute"
    assert scene.writer.counts.contested == 1
    await until(lambda: "somebody else writes the status" in scene.it.logged, "said")
    assert "shop/shop" in scene.it.logged


async def test_a_defect_stops_nothing(scene: Scene) -> None:
    shop = scene.it.ingress("shop")
    await scene.it.knows(shop)
    request = scene.it.api.request

    async def broken(*_: object, **__: object) -> bytes:
        scene.it.api.request = request  # type: ignore[method-assign] # broken once
        raise RuntimeError("not foreseen")

    scene.it.api.request = broken  # type: ignore[method-assign] # what cannot happen, happens
    scene.writer.publish(OURS)
    scene.confirm(shop)
    await scene.written(shop)
    assert "not foreseen" in scene.it.logged


async def test_at_the_end_what_we_wrote_is_removed_if_that_is_wanted(scene: Scene) -> None:
    names = [scene.it.ingress(f"i{number:03}") for number in range(150)]
    theirs = scene.it.ingress("theirs", THEIRS)
    scene.writer.publish(OURS)
    await scene.it.knows(theirs, THEIRS)
    scene.confirm(*names)
    await scene.written(*names)
    # The pace of every day must not hold it up.
    scene.writer._bucket = Bucket(rate=0.001, burst=1.0, now=time.monotonic())
    await scene.writer.clear()
    assert all(scene.it.status(name) == {} for name in names)
    await scene.quiet()
    assert scene.it.status(theirs) == {"ingress": [{"ip": THEIRS}]}


async def test_the_end_waits_for_nobody_for_ever(scene: Scene) -> None:
    shop = scene.it.ingress("shop")
    scene.writer.publish(OURS)
    await scene.it.knows(shop)
    scene.confirm(shop)
    await scene.written(shop)
    scene.it.fake.fault("patch", "status", hang=True, times=None)
    started = time.monotonic()
    await scene.writer.clear(seconds=0.2)
    assert time.monotonic() - started < 5.0
    await until(lambda: "the status of 1 Ingresses could not be removed" in scene.it.logged, "said")


async def test_who_does_not_lead_removes_nothing_at_the_end(scene: Scene) -> None:
    shop = scene.it.ingress("shop", *OURS)
    scene.writer.publish(OURS)
    await scene.it.knows(shop, *OURS)
    scene.confirm(shop)
    scene.it.lead.turn(on=False)
    await scene.writer.clear()
    assert scene.it.status(shop) == WRITTEN
