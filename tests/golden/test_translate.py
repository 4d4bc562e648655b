"""Goldens of the translation: NAME.in.yaml is translated and compared with NAME.out.yaml.

The first line of an input may set options: ``# options: {"allow_external_name": true}``.
After a change that is meant, rewrite the outputs and review the difference:

    REWRITE_GOLDENS=1 python -m pytest tests/golden
"""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from ingress_controller.objects.decode import Undecodable, decode
from ingress_controller.sources.documents import read_yaml
from ingress_controller.translate.options import Options
from ingress_controller.translate.translator import translate

FOLDER = Path(__file__).parent / "translate"
NAMES = sorted(path.name.removesuffix(".in.yaml") for path in FOLDER.glob("*.in.yaml"))
OPTIONS_MARK = "# options: "


def rendered(text: str) -> str:
    """The translation of a manifest, as YAML with sorted keys."""
    first = text.partition("\n")[0]
    settings = json.loads(first.removeprefix(OPTIONS_MARK)) if OPTIONS_MARK in first else {}
    objects = [decode(document.value) for document in read_yaml(text.encode()).documents]
    assert not any(item is None or isinstance(item, Undecodable) for item in objects), objects
    known = [item for item in objects if item is not None and not isinstance(item, Undecodable)]
    snapshot, diagnostics = translate(known, msgspec.convert(settings, Options))
    plain = {
        "diagnostics": msgspec.to_builtins(diagnostics),
        "snapshot": _without_pem(msgspec.to_builtins(snapshot)),
    }
    return yaml.safe_dump(plain, sort_keys=True, allow_unicode=True, width=100)


def _without_pem(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Certificates by name and time; their bytes stand in the input."""
    for digest, pair in snapshot.get("certificates", {}).items():
        snapshot["certificates"][digest] = {"names": pair["names"], "not_after": pair["not_after"]}
    for bundle in snapshot.get("authorities", {}).values():
        del bundle["pem"]
    return snapshot


def test_there_are_goldens() -> None:
    assert len(NAMES) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_the_translation_equals_the_golden(name: str) -> None:
    output = rendered((FOLDER / f"{name}.in.yaml").read_text())
    golden = FOLDER / f"{name}.out.yaml"
    if os.environ.get("REWRITE_GOLDENS"):
        golden.write_text(output)
    assert output == golden.read_text()
