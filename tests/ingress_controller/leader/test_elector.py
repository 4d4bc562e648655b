"""The elector against an API server on a real socket, with short times (fault F-31)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from ingress_controller.leader.elector import Alone, Elector, new_identity
from ingress_controller.leader.lease import Timing
from ingress_controller.logs import Log
from ingress_controller.sources.kube_api import Access, KubeApi
from ingress_controller.store import Name
from tests.harness.kube_api import FakeKubeApi
from tests.harness.waiting import until

LEASE = Name("python-ingress", "python-ingress-leader")
TIMING = Timing(lease=2.0, renew_deadline=1.2, retry=0.1, request=0.4)


class Member:
    """One process of the election."""

    def __init__(self, elector: Elector, api: KubeApi, log: StringIO) -> None:
        self.elector = elector
        self.api = api
        self.log = log
        self.told: list[bool] = []
        elector.subscribe(self.told.append)
        self._task = asyncio.create_task(elector.run())

    @property
    def leads(self) -> bool:
        return self.elector.leading

    async def end(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def kill(self) -> None:
        """Nothing of it reaches the API any more; it does not even know."""
        await self.api.close()


class Members:
    """Processes that share one API server."""

    def __init__(self, fake: FakeKubeApi, folder: Path) -> None:
        self.fake = fake
        self.folder = folder
        self.all: list[Member] = []
        self._logs: list[Log] = []

    async def join(self, name: str) -> Member:
        stream = StringIO()
        log = Log("text", "debug", stream)
        self._logs.append(log)
        api = await KubeApi.connect(Access(kubeconfig=self.fake.kubeconfig(self.folder)))
        member = Member(Elector(api, LEASE, name, log, timing=TIMING), api, stream)
        self.all.append(member)
        return member

    def leading(self) -> list[Member]:
        return [member for member in self.all if member.leads]

    async def close(self) -> None:
        for member in self.all:
            await member.end()
            await member.api.close()
        for log in self._logs:
            log.close()

    @property
    def lease(self) -> Any:
        lease = self.fake.get("Lease", *LEASE)
        assert lease is not None
        return lease

    @property
    def spec(self) -> Any:
        return self.lease["spec"]

    def write(self, *, labels: dict[str, str] | None = None, **spec: object) -> None:
        """As somebody else does it."""
        metadata = self.lease["metadata"] | {"labels": labels or {}}
        self.fake.put({"kind": "Lease", "metadata": metadata, "spec": self.spec | spec})


@pytest.fixture
async def members(tmp_path: Path) -> AsyncIterator[Members]:
    async with FakeKubeApi() as fake:
        group = Members(fake, tmp_path)
        try:
            yield group
        finally:
            await group.close()


async def test_the_first_creates_the_lease_and_leads(members: Members) -> None:
    a = await members.join("a")
    await until(lambda: a.told, "it leads")
    assert a.told == [True]
    assert members.spec["holderIdentity"] == "a"
    assert members.spec["leaseDurationSeconds"] == 2
    first = members.spec["renewTime"]
    await until(lambda: members.spec["renewTime"] != first, "it renews")
    assert [seen.verb for seen in members.fake.requests[:3]] == ["get", "create", "update"]
    assert a.elector.counts.leading
    assert a.elector.counts.terms == 1
    late: list[bool] = []
    a.elector.subscribe(late.append)
    assert late == [True]


async def test_a_killed_leader_is_followed_in_the_lease_time_and_never_joined(
    members: Members,
) -> None:
    a = await members.join("a")
    await until(lambda: a.leads, "a leads")
    b = await members.join("b")
    await until(lambda: "another process leads" in b.log.getvalue(), "b sees a")
    await a.kill()
    killed = time.monotonic()
    while not b.leads:
        assert len(members.leading()) <= 1
        assert time.monotonic() - killed < 5
        await asyncio.sleep(0.001)
    assert len(members.leading()) == 1
    assert a.told == [True, False]
    # Some renewal was on its way, or up to a retry old, when the leader was killed.
    assert time.monotonic() - killed < TIMING.lease + 2 * TIMING.retry + 0.5
    assert members.spec["leaseTransitions"] == 1


async def test_who_ends_gives_the_lease_back_and_is_followed_at_once(members: Members) -> None:
    a = await members.join("a")
    await until(lambda: a.leads, "a leads")
    b = await members.join("b")
    await until(lambda: "another process leads" in b.log.getvalue(), "b sees a")
    await a.end()
    assert not a.leads
    assert a.told == [True, False]
    assert await until(lambda: b.leads, "b leads") < TIMING.lease


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"hang": True}, id="no answer"),
        pytest.param({"status": 500}, id="errors"),
        pytest.param({"status": 200, "body": b"{}"}, id="nonsense"),
        pytest.param({"status": 401}, id="not let in"),
        pytest.param({"cut_after": 5}, id="cut"),
        pytest.param({"status": 429, "headers": {"Retry-After": "300"}}, id="sent away"),
    ],
)
async def test_without_renewal_leading_ends_at_the_deadline(
    members: Members, fault: dict[str, Any]
) -> None:
    a = await members.join("a")
    await until(lambda: a.leads, "a leads")
    members.fake.fault("*", "leases", times=None, **fault)
    ended = await until(lambda: not a.leads, "a stops")
    assert ended < TIMING.lease, "before others may lead"
    await until(lambda: a.told == [True, False], "listeners hear of it")
    await until(lambda: "does not lead any more" in a.log.getvalue(), "the log says so")
    assert "cannot ask for the Lease" in a.log.getvalue()


async def test_a_process_that_stood_still_notices_that_its_time_is_over(members: Members) -> None:
    a = await members.join("a")
    await until(lambda: a.leads, "a leads")
    time.sleep(TIMING.renew_deadline + 0.1)  # noqa: ASYNC251 # the whole process stands still
    assert not a.leads
    await until(lambda: a.leads, "nobody took the Lease meanwhile")
    await until(lambda: a.told == [True, False, True], "listeners hear of both")
    assert a.elector.counts.terms == 2


async def test_leading_survives_failures_shorter_than_the_deadline(members: Members) -> None:
    a = await members.join("a")
    await until(lambda: a.leads, "a leads")
    fault = members.fake.fault("*", "leases", status=500, times=3)
    await until(lambda: fault.hits == 3, "three attempts fail")
    renewed = members.spec["renewTime"]
    await until(lambda: members.spec["renewTime"] != renewed, "it renews again")
    assert a.told == [True]


async def test_a_defect_ends_leading_and_does_not_end_the_election(members: Members) -> None:
    a = await members.join("a")
    await until(lambda: a.leads, "a leads")
    request = a.api.request

    async def broken(*_: object, **__: object) -> bytes:
        raise RuntimeError("not foreseen")

    a.api.request = broken  # type: ignore[method-assign] # what cannot happen, happens
    await until(lambda: a.told == [True, False], "a stops")
    assert "not foreseen" in a.log.getvalue()
    a.api.request = request  # type: ignore[method-assign] # repaired
    await until(lambda: a.told == [True, False, True], "a leads again")


async def test_another_writer_of_the_lease_is_no_reason_to_stop(members: Members) -> None:
    a = await members.join("a")
    await until(lambda: a.leads, "a leads")
    for count in range(5):
        members.write(labels={"count": str(count)})
        renewed = members.spec["renewTime"]
        await until(lambda before=renewed: members.spec["renewTime"] != before, "it renews")  # type: ignore[misc] # bound now
    assert a.told == [True]
    assert members.lease["metadata"]["labels"] == {"count": "4"}


async def test_a_lease_that_somebody_takes_is_left_at_once(members: Members) -> None:
    a = await members.join("a")
    await until(lambda: a.leads, "a leads")
    members.write(holderIdentity="somebody")
    assert await until(lambda: not a.leads, "a stops") < TIMING.renew_deadline


async def test_a_deleted_lease_is_created_anew_by_its_holder(members: Members) -> None:
    a = await members.join("a")
    await until(lambda: a.leads, "a leads")
    b = await members.join("b")
    await until(lambda: "another process leads" in b.log.getvalue(), "b sees a")
    members.fake.delete("Lease", *LEASE)
    await until(lambda: members.fake.get("Lease", *LEASE), "it is there again")
    assert members.spec["holderIdentity"] == "a"
    assert members.leading() == [a]


async def test_a_missing_role_is_named_once_and_tried_again(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress_controller.leader.elector.FORBIDDEN_SECONDS", 0.1)
    fault = members.fake.fault("get", "leases", status=403, times=3)
    a = await members.join("a")
    await until(lambda: a.leads, "the Role was added")
    assert fault.hits == 3
    log = a.log.getvalue()
    assert log.count("allow create on leases, and get and update on python-ingress-leader") == 1
    assert "in a Role of namespace python-ingress, or start with --no-leader-elect" in log
    assert a.elector.counts.failures == 3


async def test_an_outage_costs_few_requests_and_its_end_can_be_told(members: Members) -> None:
    a = await members.join("a")
    await until(lambda: a.leads, "a leads")
    await members.fake.stop()
    await until(lambda: not a.leads, "a stops")
    lost = a.elector.counts.failures
    await until(lambda: a.elector.counts.failures == lost + 6, "0.1 s were doubled six times")
    await members.fake.start()
    a.elector.hurry()
    assert await until(lambda: a.leads, "a leads again") < 3.0, "the next attempt was 6.4 s away"


async def test_a_namespace_that_is_missing_is_said(members: Members) -> None:
    members.fake.fault(
        "POST",
        "leases",
        status=404,
        times=None,
        body={"kind": "Status", "message": 'namespaces "python-ingress" not found'},
    )
    a = await members.join("a")
    await until(lambda: a.elector.counts.failures, "it fails")
    await until(lambda: 'namespaces "python-ingress" not found' in a.log.getvalue(), "it is said")


async def test_an_api_that_is_away_at_the_end_does_not_hold_up_the_end(members: Members) -> None:
    a = await members.join("a")
    await until(lambda: a.leads, "a leads")
    await members.fake.stop()
    started = time.monotonic()
    await a.end()
    assert time.monotonic() - started < 5.0
    assert not a.leads
    await until(lambda: "could not be given back" in a.log.getvalue(), "it is said")


def test_an_identity_belongs_to_one_process() -> None:
    assert new_identity("pod-1").startswith("pod-1_")
    assert new_identity("pod-1") != new_identity("pod-1")
    assert new_identity("").startswith("ingress-controller_")


def test_who_is_alone_leads() -> None:
    told: list[bool] = []
    alone = Alone()
    alone.subscribe(told.append)
    assert told == [True]
    assert alone.leading
    assert alone.counts.leading
