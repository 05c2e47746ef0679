"""Who drains on a cluster, as `ps` and doctor say it: from events and from pods."""

from __future__ import annotations

from typing import Any

import pytest

from agent import cluster_words
from runner.kube import draining
from runner.kube.draining import by_events, by_pods
from runner.labels import AUTHOR, ROLE, TARGET

NOW = 1_760_000_000.0
BEGAN = "2025-10-09T08:53:00Z"  # 20 s before
SENTENCE = "connections that clients began while anna stole from deploy/cart still go through the agent, {} s at most"


def event(reason: str, session: str = "s1", within: int = 600) -> dict[str, Any]:
    return {
        "metadata": {"name": f"cart-1.{session}.p1.{reason.lower()}.1234"},
        "involvedObject": {"kind": "Pod", "name": "cart-1", "uid": "p1"},
        "reason": reason,
        "message": SENTENCE.format(within),
        "source": {"host": "n1"},
        "lastTimestamp": BEGAN,
    }


def test_the_reasons_are_the_agents() -> None:
    assert (draining.DRAINS, draining.DRAINED) == (cluster_words.DRAINS, cluster_words.DRAINED)


@pytest.mark.parametrize(
    ("ended", "within", "said"),
    [([], 600, True), (["s2"], 600, True), (["s1"], 600, False), ([], 19, False), ([], 21, True)],
)
def test_an_installed_agent_drains_until_it_says_so_or_its_time_is_over(
    ended: list[str], within: int, *, said: bool
) -> None:
    over = [event(draining.DRAINED, session) for session in ended]
    found = by_events([event(draining.DRAINS, within=within)], over, NOW)
    assert found == ([f"pod/cart-1: {SENTENCE.format(within)} (installed, on node n1)"] if said else [])


def test_a_sessions_own_agent_drains_while_its_pod_is_terminating() -> None:
    labels = {ROLE: "agent"}
    meta = {
        "name": "mirror-run-k3f-x",
        "labels": labels,
        "annotations": {TARGET: "deploy/cart", AUTHOR: "anna"},
    }
    other = {"name": "web", "labels": {}, "deletionTimestamp": BEGAN}
    pods = [{"metadata": meta}, {"metadata": other}]
    assert by_pods(pods) == []
    (line,) = by_pods([{"metadata": {**meta, "deletionTimestamp": BEGAN}}, *pods])
    assert line.startswith(
        "deploy/cart: connections that clients began while anna stole from it may still go"
    )
    assert "pod/mirror-run-k3f-x, which is Terminating" in line
