"""Starts one process in namespaces of its own and ends; the process is inherited by the kubelet (a
subreaper).

  python launch.py FD      the specification comes as JSON on standard input, output goes where
                           this program's goes

A container gets the network namespace `netns`, PID and mount namespaces of its own, and as root
file system a private layer over this machine's: it reads what the machine has, and what it writes
or what is mounted for it never touches the machine. With `join` the process enters the namespaces
of a running container instead. On FD goes "pid N", then "error TEXT" when the process could not be
started. Standard library only, and little of it: this runs once for each start.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

NEWNS, NEWUTS, NEWPID, NEWNET = 0x20000, 0x4000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, MOVE, REC, PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    8192,
    16384,
    1 << 18,
)
SET_NO_NEW_PRIVS, CAPBSET_DROP = 38, 24
CAPABILITIES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]
VIRTUAL = ("/proc", "/sys", "/dev", "/run")
SKIPPED = ("overlay", "squashfs", "nsfs", "autofs")

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(
    source: str | None,
    target: str,
    kind: str | None = None,
    flags: int = 0,
    data: str | None = None,
) -> None:
    text = [None if x is None else x.encode() for x in (source, target, kind)]
    check(
        libc.mount(*text, ctypes.c_ulong(flags), data and data.encode()),
        f"mount {kind or source} at {target}",
    )


def setns(fd: int, kind: int, what: str) -> None:
    check(libc.setns(fd, kind), f"enter {what}")


def file_systems(layer: str) -> list[str]:
    """Where real file systems are mounted, except the one that the layer is in."""
    found: list[str] = []
    home = ""
    with open("/proc/self/mountinfo") as f:
        for line in f:
            at, kind = (
                line.split()[4].encode().decode("unicode_escape"),
                line.split(" - ")[1].split()[0],
            )
            if layer.startswith(at.rstrip("/") + "/") and len(at) > len(home):
                home = at
            if (
                kind not in SKIPPED
                and not any(at == v or at.startswith(v + "/") for v in VIRTUAL)
                and os.path.isdir(at)
                and not set(at) & set(",:\\")
            ):
                found.append(at)
    return ["/"] + [at for at in dict.fromkeys(found) if at not in ("/", home)]


def make_root(spec: dict) -> None:
    """Builds the root file system in spec['layer'] and moves there."""
    layer, uid, read_only = spec["layer"], spec["uid"], RDONLY if spec["read_only_root"] else 0
    root, sources = layer + "/root", [os.open(m["source"], os.O_PATH) for m in spec["mounts"]]
    os.makedirs(root)
    for number, at in enumerate(file_systems(layer)):
        parts = [f"{layer}/{part}{number}" for part in ("upper", "work")]
        for part in parts:
            os.makedirs(part)
        try:  # the first one becomes read-only later: there are still files to be made in it
            mount(
                "overlay",
                root + at,
                "overlay",
                read_only if number else 0,
                f"lowerdir={at},upperdir={parts[0]},workdir={parts[1]}",
            )
        except OSError:
            if at == "/":
                raise
    mount("/dev", root + "/dev", None, BIND | REC)
    mount("proc", root + "/proc", "proc", NOSUID | NODEV | NOEXEC)
    if not spec["host_network"]:
        mount("sysfs", root + "/sys", "sysfs", NOSUID | NODEV | NOEXEC | RDONLY)
    os.chdir(root)
    mount(".", "/", None, MOVE)
    os.chroot(".")  # from here on symbolic links (/var/run) mean what they mean to the container
    if os.path.isdir("/dev/shm"):
        mount("shm", "/dev/shm", "tmpfs", NOSUID | NODEV, "size=64m")
    for name, text in spec["files"].items():
        if os.path.lexists(name):
            os.unlink(name)
        with open(name, "w") as f:
            f.write(text)
    for name, value in spec["sysctls"].items():
        with open("/proc/sys/" + name.replace(".", "/"), "w") as f:
            f.write(value)
    if (
        uid
    ):  # a home directory of another user may be closed to this one, though the image is in there
        for path in spec["reach"]:
            for real in {path, os.path.realpath(path)}:
                for parent in [
                    "/".join(real.split("/")[:i]) for i in range(2, real.count("/") + 1)
                ]:
                    if os.path.isdir(parent) and os.stat(parent).st_mode & 0o055 != 0o055:
                        os.chmod(parent, os.stat(parent).st_mode & 0o7777 | 0o055)
    for m, fd in zip(spec["mounts"], sources, strict=True):
        bind(fd, m["target"], m["read_only"])
    if read_only:
        mount(None, "/", None, REMOUNT | BIND | RDONLY)


def bind(fd: int, target: str, read_only: bool) -> None:
    source = f"/proc/self/fd/{fd}"
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "w").close()
    mount(source, target, None, BIND | REC)
    if read_only:
        mount(None, target, None, REMOUNT | BIND | RDONLY)
    os.close(fd)


def give_up_rights(spec: dict) -> None:
    keep = set(spec["capabilities"])
    with open("/proc/sys/kernel/cap_last_cap") as f:
        last = int(f.read())
    for number in range(last + 1):
        if number >= len(CAPABILITIES) or CAPABILITIES[number] not in keep:
            check(libc.prctl(CAPBSET_DROP, number, 0, 0, 0), "drop capability")
    os.fchown(1, spec["uid"], spec["gid"])  # so that it can open /dev/stdout
    os.setgroups(spec["groups"])
    os.setgid(spec["gid"])
    os.setuid(spec["uid"])
    if spec["no_new_privileges"]:
        check(libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def become(spec: dict) -> None:
    os.setsid()
    if "join" not in spec:
        check(libc.unshare(NEWNS | (0 if spec["host_network"] else NEWUTS)), "unshare")
        mount(None, "/", None, REC | PRIVATE)
        if not spec["host_network"]:
            check(libc.sethostname(spec["hostname"].encode(), len(spec["hostname"])), "sethostname")
        make_root(spec)
    os.umask(0o022)
    os.chdir(spec["cwd"])
    give_up_rights(spec)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    for s in (
        signal.SIGPIPE,
        signal.SIGXFSZ,
    ):  # Python ignores them, and a program would inherit that
        signal.signal(s, signal.SIG_DFL)
    argv, env = spec["argv"], spec["env"]
    folders = [""] if "/" in argv[0] else [f + "/" for f in env.get("PATH", "").split(":")]
    for program in [f + argv[0] for f in folders]:
        if os.path.isfile(program) and os.access(program, os.X_OK):
            os.execve(program, argv, env)
    raise FileNotFoundError(
        f"{argv[0]}: not found in the image or not executable (PATH {env.get('PATH', '')})"
    )


def main() -> None:
    report = int(sys.argv[1])
    os.set_inheritable(report, False)
    spec = json.load(sys.stdin)
    try:
        if "join" in spec:
            setns(os.pidfd_open(spec["join"]), NEWNS | NEWUTS | NEWNET | NEWPID, "the container")
        else:
            if not spec["host_network"]:
                setns(os.open(spec["netns"], os.O_RDONLY), NEWNET, spec["netns"])
            check(libc.unshare(NEWPID), "unshare")
        pid = os.fork()  # the child is the first process of its PID namespace
        if pid:
            os.write(report, f"pid {pid}\n".encode())
            os._exit(0)
        become(spec)
    except BaseException as e:
        os.write(report, f"error {e}\n".encode())
        os._exit(128)


main()
