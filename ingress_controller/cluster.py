"""Everything that talks to the API server, wired: what is read from it, and what is written there.

The source reads with every replica; status and Events are written by the one that holds the Lease.
"""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from ingress_controller.admin.metrics import ClusterState, WatchState
from ingress_controller.logs import Log
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.settings import Settings
from ingress_controller.sources.cluster import ClusterSource, Scope
from ingress_controller.sources.kube_api import Access, KubeApi
from ingress_controller.store import Name
from ingress_controller.translate.diagnostics import Diagnostic


class ClusterSide:
    """One cluster, as this replica reads and writes it. The control loop's `Audience`."""

    def __init__(self, api: KubeApi, settings: Settings, log: Log) -> None:
        self.source = ClusterSource(api, _scope(settings), log)
        self._api = api

    @classmethod
    @asynccontextmanager
    async def connected(cls, settings: Settings, log: Log) -> "AsyncIterator[ClusterSide]":
        """With the cluster that the settings name; it is not asked anything yet.

        Raises:
            AccessError: the kubeconfig or the service account is not usable.
        """
        cluster = settings.cluster
        access = Access(kubeconfig=cluster.kubeconfig, context=cluster.context)
        api = await KubeApi.connect(access)
        log.info("the objects come from a cluster", server=api.server)
        try:
            yield cls(api, settings, log)
        finally:
            await api.close()

    @property
    def denied_addresses(self) -> tuple[str, ...]:
        """Where no EndpointSlice may lead: the API server's address, and our own."""
        own = os.environ.get("POD_IPS", "").split(",")
        server = urlsplit(self._api.server).hostname
        return tuple(address for address in (server or "", *own) if address)

    def served(self, names: Sequence[Name]) -> None:
        """Every worker serves these Ingresses as they are."""

    def left(self, names: Sequence[Name]) -> None:
        """No worker serves these Ingresses any more."""

    def found(
        self,
        diagnostics: Sequence[Diagnostic],
        ingresses_about: Callable[[ObjectKey], tuple[ObjectKey, ...]],
    ) -> None:
        """All current diagnostics."""

    async def run(self) -> None:
        """Writes until it is cancelled."""

    @property
    def state(self) -> ClusterState:
        """For metrics."""
        watches = [
            WatchState(
                kind=each.kind,
                namespace=each.namespace,
                synced=each.synced,
                objects=each.objects,
                stale_seconds=each.staleness,
                lists=each.lists,
                watches=each.watches,
                failures=each.errors,
            )
            for each in self.source.kinds
        ]
        return ClusterState(watches, False, {}, 0, {})


def _scope(settings: Settings) -> Scope:
    """What is read: the namespaces, and what options name wherever it is."""
    named = [
        ObjectKey(kind, *name.split("/"))
        for kind, name in (
            ("ConfigMap", settings.translation.config),
            ("Secret", settings.https.default_tls_secret),
            ("Service", settings.publishing.publish_service),
        )
        if name is not None
    ]
    return Scope(
        namespaces=settings.cluster.watch_namespace,
        secrets=settings.cluster.secrets,
        named=frozenset(named),
    )
