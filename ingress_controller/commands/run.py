"""`run`: serve the Ingress objects of a cluster, or of some folders."""

import argparse
import os
import sys

from ingress_controller.flags import UsageError
from ingress_controller.settings import Settings, run_flags, run_settings
from ingress_controller.sources.credentials import ACCOUNT_FOLDER

HELP = "serve the Ingress objects of a cluster, or of folders of Kubernetes manifests"
DESCRIPTION = """\
Serves Ingress objects over HTTP and HTTPS. They come from the cluster that the program runs in,
from the one that a kubeconfig names, or from folders. Every change is served within moments;
whatever cannot be read or reached leaves the last good state serving.

  ingress-controller run                                   in a pod, with its service account
  ingress-controller run --kubeconfig ~/.kube/config --context kind-kind
  ingress-controller run --watch-namespace shop --watch-namespace blog
  ingress-controller run --controller k8s.io/ingress-nginx --no-publish-status
  ingress-controller run --manifests ./manifests           no cluster needed
  ingress-controller run --manifests ./base --manifests ./mine --http-port 80 --https-port 443
  INGRESS_LOG_FORMAT=json ingress-controller run --manifests ./manifests --workers 4

What is served, and why, is told on the admin port: curl http://127.0.0.1:10254/routes
SIGTERM drains: see --drain-accept and --drain-timeout. Ctrl-C ends within seconds, twice at once.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [--kubeconfig FILE | --manifests FOLDER] [flag …]"
    run_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serves until a signal; 1 when an address cannot be bound, or the cluster's access is not
    usable."""
    settings = run_settings(arguments)
    if not _has_source(settings):
        raise UsageError(
            "nothing to serve: this is no pod with a service account, so name a cluster "
            "(--kubeconfig ~/.kube/config), or a folder (--manifests ./manifests), "
            "or try `ingress-controller demo`"
        )
    # Only now: --help and a wrong flag need neither uvloop nor aiohttp.
    from ingress_controller.app import Sockets, serve
    from ingress_controller.sources.errors import AccessError
    from ingress_controller.supervisor.sockets import BindError

    try:
        sockets = Sockets(settings)
        return serve(settings, sockets, lambda addresses: None)
    except (BindError, AccessError) as error:
        print(f"ingress-controller run: {error}", file=sys.stderr)
        return 1


def _has_source(settings: Settings) -> bool:
    """Whether the settings, or the pod that we run in, say where objects come from."""
    cluster = settings.cluster
    if settings.serving.manifests or cluster.kubeconfig or cluster.context:
        return True
    return "KUBERNETES_SERVICE_HOST" in os.environ and os.path.isdir(ACCOUNT_FOLDER)
