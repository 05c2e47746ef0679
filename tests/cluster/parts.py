"""Parts of the cluster as processes: started in namespaces of their own, cabled to each other, found again, stopped.

A part is recorded by its `unshare` (pid and start time). Its child is process 1 of the part; the one dies with the
other (--kill-child), and everything in the part with both.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster import cgroups
from tests.cluster.places import LOGS, ROOT, STATE
from tests.cluster.processes import Process, arguments, children
from tests.cluster.spec import Mount, Part

NAMESPACES = ("--net", "--mount", "--pid", "--uts", "--ipc", "--cgroup")
PATIENCE = 20.0


def pid_file(name: str) -> Path:
    return STATE / name / "pid"


def cgroup_views(name: str) -> tuple[list[Mount], list[list[str]]]:
    """The mounts that make the part's own cgroups all that it sees of cgroups, and the hierarchies for its spec."""
    trees = cgroups.hierarchies()
    mounts = [Mount("bind", str(tree.group(name)), tree.mount) for tree in trees]
    return mounts, [[tree.mount, str(tree.version)] for tree in trees]


def start(part: Part) -> Process:
    """Its namespaces exist when this returns; it waits for its cables."""
    folder = STATE / part.name
    for path in (folder / "held", Path(part.logs)):
        path.mkdir(parents=True, exist_ok=True)
    spec = folder / "spec.json"
    part.save(spec)
    files = cgroups.make(part.name)

    def enter() -> None:
        for path in files:
            with open(path, "w") as file:
                file.write(str(os.getpid()))

    with Path(part.logs, "init.log").open("ab") as log:
        started = subprocess.Popen(
            [
                "unshare",
                *NAMESPACES,
                "--fork",
                "--kill-child",
                "--mount-proc",
                sys.executable,
                "-m",
                "tests.cluster.init",
                str(spec),
            ],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=enter,
        )
    started.returncode = 0  # it outlives us, and so has no one to wait for it but the system
    found = Process.of(started.pid)
    if found is None:
        raise RuntimeError(f"{part.name} ended at once: {tail(Path(part.logs, 'init.log'))}")
    found.save(pid_file(part.name))
    wait_for_init(part.name, found)
    return found


def environment() -> dict[str, str]:
    """What the programs are given: no proxy (they talk to each other), no Docker context, nobody's locale."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def wait_for_init(name: str, process: Process) -> int:
    """Host pid of the part's process 1."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := children(process.pid):
            return found[0]
        if not process.alive():
            break
        time.sleep(0.01)  # a clone(2) away
    raise RuntimeError(f"{name} did not start: {tail(LOGS / name / 'init.log')}")


def init_of(name: str) -> int | None:
    """Host pid of a running part's process 1."""
    recorded = Process.load(pid_file(name))
    found = children(recorded.pid) if recorded else []
    return found[0] if found else None


def running(name: str) -> dict[str, Process]:
    """The part's programs by name (argv[1] of `kube PROGRAM`, else the file's name), as the host sees them."""
    first = init_of(name)
    found: dict[str, Process] = {}
    for pid in children(first) if first else []:
        words = arguments(pid)
        if words and (process := Process.of(pid)):
            program = os.path.basename(words[0])
            found[words[1] if program == "kube" and len(words) > 1 else program] = process
    return found


def cable(one: int | None, one_end: str, other: int, other_end: str) -> None:
    """A veth pair between the network namespaces of two pids (None: ours). It goes when either namespace goes."""
    command = ["ip", "link", "add", "name", one_end]
    command += ["netns", str(one)] if one else []
    command += ["type", "veth", "peer", "name", other_end, "netns", str(other)]
    ip(*command[1:])


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def inside(name: str, *command: str) -> list[str]:
    """The command line that runs `command` in a part: its network, mounts, pids and names."""
    first = init_of(name)
    if first is None:
        raise RuntimeError(f"{name} does not run: `make cluster`")
    return ["nsenter", "--target", str(first), "--net", "--mount", "--pid", "--uts", "--ipc", "--", *command]


def stop(name: str) -> None:
    """Ends the part if it runs, and takes away what a crash may have left of it. Nothing else is touched."""
    recorded = Process.load(pid_file(name))
    if recorded is not None:
        first = init_of(name)
        init = Process.of(first) if first else None
        if init:  # it ends when all that it was process 1 of has ended
            init.send(signal.SIGKILL)
        recorded.send(signal.SIGKILL)
        for process in (init, recorded):
            if process and not process.wait(PATIENCE):
                raise RuntimeError(f"{name} (pid {process.pid}) does not end")
    cgroups.clear(name)
    shutil.rmtree(STATE / name, ignore_errors=True)


def tail(path: Path, lines: int = 15) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return str(error)
