"""A stream of bytes cut into lines, however the network cut it. No I/O."""


class Lines:
    """Gives whole lines without their line feed; empty ones are passed over.

    At most ``limit`` bytes of a line are kept; a longer one sets `too_long`, after which nothing
    more may be fed.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self.too_long = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that are complete with this piece."""
        head, found, tail = piece.partition(b"\n")
        if not found:
            self._keep(head)
            return []
        first = b"".join((*self._parts, head)) if self._parts else head
        self._parts, self._size = [], 0
        *lines, rest = tail.split(b"\n")
        self._keep(rest)
        whole = [line for line in (first, *lines) if line]
        if any(len(line) > self._limit for line in whole):
            self.too_long = True
        return [line for line in whole if len(line) <= self._limit]

    @property
    def rest(self) -> bool:
        """A line has begun and not ended."""
        return self._size > 0

    def _keep(self, part: bytes) -> None:
        if part:
            self._parts.append(part)
            self._size += len(part)
            self.too_long = self.too_long or self._size > self._limit
