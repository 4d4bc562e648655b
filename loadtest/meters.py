"""What a locust process counts beside requests, and how workers tell their master."""

import time
from collections import Counter
from typing import Any

from loadtest.verdict import Node, percentile

KEY = "loadtest"
"""Of our part in the reports that workers send."""

NAP = 0.05
"""Seconds between two looks at how late this process is."""


class Meter:
    """The counts of this process, since the test began."""

    def __init__(self) -> None:
        self.connections = 0
        self.resent = 0
        self._late: Counter[int] = Counter()
        self.restart()

    def restart(self) -> None:
        """The test begins."""
        self.connections = 0
        self.resent = 0
        self._late.clear()
        self._cpu = time.process_time()
        self._began = time.monotonic()

    def watch(self) -> None:
        """Measures for ever how late this process wakes up."""
        while True:
            before = time.monotonic()
            time.sleep(NAP)
            self._late[int((time.monotonic() - before - NAP) * 1000)] += 1

    def seconds(self) -> float:
        """Since the test began."""
        return time.monotonic() - self._began

    def node(self, name: str) -> Node:
        """The counts until now."""
        return Node(
            name=name,
            cpu_seconds=time.process_time() - self._cpu,
            seconds=self.seconds(),
            connections=self.connections,
            resent=self.resent,
            late=percentile(self._late, 0.99) or 0.0,
        )

    def report(self) -> dict[str, float]:
        """The same, as a worker sends it."""
        node = self.node("")
        return {
            "cpu_seconds": node.cpu_seconds,
            "seconds": node.seconds,
            "connections": node.connections,
            "resent": node.resent,
            "late": node.late,
        }


def heard(name: str, report: dict[str, Any]) -> Node:
    """A worker's report."""
    return Node(
        name=name,
        cpu_seconds=float(report["cpu_seconds"]),
        seconds=float(report["seconds"]),
        connections=int(report["connections"]),
        resent=int(report["resent"]),
        late=float(report["late"]),
    )
