"""A running session follows its target's pods: scaled, rolled out, restarted in place, evicted, gone and back."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest

from .scene import Scene

Json = dict[str, Any]

PORT = 8000
SERVER = ["python3", "-m", "http.server", "--bind", "::", str(PORT)]
SEEN_WITHIN = 2.0
"""Seconds from a pod's readiness until what is sent to it is mirrored."""

JOB = ("--agent", "job")
"""Whatever may be installed in the cluster meanwhile."""


@pytest.fixture
def client(scene: Scene) -> str:
    return scene.client()


def target(scene: Scene, replicas: int) -> str:
    return scene.deployment("cart", replicas, SERVER, {"http": PORT})


def ask(scene: Scene, client: str, pod: str, path: str) -> None:
    scene.inside(client, "curl", "-sS", "-o", "/dev/null", f"http://{scene.address(pod)}:{PORT}/{path}")


def test_scaled_up_and_down(scene: Scene, client: str) -> None:
    run = scene.record(target(scene, 2), str(PORT), flags=["--http"], options=JOB)
    first = set(scene.names("cart"))
    for number, pod in enumerate(sorted(first)):
        ask(scene, client, pod, f"first-{number}")
        run.event(request=f"GET /first-{number} HTTP/1.1")
    scene.kube("scale", "deployment/cart", "--replicas=4")
    run.said("mirroring 8000 of deploy/cart (4 containers)")
    took = min(_ready_for(pod) for pod in scene.pods("cart"))
    assert took < SEEN_WITHIN + 1, "the last to be ready was followed late"
    new = sorted(set(scene.names("cart")) - first)
    assert len(new) == 2
    for number, pod in enumerate(new):
        ask(scene, client, pod, f"new-{number}")
        run.event(request=f"GET /new-{number} HTTP/1.1")
    scene.scale("cart", 1)
    run.said("has gone; 1 of deploy/cart left")
    (last,) = scene.names("cart")
    ask(scene, client, last, "last")
    run.event(request="GET /last HTTP/1.1")
    run.end()


def test_a_rollout_and_the_way_out_after_it(scene: Scene, client: str) -> None:
    peer = scene.pod("peer", SERVER)
    address = f"http://{scene.address(peer)}:{PORT}/"
    script = f"echo up; while read go; do curl -sS --max-time 5 -o /dev/null -w '%{{http_code}}\\n' {address}; done"
    run = scene.start(target(scene, 1), "sh", "-c", script, options=JOB, stdin=subprocess.PIPE)
    run.out.wait(lambda line: "up" in line, "the app's line")
    assert run.process.stdin is not None

    def goes_out() -> None:
        assert run.process.stdin is not None
        run.process.stdin.write("go\n")
        run.process.stdin.flush()
        run.out.wait(lambda line: line == "200\n", "the answer from the peer")

    goes_out()
    (before,) = scene.names("cart")
    scene.kube("rollout", "restart", "deployment/cart")
    scene.ready("deployment/cart")
    run.said("the way out is through")
    run.said(f"{before} has gone")
    goes_out()
    run.end()


def test_restarted_in_place(scene: Scene, client: str) -> None:
    run = scene.record(target(scene, 1), str(PORT), flags=["--http"], options=JOB)
    (pod,) = scene.names("cart")
    killed = ["pkill", "-INT", "-f", "http.server"]
    scene.inside(pod, *killed, check=False)
    run.said(f"{pod} is back, and followed")
    scene.until(
        lambda one: _ready(one) and one["status"]["containerStatuses"][0]["restartCount"] > 0, "pod", pod
    )
    run.said("mirroring")
    ask(scene, client, pod, "again")
    run.event(request="GET /again HTTP/1.1")
    run.end()


def test_the_last_one_gone_and_another_later(scene: Scene, client: str) -> None:
    run = scene.record(target(scene, 1), str(PORT), flags=["--http"], options=JOB)
    scene.scale("cart", 0)
    run.said("no pod of deploy/cart is left")
    assert run.process.poll() is None
    scene.scale("cart", 1)
    run.said("the way out is through")
    (pod,) = scene.names("cart")
    run.said("mirroring")
    ask(scene, client, pod, "back")
    run.event(request="GET /back HTTP/1.1")
    run.end()


def test_one_pod_alone(scene: Scene, client: str) -> None:
    name = target(scene, 2)
    one, other = scene.names("cart")
    run = scene.record(name, str(PORT), flags=["--http"], options=[*JOB, "--pod", one])
    ask(scene, client, other, "not-this")
    ask(scene, client, one, "this")
    run.event(request="GET /this HTTP/1.1")
    assert not any("not-this" in line for line in run.out.seen)
    run.end()


def _ready(pod: Json) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"])


def _ready_for(pod: Json) -> float:
    """Seconds since it became ready; Kubernetes tells whole ones, so up to one too many."""
    (ready,) = [one for one in pod["status"]["conditions"] if one["type"] == "Ready"]
    return (datetime.now(UTC) - datetime.fromisoformat(ready["lastTransitionTime"])).total_seconds()
