"""Nobody else notices: a load runs through everything that can happen to a session, and not one answer fails."""

from __future__ import annotations

import threading
from typing import Self

import pytest
from docker.models.containers import Container

from .scene import ROLE, TARGET, Scene

# Checks each answer octet by octet, over kept and fresh connections, until stdin says stop; prints its counts.
WATCH = """
import http.client, socket, sys, threading
stop = threading.Event()
counts = {"ok": 0, "failed": 0, "altered": 0}
want = b"the target answers\\n"
def one(c, headers={}):
    try:
        c.request("GET", "/", headers=headers); a = c.getresponse(); body = a.read()
        counts["ok" if (a.status, body) == (200, want) else "altered"] += 1
    except (OSError, http.client.HTTPException) as e:
        counts["failed"] += 1; print(repr(e), file=sys.stderr, flush=True); c.close()
def kept():
    c = http.client.HTTPConnection("target", 8080, timeout=5)
    while not stop.is_set(): one(c)
def fresh():
    while not stop.is_set():
        c = http.client.HTTPConnection("target", 8080, timeout=5); one(c, {"Connection": "close"}); c.close()
threads = [threading.Thread(target=t) for t in (kept, kept, fresh, fresh)]
[t.start() for t in threads]
sys.stdin.readline(); stop.set(); [t.join() for t in threads]
print(counts["ok"], counts["failed"], counts["altered"])
"""


class Watch:
    """The bystander that counts, running in its container for as long as the block lasts."""

    def __init__(self, client: Container) -> None:
        import subprocess

        self._process = subprocess.Popen(
            ["docker", "exec", "-i", str(client.id), "python3", "-c", WATCH],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        out, err = self._process.communicate("\n", timeout=60)
        if error[0] is None:
            ok, failed, altered = map(int, out.split())
            assert (failed, altered) == (0, 0), f"{failed} failed, {altered} altered of {ok}\n{err}"
            assert ok > 100


def part(scene: Scene, role: str) -> Container:
    """The bridge or the app of this stage's run, or the agent that serves it."""
    for found in scene.client.containers.list(filters={"label": f"{ROLE}={role}"}, ignore_removed=True):
        if role == "agent" or scene.name in found.labels[TARGET]:
            return found
    raise AssertionError(f"no {role} runs")


@pytest.mark.parametrize("role", ["runner", "agent", "bridge", "app"])
def test_kill_9_of_each_part(scene: Scene, target: Container, bystander: Container, role: str) -> None:
    """`tidy` then checks that soon nothing is left."""
    with Watch(bystander):
        run = scene.record(target, "8080", flags=("--http",))
        run.event(request="GET / HTTP/1.1")
        if role == "runner":
            run.process.kill()
        else:
            part(scene, role).kill(signal="SIGKILL")
        if role == "agent":
            # The developer's process lives on, without the target's network; ended as ever.
            run.said("keeps running")
            assert run.process.poll() is None
        else:
            assert run.wait() == {"runner": -9, "bridge": 125, "app": 137}[role]


def test_a_load_through_a_whole_session(scene: Scene, target: Container, bystander: Container) -> None:
    """wrk beside the checked requests; the app reads slowly, crashes and goes: still nobody notices."""
    done: list[str] = []
    load = threading.Thread(
        target=lambda: done.append(
            scene.inside(bystander, "wrk", "-t1", "-c20", "-d10s", "http://target:8080/")
        )
    )
    with Watch(bystander):
        load.start()
        for flags in (("--http",), ("--slow", "3600")):
            run = scene.record(target, "8080", flags=flags)
            run.event(open=8080)
            run.end()
        load.join()
    assert "Non-2xx" not in done[0]
    assert "Socket errors" not in done[0]
