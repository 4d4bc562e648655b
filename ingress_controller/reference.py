"""Prints docs/reference.md: `python -m ingress_controller.reference > docs/reference.md`.

Everything in it is read from the program (settings, metrics, diagnostics), and a test compares the
file with what this prints: it cannot grow old.
"""

from collections.abc import Iterator

from ingress_controller.admin.metrics import METRICS, WORKER_COUNTERS, WORKER_GAUGES, WORKER_PREFIX
from ingress_controller.cli import EPILOG
from ingress_controller.flags import Flag, flags_of, show
from ingress_controller.settings import TOPICS
from ingress_controller.translate.diagnostics import DiagnosticCode


def reference() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Reference"
    yield ""
    yield "Made by `python -m ingress_controller.reference`; change the sources, not this page."
    yield ""
    yield "## Settings of `run` and `demo`"
    yield ""
    yield "Those about which objects are served are settings of `check` and `explain`, too."
    yield ""
    yield "```"
    yield EPILOG.strip()
    yield "```"
    for title, cls in TOPICS:
        yield ""
        yield f"### {title[0].upper()}{title[1:]}"
        yield ""
        yield "| flag | variable | default | meaning |"
        yield "|---|---|---|---|"
        for flag in flags_of(cls):
            yield _row(f"`{_written(flag)}`", f"`{flag.variable}`", show(flag), flag.text)
    yield ""
    yield "## Metrics"
    yield ""
    yield "| metric | labels | meaning |"
    yield "|---|---|---|"
    for name, (labels, text) in METRICS.items():
        yield _row(f"`{name}`", ", ".join(labels), text)
    for name, text in WORKER_COUNTERS.items():
        yield _row(f"`{WORKER_PREFIX}{name}_total`", "code" if name == "fault" else "", text)
    for name, text in WORKER_GAUGES.items():
        yield _row(f"`{WORKER_PREFIX}{name}`", "worker", text)
    yield ""
    yield "## Codes of diagnostics"
    yield ""
    yield ", ".join(f"`{code.value}`" for code in sorted(DiagnosticCode)) + "."


def _written(flag: Flag) -> str:
    if flag.kind == "switch":
        return f"{flag.name}, --no-{flag.name[2:]}"
    return f"{flag.name} {flag.metavar}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(reference(), end="")  # noqa: T201 # its purpose
