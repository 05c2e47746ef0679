"""Agents made for one session: a Job on each node where a followed pod runs, gone with the session.

A Job is pinned to the uids of the pods it was made for: its agent enters no other. A pod that comes to that node later
gets a further one. Everything made is remembered before it is made, so that ``close`` finds it; and where ``close``
never comes (kill -9), the agent ends by itself and the Job by its ttl.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

from runner.errors import Refusal
from runner.kube import agent_jobs, agent_rights, manifests
from runner.kube.agent_start import pod_of_job
from runner.kube.agents import PORTS, AgentPod, AgentWishes, FounderSays, Provide, agent_of, failed
from runner.kube.api import Cluster
from runner.kube.errors import KubeError
from runner.kube.manifests import Json, Marks
from runner.kube.pod import Pod
from runner.kube.refused import refused
from runner.plan import AGENT_CAPABILITIES
from runner.screen import Screen
from runner.together import never, together

log = logging.getLogger(__name__)

CLOSED_WITHIN = 5.0
"""Seconds for the deletion of all Jobs at the end."""

NEXT_STEP = (
    "ask who runs the cluster for these rights or for `mirror-run install`, "
    "or name a namespace where you have them: --agent-namespace NS"
)


@dataclass(slots=True)
class _Made:
    """One Job, and the pods it is for."""

    agent: AgentPod
    uids: set[str]
    heir: asyncio.Task[AgentPod] | None = field(default=None)


class Jobs:
    """``namespace`` is where they are made; ``provide`` is called with the nodes before that."""

    serves_files = True

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
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._numbers = count()
        self._coming: dict[str, asyncio.Task[AgentPod]] = {}  # by pod uid
        self._made: dict[str, _Made] = {}  # by key, which is the Job's name
        self._names: set[str] = set()  # of all Jobs that may be there
        self._may_patch = False

    async def prepare(self) -> None:
        """Rights, and a pod like the agent's for the API server's admission to judge. Nothing is made."""
        _, _, self._may_patch = await together(
            agent_rights.need(self._cluster, self.namespace, agent_rights.JOB, NEXT_STEP),
            self._try_admission(),
            agent_rights.has(self._cluster, self.namespace, agent_rights.LIFT),
        )

    async def agent_for(self, pods: Sequence[Pod]) -> dict[str, AgentPod]:
        """See Agents. One pod's failure is told at once; what was begun for others goes on until ``close``."""
        fresh: dict[str, set[str]] = {}
        for pod in pods:
            if pod.uid not in self._coming:
                fresh.setdefault(pod.node, set()).add(pod.uid)
        for node, uids in fresh.items():
            self._begin(node, uids)
        tasks = {pod.uid: self._coming[pod.uid] for pod in pods}
        if tasks:
            done, _ = await asyncio.wait(set(tasks.values()), return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                agent_of(task)
        return {uid: agent_of(task) for uid, task in tasks.items()}

    async def again(self, agent: AgentPod) -> AgentPod:
        """See Agents. However many ask, one successor is made."""
        made = self._made.get(agent.key)
        if made is None:
            raise Refusal(f"the agent {agent.key} serves no pod that is still followed")
        if made.heir is None or failed(made.heir):
            if await self._runs(agent):
                return agent
            if made.heir is None or failed(made.heir):
                log.info("agent %s on node %s is gone: another is made", agent.key, agent.node)
                made.heir = self._begin(agent.node, made.uids)
        await asyncio.wait([made.heir])
        heir = agent_of(made.heir)
        self._made.pop(agent.key, None)
        await self._delete(agent.key)
        return heir

    async def keep(self, uids: Collection[str]) -> None:
        """See Agents."""
        for uid in self._coming.keys() - set(uids):
            task = self._coming.pop(uid)
            if task not in self._coming.values():
                task.cancel()
        for key, made in list(self._made.items()):
            made.uids &= set(uids)
            if not made.uids:
                del self._made[key]
                await self._delete(key)

    async def revoked(self) -> str:
        """See Agents. What is deleted of ours is made again: it may have been an eviction."""
        await never()

    async def close(self) -> None:
        """See Agents."""
        tasks = set(self._coming.values()) | {made.heir for made in self._made.values() if made.heir}
        self._coming.clear()
        self._made.clear()
        for task in tasks:
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSED_WITHIN):
                await asyncio.gather(*tasks, return_exceptions=True)
                await asyncio.gather(*(self._delete(name) for name in list(self._names)))
        for name in sorted(self._names):
            self._screen.warn(
                f"job {name} in namespace {self.namespace} could not be deleted: it ends by itself within two minutes"
            )

    # --- making one ------------------------------------------------------------------------------------------------

    def _begin(self, node: str, uids: set[str]) -> asyncio.Task[AgentPod]:
        task = asyncio.create_task(self._make(node, uids), name=f"agent on {node}")
        for uid in uids:
            self._coming[uid] = task
        task.add_done_callback(self._settled)
        return task

    def _settled(self, task: asyncio.Task[AgentPod]) -> None:
        """What failed may be tried anew."""
        if failed(task):
            self._coming = {uid: one for uid, one in self._coming.items() if one is not task}

    async def _make(self, node: str, uids: set[str]) -> AgentPod:
        if self._provide is not None:
            await self._provide([node])
        name = f"mirror-run-{self.founder.session}-{next(self._numbers)}"
        port = secrets.choice(PORTS)
        made = self._manifest(name, node, port, sorted(uids))
        self._screen.notice(
            f"creates a pod with hostPID, {manifests.capabilities_said(self._capabilities)} "
            f"in namespace {self.namespace} on node {node}"
        )
        self._names.add(name)
        creating = asyncio.create_task(self._cluster.create(self._jobs, made), name=f"create {name}")
        try:
            job = await asyncio.shield(creating)
            pod = await pod_of_job(self._cluster, job, self._screen.step)
            await self._lift_deadline(name)
        except KubeError as error:
            await self._delete(name)
            raise refused(error, f"an agent for node {node}", self.namespace) from error
        except BaseException:
            await asyncio.wait([creating])  # or it would be made behind our back
            await self._delete(name)
            raise
        agent = AgentPod(key=name, node=node, namespace=self.namespace, pod=pod, port=port)
        self._made[name] = _Made(agent, set(uids))
        return agent

    @property
    def _capabilities(self) -> list[str]:
        return self._wishes.capabilities(AGENT_CAPABILITIES)

    def _manifest(self, name: str, node: str, port: int, uids: Sequence[str]) -> Json:
        wishes = self._wishes
        proof = hashlib.sha256(self.founder.secret).hexdigest()
        arguments = manifests.arguments(port, proof, uids, wishes.log_level, wishes.drain)
        return manifests.job(
            name,
            node,
            manifests.container(wishes.image, arguments, capabilities=self._capabilities),
            self._marks,
            pull_secrets=wishes.pull_secrets,
            labels=wishes.labels,
            annotations=wishes.annotations,
            ttl=wishes.ttl,
            deadline=manifests.STARTS_WITHIN if self._may_patch else None,
            drain=wishes.drain,
        )

    async def _lift_deadline(self, name: str) -> None:
        """The agent runs: from here on it is the session that says how long."""
        if self._may_patch:
            await self._cluster.patch(f"{self._jobs}/{name}", {"spec": {"activeDeadlineSeconds": None}})

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _try_admission(self) -> None:
        job = self._manifest(f"mirror-run-{self.founder.session}", "", PORTS[0], [])
        await agent_jobs.try_admission(self._cluster, self.namespace, job)

    async def _runs(self, agent: AgentPod) -> bool:
        return await agent_jobs.runs(self._cluster, self.namespace, agent)

    async def _delete(self, name: str) -> None:
        if await agent_jobs.delete(self._cluster, self.namespace, name):
            self._names.discard(name)
