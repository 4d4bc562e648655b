"""Lines come out whole, wherever the network cut them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ingress_controller.sources.lines import Lines


def fed(lines: Lines, *pieces: bytes) -> list[bytes]:
    return [line for piece in pieces for line in lines.feed(piece)]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=20))
def test_where_the_bytes_are_cut_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    lines = Lines(1000)
    places = [0, *sorted(cuts), len(data)]
    found = fed(lines, *(data[start:end] for start, end in pairwise(places)))
    whole, _, rest = data.rpartition(b"\n")
    assert found == [line for line in whole.split(b"\n") if line]
    assert lines.rest is bool(rest)
    assert not lines.too_long


def test_a_line_cut_at_every_byte_comes_out_once() -> None:
    data = b'{"type":"ADDED","object":{"a":"\\n"}}\n'
    for place in range(len(data)):
        assert fed(Lines(1000), data[:place], data[place:]) == [data[:-1]]
    assert fed(Lines(1000), *(bytes([byte]) for byte in data)) == [data[:-1]]


def test_a_line_may_be_as_long_as_the_limit_and_not_longer() -> None:
    lines = Lines(4)
    assert fed(lines, b"12", b"34\n5") == [b"1234"]
    assert not lines.too_long
    assert fed(lines, b"678", b"9\nx\n") == [b"x"]
    assert lines.too_long


def test_a_line_without_end_is_noticed_before_its_end() -> None:
    lines = Lines(4)
    assert fed(lines, b"123", b"45") == []
    assert lines.too_long
