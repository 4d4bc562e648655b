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


@functools.cache
def authority(name: str = "test authority") -> LocalAuthority:
    return LocalAuthority(time.time(), name)


@functools.cache
def pair(
    *names: str, algorithm: Algorithm = "ecdsa", issuer: str = "test authority"
) -> CertificatePair:
    """A pair for these names; the same one each time."""
    read = read_pair(*authority(issuer).issue(names, algorithm=algorithm))
    assert not isinstance(read, CertificateFault), read.reason
    return read.pair


@functools.cache
def client_pair(subject: str = "alice", issuer: str = "test authority") -> CertificatePair:
    """A certificate for clients."""
    files = authority(issuer).issue((), subject=subject, client=True)
    read = read_pair(*files, needs_names=False)
    assert not isinstance(read, CertificateFault), read.reason
    return read.pair


@functools.cache
def authorities(issuer: str = "test authority") -> Authorities:
    """The bundle of one authority."""
    read = read_authorities(authority(issuer).certificate_pem)
    assert not isinstance(read, CertificateFault), read.reason
    return read.authorities
