"""What ``spec.tls`` of one Ingress says of each of its hosts. Looks at nothing but that one object.

* A host that an entry names has TLS, and so has a rule's host below a wildcard that one names.
* An entry without hosts is for all hosts of the Ingress's rules that its certificate covers.
* An entry without ``secretName`` asks for the default certificate.
* No entry says anything of a rule without host: what server names could it be for?
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

import msgspec

from ingress_controller.objects.ingress import IngressTLS
from ingress_controller.objects.meta import ObjectKey, quoted
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode, Severity
from router.match.hosts import HostRefused, host_pattern
from router.model.snapshot import HostPattern
from tls.names import wildcard_of

MAX_TLS_HOSTS = 1000
"""Hosts in ``spec.tls`` of one Ingress, as many as rules."""


class TlsEntry(msgspec.Struct, frozen=True, gc=False):
    """One of ``spec.tls[]``, as it is said of one host."""

    index: int
    secret: str
    """Empty: the default certificate is wanted."""
    named: bool
    """The entry names the host itself; else the certificate has to say whether it is meant."""

    @property
    def field(self) -> str:
        """Where the Secret is named."""
        return f"spec.tls[{self.index}].secretName"


class TlsRead(NamedTuple):
    """What was found."""

    entries: dict[HostPattern, tuple[TlsEntry, ...]]
    """By host: entries that name it first, then in their order."""
    diagnostics: tuple[Diagnostic, ...]


def read_tls(key: ObjectKey, tls: Iterable[IngressTLS], rules: Collection[HostPattern]) -> TlsRead:
    """What the entries say; ``rules`` are the hosts of the Ingress's rules."""
    found: dict[HostPattern, list[TlsEntry]] = {}
    count = 0
    diagnostics: list[Diagnostic] = []
    for index, entry in enumerate(tls):
        named: dict[HostPattern, None] = {}
        for number, written in enumerate(entry.hosts):
            count += 1
            if count > MAX_TLS_HOSTS:
                diagnostics.append(_too_many(key, f"spec.tls[{index}].hosts[{number}]"))
                break
            pattern = host_pattern(written)
            if isinstance(pattern, HostRefused):
                diagnostics.append(
                    _bad_host(key, f"spec.tls[{index}].hosts[{number}]", written, pattern)
                )
            elif pattern:
                named[pattern] = None
        for pattern in named:
            found.setdefault(pattern, []).append(TlsEntry(index, entry.secret_name, named=True))
        for pattern in rules:
            covered = not entry.hosts or wildcard_of(pattern) in named
            if covered and pattern and pattern not in named:
                meant = TlsEntry(index, entry.secret_name, named=False)
                found.setdefault(pattern, []).append(meant)
        if not entry.hosts and not any(rules):
            diagnostics.append(_without_hosts(key, f"spec.tls[{index}].hosts"))
        if not entry.secret_name:
            diagnostics.append(_unnamed(key, f"spec.tls[{index}].secretName"))
        if count > MAX_TLS_HOSTS:
            break
    entries = {
        pattern: tuple(sorted(each, key=lambda entry: (not entry.named, entry.index)))
        for pattern, each in found.items()
    }
    return TlsRead(entries, tuple(diagnostics))


def _bad_host(key: ObjectKey, field: str, written: str, refused: HostRefused) -> Diagnostic:
    return _about(
        key,
        DiagnosticCode.HOST_INVALID,
        "error",
        field,
        f"{quoted(written)}: {refused.reason}",
        "the host gets no TLS from this entry; the others do",
        "write a DNS name, as in spec.rules[].host",
    )


def _too_many(key: ObjectKey, field: str) -> Diagnostic:
    return _about(
        key,
        DiagnosticCode.INGRESS_TOO_LARGE,
        "error",
        field,
        f"spec.tls has more than {MAX_TLS_HOSTS} hosts",
        "the hosts from here on get no TLS from this Ingress",
        "split it into several Ingresses; they are merged by host",
    )


def _without_hosts(key: ObjectKey, field: str) -> Diagnostic:
    return _about(
        key,
        DiagnosticCode.TLS_WITHOUT_HOSTS,
        "warning",
        field,
        "neither the entry nor a rule names a host, so no server name is known for it",
        "its certificate is never presented; clients get the default certificate",
        "add the hosts of the certificate, or start with --default-tls-secret",
    )


def _unnamed(key: ObjectKey, field: str) -> Diagnostic:
    return _about(
        key,
        DiagnosticCode.TLS_SECRET_UNNAMED,
        "hint",
        field,
        "the entry names no Secret",
        "its hosts answer with the default certificate",
        "nothing, if that is meant; else name the Secret",
    )


def _about(
    key: ObjectKey,
    code: DiagnosticCode,
    severity: Severity,
    field: str,
    message: str,
    consequence: str,
    remedy: str,
) -> Diagnostic:
    return Diagnostic(
        code=code,
        severity=severity,
        object=key,
        field=field,
        message=message,
        consequence=consequence,
        remedy=remedy,
    )
