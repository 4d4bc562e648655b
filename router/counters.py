"""Counters that their owners hold as plain integers; rendering happens elsewhere."""

from bisect import bisect_left

from router.model.origin import RouteLabel
from router.model.wire import LATENCY_BUCKETS, RouteStats


class RouteCounters:
    """What happened on the routes of one (ingress, service), since the last report."""

    __slots__ = (
        "__weakref__",
        "_grown",
        "_quiet",
        "buckets",
        "codes",
        "label",
        "received",
        "seconds",
        "sent",
    )

    def __init__(self, label: RouteLabel, grown: "list[RouteCounters]") -> None:
        """``grown`` is where these counters put themselves at their first growth since a report."""
        self.label = label
        self._grown = grown
        self._reset()

    def _reset(self) -> None:
        self._quiet = True
        self.codes = [0, 0, 0, 0, 0]
        self.buckets = [0] * (len(LATENCY_BUCKETS) + 1)
        self.seconds = 0.0
        self.received = 0
        self.sent = 0

    def count(self, status: int, seconds: float, received: int, sent: int) -> None:
        """One exchange ended: status sent, wall seconds, body bytes each way."""
        if self._quiet:
            self._quiet = False
            self._grown.append(self)
        self.codes[status // 100 - 1 if 100 <= status < 600 else 4] += 1
        self.buckets[bisect_left(LATENCY_BUCKETS, seconds)] += 1
        self.seconds += seconds
        self.received += received
        self.sent += sent

    def report(self) -> RouteStats:
        """Growth since the last report."""
        codes = self.codes
        stats = RouteStats(
            namespace=self.label.namespace,
            ingress=self.label.ingress,
            service=self.label.service,
            codes=(codes[0], codes[1], codes[2], codes[3], codes[4]),
            buckets=tuple(self.buckets),
            seconds=self.seconds,
            bytes_received=self.received,
            bytes_sent=self.sent,
        )
        self._reset()
        return stats


class WorkerCounters:
    """What happened in one worker beside routes."""

    __slots__ = (
        "connections",
        "faults",
        "passthroughs",
        "refused_connections",
        "retries",
        "tls",
        "upgrades",
    )

    def __init__(self) -> None:
        self.connections = 0
        self.refused_connections = 0
        self.retries = 0
        self.upgrades = 0
        self.passthroughs = 0
        self.faults: dict[str, int] = {}
        self.tls: dict[str, int] = {}

    def tls_handshake(self, version: str, cipher: str, *, resumed: bool) -> None:
        """A client's handshake succeeded."""
        how = "resumed" if resumed else "full"
        self._tls(f"tls.handshakes.{version}.{cipher}.{how}")

    def tls_failure(self, reason: str) -> None:
        """A connection to a TLS port, or one with a PROXY header, came to nothing."""
        self._tls(f"tls.failures.{reason}")

    def _tls(self, name: str) -> None:
        # The names come from OpenSSL's and our own short lists; the bound is for what we forgot.
        if name in self.tls or len(self.tls) < 256:
            self.tls[name] = self.tls.get(name, 0) + 1

    def fault(self, code: str) -> None:
        self.faults[code] = self.faults.get(code, 0) + 1

    def report(self) -> dict[str, int]:
        """Growth since the last report, by name."""
        report = {
            "connections": self.connections,
            "refused_connections": self.refused_connections,
            "retries": self.retries,
            "upgrades": self.upgrades,
            "passthroughs": self.passthroughs,
            **self.tls,
        }
        report.update({f"fault.{code}": count for code, count in self.faults.items()})
        self.connections = self.refused_connections = self.retries = self.upgrades = 0
        self.passthroughs = 0
        self.faults = {}
        self.tls = {}
        return {name: count for name, count in report.items() if count}
