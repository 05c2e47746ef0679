"""While the command runs beside containers: the engine's events and the agent's notices are heard, and what
``runner.follow`` decides is done.

Nothing that happens to the target, or to the agent, ends the command.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from links.link import CallFailed, Link, LinkEnded
from runner import plan, stealing, telling
from runner.config import RunOptions
from runner.engine import Engine, Event
from runner.follow import AttachTo, Followed, Leave, Say, Step
from runner.screen import Screen
from runner.targets import Target
from runner.together import background
from wire import messages as m

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Following:
    """Of one target. Events that come before ``attended`` are kept for it."""

    engine: Engine
    screen: Screen
    options: RunOptions
    target: Target
    _agent: Link = field(init=False)
    _bridge: Link = field(init=False)
    _followed: Followed = field(init=False)
    _mirrored: telling.MirroredLine = field(init=False)
    _steps: asyncio.Queue[Step] = field(init=False, default_factory=asyncio.Queue)
    _agent_over: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._followed = Followed(self.target)
        self._mirrored = telling.MirroredLine(
            self.screen, self.target.name, stealing.described(self.options), steals=self.options.steal
        )

    @asynccontextmanager
    async def attended(self, agent: Link, bridge: Link) -> AsyncIterator[None]:
        """Hear and act inside the block; at its end what was mirrored is summed up."""
        self._agent, self._bridge = agent, bridge
        work = {
            "agent's notices": self._hear_agent(),
            "agent's end": self._end_link(),
            "following the target": self._carry_out(),
            "counting": telling.complain(self._counters, self.screen),
        }
        async with background(work):
            yield
            if self.options.steal:
                await telling.let_go(agent)
            await telling.sum_up(self._counters, self.screen)
            self._mirrored.sum_up()
        self._mirrored.close()

    def happened(self, event: Event) -> None:
        """An event of any container but the app and the agent."""
        match event.action:
            case "start":
                steps = self._followed.started(event.container, event.labels.get("name", ""), event.labels)
            case "die":
                steps = self._followed.died(event.container)
            case "destroy":
                steps = self._followed.destroyed(event.container)
            case _:
                steps = []
        for step in steps:
            self._steps.put_nowait(step)

    def agent_died(self) -> None:
        """Its stream alone does not always tell."""
        self._agent_over.set()

    async def _end_link(self) -> None:
        await self._agent_over.wait()
        await self._agent.close("the agent ended")

    async def _hear_agent(self) -> None:
        async for message in self._agent.incoming():
            match message:
                case m.Mirroring():
                    self._mirrored.notice(message.target, message.ports)
                case m.Stealing() | m.Stolen():
                    self._mirrored.stolen(message)
                case m.Chosen():
                    self._mirrored.chosen(message)
                case m.TargetGone():
                    self._mirrored.gone(message.target)
                    log.debug("the agent lost %s", self._followed.name(message.target))
                case _:
                    log.debug("the agent says %s, which is not known here", type(message).__name__)
        self.screen.warn(
            f"the link to the agent ended ({self._agent.ended.result()}): "
            "your command keeps running, without the target's network and traffic"
        )

    async def _counters(self) -> m.Counters:
        answer = await self._agent.call(m.GetCounters(0))
        assert isinstance(answer, m.CountersAre)
        return answer.counters

    async def _carry_out(self) -> None:
        while True:
            step = await self._steps.get()
            try:
                await self._do(step)
            except (CallFailed, LinkEnded) as error:
                self.screen.warn(f"following {self.target.name}: {error.reason}")

    async def _do(self, step: Step) -> None:
        match step:
            case Say(text):
                self.screen.notice(text)
            case Leave(index, name):
                await self._agent.call(m.Detach(0, index))
                self._mirrored.gone(index)
                log.info("%s is gone", name)
            case AttachTo(index, container, name, again):
                attached = await self._agent.call(m.Attach(0, index, container))
                assert isinstance(attached, m.Attached)
                if index == 0:
                    await self._bridge.call(m.Retarget(0, plan.with_hosts(attached.identity, self.options)))
                self.screen.notice(
                    f"{name} is back, and followed" if again else f"{name} is new, and takes part"
                )
