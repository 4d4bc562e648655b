"""The command line as a person meets it."""

import pytest

from ingress_controller.cli import COMMANDS, load, main


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches_by_example_and_names_the_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"  ingress-controller {name}" in shown
    assert "exit codes:" in shown


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for name in COMMANDS:
        assert f"{name} {load(name).HELP}" in shown


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("ingress-controller 0.")


@pytest.mark.parametrize(
    "words", [[], ["serve"], ["run", "--no-such-flag"], ["run", "--bin", "::"]]
)
def test_unknown_words_are_wrong_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: ingress-controller" in capsys.readouterr().err
