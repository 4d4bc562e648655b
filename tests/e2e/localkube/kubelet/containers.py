"""One container: its process, its probes, its restarts and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import probes, processes
from .api import Object
from .images import ImageMissing
from .values import NODE_IP, Unready, environment, expand, timestamp

if TYPE_CHECKING:
    from .pods import Pod

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOBODY = 65532  # the user of an image that is not to run as root and names none
DEFAULT_CAPABILITIES = frozenset(
    [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    ]
)
ALL_CAPABILITIES = DEFAULT_CAPABILITIES | frozenset(
    [
        "NET_ADMIN",
        "SYS_ADMIN",
        "SYS_PTRACE",
        "DAC_READ_SEARCH",
        "SYS_RESOURCE",
        "SYS_NICE",
        "IPC_LOCK",
        "SYS_TIME",
    ]
)
READ_ONLY_VOLUMES = ("secret", "configMap", "downwardAPI", "projected")
FIRST_BACKOFF, LONGEST_BACKOFF, FORGIVEN_AFTER = 1.0, 60.0, 600.0


class Log:
    """The last lines that a container has written, and when."""

    def __init__(self) -> None:
        self.lines: deque[tuple[float, bytes]] = deque(maxlen=20000)
        self.count = 0  # of all lines ever, so that a follower knows what it has seen
        self.closed = False
        self.more = asyncio.Event()

    async def fill(self, reader: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await reader.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            self.add(lines)
        self.add([rest] if rest else [])
        self.closed = True
        self.add([])

    def add(self, lines: list[bytes]) -> None:
        at = time.time()
        self.lines.extend((at, line + b"\n") for line in lines)
        self.count += len(lines)
        self.more.set()
        self.more = asyncio.Event()

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as f:
            f.writelines(line for _, line in self.lines)


class Container:
    def __init__(self, pod: Pod, spec: Object) -> None:
        self.pod, self.spec, self.name = pod, spec, spec["name"]
        self.state: Object = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: Object = {}
        self.restarts, self.ready, self.started = 0, False, False
        self.log, self.previous_log = Log(), Log()
        self.process: processes.Process | None = None
        self.runs = 0  # how often its process was started
        self.exit_code: int | None = None
        self._running: dict[str, Any] = {}  # specification of the running process, for exec

    @property
    def sidecar(self) -> bool:
        return self.spec.get("restartPolicy") == "Always"

    def status(self) -> Object:
        return {
            "name": self.name,
            "image": self.spec["image"],
            "imageID": "local",
            "containerID": f"local://{self.pod.uid}/{self.name}/{self.runs}" if self.runs else "",
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last_state,
        }

    # -- running ---------------------------------------------------------------
    async def supervise(self, policy: str) -> None:
        """Runs the container as often as the restart policy says."""
        backoff = 0.0
        while not self.pod.ending:
            begun = time.monotonic()
            code = await self._once()
            if self.pod.ending or policy == "Never" or (policy == "OnFailure" and code == 0):
                return
            self.last_state = self.state
            if time.monotonic() - begun > FORGIVEN_AFTER:
                backoff = 0.0
            if backoff:
                which = f"container={self.name} pod={self.pod.name}"
                message = f"back-off {backoff:g}s restarting failed {which}"
                self._wait("CrashLoopBackOff", message)
                self.pod.event("Warning", "BackOff", message)
                await self.pod.pause(backoff)
            backoff = min(backoff * 2 or FIRST_BACKOFF, LONGEST_BACKOFF)
            self.restarts += 1

    async def _once(self) -> int:
        """Runs the process once, from what it needs to its exit code."""
        while True:
            try:
                spec = await self._specification()
                break
            except (Unready, ImageMissing) as e:
                reason = (
                    "ErrImagePull" if isinstance(e, ImageMissing) else "CreateContainerConfigError"
                )
                if self._wait(reason, str(e)):
                    self.pod.event("Warning", "Failed", f"Error: {e}")
                await self.pod.pause(1)
                if self.pod.ending:
                    return 128
        pipe = await processes.Pipe.open()
        self.previous_log, self.log = self.log, Log()
        started = timestamp()
        self.runs += 1
        try:
            self.process = await processes.start(spec, pipe.write)
        except processes.StartError as e:
            pipe.close()
            self.log.closed = True
            return self._ended(128, started, "StartError", str(e))
        finally:
            pipe.hand_over()
        filling = asyncio.create_task(self.log.fill(pipe.reader))
        self._running = spec
        self.state = {"running": {"startedAt": started}}
        self.started = "startupProbe" not in self.spec and "postStart" not in (
            self.spec.get("lifecycle") or {}
        )
        self.ready = self.started and "readinessProbe" not in self.spec
        self._write_pid()
        self.pod.changed()
        self.pod.event("Normal", "Started", f"Container started: {self.name}")
        if self.pod.ending:  # deleted while it started
            self.process.kill()
        probing = asyncio.create_task(self._after_start())
        try:
            await self.process.wait()
        finally:
            probing.cancel()
            self.process.kill()
        await asyncio.wait({filling}, timeout=1)
        pipe.close()
        shutil.rmtree(spec["layer"], ignore_errors=True)
        code = self.process.exit.result()
        if code:
            self.pod.log.info("%s of %s ended with %d", self.name, self.pod, code)
        text = b"".join(line for _, line in list(self.log.lines)[-80:])[-2048:].decode(
            errors="replace"
        )
        told = self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError" and code
        return self._ended(code, started, "Error" if code else "Completed", text if told else "")

    def _ended(self, code: int, started: str, reason: str, message: str) -> int:
        self.exit_code = code
        ended = {
            "exitCode": code,
            "reason": reason,
            "startedAt": started,
            "finishedAt": timestamp(),
        }
        self.state = {"terminated": ended | ({"message": message} if message else {})}
        self.ready = self.started = False
        self.pod.changed()
        if reason == "StartError":
            self.pod.event("Warning", "Failed", f"Error: {message}")
        return code

    def _wait(self, reason: str, message: str) -> bool:
        state = {"waiting": {"reason": reason, "message": message}}
        new, self.state = self.state != state, state
        if new:
            self.pod.changed()
        return new

    def _write_pid(self) -> None:
        assert self.process
        file = self.pod.pids / self.name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(self.process.pid))

    # -- what runs -------------------------------------------------------------
    async def _specification(self) -> dict[str, Any]:
        """What launch.py is to do for this container."""
        pod, spec = self.pod, self.spec
        image = pod.images.find(spec["image"])
        security = (pod.obj["spec"].get("securityContext") or {}) | (
            spec.get("securityContext") or {}
        )
        uid = security.get("runAsUser", NOBODY if security.get("runAsNonRoot") else 0)
        if security.get("runAsNonRoot") and not uid:
            raise Unready("container has runAsNonRoot and would run as root")
        path = (
            f"{image.root}/bin:{STANDARD_PATH}"
            if image.root
            else os.environ.get("PATH", STANDARD_PATH)
        )
        env = {"PATH": path, "HOME": "/" if uid else "/root", "HOSTNAME": pod.hostname}
        env |= await environment(pod.obj, spec, pod.ip, pod.fetch)
        argv = [expand(x, env) for x in spec.get("command") or image.entrypoint]
        if not argv:
            raise ImageMissing(
                f"{spec['image']} has files (--image-root) but no command of its own (--image), "
                "and the Pod gives none"
            )
        argv += [expand(x, env) for x in spec.get("args") or []]
        capabilities = security.get("capabilities") or {}
        drop, add = (
            {x.removeprefix("CAP_") for x in capabilities.get(k) or []} for k in ("drop", "add")
        )
        keep = set() if "ALL" in drop else DEFAULT_CAPABILITIES - drop
        keep |= ALL_CAPABILITIES if "ALL" in add or security.get("privileged") else add
        return {
            "netns": pod.network.path,
            "host_network": pod.host_network,
            "hostname": pod.hostname,
            "layer": str(pod.dir / "layers" / f"{self.name}-{self.runs}"),
            "mounts": self._mounts(env),
            "files": {} if pod.host_network else pod.etc_files(),
            "sysctls": {s["name"]: s["value"] for s in security.get("sysctls") or []},
            "argv": argv,
            "env": env,
            "cwd": spec.get("workingDir") or "/",
            "uid": uid,
            "gid": security.get("runAsGroup", NOBODY if uid == NOBODY else 0),
            "groups": [
                *security.get("supplementalGroups", []),
                *([security["fsGroup"]] if "fsGroup" in security else []),
            ],
            "capabilities": sorted(keep),
            "no_new_privileges": security.get("allowPrivilegeEscalation") is False,
            "read_only_root": bool(security.get("readOnlyRootFilesystem")),
            "reach": _programs(argv[0], path, image.root),
            # An image's own program is PID 1 and ends on SIGTERM only if it handles it. A command
            # that merely stands for an image was not written for that: it is treated as if an init
            # were in front of it.
            "stand_in": not spec.get("command"),
        }

    def _mounts(self, env: dict[str, str]) -> list[dict[str, Any]]:
        volumes = {v["name"]: v for v in self.pod.obj["spec"].get("volumes") or []}
        mounts = []
        for m in sorted(
            self.spec.get("volumeMounts") or [], key=lambda m: m["mountPath"].count("/")
        ):
            source = self.pod.volumes.path(m["name"])
            if sub := m.get("subPath") or expand(m.get("subPathExpr", ""), env):
                source = (source / sub).resolve()
                if "emptyDir" in volumes[m["name"]]:
                    source.mkdir(parents=True, exist_ok=True)
                if not source.exists():
                    raise Unready(f"subPath {sub} does not exist in volume {m['name']}")
            fixed = any(kind in volumes[m["name"]] for kind in READ_ONLY_VOLUMES)
            mounts.append(
                {
                    "source": str(source),
                    "target": m["mountPath"],
                    "read_only": bool(m.get("readOnly")) or fixed,
                }
            )
        return mounts

    # -- probes ----------------------------------------------------------------
    async def execute(self, command: list[str], seconds: float | None) -> tuple[int | None, str]:
        """Runs a command inside the running container."""
        if not self.process or self.process.exit.done():
            return 126, "the container does not run"
        try:
            return await processes.run(
                self._running | {"join": self.process.pid, "argv": command}, seconds
            )
        except processes.StartError as e:
            return 126, str(e)

    def port(self, port: int | str) -> int:
        if isinstance(port, str) and not port.isdigit():
            named = next(
                (p["containerPort"] for p in self.spec.get("ports") or [] if p.get("name") == port),
                None,
            )
            if named is None:
                raise ValueError(f"container has no port named {port}")
            return int(named)
        return int(port)

    async def _after_start(self) -> None:
        if hook := (self.spec.get("lifecycle") or {}).get("postStart"):
            ok, message = await probes.check(
                hook, self.pod.ip, self.port, self.execute, self.pod.grace or 30
            )
            if not ok:
                self.pod.event("Warning", "FailedPostStartHook", f"PostStartHook failed: {message}")
                assert self.process
                self.process.kill()
                return
        await self._probes()

    async def _probes(self) -> None:
        if "startupProbe" in self.spec and not await self._probe("startupProbe"):
            return
        if not self.started:
            self.started = True
            self.ready = "readinessProbe" not in self.spec
            self.pod.changed()
        await asyncio.gather(
            *(
                self._probe(kind)
                for kind in ("readinessProbe", "livenessProbe")
                if kind in self.spec
            )
        )

    async def _probe(self, kind: str) -> bool:
        """Probes until a startup probe succeeds (true), or a startup or liveness probe has failed
        for good (false).
        """
        probe = self.spec[kind]
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        successes = failures = 0
        while True:
            begun = time.monotonic()
            ok, message = await probes.check(
                probe, self.pod.ip, self.port, self.execute, probe.get("timeoutSeconds", 1)
            )
            if (
                self.pod.ending and kind != "readinessProbe"
            ):  # a Pod that ends may fail, but its readiness still counts
                return False
            successes, failures = (successes + 1, 0) if ok else (0, failures + 1)
            if not ok:
                self.pod.event(
                    "Warning",
                    "Unhealthy",
                    f"{kind.removesuffix('Probe').capitalize()} probe failed: {message}",
                )
            if successes >= probe.get("successThreshold", 1):
                if kind == "startupProbe":
                    return True
                if kind == "readinessProbe":
                    self._set_ready(True)
            if failures >= probe.get("failureThreshold", 3):
                if kind == "readinessProbe":
                    self._set_ready(False)
                else:
                    failed = f"failed {kind.removesuffix('Probe')} probe, will be restarted"
                    self.pod.event("Normal", "Killing", f"Container {self.name} {failed}")
                    self.pod.spawn(
                        self.stop(probe.get("terminationGracePeriodSeconds", self.pod.grace))
                    )
                    return False
            await asyncio.sleep(
                max(0.0, probe.get("periodSeconds", 10) - (time.monotonic() - begun))
            )

    def _set_ready(self, ready: bool) -> None:
        if self.ready != ready:
            self.ready = ready
            self.pod.changed()

    # -- the end ---------------------------------------------------------------
    async def stop(self, grace: float) -> None:
        """preStop, SIGTERM, and SIGKILL when the grace period is over."""
        process = self.process
        if process is None or process.exit.done():
            return
        deadline = time.monotonic() + grace
        lifecycle = self.spec.get("lifecycle") or {}
        if (hook := lifecycle.get("preStop")) and grace:
            ending = asyncio.create_task(
                probes.check(hook, self.pod.ip, self.port, self.execute, grace)
            )
            await processes.first(ending, process.exit, seconds=grace)
            if ending.done() and not ending.result()[0]:
                self.pod.event(
                    "Warning", "FailedPreStopHook", f"PreStopHook failed: {ending.result()[1]}"
                )
            ending.cancel()
            deadline = max(
                deadline, time.monotonic() + 2
            )  # the kubelet, too, leaves two seconds after a hook that took all
        if grace:
            by_default = self._running["stand_in"] and not process.catches(signal.SIGTERM)
            process.kill(signal.SIGKILL if by_default else signal.SIGTERM)
            await process.wait(deadline - time.monotonic())
        process.kill()
        await process.wait()

    def vanish(self) -> None:
        if self.process:
            self.process.kill()
        if self.runs:
            with contextlib.suppress(OSError):
                self.log.save(self.pod.pids / f"{self.name}.log")
        with contextlib.suppress(OSError):
            (self.pod.pids / self.name).unlink()


def _programs(program: str, path: str, root: str | None) -> list[str]:
    """The files behind the program and behind what an image's bin folder links to (an interpreter,
    for instance).
    """
    links = (
        [e.path for e in os.scandir(f"{root}/bin") if e.is_symlink()]
        if root and os.path.isdir(f"{root}/bin")
        else []
    )
    found = [x for x in (shutil.which(program, path=path), root and f"{root}/bin", *links) if x]
    return sorted({*found, *map(os.path.realpath, found)})


def resolver(namespace: str, spec: Object) -> str:
    """The resolv.conf of a Pod."""
    config = spec.get("dnsConfig") or {}
    servers, search, options = (
        ["10.96.0.10"],
        [f"{namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local"],
        ["ndots:5"],
    )
    if spec.get("dnsPolicy") in ("None", "Default"):
        servers, search, options = [], [], []
    servers += config.get("nameservers", [])
    search += config.get("searches", [])
    options += [
        ":".join(filter(None, (o["name"], o.get("value")))) for o in config.get("options", [])
    ]
    lines = [f"nameserver {s}" for s in servers or [NODE_IP]]
    lines += [f"search {' '.join(search)}"] if search else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n"
