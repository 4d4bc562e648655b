"""`demo`: sample backends behind sample Ingresses, and curl lines to try them."""

import argparse
import contextlib
import functools
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ingress_controller.settings import run_flags, run_settings

if TYPE_CHECKING:
    from ingress_controller.app import Serving
    from ingress_controller.demo.certificates import CertificateFiles

HELP = "serve sample manifests with sample backends, and print curl lines to try"
DESCRIPTION = """\
Starts sample backends, serves sample Ingresses for them on 127.0.0.1, and prints curl lines that
show hosts, Exact and Prefix paths, a wildcard host, a default backend, several endpoints, a slow
answer, server-sent events, a WebSocket, and HTTPS with the certificate of a local authority. Ctrl-C
ends everything. Takes the flags of `run`.

  ingress-controller demo
  ingress-controller demo --http-port 9080 --https-port 9443 --admin-port 9254
"""

PREFIX = "python-ingress-demo-"
"""Of the folder with the files that the demo makes: others may read nothing in it."""
CURL = "curl -sS --max-time 10"
WEBSOCKET = (
    "-H 'Connection: Upgrade' -H 'Upgrade: websocket' "
    "-H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='"
)
SECURE, MEMBERS = "secure.example", "members.example"
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
    ("which certificate answers for a name", "/explain?url=https://secure.example/"),
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
    from ingress_controller.demo.certificates import write_certificates
    from ingress_controller.demo.processes import MANIFESTS, SampleBackends, write_slices
    from ingress_controller.supervisor.sockets import BindError

    # A demo is for the person at this machine, unless they say otherwise.
    serving = msgspec.structs.replace(
        settings.serving, bind=settings.serving.bind or ("127.0.0.1",)
    )
    try:
        sockets = Sockets(msgspec.structs.replace(settings, serving=serving))
        with SampleBackends() as backends, tempfile.TemporaryDirectory(prefix=PREFIX) as made:
            manifests = Path(made) / "manifests"
            manifests.mkdir()
            write_slices(manifests, backends.ports())
            files = write_certificates(manifests, Path(made), time.time())
            folders = (*serving.manifests, str(MANIFESTS), str(manifests))
            serving = msgspec.structs.replace(serving, manifests=folders)
            settings = msgspec.structs.replace(settings, serving=serving)
            return serve(settings, sockets, functools.partial(_tell, files))
    except (BindError, RuntimeError) as error:
        print(f"ingress-controller demo: {error}", file=sys.stderr)
        return 1


def _tell(files: "CertificateFiles", serving: "Serving") -> None:
    """Prints what is served and how to try it; the last line says that it is."""
    lines = [f"Serving sample Ingresses on http://{serving.http[0]}. Try, in another terminal:"]
    for text, options, target in SHOWN:
        lines += ["", f"# {text}", f"{CURL} {options} 'http://{serving.http[0]}{target}'"]
    if serving.https:
        lines += ["", f"HTTPS is served on {serving.https[0]}; curl finds it there without DNS:"]
        lines += _https_lines(files, serving.http[0], serving.https[0])
    lines += ["", f"The admin port, http://{serving.admin[0]}/, answers questions:"]
    for text, target in ASKED:
        lines += ["", f"# {text}", f"{CURL} 'http://{serving.admin[0]}{target}'"]
    lines += ["", "Ready. Requests are logged below; Ctrl-C ends the demo."]
    with contextlib.suppress(BrokenPipeError):
        print("\n".join(lines), flush=True)


def _https_lines(files: "CertificateFiles", http: str, https: str) -> list[str]:
    """How to try HTTPS: the names are not in DNS, and nobody else knows the authority."""
    trusting = f"--cacert {shlex.quote(str(files.authority))}"
    there = f"{trusting} --connect-to '::{https}'"
    both = f"{trusting} --connect-to '{SECURE}:80:{http}' --connect-to '{SECURE}::{https}'"
    client = f"--cert {shlex.quote(str(files.client))}"
    shown = (
        ("a certificate that curl verifies", f"{there} 'https://{SECURE}/account'"),
        ("a plain request is redirected: 308", f"-i -H 'Host: {SECURE}' 'http://{http}/account'"),
        ("the same, followed", f"-L {both} 'http://{SECURE}/account'"),
        (
            "a client certificate, and what the backend is told about it",
            f"{there} {client} 'https://{MEMBERS}/'",
        ),
    )
    return [line for text, words in shown for line in ("", f"# {text}", f"{CURL} {words}")]
