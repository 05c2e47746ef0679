"""The bridge's reach: what it is told of a session's agents, and what it tells of its links to them.

The first agent is in its configuration; every further one is added, removed, and made the one by which the app's own
connections go out, once the bridge is configured.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from links.link import CallFailed, Link, LinkEnded
from runner.kube.agent_side import AgentSide
from runner.kube.agents import AgentPod
from wire import messages as m

log = logging.getLogger(__name__)


class Legs(Protocol):
    """The bridge's ways to agents."""

    async def add(self, number: int, agent: AgentPod) -> str:
        """A socket of this agent's in the bridge; its path there."""

    def move(self, number: int, agent: AgentPod) -> None:
        """What is dialled from now on goes to this one."""

    async def remove(self, number: int) -> None:
        """There is no such agent any more."""


class Reach:
    """``configured`` is set once the bridge may be told something; ``warn`` tells the user."""

    def __init__(self, legs: Legs, warn: Callable[[str], None]) -> None:
        self.legs = legs
        self.configured = asyncio.Event()
        self._warn = warn
        self._bridge: Link | None = None
        self._adding: dict[int, asyncio.Task[None]] = {}

    def begin(self, bridge: Link) -> None:
        """Before everything else."""
        self._bridge = bridge

    def add(self, side: AgentSide) -> None:
        """Nothing is waited for."""
        work = self._add(side) if side.number else self._first(side)
        self._adding[side.number] = asyncio.create_task(work, name=f"add {side.number}")

    async def lead(self, side: AgentSide, identity: m.Identity, index: int) -> None:
        """The app is this target of this agent from now on. CallFailed, LinkEnded."""
        await self.configured.wait()
        if adding := self._adding.get(side.number):
            await asyncio.wait([adding])
        await self._link.call(m.Retarget(0, identity, side.number, index))

    async def remove(self, side: AgentSide) -> None:
        """Its connections are reset."""
        if task := self._adding.pop(side.number, None):
            task.cancel()
        try:
            await self._link.call(m.RemoveAgent(0, side.number))
        except (CallFailed, LinkEnded) as error:
            log.info("removing agent %d from the bridge: %s", side.number, error.reason)
        await self.legs.remove(side.number)

    async def close(self) -> None:
        """What is still being added is not."""
        tasks = list(self._adding.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def _link(self) -> Link:
        assert self._bridge is not None, "begin comes first"
        return self._bridge

    async def _first(self, side: AgentSide) -> None:
        await self.configured.wait()
        side.words.bridged()

    async def _add(self, side: AgentSide) -> None:
        path = await self.legs.add(side.number, side.agent)
        await self.configured.wait()
        try:
            await self._link.call(m.AddAgent(0, side.number, path))
            side.words.bridged()
        except (CallFailed, LinkEnded) as error:
            self._warn(f"the agent on node {side.agent.node} is out of the bridge's reach: {error.reason}")


def linked(side: AgentSide, notice: m.LinkLost | m.LinkBack) -> None:
    """The bridge's word about its links to this agent."""
    match notice:
        case m.LinkLost(data=True):
            log.info("agent %s, the bridge's link: %s", side.agent.pod, notice.reason)
            side.told(side.words.data_cut())
        case m.LinkLost():
            side.words.control_cut()
        case m.LinkBack(data=True):
            side.told(side.words.data_back(resumed=notice.resumed))
        case m.LinkBack():
            side.told(side.words.control_back())
