"""Pods of a cluster as the place of a session: found, joined by agents beside them, followed, and let go of first."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from links.link import CallFailed, Link
from runner import plan, stealing, telling
from runner.config import Caller, ClusterOptions, RunOptions
from runner.engine import Engine, Event, Json
from runner.errors import Refusal
from runner.files import asked
from runner.images import Images
from runner.kube import names, own_probes
from runner.kube.agents import Agents
from runner.kube.alone import Alone
from runner.kube.api import Cluster, KubeOptions, connect
from runner.kube.choosing import chosen_agents
from runner.kube.errors import KubeError
from runner.kube.followed_core import Followed
from runner.kube.following import following
from runner.kube.founding import Founding
from runner.kube.legs import Legs
from runner.kube.original import original
from runner.kube.reach import Reach
from runner.kube.spec_env import environment
from runner.kube.taking_part import TakingPart
from runner.kube.wishes import wishes
from runner.kube.workloads import KubeTarget, resolve
from runner.place import Founded, Original, Proof
from runner.screen import Screen
from runner.telling import MirroredLine
from runner.together import background
from wire import messages as m

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Looked:
    """What can be known and prepared without an engine of ours: the target, and agents of which none is made yet."""

    cluster: Cluster
    target: KubeTarget
    agents: Agents
    _closed: bool = False

    async def close(self) -> None:
        """End the agents, once: a place does it in its turn, and whoever never got one at the end."""
        if not self._closed:
            self._closed = True
            await self.agents.close()


@dataclass(slots=True)
class KubePlace:
    """``legs`` are the bridge's ways to the agents."""

    looked: Looked
    screen: Screen
    options: RunOptions
    proof: Proof
    legs: Legs
    keeps: bool = True
    _followed: Followed = field(init=False)
    _mirrored: MirroredLine = field(init=False)
    _part: TakingPart = field(init=False)

    def __post_init__(self) -> None:
        self._followed = Followed(self.looked.target.name)
        described = stealing.described(self.options)
        self._mirrored = MirroredLine(
            self.screen, self.looked.target.name, described, steals=self.options.steal
        )
        self._part = TakingPart(
            self.looked.agents,
            Founding(
                self.looked.cluster,
                self.proof.author,
                self.options.cluster.mirror_rate,
                stealing.wish(self.options, probes=own_probes.of_spec(self.looked.target.spec)),
            ),
            self.screen,
            self._followed,
            Reach(self.legs, self.screen.warn),
            self._mirrored,
            partial(plan.with_hosts, options=self.options),
        )

    @property
    def name(self) -> str:
        return self.looked.target.name

    @property
    def where(self) -> str:
        return f"{self.looked.target.namespace} of {self.looked.cluster.context}"

    @property
    def original(self) -> Original:
        return original(self.looked.target.primary, self.looked.target.container)

    @property
    def serves_files(self) -> bool:
        return self.looked.agents.serves_files

    async def way(
        self,
        ours: Images,  # noqa: ARG002 - agents are in the cluster
        traits: plan.EngineTraits,
        *,
        files: bool,  # noqa: ARG002 - and have been made, or are there
    ) -> Json:
        return self.legs.way(traits)

    async def open(self) -> Founded:
        """Agents beside all ready pods, each pod attached, the primary's environment."""
        identity = await self._part.begin(self._followed.first(self.looked.target.pods))
        founder = self.looked.agents.founder
        return Founded(identity, await self._environ(), founder.session, founder.secret, self._part.mounts)

    async def _environ(self) -> tuple[bytes, ...]:
        try:
            theirs = await self._part.first.call(m.GetEnviron(0, 0))
            assert isinstance(theirs, m.Environ)
            if theirs.variables:
                return theirs.variables
            why = "its process wrote over its environment"
        except CallFailed as error:
            why = error.reason
        self.screen.notice(f"{self.name}: {why}, so this is what its pod's spec configures")
        found = await environment(
            self.looked.cluster, self.looked.target.primary, self.looked.target.container
        )
        for sentence in found.unread:
            self.screen.notice(f"not in it: {sentence}")
        return found.variables

    async def lost_race(self, error: Exception) -> bool:  # noqa: ARG002 - agents here are the session's own, or stay
        return False

    async def lead(self, bridge: str) -> str:
        self.legs.bridge = bridge
        first = self._part.first
        return await self.legs.add(first.number, first.agent)

    def configured(self) -> None:
        self._part.reach.configured.set()

    @asynccontextmanager
    async def attended(self, bridge: Link) -> AsyncIterator[None]:
        self._part.bridged(bridge)
        work = {
            "following the target": self._follow(),
            "counting": telling.complain(self._part.counters, self.screen),
        }
        async with background(work):
            yield
            await self._part.let_go()
            await telling.sum_up(self._part.counters, self.screen)
            self._mirrored.sum_up()
        self._mirrored.close()

    async def _follow(self) -> None:
        try:
            async with aclosing(
                following(self.looked.cluster, self.looked.target, self._followed)
            ) as happened:
                async for steps in happened:
                    self._part.carry_out(steps)
        except KubeError as error:
            self.screen.warn(f"pods of {self.name} are not followed: {error.sentence}")

    def happened(self, event: Event) -> None:
        """The engine's containers are not the target's."""

    def linked(self, notice: m.LinkLost | m.LinkBack) -> None:
        self._part.linked(notice)

    async def revoked(self) -> str:
        return await self.looked.agents.revoked()

    async def let_go(self) -> None:
        await self._part.let_go()

    async def steal_again(self) -> None:
        await self._part.steal_again()

    async def close(self) -> None:
        await self._part.close()
        await self.legs.close()
        await self.looked.close()


async def look(
    cluster: Cluster,
    options: RunOptions,
    caller: Caller,
    screen: Screen,
    engine: Awaitable[Engine],
    proof: Proof,
    undo: AsyncExitStack,
) -> Looked:
    """The target that ``options`` name in this cluster, ready, and said; its agents, prepared. Refusal."""
    said = options.cluster
    wanted = names.understood(
        options.target,
        container=said.container,
        selector=said.selector,
        pod=said.pod,
        namespace=said.namespace,
        targetless=said.targetless,
    )
    if wanted.kind == names.TARGETLESS and asked.named(options) and plan.serves_files(options):
        raise Refusal(
            "without a target there are no files of it", "leave out what was said of files, or name a target"
        )
    if wanted.kind == names.TARGETLESS and not (options.image or options.build):
        raise Refusal(
            "without a target there is no image to run in", "choose one: --image IMAGE, or --build DIR"
        )
    target = await resolve(cluster, wanted, screen.step, said.pod_running_timeout)
    screen.notice(f"context {cluster.context}, namespace {target.namespace}, {_described(target)}")
    looked = Looked(
        cluster,
        target,
        await chosen_agents(
            cluster,
            said,
            caller,
            target,
            proof,
            screen,
            engine,
            wishes(options),
            drain=round(options.drain) if options.steal else 0,
        ),
    )
    undo.push_async_callback(looked.close)
    await looked.agents.prepare()
    if isinstance(looked.agents, Alone):
        looked.target = await looked.agents.target()
    return looked


async def connected(said: ClusterOptions, caller: Caller, *, attended: bool = True) -> Cluster:
    """The cluster's API server, asked once; ``attended``: its credential plugin may ask on the terminal. Refusal."""
    wanted = KubeOptions(said.kubeconfig, said.context, said.namespace, said.as_user, said.as_groups)
    return await connect(
        wanted, caller.environ, caller.home, attended=attended and caller.stdin_terminal and caller.stdin_ours
    )


def _described(target: KubeTarget) -> str:
    """ "target deploy/cart (pod cart-x, container web; 3 pods on 2 nodes)"."""
    if not target.pods:
        return "without a target"
    first, count = target.pods[0], len(target.pods)
    nodes = len({pod.node for pod in target.pods})
    more = f"; {count} pods on {nodes} node{'s' * (nodes > 1)}" if count > 1 else f" on node {first.node}"
    return f"target {target.name} (pod {first.name}, container {target.container}{more})"
