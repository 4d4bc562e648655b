"""Which `status.loadBalancer` an Ingress shall have, and whether it is ours to write.

====================  =======================================================  ===================
the Ingress           the API has                                              we write
====================  =======================================================  ===================
served by all         the published addresses                                  nothing
workers               anything else                                            these addresses
…                     anything, and no address is known to publish             nothing
not ours (any more)   what we wrote, or saw there while it was ours            nothing stays there
…                     the published addresses, and no class claims it          nothing stays there
…                     anything else                                            nothing
another life of it    anything                                                 nothing
====================  =======================================================  ===================

*No address is known* while the load balancer of the publishing Service is pending, and when it lost
its addresses. What was written then stays until others are known: an empty status makes
external-dns delete DNS records, which takes hours to heal, while an address that is dead for some
minutes costs nothing more than the load balancer's absence does. (ingress-nginx keeps it when the
Service is gone and empties it when its load balancer is pending.)

*Another life*: an Ingress that was deleted and made anew has a new uid, and gets its address when
the workers serve the new one. *Saw there*: so that a replica that begins to lead knows what the one
before it wrote. An Ingress that left us for another controller's class is emptied only of what we
know to be ours: the same addresses may be the other's.

When somebody else changes what we wrote, it is written again at once, but at most `REWRITES` times
a minute; after that it is contested, and written once a minute: two controllers that fight must not
flood the API server and the DNS.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from ingress_controller.objects.ingress import IngressStatus
from ingress_controller.status.addresses import Addresses
from ingress_controller.store import Name
from ingress_controller.translate.translator import Standing

ECHO_SECONDS: Final = 5.0
"""So long after a write, what the source says may be older than the write."""
REPLICA_SECONDS: Final = 0.25
"""So much later than our own workers serve an Ingress, its address is written: other replicas hear
of it when we do, and are about as fast, but cannot be asked. Clients that watch the status for an
address are sent to any of them."""
REWRITES: Final = 3
CONTESTED_SECONDS: Final = 60.0
"""Between two writes of a contested status; and the span in which rewrites are counted."""
CALM_SECONDS: Final = 600.0
"""Without a rewrite for so long, a status is contested no more."""


class Wish(NamedTuple):
    """Write these addresses into the Ingress with this uid; none at all: remove those there."""

    uid: str
    addresses: Addresses


class Later(NamedTuple):
    """Look again at this time."""

    at: float


class _Record(msgspec.Struct, gc=False):
    """What is known of one Ingress."""

    standing: Standing
    """As the workers serve it."""
    since: float
    """When they served it first, in this life."""
    written: Wish | None = None
    """What stands in it, and is ours."""
    echo: float = 0.0
    """Until then, `written` is newer than what the source says; 0: the source has said it."""


class _Contest(msgspec.Struct, gc=False):
    """How often somebody else changed what we wrote."""

    rewrites: tuple[float, ...]
    """The last times of writing it again, oldest first."""
    contested: bool = False


class Wanted:
    """What is known of all Ingresses that are ours, or were."""

    __slots__ = ("_clearing", "_contests", "_records", "addresses")

    def __init__(self) -> None:
        self.addresses: Addresses = ()
        """What is published; empty while it is not known."""
        self._records: dict[Name, _Record] = {}
        self._contests: dict[Name, _Contest] = {}
        self._clearing = False

    @property
    def names(self) -> Iterable[Name]:
        """All Ingresses that `look` may have something to say of."""
        return self._records.keys()

    def confirm(self, name: Name, standing: Standing | None, now: float) -> None:
        """All workers serve the version in which this was the standing; None: it was gone."""
        record = self._records.get(name)
        if standing is None:
            self._forget(name)
        elif record is not None:
            if record.standing != standing:
                record.standing, record.since = standing, now
        elif standing.owner != "others":  # what was never ours has nothing of ours
            self._records[name] = _Record(standing, now)

    def clear(self) -> None:
        """From now on, what we wrote shall be removed."""
        self._clearing = True

    def look(self, name: Name, current: IngressStatus | None, now: float) -> Wish | Later | None:
        """What to do about an Ingress of which the API has ``current``; None: it is in order."""
        record = self._records.get(name)
        if record is None or current is None:
            return None
        there = self._there(record, current, now)
        if record.standing.owner != "ours":
            return self._look_at_foreign(name, record, current.uid, there)
        if current.uid != record.standing.uid:
            return None
        if self._clearing:
            return Wish(current.uid, ()) if there and self._is_ours(record, there) else None
        if not self.addresses:
            return None
        if there == self.addresses:
            if record.written is None or record.written.addresses != there:
                record.written = Wish(current.uid, there)
            return None
        allowed = record.since + REPLICA_SECONDS
        if record.written == (current.uid, self.addresses):
            allowed = self._may_rewrite_at(name, now)
        return Later(allowed) if allowed > now else Wish(current.uid, self.addresses)

    def wrote(self, name: Name, wish: Wish, now: float) -> bool:
        """The API took it. Whether the status is contested since this write."""
        record = self._records.get(name)
        if record is None:
            return False
        again = record.written == wish and bool(wish.addresses)
        record.written = wish if wish.addresses else None
        record.echo = now + ECHO_SECONDS
        if record.standing.owner != "ours" and not wish.addresses:
            self._forget(name)
        return again and self._rewrote(name, now)

    def contested(self, now: float) -> int:
        """How many Ingresses others write, too."""
        calm = [name for name, one in self._contests.items() if _is_calm(one, now)]
        for name in calm:
            del self._contests[name]
        return sum(one.contested for one in self._contests.values())

    def _there(self, record: _Record, current: IngressStatus, now: float) -> Addresses:
        """What the API has, as far as we know."""
        if record.echo:
            written = () if record.written is None else record.written.addresses
            if current.addresses == written or now >= record.echo:
                record.echo = 0.0
            elif record.written is None or record.written.uid == current.uid:
                return written
        return current.addresses

    def _look_at_foreign(
        self, name: Name, record: _Record, uid: str, there: Addresses
    ) -> Wish | None:
        """An Ingress that left us, or is nobody's."""
        if not there:
            self._forget(name)
            return None
        inherited = record.standing.owner == "nobody" and there == self.addresses
        if record.written == (uid, there) or inherited:
            return Wish(uid, ())
        if self.addresses or record.standing.owner == "others":
            self._forget(name)
        return None

    def _is_ours(self, record: _Record, there: Addresses) -> bool:
        return there == self.addresses or record.written == (record.standing.uid, there)

    def _may_rewrite_at(self, name: Name, now: float) -> float:
        contest = self._contests.get(name)
        if contest is None or not contest.contested or _is_calm(contest, now):
            return now
        return contest.rewrites[-1] + CONTESTED_SECONDS

    def _rewrote(self, name: Name, now: float) -> bool:
        contest = self._contests.get(name)
        if contest is None or _is_calm(contest, now):
            contest = self._contests[name] = _Contest(())
        recent = [time for time in contest.rewrites if time > now - CONTESTED_SECONDS]
        contest.rewrites = (*recent[1 - REWRITES :], now)
        if contest.contested or len(contest.rewrites) < REWRITES:
            return False
        contest.contested = True
        return True

    def _forget(self, name: Name) -> None:
        self._records.pop(name, None)
        self._contests.pop(name, None)


def _is_calm(contest: _Contest, now: float) -> bool:
    return now - contest.rewrites[-1] > CALM_SECONDS
