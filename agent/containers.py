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


def is_member(pid: int, container: str, proc: str = "/proc") -> bool:
    """Whether this process is (still) one of the container's."""
    return container in _read(f"{proc}/{pid}/cgroup")


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
