"""Paths (rules PA1 to PA3, and the decisions that overrule their table)."""

from tests.corpus.rows import Row, Seen, forward, refuse


def _get(path: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: h.test\r\n\r\n"


_FORWARDED: tuple[tuple[str, str, bytes, str | tuple[str, ...]], ...] = (
    ("N02 encoded dot segments", "PA1", b"/a/%2e%2E/admin", "/admin"),
    ("N04 dot segment up", "PA1", b"/a/../admin", "/admin"),
    ("N05 leading repeated slash", "PA1", b"//admin", "//admin"),
    ("N06 inner repeated slash", "PA1", b"/a//b", "/a//b"),
    ("N07 dot segment", "PA1", b"/./admin", "/admin"),
    ("N08 dot segment up at the end", "PA1", b"/a/b/..", "/a/"),
    ("N09 encoded letter", "PA1", b"/%61dmin", "/admin"),
    ("N09b encoded unreserved marks", "PA1", b"/a%7Eb%2Dc%5Fd", "/a~b-c_d"),
    ("N10 three dots", "PA1", b"/.../a", "/.../a"),
    ("N10b dots inside a segment", "PA1", b"/a..b/..c/d..", "/a..b/..c/d.."),
    ("N11 encoded CR and LF", "PA3", b"/a%0d%0aX:y", "/a%0d%0aX:y"),
    ("N20 dot segment at the end", "PA1", b"/a/.", "/a/"),
    ("N21 only a dot", "PA1", b"/.", "/"),
    ("N22 half encoded dot segment", "PA1", b"/a/.%2e/b", "/b"),
    ("N23 parameters", "PA3", b"/a;p=1/b", "/a;p=1/b"),
    ("N24 encoded slash", "PA3", b"/%2F", "/%2F"),
    ("N24b encoded slash inside", "PA3", b"/@scope%2fname", "/@scope%2fname"),
    ("N25 encoded question mark", "PA3", b"/a%3Fb", "/a%3Fb"),
    ("N25b encoded hash", "PA3", b"/a%23b", "/a%23b"),
    ("N27 doubly encoded dot segment", "PA3", b"/%252e%252e/admin", "/%252e%252e/admin"),
    ("N28 encoded space", "PA3", b"/a%20b", "/a%20b"),
    ("N29 encoded UTF-8", "PA3", b"/%C3%A9", "/%C3%A9"),
    ("N30 reserved characters", "PA3", b"/a!$&'()*+,;=:@b", "/a!$&'()*+,;=:@b"),
    ("N31 trailing slash", "PA1", b"/a/", "/a/"),
    ("N32 query is not a path", "PA1", b"/a?/../admin", "/a?/../admin"),
    ("N33 encoded percent", "PA3", b"/100%25", "/100%25"),
)

_REFUSED: tuple[tuple[str, str, bytes], ...] = (
    ("N01 above the root", "PA2", b"/../admin"),
    ("N01b above the root, later", "PA2", b"/a/../../admin"),
    ("N03 encoded dots and slash", "PA2", b"/a/%2e%2e%2fadmin"),
    ("N03b dots and encoded slash", "PA2", b"/a/..%2fadmin"),
    ("N06b repeated slash and dot segment", "PA1", b"/a//../b"),
    ("N06c repeated slash and encoded dot segment", "PA1", b"/a//%2e%2e/b"),
    ("N12 encoded NUL", "PA2", b"/a%00b"),
    ("N13 encoded backslash and dots", "PA2", b"/a/%5c..%5cadmin"),
    ("N13b encoded backslash", "PA2", b"/a%5Cb"),
    ("N13c dots and encoded backslash", "PA2", b"/a/..%5cadmin"),
    ("N14 bad percent", "PA2", b"/%zz"),
    ("N14b percent at the end", "PA2", b"/a%"),
    ("N14c one digit after percent", "PA2", b"/a%2"),
    ("N15 raw backslash", "PA2", b"/a\\..\\admin"),
    ("N16 overlong slash", "PA2", b"/%c0%af"),
    ("N16b overlong dots", "PA2", b"/%c0%ae%c0%ae/admin"),
    ("N16c overlong slash of three octets", "PA2", b"/%e0%80%af"),
    ("N16d overlong slash, raw octets", "PA2", b"/\xc0\xaf"),
    ("N17 dots with parameters", "PA2", b"/a/..;/admin"),
    ("N17b dots with parameters at the begin", "PA2", b"/..;/admin"),
    ("N18 encoded dots with parameters", "PA2", b"/a/%2e%2e;x=1/admin"),
)

ROWS: tuple[Row, ...] = (
    *(
        forward(name, rule, _get(path), Seen(target=target))
        for name, rule, path, target in _FORWARDED
    ),
    *(refuse(name, rule, _get(path)) for name, rule, path in _REFUSED),
)
