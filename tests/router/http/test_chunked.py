"""The chunked coding: what was cut into chunks comes out whole, however it arrives."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.http.chunked import MAX_TRAILERS, ChunkedDecoder, chunk, last_chunk
from router.http.faults import BAD_CHUNK, BAD_TRAILER, TRAILERS_TOO_LARGE, Fault
from router.http.fields import REQUEST_KINDS, REQUEST_PREFIXES, FieldReader


def decoder(*, refuse: bool = True) -> ChunkedDecoder:
    fields = FieldReader(REQUEST_KINDS, REQUEST_PREFIXES, max_line=16384, drop_underscores=True)
    return ChunkedDecoder(fields, refuse_trailers=refuse)


def decode(stream: bytes, cuts: list[int], *, refuse: bool = True) -> tuple[bytes, bytes] | Fault:
    """Body and rest, feeding the stream cut at these places."""
    taker = decoder(refuse=refuse)
    body = b""
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    rest = b""
    for start, end in pairwise(edges):
        piece = stream[start:end]
        if taker.done:
            rest += piece
            continue
        if not piece:
            continue
        pieces = taker.feed(piece)
        if isinstance(pieces, Fault):
            return pieces
        body += b"".join(pieces)
        if taker.done:
            rest = taker.rest
    assert taker.done
    return body, rest


@given(
    st.lists(st.binary(min_size=1, max_size=40)),
    st.binary(max_size=20),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_any_body_in_any_chunks_cut_anywhere_comes_out_whole(
    pieces: list[bytes], rest: bytes, cuts: list[int]
) -> None:
    stream = b"".join(map(chunk, pieces)) + last_chunk([]) + rest
    assert decode(stream, cuts) == (b"".join(pieces), rest)


@pytest.mark.parametrize(
    ("stream", "fault"),
    [
        pytest.param(b"5 \r\nhello\r\n0\r\n\r\n", BAD_CHUNK, id="blank after the size"),
        pytest.param(b"0x5\r\nhello\r\n0\r\n\r\n", BAD_CHUNK, id="prefixed size"),
        pytest.param(b"5_0\r\n", BAD_CHUNK, id="digit separator of Python"),
        pytest.param(b"00000000000000005\r\nhello", BAD_CHUNK, id="17 digits"),
        pytest.param(b"20000000000000\r\n", BAD_CHUNK, id="2^53"),
        pytest.param(b"5\r\nhelloXX", BAD_CHUNK, id="data longer than its size"),
        pytest.param(b"5\nhello", BAD_CHUNK, id="bare line feed"),
        pytest.param(b"5;a=\x00\r\nhello", BAD_CHUNK, id="control in an extension"),
        pytest.param(b"1;" + b"a" * 255 + b"\r\nZ\r\n", BAD_CHUNK, id="long extension"),
        pytest.param((b"1;" + b"a" * 200 + b"\r\nZ\r\n") * 100, BAD_CHUNK, id="many extensions"),
        pytest.param(b"0\r\nHost: a\r\n\r\n", BAD_TRAILER, id="routing field as a trailer"),
        pytest.param(b"0\r\nContent-Length: 4\r\n\r\n", BAD_TRAILER, id="framing as a trailer"),
        pytest.param(b"0\r\nX y\r\n\r\n", BAD_TRAILER, id="trailer without colon"),
        pytest.param(
            b"0\r\n" + b"a: b\r\n" * (MAX_TRAILERS + 1) + b"\r\n",
            TRAILERS_TOO_LARGE,
            id="33 trailers",
        ),
    ],
)
def test_refused(stream: bytes, fault: Fault) -> None:
    assert decode(stream, []) == fault
    assert decode(stream, list(range(len(stream)))) == fault


def test_extensions_are_read_and_forgotten() -> None:
    assert decode(b'5;a=b;c="d\\"e"\r\nhello\r\n0;last\r\n\r\n', []) == (b"hello", b"")


def test_an_upstreams_forbidden_trailer_is_dropped_not_fatal() -> None:
    assert decode(b"0\r\nHost: a\r\nX-Sum: 1\r\n\r\n", [], refuse=False) == (b"", b"")


def test_trailers_are_kept_apart() -> None:
    taker = decoder()
    taker.feed(b"0\r\nX-Sum: 1\r\n\r\n")
    assert [(field.name, field.value) for field in taker.trailers] == [(b"x-sum", b"1")]
