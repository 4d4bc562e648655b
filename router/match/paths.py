"""One canonical path for matching and forwarding (RFC 3986 §6.2.2, rules PA1 to PA3).

A path is brought into two forms in one walk, so that what is matched and what the upstream reads
can never mean different things:

=====================  ==============================  ===================================
in the request         match form                      forwarded form
=====================  ==============================  ===================================
``%41`` (unreserved)   ``A``                           ``A``
``/a/../b``            ``/b``                          ``/b``
octet 0xE9             ``%E9``                         ``%E9``
``//a``                ``/a``                          ``//a`` (object keys, image proxies)
``%2f`` (reserved)     ``%2F``                         ``%2f``
=====================  ==============================  ===================================

What two readers could read in two ways is refused, never repaired. Reserved octets stay encoded
for ever: ``%2F`` is data, not a separator (package registries need it).
"""

import re
from typing import Final

import msgspec

from router.model.snapshot import PathCondition, PathKind

MAX_RULE_PATH: Final = 16384
"""Octets of a rule's path in match form: the longest request target that is served by default."""

_UNRESERVED: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
# Rule SL5: visible ASCII without quote, angle brackets, backslash, caret, braces, pipe, backquote
# and hash. Here also without slash, percent sign and question mark, which have a meaning.
_PLAIN: Final = rb"!$&'()*+,\-.0-9:;=@A-Z\[\]_a-z~"


class CanonicalPath(msgspec.Struct, frozen=True, gc=False):
    """The two forms of one path; both begin with a slash.

    Made once per request: without a garbage collector's header it costs a third of a tuple.
    """

    match: bytes
    forward: bytes


class PathRefused(msgspec.Struct, frozen=True):
    """Why a path is not served, or why a rule's path can never match."""

    reason: str
    """A sentence for people, without a full stop at its end."""


# Proves that both forms equal the path as it came. A repetition never begins with what the one
# before it may hold, so a path is read once whether it passes or not; no possessive quantifiers
# for that, because CPython before 3.11.5 matches groups of them wrongly. Left to the walk: empty
# segments, dot segments and whatever could be one (dots before `;` or `%`, dots after `%2F`),
# lower-case hexadecimal digits, escapes of unreserved octets, of controls, of the backslash, and
# of octets that may begin an overlong form of an ASCII character (C0, C1, F8, FC; E0 and F0
# before a low continuation octet).
_CANONICAL: Final = re.compile(
    rb"(?:/(?!/|\.\.?(?:[/;%]|\Z))[" + _PLAIN + rb"]*"
    rb"(?:%(?:2F(?!\.)|2[0-9A-C]|3[A-F]|40|5[BDE]|60|7[B-D]|[89ABD][0-9A-F]|C[2-9A-F]"
    rb"|E0(?!%[89])|E[1-9A-F]|F0(?!%8)|F[1-7])[" + _PLAIN + rb"]*)*)+"
)
_MALFORMED: Final = re.compile(rb"[^/%" + _PLAIN + rb"\x80-\xff]|%(?![0-9A-Fa-f]{2})")
_ESCAPE: Final = re.compile(rb"(%..)")
_REPEATED_SLASHES: Final = re.compile(rb"//+")
_ABOVE_ASCII: Final = {octet: f"%{octet:02X}" for octet in range(0x80, 0x100)}

# Searched in the path as it came: afterwards the dot is no longer encoded.
_ENCODED_DOT_BY_SLASH: Final = re.compile(rb"%2[eE]%2[fF]|%2[fF]%2[eE]")
# Searched in the match form, where a `%` always begins an upper-case escape.
_DOT_SEGMENT: Final = re.compile(rb"/\.{1,2}(?=/|\Z)")
_REFUSED: Final[tuple[tuple[re.Pattern[bytes], str], ...]] = (
    (re.compile(rb"%5C"), "the path holds an encoded backslash (%5C)"),
    (re.compile(rb"%00"), "the path holds an encoded NUL (%00)"),
    (
        # Overlong UTF-8 of slash and dot, and of the backslash, in 2 to 6 octets.
        re.compile(
            rb"%C0%A[EF]|%C1%9C|%E0%80%A[EF]|%E0%81%9C|%F0%80%80%A[EF]|%F0%80%81%9C"
            rb"|%F8%80%80%80%A[EF]|%F8%80%80%81%9C|%FC%80%80%80%80%A[EF]|%FC%80%80%80%81%9C"
        ),
        "the path holds an overlong UTF-8 form of a slash, dot or backslash",
    ),
    (
        # Servlet containers cut `;…` off and then read a dot segment.
        re.compile(rb"(?:/|%2F)\.{1,2}(?:;|%3B)"),
        "the path holds a dot segment with a parameter (..;)",
    ),
    (
        # A reader that decodes %2F sees a dot segment where we see data.
        re.compile(rb"%2F\.{1,2}(?=/|%2F|\Z)|/\.{1,2}%2F"),
        "the path holds a dot segment next to an encoded slash (%2F)",
    ),
)


def _escape_forms() -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """For each way to write an escape: its two forms."""
    match, forward = {}, {}
    for octet in range(256):
        plain, upper = bytes((octet,)), b"%%%02X" % octet
        high, low = upper[1:2], upper[2:3]
        for first in {high, high.lower()}:
            for second in {low, low.lower()}:
                written = b"%" + first + second
                match[written] = plain if plain in _UNRESERVED else upper
                forward[written] = plain if plain in _UNRESERVED else written
    return match, forward


_MATCH_FORM, _FORWARD_FORM = _escape_forms()


def canonical_path(path: bytes) -> CanonicalPath | PathRefused:
    """The match form and the forwarded form of a request target's path, or why it is refused.

    ``path`` is what stands before the first ``?``. The time is linear in its length. Both forms
    are stable: the canonical form of ``forward`` is the same pair again.
    """
    if _CANONICAL.fullmatch(path) is not None:
        return CanonicalPath(path, path)
    return _walk(path)


def _walk(path: bytes) -> CanonicalPath | PathRefused:
    if not path.startswith(b"/"):
        return PathRefused("the path does not begin with a slash")
    malformed = _MALFORMED.search(path)
    if malformed is not None:
        return PathRefused(_why_malformed(path, malformed.start()))
    if _ENCODED_DOT_BY_SLASH.search(path) is not None:
        return PathRefused("the path holds an encoded dot (%2E) next to an encoded slash (%2F)")
    match, forward = _decode(path)
    for pattern, reason in _REFUSED:
        if pattern.search(match) is not None:
            return PathRefused(reason)
    if _DOT_SEGMENT.search(match) is not None:
        if b"//" in match:
            # Merge first or climb first? Readers differ, so the path has two meanings.
            return PathRefused("the path holds both an empty segment (//) and a dot segment")
        return _without_dot_segments(match, forward)
    return CanonicalPath(_REPEATED_SLASHES.sub(b"/", match), forward)


def _decode(path: bytes) -> tuple[bytes, bytes]:
    """Unreserved octets decoded, octets above ASCII encoded, and the match form in upper case.

    ``path`` is well-formed: a ``%`` begins an escape.
    """
    match = forward = path
    if b"%" in path:
        pieces = _ESCAPE.split(path)  # literal, escape, literal, …
        escapes = pieces[1::2]
        pieces[1::2] = map(_FORWARD_FORM.__getitem__, escapes)
        forward = b"".join(pieces)
        pieces[1::2] = map(_MATCH_FORM.__getitem__, escapes)
        match = b"".join(pieces)
    if not path.isascii():
        match, forward = (
            form.decode("latin-1").translate(_ABOVE_ASCII).encode("ascii")
            for form in (match, forward)
        )
    return match, forward


def _without_dot_segments(match: bytes, forward: bytes) -> CanonicalPath | PathRefused:
    """RFC 3986 §5.2.4 for both forms of a path without empty segments."""
    kept: list[tuple[bytes, bytes]] = []
    dot = False
    # Slashes are never encoded or decoded, so the segments of both forms correspond.
    for both in zip(match.split(b"/")[1:], forward.split(b"/")[1:], strict=True):
        dot = both[0] in (b".", b"..")
        if not dot:
            kept.append(both)
        elif both[0] == b"..":
            if not kept:
                return PathRefused("the path climbs above the root")
            kept.pop()
    if dot:
        kept.append((b"", b""))  # `/a/.` names the folder `/a/`
    return CanonicalPath(
        b"".join(b"/" + segment for segment, _ in kept),
        b"".join(b"/" + segment for _, segment in kept),
    )


def _why_malformed(path: bytes, at: int) -> str:
    octet = path[at : at + 1]
    if octet == b"%":
        return f"the path holds a % without two hexadecimal digits, at octet {at}"
    if octet == b"\\":
        return f"the path holds a backslash, at octet {at}"
    shown = repr(octet)[2:-1] if octet > b" " and octet != b"\x7f" else f"0x{octet.hex().upper()}"
    return f"the path holds a character that no URL path may hold ({shown}), at octet {at}"


# Legal in a rule's path but not in a request target: escaped, as a client must escape them.
_TO_ESCAPE: Final = re.compile(rb"[^/%" + _PLAIN + rb"\x80-\xff]")


def path_condition(kind: PathKind, written: str) -> PathCondition | PathRefused:
    """The condition for the path of a rule, or why no request could ever meet it.

    The rule may hold spaces, letters beyond ASCII and needless escapes: they are brought into
    match form, as a client's are. What the API server refuses for Exact and Prefix is refused
    here too: no leading slash, ``//``, dot segments and ``%2F`` (networking/v1 validation).
    """
    try:
        octets = written.encode()
    except UnicodeEncodeError:
        return PathRefused("the path holds half of a surrogate pair, which no URL can carry")
    if not octets.startswith(b"/"):
        return PathRefused("the path does not begin with a slash")
    for mark, name in ((b"?", "query"), (b"#", "fragment")):
        if mark in octets:
            return PathRefused(
                f"the path holds a {name} ({mark.decode()}), and requests are matched by their "
                f"path alone; a literal {mark.decode()} is written %{mark.hex().upper()}"
            )
    if b"\\" in octets:
        return PathRefused("the path holds a backslash, and requests with one are refused")
    escaped = _TO_ESCAPE.sub(lambda found: b"%%%02X" % found[0][0], octets)
    canonical = canonical_path(escaped)
    if isinstance(canonical, PathRefused):
        return canonical
    decoded, _ = _decode(escaped)
    if b"//" in decoded:
        return PathRefused("the path holds an empty segment (//)")
    if _DOT_SEGMENT.search(decoded) is not None:
        return PathRefused("the path holds a dot segment (. or ..), which requests never keep")
    if b"%2F" in decoded:
        return PathRefused("the path holds an encoded slash (%2F), which Ingress paths may not")
    match = canonical.match.decode("ascii")
    if len(match) > MAX_RULE_PATH:
        return PathRefused(
            f"the path has {len(match)} octets, and no request's path has over {MAX_RULE_PATH}"
        )
    return PathCondition(kind=kind, value=match.removesuffix("/") if kind == "prefix" else match)
