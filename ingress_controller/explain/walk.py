"""Follows one request from its head to the endpoints and tells every step.

The verdicts come from the code that serves traffic: the request head passes the decoder of the
data plane, host and path are matched by `router.match`, `eligible` says which endpoints get
requests, and the table of faults says which status is answered. Only reasons are found here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, Literal

from ingress_controller.explain.explanation import (
    Asked,
    Explanation,
    Finding,
    RouteShown,
    Verdict,
)
from ingress_controller.explain.handshake import Handshake, server_names, shake_hands
from ingress_controller.explain.question import ask, hear
from ingress_controller.explain.upstreams import Action, Locate, listed, shown_upstreams
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name
from ingress_controller.translate.diagnostics import SEVERITIES, Diagnostic
from ingress_controller.translate.translator import HTTPS_LISTENER, LISTENER, Translator
from router.http.faults import (
    AMBIGUOUS_PATH,
    BAD_HOST,
    BODY_TOO_LARGE,
    CERTIFICATE_NEEDED,
    MISDIRECTED,
    NO_ENDPOINT,
    NO_ROUTE,
    UNSERVABLE,
    Fault,
)
from router.http.head import RequestHead
from router.match.explain import Candidate
from router.match.explain import explain as explain_matching
from router.model.limits import Limits
from router.model.snapshot import Answer, Backend, Forward, Host, HostPattern

MAX_FINDINGS: Final = 50
"""Diagnostics in one explanation; `check` and ``/diagnostics`` have all."""

BINDING_LIMITS: Final = (
    "max_body_size",
    "body_timeout",
    "send_timeout",
    "upstream_connect_timeout",
    "upstream_read_timeout",
    "upstream_tries",
    "max_upstream_connections",
    "max_upstream_waiting",
)
"""Names of the limits that a forwarded request meets."""


def explain(
    translator: Translator,
    *,
    url: str,
    method: str = "GET",
    headers: Sequence[str] = (),
    limits: Limits | None = None,
    diagnostics: Sequence[Diagnostic] | None = None,
    locate: Locate = lambda key: "",
) -> Explanation:
    """What would happen to a request now.

    Args:
        translator: holds the objects and the snapshot made of them.
        url: ``http://host/path?query``, the same with https, or a path alone with a Host among the
            headers. It is sent as it is: dot segments and escapes stay for the proxy to judge.
        headers: ``Name: value`` each. A Host replaces that of the URL.
        limits: those of the workers.
        diagnostics: all there are, where there are more than the translator's (about files).
        locate: finds the file of an object.

    Raises:
        ValueError: the URL or a header is no such thing; the sentence says what to write.
    """
    limits = limits or Limits()
    asked, notes = ask(url, method, headers)
    if asked.scheme == "https" and HTTPS_LISTENER not in translator.snapshot.listeners:
        asked = Asked(asked.method, asked.target, asked.headers)
        notes = ("https is not served: this is what the same request gets over http", *notes)
    heard = hear(asked, limits)
    if not isinstance(heard, Fault) and heard.path != b"*":
        walk = _Walk(translator, asked, heard, limits, diagnostics, locate)
        return walk.explanation(notes)
    return Explanation(
        request=asked,
        version=translator.snapshot.version,
        verdict=_refusal(heard, "") if isinstance(heard, Fault) else _SERVER_ITSELF,
        notes=notes,
    )


_SERVER_ITSELF: Final = Verdict(
    outcome="answered",
    status=204,
    summary="OPTIONS * asks about the server as a whole, and the proxy itself answers",
)


def _refusal(fault: Fault, reason: str) -> Verdict:
    return Verdict(
        outcome="refused",
        status=fault.status,
        code=fault.code,
        summary=fault.sentence.rstrip("."),
        reason=reason,
    )


class _Walk:
    """One request on its way through host, path, route and endpoints."""

    def __init__(
        self,
        translator: Translator,
        asked: Asked,
        head: RequestHead,
        limits: Limits,
        diagnostics: Sequence[Diagnostic] | None,
        locate: Locate,
    ) -> None:
        self._translator = translator
        self._asked = asked
        self._head = head
        self._limits = limits
        self._diagnostics = translator.diagnostics if diagnostics is None else diagnostics
        self._locate = locate
        snapshot = translator.snapshot
        self._snapshot = snapshot
        hosts: dict[HostPattern, Host] = snapshot.hosts.get(snapshot.listeners[LISTENER].hosts, {})
        self._matching = explain_matching(hosts, head.host_field or b"", head.path)
        route = self._matching.route
        rules = None if route is None else route.https
        self._handshake: Handshake | None = None
        if asked.scheme == "https":
            hsts = "" if rules is None else rules.hsts
            self._handshake = shake_hands(translator, asked.server_name, hsts, locate)
        passthrough = None if self._handshake is None else self._handshake.passthrough
        if passthrough is not None:
            action: Action | None = Forward((Backend(passthrough.upstream),))
        else:
            action = None if route is None else route.action
        self._upstreams = shown_upstreams(translator, action, locate)

    def explanation(self, notes: tuple[str, ...]) -> Explanation:
        matching, head = self._matching, self._head
        verdict = self._verdict()
        query = "" if head.query is None else f"?{head.query.decode('latin-1')}"
        return Explanation(
            request=self._asked,
            version=self._snapshot.version,
            verdict=verdict,
            tls=None if self._handshake is None else self._handshake.shown,
            host=matching.host,
            host_pattern=matching.pattern,
            hosts=matching.host_steps,
            path=head.path.decode("utf-8", "backslashreplace"),
            match_path=matching.path,
            forwarded_target=None if matching.forward is None else f"{matching.forward}{query}",
            path_changes=matching.path_changes,
            routes=tuple(self._shown_route(each) for each in matching.candidates),
            ingresses=self._claimants(),
            upstreams=self._upstreams,
            limits=_binding(self._limits) if verdict.outcome == "forwarded" else {},
            findings=tuple(self._shown_finding(each) for each in self._findings()),
            notes=notes,
        )

    def _verdict(self) -> Verdict:
        """What happens, in the order in which an exchange decides it."""
        matching, route = self._matching, self._matching.route
        if self._handshake is not None and self._handshake.passthrough is not None:
            return self._passed_through()
        if matching.path_refused:
            return _refusal(AMBIGUOUS_PATH, matching.path_refused)
        if matching.host is None:
            return _refusal(BAD_HOST, matching.host_refused)
        policy = self._policy_refusal(matching.host)
        if policy is not None and policy.code == MISDIRECTED.code:
            return policy
        if route is None:
            return _refusal(NO_ROUTE, self._why_no_route())
        if route.https is not None and route.https.redirect and self._handshake is None:
            return self._redirected(matching.host)
        if policy is not None and not (route.https is not None and route.https.plain):
            return policy
        if isinstance(route.action, Answer):
            return _refusal(replace(UNSERVABLE, status=route.action.status), route.action.reason)
        if 0 < self._limits.max_body_size < self._head.content_length:
            most = f"max_body_size is {self._limits.max_body_size} bytes"
            return _refusal(BODY_TOO_LARGE, most)
        targets = [
            endpoint.address
            for upstream in self._upstreams
            for endpoint in upstream.endpoints
            if endpoint.eligible and upstream.weight
        ]
        if not targets:
            return _refusal(NO_ENDPOINT, self._why_no_endpoint())
        services = " or ".join(dict.fromkeys(each.service for each in self._upstreams))
        return Verdict(
            outcome="forwarded",
            status=None,
            summary=f"forwarded to Service {services}",
            reason=f"to {listed(targets)}",
        )

    def _policy_refusal(self, host: str) -> Verdict | None:
        """Whether the host may be asked for on such a connection; None when it may."""
        if HTTPS_LISTENER not in self._snapshot.listeners:
            return None
        wanted = server_names(self._snapshot, host).policy_for(host)
        if self._handshake is None:
            if wanted is not None and wanted.client_certificates == "required":
                return _refusal(CERTIFICATE_NEEDED, "ask over https")
            return None
        if wanted == self._handshake.policy:
            return None
        name = self._asked.server_name or "no name"
        return _refusal(
            MISDIRECTED, f"the connection was opened for {name}, and the Host field says {host}"
        )

    def _redirected(self, host: str) -> Verdict:
        port = self._snapshot.listeners[LISTENER].https_port
        where = host if port == 443 else f"{host}:{port}"
        query = "" if self._head.query is None else f"?{self._head.query.decode('latin-1')}"
        return Verdict(
            outcome="answered",
            status=308,
            summary=f"redirected to https://{where}{self._matching.forward}{query}",
            reason="the host has TLS, and the request came in clear; it is served if a trusted "
            "proxy says X-Forwarded-Proto: https",
        )

    def _passed_through(self) -> Verdict:
        """The connection, not the request, goes to an endpoint."""
        targets = [
            endpoint.address
            for upstream in self._upstreams
            for endpoint in upstream.endpoints
            if endpoint.eligible
        ]
        if not targets:
            return _refusal(NO_ENDPOINT, self._why_no_endpoint())
        services = " or ".join(dict.fromkeys(each.service for each in self._upstreams))
        return Verdict(
            outcome="forwarded",
            status=None,
            summary=f"the connection is passed through to Service {services}, unopened",
            reason=f"to {listed(targets)}",
        )

    def _why_no_route(self) -> str:
        matching = self._matching
        if matching.pattern is None:
            return f"no rule is for the host {matching.host}, and none for every host"
        where = f"host {matching.pattern}" if matching.pattern else "rules for every host"
        return f"no path of the {where} takes {matching.path}, and there is no default backend" + (
            "; other hosts are not asked" if matching.pattern else ""
        )

    def _why_no_endpoint(self) -> str:
        known = [endpoint for upstream in self._upstreams for endpoint in upstream.endpoints]
        if known:
            return f"none of its endpoints is ready: {listed([each.address for each in known])}"
        sources = [source for upstream in self._upstreams for source in upstream.sources]
        if sources:
            return f"it has no endpoint for this port in {listed(sources)}"
        return "it has no EndpointSlice"

    def _shown_route(self, candidate: Candidate) -> RouteShown:
        route, origin = candidate.route, candidate.route.origin
        key = ObjectKey(origin.kind, origin.namespace, origin.name)
        kind: Literal["Exact", "Prefix"] = "Exact" if route.path.kind == "exact" else "Prefix"
        return RouteShown(
            kind="default" if candidate.default else kind,
            path=route.written,
            takes=candidate.takes,
            won=candidate.won,
            reason=candidate.reason,
            object=str(key),
            field=origin.field,
            rule=origin.rule,
            location=self._locate(key),
        )

    def _claimants(self) -> tuple[str, ...]:
        if self._matching.pattern is None:
            return ()
        return tuple(map(str, self._translator.claimants(self._matching.pattern)))

    def _findings(self) -> Iterable[Diagnostic]:
        """What is wrong with the objects behind this request, or with what may be behind it."""
        matching = self._matching
        found: dict[Diagnostic, None] = {}
        if not matching.pattern or matching.route is None:
            # Perhaps an Ingress that is not ours names it, or one in a file that is unreadable.
            names = {step.pattern for step in matching.host_steps if step.pattern}
            found |= dict.fromkeys(self._translator.passed_over(names))
            found |= dict.fromkeys(each for each in self._diagnostics if _is_about_a_file(each))
        behind = self._objects_behind() | self._secrets()
        field = "" if matching.route is None else matching.route.origin.field
        for each in self._diagnostics:
            if each.object in behind and not _is_elsewhere(each.field, field):
                found[each] = None
        for step in matching.host_steps:
            # A host that nobody has may be one that its claimant was refused.
            if step.taken or not step.exists:
                found |= dict.fromkeys(self._translator.host_diagnostics(step.pattern))
            if step.taken:
                break
        return sorted(found, key=_gravity)[:MAX_FINDINGS]

    def _objects_behind(self) -> set[ObjectKey]:
        """The Ingress of the route and the objects of its endpoints; without a route, all
        Ingresses that claim the host."""
        matching = self._matching
        if matching.route is None:
            claimed = matching.pattern is not None
            return set(self._translator.claimants(matching.pattern or "")) if claimed else set()
        origin, action = matching.route.origin, matching.route.action
        behind = {ObjectKey(origin.kind, origin.namespace, origin.name)}
        behind.update(self._translator.class_objects(Name(origin.namespace, origin.name)))
        for backend in () if isinstance(action, Answer) else action.backends:
            view = self._translator.upstream_view(backend.upstream)
            if view is not None:
                upstream = view.upstream
                behind.add(ObjectKey("Service", upstream.namespace, upstream.service))
                behind.update(view.sources)
        return behind

    def _secrets(self) -> set[ObjectKey]:
        """The objects that say what answers the handshake."""
        if self._handshake is None:
            return set()
        decided = self._translator.host_tls(self._handshake.shown.pattern)
        found = set() if decided is None else set(decided.looked_at)
        default = self._translator.default_secret
        return found if default is None else {*found, ObjectKey("Secret", *default)}

    def _shown_finding(self, found: Diagnostic) -> Finding:
        location = self._locate(found.object)
        if found.file:
            location = f"{found.file}:{found.line}" if found.line else found.file
        return Finding(
            severity=found.severity,
            code=found.code.value,
            object=str(found.object),
            field=found.field,
            message=found.message,
            consequence=found.consequence,
            remedy=found.remedy,
            location=location,
        )


def _is_about_a_file(found: Diagnostic) -> bool:
    return found.severity == "error" and found.object.kind in ("File", "Folder")


def _is_elsewhere(field: str, route: str) -> bool:
    """Whether a field of an Ingress has nothing to do with the route at ``route``."""
    if not route or not field.startswith(("spec.rules[", "spec.defaultBackend")):
        return False
    rule = route.partition(".http.")[0]
    return not field.startswith((route, f"{rule}.host"))


def _gravity(found: Diagnostic) -> int:
    return SEVERITIES.index(found.severity)


def _binding(limits: Limits) -> dict[str, int | float]:
    """The limits that bind a request that is forwarded."""
    return {name: getattr(limits, name) for name in BINDING_LIMITS}
