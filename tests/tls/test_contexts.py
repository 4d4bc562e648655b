"""Server contexts: what a handshake with them allows, and how they are kept."""

import gc
import os
import ssl
import subprocess
import weakref
from pathlib import Path

import msgspec
import pytest

from tests.tls.certificates import authorities, authority, client_pair, pair
from tests.tls.handshakes import ANSWER, client_context, serving, shake
from tls.certificate import CertificatePair, PrivateKey
from tls.contexts import ContextRefusedError, ServerContexts
from tls.faults import CertificateFault
from tls.openssl import OpenSsl
from tls.pem import PairRead, read_authorities, read_pair
from tls.policy import ClientCertificates, TlsPolicy
from tls.tickets import TicketSecret

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
A = (pair("a.test"),)
BOTH = (pair("both.test", algorithm="rsa"), pair("both.test", algorithm="ecdsa"))
OPEN = TlsPolicy()
SECRET = TicketSecret(b"1" * 32)


def contexts(secret: TicketSecret | None = SECRET, limit: int = 10) -> ServerContexts:
    return ServerContexts(openssl=OpenSsl(), secret=secret, limit=limit)


def plain_contexts() -> ServerContexts:
    """Where the probe said no."""
    return ServerContexts(openssl=None, secret=None, limit=10)


def closed(mode: ClientCertificates = "required", issuer: str = "test authority") -> TlsPolicy:
    return TlsPolicy(client_certificates=mode, authorities=authorities(issuer).digest)


# Versions, suites, ALPN


@pytest.mark.parametrize(
    ("profile", "version", "works"),
    [
        ("intermediate", V13, True),
        ("intermediate", V12, True),
        ("intermediate", ssl.TLSVersion.TLSv1_1, False),
        ("modern", V13, True),
        ("modern", V12, False),
    ],
)
def test_a_profile_has_its_lowest_version(
    profile: str, version: ssl.TLSVersion, *, works: bool
) -> None:
    server = contexts().get(A, TlsPolicy(profile=profile))  # type: ignore[arg-type] # a parameter
    client = client_context()
    if version == ssl.TLSVersion.TLSv1_1:
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            client.minimum_version = version
        client.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            client.maximum_version = version
    else:
        client.minimum_version = client.maximum_version = version

    if works:
        assert shake(server, client).client.version() == version.name.replace("_", ".")
    else:
        with pytest.raises(ssl.SSLError, match=r"(?i)version|protocol"):
            shake(server, client)


def suites_taken(server: ssl.SSLContext, name: str) -> set[str]:
    """Each TLS 1.2 suite of OpenSSL that the server takes, tried one by one."""
    every = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    every.set_ciphers("ALL:@SECLEVEL=0")
    taken = set()
    for suite in (cipher["name"] for cipher in every.get_ciphers()):
        if suite.startswith("TLS_"):
            continue
        client = client_context(version=V12, ciphers=f"{suite}:@SECLEVEL=0")
        try:
            cipher = shake(server, client, name).client.cipher()
        except ssl.SSLError:
            continue
        assert cipher is not None
        taken.add(cipher[0])
    return taken


def test_only_the_suites_of_the_intermediate_profile_are_taken() -> None:
    assert suites_taken(contexts().get(BOTH, OPEN), "both.test") == {
        f"ECDHE-{algorithm}-{suite}"
        for algorithm in ("ECDSA", "RSA")
        for suite in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    }


@pytest.mark.parametrize(
    ("group", "works"),
    [("X25519", True), ("P-256", True), ("P-384", True), ("P-521", False), ("X448", False)],
)
def test_only_the_groups_of_the_profile_are_taken(group: str, *, works: bool) -> None:
    with serving(contexts().get(A, OPEN)) as served:
        done = s_client(served.port, "-groups", group)
        outcome = served.outcome()

    assert outcome.startswith("failed") is not works
    assert (ANSWER in done.stdout) is works


@pytest.mark.parametrize(
    "suite", ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-GCM-SHA384"]
)
def test_the_client_orders_the_suites(suite: str) -> None:
    """As Mozilla's intermediate profile wants it: the client knows its hardware."""
    client = client_context(version=V12, ciphers=f"{suite}:ECDHE-ECDSA-AES128-GCM-SHA256")
    assert shake(contexts().get(A, OPEN), client).client.cipher()[0] == suite  # type: ignore[index] # connected


@pytest.mark.parametrize(
    ("ours", "theirs", "agreed"),
    [
        (("http/1.1",), ("h2", "http/1.1"), "http/1.1"),
        (("h2", "http/1.1"), ("http/1.1", "h2"), "h2"),
        (("http/1.1",), (), None),
        ((), ("h2",), None),
    ],
)
def test_alpn_agrees_by_our_order(
    ours: tuple[str, ...], theirs: tuple[str, ...], agreed: str | None
) -> None:
    ends = shake(contexts().get(A, TlsPolicy(alpn=ours)), client_context(alpn=theirs))
    assert ends.client.selected_alpn_protocol() == agreed
    assert ends.server.selected_alpn_protocol() == agreed


def test_renegotiation_and_compression_are_off() -> None:
    options = contexts().get(A, OPEN).options
    assert options & ssl.OP_NO_RENEGOTIATION
    assert options & ssl.OP_NO_COMPRESSION


# ECDSA and RSA


@VERSIONS
@pytest.mark.parametrize("order", [BOTH, BOTH[::-1]], ids=["RSA first", "ECDSA first"])
def test_ecdsa_is_sent_to_those_who_take_it(
    version: ssl.TLSVersion, order: tuple[CertificatePair, ...]
) -> None:
    client = client_context(version=version, ciphers="ECDHE+RSA+AESGCM:ECDHE+ECDSA+AESGCM")
    served = shake(contexts().get(order, OPEN), client, "both.test")
    assert served.client.getpeercert(binary_form=True) == leaf(BOTH[1])


@pytest.mark.parametrize("option", ["-tls1_2", "-tls1_3"])
def test_rsa_is_sent_to_those_who_take_nothing_else(option: str) -> None:
    with serving(contexts().get(BOTH, OPEN)) as served:
        done = s_client(
            served.port, option, "-sigalgs", "rsa_pss_rsae_sha256", "-servername", "both.test"
        )
        served.outcome()
    assert ssl.DER_cert_to_PEM_cert(leaf(BOTH[0])).encode() in done.stdout.replace(b"\r", b"")


def test_chacha_goes_to_those_who_put_it_first_even_by_our_order() -> None:
    suite = "ECDHE-ECDSA-CHACHA20-POLY1305"
    client = client_context(version=V12, ciphers=f"{suite}:ECDHE-ECDSA-AES128-GCM-SHA256")
    ends = shake(contexts().get(BOTH, OPEN), client, "both.test")
    assert ends.client.cipher()[0] == suite  # type: ignore[index] # connected


def leaf(served: CertificatePair) -> bytes:
    end = b"-----END CERTIFICATE-----"
    first = served.chain[: served.chain.index(end) + len(end)]
    return ssl.PEM_cert_to_DER_cert(first.decode())


# Other programs


def s_client(port: int, *options: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-ign_eof", *options],
        input=b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        capture_output=True,
        timeout=30,
    )


def curl(port: int, root: Path, *options: str, name: str = "a.test") -> tuple[int, bytes]:
    done = subprocess.run(
        ["curl", "--silent", "--cacert", str(root), "--resolve", f"{name}:{port}:127.0.0.1",
         f"https://{name}:{port}/", *options],
        capture_output=True, timeout=30,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root.pem"
    path.write_bytes(authority().certificate_pem)
    return path


@pytest.mark.parametrize("option", ["--tlsv1.3", "--tls-max=1.2"])
def test_curl_verifies_us(root: Path, option: str) -> None:
    with serving(contexts().get(A, OPEN)) as served:
        options = option.split("=")
        assert curl(served.port, root, *options) == (0, b"hi")
        assert served.outcome().endswith(" http/1.1")


def test_curl_refuses_another_name(root: Path) -> None:
    with serving(contexts().get(A, OPEN)) as served:
        code, _ = curl(served.port, root, name="b.test")
        assert code == 60
        served.outcome()


@pytest.mark.parametrize("option", ["-tls1_2", "-tls1_3"])
def test_openssl_s_client_verifies_us(root: Path, option: str) -> None:
    with serving(contexts().get(A, OPEN)) as served:
        done = s_client(
            served.port, option, "-CAfile", str(root), "-servername", "a.test",
            "-verify_hostname", "a.test", "-verify_return_error",
        )  # fmt: skip
        served.outcome()
    assert b"Verify return code: 0 (ok)" in done.stdout
    assert b"Secure Renegotiation IS supported" in done.stdout or option == "-tls1_3"
    assert b"Compression: NONE" in done.stdout


def test_curl_shows_its_certificate(root: Path, tmp_path: Path) -> None:
    alice = client_pair()
    file = tmp_path / "alice.pem"
    file.write_bytes(alice.chain + alice.key.pem)
    server = contexts().get(A, closed(), authorities())
    with serving(server, connections=2) as served:
        assert curl(served.port, root, "--cert", str(file)) == (0, b"hi")
        assert not served.outcome().startswith("failed")
        code, body = curl(served.port, root)
        assert code != 0
        assert body == b""
        assert served.outcome() == "failed PEER_DID_NOT_RETURN_A_CERTIFICATE"


# Client certificates


@VERSIONS
@pytest.mark.parametrize(
    ("mode", "shown", "works"),
    [
        pytest.param("required", "test authority", True, id="required and right"),
        pytest.param("required", "other authority", False, id="required, of another authority"),
        pytest.param("required", None, False, id="required and missing"),
        pytest.param("optional", "test authority", True, id="optional and right"),
        pytest.param("optional", "other authority", False, id="optional, of another authority"),
        pytest.param("optional", None, True, id="optional and missing"),
    ],
)
def test_client_certificates_are_verified_within_the_handshake(
    version: ssl.TLSVersion, mode: ClientCertificates, shown: str | None, *, works: bool
) -> None:
    certificate = None if shown is None else client_pair(issuer=shown)
    client = client_context(certificate=certificate, version=version)
    server = contexts().get(A, closed(mode), authorities())

    if not works:
        with pytest.raises(ssl.SSLError):
            shake(server, client)
        return
    seen = shake(server, client).server.getpeercert()
    if shown is None:
        assert not seen
    else:
        assert seen is not None
        assert seen["subject"] == ((("commonName", "alice"),),)


def test_a_server_certificate_is_none_for_clients() -> None:
    """Extended key usage is looked at (RFC 5280 §4.2.1.12)."""
    server = contexts().get(A, closed(), authorities())
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake(server, client_context(certificate=pair("client.test")))


def deep_client(levels: int) -> CertificatePair:
    issuer = authority()
    for level in range(levels):
        issuer = issuer.intermediate(f"client level {level}")
    read = read_pair(*issuer.issue((), subject="deep", client=True), needs_names=False)
    assert isinstance(read, PairRead)
    return read.pair


@pytest.mark.parametrize(
    ("depth", "levels", "works"),
    [(0, 0, True), (0, 1, False), (1, 1, True), (1, 2, False), (None, 3, True)],
)
def test_the_verify_depth_counts_intermediates(
    depth: int | None, levels: int, *, works: bool
) -> None:
    policy = msgspec.structs.replace(closed(), verify_depth=depth)
    server = contexts().get(A, policy, authorities())
    client = client_context(certificate=deep_client(levels))
    if works:
        shake(server, client)
    else:
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            shake(server, client)


def test_an_intermediate_authority_can_be_trusted_alone() -> None:
    below = authority().intermediate("department")
    bundle = read_authorities(below.certificate_pem)
    read = read_pair(*below.issue((), subject="bob", client=True), needs_names=False)
    assert isinstance(read, PairRead)
    assert not isinstance(bundle, CertificateFault)
    policy = TlsPolicy(client_certificates="required", authorities=bundle.authorities.digest)
    server = contexts().get(A, policy, bundle.authorities)

    shake(server, client_context(certificate=read.pair))
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake(server, client_context(certificate=client_pair()))


# A policy that cannot be kept


@pytest.mark.parametrize("given", [None, authorities("other authority")], ids=["none", "another"])
def test_without_its_authorities_there_is_no_context(given: object) -> None:
    kept = contexts()
    with pytest.raises(ContextRefusedError, match="authorities"):
        kept.get(A, closed(), given)  # type: ignore[arg-type] # a parameter

    kept.get(A, closed(), authorities())


def test_a_depth_that_cannot_be_set_makes_no_context() -> None:
    policy = msgspec.structs.replace(closed(), verify_depth=1)
    with pytest.raises(ContextRefusedError, match="depth"):
        plain_contexts().get(A, policy, authorities())


def broken() -> CertificatePair:
    return msgspec.structs.replace(A[0], key=PrivateKey(pair("b.test").key.pem))


def test_a_pair_that_openssl_refuses_is_refused_with_a_sentence_without_its_key() -> None:
    kept = contexts()
    for _ in range(2):
        with pytest.raises(ContextRefusedError) as refused:
            kept.get((broken(),), OPEN)
        assert "KEY_VALUES_MISMATCH" in str(refused.value)
        assert "PRIVATE" not in str(refused.value)
    assert len(kept) == 1
    kept.forget(broken().digest)
    assert len(kept) == 0


def test_an_encrypted_key_does_not_ask_the_terminal() -> None:
    key = subprocess.run(
        ["openssl", "pkey", "-aes128", "-passout", "pass:x"],
        input=A[0].key.pem, capture_output=True, check=True,
    ).stdout  # fmt: skip
    locked = msgspec.structs.replace(A[0], key=PrivateKey(key))
    with pytest.raises(ContextRefusedError, match="the key is encrypted"):
        contexts().get((locked,), OPEN)


# How they are kept


def test_equal_inputs_get_the_same_context() -> None:
    kept = contexts()
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(A[0]), type=CertificatePair)
    assert kept.get(A, OPEN) is kept.get((again,), TlsPolicy())
    assert kept.get(A, OPEN) is not kept.get(A, TlsPolicy(profile="modern"))
    assert len(kept) == 2


def test_the_least_recently_used_context_goes_first() -> None:
    kept = contexts(limit=2)
    first = kept.get((pair("1.test-1"),), OPEN)
    second = kept.get((pair("2.test-1"),), OPEN)
    assert kept.get((pair("1.test-1"),), OPEN) is first

    kept.get((pair("3.test-1"),), OPEN)

    assert len(kept) == 2
    assert kept.get((pair("1.test-1"),), OPEN) is first
    assert kept.get((pair("2.test-1"),), OPEN) is not second


def test_what_went_leaves_no_trace() -> None:
    kept = contexts(limit=2)
    for number in range(6):
        kept.get((pair(f"trace-{number}.test"),), OPEN)
    assert len(kept._by_digest) == 2
    assert sum(len(keys) for keys in kept._by_digest.values()) == 2


def test_a_forgotten_certificate_takes_all_its_contexts_along() -> None:
    kept = contexts()
    gone = [kept.get(A, OPEN), kept.get(A, TlsPolicy(profile="modern")), kept.get(A + BOTH, OPEN)]
    stays = kept.get(BOTH, OPEN)

    kept.forget(A[0].digest)
    kept.forget(A[0].digest)

    assert len(kept) == 1
    assert kept.get(BOTH, OPEN) is stays
    assert kept.get(A, OPEN) is not gone[0]


def test_a_forgotten_context_is_freed_when_its_last_connection_ends() -> None:
    kept = contexts()
    ends = shake(kept.get(A, OPEN), client_context())
    context = weakref.ref(kept.get(A, OPEN))

    kept.forget(A[0].digest)
    gc.collect()
    assert context() is not None
    ends.server.write(b"still here")
    del ends
    gc.collect()

    assert context() is None


def test_building_leaves_no_descriptor_and_no_file(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    kept = contexts()
    kept.get(BOTH, closed(), authorities())
    with pytest.raises(ContextRefusedError):
        kept.get((broken(),), OPEN)
    assert len(os.listdir("/proc/self/fd")) == len(before)


# Sessions


@VERSIONS
def test_another_worker_resumes_the_session(version: ssl.TLSVersion) -> None:
    client = client_context(version=version)
    session = shake(contexts().get(A, OPEN), client).session

    assert shake(contexts().get(A, OPEN), client, session=session).resumed


@VERSIONS
def test_a_renewed_certificate_keeps_the_sessions(version: ssl.TLSVersion) -> None:
    client = client_context(version=version)
    session = shake(contexts().get(A, OPEN), client).session
    renewed = (pair("a.test", issuer="other authority"),)

    assert shake(contexts().get(renewed, OPEN), client, session=session).resumed


@VERSIONS
def test_with_another_secret_nothing_is_resumed(version: ssl.TLSVersion) -> None:
    client = client_context(version=version)
    session = shake(contexts().get(A, OPEN), client).session
    other = contexts(TicketSecret(b"2" * 32))

    assert not shake(other.get(A, OPEN), client, session=session).resumed


@VERSIONS
def test_a_rotation_reaches_contexts_in_use(version: ssl.TLSVersion) -> None:
    workers = [contexts(), contexts()]
    servers = [worker.get(A, OPEN) for worker in workers]
    client = client_context(version=version)
    old = shake(servers[0], client).session

    for worker in workers:
        worker.rotate(TicketSecret(b"2" * 32))

    assert [worker.get(A, OPEN) for worker in workers] == servers
    ends = shake(servers[0], client, session=old)
    assert not ends.resumed
    assert shake(servers[1], client, session=ends.session).resumed


def test_where_keys_cannot_be_set_a_rotation_makes_new_contexts() -> None:
    kept = plain_contexts()
    client = client_context()
    session = shake(kept.get(A, OPEN), client).session
    assert shake(kept.get(A, OPEN), client, session=session).resumed

    kept.rotate(None)

    assert not shake(kept.get(A, OPEN), client, session=session).resumed


@VERSIONS
def test_a_resumed_session_brings_its_client_certificate(version: ssl.TLSVersion) -> None:
    client = client_context(version=version, certificate=client_pair())
    session = shake(contexts().get(A, closed(), authorities()), client).session

    ends = shake(contexts().get(A, closed(), authorities()), client, session=session)

    assert ends.resumed
    seen = ends.server.getpeercert()
    assert seen is not None
    assert seen["subject"] == ((("commonName", "alice"),),)


NAMES = pytest.mark.parametrize(
    "pairs",
    [
        pytest.param((pair("a.test"),), id="one certificate"),
        pytest.param((pair("b.test"),), id="two certificates"),
    ],
)


@VERSIONS
@NAMES
@pytest.mark.parametrize("probed", [True, False], ids=["shared keys", "own keys"])
@pytest.mark.parametrize("mode", ["required", "optional"])
def test_a_session_of_an_open_host_opens_no_closed_one(
    version: ssl.TLSVersion,
    pairs: tuple[CertificatePair, ...],
    mode: ClientCertificates,
    *,
    probed: bool,
) -> None:
    """The bypass: OpenSSL asks a resumed session for no certificate."""
    kept = contexts() if probed else plain_contexts()
    client = client_context(trusts=None, version=version)
    session = shake(kept.get(A, OPEN), client, "a.test").session
    server = kept.get(pairs, closed(mode), authorities())

    if mode == "required":
        with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
            shake(server, client, "closed.test", session)
    else:
        assert not shake(server, client, "closed.test", session).resumed


@VERSIONS
@pytest.mark.parametrize("probed", [True, False], ids=["shared keys", "own keys"])
def test_a_session_under_one_authority_opens_no_host_of_another(
    version: ssl.TLSVersion, *, probed: bool
) -> None:
    kept = contexts() if probed else plain_contexts()
    client = client_context(trusts=None, version=version, certificate=client_pair())
    session = shake(kept.get(A, closed(), authorities()), client).session
    other = kept.get(A, closed(issuer="other authority"), authorities("other authority"))

    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake(other, client, "a.test", session)


@VERSIONS
def test_even_with_equal_ticket_keys_the_scope_refuses_the_session(
    version: ssl.TLSVersion,
) -> None:
    """The second lock: the session names the scope it was made in."""
    kept = contexts()
    servers = [kept.get(A, OPEN), kept.get(A, closed(), authorities())]
    for server in servers:
        OpenSsl().set_ticket_keys(server, b"k" * 80)
    client = client_context(version=version)
    session = shake(servers[0], client).session
    assert shake(servers[0], client, session=session).resumed

    with pytest.raises(ssl.SSLError):
        shake(servers[1], client, session=session)


@VERSIONS
def test_a_modern_host_resumes_nothing_of_an_intermediate_one(version: ssl.TLSVersion) -> None:
    kept = contexts()
    client = client_context(version=version)
    session = shake(kept.get(A, OPEN), client).session
    modern = kept.get(A, TlsPolicy(profile="modern"))

    if version == V12:
        with pytest.raises(ssl.SSLError):
            shake(modern, client, session=session)
    else:
        assert not shake(modern, client, session=session).resumed


def test_clients_without_tickets_fill_no_cache() -> None:
    server = contexts().get(A, OPEN)
    client = client_context(version=V12)
    client.options |= ssl.OP_NO_TICKET
    # OpenSSL takes a session out of its cache when a connection ends badly, so they stay open.
    ends = [shake(server, client) for _ in range(5)]
    assert len(ends) == 5
    assert server.session_stats()["number"] == 0
    assert server.session_stats()["accept_good"] == 5


def test_openssl_s_client_resumes_with_another_worker(tmp_path: Path) -> None:
    saved = str(tmp_path / "session.pem")
    outputs = []
    for option in ("-sess_out", "-sess_in"):
        with serving(contexts().get(A, OPEN)) as served:
            outputs.append(s_client(served.port, "-servername", "a.test", option, saved).stdout)
            served.outcome()
    assert b"\nNew, TLSv1.3" in outputs[0]
    assert b"\nReused, TLSv1.3" in outputs[1]
