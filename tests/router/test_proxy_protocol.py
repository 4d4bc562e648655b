"""The PROXY protocol read as a pure function."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.proxy_protocol import (
    MAX_HEADER,
    Malformed,
    NeedMore,
    ProxyHeader,
    read_proxy_header,
)

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
PORTS = st.integers(0, 65535)
FOURS = st.ip_addresses(v=4)
SIXES = st.ip_addresses(v=6)


@st.composite
def headers(draw: st.DrawFn) -> tuple[bytes, str | None]:
    """A good header and the client that it names."""
    address, other = draw(st.one_of(st.tuples(FOURS, FOURS), st.tuples(SIXES, SIXES)))
    ports = draw(PORTS), draw(PORTS)
    if draw(st.booleans()):
        line = f"PROXY TCP{address.version} {address} {other} {ports[0]} {ports[1]}\r\n"
        return line.encode(), str(address)
    raw = address.packed + other.packed + b"".join(port.to_bytes(2, "big") for port in ports)
    raw += draw(st.binary(max_size=MAX_HEADER - 16 - len(raw)))
    local = draw(st.booleans())
    family = 0x11 if address.version == 4 else 0x21
    head = bytes((0x20 if local else 0x21, family)) + len(raw).to_bytes(2, "big")
    return SIGNATURE + head + raw, None if local else str(address)


@given(header=headers(), behind=st.binary(max_size=50))
def test_good_headers_are_read_in_their_exact_length(
    header: tuple[bytes, str | None], behind: bytes
) -> None:
    data, client = header
    assert read_proxy_header(data + behind) == ProxyHeader(len(data), client)


@given(header=headers(), share=st.floats(0, 1, exclude_max=True))
def test_the_beginning_of_a_good_header_is_waited_for(
    header: tuple[bytes, str | None], share: float
) -> None:
    data, _ = header
    assert read_proxy_header(data[: int(len(data) * share)]) == NeedMore()


@given(data=st.binary(max_size=600))
def test_any_bytes_have_an_outcome(data: bytes) -> None:
    outcome = read_proxy_header(data)
    if isinstance(outcome, ProxyHeader):
        assert 0 < outcome.length <= len(data)


@given(header=headers(), at=st.integers(0, 600), byte=st.integers(0, 255))
def test_a_changed_header_is_refused_or_names_an_address(
    header: tuple[bytes, str | None], at: int, byte: int
) -> None:
    data = bytearray(header[0])
    data[at % len(data)] = byte
    outcome = read_proxy_header(bytes(data))
    if isinstance(outcome, ProxyHeader) and outcome.client is not None:
        assert IPv6Address(outcome.client) if ":" in outcome.client else IPv4Address(outcome.client)


@given(data=st.binary(min_size=MAX_HEADER, max_size=MAX_HEADER + 10))
def test_nothing_is_waited_for_beyond_the_bound(data: bytes) -> None:
    for start in (b"", b"PROXY ", SIGNATURE):
        assert read_proxy_header((start + data)[:MAX_HEADER]) != NeedMore()


@given(tail=st.text(alphabet="0123456789abcdefABCDEF.: PROXYTCP46UNKNOWN\r\n", max_size=120))
def test_lines_of_the_right_letters_have_an_outcome(tail: str) -> None:
    outcome = read_proxy_header(b"PROXY " + tail.encode())
    assert isinstance(outcome, ProxyHeader | NeedMore | Malformed)


@pytest.mark.parametrize(
    ("data", "client"),
    [
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
        (
            b"PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
            None,
        ),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "::ffff:192.0.2.1"),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", None),
        (b"PROXY TCP4 010.0.0.1 10.0.0.2 1 2\r\n", None),
    ],
)
def test_addresses(data: bytes, client: str | None) -> None:
    outcome = read_proxy_header(data)
    if client is None:
        assert isinstance(outcome, Malformed)
    else:
        assert isinstance(outcome, ProxyHeader)
        assert IPv6Address(outcome.client) if ":" in client else outcome.client == client
        assert outcome.client in (client, "::ffff:c000:201")


def test_reasons_are_sentences() -> None:
    for data in (b"GET / HTTP/1.1\r\n", b"PROXY TCP4 a b 1 2\r\n", SIGNATURE + b"\x11" * 20):
        outcome = read_proxy_header(data)
        assert isinstance(outcome, Malformed)
        assert len(outcome.reason.split()) > 4
