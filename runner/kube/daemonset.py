"""The installed agents, and the MirrorSession by which they know a session: no pod is made, and nothing else is tried
when they cannot be used.

Which rights the session has is settled before its object is made; the agents hold to it whatever is asked of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from contextlib import aclosing, suppress
from typing import Any

from runner import VERSION
from runner.errors import Refusal
from runner.kube import agent_state, kinds, names
from runner.kube.agent_rights import FORWARD, SEE, missing
from runner.kube.agent_state import Over, Runs, Waits
from runner.kube.agents import AgentPod, FounderSays
from runner.kube.api import Cluster
from runner.kube.errors import KubeError
from runner.kube.install_manifests import AGENT, CONNECT, PORT, selector_text
from runner.kube.manifests import CONTAINER
from runner.kube.pod import Pod
from runner.kube.rights import Granted, Wish, judge
from runner.kube.session_object import SessionObject, Wanted
from runner.kube.workloads import KubeTarget
from runner.labels import RELEASE
from runner.screen import Screen
from runner.together import together
from wire.record import record

log = logging.getLogger(__name__)

Json = dict[str, Any]

RUNS_WITHIN = 60.0
"""Seconds that a node's agent may need to run: it may just be replaced by another version."""

CLOSED_WITHIN = 5.0


@record
class Installation:
    """What the MirrorPolicy says of it."""

    namespace: str
    like_exec: bool


async def installation(cluster: Cluster) -> Installation | None:
    """None where nothing is installed. Everybody may read this."""
    try:
        policy = await cluster.get(kinds.policy_path())
    except KubeError as error:
        if error.missing:
            return None
        raise error.refusal() from error
    spec = policy["spec"]
    return Installation(str(spec["agentNamespace"]), bool(spec.get("likeExec")))


class Installed:
    """``session`` is how its containers here are labelled. ``founder`` is known once ``prepare`` is done, ``granted``
    too."""

    founder: FounderSays
    granted: Granted

    def __init__(
        self,
        cluster: Cluster,
        found: Installation,
        target: KubeTarget,
        wishes: Sequence[Wish],
        screen: Screen,
        *,
        mode: str = "mirror",
        session: str = "",
    ) -> None:
        self.namespace = found.namespace
        self._cluster = cluster
        self._found = found
        self._target = target
        self._wishes = wishes
        self._mode = mode
        self._number = session
        self._screen = screen
        self._session: SessionObject | None = None
        self._lease: asyncio.Task[str] | None = None

    @property
    def serves_files(self) -> bool:
        """See Agents."""
        return self.granted.may("files")

    async def prepare(self) -> None:
        """See Agents. Rights and versions first, then the session's object is made. Refusal; nothing is left then."""
        try:
            lacking, self.granted, author, workload, _ = await together(
                missing(self._cluster, self.namespace, (*SEE, *FORWARD)),
                judge(self._cluster, self._target.namespace, self._wishes, like_exec=self._found.like_exec),
                self._cluster.whoami(),
                self._workload(),
                self._versions_fit(),
            )
        except KubeError as error:
            raise error.refusal() from error
        if lacking:
            raise Refusal(
                f"you lack {', '.join(map(str, lacking))} in namespace {self.namespace}, where the agents are",
                f"ask those who run the cluster to bind the Role {CONNECT} to you in {self.namespace}",
            )
        for sentence in self.granted.without:
            self._screen.notice(sentence)
        target = self._target
        self._session = await SessionObject.create(
            self._cluster,
            Wanted(
                namespace=target.namespace,
                author=author,
                target=target.name,
                container=target.container,
                mode=self._mode,
                rights=self.granted.rights,
                session=self._number,
                workload=workload,
            ),
        )
        self.founder = FounderSays(self._session.name, self._session.secret, target.namespace)
        self._lease = asyncio.create_task(self._session.keep(), name="the session's lease")

    async def agent_for(self, pods: Sequence[Pod]) -> dict[str, AgentPod]:
        """See Agents."""
        nodes = sorted({pod.node for pod in pods})
        agents = dict(zip(nodes, await together(*(self._on(node) for node in nodes)), strict=True))
        return {pod.uid: agents[pod.node] for pod in pods}

    async def again(self, agent: AgentPod) -> AgentPod:
        """See Agents. Its DaemonSet has made another, or will."""
        return await self._on(agent.node)

    async def keep(self, uids: Collection[str]) -> None:
        """See Agents: they stay."""

    async def close(self) -> None:
        """See Agents. The object's deletion ends the session at every agent that has not heard of it."""
        if self._lease is not None:
            self._lease.cancel()
            await asyncio.gather(self._lease, return_exceptions=True)
        if self._session is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSED_WITHIN):
                    await self._session.delete()

    async def revoked(self) -> str:
        """Until somebody ends the session by its object; the sentence. After ``prepare``."""
        assert self._lease is not None
        return await asyncio.shield(self._lease)

    async def _versions_fit(self) -> None:
        """Refusal when an agent is neither of this minor version nor of a neighbouring one."""
        for pod in await self._agents():
            theirs = (pod["metadata"].get("labels") or {}).get(RELEASE, "")
            if not fits(VERSION, theirs):
                raise Refusal(
                    f"the agents in namespace {self.namespace} are mirror-run {theirs or '?'}, and this is {VERSION}",
                    "versions a minor step apart work together: take the other one, or ask those who run the "
                    "cluster for `mirror-run upgrade`",
                )

    async def _agents(self, node: str = "") -> list[Json]:
        try:
            return (await self._cluster.list(self._path, **_query(node)))[0]
        except KubeError as error:
            if error.forbidden:
                return []  # said in the words of the right that is missing
            raise

    @property
    def _path(self) -> str:
        return names.POD.path(self.namespace)

    async def _on(self, node: str) -> AgentPod:
        """The agent of a node, once it runs. Refusal when there is none, or it never will."""
        last = f"DaemonSet {self.namespace}/{AGENT} has no pod there"
        try:
            async with asyncio.timeout(RUNS_WITHIN):
                async with aclosing(self._cluster.watch(self._path, "", **_query(node))) as changes:
                    async for kind, pod in changes:
                        if kind == "DELETED" or "deletionTimestamp" in pod["metadata"]:
                            continue
                        match agent_state.of_pod(pod, CONTAINER):
                            case Runs():
                                return self._agent(pod)
                            case Waits(why):
                                last = why or last
                            case Over(what, next_step) if next_step:
                                raise Refusal(f"the agent on node {node} does not run: {what}", next_step)
                            case Over(what):
                                last = what
        except TimeoutError:
            pass
        except KubeError as error:
            raise error.refusal() from error
        raise Refusal(
            f"no agent runs on node {node}: {last}",
            f"ask those who run the cluster: kubectl -n {self.namespace} describe daemonset {AGENT}",
        )

    def _agent(self, pod: Json) -> AgentPod:
        metadata = pod["metadata"]
        return AgentPod(metadata["uid"], pod["spec"]["nodeName"], self.namespace, metadata["name"], PORT)

    async def _workload(self) -> Json | None:
        """What the target is, for events about it; a pod is told of itself."""
        members = self._target.members
        kind = names.kind_of(members.kind)
        if kind is None or kind is names.POD or not members.name:
            return None
        try:
            found = await self._cluster.get(kind.path(members.namespace, members.name))
        except KubeError as error:
            log.info("no workload for events: %s", error)
            return None
        version = f"{kind.group}/{kind.version}" if kind.group else kind.version
        metadata = found["metadata"]
        return {
            "apiVersion": version,
            "kind": str(found["kind"]),
            "name": metadata["name"],
            "uid": metadata["uid"],
        }


def fits(ours: str, theirs: str) -> bool:
    """The same major version, and minor ones at most a step apart."""
    try:
        (major, minor), (other, another) = _version(ours), _version(theirs)
    except ValueError:
        return False
    return major == other and abs(minor - another) <= 1


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def _query(node: str) -> dict[str, str]:
    query = {"labelSelector": selector_text()}
    return query | ({"fieldSelector": f"spec.nodeName={node}"} if node else {})
