"""Which certificates and which policy answer for a name: an immutable index.

The same rule as for routes, and no fall-through either: the precise name, else the wildcard of one
label, else the default. A name that is in the table without certificates answers with the
default's certificates and its own policy: a host never takes another owner's certificate.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from tls.certificate import CertificatePair
from tls.names import wildcard_of
from tls.policy import Authorities, TlsPolicy

NameMatch = Literal["precise", "wildcard", "default"]


class Entry(msgspec.Struct, frozen=True):
    """What answers for one name."""

    pairs: tuple[CertificatePair, ...] = ()
    """At most one a key algorithm; empty means the default's."""
    policy: TlsPolicy = TlsPolicy()
    authorities: Authorities | None = None
    """The bundle that ``policy.authorities`` names."""


class Selection(msgspec.Struct, frozen=True):
    """The answer for one ClientHello."""

    match: NameMatch
    name: str | None
    """Key of the entry in the store: ``*.a.test`` for ``b.a.test``; None for the default. Also what
    tells whether two server names are under one policy (421, Misdirected Request)."""
    pairs: tuple[CertificatePair, ...]
    """All that the context must have; never empty."""
    preferred: CertificatePair
    """The one among them that this client gets."""
    policy: TlsPolicy
    authorities: Authorities | None


class CertificateStore:
    """Immutable. `change` makes the next one."""

    __slots__ = ("_entries", "default")

    def __init__(self, entries: Mapping[str, Entry], default: Entry) -> None:
        """``entries`` by name in normal form, ``*.a.test`` for wildcards. The mapping is kept, so
        the caller gives it away.

        Raises:
            ValueError: the default has no certificate.
        """
        if not default.pairs:
            raise ValueError("the default entry needs a certificate")
        self._entries = entries
        self.default = default

    def change(
        self,
        replaced: Mapping[str, Entry],
        removed: Iterable[str] = (),
        *,
        default: Entry | None = None,
    ) -> "CertificateStore":
        """The store with these entries put in or replaced, and those taken out.

        Costs a copy of the index, not of what is in it. A removed name that is not there is fine.
        """
        entries = {**self._entries, **replaced}
        for name in removed:
            entries.pop(name, None)
        return CertificateStore(entries, default or self.default)

    def __len__(self) -> int:
        return len(self._entries)

    def select(self, server_name: str | None, *, offers_ecdsa: bool, offers_rsa: bool) -> Selection:
        """What answers for a ClientHello.

        ``server_name`` is in normal form; None when none was sent, or none that is a DNS name
        (RFC 6066 §3). ECDSA is preferred when offered: it is an order of magnitude cheaper to sign
        with. A client that offers neither gets what there is, and its handshake fails in OpenSSL.
        """
        match, name, entry = self._find(server_name)
        pairs = entry.pairs or self.default.pairs
        preferred = pairs[0]
        if len(pairs) > 1:
            wanted = ("ecdsa",) * offers_ecdsa + ("rsa",) * offers_rsa
            for algorithm in wanted:
                found = [pair for pair in pairs if pair.algorithm == algorithm]
                if found:
                    preferred = found[0]
                    break
        return Selection(match, name, pairs, preferred, entry.policy, entry.authorities)

    def _find(self, server_name: str | None) -> tuple[NameMatch, str | None, Entry]:
        if server_name is not None:
            entry = self._entries.get(server_name)
            if entry is not None:
                return "precise", server_name, entry
            wildcard = wildcard_of(server_name)
            if wildcard is not None:
                entry = self._entries.get(wildcard)
                if entry is not None:
                    return "wildcard", wildcard, entry
        return "default", None, self.default
