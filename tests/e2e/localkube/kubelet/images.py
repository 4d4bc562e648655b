"""Which local command and which local files stand for an image."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass


class ImageMissing(Exception):
    """Nothing on this machine stands for the image."""


@dataclass(frozen=True)
class Image:
    entrypoint: tuple[str, ...]  # what runs when the Pod gives no command; its args are added
    root: str | None  # DIRECTORY/bin comes first in PATH


class Images:
    def __init__(self, commands: list[str], roots: list[str]) -> None:
        self._commands = [
            (re.compile(rx), tuple(shlex.split(text))) for rx, text in map(_split, commands)
        ]
        self._roots = [(re.compile(rx), text) for rx, text in map(_split, roots)]

    def find(self, name: str) -> Image:
        command = next((c for rx, c in self._commands if rx.search(name)), None)
        root = next((r for rx, r in self._roots if rx.search(name)), None)
        if command is None and root is None:
            raise ImageMissing(f"no --image or --image-root stands for {name}")
        return Image(command or (), root)


def _split(text: str) -> tuple[str, str]:
    rx, equals, value = text.partition("=")
    if not equals or not value:
        raise SystemExit(f"{text!r} is not REGEX=VALUE")
    return rx, value
