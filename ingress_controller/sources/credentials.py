"""Where the API server is and what it is shown: from a kubeconfig or from the service account.

This is the only file that knows kubernetes_asyncio, and it loads that library's `config` package
alone: the package that its name stands for imports a model of every kind of the API.

In: flags and the environment. Out: a `Login`, and the TLS context for it. Loading again gives what
stands in the files by then.
"""

import contextlib
import hashlib
import importlib
import importlib.util
import logging
import os
import ssl
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from ingress_controller.sources.errors import AccessError

LIBRARY = "kubernetes_asyncio"
ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where the kubelet mounts token, ca.crt and namespace (Kubernetes: "Accessing the API from a
Pod")."""


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How we were told to reach the API: --kubeconfig and --context.

    With neither, the Pod's service account is used. A context without a file is looked for in the
    files that ``KUBECONFIG`` names, or in ``~/.kube/config``.
    """

    kubeconfig: str | None = None
    context: str | None = None


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection to the API server needs, as read at one moment. Prints as redacted."""

    server: str
    """URL without a slash at its end, and without credentials."""
    authorization: str | None = None
    """Value of the field Authorization."""
    ca_file: str | None = None
    """PEM; without it the machine's authorities are trusted."""
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    server_name: str | None = None
    """Name that the server's certificate must have, when it is not that of the URL."""
    proxy: str | None = None
    """URL; may hold credentials."""

    def __repr__(self) -> str:
        return f"Login(server={self.server!r}, redacted)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("server", self.server), ("credentials", "redacted")]

    @property
    def secrets(self) -> list[str]:
        """What no message may show."""
        token = (self.authorization or "").partition(" ")[2]
        proxy = urlsplit(self.proxy or "")
        return [word for word in (token, proxy.password, proxy.username) if word]


class Account(Protocol):
    """Who we are for the API server."""

    async def load(self, *, anew: bool) -> Login:
        """What to show from now on. ``anew``: what was loaded before has been refused.

        Raises:
            AccessError: a sentence that says what is wrong and what to do.
        """


def find_account(access: Access, environ: Mapping[str, str]) -> Account:
    """The kubeconfig that was asked for, or else the service account.

    Raises:
        AccessError: neither is there.
    """
    if access.kubeconfig is None and access.context is None:
        return ServiceAccount(ACCOUNT_FOLDER, environ)
    home = os.path.expanduser("~/.kube/config")
    paths = access.kubeconfig or environ.get("KUBECONFIG") or home
    from ingress_controller.sources.kubeconfig import Kubeconfig  # needs YAML; a Pod does not

    return Kubeconfig(paths, access.context)


class ServiceAccount:
    """The account of our Pod: files that the kubelet renews, an address in the environment."""

    def __init__(self, folder: str, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ

    async def load(self, *, anew: bool) -> Login:
        """Reads the files, whatever ``anew`` says: they are small and local.

        Raises:
            AccessError: no service account, or an unusable one.
        """
        return self._read()

    def _read(self) -> Login:
        library = config_module("incluster_config")
        token, authorities = (os.path.join(self._folder, name) for name in ("token", "ca.crt"))
        if not os.path.isdir(self._folder):
            raise AccessError(
                f"no service account is mounted at {self._folder}: outside a cluster give "
                "--kubeconfig FILE; in a Pod set automountServiceAccountToken to true"
            )
        settings = Settings()
        try:
            loader = library.InClusterConfigLoader(token, authorities, environ=self._environ)
            loader.load_and_set(settings)
        except (library.ConfigException, OSError, UnicodeDecodeError) as error:
            raise AccessError(self._sentence(error)) from None
        login = settings.login()
        if not (login.authorization or "").partition(" ")[2]:
            raise AccessError(self._sentence(f"{token} is empty"))
        return login

    def _sentence(self, reason: object) -> str:
        if isinstance(reason, OSError):
            reason = f"{reason.filename}: {reason.strerror}"
        elif isinstance(reason, UnicodeDecodeError):
            reason = "a file in it is not text"
        return (
            f"the service account at {self._folder} cannot be used: {reason}. It needs the files "
            "token and ca.crt, and KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT in the "
            "environment, as the kubelet gives them to a Pod"
        )


class Settings:
    """What the library's loaders write into; stands for its Configuration."""

    host = ""
    ssl_ca_cert: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify_ssl = True
    tls_server_name: str | None = None
    proxy: str | None = None

    def __init__(self) -> None:
        self.api_key: dict[str, str] = {}

    def login(self) -> Login:
        """The same, as a value."""
        return Login(
            server=self.host.rstrip("/"),
            # A file that people wrote ends in a line feed, which no header field may hold.
            authorization=self.api_key.get("BearerToken", "").strip() or None,
            ca_file=self.ssl_ca_cert,
            cert_file=self.cert_file,
            key_file=self.key_file,
            verify=self.verify_ssl,
            server_name=self.tls_server_name,
            proxy=self.proxy,
        )


def tls_context(login: Login) -> ssl.SSLContext | None:
    """How connections to this server are secured; None for an http URL.

    Raises:
        AccessError: a file cannot be used.
    """
    if not login.server.startswith("https://"):
        return None
    try:
        context = ssl.create_default_context(cafile=login.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise AccessError(_unusable("authorities", login.ca_file, error)) from None
    # Python 3.13 began to insist on extensions that the authorities of many clusters lack; Go's
    # clients, by which clusters are tested, do not.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not login.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if login.cert_file is not None:
        try:
            context.load_cert_chain(login.cert_file, login.key_file)
        except (OSError, ssl.SSLError) as error:
            raise AccessError(_unusable("client certificate", login.cert_file, error)) from None
    return context


def tls_digest(login: Login) -> bytes:
    """Different whenever `tls_context` would give something else.

    Raises:
        AccessError: a file cannot be read.
    """
    digest = hashlib.sha256(repr((login.server, login.verify)).encode())
    for path in (login.ca_file, login.cert_file, login.key_file):
        digest.update(repr(path).encode())
        if path is not None:
            try:
                with open(path, "rb") as file:
                    digest.update(hashlib.sha256(file.read()).digest())
            except OSError as error:
                raise AccessError(_unusable("file", path, error)) from None
    return digest.digest()


def _unusable(what: str, path: str | None, error: OSError) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return f"the {what} {path} for the API server cannot be used: {reason or 'not PEM'}"


def config_module(name: str) -> ModuleType:
    """A module of the library's `config` package, loaded without the packages above it.

    Their `__init__` files import more than 850 modules of API models and clients that nothing here
    uses: 37 MiB and 0.3 s of every start. Their places are taken by empty packages meanwhile, and
    freed again, so that somebody else's import finds the whole library.
    """
    full = f"{LIBRARY}.config.{name}"
    if full in sys.modules:
        return sys.modules[full]
    with _hollow_packages():
        module = importlib.import_module(full)
    # It logs what plugins write on standard error; nobody promised that to be free of secrets.
    logging.getLogger(f"{LIBRARY}.config").setLevel(logging.CRITICAL)
    return module


@contextlib.contextmanager
def _hollow_packages() -> Iterator[None]:
    spec = None if LIBRARY in sys.modules else importlib.util.find_spec(LIBRARY)
    if spec is None or spec.submodule_search_locations is None:
        yield  # somebody loaded all of it already, or it is not there: the import will say so
        return
    root = list(spec.submodule_search_locations)
    hollow = {}
    for name in ("", "client", "config"):
        module = ModuleType(f"{LIBRARY}.{name}".rstrip("."))
        module.__path__ = [os.path.join(folder, name) for folder in root]
        hollow[module.__name__] = module
    client: Any = hollow[f"{LIBRARY}.client"]
    client.Configuration = Settings
    client.ApiClient = object  # named in annotations of functions that nothing here calls
    sys.modules.update(hollow)
    try:
        yield
    finally:
        for name in hollow:
            del sys.modules[name]
