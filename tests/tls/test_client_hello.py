"""What the first bytes of a connection say, however they arrive."""

import gc
import random
import socket
import ssl
import subprocess
import time
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tls.handshakes import client_context, hello_bytes
from tls.client_hello import (
    MAX_MESSAGE,
    MAX_RECEIVED,
    TLS12,
    TLS13,
    Alert,
    ClientHello,
    ClientHelloReader,
    NeedMore,
    NotTls,
    Outcome,
    RefusalCode,
    Refused,
    alert_record,
    read_client_hello,
)


def vector(width: int, contents: bytes) -> bytes:
    return len(contents).to_bytes(width, "big") + contents


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


def extension(kind: int, contents: bytes) -> bytes:
    return numbers(kind) + vector(2, contents)


def server_name(name: bytes) -> bytes:
    return extension(0, vector(2, b"\x00" + vector(2, name)))


SIGNATURES = extension(13, vector(2, numbers(0x0403, 0x0804, 0x0401)))
VERSIONS = extension(43, vector(1, numbers(0x7A7A, TLS13, TLS12)))


def message(
    *extensions: bytes,
    version: int = TLS12,
    suites: bytes = numbers(0x1301, 0xC02B, 0xC02F),
    session: bytes = b"s" * 32,
    compression: bytes = b"\x00",
    rest: bytes = b"",
) -> bytes:
    """A ClientHello as a handshake message."""
    body = numbers(version) + b"r" * 32
    body += vector(1, session) + vector(2, suites) + vector(1, compression)
    if extensions:
        body += vector(2, b"".join(extensions))
    return b"\x01" + vector(3, body + rest)


def records(handshake: bytes, *sizes: int) -> bytes:
    """The message in records of these sizes, the last one for what is left."""
    parts = []
    at = 0
    for size in sizes:
        parts.append(handshake[at : at + size])
        at += size
    parts.append(handshake[at:])
    return b"".join(b"\x16\x03\x01" + vector(2, part) for part in parts if part)


def hello(*extensions: bytes) -> ClientHello:
    outcome = read_client_hello(records(message(*extensions)))
    assert isinstance(outcome, ClientHello), outcome
    return outcome


def refused(received: bytes) -> Refused:
    outcome = read_client_hello(received)
    assert isinstance(outcome, Refused), outcome
    return outcome


def feed(received: bytes, *, step: int) -> Outcome:
    """The outcome when bytes arrive in pieces."""
    reader = ClientHelloReader()
    outcome: Outcome = NeedMore(0)
    for end in range(0, len(received) + step, step):
        outcome = reader.read(received[:end])
        if not isinstance(outcome, NeedMore):
            return outcome
    return outcome


# What real clients send


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_python_is_understood(version: ssl.TLSVersion) -> None:
    context = client_context(alpn=("h2", "http/1.1"), version=version)

    outcome = read_client_hello(hello_bytes(context, "Shop.Test"))

    assert isinstance(outcome, ClientHello)
    assert outcome.server_name == "shop.test"
    assert outcome.alpn == (b"h2", b"http/1.1")
    assert outcome.versions == ((TLS13,) if version == ssl.TLSVersion.TLSv1_3 else (TLS12,))
    assert outcome.offers_ecdsa
    assert outcome.offers_rsa


def test_a_client_without_a_name_is_understood() -> None:
    outcome = read_client_hello(hello_bytes(client_context(trusts=None)))

    assert isinstance(outcome, ClientHello)
    assert outcome.server_name is None
    assert outcome.sent_server_name is None
    assert outcome.alpn == ()


@pytest.mark.parametrize(
    ("ciphers", "ecdsa"),
    [("ECDHE-RSA-AES128-GCM-SHA256", False), ("ECDHE-ECDSA-AES128-GCM-SHA256", True)],
)
def test_a_tls12_client_offers_ecdsa_only_with_a_suite_for_it(ciphers: str, *, ecdsa: bool) -> None:
    context = client_context(version=ssl.TLSVersion.TLSv1_2, ciphers=ciphers)

    outcome = read_client_hello(hello_bytes(context, "a.test"))

    assert isinstance(outcome, ClientHello)
    assert outcome.offers_ecdsa is ecdsa


def first_flight(*command: str) -> bytes:
    """What a program sends to a loopback port; ``PORT`` in its arguments is the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        port = str(listener.getsockname()[1])
        arguments = [argument.replace("PORT", port) for argument in command]
        with subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as program:
            try:
                accepted, _ = listener.accept()
                with accepted:
                    accepted.settimeout(20)
                    reader = ClientHelloReader()
                    received = b""
                    while isinstance(reader.read(received), NeedMore):
                        piece = accepted.recv(65536)
                        assert piece
                        received += piece
                    return received
            finally:
                program.kill()


def test_openssl_s_client_is_understood() -> None:
    received = first_flight(
        "openssl", "s_client", "-connect", "127.0.0.1:PORT", "-servername", "b.a.test",
        "-alpn", "h2", "-sigalgs", "rsa_pss_rsae_sha256",
    )  # fmt: skip

    outcome = read_client_hello(received)

    assert isinstance(outcome, ClientHello)
    assert outcome.server_name == "b.a.test"
    assert outcome.alpn == (b"h2",)
    assert TLS13 in outcome.versions
    assert not outcome.offers_ecdsa
    assert outcome.offers_rsa


def test_curl_is_understood() -> None:
    received = first_flight(
        "curl", "--silent", "--connect-to", "::127.0.0.1:PORT", "https://shop.test/"
    )

    outcome = read_client_hello(received)

    assert isinstance(outcome, ClientHello)
    assert outcome.server_name == "shop.test"
    assert outcome.alpn == (b"h2", b"http/1.1")


# However the bytes are cut

REAL = hello_bytes(client_context(alpn=("h2", "http/1.1")), "shop.test")
LONG = records(
    message(server_name(b"shop.test"), SIGNATURES, VERSIONS, extension(51, vector(2, b"k" * 6000)))
)
"""A post-quantum key share is 1.2 KiB; this is five times as long."""


@pytest.mark.parametrize("received", [REAL, LONG], ids=["real", "long"])
def test_segments_may_be_cut_at_every_byte(received: bytes) -> None:
    whole = read_client_hello(received)
    assert isinstance(whole, ClientHello)

    for cut in range(len(received)):
        reader = ClientHelloReader()
        first = reader.read(received[:cut])
        assert isinstance(first, NeedMore)
        assert cut < first.at_least <= len(received)
        assert reader.read(received) == whole


def test_records_may_be_cut_at_every_byte() -> None:
    handshake = REAL[5:]
    whole = read_client_hello(REAL)

    for cut in range(1, len(handshake)):
        assert read_client_hello(records(handshake, cut)) == whole
        assert feed(records(handshake, cut), step=97) == whole


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 100])
@pytest.mark.parametrize("step", [1, 3, 64, 100_000])
def test_small_records_in_small_segments_are_joined(size: int, step: int) -> None:
    handshake = REAL[5:]
    received = records(handshake, *([size] * (len(handshake) // size)))

    assert feed(received, step=step) == read_client_hello(REAL)


def test_a_record_that_is_cut_is_asked_for_whole() -> None:
    assert read_client_hello(b"") == NeedMore(5)
    assert read_client_hello(REAL[:1]) == NeedMore(5)
    assert read_client_hello(REAL[:5]) == NeedMore(len(REAL))
    two = records(REAL[5:], 10)
    assert read_client_hello(two[:15]) == NeedMore(20)


def test_more_after_the_message_is_left_alone() -> None:
    assert read_client_hello(REAL + b"\x17\x03\x03\x00\x01x") == read_client_hello(REAL)


def test_a_reader_keeps_its_answer() -> None:
    reader = ClientHelloReader()
    first = reader.read(REAL)

    assert reader.read(REAL + b"more") is first


def test_views_and_arrays_are_read_as_bytes_are() -> None:
    whole = read_client_hello(REAL)
    assert read_client_hello(memoryview(REAL)) == whole
    assert read_client_hello(bytearray(REAL)) == whole


# Limits


def padded(size: int) -> bytes:
    """A ClientHello message of exactly so many bytes."""
    empty = len(message(extension(21, b"")))
    return message(extension(21, b"\x00" * (size - empty)))


def test_the_longest_message_is_taken_in_the_smallest_records_that_fit() -> None:
    handshake = padded(MAX_MESSAGE)
    assert len(handshake) == MAX_MESSAGE

    outcome = feed(records(handshake, *([6] * (MAX_MESSAGE // 6))), step=1000)

    assert isinstance(outcome, ClientHello)


def test_a_longer_message_is_refused_at_its_beginning() -> None:
    announced = b"\x01" + (MAX_MESSAGE - 3).to_bytes(3, "big")

    assert refused(records(announced + b"\x03\x03")).code == RefusalCode.TOO_LARGE


def test_too_many_tiny_records_are_refused() -> None:
    outcome = feed(records(padded(MAX_MESSAGE), *([1] * MAX_MESSAGE)), step=50)

    assert isinstance(outcome, Refused)
    assert outcome.code == RefusalCode.TOO_LARGE


def test_no_more_than_the_limit_is_ever_asked_for() -> None:
    announced = b"\x01" + (MAX_MESSAGE - 4).to_bytes(3, "big")
    start = records(announced + b"x" * 16_250, 16_200, *([1] * 54))
    assert read_client_hello(start) == NeedMore(len(start) + 5)

    assert refused(start + b"\x16\x03\x01\x40\x00").code == RefusalCode.TOO_LARGE
    assert isinstance(read_client_hello(start + b"\x16\x03\x01\x3e\x00"), NeedMore)


def test_byte_by_byte_costs_no_more_than_linear_work() -> None:
    """A reader that began anew with each byte would walk 15 million records here."""
    received = records(b"\x01\x00\x3f\x00" + b"x" * 20_000, *([1] * 5_460))[:32_760]
    view = memoryview(received)
    reader = ClientHelloReader()

    begun = time.process_time()
    for end in range(len(received) + 1):
        assert isinstance(reader.read(view[:end]), NeedMore)

    assert time.process_time() - begun < 2


# What is refused, and what is something else


@pytest.mark.parametrize(
    ("received", "code"),
    [
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x28", RefusalCode.NOT_A_HELLO, id="an alert"),
        pytest.param(b"\x17\x03\x03\x00\x01x", RefusalCode.NOT_A_HELLO, id="application data"),
        pytest.param(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", RefusalCode.NOT_A_HELLO, id="server"),
        pytest.param(b"\x16\x03\x01\x00\x00", RefusalCode.MALFORMED, id="an empty record"),
        pytest.param(b"\x16\x03\x01\x40\x01", RefusalCode.MALFORMED, id="a record too long"),
        pytest.param(
            b"\x16\x03\x01\x00\x02\x01\x00\x17\x03\x03", RefusalCode.NOT_A_HELLO, id="interleaved"
        ),
        pytest.param(records(b"\x01\x00\x00\x00"), RefusalCode.MALFORMED, id="an empty hello"),
        pytest.param(records(message(rest=b"x")), RefusalCode.MALFORMED, id="one byte after"),
        pytest.param(
            records(message(SIGNATURES, rest=b"x")), RefusalCode.MALFORMED, id="after extensions"
        ),
        pytest.param(
            records(message(session=b"s" * 33)), RefusalCode.MALFORMED, id="a long session"
        ),
        pytest.param(records(message(suites=b"")), RefusalCode.MALFORMED, id="no suite"),
        pytest.param(records(message(suites=b"x")), RefusalCode.MALFORMED, id="half a suite"),
        pytest.param(records(message(compression=b"")), RefusalCode.MALFORMED, id="no method"),
    ],
)
def test_what_is_no_client_hello_is_refused(received: bytes, code: RefusalCode) -> None:
    assert refused(received).code == code


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(server_name(b"a.test") * 2, id="an extension twice"),
        pytest.param(extension(0, b""), id="server_name empty"),
        pytest.param(extension(0, vector(2, b"")), id="no name in the list"),
        pytest.param(extension(0, vector(2, b"\x01" + vector(2, b"a"))), id="another type"),
        pytest.param(extension(0, vector(2, (b"\x00" + vector(2, b"a")) * 2)), id="two names"),
        pytest.param(extension(0, vector(2, b"\x00" + vector(2, b"a")) + b"x"), id="after names"),
        pytest.param(extension(0, b"\x00\x09\x00\x00\x01a"), id="a length beyond the end"),
        pytest.param(extension(16, vector(2, b"")), id="ALPN without names"),
        pytest.param(extension(16, vector(2, b"\x00")), id="ALPN with an empty name"),
        pytest.param(extension(16, vector(2, b"\x05h2")), id="ALPN cut off"),
        pytest.param(extension(43, vector(1, b"\x03")), id="half a version"),
        pytest.param(extension(43, vector(1, b"")), id="no version"),
        pytest.param(extension(13, vector(2, b"\x04\x03\x05")), id="half an algorithm"),
        pytest.param(b"\x00\x15\x00\x05xxxx", id="an extension beyond the end"),
        pytest.param(b"\x00\x15\x00", id="an extension cut off"),
    ],
)
def test_a_malformed_extension_is_refused(bad: bytes) -> None:
    outcome = refused(records(message(bad)))
    assert outcome.code == RefusalCode.MALFORMED
    assert outcome.alert == Alert.DECODE_ERROR


@pytest.mark.parametrize(
    ("received", "like"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "http", id="HTTP"),
        pytest.param(b"P", "http", id="a first byte of HTTP"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http", id="HTTP/2"),
        pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "proxy", id="PROXY v1"),
        pytest.param(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "proxy", id="PROXY v2"),
        pytest.param(b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00", "ssl2", id="SSL 2.0"),
        pytest.param(b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00", "ssl2", id="SSL 2.0 hello for 3.1"),
        pytest.param(b"\x00\x01\x02", "unknown", id="zeros"),
        pytest.param(b"\xff" * 40, "unknown", id="ones"),
        pytest.param(b"\x16\x02\x00\x00\x05", "unknown", id="a major version of two"),
        pytest.param(b" GET", "unknown", id="a space"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "unknown", id="SSH"),
    ],
)
def test_what_is_not_tls_is_named(received: bytes, like: str) -> None:
    assert read_client_hello(received) == NotTls(like)  # type: ignore[arg-type] # ids are literals


# Names (RFC 6066 §3)


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        pytest.param(b"shop.test", "shop.test", id="as it is"),
        pytest.param(b"SHOP.test", "shop.test", id="capitals"),
        pytest.param(b"shop.test.", "shop.test", id="a trailing dot"),
        pytest.param(b"shop.test\x00.evil.test", None, id="a NUL"),
        pytest.param(b"a" * 300, None, id="300 bytes"),
        pytest.param(b"192.0.2.1", None, id="an IPv4 address"),
        pytest.param(b"::1", None, id="an IPv6 address"),
        pytest.param(b"", None, id="empty"),
        pytest.param("bücher.test".encode(), None, id="a U-label"),
        pytest.param(b"*.shop.test", None, id="a wildcard"),
    ],
)
def test_a_server_name_is_a_name_in_normal_form_or_none(sent: bytes, name: str | None) -> None:
    outcome = hello(server_name(sent))
    assert outcome.server_name == name
    assert outcome.sent_server_name == sent


# Offers


def test_without_the_versions_extension_the_old_field_counts() -> None:
    assert hello().versions == (TLS12,)
    older = read_client_hello(records(message(version=0x0301)))
    assert isinstance(older, ClientHello)
    assert older.versions == (0x0301,)


def test_unknown_versions_are_kept_in_order() -> None:
    assert hello(VERSIONS).versions == (0x7A7A, TLS13, TLS12)


def test_a_tls13_client_takes_rsa_only_with_pss() -> None:
    """RFC 8446 §4.2.3: PKCS #1 is for certificates alone there."""
    pkcs1 = extension(13, vector(2, numbers(0x0401, 0x0501)))
    assert hello(pkcs1).offers_rsa
    assert not hello(pkcs1, VERSIONS).offers_rsa


def test_without_signature_algorithms_only_rsa_is_offered() -> None:
    assert hello().offers_rsa
    assert not hello().offers_ecdsa


def test_sha1_is_no_offer() -> None:
    outcome = hello(extension(13, vector(2, numbers(0x0203, 0x0201))))
    assert not outcome.offers_ecdsa
    assert not outcome.offers_rsa


# Anything


def is_fine(outcome: Outcome) -> bool:
    return isinstance(outcome, NeedMore | ClientHello | NotTls | Refused)


@settings(max_examples=500)
@given(st.binary(max_size=400))
def test_any_bytes_have_an_outcome(received: bytes) -> None:
    outcome = read_client_hello(received)
    assert is_fine(outcome)
    if isinstance(outcome, NeedMore):
        assert len(received) < outcome.at_least <= MAX_RECEIVED


@settings(max_examples=500)
@given(st.binary(max_size=400), st.lists(st.integers(1, 40), max_size=20))
def test_any_message_means_the_same_however_it_is_cut(body: bytes, sizes: list[int]) -> None:
    handshake = b"\x01" + vector(3, body)
    whole = read_client_hello(records(handshake))

    assert read_client_hello(records(handshake, *sizes)) == whole
    assert feed(records(handshake, *sizes), step=11) == whole


def mutated(rng: random.Random, original: bytes) -> bytes:
    """One of the ways in which an attacker changes a message."""
    data = bytearray(original)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data))
        match rng.randrange(6):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[at : at + rng.randint(1, 20)]
                data = data or bytearray(b"\x16")
            case 3:
                data[at:at] = rng.randbytes(rng.randint(1, 20))
            case 4:
                data[at : at + 2] = rng.choice([b"\x00\x00", b"\xff\xff", b"\x00\x01", b"\x7f\xff"])
            case _:
                start = rng.randrange(len(data))
                data[at:at] = data[start : start + rng.randint(1, 60)]
    return bytes(data)


ORIGINALS = [REAL, LONG, records(REAL[5:], 3, 40, 1, 1, 60), records(message(VERSIONS))]


def test_ten_thousand_mutations_end_in_an_outcome() -> None:
    rng = random.Random(20_261)
    seen = set()
    begun = time.process_time()

    for _ in range(10_000):
        received = mutated(rng, rng.choice(ORIGINALS))
        outcome = read_client_hello(received)
        cut = feed(received, step=rng.choice([17, 50, 500]))
        # What is not TLS is judged by the first bytes that are there.
        assert cut == outcome or (isinstance(cut, NotTls) and isinstance(outcome, NotTls))
        seen.add(type(outcome))

    assert time.process_time() - begun < 30
    assert seen == {NeedMore, ClientHello, NotTls, Refused}


def test_mutations_leave_no_memory_behind() -> None:
    rng = random.Random(20_262)

    def run(count: int) -> int:
        for _ in range(count):
            assert is_fine(read_client_hello(mutated(rng, rng.choice(ORIGINALS))))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        levels = [run(200), run(1_000), run(1_000), run(1_000)]
    finally:
        tracemalloc.stop()

    # Other threads of a test process may allocate once; a leak grows each time.
    growth = [after - before for before, after in pairwise(levels)]
    assert min(growth) < 4 * 1024


def test_alerts_are_fatal_and_in_clear() -> None:
    """A client prints the alert it got."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    side = client_context().wrap_bio(incoming, outgoing, server_hostname="a.test")
    with pytest.raises(ssl.SSLWantReadError):
        side.do_handshake()
    incoming.write(alert_record(Alert.UNRECOGNIZED_NAME))

    with pytest.raises(ssl.SSLError) as refused_by:
        side.do_handshake()

    assert refused_by.value.reason == "TLSV1_UNRECOGNIZED_NAME"
    assert all(alert_record(alert) for alert in Alert)
