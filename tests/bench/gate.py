"""mirror-gate as a carrier: the program of the image in a server's network namespace, told by this process what its
agent would tell it. Nobody is behind its hand-over: measured is the way of those who are not part of the session.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from agent import gate_words
from agent.gate_words import Applied, Failed, Rule, Thief, Want
from tests.bench import peers, product
from tests.bench.spaces import Space
from wire.messages import Condition, Filter

NUMBER = 1
HEADER = 0  # wire.messages.Condition


@dataclass(frozen=True, slots=True)
class Gate:
    """One that steals what it was told to."""

    pid: int


@functools.cache
def program() -> str:
    """Compiled anew when its sources changed."""
    made = peers.CACHE / "mirror-gate"
    subprocess.run(
        ["make", "-s", "native"], cwd=product.ROOT, check=True, stdout=subprocess.DEVNULL
    )  # what it needs, installed
    words = ["python3", "images/build_native.py", "--out", str(peers.CACHE), "--only", "mirror-gate"]
    subprocess.run(words, cwd=product.ROOT, check=True, stdout=subprocess.DEVNULL)
    return str(made)


def by_header(name: str) -> tuple[Filter, ...]:
    """Requests that have this header."""
    return (Filter((Condition(HEADER, f"^{name}: "),)),)


@contextlib.contextmanager
def gate(where: Space, cpus: str, *rules: Rule) -> Iterator[Gate]:
    """Up, its rules in force; ended by its own drain."""
    control, controls = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    handed, handovers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    netns = os.open(where.path, os.O_RDONLY | os.O_CLOEXEC)
    with control, controls, handed, handovers:
        given = [
            fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64)
            for fd in (controls.fileno(), handovers.fileno(), netns)
        ]
        actions = [(os.POSIX_SPAWN_DUP2, fd, at) for at, fd in enumerate(given, start=3)]
        words = ["taskset", "-c", cpus, program(), "the benchmark"]
        pid = os.posix_spawnp("taskset", words, dict(os.environ), file_actions=actions)
        for fd in (*given, netns):
            os.close(fd)
        controls.close()
        handovers.close()
        try:
            control.settimeout(20)
            control.send(gate_words.want(1, Want((Thief(NUMBER, 0),), rules)))
            _applied(control)
            yield Gate(pid)
            control.send(gate_words.drain(0))
        finally:
            control.close()
            os.waitpid(pid, 0)


def _applied(control: socket.socket) -> None:
    while True:
        match gate_words.read(control.recv(gate_words.PACKET)):
            case Applied():
                return
            case Failed(sentence=sentence):
                raise RuntimeError(f"the gate: {sentence}")
