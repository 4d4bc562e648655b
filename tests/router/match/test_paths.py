"""Canonical paths: rules PA1 to PA3, each case in one row."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.match.paths import (
    CanonicalPath,
    PathRefused,
    canonical_path,
    path_condition,
)


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/a",
        b"/a/",
        b"/api/v1/users/123",
        b"/.well-known/acme-challenge/t0-k_n",
        b"/a.b/c.html",
        b"/...",
        b"/..a/.b/c../d.",
        b"/a;p=1/b",
        b"/;a",
        b"/a..;b",
        b"/!$&'()*+,-.:=@[]_~",
        b"/@scope%2Fname",
        b"/%2F",
        b"/a%2Fb%2F",
        b"/a%3Fb",
        b"/a%23b",
        b"/a%0D%0AX:y",
        b"/%252e%252e/admin",
        b"/%25",
        b"/%E4%BD%A0%E5%A5%BD",
        b"/%E0%A4%A8",
        b"/%F0%9F%98%80",
        b"/%C3%A9%FF",
        b"/a%20b",
        b"/a%2F.b",
        b"/%2F...",
    ],
)
def test_canonical_paths_stay_as_they_are(path: bytes) -> None:
    assert canonical_path(path) == CanonicalPath(path, path)


@pytest.mark.parametrize(
    ("path", "match", "forward"),
    [
        pytest.param(b"/%41%7e%2D", b"/A~-", b"/A~-", id="unreserved octets are decoded in both"),
        pytest.param(b"/a%2fb", b"/a%2Fb", b"/a%2fb", id="digits are upper-cased in the match"),
        pytest.param(b"/%e4%bd", b"/%E4%BD", b"/%e4%bd", id="so are those of octets above ASCII"),
        pytest.param(b"/\xc3\xa9", b"/%C3%A9", b"/%C3%A9", id="raw octets above ASCII are encoded"),
        pytest.param(b"//admin", b"/admin", b"//admin", id="N05 slashes are merged in the match"),
        pytest.param(b"/a///b//", b"/a/b/", b"/a///b//", id="slashes inside and at the end"),
        pytest.param(b"//", b"/", b"//", id="only slashes"),
        pytest.param(b"/./admin", b"/admin", b"/admin", id="N07 a dot segment is removed"),
        pytest.param(b"/a/.", b"/a/", b"/a/", id="N20 a dot at the end names the folder"),
        pytest.param(b"/a/b/..", b"/a/", b"/a/", id="so do two dots"),
        pytest.param(b"/a/../b", b"/b", b"/b", id="two dots take a segment away"),
        pytest.param(b"/a/..", b"/", b"/", id="down to the root"),
        pytest.param(b"/.", b"/", b"/", id="a dot at the root"),
        pytest.param(b"/a/%2e%2E/b", b"/b", b"/b", id="N09 encoded dots between raw slashes"),
        pytest.param(b"/a/.%2e/%2fb", b"/%2Fb", b"/%2fb", id="dots away from an encoded slash"),
        pytest.param(b"/a%2fb/../c", b"/c", b"/c", id="an encoded slash goes with its segment"),
        pytest.param(b"/%252f/%41", b"/%252f/A", b"/%252f/A", id="an encoded % begins no escape"),
    ],
)
def test_paths_get_two_forms(path: bytes, match: bytes, forward: bytes) -> None:
    assert canonical_path(path) == CanonicalPath(match, forward)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"", "does not begin with a slash"),
        (b"*", "does not begin with a slash"),
        (b"a/b", "does not begin with a slash"),
        (b"%2Fa", "does not begin with a slash"),
        (b"/a/%2e%2e%2fadmin", "encoded dot"),
        (b"/a/%2fb%2F%2E%2E%2f", "encoded dot"),
        (b"/a%2e%2fb", "encoded dot"),
        (b"/a/..%2fadmin", "next to an encoded slash"),
        (b"/a%2F..", "next to an encoded slash"),
        (b"/a%2F./b", "next to an encoded slash"),
        (b"/a%2f..%2fb", "next to an encoded slash"),
        (b"/..;/admin", "dot segment with a parameter"),
        (b"/a/..;x=1/admin", "dot segment with a parameter"),
        (b"/a/.;/b", "dot segment with a parameter"),
        (b"/a/%2e%2E;/b", "dot segment with a parameter"),
        (b"/a/..%3bx", "dot segment with a parameter"),
        (b"/a%2F..;x", "dot segment with a parameter"),
        (b"/a\\b", "holds a backslash, at octet 2"),
        (b"/a/%5c..%5cadmin", "encoded backslash"),
        (b"/%5C", "encoded backslash"),
        (b"/a/%2e%5cadmin", "encoded backslash"),
        (b"/a%00b", "NUL"),
        (b"/%zz", "% without two hexadecimal digits, at octet 1"),
        (b"/a%", "% without two hexadecimal digits"),
        (b"/a%4", "% without two hexadecimal digits"),
        (b"/%%41", "% without two hexadecimal digits"),
        (b"/%u002e", "% without two hexadecimal digits"),
        (b"/%c0%af", "overlong"),
        (b"/%C0%AE%c0%ae/x", "overlong"),
        (b"/%e0%80%af", "overlong"),
        (b"/%f0%80%80%ae", "overlong"),
        (b"/%f8%80%80%80%af", "overlong"),
        (b"/%fc%80%80%80%80%ae", "overlong"),
        (b"/%c1%9c", "overlong"),
        (b"/\xc0\xaf", "overlong"),
        (b"/\xc0%af", "overlong"),
        (b"/..", "above the root"),
        (b"/../a", "above the root"),
        (b"/a/../../b", "above the root"),
        (b"/%2e%2e/a", "above the root"),
        (b"//../a", "both an empty segment"),
        (b"/a//./b", "both an empty segment"),
        (b"/a/..//", "both an empty segment"),
        (b"/a?b", r"\(\?\), at octet 2"),
        (b"/a b", "0x20"),
        (b"/a\x00", "0x00"),
        (b"/a\x7f", "0x7F"),
        (b"/a\n", "0x0A"),
        *((b"/" + bytes((octet,)), re.escape(chr(octet))) for octet in b'"<>^`{|}#'),
    ],
)
def test_ambiguous_and_malformed_paths_are_refused(path: bytes, reason: str) -> None:
    refused = canonical_path(path)
    assert isinstance(refused, PathRefused)
    assert re.search(reason, refused.reason)


CATALOGUE = [
    # The catalogue's rows about paths, as amended: None is refused, else what is forwarded.
    pytest.param(b"/a/%2e%2e%2fadmin", None, id="N03"),
    pytest.param(b"//admin", b"//admin", id="N05"),
    pytest.param(b"/./admin", b"/admin", id="N07"),
    pytest.param(b"/a%0d%0aX:y", b"/a%0d%0aX:y", id="N11"),
    pytest.param(b"/a/%5c..%5cadmin", None, id="N13"),
    pytest.param(b"/%zz", None, id="N14"),
    pytest.param(b"/%c0%af", None, id="N16"),
    pytest.param(b"/a/.", b"/a/", id="N20"),
    pytest.param(b"/a;p=1/b", b"/a;p=1/b", id="N23"),
    pytest.param(b"/%2F", b"/%2F", id="N24"),
    pytest.param(b"/a%3Fb", b"/a%3Fb", id="N25"),
    pytest.param(b"/%252e%252e/admin", b"/%252e%252e/admin", id="N27"),
]


@pytest.mark.parametrize(("path", "forward"), CATALOGUE)
def test_rows_of_the_catalogue(path: bytes, forward: bytes | None) -> None:
    canonical = canonical_path(path)
    assert (canonical.forward if isinstance(canonical, CanonicalPath) else None) == forward


# Text that is dense in everything that has a meaning in paths.
_PIECES = [
    *"/./..;aA%~-:",
    *("//", "..", "/..", "/.", "%2e", "%2E", "%2f", "%2F", "%5c", "%41", "%7e", "%25", "%3b"),
    *("%00", "%0d", "%c0", "%C0", "%af", "%AE", "%e0", "%80", "%f0", "%f8", "%fc", "%ff"),
    *("%c1", "%9C", "\xc0", "\xaf", "\xe9", "\\", " ", "?"),
]
paths = st.lists(st.sampled_from(_PIECES), max_size=14).map(
    lambda pieces: b"/" + "".join(pieces).encode("latin-1")
)


@given(paths)
def test_the_canonical_form_of_a_forwarded_path_is_the_same(path: bytes) -> None:
    once = canonical_path(path)
    if isinstance(once, CanonicalPath):
        assert canonical_path(once.forward) == once


@given(paths)
def test_the_match_form_is_its_own_canonical_form(path: bytes) -> None:
    once = canonical_path(path)
    if isinstance(once, CanonicalPath):
        assert canonical_path(once.match) == CanonicalPath(once.match, once.match)


def _plain_forms(path: bytes) -> CanonicalPath | None:
    """Rules PA1 to PA3 octet by octet, without a regular expression; None when refused."""
    legal = set(b"!$&'()*+,-./0123456789:;=@[]_~") | {*range(0x41, 0x5B), *range(0x61, 0x7B)}
    unreserved = {*b"-._~0123456789", *range(0x41, 0x5B), *range(0x61, 0x7B)}
    if path[:1] != b"/":
        return None
    match, forward, at = b"", b"", 0
    raw = path.lower()
    if b"%2e%2f" in raw or b"%2f%2e" in raw:
        return None
    while at < len(path):
        octet = path[at]
        at += 1
        if octet >= 0x80:
            match += b"%%%02X" % octet
            forward += b"%%%02X" % octet
        elif octet != 0x25:
            if octet not in legal:
                return None
            match += bytes((octet,))
            forward += bytes((octet,))
        else:
            digits = path[at : at + 2]
            at += 2
            if len(digits) < 2 or any(digit not in b"0123456789abcdefABCDEF" for digit in digits):
                return None
            value = int(digits, 16)
            if value in unreserved:
                match += bytes((value,))
                forward += bytes((value,))
            elif value in (0, 0x5C):
                return None
            else:
                match += b"%%%02X" % value
                forward += b"%" + digits
    for overlong in (0x2E, 0x2F, 0x5C):
        tail = 0x80 | overlong & 0x3F
        for lead in ([0xC0 | overlong >> 6], [0xE0, 0x80 | overlong >> 6],
                     [0xF0, 0x80, 0x80 | overlong >> 6], [0xF8, 0x80, 0x80, 0x80 | overlong >> 6],
                     [0xFC, 0x80, 0x80, 0x80, 0x80 | overlong >> 6]):  # fmt: skip
            if b"".join(b"%%%02X" % octet for octet in (*lead, tail)) in match:
                return None
    for segment in match.split(b"/")[1:]:
        parts = segment.split(b"%2F")
        for part in parts:
            name, parameter, _ = part.replace(b"%3B", b";").partition(b";")
            if name in (b".", b"..") and (parameter or len(parts) > 1):
                return None
    forms = []
    for form in (match, forward):
        segments = form.split(b"/")[1:]
        dots = [segment for segment in segments if segment in (b".", b"..")]
        if dots and b"" in segments[:-1]:
            return None
        kept: list[bytes] = []
        for segment in segments:
            if segment == b".." and not kept:
                return None
            if segment == b"..":
                kept.pop()
            elif segment != b".":
                kept.append(segment)
        if segments[-1] in (b".", b".."):
            kept.append(b"")
        forms.append(b"/" + b"/".join(kept))
    while b"//" in forms[0]:
        forms[0] = forms[0].replace(b"//", b"/")
    return CanonicalPath(*forms)


@given(paths)
def test_forms_are_those_of_the_rules_taken_octet_by_octet(path: bytes) -> None:
    plain = _plain_forms(path)
    if plain is None:
        assert isinstance(canonical_path(path), PathRefused)
    else:
        assert canonical_path(path) == plain


@given(st.binary(max_size=40))
def test_no_octets_raise(path: bytes) -> None:
    for octets in (path, b"/" + path):
        canonical_path(octets)


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        ("exact", "/", "/"),
        ("prefix", "/", ""),
        ("exact", "/foo/", "/foo/"),
        ("prefix", "/foo/", "/foo"),
        ("prefix", "/foo", "/foo"),
        ("exact", "/a b", "/a%20b"),
        ("exact", "/é", "/%C3%A9"),
        ("exact", "/%c3%a9", "/%C3%A9"),
        ("exact", "/%41~%7E", "/A~~"),
        ("prefix", '/{id}"<>^`|', "/%7Bid%7D%22%3C%3E%5E%60%7C"),
        ("prefix", "/.well-known/acme-challenge/", "/.well-known/acme-challenge"),
        ("exact", "/a%3Fb", "/a%3Fb"),
        ("exact", "/*", "/*"),
        ("exact", "/line\nfeed", "/line%0Afeed"),
    ],
)
def test_a_rules_path_is_brought_into_match_form(kind: str, written: str, value: str) -> None:
    condition = path_condition("exact" if kind == "exact" else "prefix", written)
    assert not isinstance(condition, PathRefused)
    assert (condition.kind, condition.value) == (kind, value)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "does not begin with a slash"),
        ("foo", "does not begin with a slash"),
        ("%2Ffoo", "does not begin with a slash"),
        ("/a//b", "empty segment"),
        ("/a/./b", "dot segment"),
        ("/a/..", "dot segment"),
        ("/a/%2e%2e/b", "dot segment"),
        ("/..", "above the root"),
        ("/a/..;/b", "dot segment with a parameter"),
        ("/a%2fb", "encoded slash"),
        ("/a?b=c", "a query"),
        ("/a#b", "a fragment"),
        ("/100%", "% without two hexadecimal digits"),
        ("/a\\b", "backslash"),
        ("/a%5Cb", "backslash"),
        ("/a\x00", "NUL"),
        ("/\ud800", "surrogate"),
        ("/" + "a" * 16384, "16385 octets"),
    ],
)
@pytest.mark.parametrize("kind", ["exact", "prefix"])
def test_a_rules_path_that_can_never_match_is_refused(kind: str, written: str, reason: str) -> None:
    refused = path_condition("exact" if kind == "exact" else "prefix", written)
    assert isinstance(refused, PathRefused)
    assert reason in refused.reason


@given(st.text(max_size=20))
def test_an_accepted_exact_path_is_met_by_its_own_value(written: str) -> None:
    """What a rule may hold, a request can send."""
    condition = path_condition("exact", "/" + written)
    if not isinstance(condition, PathRefused):
        sent = condition.value.encode("ascii")
        assert canonical_path(sent) == CanonicalPath(sent, sent)
