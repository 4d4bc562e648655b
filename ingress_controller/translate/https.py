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
from types import MappingProxyType
from typing import NamedTuple

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name
from ingress_controller.translate.certificates import (
    CertificateSource,
    HostFinding,
    Wanted,
    choose,
)
from ingress_controller.translate.clients import ClientRules, HostNotes
from ingress_controller.translate.diagnostics import DiagnosticCode
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
from tls.policy import Authorities, TlsPolicy

_NO_VERDICTS: Mapping[Name, Verdict] = MappingProxyType({})


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
    looked_at: tuple[ObjectKey, ...]
    """Secrets and ConfigMaps on which this depends, whether they exist or not; each once."""
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
        self._notes = HostNotes()
        self._verdicts: dict[Name, Verdict] = {}

    def made(self) -> HostTls:
        to = self._passes_to() if self._options.https else None
        if to is not None and to.upstream is not None:
            self._pass_through()
            return self._result(Passthrough(to.upstream, to.origin), (), None, ())
        rules = ClientRules(self._owners, self._notes, self._secrets, self._options)
        closed = rules.closed
        if to is not None:
            closed = closed or "TLS is passed through, and there is no backend to pass it to"
        namespace, pairs, sources = self._certificates()
        for claimant in self._claimants:
            self._judge(claimant, rules, closed, namespace)
        if not self._options.https:
            return self._result(None, (), None, ())
        policy, authorities = rules.policy, rules.authorities
        if closed:
            # Nothing is served, so nobody need be asked for a certificate.
            policy, authorities = TlsPolicy(profile=policy.profile), None
        digests = tuple(pair.digest for pair in pairs)
        entry = Terminate(digests, policy)
        return self._result(entry, pairs, namespace, sources, authorities)

    def _result(
        self,
        server_name: ServerName | None,
        pairs: tuple[CertificatePair, ...],
        namespace: str | None,
        sources: tuple[CertificateSource, ...],
        authorities: Authorities | None = None,
    ) -> HostTls:
        return HostTls(
            server_name,
            pairs,
            authorities,
            self._verdicts or _NO_VERDICTS,
            namespace,
            sources,
            tuple(self._notes.looked_at),
            tuple(dict.fromkeys(self._notes.findings)),
        )

    # -- passthrough

    def _passes_to(self) -> PassthroughTo | None:
        """Where connections for the host go unopened; None when TLS ends here."""
        first = next((one for one in self._owners if one.has_tls), None)
        if first is None or not first.settings.passthrough or not self._pattern:
            return None
        to = first.passthrough
        if to is None or to.upstream is None:
            self._notes.say(
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
                self._notes.say(
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
        for each in wanted:
            for entry in each.entries:
                if entry.secret:
                    key = ObjectKey("Secret", each.ingress.namespace, entry.secret)
                    self._notes.looked_at[key] = None
        choice = choose(self._pattern, wanted, self._secrets)
        self._notes.findings += choice.findings
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
                    self._notes.say(
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

    def _judge(
        self, claimant: Claimant, clients: ClientRules, closed_host: str, namespace: str | None
    ) -> None:
        """Finds what becomes of an Ingress's routes; ``closed_host`` says why nothing is served."""
        settings = claimant.settings
        own = claimant.name.namespace == self._owner
        required = clients.policy.client_certificates == "required"
        demanded = required and own and not closed_host
        closed = closed_host if own or settings.clients is not None else ""
        if not closed and not clients.satisfy(claimant):
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
            self._notes.say(
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
        self._notes.say(
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
        self._notes.say(
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
        self._notes.say(
            claimant.name,
            DiagnosticCode.ANNOTATION_CONTRADICTORY,
            "warning",
            "metadata.annotations",
            "ssl-redirect is off, but the host demands client certificates",
            "plain requests are redirected all the same for ",
            "",
            "remove ssl-redirect",
        )
