"""Annotations of one Ingress → settings and diagnostics. Looks at nothing but that one object."""

import difflib
from typing import Any, NamedTuple

import msgspec

from ingress_controller.objects.meta import ObjectKey, ObjectMeta, quoted
from ingress_controller.translate.annotations.parsers import Protocol, Reference
from ingress_controller.translate.annotations.settings import (
    NGINX_PREFIX,
    PREFIX,
    BackendWish,
    ClientDemand,
    IngressSettings,
    field_of,
    hsts_value,
)
from ingress_controller.translate.annotations.table import BY_NAME, ROWS, Row
from ingress_controller.translate.annotations.unused import SOLVER_LABEL, protects, unused
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode, Severity
from tls.policy import Profile

_CLOSED = "all routes of the Ingress answer 503, so that nothing is served unprotected"
_HOSTS_CLOSED = "the hosts of the Ingress answer 503, so that nothing is served unprotected"


class SettingsRead(NamedTuple):
    """What was found."""

    settings: IngressSettings
    diagnostics: tuple[Diagnostic, ...]


_NOTHING = SettingsRead(IngressSettings(), ())


class _Written(msgspec.Struct):
    """The parsed values, by row; None where there is none."""

    ssl_redirect: bool | None = None
    force_ssl_redirect: bool | None = None
    ssl_passthrough: bool | None = None
    auth_tls_secret: Reference | None = None
    auth_tls_configmap: Reference | None = None
    auth_tls_verify_client: str | None = None
    auth_tls_verify_depth: int | None = None
    auth_tls_pass_certificate_to_upstream: bool | None = None
    auth_tls_error_page: str | None = None
    auth_tls_match_cn: str | None = None
    backend_protocol: Protocol | None = None
    proxy_ssl_secret: Reference | None = None
    proxy_ssl_verify: bool | None = None
    proxy_ssl_verify_depth: int | None = None
    proxy_ssl_name: str | None = None
    proxy_ssl_server_name: bool | None = None
    hsts: bool | None = None
    hsts_max_age: int | None = None
    hsts_include_subdomains: bool | None = None
    hsts_preload: bool | None = None
    tls_profile: Profile | None = None
    canary: bool | None = None
    allow_hosts_from: tuple[str, ...] = ()


def read_settings(key: ObjectKey, meta: ObjectMeta) -> SettingsRead:
    """The settings of an Ingress that is ours."""
    if not any(name.startswith((PREFIX, NGINX_PREFIX)) for name in meta.annotations):
        return _NOTHING
    return _Reader(key, meta).read()


class _Reader:
    """Reads the annotations of one Ingress; holds what has been found so far."""

    __slots__ = ("_annotations", "_clients_problem", "_closed", "_found", "_key", "_meta", "_names")

    def __init__(self, key: ObjectKey, meta: ObjectMeta) -> None:
        self._key = key
        self._meta = meta
        self._annotations = meta.annotations
        self._names: dict[str, str] = {}
        """Row → the annotation, with prefix, that counts."""
        self._found: list[Diagnostic] = []
        self._closed = ""
        self._clients_problem = ""

    def read(self) -> SettingsRead:
        values: dict[str, Any] = {}
        for row in ROWS:
            text = self._text(row)
            if text is None:
                continue
            try:
                values[row.name.replace("-", "_")] = row.parse(text)
            except ValueError as error:
                if row.on_bad == "on":
                    values[row.name.replace("-", "_")] = True
                self._bad(row, text, str(error))
        written = _Written(**values)
        self._unknown()
        self._found += unused(self._key, self._meta)
        settings = IngressSettings(
            ssl_redirect=written.ssl_redirect,
            force_ssl_redirect=written.force_ssl_redirect,
            passthrough=bool(written.ssl_passthrough),
            clients=self._clients(written),
            pass_client_certificate=bool(written.auth_tls_pass_certificate_to_upstream),
            hsts=hsts_value(
                on=written.hsts,
                max_age=written.hsts_max_age,
                include_subdomains=written.hsts_include_subdomains,
                preload=written.hsts_preload,
            ),
            tls_profile=written.tls_profile,
            backend=self._backend(written),
            allow_hosts_from=written.allow_hosts_from,
            canary=self._canary(written),
            closed=self._closed,
        )
        return SettingsRead(settings, tuple(self._found))

    def _text(self, row: Row) -> str | None:
        """The text that counts: under our own prefix, else under ingress-nginx's."""
        ours, theirs = PREFIX + row.name, NGINX_PREFIX + row.name
        own = self._annotations.get(ours)
        other = self._annotations.get(theirs) if row.nginx else None
        if own is None:
            self._names[row.name] = theirs
            return None if other is None else other.strip()
        self._names[row.name] = ours
        if other is not None and other.strip() != own.strip():
            self._say(
                DiagnosticCode.ANNOTATION_CONTRADICTORY,
                "warning",
                theirs,
                f"it says {quoted(other)}, but {ours} says {quoted(own)}",
                f"{ours} counts",
                "remove one of the two",
            )
        return own.strip()

    def _bad(self, row: Row, text: str, remedy: str) -> None:
        consequence = "it has no effect"
        if row.on_bad == "on":
            consequence = "it is read as true, which is the safe side"
        elif row.on_bad == "closes":
            consequence = self._close(row.name, f"{row.name} cannot be read")
        self._say(
            DiagnosticCode.ANNOTATION_INVALID,
            "error",
            self._names[row.name],
            f"{quoted(text)} is no value of {row.name}" if text else "it is empty",
            consequence,
            remedy,
        )

    def _close(self, name: str, reason: str) -> str:
        """Notes why something must not be served; answers the consequence for people."""
        reason = f"annotation {reason}"
        if name.startswith("auth-tls"):
            self._clients_problem = self._clients_problem or reason
            return _HOSTS_CLOSED
        self._closed = self._closed or reason
        return _CLOSED

    def _unknown(self) -> None:
        """Names under our own prefix that are none of ours."""
        for full in self._annotations:
            name = full.removeprefix(PREFIX)
            if name == full or name in BY_NAME:
                continue
            similar = difflib.get_close_matches(name[:100], BY_NAME, n=1)
            closes = protects(name)
            self._say(
                DiagnosticCode.ANNOTATION_UNKNOWN,
                "error" if closes else "warning",
                full,
                "there is no such annotation",
                self._close(name, f"{quoted(name)} is unknown") if closes else "it has no effect",
                f"write {PREFIX}{similar[0]}"
                if similar
                else "remove it; docs/annotations.md lists those that there are",
            )

    def _clients(self, written: _Written) -> ClientDemand | None:
        """What is asked of clients; None when nothing is."""
        mode = written.auth_tls_verify_client
        secret, config_map = written.auth_tls_secret, written.auth_tls_configmap
        if written.auth_tls_error_page is not None:
            self._unsupported("auth-tls-error-page", "warning", "the handshake fails instead")
        if written.auth_tls_match_cn is not None:
            reason = "auth-tls-match-cn is not supported"
            closed = self._close("auth-tls-match-cn", reason)
            self._unsupported("auth-tls-match-cn", "error", closed)
        if mode == "optional_no_ca":
            self._unsupported(
                "auth-tls-verify-client",
                "warning",
                "it is read as optional: a client whose certificate does not come from the "
                "authorities is refused",
            )
        if mode == "off" and not self._clients_problem:
            return None
        if secret is not None and config_map is not None:
            self._conflicting_authorities()
        elif secret is None and config_map is None and mode is not None:
            self._no_authorities()
        name = "auth-tls-configmap" if secret is None and config_map else "auth-tls-secret"
        named = self._own_object(name, config_map if secret is None else secret)
        if not named and not self._clients_problem:
            return None
        return ClientDemand(
            mode="required" if mode in (None, "on", "off") else "optional",
            kind="ConfigMap" if name == "auth-tls-configmap" else "Secret",
            name=named,
            verify_depth=written.auth_tls_verify_depth,
            field=field_of(self._names[name]),
            problem=self._clients_problem,
        )

    def _canary(self, written: _Written) -> bool:
        """Whether it wants a share of another Ingress's traffic."""
        if written.canary:
            self._unsupported(
                "canary",
                "warning",
                "this Ingress takes no request: all go to the Ingress that it is a canary of",
            )
        return bool(written.canary)

    def _conflicting_authorities(self) -> None:
        self._say(
            DiagnosticCode.ANNOTATION_CONTRADICTORY,
            "error",
            self._names["auth-tls-configmap"],
            "both a Secret and a ConfigMap are named for the authorities of clients",
            self._close("auth-tls", "auth-tls-configmap contradicts auth-tls-secret"),
            "name one of the two",
        )

    def _no_authorities(self) -> None:
        if self._clients_problem:
            return
        self._say(
            DiagnosticCode.ANNOTATION_INVALID,
            "error",
            self._names["auth-tls-verify-client"],
            "client certificates are asked for, but no authorities are named",
            self._close("auth-tls", "auth-tls-verify-client has no authorities"),
            f"add {PREFIX}auth-tls-secret with the name of a Secret that has ca.crt",
        )

    def _own_object(self, row: str, wanted: Reference | None) -> str:
        """The name of an object in the Ingress's namespace; empty when it is elsewhere."""
        if wanted is None:
            return ""
        if wanted.namespace in ("", self._key.namespace):
            return wanted.name
        self._say(
            DiagnosticCode.ANNOTATION_INVALID,
            "error",
            self._names[row],
            f"the object is in namespace {wanted.namespace}, and the Ingress in "
            f"{self._key.namespace}",
            self._close(row, f"{row} names another namespace"),
            f"copy it into namespace {self._key.namespace}; whoever may write Ingresses there "
            "must not use what belongs to others",
        )
        return ""

    def _backend(self, written: _Written) -> BackendWish:
        protocol = written.backend_protocol or Protocol(None)
        if protocol.problem:
            if protocol.served:
                degraded = "GRPC" if protocol.spoken else ""
                consequence = (
                    "requests are sent to it as HTTP/1.1, which it may refuse"
                    if degraded
                    else "the Service's appProtocol says how it is spoken to"
                )
            else:
                consequence = self._close("backend-protocol", "backend-protocol is not served")
            self._say(
                DiagnosticCode.ANNOTATION_UNSUPPORTED,
                "warning" if protocol.served else "error",
                self._names["backend-protocol"],
                protocol.problem,
                consequence,
                'write "HTTP" or "HTTPS", and serve HTTP/1.1 on the port',
            )
        if written.proxy_ssl_verify is False:
            self._say(
                DiagnosticCode.VERIFICATION_OFF,
                "warning",
                self._names["proxy-ssl-verify"],
                "the certificates of https backends are not verified",
                "whoever can take the place of a backend reads and changes what is sent to it",
                "name the authorities in proxy-ssl-secret, and remove this annotation",
            )
        if written.proxy_ssl_server_name is False:
            self._unsupported(
                "proxy-ssl-server-name", "hint", "the name that is verified is sent to backends"
            )
        secret = self._own_object("proxy-ssl-secret", written.proxy_ssl_secret)
        return BackendWish(
            protocol=protocol.spoken,
            secret=secret,
            secret_field=field_of(self._names["proxy-ssl-secret"]) if secret else "",
            verify=written.proxy_ssl_verify is not False,
            verify_depth=written.proxy_ssl_verify_depth,
            server_name=written.proxy_ssl_name or "",
        )

    def _unsupported(self, name: str, severity: Severity, consequence: str) -> None:
        self._say(
            DiagnosticCode.ANNOTATION_UNSUPPORTED,
            severity,
            self._names[name],
            f"{name} is not supported as written",
            consequence,
            "see docs/annotations.md",
        )

    def _say(
        self,
        code: DiagnosticCode,
        severity: Severity,
        annotation: str,
        message: str,
        consequence: str,
        remedy: str,
    ) -> None:
        if SOLVER_LABEL in self._meta.labels and severity != "error":
            return
        self._found.append(
            Diagnostic(
                code=code,
                severity=severity,
                object=self._key,
                field=field_of(annotation[:300]),
                message=message,
                consequence=consequence,
                remedy=remedy,
            )
        )
