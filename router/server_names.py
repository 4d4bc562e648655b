"""Which certificate, policy or passthrough answers for a server name: the TLS side of a table.

Like routes: precise name, else one-label wildcard, else the default; no fall-through. Immutable;
a change makes the next one, and connections keep what they were opened under.
"""

from collections.abc import Mapping

from router.model.snapshot import HostPattern, Passthrough, ServerName, Snapshot, Terminate
from tls.certificate import CertificateDigest, CertificatePair
from tls.names import wildcard_of
from tls.policy import Authorities, AuthoritiesDigest, TlsPolicy
from tls.store import CertificateStore, Entry, Selection

_DEFAULT: HostPattern = ""


class ServerNames:
    """The server names of one host set."""

    __slots__ = ("_passthroughs", "_store", "guarded")

    def __init__(
        self, store: CertificateStore | None, passthroughs: dict[str, Passthrough], *, guarded: bool
    ) -> None:
        self._store = store
        self._passthroughs = passthroughs
        self.guarded = guarded
        """Whether policies differ between names or demand a certificate, so that each request must
        be checked against the policy that its connection was opened under."""

    @classmethod
    def of(cls, snapshot: Snapshot, host_set: str) -> "ServerNames":
        """The server names of a snapshot; without a default certificate no handshake succeeds."""
        names = snapshot.server_names.get(host_set, {})
        default = names.get(_DEFAULT)
        entries, passthroughs = {}, {}
        policies = set()
        for pattern, name in names.items():
            if isinstance(name, Passthrough):
                passthroughs[pattern] = name
                continue
            policies.add(name.policy)
            if pattern:
                entries[pattern] = _entry(name, snapshot.certificates, snapshot.authorities)
        store = None
        if isinstance(default, Terminate):
            entry = _entry(default, snapshot.certificates, snapshot.authorities)
            if entry.pairs:
                store = CertificateStore(entries, entry)
        guarded = len(policies) > 1 or any(map(_demanding, policies))
        return cls(store, passthroughs, guarded=guarded)

    def changed(
        self,
        changes: Mapping[HostPattern, ServerName | None],
        snapshot: Snapshot,
        host_set: str,
    ) -> "ServerNames":
        """The server names after a change; ``snapshot`` is the new one."""
        store = self._store
        if store is None or _DEFAULT in changes:
            return ServerNames.of(snapshot, host_set)
        passthroughs = self._passthroughs.copy()
        replaced, removed = {}, []
        guarded = self.guarded
        for pattern, name in changes.items():
            passthroughs.pop(pattern, None)
            if isinstance(name, Terminate):
                replaced[pattern] = _entry(name, snapshot.certificates, snapshot.authorities)
                guarded = guarded or name.policy != store.default.policy or _demanding(name.policy)
            else:
                removed.append(pattern)
                if name is not None:
                    passthroughs[pattern] = name
        return ServerNames(store.change(replaced, removed), passthroughs, guarded=guarded)

    def select(
        self, name: str | None, *, offers_ecdsa: bool, offers_rsa: bool
    ) -> Selection | Passthrough | None:
        """What answers for a ClientHello; None when there is no certificate at all."""
        passthrough = self._passthroughs.get(name) if name is not None else None
        if passthrough is not None:
            return passthrough
        if self._store is None:
            return None
        selection = self._store.select(name, offers_ecdsa=offers_ecdsa, offers_rsa=offers_rsa)
        if name is not None and selection.match != "precise":
            wildcard = wildcard_of(name)
            if wildcard is not None and wildcard in self._passthroughs:
                return self._passthroughs[wildcard]
        return selection

    def policy_for(self, host: str) -> TlsPolicy | None:
        """The policy that connections for this host must be opened under; None when any is good,
        because the host's TLS is not ended here."""
        found = self.select(host, offers_ecdsa=True, offers_rsa=True)
        return found.policy if isinstance(found, Selection) else None


def _demanding(policy: TlsPolicy) -> bool:
    return policy.client_certificates == "required"


def _entry(
    name: Terminate,
    certificates: Mapping[CertificateDigest, CertificatePair],
    authorities: Mapping[AuthoritiesDigest, Authorities],
) -> Entry:
    """A certificate or bundle that the snapshot does not hold counts as missing: the default's
    certificate answers then, and a policy without its authorities refuses every client."""
    wanted = name.policy.authorities
    return Entry(
        pairs=tuple(certificates[digest] for digest in name.certificates if digest in certificates),
        policy=name.policy,
        authorities=None if wanted is None else authorities.get(wanted),
    )
