"""Syntax and size of fields (rules HS1 to HS7)."""

from tests.corpus.rows import END, G, Row, Seen, forward, refuse


def _line(line: bytes) -> bytes:
    return G + line + b"\r\n\r\n"


def _fields(count: int) -> bytes:
    """A request with so many fields in all."""
    return G + b"".join(b"h%d: v\r\n" % number for number in range(count - 1)) + END


def _of(size: int) -> bytes:
    """A request with one field line of this size."""
    return _line(b"X: " + b"v" * (size - 3))


ROWS: tuple[Row, ...] = (
    refuse("S01 space before the colon", "HS1", _line(b"X : y")),
    refuse("S01b tab before the colon", "HS1", _line(b"X\t: y")),
    refuse("S02 folding", "HS2", _line(b"X: a\r\n b")),
    refuse("S02b folding with a tab", "HS2", _line(b"X: a\r\n\tb")),
    refuse(
        "S03 white space before the first field", "HS5", b"GET /x HTTP/1.1\r\n Host: h.test\r\n\r\n"
    ),
    refuse(
        "S03b field of white space before the first",
        "HS5",
        b"GET /x HTTP/1.1\r\n\tX: y\r\nHost: h.test\r\n\r\n",
    ),
    refuse("S04 no colon", "HS4", _line(b"X y")),
    refuse("S05 empty name", "HS4", _line(b": y")),
    refuse("S06 NUL in a name", "HS4", _line(b"X\x00: y")),
    refuse("S07 NUL in a value", "HS3", _line(b"X: a\x00b")),
    refuse("S08 bare CR in a value", "HS3", _line(b"X: a\rb")),
    refuse("S09 bare LF in a value", "HS3", _line(b"X: a\nY: b")),
    refuse("S10 control in a value", "HS3", _line(b"X: a\x01b")),
    refuse("S10b DEL in a value", "HS3", _line(b"X: a\x7fb")),
    refuse("S10c escape in a value", "HS3", _line(b"X: \x1b[31m")),
    refuse("S11 obs-text in a name", "HS4", _line(b"X\xff: y")),
    refuse("S12 parentheses in a name", "HS4", _line(b"X(y): z")),
    refuse("S13 tab in a name", "HS4", _line(b"X\ty: z")),
    refuse("S14 semicolon in a name", "HS4", _line(b"X;y: z")),
    refuse("S15 quotes in a name", "HS4", _line(b'"X": z')),
    refuse("S15b slash in a name", "HS4", _line(b"X/y: z")),
    refuse("S16 150 fields", "HS6", _fields(150), 431),
    refuse("S16b 101 fields", "HS6", _fields(101), 431),
    forward("S16c 100 fields", "HS6", _fields(100), Seen(has=(("h98", "v"),))),
    refuse("S17 line of 20 KB", "HS6", _of(20000), 431),
    refuse("S17b line one byte too long", "HS6", _of(16385), 431),
    forward("S17c longest line", "HS6", _of(16384), Seen(has=(("x", "v" * 16381),))),
    refuse(
        "S18 70 KB in lines of 10 KB",
        "HS6",
        G + b"".join(b"h%d: %s\r\n" % (n, b"v" * 10000) for n in range(7)) + END,
        431,
    ),
    forward(
        "S18b 60 KB in lines of 10 KB",
        "HS6",
        G + b"".join(b"h%d: %s\r\n" % (n, b"v" * 10000) for n in range(6)) + END,
        Seen(has=(("h5", "v" * 10000),)),
    ),
    refuse("S19 name of 70 KB", "HS6", G + b"a" * 70000 + b": v\r\n\r\n", 431),
    forward(
        "S20 obs-text in a value",
        "HS7",
        _line(b"X: caf\xe9 \xff"),
        Seen(has=(("x", "caf\xe9 \xff"),)),
    ),
    forward("S21 empty value", "HS4", _line(b"X:"), Seen(has=(("x", ""),))),
    refuse("S22 CR CR where CRLF is expected", "SL2", G + b"\r\rX: y\r\n\r\n"),
    forward(
        "S23 white space around a value", "HS3", _line(b"X: \t a b \t "), Seen(has=(("x", "a b"),))
    ),
    forward("S24 tab inside a value", "HS3", _line(b"X: a\tb"), Seen(has=(("x", "a\tb"),))),
    forward("S25 no white space before a value", "HS4", _line(b"X:y"), Seen(has=(("x", "y"),))),
    forward(
        "S26 all token characters in a name",
        "HS4",
        _line(b"!#$%&'*+-.^`|~9a: y"),
        Seen(has=(("!#$%&'*+-.^`|~9a", "y"),)),
    ),
    forward(
        "S27 name with underscore",
        "FR6",
        _line(b"X_y: z\r\nX-Y: w"),
        Seen(has=(("x-y", "w"),), lacks=("x_y",)),
    ),
    forward("S28 repeated field", "HS4", _line(b"X: a\r\nX: b"), Seen()),
)
