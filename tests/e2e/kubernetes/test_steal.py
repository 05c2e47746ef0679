"""Stealing from pods: through a Service, from every replica, past a rollout under load."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

from tests.e2e.docker.load import Load
from tests.e2e.docker.scene import Run
from tests.e2e.docker.stealing import APP

from .numbered import PORT, SERVER
from .scene import Scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STARTS = 120.0


def stolen(scene: Scene, name: str, *options: str, said: str = "stealing 8080", agent: str = "job") -> Run:
    words = ("--agent", agent, "--agent-image", scene.images.agent, "--steal", *options)
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
    grace = {
        "terminationGracePeriodSeconds": 6
    }  # it answers that long, until every node has heard that it goes
    name = scene.deployment(
        "cart", 3, ("python3", "/programs/shop.py", "target", "http"), {"http": PORT}, spec=grace
    )
    scene.reachable(scene.client(), "cart", PORT)
    assert answers(scene, 6) == {"target": 6}
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
    with Load(scene.kubectl.command("-n", scene.namespace, "exec", "-i", "client", "--"), "cart") as load:
        scene.kube("rollout", "restart", "deployment/cart")
        scene.ready("deployment/cart", STARTS)
        while before & set(scene.names("cart")):
            time.sleep(0.2)  # of several objects none tells that the last has gone
    assert load.failed == []
    assert load.by["app"] > 50
    until(scene, {"app"})
    assert answers(scene, 20) == {"app": 20}
    run.end()
    assert answers(scene, 12) == {"target": 12}


def test_a_lid_that_closes(scene: Scene) -> None:
    """The way is silent: after 3 s everybody is the target's, and the app's again when it is back."""
    name = scene.deployment("cart", 1, ("python3", "-c", SERVER), {"http": PORT})
    scene.reachable(scene.client(), "cart", PORT)
    run = stolen(scene, name)
    until(scene, {"app"})
    run.process.send_signal(signal.SIGSTOP)
    try:
        first = answers(scene, 1)  # finds out; 10 s would be too late for it
        assert not {"app", "failed"} & set(first), first
        began = time.monotonic()
        rest = answers(scene, 5)
        assert not {"app", "failed"} & set(rest), rest
        assert time.monotonic() - began < 5
    finally:
        run.process.send_signal(signal.SIGCONT)
    until(scene, {"app"})


def test_from_within_the_pod(scene: Scene) -> None:
    """By an ephemeral container, which has no namespace to enter; by filter."""
    name = scene.deployment("cart", 1, ("python3", "-c", SERVER), {"http": PORT})
    scene.reachable(scene.client(), "cart", PORT)
    run = stolen(scene, name, "--http-header", "^x-user: ada$", agent="ephemeral")
    assert answers(scene, 4, "cart", "-H", "'x-user: ada'") == {"app": 4}
    assert "app" not in answers(scene, 4, "cart", "-H", "'x-user: ben'")
    run.end()
    assert not {"app", "failed"} & set(answers(scene, 4, "cart", "-H", "'x-user: ada'"))
