"""The command line: finds the command, parses its arguments, turns errors into exit codes.

A command is a file of `ingress_controller.commands` with HELP, DESCRIPTION, configure and run; it
is loaded when it is asked for, so that `check` does not pay for what `run` needs.
"""

import argparse
import importlib
import importlib.metadata
import os
import signal
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from ingress_controller.flags import UsageError

COMMANDS = ("run", "demo", "check", "explain")

DESCRIPTION = """\
Serves Kubernetes Ingress objects with a reverse proxy that explains every request.

  ingress-controller demo                                try it: sample backends and curl lines
  ingress-controller run --manifests ./manifests         serve a folder, no cluster needed
  ingress-controller check ./manifests                   find what is wrong before serving it
  ingress-controller explain http://shop.example/cart --manifests ./manifests
"""
EPILOG = """\
Every flag is also a variable: --http-port is INGRESS_HTTP_PORT. A flag wins over the variable.
Sizes take K, M or G (10M); times take ms, s, m, h or d (30s, 1h30m).

exit codes:
  0    done, nothing wrong
  1    errors were found (check), the URL would not be served (explain), or the program failed
  2    wrong usage: a flag, variable or argument
  130  interrupted by Ctrl-C
"""


class Command(Protocol):
    """What each file of `ingress_controller.commands` offers."""

    HELP: str
    DESCRIPTION: str

    def configure(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


def load(name: str) -> Command:
    """The command of this name."""
    return cast(Command, importlib.import_module(f"ingress_controller.commands.{name}"))


def parser_for(names: Sequence[str]) -> argparse.ArgumentParser:
    """A parser that knows these commands."""
    parser = argparse.ArgumentParser(
        prog="ingress-controller",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    version = importlib.metadata.version("python-ingress")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True)
    for name in names:
        command = load(name)
        command_parser = commands.add_parser(
            name,
            help=command.HELP,
            description=command.DESCRIPTION,
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.configure(command_parser)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; the answer is the exit code."""
    if os.getpid() == 1:
        # The kernel gives a container's first process no signal that it does not handle: a Pod that
        # is deleted while it starts would hang for its whole grace period. `run` replaces this.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    words = sys.argv[1:] if words is None else words
    wanted = words[:1] if words and words[0] in COMMANDS else COMMANDS
    arguments = parser_for(wanted).parse_args(words)
    try:
        return load(arguments.command).run(arguments)
    except UsageError as error:
        print(f"ingress-controller {arguments.command}: {error}", file=sys.stderr)  # noqa: T201 # to people
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has left: say nothing, not even while Python closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
