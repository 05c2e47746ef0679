"""A target's pods, told to the core that follows them: what happens in the cluster becomes steps to carry out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from runner.kube.api import Cluster
from runner.kube.followed_core import Followed, Step
from runner.kube.nodes import Nodes
from runner.kube.pod import Pod, read
from runner.kube.pods import Event, Listed, Seen, Vanished, events
from runner.kube.workloads import KubeTarget

Json = dict[str, Any]


async def following(
    cluster: Cluster, target: KubeTarget, followed: Followed
) -> AsyncGenerator[list[Step], None]:
    """Steps to carry out in order, without end, after those of ``followed.first(target.pods)``; a server that does not
    answer is waited for. Close it (``contextlib.aclosing``) when the session ends."""
    nodes = Nodes(cluster)
    async with aclosing(events(cluster, target.members, patient=True)) as changes:
        async for event in changes:
            if steps := await _told(event, target.container, nodes, followed):
                yield steps


async def _told(event: Event, container: str, nodes: Nodes, followed: Followed) -> list[Step]:
    match event:
        case Listed(pods):
            await nodes.fetch((pod.get("spec") or {}).get("nodeName", "") for pod in pods)
            return followed.relisted([await _read(pod, container, nodes) for pod in pods])
        case Seen(pod):
            return followed.saw(await _read(pod, container, nodes))
        case Vanished(uid):
            return followed.gone(uid)


async def _read(pod: Json, container: str, nodes: Nodes) -> Pod:
    return read(pod, container, await nodes.read((pod.get("spec") or {}).get("nodeName", "")))
