"""Work in steps: a generator that yields where others may have their turn, and returns its result.

What takes long for many hosts is written this way once, and run either at once or, by
`router.turns`, in turns with everything else that a worker does.
"""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]


def at_once(steps: Steps[T]) -> T:
    """Takes all steps without a pause; gives the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
