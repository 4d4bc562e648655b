"""What the Dockerfile and .dockerignore say, without running them."""

import json
import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

from tests.image.dockerfile import Rule, Stage, context_files, read_rules, read_stages, read_steps

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture
def stages() -> list[Stage]:
    return read_stages(TEXT)[1]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    assert hadolint.exists(), "it is in the development requirements"
    done = subprocess.run(
        [hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_is_a_slim_python_of_a_minor_version_that_is_supported(
    stages: list[Stage],
) -> None:
    bases = {stage.base for stage in stages}
    assert len(bases) == 1
    found = re.fullmatch(r"docker\.io/library/python:3\.(\d+)-slim-[a-z]+", bases.pop())
    assert found is not None
    assert int(found[1]) in range(11, 15)


def test_nothing_is_bound_to_an_architecture() -> None:
    assert not re.search(r"--platform=|amd64|x86_64|arm64|aarch64", re.sub(r"(?m)^#.*$", "", TEXT))


def test_dependencies_come_as_wheels_with_the_hashes_that_were_tested(stages: list[Stage]) -> None:
    installs = [
        part
        for stage in stages
        for step in stage.steps
        if step.word == "RUN"
        for part in step.text.split("&&")
        if " install " in part
    ]
    assert installs
    for install in installs:
        hashed = "--require-hashes" in install and "--only-binary :all:" in install
        assert hashed or "--no-index" in install, install


def test_the_program_itself_is_the_first_process_and_no_root(stages: list[Stage]) -> None:
    final = stages[-1]
    assert final.last("ENTRYPOINT").listed() == ["ingress-controller"]
    assert final.last("CMD").listed() == ["run"]
    assert final.last("USER").text == "65532:65532"
    assert list(PROJECT["project"]["scripts"]) == ["ingress-controller"]


def test_labels_tell_name_version_licence_and_origin(stages: list[Stage]) -> None:
    labels = stages[-1].last("LABEL").pairs()
    prefix = "org.opencontainers.image."
    assert all(label.startswith(prefix) for label in labels)
    assert labels[f"{prefix}title"] == PROJECT["project"]["name"]
    assert labels[f"{prefix}licenses"] == PROJECT["project"]["license"]
    assert {f"{prefix}{name}" for name in ("version", "revision", "base.name", "description")} <= (
        labels.keys()
    )
    versions = [step.text for step in stages[-1].steps if step.text.startswith("VERSION=")]
    assert versions == [f"VERSION={PROJECT['project']['version']}"]


def test_only_what_the_image_is_made_of_is_sent_to_the_builder() -> None:
    rules = read_rules((ROOT / ".dockerignore").read_text())
    files = [file.as_posix() for file in context_files(ROOT, rules)]
    tops = {file.partition("/")[0] for file in files}
    packages = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert tops == packages | {"LICENSE", "README.md", "pyproject.toml", "requirements"}
    assert not [file for file in files if "__pycache__" in file or file.endswith(".pyc")]
    wanted = subprocess.run(
        ["git", "ls-files", *packages], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert set(wanted.stdout.split()) <= set(files)


def test_what_is_copied_is_in_the_context(stages: list[Stage]) -> None:
    rules = read_rules((ROOT / ".dockerignore").read_text())
    files = [file.as_posix() for file in context_files(ROOT, rules)]
    for step in stages[0].steps:
        if step.word == "COPY":
            for name in step.text.split()[:-1]:
                assert [f for f in files if f == name or f.startswith(name.rstrip("/") + "/")], name


# The reader itself


def test_a_step_may_go_over_several_lines_with_comments_between() -> None:
    steps = read_steps("# c\nRUN one \\\n# two\n  three\n\nUSER 1:1\n")
    assert [(step.line, step.word, step.text) for step in steps] == [
        (2, "RUN", "one   three"),
        (6, "USER", "1:1"),
    ]


def test_an_instruction_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2: ADD is not known here"):
        read_steps("FROM scratch\nADD a b\n")


def test_an_entry_in_shell_form_is_refused() -> None:
    (step,) = read_steps("ENTRYPOINT ingress-controller")
    with pytest.raises(json.JSONDecodeError):
        step.listed()


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*", "a", True),
        ("*", "a/b", True),
        ("a", "a/b/c", True),
        ("a", "ab", False),
        ("a/*.py", "a/x.py", True),
        ("a/*.py", "a/b/x.py", False),
        ("**/cache", "cache", True),
        ("**/cache", "a/b/cache/x", True),
        ("**/cache", "a/mycache", False),
    ],
)
def test_rules_of_a_dockerignore_match_paths(pattern: str, path: str, matches: bool) -> None:
    assert Rule(True, pattern).matches(path) is matches
