"""The image as the manifests run it: first process, no root, no right, nothing to write to."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.program import ask, ingress, service
from tests.harness.waiting import wait_until
from tests.image.container import Image

pytestmark = pytest.mark.slow

SETTINGS = {
    "INGRESS_MANIFESTS": "/srv/manifests",
    "INGRESS_HTTP_PORT": "0",
    "INGRESS_HTTPS_PORT": "0",
    "INGRESS_ADMIN_PORT": "0",
    "INGRESS_LOG_FORMAT": "json",
    "INGRESS_DRAIN_ACCEPT": "0",
}


class Container:
    """A running one."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def first(self) -> int:
        """Its first process, as this machine numbers it; it may not be there yet."""
        own = self._process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return int(children[0]) if children else 0

    def children(self) -> set[int]:
        """Of the first process, zombies among them."""
        children = Path(f"/proc/{self.first}/task/{self.first}/children").read_text()
        return {int(child) for child in children.split()}

    def events(self, beginning: str) -> list[dict[str, str]]:
        lines = self._log.read_text().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in events if event["event"].startswith(beginning)]

    def ready(self) -> dict[str, str]:
        wait_until(lambda: self.events("ready"), f"ready: {self._log.read_text()}", 60)
        return self.events("ready")[0]

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def end(self) -> int:
        os.kill(self.first, signal.SIGTERM)
        return self._process.wait(20)


@contextmanager
def started(image: Image, log: Path, *command: str) -> Iterator[Container]:
    with (
        log.open("wb") as sink,
        subprocess.Popen(
            image.words(*(command or image.command), environment=SETTINGS),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        ) as process,
    ):
        try:
            yield Container(process, log)
        finally:
            process.kill()  # what it runs ends with it


@pytest.fixture
def rules(image: Image) -> Path:
    """The folder of manifests that the container serves."""
    folder = image.own / "srv" / "manifests"
    folder.mkdir(exist_ok=True)
    (folder / "rules.yaml").write_text(ingress("none", "none.example") + "---\n" + service("shop"))
    return folder


def test_it_serves_without_any_right_and_ends_in_order(
    image: Image, rules: Path, tmp_path: Path
) -> None:
    with started(image, tmp_path / "log") as container:
        address = container.ready()["http"].split(",")[0]
        assert ask(address, "/", "none.example").status == 503
        status = Path(f"/proc/{container.first}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert set(fields["Uid"].split()) == set(fields["Gid"].split()) == {"65532"}
        assert {fields[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
        assert fields["NSpid"].split()[-1] == "1"
        assert container.end() == 0


def test_what_the_first_process_inherits_does_not_stay(
    image: Image, rules: Path, tmp_path: Path
) -> None:
    with started(image, tmp_path / "log") as container:
        container.ready()
        workers = container.children()
        enter = ["nsenter", "--target", str(container.first), "--pid", "sh", "-c"]
        subprocess.run([*enter, "sleep 1000 & exit 0"], check=True, timeout=30)
        wait_until(lambda: container.children() - workers, "the orphan is inherited")
        (orphan,) = container.children() - workers
        os.kill(orphan, signal.SIGKILL)
        wait_until(lambda: container.children() == workers, "it is gone", 20)
        assert container.end() == 0


def test_it_can_be_ended_while_it_starts(image: Image, rules: Path, tmp_path: Path) -> None:
    with started(image, tmp_path / "log") as container:
        program = b"ingress-controller"

        def running() -> bool:
            first = container.first
            return bool(first) and program in Path(f"/proc/{first}/cmdline").read_bytes()

        wait_until(running, "the program is started")
        # The first process is deaf to signals that it does not handle, so send until it hears.
        deadline = time.monotonic() + 5
        while container.exit_code is None:
            assert time.monotonic() < deadline, "it does not listen to SIGTERM while it starts"
            assert not container.events("ready")
            os.kill(container.first, signal.SIGTERM)
            time.sleep(0.02)
        assert container.exit_code == 128 + signal.SIGTERM


def test_nothing_that_builds_or_installs_is_left(image: Image) -> None:
    programs = {
        path.name
        for folder in (image.own / "usr/local/bin", image.own / "opt/python-ingress/bin")
        for path in folder.iterdir()
    }
    assert not {name for name in programs if name.startswith(("pip", "hatch", "gcc", "cc", "make"))}
    for module in ("pip", "ensurepip", "setuptools", "hatchling"):
        done = image.run("python", "-c", f"import {module}")
        assert "ModuleNotFoundError" in done.stderr, module


def test_every_module_that_is_loaded_has_its_bytecode(image: Image) -> None:
    lists = """
import importlib.util, os, pkgutil, sys
import ingress_controller, router, tls
import ingress_controller.app, kubernetes_asyncio.config, router.worker
for package in (ingress_controller, router, tls):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
for module in list(sys.modules.values()):
    source = getattr(module, "__file__", None) or ""
    if source.endswith(".py") and not os.path.exists(importlib.util.cache_from_source(source)):
        print(source)
"""
    done = image.run("python", "-P", "-c", lists)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_its_files_are_not_its_own_to_change(image: Image) -> None:
    search = "find /opt /usr/local -xdev ! -type l -writable -print -quit"
    done = image.run("sh", "-c", f"{search}; touch /tmp/x 2>&1; true")
    assert done.stdout.splitlines() == ["touch: cannot touch '/tmp/x': Read-only file system"]


def test_the_command_line_answers(image: Image) -> None:
    done = image.run("ingress-controller", "--version")
    assert done.stdout.split() == [
        "ingress-controller",
        image.labels["org.opencontainers.image.version"],
    ]
