"""An explanation as text for people: what happens, then each step on the way there."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ingress_controller.explain.explanation import (
    CertificateShown,
    EndpointShown,
    Explanation,
    Finding,
    RouteShown,
    TlsShown,
    UpstreamShown,
)
from ingress_controller.flags import flags_of, show
from router.model.limits import Limits

MAX_ROUTES: Final = 25
"""Routes that do not take the path, of a host with many; JSON has all."""
_INDENT: Final = 2

_GREEN, _RED, _YELLOW, _FAINT, _BOLD = "32;1", "31;1", "33;1", "2", "1"
_SEVERITY: Final = {"error": _RED, "warning": _YELLOW}


class _Paint:
    """Colours, where the terminal wants them; and nothing that could steer it."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def __call__(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and text else text


def as_text(explanation: Explanation, *, colour: bool) -> str:
    """Paragraphs with a title each; the first one says it all."""
    paint = _Paint(colour=colour)
    sections = [
        _verdict(explanation, paint),
        *_section("TLS", _tls(explanation.tls, paint), paint),
        *_section("Host", _host(explanation, paint), paint),
        *_section("Path", _path(explanation, paint), paint),
        *_section("Routes", _routes(explanation, paint), paint),
    ]
    for upstream in explanation.upstreams:
        sections += _section("Service", _upstream(upstream, explanation, paint), paint)
    sections += _section("Limits", _limits(explanation), paint)
    sections += _section("Findings", _findings(explanation.findings, paint), paint)
    return "\n\n".join(sections)


def _section(title: str, lines: Iterable[str], paint: _Paint) -> Iterator[str]:
    body = [f"{'':{_INDENT}}{line}" if line else "" for line in lines]
    if body:
        yield "\n".join([paint(_BOLD, title), *body])


def _verdict(explanation: Explanation, paint: _Paint) -> str:
    request, verdict = explanation.request, explanation.verdict
    host = next((h for h in request.headers if h.lower().startswith("host:")), "")
    scheme = "   over TLS" if request.scheme == "https" else ""
    lines = [_plain(f"{request.method} {request.target}   {host}{scheme}")]
    lines += [_plain(h) for h in request.headers if h != host]
    status = "" if verdict.status is None else f"{verdict.status} "
    code = f" ({verdict.code})" if verdict.code else ""
    colour = _GREEN if explanation.served else _RED
    lines += ["", paint(colour, _plain(f"{status}{verdict.summary}{code}"))]
    if verdict.reason:
        lines.append(_plain(verdict.reason))
    lines += [f"note: {_plain(note)}" for note in explanation.notes]
    return "\n".join(lines)


def _tls(tls: TlsShown | None, paint: _Paint) -> Iterator[str]:
    if tls is None:
        return
    yield _plain(tls.reason)
    if not tls.ends_here:
        return
    yield from _table([_certificate(each) for each in tls.certificates], paint)
    versions = "TLS 1.3" if tls.profile == "modern" else "TLS 1.2 and 1.3"
    yield f"profile {tls.profile}: {versions}"
    if tls.client_certificates != "none":
        whom = _listed(tls.authorities)
        yield _plain(f"client certificates are {tls.client_certificates}, from {whom}")
    if tls.hsts:
        yield _plain(f"answers carry Strict-Transport-Security: {tls.hsts}")


def _certificate(shown: CertificateShown) -> tuple[str, str, str]:
    outcome = "answers" if shown.answers else "no"
    thing = f"Secret {shown.secret}" if shown.secret else "default certificate"
    parts = [shown.reason]
    if shown.expires:
        names = _listed(shown.names)
        parts.append(f"{shown.algorithm} for {names}, until {shown.expires}, by {shown.issuer}")
    if shown.kept_until:
        parts.append(f"the last good one, kept until {shown.kept_until}")
    if shown.location:
        parts.append(shown.location)
    return (outcome, thing, "; ".join(parts))


def _host(explanation: Explanation, paint: _Paint) -> Iterator[str]:
    rows = []
    for step in explanation.hosts:
        outcome = "taken" if step.taken else "passed" if step.exists else "absent"
        rows.append((outcome, step.pattern or "(every host)", step.reason))
    yield from _table(rows, paint)


def _path(explanation: Explanation, paint: _Paint) -> Iterator[str]:
    if explanation.path is None or explanation.match_path is None:
        return
    target, _, _ = (explanation.forwarded_target or "").partition("?")
    if explanation.path == explanation.match_path == target:
        yield _plain(f"{explanation.path}  is matched and forwarded as it came")
        return
    yield _plain(f"received   {explanation.path}")
    yield _plain(f"matched    {explanation.match_path}")
    yield _plain(f"forwarded  {explanation.forwarded_target}")
    for change in explanation.path_changes:
        yield paint(_FAINT, _plain(f"because    {change}"))


def _routes(explanation: Explanation, paint: _Paint) -> Iterator[str]:
    near = [route for route in explanation.routes if route.takes or route.won]
    far = [route for route in explanation.routes if not (route.takes or route.won)]
    rows = []
    for route in (*near, *far[:MAX_ROUTES]):
        outcome = "wins" if route.won else "loses" if route.takes else "no"
        kind = f"{route.kind} {route.path}" if route.path else "default backend"
        rows.append((outcome, kind, route.reason))
    yield from _table(rows, paint)
    if len(far) > MAX_ROUTES:
        yield paint(_FAINT, f"and {len(far) - MAX_ROUTES} more that do not take the path")
    for route in near:
        if route.won:
            yield ""
            yield from _origin(route, explanation)


def _origin(route: RouteShown, explanation: Explanation) -> Iterator[str]:
    location = f"   ({route.location})" if route.location else ""
    yield _plain(f"{route.object}   {route.field}{location}")
    others = [name for name in explanation.ingresses if name != route.object]
    if others:
        yield _plain(f"this host is claimed by {_listed(others)} too")


def _upstream(upstream: UpstreamShown, explanation: Explanation, paint: _Paint) -> Iterator[str]:
    name = f"{upstream.port_name} ({upstream.port})" if upstream.port_name else str(upstream.port)
    target = f", target port {upstream.target_port}" if upstream.target_port else ""
    protocol = f", appProtocol {upstream.app_protocol}" if upstream.app_protocol else ""
    location = f"   ({upstream.location})" if upstream.location else ""
    yield _plain(f"{upstream.service}   port {name}{target}{protocol}, {upstream.type}{location}")
    if len(explanation.upstreams) > 1:
        yield f"gets {upstream.share:.0%} of the requests (weight {upstream.weight})"
    if upstream.sources:
        yield _plain(f"endpoints from {_listed(upstream.sources)}")
    if upstream.tls:
        yield _plain(upstream.tls)
    yield from _table([_endpoint(each) for each in upstream.endpoints], paint)


def _endpoint(endpoint: EndpointShown) -> tuple[str, str, str]:
    conditions = ", ".join(
        f"{name} {'yes' if value else 'no'}"
        for name, value in (
            ("ready", endpoint.ready),
            ("serving", endpoint.serving),
            ("terminating", endpoint.terminating),
        )
    )
    outcome = "eligible" if endpoint.eligible else "left out"
    return (outcome, endpoint.address, f"{conditions}: {endpoint.reason}")


def _limits(explanation: Explanation) -> Iterator[str]:
    flags = {flag.field: flag for flag in flags_of(Limits)}
    for name, value in explanation.limits.items():
        flag = flags.get(name)
        if flag is not None:
            written = "unlimited" if name == "max_body_size" and not value else show(flag, value)
            yield f"{flag.name:<27} {written}"


def _findings(findings: Sequence[Finding], paint: _Paint) -> Iterator[str]:
    for index, found in enumerate(findings):
        if index:
            yield ""
        location = f"   ({found.location})" if found.location else ""
        head = f"{found.object} {found.field}".rstrip()
        severity = paint(_SEVERITY.get(found.severity, _FAINT), found.severity)
        yield f"{severity}: " + _plain(f"{head} ({found.code}){location}")
        yield _plain(f"  {found.message}")
        yield _plain(f"  now:  {found.consequence}")
        yield _plain(f"  do:   {found.remedy}")


_OUTCOME: Final = {
    "answers": _GREEN,
    "taken": _GREEN,
    "wins": _GREEN,
    "eligible": _GREEN,
    "left out": _YELLOW,
    "absent": _FAINT,
    "no": _FAINT,
}


def _table(rows: Sequence[tuple[str, str, str]], paint: _Paint) -> Iterator[str]:
    """Outcome, thing and reason in three columns."""
    outcomes = max((len(outcome) for outcome, _, _ in rows), default=0)
    things = min(max((len(_plain(thing)) for _, thing, _ in rows), default=0), 48)
    for outcome, thing, reason in rows:
        shown = f"{outcome:<{outcomes}}"
        text = _plain(f"{_plain(thing):<{things}}  {reason}")
        if outcome in ("absent", "no"):
            yield paint(_FAINT, f"{shown}  {text}")
        else:
            yield f"{paint(_OUTCOME.get(outcome, ''), shown)}  {text}"


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - 5} more" if len(words) > 5 else ""
    return ", ".join(words[:5]) + more


def _plain(text: str) -> str:
    """Names come from files and from clients: nothing in them may steer a terminal."""
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() else f"\\x{ord(c):02x}" for c in text])
