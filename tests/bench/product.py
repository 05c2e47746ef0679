"""The product as a carrier: its stack alone, and bridge and agent with a link between them, without an engine
of containers.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent import gate_words
from tests.bench import peers
from tests.bench.carriers import Carried
from tests.bench.spaces import APP_ADDRESS, Space, space
from wire.messages import Filter

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def alone_program() -> Path:
    """alone.c: the stack's own sources, with alone_mux.c in the place of the link. Compiled anew when any of
    them changed.
    """
    sys.path.insert(0, str(ROOT))
    from layer.netstack import build
    from native import sources as native

    stack = [str(path) for path in build.sources()]
    common = [name for name in native.sources() if not Path(name).name.startswith("mux")]
    ours = [str(HERE / "alone.c"), str(HERE / "alone_mux.c")]
    program = peers.CACHE / "alone"
    watched = [
        *stack,
        *common,
        *ours,
        *map(str, ROOT.glob("native/*.h")),
        *map(str, ROOT.glob("layer/netstack/*.h")),
    ]
    if not program.exists() or program.stat().st_mtime < max(Path(name).stat().st_mtime for name in watched):
        words = ["gcc", *build.cflags(), *(f"-I{folder}" for folder in build.include_dirs())]
        program.parent.mkdir(parents=True, exist_ok=True)
        unique = list(dict.fromkeys([*stack, *common, *ours]))
        kept = [name for name in unique if not Path(name).name.startswith("mux")]
        subprocess.run([*words, *kept, "-lpthread", "-o", str(program)], check=True)
    return program


@contextlib.contextmanager
def alone(_host: Space) -> Iterator[Carried]:
    """App, kernel, tun0, lwIP, and sink and source in the same process."""
    program = alone_program()
    with space("mr-bench-alone") as app:
        words = app.command(sys.executable, "-m", "tests.bench.product_alone", APP_ADDRESS, str(program))
        with part(words, "the stack alone") as process:
            yield Carried(app, [process.pid])


@dataclass(frozen=True, slots=True)
class Session:
    """A bridge and an agent that are up, linked by a socket pair as by the product's Unix socket."""

    app: Space
    bridge: subprocess.Popen[str]
    agent: subprocess.Popen[str]


@contextlib.contextmanager
def session(
    target: Space,
    address: str,
    ports: tuple[str, ...] = (),
    cpus: str = "",
    *,
    filters: tuple[Filter, ...] = (),
    files: int = 0,
    link: tuple[socket.socket, socket.socket] | None = None,
) -> Iterator[Session]:
    """The product between a namespace of its own and ``target``; ``address`` is what tun0 gets. ``cpus``:
    taskset's list. ``filters``: which requests of these ports are copied. ``files``: the process whose files are
    served. ``link``: the ends of a way of its own for these, which is kept as one to a pod is; else there is nothing
    between bridge and agent.
    """
    pin = ["taskset", "-c", cpus] if cpus else []
    bridge_end, agent_end = socket.socketpair()
    files_near, files_far = link or socket.socketpair()
    kept = ["keep"] if link else []
    with space("mr-bench-app") as app, bridge_end, agent_end, files_near, files_far:
        python = [*pin, sys.executable, "-m"]
        both = [*kept, *([f"files={files_near.fileno()}"] if files else [])]
        bridge_words = app.command(
            *python, "tests.bench.product_bridge", address, str(bridge_end.fileno()), *both
        )
        chosen = [f"choose={gate_words.filters_alone(filters).hex()}"] if filters else []
        more = [*kept, *ports, *chosen, *([f"files={files}:{files_far.fileno()}"] if files else [])]
        agent_words = [*python, "tests.bench.product_agent", str(agent_end.fileno()), target.path, *more]
        with (
            part(bridge_words, "bridge", bridge_end, files_near) as bridge,
            part(agent_words, "agent", agent_end, files_far) as agent,
        ):
            yield Session(app, bridge, agent)


@contextlib.contextmanager
def through_agent(host: Space) -> Iterator[Carried]:
    """App, kernel, tun0, lwIP, link, agent, a socket born in the server's namespace."""
    with session(host, APP_ADDRESS) as made:
        yield Carried(made.app, [made.bridge.pid, made.agent.pid])


@contextlib.contextmanager
def part(words: list[str], name: str, *links: socket.socket) -> Iterator[subprocess.Popen[str]]:
    """A part of the product, once it said "ready", until SIGTERM has ended it."""
    pass_fds = tuple(link.fileno() for link in links)
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, text=True, pass_fds=pass_fds, env=_env()
    )
    assert process.stdout is not None
    try:
        for link in links:
            link.close()
        readable, _, _ = select.select([process.stdout], [], [], 20)
        if not readable or process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{name} did not come up (exit {process.poll()})")
        yield process
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended by itself: exit {process.returncode}")
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _env() -> dict[str, str]:
    return dict(os.environ, PYTHONPATH=str(ROOT))
