"""Which pods are a target's: selectors as text, and whose a pod is that a selector found."""

from __future__ import annotations

from typing import Any

import pytest

from runner.kube.members import Members, selector_text
from tests.runner.kube.memory import owner, pod


def test_selectors_as_text() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "env", "operator": "NotIn", "values": ["test"]},
        {"key": "live", "operator": "Exists"},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    whole = {"matchLabels": {"app": "cart", "x/y": ""}, "matchExpressions": expressions}
    assert selector_text(whole) == "app=cart,x/y=,tier in (a,b),env notin (test),live,!old"
    assert selector_text(None) == selector_text({}) == ""


def test_what_is_asked_for() -> None:
    both = Members("shop", "deploy", "cart", "app=cart", pod="cart-1")
    assert both.query == {"labelSelector": "app=cart", "fieldSelector": "metadata.name=cart-1"}
    assert both.path == "/api/v1/namespaces/shop/pods"


@pytest.mark.parametrize(
    ("members", "made", "has"),
    [
        (Members("shop", "deploy", "cart"), {"owner": owner("ReplicaSet", "cart-5f", "u")}, True),
        (Members("shop", "deploy", "cart"), {"owner": owner("ReplicaSet", "cart-canary-5f", "u")}, False),
        (Members("shop", "deploy", "cart"), {"owner": owner("ReplicaSet", "adopted", "u")}, True),
        (Members("shop", "deploy", "cart"), {}, True),
        (Members("shop", "sts", "db"), {"owner": owner("StatefulSet", "db", "u")}, True),
        (Members("shop", "sts", "db"), {"owner": owner("StatefulSet", "db2", "u")}, False),
        (Members("shop", "svc", "db"), {"owner": owner("StatefulSet", "db2", "u")}, True),
        (Members("shop", "selector", ""), {"owner": owner("StatefulSet", "db2", "u")}, True),
        (Members("shop", "cronjob", "tick", since="tick-29000002"), {"job": "tick-29000002"}, True),
        (Members("shop", "cronjob", "tick", since="tick-29000002"), {"job": "tick-29000001"}, False),
        (Members("shop", "cronjob", "tick", since="tick-29000002"), {"job": "tick-29000003"}, True),
        (Members("shop", "cronjob", "tick", since="by-hand"), {"job": "by-hand"}, True),
        (Members("shop", "cronjob", "tick", since="by-hand"), {"job": "tick-29000003"}, True),
        (Members("shop", "cronjob", "tick"), {"job": "tick-29000003"}, True),
        (Members("shop", "cronjob", "tick"), {"job": "tock-29000003"}, False),
        (Members("shop", "cronjob", "tick"), {}, False),
        (Members("shop", "targetless", ""), {}, False),
    ],
)
def test_whose_a_pod_is(members: Members, made: dict[str, Any], has: bool) -> None:
    labels = {"pod-template-hash": "5f"} | ({"job-name": made.pop("job")} if "job" in made else {})
    assert members.has(pod("p", labels=labels, **made)) is has


def test_agents_are_nobody_s() -> None:
    labels = {"app": "cart", "app.kubernetes.io/name": "mirror-run"}
    assert not Members("shop", "selector", "", "app=cart").has(pod("p", labels=labels))
