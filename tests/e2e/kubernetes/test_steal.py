"""Stealing from pods: through a Service, from every replica, and past a rollout."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from tests.e2e.docker.scene import Run
from tests.e2e.docker.test_steal import APP

from .numbered import PORT, SERVER
from .scene import Scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STARTS = 120.0


def stolen(scene: Scene, name: str, *options: str, said: str = "stealing 8080") -> Run:
    words = ("--agent", "job", "--agent-image", scene.images.agent, "--steal", *options)
    run = scene.start(name, "python3", "-c", APP, "app", options=words, stdin=subprocess.PIPE)
    run.event(STARTS, listening=PORT)
    run.said(said, STARTS)
    return run


def answers(scene: Scene, count: int, host: str = "cart", *words: str) -> dict[str, int]:
    """Who gave so many answers: "app", or a pod's name."""
    loop = f"for i in $(seq {count}); do curl -sS -m 10 {' '.join(words)} http://{host}:{PORT}/ || echo failed; done"
    found: dict[str, int] = {}
    for line in scene.inside("client", "sh", "-c", loop).splitlines():
        who = json.loads(line)["by"] if line.startswith("{") else line.split()[0]
        found[who] = found.get(who, 0) + 1
    return found


def until(scene: Scene, wanted: set[str]) -> None:
    """For what nobody tells this side of."""
    deadline = time.monotonic() + 15
    while set(found := answers(scene, 6)) - wanted:
        assert time.monotonic() < deadline, found


def test_all_replicas_through_a_service_and_a_rollout(scene: Scene) -> None:
    name = scene.deployment("cart", 3, ("python3", "-c", SERVER), {"http": PORT})
    scene.reachable(scene.client(), "cart", PORT)
    assert "app" not in answers(scene, 6)
    run = stolen(scene, name, said="(3 containers)")
    assert answers(scene, 20) == {"app": 20}
    own = scene.address("client")
    asked = json.loads(
        scene.inside(
            "client", "curl", "-sS", "-m", "10", f"http://{scene.address(scene.names('cart')[1])}:{PORT}/"
        )
    )
    assert (asked["by"], asked["peer"][0].removeprefix("::ffff:")) == ("app", own)
    before = set(scene.names("cart"))
    scene.kube("rollout", "restart", "deployment/cart")
    scene.ready("deployment/cart", STARTS)
    while before & set(scene.names("cart")):
        time.sleep(0.2)  # of several objects none tells that the last has gone
    until(scene, {"app"})
    assert answers(scene, 20) == {"app": 20}
    run.end()
    after = answers(scene, 12)
    assert not {"app", "failed"} & set(after), after
