"""A target that is scaled and rolled out under load while somebody mirrors it: nobody who uses it notices, and nothing
that a ready pod was sent is missed."""

from __future__ import annotations

import pytest

from .numbered import PORT, Answer, Bystander, seen, target
from .scene import Scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STARTS = 120.0
"""Seconds for pods to start on a machine that has other things to do."""

FOLLOWED_WITHIN = 10.0
"""Seconds from a new pod's first answer to the first that is mirrored: 2 where a machine has nothing else to do."""


def missed(answers: list[Answer], counts: dict[int, int], first: set[str]) -> list[Answer]:
    """What should have been seen: all of the pods that were there at first; of a new one, from the first seen on."""
    began: dict[str, float] = {}
    for one in answers:
        if counts.get(one.number):
            began.setdefault(one.pod, one.at)
    for one in answers:
        late = began.get(one.pod, one.at + FOLLOWED_WITHIN) - one.at
        assert late <= FOLLOWED_WITHIN, f"{one.pod} was mirrored {late:.1f} s after it answered"
    return [
        one
        for one in answers
        if not counts.get(one.number) and (one.pod in first or one.at >= began.get(one.pod, float("inf")))
    ]


@pytest.mark.parametrize("what", ["scaled", "rolled out"])
def test_under_load(scene: Scene, what: str) -> None:
    name = target(scene, 3, "cart")
    scene.reachable(scene.client(), "cart", PORT)
    assert len({pod["spec"]["nodeName"] for pod in scene.pods("cart")}) == 2
    first = set(scene.names("cart"))
    options = ("--agent", "job", "--agent-image", scene.images.agent)
    run = scene.start(name, "python3", "/programs/record.py", "--http", str(PORT), options=options)
    run.said("(3 containers)", STARTS)
    with Bystander(scene, "cart") as bystander:
        if what == "scaled":
            scene.kube("scale", "deployment/cart", "--replicas=5")
            run.said("(5 containers)", STARTS)
            scene.kube("scale", "deployment/cart", "--replicas=2")
            run.said("has gone; 2 of deploy/cart left", STARTS)
        else:
            scene.kube("rollout", "restart", "deployment/cart")
            scene.ready("deployment/cart", STARTS)
            for gone in first:
                if not any(f"{gone} has gone" in line for line in run.err.seen):
                    run.said("has gone", STARTS)
    counts = seen(run, bystander.answers)
    assert len({one.pod for one in bystander.answers}) >= 5
    assert max(counts.values()) == 1, "one was seen twice"
    lost = missed(bystander.answers, counts, first)
    assert not lost, f"{len(lost)} of {len(bystander.answers)} were not seen: {lost[:5]}"
