"""Which certificates answer for a host, out of the Secrets that Ingresses name for it.

1. A host takes certificates from one namespace only: that of the oldest Ingress that claims the
   host, if one of its Ingresses has ``spec.tls`` for it, else that of the oldest which has.
2. There, the oldest Ingress with a certificate that can be used wins; of its entries, one a key
   algorithm (ECDSA and RSA side by side), those that name the host first.
3. A certificate whose names do not cover the host is not used for it: clients would refuse it just
   as they refuse the default certificate, and that one tells nobody about other hosts. So did
   ingress-nginx.
4. A host without any answers with the default certificate.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name
from ingress_controller.translate.diagnostics import DiagnosticCode, Severity
from ingress_controller.translate.secrets import PairReading, SecretFault, Secrets
from ingress_controller.translate.tls_entries import TlsEntry
from router.model.snapshot import HostPattern
from tls.certificate import CertificatePair
from tls.names import any_covers

MAX_LISTED = 5
"""Hosts or names in one sentence."""


class HostFinding(NamedTuple):
    """A diagnostic about an object, as it concerns one host; those of several hosts are joined."""

    object: ObjectKey
    code: DiagnosticCode
    severity: Severity
    field: str
    message: str
    before: str
    """The consequence up to the hosts."""
    after: str
    """The consequence after the hosts."""
    remedy: str


class Wanted(NamedTuple):
    """An Ingress and what its ``spec.tls`` says of a host."""

    ingress: Name
    entries: tuple[TlsEntry, ...]


class CertificateSource(NamedTuple):
    """A Secret that was looked at for a host, and what came of it."""

    secret: Name
    ingress: Name
    pair: CertificatePair | None
    used: bool
    reason: str
    """A sentence for people."""
    kept_until: int | None = None
    """Unix seconds until which the last good pair is served."""
    field: str = ""
    """Where the certificate stands in the Secret."""


class Choice(NamedTuple):
    """What was chosen."""

    pairs: tuple[CertificatePair, ...]
    """At most one a key algorithm; empty means the default certificate."""
    sources: tuple[CertificateSource, ...]
    findings: tuple[HostFinding, ...]


def choose(pattern: HostPattern, wanted: Sequence[Wanted], secrets: Secrets) -> Choice:
    """The certificates of a host; ``wanted`` is of one namespace, the oldest Ingress first."""
    chooser = _Chooser(pattern, secrets)
    for each in wanted:
        chooser.ask(each)
    return chooser.choice()


class _Chooser:
    """Holds what has been chosen so far."""

    __slots__ = ("_findings", "_pairs", "_pattern", "_secrets", "_sources", "_winner")

    def __init__(self, pattern: HostPattern, secrets: Secrets) -> None:
        self._pattern = pattern
        self._secrets = secrets
        self._pairs: dict[str, CertificatePair] = {}
        self._winner: CertificateSource | None = None
        self._sources: list[CertificateSource] = []
        self._findings: dict[HostFinding, None] = {}

    def ask(self, wanted: Wanted) -> None:
        """An Ingress and its entries, the oldest first."""
        won_before = self._winner is not None
        uncovering: list[tuple[TlsEntry, CertificatePair]] = []
        for entry in wanted.entries:
            if not entry.secret:
                continue
            secret = Name(wanted.ingress.namespace, entry.secret)
            reading = self._secrets.pair(secret, "server")
            pair = None if reading is None else reading.pair
            if reading is None or pair is None:
                self._unusable(wanted.ingress, entry, secret, reading)
            elif not any_covers(pair.names, self._pattern):
                self._source(wanted.ingress, secret, reading, "its names do not cover the host")
                uncovering.append((entry, pair))
            elif won_before:
                self._lost(wanted.ingress, entry, secret, reading)
            else:
                self._take(wanted.ingress, entry, secret, reading)
        for entry, pair in uncovering:
            if entry.named or self._winner is None:
                self._uncovering(wanted.ingress, entry, pair)

    def choice(self) -> Choice:
        return Choice(tuple(self._pairs.values()), tuple(self._sources), tuple(self._findings))

    def _take(self, ingress: Name, entry: TlsEntry, secret: Name, reading: PairReading) -> None:
        pair = reading.pair
        if pair is None:
            return
        other = self._pairs.get(pair.algorithm)
        if other is None:
            self._pairs[pair.algorithm] = pair
            source = self._source(ingress, secret, reading, "it covers the host", used=True)
            if self._winner is None:
                self._winner = source
            self._about_secret(ingress, secret, reading)
        elif other.digest == pair.digest:
            self._source(ingress, secret, reading, "it is the same certificate")
        else:
            reason = f"an entry before it has {_an(pair.algorithm)} certificate for the host, too"
            self._source(ingress, secret, reading, reason)
            if entry.named:
                self._conflict(ingress, entry, secret, reason, "of each key algorithm")

    def _lost(self, ingress: Name, entry: TlsEntry, secret: Name, reading: PairReading) -> None:
        winner, pair = self._winner, reading.pair
        if winner is None or pair is None:
            return
        if pair in self._pairs.values():
            self._source(ingress, secret, reading, "it is the same certificate")
            return
        older = f"Ingress {winner.ingress.namespace}/{winner.ingress.name}"
        reason = f"{older} is older and names Secret {winner.secret.name}"
        self._source(ingress, secret, reading, reason)
        self._conflict(ingress, entry, secret, reason, "of the older Ingress")

    def _conflict(
        self, ingress: Name, entry: TlsEntry, secret: Name, reason: str, which: str
    ) -> None:
        self._say(
            HostFinding(
                ObjectKey("Ingress", *ingress),
                DiagnosticCode.CERTIFICATE_CONFLICT,
                "warning",
                entry.field,
                f"Secret {secret.name} is not used: {reason}",
                f"the first certificate {which} answers for ",
                "",
                "name one Secret for the host in all Ingresses",
            )
        )

    def _unusable(
        self, ingress: Name, entry: TlsEntry, secret: Name, reading: PairReading | None
    ) -> None:
        fault = None if reading is None else reading.fault
        if fault is None:
            self._source(ingress, secret, reading, "there is no such Secret")
            code, message = (
                DiagnosticCode.CERTIFICATE_MISSING,
                f"there is no Secret {secret.name} in namespace {secret.namespace}",
            )
            remedy = "create the Secret, correct the name, or wait for whoever makes it"
        else:
            self._source(ingress, secret, reading, fault.message)
            code, message = (
                DiagnosticCode.CERTIFICATE_UNUSABLE,
                f"Secret {secret.name} holds no pair that works: {fault.message}",
            )
            remedy = f"correct Secret {secret.namespace}/{secret.name}, {fault.field}"
            self._say(_about_pair(ingress, secret, fault))
        self._say(
            HostFinding(
                ObjectKey("Ingress", *ingress),
                code,
                "error",
                entry.field,
                message,
                "unless another Secret has one, the default certificate answers for ",
                ", which clients refuse",
                remedy,
            )
        )

    def _uncovering(self, ingress: Name, entry: TlsEntry, pair: CertificatePair) -> None:
        self._say(
            HostFinding(
                ObjectKey("Ingress", *ingress),
                DiagnosticCode.CERTIFICATE_NAMES,
                "warning",
                entry.field,
                f"the certificate in Secret {entry.secret} is for {listed(pair.names)}",
                "the default certificate answers for " if self._winner is None else "not used for ",
                "",
                "have a certificate issued that names the host, or name another Secret for it",
            )
        )

    def _about_secret(self, ingress: Name, secret: Name, reading: PairReading) -> None:
        """What the owner of a Secret in use should know."""
        key = ObjectKey("Secret", *secret)
        for note in reading.notes:
            self._say(
                HostFinding(
                    key,
                    DiagnosticCode.CERTIFICATE_IMPERFECT,
                    "hint",
                    note.field,
                    note.message,
                    "the certificate answers all the same for ",
                    "",
                    note.remedy,
                )
            )
        kept = reading.kept
        if kept is None:
            return
        until = shown_time(kept.until)
        self._say(
            HostFinding(
                key,
                DiagnosticCode.CERTIFICATE_KEPT,
                "error",
                kept.field,
                "the Secret was deleted"
                if kept.deleted
                else f"its newest version holds no pair that works: {kept.reason}",
                f"until {until} the last good certificate answers for ",
                ", then the default certificate, which clients refuse",
                f"create it again, or remove it from Ingress {ingress.namespace}/{ingress.name}"
                if kept.deleted
                else "store a certificate chain and its key, as PEM",
            )
        )

    def _source(
        self,
        ingress: Name,
        secret: Name,
        reading: PairReading | None,
        reason: str,
        *,
        used: bool = False,
    ) -> CertificateSource:
        pair = None if reading is None else reading.pair
        kept = None if reading is None or reading.kept is None else reading.kept.until
        field = "" if reading is None else reading.field
        source = CertificateSource(secret, ingress, pair, used, reason, kept, field)
        self._sources.append(source)
        return source

    def _say(self, finding: HostFinding) -> None:
        self._findings[finding] = None


def _about_pair(ingress: Name, secret: Name, fault: SecretFault) -> HostFinding:
    return HostFinding(
        ObjectKey("Secret", *secret),
        DiagnosticCode.CERTIFICATE_UNUSABLE,
        "error",
        fault.field,
        fault.message,
        f"Ingress {ingress.namespace}/{ingress.name} gets no certificate from it for ",
        "",
        fault.remedy,
    )


def shown_time(seconds: int) -> str:
    """A moment for people, in UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return "the end of time"


def listed(names: Iterable[str]) -> str:
    """The first few names, for a sentence."""
    every = list(names)
    more = len(every) - MAX_LISTED
    shown = ", ".join(every[:MAX_LISTED])
    return f"{shown} and {more} more" if more > 0 else shown


def _an(algorithm: str) -> str:
    return {"ecdsa": "an ECDSA", "rsa": "an RSA", "ed25519": "an Ed25519"}[algorithm]
