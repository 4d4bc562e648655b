"""What answers the handshake of an https request: which certificate, under which policy, and why.

The entry is found by the code of the workers (`router.server_names`); why it says what it says
comes from the translation's decision about the host.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from ingress_controller.explain.explanation import CertificateShown, TlsShown
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name
from ingress_controller.translate.certificates import CertificateSource, shown_time
from ingress_controller.translate.translator import HOST_SET, Translator
from router.model.snapshot import HostPattern, Passthrough, Snapshot, Terminate
from router.server_names import ServerNames
from tls.certificate import CertificateDigest, CertificatePair, PrivateKey
from tls.names import wildcard_of
from tls.policy import TlsPolicy
from tls.store import Selection

_SELF_SIGNED: Final = CertificatePair(
    digest=CertificateDigest(""),
    chain=b"",
    key=PrivateKey(b""),
    names=(),
    not_before=0,
    not_after=0,
    algorithm="ecdsa",
    subject="",
    issuer="",
    chain_length=0,
)
"""Stands for the certificate that each start makes, where nothing was started."""


class Handshake(NamedTuple):
    """What a connection was opened under."""

    shown: TlsShown
    policy: TlsPolicy | None
    """None when it was passed through."""
    passthrough: Passthrough | None


def server_names(snapshot: Snapshot, *names: str | None) -> ServerNames:
    """The workers' index, of what can concern these names alone."""
    served = snapshot.server_names.get(HOST_SET, {})
    concerned = {"", *names, *(wildcard_of(name) for name in names if name)}
    entries = {name: served[name] for name in concerned if name is not None and name in served}
    pairs = snapshot.certificates
    default = entries.get("")
    if isinstance(default, Terminate) and not default.certificates:
        entries[""] = Terminate((_SELF_SIGNED.digest,), default.policy)
        pairs = {**pairs, _SELF_SIGNED.digest: _SELF_SIGNED}
    return ServerNames.of(
        Snapshot(
            server_names={HOST_SET: entries},
            certificates=pairs,
            authorities=snapshot.authorities,
        ),
        HOST_SET,
    )


def shake_hands(
    translator: Translator, name: str | None, hsts: str, locate: Callable[[ObjectKey], str]
) -> Handshake:
    """What a client that asks for a server name gets; ``hsts`` is what the route says."""
    snapshot = translator.snapshot
    found = server_names(snapshot, name).select(name, offers_ecdsa=True, offers_rsa=True)
    if isinstance(found, Passthrough):
        origin = found.origin
        reason = (
            f"the bytes go to an endpoint as they came, as Ingress {origin.namespace}/"
            f"{origin.name} wants it"
        )
        shown = TlsShown(pattern=_pattern(snapshot, name), ends_here=False, reason=reason)
        return Handshake(shown, None, found)
    assert isinstance(found, Selection)  # noqa: S101 - there is a default certificate
    pattern: HostPattern = found.name or ""
    policy = found.policy
    bundle = found.authorities
    decided = translator.host_tls(pattern)
    sources = () if decided is None else decided.sources
    certificates = [_shown_source(source, locate) for source in sources]
    own = any(source.used for source in sources)
    if not own:
        certificates.append(_shown_default(translator, found.preferred, locate))
    return Handshake(
        TlsShown(
            pattern=pattern,
            ends_here=True,
            reason=_why(name, pattern, own=own),
            profile=policy.profile,
            client_certificates=policy.client_certificates,
            authorities=() if bundle is None else bundle.subjects,
            hsts=hsts,
            certificates=tuple(certificates),
        ),
        policy,
        None,
    )


def _pattern(snapshot: Snapshot, name: str | None) -> HostPattern:
    """Whose entry passes a connection through: the precise name's, else the wildcard's."""
    served = snapshot.server_names.get(HOST_SET, {})
    return name if name in served and name is not None else wildcard_of(name or "") or ""


def _why(name: str | None, pattern: HostPattern, *, own: bool) -> str:
    if own:
        return f"{pattern} has a certificate of its own"
    if pattern:
        return f"{pattern} has no certificate of its own that can be used: the default answers"
    if name is None:
        return "no server name is sent for an address: the default answers"
    return f"no Ingress of ours names {name}: the default answers"


def _shown_source(
    source: CertificateSource, locate: Callable[[ObjectKey], str]
) -> CertificateShown:
    pair = source.pair
    ingress = str(ObjectKey("Ingress", *source.ingress))
    kept = "" if source.kept_until is None else shown_time(source.kept_until)
    return _shown(source.secret, pair, locate, ingress, source.reason, kept, answers=source.used)


def _shown_default(
    translator: Translator, pair: CertificatePair, locate: Callable[[ObjectKey], str]
) -> CertificateShown:
    secret = translator.default_secret
    if secret is None or pair is _SELF_SIGNED:
        reason = "it is the self-signed default, which clients refuse"
        known = None if pair is _SELF_SIGNED else pair
        return _shown(Name("", ""), known, locate, "", reason, "", answers=True)
    return _shown(secret, pair, locate, "", "it is the default", "", answers=True)


def _shown(
    secret: Name,
    pair: CertificatePair | None,
    locate: Callable[[ObjectKey], str],
    ingress: str,
    reason: str,
    kept_until: str,
    *,
    answers: bool,
) -> CertificateShown:
    return CertificateShown(
        answers=answers,
        reason=reason,
        secret="/".join(secret) if secret.name else "",
        ingress=ingress,
        location=locate(ObjectKey("Secret", *secret)) if secret.name else "",
        algorithm="" if pair is None else pair.algorithm,
        names=() if pair is None else pair.names,
        issuer="" if pair is None else pair.issuer,
        expires="" if pair is None else shown_time(pair.not_after),
        not_after=0 if pair is None else pair.not_after,
        kept_until=kept_until,
    )
