"""However a steal ends, the target's network is as it was, and nobody but who was in flight through it notices."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable

import pytest
from docker.models.containers import Container

from .load import Load
from .scene import Run, Scene, part
from .stealing import Held, as_before, ask, network, stolen, until


def wrk(scene: Scene, client: Container, seconds: int, *words: str) -> tuple[threading.Thread, list[str]]:
    """Sixteen connections that are never idle; begun. What it said is there when the thread has ended."""
    said: list[str] = []
    words = ("wrk", "-t1", "-c16", f"-d{seconds}s", *words, "http://target:8080/")
    thread = threading.Thread(target=lambda: said.append(scene.inside(client, *words)))
    thread.start()
    return thread, said


def gate_of(target: Container) -> int:
    """The process that stands in this target's network."""
    target.reload()
    own = os.readlink(f"/proc/{target.attrs['State']['Pid']}/ns/net")
    found = subprocess.run(["pgrep", "-x", "mirror-gate"], capture_output=True, text=True, check=False)
    (gate,) = [int(pid) for pid in found.stdout.split() if os.readlink(f"/proc/{pid}/ns/net") == own]
    return gate


def out_of_memory(scene: Scene, target: Container) -> None:
    """The kernel's choice among those of the agent's cgroup: the agent, which is made the likeliest."""
    agent = part(scene, "agent")
    agent.reload()
    with open(f"/proc/{agent.attrs['State']['Pid']}/oom_score_adj", "w") as file:
        file.write("1000")
    agent.update(mem_limit="300m", memswap_limit="300m")
    agent.exec_run(
        ["python3", "-c", "bytearray(1 << 30)"], detach=True
    )  # its stream may outlive the container


ORDERLY: dict[str, Callable[[Run], int]] = {
    "SIGTERM": lambda run: run.end(),
    "Ctrl-C": lambda run: run.end(signal.SIGINT),
}
SUDDEN: dict[str, Callable[[Scene, Run, Container], None]] = {
    "runner": lambda scene, run, target: run.process.kill(),
    "bridge": lambda scene, run, target: part(scene, "bridge").kill(signal="SIGKILL"),
    "app": lambda scene, run, target: part(scene, "app").kill(signal="SIGKILL"),
    "gate": lambda scene, run, target: os.kill(gate_of(target), signal.SIGKILL),
}
THE_AGENTS: dict[str, Callable[[Scene, Container], None]] = {
    "kill -9": lambda scene, target: part(scene, "agent").kill(signal="SIGKILL"),
    "out of memory": out_of_memory,
}


@pytest.mark.parametrize("end", ORDERLY)
def test_an_orderly_end(scene: Scene, target: Container, bystander: Container, end: str) -> None:
    """Connections for each request, and wrk's, which are kept and never idle: nothing fails as it begins and ends."""
    before = network(scene, target)
    running, said = wrk(scene, bystander, 5)
    with Load(bystander, kept=1, fresh=2) as load:
        run = stolen(scene, target, "--http-path", "^/")
        until(scene, bystander, "app")
        ORDERLY[end](run)
        until(scene, bystander, "target")
    running.join()
    assert load.failed == []
    assert min(load.by["app"], load.by["target"]) > 5
    assert "Socket errors" not in said[0]
    assert "Non-2xx" not in said[0]
    as_before(scene, target, before)


# One connection: a request and its answer for the first line; for the second, what its end is.
IDLE = """
import socket, sys
c = socket.create_connection(("target", 8080))
sys.stdin.readline()
c.sendall(b"GET / HTTP/1.1\\r\\nHost: target\\r\\n\\r\\n")
got = b""
while not got.endswith(b"}\\n"): got += c.recv(65536)
print("app" if b'"by": "app"' in got else got, flush=True)
sys.stdin.readline()
c.settimeout(20)
try: print(c.recv(1), flush=True)
except OSError as error: print(repr(error), flush=True)
"""


def test_who_is_idle_at_an_orderly_end(scene: Scene, target: Container, bystander: Container) -> None:
    """By FIN, as a server's that keeps a connection no longer: its client opens another and nothing has failed."""
    run = stolen(scene, target)
    until(scene, bystander, "app")
    with Held(bystander, IDLE) as client:
        assert client.ask() == "app\n"
        run.end()
        assert client.ask() == "b''\n"
    until(scene, bystander, "target")


@pytest.mark.parametrize("end", SUDDEN)
def test_a_sudden_end(scene: Scene, target: Container, bystander: Container, end: str) -> None:
    before = network(scene, target)
    run = stolen(scene, target)
    until(scene, bystander, "app")
    with Load(bystander, kept=2, fresh=2) as load:
        SUDDEN[end](scene, run, target)
        until(scene, bystander, "target", 15)
    load.only_what_was_in_flight()
    run.wait() if end != "gate" else run.end()
    as_before(scene, target, before)


@pytest.mark.parametrize("end", THE_AGENTS)
def test_the_agents_end(scene: Scene, target: Container, bystander: Container, end: str) -> None:
    """wrk's connections go through the gate as the target's: each that is cut there comes again, and is answered."""
    before = network(scene, target)
    run = stolen(scene, target, "--http-header", "^x-user: ada$")
    running, said = wrk(scene, bystander, 3)
    with Load(bystander, kept=2, fresh=2) as load:
        while ask(scene, bystander, "target", "-H", "x-user: ada")["by"] != "app":
            pass
        THE_AGENTS[end](scene, target)
        run.said("keeps running")
        until(scene, bystander, "target", 15)
    running.join()
    load.only_what_was_in_flight()
    if "Socket errors" in said[0]:
        errors = re.search(r"connect 0, read (\d+), write (\d+), timeout 0", said[0])
        assert errors, said[0]
        assert sum(map(int, errors.groups())) <= 16, said[0]
    run.end()
    as_before(scene, target, before)
