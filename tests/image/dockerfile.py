"""A Dockerfile as data: the instructions that ours uses, read strictly.

Anything else raises ValueError, so that a step cannot be overlooked by those who run these.
"""

import json
import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

KNOWN = frozenset(
    {"FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "LABEL", "USER", "EXPOSE", "ENTRYPOINT", "CMD"}
)


class Step(NamedTuple):
    """One instruction, its variables not yet replaced."""

    line: int
    word: str
    text: str

    def pairs(self) -> dict[str, str]:
        """What ENV, LABEL and ARG say, as they are written."""
        found = re.findall(r'([\w.]+)=("(?:[^"\\]|\\.)*"|\S+)', self.text)
        return {name: value.strip('"') for name, value in found}

    def listed(self) -> list[str]:
        """What is written in exec form: a JSON list.

        Raises:
            ValueError: it is in shell form, which would put a shell before the program.
        """
        words = json.loads(self.text)
        if not isinstance(words, list):
            raise ValueError(f"line {self.line}: {self.word} is not in exec form")
        return words


class Stage(NamedTuple):
    """From one FROM to the next."""

    name: str
    base: str
    steps: tuple[Step, ...]

    def last(self, word: str) -> Step:
        return [step for step in self.steps if step.word == word][-1]


def read_steps(text: str) -> list[Step]:
    """All instructions, each on one line without comments."""
    steps = []
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        whole = line
        while whole.endswith("\\"):
            _, more = next(lines)
            whole = whole if more.lstrip().startswith("#") else whole[:-1] + more
        word, _, rest = whole.partition(" ")
        if word not in KNOWN:
            raise ValueError(f"line {number}: {word} is not known here")
        steps.append(Step(number, word, rest.strip()))
    return steps


def read_stages(text: str) -> tuple[dict[str, str], list[Stage]]:
    """The arguments before the first FROM with their defaults, and the stages."""
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for step in read_steps(text):
        if step.word == "FROM":
            base, _, name = step.text.partition(" AS ")
            stages.append(Stage(name, string.Template(base).substitute(arguments), ()))
        elif stages:
            stages[-1] = stages[-1]._replace(steps=(*stages[-1].steps, step))
        elif step.word == "ARG":
            arguments |= step.pairs()
        else:
            raise ValueError(f"line {step.line}: {step.word} before FROM")
    return arguments, stages


def replaced(text: str, variables: Mapping[str, str]) -> str:
    """The text with $NAME and ${NAME} replaced; KeyError for a variable that nobody set."""
    return string.Template(text).substitute(variables)


class Rule(NamedTuple):
    """A line of a .dockerignore; the last one that matches a path counts."""

    ignores: bool
    pattern: str

    def matches(self, path: str) -> bool:
        """Whether it says something of this path, or of a folder that it is in."""
        globs = {"**/": "(?:.*/)?", "*": "[^/]*"}
        parts = re.split(r"(\*\*/|\*)", self.pattern)
        body = "".join(globs.get(part, re.escape(part)) for part in parts)
        return re.fullmatch(f"{body}(?:/.*)?", path) is not None

    def reaches_into(self, folder: str) -> bool:
        return not self.ignores and self.pattern.startswith(f"{folder}/")


def read_rules(text: str) -> list[Rule]:
    """The rules of a .dockerignore."""
    lines = [line.strip() for line in text.splitlines()]
    return [
        Rule(not line.startswith("!"), line.removeprefix("!"))
        for line in lines
        if line and not line.startswith("#")
    ]


def context_files(root: Path, rules: Sequence[Rule]) -> list[Path]:
    """Files below the root, relative to it, that a build would see."""
    found = []
    folders = [root]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            relative = path.relative_to(root).as_posix()
            said = [rule.ignores for rule in rules if rule.matches(relative)]
            ignored = bool(said) and said[-1]
            if path.is_dir():
                if not ignored or any(rule.reaches_into(relative) for rule in rules):
                    folders.append(path)
            elif not ignored:
                found.append(path.relative_to(root))
    return found
