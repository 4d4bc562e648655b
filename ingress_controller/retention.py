"""The last good certificate serves on: what comes of a TLS Secret that is broken or deleted.

A state machine over changes of Secrets; time is an argument, in Unix seconds. It stands between
the sources and the translation, which it tells something else than happened:

* a Secret whose newest version holds no pair that works keeps its last good pair, for
  MALFORMED_SECONDS at most;
* a Secret that was deleted is there for `grace` seconds more, with its pair and nothing else:
  people delete a Secret to have it issued again. Its ``ca.crt`` goes at once, so that whom it let
  in stays out;
* never past the certificate's expiry; what is kept carries a mark (`Secret.kept`) that says until
  when, and why;
* a version with a pair that works ends it at once.

Neither repeated breaking nor deleting what is kept makes it longer. A Secret that never held a
working pair, or a Secret of another kind, is passed on as it is. Nothing is parsed before a Secret
changes a second time, so that a start costs nothing here.
"""

from collections.abc import Iterable

import msgspec

from ingress_controller.objects.config import Kept, Secret
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import ObjectChange
from ingress_controller.translate.secrets import CERTIFICATE, KEY, SecretFault, read_secret_pair
from tls.certificate import CertificatePair

MALFORMED_SECONDS = 86_400.0
"""Long enough for a person to come to work and see it; ingress-nginx and others drop it at once."""
DEFAULT_GRACE = 300.0


class _Loss(msgspec.Struct, frozen=True):
    """A Secret that lost its pair."""

    good: Secret
    """Its last version with a pair that works."""
    expires: int
    since: float
    until: float
    newest: Secret | None
    """What is passed on at the end; None when the Secret was deleted."""


class SecretRetention:
    """Watches the changes of all Secrets; others pass through."""

    __slots__ = ("_grace", "_lost", "_newest")

    def __init__(self, grace: float = DEFAULT_GRACE) -> None:
        """``grace``: seconds that a deleted Secret's pair serves on; 0 ends it at once."""
        self._grace = grace
        self._newest: dict[ObjectKey, Secret] = {}
        """Secrets as they are, where nothing was lost."""
        self._lost: dict[ObjectKey, _Loss] = {}

    def apply(self, changes: Iterable[ObjectChange], now: float) -> tuple[ObjectChange, ...]:
        """The changes as the translation shall see them, in their order."""
        return tuple(
            self._change(change.key, change.object, now)
            if change.key.kind == "Secret"
            and (change.object is None or isinstance(change.object, Secret))
            else change
            for change in changes
        )

    def next_deadline(self) -> float | None:
        """When `due` has something to say next; None while nothing is kept."""
        return min((loss.until for loss in self._lost.values()), default=None)

    def due(self, now: float) -> tuple[ObjectChange, ...]:
        """What ends now: each is what the Secret has really come to."""
        ended = [key for key, loss in self._lost.items() if loss.until <= now]
        return tuple(self._give_up(key) for key in sorted(ended))

    def _give_up(self, key: ObjectKey) -> ObjectChange:
        loss = self._lost.pop(key)
        if loss.newest is not None:
            self._newest[key] = loss.newest
        return ObjectChange(key, loss.newest)

    def _change(self, key: ObjectKey, secret: Secret | None, now: float) -> ObjectChange:
        loss = self._lost.get(key)
        if loss is not None and loss.until <= now:
            self._give_up(key)
            loss = None
        before = self._newest.get(key) if loss is None else loss.good
        fault = None
        if before is not None:
            fault = _fault(secret, before)
        if before is None or (secret is not None and fault is None):
            self._lost.pop(key, None)
            self._remember(key, secret)
            return ObjectChange(key, secret)
        if loss is None:
            pair = read_secret_pair(before)
            if isinstance(pair, SecretFault):
                self._remember(key, secret)
                return ObjectChange(key, secret)  # there was nothing to lose
            loss = _Loss(before, pair.not_after, now, now + MALFORMED_SECONDS, secret)
        until = min(loss.since + MALFORMED_SECONDS, loss.expires)
        if secret is None:
            until = min(until, now + self._grace)
            if loss.newest is None and key in self._lost:
                until = min(until, loss.until)
        if until <= now:
            self._lost.pop(key, None)
            self._remember(key, secret)
            return ObjectChange(key, secret)
        self._newest.pop(key, None)
        self._lost[key] = msgspec.structs.replace(loss, until=until, newest=secret)
        return ObjectChange(key, _kept(loss.good, secret, fault, until))

    def _remember(self, key: ObjectKey, secret: Secret | None) -> None:
        if secret is None:
            self._newest.pop(key, None)
        else:
            self._newest[key] = secret


def _fault(secret: Secret | None, before: Secret) -> SecretFault | None:
    """What is wrong with the pair of a version; None for one that works, or is the same."""
    if secret is None:
        return None
    if all(_written(secret, name) == _written(before, name) for name in (CERTIFICATE, KEY)):
        # Not parsed again. Were it a pair that does not work, there was nothing to lose.
        return None
    read = read_secret_pair(secret)
    return None if isinstance(read, CertificatePair) else read


def _kept(good: Secret, newest: Secret | None, fault: SecretFault | None, until: float) -> Secret:
    """The newest version with the last good pair in it."""
    pair = {name: _written(good, name) for name in (CERTIFICATE, KEY)}
    plain = {name: value for name, (value, encoded) in pair.items() if not encoded and value}
    data = {name: value for name, (value, encoded) in pair.items() if encoded and value}
    kept = Kept(
        until=int(until),
        deleted=newest is None,
        reason="" if fault is None else fault.message,
        field="" if fault is None else fault.field,
    )
    if newest is None:
        return Secret(good.metadata, good.type, data, plain, kept)
    rest = {name: value for name, value in newest.data.items() if name not in pair}
    rest_plain = {name: value for name, value in newest.string_data.items() if name not in pair}
    return Secret(newest.metadata, newest.type, {**rest, **data}, {**rest_plain, **plain}, kept)


def _written(secret: Secret, name: str) -> tuple[str | None, bool]:
    """A value as it is written, and whether it is encoded."""
    if name in secret.string_data:
        return secret.string_data[name], False
    return secret.data.get(name), True
