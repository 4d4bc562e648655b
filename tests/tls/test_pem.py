"""What people put into Secrets, and what we say about it (case X08)."""

import base64
import datetime
import functools
import random
import subprocess
import time
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests.tls.certificates import authority, pair
from tests.tls.handshakes import client_context, shake
from tls.certificate import CertificatePair
from tls.contexts import ServerContexts
from tls.default import LocalAuthority
from tls.faults import CertificateFault, FaultCode, validity_fault
from tls.pem import MAX_CHAIN, MAX_CHAIN_PEM, MAX_KEY_PEM, PairRead, read_authorities, read_pair
from tls.policy import TlsPolicy

SHA256 = hashes.SHA256()


def taken(certificate: bytes, key: bytes) -> PairRead:
    read = read_pair(certificate, key)
    assert isinstance(read, PairRead), read
    return read


def fault(certificate: bytes, key: bytes) -> CertificateFault:
    read = read_pair(certificate, key)
    assert isinstance(read, CertificateFault), read
    assert read.reason
    assert not read.reason.endswith(".")
    assert "PRIVATE KEY-----\n" not in read.reason
    return read


def serves(pair: CertificatePair) -> None:
    """OpenSSL takes the pair as a worker would load it."""
    ServerContexts(openssl=None, secret=None).get((pair,), TlsPolicy())


def blocks(pem: bytes) -> list[bytes]:
    end = b"-----END CERTIFICATE-----\n"
    return [part + end for part in pem.split(end)[:-1]]


def pem_of(key: object, **options: object) -> bytes:
    """Any private key as PEM; its encryption and format may be given."""
    assert hasattr(key, "private_bytes")
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        options.get("form", serialization.PrivateFormat.PKCS8),
        options.get("encryption", serialization.NoEncryption()),
    )
    return pem


def self_signed(
    key: object,
    *,
    names: tuple[str, ...] = ("a.test",),
    digest: hashes.HashAlgorithm | None = SHA256,
    issuer: str | None = None,
    signer: object = None,
    ca: bool | None = None,
) -> bytes:
    """A certificate for any key, by any signer, right or wrong."""
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0] if names else "a.test")])
    issuer_name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]) if issuer else subject
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())  # type: ignore[attr-defined] # any private key
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=10))
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    certificate = builder.sign(signer or key, digest)  # type: ignore[arg-type] # any private key
    return certificate.public_bytes(serialization.Encoding.PEM)


@functools.cache
def ecdsa_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


# What is taken


@pytest.mark.parametrize("algorithm", ["ecdsa", "rsa", "ed25519"])
def test_a_pair_says_what_it_is(algorithm: str) -> None:
    before = int(time.time())
    found = pair("Shop.test", "*.shop.test", "192.0.2.1", algorithm=algorithm)  # type: ignore[arg-type] # a parameter

    assert found.names == ("shop.test", "*.shop.test", "192.0.2.1")
    assert found.algorithm == algorithm
    assert found.subject == "CN=Shop.test"
    assert found.issuer == "CN=test authority"
    assert found.chain_length == 1
    assert found.not_before <= before < found.not_after
    assert len(found.digest) == 64
    serves(found)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(functools.partial(ec.generate_private_key, ec.SECP384R1()), id="P-384"),
        pytest.param(functools.partial(ec.generate_private_key, ec.SECP521R1()), id="P-521"),
        pytest.param(functools.partial(rsa_key, 3072), id="RSA-3072"),
        pytest.param(ed25519.Ed25519PrivateKey.generate, id="Ed25519"),
    ],
)
def test_each_kind_of_key_is_taken_and_served(key: functools.partial[object]) -> None:
    made = key()
    digest = None if isinstance(made, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    serves(taken(self_signed(made, digest=digest), pem_of(made)).pair)


@pytest.mark.parametrize("form", ["traditional", "with parameters", "text around", "CRLF"])
def test_each_way_to_write_a_key_is_taken(form: str) -> None:
    key = ecdsa_key()
    text = pem_of(key, form=serialization.PrivateFormat.TraditionalOpenSSL)
    if form == "with parameters":
        text = (
            b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + text
        )
    elif form == "text around":
        text = b"Key - of the shop -- 2026\n" + text + b"\n- end -\n"
    elif form == "CRLF":
        text = text.replace(b"\n", b"\r\n")

    assert taken(self_signed(key), text).pair.key.pem == pem_of(key)


def test_text_around_certificates_is_left_out() -> None:
    clean, key = authority().issue(["a.test"])
    noisy = b"subject=CN = a.test\n" + clean + b"\n# the end\n"
    assert taken(noisy, key).pair == taken(clean, key).pair


def test_equal_files_make_equal_pairs() -> None:
    files = authority().issue(["a.test"])
    assert read_pair(*files) == read_pair(*files)


def deep(levels: int) -> tuple[bytes, bytes, LocalAuthority]:
    """Chain, key and root with so many intermediates."""
    root = LocalAuthority(time.time(), "root")
    issuer = root
    for level in range(levels):
        issuer = issuer.intermediate(f"level {level}")
    return *issuer.issue(["a.test"]), root


def test_a_chain_of_five_verifies() -> None:
    chain, key, root = deep(4)
    read = taken(chain, key)
    assert read.pair.chain_length == 5
    assert read.notes == ()

    context = ServerContexts(openssl=None, secret=None).get((read.pair,), TlsPolicy())
    client = client_context()
    client.load_verify_locations(cadata=root.certificate_pem.decode())
    shake(context, client)


@pytest.mark.parametrize("seed", range(5))
def test_a_chain_out_of_order_is_put_in_order_and_noted(seed: int) -> None:
    chain, key, _root = deep(3)
    shuffled = blocks(chain)
    while shuffled == blocks(chain):
        random.Random(seed).shuffle(shuffled)
        seed += 100

    read = taken(b"".join(shuffled), key)

    assert read.pair == taken(chain, key).pair
    assert [note.code for note in read.notes] == [FaultCode.CHAIN_ORDER]


def test_strangers_in_a_chain_are_left_out_and_noted() -> None:
    chain, key, root = deep(1)
    stranger, _ = authority().issue(["stranger.test"])
    read = taken(chain + stranger + root.certificate_pem, key)

    assert read.pair.chain_length == 3
    codes = {note.code for note in read.notes}
    assert codes == {FaultCode.CHAIN_STRANGERS, FaultCode.CHAIN_ORDER}
    assert any("stranger.test" in note.reason for note in read.notes)


def test_an_issuer_of_the_same_name_with_another_key_does_not_belong() -> None:
    chain, key = LocalAuthority(time.time(), "twin").issue(["a.test"])
    other = LocalAuthority(time.time(), "twin").certificate_pem

    read = taken(chain + other, key)

    assert read.pair.chain_length == 1
    assert [note.code for note in read.notes] == [FaultCode.CHAIN_STRANGERS]


def test_a_certificate_given_twice_counts_once() -> None:
    chain, key = authority().issue(["a.test"])
    assert taken(chain + chain, key) == taken(chain, key)


def test_16_kilobytes_of_pem_are_taken() -> None:
    names = [f"host-{number}.some-long-domain-name.test" for number in range(330)]
    chain, key = authority().issue(names)
    assert 16_000 < len(chain) < MAX_CHAIN_PEM
    read = taken(chain, key)
    assert len(read.pair.names) == 330
    serves(read.pair)


# What is not


def bad_files() -> list[object]:
    chain, key = authority().issue(["a.test"])
    other_chain, other_key = authority().issue(["b.test"])
    encrypted = serialization.BestAvailableEncryption(b"password")
    old_style = serialization.PrivateFormat.TraditionalOpenSSL
    middle = len(chain) // 2
    cases: list[tuple[str, bytes, bytes, FaultCode]] = [
        ("no certificate", b"", key, FaultCode.NO_CERTIFICATE),
        ("white space", b" \n", key, FaultCode.NO_CERTIFICATE),
        ("the key twice", key, key, FaultCode.NO_CERTIFICATE),
        ("garbage", b"\x00\xff" * 100, key, FaultCode.NO_CERTIFICATE),
        ("DER", bytes.fromhex("3082020a"), key, FaultCode.NO_CERTIFICATE),
        ("half a certificate", chain[:middle], key, FaultCode.NO_CERTIFICATE),
        ("a certificate without middle", chain[:100] + chain[300:], key, FaultCode.GARBAGE),
        ("base64 of nothing", _block(b"AAAA"), key, FaultCode.GARBAGE),
        ("a bad one after a good one", chain + _block(b"AAAA"), key, FaultCode.GARBAGE),
        ("no key", chain, b"", FaultCode.NO_KEY),
        ("a certificate as key", chain, chain, FaultCode.NO_KEY),
        ("garbage as key", chain, b"hello", FaultCode.NO_KEY),
        ("a damaged key", chain, key.replace(key[60:80], b"A" * 20), FaultCode.GARBAGE),
        ("another's key", chain, other_key, FaultCode.KEY_MISMATCH),
        ("another's certificate", other_chain, key, FaultCode.KEY_MISMATCH),
        ("encrypted", chain, pem_of(ecdsa_key(), encryption=encrypted), FaultCode.ENCRYPTED_KEY),
        (
            "encrypted the old way",
            chain,
            pem_of(ecdsa_key(), encryption=encrypted, form=old_style),
            FaultCode.ENCRYPTED_KEY,
        ),
        ("long certificates", chain + b" " * MAX_CHAIN_PEM, key, FaultCode.TOO_LARGE),
        ("a long key", chain, key + b" " * MAX_KEY_PEM, FaultCode.TOO_LARGE),
        ("many certificates", chain * (MAX_CHAIN + 1), key, FaultCode.TOO_LARGE),
        ("no names", self_signed(ecdsa_key(), names=()), pem_of(ecdsa_key()), FaultCode.NO_NAMES),
        (
            "a short RSA key",
            self_signed(rsa_key(1024)),
            pem_of(rsa_key(1024)),
            FaultCode.WEAK,
        ),
    ]
    return [pytest.param(*case[1:], id=case[0]) for case in cases]


def _block(text: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + text + b"\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(("certificate", "key", "code"), bad_files())
def test_what_cannot_serve_has_its_reason(certificate: bytes, key: bytes, code: FaultCode) -> None:
    assert fault(certificate, key).code == code


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda: ec.generate_private_key(ec.SECP256K1()), id="secp256k1"),
        pytest.param(lambda: dsa.generate_private_key(2048), id="DSA"),
    ],
)
def test_an_unsupported_key_is_named(key: functools.partial[object]) -> None:
    made = key()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert fault(self_signed(made), pem_of(made)).code == FaultCode.UNSUPPORTED_KEY


def openssl(*arguments: str, given: bytes = b"") -> bytes:
    return subprocess.run(
        ["openssl", *arguments], input=given, capture_output=True, check=True
    ).stdout


def test_a_signature_with_sha1_is_refused_where_it_counts(tmp_path: Path) -> None:
    """As OpenSSL would in the worker. A self-signed certificate's signature proves nothing."""
    old = openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha1", "-subj", "/CN=old",
        "-addext", "subjectAltName=DNS:a.test", "-keyout", "/dev/stdout",
    )  # fmt: skip
    serves(taken(old, old).pair)

    root, request, names = (tmp_path / name for name in ("root.pem", "request.pem", "names.cnf"))
    root.write_bytes(old)
    request.write_bytes(
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a.test",
                "-keyout", str(tmp_path / "key.pem"))
    )  # fmt: skip
    names.write_text("subjectAltName=DNS:a.test")
    leaf = openssl(
        "x509", "-req", "-in", str(request), "-CA", str(root), "-CAkey", str(root), "-sha1",
        "-set_serial", "2", "-extfile", str(names),
    )  # fmt: skip

    assert fault(leaf + old, (tmp_path / "key.pem").read_bytes()).code == FaultCode.WEAK


def test_an_rsa_key_with_damaged_secrets_is_refused() -> None:
    """Its public half is right, so only a signature shows it."""
    good = rsa_key().private_numbers()
    damaged = rsa.RSAPrivateNumbers(
        p=good.p, q=good.q, d=good.d ^ 8, dmp1=good.dmp1 ^ 4, dmq1=good.dmq1, iqmp=good.iqmp,
        public_numbers=good.public_numbers,
    ).private_key(unsafe_skip_rsa_key_validation=True)  # fmt: skip

    found = fault(self_signed(rsa_key()), pem_of(damaged))

    assert found.code == FaultCode.GARBAGE
    assert "damaged" in found.reason


def test_a_client_certificate_needs_no_names() -> None:
    files = authority().issue((), subject="alice", client=True)
    assert fault(*files).code == FaultCode.NO_NAMES
    read = read_pair(*files, needs_names=False)
    assert isinstance(read, PairRead)
    assert read.pair.subject == "CN=alice"


def test_names_that_are_none_are_left_out() -> None:
    found = taken(self_signed(ecdsa_key(), names=("a b.test", "good.test")), pem_of(ecdsa_key()))
    assert found.pair.names == ("good.test",)


def test_a_subject_fits_on_one_short_line() -> None:
    name = "evil\n\x1b[31m" + "x" * 50
    read = taken(self_signed(ecdsa_key(), names=("a.test",), issuer=name), pem_of(ecdsa_key()))
    assert read.pair.issuer.isprintable()
    assert len(read.pair.issuer) <= 200


# Time


def test_validity_depends_on_the_time_asked_for() -> None:
    found = pair("a.test")
    assert validity_fault(found, found.not_before) is None
    assert validity_fault(found, found.not_after) is None

    expired = validity_fault(found, found.not_after + 3 * 86_400)
    early = validity_fault(found, found.not_before - 90)

    assert expired == CertificateFault(FaultCode.EXPIRED, "the certificate expired 3 days ago")
    assert early is not None
    assert early.code == FaultCode.NOT_YET_VALID
    assert "90 seconds" in early.reason


# Authorities


def test_a_bundle_keeps_its_authorities() -> None:
    root, other = authority(), authority("other authority")
    read = read_authorities(b"# ours\n" + root.certificate_pem + other.certificate_pem)
    assert not isinstance(read, CertificateFault)
    assert read.authorities.subjects == ("CN=test authority", "CN=other authority")
    assert read.authorities.pem == root.certificate_pem + other.certificate_pem
    assert read.authorities.not_after > time.time()
    assert read.notes == ()


def test_others_in_a_bundle_are_left_out_and_noted() -> None:
    leaf, _ = authority().issue(["a.test"])
    read = read_authorities(leaf + authority().certificate_pem)
    assert not isinstance(read, CertificateFault)
    assert read.authorities.pem == authority().certificate_pem
    assert [note.code for note in read.notes] == [FaultCode.NOT_AN_AUTHORITY]


def test_a_self_signed_certificate_vouches_for_itself() -> None:
    read = read_authorities(self_signed(ecdsa_key(), ca=False))
    assert not isinstance(read, CertificateFault)


@pytest.mark.parametrize(
    ("pem", "code"),
    [
        pytest.param(b"", FaultCode.NO_CERTIFICATE, id="empty"),
        pytest.param(authority().issue(["a.test"])[0], FaultCode.NOT_AN_AUTHORITY, id="a leaf"),
        pytest.param(_block(b"AAAA"), FaultCode.GARBAGE, id="garbage"),
        pytest.param(b"x" * 600_000, FaultCode.TOO_LARGE, id="long"),
    ],
)
def test_what_is_no_bundle_has_its_reason(pem: bytes, code: FaultCode) -> None:
    read = read_authorities(pem)
    assert isinstance(read, CertificateFault)
    assert read.code == code


# Anything


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_bytes_have_a_reason(certificate: bytes, key: bytes) -> None:
    assert isinstance(read_pair(certificate, key), CertificateFault)
    assert isinstance(read_authorities(certificate), CertificateFault)


@pytest.mark.filterwarnings("ignore")
def test_mutated_files_have_a_reason_or_serve() -> None:
    """Changes below the base64: each is still PEM, and mostly no longer a certificate."""
    rng = random.Random(7)
    good, key = authority().issue(["a.test"])
    der = x509.load_pem_x509_certificate(good).public_bytes(serialization.Encoding.DER)
    for _ in range(1_500):
        data = bytearray(der)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        body = base64.encodebytes(bytes(data)).strip()
        read = read_pair(_block(body), key)
        read_authorities(_block(body))
        assert isinstance(read, PairRead | CertificateFault)
