"""Follows one request from its head to the endpoints and tells every step.

The verdicts come from the code that serves traffic: the request head passes the decoder of the
data plane, host and path are matched by `router.match`, `eligible` says which endpoints get
requests, and the table of faults says which status is answered. Only reasons are found here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, Literal

from ingress_controller.explain.explanation import (
    Asked,
    EndpointShown,
    Explanation,
    Finding,
    RouteShown,
    UpstreamShown,
    Verdict,
)
from ingress_controller.explain.question import ask, hear
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.translate.diagnostics import SEVERITIES, Diagnostic
from ingress_controller.translate.translator import LISTENER, Translator
from router.balance.endpoints import eligible
from router.http.faults import (
    AMBIGUOUS_PATH,
    BAD_HOST,
    BODY_TOO_LARGE,
    NO_ENDPOINT,
    NO_ROUTE,
    UNSERVABLE,
    Fault,
)
from router.http.head import RequestHead
from router.match.explain import Candidate
from router.match.explain import explain as explain_matching
from router.model.limits import Limits
from router.model.snapshot import Answer, Host, HostPattern, Route
from router.model.upstreams import Endpoint, EndpointSet

MAX_FINDINGS: Final = 50
"""Diagnostics in one explanation; `check` and ``/diagnostics`` have all."""

MAX_LISTED: Final = 5
"""Addresses or objects in one sentence."""
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

Locate = Callable[[ObjectKey], str]
"""The ``file:line`` of an object; empty when unknown."""


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
        url: ``http://host/path?query``, or a path alone with a Host among the headers. It is sent
            as it is: dot segments and escapes stay for the proxy to judge.
        headers: ``Name: value`` each. A Host replaces that of the URL.
        limits: those of the workers.
        diagnostics: all there are, where there are more than the translator's (about files).
        locate: finds the file of an object.

    Raises:
        ValueError: the URL or a header is no such thing; the sentence says what to write.
    """
    limits = limits or Limits()
    asked, notes = ask(url, method, headers)
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
        self._upstreams = self._shown_upstreams(self._matching.route)

    def explanation(self, notes: tuple[str, ...]) -> Explanation:
        matching, head = self._matching, self._head
        verdict = self._verdict()
        query = "" if head.query is None else f"?{head.query.decode('latin-1')}"
        return Explanation(
            request=self._asked,
            version=self._snapshot.version,
            verdict=verdict,
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
        if matching.path_refused:
            return _refusal(AMBIGUOUS_PATH, matching.path_refused)
        if matching.host is None:
            return _refusal(BAD_HOST, matching.host_refused)
        if route is None:
            return _refusal(NO_ROUTE, self._why_no_route())
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
            reason=f"to {_listed(targets)}",
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
            return f"none of its endpoints is ready: {_listed([each.address for each in known])}"
        sources = [source for upstream in self._upstreams for source in upstream.sources]
        if sources:
            return f"it has no endpoint for this port in {_listed(sources)}"
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

    def _shown_upstreams(self, route: Route | None) -> tuple[UpstreamShown, ...]:
        if route is None or isinstance(route.action, Answer):
            return ()
        total = sum(backend.weight for backend in route.action.backends)
        found = []
        for backend in route.action.backends:
            view = self._translator.upstream_view(backend.upstream)
            if view is None:
                continue
            spec, port = view.service.spec, view.port
            name = f"{view.upstream.namespace}/{view.upstream.service}"
            found.append(
                UpstreamShown(
                    service=name,
                    type="headless" if spec.cluster_ip == "None" else spec.type,
                    port=port.port,
                    port_name=port.name,
                    target_port=str(port.target_port or ""),
                    app_protocol=port.app_protocol,
                    weight=backend.weight,
                    share=backend.weight / total if total else 0.0,
                    location=self._locate(ObjectKey("Service", *name.split("/"))),
                    sources=tuple(map(str, view.sources)),
                    endpoints=_shown_endpoints(view.endpoints),
                )
            )
        return tuple(found)

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
        behind = self._objects_behind()
        field = "" if matching.route is None else matching.route.origin.field
        for each in self._diagnostics:
            if each.object in behind and not _is_elsewhere(each.field, field):
                found[each] = None
        if matching.pattern is not None:
            lost = self._translator.host_diagnostics(matching.pattern)
            found |= dict.fromkeys(lost)
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
        for backend in () if isinstance(action, Answer) else action.backends:
            view = self._translator.upstream_view(backend.upstream)
            if view is not None:
                upstream = view.upstream
                behind.add(ObjectKey("Service", upstream.namespace, upstream.service))
                behind.update(view.sources)
        return behind

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


def _shown_endpoints(endpoints: EndpointSet) -> tuple[EndpointShown, ...]:
    chosen = eligible(endpoints)
    return tuple(
        EndpointShown(
            address=_address(endpoint),
            ready=endpoint.ready,
            serving=endpoint.serving,
            terminating=endpoint.terminating,
            eligible=endpoint in chosen,
            reason=_why(endpoint, chosen),
        )
        for endpoint in endpoints.endpoints
    )


def _address(endpoint: Endpoint) -> str:
    address = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"{address}:{endpoint.port}"


def _why(endpoint: Endpoint, chosen: Sequence[Endpoint]) -> str:
    if endpoint.ready:
        return "ready"
    if endpoint in chosen:
        return "terminating, but it still serves and no endpoint is ready"
    if endpoint.terminating and endpoint.serving:
        return "terminating, and others are ready"
    return "terminating" if endpoint.terminating else "not ready"


def _binding(limits: Limits) -> dict[str, int | float]:
    """The limits that bind a request that is forwarded."""
    return {name: getattr(limits, name) for name in BINDING_LIMITS}


def _listed(words: Sequence[str]) -> str:
    """The first few words of a list."""
    more = len(words) - MAX_LISTED
    listed = ", ".join(words[:MAX_LISTED])
    return f"{listed} and {more} more" if more > 0 else listed
