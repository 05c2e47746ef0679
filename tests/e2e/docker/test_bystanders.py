"""Nobody else notices: a load runs through everything that can happen to a session, and not one answer fails."""

from __future__ import annotations

import threading

import pytest
from docker.models.containers import Container

from .load import Load
from .scene import Scene, part


@pytest.mark.parametrize("role", ["runner", "agent", "bridge", "app"])
def test_kill_9_of_each_part(scene: Scene, target: Container, bystander: Container, role: str) -> None:
    """`tidy` then checks that soon nothing is left."""
    with Load(bystander, kept=2, fresh=2) as load:
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
    load.nobody_noticed()


def test_a_load_through_a_whole_session(scene: Scene, target: Container, bystander: Container) -> None:
    """wrk beside the checked requests; the app reads slowly, crashes and goes: still nobody notices."""
    done: list[str] = []
    wrk = threading.Thread(
        target=lambda: done.append(
            scene.inside(bystander, "wrk", "-t1", "-c20", "-d10s", "http://target:8080/")
        )
    )
    with Load(bystander, kept=2, fresh=2) as load:
        wrk.start()
        for flags in (("--http",), ("--slow", "3600")):
            run = scene.record(target, "8080", flags=flags)
            run.event(open=8080)
            run.end()
        wrk.join()
    load.nobody_noticed()
    assert "Non-2xx" not in done[0]
    assert "Socket errors" not in done[0]
