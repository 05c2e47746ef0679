"""From a container's id to the pid of its first process, by what /proc says: no runtime's socket is asked.

Every runtime puts a container's processes into a cgroup whose path holds the container's id: /docker/ID,
/system.slice/docker-ID.scope, /kubepods/…/ID, seen from the initial cgroup namespace; from another, relative to that
(/../ID). Both versions of cgroups show it in /proc/PID/cgroup (cgroups(7)).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

ID = re.compile(r"[0-9a-f]{64}")

WAITING = "runc:["
"""How the comm of a process begins that its runtime has put in place but that has not yet executed the container's
command."""

INITS = frozenset({"tini", "docker-init", "dumb-init", "catatonit"})
"""First processes that only reap and pass on signals: the service is their first child."""


POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})(?![0-9a-f])")
"""The kubelet's name for a pod's cgroup (Kubernetes, cmd/kubelet: --cgroup-driver): pod and its uid, whose dashes are
underscores where systemd makes the cgroups, since a dash is a slash in a slice's name (systemd.slice(5))."""

OWN_POD = re.compile(r"/pods/([0-9a-f-]{36})/(?:etc-hosts|containers/)")
"""Where the kubelet's own files for a pod lie, as mountinfo (proc(5)) names what is mounted at /etc/hosts and
/dev/termination-log."""


class NotHere(Exception):
    """No process of this container is running on this machine."""


def first_pid(container: str, proc: str = "/proc") -> int:
    """The process of the container that started first. NotHere; ValueError if ``container`` is no full id."""
    if not ID.fullmatch(container):
        raise ValueError(f"{container!r} is not a container's full id")
    found = min(((_started(proc, pid), pid) for pid in _members(container, proc)), default=None)
    if found is None:
        raise NotHere(f"no process of container {container[:12]} is running on this machine")
    return found[1]


def pod_of(container: str, proc: str = "/proc") -> str:
    """The uid of the pod that the container belongs to; empty when its cgroup is no pod's. NotHere, ValueError.

    The outermost of the pods in the path is the one: what lies below its cgroup may be named by the container itself.
    """
    lines = _read(f"{proc}/{first_pid(container, proc)}/cgroup").splitlines()
    named = {_pod(line, container, proc) for line in lines if container in line}
    return named.pop() if len(named) == 1 else ""


def _pod(line: str, container: str, proc: str) -> str:
    before = line[: line.index(container)]
    if found := POD.search(before):
        return found[1].replace("_", "-")
    # Seen from a cgroup namespace whose root is a container's cgroup of the same pod (cgroup_namespaces(7)).
    if re.search(r":/\.\./[^/]*$", before) and (own := OWN_POD.search(_read(f"{proc}/self/mountinfo"))):
        return own[1]
    return ""


NOT_FILES = frozenset(
    ("proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "devtmpfs", "debugfs", "tracefs", "securityfs", "bpf")
)
"""Types of file systems that are the kernel's own."""

OF_THE_RUNTIME = ("/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")


def mounts(pid: int, proc: str = "/proc") -> tuple[str, ...]:
    """Where in the container's tree somebody mounted something: volumes, secrets, config maps. mountinfo, proc(5)."""
    found = set()
    for line in _read(f"{proc}/{pid}/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), before.split()[4])
        kind = after.split()[0]
        own = any(point == one or point.startswith(f"{one}/") for one in OF_THE_RUNTIME)
        if point != "/" and kind not in NOT_FILES and not own:
            found.add(point)
    return tuple(sorted(found))[:MOST_MOUNTS]


MOST_MOUNTS = 256
"""That are told of; a container has some dozens."""


def is_member(pid: int, container: str, proc: str = "/proc") -> bool:
    """Whether this process is (still) one of the container's.

    The monitor that CRI-O and Podman run beside each is not: its cgroup is crio-conmon-ID.scope. Nor is one in a cgroup
    that another pod's container has made below its own and named so.
    """
    cgroup = _read(f"{proc}/{pid}/cgroup")
    return container in cgroup and any(_is_of(line, container) for line in cgroup.splitlines())


def _is_of(line: str, container: str) -> bool:
    if container not in line or f"conmon-{container}" in line:
        return False
    pod = POD.search(line)
    first = ID.search(line, pod.end()) if pod else None
    return first is None or first[0] == container


def has_begun(pid: int, proc: str = "/proc") -> bool:
    """False while the runtime has made the process but it has not executed the container's command."""
    return not _read(f"{proc}/{pid}/comm").startswith(WAITING)


def service_pid(pid: int, proc: str = "/proc") -> int:
    """The process whose environment is the service's: ``pid``, or the first child of a mere init."""
    if _read(f"{proc}/{pid}/comm").strip() not in INITS:
        return pid
    children = [int(child) for child in _read(f"{proc}/{pid}/task/{pid}/children").split()]
    return min(children, key=lambda child: _started(proc, child), default=pid)


def environ_range(pid: int, proc: str = "/proc") -> tuple[int, int]:
    """Where the process's environment lies in its memory: fields 50 and 51 of proc(5)'s stat, zeros when it is gone."""
    behind = _read(f"{proc}/{pid}/stat").rpartition(")")[2].split()
    return (int(behind[47]), int(behind[48])) if len(behind) > 48 else (0, 0)


def _members(container: str, proc: str) -> Iterator[int]:
    for name in os.listdir(proc):
        if name.isdigit() and is_member(int(name), container, proc):
            yield int(name)


def _started(proc: str, pid: int) -> int:
    """Ticks since boot: field 22 of proc(5)'s stat, counted behind the name, which may hold anything. A process that is
    gone sorts last."""
    behind = _read(f"{proc}/{pid}/stat").rpartition(")")[2].split()
    return int(behind[19]) if len(behind) > 19 else 1 << 63


def _read(path: str) -> str:
    """Empty when the process is gone: processes end while we look."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""
