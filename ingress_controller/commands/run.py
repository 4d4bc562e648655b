"""`run`: serve the Ingress objects of some folders."""

import argparse
import sys

from ingress_controller.flags import UsageError
from ingress_controller.settings import run_flags, run_settings

HELP = "serve the Ingress objects found in folders of Kubernetes manifests"
DESCRIPTION = """\
Serves the Ingress, IngressClass, Service, EndpointSlice, Endpoints and Secret objects found in
folders, over HTTP and HTTPS, and takes up every change within a second. What cannot be read leaves
the last good state serving.

  ingress-controller run --manifests ./manifests
  ingress-controller run --manifests ./base --manifests ./mine --http-port 80 --https-port 443
  ingress-controller run --manifests ./manifests --default-tls-secret default/wildcard-tls --hsts
  ingress-controller run --manifests ./manifests --bind 127.0.0.1 --bind ::1 --access-log off
  INGRESS_LOG_FORMAT=json ingress-controller run --manifests ./manifests --workers 4

What is served, and why, is told on the admin port: curl http://127.0.0.1:10254/routes
SIGTERM drains: see --drain-accept and --drain-timeout. Ctrl-C ends within seconds, twice at once.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s --manifests FOLDER [flag …]"
    run_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serves until a signal; 1 when an address cannot be bound."""
    settings = run_settings(arguments)
    if not settings.serving.manifests:
        raise UsageError(
            "--manifests is missing; name at least one folder, such as --manifests ./manifests, "
            "or try `ingress-controller demo`"
        )
    # Only now: --help and a wrong flag need neither uvloop nor aiohttp.
    from ingress_controller.app import Sockets, serve
    from ingress_controller.supervisor.sockets import BindError

    try:
        sockets = Sockets(settings)
    except BindError as error:
        print(f"ingress-controller run: {error}", file=sys.stderr)
        return 1
    return serve(settings, sockets, lambda addresses: None)
