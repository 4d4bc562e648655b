"""Everything that talks to the API server, wired: what is read from it, and what is written there.

The source reads with every replica; status and Events are written by the one that holds the Lease.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol
from urllib.parse import urlsplit

from ingress_controller.admin.state import ClusterState
from ingress_controller.leader.elector import Alone, Elector, new_identity
from ingress_controller.logs import Log
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.settings import Settings
from ingress_controller.sources.cluster import ClusterSource, Scope
from ingress_controller.sources.credentials import ACCOUNT_FOLDER
from ingress_controller.sources.kube_api import Access, KubeApi
from ingress_controller.status.events import EventWriter
from ingress_controller.status.publish import Publisher
from ingress_controller.status.writer import StatusWriter
from ingress_controller.store import Name, ObjectChange
from ingress_controller.translate.diagnostics import Diagnostic
from ingress_controller.translate.translator import Standing, Translator

LEASE = "python-ingress-leader"
RESTART_SECONDS = 10.0
"""After a defect of ours ended a writer, it begins anew so much later."""


class _Writer(Protocol):
    """What runs beside serving: it writes into the cluster, or decides who does."""

    async def run(self) -> None:
        """Until cancelled."""


class ClusterSide:
    """One cluster, as this replica reads and writes it. The control loop's `Audience`."""

    def __init__(self, api: KubeApi, settings: Settings, log: Log) -> None:
        publishing = settings.publishing
        self.source = ClusterSource(api, _scope(settings), log)
        self._api = api
        self._log = log
        # Writers ask also while reflectors wait for the API: their answers tell that it is back.
        api.on_answer = self.source.overheard
        self._tells = publishing.events
        self._events: EventWriter | None = None
        self._leader: Elector | Alone = Alone()
        if publishing.leader_elect and (publishing.publish_status or publishing.events):
            identity = new_identity(os.environ.get("POD_NAME", ""))
            self._leader = Elector(api, _lease(settings), identity, log)
            self.source.on_answer = self._leader.hurry
        self._clear = publishing.clear_status_on_shutdown
        self._status: StatusWriter | None = None
        self._publisher: Publisher | None = None
        if publishing.publish_status:
            self._status = StatusWriter(api, self.source.statuses, self._leader, log)
            self.source.on_status = self._status.seen
            service = publishing.publish_service
            self._publisher = Publisher(
                api,
                self._leader,
                log,
                service=None if service is None else Name(*service.split("/")),
                fixed=publishing.publish_address,
                nodes=publishing.publish_nodes,
                on_change=self._status.publish,
            )

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
        """Where no endpoint may lead: addresses or names of the API server, and our own."""
        own = os.environ.get("POD_IPS", "").split(",")
        server = urlsplit(self._api.server).hostname or ""
        return tuple(address for address in (server, *own) if address)

    def changed(self, changes: Sequence[ObjectChange]) -> None:
        """What the source tells: the publishing Service is among it."""
        if self._publisher is not None:
            self._publisher.changed(changes)

    def confirmed(self, standings: Mapping[Name, Standing | None]) -> None:
        """Every worker serves a version in which this was the standing of these Ingresses."""
        if self._status is not None:
            self._status.confirm(standings)
        if self._events is not None:
            self._events.confirm(standings)

    def found(self, diagnostics: frozenset[Diagnostic]) -> None:
        """All current diagnostics."""
        if self._events is not None:
            self._events.found(diagnostics)

    def inform(self, translator: Callable[[], Translator]) -> None:
        """Says whom to ask, at any time, what an Ingress is to us and what an object is to it."""
        if self._tells:
            self._events = EventWriter(
                self._api,
                self._leader,
                self._log,
                instance=os.environ.get("POD_NAME", ""),
                standing=lambda name: translator().standing(name),
                ingresses_about=lambda key: translator().ingresses_about(key),
            )

    async def run(self) -> None:
        """Writes until it is cancelled; then removes what it wrote, if that is wanted, and lets
        another replica lead at once."""
        tasks = [
            asyncio.create_task(self._keep_running(each), name=f"run {type(each).__name__}")
            for each in (self._leader, self._status, self._publisher, self._events)
            if each is not None and not isinstance(each, Alone)
        ]
        try:
            await asyncio.Event().wait()  # until cancelled
        finally:
            if self._clear and self._status is not None:
                await self._status.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_running(self, writer: "_Writer") -> None:
        """Whatever a defect of ours ends begins anew: traffic needs none of it."""
        while True:
            try:
                await writer.run()
            except Exception as error:
                name = type(writer).__name__
                self._log.defect(f"{name} failed; it begins anew in a moment", error)
            await asyncio.sleep(RESTART_SECONDS)

    @property
    def state(self) -> ClusterState:
        """For metrics."""
        status = None if self._status is None else self._status.counts
        events = None if self._events is None else self._events.counts
        return ClusterState(
            kinds=self.source.kinds,
            leading=self._leader.leading,
            terms=self._leader.counts.terms,
            status_writes={}
            if status is None
            else {"written": status.written, "failed": status.failed},
            status_pending=0 if status is None else status.pending,
            status_contested=0 if status is None else status.contested,
            events={}
            if events is None
            else {
                "written": events.written,
                "failed": events.failed,
                "dropped": events.dropped,
            },
        )


def _lease(settings: Settings) -> Name:
    """The Lease of the replicas that serve the same Ingresses."""
    if settings.publishing.lease is not None:
        return Name(*settings.publishing.lease.split("/"))
    return Name(own_namespace(), LEASE)


def own_namespace() -> str:
    """The namespace of the pod that we run in; ``default`` outside of one."""
    try:
        with open(f"{ACCOUNT_FOLDER}/namespace", encoding="ascii") as file:
            mounted = file.read().strip()
    except OSError:
        mounted = ""
    return os.environ.get("POD_NAMESPACE") or mounted or "default"


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
