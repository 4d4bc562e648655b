"""Loads a page of 100 images over HTTPS in headless Chromium, from `ingress-controller demo`.

    python -m loadtest.browser [--chromium PROGRAM] [--screenshot FILE]

The page comes from a backend in this process, through an Ingress on a host of the demo, so that the
certificate is one of the demo's local authority. Python's ssl verifies it first with the demo's
``ca.pem``; Chromium then takes that key and no other. The page itself counts the images that came.
"""

import argparse
import base64
import contextlib
import hashlib
import http.server
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Final

if __package__ in (None, ""):  # started by file name: the repository is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HOST: Final = "secure.example"
"""A host of the demo that has TLS."""
IMAGES: Final = 100
START_SECONDS: Final = 30.0
BROWSER_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0

_READY = re.compile(r"HTTPS is served on (\S+):(\d+);")
_AUTHORITY = re.compile(r"--cacert (\S+/ca\.pem)")
_LAST_LINE = "Ready."

_PAGE = Template("""\
<!DOCTYPE html>
<title>loading</title>
<style>body { font: 20px sans-serif; } img { width: 60px; height: 40px; margin: 3px; }</style>
<h1 id="said">loading</h1>
$images
<script>
  addEventListener("load", () => {
    const good = [...document.images].filter(image => image.naturalWidth > 0).length;
    document.title = good + " of $count images";
    document.getElementById("said").textContent = document.title + ", " + location.origin + ", "
      + performance.getEntriesByType("navigation")[0].nextHopProtocol;
  });
</script>
""")

_IMAGE = Template("""\
<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40">
<rect width="60" height="40" fill="hsl($hue 70% 45%)"/>
<text x="30" y="27" fill="white" font-size="20" text-anchor="middle">$number</text></svg>
""")

_MANIFESTS = Template("""\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: page, namespace: demo}
spec:
  ingressClassName: python
  tls: [{hosts: [$host], secretName: secure-tls}]
  rules:
    - host: $host
      http:
        paths:
          - {path: /page, pathType: Prefix, backend: {service: {name: page, port: {number: 80}}}}
---
apiVersion: v1
kind: Service
metadata: {name: page, namespace: demo}
spec:
  ports: [{name: http, port: 80}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: page-1, namespace: demo, labels: {kubernetes.io/service-name: page}}
addressType: IPv4
ports: [{name: http, protocol: TCP, port: $port}]
endpoints: [{addresses: [127.0.0.1]}]
""")


class _Page(http.server.BaseHTTPRequestHandler):
    """Answers /page/ and /page/N.svg."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        found = re.fullmatch(r"/page/(?:(\d+)\.svg)?", self.path)
        if found is None:
            self.send_error(404)
            return
        if found[1] is None:
            tags = "\n".join(f'<img src="{number}.svg">' for number in range(IMAGES))
            kind, text = "text/html", _PAGE.substitute(images=tags, count=IMAGES)
        else:
            number = int(found[1])
            kind, text = "image/svg+xml", _IMAGE.substitute(hue=number * 36 // 10, number=number)
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the overridden name
        """Nothing: the demo logs requests."""


@contextlib.contextmanager
def page_backend() -> Iterator[int]:
    """Serves the page on a free port, which is given."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(STOP_SECONDS)


@contextlib.contextmanager
def demo(manifests: Path) -> Iterator[tuple[int, Path]]:
    """The demo with these manifests too; gives its port for HTTPS and its authority's file.

    Raises:
        OSError: it does not start.
    """
    ports = ("--http-port", "0", "--https-port", "0", "--admin-port", "0")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ingress_controller", "demo", *ports),
            *("--access-log", "off", "--manifests", str(manifests)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    )
    try:
        said = _until_ready(process)
        there, authority = _READY.search(said), _AUTHORITY.search(said)
        if there is None or authority is None:
            raise OSError(f"the demo serves no HTTPS; it said: {said[-800:] or 'nothing'}")
        yield int(there[2]), Path(authority[1])
    finally:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _until_ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None  # noqa: S101 -- a pipe
    said, deadline = "", time.monotonic() + START_SECONDS
    while _LAST_LINE not in said and time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 0.1)[0]:
            line = process.stdout.readline()
            if not line:
                break
            said += line
            while _LAST_LINE not in line and line:  # it is printed at once, and ends with Ready
                line = process.stdout.readline()
                said += line
    return said


def verified_key(port: int, authority: Path) -> str:
    """What Chromium calls the key of a certificate: the base64 of its SHA-256.

    Raises:
        ssl.SSLCertVerificationError: it is not of this authority, or not for the host.
    """
    context = ssl.create_default_context(cafile=str(authority))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=STOP_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    assert shown is not None  # noqa: S101 -- it was verified
    key = x509.load_der_x509_certificate(shown).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


def browse(chromium: str, port: int, key: str, profile: Path, *words: str) -> str:
    """Open the page; what the browser writes to standard output.

    Raises:
        OSError: it does not start.
        subprocess.SubprocessError: it fails, or does not end.
    """
    ended = subprocess.run(
        [
            chromium,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            f"--user-data-dir={profile}",
            # the last rule keeps the browser off every other host
            f"--host-resolver-rules=MAP {HOST}:443 127.0.0.1:{port}, MAP * ~NOTFOUND",
            f"--ignore-certificate-errors-spki-list={key}",
            "--window-size=800,740",
            *words,
            f"https://{HOST}/page/",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BROWSER_SECONDS,
        check=True,
    )
    return ended.stdout


def load(chromium: str, screenshot: Path | None = None) -> str:
    """Load the page, and a second time for the screenshot; what the page says of itself.

    Raises:
        OSError: demo or browser do not start, or the certificate is not the demo's.
        subprocess.SubprocessError: the browser fails, or does not end.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="browser-")))
        backend_port = stack.enter_context(page_backend())
        manifests = folder / "manifests"
        manifests.mkdir()
        text = _MANIFESTS.substitute(host=HOST, port=backend_port)
        (manifests / "page.yaml").write_text(text)
        port, authority = stack.enter_context(demo(manifests))
        key = verified_key(port, authority)
        page = browse(chromium, port, key, folder / "first", "--dump-dom")
        if screenshot is not None:
            where = f"--screenshot={screenshot.resolve()}"
            browse(chromium, port, key, folder / "second", where)
    found = re.search(r'<h1 id="said">([^<]*)</h1>', page)
    return found[1] if found else "no page came"


def main() -> int:
    """0 when all images came, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.browser",
        description="A page of 100 images over HTTPS in headless Chromium.",
        epilog="Example: python -m loadtest.browser --screenshot page.png",
    )
    parser.add_argument("--chromium", default="chromium", help="default: chromium")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="write a PNG there")
    arguments = parser.parse_args()
    chromium = shutil.which(arguments.chromium)
    if chromium is None:
        parser.error(f"{arguments.chromium} is not installed (Debian: apt-get install chromium)")
    try:
        said = load(chromium, arguments.screenshot)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(said)
    return 0 if said.startswith(f"{IMAGES} of {IMAGES} images") else 1


if __name__ == "__main__":
    sys.exit(main())
