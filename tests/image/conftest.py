"""The image, made once for all tests of a run.

IMAGE_TEST_PYTHON and IMAGE_TEST_SYSTEM name other stand-ins for the base image than the Python that
runs the tests, and this machine: a prefix, and the root folder of a system.
"""

import fcntl
import os
import shutil
import sys
from pathlib import Path

import msgspec
import pytest

from tests.image.container import Base, Image, build

ROOT = Path(__file__).parents[2]


def base() -> Base:
    return Base(
        Path(os.environ.get("IMAGE_TEST_PYTHON", sys.base_prefix)),
        Path(os.environ.get("IMAGE_TEST_SYSTEM", "/")),
    )


def missing() -> str:
    """Why the image cannot be made here; empty when it can."""
    if os.geteuid() != 0:
        return "only root can make namespaces and change its root"
    absent = [name for name in ("unshare", "setpriv", "chroot") if shutil.which(name) is None]
    if absent:
        return f"there is no {', '.join(absent)}"
    prefix = base().python
    if prefix == Path("/usr") or not any(prefix.glob("lib/python3*/site-packages/pip")):
        return (
            f"the Python in {prefix} cannot stand in for a base image: it brings no pip of its own"
        )
    return ""


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """What the Dockerfile makes; half a minute the first time."""
    if reason := missing():
        pytest.skip(reason)
    # Test processes beside this one share the folder above theirs, and the image.
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    described = shared / "image.json"
    with (shared / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not described.exists():
            work = shared / "image"
            shutil.rmtree(work, ignore_errors=True)  # half of one: another test failed over it
            made = build(ROOT, base(), work)
            described.write_bytes(msgspec.json.encode(made, enc_hook=str))
    return msgspec.json.decode(
        described.read_bytes(), type=Image, dec_hook=lambda kind, text: kind(text)
    )
