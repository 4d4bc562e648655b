"""What talks to a cluster, wired: a defect there is no end of serving."""

import asyncio
from io import StringIO
from pathlib import Path

import pytest

from ingress_controller import cluster as module
from ingress_controller.cluster import ClusterSide
from ingress_controller.logs import Log
from ingress_controller.settings import Cluster, Publishing, Settings
from ingress_controller.status.events import EventWriter
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import Translator
from tests.harness.kube_api import FakeKubeApi
from tests.harness.waiting import until


async def test_a_writer_that_a_defect_ends_begins_anew_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = 0

    async def run(self: EventWriter) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise KeyError("a defect")
        await asyncio.Event().wait()

    monkeypatch.setattr(EventWriter, "run", run)
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.01)
    stream = StringIO()
    log = Log("text", "debug", stream)
    async with FakeKubeApi() as fake:
        settings = Settings(
            cluster=Cluster(kubeconfig=fake.kubeconfig(tmp_path)),
            publishing=Publishing(publish_status=False, lease="shop/leader"),
        )
        async with ClusterSide.connected(settings, log) as side:
            translator = Translator(Options())
            side.inform(lambda: translator)
            running = asyncio.create_task(side.run())
            await until(lambda: runs == 2, "it runs again")
            await until(lambda: side.state.leading, "the others go on")
            assert not running.done()
            assert "EventWriter failed; it begins anew in a moment" in stream.getvalue()
            running.cancel()
            await asyncio.wait([running])
    log.close()
