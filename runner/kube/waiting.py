"""A target's pods until one of them is ready: told while it lasts, ended at once where waiting would not help."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

from runner.errors import Refusal, there_is
from runner.kube import names
from runner.kube.api import Cluster
from runner.kube.locate import Located
from runner.kube.names import Wanted
from runner.kube.nodes import Nodes
from runner.kube.pod import condition, containers, default_container, read, why_not_ready
from runner.kube.pods import Event, Listed, Seen, Vanished, events
from runner.kube.unfit import judge

Json = dict[str, Any]
Say = Callable[[str], None]


class Waiting:
    """The pods of a target until one is ready, or none can become it."""

    def __init__(self, cluster: Cluster, wanted: Wanted, located: Located, say: Say) -> None:
        self._cluster = cluster
        self._wanted = wanted
        self._located = located
        self._say = say
        self._nodes = Nodes(cluster)
        self._pods: dict[str, Json] = {}
        self._told = ""

    async def ready(self, timeout: float) -> list[Json]:
        """Who is ready, the primary first. Refusal when nobody is in time, or none can be followed."""
        try:
            async with asyncio.timeout(timeout):
                async with aclosing(events(self._cluster, self._located.members)) as changes:
                    async for event in changes:
                        self._take(event)
                        if found := await self._judged():
                            return found
                        self._progress()
        except TimeoutError:
            pass
        raise self._none_in_time(timeout)

    def _take(self, event: Event) -> None:
        match event:
            case Listed(pods):
                self._pods = {pod["metadata"]["uid"]: pod for pod in pods}
            case Seen(pod):
                self._pods[pod["metadata"]["uid"]] = pod
            case Vanished(uid):
                self._pods.pop(uid, None)

    async def _judged(self) -> list[Json]:
        """The ready ones that can be followed; none yet. Refusal at once if waiting would not help."""
        if self._located.members.pod and not self._pods:
            raise await self._no_such_pod()
        alive = [pod for pod in self._pods.values() if "deletionTimestamp" not in pod["metadata"]]
        await self._nodes.fetch((pod.get("spec") or {}).get("nodeName", "") for pod in alive)
        fit, refused = [], None
        for pod in alive:
            against = judge(pod, await self._nodes.read((pod.get("spec") or {}).get("nodeName", "")))
            if against is None:
                fit.append(pod)
            else:
                refused = Refusal(
                    f"pod {pod['metadata']['name']} cannot be a target: {against.why}", against.instead
                )
        if refused and not fit:
            raise refused
        container = self._wanted.container
        having = [pod for pod in fit if not container or container in containers(pod["spec"])]
        if fit and not having:
            raise _unknown_container(self._located.name, container, fit[0])
        ready = [pod for pod in having if read(pod, container or default_container(pod)).ready]
        if not ready and self._is_over(alive):
            raise self._ended()
        return sorted(ready, key=_seniority)

    def _is_over(self, alive: Sequence[Json]) -> bool:
        """Whether no pod will ever run: a lone pod, or a job, that has ended."""
        once = self._located.members.kind in (names.POD.word, names.JOB.word) or bool(
            self._located.members.pod
        )
        phases = [(pod.get("status") or {}).get("phase") for pod in alive]
        return (
            once
            and all(phase in ("Succeeded", "Failed") for phase in phases)
            and bool(phases or self._done())
        )

    def _done(self) -> bool:
        return self._located.members.kind == names.JOB.word and bool(self._located.remark)

    def _ended(self) -> Refusal:
        reasons = self._reasons() or self._located.remark
        return Refusal(
            f"{self._located.name} runs no more: {reasons}", "start it again, or choose another target"
        )

    def _progress(self) -> None:
        reasons = self._reasons()
        if reasons != self._told:
            self._told = reasons
            self._say(f"waiting for a ready pod of {self._located.name}: {reasons}")

    def _reasons(self) -> str:
        """Why nobody is ready, for people: each reason once, with the pods that have it."""
        by_reason: dict[str, list[str]] = {}
        for pod in self._pods.values():
            by_reason.setdefault(why_not_ready(pod), []).append(pod["metadata"]["name"])
        said = [f"{', '.join(sorted(pods))}: {reason}" for reason, pods in by_reason.items()]
        return "; ".join(said) or self._located.remark or "it has no pods"

    def _none_in_time(self, timeout: float) -> Refusal:
        name, namespace = self._located.name, self._located.members.namespace
        match self._located.members.kind:
            case names.CRONJOB.word:
                plain = self._located.members.name
                mend = f"`kubectl -n {namespace} create job --from=cronjob/{plain} {plain}-now` runs it now"
            case _ if self._located.remark == "it is scaled to 0":
                mend = f"`kubectl -n {namespace} scale --replicas=1 {name}` starts one"
            case names.SELECTOR if not self._pods:
                mend = "look at the labels: `kubectl get pods --show-labels`"
            case _ if self._pods:
                first = next(iter(self._pods.values()))["metadata"]["name"]
                mend = f"`kubectl -n {namespace} describe pod {first}` says more; --pod-running-timeout waits longer"
            case _:
                mend = (
                    f"`kubectl -n {namespace} describe {name}` says more; --pod-running-timeout waits longer"
                )
        return Refusal(f"no pod of {name} became ready within {timeout:g} s: {self._reasons()}", mend)

    async def _no_such_pod(self) -> Refusal:
        members = self._located.members
        others, _ = await self._cluster.list(
            members.path, **({"labelSelector": members.selector} if members.selector else {})
        )
        like = [pod["metadata"]["name"] for pod in others if members.has(pod)]
        of = "" if members.kind == names.POD.word else f" of {self._located.name}"
        hint = there_is(like) if like else "there is none"
        return Refusal(f"there is no pod {members.pod}{of} in namespace {members.namespace}", hint)


def _seniority(pod: Json) -> tuple[str, str]:
    """Who has been ready longest comes first: it is the least likely to go in a rollout that has begun."""
    return condition(pod, "Ready").get("lastTransitionTime") or "", pod["metadata"]["name"]


def _unknown_container(name: str, container: str, pod: Json) -> Refusal:
    there = containers(pod["spec"])
    spec = pod["spec"]
    if container in [one["name"] for one in spec.get("initContainers") or ()]:
        why = f"container {container} of {name} is an init container: it has ended before the others began"
    elif container in [one["name"] for one in spec.get("ephemeralContainers") or ()]:
        why = f"container {container} of {name} is an ephemeral one, added to look at the others"
    else:
        why = f"{name} has no container {container}"
    return Refusal(why, f"-c takes {' or '.join(there)}")
