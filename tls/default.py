"""Certificates that we make ourselves: the one of last resort, and a local authority.

The authority is for demonstrations and tests on one machine. Its key is in memory only, so what it
issues ends with the process.
"""

import datetime
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tls.certificate import CertificatePair
from tls.faults import CertificateFault
from tls.pem import read_pair

DEFAULT_NAME: Final = "python-ingress default certificate"
"""What a person reads in a browser's warning."""
_DEFAULT_HOST: Final = "default.python-ingress.invalid"
"""A name that can be no host (RFC 6761 §6.4), as some clients take no certificate without one."""
DEFAULT_DAYS: Final = 3650
"""Nobody is meant to trust it, so there is nothing that a short life would protect."""
AUTHORITY_DAYS: Final = 3650
ISSUED_DAYS: Final = 90
_BACKDATED: Final = datetime.timedelta(hours=1)
"""Clocks of clients may be behind ours."""

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def default_pair(now: float) -> CertificatePair:
    """A self-signed ECDSA P-256 certificate for hosts without one; ``now`` in Unix seconds."""
    key = _make_key("ecdsa")
    name = _name(DEFAULT_NAME)
    certificate = (
        _builder(name, name, key, now, DEFAULT_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_alternative_names([_DEFAULT_HOST]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    read = read_pair(_certificate_pem(certificate), _key_pem(key))
    if isinstance(read, CertificateFault):
        raise AssertionError(f"our own certificate is refused: {read.reason}")
    return read.pair


class LocalAuthority:
    """Issues certificates that only those accept who are given `certificate_pem`."""

    __slots__ = ("_certificate", "_issuers_pem", "_key", "_now", "certificate_pem")

    def __init__(self, now: float, name: str = "python-ingress local authority") -> None:
        """``now`` in Unix seconds: what is issued is valid from an hour before."""
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _authority(_name(name), None, self._key, now)
        self._issuers_pem = b""
        self.certificate_pem = _certificate_pem(self._certificate)
        """For ``curl --cacert``, or the ``ca.crt`` of a Secret."""

    def intermediate(self, name: str) -> "LocalAuthority":
        """An authority below this one: what it issues brings its certificate along."""
        below = LocalAuthority(self._now, name)
        below._certificate = _authority(
            _name(name), (self._certificate, self._key), below._key, self._now
        )
        below.certificate_pem = _certificate_pem(below._certificate)
        below._issuers_pem = below.certificate_pem + self._issuers_pem
        return below

    def issue(
        self,
        names: Sequence[str],
        *,
        algorithm: Literal["ecdsa", "rsa", "ed25519"] = "ecdsa",
        subject: str | None = None,
        client: bool = False,
        days: int = ISSUED_DAYS,
    ) -> tuple[bytes, bytes]:
        """Certificate chain and key as PEM, as in ``tls.crt`` and ``tls.key``.

        ``names`` are DNS names, wildcards or IP addresses; ``subject`` is the common name, the
        first of them by default. ``client`` makes it one for clients, not for servers.
        """
        key = _make_key(algorithm)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = (
            _builder(
                _name(subject or (names[0] if names else "client")),
                self._certificate.subject,
                key,
                self._now,
                days,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if names:
            builder = builder.add_extension(_alternative_names(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return _certificate_pem(certificate) + self._issuers_pem, _key_pem(key)


def _make_key(algorithm: Literal["ecdsa", "rsa", "ed25519"]) -> _Key:
    if algorithm == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if algorithm == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def _authority(
    name: x509.Name,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    key: ec.EllipticCurvePrivateKey,
    now: float,
) -> x509.Certificate:
    """A certificate that may issue others; self-signed without an issuer."""
    issuer_name, signer = (name, key) if issuer is None else (issuer[0].subject, issuer[1])
    return (
        _builder(name, issuer_name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
        .sign(signer, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: _Key, now: float, days: int
) -> x509.CertificateBuilder:
    start = datetime.datetime.fromtimestamp(now, datetime.UTC) - _BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    # RFC 5280 appendix A bounds a common name to 64 characters; SAN holds the whole names.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(found)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: _Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
