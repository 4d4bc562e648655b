"""Certificates and authorities in a snapshot: by digest, for as long as somebody needs them."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from tls.certificate import CertificateDigest, CertificatePair
from tls.policy import Authorities, AuthoritiesDigest

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


class Materials(Generic[K, V]):
    """Values by digest, with the hosts and upstreams that use them."""

    __slots__ = ("_digest", "_holders", "_of_user", "_order", "_touched", "current")

    def __init__(self, digest: Callable[[V], K], order: Callable[[V], bytes]) -> None:
        """``order`` chooses among values of one digest, which differ in encoding at most."""
        self._digest = digest
        self._order = order
        self._of_user: dict[tuple[str, str], tuple[V, ...]] = {}
        self._holders: dict[K, Counter[V]] = {}
        self._touched: set[K] = set()
        self.current: dict[K, V] = {}

    def use(self, user: tuple[str, str], values: Iterable[V]) -> None:
        """What a user (such as ``host`` and its pattern) needs now, instead of what it needed."""
        after = tuple(values)
        before = self._of_user.get(user, ())
        if before == after:
            return
        for value in after:
            digest = self._digest(value)
            self._holders.setdefault(digest, Counter())[value] += 1
            self._touched.add(digest)
        for value in before:
            digest = self._digest(value)
            holders = self._holders[digest]
            holders[value] -= 1
            if not holders[value]:
                del holders[value]
            self._touched.add(digest)
        if after:
            self._of_user[user] = after
        else:
            del self._of_user[user]

    def settle(self) -> dict[K, V | None]:
        """What is new, different or (None) no longer needed since the last time."""
        changes: dict[K, V | None] = {}
        for digest in self._touched:
            holders = self._holders[digest]
            if not holders:
                del self._holders[digest]
                if self.current.pop(digest, None) is not None:
                    changes[digest] = None
                continue
            # Equal objects make equal snapshots, in whatever order they came.
            value = next(iter(holders)) if len(holders) == 1 else min(holders, key=self._order)
            if self.current.get(digest) != value:
                self.current[digest] = changes[digest] = value
        self._touched.clear()
        return changes


def certificates() -> Materials[CertificateDigest, CertificatePair]:
    """None yet. One certificate may come with two encodings of its key."""
    return Materials(lambda pair: pair.digest, lambda pair: pair.key.pem)


def authorities() -> Materials[AuthoritiesDigest, Authorities]:
    """None yet."""
    return Materials(lambda bundle: bundle.digest, lambda bundle: bundle.pem)
