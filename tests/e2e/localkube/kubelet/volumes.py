"""The volumes of a Pod: folders that its containers mount, kept up to date while it runs."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from .api import Api, ApiError, Object
from .values import Fetch, Unready, data, field, resource

Files = dict[str, tuple[bytes, int]]  # path in the volume: content, mode


class Volumes:
    longest_token_use = 86400.0  # seconds

    def __init__(self, api: Api, pod: Object, ip: str, fetch: Fetch, root: Path) -> None:
        self.api, self.pod, self.ip, self.fetch, self.root = api, pod, ip, fetch, root
        self.sources: set[tuple[str, str]] = (
            set()
        )  # ("secrets" or "configmaps", name): a change of these changes a volume
        self.next_token = float("inf")  # when a token is to be renewed
        self._tokens: dict[str, tuple[str, float]] = {}  # content, when to renew
        self._lock = asyncio.Lock()
        security = pod["spec"].get("securityContext") or {}
        self._group: int | None = security.get("fsGroup")

    def path(self, name: str) -> Path:
        volume = next(v for v in self.pod["spec"].get("volumes") or [] if v["name"] == name)
        return Path(volume["hostPath"]["path"]) if "hostPath" in volume else self.root / name

    async def write(self) -> None:
        """Brings every volume up to date; raises Unready when it cannot."""
        async with self._lock:
            self.next_token = float("inf")
            for volume in self.pod["spec"].get("volumes") or []:
                folder = self.root / volume["name"]
                if "emptyDir" in volume:
                    if not folder.exists():
                        folder.mkdir(parents=True)
                        os.chown(folder, -1, self._group if self._group is not None else -1)
                        folder.chmod(0o2777 if self._group is not None else 0o777)
                elif "hostPath" in volume:
                    _host_path(volume["hostPath"])
                else:
                    publish(folder, await self._files(volume), self._group)

    async def _files(self, volume: Object) -> Files:
        kind = next(k for k in volume if k != "name")
        source = volume[kind]
        mode = source.get("defaultMode", 0o644)
        if kind == "projected":
            files: Files = {}
            for number, part in enumerate(source.get("sources") or []):
                inner = next(iter(part))
                if inner == "serviceAccountToken":
                    token = await self._token(f"{volume['name']}/{number}", part[inner])
                    files[part[inner]["path"]] = token.encode(), mode
                else:
                    files |= await self._items(inner, part[inner], mode)
            return files
        return await self._items(kind, source, mode)

    async def _items(self, kind: str, source: Object, mode: int) -> Files:
        items = source.get("items")
        if kind == "downwardAPI":
            return {
                i["path"]: (self._downward(i).encode(), i.get("mode", mode)) for i in items or []
            }
        if kind not in ("secret", "configMap"):
            raise Unready(f"volumes of kind {kind} are not supported")
        plural, name = (
            ("secrets" if kind == "secret" else "configmaps"),
            source.get("secretName") or source["name"],
        )
        self.sources.add((plural, name))
        o = await self.fetch(plural, name)
        if o is None:
            if source.get("optional"):
                return {}
            raise Unready(f'{plural[:-1]} "{name}" not found')
        values = data(plural, o)
        if items is None:
            return {k: (v, mode) for k, v in values.items()}
        missing = [i["key"] for i in items if i["key"] not in values]
        if missing and not source.get("optional"):
            raise Unready(f'{plural[:-1]} "{name}" has no key {missing[0]}')
        return {
            i["path"]: (values[i["key"]], i.get("mode", mode)) for i in items if i["key"] in values
        }

    def _downward(self, item: Object) -> str:
        if reference := item.get("fieldRef"):
            return field(self.pod, self.ip, reference["fieldPath"])
        reference = item["resourceFieldRef"]
        container = next(
            c for c in self.pod["spec"]["containers"] if c["name"] == reference["containerName"]
        )
        return resource(container, reference)

    async def _token(self, key: str, source: Object) -> str:
        """The token of the Pod's ServiceAccount, asked for again when four fifths of its time are
        over.
        """
        token, renew = self._tokens.get(key, ("", 0.0))
        if time.time() >= renew:
            meta = self.pod["metadata"]
            bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
            spec: dict[str, Any] = {
                "expirationSeconds": source.get("expirationSeconds", 3600),
                "boundObjectRef": bound,
            }
            spec["audiences"] = [source["audience"]] if source.get("audience") else []
            account = self.pod["spec"].get("serviceAccountName", "default")
            try:
                path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token"
                answer = await self.api.insist(
                    "POST",
                    path,
                    {
                        "apiVersion": "authentication.k8s.io/v1",
                        "kind": "TokenRequest",
                        "spec": spec,
                    },
                )
            except ApiError as e:
                raise Unready(f"token of service account {account}: {e}") from e
            token = answer["status"]["token"]
            expires = dt.datetime.fromisoformat(
                answer["status"]["expirationTimestamp"].replace("Z", "+00:00")
            ).timestamp()
            renew = time.time() + min(0.8 * (expires - time.time()), self.longest_token_use)
            self._tokens[key] = token, renew
        self.next_token = min(self.next_token, renew)
        return token


def _host_path(source: Object) -> None:
    path, kind = Path(source["path"]), source.get("type", "")
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    if kind == "FileOrCreate":
        path.touch()
    if not path.exists():
        raise Unready(f"hostPath {path} does not exist")


def publish(folder: Path, files: Files, group: int | None) -> None:
    """Replaces the content of a folder in one step, as the kubelet does: ..data points to the
    current version, and every name in the folder is a link through it, so a reader sees the old
    files or the new ones but never some of each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / "..data"
    if current.exists() and _read(current) == {k: v for k, (v, _) in files.items()}:
        return
    version = Path(
        tempfile.mkdtemp(
            dir=folder, prefix=dt.datetime.now(dt.UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
        )
    )
    version.chmod(0o755)
    for name, (content, mode) in files.items():
        file = version / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode | (0o440 if group is not None else 0))
        os.chown(file, -1, group if group is not None else -1)
    before = current.resolve() if current.exists() else None
    swap = folder / "..data_tmp"
    swap.symlink_to(version.name)
    swap.rename(current)
    wanted = {name.split("/")[0] for name in files}
    for name in wanted:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    for link in folder.iterdir():
        if not link.name.startswith("..") and link.name not in wanted:
            link.unlink()
    if before:
        shutil.rmtree(before)


def _read(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
