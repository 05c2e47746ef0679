"""One agent of a session as the runner holds it: the link on which the session hangs, kept through cuts and successors
(``founding`` dials it).

What is attached there is remembered, so that an agent that knows nothing of it (another process, or one whose patience
was over) is told everything again. Nothing that happens to an agent ends the command.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from links.link import CallFailed, Dismissed, Link, LinkEnded
from runner.errors import Refusal
from runner.kube.agents import AgentPod, Agents
from runner.kube.errors import KubeError
from runner.kube.founding import Founding, sentence
from runner.kube.pod import Pod
from runner.kube.side_core import PATIENCE, Side
from runner.tally import added
from runner.telling import let_go
from wire import messages as m

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
"""Seconds between attempts to come back."""

Hear = Callable[[m.Message], None]


@dataclass(slots=True, eq=False)
class AgentSide:
    """``number`` is the agent's in this session. ``hear`` gets its notices; ``say`` tells the user; ``moved`` is told
    the successor before it is asked anything. ``reached`` is called when it is given up for now (``lost``), and when
    it can be asked again."""

    number: int
    agent: AgentPod
    agents: Agents
    founding: Founding
    hear: Hear
    say: Callable[[str], None]
    moved: Callable[[AgentPod], None] = lambda _: None
    reached: Callable[[], None] = lambda: None
    lost: bool = field(default=False, init=False)
    targets: dict[int, Pod] = field(default_factory=dict)
    words: Side = field(init=False)
    _link: Link = field(init=False)
    _links: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)
    _up: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _kept: bool = field(default=False, init=False)
    _past: m.Counters = field(
        default_factory=m.Counters, init=False
    )  # of sessions that agents have forgotten
    _last: m.Counters = field(default_factory=m.Counters, init=False)

    def __post_init__(self) -> None:
        self.words = Side(self.agent.node)

    @property
    def is_up(self) -> bool:
        """Whether it can be asked just now."""
        return self._up.is_set()

    async def settled(self, within: float) -> None:
        """Wait until it can be asked, ``within`` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._up.wait()

    # --- the link --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """The first link. Refusal."""
        self._link = await self._links.enter_async_context(
            await self.founding.first(self.agent, self.agents.founder)
        )
        self._up.set()

    async def keep(self) -> None:
        """Without end: hears the agent, and comes back to it, or to its successor, whenever the link was cut."""
        self._kept = True
        while True:
            async for message in self._link.incoming():
                self.hear(message)
            self._up.clear()
            log.info("agent %s: %s", self.agent.pod, self._link.ended.result())
            self.told(self.words.founder_cut())
            taken_over = await self._come_back(self._link.ended.result())
            self._up.set()
            self.lost = False
            self.told(self.words.founder_back(taken_over=taken_over))
            self.reached()

    async def close(self, reason: str = "the session is over") -> None:
        """The agent is told, so that it lets go of its targets at once."""
        await self.let_go()
        if self._up.is_set():
            await self._link.close(reason)
        await self._links.aclose()

    async def let_go(self) -> None:
        """See Place."""
        if self._up.is_set() and isinstance(self.founding.wish, m.Steal):
            await let_go(self._link)

    async def steal_again(self) -> None:
        """See Place."""
        if self._up.is_set() and (wish := self._wish()) is not None:
            with suppress(CallFailed, LinkEnded):
                await self._link.call(wish)

    async def _dial(self) -> bool:
        """A further link; whether it took over the session that was left. LinkEnded, KubeError."""
        self.words.founder_dials()
        link, taken_over = await self.founding.dial(self.agent, self.agents.founder, again=True)
        await self._links.aclose()
        self._link = await self._links.enter_async_context(link)
        return taken_over

    async def _come_back(self, reason: str) -> bool:
        """Until the session hangs on a link again. What its agent does not know of it is said anew."""
        overdue = asyncio.get_running_loop().time() + PATIENCE
        pause = FIRST_PAUSE
        known = True  # by the agent, of what is attached; a link may end in the middle of telling it
        while True:
            try:
                known = await self._dial() and known
                if not known:
                    await self._say_anew()
                return known
            except (LinkEnded, KubeError) as error:
                reason = sentence(error)
                log.info("agent %s: %s", self.agent.pod, reason)
                if isinstance(error, Dismissed):
                    self._give_up(self.words.dismissed(reason))
                if not (isinstance(error, KubeError) and error.unreachable):
                    reason = await self._succeed() or reason
            if asyncio.get_running_loop().time() > overdue:
                self._give_up(self.words.patience_over(reason))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _give_up(self, text: str) -> None:
        """For now: its connections are gone, and it is tried again."""
        self.told(text)
        if not self.lost:
            self.lost = True
            self.reached()

    async def _succeed(self) -> str:
        """If the agent is gone: its successor, from now on. Why there is none, or ""."""
        try:
            heir = await self.agents.again(self.agent)
        except Refusal as refusal:
            log.info("no successor of agent %s: %s", self.agent.pod, refusal.what)
            return refusal.what
        except KubeError as error:
            return error.sentence
        if heir != self.agent:
            log.info("agent %s is succeeded by %s", self.agent.pod, heir.pod)
            self.agent = heir
            self.moved(heir)
        return ""

    async def _say_anew(self) -> None:
        self._past, self._last = added(self._past, self._last), m.Counters()
        if (wish := self._wish()) is not None:
            try:
                await self._link.call(wish)
            except CallFailed as error:
                does = "steal" if isinstance(wish, m.Steal) else "choose requests"
                self.say(f"the agent on node {self.agent.node} does not {does}: {error.reason}")
        for index, pod in list(self.targets.items()):
            self.hear(m.TargetGone(index))  # so that what is mirrored from now on is said anew
            try:
                await self._link.call(_attach(index, pod))
            except CallFailed as error:  # its container has ended too: who watches pods sees it come back
                log.info("attaching %s again: %s", pod.name, error.reason)

    def told(self, text: str) -> None:
        """One of ``words``, for the user; "" is nothing."""
        if text:
            self.say(text)

    # --- what is asked ----------------------------------------------------------------------------------------------

    async def attach(self, index: int, pod: Pod) -> m.Attached:
        """Take part in this pod. Waits for a link that is cut; CallFailed if the agent cannot, LinkEnded before
        ``keep``."""
        self.targets[index] = pod
        if (wish := self._wish()) is not None:
            await self.call(wish)
        attached = await self.call(_attach(index, pod))
        assert isinstance(attached, m.Attached)
        return attached

    def _wish(self) -> m.Steal | m.Choose | None:
        """What is to be stolen of its node, so that probes from there are known, or chosen."""
        wish = self.founding.wish
        if not isinstance(wish, m.Steal):
            return wish
        ips = dict.fromkeys(ip for pod in self.targets.values() for ip in pod.host_ips)
        return replace(wish, nodes=tuple(ip_address(ip).packed for ip in ips))

    async def forget(self, index: int) -> bool:
        """Leave this target without waiting for a link; false if there is none just now."""
        if self.targets.pop(index, None) is None:
            return True
        if not self._up.is_set():
            return False
        try:
            await self._link.call(m.Detach(0, index))
        except (LinkEnded, CallFailed) as error:
            log.info("leaving target %d: %s", index, error.reason)
        return True

    async def call(self, question: m.Message) -> m.Message:
        """The answer, by this link or the next."""
        while True:
            await self._up.wait()
            link = self._link
            try:
                return await link.call(question)
            except LinkEnded:
                if not self._kept:
                    raise
                if link is self._link:
                    self._up.clear()

    async def counters(self) -> m.Counters:
        """What was mirrored by this agent and those before it; what was last heard while the link is cut."""
        if self._up.is_set():
            try:
                answer = await self._link.call(m.GetCounters(0))
                assert isinstance(answer, m.CountersAre)
                self._last = answer.counters
            except (LinkEnded, CallFailed) as error:
                log.debug("agent %s does not count: %s", self.agent.pod, error.reason)
        return added(self._past, self._last)


def _attach(index: int, pod: Pod) -> m.Attach:
    return m.Attach(0, index, pod.container_id, pod.name)
