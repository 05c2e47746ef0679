"""A container or a compose service of the engine that the app runs on: one agent beside it, shared by the engine's
sessions, and a socket in a volume for the bridge."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from links.link import CallFailed, Link, LinkEnded
from runner import agents, environ, plan, stealing, targets
from runner.config import RunOptions
from runner.docker_following import Following
from runner.engine import Engine, Event, Json
from runner.errors import Refusal
from runner.images import Images
from runner.place import Founded, Original, Proof
from runner.screen import Screen
from runner.telling import let_go
from runner.together import never
from wire import messages as m

log = logging.getLogger(__name__)

ENDS_WITHIN = 2.0
"""Seconds from an agent's last answer to the end of its container: one that was ending took no session any more."""


@dataclass(slots=True)
class DockerPlace:
    """``inspected`` is the primary, as `docker inspect` has it."""

    engine: Engine
    screen: Screen
    options: RunOptions
    proof: Proof
    target: targets.Target
    inspected: Json
    keeps: bool = False
    where: str = ""
    _agent_container: str = ""
    _agent: Link | None = None
    _links: AsyncExitStack = field(default_factory=AsyncExitStack)
    _following: Following = field(init=False)

    def __post_init__(self) -> None:
        self._following = Following(self.engine, self.screen, self.options, self.target)

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def original(self) -> Original:
        # By id: the target's tag may have moved on since it was started.
        return Original(self.inspected["Image"], self.inspected["Config"])

    @property
    def serves_files(self) -> bool:
        return True

    async def way(self, ours: Images, traits: plan.EngineTraits, *, files: bool) -> Json:
        """The agent's container, made if there is none, and its volume."""
        body = plan.agent(ours.agent, traits, self.proof.author, files=files)
        name = plan.agent_name(ours.agent, files=files)
        self._agent_container = await agents.find(self.engine, name, body)
        return {"VolumesFrom": [self._agent_container]}

    async def open(self) -> Founded:
        """The session's founding link, the target's containers attached, the primary's environment."""
        link = await agents.dial(self.engine, self._agent_container, self.proof)
        self._agent = await self._links.enter_async_context(link)
        if wish := stealing.wish(self.options):
            await self._asked(wish)
        questions = [m.Attach(0, i, found.id) for i, found in enumerate(self.target.containers)]
        attached, *_ = [await self._asked(question) for question in questions]
        theirs = await self._asked(m.GetEnviron(0, 0))
        variables = theirs.variables or self._configured()
        return Founded(
            attached.identity, variables, self.proof.session, self.proof.secret, tuple(attached.mounts)
        )

    def _configured(self) -> tuple[bytes, ...]:
        self.screen.notice(
            f"{self.name}: its process wrote over its environment, so this is the container's configured one"
        )
        return environ.configured(self.inspected["Config"].get("Env"))

    async def _asked(self, question: m.Message) -> Any:
        assert self._agent is not None
        try:
            return await agents.while_alive(self.engine, self._agent_container, self._agent.call(question))
        except CallFailed as error:
            raise Refusal(f"the agent cannot serve {self.name}: {error.reason}") from error

    async def lost_race(self, error: Exception) -> bool:
        overdue = asyncio.get_running_loop().time() + ENDS_WITHIN
        while not await agents.ended(self.engine, self._agent_container):
            if asyncio.get_running_loop().time() > overdue:
                return False
            await asyncio.sleep(0.1)
        log.debug("the agent ended just now: %s", error)
        return True

    async def lead(self, bridge: str) -> str:  # noqa: ARG002 - the volume is the same in every bridge
        return plan.AGENT_SOCKET

    def configured(self) -> None:
        """There is one agent, which the bridge knows."""

    @asynccontextmanager
    async def attended(self, bridge: Link) -> AsyncIterator[None]:
        assert self._agent is not None
        async with self._following.attended(self._agent, bridge):
            yield

    def happened(self, event: Event) -> None:
        if event.container == self._agent_container:
            if event.action == "die":
                self._following.agent_died()
        else:
            self._following.happened(event)

    def linked(self, notice: m.LinkLost | m.LinkBack) -> None:
        log.info("the bridge's link to the agent: %s", notice)

    async def revoked(self) -> str:
        """Nobody stands above an engine's users."""
        await never()

    async def let_go(self) -> None:
        if self._agent is not None and self.options.steal:
            await let_go(self._agent)

    async def steal_again(self) -> None:
        wish = stealing.wish(self.options)
        if wish is not None and self._agent is not None:
            with suppress(CallFailed, LinkEnded):  # who hears the agent says that it is gone
                await self._agent.call(wish)

    async def close(self) -> None:
        await self._links.aclose()


async def find(
    engine: Engine, summaries: Iterable[Json], options: RunOptions, screen: Screen, proof: Proof
) -> DockerPlace:
    """The place that ``options.target`` names among the engine's containers. Refusal if there is none."""
    target = targets.resolve(options.target, targets.listed(summaries))
    inspected = await engine.inspect(target.containers[0].id)
    return DockerPlace(engine, screen, options, proof, target, inspected)
