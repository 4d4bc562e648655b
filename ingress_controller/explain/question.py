"""The request that is asked about: as a client would send it, and as a worker would read it."""

import re
from collections.abc import Sequence
from typing import Final

from ingress_controller.explain.explanation import Asked
from router.http.faults import Fault
from router.http.fields import REQUEST_KINDS, REQUEST_PREFIXES, Field, FieldReader
from router.http.head import RequestHead
from router.http.request_decoder import RequestDecoder
from router.model.limits import Limits
from tls.names import normalise

_URL: Final = re.compile(
    r"(?:(https?)://|(?=/)|(?!\w+://))([^/?#]*)([^#]*)(#.*)?", re.DOTALL | re.IGNORECASE
)


def ask(url: str, method: str, headers: Sequence[str]) -> tuple[Asked, tuple[str, ...]]:
    """The request that a client would send for a URL, and what to bear in mind about it."""
    parts = _URL.fullmatch(url)
    if parts is None:
        raise ValueError(f"{url!r} is not an http URL; write http://host/path")
    authority, target = parts[2], parts[3]
    if url == "*":
        authority, target = "", "*"
    elif not target.startswith("/"):
        target = f"/{target}"
    if "@" in authority:
        raise ValueError(
            "leave the user and password out of the URL; write a header 'Authorization: …'"
        )
    names = []
    for header in headers:
        name, colon, _ = header.partition(":")
        if not colon:
            raise ValueError(f"the header {header!r} has no colon; write 'Name: value'")
        names.append(name.lower())
    if "host" not in names:
        if not authority:
            raise ValueError(
                f"{url!r} names no host; write http://host/path, or a header 'Host: …'"
            )
        headers = (f"Host: {authority}", *headers)
    for text in (method, target, *headers):
        if "\r" in text or "\n" in text:
            raise ValueError("a line break cannot be sent inside of a method, URL or header")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{text!r} holds half of a surrogate pair: not text") from None
    notes = []
    if parts[4]:
        notes.append("a fragment (#…) stays with the client: it was left out")
    if (parts[1] or "").lower() == "https":
        asked = Asked(method, target, tuple(headers), "https", _server_name(authority))
    else:
        asked = Asked(method, target, tuple(headers))
    return asked, tuple(notes)


def _server_name(authority: str) -> str | None:
    """What a client asks for in its handshake: names only, not addresses (RFC 6066 §3)."""
    if not authority:
        raise ValueError("an https URL names the host that is asked for; write https://host/path")
    return None if authority.startswith("[") else normalise(authority.partition(":")[0])


class _Listener:
    """Hears what the decoder makes of one request."""

    def __init__(self) -> None:
        self.heard: RequestHead | Fault | None = None

    def request_head(self, head: RequestHead) -> None:
        self.heard = head

    def request_body(self, piece: bytes) -> None: ...

    def request_end(self, trailers: list[Field]) -> None: ...

    def request_fault(self, fault: Fault) -> None:
        self.heard = fault


def hear(asked: Asked, limits: Limits) -> RequestHead | Fault:
    """The head as a worker reads it, or why it refuses it."""
    lines = [f"{asked.method} {asked.target} HTTP/1.1", *asked.headers, "", ""]
    listener = _Listener()
    fields = FieldReader(
        REQUEST_KINDS, REQUEST_PREFIXES, max_line=limits.max_header_line, drop_underscores=True
    )
    decoder = RequestDecoder(listener, fields, limits.max_header_size, limits.max_header_fields)
    decoder.receive("\r\n".join(lines).encode())
    if listener.heard is None:
        raise ValueError("this is no complete request; write a method and a URL")
    return listener.heard
