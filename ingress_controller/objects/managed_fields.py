"""Takes out of the API's JSON what servers remember of who wrote which field.

``metadata.managedFields[].fieldsV1`` is the one place of the objects that we read where a tenant
may nest as deeply as he likes: the API server stores some thousand levels (measured), and a JSON
reader that recurses gives up on the whole list, or on the whole watch, because of that one object.
"""

import re

_START = re.compile(rb'"managedFields"\s*:\s*\[')
"""Never inside a text: there, quotes have a backslash before them."""
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def without_managed_fields(text: bytes) -> bytes:
    """The same JSON in which every list ``managedFields`` is empty.

    It does not recurse, and costs about 0.2 µs for each bracket and text inside of these lists.
    What is no JSON stays none.
    """
    kept = []
    position = 0
    while (start := _START.search(text, position)) is not None:
        kept.append(text[position : start.end()])
        position = _end(text, start.end())
    kept.append(text[position:])
    return b"".join(kept)


def _end(text: bytes, position: int) -> int:
    """Where the bracket stands that closes the list whose content begins at ``position``."""
    depth = 1
    for token in _TOKEN.finditer(text, position):
        match text[token.start()]:
            case 0x5B | 0x7B:  # [ {
                depth += 1
            case 0x5D | 0x7D:  # ] }
                depth -= 1
        if not depth:
            return token.start()
    return len(text)
