"""`demo`: sample backends behind sample Ingresses, and curl lines to try them."""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ingress_controller.settings import run_flags, run_settings

if TYPE_CHECKING:
    from ingress_controller.app import Serving

HELP = "serve sample manifests with sample backends, and print curl lines to try"
DESCRIPTION = """\
Starts sample backends, serves sample Ingresses for them on 127.0.0.1, and prints curl lines that
show hosts, Exact and Prefix paths, a wildcard host, a default backend, several endpoints, a slow
answer, server-sent events and a WebSocket. Ctrl-C ends everything. Takes the flags of `run`.

  ingress-controller demo
  ingress-controller demo --http-port 9080 --admin-port 9254
"""

CURL = "curl -sS --max-time 10"
WEBSOCKET = (
    "-H 'Connection: Upgrade' -H 'Upgrade: websocket' "
    "-H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='"
)
SHOP, TENANT = "-H 'Host: shop.example'", "-H 'Host: a.tenants.example'"

SHOWN: tuple[tuple[str, str, str], ...] = (
    ("a Prefix path; run it twice: two endpoints answer in turn", SHOP, "/shoes"),
    ("an Exact path wins over the prefix", SHOP, "/cart"),
    ("one element more, and it is the prefix again", SHOP, "/cart/items"),
    ("a wildcard host takes one label", TENANT, "/"),
    ("a host that nobody claims goes to the default backend", "-H 'Host: other.example'", "/"),
    ("a Service without endpoints is 503, not 404", f"-i {SHOP}", "/closed"),
    ("a slow answer", SHOP, "/live/slow?seconds=2"),
    ("an upload", f"{SHOP} --data-binary 'two shoes'", "/orders"),
    ("server-sent events, as they come", f"-N {SHOP}", "/live/events?count=3"),
    ("a chunked answer, as it comes", f"-N {SHOP}", "/live/ticks?count=3"),
    ("a WebSocket: its handshake and first message", f"-iN {SHOP} {WEBSOCKET}", "/live/ws?greet"),
)
ASKED: tuple[tuple[str, str], ...] = (
    ("why a request goes where it goes", "/explain?url=http://shop.example/cart"),
    ("everything that is served", "/routes"),
    ("for Prometheus", "/metrics"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [flag …]"
    run_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serves until Ctrl-C; 1 when an address cannot be bound or a backend does not start."""
    settings = run_settings(arguments)
    # Only now: --help and a wrong flag need none of it.
    from ingress_controller.app import Sockets, serve
    from ingress_controller.demo.processes import MANIFESTS, SampleBackends, write_slices
    from ingress_controller.supervisor.sockets import BindError

    # A demo is for the person at this machine, unless they say otherwise.
    serving = msgspec.structs.replace(
        settings.serving, bind=settings.serving.bind or ("127.0.0.1",)
    )
    try:
        sockets = Sockets(msgspec.structs.replace(settings, serving=serving))
        with SampleBackends() as backends, tempfile.TemporaryDirectory() as slices:
            write_slices(Path(slices), backends.ports())
            folders = (*serving.manifests, str(MANIFESTS), slices)
            serving = msgspec.structs.replace(serving, manifests=folders)
            settings = msgspec.structs.replace(settings, serving=serving)
            return serve(settings, sockets, _tell)
    except (BindError, RuntimeError) as error:
        print(f"ingress-controller demo: {error}", file=sys.stderr)
        return 1


def _tell(serving: "Serving") -> None:
    """Prints what is served and how to try it; the last line says that it is."""
    lines = [f"Serving sample Ingresses on http://{serving.http[0]}. Try, in another terminal:"]
    for text, options, target in SHOWN:
        lines += ["", f"# {text}", f"{CURL} {options} 'http://{serving.http[0]}{target}'"]
    lines += ["", f"The admin port, http://{serving.admin[0]}/, answers questions:"]
    for text, target in ASKED:
        lines += ["", f"# {text}", f"{CURL} 'http://{serving.admin[0]}{target}'"]
    lines += ["", "Ready. Requests are logged below; Ctrl-C ends the demo."]
    with contextlib.suppress(BrokenPipeError):
        print("\n".join(lines), flush=True)
