"""Text of an annotation → value. Each parser raises ValueError with a sentence that says what to
write; the text itself is quoted by the caller.
"""

import re
from typing import NamedTuple

from router.model.upstreams import UpstreamProtocol
from tls.names import normalise
from tls.policy import Profile

MAX_DEPTH = 100
"""Intermediate authorities in a chain; OpenSSL's own bound."""
MAX_NAMESPACES = 1000
"""Names in one list."""
MAX_AGE = 10 * 365 * 86_400
"""Seconds that browsers shall remember something: ten years."""

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
"""What ingress-nginx takes: the forms of Go's strconv.ParseBool."""
_OBJECT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]{1,9}")


class Reference(NamedTuple):
    """An object, perhaps with its namespace."""

    namespace: str
    """Empty: that of the Ingress."""
    name: str


class Protocol(NamedTuple):
    """A value of backend-protocol."""

    spoken: UpstreamProtocol | None
    """None: as the Service's appProtocol says."""
    problem: str = ""
    """What is missing from it."""
    served: bool = True


_PROTOCOLS = {
    "HTTP": Protocol("http"),
    "HTTPS": Protocol("https"),
    "GRPC": Protocol("http", "gRPC needs HTTP/2, which is not spoken to backends yet"),
    "GRPCS": Protocol("https", "gRPC needs HTTP/2, which is not spoken to backends yet"),
    "AUTO_HTTP": Protocol(None, "the scheme of the client does not choose that of the backend"),
    "FCGI": Protocol(None, "FastCGI is not spoken", served=False),
}


def boolean(text: str) -> bool:
    """``true`` or ``false``."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError('write "true" or "false"')


def switch(text: str) -> bool:
    """``on`` or ``off``, and what `boolean` takes."""
    if text in ("on", "off"):
        return text == "on"
    try:
        return boolean(text)
    except ValueError:
        raise ValueError('write "on" or "off"') from None


def verify_client(text: str) -> str:
    """How client certificates are asked for."""
    if text in ("on", "off", "optional", "optional_no_ca"):
        return text
    raise ValueError('write "on", "optional" or "off"')


def depth(text: str) -> int:
    """A number of intermediate authorities."""
    if _NUMBER.fullmatch(text) is None or int(text) > MAX_DEPTH:
        raise ValueError(f'write a number from 0 to {MAX_DEPTH}, such as "1"')
    return int(text)


def seconds(text: str) -> int:
    """A time that browsers remember something."""
    if _NUMBER.fullmatch(text) is None or int(text) > MAX_AGE:
        raise ValueError(f'write a number of seconds up to {MAX_AGE}, such as "31536000"')
    return int(text)


def reference(text: str) -> Reference:
    """``name`` or ``namespace/name``."""
    namespace, slash, name = text.rpartition("/")
    parts = (namespace, name) if slash else (name,)
    if any(_OBJECT_NAME.fullmatch(part) is None for part in parts):
        raise ValueError("write the name of an object of the Ingress's own namespace")
    return Reference(namespace, name)


def namespaces(text: str) -> tuple[str, ...]:
    """Names separated by commas, or ``*``."""
    if text == "*":
        return ("*",)
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if len(names) > MAX_NAMESPACES or any(_LABEL.fullmatch(name) is None for name in names):
        raise ValueError('write names of namespaces, such as "shop, billing", or "*" for all')
    return names


def server_name(text: str) -> str:
    """A DNS name."""
    name = normalise(text)
    if name is None:
        raise ValueError("write a DNS name, such as web.shop.svc")
    return name


def protocol(text: str) -> Protocol:
    """A protocol of backends, as ingress-nginx calls them."""
    found = _PROTOCOLS.get(text.upper() if text.isascii() else "")
    if found is None:
        raise ValueError('write "HTTP" or "HTTPS"')
    return found


def profile(text: str) -> Profile:
    """One of Mozilla's profiles."""
    if text == "modern":
        return "modern"
    if text == "intermediate":
        return "intermediate"
    raise ValueError('write "intermediate" or "modern"')


def anything(text: str) -> str:
    """For annotations that are known and not supported, whatever they say."""
    return text
