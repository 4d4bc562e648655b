"""What clients of a host must show, and under which TLS profile: the wishes of its owners.

Where it cannot be found out whom to let in, the whole host is closed.
"""

from collections.abc import Sequence

from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name
from ingress_controller.translate.annotations import ClientDemand
from ingress_controller.translate.certificates import HostFinding
from ingress_controller.translate.diagnostics import DiagnosticCode, Severity
from ingress_controller.translate.options import Options
from ingress_controller.translate.secrets import Secrets
from ingress_controller.translate.verdicts import Claimant
from tls.policy import Authorities, Profile, TlsPolicy


class HostNotes:
    """What was looked at to decide about a host, and what there is to say of it."""

    __slots__ = ("findings", "looked_at")

    def __init__(self) -> None:
        self.looked_at: dict[ObjectKey, None] = {}
        """Secrets and ConfigMaps, whether they exist or not."""
        self.findings: list[HostFinding] = []

    def say(
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
        """A finding about an Ingress; ``before`` and ``after`` surround the hosts."""
        key = ObjectKey("Ingress", *ingress)
        self.findings.append(
            HostFinding(key, code, severity, field, message, before, after, remedy)
        )


class ClientRules:
    """The TLS policy of a host, out of what the Ingresses of its owner ask for."""

    __slots__ = ("_notes", "_options", "_secrets", "authorities", "closed", "policy")

    def __init__(
        self,
        owners: Sequence[Claimant],
        notes: HostNotes,
        secrets: Secrets,
        options: Options,
    ) -> None:
        """``owners`` are at least one, oldest first: the first that asks for something counts."""
        self._notes = notes
        self._secrets = secrets
        self._options = options
        self.authorities: Authorities | None = None
        """Whom the clients must come from."""
        self.closed = ""
        """Why nobody can be let in; empty when that is not so."""
        self.policy = TlsPolicy(profile=_profile(owners))
        demand = next((one for one in owners if one.settings.clients is not None), None)
        if demand is None or demand.settings.clients is None:
            return
        clients = demand.settings.clients
        self.authorities = self._read_authorities(demand.name, clients)
        if self.authorities is not None:
            self.policy = TlsPolicy(
                profile=self.policy.profile,
                client_certificates=clients.mode,
                authorities=self.authorities.digest,
                verify_depth=clients.verify_depth,
            )

    def satisfy(self, claimant: Claimant) -> bool:
        """Whether the host's policy is what an Ingress asks for, or stricter."""
        settings = claimant.settings
        if settings.tls_profile == "modern" and self.policy.profile != "modern":
            return False
        clients = settings.clients
        if clients is None:
            return True
        if clients.problem or self.authorities is None:
            return False
        key = ObjectKey(clients.kind, claimant.name.namespace, clients.name)
        self._notes.looked_at[key] = None
        reading = self._secrets.authorities(key)
        return (
            reading is not None
            and reading.authorities is not None
            and reading.authorities.digest == self.policy.authorities
            and clients.verify_depth == self.policy.verify_depth
            and self.policy.client_certificates in (clients.mode, "required")
        )

    def _read_authorities(self, ingress: Name, clients: ClientDemand) -> Authorities | None:
        """Whom the host's clients must come from; closes the host when that cannot be found out."""
        if clients.problem:
            self.closed = clients.problem  # said when the annotation was read
            return None
        if not self._options.https:
            self.closed = "client certificates are demanded, and HTTPS is not served"
            self._unverifiable(ingress, clients, self.closed, "start with --https-port")
            return None
        key = ObjectKey(clients.kind, ingress.namespace, clients.name)
        self._notes.looked_at[key] = None
        reading = self._secrets.authorities(key)
        fault = None if reading is None else reading.fault
        if reading is None or fault is not None:
            what = f"there is no {key}" if fault is None else f"{key}: {fault.message}"
            self.closed = f"the authorities of client certificates cannot be read: {what}"
            remedy = "create it" if fault is None else fault.remedy
            self._unverifiable(ingress, clients, what, remedy)
            return None
        for note in reading.notes:
            self._notes.findings.append(
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
        self._notes.say(
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


def _profile(owners: Sequence[Claimant]) -> Profile:
    """``modern`` wins, as the stricter one, among wishes, and else among defaults."""
    wishes = {one.settings.tls_profile for one in owners} - {None}
    wishes = wishes or {one.defaults.tls_profile for one in owners}
    return "modern" if "modern" in wishes else "intermediate"
