"""The network namespace of a Pod, joined to the node by a pair of interfaces of its own.

There is no bridge: a Pod reaches everything, its neighbours and itself included, by way of the
node's routing, so that kube-proxy sees (and on the way back undoes) every translation on any
machine. Through a bridge, answers would take the short way past it, or, where the kernel has bridge
netfilter, not arrive at all when a Pod calls itself.
"""

from __future__ import annotations

import asyncio
import subprocess

from .values import NODE_IP


def ip(*words: str, batch: str | None = None, check: bool = True) -> None:
    command = ["ip", *words, *(["-batch", "-"] if batch is not None else [])]
    r = subprocess.run(command, input=batch, capture_output=True, text=True)
    if check and r.returncode:
        raise RuntimeError(f"{' '.join(command)}: {r.stderr.strip()}")


class Network:
    def __init__(self, number: int) -> None:
        self.number, self.name = number, f"pod{number}"
        self.ip = f"10.244.{1 + number // 250}.{1 + number % 250}"
        self.path = f"/run/netns/{self.name}"

    async def up(self) -> None:
        await asyncio.to_thread(self._up)

    async def down(self) -> None:
        await asyncio.to_thread(ip, "netns", "del", self.name, check=False)

    def _up(self) -> None:
        ip("netns", "add", self.name)
        veth = f"veth{self.number}"
        ip(
            batch=f"""link add {veth} type veth peer name eth0 netns {self.name}
link set {veth} up
address add {NODE_IP}/32 dev {veth}
"""
        )
        ip(
            "-n",
            self.name,
            batch=f"""link set lo up
address add {self.ip}/32 dev eth0
link set eth0 up
route add {NODE_IP} dev eth0 scope link
route add default via {NODE_IP}
""",
        )
        ip(
            "route", "add", self.ip, "dev", veth, "src", NODE_IP
        )  # last: whoever has a route meets an address
