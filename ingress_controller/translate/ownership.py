"""Who has to do with which host, and whose the host is.

1. A host belongs to one namespace: that of the oldest Ingress that has rules for it, or, where
   none has, of the oldest that names it in ``spec.tls``. Ingresses of other namespaces get nothing
   of it, so nobody adds a path to a stranger's host, around what protects it.
2. A host below a wildcard that has rules belongs to the wildcard's namespace, unless another one
   claimed the host first, or the wildcard's owner lets that one in by ``allow-hosts-from``.
3. Hosts that nobody names may be reserved for some namespaces (`Options.catch_all_namespaces`).

A host for which only cert-manager's solvers have rules, for a minute, is served meanwhile by what
would serve it without them: the Ingresses of its wildcard, or those for every host (they *lend*).
Else all its requests but the challenge would get 404, since no host falls through to another.

`Options.allow_shared_hosts` turns 1 and 2 off: what Ingresses of several namespaces claim of a host
is merged then. The age of an Ingress is its creation: one that is deleted and made again is young.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from ingress_controller.index import Index
from ingress_controller.objects.ingress import Ingress
from ingress_controller.objects.meta import AgeKey
from ingress_controller.store import Name, key_of
from ingress_controller.translate.annotations.settings import PREFIX
from ingress_controller.translate.diagnostics import Diagnostic, DiagnosticCode
from ingress_controller.translate.options import Options
from ingress_controller.translate.tls_entries import TlsEntry
from ingress_controller.translate.verdicts import Claimant
from router.match.hosts import host_pattern
from router.model.snapshot import HostPattern
from tls.names import wildcard_of

EVERY_NAMESPACE = "*"


class Refused(NamedTuple):
    """An Ingress that gets nothing of a host which it names."""

    ingress: Name
    pattern: HostPattern
    owner: Name | None
    """The Ingress to whose namespace the host belongs; None when only the options say no."""
    wildcard: HostPattern = ""
    """The owner's, when the host is below it."""
    reason: str = ""
    """What makes it the owner: a predicate."""


class Judged(NamedTuple):
    """The Ingresses that have to do with a host."""

    admitted: tuple[Claimant, ...]
    """Oldest first."""
    refused: tuple[Refused, ...]
    lender: HostPattern | None = None
    """Where those of ``admitted`` have rules that have none for the host itself."""


class _WildcardOwner(NamedTuple):
    """Whose the hosts below a wildcard are."""

    ingress: Name
    age: AgeKey
    allowed: frozenset[str]
    """Namespaces that may claim hosts below, or EVERY_NAMESPACE."""


class Ownership:
    """All hosts that an Ingress of ours names."""

    __slots__ = (
        "_below",
        "_borrowers",
        "_claimants",
        "_claims",
        "_dirty",
        "_options",
        "_wildcards",
    )

    def __init__(self, options: Options) -> None:
        self._options = options
        self._claims: dict[Name, Mapping[HostPattern, Claimant]] = {}
        self._claimants: Index[HostPattern, Name] = Index()
        self._below: Index[HostPattern, HostPattern] = Index()
        """Wildcard → hosts that are claimed and that it would take."""
        self._wildcards: dict[HostPattern, _WildcardOwner] = {}
        self._borrowers: set[HostPattern] = set()
        """Hosts for which only solvers have rules."""
        self._dirty: set[HostPattern] = set()

    def concern(self, ingress: Name, claims: Mapping[HostPattern, Claimant]) -> None:
        """An Ingress has to do with these hosts now, and with none that it had before."""
        before = self._claims.get(ingress, {})
        for pattern in before:
            if pattern not in claims:
                self._withdraw(pattern, ingress)
        for pattern, claimant in claims.items():
            if before.get(pattern) != claimant:
                self._claim(pattern, ingress)
        if claims:
            self._claims[ingress] = claims
        else:
            self._claims.pop(ingress, None)

    @property
    def refuses(self) -> bool:
        """Whether the options leave anybody to be refused."""
        return not self._options.allow_shared_hosts or bool(self._options.catch_all_namespaces)

    def settle(self) -> set[HostPattern]:
        """The hosts of which something else may be true than at the last time."""
        dirty, self._dirty = self._dirty, set()
        if not self._options.allow_shared_hosts:
            for pattern in [each for each in dirty if each.startswith("*.")]:
                before = self._wildcards.pop(pattern, None)
                after = self._wildcard_owner(pattern)
                if after is not None:
                    self._wildcards[pattern] = after
                if before != after:
                    dirty.update(self._below.of(pattern))
        for pattern in dirty:
            if self._only_solvers_serve(pattern):
                self._borrowers.add(pattern)
            else:
                self._borrowers.discard(pattern)
        return dirty | self.borrowers(dirty)

    def borrowers(self, lenders: Collection[HostPattern]) -> set[HostPattern]:
        """The hosts that are served by what is said of these hosts."""
        if not self._borrowers:
            return set()
        every = "" in lenders
        return {each for each in self._borrowers if every or wildcard_above(each) in lenders}

    def judged(self, pattern: HostPattern) -> Judged:
        """Who of those that name a host has it, as of the last `settle`."""
        judged = self._judged(pattern)
        if pattern not in self._borrowers:
            return judged
        for lender in (wildcard_above(pattern), ""):
            lent = [one for one in self._judged(lender or "").admitted if one.has_rules]
            if lent and lender is not None:
                return self._with_lent(judged, lender, lent)
        return judged

    def _with_lent(self, judged: Judged, lender: HostPattern, lent: list[Claimant]) -> Judged:
        """A host with the Ingresses of what would serve it without solvers."""
        known = {one.name: one for one in judged.admitted}
        namespaces = {one.name.namespace for one in judged.admitted}
        for one in lent:
            if not self._options.allow_shared_hosts and one.name.namespace not in namespaces:
                continue
            own = known[one.name].entries if one.name in known else ()
            indices = {entry.index for entry in own}
            more = [
                TlsEntry(entry.index, entry.secret, named=False)
                for entry in one.entries
                if entry.index not in indices
            ]
            known[one.name] = one._replace(entries=(*own, *more))
        return Judged(tuple(sorted(known.values(), key=_age)), judged.refused, lender)

    def _only_solvers_serve(self, pattern: HostPattern) -> bool:
        if not pattern or not any(one.solver for one in self._those_who_claim(pattern)):
            return False
        serving = [one for one in self._judged(pattern).admitted if one.has_rules]
        return bool(serving) and all(one.solver for one in serving)

    def _judged(self, pattern: HostPattern) -> Judged:
        claimants = sorted(self._those_who_claim(pattern), key=_age)
        if not self.refuses:
            return Judged(tuple(claimants), ())
        refused: list[Refused] = []
        reserved = self._options.catch_all_namespaces
        if not pattern and reserved:
            refused = [
                Refused(one.name, pattern, None)
                for one in claimants
                if one.name.namespace not in reserved
            ]
            claimants = [one for one in claimants if one.name.namespace in reserved]
        if self._options.allow_shared_hosts or not claimants:
            return Judged(tuple(claimants), tuple(refused))
        above = self._wildcards.get(wildcard_above(pattern) or "")
        ranked = sorted(claimants, key=_has_no_rules)
        owner = next((one for one in ranked if not _barred(one, above)), None)
        admitted = []
        for one in claimants:
            if owner is not None and one.name.namespace == owner.name.namespace:
                admitted.append(one)
            elif above is not None and (owner is None or _barred(one, above)):
                wildcard = wildcard_above(pattern) or ""
                refused.append(Refused(one.name, pattern, above.ingress, wildcard, "is older"))
            elif owner is not None:
                older = one.has_rules == owner.has_rules
                reason = "is older" if older else "has rules for it, not only spec.tls"
                refused.append(Refused(one.name, pattern, owner.name, reason=reason))
        return Judged(tuple(admitted), tuple(refused))

    def below(self, wildcard: HostPattern) -> Collection[HostPattern]:
        """The hosts that are claimed below a wildcard."""
        return self._below.of(wildcard)

    def _those_who_claim(self, pattern: HostPattern) -> list[Claimant]:
        return [self._claims[name][pattern] for name in self._claimants.of(pattern)]

    def _claim(self, pattern: HostPattern, ingress: Name) -> None:
        self._dirty.add(pattern)
        self._claimants.add(pattern, ingress)
        wildcard = wildcard_above(pattern)
        if wildcard is not None:
            self._below.add(wildcard, pattern)

    def _withdraw(self, pattern: HostPattern, ingress: Name) -> None:
        self._dirty.add(pattern)
        self._claimants.discard(pattern, ingress)
        wildcard = wildcard_above(pattern)
        if wildcard is not None and pattern not in self._claimants:
            self._below.discard(wildcard, pattern)

    def _wildcard_owner(self, pattern: HostPattern) -> _WildcardOwner | None:
        """None when no rules are for the wildcard: a certificate for it gives nobody its hosts."""
        claimants = [one for one in self._those_who_claim(pattern) if one.has_rules]
        if not claimants:
            return None
        owner = min(claimants, key=_age)
        mine = owner.name.namespace
        allowed = {
            namespace
            for one in claimants
            if one.name.namespace == mine
            for namespace in one.settings.allow_hosts_from
        }
        return _WildcardOwner(owner.name, owner.age, frozenset(allowed))


def wildcard_above(pattern: HostPattern) -> HostPattern | None:
    """The wildcard that would take a precise host if it had no rules; None for other patterns."""
    return None if pattern.startswith("*.") else wildcard_of(pattern)


def about_refused(ingress: Ingress, refused: Refused) -> Diagnostic:
    """What the owner of a refused Ingress must know."""
    mine, owner, pattern = ingress.metadata.namespace, refused.owner, refused.pattern
    host = f"host {pattern}" if pattern else "every host that nobody names"
    code = DiagnosticCode.HOST_OWNED
    consequence = "nothing that this Ingress says of the host is served"
    if owner is None:
        code = DiagnosticCode.CATCH_ALL_REFUSED
        message = f"it claims {host}, which Ingresses of namespace {mine} may not"
        consequence = "it takes no request for such hosts"
        remedy = f"name the hosts, or start with --catch-all-namespace {mine}, too"
    elif refused.wildcard:
        message = (
            f"{host} is below {refused.wildcard}, which belongs to namespace {owner.namespace}: "
            f"its Ingress {owner.name} {refused.reason}"
        )
        remedy = (
            f"choose another host, or have {PREFIX}allow-hosts-from: {mine} put on Ingress "
            f"{owner.namespace}/{owner.name}"
        )
    else:
        message = (
            f"{host} belongs to namespace {owner.namespace}: "
            f"its Ingress {owner.name} {refused.reason}"
        )
        remedy = (
            f"choose another host, or move the Ingress to namespace {owner.namespace}; "
            "--allow-shared-hosts would let namespaces share hosts"
        )
    return Diagnostic(
        code=code,
        severity="error",
        object=key_of(ingress),
        field=_field(ingress, pattern),
        message=message,
        consequence=consequence,
        remedy=remedy,
    )


def _field(ingress: Ingress, pattern: HostPattern) -> str:
    """Where an Ingress first names a host."""
    for index, rule in enumerate(ingress.spec.rules):
        if host_pattern(rule.host) == pattern:
            return f"spec.rules[{index}].host" if pattern else f"spec.rules[{index}]"
    for index, entry in enumerate(ingress.spec.tls):
        for number, host in enumerate(entry.hosts):
            if host_pattern(host) == pattern:
                return f"spec.tls[{index}].hosts[{number}]"
    return "spec.defaultBackend"


def _barred(claimant: Claimant, above: _WildcardOwner | None) -> bool:
    """Whether the owner of the wildcard above was there first, and does not let it through."""
    if above is None or above.age > claimant.age:
        return False
    mine = claimant.name.namespace
    return (
        mine != above.ingress.namespace
        and mine not in above.allowed
        and EVERY_NAMESPACE not in above.allowed
    )


def _age(claimant: Claimant) -> AgeKey:
    return claimant.age


def _has_no_rules(claimant: Claimant) -> bool:
    return not claimant.has_rules
