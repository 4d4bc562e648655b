"""What a process uses, as Linux accounts for it (man 5 proc_pid_stat)."""

import os
from typing import NamedTuple


class Usage(NamedTuple):
    """Of one process, with all its threads."""

    cpu_seconds: float
    """User and system, since its start."""
    resident_bytes: int
    open_files: int


def usage_of(pid: int) -> Usage | None:
    """What a process uses; None when it is gone, or where there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # The second field is the program's name in brackets, which may hold anything.
            fields = file.read().rpartition(")")[2].split()
        open_files = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])
    return Usage(
        cpu_seconds=ticks / os.sysconf("SC_CLK_TCK"),
        resident_bytes=int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
        open_files=open_files,
    )
