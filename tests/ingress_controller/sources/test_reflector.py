"""What an API server does wrong, and that the reflector's picture of it stays right.

Against a fake server on a real socket; figures of time are scaled down (`HASTY`).
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import msgspec
import pytest

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.sources import reach as reach_module
from ingress_controller.sources import reflector as reflector_module
from ingress_controller.sources.watch_machine import Pace
from tests.harness.cluster import HASTY, Reading, ingress, reading, secret, service
from tests.harness.kube_api import FakeKubeApi
from tests.harness.kube_watch import Watch
from tests.harness.waiting import until

WEB = ObjectKey("Service", "shop", "web")


@pytest.fixture
async def fake() -> AsyncIterator[FakeKubeApi]:
    async with FakeKubeApi() as server:
        yield server


async def follows(fake: FakeKubeApi, read: Reading) -> None:
    """What is written now is seen."""
    name = f"s{random.randrange(10**9)}"
    fake.put(service(name))
    await until(lambda: name in read.names("Service"), "a new object is seen")


def held(fake: FakeKubeApi) -> set[tuple[str, str]]:
    """What the server has of the kinds that are read whole."""
    kinds = ("Ingress", "IngressClass", "Service", "EndpointSlice")
    return {(kind, item["metadata"]["name"]) for kind in kinds for item in fake.objects(kind)}


class TestWatches:
    async def test_a_watch_that_ends_is_opened_again_where_it_was(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fake.put(service("web"))
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            for number in range(1, 5):
                [watch] = await open_watch(fake)
                await asyncio.sleep(HASTY.brief)  # it lives for a while
                watch.end()
                await until(lambda: read.state("Service").watches > number, "it was opened again")  # noqa: B023  # waited for in the loop
                await follows(fake, read)
            assert read.state("Service").lists == 1
            assert read.state("Service").errors == 0

    async def test_watches_that_end_at_once_are_not_opened_in_a_loop(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fake.fault("watch", "services", status=200, body=b"", times=None)
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            begin = time.monotonic()
            await until(lambda: read.state("Service").watches > 5, "several were opened")
            assert time.monotonic() - begin > 3 * HASTY.first_delay
            assert read.state("Service").lists == 1

    @pytest.mark.parametrize("as_status", [True, False])
    async def test_a_version_that_is_too_old_means_one_list_and_only_what_is_different(
        self, as_status: bool, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fake.manners.gone_as_status = as_status
        for name in ("a", "b", "c"):
            fake.put(service(name))
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            before = len(read.changes), len(read.calls)
            [watch] = await open_watch(fake)
            watch.silent = True
            fake.put(service("b", port=81))
            fake.delete("Service", "shop", "c")
            fake.put(service("d"))
            fake.forget_history()
            watch.cut()
            await until(lambda: read.names("Service") == ["a", "b", "d"], "it was listed anew")
            changed = [change.key.name for change in read.changes[before[0] :]]
            assert sorted(changed) == ["b", "c", "d"]
            assert len(read.calls) == before[1] + 1
            assert read.state("Service").lists == 2
            await follows(fake, read)

    async def test_a_list_anew_that_finds_nothing_new_changes_nothing(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fake.put(service("web"))
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            before = len(read.changes)
            [watch] = await open_watch(fake)
            watch.send_gone()
            await until(lambda: read.state("Service").lists == 2, "it was listed anew")
            await follows(fake, read)
            assert len(read.changes) == before + 1

    async def test_a_silent_watch_is_opened_anew_without_a_list(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            [watch] = await open_watch(fake)
            watch.go_silent()
            fake.put(service("web"))
            seconds = await until(lambda: WEB in read.objects, "the change is seen")
            assert seconds < 2 * HASTY.silence
            assert read.state("Service").lists == 1
            assert not read.source.diagnostics

    async def test_bookmarks_keep_a_watch_alive_and_carry_the_version(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fake.manners.bookmark_seconds = 0.05
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            [watch] = await open_watch(fake)
            fake.put(ingress("a"))  # moves the version that all kinds share
            version = str(fake.store.version)
            await asyncio.sleep(1.5 * HASTY.silence)
            assert read.state("Service").watches == 1
            watch.end()
            await until(lambda: read.state("Service").watches == 2, "it was opened again")
            [watch] = await open_watch(fake)
            assert watch.request.query["resourceVersion"] == version

    @pytest.mark.parametrize(
        "line",
        [
            b"no JSON",
            b"{}",
            b'{"type":"ADDED"}',
            b'{"type":"ADDED","object":{}}',
            b'{"type":"ADDED","object":{"metadata":{"name":"x"}}}',
            b'{"type":"SOMETHING","object":{"metadata":{"name":"x","resourceVersion":"9999"}}}',
            b'{"type":"BOOKMARK","object":[]}',
            b'{"type":"ADDED","object":' + b"[" * 100_000,
            b"\xff\xfe",
            b"",
        ],
    )
    async def test_a_bad_line_means_another_watch(
        self, line: bytes, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fake.put(service("web"))
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            [watch] = await open_watch(fake)
            watch.send_line(line)
            await follows(fake, read)
            assert WEB in read.objects
            assert read.state("Service").lists == 1

    async def test_an_event_that_is_cut_is_seen_by_the_next_watch(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            [watch] = await open_watch(fake)
            watch.silent = True
            stored = fake.put(service("web"))
            watch.silent = False
            line = msgspec.json.encode({"type": "ADDED", "object": stored})
            watch.send_bytes(line[: len(line) // 2])
            watch.end()
            await until(lambda: WEB in read.objects, "the object is there")
            assert read.state("Service").lists == 1

    @pytest.mark.parametrize("code", [500, 504, 429, 403, 404, 0])
    async def test_an_error_event_means_another_watch(
        self, code: int, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fake.put(service("web"))
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            [watch] = await open_watch(fake)
            watch.send_event("ERROR", {"kind": "Status", "code": code, "message": "no"})
            await follows(fake, read)
            assert WEB in read.objects

    async def test_watches_that_keep_failing_at_once_mean_a_list(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            [watch] = await open_watch(fake)
            fault = fake.fault("watch", "services", status=400, times=None)
            watch.end()
            await until(lambda: read.codes() == ["api-unreadable"], "it is reported")
            await until(lambda: read.state("Service").lists == 2, "it was listed anew")
            reports = read.reports
            fake.put(service("web"))
            await until(lambda: WEB in read.objects, "it is seen by lists alone")
            assert read.codes() == ["api-unreadable"]
            assert read.reports == reports, "lists that work do not make it come and go"
            fault.withdraw()
            await follows(fake, read)
            assert not read.source.diagnostics


Mangle = Callable[[list[bytes]], Iterable[bytes]]
MANGLES: dict[str, Mangle] = {
    "doubled": lambda lines: [line for line in lines for _ in range(2)],
    "repeated as a whole": lambda lines: lines * 2,
    "turned round": lambda lines: lines[::-1],
    "all modified": lambda lines: [line.replace(b'"ADDED"', b'"MODIFIED"') for line in lines],
    "all added": lambda lines: [line.replace(b'"MODIFIED"', b'"ADDED"') for line in lines],
    "the first one later": lambda lines: lines[1:] + lines[:1],
}


@pytest.mark.parametrize("how", MANGLES)
async def test_events_in_any_disorder_end_in_what_a_list_says(
    how: str, fake: FakeKubeApi, tmp_path: Path
) -> None:
    fake.put(service("a"))
    fake.put(service("b"))
    async with reading(fake, tmp_path) as read:
        await read.until_synced()
        await open_watch(fake)
        fake.manners.mangle = MANGLES[how]
        fake.put(service("a", port=81))  # in one turn of the loop: they arrive together
        fake.put(service("c"))
        fake.delete("Service", "shop", "b")
        fake.put(service("a", port=82))
        fake.put(service("b", port=83))
        fake.delete("Service", "shop", "c")
        await until(lambda: ports(read) == {"a": 82, "b": 83}, "all is as it is there")
        fake.manners.mangle = list
        await follows(fake, read)
        assert {name: ports(read)[name] for name in "ab"} == {"a": 82, "b": 83}


async def test_a_deletion_that_comes_twice_is_one(fake: FakeKubeApi, tmp_path: Path) -> None:
    fake.put(service("web"))
    async with reading(fake, tmp_path) as read:
        await read.until_synced()
        await open_watch(fake)
        fake.manners.mangle = MANGLES["doubled"]
        fake.delete("Service", "shop", "web")
        await follows(fake, read)
        assert [change.object for change in read.changes if change.key == WEB].count(None) == 1
        assert not read.idle
        assert read.state("Service").lists == 1


class TestLists:
    async def test_a_token_that_ends_while_paging_begins_the_list_anew(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        pace = msgspec.structs.replace(HASTY, page_size=3)
        for number in range(10):
            fake.put(service(f"s{number}"))
        async with reading(fake, tmp_path, pace=pace) as read:
            await read.until_synced()
            assert len(read.names("Service")) == 10
            slow = fake.fault("list", "services", delay=0.05, times=None)
            [watch] = await open_watch(fake)
            watch.send_gone()
            lists = len(fake.requested("list", "services"))
            await until(lambda: len(fake.requested("list", "services")) >= lists + 2, "it pages")
            fake.expire_continue_tokens()
            fake.put(service("new"))
            assert len(read.names("Service")) == 10
            slow.withdraw()
            await until(lambda: "new" in read.names("Service"), "it was listed")
            assert len(read.names("Service")) == 11
            assert not [change for change in read.changes if change.object is None]
            assert 410 in {seen.status for seen in fake.requested("list", "services")}

    async def test_tokens_that_end_always_lead_to_a_list_without_pages(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        pace = msgspec.structs.replace(HASTY, page_size=3)
        for number in range(10):
            fake.put(service(f"s{number}"))
        tokens = fake.fault("GET", "/v1/services", times=0)
        tokens.takes = lambda request: "continue" in request.query  # type: ignore[method-assign]  # by query
        tokens.status = 410
        async with reading(fake, tmp_path, pace=pace) as read:
            await read.until_synced()
            assert len(read.names("Service")) == 10
            assert "limit" not in fake.requested("list", "/v1/services")[-1].query

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>",
            b"{}",
            b"[]",
            b'{"items":[]}',
            b'{"metadata":{},"items":[]}',
            b'{"metadata":{"resourceVersion":"5000"}}',
            b'{"kind":"Status","metadata":{},"status":"Failure","code":500}',
            b'{"metadata":{"resourceVersion":"5000"},"items":[{"metadata":{"name":"x"',
            b'{"metadata":{"resourceVersion":"5000"},"items":[7]}',
            b'{"metadata":{"resourceVersion":"5000"},"items":[{"metadata":{},"spec":{}}]}',
            b"[" * 1_000_000,
        ],
    )
    async def test_what_is_no_list_never_empties_anything(
        self, body: bytes, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fake.put(service("web"))
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            [watch] = await open_watch(fake)
            fault = fake.fault("list", "services", status=200, body=body, times=2)
            watch.send_gone()
            await until(lambda: fault.hits == 2, "it was listed twice in vain")
            await follows(fake, read)
            assert not [change for change in read.changes if change.object is None]

    async def test_a_list_that_is_cut_is_asked_for_again(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        for number in range(20):
            fake.put(service(f"s{number}"))
        fake.fault("list", "services", cut_after=1000)
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            assert len(read.names("Service")) == 20

    async def test_a_list_without_end_is_given_up(self, fake: FakeKubeApi, tmp_path: Path) -> None:
        body = b'{"metadata":{"resourceVersion":"5","continue":"again"},"items":[]}'
        fault = fake.fault("list", "services", status=200, body=body, times=None)
        async with reading(fake, tmp_path) as read:
            await until(lambda: "api-unreadable" in read.codes(), "it is reported")
            assert "does not end" in read.state("Service").last_error
            fault.withdraw()
            await read.until_synced()

    async def test_a_restore_from_a_backup_replaces_everything(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fake.put(service("web"))
        fake.put(service("old"))
        backup = fake.store.backup()
        fake.delete("Service", "shop", "web")
        fake.put(service("web", port=81))
        fake.delete("Service", "shop", "old")
        for number in range(50):
            fake.put(service(f"s{number}"))
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            await open_watch(fake)
            fake.restore(backup)
            seconds = await until(lambda: ports(read) == {"web": 80, "old": 80}, "as it was")
            assert seconds < 5
            await follows(fake, read)

    async def test_a_version_that_is_too_large_means_a_list(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        causes = {"causes": [{"reason": "ResourceVersionTooLarge"}]}
        status = {"kind": "Status", "code": 504, "reason": "Timeout", "details": causes}
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            [watch] = await open_watch(fake)
            fake.fault("watch", "services", status=504, body=status)
            watch.end()
            await until(lambda: read.state("Service").lists == 2, "it was listed anew")
            await follows(fake, read)


class TestRefusals:
    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_refusal_keeps_what_was_read_and_is_reported(
        self, status: int, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fake.put(service("web"))
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            [watch] = await open_watch(fake)
            fault = fake.fault("GET", "services", status=status, times=None)
            watch.end()
            await until(lambda: read.codes() == ["api-refused"], "it is reported")
            assert WEB in read.objects
            assert read.state("Service").last_error
            assert "served on" in read.source.diagnostics[0].consequence
            fake.put(ingress("a"))
            await until(lambda: read.names("Ingress") == ["a"], "other kinds go on")
            fault.withdraw()
            await follows(fake, read)
            assert not read.source.diagnostics
            assert not read.state("Service").last_error

    @pytest.mark.parametrize("status", [429, 503])
    async def test_the_api_is_not_asked_before_it_wants(
        self, status: int, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            [watch] = await open_watch(fake)
            fault = fake.fault("watch", "services", status=status, headers={"Retry-After": "1"})
            watch.end()
            await until(lambda: fault.hits, "it was refused")
            await follows(fake, read)
            asked = [seen for seen in fake.requests if "services" in seen.path]
            refused = next(number for number, seen in enumerate(asked) if seen.status == status)
            assert asked[refused + 1].at - asked[refused].at >= 1.0

    async def test_a_token_that_changes_is_read_anew(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        token = tmp_path / "token"
        token.write_text("first")
        fake.token = "first"
        path = fake.kubeconfig(tmp_path, user={"tokenFile": str(token)})
        assert path == str(tmp_path / "kubeconfig")
        fake.kubeconfig = lambda folder: path  # type: ignore[method-assign, assignment]  # with the file
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            [watch] = await open_watch(fake)
            fake.token = "second"
            token.write_text("second")
            watch.end()
            await until(lambda: read.state("Service").watches == 2, "it was opened again")
            await follows(fake, read)
            assert not read.source.diagnostics


class TestOutages:
    async def test_what_is_known_stays_and_only_what_is_different_comes_after_it(
        self, fake: FakeKubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reach_module, "ALARM_SECONDS", 0.1)
        for number in range(10):
            fake.put(service(f"s{number}"))
        async with reading(fake, tmp_path) as read:
            await read.until_synced()
            changes, requests = len(read.changes), len(fake.requests)
            answers: list[int] = []
            read.source.on_answer = lambda: answers.append(len(read.changes))
            await fake.stop()
            await until(lambda: read.codes() == ["api-unavailable"], "it is reported")
            assert len(fake.requests) == requests
            assert len(read.changes) == changes
            assert not answers
            fake.put(service("s3", port=81))
            fake.delete("Service", "shop", "s4")
            await fake.start()
            seconds = await until(lambda: len(read.changes) == changes + 2, "it caught up")
            assert seconds < 2
            assert held(fake) == {(key.kind, key.name) for key in read.objects}
            assert all(state.lists == 1 for state in read.source.kinds)
            await until(lambda: not read.source.diagnostics, "nothing is wrong any more")
            assert answers == [changes], "others are told at once, and once"

    async def test_an_api_that_comes_after_us_is_found(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        fake.put(service("web"))
        await fake.stop()
        async with reading(fake, tmp_path) as read:
            await until(lambda: read.state("Service").errors, "it was tried")
            assert not read.times_synced
            assert "services" in read.source.waiting
            await fake.start()
            assert await until(lambda: read.times_synced, "it is read") < 2

    async def test_one_asks_and_the_others_wait(self, fake: FakeKubeApi, tmp_path: Path) -> None:
        pace = msgspec.structs.replace(
            HASTY, first_delay=0.1, longest_delay=0.4, attempts=5, attempts_within=1.0
        )
        keys = [ObjectKey("Secret", "shop", f"s{number}") for number in range(30)]
        async with reading(fake, tmp_path, pace=pace) as read:
            await read.until_synced()
            read.source.want(frozenset(keys))
            await read.until_synced(2)
            await until(lambda: len(fake.watches()) == 35, "all watch")
            fault = fake.fault("*", "/", status=503, times=None)
            for watch in fake.watches():
                watch.cut()
            begin = time.monotonic()
            await until(lambda: fault.hits >= 12, "it was asked twelve times")
            assert time.monotonic() - begin >= 2.0, "more than five a second"
            fault.withdraw()
            await until(lambda: len(fake.watches()) == 35, "all watch again")
            await follows(fake, read)

    async def test_only_who_tries_makes_the_others_wait_longer(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        """Thirty watches end at once, three tries fail, the fourth is answered."""
        pace = msgspec.structs.replace(HASTY, first_delay=0.05, longest_delay=30.0, silence=60.0)
        keys = [ObjectKey("Secret", "shop", f"s{number}") for number in range(30)]
        async with reading(fake, tmp_path, pace=pace) as read:
            await read.until_synced()
            read.source.want(frozenset(keys))
            await read.until_synced(2)
            await until(lambda: len(fake.watches()) == 35, "all watch")
            await asyncio.sleep(2 * HASTY.brief)
            fault = fake.fault("*", "/", status=503, times=3)
            for watch in fake.watches():
                watch.cut()
            begin = time.monotonic()
            await until(lambda: fault.hits == 3, "three tries failed")
            await until(lambda: len(fake.watches()) == 35, "all watch again")
            assert time.monotonic() - begin < 3

    async def test_an_answer_to_somebody_else_tells_that_it_is_back(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        """Its port was open all the time, so only an answer can tell."""
        pace = msgspec.structs.replace(HASTY, first_delay=60.0, longest_delay=60.0, silence=60.0)
        async with reading(fake, tmp_path, pace=pace) as read:
            await read.until_synced()
            [watch] = await open_watch(fake)
            fault = fake.fault("*", "services", status=503, times=None)
            await asyncio.sleep(2 * HASTY.brief)
            watch.end()
            await until(lambda: fault.hits, "it is away")
            fault.withdraw()
            fake.put(service("web"))
            read.source.overheard()
            assert await until(lambda: read.names("Service") == ["web"], "it is read") < 2

    async def test_what_fails_for_one_kind_does_not_keep_the_others_away(
        self, fake: FakeKubeApi, tmp_path: Path
    ) -> None:
        pace = msgspec.structs.replace(HASTY, longest_delay=20.0, first_delay=0.2)
        async with reading(fake, tmp_path, pace=pace) as read:
            await read.until_synced()
            [watch] = await open_watch(fake)
            fault = fake.fault("*", "services", status=500, times=None)
            watch.end()
            await until(lambda: fault.hits >= 4, "it fails for a while")
            fake.put(secret("ca", type_="Opaque"))
            read.source.want(frozenset({ObjectKey("Secret", "shop", "ca")}))
            seconds = await until(lambda: read.names("Secret") == ["ca"], "another is read")
            assert seconds < 2.5


async def test_a_defect_of_ours_ends_nothing(
    fake: FakeKubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.put(service("web"))
    async with reading(fake, tmp_path) as read:
        await read.until_synced()
        await open_watch(fake)
        [reflector] = [
            item for item in read.source._whole.values() if item.target.kind == "Service"
        ]

        def fail(_: object) -> None:
            monkeypatch.undo()
            raise RuntimeError("a defect")

        monkeypatch.setattr(type(reflector.mirror), "put", lambda self, item: fail(item))
        fake.put(service("lost"))
        await until(lambda: "lost" in read.names("Service"), "it was listed anew")
        await follows(fake, read)
        assert read.state("Service").lists == 2


async def test_a_defect_while_a_failure_is_judged_ends_nothing(
    fake: FakeKubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with reading(fake, tmp_path) as read:
        await read.until_synced()
        [watch] = await open_watch(fake)

        def fail(_: object) -> None:
            monkeypatch.undo()
            raise RuntimeError("a defect")

        monkeypatch.setattr(reflector_module, "_trouble", fail)
        watch.cut()
        await until(lambda: read.state("Service").lists == 2, "it was listed anew")
        await follows(fake, read)


def ports(read: Reading) -> dict[str, int]:
    """Of each Service by name."""
    return {
        key.name: item.spec.ports[0].port  # type: ignore[union-attr]  # the key says it
        for key, item in read.objects.items()
        if key.kind == "Service"
    }


async def open_watch(fake: FakeKubeApi, pattern: str = "/v1/services") -> list[Watch]:
    await until(lambda: len(fake.watches(pattern)) == 1, "one watch is open")
    return fake.watches(pattern)


def test_the_default_pace_is_the_one_that_is_documented() -> None:
    pace = Pace()
    assert pace.silence + 2 * pace.first_delay < 120
    assert (pace.shortest_watch, pace.longest_watch) == (240, 420)
