"""What TLS means for one host: who ends it, with what, and what its routes say about the scheme.

1. A host belongs to the namespace of the oldest Ingress that has rules for it. Only Ingresses of
   that namespace say whether TLS ends here (``ssl-passthrough``), what clients must show
   (``auth-tls-*``) and which profile holds. An Ingress of another namespace that asks for such
   things, and does not get the same, is closed: its routes answer 503.
2. Of several such wishes, that of the oldest Ingress counts. ``tls-profile: modern`` wins always.
3. Where the authorities of a host's clients cannot be read, the whole host is closed.
4. Client certificates that are required are worth nothing in clear: the host is redirected always.
5. ``/.well-known/acme-challenge/`` is never redirected, and where client certificates are required
   it is spared only for what cert-manager made for a challenge.
6. Plain requests are redirected on the routes of namespaces that have TLS for the host, so that
   nobody turns off plain HTTP on another's host.
7. A host always has an entry of its own: it inherits no policy from a wildcard or the default. From
   a wildcard of its own namespace it has certificates, when it names none.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name
from ingress_controller.translate.annotations import ClientDemand
from ingress_controller.translate.certificates import (
    CertificateSource,
    HostFinding,
    Wanted,
    choose,
)
from ingress_controller.translate.diagnostics import DiagnosticCode, Severity
from ingress_controller.translate.options import Options
from ingress_controller.translate.secrets import Secrets
from ingress_controller.translate.verdicts import (
    MISDIRECTED,
    PLAIN,
    UNSERVABLE,
    Claimant,
    PassthroughTo,
    Verdict,
)
from router.model.origin import Origin
from router.model.snapshot import (
    HostPattern,
    HttpsRules,
    Passthrough,
    ServerName,
    Terminate,
)
from tls.certificate import CertificatePair
from tls.names import any_covers
from tls.policy import Authorities, Profile, TlsPolicy


class HostTls(NamedTuple):
    """What was decided."""

    server_name: ServerName | None
    """None when HTTPS is not served."""
    pairs: tuple[CertificatePair, ...]
    authorities: Authorities | None
    verdicts: Mapping[Name, Verdict]
    namespace: str | None
    """Whose certificates these are; None when nobody has TLS for the host."""
    sources: tuple[CertificateSource, ...]
    looked_at: frozenset[ObjectKey]
    """Secrets and ConfigMaps on which this depends, whether they exist or not."""
    findings: tuple[HostFinding, ...]


def decide(
    pattern: HostPattern,
    claimants: Sequence[Claimant],
    above: HostTls | None,
    secrets: Secrets,
    options: Options,
) -> HostTls:
    """What TLS means for a host.

    ``claimants`` are at least one, oldest first; ``above`` is what was decided for the wildcard
    that would take the host if it did not exist.
    """
    return _Decision(pattern, claimants, above, secrets, options).made()


class _Decision:
    """One host on its way to a decision."""

    def __init__(
        self,
        pattern: HostPattern,
        claimants: Sequence[Claimant],
        above: HostTls | None,
        secrets: Secrets,
        options: Options,
    ) -> None:
        self._pattern = pattern
        self._claimants = claimants
        self._above = above
        self._secrets = secrets
        self._options = options
        first = next((one for one in claimants if one.has_rules), claimants[0])
        self._owner = first.name.namespace
        self._owners = [one for one in claimants if one.name.namespace == self._owner]
        self._looked_at: set[ObjectKey] = set()
        self._findings: list[HostFinding] = []
        self._verdicts: dict[Name, Verdict] = {}
        self._closed_host = ""
        """Why the whole host is closed."""
        self._authorities: Authorities | None = None

    def made(self) -> HostTls:
        to = self._passes_to() if self._options.https else None
        if to is not None and to.upstream is not None:
            self._pass_through()
            return self._result(Passthrough(to.upstream, to.origin), (), None, ())
        if to is not None:
            self._closed_host = "TLS is passed through, and there is no backend to pass it to"
        policy = self._policy()
        namespace, pairs, sources = self._certificates()
        for claimant in self._claimants:
            self._judge(claimant, policy, namespace)
        if not self._options.https:
            return self._result(None, (), None, ())
        digests = tuple(pair.digest for pair in pairs)
        return self._result(Terminate(digests, policy), pairs, namespace, sources)

    def _result(
        self,
        server_name: ServerName | None,
        pairs: tuple[CertificatePair, ...],
        namespace: str | None,
        sources: tuple[CertificateSource, ...],
    ) -> HostTls:
        return HostTls(
            server_name,
            pairs,
            self._authorities,
            self._verdicts,
            namespace,
            sources,
            frozenset(self._looked_at),
            tuple(dict.fromkeys(self._findings)),
        )

    # -- passthrough

    def _passes_to(self) -> PassthroughTo | None:
        """Where connections for the host go unopened; None when TLS ends here."""
        first = next((one for one in self._owners if one.has_tls), None)
        if first is None or not first.settings.passthrough or not self._pattern:
            return None
        to = first.passthrough
        if to is None or to.upstream is None:
            self._say(
                first.name,
                DiagnosticCode.PASSTHROUGH_IMPOSSIBLE,
                "error",
                "metadata.annotations",
                "TLS is to be passed through, but the path / has no backend that can be served, "
                "and there is no default backend",
                "503 for ",
                ": nothing is passed, and TLS ends here with an error",
                "give the Ingress a path / with a Service, or spec.defaultBackend",
            )
        return to or PassthroughTo(None, Origin("Ingress", *first.name))

    def _pass_through(self) -> None:
        """Nothing of the host is served from here, except for challenges in clear."""
        first = next(one for one in self._owners if one.has_tls)
        verdict = Verdict(
            HttpsRules(redirect=True),
            "TLS for this host is passed through to its backend, so it is served over a connection "
            "for its own name only",
            MISDIRECTED,
        )
        for claimant in self._claimants:
            self._verdicts[claimant.name] = verdict
            if claimant is not first and (
                not claimant.settings.passthrough or claimant.passthrough != first.passthrough
            ):
                self._say(
                    claimant.name,
                    DiagnosticCode.PASSTHROUGH_CONFLICT,
                    "warning",
                    "spec.rules",
                    f"Ingress {first.name.namespace}/{first.name.name} is older, and passes TLS "
                    "for the host through to its backend",
                    "its rules take no request for ",
                    "",
                    "choose another host",
                )

    # -- client certificates, profile

    def _policy(self) -> TlsPolicy:
        wishes = {one.settings.tls_profile for one in self._owners} - {None}
        wishes = wishes or {one.defaults.tls_profile for one in self._owners}
        profile: Profile = "modern" if "modern" in wishes else "intermediate"
        demand = next((one for one in self._owners if one.settings.clients is not None), None)
        if demand is None or demand.settings.clients is None:
            return TlsPolicy(profile=profile)
        clients = demand.settings.clients
        self._authorities = self._read_authorities(demand.name, clients)
        if self._authorities is None or self._closed_host:
            self._authorities = None
            return TlsPolicy(profile=profile)
        return TlsPolicy(
            profile=profile,
            client_certificates=clients.mode,
            authorities=self._authorities.digest,
            verify_depth=clients.verify_depth,
        )

    def _read_authorities(self, ingress: Name, clients: ClientDemand) -> Authorities | None:
        """Whom the host's clients must come from; closes the host when that cannot be found out."""
        if clients.problem:
            self._closed_host = clients.problem  # said when the annotation was read
            return None
        if not self._options.https:
            self._closed_host = "client certificates are demanded, and HTTPS is not served"
            self._unverifiable(ingress, clients, self._closed_host, "start with --https-port")
            return None
        key = ObjectKey(clients.kind, ingress.namespace, clients.name)
        self._looked_at.add(key)
        reading = self._secrets.authorities(key)
        fault = None if reading is None else reading.fault
        if reading is None or fault is not None:
            what = f"there is no {key}" if fault is None else f"{key}: {fault.message}"
            self._closed_host = f"the authorities of client certificates cannot be read: {what}"
            remedy = "create it" if fault is None else fault.remedy
            self._unverifiable(ingress, clients, what, remedy)
            return None
        for note in reading.notes:
            self._findings.append(
                HostFinding(
                    key,
                    DiagnosticCode.AUTHORITIES_UNUSABLE,
                    "warning",
                    note.field,
                    note.message,
                    "the others are taken for the clients of ",
                    "",
                    note.remedy,
                )
            )
        return reading.authorities

    def _unverifiable(self, ingress: Name, clients: ClientDemand, what: str, remedy: str) -> None:
        self._say(
            ingress,
            DiagnosticCode.CLIENTS_UNVERIFIABLE,
            "error",
            clients.field,
            f"client certificates cannot be verified: {what}"
            if self._options.https
            else "client certificates are demanded, and HTTPS is not served",
            "all requests get 503 for ",
            ", so that nobody gets in unverified",
            remedy,
        )

    def _satisfied(self, claimant: Claimant, policy: TlsPolicy) -> bool:
        """Whether the host's policy is what an Ingress asks for, or stricter."""
        settings = claimant.settings
        if settings.tls_profile == "modern" and policy.profile != "modern":
            return False
        clients = settings.clients
        if clients is None:
            return True
        if clients.problem or self._authorities is None:
            return False
        key = ObjectKey(clients.kind, claimant.name.namespace, clients.name)
        self._looked_at.add(key)
        reading = self._secrets.authorities(key)
        return (
            reading is not None
            and reading.authorities is not None
            and reading.authorities.digest == policy.authorities
            and clients.verify_depth == policy.verify_depth
            and policy.client_certificates in (clients.mode, "required")
        )

    # -- certificates

    def _certificates(
        self,
    ) -> tuple[str | None, tuple[CertificatePair, ...], tuple[CertificateSource, ...]]:
        """Whose certificates, which, and what was looked at."""
        with_tls = [one for one in self._claimants if one.entries]
        namespace = next((one.name.namespace for one in self._owners if one.entries), None)
        if namespace is None and with_tls:
            namespace = with_tls[0].name.namespace
        if namespace is None:
            return self._from_above()
        if not self._options.https:
            return namespace, (), ()
        wanted = [
            Wanted(one.name, one.entries) for one in with_tls if one.name.namespace == namespace
        ]
        self._looked_at.update(
            ObjectKey("Secret", each.ingress.namespace, entry.secret)
            for each in wanted
            for entry in each.entries
            if entry.secret
        )
        choice = choose(self._pattern, wanted, self._secrets)
        self._findings += choice.findings
        self._foreign([one for one in with_tls if one.name.namespace != namespace], namespace)
        return namespace, choice.pairs, choice.sources

    def _from_above(
        self,
    ) -> tuple[str | None, tuple[CertificatePair, ...], tuple[CertificateSource, ...]]:
        above = self._above
        if above is None or above.namespace != self._owner:
            return None, (), ()
        pairs = tuple(pair for pair in above.pairs if any_covers(pair.names, self._pattern))
        return above.namespace, pairs, tuple(one for one in above.sources if one.used)

    def _foreign(self, others: Sequence[Claimant], namespace: str) -> None:
        for one in others:
            for entry in one.entries:
                if entry.secret and entry.named:
                    self._say(
                        one.name,
                        DiagnosticCode.CERTIFICATE_CONFLICT,
                        "warning",
                        entry.field,
                        f"Secret {entry.secret} is not used: the host has its certificates from "
                        f"namespace {namespace}, whose Ingress is older",
                        "that certificate, or the default one, answers for ",
                        "",
                        "choose another host, or leave TLS to the other namespace",
                    )

    # -- verdicts

    def _judge(self, claimant: Claimant, policy: TlsPolicy, namespace: str | None) -> None:
        """Finds what becomes of an Ingress's routes."""
        settings = claimant.settings
        own = claimant.name.namespace == self._owner
        demanded = policy.client_certificates == "required" and own
        closed = self._closed_host if own or settings.clients is not None else ""
        if not closed and not self._satisfied(claimant, policy):
            closed = "another Ingress decides what clients of the host must show"
            self._say_unsatisfied(claimant)
        if settings.passthrough:
            closed = closed or self._closed_passthrough(claimant)
        rules = None
        defaults = claimant.defaults
        forced = settings.force_ssl_redirect
        if forced is None:
            forced = defaults.force_ssl_redirect
        if self._options.https and self._has_tls(claimant, namespace):
            redirect = settings.ssl_redirect
            if redirect is None:
                redirect = defaults.ssl_redirect
            if demanded and settings.ssl_redirect is False:
                self._say_redirected(claimant)
            rules = HttpsRules(
                redirect=redirect or demanded or forced,
                hsts=defaults.hsts if settings.hsts is None else settings.hsts,
                pass_client_certificate=settings.pass_client_certificate,
            )
        elif forced:
            rules = HttpsRules(redirect=True, hsts=settings.hsts or "")
        verdict = Verdict(rules, closed, UNSERVABLE, not demanded and not closed)
        if verdict != PLAIN:
            self._verdicts[claimant.name] = verdict

    def _has_tls(self, claimant: Claimant, namespace: str | None) -> bool:
        """Whether the host has TLS as far as this Ingress is concerned (rule 6)."""
        mine = claimant.name.namespace
        return mine == namespace or any(
            one.has_tls for one in self._claimants if one.name.namespace == mine
        )

    def _closed_passthrough(self, claimant: Claimant) -> str:
        """Why an Ingress that wants TLS passed through does not get that."""
        if not self._options.https:
            self._say(
                claimant.name,
                DiagnosticCode.ANNOTATION_UNUSED,
                "hint",
                "metadata.annotations",
                "HTTPS is not served, so no TLS is passed through",
                "plain HTTP is served for ",
                "",
                "start with --https-port",
            )
            return ""
        self._say(
            claimant.name,
            DiagnosticCode.PASSTHROUGH_CONFLICT,
            "error",
            "metadata.annotations",
            "TLS is to be passed through, but the Ingress names no host"
            if not self._pattern
            else "TLS is to be passed through, but an older Ingress has TLS ended here",
            "all requests to its rules get 503 for ",
            "",
            "choose another host, or remove ssl-passthrough",
        )
        return "TLS cannot be passed through"

    def _say_unsatisfied(self, claimant: Claimant) -> None:
        clients = claimant.settings.clients
        if clients is not None and clients.problem:
            return  # said when the annotation was read
        self._say(
            claimant.name,
            DiagnosticCode.CLIENTS_CONFLICT,
            "error",
            "metadata.annotations" if clients is None else clients.field,
            f"what clients of the host must show is decided by the oldest Ingress of namespace "
            f"{self._owner}, and that is not what this one asks for",
            "all requests to its rules get 503 for ",
            ", so that nothing is served less protected than its owner wants",
            "ask for the same in all Ingresses of the host, or choose another host",
        )

    def _say_redirected(self, claimant: Claimant) -> None:
        self._say(
            claimant.name,
            DiagnosticCode.ANNOTATION_CONTRADICTORY,
            "warning",
            "metadata.annotations",
            "ssl-redirect is off, but the host demands client certificates",
            "plain requests are redirected all the same for ",
            "",
            "remove ssl-redirect",
        )

    def _say(
        self,
        ingress: Name,
        code: DiagnosticCode,
        severity: Severity,
        field: str,
        message: str,
        before: str,
        after: str,
        remedy: str,
    ) -> None:
        key = ObjectKey("Ingress", *ingress)
        self._findings.append(
            HostFinding(key, code, severity, field, message, before, after, remedy)
        )
