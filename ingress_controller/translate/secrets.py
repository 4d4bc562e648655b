"""Pairs and authorities out of Secrets and ConfigMaps: a memo.

What was read once is not parsed again while its bytes are the same, whatever else changes in the
object: a pair costs up to a millisecond, and many hosts may share it.
"""

import hashlib
from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

from ingress_controller.objects.config import ConfigMap, Kept, Secret
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.store import Name, Store
from tls.certificate import CertificatePair
from tls.faults import CertificateFault, FaultCode
from tls.pem import read_authorities, read_pair
from tls.policy import Authorities

CERTIFICATE, KEY, AUTHORITIES = "tls.crt", "tls.key", "ca.crt"
"""Names of the values, as Kubernetes and cert-manager write them."""

PairUse = Literal["server", "client"]
"""Whether clients see the certificate, or https backends."""

_ABOUT_THE_KEY = frozenset(
    {
        FaultCode.NO_KEY,
        FaultCode.ENCRYPTED_KEY,
        FaultCode.KEY_MISMATCH,
        FaultCode.UNSUPPORTED_KEY,
    }
)
_REMEDIES = {
    FaultCode.ENCRYPTED_KEY: "store the key without a password",
    FaultCode.KEY_MISMATCH: "store the key that the certificate was issued for",
    FaultCode.NO_NAMES: "have it issued again, with subject alternative names",
    FaultCode.NOT_AN_AUTHORITY: "store the certificate of the authority, not one that it issued",
    FaultCode.WEAK: "have it issued again, with today's algorithms",
}


class SecretFault(NamedTuple):
    """What is wrong with an object that should hold a pair or authorities."""

    field: str
    """Inside the object."""
    message: str
    remedy: str


class PairReading(msgspec.Struct, frozen=True):
    """What the pair of a Secret comes to: a pair, or a fault."""

    pair: CertificatePair | None = None
    fault: SecretFault | None = None
    notes: tuple[SecretFault, ...] = ()
    kept: Kept | None = None
    field: str = ""
    """Where the certificate stands."""


class AuthoritiesReading(msgspec.Struct, frozen=True):
    """What the authorities of an object come to: a bundle, or a fault."""

    authorities: Authorities | None = None
    fault: SecretFault | None = None
    notes: tuple[SecretFault, ...] = ()
    field: str = ""
    """Where they stand."""


class _Value(NamedTuple):
    """A value of an object, and where it stands there."""

    text: bytes
    field: str


class _PairMemo(NamedTuple):
    secret: Secret
    digest: bytes
    """Of what was read; the bytes themselves are in the Secret and in the pair already."""
    reading: PairReading


class _AuthoritiesMemo(NamedTuple):
    item: Secret | ConfigMap
    digest: bytes
    reading: AuthoritiesReading


class Secrets:
    """Readings of the objects that a store holds now."""

    __slots__ = ("_authorities", "_pairs", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pairs: dict[tuple[Name, PairUse], _PairMemo] = {}
        self._authorities: dict[ObjectKey, _AuthoritiesMemo] = {}

    def forget(self, key: ObjectKey) -> None:
        """An object is gone."""
        name = Name(key.namespace, key.name)
        self._authorities.pop(key, None)
        if key.kind == "Secret":
            self._pairs.pop((name, "server"), None)
            self._pairs.pop((name, "client"), None)

    def pair(self, name: Name, use: PairUse) -> PairReading | None:
        """The pair of a Secret; None when there is no such Secret."""
        secret = self._store.secrets.get(name)
        if secret is None:
            return None
        memo = self._pairs.get((name, use))
        if memo is not None and memo.secret is secret:
            return memo.reading
        values = _pair_values(secret)
        if isinstance(values, SecretFault):
            return PairReading(fault=values, kept=secret.kept)
        digest = _digest(*values)
        if memo is not None and memo.digest == digest:
            reading = memo.reading
            if reading.kept != secret.kept:
                reading = msgspec.structs.replace(reading, kept=secret.kept)
        else:
            reading = _read_pair(values, use, secret.kept)
        self._pairs[name, use] = _PairMemo(secret, digest, reading)
        return reading

    def holds_pair(self, name: Name) -> bool:
        """Whether a Secret has a pair, good or bad."""
        secret = self._store.secrets.get(name)
        names = () if secret is None else (*secret.data, *secret.string_data)
        return CERTIFICATE in names or KEY in names

    def holds_authorities(self, name: Name) -> bool:
        """Whether a Secret has authorities, good or bad."""
        secret = self._store.secrets.get(name)
        return secret is not None and (
            AUTHORITIES in secret.data or AUTHORITIES in secret.string_data
        )

    def authorities(self, key: ObjectKey) -> AuthoritiesReading | None:
        """The authorities in a Secret or ConfigMap; None when there is no such object."""
        name = Name(key.namespace, key.name)
        item: Secret | ConfigMap | None = (
            self._store.secrets.get(name)
            if key.kind == "Secret"
            else self._store.config_maps.get(name)
        )
        if item is None:
            return None
        memo = self._authorities.get(key)
        if memo is not None and memo.item is item:
            return memo.reading
        value = _authorities_value(item)
        if isinstance(value, SecretFault):
            return AuthoritiesReading(fault=value)
        digest = _digest(value)
        if memo is not None and memo.digest == digest:
            reading = memo.reading
        else:
            reading = _read_authorities(value)
        self._authorities[key] = _AuthoritiesMemo(item, digest, reading)
        return reading

    def read_authorities(self) -> Iterator[tuple[ObjectKey, AuthoritiesReading]]:
        """Every object whose authorities were asked for, with what was found."""
        for key, memo in self._authorities.items():
            yield key, memo.reading

    def read_clients(self) -> Iterator[tuple[ObjectKey, PairReading]]:
        """Every Secret whose pair was asked for to be shown to backends, with what was found."""
        for (name, use), memo in self._pairs.items():
            if use == "client":
                yield ObjectKey("Secret", *name), memo.reading


def read_secret_pair(secret: Secret) -> SecretFault | CertificatePair:
    """The pair for clients that a Secret holds, or what is wrong with it; nothing is kept."""
    values = _pair_values(secret)
    if isinstance(values, SecretFault):
        return values
    reading = _read_pair(values, "server", None)
    return reading.fault or reading.pair or SecretFault("data", "there is no pair", "add one")


def _pair_values(secret: Secret) -> tuple[_Value, _Value] | SecretFault:
    found = []
    for name in (CERTIFICATE, KEY):
        field = _field(secret, name)
        try:
            value = secret.value(name)
        except ValueError as error:
            return SecretFault(field, str(error), "encode it, or write it into stringData")
        if value is None:
            what = "certificate" if name == CERTIFICATE else "key"
            return SecretFault(
                field, f"there is no {name}", f"store the {what}, as PEM, under this name"
            )
        found.append(_Value(value, field))
    return found[0], found[1]


def _read_pair(values: tuple[_Value, _Value], use: PairUse, kept: Kept | None) -> PairReading:
    certificate, key = values
    read = read_pair(certificate.text, key.text, needs_names=use == "server")
    if isinstance(read, CertificateFault):
        return PairReading(fault=_pair_problem(read, values), kept=kept)
    return PairReading(
        pair=read.pair,
        notes=tuple(_pair_problem(note, values) for note in read.notes),
        kept=kept,
        field=certificate.field,
    )


def _pair_problem(fault: CertificateFault, values: tuple[_Value, _Value]) -> SecretFault:
    certificate, key = values
    remedy = "store a certificate chain and its key, as PEM"
    if fault.code in (FaultCode.CHAIN_ORDER, FaultCode.CHAIN_STRANGERS):
        remedy = "store the certificate itself first, then each its issuer, and nothing else"
    return SecretFault(
        key.field if fault.code in _ABOUT_THE_KEY else certificate.field,
        fault.reason,
        _REMEDIES.get(fault.code, remedy),
    )


def _authorities_value(item: Secret | ConfigMap) -> _Value | SecretFault:
    field = f"data[{AUTHORITIES}]" if isinstance(item, ConfigMap) else _field(item, AUTHORITIES)
    if isinstance(item, ConfigMap):
        text = item.data.get(AUTHORITIES)
        value = None if text is None else text.encode("utf-8", "replace")
    else:
        try:
            value = item.value(AUTHORITIES)
        except ValueError as error:
            return SecretFault(field, str(error), "encode it, or write it into stringData")
    if value is None:
        return SecretFault(
            field, f"there is no {AUTHORITIES}", "store the authorities, as PEM, under this name"
        )
    return _Value(value, field)


def _read_authorities(value: _Value) -> AuthoritiesReading:
    read = read_authorities(value.text)
    if isinstance(read, CertificateFault):
        return AuthoritiesReading(fault=_authorities_problem(read, value.field), field=value.field)
    return AuthoritiesReading(
        authorities=read.authorities,
        notes=tuple(_authorities_problem(note, value.field) for note in read.notes),
        field=value.field,
    )


def _authorities_problem(fault: CertificateFault, field: str) -> SecretFault:
    remedy = _REMEDIES.get(fault.code, "store the certificates of the authorities, as PEM")
    return SecretFault(field, fault.reason, remedy)


def _digest(*values: _Value) -> bytes:
    digest = hashlib.sha256()
    for value in values:
        digest.update(b"%d %s %s" % (len(value.text), value.field.encode(), value.text))
    return digest.digest()


def _field(secret: Secret, name: str) -> str:
    return f"stringData[{name}]" if name in secret.string_data else f"data[{name}]"
