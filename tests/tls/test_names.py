"""Names in normal form, and which certificate name covers which host."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tls.names import any_covers, covers, normalise, normalise_pattern, wildcard_of


@pytest.mark.parametrize(
    ("written", "name"),
    [
        pytest.param("shop.test", "shop.test", id="as it is"),
        pytest.param(b"SHOP.Test", "shop.test", id="capitals become small"),
        pytest.param("shop.test.", "shop.test", id="one trailing dot goes"),
        pytest.param("xn--bcher-kva.test", "xn--bcher-kva.test", id="A-labels stay"),
        pytest.param("my_shop.test", "my_shop.test", id="underscores are taken"),
        pytest.param("localhost", "localhost", id="one label"),
        pytest.param("1.test", "1.test", id="a label of digits that is not the last"),
        pytest.param("a" * 63 + ".test", "a" * 63 + ".test", id="a label of 63"),
        pytest.param("shop.test..", None, id="two trailing dots"),
        pytest.param("", None, id="empty"),
        pytest.param(".", None, id="the root"),
        pytest.param("a..test", None, id="an empty label"),
        pytest.param("a" * 64 + ".test", None, id="a label of 64"),
        pytest.param("192.0.2.1", None, id="an IPv4 address"),
        pytest.param("a.test.1", None, id="a last label of digits"),
        pytest.param("2001:db8::1", None, id="an IPv6 address"),
        pytest.param("[::1]", None, id="an IPv6 address in brackets"),
        pytest.param("shop.test\x00.evil.test", None, id="a NUL"),
        pytest.param("shop.test\n", None, id="a newline at the end"),
        pytest.param("shop test", None, id="a space"),
        pytest.param(b"b\xc3\xbccher.test", None, id="a U-label in bytes"),
        pytest.param("bücher.test", None, id="a U-label"),
        pytest.param("\u212aelvin.test", None, id="a Kelvin sign, whose small letter is k"),
        pytest.param("*.shop.test", None, id="a wildcard is a pattern, not a name"),
        pytest.param(("a" * 49 + ".") * 5 + "abc", ("a" * 49 + ".") * 5 + "abc", id="253 long"),
        pytest.param(("a" * 49 + ".") * 5 + "abcd", None, id="254 long"),
        pytest.param("a" * 300, None, id="300 long"),
    ],
)
def test_a_name_has_one_normal_form_or_none(written: str | bytes, name: str | None) -> None:
    assert normalise(written) == name


@pytest.mark.parametrize(
    ("written", "pattern"),
    [
        pytest.param("*.Shop.test.", "*.shop.test", id="a wildcard"),
        pytest.param("shop.test", "shop.test", id="a name is a pattern"),
        pytest.param("*", None, id="a star alone"),
        pytest.param("*.*.test", None, id="two stars"),
        pytest.param("a*.test", None, id="a star within a label"),
        pytest.param("a.*.test", None, id="a star that is not first"),
    ],
)
def test_a_pattern_may_begin_with_a_star(written: str, pattern: str | None) -> None:
    assert normalise_pattern(written) == pattern


@pytest.mark.parametrize(
    ("certificate", "host", "right"),
    [
        pytest.param("a.test", "a.test", True, id="the same name"),
        pytest.param("a.test", "b.test", False, id="another name"),
        pytest.param("a.test", "x.a.test", False, id="a name below"),
        pytest.param("*.a.test", "x.a.test", True, id="a wildcard, one label below"),
        pytest.param("*.a.test", "x.y.a.test", False, id="a wildcard, two labels below"),
        pytest.param("*.a.test", "a.test", False, id="a wildcard, its parent"),
        pytest.param("*.a.test", "xn--bcher-kva.a.test", True, id="a wildcard, an A-label"),
        pytest.param("*.a.test", "*.a.test", True, id="the same wildcard"),
        pytest.param("*.test", "*.a.test", False, id="a wildcard above a wildcard"),
        pytest.param("x.a.test", "*.a.test", False, id="a name below a wildcard host"),
        pytest.param("*.a.test", "evila.test", False, id="only the end is equal"),
        pytest.param("192.0.2.1", "192.0.2.1", True, id="an address names itself"),
    ],
)
def test_a_certificate_name_covers_a_host(certificate: str, host: str, *, right: bool) -> None:
    """RFC 9525 §6.3."""
    assert covers(certificate, host) is right
    assert any_covers(("other.test", certificate), host) is right


def test_no_names_cover_nothing() -> None:
    assert not any_covers((), "a.test")


def test_a_name_of_one_label_has_no_wildcard() -> None:
    assert wildcard_of("localhost") is None
    assert wildcard_of("a.b.test") == "*.b.test"


@given(st.one_of(st.text(max_size=300), st.binary(max_size=300)))
def test_the_normal_form_is_its_own_normal_form(written: str | bytes) -> None:
    name = normalise(written)
    if name is not None:
        assert normalise(name) == name
        assert normalise(name.upper() + ".") == name
        assert name == name.lower()
        assert not name.endswith(".")


LABEL = st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True)


@given(st.lists(LABEL, min_size=1, max_size=4), st.lists(LABEL, min_size=1, max_size=4))
def test_a_wildcard_covers_exactly_the_names_one_label_below(
    below: list[str], parent: list[str]
) -> None:
    host = ".".join(below + parent)
    assert covers("*." + ".".join(parent), host) is (len(below) == 1)
