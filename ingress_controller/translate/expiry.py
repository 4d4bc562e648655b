"""Which certificates end soon, or have ended. Apart from the translation, which knows no time."""

from collections.abc import Iterable
from typing import Final

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name
from ingress_controller.translate.certificates import CertificateSource, listed, shown_time
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode, order
from router.model.snapshot import HostPattern
from tls.certificate import CertificatePair
from tls.faults import validity_fault

SOON_SECONDS: Final = 21 * 86_400
"""cert-manager renews certificates of 90 days when 30 are left; so at 21 something is wrong."""


def expiring(
    presented: Iterable[tuple[HostPattern, CertificateSource]], now: float
) -> tuple[Diagnostic, ...]:
    """A diagnostic for each Secret whose certificate has not 21 days before it.

    ``presented`` is every host with each Secret that answers for it; ``now`` is in Unix seconds.
    """
    hosts: dict[tuple[Name, CertificatePair], set[HostPattern]] = {}
    for pattern, source in presented:
        pair = source.pair
        if pair is not None and (now + SOON_SECONDS > pair.not_after or now < pair.not_before):
            hosts.setdefault((source.secret, pair), set()).add(pattern)
    found = [
        _about(secret, pair, sorted(patterns), now) for (secret, pair), patterns in hosts.items()
    ]
    return tuple(sorted(found, key=order))


def _about(secret: Name, pair: CertificatePair, hosts: list[HostPattern], now: float) -> Diagnostic:
    fault = validity_fault(pair, now)
    whom = listed(host or "hosts without a certificate of their own" for host in hosts)
    message = "the certificate expires in less than 21 days"
    consequence = f"from {shown_time(pair.not_after)} on clients refuse {whom}"
    if fault is not None:
        message = fault.reason
        consequence = f"clients refuse {whom}"
    return Diagnostic(
        code=DiagnosticCode.CERTIFICATE_EXPIRES,
        severity="error" if fault is not None else "warning",
        object=ObjectKey("Secret", *secret),
        field="data[tls.crt]",
        message=message,
        consequence=consequence,
        remedy="renew it, or find out why nothing does: its issuer is " + pair.issuer,
    )
