"""The machine as a measuring instrument: who else uses it, CPUs kept awake, and what a process cost."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
KTHREADD = 2


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc: proc(5)."""

    parent: int
    seconds: float  # user and system


def processes() -> dict[int, Process]:
    """Every process there is, with what it has cost so far."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                cost = (int(fields[11]) + int(fields[12])) / TICKS
                found[int(entry)] = Process(int(fields[1]), cost)
    return found


def cpu_seconds(pids: list[int]) -> float:
    """User and system seconds of these processes so far, all threads."""
    table = processes()
    return sum(table[pid].seconds for pid in pids if pid in table)


def rss_mb(pids: list[int]) -> float:
    """Resident memory of these processes together, MB (10^6)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total / 1e6


class Others:
    """What of the machine processes that are not ours used while this was open, as a share of one CPU.

    Kernel threads are left out: packets of ours are handled there too.
    """

    def __init__(self) -> None:
        self._before = processes()
        self._start = time.monotonic()

    def used(self) -> float:
        """CPUs, as in 0.05: a twentieth of one."""
        now, ours = processes(), {os.getpid()}
        grew = True
        while grew:
            more = {pid for pid, process in now.items() if process.parent in ours} - ours
            grew = bool(more)
            ours |= more
        theirs = 0.0
        for pid, process in now.items():
            if pid not in ours and pid != KTHREADD and process.parent != KTHREADD:
                before = self._before.get(pid)
                theirs += process.seconds - (before.seconds if before else 0)
        return theirs / (time.monotonic() - self._start)


def wait_for_idle(patience: float, limit: float = 0.1) -> float:
    """Wait until others use less than ``limit`` CPUs for half a second, ``patience`` seconds at most; what
    they use then.
    """
    until = time.monotonic() + patience
    while True:
        others = Others()
        time.sleep(0.5)  # a measurement takes time; there is no event for "idle"
        used = others.used()
        if used < limit or time.monotonic() > until:
            return used


SPIN = """
import os
def spin():
    while True:
        for _ in range(2000): pass
        os.sched_yield()
spin()
"""


@contextlib.contextmanager
def awake() -> Iterator[None]:
    """Keep every CPU from halting: a halted one adds a wake-up of the host to each round trip.

    Spinners of the class SCHED_IDLE (chrt -i 0) give way to whatever else wakes (sched(7)), but have a share too: when
    it is owed one is let run until the next tick, 4 ms later, in the middle of what is measured. So they yield by
    themselves every few microseconds; not more often, since a yield takes the lock that who wakes somebody there needs.
    """
    spinners = [
        subprocess.Popen(["chrt", "-i", "0", "taskset", "-c", str(cpu), sys.executable, "-c", SPIN])
        for cpu in sorted(os.sched_getaffinity(0))
    ]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
        for spinner in spinners:
            spinner.wait()


AUTOGROUP = Path("/proc/self/autogroup")


@contextlib.contextmanager
def ahead() -> Iterator[None]:
    """The harness's processes go before all others', for the moment of a measurement. Where the kernel has autogroups
    (sched(7)) a session has one weight, whatever its processes' own; where it has none, they have each their own.

    Not to be idle beside spinners for long: the rest of the machine has a hundredth of it then.
    """
    with contextlib.ExitStack() as back:
        back.callback(os.setpriority, os.PRIO_PGRP, 0, os.getpriority(os.PRIO_PROCESS, 0))
        os.setpriority(os.PRIO_PGRP, 0, -20)
        with contextlib.suppress(OSError):  # there are none
            before = AUTOGROUP.read_text().split()[-1]
            AUTOGROUP.write_text("-20")
            back.callback(AUTOGROUP.write_text, before)
        yield


def described() -> str:
    """One line on the machine the figures are of."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = platform.release().partition("-")[0]
    return f"{len(os.sched_getaffinity(0))} CPUs, {model}, {memory:.0f} GiB, Linux {kernel}"
