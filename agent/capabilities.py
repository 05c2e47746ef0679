"""Whether this process may do what an agent does, said before the first session asks for it."""

from __future__ import annotations

NEEDED = {"SYS_ADMIN": 21, "SYS_PTRACE": 19, "NET_ADMIN": 12, "NET_RAW": 13}
"""capabilities(7): the name without CAP_, and the bit (linux/capability.h)."""

FOR_FILES = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "DAC_READ_SEARCH": 2,
    "FOWNER": 3,
    "FSETID": 4,
    "SETGID": 6,
    "SETUID": 7,
}
"""And these where files are served; without them a service of files is refused (agent/files/credentials.h)."""

TO_ENTER = "SYS_ADMIN"
"""The one that is for entering namespaces: not needed where targets share the agent's own."""

_INITIAL_PID_NAMESPACE = "pid:[4026531836]"
"""include/linux/proc_ns.h: the initial namespace has a fixed inode."""


def missing(status: str, *, beside: bool = False) -> tuple[str, ...]:
    """Of NEEDED, what the text of /proc/self/status does not grant. ``beside``: nothing has to be entered."""
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    needed = {name: bit for name, bit in NEEDED.items() if not (beside and name == TO_ENTER)}
    return tuple(f"CAP_{name}" for name, bit in needed.items() if not effective >> bit & 1)


def sees_the_whole_machine(namespace: str) -> bool:
    """Of the text of the link /proc/self/ns/pid: false in a container that has pids of its own (or a nested engine)."""
    return namespace == _INITIAL_PID_NAMESPACE
