"""What the admin port's metrics show: values, copied at one moment, so that a thread can write them
down while everything goes on."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from ingress_controller.sources.source import KindState
from ingress_controller.supervisor.totals import RouteTotal, WorkerStatus
from ingress_controller.supervisor.usage import Usage
from ingress_controller.translate.diagnostics import Diagnostic
from router.model.origin import RouteLabel
from router.model.snapshot import SnapshotVersion
from router.model.wire import UpstreamGauges


class CertificateExpiry(NamedTuple):
    """When the certificate for a host expires."""

    host: str
    """A host pattern; empty for the default certificate."""
    namespace: str
    secret: str
    """Where it comes from; empty for the self-signed one."""
    not_after: int
    """Unix seconds."""


class ClusterState(NamedTuple):
    """What has to do with the API server."""

    kinds: Sequence[KindState]
    leading: bool
    terms: int
    """How often leading began here."""
    status_writes: Mapping[str, int]
    """By result."""
    status_pending: int
    status_contested: int
    events: Mapping[str, int]
    """By result."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is shown, as it is at one moment."""

    version: str
    """Of the program."""
    routes: Mapping[RouteLabel, RouteTotal]
    counters: Mapping[str, int]
    gauges: Mapping[int, Mapping[str, float]]
    """By worker slot."""
    upstreams: Mapping[int, Mapping[str, UpstreamGauges]]
    """By worker slot and upstream."""
    certificates: Sequence[CertificateExpiry]
    workers: Sequence[WorkerStatus]
    snapshot_version: SnapshotVersion | None
    swap_seconds: float
    swap_buckets: Sequence[int]
    diagnostics: Sequence[Diagnostic]
    log_lines_dropped: int
    processes: Mapping[str, Usage]
    """By name: ``control``, or the number of a worker."""
    cluster: ClusterState | None = None
    """None where folders of manifests are served."""
