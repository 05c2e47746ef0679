"""The real thing, on a container engine: how long until the command's first line, and what bridge and agent
keep in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
from docker.models.containers import Container

from runner.base import ensure_base
from runner.labels import ROLE, TARGET
from tests.bench import machine, peers
from tests.bench.rows import PORT
from tests.bench.spaces import checked
from tests.bench.table import Figure

ROOT = Path(__file__).resolve().parents[2]
MIRROR_RUN = str(ROOT / ".venv" / "bin" / "mirror-run")
HELD = 1000
LOAD = "/bench-load"


@contextlib.contextmanager
def target() -> Iterator[tuple[Container, str]]:
    """A container that runs the load server, and its image."""
    client = docker.from_env(timeout=600)
    image = ensure_base(client.api, lambda text: print(f"images: {text}"))
    made = client.containers.run(
        image,
        [LOAD, "serve", str(PORT)],
        name=f"mr-bench-target-{uuid.uuid4().hex[:8]}",
        volumes={str(peers.load_program()): {"bind": LOAD, "mode": "ro"}},
        init=True,
        detach=True,
    )
    try:
        yield made, image
    finally:
        made.remove(force=True, v=True)
        client.close()


def installed(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment, in which Python finds and keeps the bytecode of a source tree, as if a wheel were installed:
    where none may be written, a fifth of a run's start is its compilation."""
    kept = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(peers.CACHE / "bytecode")}


def first_line(words: list[str], environment: Mapping[str, str] | None = None) -> float:
    """Seconds from the start of a command to its first line on stdout; it then runs to its end."""
    began = time.monotonic()
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took = time.monotonic() - began
        _, complaint = process.communicate(timeout=60)
    if line != b"first\n" or process.returncode:
        raise RuntimeError(
            f"{' '.join(words)}: exit {process.returncode}: {complaint.decode(errors='replace')[-600:]}"
        )
    return took


def memory(named: str, address: str) -> dict[str, tuple[float, float]]:
    """Bridge's and agent's resident memory, MB: idle, and with HELD idle connections of the app through both."""
    words = [MIRROR_RUN, "--target", f"container/{named}", "-v", f"{peers.load_program()}:{LOAD}:ro", "--"]
    idle = _while_running(named, [*words, "sh", "-c", "echo held; read _"])
    held = _while_running(named, [*words, LOAD, "hold", address, str(PORT), str(HELD)])
    return {role: (idle[role], held[role]) for role in idle}


def _while_running(named: str, words: list[str]) -> dict[str, float]:
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            if not line.startswith(b"held"):
                complaint = process.communicate(timeout=30)[1].decode(errors="replace")[-600:]
                raise RuntimeError(f"{' '.join(words)}: {line!r} {complaint}")
            return {role: machine.rss_mb(pids) for role, pids in parts_of(named).items()}
        finally:
            process.communicate(timeout=60)


def parts_of(target_name: str) -> dict[str, list[int]]:
    """The processes of the session on this target: of its bridge, and of the agent whose volume the bridge has.

    Other sessions on the engine, and other agents, are nobody's business here.
    """
    client = docker.from_env()
    try:
        bridges = client.containers.list(filters={"label": f"{ROLE}=bridge"})
        (bridge,) = [one for one in bridges if target_name in one.labels.get(TARGET, "")]
        agent = client.containers.get(bridge.attrs["HostConfig"]["VolumesFrom"][0].partition(":")[0])
        return {"bridge": _pids(bridge), "agent": _pids(agent)}
    finally:
        client.close()


def _pids(container: Container) -> list[int]:
    top = container.top()
    return [int(row[top["Titles"].index("PID")]) for row in top["Processes"]]


def figures(options: argparse.Namespace, others: object) -> list[Figure]:
    """Warm start against ``docker run --rm IMAGE echo``, interleaved; then memory."""
    seen: list[float] = getattr(others, "seen", [])
    ours: list[float] = []
    plain: list[float] = []
    kept: dict[str, list[tuple[float, float]]] = {"bridge": [], "agent": []}
    with target() as (container, image):
        container.reload()
        address = container.attrs["NetworkSettings"]["IPAddress"]
        command = [MIRROR_RUN, "-q", "--target", f"container/{container.name}", "--", "echo", "first"]
        environment = installed(os.environ)
        first_line(command, environment)  # once cold: images are built, caches filled
        for _ in range(options.runs):
            machine.wait_for_idle(options.patience)
            meanwhile = machine.Others()
            plain.append(first_line(["docker", "run", "--rm", image, "echo", "first"]))
            ours.append(first_line(command, environment))
            seen.append(meanwhile.used())
        for _ in range(options.runs):
            for role, pair in memory(str(container.name), address).items():
                kept[role].append(pair)
    made = [
        Figure("docker run --rm IMAGE, first line", "s", tuple(plain), "less"),
        Figure(
            "mirror-run, warm, first line",
            "s",
            tuple(ours),
            "less",
            "docker run",
            statistics.median(plain),
            "<= 3",
        ),
    ]
    for role, pairs in kept.items():
        idle, more = tuple(i for i, _ in pairs), tuple(h - i for i, h in pairs)
        made.append(Figure(f"{role}, resident, idle", "MB", idle, "less", "aim", 40.0, "<= 1"))
        made.append(Figure(f"{role}, {HELD} connections more", "MB", more, "less", "aim", 10.0, "<= 1"))
    return made


def engine_answers() -> bool:
    """Whether there is an engine to measure on."""
    try:
        checked(["docker", "info"], timeout=20)
    except (RuntimeError, OSError):
        return False
    return True
