"""Addresses for Services of type LoadBalancer, as a cloud's controller would give them; kube-proxy
makes them work.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging

from .api import MERGE, Api, ApiError, Object

log = logging.getLogger("loadbalancer")
POOL = ipaddress.ip_network("10.246.0.0/24")


class LoadBalancer:
    def __init__(self, api: Api) -> None:
        self.api = api
        self._taken: dict[str, str] = {}  # uid of the Service: address
        self._services: asyncio.Queue[Object] = asyncio.Queue()

    async def run(self) -> None:
        await asyncio.gather(self.api.follow("/api/v1/services", self._on_service), self._work())

    def _on_service(self, kind: str, service: Object) -> None:
        if kind == "DELETED":
            if address := self._taken.pop(service["metadata"]["uid"], None):
                log.info("%s is free again", address)
        else:
            self._services.put_nowait(service)

    async def _work(self) -> None:
        while True:
            service = await self._services.get()
            meta, spec = service["metadata"], service["spec"]
            shown = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
            ours = (
                spec["type"] == "LoadBalancer"
                and not spec.get("loadBalancerClass")
                and not meta.get("deletionTimestamp")
            )
            wanted: list[Object] = []
            if ours:
                address = self._address(
                    meta["uid"], spec.get("loadBalancerIP"), [i.get("ip") for i in shown]
                )
                if address is None:
                    log.warning(
                        "no address left for %s/%s, or %s is not free",
                        meta["namespace"],
                        meta["name"],
                        spec.get("loadBalancerIP"),
                    )
                    continue
                wanted = [{"ip": address, "ipMode": "VIP"}]
            elif not self._taken.pop(meta["uid"], None):
                continue
            if wanted != shown:
                path = f"/api/v1/namespaces/{meta['namespace']}/services/{meta['name']}/status"
                try:
                    await self.api.insist(
                        "PATCH",
                        path,
                        {
                            "metadata": {"uid": meta["uid"]},
                            "status": {"loadBalancer": {"ingress": wanted}},
                        },
                        MERGE,
                    )
                except ApiError as e:
                    log.info("%s/%s: %s", meta["namespace"], meta["name"], e)

    def _address(self, uid: str, asked: str | None, shown: list[str | None]) -> str | None:
        if uid not in self._taken:
            used = set(self._taken.values())
            choices = (
                [asked] if asked else [*(s for s in shown if s), *map(str, list(POOL.hosts()))]
            )
            free = next(
                (c for c in choices if c not in used and ipaddress.ip_address(c) in POOL), None
            )
            if free is None:
                return None
            self._taken[uid] = free
        return self._taken[uid]
