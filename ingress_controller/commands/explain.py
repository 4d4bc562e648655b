"""Says what happens to a request, and why: from manifests, or from a running instance."""

import argparse
import http.client
import json
import os
import re
import sys
from typing import Final
from urllib.parse import urlencode

import msgspec

from ingress_controller.explain.explanation import Explanation, shown
from ingress_controller.explain.text import as_text
from ingress_controller.explain.walk import explain
from ingress_controller.flags import UsageError, add_flags, read
from ingress_controller.objects.meta import ObjectKey
from ingress_controller.settings import translation_flags, translation_options
from ingress_controller.sources.manifests import ManifestFolders
from ingress_controller.translate.translator import Translator
from router.model.limits import Limits

HELP = "say what happens to a request, and why"
DESCRIPTION = """\
Follows one request: which certificate answers (https), which host rule takes it, which path and why
not the others, the Ingress and rule behind it, the Service, and the endpoints that get it; or why
the answer is a redirect, 400, 404, 405, 421 or 503. Nothing is sent to any backend.

  ingress-controller explain http://shop.example/cart --manifests ./manifests
  ingress-controller explain https://shop.example/cart --manifests ./manifests
  ingress-controller explain http://shop.example/cart --admin 127.0.0.1:10254
  ingress-controller explain http://127.0.0.1/ -H 'Host: shop.example' -X POST --manifests .
  ingress-controller explain http://shop.example/ --manifests . --output json | jq .verdict

The URL is taken as it is: /a/../b and %2F are for the proxy to judge. With --admin, the running
instance's own settings count, and the flags below do not. The exit code is 0 if the request would
be forwarded, 1 if it would be refused, and 2 if the question itself is wrong.
"""

ADMIN_SECONDS: Final = 10.0
"""An admin port that does not answer in this time does not answer."""
MAX_ANSWER: Final = 64 * 1024 * 1024
"""Bytes of an answer: a host with 100,000 routes takes about 40 MB."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.usage = "%(prog)s URL (--manifests FOLDER | --admin ADDRESS) [flag …]"
    parser.add_argument("url", metavar="URL", help="http://host/path, as a client would ask for it")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--manifests",
        action="append",
        metavar="FOLDER",
        help="folder with manifests, or a single file; may be repeated",
    )
    source.add_argument(
        "--admin",
        metavar="ADDRESS",
        help="ask a running instance: host:port of its admin port, such as 127.0.0.1:10254",
    )
    parser.add_argument(
        "-X", "--method", default="GET", metavar="METHOD", help="request method (default: GET)"
    )
    parser.add_argument(
        "-H",
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="request header; may be repeated; a Host replaces that of the URL",
    )
    parser.add_argument(
        "--output",
        choices=("text", "json"),
        default="text",
        help="text for people, or one JSON object for programs (default: text)",
    )
    translation_flags(parser)
    add_flags(parser, "limits and time-outs", Limits)


def run(arguments: argparse.Namespace) -> int:
    """Prints the explanation; 1 when the request would be refused."""
    try:
        if arguments.admin:
            explanation = _asked_for(arguments)
        else:
            explanation = _worked_out(arguments)
    except ValueError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        print(f"ingress-controller explain: {error}", file=sys.stderr)
        return 1
    if arguments.output == "json":
        print(json.dumps(shown(explanation), indent=2, ensure_ascii=False))
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(as_text(explanation, colour=colour))
    return 0 if explanation.served else 1


def _worked_out(arguments: argparse.Namespace) -> Explanation:
    """From manifests, by the code that serves them."""
    folders = ManifestFolders(arguments.manifests)
    translator = Translator(translation_options(arguments))
    scan = folders.scan()
    translator.update(scan.changes)

    def locate(key: ObjectKey) -> str:
        place = folders.location(key)
        return "" if place is None else f"{place.file}:{place.line}"

    return explain(
        translator,
        url=arguments.url,
        method=arguments.method,
        headers=arguments.header,
        limits=read(Limits, arguments),
        diagnostics=(*scan.diagnostics, *translator.diagnostics),
        locate=locate,
    )


def _asked_for(arguments: argparse.Namespace) -> Explanation:
    """From the admin port of a running instance.

    Raises:
        OSError: it cannot be reached, or what answers there is something else.
        ValueError: it says that the question is wrong.
    """
    found = re.fullmatch(
        r"(?:http://)?(\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]*):(\d{1,5})/?", arguments.admin
    )
    if found is None or not 0 < int(found[2]) < 65536:
        raise UsageError(
            f"--admin: {arguments.admin!r} is not host:port; write one such as 127.0.0.1:10254"
        )
    asked = [("url", arguments.url), ("method", arguments.method)]
    asked += [("header", header) for header in arguments.header]
    host, port = found[1].strip("[]") or "127.0.0.1", int(found[2])
    connection = http.client.HTTPConnection(host, port, timeout=ADMIN_SECONDS)
    try:
        connection.request("GET", f"/explain?{urlencode(asked)}")
        answer = connection.getresponse()
        body = answer.read(MAX_ANSWER + 1)
    except (OSError, http.client.HTTPException) as error:
        why = str(error) or type(error).__name__
        raise OSError(
            f"no answer from the admin port at {arguments.admin}: {why}; "
            "is `ingress-controller run` started, with this --admin-port?"
        ) from None
    finally:
        connection.close()
    try:
        if answer.status == 200 and len(body) <= MAX_ANSWER:
            return msgspec.json.decode(body, type=Explanation)
        said = msgspec.json.decode(body, type=dict[str, str])["error"]
    except (msgspec.DecodeError, KeyError):
        raise OSError(
            f"what answers at {arguments.admin} is no admin port of this version "
            f"(status {answer.status})"
        ) from None
    if answer.status == 400:
        raise ValueError(said)
    raise OSError(f"the admin port at {arguments.admin} answered {answer.status}: {said}")
