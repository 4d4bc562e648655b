"""What Python's ssl does not pass on, and the test that decides whether we use it."""

import subprocess
import sys

import pytest

from tests.tls.certificates import pair
from tests.tls.handshakes import client_context, shake
from tls import openssl
from tls.contexts import ServerContexts
from tls.openssl import OpenSsl, probe
from tls.policy import TlsPolicy
from tls.tickets import KEYS_BYTES


def test_the_probe_accepts_this_python() -> None:
    assert probe() is None


def test_the_probe_survives_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong pointer kills the process that examines; that is why it is another one."""
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    run = subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda command, **options: run([command[0], "-c", crash], **options)
    )
    assert probe() == "the test of OpenSSL was ended by signal 11"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.exit('ticket keys are not kept')", "ticket keys are not kept"),
        ("raise ImportError('no ctypes')", "ImportError: no ctypes"),
    ],
)
def test_the_probe_passes_the_reason_on(
    monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    run = subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda command, **options: run([command[0], "-c", code], **options)
    )
    assert probe() == f"the test of OpenSSL failed: {reason}"


def test_the_probe_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl, "PROBE_SECONDS", 0.0)
    reason = probe()
    assert reason is not None
    assert "could not run" in reason


def test_keys_of_another_length_are_not_taken() -> None:
    context = ServerContexts(openssl=None, secret=None).get((pair("a.test"),), TlsPolicy())
    assert not OpenSsl().set_ticket_keys(context, b"short")
    assert OpenSsl().set_ticket_keys(context, b"k" * KEYS_BYTES)
    assert OpenSsl().ticket_keys(context) == b"k" * KEYS_BYTES


def test_unknown_groups_are_not_taken_and_change_nothing() -> None:
    context = ServerContexts(openssl=None, secret=None).get((pair("a.test"),), TlsPolicy())
    assert not OpenSsl().set_groups(context, "no-such-group")
    shake(context, client_context())


def test_a_worker_loads_neither_cryptography_nor_the_control_process() -> None:
    """All that a worker imports of this package."""
    code = (
        "import sys, tls.client_hello, tls.names, tls.certificate, tls.faults, tls.store, "
        "tls.policy, tls.contexts, tls.upstream, tls.tickets, tls.openssl; "
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('cryptography', '_cffi_backend', 'aiohttp', 'ingress_controller', 'router')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
