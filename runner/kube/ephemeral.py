"""Agents inside the target pods: an ephemeral container beside the target's, which needs no right over the node.

It lives in the pod's network and, by ``targetContainerName``, in the pid namespace of the target's container; so it can
reach no other pod, whatever it is asked, and has no namespace to enter: SYS_ADMIN is not among its capabilities.
Kubernetes never removes an ephemeral container from a pod: it ends with the session, and its terminated entry stays
until the pod goes (Kubernetes, "Ephemeral Containers").
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Collection, Sequence
from itertools import count

from runner.errors import Refusal
from runner.kube import agent_rights, agent_state, manifests
from runner.kube.agent_start import RUNS_WITHIN, Word, events_of, first, watched
from runner.kube.agent_state import Over, Runs, State, Waits
from runner.kube.agents import PORTS, AgentPod, AgentWishes, FounderSays, Provide, agent_of, failed
from runner.kube.api import Cluster
from runner.kube.errors import KubeError
from runner.kube.manifests import Json
from runner.kube.pod import Pod
from runner.kube.refused import refused
from runner.screen import Screen
from runner.together import never

log = logging.getLogger(__name__)

TRIES = 3
"""Ports, should somebody in the pod listen on the one that was drawn."""

PORT_TAKEN = "in use"
"""In the agent's last words."""


class _Never(Exception):
    """The container will not start."""

    def __init__(self, why: Over) -> None:
        super().__init__(why.what)
        self.why = why


class Ephemerals:
    """``namespace`` is the target's: an ephemeral container is nowhere else. ``provide`` as of Jobs."""

    serves_files = True

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        wishes: AgentWishes,
        founder: FounderSays,
        screen: Screen,
        provide: Provide | None = None,
    ) -> None:
        self.founder = founder
        self.namespace = namespace
        self._cluster = cluster
        self._wishes = wishes
        self._screen = screen
        self._provide = provide
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._numbers = count()
        self._coming: dict[str, asyncio.Task[AgentPod]] = {}  # by pod uid
        self._of: dict[str, Pod] = {}  # by key, which is the container's name
        self._told = False

    async def prepare(self) -> None:
        """Rights. What Pod Security says is known when a pod is patched: it judges the whole pod."""
        if self._wishes.namespace not in ("", self.namespace):
            raise Refusal(
                f"an ephemeral container is in the target's own namespace, {self.namespace}",
                "leave out --agent-namespace, or --ephemeral-container",
            )
        if self._wishes.pull_secrets:
            log.warning("pull secrets are the pod's own for an ephemeral container: those given are not used")
        await agent_rights.need(
            self._cluster,
            self.namespace,
            agent_rights.EPHEMERAL,
            "ask who runs the cluster for these rights, or leave out --ephemeral-container",
        )

    async def agent_for(self, pods: Sequence[Pod]) -> dict[str, AgentPod]:
        """See Agents."""
        tasks = {pod.uid: self._coming.get(pod.uid) or self._begin(pod) for pod in pods}
        if tasks:
            done, _ = await asyncio.wait(set(tasks.values()), return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                agent_of(task)
        return {uid: agent_of(task) for uid, task in tasks.items()}

    async def again(self, agent: AgentPod) -> AgentPod:
        """See Agents."""
        pod = self._of.get(agent.key)
        if pod is None:
            raise Refusal(f"the agent {agent.key} serves no pod that is still followed")
        coming = self._coming.get(pod.uid)
        if coming and coming.done() and not failed(coming) and coming.result().key == agent.key:
            if await self._runs(agent):
                return agent
            if self._coming.get(pod.uid) is coming:
                log.info("agent %s in pod %s is gone: another is made", agent.key, agent.pod)
                coming = self._begin(pod)
        coming = self._coming.get(pod.uid) or self._begin(pod)
        await asyncio.wait([coming])
        return agent_of(coming)

    async def keep(self, uids: Collection[str]) -> None:
        """See Agents. Those of other pods end by themselves when their session has ended there."""
        for uid in self._coming.keys() - set(uids):
            self._coming.pop(uid).cancel()
        self._of = {key: pod for key, pod in self._of.items() if pod.uid in uids}

    async def revoked(self) -> str:
        """See Agents. What is deleted of ours is made again: it may have been an eviction."""
        await never()

    async def close(self) -> None:
        """See Agents. Nothing can be deleted: an agent ends when its session has."""
        tasks = list(self._coming.values())
        self._coming.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- making one ------------------------------------------------------------------------------------------------

    def _begin(self, pod: Pod) -> asyncio.Task[AgentPod]:
        task = asyncio.create_task(self._make(pod), name=f"agent in {pod.name}")
        self._coming[pod.uid] = task
        task.add_done_callback(lambda done: self._settled(pod.uid, done))
        return task

    def _settled(self, uid: str, task: asyncio.Task[AgentPod]) -> None:
        """What failed may be tried anew."""
        if failed(task) and self._coming.get(uid) is task:
            del self._coming[uid]

    async def _make(self, pod: Pod) -> AgentPod:
        if self._provide is not None:
            await self._provide([pod.node])
        over = Over("")
        for _ in range(TRIES):
            name = f"mirror-run-{self.founder.session}-{next(self._numbers)}"
            port = secrets.choice(PORTS)
            self._tell(pod)
            try:
                patched = await self._cluster.patch(
                    f"{self._pods}/{pod.name}/ephemeralcontainers",
                    self._patch(name, port, pod),
                    kind="strategic",
                )
                state = await self._settles(name, pod, str(patched["metadata"]["resourceVersion"]))
            except KubeError as error:
                what = f"an ephemeral container with {manifests.capabilities_said(self._capabilities)}"
                raise refused(error, what, self.namespace) from error
            if isinstance(state, Runs):
                agent = AgentPod(key=name, node=pod.node, namespace=self.namespace, pod=pod.name, port=port)
                self._of[name] = pod
                return agent
            over = state
            if PORT_TAKEN not in over.what:
                break
        raise Refusal(f"the agent in pod {pod.name} does not run: {over.what}", over.next_step)

    @property
    def _capabilities(self) -> list[str]:
        return self._wishes.capabilities(manifests.BESIDE)

    def _patch(self, name: str, port: int, pod: Pod) -> Json:
        proof = hashlib.sha256(self.founder.secret).hexdigest()
        arguments = [*manifests.arguments(port, proof, [pod.uid], self._wishes.log_level), "--beside"]
        main = manifests.container(self._wishes.image, arguments, name=name, capabilities=self._capabilities)
        return manifests.ephemeral(main, pod.container)

    def _tell(self, pod: Pod) -> None:
        stays = "" if self._told else "; Kubernetes keeps its entry, terminated, until the pod goes"
        self._told = True
        self._screen.notice(
            f"adds an ephemeral container with {manifests.capabilities_said(self._capabilities)} to pod {pod.name} "
            f"in namespace {self.namespace}{stays}"
        )

    # --- watching --------------------------------------------------------------------------------------------------

    async def _settles(self, name: str, pod: Pod, version: str) -> Runs | Over:
        word = Word(f"the agent in pod {pod.name}", self._screen.step)
        try:
            async with asyncio.timeout(RUNS_WITHIN):
                return await first(self._seen(name, pod, version, word), self._heard(name, pod), word.tell())
        except _Never as never:
            return never.why
        except TimeoutError:
            return Over(
                f"nothing came of it within {RUNS_WITHIN:.0f} s ({word.last or 'nothing was heard of it'})",
                f"`kubectl describe pod {pod.name} -n {self.namespace}` may say why",
            )

    async def _seen(self, name: str, pod: Pod, version: str, word: Word) -> Runs | Over:
        """What the pod's status comes to, from ``version`` on."""
        while True:
            async for kind, seen in watched(
                self._cluster, self._pods, version, fieldSelector=f"metadata.name={pod.name}"
            ):
                if kind == "DELETED" or seen["metadata"]["uid"] != pod.uid:
                    return Over("the pod is gone")
                match _state(seen, name):
                    case Waits(why):
                        word.heard(why)
                    case state:
                        return state
            version = ""

    async def _heard(self, name: str, pod: Pod) -> None:
        """The pod's events; _Never if one says that the container will not start."""
        field = f"spec.ephemeralContainers{{{name}}}"
        async for event in events_of(self._cluster, self.namespace, pod.uid):
            if over := agent_state.of_event(event, field, self._wishes.image, {}):
                raise _Never(over)

    async def _runs(self, agent: AgentPod) -> bool:
        try:
            pod = await self._cluster.get(f"{self._pods}/{agent.pod}")
        except KubeError as error:
            if error.missing:
                raise Refusal(f"pod {agent.pod} is gone, and its agent with it") from None
            raise error.refusal() from error
        if pod["metadata"]["uid"] != self._of[agent.key].uid:
            raise Refusal(f"pod {agent.pod} is another one by now, and the agent is gone with the former")
        return isinstance(_state(pod, agent.key), Runs)


def _state(pod: Json, name: str) -> State:
    statuses = (pod.get("status") or {}).get("ephemeralContainerStatuses") or ()
    return agent_state.of_container(statuses, name, pod["spec"])
