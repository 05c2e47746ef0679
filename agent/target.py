"""One container that a session takes part in: its first process, held by descriptors that cannot come to mean another.

A pid may be used anew at any time, so everything is opened by it once, and the pidfd asked afterwards whether the
process was still there.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from agent import containers, engine
from agent.engine import EngineFault
from wire.messages import Identity, Port

FILE_LIMIT = 1024 * 1024
"""Octets of /etc/hosts and /etc/resolv.conf at most."""

ENVIRON_LIMIT = 4 * 1024 * 1024
"""Octets of a process's environment at most: the kernel's own limit is a quarter of the stack's (execve(2))."""

BEGINS_WITHIN = 5.0
"""Seconds in which a container's command must have been executed once its process is there."""


@dataclass(slots=True)
class Target:
    """Open until ``close``. ``pid`` is as this process's pid namespace numbers it, ``pod`` what the runner calls it."""

    index: int
    container: str
    pod: str
    pid: int
    pidfd: int
    netns: int
    diag: int
    identity: Identity
    _opened: ExitStack

    @classmethod
    async def find(cls, index: int, container: str, pod: str = "") -> Target:
        """By the container's full id. NotHere, ValueError, OSError or EngineFault when it cannot be had."""
        pid = containers.first_pid(container)
        with ExitStack() as undo:
            pidfd = _keep(undo, os.pidfd_open(pid))
            await _begun(pid)
            # privileged CAP_SYS_PTRACE: /proc/PID/ns/*, root, cwd and environ of another user's process (proc(5)).
            netns = _keep(undo, os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            diag = _keep(undo, engine.diag_open(netns))
            identity = _identity(pid, netns)
            if has_ended(pidfd) or not containers.is_member(pid, container):
                raise containers.NotHere(f"container {container[:12]} ended while it was being looked at")
            return cls(index, container, pod, pid, pidfd, netns, diag, identity, undo.pop_all())

    def close(self) -> None:
        """Lets go of the container. Nothing of ours was in it but sockets, which the engine closes."""
        self._opened.close()

    def listening(self) -> frozenset[Port]:
        """What it accepts on now. EngineFault if the kernel does not say."""
        return engine.listening(self.diag)

    @contextmanager
    def service(self) -> Iterator[tuple[int, int]]:
        """The process whose files and rights are the service's, and a descriptor by which it stays that process."""
        pid = containers.service_pid(self.pid)
        pidfd = os.pidfd_open(pid)
        try:
            yield pid, pidfd
        finally:
            os.close(pidfd)

    def environ(self) -> tuple[tuple[bytes, ...], str]:
        """The service's variables, b"NAME=value" each, and its working directory. OSError, EngineFault: it is gone."""
        pid = containers.service_pid(self.pid)
        start, end = containers.environ_range(pid)
        octets = engine.read_memory(pid, start, min(end - start, ENVIRON_LIMIT))
        cwd = os.readlink(f"/proc/{pid}/cwd")
        if has_ended(self.pidfd):
            raise ProcessLookupError(f"container {self.container[:12]} has ended")
        return tuple(part for part in octets.split(b"\0") if b"=" in part), cwd


def has_ended(pidfd: int) -> bool:
    """pidfd_open(2): readable once the process has ended. Asked by poll(2): select(2) takes no descriptor above 1023,
    and an agent with a thousand connections has those."""
    asked = select.poll()
    asked.register(pidfd, select.POLLIN)
    return bool(asked.poll(0))


def _keep(undo: ExitStack, fd: int) -> int:
    undo.callback(os.close, fd)
    return fd


async def _begun(pid: int) -> None:
    """Until the container's own command runs: before, environment and root are the runtime's. The kernel tells nobody
    when a process executes, so it is asked again."""
    deadline = asyncio.get_running_loop().time() + BEGINS_WITHIN
    while not containers.has_begun(pid) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def _identity(pid: int, netns: int) -> Identity:
    uts = os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY | os.O_CLOEXEC)
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return Identity(
                hostname=engine.hostname(uts),
                addresses=engine.addresses(netns),
                hosts=_file_or_nothing(root, "etc/hosts"),
                resolv_conf=_file_or_nothing(root, "etc/resolv.conf"),
            )
        finally:
            os.close(root)
    finally:
        os.close(uts)


def _file_or_nothing(root: int, path: str) -> bytes:
    """A container may have no such file: then its libc sees none either."""
    try:
        return engine.read_file(root, path, FILE_LIMIT)
    except EngineFault as fault:
        if isinstance(OSError(fault.errno, ""), FileNotFoundError):
            return b""
        raise
