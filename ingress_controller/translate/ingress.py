"""What one Ingress claims: hosts, paths, backends. Looks at nothing but that one object.

How the parts of `networking.k8s.io/v1` are read here:

* ``ImplementationSpecific`` is ``Prefix``; an empty path, which only it may have, is ``/``.
* A rule without a host claims the hosts that no other rule names (pattern ``""``).
* A rule without ``http`` claims its host and has no paths, so the default backend takes it all.
* ``defaultBackend`` takes what no path takes, on the hosts of the Ingress's own rules. In an
  Ingress without rules it takes every host that nobody claims.
* A backend that cannot be served still claims its path and answers 503: were the path left out,
  its requests would reach another backend.
* What annotations and ``spec.tls`` say is read by `annotations` and `tls_entries`.
* A path or a host that is no valid one claims nothing; the rest of the Ingress lives.
"""

import re

import msgspec

from ingress_controller.objects.ingress import Backend, HTTPPath, Ingress, Rule
from ingress_controller.objects.meta import AgeKey, ObjectKey, age_key, quoted
from ingress_controller.store import key_of
from ingress_controller.translate.annotations import BackendWish, IngressSettings, read_settings
from ingress_controller.translate.annotations.unused import SOLVER_LABEL
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode, Severity
from ingress_controller.translate.tls_entries import TlsEntry, read_tls
from router.match.hosts import HostRefused, host_pattern
from router.match.paths import PathRefused, path_condition
from router.model.origin import Origin
from router.model.snapshot import Answer, HostPattern, PathCondition, PathKind

MAX_PATHS = 1000
"""Paths of one Ingress. More harm the readers of the object before they harm us; ingress-nginx
has no bound, etcd's 1.5 MiB allows about 10,000."""
MAX_RULES = 1000
"""Rules of one Ingress, for the same reason."""

ROOT = PathCondition(kind="prefix", value="")
"""The condition that every path meets."""

_KINDS: dict[str, PathKind] = {
    "Exact": "exact",
    "Prefix": "prefix",
    "ImplementationSpecific": "prefix",
}
_REGEX_MARKS = re.compile(r"[\^$*+?()|\[\]{}]|\\")
"""What a literal path hardly ever holds and a regular expression hardly ever lacks."""


class BackendReference(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """A Service and its port, as an Ingress names them. One of port name and number is set.

    The key of many look-ups, hence a hash that is made once.
    """

    namespace: str
    service: str
    port_name: str
    port_number: int
    wish: BackendWish = BackendWish()


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A path (or the default backend) that an Ingress asks for, and where it should lead."""

    path: PathCondition
    written: str
    origin: Origin
    backend: BackendReference | Answer


class IngressReading(msgspec.Struct, frozen=True, gc=False):
    """Everything that one Ingress says."""

    age: AgeKey
    claims: dict[HostPattern, tuple[Claim, ...]]
    """By host; a host without paths is claimed all the same."""
    default: Claim | None
    """For the hosts in ``claims``; an Ingress without rules claims the empty pattern."""
    references: tuple[BackendReference, ...]
    """Each once, in no particular order."""
    diagnostics: tuple[Diagnostic, ...]
    settings: IngressSettings = IngressSettings()
    tls: dict[HostPattern, tuple[TlsEntry, ...]] = {}
    """What ``spec.tls`` says of each host, whether a rule names it or not."""
    solver: bool = False
    """cert-manager made it for an ACME challenge."""


def read_ingress(ingress: Ingress, *, https: bool) -> IngressReading:
    """What an Ingress that is ours asks for; ``https``: we serve HTTPS."""
    return _Reader(ingress, https=https).reading()


class _Reader:
    """Reads one Ingress; holds what has been found so far."""

    __slots__ = (
        "_claims",
        "_diagnostics",
        "_https",
        "_ingress",
        "_key",
        "_references",
        "_settings",
    )

    def __init__(self, ingress: Ingress, *, https: bool) -> None:
        self._ingress = ingress
        self._https = https
        self._key: ObjectKey = key_of(ingress)
        self._claims: dict[HostPattern, list[Claim]] = {}
        self._references: dict[BackendReference, BackendReference] = {}
        self._diagnostics: list[Diagnostic] = []
        self._settings = IngressSettings()

    def reading(self) -> IngressReading:
        default = None
        tls: dict[HostPattern, tuple[TlsEntry, ...]] = {}
        if not self._too_large():
            self._settings, found = read_settings(self._key, self._ingress.metadata)
            if not self._settings.canary:
                default = self._default()
                for index, rule in enumerate(self._ingress.spec.rules):
                    self._rule(index, rule)
                tls = self._tls()
            self._diagnostics += found
        return IngressReading(
            age=age_key(self._ingress.metadata),
            claims={host: tuple(claims) for host, claims in self._claims.items()},
            default=default,
            references=tuple(self._references),
            diagnostics=tuple(self._diagnostics),
            settings=self._settings,
            tls=tls,
            solver=SOLVER_LABEL in self._ingress.metadata.labels,
        )

    def _default(self) -> Claim | None:
        spec = self._ingress.spec
        if spec.default_backend is None:
            if not spec.rules:
                self._say_empty()
            return None
        if not spec.rules:
            self._claims[""] = []
        origin = self._origin(spec.default_backend)
        return Claim(ROOT, "", origin, self._backend(spec.default_backend, origin))

    def _tls(self) -> dict[HostPattern, tuple[TlsEntry, ...]]:
        entries = self._ingress.spec.tls
        if entries and not self._https:
            self._say_tls()
        elif entries:
            tls, faults = read_tls(self._key, entries, self._claims)
            self._diagnostics += faults
            return tls
        return {}

    def _rule(self, index: int, rule: Rule) -> None:
        pattern = host_pattern(rule.host)
        if isinstance(pattern, HostRefused):
            self._say(
                DiagnosticCode.HOST_INVALID,
                "error",
                f"spec.rules[{index}].host",
                f"{quoted(rule.host)}: {pattern.reason}",
                "the rule is not served; the others are",
                _host_remedy(rule.host),
            )
            return
        claims = self._claims.setdefault(pattern, [])
        paths = rule.http.paths if rule.http is not None else ()
        if not paths and self._ingress.spec.default_backend is None:
            self._say(
                DiagnosticCode.RULE_WITHOUT_PATHS,
                "warning",
                f"spec.rules[{index}]",
                "the rule has no paths and the Ingress has no defaultBackend",
                f"requests for {pattern or 'hosts that nobody claims'} get 404, unless another "
                "Ingress has paths for them",
                "add http.paths to the rule, or spec.defaultBackend to the Ingress",
            )
        for number, path in enumerate(paths):
            claim = self._path(index, number, path)
            if claim is not None:
                claims.append(claim)

    def _path(self, rule: int, number: int, path: HTTPPath) -> Claim | None:
        origin = self._origin(path.backend, rule, number)
        kind = _KINDS.get(path.path_type)
        if kind is None:
            known = {name.lower(): name for name in _KINDS}.get(path.path_type.lower())
            self._say(
                DiagnosticCode.PATH_TYPE_UNKNOWN,
                "error",
                f"{origin.field}.pathType",
                f"{quoted(path.path_type)} is no path type" if path.path_type else "it is missing",
                "the path is not served; the others are",
                f"write {known}" if known else f"write one of {', '.join(_KINDS)}",
            )
            return None
        written = path.path
        if not written and path.path_type == "ImplementationSpecific":
            written = "/"
        condition = path_condition(kind, written)
        if isinstance(condition, PathRefused):
            self._say(
                DiagnosticCode.PATH_INVALID,
                "error",
                f"{origin.field}.path",
                f"{quoted(written)}: {condition.reason}" if written else "the path is empty",
                "the path is not served; the others are",
                _path_remedy(written),
            )
            return None
        if path.path_type == "ImplementationSpecific" and _REGEX_MARKS.search(written):
            self._say(
                DiagnosticCode.PATH_REGEX,
                "warning",
                f"{origin.field}.path",
                f"{quoted(written)} looks like a regular expression",
                "it is read as a plain prefix, so it takes hardly any request",
                "write plain paths; ImplementationSpecific means Prefix here",
            )
        return Claim(condition, written, origin, self._backend(path.backend, origin))

    def _origin(
        self, backend: Backend, rule: int | None = None, number: int | None = None
    ) -> Origin:
        service = backend.service
        return Origin(
            "Ingress",
            self._key.namespace,
            self._key.name,
            rule,
            number,
            service.name if service is not None else "",
        )

    def _backend(self, backend: Backend, origin: Origin) -> BackendReference | Answer:
        service, resource = backend.service, backend.resource
        if service is not None and resource is None:
            port = service.port
            if bool(port.name) != bool(port.number):
                reference = BackendReference(
                    self._key.namespace,
                    service.name,
                    port.name,
                    port.number,
                    self._settings.backend,
                )
                return self._references.setdefault(reference, reference)
            which = "both a name and a number" if port.name else "neither a name nor a number"
            return self._dead(
                origin,
                "service.port",
                f"the port of Service {service.name} has {which}",
                "write exactly one of name and number",
            )
        if resource is not None and service is None:
            what = f"{resource.kind} {resource.name}"
            return self._dead(
                origin,
                "resource",
                f"the backend is {what}, and no resource backends are served",
                "send the path to a Service",
                code=DiagnosticCode.BACKEND_RESOURCE,
            )
        which = "both a service and a resource" if service else "neither a service nor a resource"
        return self._dead(
            origin, "", f"the backend has {which}", "write exactly one of service and resource"
        )

    def _dead(
        self,
        origin: Origin,
        field: str,
        reason: str,
        remedy: str,
        *,
        code: DiagnosticCode = DiagnosticCode.BACKEND_INVALID,
    ) -> Answer:
        self._say(code, "error", backend_field(origin, field), reason, DEAD_PATH, remedy)
        return Answer(503, reason)

    def _too_large(self) -> bool:
        rules = self._ingress.spec.rules
        paths = sum(len(rule.http.paths) for rule in rules if rule.http is not None)
        if len(rules) <= MAX_RULES and paths <= MAX_PATHS:
            return False
        self._say(
            DiagnosticCode.INGRESS_TOO_LARGE,
            "error",
            "spec.rules",
            f"{len(rules)} rules with {paths} paths; at most {MAX_RULES} with {MAX_PATHS} are read",
            "nothing of this Ingress is served",
            "split it into several Ingresses; they are merged by host",
        )
        return True

    def _say_empty(self) -> None:
        self._say(
            DiagnosticCode.INGRESS_EMPTY,
            "warning",
            "spec",
            "the Ingress has neither rules nor a defaultBackend",
            "it serves nothing",
            "add spec.rules or spec.defaultBackend",
        )

    def _say_tls(self) -> None:
        self._say(
            DiagnosticCode.TLS_UNUSED,
            "hint",
            "spec.tls",
            "HTTPS is not served",
            "the hosts are served over plain HTTP only, without a redirect",
            "start with --https-port, or put something that ends TLS in front",
        )

    def _say(
        self,
        code: DiagnosticCode,
        severity: Severity,
        field: str,
        message: str,
        consequence: str,
        remedy: str,
    ) -> None:
        self._diagnostics.append(
            Diagnostic(
                code=code,
                severity=severity,
                object=self._key,
                field=field,
                message=message,
                consequence=consequence,
                remedy=remedy,
            )
        )


DEAD_PATH = "requests for the path get 503"


def backend_field(origin: Origin, field: str) -> str:
    """The field path of something inside the backend that an origin stands for."""
    backend = origin.field if origin.rule is None else f"{origin.field}.backend"
    return f"{backend}.{field}" if field else backend


def _host_remedy(written: str) -> str:
    if "://" in written:
        return "write the name alone, without a scheme"
    name, colon, port = written.rpartition(":")
    if colon and port.isdigit() and ":" not in name:
        return f"write {quoted(name)}; rules match names, whatever the port"
    if "/" in written:
        return "write the name alone; paths belong into http.paths"
    return "write a DNS name such as shop.example.com, or *.example.com for one label of any name"


def _path_remedy(written: str) -> str:
    if not written:
        return "write / to take every path"
    if not written.startswith("/"):
        return f"write {quoted('/' + written)}"
    return "write the path as it stands in a URL, plain and without dot segments"
