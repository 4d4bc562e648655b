"""Round robin that stays fair while its members change."""

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from router.balance.health import Health


class Member(Protocol):
    """What can be picked."""

    health: Health


M = TypeVar("M", bound=Member)


class RoundRobin(Generic[M]):
    """Members in turn; members that rest are passed over while enough others work."""

    __slots__ = ("_next", "members")

    def __init__(self) -> None:
        self.members: list[M] = []
        self._next = 0

    def replace(self, members: Sequence[M], start: int = 0) -> None:
        """Take over a new set of members (identity decides which ones stayed).

        Those that stay keep their order, beginning with the one whose turn is next; new ones
        join at the end, so that a change neither favours nor skips anyone. ``start`` chooses the
        first member of a new rotation, so that workers do not all begin with the same one.
        """
        if not self.members:
            turn = start % len(members) if members else 0
            self.members = [*members[turn:], *members[:turn]]
            self._next = 0
            return
        wanted = {id(member) for member in members}
        known = {id(member) for member in self.members}
        rotation = self.members[self._next :] + self.members[: self._next]
        kept = [member for member in rotation if id(member) in wanted]
        self.members = kept + [member for member in members if id(member) not in known]
        self._next = 0

    def pick(self, now: float, avoid: Callable[[M], bool] | None = None) -> M | None:
        """Whose turn it is, or None when there is no member that ``avoid`` lets pass.

        A resting member is passed over only while at least half of the members work: with more
        of them down, the failures say more about us than about them, and all are tried.
        """
        members = self.members
        count = len(members)
        if not count:
            return None
        turn = self._next
        member = members[turn]
        if avoid is None and member.health.rests_until <= now:
            turn += 1
            self._next = turn if turn < count else 0
            return member
        return self._pick_carefully(now, avoid)

    def _pick_carefully(self, now: float, avoid: Callable[[M], bool] | None) -> M | None:
        members = self.members
        count = len(members)
        resting = sum(1 for member in members if member.health.rests_until > now)
        respect_rest = resting * 2 <= count and resting < count
        fallback = None
        for step in range(count):
            turn = (self._next + step) % count
            member = members[turn]
            if avoid is not None and avoid(member):
                continue
            if respect_rest and member.health.rests_until > now:
                if fallback is None:
                    fallback = turn
                continue
            self._next = (turn + 1) % count
            return member
        if fallback is None:
            return None
        self._next = (fallback + 1) % count
        return members[fallback]
