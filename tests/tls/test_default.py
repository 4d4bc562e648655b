"""Certificates that we make ourselves."""

import ssl
import time

import pytest

from tests.tls.certificates import authority
from tests.tls.handshakes import client_context, shake
from tls.contexts import ServerContexts
from tls.default import DEFAULT_DAYS, DEFAULT_NAME, LocalAuthority, default_pair
from tls.faults import validity_fault
from tls.pem import PairRead, read_pair
from tls.policy import TlsPolicy


def test_the_default_certificate_says_what_it_is_and_lasts() -> None:
    now = time.time()
    made = default_pair(now)

    assert made.subject == f"CN={DEFAULT_NAME}"
    assert made.issuer == made.subject
    assert made.names == ("default.python-ingress.invalid",)
    assert made.algorithm == "ecdsa"
    assert validity_fault(made, now) is None
    assert validity_fault(made, now + (DEFAULT_DAYS - 1) * 86_400) is None


def test_each_default_certificate_has_its_own_key() -> None:
    assert default_pair(0).key.pem != default_pair(0).key.pem


def test_the_default_certificate_serves_and_is_trusted_by_nobody() -> None:
    context = ServerContexts(openssl=None, secret=None).get(
        (default_pair(time.time()),), TlsPolicy()
    )
    shake(context, client_context(trusts=None))
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
        shake(context, client_context())


@pytest.mark.parametrize("algorithm", ["ecdsa", "rsa", "ed25519"])
def test_what_the_local_authority_issues_is_trusted_by_those_who_know_it(algorithm: str) -> None:
    files = authority().issue(["a.test", "*.b.test", "127.0.0.1"], algorithm=algorithm)  # type: ignore[arg-type] # a parameter
    read = read_pair(*files)
    assert isinstance(read, PairRead)
    context = ServerContexts(openssl=None, secret=None).get((read.pair,), TlsPolicy())

    for name in ("a.test", "x.b.test", "127.0.0.1"):
        shake(context, client_context(), name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(context, client_context(), "other.test")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(context, client_context(trusts="other authority"))


def test_long_names_are_issued() -> None:
    name = ".".join(["a" * 60] * 4)
    read = read_pair(*LocalAuthority(time.time()).issue([name]))
    assert isinstance(read, PairRead)
    assert read.pair.names == (name,)
