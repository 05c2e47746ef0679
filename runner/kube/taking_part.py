"""The steps of following carried out: an agent beside each pod, its container attached, the bridge told who is primary.

In which order is said in ``chains``, how the bridge comes to agents in ``reach``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from links.link import CallFailed, Link
from runner.errors import Refusal
from runner.kube.agent_side import AgentSide
from runner.kube.agents import AgentPod, Agents
from runner.kube.chains import Chains
from runner.kube.followed_core import AttachTo, Followed, Leave, Prepare, Primary, Say, Step
from runner.kube.founding import Founding
from runner.kube.pod import Pod
from runner.kube.reach import Reach, linked
from runner.screen import Screen
from runner.tally import added
from runner.telling import MirroredLine
from runner.together import together
from wire import messages as m

log = logging.getLogger(__name__)

MOVES_WITHIN = 10.0
"""Seconds in which an agent that is being replaced is waited for, before one more is taken to be there."""

Hosts = Callable[[m.Identity], m.Identity]
"""The identity with what the command line adds to it."""


@dataclass(slots=True)
class TakingPart:
    """All agents of one session. ``begin``, then ``bridged``, then ``carry_out`` as often as there are steps."""

    agents: Agents
    founding: Founding
    screen: Screen
    followed: Followed
    reach: Reach
    mirrored: MirroredLine
    hosts: Hosts
    sides: list[AgentSide] = field(default_factory=list)
    _of: dict[str, AgentSide] = field(default_factory=dict, init=False)  # by the pod's uid
    _identities: dict[int, m.Identity] = field(default_factory=dict, init=False)
    mounts: tuple[str, ...] = field(default=(), init=False)
    """Of the first primary: files, like the environment, keep the identity that the app began with."""
    # What the bridge was told last: the primary's index, its agent's number, its pod.
    _primary: int = field(default=0, init=False)
    _leader: int = field(default=0, init=False)
    _leads: str = field(default="", init=False)
    _keeping: dict[int, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _chains: Chains = field(init=False)
    _settling: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _numbers: int = field(default=0, init=False)
    _past: m.Counters = field(default_factory=m.Counters, init=False)

    def __post_init__(self) -> None:
        self._chains = Chains(self.screen.warn)

    # --- the beginning ----------------------------------------------------------------------------------------------

    async def begin(self, steps: Sequence[Step]) -> m.Identity:
        """The first steps, all of them; the primary's identity. Refusal, LinkEnded."""
        attaching = [step for step in steps if isinstance(step, AttachTo)]
        for step in steps:
            if isinstance(step, Say):
                self.screen.notice(step.text)
        where = await self.agents.agent_for([step.pod for step in attaching])
        for step in attaching:
            self._of[step.pod.uid] = self._known(where[step.pod.uid]) or self._new(where[step.pod.uid])
        self._leads = attaching[0].pod.uid
        await together(*(side.open() for side in self.sides))
        try:
            await together(*(self._attach(step) for step in attaching))
        except CallFailed as error:
            raise Refusal(f"the agent cannot serve {self.followed.name}: {error.reason}") from error
        return self._identities[0]

    @property
    def first(self) -> AgentSide:
        """The agent of the first primary."""
        return self.sides[0]

    def bridged(self, bridge: Link) -> None:
        """The bridge has the first agent: it is told the others when it is configured, and all are kept."""
        self.reach.begin(bridge)
        for side in self.sides:
            self._keep(side)

    def _known(self, agent: AgentPod) -> AgentSide | None:
        return next((side for side in self.sides if side.agent.key == agent.key), None)

    def _new(self, agent: AgentPod) -> AgentSide:
        number, self._numbers = self._numbers, self._numbers + 1
        side = AgentSide(
            number,
            agent,
            self.agents,
            self.founding,
            self._hear,
            self.screen.warn,
            lambda heir: self.reach.legs.move(number, heir),
            self._reached,
        )
        self.sides.append(side)
        return side

    def _keep(self, side: AgentSide) -> None:
        self._keeping[side.number] = asyncio.create_task(side.keep(), name=f"agent {side.number}")
        self.reach.add(side)

    def _hear(self, message: m.Message) -> None:
        match message:
            case m.Mirroring():
                self.mirrored.notice(message.target, message.ports)
            case m.Stealing() | m.Stolen():
                self.mirrored.stolen(message)
            case m.Chosen():
                self.mirrored.chosen(message)
            case m.TargetGone():
                self.mirrored.gone(message.target)
            case _:
                log.debug("an agent says %s, which is not known here", type(message).__name__)

    def _reached(self) -> None:
        """An agent was given up, or is back: whoever leads may do so until its own is given up, and whoever takes over
        has one that can be asked. The leader comes last, so that the others are known when an heir is looked for."""
        for uid, side in sorted(self._of.items(), key=lambda one: one[0] == self._leads):
            off = side.lost if uid == self._leads else not side.is_up
            self.carry_out(self.followed.cut_off(uid, off=off))

    def linked(self, notice: m.LinkLost | m.LinkBack) -> None:
        """The bridge's word about its own links to an agent."""
        for side in self.sides:
            if side.number == notice.agent:
                linked(side, notice)

    # --- steps ------------------------------------------------------------------------------------------------------

    def carry_out(self, steps: Sequence[Step]) -> None:
        """Begin these; nothing of it is waited for."""
        for step in steps:
            match step:
                case Say(text):
                    self.screen.notice(text)
                case Prepare(pods):
                    for pod in pods:
                        self._chains.after(pod, self._prepare(pod))
                case AttachTo(_, pod):
                    self._chains.after(pod, self._join(step))
                case Primary(_, pod):
                    self._chains.after(pod, self._lead(step))
                case Leave(_, pod):
                    self._chains.instead(pod, self._leave(step))

    async def _prepare(self, pod: Pod) -> None:
        """An agent beside it, linked; so that attaching it is one question once it is ready."""
        agent = (await self.agents.agent_for([pod]))[pod.uid]
        async with self._settling:
            side = self._known(agent) or await self._moving_to(agent)
            fresh = side is None
            if side is None:
                side = self._new(agent)
        self._of[pod.uid] = side
        if fresh:
            try:
                await side.open()
            except BaseException:
                self.sides.remove(side)
                raise
            self._keep(side)

    async def _moving_to(self, agent: AgentPod) -> AgentSide | None:
        """The side whose successor this is about to be, if one on that node looks for its own."""
        for side in self.sides:
            if side.agent.node == agent.node and not side.is_up and side.number in self._keeping:
                await side.settled(MOVES_WITHIN)
                if side.agent.key == agent.key:
                    return side
        return None

    async def _join(self, step: AttachTo) -> None:
        if step.pod.uid not in self._of:
            await self._prepare(step.pod)
        before = self._identities.get(step.index)
        identity = await self._attach(step)
        if step.again and step.index == self._primary and identity != before:
            await self._retarget(step.index, step.pod)
        self.screen.notice(
            f"{step.pod.name} is back, and followed"
            if step.again
            else f"{step.pod.name} is new, and takes part"
        )

    async def _attach(self, step: AttachTo) -> m.Identity:
        attached = await self._of[step.pod.uid].attach(step.index, step.pod)
        self._identities[step.index] = attached.identity
        if step.index == 0 and not step.again:
            self.mounts = tuple(attached.mounts)
        return attached.identity

    async def _lead(self, step: Primary) -> None:
        if step.index not in self._identities:
            raise CallFailed("it could not be attached")
        await self._retarget(step.index, step.pod)
        await self._tidy()

    async def _retarget(self, index: int, pod: Pod) -> None:
        side = self._of[pod.uid]
        await self.reach.lead(side, self.hosts(self._identities[index]), index)
        self._primary, self._leader, self._leads = index, side.number, pod.uid

    async def _leave(self, step: Leave) -> None:
        self._identities.pop(step.index, None)
        self.mirrored.gone(step.index)
        side = self._of.pop(step.pod.uid, None)
        if side is not None and not await side.forget(step.index):
            log.info("%s: its agent is out of reach, and has nothing to let go of", step.pod.name)
        await self._tidy()

    async def _tidy(self) -> None:
        """Agents that nobody needs are let go; but the primary's only when another has taken over."""
        async with self._settling:
            used = list(self._of.values())
            for side in [one for one in self.sides if one not in used and one.number != self._leader]:
                await self._let_go(side)
            await self.agents.keep(self.followed.expected | set(self._of) | {self._leads})

    async def _let_go(self, side: AgentSide) -> None:
        self.sides.remove(side)
        if task := self._keeping.pop(side.number, None):
            task.cancel()
        self._past = added(self._past, await side.counters())
        await self.reach.remove(side)
        await side.close("none of its pods takes part any more")

    # --- all of them ------------------------------------------------------------------------------------------------

    async def counters(self) -> m.Counters:
        """Of all agents, those that have left among them."""
        total = self._past
        for one in await together(*(side.counters() for side in self.sides)):
            total = added(total, one)
        return total

    async def let_go(self) -> None:
        """See Place."""
        await asyncio.gather(*(side.let_go() for side in self.sides))

    async def steal_again(self) -> None:
        """See Place."""
        await asyncio.gather(*(side.steal_again() for side in self.sides))

    async def close(self) -> None:
        """Every agent lets go of its targets; side by side."""
        await asyncio.gather(self._chains.close(), self.reach.close(), self._unkept())
        await asyncio.gather(*(side.close() for side in self.sides), return_exceptions=True)
        self.sides.clear()

    async def _unkept(self) -> None:
        tasks = list(self._keeping.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
