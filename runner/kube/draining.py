"""Where clients' connections still go through an agent, though nobody steals there any more: sentences for `ps` and
``doctor``.

Installed agents say so by events on the pod (agent/cluster_words.py); the pod of a session's own agent is Terminating
as long. Events are courtesy: one that was lost is not made up for here.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from runner.kube.api import Cluster
from runner.kube.errors import KubeError
from runner.kube.manifests import NAME, PRODUCT
from runner.labels import AUTHOR, ROLE, TARGET

Json = dict[str, Any]

DRAINS, DRAINED = "MirrorSessionDrains", "MirrorSessionDrained"
"""Reasons of events."""

_WITHIN = re.compile(r", (\d+) s at most$")


async def drains(cluster: Cluster, namespace: str) -> list[str]:
    """Of one namespace. What the caller may not list is left out."""
    events = f"/api/v1/namespaces/{namespace}/events"
    began, ended, pods = await asyncio.gather(
        _list(cluster, events, fieldSelector=f"reason={DRAINS}"),
        _list(cluster, events, fieldSelector=f"reason={DRAINED}"),
        _list(cluster, f"/api/v1/namespaces/{namespace}/pods", labelSelector=f"{NAME}={PRODUCT}"),
    )
    return [*by_events(began, ended, time.time()), *by_pods(pods)]


async def _list(cluster: Cluster, path: str, **query: str) -> list[Json]:
    try:
        return (await cluster.list(path, **query))[0]
    except KubeError as error:
        if error.forbidden:
            return []
        raise error.refusal() from error


def by_events(began: Iterable[Json], ended: Iterable[Json], now: float) -> list[str]:
    """Of installed agents. An agent that was killed says no end: it is over when its time is."""
    over = {_whose(event) for event in ended}
    said = []
    for event in began:
        within = _WITHIN.search(event["message"])
        late = within is not None and now > _at(event) + int(within[1])
        if _whose(event) not in over and not late:
            node = (event.get("source") or {}).get("host", "")
            said.append(
                f"pod/{event['involvedObject']['name']}: {event['message']} (installed, on node {node})"
            )
    return said


def by_pods(pods: Iterable[Json]) -> list[str]:
    """Of sessions' own agents. One whose session is not over is nobody's business here: it has no deletion."""
    said = []
    for pod in pods:
        meta = pod["metadata"]
        labels = meta.get("labels") or {}
        about = {**labels, **(meta.get("annotations") or {})}
        if labels.get(ROLE) == "agent" and "deletionTimestamp" in meta:
            who = about.get(AUTHOR, "somebody")
            said.append(
                f"{about.get(TARGET, 'a target')}: connections that clients began while {who} stole from it may still "
                f"go through the agent, pod/{meta['name']}, which is Terminating as long"
            )
    return said


def _whose(event: Json) -> tuple[str, str]:
    """The pod, and the session: the second and third part of the event's name are of their uids."""
    return event["involvedObject"].get("uid", ""), event["metadata"]["name"].rsplit(".mirrorsession", 1)[0]


def _at(event: Json) -> float:
    return datetime.fromisoformat(event["lastTimestamp"]).timestamp()
