"""Which addresses are published: fixed ones, those of the nodes that run us, or a Service's.

Follows the publishing Service and its EndpointSlices as the source tells of them; nodes are asked
for by GET, one by one, because nothing else here needs them and a list of all would need a Role for
all. Only the leader asks.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final, Literal

from ingress_controller.leader.elector import Leadership
from ingress_controller.logs import Log
from ingress_controller.objects.service import Service
from ingress_controller.objects.slices import EndpointSlice
from ingress_controller.sources.errors import ApiError, ForbiddenError, NotFoundError
from ingress_controller.sources.requests import Requests
from ingress_controller.sources.target import is_name
from ingress_controller.status.addresses import Addresses, listed, nodes_of, of_node, of_service
from ingress_controller.store import Name, ObjectChange, service_of
from ingress_controller.waiting import within

REFRESH_SECONDS: Final = 600.0
"""A node's addresses are asked for anew after so long: they change when a cloud replaces it."""
DISTANCE_SECONDS: Final = 10.0
"""Between two readings of nodes, so that a rolling update of ourselves does not rewrite every
Ingress for each pod."""
FIRST_DISTANCE_SECONDS: Final = 1.0
"""The same while no address is published: our own pods are just becoming ready."""
LACK_SECONDS: Final = 30.0
"""How often we look whether an address is missing, and say so."""


class Publisher:
    """Knows the addresses, and tells who wants to know when they are different.

    Args:
        service: whose addresses, or whose pods' nodes, are published.
        fixed: published instead, if there are any.
        nodes: whether node addresses are published instead, and which.
        on_change: called with the addresses; with none while they are not known.
    """

    def __init__(
        self,
        api: Requests,
        leadership: Leadership,
        log: Log,
        *,
        service: Name | None,
        fixed: Iterable[str] = (),
        nodes: Literal["off", "internal", "external"] = "off",
        on_change: Callable[[Addresses], None],
    ) -> None:
        self.addresses: Addresses = ()
        self._api = api
        self._leadership = leadership
        self._log = log
        self._service = service
        self._fixed = listed(fixed)
        self._nodes = nodes
        self._on_change = on_change
        self._seen: Service | None = None
        self._slices: dict[Name, EndpointSlice] = {}
        self._known: dict[str, tuple[Addresses, float]] = {}
        """Of nodes, and when that was asked."""
        self._woken = asyncio.Event()
        self._trouble = ""
        """Why nodes could not be read."""
        self._publish(self._fixed)
        leadership.subscribe(lambda leading: self._woken.set())

    def changed(self, changes: Iterable[ObjectChange]) -> None:
        """Takes what the source tells; most of it concerns others."""
        if self._fixed or self._service is None:
            return
        for key, item in changes:
            if key.kind == "Service":
                if (key.namespace, key.name) == self._service:
                    self._seen = item if isinstance(item, Service) else None
                    if self._nodes == "off":
                        self._publish(of_service(self._seen) if self._seen is not None else ())
            elif key.kind == "EndpointSlice" and self._nodes != "off":
                self._take_slice(Name(key.namespace, key.name), item)

    async def run(self) -> None:
        """Reads nodes, and says what is missing, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._say_what_is_missing(), name="say what is missing")
            if self._nodes != "off" and not self._fixed:
                group.create_task(self._follow_nodes(), name="read nodes")

    @property
    def lack(self) -> str:
        """Why no address is published, with what to do; empty when some are."""
        if self.addresses:
            return ""
        lacking = "no address is published, so Ingresses get none in their status: "
        if self._service is None:
            return f"{lacking}start with --publish-service or --publish-address"
        name = f"Service {self._service.namespace}/{self._service.name}"
        if self._nodes != "off":
            why = self._trouble or f"no node runs a ready pod of {name}"
            return f"{lacking}{why}"
        if self._seen is None:
            return f"{lacking}{name}, which --publish-service names, does not exist"
        return (
            f"{lacking}the load balancer of {name} is pending; give it an address, or start with "
            "--publish-address"
        )

    def _publish(self, addresses: Addresses) -> None:
        if addresses != self.addresses:
            self.addresses = addresses
            self._log.info("published addresses", addresses=", ".join(addresses) or "not known")
            self._on_change(addresses)

    def _take_slice(self, name: Name, item: object) -> None:
        before = self._slices.pop(name, None)
        if isinstance(item, EndpointSlice) and service_of(item) == self._service:
            self._slices[name] = item
        if before is not self._slices.get(name):
            self._woken.set()

    async def _say_what_is_missing(self) -> None:
        said = ""
        while True:
            await asyncio.sleep(LACK_SECONDS)
            lack = self.lack if self._leadership.leading else ""
            if lack and lack != said:
                self._log.warning(lack)
            said = lack

    async def _follow_nodes(self) -> None:
        wait = REFRESH_SECONDS
        while True:
            await within(self._woken.wait(), wait)
            self._woken.clear()
            if not self._leadership.leading:
                wait = REFRESH_SECONDS
                continue
            wait = REFRESH_SECONDS if await self._read_nodes() else 2 * DISTANCE_SECONDS
            await asyncio.sleep(DISTANCE_SECONDS if self.addresses else FIRST_DISTANCE_SECONDS)

    async def _read_nodes(self) -> bool:
        """Publishes the addresses of all nodes that run us, if all could be read."""
        names = sorted(filter(is_name, nodes_of(self._slices.values())))
        self._known = {name: self._known[name] for name in names if name in self._known}
        for name in names:
            known = self._known.get(name)
            if known is not None and time.monotonic() < known[1] + REFRESH_SECONDS:
                continue
            try:
                body = await self._api.request("GET", f"/api/v1/nodes/{name}")
                which: Literal["internal", "external"]
                which = "external" if self._nodes == "external" else "internal"
                self._known[name] = (of_node(body, which), time.monotonic())
            except NotFoundError:
                self._known[name] = ((), time.monotonic())
            except (ApiError, ValueError) as error:
                self._complain(name, error)
                return False
        self._trouble = ""
        self._publish(listed(each for found, _ in self._known.values() for each in found))
        return True

    def _complain(self, node: str, error: Exception) -> None:
        trouble = f"node {node} cannot be read: {error}"
        if isinstance(error, ForbiddenError):
            trouble += "; --publish-nodes needs a ClusterRole that allows get on nodes"
        if trouble != self._trouble:
            self._trouble = trouble
            self._log.warning(f"{trouble}; the published addresses stay as they are")
