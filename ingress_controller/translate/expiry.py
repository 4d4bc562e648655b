"""Which certificates end soon, or have ended. Apart from the translation, which knows no time."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name
from ingress_controller.translate.certificates import CertificateSource, listed, shown_time
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode, order
from router.model.snapshot import HostPattern
from tls.certificate import CertificatePair
from tls.faults import validity_fault
from tls.policy import Authorities

SOON_SECONDS: Final = 21 * 86_400
"""cert-manager renews certificates of 90 days when 30 are left; so at 21 something is wrong."""


class NamedMaterial(NamedTuple):
    """What Ingresses name and clients never see: authorities, or a certificate for backends."""

    object: ObjectKey
    field: str
    material: Authorities | CertificatePair
    ingresses: tuple[ObjectKey, ...]
    """Those that name the object."""


def expiring(
    presented: Iterable[tuple[HostPattern, CertificateSource]],
    now: float,
    named: Iterable[NamedMaterial] = (),
) -> tuple[Diagnostic, ...]:
    """A diagnostic for each object of whose certificates one has not 21 days before it.

    ``presented`` is every host with each Secret that answers for it, ``named`` what else is in use;
    ``now`` is in Unix seconds.
    """
    hosts: dict[tuple[Name, str, CertificatePair], set[HostPattern]] = {}
    for pattern, source in presented:
        pair = source.pair
        if pair is not None and (_ends_soon(pair, now) or now < pair.not_before):
            hosts.setdefault((source.secret, source.field, pair), set()).add(pattern)
    found = [
        _about(secret, field, pair, sorted(patterns), now)
        for (secret, field, pair), patterns in hosts.items()
    ]
    found += [_about_named(each, now) for each in named if _ends_soon(each.material, now)]
    return tuple(sorted(found, key=order))


def _ends_soon(material: Authorities | CertificatePair, now: float) -> bool:
    return now + SOON_SECONDS > material.not_after


def _about(
    secret: Name, field: str, pair: CertificatePair, hosts: list[HostPattern], now: float
) -> Diagnostic:
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
        field=field,
        message=message,
        consequence=consequence,
        remedy="renew it, or find out why nothing does: its issuer is " + pair.issuer,
    )


def _about_named(named: NamedMaterial, now: float) -> Diagnostic:
    material = named.material
    over = now > material.not_after
    when = "expired" if over else "expires in less than 21 days"
    since = "now" if over else f"from {shown_time(material.not_after)} on"
    asked = listed(f"{key.namespace}/{key.name}" for key in named.ingresses)
    if isinstance(material, Authorities):
        many = len(material.subjects) > 1
        what = f"one of its {len(material.subjects)} authorities" if many else "the authority"
        consequence = f"{since} certificates that it issued are refused for Ingress {asked}"
        remedy = "add its successor, and remove it when nobody shows its certificates any more"
        severe = over and not many
    else:
        what = "the certificate"
        consequence = f"{since} https backends of Ingress {asked} may refuse us"
        remedy = "renew it, or find out why nothing does: its issuer is " + material.issuer
        severe = over
    return Diagnostic(
        code=DiagnosticCode.CERTIFICATE_EXPIRES,
        severity="error" if severe else "warning",
        object=named.object,
        field=named.field,
        message=f"{what} {when}",
        consequence=consequence,
        remedy=remedy,
    )
