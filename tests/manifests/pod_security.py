"""The profile "restricted" of Pod Security, as rules over a Pod's spec.

Kubernetes documentation, "Pod Security Standards": all rows of the profiles baseline and
restricted that Linux Pods have.
"""

from collections.abc import Iterator
from typing import Any

Spec = dict[str, Any]

VOLUMES = frozenset(
    {
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
        *("persistentVolumeClaim", "projected", "secret"),
    }
)
SECCOMP = frozenset({"RuntimeDefault", "Localhost"})
SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_syncookies",
    }
)


def violations(spec: Spec) -> list[str]:
    """What the profile does not allow; empty when the Pod would be let in."""
    return [*_of_the_pod(spec), *_of_containers(spec)]


def _of_the_pod(spec: Spec) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield field
    for volume in spec.get("volumes", ()):
        for kind in volume.keys() - {"name"} - VOLUMES:
            yield f"volume of type {kind}"
    security = spec.get("securityContext", {})
    for sysctl in security.get("sysctls", ()):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    yield from _of_any(security)


def _of_containers(spec: Spec) -> Iterator[str]:
    pod = spec.get("securityContext", {})
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(kind, ()):
            security = container.get("securityContext", {})
            yield from _of_any(security)
            if security.get("privileged"):
                yield "privileged"
            if security.get("allowPrivilegeEscalation") is not False:
                yield "allowPrivilegeEscalation"
            capabilities = security.get("capabilities", {})
            if "ALL" not in capabilities.get("drop", ()):
                yield "capabilities are not dropped"
            if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
                yield "capabilities are added"
            if security.get("procMount", "Default") != "Default":
                yield "procMount"
            if not security.get("runAsNonRoot", pod.get("runAsNonRoot")):
                yield "runAsNonRoot"
            seccomp = security.get("seccompProfile", pod.get("seccompProfile", {}))
            if seccomp.get("type") not in SECCOMP:
                yield "seccompProfile"
            for port in container.get("ports", ()):
                if port.get("hostPort"):
                    yield f"hostPort {port['hostPort']}"
            handlers = [container.get(name, {}) for name in ("livenessProbe", "readinessProbe")]
            handlers += [container.get("startupProbe", {})]
            handlers += container.get("lifecycle", {}).values()
            if any("host" in handler.get("httpGet", {}) for handler in handlers):
                yield "host of a probe"


def _of_any(security: Spec) -> Iterator[str]:
    """What a Pod and a container may both say."""
    if security.get("runAsUser") == 0:
        yield "runAsUser 0"
    selinux = security.get("seLinuxOptions", {})
    types = ("container_t", "container_init_t", "container_kvm_t", "container_engine_t", "")
    if selinux.get("type", "") not in types or selinux.get("user") or selinux.get("role"):
        yield "seLinuxOptions"
    apparmor = security.get("appArmorProfile", {})
    if apparmor.get("type", "RuntimeDefault") not in SECCOMP:
        yield "appArmorProfile"
    if security.get("windowsOptions", {}).get("hostProcess"):
        yield "hostProcess"
