"""CPU time of process trees, and which cores to measure on. Linux only: everything is in /proc."""

import os
from pathlib import Path

_PROC = Path("/proc")


def tree(root: int) -> list[int]:
    """The process ``root`` and all its descendants that are alive."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # ended meanwhile
                continue
            # the command's name, in parentheses, may itself hold spaces and parentheses
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def consumed(pids: list[int]) -> int:
    """Nanoseconds on a core, user and system, of all living threads of these processes.

    Read from the scheduler's own accounts (``schedstat``), which are exact where ``utime`` and
    ``stime`` count ticks of 10 ms. A thread that has ended is not counted.
    """
    total = 0
    for pid in pids:
        try:
            threads = list((_PROC / str(pid) / "task").iterdir())
        except OSError:
            continue
        for thread in threads:
            try:
                total += int((thread / "schedstat").read_text().split()[0])
            except OSError:
                continue
    return total


def busy(cores: tuple[int, ...]) -> float:
    """Seconds that these cores have worked since the machine started, for whomever.

    Time that a virtual machine was denied (``steal``) counts: somebody else had the core.
    """
    total = 0
    for line in (_PROC / "stat").read_text().splitlines():
        name, *fields = line.split()
        if name in {f"cpu{core}" for core in cores}:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            total += user + nice + system + irq + softirq + steal
    return total / os.sysconf("SC_CLK_TCK")


def siblings(core: int) -> set[int]:
    """The logical cores that share this one's silicon, itself included."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    found = {core}
    try:
        text = path.read_text()
    except OSError:
        return found
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def two_cores() -> tuple[int, int]:
    """A core for the proxy and one for load and backend; of different silicon where possible.

    Raises:
        ValueError: this process may use only one core.
    """
    allowed = sorted(os.sched_getaffinity(0), reverse=True)
    if len(allowed) < 2:
        raise ValueError(
            "two cores are needed, one for the proxy and one for load and backend; "
            f"this process may use only core {allowed[0]}"
        )
    proxy = allowed[0]
    shared = siblings(proxy)
    apart = [core for core in allowed[1:] if core not in shared]
    return proxy, (apart or allowed[1:])[0]
