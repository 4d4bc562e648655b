"""Takes leave of ended processes that nobody waits for.

The first process of a container inherits every process whose parent has ended (man 7
pid_namespaces), such as what a `kubectl exec` left in the background. It must wait for them, or
each stays a zombie that takes a process id. The event loop waits for what it started, and for
nothing else.
"""

import asyncio
import contextlib
import os

LOOK_SECONDS = 1.0
"""Between two looks. Who started a process here learns of its end within milliseconds; one that has
ended and is still there at the next look is waited for by nobody."""


async def reap_orphans() -> None:
    """Reaps one orphan a look, until cancelled."""
    ended = None
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if ended is not None and _ended_child() == ended:
            _reap(ended)
        ended = _ended_child()


def _ended_child() -> int | None:
    """The process id of a child that has ended; it stays to be waited for."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
