"""`ingress-controller run` with HTTPS: certificates from files, their changes, and the clients."""

import contextlib
import hashlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.harness.program import (
    Answer,
    Program,
    ask,
    ingress,
    sample_backend,
    service,
    tls_secret,
)
from tests.tls.certificates import authority
from tls.default import DEFAULT_NAME

HOST = "shop.test"
FREE_PORTS = ("--bind", "127.0.0.1", "--http-port", "0", "--admin-port", "0")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a backend."""
    with sample_backend("one") as port:
        yield port


@pytest.fixture
def folder(tmp_path: Path, port: int) -> Path:
    """A folder with one Ingress for shop.test, and its certificate."""
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    (manifests / "ingress.yaml").write_text(ingress("shop", HOST, tls="shop-tls"))
    (manifests / "service.yaml").write_text(service("shop", port))
    issue(manifests)
    return manifests


def issue(folder: Path, *names: str, into: str = "shop-tls") -> str:
    """Writes a new certificate into a Secret; answers its fingerprint."""
    chain, key = authority().issue(names or (HOST,))
    (folder / f"{into}.yaml").write_text(tls_secret(into, chain, key))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(chain.decode())).hexdigest()


@contextlib.contextmanager
def running(folder: Path, *words: str) -> Iterator[Program]:
    with Program("run", "--manifests", str(folder), *FREE_PORTS, *words) as program:
        yield program.ready()


def trusting(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A client that trusts the test authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority().certificate_pem.decode())
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def anyone() -> ssl.SSLContext:
    """A client that takes any certificate, to look at it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def shake(
    program: Program,
    name: str | None = HOST,
    context: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    """A new connection after its handshake."""
    where, _, port = program.https.rpartition(":")
    plain = socket.create_connection((where, int(port)), timeout=10)
    return (context or trusting()).wrap_socket(plain, server_hostname=name, session=session)


def fingerprint(program: Program, name: str | None = HOST) -> str:
    """Of the certificate that a new handshake gets."""
    with shake(program, name, anyone()) as connection:
        certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    return hashlib.sha256(certificate).hexdigest()


def until_served(program: Program, fresh: str) -> None:
    program.until(lambda: fingerprint(program) == fresh, "the new certificate is served")


def is_self_signed_default(program: Program, name: str | None = HOST) -> bool:
    with shake(program, name, anyone()) as connection:
        certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    return DEFAULT_NAME.encode() in certificate


def request(connection: socket.socket, path: str = "/", host: str = HOST) -> Answer:
    """One request on a connection that stays open."""
    talk = http.client.HTTPConnection(host)
    talk.sock = connection
    talk.request("GET", path, headers={"Host": host})
    answer = talk.getresponse()
    return Answer(answer.status, dict(answer.getheaders()), answer.read())


def diagnostics(program: Program) -> list[str]:
    found = ask(program.admin, "/diagnostics").json()["diagnostics"]
    return [f"{each['object']['kind']}: {each['message']}" for each in found]


@pytest.fixture
def cacert(tmp_path: Path) -> str:
    file = tmp_path / "ca.pem"
    file.write_bytes(authority().certificate_pem)
    return str(file)


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )


def test_curl_verifies_the_certificate_and_the_backend_is_told(folder: Path, cacert: str) -> None:
    with running(folder) as program:
        done = run(
            "curl", "-sS", "--max-time", "10", "--cacert", cacert,
            "--connect-to", f"::{program.https}", f"https://{HOST}/a",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"X-Forwarded-Proto": "https"' in done.stdout
    assert f'"X-Forwarded-Port": "{program.https.rpartition(":")[2]}"' in done.stdout


@pytest.mark.parametrize(("flag", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_openssl_verifies_the_chain_in_both_versions(
    folder: Path, cacert: str, flag: str, version: str
) -> None:
    with running(folder) as program:
        done = run(
            "openssl", "s_client", "-connect", program.https, "-servername", HOST, flag,
            "-CAfile", cacert, "-verify_return_error", "-verify_hostname", HOST,
            "-alpn", "h2,http/1.1",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Verify return code: 0 (ok)" in done.stdout
    assert f"New, {version}, Cipher is" in done.stdout
    assert "ALPN protocol: http/1.1" in done.stdout


def test_names_without_a_certificate_get_the_default_one(folder: Path) -> None:
    with running(folder) as program:
        assert not is_self_signed_default(program)
        assert is_self_signed_default(program, "other.test")
        assert is_self_signed_default(program, None)


def test_plain_requests_are_redirected_but_not_those_of_acme(folder: Path) -> None:
    challenge = "/.well-known/acme-challenge/"
    (folder / "acme.yaml").write_text(ingress("acme", HOST, path=challenge))
    with running(folder) as program:
        answer = ask(program.http, "/a?b=c", HOST)
        port = program.https.rpartition(":")[2]
        assert (answer.status, answer.headers["Location"]) == (308, f"https://{HOST}:{port}/a?b=c")
        assert ask(program.http, challenge + "token", HOST).status == 200


def test_the_published_port_is_where_redirects_lead(folder: Path) -> None:
    with running(folder, "--published-https-port", "443") as program:
        assert ask(program.http, "/a", HOST).headers["Location"] == f"https://{HOST}/a"
        with shake(program) as connection:
            assert request(connection).json()["headers"]["X-Forwarded-Port"] == "443"


def test_redirects_are_an_option_and_so_is_hsts(folder: Path) -> None:
    with running(folder) as program, shake(program) as connection:
        assert "Strict-Transport-Security" not in request(connection).headers
    with running(folder, "--no-ssl-redirect", "--hsts") as program:
        plain = ask(program.http, "/", HOST)
        assert plain.status == 200
        assert "Strict-Transport-Security" not in plain.headers
        with shake(program) as connection:
            told = request(connection).headers["Strict-Transport-Security"]
            assert told == "max-age=31536000; includeSubDomains"


def test_a_changed_certificate_is_served_within_a_second_and_no_connection_notices(
    folder: Path,
) -> None:
    """Measured three times: a busy machine may delay one, a slow program delays all."""
    taken = []
    with running(folder) as program, shake(program) as kept:
        assert request(kept).status == 200
        for _ in range(3):
            written = time.monotonic()
            fresh = issue(folder)
            until_served(program, fresh)
            taken.append(time.monotonic() - written)
            assert request(kept).status == 200
        with shake(program) as connection:  # verified by the client, too
            assert request(connection).status == 200
    assert min(taken) < 1.0


def test_a_malformed_update_leaves_the_last_good_certificate(folder: Path) -> None:
    """F-12."""
    with running(folder) as program:
        good = fingerprint(program)
        (folder / "shop-tls.yaml").write_text(tls_secret("shop-tls", b"no", b"certificate"))
        program.until(
            lambda: any("Secret" in found for found in diagnostics(program)), "a diagnostic"
        )
        assert fingerprint(program) == good
        fresh = issue(folder)
        until_served(program, fresh)
        program.until(lambda: diagnostics(program) == [], "nothing to complain about")


def test_a_key_of_another_certificate_leaves_the_last_good_pair(folder: Path) -> None:
    """F-12."""
    with running(folder) as program:
        good = fingerprint(program)
        (chain, _), (_, key) = authority().issue([HOST]), authority().issue([HOST])
        (folder / "shop-tls.yaml").write_text(tls_secret("shop-tls", chain, key))
        program.until(
            lambda: any("does not belong" in found for found in diagnostics(program)),
            "a diagnostic",
        )
        assert fingerprint(program) == good


def test_a_deleted_secret_serves_on_for_its_grace_and_then_the_default_does(folder: Path) -> None:
    """F-12: people delete a Secret to have its certificate issued again."""
    with running(folder, "--certificate-grace", "3s") as program:
        good = fingerprint(program)
        deleted = time.monotonic()
        (folder / "shop-tls.yaml").unlink()
        program.until(lambda: diagnostics(program), "a diagnostic")
        while time.monotonic() < deleted + 2.5:
            assert fingerprint(program) == good
        program.until(lambda: is_self_signed_default(program), "the default certificate")
        assert time.monotonic() > deleted + 3.0
        fresh = issue(folder)
        until_served(program, fresh)
        program.until(lambda: diagnostics(program) == [], "nothing to complain about")


def test_a_secret_written_again_within_the_grace_ends_it(folder: Path) -> None:
    with running(folder) as program:
        (folder / "shop-tls.yaml").unlink()
        program.until(lambda: diagnostics(program), "a diagnostic")
        fresh = issue(folder)
        until_served(program, fresh)
        program.until(lambda: diagnostics(program) == [], "nothing to complain about")


def test_the_default_certificate_comes_from_a_secret_and_follows_it(folder: Path) -> None:
    first = issue(folder, "*.test", into="fallback")
    words = ("--default-tls-secret", "test/fallback", "--certificate-grace", "0")
    with running(folder, *words) as program:
        assert fingerprint(program, "other.test") == first
        assert fingerprint(program, None) == first
        assert fingerprint(program) != first
        second = issue(folder, "*.test", into="fallback")
        program.until(lambda: fingerprint(program, "other.test") == second, "the changed default")
        (folder / "fallback.yaml").unlink()
        program.until(lambda: is_self_signed_default(program, None), "the self-signed one")


def test_without_an_https_port_hosts_with_tls_are_served_plainly(folder: Path) -> None:
    with running(folder, "--https-port", "off") as program:
        assert program.https == "off"
        assert ask(program.http, "/", HOST).status == 200


def metric(program: Program, name: str, labels: Mapping[str, str]) -> float | None:
    """The value of one sample; the labels given are some of its labels."""
    for line in ask(program.admin, "/metrics").body.decode().splitlines():
        if line.startswith(f"{name}{{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
            return float(line.rpartition(" ")[2])
    return None


def until_counted(program: Program, name: str, labels: Mapping[str, str]) -> None:
    program.until(lambda: metric(program, name, labels) == 1.0, f"{name} {labels} is 1")


def test_handshakes_failures_and_expiry_are_metrics(folder: Path) -> None:
    with running(folder) as program:
        context = trusting(ssl.TLSVersion.TLSv1_2)
        with shake(program, HOST, context) as first:
            request(first)
            with shake(program, HOST, context, first.session) as second:
                assert second.session_reused
        stranger = trusting()
        stranger.set_alpn_protocols(["nothing-of-ours"])
        with pytest.raises(ssl.SSLError):
            shake(program, HOST, stranger)
        name = "ingress_tls_handshakes_total"
        for resumed in ("no", "yes"):
            labels = {"version": "TLSv1.2", "resumed": resumed}
            until_counted(program, name, labels)
        failures = "ingress_tls_handshake_failures_total"
        until_counted(program, failures, {})
        assert program.events("a TLS handshake failed")
        expiry = "ingress_certificate_expiry_timestamp_seconds"
        of_host = metric(program, expiry, {"host": HOST, "namespace": "test", "secret": "shop-tls"})
        assert of_host is not None
        assert 80 < (of_host - time.time()) / 86400 < 91
        assert metric(program, expiry, {"host": "*", "namespace": "", "secret": ""}) is not None


def test_no_page_and_no_line_of_the_log_shows_a_key(folder: Path) -> None:
    chain, key = authority().issue([HOST])
    (folder / "shop-tls.yaml").write_text(tls_secret("shop-tls", chain, key))
    pages = (
        "/", "/routes", "/metrics", "/diagnostics", "/readyz",
        f"/explain?url=https://{HOST}/", "/explain?url=https://other.test/",
    )  # fmt: skip
    with running(folder, "--log-level", "debug") as program:
        shake(program).close()
        (folder / "shop-tls.yaml").write_text(tls_secret("shop-tls", b"broken", key))
        program.until(lambda: diagnostics(program), "a diagnostic")
        shown = b"".join(ask(program.admin, page).body for page in pages)
        assert HOST.encode() in shown
        assert program.end() == 0
        shown += repr((program.log, program.errors, program.output)).encode()
    assert b"PRIVATE" not in shown
    for line in key.splitlines()[1:-2]:
        assert line not in shown


def test_all_workers_resume_each_others_sessions(folder: Path) -> None:
    with running(folder, "--workers", "2") as program:
        context = trusting(ssl.TLSVersion.TLSv1_2)
        with shake(program, HOST, context) as first:
            request(first)
            session = first.session
        # All 16 with one worker: once in 32,768 runs, and then the test only proves less.
        for _ in range(16):
            with shake(program, HOST, context, session) as connection:
                assert connection.session_reused
                request(connection)


def test_a_killed_worker_is_replaced_and_no_handshake_fails(folder: Path) -> None:
    """F-25: connections wait in the socket that the next worker inherits."""
    with running(folder) as program:
        (pid,) = program.worker_pids()
        os.kill(pid, signal.SIGKILL)
        with shake(program) as connection:
            assert request(connection).status == 200


def test_plain_http_on_the_tls_port_gets_a_sentence(folder: Path) -> None:
    with running(folder) as program:
        answer = ask(program.https, "/", HOST)
        assert answer.status == 400
        assert b"https" in answer.body.lower()


def test_tls_on_the_plain_port_is_refused_cleanly(folder: Path) -> None:
    with running(folder) as program:
        where, _, port = program.http.rpartition(":")
        with (
            socket.create_connection((where, int(port)), timeout=10) as plain,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            trusting().wrap_socket(plain, server_hostname=HOST)
        assert ask(program.http, "/", HOST).status == 308


def connected(address: str, first: bytes) -> socket.socket:
    """A connection that begins with a PROXY header."""
    where, _, port = address.rpartition(":")
    connection = socket.create_connection((where, int(port)), timeout=10)
    connection.sendall(first)
    return connection


def test_a_load_balancer_says_who_the_client_is_on_both_ports(folder: Path) -> None:
    header = b"PROXY TCP4 192.0.2.7 127.0.0.1 50000 443\r\n"
    words = ("--proxy-protocol-from", "127.0.0.0/8", "--no-ssl-redirect")
    with running(folder, *words) as program:
        plain = connected(program.http, header)
        secure = trusting().wrap_socket(connected(program.https, header), server_hostname=HOST)
        for connection in (plain, secure):
            with connection:
                assert request(connection).json()["headers"]["X-Forwarded-For"] == "192.0.2.7"
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(program.http, "/", HOST)
        with pytest.raises(OSError):
            shake(program)


def test_sigterm_ends_https_as_it_ends_http(folder: Path) -> None:
    words = ("--drain-accept", "1s", "--drain-timeout", "5s")
    with running(folder, *words) as program, shake(program) as kept:
        assert request(kept).status == 200
        program.process.send_signal(signal.SIGTERM)
        program.until(lambda: ask(program.admin, "/readyz").status == 503, "not ready")
        late = request(kept)
        assert late.status == 200
        assert late.headers["Connection"] == "close"
        assert program.process.wait(10) == 0
