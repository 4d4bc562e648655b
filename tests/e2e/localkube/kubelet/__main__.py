"""python -m kubelet: the node of a local cluster; see the package."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from .api import Api
from .images import Images
from .loadbalancer import LoadBalancer
from .node import Node
from .processes import adopt_orphans, first
from .volumes import Volumes


async def main() -> None:
    a = argparse.ArgumentParser(description=__doc__)
    for name in ("server", "token", "ca", "cert", "key", "dir"):
        a.add_argument(f"--{name}", required=True)
    a.add_argument("--image", action="append", default=[], metavar="REGEX=COMMAND")
    a.add_argument("--image-root", action="append", default=[], metavar="REGEX=DIRECTORY")
    a.add_argument(
        "--renew-tokens", type=float, default=Volumes.longest_token_use, metavar="SECONDS"
    )
    o = a.parse_args()
    Volumes.longest_token_use = o.renew_tokens
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(name)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    adopt_orphans()
    stop = asyncio.Event()
    for s in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(s, stop.set)
    async with Api(o.server, o.token, o.ca) as api:
        node = Node(api, Images(o.image, o.image_root), Path(o.dir))
        await node.serve(o.cert, o.key)
        work = asyncio.gather(node.run(), LoadBalancer(api).run())
        await first(work, asyncio.create_task(stop.wait()))
        if work.done():
            work.result()
        await node.save_logs()
        work.cancel()
        await asyncio.wait({work})


asyncio.run(main())
