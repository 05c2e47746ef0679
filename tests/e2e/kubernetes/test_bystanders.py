"""A target that is scaled and rolled out under load while somebody mirrors it: nobody who uses it notices, and nothing
that a ready pod was sent is missed."""

from __future__ import annotations

import pytest

from .installation import Standing
from .numbered import PORT, Answer, Bystander, Readied, seen, target
from .scene import Scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STARTS = 120.0
"""Seconds for pods to start on a machine that has other things to do."""

FOLLOWED_WITHIN = 2.0
"""Seconds from a pod's readiness to the first request that the app sees of it."""

ALL_ASKED = 80
"""Requests, two seconds of them, after which each of five pods has had some: none has in 1 of 10 million runs."""


def missed(
    answers: list[Answer], saw: dict[int, list[float]], first: set[str], ready: dict[str, float]
) -> list[Answer]:
    """What should have been seen: all of the pods that were there at first; of a new one, from the first seen on."""
    began: dict[str, float] = {}
    for one in answers:
        if one.number in saw:
            began.setdefault(one.pod, one.at)
    return [
        one
        for one in answers
        if one.number not in saw and (one.pod in first or one.at >= began.get(one.pod, ready[one.pod]))
    ]


def delays(answers: list[Answer], saw: dict[int, list[float]], ready: dict[str, float]) -> dict[str, float]:
    """Seconds from each new pod's readiness until the app saw a request of it."""
    came: dict[str, float] = {}
    for one in answers:
        for at in saw.get(one.number, ()):
            came[one.pod] = min(at, came.get(one.pod, at))
    return {pod: came.get(pod, float("inf")) - at for pod, at in ready.items()}


@pytest.mark.parametrize(
    ("what", "pods", "agents"),
    [("scaled", 5, "daemonset"), ("rolled out", 6, "job")],
    ids=["scaled", "rolled out"],
)
def test_under_load(scene: Scene, installed: Standing, what: str, pods: int, agents: str) -> None:
    """A new pod's agent is there already, or is made for it: a rollout's are all new."""
    name = target(scene, 3, "cart")
    scene.reachable(scene.client(), "cart", PORT)
    assert len({pod["spec"]["nodeName"] for pod in scene.pods("cart")}) == 2
    first = set(scene.names("cart"))
    options = ("--agent", agents, *(("--agent-image", scene.images.agent) if agents == "job" else ()))
    run = scene.start(name, "python3", "/programs/record.py", "--http", str(PORT), options=options)
    run.said("(3 containers)", STARTS)
    with Readied(scene, "cart", pods, STARTS) as ready, Bystander(scene, "cart") as bystander:
        if what == "scaled":
            scene.kube("scale", "deployment/cart", "--replicas=5")
            run.said("(5 containers)", STARTS)
            for _ in range(ALL_ASKED):
                run.event(request=None)
            scene.kube("scale", "deployment/cart", "--replicas=2")
            run.said("has gone; 2 of deploy/cart left", STARTS)
        else:
            scene.kube("rollout", "restart", "deployment/cart")
            scene.ready("deployment/cart", STARTS)
            for gone in first:
                if not any(f"{gone} has gone" in line for line in run.err.seen):
                    run.said("has gone", STARTS)
    saw = seen(run, bystander.answers)
    assert len({one.pod for one in bystander.answers}) == pods
    assert max(map(len, saw.values())) == 1, "one was seen twice"
    lost = missed(bystander.answers, saw, first, ready.at)
    assert not lost, f"{len(lost)} of {len(bystander.answers)} were not seen: {lost[:5]}"
    new = {pod: at for pod, at in ready.at.items() if pod not in first}
    late = delays(bystander.answers, saw, new)
    print(
        f"of {len(bystander.answers)} requests none was missed; the first of each new pod was seen after {late}"
    )
    assert max(late.values()) <= FOLLOWED_WITHIN, f"seconds after each was ready: {late}"
