"""A kubeconfig as the account that we use: checked by us, read by kubernetes_asyncio.

The library's own messages may quote the user entry of the file, tokens included, so none of them
is passed on: every failure gets a sentence here.
"""

import asyncio
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import yaml

from ingress_controller.sources.credentials import Login, Settings, config_module
from ingress_controller.sources.errors import AccessError

LOAD_SECONDS = 30.0
"""Deadline for an exec plugin or a token refresh: people may have to confirm it."""
MAX_BYTES = 4 * 1024 * 1024
"""Of one file; 1,000 contexts with their certificates need about 3 MiB."""

EXIT_STATUS = re.compile(r"exec: process returned (-?[0-9]+)")
MISSING_KEY = re.compile(r"(?:Expected key |missing key ')(\w+)")
MISSING_FILE = "File does not exists: "


class Kubeconfig:
    """One context of a kubeconfig, or of several that are merged as kubectl merges them."""

    def __init__(self, paths: str, context: str | None) -> None:
        """``paths`` are joined by colons; ``context`` replaces the file's current one."""
        self._paths = paths
        self._context = context
        self._command = ""
        self._loader: Any = None
        self._login: Login | None = None
        self._loading: asyncio.Task[Login] | None = None

    async def load(self, *, anew: bool) -> Login:
        """Token files are read again; an exec plugin runs again shortly before its answer
        expires. ``anew`` reads the kubeconfig itself again, and runs the plugin in any case.

        Raises:
            AccessError: the file, its context or its credentials cannot be used.
        """
        if self._loading is None:
            task = asyncio.get_running_loop().create_task(self._load(anew=anew), name="kubeconfig")
            task.add_done_callback(self._loaded)
            self._loading = task
        # Cancelling would leave a plugin running that nobody waits for. As it is, there is one at
        # most, and whoever comes later waits for its answer.
        loading = self._loading
        await asyncio.wait([loading], timeout=LOAD_SECONDS)
        if not loading.done():
            plugin = f" from the exec plugin {self._command}" if self._command else ""
            raise AccessError(self._sentence(f"no credentials within {LOAD_SECONDS:g} s{plugin}"))
        return loading.result()

    def _loaded(self, task: asyncio.Task[Login]) -> None:
        self._loading = None
        if not task.cancelled():
            task.exception()  # told to whoever waits; nobody may be left

    async def _load(self, *, anew: bool) -> Login:
        anew = anew or self._loader is None
        if anew:
            self._check()
        elif (
            self._login is not None
            and self._command
            and not hasattr(self._loader, "exec_plugin_expiry")
        ):
            return self._login  # valid until the server says otherwise, as for client-go
        settings = Settings()
        try:
            if anew:
                self._loader = await config_module("kube_config").load_kube_config(
                    config_file=self._paths, context=self._context, client_configuration=settings
                )
            else:
                await self._loader.load_and_set(settings)
        except Exception as error:  # the library lets KeyError, AssertionError and others through
            raise AccessError(self._sentence(self._reason(error))) from None
        login = settings.login()
        if self._command and login.authorization is None and login.cert_file is None:
            reason = f"the exec plugin {self._command} gives neither a token nor a certificate"
            raise AccessError(self._sentence(reason))
        self._login = login
        return login

    def _check(self) -> None:
        """What the library would pass over in silence, or complain about with secrets."""
        found: dict[str, dict[str, Any]] = {"contexts": {}, "clusters": {}, "users": {}}
        current = None
        for path in self._existing():
            document = _read(path)
            for key, known in found.items():
                found[key] = _by_name(path, document, key) | known
            current = current or document.get("current-context")
        name = self._context or current
        names = ", ".join(sorted(found["contexts"])) or "none"
        if not name:
            raise AccessError(
                f"kubeconfig {self._paths} names no current context: give --context one of its "
                f"contexts ({names})"
            )
        if name not in found["contexts"]:
            raise AccessError(
                f"kubeconfig {self._paths} has no context {name!r}: give --context one of those "
                f"that it has ({names})"
            )
        context = found["contexts"][name]
        user, cluster = str(context.get("user") or ""), str(context.get("cluster") or "")
        for key, wanted in (("users", user), ("clusters", cluster)):
            if wanted and wanted not in found[key]:
                reason = f"its context {name} names {wanted}, which is not among its {key}"
                raise AccessError(self._sentence(reason))
        self._check_cluster(found["clusters"].get(cluster, {}))
        plugin = found["users"].get(user, {}).get("exec") or {}
        if not isinstance(plugin, dict):
            raise AccessError(self._sentence(f"the exec entry of its user {user} is no mapping"))
        self._command = str(plugin.get("command", ""))

    def _existing(self) -> list[str]:
        paths = [os.path.expanduser(path) for path in self._paths.split(os.pathsep) if path]
        existing = [path for path in paths if os.path.exists(path)]
        if not existing:
            raise AccessError(
                f"there is no kubeconfig {self._paths}: give --kubeconfig a file that exists, or "
                "leave it out in a Pod, where the service account is used"
            )
        return existing

    def _check_cluster(self, cluster: Mapping[str, Any]) -> None:
        try:
            url = urlsplit(str(cluster.get("server") or ""))
            usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
            proxy = urlsplit(str(cluster.get("proxy-url") or "http://none")).scheme
        except ValueError:
            raise AccessError(self._sentence("a URL of its cluster is not well-formed")) from None
        if not usable:
            raise AccessError(self._sentence("its cluster has no server with an http or https URL"))
        if url.username is not None or url.query:
            reason = "the server's URL holds credentials; put them into the user entry"
            raise AccessError(self._sentence(reason))
        if proxy not in ("http", "https"):
            raise AccessError(self._sentence("proxy-url must begin with http:// or https://"))

    def _sentence(self, reason: str) -> str:
        return f"kubeconfig {self._paths} cannot be used: {reason}"

    def _reason(self, error: Exception) -> str:
        """Why the library gave up, without a word that could come from the file's secrets."""
        text = str(error)
        if (ended := EXIT_STATUS.match(text)) is not None:
            return (
                f"the exec plugin {self._command} ended with status {ended[1]}; run it by hand to "
                "see why"
            )
        if (missing := MISSING_KEY.search(text)) is not None and "response" not in text:
            return f"the key {missing[1]} is missing"
        if text.startswith("exec: "):
            return (
                f"the exec plugin {self._command} does not answer with an ExecCredential of the "
                "apiVersion that the file says"
            )
        if text.startswith(MISSING_FILE):
            return f"there is no file {text.removeprefix(MISSING_FILE)}"
        if isinstance(error, RuntimeError) and "home" in text:
            return "HOME is not set, and this user has no home"  # the library asks at its import
        if isinstance(error, OSError):
            return f"{error.filename or self._command}: {error.strerror}"
        return "the credentials of its user are not in the form that kubectl documents"


def _read(path: str) -> Mapping[str, Any]:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AccessError(f"kubeconfig {path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise AccessError(f"kubeconfig {path} has more than {MAX_BYTES} bytes: is it another file?")
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise AccessError(f"kubeconfig {path} is not YAML{where}") from None
    if not isinstance(document, dict):
        raise AccessError(f"kubeconfig {path} holds no clusters, users and contexts")
    return document


def _by_name(path: str, document: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The entries of one list of a kubeconfig; the first of a name counts."""
    inner = key.removesuffix("s")
    entries = document.get(key) or []
    found: dict[str, Any] = {}
    usable = isinstance(entries, list)
    for entry in entries if usable else ():
        usable = isinstance(entry, dict) and isinstance(entry.get("name"), str)
        usable = usable and isinstance(entry.get(inner) or {}, dict)
        if not usable:
            break
        found.setdefault(entry["name"], entry.get(inner) or {})
    if not usable:
        raise AccessError(
            f"kubeconfig {path} cannot be used: each of its {key} needs a name and a {inner}"
        )
    return found
