"""Runs a Dockerfile's steps without a container engine, and starts what they made.

Needs root. The base image is stood in for: the system is a folder (this machine's, by default) of
which only /usr and /etc are seen, read-only; /usr/local is a copy of a Python with pip and nothing
else in its site-packages, without bytecode, as the official images have it. Each stage has folders
of its own for what it writes. A step runs in PID and mount namespaces of its own.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.image.dockerfile import Stage, context_files, read_rules, read_stages, replaced

ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LD_LIBRARY_PATH": "/usr/local/lib",  # an image has told ldconfig instead
}
WRITABLE = ("opt", "build", "root", "tmp", "srv")
PATIENCE = 600.0
"""Seconds for one step: it may download."""

ENTER = """
root=$1 own=$2 system=$3 access=$4 folder=$5 user=$6; shift 6
mount -t tmpfs -o mode=755,size=1m none "$root"
mkdir "$root/usr" "$root/etc" "$root/proc" "$root/dev"
for name in bin lib lib64 sbin; do ln -s "usr/$name" "$root/$name"; done
bind() { mount --rbind "$1" "$2"; mount -o remount,bind,"$3" "$2"; }
bind "$system/usr" "$root/usr" ro
bind "$system/etc" "$root/etc" ro
bind "$own/usr/local" "$root/usr/local" "$access"
for path in "$own"/*; do
  name=${path##*/}
  [ "$name" = usr ] || { mkdir "$root/$name"; bind "$path" "$root/$name" "$access"; }
done
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,"$access" "$root"
[ "$user" = 0:0 ] && drop="--reuid 0" || drop="--reuid ${user%:*} --regid ${user#*:} --clear-groups
  --no-new-privs --bounding-set=-all --inh-caps=-all"
exec chroot "$root" setpriv $drop -- sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""


class Base(NamedTuple):
    """What stands in for the base image."""

    python: Path
    """A Python's prefix: bin/python3 and lib/python3.N."""
    system: Path = Path("/")


class Image(NamedTuple):
    """What the last stage made, and how it is started."""

    own: Path
    system: Path
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    user: str
    command: Sequence[str]

    def words(self, *command: str, environment: Mapping[str, str] | None = None) -> list[str]:
        """A command line that runs a command in the container, as its first process."""
        variables = {**self.environment, **(environment or {})}
        return entered(self.own, self.system, "ro", "/", self.user, variables, command)

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.words(*command), capture_output=True, text=True, timeout=PATIENCE
        )


def entered(
    own: Path,
    system: Path,
    access: str,
    folder: str,
    user: str,
    environment: Mapping[str, str],
    command: Sequence[str],
) -> list[str]:
    """A command line for a process in a stage's file system."""
    root = own.parent / f"{own.name}.root"
    root.mkdir(exist_ok=True)
    place = [str(root), str(own), str(system).rstrip("/"), access, folder, user]
    variables = [f"{name}={value}" for name, value in environment.items()]
    return [
        *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
        *("sh", "-ec", ENTER, "sh", *place, "env", "-i", *variables, *command),
    ]


def build(root: Path, base: Base, work: Path, arguments: Mapping[str, str] | None = None) -> Image:
    """Runs the Dockerfile of a folder; everything that is written stands below ``work``.

    Raises:
        AssertionError: a step failed; with its line and output.
    """
    defaults, stages = read_stages((root / "Dockerfile").read_text())
    rules = read_rules((root / ".dockerignore").read_text())
    context = work / "context"
    for file in context_files(root, rules):
        (context / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / file, context / file)
    image = None
    for number, stage in enumerate(stages):
        own = work / (stage.name or f"stage-{number}")
        _lay_out(base, own)
        given = {**defaults, **(arguments or {})}
        image = _Builder(stage, own, base.system, context, given).run()
    assert image is not None
    return image


def _lay_out(base: Base, own: Path) -> None:
    for name in WRITABLE:
        (own / name).mkdir(parents=True)
    (own / "tmp").chmod(0o1777)
    local = own / "usr" / "local"

    def left_out(folder: str, names: list[str]) -> set[str]:
        out = {name for name in names if name in ("__pycache__", "test", "tests")}
        if folder.endswith("site-packages"):
            out |= {name for name in names if not name.startswith("pip")}
        return out

    shutil.copytree(base.python, local, symlinks=True, ignore=left_out)
    if not (local / "bin" / "python").exists():
        (local / "bin" / "python").symlink_to("python3")


class _Builder:
    """One stage."""

    def __init__(
        self, stage: Stage, own: Path, system: Path, context: Path, given: Mapping[str, str]
    ) -> None:
        self._stage = stage
        self._own = own
        self._system = system
        self._context = context
        self._given = given
        self._environment = dict(ENVIRONMENT)
        self._arguments: dict[str, str] = {}
        self._labels: dict[str, str] = {}
        self._folder = "/"
        self._user = "0:0"
        self._entry: list[str] = []
        self._command: list[str] = []

    def run(self) -> Image:
        for step in self._stage.steps:
            known = {**self._arguments, **self._environment}
            match step.word:
                case "ARG":
                    name, _, default = step.text.partition("=")
                    self._arguments[name] = self._given.get(name, default)
                case "ENV":
                    pairs = {name: replaced(value, known) for name, value in step.pairs().items()}
                    self._environment |= pairs
                case "LABEL":
                    for name, value in step.pairs().items():
                        self._labels[name] = replaced(value, known)
                case "WORKDIR":
                    self._folder = step.text
                    self._inside(step.text).mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(step.text.split())
                case "RUN":
                    self._step(step.line, step.text)
                case "USER":
                    self._user = step.text
                case "ENTRYPOINT":
                    self._entry = step.listed()
                case "CMD":
                    self._command = step.listed()
                case "EXPOSE":
                    pass  # says something to people only
                case word:
                    raise ValueError(f"line {step.line}: {word}")
        words = [*self._entry, *self._command]
        return Image(self._own, self._system, self._environment, self._labels, self._user, words)

    def _inside(self, path: str) -> Path:
        return self._own / os.path.normpath(os.path.join(self._folder, path)).lstrip("/")

    def _copy(self, words: list[str]) -> None:
        source = self._context
        if words[0].startswith("--from="):
            source = self._own.parent / words.pop(0).removeprefix("--from=")
        *names, target = words
        for name in names:
            place = self._inside(target)
            path = source / name.lstrip("/")
            if path.is_dir():
                shutil.copytree(path, place, symlinks=True, dirs_exist_ok=True)
            else:
                into = place / path.name if target.endswith("/") else place
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, into)

    def _step(self, line: int, text: str) -> None:
        # How this machine reaches its package index is no part of the image.
        environment = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_CERT"))}
        environment.pop("PIP_FIND_LINKS", None)  # a folder that the step does not see
        environment |= {**self._arguments, "HOME": "/root", **self._environment}
        command = ("/bin/sh", "-c", text)
        words = entered(
            self._own, self._system, "rw", self._folder, self._user, environment, command
        )
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, f"Dockerfile:{line}: {text}\n{done.stdout}\n{done.stderr}"


if __name__ == "__main__":  # python -m tests.image.container WORK [PYTHON_PREFIX [SYSTEM]]
    here = Path(__file__).parents[2]
    made, *stands_in = (Path(word).resolve() for word in sys.argv[1:])
    print(build(here, Base(*(stands_in or [Path(sys.base_prefix)])), made))  # noqa: T201 # to people
