"""What answers a TLS handshake for each host: a memo of decisions, with what they depend on.

A change of an Ingress decides anew about the hosts that it names or named, a change of a Secret
about those that looked at it. A wildcard's hosts are asked after it, as they may take its
certificate.
"""

import heapq
from collections.abc import Collection, Iterable
from typing import NamedTuple

from ingress_controller.index import Index
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name
from ingress_controller.translate.certificates import (
    MAX_LISTED,
    CertificateSource,
    HostFinding,
    shown_time,
)
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode, order
from ingress_controller.translate.https import HostTls, decide
from ingress_controller.translate.materials import Materials
from ingress_controller.translate.options import Options
from ingress_controller.translate.ownership import Ownership, wildcard_above
from ingress_controller.translate.secrets import Secrets
from ingress_controller.translate.verdicts import PLAIN, Verdict
from router.model.snapshot import HostPattern, ServerName, Terminate
from tls.certificate import CertificateDigest, CertificatePair
from tls.policy import Authorities, AuthoritiesDigest, Profile, TlsPolicy


class ServerNameChanges(NamedTuple):
    """What is different from before."""

    server_names: dict[HostPattern, ServerName | None]
    judged: set[HostPattern]
    """Hosts whose routes may have to say something else about the scheme."""
    objects: set[ObjectKey]
    """Objects about which there may be something else to say."""


class ServerNames:
    """All hosts that an Ingress of ours has to do with."""

    __slots__ = (
        "_about",
        "_authorities",
        "_certificates",
        "_decided",
        "_dirty",
        "_looking",
        "_options",
        "_ownership",
        "_profile",
        "_saying",
        "_secrets",
        "_touched",
        "current",
    )

    def __init__(
        self,
        secrets: Secrets,
        ownership: Ownership,
        options: Options,
        profile: Profile,
        certificates: Materials[CertificateDigest, CertificatePair],
        authorities: Materials[AuthoritiesDigest, Authorities],
    ) -> None:
        self._secrets = secrets
        self._ownership = ownership
        self._options = options
        self._profile = profile
        self._certificates = certificates
        self._authorities = authorities
        self._decided: dict[HostPattern, HostTls] = {}
        self._looking: Index[ObjectKey, HostPattern] = Index()
        self._about: Index[ObjectKey, HostFinding] = Index()
        self._saying: Index[HostFinding, HostPattern] = Index()
        """Which hosts a finding is about."""
        self._touched: set[ObjectKey] = set()
        self._dirty: set[HostPattern] = set()
        self.current: dict[HostPattern, ServerName] = {}
        if options.https:
            self.current[""] = self._default_entry()
            certificates.settle()

    def object_changed(self, key: ObjectKey) -> None:
        """A Secret or ConfigMap is new, different or gone."""
        self._dirty.update(self._looking.of(key))
        if self._options.https and key == self.default_key:
            self._dirty.add("")

    def profile_changed(self, profile: Profile) -> None:
        """Names that nobody claims are under this profile now."""
        if self._options.https and profile != self._profile:
            self._dirty.add("")
        self._profile = profile

    def settle(self, hosts: Iterable[HostPattern]) -> ServerNameChanges:
        """Decides what has to be decided: about ``hosts``, and what depends on changed objects."""
        changes = ServerNameChanges({}, set(), set())
        self._dirty.update(hosts)
        # Wildcards first: what is below them looks at them.
        for pattern in sorted(self._dirty, key=_is_precise):
            if _is_precise(pattern):
                break
            if self._decide(pattern, changes):
                self._dirty.update(self._ownership.below(pattern))
        for pattern in self._dirty:
            if _is_precise(pattern):
                self._decide(pattern, changes)
        self._dirty.clear()
        changes.objects.update(self._touched)
        self._touched.clear()
        return changes

    def verdict(self, pattern: HostPattern, ingress: Name) -> Verdict:
        """What becomes of an Ingress's routes of a host, as of the last `settle`."""
        decided = self._decided.get(pattern)
        return PLAIN if decided is None else decided.verdicts.get(ingress, PLAIN)

    def decided(self, pattern: HostPattern) -> HostTls | None:
        """What was decided for a host; None when no Ingress of ours has to do with it."""
        return self._decided.get(pattern)

    def presented(self, *, with_default: bool) -> Iterable[tuple[HostPattern, CertificateSource]]:
        """Every host with every Secret whose certificate answers for it; the empty pattern with
        that of the default certificate."""
        name = self.default_secret if with_default and self._options.https else None
        default = None if name is None else self._secrets.pair(name, "server")
        if name is not None and default is not None:
            kept = None if default.kept is None else default.kept.until
            reason = "it is the default"
            nobody, field = Name("", ""), default.field
            yield "", CertificateSource(name, nobody, default.pair, True, reason, kept, field)
        for pattern, decided in self._decided.items():
            for source in decided.sources:
                if source.used:
                    yield pattern, source

    @property
    def default_secret(self) -> Name | None:
        """The Secret whose pair is the default certificate; None when it is the self-signed one."""
        key = self.default_key
        name = None if key is None else Name(key.namespace, key.name)
        reading = None if name is None else self._secrets.pair(name, "server")
        return None if reading is None or reading.pair is None else name

    def diagnostics(self, key: ObjectKey) -> tuple[Diagnostic, ...]:
        """What there is to say about an object, the hosts joined."""
        found = [
            Diagnostic(
                code=finding.code,
                severity=finding.severity,
                object=finding.object,
                field=finding.field,
                message=finding.message,
                consequence=f"{finding.before}{_hosts(self._saying.of(finding))}{finding.after}",
                remedy=finding.remedy,
            )
            for finding in self._about.of(key)
        ]
        if key == self.default_key:
            found += self._about_default(key)
        return tuple(sorted(found, key=order))

    def _decide(self, pattern: HostPattern, changes: ServerNameChanges) -> bool:
        """Decides about a host; whether anything is different."""
        before = self._decided.get(pattern)
        claimants = self._ownership.judged(pattern).admitted
        after = None
        if claimants:
            wildcard = wildcard_above(pattern)
            above = None if wildcard is None else self._decided.get(wildcard)
            after = self._decided[pattern] = decide(
                pattern, claimants, above, self._secrets, self._options
            )
        else:
            self._decided.pop(pattern, None)
        if pattern == "" and self._options.https:
            self._replace(pattern, self._default_entry(after), changes)
        elif before != after:
            self._replace(pattern, None if after is None else after.server_name, changes)
        if before == after:
            return False
        self._certificates.use(("host", pattern), after.pairs if after is not None else ())
        bundle = None if after is None else after.authorities
        self._authorities.use(("host", pattern), () if bundle is None else (bundle,))
        self._index(pattern, before, after)
        if (before.verdicts if before else {}) != (after.verdicts if after else {}):
            changes.judged.add(pattern)
        return True

    def _replace(
        self, pattern: HostPattern, entry: ServerName | None, changes: ServerNameChanges
    ) -> None:
        if self.current.get(pattern) == entry:
            return
        if entry is None:
            del self.current[pattern]
        else:
            self.current[pattern] = entry
        changes.server_names[pattern] = entry

    def _index(self, pattern: HostPattern, before: HostTls | None, after: HostTls | None) -> None:
        """Keeps what looks at what, and what there is to say, up to date."""
        looked, looks = (set(each.looked_at if each else ()) for each in (before, after))
        for key in looked - looks:
            self._looking.discard(key, pattern)
        for key in looks - looked:
            self._looking.add(key, pattern)
        said, says = (dict.fromkeys(each.findings if each else ()) for each in (before, after))
        for finding in said:
            if finding not in says:
                self._saying.discard(finding, pattern)
                if finding not in self._saying:
                    self._about.discard(finding.object, finding)
                self._touched.add(finding.object)
        for finding in says:
            if finding not in said:
                self._saying.add(finding, pattern)
                self._about.add(finding.object, finding)
                self._touched.add(finding.object)

    # -- the default entry

    @property
    def default_key(self) -> ObjectKey | None:
        """The Secret that the options name for the default certificate, whether it exists or not;
        None when they name none."""
        namespace, slash, name = self._options.default_tls_secret.partition("/")
        return ObjectKey("Secret", namespace, name) if slash else None

    def _default_entry(self, decided: HostTls | None = None) -> Terminate:
        """For names that nobody claims, and for hosts without a certificate of their own."""
        pair = self._default_pair()
        self._certificates.use(("default", ""), () if pair is None else (pair,))
        digests = () if pair is None else (pair.digest,)
        policy = TlsPolicy(profile=self._profile)
        if decided is not None and isinstance(decided.server_name, Terminate):
            policy = decided.server_name.policy
        key = self.default_key
        if key is not None:
            self._touched.add(key)
        return Terminate(digests, policy)

    def _default_pair(self) -> CertificatePair | None:
        key = self.default_key
        if key is not None:
            reading = self._secrets.pair(Name(key.namespace, key.name), "server")
            if reading is not None and reading.pair is not None:
                return reading.pair
        return self._options.default_certificate

    def _about_default(self, key: ObjectKey) -> Iterable[Diagnostic]:
        """What is wrong with the Secret of the default certificate."""
        if not self._options.https:
            return
        reading = self._secrets.pair(Name(key.namespace, key.name), "server")
        fault = None if reading is None else reading.fault
        consequence = "a self-signed certificate answers for names without one of their own"
        if reading is None:
            yield Diagnostic(
                code=DiagnosticCode.CERTIFICATE_MISSING,
                severity="error",
                object=key,
                message="there is no such Secret, and --default-tls-secret names it",
                consequence=consequence,
                remedy="create the Secret, or correct the flag",
            )
        elif fault is not None:
            yield Diagnostic(
                code=DiagnosticCode.CERTIFICATE_UNUSABLE,
                severity="error",
                object=key,
                field=fault.field,
                message=f"the default certificate cannot be used: {fault.message}",
                consequence=consequence,
                remedy=fault.remedy,
            )
        elif reading.kept is not None:
            yield Diagnostic(
                code=DiagnosticCode.CERTIFICATE_KEPT,
                severity="error",
                object=key,
                field=reading.kept.field,
                message="the default certificate's Secret was deleted"
                if reading.kept.deleted
                else f"its newest version holds no pair that works: {reading.kept.reason}",
                consequence=f"until {shown_time(reading.kept.until)} the last good one serves as "
                f"default, then {consequence}",
                remedy="store a certificate chain and its key, as PEM",
            )


def _is_precise(pattern: HostPattern) -> bool:
    return not pattern.startswith("*.")


def _hosts(patterns: Collection[HostPattern]) -> str:
    """The first few hosts, for a sentence."""
    shown = heapq.nsmallest(MAX_LISTED, patterns)
    more = len(patterns) - len(shown)
    listed = ", ".join(pattern or "hosts that nobody claims" for pattern in shown)
    return f"{listed} and {more} more" if more else listed
