"""A place in the cluster without a target (--targetless): a pod of the session's own, whose container only waits.

The agent is beside that container, in the same pod, so it enters no namespace and needs nothing of its node. The pod is
a Job's, and ends as agents' Jobs do: with the session, and by itself when the runner was killed.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
from collections.abc import Collection, Sequence
from contextlib import aclosing
from itertools import count

from runner.errors import Refusal
from runner.kube import agent_jobs, agent_rights, manifests, names
from runner.kube.agent_start import pod_of_job
from runner.kube.agents import PORTS, AgentPod, AgentWishes, FounderSays, Provide
from runner.kube.api import Cluster
from runner.kube.errors import KubeError
from runner.kube.manifests import Json, Marks
from runner.kube.members import Members
from runner.kube.pod import Pod, read
from runner.kube.pods import Listed, Seen, events
from runner.kube.refused import refused
from runner.kube.workloads import KubeTarget
from runner.labels import SESSION
from runner.screen import Screen
from runner.together import never, together

log = logging.getLogger(__name__)

PLACE = "place"
"""The container that waits, and whose network is the app's."""

FIRST = 600
"""Seconds that the agent waits for its session: the pod is made before the images here are."""

READY_WITHIN = 30.0
"""Seconds between the start of the agent's container and the pod's readiness."""

OLDEST = (1, 29)
"""Of Kubernetes: the first with sidecars that end with the main container ("Sidecar Containers")."""

NEXT_STEP = "ask who runs the cluster for these rights, or name a namespace where you have them: -n NS"


class Alone:
    """Agents of a session that has no target, and no files of one. ``target`` makes the pod; ``namespace`` is where."""

    serves_files = False

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        wishes: AgentWishes,
        marks: Marks,
        founder: FounderSays,
        screen: Screen,
        provide: Provide | None = None,
    ) -> None:
        self.founder = founder
        self.namespace = namespace
        self._cluster = cluster
        self._wishes = wishes
        self._marks = marks
        self._screen = screen
        self._provide = provide
        self._jobs = agent_jobs.jobs(namespace)
        self._pods = names.POD.path(namespace)
        self._numbers = count()
        self._current: asyncio.Task[AgentPod] | None = None
        self._left: set[str] = set()  # Jobs that may be there
        self._may_patch = False

    async def prepare(self) -> None:
        """See Agents."""
        version = tuple(int(part) for part in re.findall(r"\d+", self._cluster.version)[:2])
        if version < OLDEST:
            raise Refusal(
                f"--targetless needs Kubernetes {OLDEST[0]}.{OLDEST[1]}, and this is {self._cluster.version}",
                "name a target: `mirror-run ls -n NS` shows them",
            )
        _, _, self._may_patch = await together(
            agent_rights.need(self._cluster, self.namespace, agent_rights.JOB, NEXT_STEP),
            self._try_admission(),
            agent_rights.has(self._cluster, self.namespace, agent_rights.LIFT),
        )

    async def target(self) -> KubeTarget:
        """The pod, made and ready."""
        self._current = asyncio.create_task(self._make(), name="a place")
        try:
            await asyncio.shield(self._current)
            members = Members(
                self.namespace, names.TARGETLESS, "", f"{SESSION}={self._marks.labels('agent')[SESSION]}"
            )
            pod = await self._ready(members)
        except KubeError as error:
            raise error.refusal() from error
        return KubeTarget(
            names.TARGETLESS, self.namespace, names.TARGETLESS, PLACE, members, pod, (read(pod, PLACE),)
        )

    async def agent_for(self, pods: Sequence[Pod]) -> dict[str, AgentPod]:
        """See Agents."""
        assert self._current is not None
        agent = await asyncio.shield(self._current)
        return {pod.uid: agent for pod in pods}

    async def again(self, agent: AgentPod) -> AgentPod:
        """See Agents."""
        assert self._current is not None
        if self._current.done() and await self._runs(agent):
            return agent
        if self._current.done() and self._current.result().key == agent.key:
            log.info("pod %s is gone: another is made", agent.pod)
            self._current = asyncio.create_task(self._make(), name="a place")
            await self._delete(agent.key)
        return await asyncio.shield(self._current)

    async def keep(self, uids: Collection[str]) -> None:
        """See Agents. There is one pod, and it is the session's."""

    async def revoked(self) -> str:
        """See Agents. What is deleted of ours is made again: it may have been an eviction."""
        await never()

    async def close(self) -> None:
        """See Agents."""
        if self._current is not None:
            self._current.cancel()
            await asyncio.gather(self._current, return_exceptions=True)
        for name in list(self._left):
            await self._delete(name)
        for name in self._left:
            self._screen.warn(
                f"job {name} in namespace {self.namespace} could not be deleted: it ends by itself within minutes"
            )

    # --- making it --------------------------------------------------------------------------------------------------

    async def _make(self) -> AgentPod:
        if self._provide is not None:
            await self._provide(await self._nodes())
        name, port = f"mirror-run-{self.founder.session}-{next(self._numbers)}", secrets.choice(PORTS)
        self._screen.notice(
            f"creates a pod with {manifests.capabilities_said(manifests.BESIDE)} in namespace {self.namespace}, "
            "as your place there"
        )
        self._left.add(name)
        creating = asyncio.create_task(self._cluster.create(self._jobs, self._manifest(name, port)))
        try:
            job = await asyncio.shield(creating)
            pod = await pod_of_job(self._cluster, job, self._screen.step)
            if self._may_patch:
                await self._cluster.patch(f"{self._jobs}/{name}", {"spec": {"activeDeadlineSeconds": None}})
            node = (await self._cluster.get(f"{self._pods}/{pod}"))["spec"]["nodeName"]
        except KubeError as error:
            await self._delete(name)
            raise refused(error, "a place for the session", self.namespace) from error
        except BaseException:
            await asyncio.wait([creating])  # or it would be made behind our back
            await self._delete(name)
            raise
        return AgentPod(key=name, node=node, namespace=self.namespace, pod=pod, port=port)

    def _manifest(self, name: str, port: int) -> Json:
        wishes = self._wishes
        proof = hashlib.sha256(self.founder.secret).hexdigest()
        agent = manifests.container(
            wishes.image,
            [
                *manifests.arguments(port, proof, ["$(POD_UID)"], wishes.log_level),
                *("--first", str(FIRST), "--beside"),
            ],
            capabilities=manifests.BESIDE,
        )
        agent["env"] = [{"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}]
        made = manifests.job(
            name,
            "",
            agent,
            self._marks,
            pull_secrets=wishes.pull_secrets,
            labels=wishes.labels,
            annotations=wishes.annotations,
            ttl=wishes.ttl,
            deadline=manifests.STARTS_WITHIN if self._may_patch else None,
        )
        spec = made["spec"]["template"]["spec"]
        # It is nobody's neighbour: any node will do, and it is to find what pods of the namespace find.
        for key in ("nodeName", "hostPID", "tolerations", "dnsPolicy"):
            del spec[key]
        spec |= {"shareProcessNamespace": True, "initContainers": [_waiting(wishes.image)]}
        return made

    async def _nodes(self) -> list[str]:
        """Where it may come to run, if that may be known."""
        try:
            found, _ = await self._cluster.list("/api/v1/nodes")
        except KubeError as error:
            log.info("nodes: %s", error)
            return []
        return [
            node["metadata"]["name"] for node in found if not (node.get("spec") or {}).get("unschedulable")
        ]

    async def _ready(self, members: Members) -> Json:
        try:
            async with asyncio.timeout(READY_WITHIN), aclosing(events(self._cluster, members)) as changes:
                async for event in changes:
                    pods = event.pods if isinstance(event, Listed) else ()
                    if isinstance(event, Seen):
                        pods = (event.pod,)
                    for pod in pods:
                        if read(pod, PLACE).ready:
                            return pod
        except TimeoutError:
            pass
        raise Refusal(
            f"the session's pod in namespace {self.namespace} was not ready within {READY_WITHIN:.0f} s",
            f"`kubectl -n {self.namespace} describe pod -l {SESSION}={self.founder.session}` may say why",
        )

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _try_admission(self) -> None:
        job = self._manifest(f"mirror-run-{self.founder.session}", PORTS[0])
        await agent_jobs.try_admission(self._cluster, self.namespace, job)

    async def _runs(self, agent: AgentPod) -> bool:
        return await agent_jobs.runs(self._cluster, self.namespace, agent)

    async def _delete(self, name: str) -> None:
        if await agent_jobs.delete(self._cluster, self.namespace, name):
            self._left.discard(name)


def _waiting(image: str) -> Json:
    """A container with no rights at all, which ends when the agent does."""
    return {
        "name": PLACE,
        "image": image,
        "imagePullPolicy": manifests.pull_policy(image),
        "command": ["python3", "-c", "import signal; signal.pause()"],
        "restartPolicy": "Always",
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "runAsUser": 65534,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
