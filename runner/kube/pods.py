"""A target's pods as they come and go: listed, watched, and listed again whenever the watch was lost.

It knows no container and no session; whoever asks keeps asking for as long as it wants to know.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from runner.kube.api import Cluster
from runner.kube.errors import KubeError
from runner.kube.members import Members
from wire.record import record

Json = dict[str, Any]

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 1.0
"""Seconds between attempts: a pod is to be followed within 2 s of its readiness, also just after the API server came
back."""

STALE = 410


@record
class Listed:
    """All there are now."""

    pods: tuple[Json, ...]


@record
class Seen:
    """One as it is now."""

    pod: Json


@record
class Vanished:
    """One is no more."""

    uid: str


Event = Listed | Seen | Vanished


async def events(cluster: Cluster, members: Members, *, patient: bool = False) -> AsyncGenerator[Event, None]:
    """Without end: Listed first, and whenever something may have been missed. Errors are waited out; but that of the
    first list is raised (KubeError) unless ``patient``. Close it (``contextlib.aclosing``) when no more is wanted."""
    pause = FIRST_PAUSE
    if patient:
        pods, version, pause = await _listed_again(cluster, members, pause)
    else:
        pods, version = await cluster.list(members.path, **members.query)
    while True:
        yield Listed(tuple(pod for pod in pods if members.has(pod)))
        while version:
            try:
                async with aclosing(cluster.watch(members.path, version, **members.query)) as changes:
                    async for change, pod in changes:
                        version, pause = pod["metadata"]["resourceVersion"], FIRST_PAUSE
                        if members.has(pod):
                            yield Vanished(pod["metadata"]["uid"]) if change == "DELETED" else Seen(pod)
                await asyncio.sleep(
                    pause
                )  # the server ends a watch now and then; one that ends at once is no answer
                pause = min(pause * 2, LONGEST_PAUSE)
            except (KubeError, OSError) as error:
                log.info("watching pods of %s/%s: %s", members.kind, members.name, error)
                if not (isinstance(error, KubeError) and error.status == STALE):
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
                version = ""
        pods, version, pause = await _listed_again(cluster, members, pause)


async def _listed_again(cluster: Cluster, members: Members, pause: float) -> tuple[list[Json], str, float]:
    """As soon as the server answers; what was known holds until then."""
    while True:
        try:
            pods, version = await cluster.list(members.path, **members.query)
            return pods, version, FIRST_PAUSE
        except (KubeError, OSError) as error:
            log.info("listing pods of %s/%s: %s", members.kind, members.name, error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
