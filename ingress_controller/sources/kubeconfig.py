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
"""Deadline for an exec plugin or a token refresh."""
MAX_BYTES = 4 * 1024 * 1024
"""Of one file; 1,000 contexts with their certificates need about 3 MiB."""

EXIT_STATUS = re.compile(r"exec: process returned (-?[0-9]+)")
MISSING_KEY = re.compile(r"Expected key (\S+) in ")


class Kubeconfig:
    """One context of a kubeconfig, or of several that are merged as kubectl merges them."""

    def __init__(self, paths: str, context: str | None) -> None:
        self._paths = paths
        self._context = context
        self._loader: Any = None
        self._login: Login | None = None
        self._command = ""

    async def load(self, *, anew: bool) -> Login:
        """Token files are read again; an exec plugin runs again shortly before its answer
        expires. ``anew`` reads the file itself again and runs the plugin in any case.

        Raises:
            AccessError: the file, its context or its credentials cannot be used.
        """
        if anew or self._loader is None:
            self._check()
        elif (
            self._login is not None
            and self._command
            and not hasattr(self._loader, "exec_plugin_expiry")
        ):
            return self._login  # valid until the server says otherwise, as for client-go
        settings = Settings()
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                await self._load_into(settings, anew=anew)
        except TimeoutError:
            raise AccessError(
                self._sentence(f"no credentials within {LOAD_SECONDS:g} s{self._plugin}")
            ) from None
        except Exception as error:  # the library lets KeyError, AssertionError and others through
            raise AccessError(self._sentence(self._reason(error))) from None
        self._login = self._checked(settings.login())
        return self._login

    async def _load_into(self, settings: Settings, *, anew: bool) -> None:
        if anew or self._loader is None:
            self._loader = await config_module("kube_config").load_kube_config(
                config_file=self._paths, context=self._context, client_configuration=settings
            )
        else:
            await self._loader.load_and_set(settings)

    def _check(self) -> None:
        """What the library would pass over in silence, or complain about with secrets."""
        contexts: dict[str, Any] = {}
        users: dict[str, Any] = {}
        current = None
        for path in self._existing():
            document = _read(path)
            contexts = _by_name(path, document, "contexts", "context") | contexts
            users = _by_name(path, document, "users", "user") | users
            _by_name(path, document, "clusters", "cluster")
            current = document.get("current-context") or current
        name = self._context or current
        known = ", ".join(sorted(contexts)) or "none"
        if not name:
            raise AccessError(
                f"kubeconfig {self._paths} names no current context: give --context one of its "
                f"contexts ({known})"
            )
        if name not in contexts:
            raise AccessError(
                f"kubeconfig {self._paths} has no context {name!r}: give --context one of those "
                f"that it has ({known})"
            )
        user = contexts[name].get("user")
        if user and user not in users:
            raise AccessError(
                self._sentence(f"its context {name} names the user {user}, who is not in it")
            )
        plugin = users.get(user, {}).get("exec")
        self._command = str(plugin.get("command", "")) if isinstance(plugin, dict) else ""

    def _existing(self) -> list[str]:
        paths = [os.path.expanduser(path) for path in self._paths.split(os.pathsep) if path]
        existing = [path for path in paths if os.path.exists(path)]
        if not existing:
            raise AccessError(
                f"there is no kubeconfig {self._paths}: give --kubeconfig a file that exists, or "
                "leave it out in a Pod, where the service account is used"
            )
        return existing

    def _checked(self, login: Login) -> Login:
        try:
            url = urlsplit(login.server)
            usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
            hides = url.username is not None or bool(url.query)
        except ValueError:
            usable, hides = False, False
        if not usable:
            raise AccessError(self._sentence("its cluster has no server with an http or https URL"))
        if hides:
            raise AccessError(
                self._sentence("the server's URL holds credentials; put them into the user entry")
            )
        if login.proxy is not None and urlsplit(login.proxy).scheme not in ("http", "https"):
            raise AccessError(self._sentence("proxy-url must begin with http:// or https://"))
        return login

    def _sentence(self, reason: str) -> str:
        return f"kubeconfig {self._paths} cannot be used: {reason}"

    @property
    def _plugin(self) -> str:
        return f" from the exec plugin {self._command}" if self._command else ""

    def _reason(self, error: Exception) -> str:
        """Why the library gave up, without a word that could come from the file's secrets."""
        text = str(error)
        if (ended := EXIT_STATUS.match(text)) is not None:
            return (
                f"the exec plugin {self._command} ended with status {ended[1]}; run it by hand to "
                "see why"
            )
        if text.startswith("exec: "):
            return (
                f"the exec plugin {self._command} does not answer with an ExecCredential of the "
                "apiVersion that the file says"
            )
        if (missing := MISSING_KEY.search(text)) is not None:
            return f"the key {missing[1]} is missing"
        if text.startswith("File does not exists: "):
            return f"there is no file {text.removeprefix('File does not exists: ')}"
        if isinstance(error, OSError):
            return f"{error.filename or self._command}: {error.strerror}"
        return f"its credentials{self._plugin} are not in the form that kubectl documents"


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
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise AccessError(f"kubeconfig {path} is not YAML{where}") from None
    if not isinstance(document, dict):
        raise AccessError(f"kubeconfig {path} holds no clusters, users and contexts")
    return document


def _by_name(path: str, document: Mapping[str, Any], key: str, inner: str) -> dict[str, Any]:
    """The entries of one list of a kubeconfig; the first of a name counts."""
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
