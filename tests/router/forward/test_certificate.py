"""What upstreams are told about client certificates, whatever the certificates say."""

import re
import string
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.forward.certificate import (
    NO_CERTIFICATE,
    certificate_lines,
    distinguished_name,
    whole_certificate,
)

KINDS = st.sampled_from(
    ["commonName", "organizationName", "countryName", "1.2.3.4", "emailAddress"]
)
NAMES = st.lists(
    st.lists(st.tuples(KINDS, st.text(max_size=20)), min_size=1, max_size=3), max_size=5
)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("alice", "alice"),
        ("a,b", "a\\,b"),
        ('"quoted"', '\\"quoted\\"'),
        ("a+b=c;d<e>f\\g", "a\\+b\\=c\\;d\\<e\\>f\\\\g"),
        (" padded ", "\\ padded\\ "),
        ("in the middle", "in the middle"),
        ("#hash", "\\#hash"),
        ("a#hash", "a#hash"),
        ("line\r\nX-Injected: yes", "line\\0D\\0AX-Injected: yes"),
        ("nul\x00", "nul\\00"),
        ("del\x7f", "del\\7F"),
        ("ü", "\\C3\\BC"),
        ("雪", "\\E9\\9B\\AA"),
        ("\ud800", "\\ED\\A0\\80"),
        ("", ""),
        (" ", "\\ "),
    ],
)
def test_odd_characters(value: str, written: str) -> None:
    assert distinguished_name([[("commonName", value)]]) == f"CN={written}"


def test_most_specific_part_first() -> None:
    names = (
        (("countryName", "DE"),),
        (("organizationName", "Acme"),),
        (("commonName", "a"), ("emailAddress", "a@b.test")),
    )
    assert distinguished_name(names) == "CN=a+emailAddress=a@b.test,O=Acme,C=DE"


def _parse(written: str) -> list[list[tuple[str, str]]]:
    """A plain reader of RFC 4514."""
    parts: list[list[tuple[str, str]]] = []
    for relative in re.findall(r"(?:[^\\,]|\\.)+", written):
        pairs = []
        for pair in re.findall(r"(?:[^\\+]|\\.)+", relative):
            kind, _, value = pair.partition("=")
            octets = bytearray()
            at = 0
            while at < len(value):
                if value[at] != "\\":
                    octets += value[at].encode()
                    at += 1
                elif (
                    set(value[at + 1 : at + 3]) <= set(string.hexdigits)
                    and len(value[at + 1 : at + 3]) == 2
                ):
                    octets.append(int(value[at + 1 : at + 3], 16))
                    at += 3
                else:
                    octets += value[at + 1].encode()
                    at += 2
            pairs.append((kind, octets.decode("utf-8", "surrogatepass")))
        parts.append(pairs)
    return parts


@given(names=NAMES)
def test_what_is_written_can_be_read_again(names: list[list[tuple[str, str]]]) -> None:
    short = {"commonName": "CN", "organizationName": "O", "countryName": "C"}
    right = [[(short.get(kind, kind), value) for kind, value in part] for part in reversed(names)]
    assert _parse(distinguished_name(names)) == right


@given(subject=NAMES, issuer=NAMES, der=st.binary(max_size=50))
def test_lines_are_always_well_formed_fields(
    subject: list[list[tuple[str, str]]], issuer: list[list[tuple[str, str]]], der: bytes
) -> None:
    lines = certificate_lines(subject=subject, issuer=issuer, der=der).split(b"\r\n")
    assert lines.pop() == b""
    assert [line.partition(b":")[0] for line in lines] == [
        b"ssl-client-verify",
        b"ssl-client-subject-dn",
        b"ssl-client-issuer-dn",
        b"ssl-client-fingerprint",
    ]
    for line in lines:
        assert all(0x20 <= octet <= 0x7E for octet in line)


@given(pem=st.text(max_size=200))
def test_whole_certificates_are_one_line(pem: str) -> None:
    pem = pem.encode("utf-8", "ignore").decode()
    line = whole_certificate(pem)
    assert line.endswith(b"\r\n")
    value = line.removeprefix(b"ssl-client-cert: ").removesuffix(b"\r\n")
    assert re.fullmatch(rb"[A-Za-z0-9_.~%-]*", value)
    assert unquote(value.decode()) == pem


def test_no_certificate_is_one_line() -> None:
    assert NO_CERTIFICATE == b"ssl-client-verify: NONE\r\n"
