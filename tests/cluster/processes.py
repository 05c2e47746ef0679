"""Processes that outlive who started them: recorded by pid and start time, so that no other is ever signalled.

A pid is given again to somebody else; a pid with its start time (proc(5), field 22 of /proc/PID/stat) is not.
"""

from __future__ import annotations

import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third on (the second may hold spaces and brackets)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def started_at(pid: int) -> int | None:
    """Clock ticks from boot to its start; None: there is no such process, or only its exit status is left of it."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def children(pid: int) -> list[int]:
    """Of all its threads."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in path.read_text().split()]
        except OSError:
            continue  # the thread ended meanwhile
    return found


def arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


@dataclass(frozen=True, slots=True)
class Process:
    """One process, now and later."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        started = started_at(pid)
        return None if started is None else cls(pid, started)

    @classmethod
    def load(cls, path: Path) -> Process | None:
        """The one recorded in a file, if it still runs."""
        try:
            pid, started = (int(word) for word in path.read_text().split())
        except (OSError, ValueError):
            return None
        found = cls(pid, started)
        return found if found.alive() else None

    def save(self, path: Path) -> None:
        path.write_text(f"{self.pid} {self.started}\n")

    def alive(self) -> bool:
        return started_at(self.pid) == self.started

    def send(self, number: int) -> bool:
        """Signals it; False: it has ended already."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.alive():  # looked at after opening: the descriptor is of this process or of none
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def wait(self, seconds: float) -> bool:
        """Waits for its end; False: it still runs."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            return not self.alive() or bool(select.select([handle], [], [], seconds)[0])
        finally:
            os.close(handle)
