"""Says everything that is wrong with the manifests in some folders, without serving them."""

import argparse
import gc
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ingress_controller.settings import translation_flags, translation_options
from ingress_controller.sources.manifests import ManifestFolders
from ingress_controller.translate.diagnostics import SEVERITIES, Diagnostic, Severity, order
from ingress_controller.translate.expiry import expiring
from ingress_controller.translate.translator import HOST_SET, Translator
from router.model.snapshot import Snapshot

HELP = "find what is wrong with manifests before serving them"
DESCRIPTION = """\
Reads Ingress, IngressClass, Service, EndpointSlice, Endpoints, Secret and ConfigMap objects from
folders and says what would not be served as written, and which certificates end within 21 days. No
network is used.

  ingress-controller check ./manifests
  ingress-controller check ./base ./overlays/prod --ingress-class nginx
  ingress-controller check ./manifests --output json | jq '.diagnostics[].message'

error     something would not be served as written; the exit code is 1
warning   it would be served, but probably not as meant
hint      good to know
"""

_COLOURS: dict[Severity, str] = {"error": "31;1", "warning": "33;1", "hint": "36"}


class Checked(NamedTuple):
    """What `check` found out."""

    diagnostics: tuple[Diagnostic, ...]
    """Each with file and line where they are known."""
    summary: dict[str, int]
    """Objects and diagnostics, counted."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "folders", nargs="+", metavar="DIR", help="folder with manifests, or a single file"
    )
    parser.add_argument(
        "--output",
        choices=("text", "json"),
        default="text",
        help="text for people, or one JSON object for programs (default: text)",
    )
    translation_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints what was found; 1 when there are errors."""
    folders = ManifestFolders(arguments.folders)
    translator = Translator(translation_options(arguments))
    # Nothing made here is garbage before the end, and looking for it takes a third of the time.
    gc.disable()
    try:
        checked = check(folders, translator, time.time())
    finally:
        gc.enable()
    if arguments.output == "json":
        print(as_json(checked))
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(as_text(checked, colour=colour))
    return 1 if checked.summary["errors"] else 0


def check(folders: ManifestFolders, translator: Translator, now: float) -> Checked:
    """Reads the folders once and translates what is there.

    ``now`` in Unix seconds: certificates that end within 21 days are warned of.
    """
    scan = folders.scan()
    translator.update(scan.changes)
    presented = translator.presented_certificates(with_default=True)
    said = (*translator.diagnostics, *expiring(presented, now, translator.named_materials()))
    found = sorted((*scan.diagnostics, *_located(said, folders)), key=order)
    return Checked(tuple(found), _summary(found, translator))


def _located(diagnostics: Iterable[Diagnostic], folders: ManifestFolders) -> Iterable[Diagnostic]:
    """The translation knows objects, the folders know where they stand."""
    for diagnostic in diagnostics:
        place = folders.location(diagnostic.object)
        if place is None:
            yield diagnostic
        else:
            yield msgspec.structs.replace(diagnostic, file=place.file, line=place.line)


def _summary(diagnostics: Iterable[Diagnostic], translator: Translator) -> dict[str, int]:
    severities = Counter(diagnostic.severity for diagnostic in diagnostics)
    snapshot: Snapshot = translator.snapshot
    hosts = snapshot.hosts[HOST_SET]
    return {
        "ingresses": translator.ingresses_seen,
        "served": translator.ingresses_served,
        "hosts": len(hosts),
        "routes": sum(len(host.routes) + (host.default is not None) for host in hosts.values()),
        "upstreams": len(snapshot.upstreams),
        **{f"{severity}s": severities[severity] for severity in SEVERITIES},
    }


def as_json(checked: Checked) -> str:
    """One JSON object."""
    return json.dumps(
        {
            "summary": checked.summary,
            "diagnostics": [_plain(diagnostic) for diagnostic in checked.diagnostics],
        },
        indent=2,
        ensure_ascii=False,
    )


def _plain(diagnostic: Diagnostic) -> dict[str, object]:
    kind, namespace, name = diagnostic.object
    return {
        "severity": diagnostic.severity,
        "code": diagnostic.code.value,
        "object": {"kind": kind, "namespace": namespace, "name": name},
        "field": diagnostic.field,
        "message": diagnostic.message,
        "consequence": diagnostic.consequence,
        "remedy": diagnostic.remedy,
        "file": diagnostic.file,
        "line": diagnostic.line,
    }


def as_text(checked: Checked, *, colour: bool) -> str:
    """Paragraphs, one a diagnostic, and a summary as the last line."""
    paragraphs = [_paragraph(diagnostic, colour=colour) for diagnostic in checked.diagnostics]
    count = checked.summary
    paragraphs.append(
        f"{_counted(count['ingresses'], 'Ingress', 'Ingresses')}, {count['served']} served here: "
        f"{_counted(count['hosts'], 'host')}, {_counted(count['routes'], 'route')}, "
        f"{_counted(count['upstreams'], 'upstream')}. "
        f"{_counted(count['errors'], 'error')}, {_counted(count['warnings'], 'warning')}, "
        f"{_counted(count['hints'], 'hint')}."
    )
    return "\n\n".join(paragraphs)


def _paragraph(diagnostic: Diagnostic, *, colour: bool) -> str:
    head = " ".join(part for part in (str(diagnostic.object), diagnostic.field) if part)
    lines = [f"{head} ({diagnostic.code.value})"]
    if diagnostic.file and diagnostic.object.kind not in ("File", "Folder"):
        lines.append(f"  in {diagnostic.file}" + (f":{diagnostic.line}" if diagnostic.line else ""))
    elif diagnostic.line:
        lines.append(f"  in line {diagnostic.line}")
    lines.append(f"  {diagnostic.message}")
    lines.append(f"  now:  {diagnostic.consequence}")
    lines.append(f"  do:   {diagnostic.remedy}")
    severity: str = diagnostic.severity
    if colour:
        severity = f"\x1b[{_COLOURS[diagnostic.severity]}m{severity}\x1b[0m"
    return f"{severity}: " + "\n".join([_printable(line) for line in lines])


def _printable(text: str) -> str:
    """Names come from files: nothing in them may steer a terminal."""
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() else f"\\x{ord(c):02x}" for c in text])


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
