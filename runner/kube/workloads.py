"""TARGET to the pods that are ready for a session: located, judged, waited for.

What comes out holds for the start; `runner.kube.pods` tells what changes from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runner.kube import locate, names
from runner.kube.api import Cluster
from runner.kube.errors import KubeError
from runner.kube.locate import Located
from runner.kube.members import Members
from runner.kube.names import Wanted
from runner.kube.pod import Pod, containers, default_container, read
from runner.kube.waiting import Waiting
from wire.record import record

__all__ = ["RUNNING_WITHIN", "KubeTarget", "Pod", "Wanted", "resolve"]

Json = dict[str, Any]
Say = Callable[[str], None]

RUNNING_WITHIN = 60.0
"""--pod-running-timeout, seconds."""


@record
class KubeTarget:
    """What was named. ``name`` is "deploy/cart"; ``pods`` are those that were ready, the primary first, none for a
    targetless one; ``primary`` is that pod as the API server has it."""

    name: str
    namespace: str
    kind: str
    container: str
    members: Members
    primary: Json
    pods: tuple[Pod, ...]

    @property
    def selector(self) -> str:
        """Of the pods, as lists take it; empty where one pod is meant."""
        return self.members.selector

    @property
    def spec(self) -> Json:
        """The primary's."""
        found: Json = self.primary.get("spec") or {}
        return found


async def resolve(cluster: Cluster, wanted: Wanted, say: Say, timeout: float = RUNNING_WITHIN) -> KubeTarget:
    """The target; waits up to ``timeout`` seconds for a ready pod of it. Refusal with the next step."""
    namespace = wanted.namespace or cluster.namespace
    if wanted.kind == names.TARGETLESS:
        members = Members(namespace, names.TARGETLESS, "")
        return KubeTarget(names.TARGETLESS, namespace, names.TARGETLESS, "", members, {}, ())
    try:
        located = await locate.locate(cluster, namespace, wanted, say)
        waiting = Waiting(cluster, wanted, located, say)
        ready = await waiting.ready(timeout)
    except KubeError as error:
        raise error.refusal() from error
    container = _container(ready[0], wanted, located, say)
    seen = (read(pod, container) for pod in ready)
    pods = tuple(pod for pod in seen if pod.ready)  # one of another revision may lack that container
    return KubeTarget(
        located.name, namespace, located.members.kind, container, located.members, ready[0], pods
    )


def _container(pod: Json, wanted: Wanted, located: Located, say: Say) -> str:
    if wanted.container:
        return wanted.container
    chosen = default_container(pod)
    others = [name for name in containers(pod["spec"]) if name != chosen]
    if others:
        say(f"container {chosen} of {located.name} (-c chooses another: {', '.join(others)})")
    return chosen
