"""After any writes and any faults, what was handed over is what the API server has.

A walk over a real socket: users write, the server misbehaves, rules name other objects. At the end
nothing goes wrong any more, and within a few seconds both must be equal.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from ingress_controller.objects.decode import Undecodable
from ingress_controller.objects.ingress import IngressStatus
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.objects.stream import API_VERSIONS, ObjectReader
from ingress_controller.sources.cluster import Scope
from ingress_controller.sources.watch_machine import Pace
from ingress_controller.store import Name
from tests.harness import cluster
from tests.harness.cluster import HASTY, Reading, reading
from tests.harness.kube_api import FakeKubeApi
from tests.harness.kube_watch import Watch
from tests.harness.waiting import until

PACE = Pace(
    page_size=3,
    first_delay=0.01,
    longest_delay=0.05,
    healthy_after=1.0,
    silence=0.25,
    brief=0.02,
    probe_every=0.01,
    page_timeout=0.5,
    check_timeout=0.5,
    attempts=1000,
)
KINDS = ("Ingress", "Service", "EndpointSlice", "Secret", "ConfigMap", "IngressClass")
NAMES = st.sampled_from(["a", "b", "c"])
NAMESPACES = st.sampled_from(["red", "blue"])
PLURALS = st.sampled_from(["ingresses", "services", "endpointslices", "secrets", "configmaps", "/"])
VERBS = st.sampled_from(["list", "watch", "GET"])
VALUES = st.integers(1, 3)


def item_of(kind: str, namespace: str, name: str, value: int) -> dict[str, object]:
    if kind == "Ingress":
        return cluster.ingress(name, namespace, rules=[{"host": f"h{value}.test"}])
    if kind == "Service":
        return cluster.service(name, namespace, port=value)
    if kind == "EndpointSlice":
        addresses = [f"10.0.0.{number}" for number in range(1, value)]
        return cluster.slices(name, *addresses, namespace=namespace)
    if kind == "Secret":
        type_ = "Opaque" if value == 1 else "kubernetes.io/tls"
        return cluster.secret(name, namespace, type_=type_, value="AAA" + "AQg"[value - 1])
    if kind == "ConfigMap":
        return cluster.config_map(name, namespace, value=str(value))
    return cluster.ingress_class(name)


class Write(NamedTuple):
    """What a user does."""

    how: str
    kind: str
    namespace: str
    name: str
    value: int

    def to(self, fake: FakeKubeApi) -> None:
        namespace = "" if self.kind == "IngressClass" else self.namespace
        found = fake.get(self.kind, namespace, self.name)
        if self.how == "put":
            fake.put(item_of(self.kind, namespace, self.name, self.value))
        elif self.how == "put malformed":
            fake.put(cluster.ingress(self.name, self.namespace, rules="none"))
        elif self.how == "put status":
            address = {"ip": "192.0.2.1"} if self.value == 1 else {"hostname": f"lb{self.value}"}
            status = {"loadBalancer": {"ingress": [address]}}
            fake.put(cluster.ingress(self.name, self.namespace) | {"status": status})
        elif found is not None:
            fake.delete(self.kind, namespace, self.name)
            if self.how == "make anew":
                fake.put(item_of(self.kind, namespace, self.name, self.value))


WRITES = st.lists(
    st.builds(
        Write,
        st.sampled_from(
            ["put", "put", "put", "delete", "make anew", "put malformed", "put status"]
        ),
        st.sampled_from(KINDS),
        NAMESPACES,
        NAMES,
        VALUES,
    ),
    min_size=1,
    max_size=8,
)
SECONDS = st.sampled_from([0.0, 0.002, 0.01, 0.05])

Mangle = Callable[[list[bytes]], Iterable[bytes]]
MANGLES: dict[str, Mangle] = {
    "as they are": list,
    "doubled": lambda lines: [line for line in lines for _ in range(2)],
    "repeated": lambda lines: lines * 2,
    "turned round": lambda lines: lines[::-1],
    "the first one last": lambda lines: lines[1:] + lines[:1],
}
LINES = (b"", b"no JSON", b'{"type":"ADDED","object":{}}', b"[" * 5000, b"\xff")


class Walk(RuleBasedStateMachine):
    """A server, a cluster source, and everything that users and faults can do."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = contextlib.AsyncExitStack()
        self.folder = tempfile.TemporaryDirectory()
        self.wanted: frozenset[ObjectKey] = frozenset()

    def do(self, work: Awaitable[object]) -> None:
        async def done() -> None:
            await work

        self.runner.run(done())

    @initialize(namespaced=st.booleans(), named=st.booleans())
    def begin(self, namespaced: bool, named: bool) -> None:
        self.scope = Scope(
            namespaces=("red", "green") if namespaced else (),
            secrets="named" if named else "tls",
            named=frozenset({ObjectKey("Service", "blue", "a"), ObjectKey("Secret", "red", "a")}),
        )
        self.do(self._begin())

    async def _begin(self) -> None:
        self.fake = await self.stack.enter_async_context(FakeKubeApi())
        self.fake.manners.bookmark_seconds = 0.05
        # Versions begin at a power of ten: were they compared as texts, that would show.
        self.fake.store.version = 995
        for number in range(7):
            self.fake.put(item_of("Service", "red", f"s{number}", 1))
        context = reading(self.fake, Path(self.folder.name), self.scope, pace=PACE)
        self.read: Reading = await self.stack.enter_async_context(context)

    # Users.

    @rule(writes=WRITES, seconds=SECONDS)
    def write(self, writes: list[Write], seconds: float) -> None:
        self.do(self._write(writes, seconds))

    async def _write(self, writes: list[Write], seconds: float) -> None:
        for write in writes:
            write.to(self.fake)
        await asyncio.sleep(seconds)

    @rule(
        wanted=st.frozensets(
            st.builds(ObjectKey, st.sampled_from(["Secret", "ConfigMap"]), NAMESPACES, NAMES)
        )
    )
    def want(self, wanted: frozenset[ObjectKey]) -> None:
        async def say() -> None:
            self.wanted = wanted
            self.read.source.want(wanted)

        self.do(say())

    # Faults.

    @rule(
        verb=VERBS,
        plural=PLURALS,
        status=st.sampled_from([400, 401, 403, 404, 410, 429, 500, 503, 504]),
        patience=st.sampled_from(["", "0"]),
        times=st.integers(1, 4),
    )
    def answer(self, verb: str, plural: str, status: int, patience: str, times: int) -> None:
        headers = {"Retry-After": patience} if patience else {}
        self.fake.fault(verb, plural, status=status, headers=headers, times=times)

    @rule(verb=VERBS, plural=PLURALS, line=st.sampled_from(LINES))
    def answer_garbage(self, verb: str, plural: str, line: bytes) -> None:
        self.fake.fault(verb, plural, status=200, body=line)

    @rule(verb=VERBS, plural=PLURALS, count=st.integers(0, 600))
    def cut_after(self, verb: str, plural: str, count: int) -> None:
        self.fake.fault(verb, plural, cut_after=count)

    @rule(verb=VERBS, plural=PLURALS)
    def hang(self, verb: str, plural: str) -> None:
        self.fake.fault(verb, plural, hang=True)

    @rule(
        plural=PLURALS,
        how=st.sampled_from(["end", "cut", "send_gone", "go_silent", "bad line", "error"]),
        number=st.integers(0, 4),
        writes=WRITES,
        seconds=SECONDS,
        forget=st.booleans(),
    )
    def disturb_watches(
        self,
        plural: str,
        how: str,
        number: int,
        writes: list[Write],
        seconds: float,
        forget: bool,
    ) -> None:
        """Something happens to watches, and what is written meanwhile may be forgotten."""

        async def disturb() -> None:
            for watch in self.fake.watches(plural):
                _disturb(watch, how, number)
                watch.silent |= forget
            await self._write(writes, 0)
            if forget:
                self.fake.forget_history()
            await asyncio.sleep(seconds)

        self.do(disturb())

    @rule(how=st.sampled_from(sorted(MANGLES)), writes=WRITES)
    def mangle(self, how: str, writes: list[Write]) -> None:
        """What is written comes in another order, or more than once."""

        async def mangle() -> None:
            self.fake.manners.mangle = MANGLES[how]
            await self._write(writes, 0.01)
            self.fake.manners.mangle = list

        self.do(mangle())

    @rule(as_status=st.booleans())
    def answer_old_versions(self, as_status: bool) -> None:
        self.fake.manners.gone_as_status = as_status

    @rule()
    def expire_continue_tokens(self) -> None:
        self.fake.expire_continue_tokens()

    @rule(writes=WRITES, seconds=SECONDS, forget=st.booleans())
    def start_anew(self, writes: list[Write], seconds: float, forget: bool) -> None:
        async def stop_and_start() -> None:
            await self.fake.stop()
            await self._write(writes, seconds)
            if forget:
                self.fake.forget_history()
            await self.fake.start()

        self.do(stop_and_start())

    @rule(writes=WRITES)
    def restore_from_a_backup(self, writes: list[Write]) -> None:
        """Nobody writes before all is read again: see `test_watch_machine`."""

        async def restore() -> None:
            backup = self.fake.store.backup()
            await self._write(writes, 0)
            await self._settle()
            before = self.fake.watches()
            self.fake.restore(backup)
            await until(lambda: self._is_watched(backup.version, before), "all is watched anew")
            await self._settle()

        self.do(restore())

    def _is_watched(self, version: int, before: list[Watch]) -> bool:
        """Everything is watched from this version, or one before it, by watches that are new."""
        watches = self.fake.watches()
        return len(watches) == sum(state.alone or 1 for state in self.read.source.kinds) and all(
            int(watch.request.query["resourceVersion"]) <= version and watch not in before
            for watch in watches
        )

    # What must be true in the end.

    async def _settle(self) -> None:
        self.fake.faults.clear()
        self.fake.manners.mangle = list
        await until(self._is_equal, "what was handed over is what the server has", within=10)
        await until(lambda: self.read.source.want(self.wanted), "all that is wanted is known")
        assert self._is_equal()

    def _is_equal(self) -> bool:
        objects, free = self._expected()
        found = self.read.objects
        statuses = {
            name: status
            for name, status in self._statuses().items()
            if not self.scope.namespaces or name.namespace in self.scope.namespaces
        }
        return (
            {key: item for key, item in found.items() if key not in free} == objects
            and all(found[key].metadata.uid == free[key] for key in found if key in free)
            and self.read.source.statuses == statuses
        )

    def _expected(self) -> tuple[dict[ObjectKey, object], dict[ObjectKey, str]]:
        """What must have been handed over; and objects that are malformed now, with their uid:
        of each there may be an older version of the same object."""
        objects: dict[ObjectKey, object] = {}
        free: dict[ObjectKey, str] = {}
        for kind in KINDS:
            reader = ObjectReader(kind)
            for stored in self.fake.store.collections[kind].objects.values():
                item = reader.item(stored.item)  # type: ignore[arg-type]  # bytes will do
                if not self._is_read(item.key, stored.content.get("type")):
                    continue
                if isinstance(item.read, Undecodable):
                    free[item.key] = item.uid
                else:
                    objects[item.key] = item.read
        return objects, free

    def _is_read(self, key: ObjectKey, type_: object) -> bool:
        if key in self.scope.named or key in self.wanted:
            return True
        if key.kind == "IngressClass":
            return True
        if self.scope.namespaces and key.namespace not in self.scope.namespaces:
            return False
        if key.kind == "Secret":
            return self.scope.secrets == "tls" and type_ == "kubernetes.io/tls"
        return key.kind != "ConfigMap"

    def _statuses(self) -> dict[Name, IngressStatus]:
        found = {}
        for content in self.fake.objects("Ingress"):
            meta = content["metadata"]
            entries = content["status"]["loadBalancer"].get("ingress", [])
            addresses = sorted(value for entry in entries for value in entry.values())
            name = Name(meta["namespace"], meta["name"])
            found[name] = IngressStatus(meta["uid"], tuple(addresses))
        return found

    def teardown(self) -> None:
        try:
            if hasattr(self, "read"):
                self.do(self._settle())
                # A Secret that is read alone and together at a time may be handed over twice.
                assert {change.key.kind for change in self.read.idle} <= {"Secret"}
        finally:
            self.do(self.stack.aclose())
            self.runner.close()
            self.folder.cleanup()


def _disturb(watch: Watch, what: str, number: int) -> None:
    if what == "bad line":
        watch.send_line(LINES[number % len(LINES)])
    elif what == "error":
        code = (410, 429, 500, 504, 0)[number % 5]
        watch.send_event("ERROR", {"kind": "Status", "code": code})
    else:
        getattr(watch, what)()


def test_after_any_writes_and_faults_both_are_equal() -> None:
    assert set(KINDS) == set(API_VERSIONS)
    assert PACE.silence < HASTY.silence
    run_state_machine_as_test(
        Walk, settings=settings(max_examples=20, stateful_step_count=40, deadline=None)
    )
