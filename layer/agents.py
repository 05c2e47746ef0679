"""The session's agents, by the numbers that the runner gave them: one is the primary's, all are told the app's ports.

Agents come and go with the nodes of the target's pods. Numbers are not used again while their agent is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from layer.agent_links import AgentLinks, Dialled, dial
from layer.data_link import Introduction, LinkEngine
from wire.messages import Listening, Message


class Agents:
    """``close`` ends all links."""

    def __init__(
        self, me: Introduction, engine: LinkEngine, tell: Callable[[Message], Awaitable[None]]
    ) -> None:
        self._me = me
        self._engine = engine
        self._tell = tell
        self._said = Listening(())
        self._agents: dict[int, AgentLinks] = {}

    async def add(self, number: int, path: str) -> None:
        """Dials the agent behind this socket; its links are up on return. LinkEnded, OSError."""
        await self.take(number, path, await dial(path, self._me))

    async def take(self, number: int, path: str, dialled: Dialled) -> None:
        """The same, with links that were dialled already. A former agent of this number is let go."""
        await self.remove(number)
        agent = AgentLinks(number, path, self._me, self._engine, self._tell, self._said)
        self._agents[number] = agent
        agent.start(dialled)

    async def remove(self, number: int) -> None:
        """Its connections are reset. None of that number is no error."""
        if agent := self._agents.pop(number, None):
            await agent.close()

    def primary(self, number: int, target: int) -> None:
        """New connections go out by this agent, from its target. OSError if there is no such agent."""
        if number not in self._agents:
            raise OSError(0, f"there is no agent {number}")
        for agent in self._agents.values():
            if agent.number != number:
                agent.primary(None)
        self._agents[number].primary(target)

    async def listening(self, said: Listening) -> None:
        """To all of them, and to those that come. One that takes its time holds up nobody else."""
        self._said = said
        await asyncio.gather(*(agent.listening(said) for agent in list(self._agents.values())))

    def reported(self, link: int, reason: str, *, gone: bool) -> bool:
        """The engine says that this data link was cut or has gone. Whether it is one of ours."""
        return any(agent.reported(link, reason, gone=gone) for agent in self._agents.values())

    async def close(self) -> None:
        """All of them."""
        for number in list(self._agents):
            await self.remove(number)
