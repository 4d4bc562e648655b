"""Certificates for tests: issued once a process, by authorities that nobody else knows."""

import functools
import time
from typing import Literal

from tls.certificate import CertificatePair
from tls.default import LocalAuthority
from tls.faults import CertificateFault
from tls.pem import read_authorities, read_pair
from tls.policy import Authorities

Algorithm = Literal["ecdsa", "rsa", "ed25519"]


# The caches sit below: a call that spells a default out must find what one without it made.


def authority(name: str = "test authority") -> LocalAuthority:
    return _authority(name)


def pair(
    *names: str, algorithm: Algorithm = "ecdsa", issuer: str = "test authority"
) -> CertificatePair:
    """A pair for these names; the same one each time."""
    return _pair(names, algorithm, issuer)


def client_pair(subject: str = "alice", issuer: str = "test authority") -> CertificatePair:
    """A certificate for clients; the same one each time."""
    return _client_pair(subject, issuer)


def authorities(issuer: str = "test authority") -> Authorities:
    """The bundle of one authority."""
    read = read_authorities(authority(issuer).certificate_pem)
    assert not isinstance(read, CertificateFault), read.reason
    return read.authorities


@functools.cache
def _authority(name: str) -> LocalAuthority:
    return LocalAuthority(time.time(), name)


@functools.cache
def _pair(names: tuple[str, ...], algorithm: Algorithm, issuer: str) -> CertificatePair:
    read = read_pair(*authority(issuer).issue(names, algorithm=algorithm))
    assert not isinstance(read, CertificateFault), read.reason
    return read.pair


@functools.cache
def _client_pair(subject: str, issuer: str) -> CertificatePair:
    files = authority(issuer).issue((), subject=subject, client=True)
    read = read_pair(*files, needs_names=False)
    assert not isinstance(read, CertificateFault), read.reason
    return read.pair
