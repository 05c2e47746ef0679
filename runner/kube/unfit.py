"""Which pods cannot be a target, why, and what to do instead.

Pure. Of a node it is given what the caller may read of it, which is often nothing: then the pod alone is judged.
"""

from __future__ import annotations

from typing import Any

from wire.record import record

Json = dict[str, Any]

MIRROR_POD = "kubernetes.io/config.mirror"
SOURCE = "kubernetes.io/config.source"
FARGATE = "eks.amazonaws.com/fargate-profile"
VIRTUAL_TAINT = "virtual-kubelet.io/provider"
SANDBOXES = ("kata", "gvisor", "runsc", "firecracker", "sev-", "peerpod")
"""Run-time classes with a kernel of their own for processes and sockets: how their usual names begin."""

ANOTHER = "choose another target"


@record
class Unfit:
    """``why`` goes on from the pod's name: "it uses its node's network …"; ``instead`` is the next step; ``short`` is
    for a table."""

    why: str
    instead: str
    short: str


def judge(pod: Json, node: Json | None = None) -> Unfit | None:
    """What stands against this pod; None if nothing. ``node`` is its Node, if that can be read."""
    spec = pod.get("spec") or {}
    notes = pod["metadata"].get("annotations") or {}
    if spec.get("hostNetwork"):
        return Unfit(
            "it uses its node's network (hostNetwork): what reaches it cannot be told from what reaches the node",
            f"give it a network of its own, or {ANOTHER}",
            "host network",
        )
    if MIRROR_POD in notes or notes.get(SOURCE, "api") != "api":
        return Unfit(
            "it is a static pod: the kubelet runs it from a file under another uid than the API server shows, "
            "so its processes cannot be told for certain",
            f"run it as a Deployment or DaemonSet, or {ANOTHER}",
            "static pod",
        )
    if spec.get("hostUsers") is False:
        return Unfit(
            "it has a user namespace of its own (hostUsers: false), which agents do not enter",
            f"run a copy of it without hostUsers: false, or {ANOTHER}",
            "hostUsers: false",
        )
    if _is_windows(spec, node):
        return Unfit(
            "it runs on Windows: there are agents for Linux nodes only",
            f"{ANOTHER}, on a Linux node",
            "Windows",
        )
    if virtual := _virtual(pod, node):
        return Unfit(
            f"its node is a virtual one ({virtual}), where no agent can run beside it",
            "have it scheduled to a real node (nodeSelector), or " + ANOTHER,
            "virtual node",
        )
    sandbox = str(spec.get("runtimeClassName") or "").lower()
    if sandbox.startswith(SANDBOXES):
        return Unfit(
            f"it runs in a sandbox with a kernel of its own (runtimeClassName: {sandbox}), which an agent cannot enter",
            f"run a copy of it without that runtimeClassName, or {ANOTHER}",
            sandbox,
        )
    return None


def _is_windows(spec: Json, node: Json | None) -> bool:
    labels = ((node or {}).get("metadata") or {}).get("labels") or {}
    said = (
        (spec.get("os") or {}).get("name"),
        (spec.get("nodeSelector") or {}).get("kubernetes.io/os"),
        labels.get("kubernetes.io/os"),
    )
    return "windows" in said


def _virtual(pod: Json, node: Json | None) -> str:
    """Who provides the virtual node; empty for a real one. A toleration alone says nothing: many pods tolerate all."""
    labels = pod["metadata"].get("labels") or {}
    if FARGATE in labels or (pod.get("spec") or {}).get("schedulerName") == "fargate-scheduler":
        return "AWS Fargate"
    meta, spec = (node or {}).get("metadata") or {}, (node or {}).get("spec") or {}
    taints = spec.get("taints") or ()
    provider = next((str(one.get("value") or "") for one in taints if one.get("key") == VIRTUAL_TAINT), None)
    named = meta.get("labels") or {}
    if provider is not None or named.get("type") == "virtual-kubelet":
        return provider or "virtual-kubelet"
    if named.get("eks.amazonaws.com/compute-type") == "fargate":
        return "AWS Fargate"
    return ""
