"""From what was just made to the agent that runs: watched, so that it is known at that moment; or why it does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from runner.errors import Refusal
from runner.kube import agent_state, manifests
from runner.kube.agent_state import Over, Runs, Waits
from runner.kube.api import Cluster
from runner.kube.errors import KubeError
from runner.kube.manifests import JOB, Json
from runner.kube.refused import explained

log = logging.getLogger(__name__)

RUNS_WITHIN = 120.0
"""Seconds for the pod to run, its image's pull among them (180 MB)."""

QUIET = 3.0
"""Seconds after which the user is told what is waited for."""

Say = Callable[[str], None]

T = TypeVar("T")


class Word:
    """The last that was heard of a pod that does not run yet."""

    def __init__(self, what: str, say: Say) -> None:
        self._what = what
        self._say = say
        self.last = ""

    def heard(self, why: str) -> None:
        if why and why != self.last:
            self.last = why
            log.debug("%s: %s", self._what, why)

    async def tell(self) -> None:
        """For ever, so that nobody wonders."""
        said = ""
        while True:
            await asyncio.sleep(QUIET)
            if (now := self.last or "nothing was heard of it yet") != said:
                self._say(f"waiting for {self._what}: {now}")
                said = now


async def pod_of_job(cluster: Cluster, job: Json, say: Say, within: float = RUNS_WITHIN) -> str:
    """The name of the Job's pod, once its container runs. Refusal with what the kubelet, the controller or admission
    said against it; KubeError."""
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    node = job["spec"]["template"]["spec"].get("nodeName", "")
    word = Word(f"the agent on node {node}" if node else "the agent", say)
    try:
        async with asyncio.timeout(within):
            return await first(
                _runs(cluster, namespace, name, node, word),
                _not_made(cluster, namespace, job["metadata"]["uid"], word),
                word.tell(),
            )
    except TimeoutError:
        raise Refusal(
            f"the agent on node {node} does not run after {within:.0f} s: {word.last or 'nothing was heard of it'}",
            f"`kubectl describe node {node}` may say why; `kubectl get events -n {namespace}` too",
        ) from None


async def _runs(cluster: Cluster, namespace: str, name: str, node: str, word: Word) -> str:
    path = f"/api/v1/namespaces/{namespace}/pods"
    while True:
        async for kind, pod in watched(cluster, path, labelSelector=f"{JOB}={manifests.safe_label(name)}"):
            match agent_state.of_pod(pod, manifests.CONTAINER):
                case Runs() if kind != "DELETED":
                    return str(pod["metadata"]["name"])
                case Waits(why):
                    word.heard(why)
                case Over(what, next_step):
                    raise Refusal(f"the agent on node {node} does not run: {what}", next_step)


async def _not_made(cluster: Cluster, namespace: str, uid: str, word: Word) -> None:
    """What the Job's controller says about a pod that it could not make; returns if that is not ours to see."""
    async for event in events_of(cluster, namespace, uid):
        if event.get("reason") != "FailedCreate":
            continue
        said = str(event.get("message") or "")
        word.heard(said)
        if known := explained(said, "an agent's pod", namespace):
            raise known


async def events_of(cluster: Cluster, namespace: str, uid: str) -> AsyncGenerator[Json, None]:
    """Events about one object, those of the last hour and those that come; none if they are not ours to see."""
    path = f"/api/v1/namespaces/{namespace}/events"
    try:
        while True:
            async for _, event in watched(cluster, path, fieldSelector=f"involvedObject.uid={uid}"):
                yield event
    except KubeError as error:
        if not error.forbidden:
            raise
        log.info("events of namespace %s are not ours to see", namespace)


async def watched(
    cluster: Cluster, path: str, version: str = "", **query: str
) -> AsyncGenerator[tuple[str, Json], None]:
    """One watch, from ``version`` or from what there is now; it ends when that has become too old to go on from."""
    try:
        async with aclosing(cluster.watch(path, version, **query)) as changes:
            async for kind, one in changes:
                yield kind, one
    except KubeError as error:
        if error.status != 410:
            raise


async def first(work: Coroutine[Any, Any, T], *beside: Coroutine[Any, Any, None]) -> T:
    """What ``work`` gives, or what it or one of those beside it raises; all are ended."""
    task = asyncio.create_task(work)
    tasks = [task, *(asyncio.create_task(one) for one in beside)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        while task not in done:
            for one in done:
                one.result()
            done, _ = await asyncio.wait(set(tasks) - done, return_when=asyncio.FIRST_COMPLETED)
        return task.result()
    finally:
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
