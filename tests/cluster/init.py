"""The first process of a part's namespaces: furnishes them as the spec says, keeps programs running, buries the dead.

It is process 1 of its pid namespace: when it ends, however it ends, the kernel ends everything in there, and with the
last process go the mounts, the network and its cables. So there is one process to stop for each part, and a crash
leaves no more than empty cgroups.

    python -m tests.cluster.init SPEC.json       (as root, in new namespaces: parts.py)
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster import cgroups
from tests.cluster.spec import Mount, Part, Program

AGAIN = 0.2
"""Seconds until a program that ended is started again: what systemd waits is 0.1."""
PATIENCE = 30.0

SIGNALS = (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.returncode}: {done.stderr.strip()}")


def wait_for_links(names: list[str]) -> None:
    """Until the host has put them here. (Polled: the alternative, a netlink subscription, is for a wait of 50 ms.)"""
    deadline = time.monotonic() + PATIENCE
    while missing := {*names} - {name for _, name in socket.if_nameindex()}:
        if time.monotonic() > deadline:
            raise SystemExit(f"the host never made {sorted(missing)}")
        time.sleep(0.01)


def mount(one: Mount) -> None:
    if one.kind == "bind":
        run("mount", "--bind", one.source, one.target)
    else:
        run("mount", "-t", one.kind, *(["-o", one.options] if one.options else []), one.source, one.target)


def furnish(part: Part) -> None:
    run("mount", "--make-rshared", "/")  # what pods mount with Bidirectional propagation has to come through
    for one in part.mounts:
        for folder in (
            one.target,
            *(word.partition("=")[2] for word in one.options.split(",") if "dir=" in word),
        ):
            os.makedirs(folder, exist_ok=True)
        mount(one)
    for path, content in part.files.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_text(content)
    for number, (path, content) in enumerate(part.covers.items()):
        cover = f"/run/cover-{number}"
        Path(cover).write_text(content)
        run("mount", "--bind", cover, path)
    for path, version in part.cgroups:
        if (
            version == "2" and path == cgroups.TOP
        ):  # we are in the part's own cgroup, which is to have children
            os.makedirs(f"{path}/init", exist_ok=True)
            Path(f"{path}/init/cgroup.procs").write_text(str(os.getpid()))
            cgroups.delegate(Path(path))
    socket.sethostname(part.name)
    run("ip", "link", "set", "lo", "up")
    wait_for_links(part.links)
    for command in part.commands:
        run(*command)


class Keeper:
    """The programs of a part: pid of each that runs, and when the others are due."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._running: dict[int, Program] = {}
        self._due: dict[str, float] = {program.name: 0.0 for program in part.programs}

    def start_due(self, now: float) -> None:
        for program in self._part.programs:
            if (
                self._due.get(program.name, now + 1) <= now
                and not Path(self._part.held, program.name).exists()
            ):
                self._start(program, now)

    def _start(self, program: Program, now: float) -> None:
        with Path(self._part.logs, f"{program.name}.log").open("ab") as log:
            while program.before:
                done = subprocess.run(
                    program.before[0], stdout=log, stderr=log, check=False, preexec_fn=listen
                )
                if done.returncode:
                    self._due[program.name] = now + AGAIN / 4
                    return
                program.before.pop(0)
            process = subprocess.Popen(
                program.arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=listen
            )
        process.returncode = 0  # collected by bury(), with everybody else; Popen would warn that it forgot it
        del self._due[program.name]
        self._running[process.pid] = program
        say(f"{program.name} started, pid {process.pid}")

    def bury(self, now: float) -> None:
        """Collects every child that ended, ours or left to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if program := self._running.pop(pid, None):
                say(f"{program.name} ended: {os.waitstatus_to_exitcode(status)}")
                self._due[program.name] = now + AGAIN

    def deadline(self, now: float) -> float:
        """Seconds until something is due."""
        waiting = [when for name, when in self._due.items() if not Path(self._part.held, name).exists()]
        return max(0.0, min(waiting) - now) if waiting else 3600.0


def listen() -> None:
    """In a child: it hears the signals that we only wait for."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def main() -> None:
    # Blocked ones are kept for sigtimedwait, and reach the first process of a pid namespace at all (pid_namespaces(7)).
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    part = Part.load(Path(sys.argv[1]))
    furnish(part)
    say(f"{part.name} furnished")
    keeper = Keeper(part)
    while True:
        now = time.monotonic()
        keeper.bury(now)
        keeper.start_due(now)
        got = signal.sigtimedwait(SIGNALS, keeper.deadline(time.monotonic()))
        if got is not None and got.si_signo == signal.SIGTERM:
            return


if __name__ == "__main__":
    main()
