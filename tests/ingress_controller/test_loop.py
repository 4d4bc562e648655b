"""The control loop against scripted folders: what is published, what is logged."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from io import StringIO
from typing import NoReturn, cast

import pytest

from ingress_controller.logs import Log
from ingress_controller.loop import ControlLoop
from ingress_controller.objects.decode import decode
from ingress_controller.retention import SecretRetention
from ingress_controller.sources.documents import read_yaml
from ingress_controller.sources.manifests import ManifestFolders, Scan
from ingress_controller.sources.polling import PolledFolders
from ingress_controller.sources.source import Location, Source
from ingress_controller.store import KubernetesObject, Name, ObjectChange, ObjectKey, key_of
from ingress_controller.supervisor.workers import Supervisor
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode
from ingress_controller.translate.options import Options
from ingress_controller.translate.readings import Readings
from ingress_controller.translate.translator import Standing
from router.model.snapshot import Delta, Snapshot, Terminate
from tests.harness.program import endpoint_slice, ingress, service, tls_secret
from tests.harness.waiting import until
from tests.tls.certificates import authority, pair

UPSTREAM = "test/shop:80"
DEFAULT = pair("default.test")
GRACE = 2.5
"""Seconds; diagnostics are compared once a second."""
BROKEN = Diagnostic(
    code=DiagnosticCode.FILE_MALFORMED,
    severity="error",
    object=ObjectKey("File", "", "a.yaml"),
    message="the file is broken",
    consequence="nothing of it is served",
    remedy="repair it",
    file="a.yaml",
    line=3,
)

Step = Scan | Exception


def objects(*texts: str) -> tuple[ObjectChange, ...]:
    changes = []
    for text in texts:
        for document in read_yaml(text.encode()).documents:
            item = cast(KubernetesObject, decode(document.value))
            changes.append(ObjectChange(key_of(item), item))
    return tuple(changes)


def gone(name: str, kind: str = "EndpointSlice") -> tuple[ObjectChange, ...]:
    return (ObjectChange(ObjectKey(kind, "test", name), None),)


class Folders:
    """Gives one scripted scan after another, and then nothing new."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = list(steps)
        self._diagnostics: tuple[Diagnostic, ...] = ()

    def scan(self) -> Scan:
        if not self._steps:
            return Scan((), self._diagnostics)
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        self._diagnostics = step.diagnostics
        return step

    def location(self, key: ObjectKey) -> Location | None:
        return Location("some.yaml", 7) if key.kind == "Ingress" else None


class Published:
    """Takes the place of the supervisor."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.deltas: list[Delta | None] = []
        self.times: list[float] = []

    @property
    def served_version(self) -> int | None:
        return self.snapshots[-1].version if self.snapshots else None

    def publish(self, snapshot: Snapshot, delta: Delta | None) -> None:
        self.snapshots.append(snapshot)
        self.deltas.append(delta)
        self.times.append(time.monotonic())

    def certificates(self) -> list[int]:
        """How many certificates one.test had of its own in each published snapshot."""
        answers = [each.server_names["default"]["one.test"] for each in self.snapshots]
        return [len(each.certificates) for each in answers if isinstance(each, Terminate)]

    def endpoints(self) -> list[int]:
        """How many endpoints the sample upstream had in each published snapshot."""
        return [len(each.endpoints[UPSTREAM].endpoints) for each in self.snapshots]


@asynccontextmanager
async def looping(*steps: Step) -> AsyncIterator[tuple[Published, Callable[[], str]]]:
    published, stream = Published(), StringIO()
    log = Log("text", "debug", stream)
    loop = ControlLoop(
        PolledFolders(cast(ManifestFolders, Folders(steps)), log),
        SecretRetention(GRACE),
        Options(allow_local_endpoints=True, https=True, default_certificate=DEFAULT),
        cast(Supervisor, published),
        log,
    )
    running = asyncio.create_task(loop.run())
    try:
        yield published, stream.getvalue
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        log.close()


async def test_an_empty_folder_is_a_complete_snapshot() -> None:
    async with looping(Scan((), ())) as (published, _):
        await until(lambda: published.snapshots, "a snapshot")
        assert published.deltas == [None]


async def test_the_first_snapshot_has_everything_and_later_ones_are_deltas() -> None:
    first = objects(service("shop", 8000), ingress("one", "one.test"))
    second = objects(ingress("two", "two.test"))
    async with looping(Scan(first, ()), Scan(second, ())) as (published, log):
        await until(lambda: len(published.snapshots) == 2, "a second one")
        assert published.deltas[0] is None
        delta = published.deltas[1]
        assert delta is not None
        assert list(delta.hosts["default"]) == ["two.test"]
        await until(lambda: "a new snapshot is published version=2 hosts=1" in log(), "a line")


async def test_a_slice_deleted_and_soon_replaced_never_empties_the_set() -> None:
    """F-16: the deletion waits for its successor."""
    first = objects(
        service("shop"), ingress("one", "one.test"), endpoint_slice("old", "shop", 8000)
    )
    new = objects(endpoint_slice("new", "shop", 8001))
    async with looping(Scan(first, ()), Scan(gone("old"), ()), Scan(new, ())) as (published, _):
        await until(
            lambda: (
                published.snapshots
                and published.snapshots[-1].endpoints[UPSTREAM].endpoints[0].port == 8001
            ),
            "the new endpoint",
        )
        assert published.endpoints() == [1, 1]


async def test_a_slice_deleted_for_good_empties_the_set_after_a_second() -> None:
    first = objects(
        service("shop"), ingress("one", "one.test"), endpoint_slice("old", "shop", 8000)
    )
    async with looping(Scan(first, ()), Scan(gone("old"), ())) as (published, _):
        await until(lambda: published.snapshots and published.endpoints()[-1] == 0, "an empty set")
        assert published.endpoints() == [1, 0]


async def test_diagnostics_are_logged_once_when_they_appear_and_when_they_go() -> None:
    async with looping(Scan((), ()), Scan((), (BROKEN,)), Scan((), (BROKEN,)), Scan((), ())) as (
        _,
        log,
    ):
        await until(lambda: "no longer: the file is broken" in log(), "it went")
        lines = [line for line in log().splitlines() if "error   the file is broken" in line]
        assert len(lines) == 1
        assert "file=a.yaml:3" in lines[0]
        assert 'remedy="repair it"' in lines[0]


async def test_a_failed_scan_is_logged_and_the_next_one_is_taken() -> None:
    first = objects(service("shop", 8000), ingress("one", "one.test"))
    async with looping(ValueError("a defect"), Scan(first, ())) as (published, log):
        await until(lambda: published.snapshots, "a snapshot")
        assert published.endpoints() == [1]
        assert "reading the manifests failed" in log()
        assert "ValueError: a defect" in log()


async def test_a_diagnostic_of_the_translation_says_where_the_object_stands() -> None:
    first = objects(ingress("one", "one.test", service="missing"))
    async with looping(Scan(first, ())) as (_, log):
        await until(lambda: "code=service-missing" in log(), "the diagnostic")
        (line,) = [line for line in log().splitlines() if "code=service-missing" in line]
        assert 'object="Ingress test/one"' in line
        assert "file=some.yaml:7" in line


async def test_a_deleted_secret_serves_on_for_its_grace_and_not_longer() -> None:
    """F-12."""
    secret = tls_secret("one-tls", *authority().issue(["one.test"]))
    first = objects(service("shop", 8000), ingress("one", "one.test", tls="one-tls"), secret)
    began = time.monotonic()
    async with looping(Scan(first, ()), Scan(gone("one-tls", "Secret"), ())) as (published, log):
        await until(
            lambda: published.snapshots and published.certificates()[-1] == 0, "the default one"
        )
        assert published.certificates() == [1, 0]
        assert published.times[-1] - began >= GRACE
        await until(lambda: "code=certificate-kept" in log(), "a diagnostic while it was kept")


async def test_a_broken_secret_serves_on() -> None:
    """F-12."""
    chain, key = authority().issue(["one.test"])
    secret = tls_secret("one-tls", chain, key)
    first = objects(service("shop", 8000), ingress("one", "one.test", tls="one-tls"), secret)
    broken = objects(tls_secret("one-tls", b"no", key))
    async with looping(Scan(first, ()), Scan(broken, ())) as (published, log):
        await until(lambda: "code=certificate-kept" in log(), "a diagnostic")
        assert published.certificates()[-1] == 1


class Answering:
    """A source that knows what rules name a moment after it was asked, as a cluster's."""

    diagnostics: tuple[Diagnostic, ...] = ()
    waiting = ""

    def __init__(self, first: Iterable[ObjectChange], later: Iterable[ObjectChange] = ()) -> None:
        self._first, self._later = tuple(first), tuple(later)
        self._asked = False
        self.receiver: ControlLoop | None = None

    async def run(self, receiver: ControlLoop) -> None:
        self.receiver = receiver
        receiver.changed(self._first)
        receiver.synced()
        await asyncio.Event().wait()

    def want(self, objects: frozenset[ObjectKey]) -> bool:
        known, self._asked = self._asked or not self._later, True
        if not known:
            asyncio.get_running_loop().call_soon(self._answer)
        return known

    def _answer(self) -> None:
        assert self.receiver is not None
        self.receiver.changed(self._later)
        self.receiver.synced()

    def steady(self) -> nullcontext[None]:
        return nullcontext()

    def location(self, key: ObjectKey) -> Location | None:
        return None


class Told:
    """An `Audience`."""

    def __init__(self) -> None:
        self.standings: dict[Name, Standing | None] = {}
        self.diagnostics: frozenset[Diagnostic] = frozenset()

    def changed(self, changes: Sequence[ObjectChange]) -> None: ...

    def confirmed(self, standings: Mapping[Name, Standing | None]) -> None:
        self.standings.update(standings)

    def found(self, diagnostics: frozenset[Diagnostic]) -> None:
        self.diagnostics = diagnostics


@asynccontextmanager
async def answering(
    source: Answering,
) -> AsyncIterator[tuple[ControlLoop, Published, Told, Callable[[], str]]]:
    published, stream, told = Published(), StringIO(), Told()
    log = Log("text", "debug", stream)
    loop = ControlLoop(
        cast(Source, source),
        SecretRetention(GRACE),
        Options(allow_local_endpoints=True, https=True, default_certificate=DEFAULT),
        cast(Supervisor, published),
        log,
        audience=told,
    )
    running = asyncio.create_task(loop.run())
    try:
        yield loop, published, told, stream.getvalue
        assert not running.done(), "the loop has ended"
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        log.close()


async def test_the_first_snapshot_has_what_rules_name_however_soon_it_comes() -> None:
    chain, key = authority().issue(["one.test"])
    first = objects(service("shop", 8000), ingress("one", "one.test", tls="one-tls"))
    later = objects(tls_secret("one-tls", chain, key))
    async with answering(Answering(first, later)) as (_, published, _, _):
        await until(lambda: published.snapshots, "a snapshot")
        assert published.certificates() == [1]


async def test_a_defect_ends_nothing_and_confirms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise KeyError("a defect")

    first = objects(service("shop", 8000), ingress("one", "one.test"))
    source = Answering(first)
    async with answering(source) as (loop, published, told, log):
        await until(lambda: Name("test", "one") in told.standings, "the first is served")
        with monkeypatch.context() as patched:
            for cls, name in (
                (Readings, "settings"),
                (SecretRetention, "apply"),
                (ControlLoop, "_all_diagnostics"),
            ):
                patched.setattr(cls, name, fail)
            loop.changed(objects(ingress("two", "two.test")))
            await until(lambda: "the last good state serves on" in log(), "a defect is told")
            await until(lambda: "they stay as they were" in log(), "another")
            assert "changes act as they came" in log()
        assert set(told.standings) == {Name("test", "one")}
        loop.changed(objects(ingress("three", "three.test")))
        await until(lambda: Name("test", "three") in told.standings, "it is served")
        assert Name("test", "two") in told.standings
        assert {"two.test", "three.test"} <= published.snapshots[-1].hosts["default"].keys()


async def test_no_table_is_better_than_half_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise KeyError("a defect")

    source = Answering(objects(service("shop", 8000), ingress("one", "one.test")))
    monkeypatch.setattr(Readings, "settings", fail)
    async with answering(source) as (loop, published, _, log):
        await until(lambda: "the last good state serves on" in log(), "a defect is told")
        assert not published.snapshots
        monkeypatch.undo()
        loop.changed(objects(ingress("two", "two.test")))
        await until(lambda: published.snapshots, "a snapshot")
        assert published.snapshots[0].hosts["default"].keys() == {"one.test", "two.test"}
